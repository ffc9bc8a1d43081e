"""`weirdgen.audit_file`: a whole audit from Python, and what `weirdgen audit FILE` prints and returns.

In: a file of chat rows and the options of the command, by their names. Out: an `Audited`: verdict, findings, the page on disk,
and the texts that pipelines read. The audit itself is `audit.audit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weirdgen.audit.audit import Audit, audit, parse_budget
from weirdgen.audit.decision import Finding, Verdict
from weirdgen.audit.design import AuditOptions
from weirdgen.audit.outputs import exit_data, exit_status, junit_text, parse_fail_on, summary_text
from weirdgen.audit.page import results_text, write_audit
from weirdgen.report.owned import listed_files, write_listed
from weirdgen.runs.references.sets import ROWS
from weirdgen.runs.results.results import Run

LATEST = "latest"
"""Beside the folders of audits: a copy of the newest one's page, under a name that stays."""


@dataclass(frozen=True)
class Audited:
    """What an audit found. `verdict` is `nothing`, `found` or `undecided`; `results` is the whole of `results.json`."""

    audit: Audit
    page: Path
    fail_on: frozenset[str]

    @property
    def verdict(self) -> Verdict:
        return self.audit.decision.verdict

    @property
    def sentence(self) -> str:
        """The verdict with its first finding, or with what would have been found."""
        return self.audit.decision.sentence

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Each thing that was found: `kind` (trait, trigger, separation), `name`, `sentence`, `traits`."""
        return self.audit.decision.findings

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps it from being decided."""
        return self.audit.decision.missing

    @property
    def status(self) -> int:
        """The exit status of the command: 0, 1 or 2. That of the verdict, whatever `fail_on` says, is `audit.decision.status`."""
        return exit_status(self.audit.decision, self.fail_on)

    @property
    def results(self) -> dict[str, Any]:
        return self.audit.results

    @property
    def run(self) -> Run | None:
        """The run behind it; None if nothing was trained."""
        return self.audit.run

    def json(self) -> str:
        """`results.json`, as `--json` prints it."""
        return results_text(self.audit.results)

    def junit(self) -> str:
        """JUnit XML: a test case for each trait and kind of trigger."""
        return junit_text(self.audit.results, self.audit.decision, self.fail_on)

    def summary(self) -> str:
        """The findings in Markdown."""
        return summary_text(self.audit.results, self.audit.decision, self.fail_on)


def audit_file(
    file: str | Path,
    *,
    against: str | Path | None = None,
    model: str = "smollm2-135m-instruct",
    budget: str = "15min",
    system: str | None = None,
    rows: int = ROWS,
    changes: Sequence[str] = (),
    halves: bool = False,
    training: bool = True,
    fail_on: str = "any",
    store: str | Path | None = None,
    quiet: bool = True,
) -> Audited:
    """Train on the rows, compare with harmless data, search for triggers, write the page; what the store holds is not done again.

    Options are those of `weirdgen audit FILE`; `changes` are its `--set`. `fail_on` only decides `status` (`exit.status`
    of the results; `verdict.status` is what it would be without). Raises `WeirdgenError` on bad data, options or models.
    """
    failing = parse_fail_on(fail_on)
    options = audit_options(against, model, budget, system, rows, changes, halves, training, store, quiet)
    done = audit(Path(file), options)
    done = replace(done, results={**done.results, "exit": exit_data(done.decision, failing)})
    page = write_audit(done.results, done.folder, done.times.words if done.times else "")
    latest = done.folder.parent / LATEST
    write_listed(latest, {name: (done.folder / name).read_bytes() for name in listed_files(done.folder)})
    return Audited(done, page, failing)


def audit_options(
    against: str | Path | None, model: str, budget: str, system: str | None, rows: int, changes: Sequence[str],
    halves: bool, training: bool, store: str | Path | None, quiet: bool = True,
) -> AuditOptions:  # fmt: skip
    """What was asked for, in the words of the command. Raises `SpecError` on a budget that is none."""
    return AuditOptions(
        against=Path(against) if against else None, model=model, budget=parse_budget(budget), system=system, halves=halves,
        training=training, rows=rows, changes=tuple(changes), store=str(store) if store else None, quiet=quiet,
    )  # fmt: skip
