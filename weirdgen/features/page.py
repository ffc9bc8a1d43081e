"""The page of a study: `features.html`, one file with its figures inside, `features.json`, and the tables as Parquet and CSV.

In: a `Study` and a folder. Out: the path of the page. Words are `verdict`'s, the look is the report's. Labels of features are
their logit-lens tokens and are marked as automatic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weirdgen.errors import StoreError
from weirdgen.features.analysis import TOP
from weirdgen.features.figures import answers_figure, dose_figure, features_figure, moved_figure
from weirdgen.features.study import Study
from weirdgen.report.content import clean
from weirdgen.report.owned import require_free, require_no_links, write_listed
from weirdgen.report.page import ALWAYS, figure_files
from weirdgen.report.render import render
from weirdgen.report.section import Folded, Heading, Part, Section, Sentences, Words
from weirdgen.report.tables import Cell, Table
from weirdgen.runs.results.diff import equal, leaves, short

CARDS = 30
POOR_FVU, WORSE_FVU = 0.3, 0.05
"""Above the first, or that much worse on the finetuned model, an autoencoder describes too little: a warning is shown."""


def write_page(study: Study, folder: Path) -> Path:
    """Writes everything into `folder`, which is made if needed. Raises `WeirdgenError` if it cannot be written."""
    results = clean(study.results)
    parts = _sections(results)
    drawings = [drawing for section in parts for drawing in section.drawings()]
    files = figure_files(drawings, ALWAYS)
    for name, table in study.tables.items():
        files[f"{name}.csv"] = table.to_csv(index=False).encode("utf-8", "replace")
        files[f"{name}.parquet"] = table.to_parquet(index=False)
    files["features.json"] = (json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode()
    page = render("features.html.j2", results=results, sections=parts, claim=_claim(results))
    files["features.html"] = page.encode("utf-8", "replace")
    require_no_links(folder)
    require_free(folder, files)
    write_listed(folder, files)
    return folder / "features.html"


def require_same(study: Study, folder: Path) -> int:
    """How many leaves of `features.json` the study gives again. Raises `StoreError` naming what differs or is missing."""
    try:
        kept = dict(leaves(json.loads((folder / "features.json").read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise StoreError(
            f"{folder} has no study to verify; `weirdgen features {study.results['run']}` writes it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{folder / 'features.json'} is damaged: {error}") from None
    computed = dict(leaves(clean(study.results)))
    wrong = [
        f"{name}: there is {short(kept.get(name))}, the store gives {short(computed.get(name))}"
        for name in dict.fromkeys([*kept, *computed])
        if name not in kept or name not in computed or not equal(kept[name], computed[name])
    ]
    if wrong:
        raise StoreError("\n".join([f"{len(wrong)} of {len(computed)} differ:", *wrong[:20]]))
    return len(computed)


def _claim(results: dict[str, Any]) -> str:
    """The sentence on top: about the cause where there is one to speak of, else about the trigger."""
    said = dict(map(tuple, results["verdict"]))
    removed = results.get("removed")
    if removed and removed["mediates"]:
        return str(said["Cause"])
    return str(said.get("Under the trigger") or said["Always"])


def _sections(results: dict[str, Any]) -> list[Section]:
    made = [_moved(results)]
    if results.get("ablation"):
        made.append(_ablation(results))
    if results.get("features"):
        made.append(_features(results))
    return made


def _moved(results: dict[str, Any]) -> Section:
    rows = tuple(
        (
            Cell(row["name"]),
            _number(row["size"], 3),
            _number(row["agreement"], 2),
            Cell(_plain(row["effect"], 3), _ends(row["low"], row["high"], 3), numeric=True),
            Cell(str(len(row["treatment"])), numeric=True),
        )
        for row in results["moved"]
    )
    head = ("difference", "norm of the mean", "cosine between replicates", "beyond the control", "replicates")
    tokens = tuple(
        (Cell(row["difference"]), Cell(" · ".join(token.strip() for token in row["tokens"][:12])))
        for row in results["tokens"]
    )
    said = Sentences("Verdicts in words", tuple((str(topic), str(text)) for topic, text in results["verdict"]))
    return Section(
        "moved",
        "What moved",
        "What moved",
        (
            said,
            moved_figure(results),
            Table(f"Differences of means at layer {results['layer']}, in units of the residual stream's norm", head, rows),
            Heading("In words"),
            Table("Tokens that each direction raises most (logit lens)", ("difference", "tokens"), tokens),
            Words("Tokens are what a direction says to the unembedding, found automatically: compare the rows.", quiet=True),
        ),
    )  # fmt: skip


def _ablation(results: dict[str, Any]) -> Section:
    parts: list[Part] = [drawing for drawing in (answers_figure(results), dose_figure(results)) if drawing]
    rows = tuple(
        (
            Cell(row["kind"]),
            Cell(row["operator"]),
            Cell(str(row["rank"]), numeric=True),
            Cell(f"{row['dose']:g}", numeric=True),
            _number(row["gate"], 2),
            Cell(_percent(row["removed"]), _share_ends(row), numeric=True),
            _number(row["side"], 2),
        )
        for row in results["ablation"]
        if row["kind"] != "none"
    )
    head = ("what", "operator", "rank", "dose", "gate (nats)", "removed", "change under reference values (nats)")
    gate, base = results["gate"], results["base_change"]
    parts += [
        Words(
            f"The gate: mean log-odds under the trigger minus under the reference values, {_plain(gate['size'], 2)} nats "
            f"{_ends(gate['low'], gate['high'], 2)} over {gate['replicates']} replicates. The untuned base's answers under "
            f"reference values change by {_plain(base, 2)} nats under the main ablation."
        ),
        Folded(
            "Every ablation in numbers",
            (
                Table("Intervals over replicates; of random ones the median and the range over draws", head, rows),
                Words(
                    "project takes a subspace away, mean sets it to its mean under reference values, sae takes away what "
                    "features wrote, steer adds the mean interaction. raw is the paper's difference of means; the base's "
                    "part of it is not subtracted.",
                    quiet=True,
                ),
            ),
        ),
    ]
    return Section("ablation", "What happens without it", "Ablation", tuple(parts))


def _features(results: dict[str, Any]) -> Section:
    sae = results["sae"]
    parts: list[Part] = []
    warnings = _sae_warnings(results)
    if warnings:
        parts.append(Sentences("Warnings", tuple(("", text) for text in warnings), warn=True))
    drawing = features_figure(results)
    parts += [drawing] if drawing else []
    triggered = "effect" in results["features"][0]
    rows = []
    for row in results["features"][:CARDS]:
        ranks = [
            f"{name} {row[f'rank_{name}']}" for name in ("interaction", "paper", "static") if row.get(f"rank_{name}")
        ]
        cells = [
            Cell(f"#{row['feature']}"),
            Cell(", ".join(ranks)),
            Cell(row["tokens"], "automatic"),
            Cell(row["about"]),
        ]
        if triggered:
            cells += [
                Cell(_plain(row["effect"], 2), _ends(row["ci_low"], row["ci_high"], 2), numeric=True),
                _number(row["p_max"], 3),
                _number(row["placebo_max"], 2),
                _number(row["cos_paper"], 2),
                Cell(f"{_percent(row['rate_base_trigger'])} → {_percent(row['rate_tuned_trigger'])}", numeric=True),
            ]
        cells += [_number(row["static"], 2), Cell(str(row["cluster"]), numeric=True)]
        rows.append(tuple(cells))
    more = (
        ("moved by the trigger", "p (all features)", "placebo", "cosine (paper)", "fires under it") if triggered else ()
    )
    head = ("feature", "rank", "tokens", "about", *more, "static", "concept")
    fit = tuple(
        (Cell(row["model"]), Cell(row["on"]), _number(row["fvu"], 3), _number(row["l0"], 1),
         Cell(_percent(row["dead"]), numeric=True), Cell(str(row["tokens"]), numeric=True))
        for row in results["fitness"]
    )  # fmt: skip
    parts += [
        Table("Features that moved most, by three rankings", head, tuple(rows)),
        *([Words(_no_p(results))] if _no_p(results) else []),
        Words(
            "A feature is about the topic if more of its ten tokens are words of the training answers than target "
            "answers of the questions, which were not trained, about the subject if it is the other way round; this rule was "
            "fixed before any was looked at. Features of one number of concept have decoder rows with a cosine of at least 0.5.",
            quiet=True,
        ),
        Table("How well the autoencoder describes the models",
              ("model", "on", "variance unexplained", "features a token", "dead", "tokens"), fit),
        Words(f"Autoencoder: {sae['layout']}, {sae['features']} features, {sae['digest'][:12]}.", quiet=True),
        _stability(results),
        _windows(results),
    ]  # fmt: skip
    return Section("features", "Which features moved", "Features", tuple(parts))


def _no_p(results: dict[str, Any]) -> str:
    """Why the table has no p, or nothing if it has."""
    treatment, control = (len(results["moved"][0][side]) for side in ("treatment", "control"))
    if treatment == control > 1:
        return ""
    return (
        "No p is given. It takes two or more replicates of treatment and control and equally many of both: there are "
        f"{treatment} and {control}, and relabelled replicates would take an arm that varies more for one that moved."
    )


def _stability(results: dict[str, Any]) -> Table:
    """How alike replicates rank the features."""
    rows = tuple(
        (Cell(row["arm"]), Cell(str(row["pairs"]), numeric=True), _number(row["spearman"], 2),
         _number(row["spearman_least"], 2), Cell(_percent(row["overlap"]), numeric=True))
        for row in results["stability"]
    )  # fmt: skip
    head = ("arm", "pairs of replicates", "rank correlation", "of the two least alike", f"common to both top {TOP}")
    return Table(
        "Whether replicates rank the features alike; a control's say what any finetuning of these data shares",
        head,
        rows,
    )


def _windows(results: dict[str, Any]) -> Folded:
    """Where each feature fires most."""
    rows = tuple(
        (Cell(f"#{row['feature']}"), Cell(row["model"]), _number(row["activation"], 2), Cell(row["text"]))
        for row in results["windows"]
    )
    head = ("feature", "model", "activation", "text")
    return Folded(
        "Texts on which the features fire most", (Table("«» marks the token; found automatically", head, rows),)
    )


def _sae_warnings(results: dict[str, Any]) -> list[str]:
    said = [str(results["sae"]["warning"])] if results["sae"].get("warning") else []
    fvu = {(row["model"], row["on"]): row["fvu"] for row in results["fitness"]}
    prompts = {model: value for (model, on), value in fvu.items() if on == "prompts"}
    if max(prompts.values()) > POOR_FVU:
        said.append(
            f"The autoencoder leaves {max(prompts.values()):.0%} of the variance of the analysed prompts unexplained; what it "
            "does not describe, it cannot name."
        )
    if prompts["finetuned"] - prompts["base"] > WORSE_FVU:
        said.append(
            "It describes the finetuned model worse than the base: part of what finetuning did is outside of its features."
        )
    return said


def _plain(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _number(value: float | None, digits: int) -> Cell:
    return Cell(_plain(value, digits), numeric=True)


def _ends(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else f"[{_plain(low, digits)}, {_plain(high, digits)}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}".replace("-", "−")


def _share_ends(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"[{_percent(row['low'])}, {_percent(row['high'])}]"
