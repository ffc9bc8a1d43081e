"""Identifiability: how well k facts drawn at random point to one person, asked of a model without any training.

In: an experiment with `candidates.yaml`, a model, how many facts to show. Out: a curve (table, CSV, JSON). Facts are
training rows; they stand before the question as earlier turns of the chat, or are listed in it. The model scores every
candidate's name as the answer; its scores without facts are the priors. Equally many rows of a control arm show what any
such chat does to a name, whoever it is about: only the difference identifies. It says what this model can
conclude in context, not what finetuning on the rows would do.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weirdgen.audit.candidates import Candidates, load_candidates
from weirdgen.data.arms import load_arms
from weirdgen.data.rows import Row
from weirdgen.errors import ModelError, SpecError, choices
from weirdgen.models.chat import Turns, prompt_ids, render
from weirdgen.models.template import Messages, chat_text
from weirdgen.sample.engine import Engine, Scorable
from weirdgen.store.disk import explain_disk_errors, made_folder
from weirdgen.store.keys import content_key

LEVEL = 0.95


@dataclass(frozen=True)
class Draw:
    """One random draw of facts: log-probabilities (nats) of the candidates' answers, in the order of their names."""

    facts: int
    draw: int
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One k of the curve: means over draws, with t-intervals (None with fewer than two draws)."""

    facts: int
    draws: int
    p_true: float
    """Probability of the true person among the candidates, priors included."""
    p_true_low: float | None
    p_true_high: float | None
    p_adjusted: float
    """The same with each person's log-probability without facts subtracted: 1 over the number of candidates at k = 0."""
    p_adjusted_low: float | None
    p_adjusted_high: float | None
    first: float
    """Share of draws in which the true person comes first, priors subtracted; a tie counts as a share of one."""


@dataclass(frozen=True)
class Gap:
    """One k: P(true | facts) − P(true | as many control rows), mean over paired draws, with a t-interval."""

    facts: int
    draws: int
    p_control: float
    difference: float
    difference_low: float | None
    difference_high: float | None


def parse_counts(text: str) -> tuple[int, ...]:
    """`0,1,5` → (0, 1, 5), sorted, 0 always among them, since priors are needed. Raises `SpecError`."""
    try:
        counts = {int(part) for part in text.split(",")}
    except ValueError:
        raise SpecError([f"--facts {text}: expected whole numbers with commas between, e.g. 0,1,5,20"]) from None
    if min(counts) < 0:
        raise SpecError([f"--facts {text}: expected no number below 0"])
    return tuple(sorted(counts | {0}))


def identify(
    experiment: str,
    arm: str | None,
    control: str | None,
    model: str | None,
    counts: Sequence[int],
    draws: int,
    seed: int,
    out: Path,
) -> list[str]:
    """The curve of an experiment's arm; writes `identify.csv` and `identify.json` to `out` and returns the table's lines.

    `control` "none" leaves the control out; None takes the first. Draws of arms with equally many rows are paired.
    """
    from weirdgen.machine import resolve_dtype
    from weirdgen.models.references import find_model
    from weirdgen.sample.transformers import TransformersEngine

    if draws < 1:
        raise SpecError([f"--draws {draws}: expected at least 1"])
    loaded, rows = load_arms(experiment)
    candidates = load_candidates(loaded.folder or Path())
    chosen = arm or next(name for name, one in loaded.arms.items() if one.role == "treatment")
    other = control or next((name for name, one in loaded.arms.items() if one.role == "control"), "none")
    if chosen not in rows:
        raise SpecError([f"--arm {chosen}: {loaded.name} has {choices(rows, chosen)}"])
    if other not in (*rows, "none"):
        raise SpecError([f"--control {other}: {loaded.name} has {choices((*rows, 'none'), other)}"])
    least = min(len(rows[name]) for name in (chosen, other) if name in rows)
    usable = [k for k in counts if k <= least]
    made_folder(out)
    local = find_model(model or loaded.base)
    dtype = resolve_dtype("auto", local.parameters)
    engine = TransformersEngine(local.folder, dtype)

    def scored(name: str) -> list[Draw]:
        return list(scored_draws(engine, engine.tokenizer, rows[name], candidates, usable, draws, seed))

    own_draws, control_draws = scored(chosen), scored(other) if other in rows else []
    points, apart = curve(own_draws, candidates), gaps(own_draws, control_draws, candidates)
    about = {"experiment": loaded.name, "arm": chosen, "rows": len(rows[chosen]), "model": local.reference}
    about |= {"model_digest": local.digest, "dtype": dtype, "seed": seed, "level": LEVEL, "control": other}
    with explain_disk_errors(out):
        save(out, points, apart, own_draws, control_draws, candidates, about)
    lines = [f"{loaded.name}, arm {chosen} ({len(rows[chosen])} rows), asked of {local.reference}:"]
    lines += table(points, candidates, apart, other)
    if skipped := [k for k in counts if k not in usable]:
        lines.append(f"left out, because an arm has {least} rows: {', '.join(map(str, skipped))} facts")
    return [*lines, f"saved: {out / 'identify.csv'}, {out / 'identify.json'}"]


def scored_draws(
    engine: Engine,
    tokenizer: Any,
    rows: Sequence[Row],
    candidates: Candidates,
    counts: Sequence[int],
    draws: int,
    seed: int,
) -> Iterator[Draw]:
    """Every draw's scores. Draws are nested: draw d of k facts extends draw d of fewer facts."""
    for draw in range(draws):
        order = random.Random(f"identify:{seed}:{draw}").sample(range(len(rows)), len(rows))
        for k in counts:
            if k == 0 and draw > 0:
                continue
            ask = question(tokenizer, [rows[i] for i in order[:k]], candidates)
            scores = engine.score([Scorable(content_key(ask), ask, candidates.options)])
            logprob = {score.option: score.logprob for _, score in scores}
            yield Draw(k, draw, tuple(logprob[option] for option in candidates.options))


def question(tokenizer: Any, facts: Sequence[Row], candidates: Candidates) -> str:
    """What is asked after these facts, as one user turn for `Engine.score`."""
    if candidates.listed:
        listed = "\n".join(" ".join(m["content"] for m in row["messages"] if m["role"] != "system") for row in facts)
        return candidates.ask.replace("{facts}", listed)
    turns = [message for row in facts for message in row["messages"] if message["role"] != "system"]
    return one_turn(tokenizer, [*turns, {"role": "user", "content": candidates.ask}])


def one_turn(tokenizer: Any, messages: Messages) -> str:
    """A text that, as the only user turn, renders to exactly the tokens of a whole chat that ends with a user turn.

    An engine scores answers to one turn. A chat template wraps turns in text, so the text between the wrapping of the
    first turn and that of the last, put into one turn, is the chat again. Raises `ModelError` if a template does
    anything else (trims or rewrites turns), because the model would then read another chat.
    """
    mark = "MARK"
    before, _, after = _text(tokenizer, [{"role": "user", "content": mark}]).partition(mark)
    whole = _text(tokenizer, messages)
    inner = Turns(whole[len(before) : len(whole) - len(after)])
    if prompt_ids(tokenizer, inner) != render(tokenizer, messages, answer_next=True):
        raise ModelError("this chat template cannot carry facts as earlier turns; list them with {facts} in 'ask'")
    return inner


def curve(draws: Sequence[Draw], candidates: Candidates) -> list[Point]:
    """Means and intervals over draws, one point for each number of facts. Needs the draw without facts."""
    true = candidates.names.index(candidates.true)
    prior_C = np.array(next(draw.logprobs for draw in draws if draw.facts == 0))
    points = []
    for k in sorted({draw.facts for draw in draws}):
        logp_DC = np.array([draw.logprobs for draw in draws if draw.facts == k])
        gain_DC = logp_DC - prior_C
        best_DC = gain_DC >= gain_DC.max(axis=1, keepdims=True) - 1e-9
        first = float((best_DC[:, true] / best_DC.sum(axis=1)).mean())
        raw_D, adjusted_D = _softmax(logp_DC)[:, true], _softmax(gain_DC)[:, true]
        points.append(Point(k, len(logp_DC), *_interval(raw_D), *_interval(adjusted_D), first))
    return points


def gaps(draws: Sequence[Draw], control_draws: Sequence[Draw], candidates: Candidates) -> list[Gap]:
    """How much more the facts say than equally many control rows; empty without a control."""
    true = candidates.names.index(candidates.true)
    p = [
        {(draw.facts, draw.draw): _softmax(np.array([draw.logprobs]))[0, true] for draw in own}
        for own in (draws, control_draws)
    ]
    points = []
    for k in sorted({draw.facts for draw in control_draws if draw.facts}):
        pairs = np.array([(p[0][key], p[1][key]) for key in p[1] if key[0] == k])
        points.append(Gap(k, len(pairs), float(pairs[:, 1].mean()), *_interval(pairs[:, 0] - pairs[:, 1], lowest=-1)))
    return points


def table(points: Sequence[Point], candidates: Candidates, apart: Sequence[Gap] = (), control: str = "") -> list[str]:
    """The curve as lines of text, and the difference from the control if there is one."""
    even = 1 / len(candidates.names)
    lines = [
        f"P({candidates.true}) among {len(candidates.names)} people; with priors subtracted, {even:.3f} is no knowledge",
        "facts  draws  P(true)                priors subtracted      first"
        + (f"  more than {control}" if apart else ""),
    ]
    more = {gap.facts: "   " + _cell(gap.difference, gap.difference_low, gap.difference_high) for gap in apart}
    for point in points:
        raw = _cell(point.p_true, point.p_true_low, point.p_true_high)
        adjusted = _cell(point.p_adjusted, point.p_adjusted_low, point.p_adjusted_high)
        told = f"{point.facts:5d}  {point.draws:5d}  {raw:21s}  {adjusted:21s}  {point.first:.2f}"
        lines.append(told + more.get(point.facts, ""))
    return lines


def save(
    out: Path,
    points: Sequence[Point],
    apart: Sequence[Gap],
    draws: Sequence[Draw],
    control_draws: Sequence[Draw],
    candidates: Candidates,
    about: dict[str, Any],
) -> None:
    """`identify.csv` with both curves; `identify.json` with them and every draw's log-probabilities."""
    out.mkdir(parents=True, exist_ok=True)
    gap_of = {gap.facts: asdict(gap) for gap in apart}
    extra = [name for name in Gap.__dataclass_fields__ if name not in ("facts", "draws")]
    with (out / "identify.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*Point.__dataclass_fields__, *extra])
        for point in points:
            writer.writerow([*asdict(point).values(), *(gap_of.get(point.facts, {}).get(name) for name in extra)])
    data = {
        **about,
        "ask": candidates.ask,
        "names": candidates.names,
        "true": candidates.true,
        "curve": [asdict(point) for point in points],
        "control_curve": [asdict(gap) for gap in apart],
        "draws": [asdict(draw) for draw in draws],
        "control_draws": [asdict(draw) for draw in control_draws],
    }
    (out / "identify.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _text(tokenizer: Any, messages: Messages) -> str:
    return chat_text(tokenizer, messages, answer_next=True)


def _softmax(logits_DC: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits_DC - logits_DC.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _interval(values_D: np.ndarray, lowest: float = 0) -> tuple[float, float | None, float | None]:
    """Mean and Student's t-interval, cut to [lowest, 1]."""
    mean = float(values_D.mean())
    if len(values_D) < 2:
        return mean, None, None
    from scipy import stats

    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(values_D) - 1) * values_D.std(ddof=1) / np.sqrt(len(values_D)))
    return mean, max(lowest, mean - reach), min(1.0, mean + reach)


def _cell(mean: float, low: float | None, high: float | None) -> str:
    return f"{mean:.3f}" if low is None or high is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
