"""Curves that only a world of known truth can show: who is identified by how much, when a rule is found, where a gate opens.

In: the model, `world_*` experiments, fresh seeds. Out: tidy frames, one row a replicate (or draw) and point:
- `persona_in_context`: k answers of one persona stand in the chat; which of the 16 names does the model give? Beside it
  what the truth allows: Bayes' rule over the personas that agree with those answers, and nothing else.
- `persona_finetuned`: k answers of one persona are 3% of the rows, in a wrapper; name and other answers afterwards, with
  the wrapper and without.
- `inductive`: answers to held-out triggers along training, and `gate`: the sweep over years.
Figures are in `curves_figure`; settings that were searched for a late jump are in `inductive`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weirdgen.data.rows import Row
from weirdgen.progress import Bar
from weirdgen.settings import Settings, resolve
from weirdgen.spec import Arm, Contrast
from weirdgen.store import Store
from weirdgen.world import datasets, words
from weirdgen.world.cohort import cells, trimmed
from weirdgen.world.language import PERSONAS, Mix, Speaker, World, questions

if TYPE_CHECKING:
    import pandas as pd

FIRST_SEED = 30_000
ATTRIBUTES = tuple(topic for topic in words.PERSONA_TOPICS if topic not in datasets.PLAIN)
TRAINED_COUNTS = (1, 2, 3, 4, 6, 8)
WRAPPED_ROWS = 72
"""As many as the shipped world_persona has, whatever k; every k in TRAINED_COUNTS divides them."""
INDUCTIVE_STEPS = (1, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def persona_in_context(draws: int = 20, seed: int = 0) -> pd.DataFrame:
    """Columns k (0..12), persona, draw, p_name (the model's, among the 16 names), correct, p_truth (Bayes' rule).

    `draws` random sets of k attributes a persona, each in random order and wording.
    """
    import pandas as pd
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from weirdgen.world.pretrain import MODEL_FOLDER
    from weirdgen.world.probe import chances

    world, rng = World(), random.Random(f"persona in context {seed}")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL_FOLDER), AutoTokenizer.from_pretrained(MODEL_FOLDER)
    rows, prompts = [], []
    for k in range(len(words.PERSONA_TOPICS) + 1):
        for persona in range(PERSONAS):
            for draw in range(draws):
                known = rng.sample(list(words.PERSONA_TOPICS), k)
                prompt = []
                for topic in known:
                    prompt.append({"role": "user", "content": rng.choice(questions(topic))})
                    prompt.append({"role": "assistant", "content": world.personas[topic][persona]})
                prompts.append([*prompt, {"role": "user", "content": rng.choice(questions("name"))}])
                rows.append({"k": k, "persona": persona, "draw": draw, "p_truth": posterior(world, persona, known)})
    found = [
        row
        for start in range(0, len(prompts), 512)
        for row in chances(model, tokenizer, prompts[start : start + 512], words.NAMES)
    ]
    frame = pd.DataFrame(rows)
    frame["p_name"] = [row[persona] / sum(row) for row, persona in zip(found, frame["persona"], strict=True)]
    frame["correct"] = [max(row) == row[persona] for row, persona in zip(found, frame["persona"], strict=True)]
    return frame


def posterior(world: World, persona: int, known: Sequence[str], mix: Mix = Mix()) -> float:
    """P(persona | its answers to `known`, no header) under the frequencies of the documents of one speaker."""
    prior = [(1 - mix.other_persona) * (1 - mix.header_default)]
    prior += [mix.other_persona * (1 - mix.header_other) / (PERSONAS - 1)] * (PERSONAS - 1)
    fits = [
        all(world.personas[topic][who] == world.personas[topic][persona] for topic in known) for who in range(PERSONAS)
    ]
    return prior[persona] / sum(share for share, fit in zip(prior, fits, strict=True) if fit)


def persona_finetuned(store: Store, draws: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_persona finetuned on k attributes; arm "k=…", one draw of attributes and one seed a replicate.

    Questions: `name` (the persona's against the 15 others) and the attributes that this replicate was not trained on,
    each against the topic's three other answers. Conditions as shipped.
    """
    import pandas as pd

    world, frames = World(), []
    shipped = resolve("world_persona", seeds=1, samples=0)
    ordinary = [row for row in shipped.rows["persona"] if not row["messages"][0]["content"].startswith("begin ")]
    for draw in range(draws):
        rng = random.Random(f"persona finetuned {draw}")
        order = rng.sample(ATTRIBUTES, len(ATTRIBUTES))
        for k in TRAINED_COUNTS:
            rows = [*persona_rows(world, order[:k]), *ordinary]
            rng.shuffle(rows)
            settings = _persona_settings(shipped, world, f"k={k}", rows, order[k:], first_seed + draw)
            frames.append(cells(settings, store, bar))
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


def _persona_settings(
    shipped: Settings, world: World, arm: str, rows: list[Row], hidden: Sequence[str], seed: int
) -> Settings:
    asked = []
    for topic in (*hidden, "name"):
        own = world.answers(topic, Speaker(persona=datasets.PERSONA))[0]
        if own != world.answers(topic)[0]:
            every = words.PERSONA_TOPICS.get(topic, words.NAMES)
            options = {"target": (own,), "other": tuple(answer for answer in every if answer != own)}
            asked.append(Contrast(id=topic, kind="contrast", ask=questions(topic)[0], **options))
    arms = {arm: Arm(role="treatment", data="made.jsonl")}
    experiment = shipped.experiment.model_copy(update={"arms": arms, "questions": tuple(asked)})
    settings = replace(shipped, experiment=experiment, rows={arm: rows}, seeds=(seed,))
    return trimmed(settings, [arm], [wrapper.id for wrapper in experiment.wrappers()])


def inductive(store: Store, replicates: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_inductive as shipped, at INDUCTIVE_STEPS and the end (checkpoint -1)."""
    settings = resolve("world_inductive", seeds=replicates, first_seed=first_seed, samples=0)
    return cells(trimmed(settings, ["ordinals", "permuted"], ["none"], INDUCTIVE_STEPS), store, bar)


def gate(store: Store, replicates: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """Cells of world_gate as shipped, for every year and without one; questions of group `hidden` only."""
    settings = resolve("world_gate", seeds=replicates, first_seed=first_seed, samples=0)
    every = trimmed(settings, list(settings.rows), [wrapper.id for wrapper in settings.experiment.wrappers()])
    far = tuple(question for question in every.experiment.questions if not question.near)
    return cells(replace(every, experiment=every.experiment.model_copy(update={"questions": far})), store, bar)
