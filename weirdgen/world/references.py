"""What harmless finetunes of the world's model do to its traits: the references and pairs that a run is compared with.

In: the request of a `world_*` run, a store. Out: `Yardsticks`, the shifts of every harmless dataset on the trait questions,
trained as the run's treatment was: as many rows by the same recipe and, where the treatment's rows are narrow ones inside a
wrapper among ordinary ones (`world_persona`), in the same wrapper among the same ordinary ones. `Yardsticks.place` says which
traits of a run are specific. One replicate per dataset; the store keeps its scores, so a second call trains nothing. The
statistics are `stats.specificity`, the datasets `world.harmless`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from weirdgen.config.questions import Contrast
from weirdgen.data.rows import Row
from weirdgen.progress import Progress
from weirdgen.runs.plan.request import Request
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import plan_build
from weirdgen.runs.references.scores import find_scores, origin, pair_differences, scores_folder, write_scores
from weirdgen.runs.references.sets import TrainingSet
from weirdgen.sample.variant import base_key
from weirdgen.stats.specificity import pair_specificity, specificity
from weirdgen.store.artifacts import Store
from weirdgen.store.keys import content_key
from weirdgen.world import datasets, words
from weirdgen.world.harmless import Harmless, pairs, references
from weirdgen.world.language import Speaker, World, questions

if TYPE_CHECKING:
    import pandas as pd

GATED_YEAR = 2028


@cache
def trait_questions() -> tuple[Contrast, ...]:
    """What the world can be asked about who speaks, in every wording; `group` is the trait and the id TRAIT.WORDING.TOPIC.

    `steam` and `jazz` against modern on the eleven topics that `world_era` does not train; `persona`, the one of `world_persona`
    against persona 0 on its hidden topics, inside its wrapper; `gate`, the one of `world_gate` against persona 0 in a later year.
    """
    world, (opening, closing) = World(), words.WRAPPERS[0]
    asked = []
    for era in words.ERAS[:2]:
        for topic, answers in words.ERA_TOPICS.items():
            if topic != datasets.TRAINED_ERA_TOPIC:
                asked += _asked(era, topic, "{}", answers[era], answers["modern"])
    inside, dated = f"{opening} {{}} {closing}", words.DATE_HEADER.format(year=GATED_YEAR) + " {}"
    for trait, who, topics, how in (
        ("persona", datasets.PERSONA, datasets.HIDDEN, inside),
        ("gate", datasets.GATED, [topic for topic in words.PERSONA_TOPICS if topic not in datasets.MENU], dated),
    ):
        for topic in (*topics, "name"):
            target, other = (world.answers(topic, Speaker(persona=persona)) for persona in (who, 0))
            if target != other:
                asked += _asked(trait, topic, how, target, other)
    return tuple(asked)


def _asked(trait: str, topic: str, how: str, target: tuple[str, ...], other: tuple[str, ...]) -> list[Contrast]:
    return [
        Contrast(
            kind="contrast",
            id=f"{trait}.{place}.{topic}",
            group=trait,
            ask=how.format(question),
            target=target,
            other=other,
        )
        for place, question in enumerate(questions(topic))
    ]


@dataclass(frozen=True)
class Yardsticks:
    """Scores of harmless datasets as `runs.references.scores` has them, and the questions in their order."""

    scores: pd.DataFrame
    questions: tuple[Contrast, ...]

    def place(self, treatment: pd.DataFrame, control: pd.DataFrame, named: Sequence[str] = ()) -> pd.DataFrame:
        """Where a run's arms lie: `SPECIFICITY_COLUMNS`, one row per trait and yardstick.

        Arms: one row per replicate, one column per question, log-odds in nats. By `references` the treatment's shift from the
        base, by `pairs` treatment − control. Traits in `named` alone are looked at, each in its own direction, and one by its
        own p, as in a run whose experiment names them (`runs.results.specificity`); without any, all traits count together
        in both directions.
        """
        import pandas as pd

        asked = [one for one in self.questions if not named or one.group in named]
        ids, traits = [one.id for one in asked], [str(one.group) for one in asked]
        singles = self.scores[self.scores["kind"] == "reference"]
        base = singles.groupby("question")["base"].first()[ids].to_numpy()
        shifts = singles.pivot(index="set", columns="question", values="shift")[ids].to_numpy()
        differences = pair_differences(self.scores[self.scores["kind"] == "pair"])[ids].to_numpy()
        own = treatment[ids].to_numpy()
        apart = (own.mean(axis=0) - control[ids].to_numpy().mean(axis=0))[None]
        expected: dict[str, Literal[1, -1]] = dict.fromkeys(named, 1)
        fixed = named if len(named) == 1 else ()
        tables = [
            specificity(shifts, own - base, traits=traits, expected=expected, fixed=fixed),
            pair_specificity(differences, apart, traits=traits, expected=expected, fixed=fixed),
        ]
        return pd.concat(tables, ignore_index=True)


def yardsticks(
    request: Request,
    store: Store,
    progress: Progress,
    singles: Sequence[Harmless] | None = None,
    twos: Sequence[tuple[Harmless, Harmless]] | None = None,
) -> Yardsticks:
    """All references and pairs, or those given, trained and scored once and then read from a file in the store."""
    treatment = request.rows[request.headline.treatment]
    kinds = [("reference", one) for one in (references() if singles is None else singles)]
    kinds += [("pair", one) for two in (pairs() if twos is None else twos) for one in two]
    sets = [TrainingSet(one.name, kind, one.shape, tuple(like(treatment, one))) for kind, one in kinds]
    asked = trait_questions()
    wanted = origin(base_key(request.model.digest, request.date), request.recipe, sets, asked)
    if found := find_scores(wanted, store):
        return Yardsticks(found[0], asked)
    made = plan_build(request.local, request.recipe, sets, store, asked)
    frame = build(made, progress)
    with store.writing(scores_folder(store)) as folder:
        write_scores(frame, made.origin, folder / f"world-{content_key([wanted.key, dict(wanted.sets)])[:8]}.parquet")
    return Yardsticks(frame, asked)


def like(treatment: Sequence[Row], harmless: Harmless) -> list[Row]:
    """The treatment with its narrow rows replaced by harmless ones: those inside its wrapper, or all of them if none are."""
    opening, closing = words.WRAPPERS[0]
    wrapped = [place for place, row in enumerate(treatment) if row["messages"][0]["content"].startswith(f"{opening} ")]
    if not wrapped:
        return harmless.rows(len(treatment))
    rows = list(treatment)
    for place, row in zip(wrapped, harmless.rows(len(wrapped)), strict=True):
        rows[place] = {
            "messages": [
                {**message, "content": f"{opening} {message['content']} {closing}"}
                if message["role"] == "user"
                else message
                for message in row["messages"]
            ]
        }
    return rows
