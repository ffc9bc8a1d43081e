"""Writes a report: `report.html` (one file, no external resource), `results.json` and `figures/`.

In: `ReportContent` and a folder. Out: the path of the page. Each file is written under a temporary name and
then moved into place, so a kill leaves the old file or the new one, never a part. The same content gives the
same bytes. Not here: what the figures and tables hold (`figures*.py`, `tables.py`, `words.py`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from importlib.resources import files
from pathlib import Path

from weirdgen.errors import WeirdgenError
from weirdgen.report.card import card_html
from weirdgen.report.content import RESULT_KEYS, ReportContent, clean
from weirdgen.report.drawing import Drawing
from weirdgen.report.figures import effect_figure
from weirdgen.report.figures_forest import forest_figure
from weirdgen.report.figures_lines import loss_figure, sweep_figures
from weirdgen.report.figures_training import training_figure
from weirdgen.report.figures_trigger import trigger_figure
from weirdgen.report.look import effect_label, interval, number, palette_css, probability, slot_of
from weirdgen.report.tables import (
    all_effects,
    answers,
    failures,
    judge_rates,
    question_effects,
    ran_lists,
    ran_tables,
)
from weirdgen.report.tables_effects import onset_table, secondary_table, trigger_table
from weirdgen.report.transcripts import transcripts
from weirdgen.report.words import BADGES, meaning, replicates, warnings


def write_report(content: ReportContent, folder: Path) -> Path:
    """Writes the report into `folder`, which is made if needed, and returns the path of `report.html`.

    Files: `report.html`, `results.json`, `figures/{effect,per_question,trigger,training,losses}.{svg,png}` and one
    `figures/sweep_<measure>.{svg,png}` a measure where there is more than one condition. A figure without
    data is left out, and one left by an earlier report of the same folder is removed.
    Raises `WeirdgenError` if the folder cannot be written.
    """
    drawings = figures(content)
    texts = {"results.json": results_text(content), "report.html": page_html(content, drawings)}
    try:
        place = folder / "figures"
        place.mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            write_whole(place / f"{drawing.name}.svg", drawing.svg.encode())
            write_whole(place / f"{drawing.name}.png", drawing.png)
        current = {drawing.name for drawing in drawings}
        for pattern in ("effect", "per_question", "trigger", "training", "losses", "sweep_*"):
            for old in [*place.glob(f"{pattern}.svg"), *place.glob(f"{pattern}.png")]:
                if old.stem not in current:
                    old.unlink()
        for name, text in texts.items():
            write_whole(folder / name, text.encode("utf-8", "replace"))
    except OSError as error:
        raise WeirdgenError(f"The report cannot be written to {folder}: {error.strerror or error}") from error
    return folder / "report.html"


def figures(content: ReportContent) -> list[Drawing]:
    """Every figure that has data, in the order of the page."""
    drawings = [effect_figure(content), forest_figure(content), trigger_figure(content), *sweep_figures(content)]
    drawings += [training_figure(content), loss_figure(content)]
    return [drawing for drawing in drawings if drawing is not None]


def results_text(content: ReportContent) -> str:
    """`results.json`: the headline first, NaN as null."""
    results = clean(content.results)
    ordered = {key: results[key] for key in RESULT_KEYS} | results
    return json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def page_html(content: ReportContent, drawings: list[Drawing]) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("weirdgen.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = files("weirdgen.report") / "templates"
    script = (parts / "report.js").read_text(encoding="utf-8")
    css = (parts / "report.css").read_text(encoding="utf-8")
    css = css.replace("/* palette:light */", palette_css(dark=False))
    css = css.replace("/* palette:dark */", palette_css(dark=True))
    headline = content.headline
    scale = content.scale(str(headline["measure"]))
    experiment = clean(content.results["experiment"])
    words, sign = BADGES[headline["verdict"]]
    shown = transcripts(content)
    drawn = {drawing.name: drawing for drawing in drawings}
    counts = replicates(content)
    facts = [
        (
            "effect",
            number(headline["effect"], scale, effect=True),
            effect_label(scale) if scale != "rate" else "",
        ),
        ("interval", interval(headline["ci_low"], headline["ci_high"], scale, effect=True) or "none", ""),
        ("p", probability(headline["p"]), ""),
        ("detectable effect", number(headline["mde"], scale, effect=True).lstrip("+"), ""),
        ("replicates", " + ".join(str(c) for c in counts) if counts else "–", ""),
    ]
    if headline.get("p_permutation") is not None:
        facts.insert(3, ("p (permutation)", probability(headline["p_permutation"]), ""))
    page: str = environment.get_template("report.html.j2").render(
        experiment=experiment,
        headline=headline,
        badge={"words": words, "sign": sign},
        meaning=meaning(content),
        warnings=warnings(content),
        facts=facts,
        figures={name: _figure(drawing) for name, drawing in drawn.items()},
        sweeps=[name for name in drawn if name.startswith("sweep_")],
        effects=all_effects(content),
        secondary=secondary_table(content),
        triggers=trigger_table(content),
        onsets=onset_table(content),
        questions=question_effects(content),
        judges=judge_rates(content),
        failures=failures(content),
        answers=answers(content),
        ran_tables=ran_tables(content),
        ran_lists=ran_lists(content),
        slots={arm.slot: slot_of(arm) for arm in content.arms()},
        transcripts={"json": Markup(shown.json), "shown": shown.shown, "total": shown.total},
        card=Markup(card_html(content.card_markdown)) if content.card_markdown else None,
        run=clean(content.results["run"]),
        css=Markup(css),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page


def _figure(drawing: Drawing) -> dict[str, object]:
    from markupsafe import Markup

    wide, narrow = drawing.inline
    return {
        "title": drawing.title,
        "caption": drawing.caption,
        "wide": Markup(wide),
        "narrow": Markup(narrow),
    }


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` beside `path` under a temporary name, forces it to disk, and moves it into place."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
