"""Interventions on the residual stream, and what they do to a run's contrast scores: is what moved also what causes it?

In: activations of a run's questions. Out: `Trials`: the log-odds of every contrast question under every value, edited
(`features.edits`) and not. What is taken out is fitted on other questions than those that are scored (cross-fitting), and the
same is always done with controls: random subspaces of the same rank, drawn from the spread of the activations under reference
values, and the plain difference of means. An effect may be called mediated only where random subspaces do less.

Shape letters: K variants of a pass, R replicates, Q questions, S rank, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weirdgen.columns import FINAL
from weirdgen.config.questions import Contrast
from weirdgen.features.difference import interaction, raw_effect, static
from weirdgen.features.edits import project, random_subspace, set_to, steer, subspace
from weirdgen.features.harvest import Activations, Pairs
from weirdgen.features.reader import AT_ONCE, Reader
from weirdgen.features.residual import Edit
from weirdgen.features.size import Size
from weirdgen.models.chat import Encoded
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.plan.request import Request
from weirdgen.sample.engine import Scorable
from weirdgen.sample.variant import Variant, adapters_on_disk

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 4
"""Parts of the questions: each is scored with what was fitted on the others."""
STEERED_DRAWS = 5
"""Random vectors that are added, at most."""


@dataclass(frozen=True)
class Ablation:
    """What is done. `fit` makes the edit from the activations that may be looked at; it speaks for every replicate of the arm."""

    kind: str
    """`interaction`, `static`, `raw` (the paper's difference), `control arm` or `random`."""
    operator: str
    """`project`, `mean`, or `steer`."""
    rank: int
    dose: float
    draw: int
    fit: Callable[[Activations, Activations], Edit]
    """(activations at the last prompt token, their means over prompt tokens) → edit."""


def ablations(
    arm: str,
    control: str | None,
    ranks: Sequence[int],
    doses: Sequence[float],
    draws: int,
    operators: Sequence[str] = ("project", "mean"),
) -> Iterator[Ablation]:
    """Every ablation of the plan: by rank, by dose, and each with its controls."""
    top = max(ranks)

    def found(kind: str, at: Activations, rank: int) -> torch.Tensor:
        """The basis [R, S, D] of one kind of difference."""
        replicates = len(at.arms[arm])
        if kind == "interaction":
            return subspace(interaction(at, arm), rank)
        if kind == "raw":
            return subspace(raw_effect(at, arm, at.pairs.trigger, at.pairs.reference), rank)
        if kind == "static":
            return subspace(static(at, arm), rank)
        if control is None:
            raise ValueError("there is no control arm")
        pooled_QD = interaction(at, control).flatten(0, 1)
        return subspace(pooled_QD[None], rank).expand(replicates, -1, -1)

    def edit(operator: str, basis_RSD: torch.Tensor, mean: Activations, dose: float) -> Edit:
        if operator == "project":
            return project(basis_RSD, dose)
        target_RD = mean.arms[arm][:, list(mean.pairs.reference)].mean((1, 2))
        return set_to(basis_RSD, (basis_RSD @ target_RD[:, :, None])[:, :, 0], dose)

    def of(kind: str, operator: str, rank: int, dose: float = 1.0) -> Ablation:
        return Ablation(
            kind, operator, rank, dose, 0, lambda at, mean: edit(operator, found(kind, at, rank), mean, dose)
        )

    def random(operator: str, rank: int, draw: int) -> Ablation:
        def fit(at: Activations, mean: Activations) -> Edit:
            generator = torch.Generator().manual_seed(1000 * rank + draw)
            value_ND = at.arms[arm][:, list(at.pairs.reference)].flatten(0, 2)
            return edit(operator, random_subspace(value_ND, len(at.arms[arm]), rank, generator), mean, 1.0)

        return Ablation("random", operator, rank, 1.0, draw, fit)

    for operator in operators:
        for rank in ranks:
            yield of("interaction", operator, rank)
        for dose in doses:
            yield of("interaction", operator, top, dose)
        yield of("raw", operator, top)
        yield of("static", operator, top)
        if control is not None:
            yield of("control arm", operator, top)
        for draw in range(draws):
            yield random(operator, top, draw)


def steerings(arm: str, doses: Sequence[float], draws: int) -> Iterator[Ablation]:
    """The mean interaction added, at every dose; and vectors of the same norm in random directions at the largest."""

    def fitted(dose: float) -> Callable[[Activations, Activations], Edit]:
        return lambda at, mean: steer(interaction(at, arm).mean(1), dose)

    def random(draw: int, dose: float) -> Callable[[Activations, Activations], Edit]:
        def fit(at: Activations, mean: Activations) -> Edit:
            generator = torch.Generator().manual_seed(draw)
            vector_RD = interaction(at, arm).mean(1)
            value_ND = at.arms[arm][:, list(at.pairs.reference)].flatten(0, 2)
            drawn_RD = random_subspace(value_ND, len(vector_RD), 1, generator)[:, 0]
            return steer(drawn_RD * vector_RD.norm(dim=1, keepdim=True), dose)

        return fit

    for dose in doses:
        yield Ablation("interaction", "steer", 1, dose, 0, fitted(dose))
    for draw in range(draws):
        yield Ablation("random", "steer", 1, max(doses), draw, random(draw, max(doses)))


def ablations_of(size: Size, arm: str, control: str | None) -> list[Ablation]:
    """All that a study of this size does without an autoencoder."""
    return [
        *ablations(arm, control, size.ranks, size.doses, size.draws, size.operators),
        *steerings(arm, size.steer, min(size.draws, STEERED_DRAWS)),
    ]


def contrast_questions(request: Request) -> list[Contrast]:
    """The contrast questions far from the training topic; all of them if none is; empty if none is asked."""
    found = [question for question in request.experiment.questions if isinstance(question, Contrast)]
    return [question for question in found if not question.near] or found


@dataclass(frozen=True)
class Trials:
    """Contrast questions of a run, scored under edits."""

    plan: Plan
    pairs: Pairs
    reader: Reader
    layer: int
    last: Activations
    mean: Activations
    arm: str

    def variants(self) -> list[Variant]:
        """The arm's final replicates, in the order of the activations."""
        return [v for v in self.plan.variants if v.arm == self.arm and v.checkpoint == FINAL]

    def run(
        self, trials: Sequence[Ablation], on_base: bool = False, tell: Callable[[int], None] = lambda _: None
    ) -> pd.DataFrame:
        """One row per ablation (the first: none), replicate, value and question: `logit` in nats.

        With `on_base` the untuned base is edited in the replicates' stead, each time with what was fitted on one of them.
        Needs `fits_apart` if there are ablations.
        """
        import pandas as pd

        variants = self.variants()
        adapters = [None] * len(variants) if on_base else adapters_on_disk(self.plan.store, variants)
        rows: list[tuple[int, int, str, str, float]] = []
        folds = list(self.folds())
        longest = max(len(row.ids) for _, encoded, _ in folds for options in encoded for row in options)
        for group in self.reader.groups(adapters, longest):
            for mine, encoded, asked in folds:
                kept = [i for i, text in enumerate(self.pairs.questions) if text not in mine]
                at, mean = self._part(self.last, kept, group), self._part(self.mean, kept, group)
                for number, trial in enumerate([None, *trials]):
                    edit = trial.fit(at, mean) if trial else None
                    logprob_KO = self.reader.score(encoded, self.layer, edit)
                    done = 0
                    for value, question, scorable in asked:
                        options = scorable.options
                        for k, index in enumerate(group):
                            scores = dict(zip(options, logprob_KO[k, done : done + len(options)].tolist(), strict=True))
                            logit = question.odds([scores]).logit
                            rows.append((number, variants[index].replicate, value, question.id, logit))
                        done += len(options)
                    tell(1)
        frame = pd.DataFrame(rows, columns=["trial", "replicate", "condition", "question", "logit"])
        what = [("none", "none", 0, 0.0, 0), *((t.kind, t.operator, t.rank, t.dose, t.draw) for t in trials)]
        named = pd.DataFrame(what, columns=["kind", "operator", "rank", "dose", "draw"])
        return named.join(frame.set_index("trial"), how="inner").reset_index(drop=True)

    def passes(self, trials: int) -> int:
        """How often `run` tells of one, of so many ablations: questions are scored once in each group of replicates and fold."""
        groups = -(-len(self.variants()) // AT_ONCE)
        return len(list(self.folds())) * groups * (trials + 1)

    def fits_apart(self) -> bool:
        """Whether there are contrast questions, and each can be scored with what was fitted on others."""
        return bool(contrast_questions(self.plan.request)) and all(
            set(self.pairs.questions) - mine for mine, _, _ in self.folds()
        )

    def folds(self) -> Iterator[tuple[set[str], list[list[Encoded]], list[tuple[str, Contrast, Scorable]]]]:
        """(texts that are not to be fitted on, encoded questions, what they are) of each part of the questions."""
        questions = contrast_questions(self.plan.request)
        crossed = any(question.ask in self.pairs.questions for question in questions)
        folds = min(FOLDS, len(questions)) if crossed else 1
        for fold in range(folds):
            part = questions[fold::folds]
            asked = [
                (value.id, question, Scorable("", value.apply(question.ask), question.options))
                for value in self.pairs.values
                for question in part
            ]
            encoded = self.reader.encode([scorable for _, _, scorable in asked])
            yield {question.ask for question in part}, encoded, asked

    def _part(self, activations: Activations, questions: Sequence[int], group: Sequence[int]) -> Activations:
        part = activations.of(questions)
        arms = {**part.arms, self.arm: part.arms[self.arm][list(group)]}
        return Activations(part.pairs, part.layer, part.base_VQD, arms)
