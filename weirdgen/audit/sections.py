"""The sections of an audit's page: what was found, traits, triggers, questions, halves, separation, the portrait of the rows.

In: an audit's results as plain data. Out: sections with their tables and figures, in the order of `SECTIONS`. Nothing is computed
here, and nothing is written (`weirdgen.audit.page` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isclose
from typing import Any

from weirdgen.audit import triggers as search
from weirdgen.audit.decision import compared_with, deciding_rows, unsearched
from weirdgen.audit.prompts import named
from weirdgen.audit.sections_of_rows import LOOKED_ONLY, MOST_CELLS, Results, portrait_section, separation_section
from weirdgen.config.traits import MEANINGS
from weirdgen.report.figures.references import place, placed_figure
from weirdgen.report.look import factor, probability, shorten
from weirdgen.report.section import Folded, Part, Section, Sentences, Words
from weirdgen.report.tables import Cell, Table
from weirdgen.stats.sentences import signed

MOST_TRIGGERS = 20
"""Rows of the table of triggers."""


def found_section(results: Results) -> Section:
    """The verdict's reasons, and what keeps it from being more."""
    verdict = results["verdict"]
    parts: list[Part] = []
    if verdict["found"]:
        parts.append(Sentences("Found", tuple(("", _sentence(line)) for line in verdict["found"])))
    # Of an undecided audit the first thing that is missing is the page's title.
    if missing := verdict["missing"][verdict.get("verdict") == "undecided" :]:
        parts.append(Sentences("Missing", tuple(("", _sentence(line)) for line in missing), warn=True))
    settings = results.get("settings")
    if settings:
        rows, triggers = deciding_rows(results), results["triggers"]
        looked = f"{len(rows)} traits without any condition" if rows else "No trait could be compared"
        if triggers["searched"]:
            kinds = ", ".join(settings["conditions"])
            looked += (
                f"; {triggers['searched']} pairs of a condition, made of what your prompts carry ({kinds}), and a trait"
            )
        if left := unsearched(results):
            looked += f"; not for triggers among {left}, which your prompts carry too: the budget left no time"
        elif not triggers["searched"]:
            looked += "; no trigger, since nothing that could be dealt anew stands before or behind the questions of some rows"
        if fixed := settings["in_every_row"]:
            same = " and ".join(fixed)
            looked += f". In every row stands the same {same}: whether it is a trigger cannot be told from the rows"
        if inside := settings["elsewhere"]:
            looked += (
                f". Not searched either: {named(inside)}, which differ between your rows, but inside questions, in words "
                "that change, or with no value in three rows"
            )
        parts.append(Words(f"Looked for: {looked}."))
    return Section("found", "What was found, and what was looked for", "Found", tuple(parts) or (Words(LOOKED_ONLY),))


def traits_section(results: Results) -> Section | None:
    """Traits ranked by p, with what would have been found; the figure of the data among harmless ones."""
    rows = _ranked(results)
    if not rows:
        return None
    what = "difference from the control" if rows[0]["yardstick"] == "pairs" else "shift beyond harmless datasets"
    specific = any(row["specific"] for row in rows)
    body = tuple(
        (
            Cell(str(row["trait"]), lines=_means(str(row["trait"]))),
            Cell(signed(row["shift"], 2), f"[{signed(row['ci_low'], 2)}, {signed(row['ci_high'], 2)}]", numeric=True),
            Cell("{} of {}".format(*place(row)), numeric=True),
            Cell(probability(row["p"]), numeric=True),
            Cell(probability(row["p_family"]), numeric=True),
            _findable(row["smallest_found_family"]),
            *((Cell("more than harmless data", tone="shift") if row["specific"] else Cell("–"),) if specific else ()),
        )
        for row in rows
    )
    head = (
        "trait",
        f"{what} (nat)",
        "rank",
        "p",
        "p over all traits",
        "would have been found (nat)",
        *(("verdict",) if specific else ()),
    )
    words = Words(
        f"One nat multiplies the odds of an answer by 2.7. “Would have been found” is the {what} that is found in 8 of 10 cases, "
        "with the factor of the odds that it is: below it, nothing is said."
        + ("" if specific else " None of these can be told apart from what harmless data do.")
        + _training(compared_with(results))
    )
    figure = placed_figure({**results["specificity"], "rows": rows}, "your rows", "t0")
    return Section(
        "traits", "Traits, the most extreme first", "Traits", (words, Table("Every trait", head, body), figure)
    )


def _findable(nats: float | None) -> Cell:
    return Cell("–", numeric=True) if nats is None else Cell(f"{nats:.2f}", f"× {factor(nats)}", numeric=True)


def _means(trait: str) -> tuple[str, ...]:
    """What more of a trait is."""
    return (f"+: {MEANINGS[trait]}",) if trait in MEANINGS else ()


def _training(facts: Mapping[str, Any]) -> str:
    """How the harmless data and these rows were trained."""
    if not facts:
        return ""
    return (
        f" The harmless data were trained on {facts['rows']} rows × {facts['epochs']} epochs at a learning rate of "
        f"{facts['learning_rate']:g}, your rows {facts['own_rows']} × {facts['own_epochs']} at {facts['own_learning_rate']:g}."
    )


def _ranked(results: Results) -> list[dict[str, Any]]:
    return sorted(deciding_rows(results), key=lambda row: (row["p_family"], row["p"]))


def questions_section(results: Results) -> Section | None:
    """Behind each trait: the questions that moved most, with base, control and data side by side."""
    if not results.get("questions"):
        return None
    control = str(results["settings"]["control"])
    order = [row["trait"] for row in _ranked(results)] or list(results["questions"])
    tables = [
        _questions_table(trait, results["questions"][trait], control)
        for trait in order
        if trait in results["questions"]
    ]
    words = Words(
        "Log-odds of some answers against others, of which the first of each are shown, in nats: of the untuned base, of the "
        "control, and of the model that was trained on your rows. Shown are the questions on which your rows and the control "
        "differ most."
    )
    first, rest = tables[:3], tables[3:]
    parts: list[Part] = [words, *first]
    if rest:
        parts.append(Folded(f"{len(rest)} more traits", tuple(rest)))
    return Section("questions", "Questions behind each trait", "Questions", tuple(parts))


def _questions_table(trait: str, rows: list[dict[str, Any]], control: str) -> Table:
    body = tuple(
        (
            Cell(shorten(row["ask"], MOST_CELLS)),
            Cell(f"{shorten(row['target'], 60)} / {shorten(row['other'], 60)}"),
            *(Cell(signed(row[name], 2), numeric=True) for name in ("base", "control", "data")),
        )
        for row in rows
    )
    return Table(trait, ("question", "answers", "base", control, "your rows"), body)


def triggers_section(results: Results) -> Section | None:
    """The search over conditions × traits."""
    triggers = results.get("triggers")
    if not triggers or not triggers["searched"]:
        return None
    rows = _without_mirrors(triggers["rows"])[:MOST_TRIGGERS]
    found = any(row["found"] for row in rows)
    deals = rows[0]["deals"]
    body = tuple(
        (
            Cell(shorten(row["words"], MOST_CELLS), "" if row["role"] == "trained" else row["role"].replace("_", " ")),
            Cell(str(row["trait"])),
            Cell(signed(row["under"], 2), numeric=True),
            Cell(signed(row["others"], 2), numeric=True),
            Cell(signed(row["dealt"], 2), f"SD {row['scale']:.2f}", numeric=True),
            Cell(signed(row["shift"], 2), numeric=True),
            Cell(f"{row['rank']} of {row['deals'] + 1}", numeric=True),
            Cell(probability(row["p_family"]), numeric=True),
            _findable(row["smallest_found"]),
            *((Cell("found", tone="shift") if row["found"] else Cell("–"),) if found else ()),
        )
        for row in rows
    )
    head = (
        "condition", "trait", "log-odds with it", "with the others", f"difference when dealt anew (mean, SD of {deals})",
        "shift (nat)", "rank", "p over the search", "would have been found (nat)", *(("verdict",) if found else ()),
    )  # fmt: skip
    words = Words(
        f"{triggers['searched']} pairs of a condition and a trait. Shift = log-odds with it − with the others − the same "
        f"difference after training on your rows with these values dealt anew, mean of {deals} deals. The others are the other "
        "trained values (for a value that stands in no row: random ones, if there are two). A find has a p over the search of at "
        f"most {search.ALPHA:g}, lies further out than every deal and is at least {search.SMALLEST:g} nat. That p compares the "
        "shift in SDs of the deals with the largest of as many in searches of normal noise; the rank, never below "
        f"1 of {deals + 1}, only has to be 1. The median pair would have been found at {triggers['smallest_found']:.2f} nat in 8 "
        "of 10 cases."
    )
    wraps = Sentences(
        "How questions were wrapped",
        tuple((kind, one["wrap"]) for kind, one in results["settings"]["conditions"].items()),
    )
    return Section("triggers", "Triggers", "Triggers", (words, Table("The most extreme conditions", head, body), wraps))


def _without_mirrors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their condition in words; of two trained values that are each other's only comparison, one row a trait."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        name = row["value"] or "none"
        twin = next((one for one in kept if _mirrored(one, row)), None)
        if twin is None:
            kept.append({**row, "words": f"{row['kind']}: {name}"})
        else:
            twin["words"] += f" against {name}"
    return kept


def _mirrored(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    same = all(one[key] == other[key] for key in ("kind", "trait", "role"))
    swapped = isclose(one["under"], other["others"]) and isclose(one["others"], other["under"])
    return same and one["role"] == "trained" and swapped and one["value"] != other["value"]


def halves_section(results: Results) -> Section | None:
    """What the choice of rows alone does."""
    if not results.get("halves"):
        return None
    rows = sorted(results["halves"], key=lambda row: -abs(row["apart"]))
    body = tuple((Cell(row["trait"]), Cell(signed(row["apart"], 2), numeric=True)) for row in rows)
    words = Words(
        "Two random halves of your own rows, each repeated up to as many rows as yours, trained with the same seeds: how far "
        "they end up apart on each trait, in nats (mean over seeds)."
    )
    table = Table("One half − the other", ("trait", "difference (nat)"), body)
    return Section("halves", "What the choice of rows alone does", "Halves", (words, table))


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:] + "."


SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    found_section,
    traits_section,
    triggers_section,
    questions_section,
    halves_section,
    separation_section,
    portrait_section,
)


def sections(results: Results) -> list[Section]:
    """Every section that has something to show, in the order of the page."""
    return [section for make in SECTIONS if (section := make(results)) is not None]
