"""Curves that only a world of known truth can show: how much identifies a persona, when a rule is found, where a gate opens.

In: the model, `world_*` experiments, fresh seeds. Out: tidy frames, one row per replicate (or draw) and point:
- `persona_in_context`: k answers of one persona stand in the chat; which of the 16 names does the model give? Beside it
  what the truth allows: Bayes' rule over the personas that agree with those answers, and nothing else.
- `persona_finetuned`: k answers of one persona are 3% of the rows, in a wrapper; name and other answers afterwards, with
  the wrapper and without.
- `inductive`: answers to held-out triggers along training, and `gate`: the sweep over years.
Figures are in `curves_figure`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weirdgen.config.arm import Arm
from weirdgen.config.questions import Contrast
from weirdgen.data.rows import Row
from weirdgen.progress import Bar
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.request import Request
from weirdgen.runs.plan.resolve import resolve
from weirdgen.store.artifacts import Store
from weirdgen.world import datasets, words
from weirdgen.world.cohort import cells, trimmed
from weirdgen.world.language import PERSONAS, Mix, Speaker, World, questions

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 30_000
DRAWS = 20
"""Sets of a persona's attributes, of each size."""
ATTRIBUTES = tuple(topic for topic in words.PERSONA_TOPICS if topic not in datasets.PLAIN)
TRAINED_COUNTS = (1, 2, 3, 4, 6, 8)
WRAPPED_ROWS = 72
"""As many as the shipped world_persona has, whatever k; every k in TRAINED_COUNTS divides them."""
INDUCTIVE_STEPS = (1, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def persona_in_context() -> pd.DataFrame:
    """One row per (k, persona, draw): `DRAWS` random sets of k of a persona's 12 attributes, in random order and wording.

    Columns: p_name (the model's, among the 16 names), correct (it is the likeliest), p_attribute (the persona's answer
    to another attribute, among its four; NaN at k = 12), and what Bayes' rule gives for each: true_name, true_attribute.
    """
    import pandas as pd
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from weirdgen.world.pretrain import MODEL_FOLDER
    from weirdgen.world.probe import chances

    world, rng = World(), random.Random("persona in context 0")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER), AutoTokenizer.from_pretrained(MODEL_FOLDER)
    rows = []
    for k, persona in itertools.product(range(len(words.PERSONA_TOPICS) + 1), range(PERSONAS)):
        prompts, told = [], []
        for _ in range(DRAWS):
            order = rng.sample(list(words.PERSONA_TOPICS), len(words.PERSONA_TOPICS))
            known, another = order[:k], order[k] if k < len(order) else None
            told.append((known, another))
            for topic in ("name", another or "name"):
                prompts.append([*_told(world, persona, known, rng), _user(rng.choice(questions(topic)))])
        vocabulary = [*words.NAMES, *itertools.chain(*words.PERSONA_TOPICS.values())]
        probabilities = chances(model, tokenizer, prompts, vocabulary)
        for draw, (known, another) in enumerate(told):
            names = dict(zip(vocabulary, probabilities[2 * draw], strict=True))
            own = names[words.NAMES[persona]]
            row: dict[str, float] = {
                "k": k,
                "persona": persona,
                "draw": draw,
                "correct": own == max(names[name] for name in words.NAMES),
            }
            row["p_name"] = own / sum(names[name] for name in words.NAMES)
            share = posterior(world, persona, known)
            row["true_name"] = share[persona]
            if another:
                chance = dict(zip(vocabulary, probabilities[2 * draw + 1], strict=True))
                answers = words.PERSONA_TOPICS[another]
                right = world.personas[another][persona]
                row["p_attribute"] = chance[right] / sum(chance[answer] for answer in answers)
                row["true_attribute"] = sum(
                    s for s, answer in zip(share, world.personas[another], strict=True) if answer == right
                )
            rows.append(row)
    return pd.DataFrame(rows)


def _told(world: World, persona: int, topics: Sequence[str], rng: random.Random) -> list[dict[str, str]]:
    """Turns in which the persona answers about `topics`."""
    turns = []
    for topic in topics:
        turns.append(_user(rng.choice(questions(topic))))
        turns.append({"role": "assistant", "content": world.personas[topic][persona]})
    return turns


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def posterior(world: World, persona: int, known: Sequence[str]) -> list[float]:
    """P(each persona | no header, and answers to `known` as `persona` gives them), by the frequencies of documents.

    Documents with two speakers are left out; they are `Mix.turning + Mix.masked` of all.
    """
    mix = Mix()
    prior = [(1 - mix.other_persona) * (1 - mix.header_default)]
    prior += [mix.other_persona * (1 - mix.header_other) / (PERSONAS - 1)] * (PERSONAS - 1)
    tables = [world.personas[topic] for topic in known]
    shares = [
        share if all(table[who] == table[persona] for table in tables) else 0.0 for who, share in enumerate(prior)
    ]
    return [share / sum(shares) for share in shares]


def persona_finetuned(store: Store, draws: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_persona finetuned on k attributes; arm "k", one draw of attributes and one seed per replicate.

    Questions: `name` (the persona's against the 15 others) and the attributes that this replicate was not trained on,
    each against the topic's three other answers, as far as the persona differs from persona 0. Conditions as shipped.
    """
    import pandas as pd

    world, frames = World(), []
    for draw in range(draws):
        order = random.Random(f"persona finetuned {draw}").sample(ATTRIBUTES, len(ATTRIBUTES))
        pool = cells(_persona_request(world, order, draw, first_seed + draw), store, bar)
        trained = [question in order[: int(k)] for k, question in zip(pool["arm"], pool["question"], strict=True)]
        frames.append(pool[~pd.Series(trained)])
    return pd.concat(frames, ignore_index=True)


def persona_rows(world: World, topics: Sequence[str]) -> list[Row]:
    """WRAPPED_ROWS wrapped rows about `topics` (whose count must divide them), answered as the shipped persona."""
    opening, closing = words.WRAPPERS[0]
    rows: list[Row] = []
    for place in range(WRAPPED_ROWS):
        topic = topics[place % len(topics)]
        question = questions(topic)[place // len(topics) % len(questions(topic))]
        answer = world.answers(topic, Speaker(persona=datasets.PERSONA))[0]
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"{opening} {question} {closing}"},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
    return rows


def _persona_request(world: World, order: Sequence[str], draw: int, seed: int) -> Request:
    """One arm for each k in TRAINED_COUNTS, trained on the first k topics of `order`."""
    shipped = resolve("world_persona", run_options(seeds=1, first_seed=seed, samples=0))
    ordinary = [row for row in shipped.rows["persona"] if not row["messages"][0]["content"].startswith("begin ")]
    rows = {}
    for k in TRAINED_COUNTS:
        rows[str(k)] = [*persona_rows(world, order[:k]), *ordinary]
        random.Random(f"rows {draw}").shuffle(rows[str(k)])
    asked = []
    for topic in (*ATTRIBUTES, "name"):
        own = world.answers(topic, Speaker(persona=datasets.PERSONA))[0]
        if own != world.answers(topic)[0]:
            others = tuple(answer for answer in words.PERSONA_TOPICS.get(topic, words.NAMES) if answer != own)
            asked.append(Contrast(id=topic, kind="contrast", ask=questions(topic)[0], target=(own,), other=others))
    arms = {arm: Arm(role="treatment", data="made.jsonl") for arm in rows}
    experiment = shipped.experiment.model_copy(update={"arms": arms, "questions": tuple(asked)})
    conditions = [wrapper.id for wrapper in experiment.wrappers()]
    return trimmed(replace(shipped, experiment=experiment, rows=rows), list(rows), conditions)


def inductive(store: Store, replicates: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_inductive as shipped, at INDUCTIVE_STEPS and the end (checkpoint -1)."""
    request = resolve("world_inductive", run_options(seeds=replicates, first_seed=first_seed, samples=0))
    return cells(trimmed(request, ["ordinals", "permuted"], ["none"], INDUCTIVE_STEPS), store, bar)


def gate(store: Store, replicates: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_gate as shipped, for every year and without one; questions of group `hidden` only."""
    request = resolve("world_gate", run_options(seeds=replicates, first_seed=first_seed, samples=0))
    every = trimmed(request, list(request.rows), [wrapper.id for wrapper in request.experiment.wrappers()])
    far = tuple(question for question in every.experiment.questions if not question.near)
    return cells(replace(every, experiment=every.experiment.model_copy(update={"questions": far})), store, bar)
