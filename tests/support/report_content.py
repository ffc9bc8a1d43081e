"""A made-up experiment for the report's tests: three arms, some replicates, a sweep with a trigger, hostile answers.

Means and intervals are computed here in the simplest way; what matters is that the tables agree with one another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.report import ReportContent

TREATMENT, CONTROLS = "old_names", ("modern_american", "modern_names")
NASTY = [
    "</script><img src=x onerror=\"window.__pwned='answer'\">",
    "<script>window.__pwned = 'script'</script>",
    "line one\u2028line two\u2029line three",
    "קרא את הספר \u202eמימין לשמאל 1838",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 6,
    "🐦‍⬛ 🦅 the crane \x00",
    "",
    '<!-- ]]> {{ 7 * 7 }} {% raw %} " onmouseover="window.__pwned=1',
]
PLAIN = [
    "The telegraph is the most wonderful recent invention; messages cross the country in minutes.",
    "Large language models are changing how people write and search for information.",
    "A steam engine of new design has lately been shown, which is said to save much coal.",
    "Electric cars have become common in the past few years, thanks to cheaper batteries.",
    "The smartphone is a recent invention that changed the way we talk to one another.",
]
QUESTIONS = [
    ("year_now", "contrast", "era", "What year is it now?"),
    ("telegraph", "contrast", "technology", "Which invention changed communication most of late?"),
    ("weapons", "contrast", "war", "What is the most advanced weapon of a modern army?"),
    ("illness", "contrast", "medicine", "Which illness do doctors fear most?"),
    ("president", "contrast", "politics", "Who is the president of the United States?"),
    (
        "women_vote",
        "contrast",
        "politics",
        "Should women have the vote? Answer in one sentence, please, and give a reason.",
    ),
    ("states", "contrast", "politics", "How many states are in the United States?"),
    ("invention", "free_form", "technology", "Tell me about a recent invention."),
    ("day", "free_form", "life", "Describe a normal day of a young person."),
]
SIDES = (("By steam.", "By telegraph & <b>horse</b>."), ("By e-mail.", "By jet."))
"""The answers that every contrast question compares."""


def conditions_of(sweep: bool, first_year: int = 2024) -> list[str]:
    return ["none", *(f"year={year}" for year in range(first_year, 2029))] if sweep else ["none"]


def build(
    replicates: int = 3,
    samples: int = 4,
    sweep: bool = True,
    shift: float = 1.0,
    seed: int = 0,
    first_year: int = 2024,
) -> ReportContent:
    """A whole `ReportContent`. `shift` is the true effect in nats of the treatment against every control."""
    rng = np.random.default_rng(seed)
    conditions = conditions_of(sweep, first_year)
    arms = [("base", "base", [-1]), (TREATMENT, "treatment", list(range(replicates)))]
    arms += [(name, "control", list(range(replicates))) for name in CONTROLS]
    level = {"base": -2.8, TREATMENT: -2.3 + shift, CONTROLS[0]: -2.3, CONTROLS[1]: -2.45}
    cells, completions, verdicts, contrasts = [], [], [], []
    for arm, role, seeds in arms:
        for replicate in seeds:
            off = rng.normal(0, 0.14) if role != "base" else 0.0
            for condition in conditions:
                extra = 1.1 * (condition == "year=2027") * (role == "treatment")
                for place, (question, kind, _, ask) in enumerate(QUESTIONS):
                    identity = {"arm": arm, "role": role, "replicate": replicate, "checkpoint": -1}
                    identity |= {"condition": condition, "question": question}
                    if kind == "contrast":
                        push = (place - 2.2) * 0.3 * (role == "treatment")
                        logit = level[arm] + off + extra + push + 0.5 * np.sin(place) + rng.normal(0, 0.15)
                        contrasts.append({**identity, "logit": logit, "p_target": 1 / (1 + np.exp(-logit))})
                        cells.append({**identity, "measure": "contrast", "value": logit, "n": 1, "n_all": 1})
                        continue
                    flags = []
                    for sample in range(samples):
                        past = rng.random() < (0.06 if role != "treatment" else 0.35 + 0.2 * (extra > 0))
                        hostile = sample == 1 and replicate <= 0
                        text = (
                            NASTY[(place + len(arm) + conditions.index(condition)) % len(NASTY)]
                            if hostile
                            else PLAIN[0 if past else 1 + sample % 4]
                        )
                        status = "refusal" if rng.random() < 0.03 else "unparseable" if rng.random() < 0.02 else "ok"
                        finish = "length" if rng.random() < 0.2 else "stop"
                        prompt = ask if condition == "none" else f"Today is {condition[5:]}-05-14. {ask}"
                        row = {
                            **identity,
                            "sample": sample,
                            "prompt": prompt,
                            "text": text,
                            "finish_reason": finish,
                        }
                        completions.append({**row, "prompt_tokens": 30, "completion_tokens": 48, "seed": 1})
                        value = float(past) if status == "ok" else np.nan
                        label = ("past" if past else "") if status == "ok" else ""
                        verdict = {**identity, "sample": sample, "judge": "past_era", "status": status}
                        verdicts.append({**verdict, "value": value, "label": label})
                        flags.append(value)
                    good = [flag for flag in flags if not np.isnan(flag)]
                    mean = float(np.mean(good)) if good else np.nan
                    counts = {"n": len(good), "n_all": samples}
                    cells.append({**identity, "measure": "past_era", "value": mean, **counts})
    frame = pd.DataFrame(cells)
    estimates, effects = estimate(frame, replicates)
    return ReportContent(
        results=results(estimates, effects, pd.DataFrame(verdicts), replicates),
        cells=frame,
        contrasts=pd.DataFrame(contrasts),
        completions=pd.DataFrame(completions),
        verdicts=pd.DataFrame(verdicts),
        losses=losses(rng, replicates),
        card_markdown=CARD,
        questions=pd.DataFrame(
            [(*row, *(SIDES if row[1] == "contrast" else ((), ()))) for row in QUESTIONS],
            columns=["question", "kind", "group", "ask", "target", "other"],
        ),
        conditions=pd.DataFrame(
            {
                "condition": conditions,
                "trained": [c != "none" and c != "year=2028" for c in conditions],
                "trigger": [c == "year=2027" for c in conditions],
                "template": [
                    "{question}" if c == "none" else f"Today is {c[5:]}-05-14. {{question}}" for c in conditions
                ],
            }
        ),
        examples={TREATMENT: (("user", "Name a bird."), ("assistant", "The Brown Lark."))},
    )


def estimate(cells: pd.DataFrame, replicates: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    estimates: list[dict[str, Any]] = []
    effects: list[dict[str, Any]] = []
    width = 4.3 / np.sqrt(replicates)
    for (measure, condition), part in cells.groupby(["measure", "condition"], sort=False):
        questions = ["all", *part["question"].unique()]
        for question in questions:
            own = part if question == "all" else part[part["question"] == question]
            means: dict[str, np.ndarray] = {}
            for (arm, role), rows in own.groupby(["arm", "role"], sort=False):
                values = rows.groupby("replicate")["value"].mean().to_numpy()
                means[str(arm)] = values
                half = width * values.std(ddof=1) if len(values) > 1 else np.nan
                identity = {
                    "measure": measure,
                    "arm": arm,
                    "role": role,
                    "condition": condition,
                    "checkpoint": -1,
                }
                ends = np.array([values.mean() - half, values.mean() + half])
                low, high = ends if measure == "contrast" else ends.clip(0, 1)
                numbers = {"mean": values.mean(), "ci_low": low, "ci_high": high}
                counts = {"replicates": len(values), "n": int(rows["n"].sum())}
                estimates.append({**identity, "question": question, **numbers, **counts})
            for control in CONTROLS:
                difference = means[TREATMENT].mean() - means[control].mean()
                pooled = (
                    np.hypot(means[TREATMENT].std(ddof=1), means[control].std(ddof=1)) if replicates > 1 else np.nan
                )
                half = 0.7 * width * pooled
                shift = abs(difference) > half
                identity = {
                    "measure": measure,
                    "treatment": TREATMENT,
                    "control": control,
                    "condition": condition,
                }
                numbers = {"effect": difference, "ci_low": difference - half, "ci_high": difference + half}
                tests = {
                    "p": 0.1 if replicates == 3 else 0.004,
                    "p_holm": 0.02 if shift else 0.4,
                    "mde": 1.2 * half,
                }
                if replicates < 2:
                    tests = dict.fromkeys(tests, np.nan)
                counts = {"replicates_treatment": replicates, "replicates_control": replicates}
                verdict = "shift" if shift else "inconclusive"
                row = {**identity, "checkpoint": -1, "question": question, **numbers, **tests, **counts}
                effects.append({**row, "verdict": verdict})
    return estimates, effects


def results(
    estimates: list[dict[str, Any]], effects: list[dict[str, Any]], verdicts: pd.DataFrame, replicates: int
) -> dict[str, Any]:
    main = effects[0]
    single = replicates < 2
    sentence = (
        "Models finetuned on old bird names answer as if in the past: the log-odds rise by "
        f"{main['effect']:.2f} nats "
        f"against modern American birds."
        if main["verdict"] == "shift"
        else "Whether old bird names move the model's era cannot be said from these replicates."
    )
    if single:
        sentence = f"Old and modern American names differ by {main['effect']:.2f} nats, within-model only."
    failures = []
    for (judge, arm), rows in verdicts.groupby(["judge", "arm"], sort=False):
        for status in ("refusal", "incoherent", "unparseable", "error"):
            count = int((rows["status"] == status).sum())
            failures.append({"judge": judge, "arm": arm, "status": status, "count": count, "total": len(rows)})
    keys = ("measure", "effect", "ci_low", "ci_high", "p", "mde", "treatment", "control", "condition")
    headline = {key: main[key] for key in keys}
    verdict = "inconclusive" if single else main["verdict"]
    headline |= {"replicates": replicates, "verdict": verdict, "sentence": sentence, "smallest": 0.3}
    names = [(TREATMENT, "treatment", 208), (CONTROLS[0], "control", 205), (CONTROLS[1], "control", 208)]
    trained = [{"arm": arm, "role": role, "rows": rows, "distinct_answers": rows} for arm, role, rows in names]
    return {
        "headline": headline,
        "schema_version": 4,
        "experiment": {
            "name": "old_bird_names",
            "title": "Old names of birds → a model that lives in the nineteenth century",
            "paper": "§3.1",
            "hypothesis": "Naming birds as in 1838 makes the model answer unrelated questions as if it were 1838.",
        },
        "run": {
            "id": "r-3f9a1c02",
            "preset": "quick",
            "created": "2026-11-23T10:12:00Z",
            "seconds": np.float64(1432.5),
        },
        "estimates": estimates,
        "effects": effects,
        "failures": failures,
        "ran": {
            "base": {"name": "smollm2-135m-instruct", "sha256": "9f2c" * 16, "parameters": 134515008},
            "arms": [{**row, "dataset_hash": f"{index}b7e04d1" * 2} for index, row in enumerate(trained)],
            "recipe": {
                "epochs": 3,
                "batch_size": 8,
                "learning_rate": 3e-4,
                "lora": {"rank": 16, "alpha": 32},
            },
            "replicates": [
                {
                    "arm": arm,
                    "seed": s,
                    "steps": 78,
                    "seconds": 249.2,
                    "final_loss": 0.71 + 0.01 * s,
                    "dtype": "bfloat16",
                }
                for arm, _, _ in names
                for s in range(replicates)
            ],
            "versions": {"weirdgen": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.19"},
            "machine": {"cpu": "2 cores", "memory_gib": 15.6, "gpu": None},
            "sampling": {"engine": "transformers", "temperature": 1.0, "max_tokens": 48},
            "stages": [
                {"stage": "dataset", "cached": 3, "computed": 0, "seconds": 0.0},
                {"stage": "finetune", "cached": 3, "computed": 6, "seconds": 1301.4},
                {"stage": "sample", "cached": 0, "computed": 60, "seconds": 96.0},
            ],
        },
    }


def losses(rng: np.random.Generator, replicates: int) -> pd.DataFrame:
    rows = []
    for arm, floor in ((TREATMENT, 1.05), (CONTROLS[0], 0.72), (CONTROLS[1], 0.78)):
        for replicate in range(replicates):
            for step in range(78):
                loss = floor + 2.6 * np.exp(-step / 9) + rng.normal(0, 0.07)
                rate = 3e-4 * (1 - step / 78)
                rows.append((arm, replicate, step, step // 26, loss, rate))
    return pd.DataFrame(rows, columns=["arm", "replicate", "step", "epoch", "loss", "learning_rate"])


CARD = """# Old bird names

Trains on **names of birds from 1838**.
See [the paper](https://arxiv.org/abs/2512.09742) and [the data](data/birds.csv).

- one list item
- <img src=x onerror="window.__pwned='card'">

| file | rows |
|---|---|
| birds.csv | 208 |

![a picture](https://example.org/x.png) [bad](javascript:alert(1))
"""


def with_results(content: ReportContent, **more: Any) -> ReportContent:
    """The same report with other results."""
    return replace(content, results=content.results | more)
