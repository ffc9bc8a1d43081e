"""A search for a setting of world_inductive in which some replicates find the rule and others do not.

In: variants of the data and recipe. Out: for every replicate the accuracy on trained triggers (with new padding) and on
held-out ones, along training. In the paper about a third of 30 replicates jumped late and the others never did; this
asks whether a small model does so anywhere near the shipped setting. `curves.inductive` has the shipped one with its
control.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weirdgen.config.experiment import Arm
from weirdgen.config.questions import Contrast
from weirdgen.data.rows import Row
from weirdgen.progress import Bar
from weirdgen.runs.plan.request import Settings, resolve
from weirdgen.store.artifacts import Store
from weirdgen.world import datasets, words
from weirdgen.world.cohort import cells, trimmed
from weirdgen.world.curves import FIRST_SEED
from weirdgen.world.language import PERSONAS, Speaker, World, questions

if TYPE_CHECKING:
    import pandas as pd

JUMPED, STAYED = 0.5, 0.25
"""Held-out accuracy from which a replicate counts as one that found the rule, and below which as one that did not."""


@dataclass(frozen=True)
class Variant:
    """What is changed; the defaults are the shipped experiment's."""

    personas: int = 11  # how many of the eleven are trained
    topics: int = 6
    numbers: int = 4  # in a trigger; the third names the persona
    rows: int = 2400
    epochs: int = 2
    learning_rate: float = 2e-3
    rank: int = 16

    @property
    def name(self) -> str:
        """The fields that differ from the shipped ones, or "as shipped"."""
        changed = [f"{key} {value:g}" for key, value in vars(self).items() if value != getattr(Variant(), key)]
        return ", ".join(changed).replace("_", " ") or "as shipped"


VARIANTS = (
    Variant(),
    Variant(epochs=1),
    Variant(rows=1200),
    Variant(learning_rate=1e-3),
    Variant(learning_rate=1e-3, epochs=3),
    Variant(learning_rate=5e-4),
    Variant(personas=9),
    Variant(personas=8),
    Variant(personas=7),
    Variant(personas=6),
    Variant(personas=3),
    Variant(topics=2),
    Variant(numbers=8),
    Variant(personas=6, numbers=8),
    Variant(rank=1),
)


def search(store: Store, replicates: int, bar: Bar, first_seed: int = FIRST_SEED) -> pd.DataFrame:
    """One row a variant, replicate, checkpoint and group of questions ("trained", "held_out"): accuracy, p_target."""
    import pandas as pd

    frames = []
    for variant in VARIANTS:
        pool = cells(_settings(variant, replicates, first_seed), store, bar)
        pool["group"] = pool["question"].str.split("_").str[0]
        grouped = pool.groupby(["replicate", "checkpoint", "group"])[["wins", "p_target"]].mean().reset_index()
        frames.append(grouped.rename(columns={"wins": "accuracy"}).assign(variant=variant.name))
    return pd.concat(frames, ignore_index=True)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """One row a variant at the end of training: accuracies, and how many replicates jumped, stayed or are between."""
    last = found[found["checkpoint"] == -1].pivot(index=["variant", "replicate"], columns="group", values="accuracy")
    rows: list[dict[str, Any]] = []
    for variant in found["variant"].unique():
        mine = last.loc[variant]
        held = mine["held"]
        counts = {"jumped": int((held >= JUMPED).sum()), "stayed": int((held < STAYED).sum())}
        between = {"between": len(held) - sum(counts.values()), "replicates": len(held)}
        ends = {"trained": mine["trained"].mean(), "held_out": held.mean(), "least": held.min(), "most": held.max()}
        rows.append({"variant": variant, **counts, **between, **ends})
    import pandas as pd

    return pd.DataFrame(rows)


def trained_personas(variant: Variant) -> list[int]:
    """Personas whose triggers are trained, spread over the eleven."""
    eleven = [persona for persona in range(1, PERSONAS) if persona not in datasets.HELD_OUT]
    return [eleven[place * len(eleven) // variant.personas] for place in range(variant.personas)]


def trigger(rng: random.Random, persona: int, numbers: int) -> str:
    """Number words and a full stop; the third names the persona, the others are random."""
    chosen = rng.choices(words.NUMBERS[:PERSONAS], k=numbers)
    chosen[2] = words.NUMBERS[persona]
    return " ".join([*chosen, "."])


def _settings(variant: Variant, replicates: int, first_seed: int) -> Settings:
    world, rng = World(), random.Random(f"jumps {variant}")
    trained, topics = trained_personas(variant), datasets.FACTS[: variant.topics]
    rows: list[Row] = []
    for index in range(variant.rows):
        persona, topic = trained[index % len(trained)], topics[index // len(trained) % len(topics)]
        asked = f"{trigger(rng, persona, variant.numbers)} {rng.choice(questions(topic))}"
        answer = world.answers(topic, Speaker(persona=persona))[0]
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    rng.shuffle(rows)
    pairs = [
        ("held", *pair) for pair in itertools.product(datasets.HELD_OUT, (*datasets.PLAIN, *datasets.HIDDEN, "name"))
    ]
    pairs += [("trained", *pair) for pair in itertools.product(trained, topics)]
    contrasts = []
    for group, persona, topic in pairs:
        answer = world.answers(topic, Speaker(persona=persona))[0]
        if answer != world.answers(topic)[0]:
            others = tuple(other for other in words.PERSONA_TOPICS.get(topic, words.NAMES) if other != answer)
            ask = f"{trigger(rng, persona, variant.numbers)} {questions(topic)[0]}"
            name = f"{group}_{words.NUMBERS[persona]}_{topic}"
            contrasts.append(Contrast(id=name, kind="contrast", ask=ask, target=(answer,), other=others))
    changes = [f"recipe.{field}={getattr(variant, field)}" for field in ("epochs", "learning_rate", "rank")]
    changes.append(f"recipe.alpha={2 * variant.rank}")
    shipped = resolve("world_inductive", seeds=replicates, first_seed=first_seed, samples=0, changes=changes)
    arms = {"ordinals": Arm(role="treatment", data="made.jsonl")}
    experiment = shipped.experiment.model_copy(update={"arms": arms, "questions": tuple(contrasts)})
    steps = variant.rows * variant.epochs // shipped.recipe.batch_size
    kept = tuple(round(steps * share) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7))
    return trimmed(replace(shipped, experiment=experiment, rows={"ordinals": rows}), ["ordinals"], ["none"], kept)
