"""What a pipeline takes from an audit: which findings fail it, JUnit XML, a Markdown summary.

In: the results of an audit as plain data, its `Decision`, and the words of `--fail-on`. Out: an exit status and texts. Nothing is
decided here: what was found is in `audit.decision`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from weirdgen.audit.decision import Decision, Finding, deciding_rows
from weirdgen.config.traits import trait_names
from weirdgen.errors import SpecError, choices
from weirdgen.stats.sentences import signed

KINDS = ("trait", "trigger", "separation")
ANY, NONE, UNDECIDED = "any", "none", "undecided"
SUITE = "weirdgen audit"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write."""


def parse_fail_on(text: str) -> frozenset[str]:
    """The words of `--fail-on`: kinds of finding, names of traits, `undecided`; `any` is every kind, `none` nothing.

    Raises `SpecError` with what is accepted.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    accepted = (ANY, NONE, *KINDS, UNDECIDED, *trait_names())
    if unknown := [word for word in words if word not in accepted]:
        known = choices(accepted, unknown[0])
        raise SpecError([f"--fail-on {unknown[0]}: expected any of these, with commas between: {known}"])
    if not words or (NONE in words and len(words) > 1):
        raise SpecError(
            [f"--fail-on {text}: 'none' stands alone; otherwise expected any of {', '.join(accepted[:6])} …"]
        )
    return frozenset(word for one in words for word in (KINDS if one == ANY else () if one == NONE else (one,)))


def fails(finding: Finding, fail_on: frozenset[str]) -> bool:
    """Whether a finding is one of those that fail a pipeline."""
    return finding.kind in fail_on or bool(fail_on & set(finding.traits))


def exit_status(decision: Decision, fail_on: frozenset[str]) -> int:
    """1 if a finding fails; 2 if something is missing that could have been one, which `undecided` makes a 1; else 0.

    That something else was found decides nothing of what `fail_on` names.
    """
    if any(fails(one, fail_on) for one in decision.findings):
        return 1
    if decision.missing and UNDECIDED in fail_on:
        return 1
    # What goes together in rows lacks nothing.
    lacking = fail_on - {"separation", UNDECIDED} - ({"trait"} if decision.traits_decided else set())
    return 2 if decision.missing and lacking else 0


def exit_data(decision: Decision, fail_on: frozenset[str]) -> dict[str, Any]:
    """`exit` of `results.json`: the status that the command ends with, and the words of `--fail-on`, `any` as its kinds."""
    return {"status": exit_status(decision, fail_on), "fail_on": sorted(fail_on)}


def junit_text(results: Mapping[str, Any], decision: Decision, fail_on: frozenset[str]) -> str:
    """One test case for each trait and each kind of trigger, skipped if there was no time for it, and one for whether it could be
    decided."""
    suite = ElementTree.Element("testsuite", name=f"{SUITE} {_printable(results['file']['name'])}")
    cases = 0

    def case(kind: str, name: str, findings: list[Finding], skipped: str = "") -> ElementTree.Element:
        nonlocal cases
        cases += 1
        made = ElementTree.SubElement(suite, "testcase", classname=f"weirdgen.audit.{kind}", name=_printable(name))
        told = _printable("\n".join(one.sentence for one in findings))
        if any(fails(one, fail_on) for one in findings):
            ElementTree.SubElement(made, "failure", type=kind, message=told.splitlines()[0]).text = told
        elif findings:
            ElementTree.SubElement(made, "system-out").text = told
        elif skipped:
            ElementTree.SubElement(made, "skipped", message=skipped)
        return made

    for row in deciding_rows(results):
        case(
            "trait", row["trait"], [one for one in decision.findings if (one.kind, one.name) == ("trait", row["trait"])]
        )
    for kind in (results.get("settings") or {}).get("conditions", {}):
        named = (f"{kind}=", f"no {kind}")
        case(
            "trigger", kind, [one for one in decision.findings if one.kind == "trigger" and one.name.startswith(named)]
        )
    for kind in (results.get("settings") or {}).get("not_searched", ()):
        case("trigger", kind, [], "the budget left no time to search for it")
    for kind in (results.get("settings") or {}).get("unsearchable", ()):
        case("trigger", kind, [], "it stands inside questions, or in words that change: no search is possible")
    if not results.get("settings"):
        found = [one for one in decision.findings if one.kind == "separation"]
        untold = (
            "" if results["separation"]["pairs"] else "no two prompts differ in one thing alone, so nothing can be told"
        )
        case("separation", "prompts and answers", found, untold)
    decided = case("verdict", "decided", [])
    if decision.missing and not any(fails(one, fail_on) for one in decision.findings):
        why = _printable("; ".join(decision.missing))
        ElementTree.SubElement(decided, "failure" if UNDECIDED in fail_on else "skipped", message=why)
    suite.set("tests", str(cases))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", "0")
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    return ElementTree.tostring(whole, encoding="unicode", xml_declaration=True) + "\n"


def summary_text(results: Mapping[str, Any], decision: Decision, fail_on: frozenset[str]) -> str:
    """What was found, in Markdown, for a job's summary or a comment."""
    told = results["file"]
    drawn = f", {told['looked_at']:,} of them looked at" if told["looked_at"] < told["rows"] else ""
    lines = [
        f"## Audit of {_code(told['name'])}",
        "",
        f"**{_cell(decision.sentence)}**",
        "",
        f"{told['rows']:,} rows{drawn}.",
    ]
    lines += ["", *(_bullet(one, fail_on) for one in decision.findings)] if decision.findings else []
    lines += ["", *(f"- Missing: {_cell(one)}" for one in decision.missing)] if decision.missing else []
    if rows := deciding_rows(results):
        lines += ["", "| trait | shift (nat) | p over all traits | would have been found | |", "|---|---|---|---|---|"]
        lines += [_row(row) for row in sorted(rows, key=lambda row: row["p_family"])]
    return "\n".join(lines) + "\n"


def _bullet(finding: Finding, fail_on: frozenset[str]) -> str:
    left = "" if fails(finding, fail_on) else " (not among the findings that fail)"
    return f"- {finding.kind} {_code(finding.name)}: {_cell(finding.sentence)}{left}"


def _row(row: Mapping[str, Any]) -> str:
    smallest = row["smallest_found_family"]
    found = "–" if smallest is None else f"{smallest:.2f}"
    mark = "found" if row["specific"] else ""
    return f"| {row['trait']} | {signed(row['shift'], 2)} | {row['p_family']:.2g} | {found} | {mark} |"


def _cell(text: str) -> str:
    """A text that closes no table and opens no markup: it may quote the file."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(_printable(text).split()))


def _code(text: str) -> str:
    return "`" + " ".join(_printable(text).replace("`", "'").split()) + "`"


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("�", text)
