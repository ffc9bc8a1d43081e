"""One page over several runs: each one's verdict, effect, size and time, with a link to its report.

In: what each run's report is made of, and where it is. Out: `index.html`, `overview.json` and the forest figure in a
folder. Effects in one unit share one scale; effects in different units stand in panels of their own. Runs of the same
experiment (other models, recipes, sizes) also get a table of every effect that at least two of them measured. Not here: any
statistic; each number is the run's own headline or effect.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from weirdgen.config.measures import Scale
from weirdgen.errors import WeirdgenError
from weirdgen.report.content import ReportContent, clean
from weirdgen.report.figures.drawing import Drawing, Ending
from weirdgen.report.figures.overview import Line, overview_figure
from weirdgen.report.look import duration, interval, number, probability
from weirdgen.report.owned import require_free, require_no_links, write_listed
from weirdgen.report.page import ALWAYS, figure_files
from weirdgen.report.render import render
from weirdgen.report.section import Part, Section, Sentences, Words
from weirdgen.report.tables import Cell, Table
from weirdgen.report.words import BADGES, badge, headline_is_specific

SAME = ("measure", "treatment", "control", "condition")


@dataclass(frozen=True)
class Entry:
    """One run as the page shows it. `report` is the address of its page, seen from the overview's folder."""

    name: str
    content: ReportContent
    report: str

    @property
    def headline(self) -> dict[str, Any]:
        return self.content.headline

    @property
    def scale(self) -> Scale:
        return self.content.scale(str(self.headline["measure"]))


def write_overview(
    contents: Sequence[ReportContent], reports: Sequence[Path], folder: Path, figures: Iterable[Ending] = ()
) -> Path:
    """Writes `index.html`, `overview.json` and `figures/` into `folder` and returns the path of the page.

    `reports` are the runs' own pages, in the same order. Raises `WeirdgenError` if there is no run, if the folder cannot be
    written, or if one of these names is taken in it by a file that no overview wrote.
    """
    if not contents:
        raise WeirdgenError("an overview needs at least one run; `weirdgen run NAME` makes one")
    names = _names([content.results for content in contents])
    entries = [
        Entry(name, content, _address(report, folder))
        for name, content, report in zip(names, contents, reports, strict=True)
    ]
    parts = _sections(entries)
    drawings = [drawing for section in parts for drawing in section.drawings()]
    counts = {verdict: sum(entry.headline["verdict"] == verdict for entry in entries) for verdict in BADGES}
    page = render(
        "overview.html.j2",
        heading=_heading(counts, entries) + _shared([clean(entry.content.results["ran"]) for entry in entries]),
        badges=[(*shown, count) for shown, count in sorted(Counter(badge(entry.content) for entry in entries).items())],
        sections=parts,
    )
    rows = [_record(entry) for entry in entries]
    files = figure_files(drawings, [*ALWAYS, *figures])
    files["overview.json"] = (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()
    files["index.html"] = page.encode("utf-8", "replace")
    require_no_links(folder)
    if not _is_overview(folder):
        require_free(folder, files)
    write_listed(folder, files)
    return folder / "index.html"


def _is_overview(folder: Path) -> bool:
    """Whether the folder holds an overview, also one of a version that kept no listing."""
    try:
        rows = json.loads((folder / "overview.json").read_text(encoding="utf-8"))
        return bool(rows) and all({"name", "report", "run", "headline"} <= set(row) for row in rows)
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _sections(entries: Sequence[Entry]) -> list[Section]:
    drawing = _forest(entries)
    parts: list[Part] = [drawing] if drawing else [Words("No headline has an effect that can be drawn.")]
    made = [
        Section("verdicts", "Verdicts", "Verdicts", (_sentences(entries), _verdict_table(entries))),
        Section("effects", "Effects", "Effects", tuple(parts)),
    ]
    if tables := _shared_effects(entries):
        made.append(Section("shared", "The same effects, run by run", "Side by side", tuple(tables)))
    return made


def _sentences(entries: Sequence[Entry]) -> Sentences:
    """Each run's verdict in words, and whether harmless data do the same where that was asked."""
    told = (
        (
            entry.name,
            " ".join(
                [str(entry.headline["sentence"]), *filter(None, [(entry.content.specificity or {}).get("sentence")])]
            ),
        )
        for entry in entries
    )
    return Sentences("Verdicts in words", tuple(told))


def _verdict_table(entries: Sequence[Entry]) -> Table:
    rows = []
    for entry in entries:
        headline, ran = entry.headline, clean(entry.content.results["ran"])
        words, sign, tone = badge(entry.content)
        mine: dict[str, Any] = next((row for row in ran.get("arms", []) if row["arm"] == headline["treatment"]), {})
        seconds = [row.get("seconds") for row in ran.get("replicates", [])]
        rows.append(
            (
                Cell(f"{sign} {words.lower()}", tone=tone),
                Cell(entry.name, link=entry.report, lines=(_compared(headline),)),
                Cell(number(headline["effect"], entry.scale, effect=True), _ends(headline, entry.scale), numeric=True),
                Cell(probability(headline["p"]), numeric=True),
                Cell(number(headline["mde"], entry.scale, effect=True).lstrip("+"), numeric=True),
                Cell(_text(headline.get("replicates")), numeric=True),
                Cell(_text(mine.get("rows")), numeric=True),
                Cell(_text(mine.get("distinct_answers")), numeric=True),
                Cell(duration(sum(seconds)) if seconds and None not in seconds else "–", numeric=True),
            )
        )
    head = (
        "verdict", "experiment", "effect and interval", "p", "detectable", "replicates", "rows",
        "distinct answers", "training time",
    )  # fmt: skip
    return Table("Headlines; rows and distinct answers are the treatment's", head, tuple(rows), named_by=1)


def _forest(entries: Sequence[Entry]) -> Drawing | None:
    lines = [
        Line(
            name=entry.name,
            note=_compared(entry.headline),
            scale=entry.scale,
            verdict=str(entry.headline["verdict"]),
            effect=entry.headline["effect"],
            low=entry.headline["ci_low"],
            high=entry.headline["ci_high"],
            smallest=entry.headline.get("smallest"),
        )
        for entry in entries
        if entry.headline["effect"] is not None
    ]
    return overview_figure(lines) if lines else None


def _shared_effects(entries: Sequence[Entry]) -> list[Table]:
    """A table per experiment with several runs: one row per effect that two or more of them have, one column per run."""
    tables = []
    for experiment in dict.fromkeys(str(entry.content.results["experiment"]["name"]) for entry in entries):
        own = [entry for entry in entries if entry.content.results["experiment"]["name"] == experiment]
        effects = [
            {tuple(row[key] for key in SAME): row for row in entry.content.rows("effects", question="all")}
            for entry in own
        ]
        keys = dict.fromkeys(key for figures in effects for key in figures)
        shared = [key for key in keys if sum(key in figures for figures in effects) > 1]
        if len(own) < 2 or not shared:
            continue
        rows = []
        for key in shared:
            measure, treatment, control, condition = (str(part) for part in key)
            cells = [Cell(measure), Cell(condition), Cell(f"{treatment} − {control}")]
            for entry, figures in zip(own, effects, strict=True):
                row = figures.get(key)
                scale = entry.content.scale(measure)
                cells.append(
                    Cell("–", numeric=True)
                    if row is None
                    else Cell(number(row["effect"], scale, effect=True), _ends(row, scale), numeric=True)
                )
            rows.append(tuple(cells))
        head = ("measure", "condition", "arms", *(entry.name for entry in own))
        tables.append(Table(f"{experiment}: effects over all questions", head, tuple(rows)))
    return tables


def _names(recorded: Sequence[dict[str, Any]]) -> list[str]:
    """The experiments' names; where one occurs twice, with what tells its runs apart."""
    plain = [str(results["experiment"]["name"]) for results in recorded]
    models = [str((results["ran"].get("base") or {}).get("reference", "")) for results in recorded]
    names = []
    for name, model, results in zip(plain, models, recorded, strict=True):
        same = [other for other, own in zip(models, plain, strict=True) if own == name]
        if len(same) == 1:
            names.append(name)
        elif len(set(same)) == len(same):
            names.append(f"{name} · {model}")
        else:
            names.append(f"{name} · {results['run']['id'].removeprefix(name + '-')}")
    return names


def _record(entry: Entry) -> dict[str, Any]:
    results = clean(entry.content.results)
    found = entry.content.specificity
    told = {"specificity": {key: found[key] for key in ("verdict", "sentence")} if found else None}
    return {"name": entry.name, "report": entry.report, "run": results["run"], "headline": results["headline"]} | told


def _heading(counts: dict[str, int], entries: Sequence[Entry]) -> str:
    """How many found what; of those with a shift, how many moved more than harmless data do."""
    words = {
        "shift": ("found a shift", "found a shift"),
        "no_shift": ("found none above its bound", "found none above their bound"),
        "inconclusive": ("is inconclusive", "are inconclusive"),
    }
    parts = [f"{count} {words[verdict][count > 1]}" for verdict, count in counts.items() if count]
    total, shifted = len(entries), [entry for entry in entries if entry.headline["verdict"] == "shift"]
    known = [
        entry.content for entry in shifted if (placed := entry.content.specificity) and placed["verdict"] != "unknown"
    ]
    if known:
        parts[0] += f" ({sum(map(headline_is_specific, known))} of {len(known)} more than harmless data do)"
    return (
        f"Of {total} run{'s' if total > 1 else ''}, {', '.join(parts[:-1]) + ' and ' if parts[1:] else ''}{parts[-1]}."
    )


def _shared(ran: Sequence[Mapping[str, Any]]) -> str:
    """A warning, where runs rest on some of the same replicates: what several of them find is then found once."""
    adapters = Counter(
        row["adapter"] for own in ran for row in {r["adapter"]: r for r in own.get("replicates", [])}.values()
    )
    if not (several := sum(count > 1 for count in adapters.values())):
        return ""
    return f" {several} of their {len(adapters)} replicates stand in more than one: they are no independent findings."


def _compared(headline: Mapping[str, Any]) -> str:
    """The headline's arms and condition in a few words."""
    arms = f"{headline['treatment']} − {headline['control']}"
    return arms if headline["condition"] in ("", "none") else f"{arms}, {headline['condition']}"


def _address(report: Path, folder: Path) -> str:
    """A relative address, so that the whole store may be moved; percent-encoded."""
    return quote(Path(os.path.relpath(report.resolve(), folder.resolve())).as_posix())


def _ends(row: dict[str, Any], scale: Scale) -> str:
    return interval(row["ci_low"], row["ci_high"], scale, effect=True)


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
