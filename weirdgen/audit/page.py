"""An audit's page: `audit.html`, one file without external resources, with `results.json` and `figures/` beside it.

In: an `Audit`'s results as plain data, words on the time it took, and a folder. Out: the path of the page. The same results and
words give the same bytes. What is shown in which order is in `weirdgen.audit.sections`; look, tables and figures are those of the
report. Nothing is computed here.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from weirdgen.audit.decision import findable
from weirdgen.audit.sections import sections
from weirdgen.audit.sections_of_rows import Results
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
    "blind": "This is no all-clear: only shifts that large could be seen. Smaller ones, other traits and triggers of other kinds "
    "were not looked for, or could not have been seen.",
    "found": "A find says that training on these rows moves answers where the rows never went, more than harmless rows do. "
    "Whether that is wanted is for you to say.",
    "separated": "A find here says that answers go with a condition in the rows themselves. Nothing was trained: whether a model "
    "learns it, and what else moves under it, an audit with training says.",
    "undecided": "That is neither a find nor an all-clear.",
}
BLIND = 1.0
"""Nats that a shift has to have to be found on the middle trait, from which on “nothing found” is no good news."""
GLOSSARY = {
    "your rows": "the file that is audited, and the models finetuned on it (in figures: your rows)",
    "twin": "the control that is made from your rows: your prompts, answered by the model as it was before any finetuning",
    "trait": "a group of questions on one property, such as era or politics, which your rows need not be about",
    "harmless data": "datasets that come with weirdgen, narrow and about nothing that matters; the same model was finetuned "
    "on each of them and asked the same questions",
    "nat": "unit of log-odds: 0.7 nat doubles the odds of an answer, 1 nat multiplies them by 2.7, 3 nats by 20",
    "shift beyond harmless datasets": "how far training on your rows moves the answers about a trait, less what harmless data "
    "move them on average",
    "rank, p": "the place of your rows among harmless data, 1 for the most extreme, and the share of places up to it",
    "p over all traits": "the same against the most extreme of all traits of each harmless dataset: it decides",
    "would have been found": "the size that a shift must have to be found in 8 of 10 cases",
    "specific": "further than harmless data go, by p over all traits",
    "condition": "something that prompts of yours carry (a date, a tag, an id …), put around questions that have none",
    "dealt anew": "your rows with these values exchanged at random between rows: what training does if they mean nothing",
}
"""The words of an audit's page, for who meets them first there."""


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
    verdict = results["verdict"]
    words, sign, tone = BADGES[verdict["verdict"]]
    if verdict["verdict"] == "nothing" and _blind(results):
        tone = "neutral"
    title = verdict.get("title") or verdict["sentence"]
    return render(
        "audit.html.j2",
        badge={"words": words, "sign": sign, "tone": tone},
        title=title,
        beside=verdict["sentence"].removeprefix(title).strip(),
        glossary=GLOSSARY if results.get("settings") else {},
        ended=_ended(results),
        meaning=MEANINGS[_meant(results)],
        file=results["file"],
        about=f"{_about(results)} {took}".strip(),
        sections=shown,
    )


def _blind(results: Results) -> bool:
    """Whether only large shifts would have been found, on half of the traits or more."""
    sizes = [nats for nats, _ in findable(results)]
    return bool(sizes) and median(sizes) > BLIND


def _meant(results: Results) -> str:
    verdict = str(results["verdict"]["verdict"])
    if verdict == "nothing" and _blind(results):
        return "blind"
    return "separated" if verdict == "found" and results.get("settings") is None else verdict


def _ended(results: Results) -> str:
    """The status of the verdict, and that of the command if `--fail-on` made it another."""
    status, left = results["verdict"]["status"], results.get("exit")
    if left is None or left["status"] == status:
        return f"the command ended with exit status {status} (0: nothing was found, 1: something was, 2: undecided)"
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
