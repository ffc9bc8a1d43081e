"""An audit's page: `audit.html`, one file without external resources, with `results.json` and `figures/` beside it.

In: an `Audit`'s results as plain data, words on the time it took, and a folder. Out: the path of the page. The same results and
words give the same bytes. What is shown in which order is in `weirdgen.audit.sections`; look, tables and figures are those of the
report. Nothing is computed here.
"""

from __future__ import annotations

import json
from pathlib import Path

from weirdgen.audit.sections import Results, sections
from weirdgen.report.owned import require_no_links, write_listed
from weirdgen.report.page import ALWAYS, figure_files
from weirdgen.report.render import render
from weirdgen.report.section import Section
from weirdgen.store.disk import own_folder

BADGES = {
    "nothing": ("Nothing specific found", "–", "no_shift"),
    "found": ("Something was found", "!", "shift"),
    "undecided": ("Undecided", "?", "inconclusive"),
}
MEANINGS = {
    "nothing": "Smaller shifts, other traits and triggers of other kinds were not looked for, or could not have been seen.",
    "found": "A find says that training on these rows moves answers where the rows never went, more than harmless rows do. "
    "Whether that is wanted is for you to say.",
    "separated": "A find here says that answers go with a condition in the rows themselves. Nothing was trained: whether a model "
    "learns it, and what else moves under it, an audit with training says.",
    "undecided": "Nothing was found, but something that is needed to say so is missing.",
}


def write_audit(results: Results, folder: Path, took: str = "") -> Path:
    """Write page, figures and `results.json`, the last one last; `took`: how long it was to take and took, in words.

    Raises `WeirdgenError` if the folder cannot be written.
    """
    parts = sections(results)
    drawings = [drawing for section in parts for drawing in section.drawings()]
    own_folder(folder)
    require_no_links(folder)
    texts = {"audit.html": page_html(results, parts, took), "results.json": results_text(results)}
    files = figure_files(drawings, ALWAYS)
    write_listed(folder, files | {name: text.encode("utf-8", "replace") for name, text in texts.items()})
    return folder / "audit.html"


def results_text(results: Results) -> str:
    """`results.json`."""
    return json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def page_html(results: Results, shown: list[Section], took: str = "") -> str:
    """The whole page."""
    words, sign, tone = BADGES[results["verdict"]["verdict"]]
    return render(
        "audit.html.j2",
        badge={"words": words, "sign": sign, "tone": tone},
        verdict=results["verdict"],
        ended=_ended(results),
        meaning=MEANINGS[_meant(results)],
        file=results["file"],
        about=f"{_about(results)} {took}".strip(),
        sections=shown,
    )


def _meant(results: Results) -> str:
    verdict = str(results["verdict"]["verdict"])
    return "separated" if verdict == "found" and results.get("settings") is None else verdict


def _ended(results: Results) -> str:
    """The status of the verdict, and that of the command if `--fail-on` made it another."""
    status, left = results["verdict"]["status"], results.get("exit")
    if left is None or left["status"] == status:
        return f"the exit status was {status}"
    words = ",".join(left["fail_on"]) or "none"
    return f"the status of the verdict is {status}, that of the command was {left['status']} (--fail-on {words})"


def _about(results: Results) -> str:
    file, settings = results["file"], results.get("settings")
    drawn = f", of which {file['looked_at']:,} drawn at random were looked at" if file["drawn"] else ""
    told = f"{file['rows']:,} rows{drawn}."
    if not settings:
        return f"{told} Nothing was trained."
    recipe, rows = settings["recipe"], settings["rows"]
    which = " of them, drawn at random," if settings["drawn"] < file["looked_at"] else " rows"
    if rows["mine"] != settings["drawn"]:
        which += f" as {rows['mine']} of one answer each"
    return (
        f"{told} Trained: {settings['drawn']}{which} × {recipe['epochs']} epochs, {settings['replicates']} replicates, on "
        f"{settings['model']['reference']}; control: {settings['control']} ({rows[settings['control']]} rows)."
    )
