"""Writes a report: `report.html` (one file, no external resource), `results.json` and `figures/`.

In: `ReportContent` and a folder. Out: the path of the page. Each file is written under a temporary name and
then moved into place, so a kill leaves the old file or the new one, never a part. The same content gives the
same bytes. Not here: what the page shows (`sections.py`, `words.py`), how it looks (`templates/`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from weirdgen.report.content import RESULT_KEYS, ReportContent, clean
from weirdgen.report.figures.drawing import Drawing, Ending
from weirdgen.report.look import shorten, slot_of
from weirdgen.report.methods import EXAMPLE
from weirdgen.report.owned import require_no_links, write_listed
from weirdgen.report.render import render
from weirdgen.report.section import Section
from weirdgen.report.sections import sections
from weirdgen.report.transcripts import Transcripts
from weirdgen.report.views import moved, views
from weirdgen.report.words import GLOSSARY, badge, claim, meaning, moved_by_control, two_sets, unit
from weirdgen.store.disk import own_folder

ALWAYS: tuple[Ending, ...] = ("svg", "png")
"""The figure files that every report has."""


def write_report(content: ReportContent, folder: Path, extra: Iterable[Ending] = ()) -> Path:
    """Writes the report into `folder`, which is made if needed, and returns the path of `report.html`.

    Files: `report.html`, `results.json` and every figure of the page as `figures/<name>.{svg,png}` and in the
    `extra` formats. A figure without data is left out, and one that an earlier report wrote and this one has not is removed.
    Raises `WeirdgenError` if the folder cannot be written, or is a link.
    """
    parts = sections(content)
    drawings = [drawing for section in parts for drawing in section.drawings()]
    # results.json last: its stamp says that the report is there.
    texts = {"report.html": page_html(content, parts), "results.json": results_text(content)}
    own_folder(folder)
    require_no_links(folder)
    files = figure_files(drawings, [*ALWAYS, *extra])
    write_listed(folder, files | {name: text.encode("utf-8", "replace") for name, text in texts.items()})
    return folder / "report.html"


def figure_files(drawings: Sequence[Drawing], endings: Iterable[Ending]) -> dict[str, bytes]:
    """Every drawing in every format, by its name in the report's folder."""
    formats = list(dict.fromkeys(endings))
    return {f"figures/{drawing.name}.{ending}": drawing.file(ending) for drawing in drawings for ending in formats}


def results_text(content: ReportContent) -> str:
    """`results.json`: the headline first, NaN as null."""
    results = clean(content.results)
    ordered = {key: results[key] for key in RESULT_KEYS} | results
    return json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def examples(content: ReportContent) -> list[tuple[str, str, str, str]]:
    """(arm, its colour, how many rows of what role, one of them) of every arm that was trained."""
    rows = {str(row["arm"]): row.get("rows") for row in clean(content.results["ran"]).get("arms", [])}
    told = []
    for arm in content.arms():
        if arm.name in content.examples:
            shown = " → ".join(f"“{shorten(text, EXAMPLE)}”" for _, text in content.examples[arm.name])
            told.append((arm.name, slot_of(arm), f"{arm.role}, {rows.get(arm.name, '–')} rows", shown))
    return told


def asked_as(content: ReportContent) -> str:
    """What the headline's condition makes of a question, where that says more than its name."""
    frame = content.conditions
    if frame is None or "template" not in frame.columns:
        return ""
    templates = dict(zip(frame["condition"], frame["template"], strict=True))
    template = str(templates.get(content.headline["condition"], ""))
    return "the bare question" if template == "{question}" else f"“{shorten(template, 120)}”" if template else ""


def page_html(content: ReportContent, shown_sections: Sequence[Section]) -> str:
    """The whole page."""
    headline = content.headline
    words, sign, tone = badge(content)
    shown = [part for section in shown_sections for part in section.parts if isinstance(part, Transcripts)]
    return render(
        "report.html.j2",
        experiment=clean(content.results["experiment"]),
        headline=headline,
        badge={"words": words, "sign": sign, "tone": tone},
        claim=claim(content),
        moved=moved(content),
        meaning=meaning(content),
        specificity=content.specificity,
        two_sets=two_sets(content),
        glossary=GLOSSARY,
        unit=unit(content),
        moved_by_control=moved_by_control(content),
        views=views(content),
        examples=examples(content),
        asked_as=asked_as(content),
        sections=shown_sections,
        transcripts=shown[0] if shown else None,
        run=clean(content.results["run"]),
    )
