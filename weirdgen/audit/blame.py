"""Which rows carry a trait's shift: candidates by their scores, then training without them.

In: a finished run's plan, the questions of a trait, labels that group rows if there are any. Out: `Found`: every row's score, and
what every training that was tried did to the trait and to held-out rows. Rows with equal texts, or equal labels, stand or fall
together. A score only nominates; the blame is the removal's: several replicates without the candidates against equally many
random rows and equally many of the oddest others, the gaps filled by repeating rows, so that every training has as many steps.
How that is told, drawn and written is `audit.proof`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen import machine
from weirdgen.audit.forecast import asked_under, own_questions, trait_questions
from weirdgen.audit.nominate import MOST, ODD, PARTS, ROWS, SINGLES, UNITS, comparisons, first, marked, sizes
from weirdgen.audit.removal import CONTROL, EVERYTHING, beyond_others, choose, effects_of, held_out
from weirdgen.audit.trial import Trial, asked_of, log_odds, plan_trial
from weirdgen.columns import FINAL
from weirdgen.config.questions import Contrast
from weirdgen.config.traits import trait_names
from weirdgen.data.rows import Row, canonical_hash, draw
from weirdgen.data.stored import encode_rows
from weirdgen.errors import DataError, SpecError, StoreError, choices
from weirdgen.models.chat import load_tokenizer
from weirdgen.progress import Progress, clock
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.work.loaded import local_folder
from weirdgen.sample.engine import Scorable
from weirdgen.sample.variant import Variant, adapters_on_disk
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

STAGE = "row_scores"
VERSION = 1
REPLICATES = 4
"""Of every training, at least."""
SHARES = (0.02, 0.05, 0.1, 0.2)
"""Of the rows, that are tried as candidates."""
LEAST_ROWS = 16


@dataclass(frozen=True)
class Found:
    """`rows`: row (from 0), unit, score, sd, loss, held, candidate, odd. `effects`: a row a training: arm, kind, removed, shift,
    its interval, what it takes from everything's shift with a paired interval, the held-out loss and its rise, with interval."""

    rows: pd.DataFrame
    effects: pd.DataFrame
    chosen: int | None
    """How many rows the smallest set has that halves the shift while the narrow task holds, and that takes more than equally many
    random or odd rows; None if no set did."""
    tried: int
    """Rows of the set that the comparisons are for: the chosen one, or the one that took most."""

    @cached_property
    def of(self) -> dict[str, dict[str, Any]]:
        """Arm → its row of `effects`."""
        return {
            row["arm"]: {str(name): value for name, value in row.items()} for row in self.effects.to_dict("records")
        }

    @property
    def best(self) -> dict[str, Any]:
        """Of training without the rows that were tried."""
        return self.of[f"without_{self.tried}"]

    def removed(self) -> list[int]:
        """The rows that are blamed, best candidate first."""
        ranked = self.rows[self.rows["candidate"] < self.tried].sort_values("candidate")
        return [int(row) for row in ranked["row"]]


@dataclass(frozen=True)
class Blame:
    """What is asked of one run."""

    plan: Plan
    """Of the run: its control's adapters are in its store."""
    arm: str
    control: str
    trait: str
    asked: tuple[tuple[Contrast, Scorable], ...]
    """Questions of the trait, each way they are put."""
    labels: tuple[str, ...] = ()
    """One a row; none: rows with equal texts are one unit."""
    shares: tuple[float, ...] = SHARES
    together: int = 16
    also: Mapping[str, frozenset[int]] | None = None
    """Further sets of rows to train without, by name: what is known to be right, in a benchmark."""

    @cached_property
    def rows(self) -> list[Row]:
        """The arm's, as they are trained on."""
        return self.plan.request.rows[self.arm]

    def replicates(self, arm: str) -> list[Variant]:
        """Those of the run: the control's are what rows are scored under, the treatment's say where the trait went."""
        return [one for one in self.plan.variants if one.arm == arm and one.checkpoint == FINAL][:REPLICATES]

    def _adapters(self, arm: str) -> list[Path]:
        return [one for one in adapters_on_disk(self.plan.store, self.replicates(arm)) if one is not None]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The run's, and more if those are too few."""
        own = self.plan.request.seeds
        return own if len(own) >= REPLICATES else tuple(range(own[0], own[0] + REPLICATES))

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the rows' scores."""
        return {
            "version": VERSION,
            "adapters": [[one.key for one in self.replicates(arm)] for arm in (self.control, self.arm)],
            "data": canonical_hash(self.rows),
            "asked": [[one.ask, question.target, question.other] for question, one in self.asked],
        }

    def lines(self) -> list[str]:
        """The plan: what is scored and trained, and how long that takes if nothing of it is in the store."""
        request = self.plan.request
        one = self._trial({EVERYTHING: self.rows}, [])
        steps = one.steps([EVERYTHING]) // len(self.seeds)
        once, second = 2 + len(self.sizes) + len(self.also or {}), len((ROWS, UNITS, ODD)) + PARTS + SINGLES
        tokens = sum(len(scorable.ask) / 4 * len(scorable.options) for _, scorable in self.asked)
        tokens = len(self.replicates(self.control)) * (self.plan.proofs[self.arm]["tokens"] + 2 * tokens)
        score = tokens / machine.seen_rate("train", request.local.parameters, "fp32")
        known = self.plan.store.marker(STAGE, content_key(self.inputs)) is not None
        each = one.seconds() or 0.0
        return [
            f"blame · {request.run_id} · {self.trait}: {len(self.rows)} rows of {self.arm} against {self.control}, "
            f"{len(self.asked)} questions",
            f"  row scores under {len(self.replicates(self.control))} control replicates: "
            + ("in the store" if known else f"about {clock(score)}"),
            f"  without {', '.join(map(str, self.sizes))} candidates: {once} arms × {len(self.seeds)} replicates × {steps} "
            f"steps, about {clock(once * each)}",
            f"  comparisons for the smallest set that halves the shift (random rows, odd rows, its parts): {second} arms, about "
            f"{clock(second * each)}",
            f"  estimate: {clock((0 if known else score) + (once + second) * each)} on this machine, less what is in the store",
        ]

    @property
    def sizes(self) -> list[int]:
        """How many rows are tried as candidates; a unit is not torn apart, so a few more may be."""
        return sorted({max(1, round(share * len(self.rows))) for share in self.shares})

    def row_table(self, progress: Progress) -> pd.DataFrame:
        """Columns row, unit, score (mean over replicates), sd, loss, from the store or computed now; best candidate first."""
        import pandas as pd

        store, key = self.plan.store, content_key(self.inputs)
        with store.lock(STAGE, key):
            if store.marker(STAGE, key) is None:
                with store.create(STAGE, key, self.inputs) as folder:
                    self._score(progress).to_parquet(folder / "rows.parquet")
        table = pd.read_parquet(store.artifact(STAGE, key) / "rows.parquet")
        texts = [json.dumps(row["messages"], ensure_ascii=False) for row in self.rows]
        table["text"] = texts
        table["unit"] = self.labels or texts
        table["of_unit"] = table.groupby("unit")["score"].transform("mean")
        return table.sort_values(["of_unit", "unit"], ascending=[False, True], kind="stable").drop(columns="of_unit")

    def _score(self, progress: Progress) -> pd.DataFrame:
        import pandas as pd

        from weirdgen.audit.row_scores import row_scores

        request = self.plan.request
        folder = local_folder(request.local)
        encoded, _ = encode_rows(folder, self.arm, self.rows, request.date)
        adapters, treated = (self._adapters(arm) for arm in (self.control, self.arm))
        amount = 2 * len(encoded) + 3 * sum(len(scorable.options) for _, scorable in self.asked)
        with progress.stage("score rows", amount, "rows and answers") as bar:
            found = row_scores(
                folder, adapters, treated, self.asked, encoded, load_tokenizer(folder, request.date), bar.advance
            )
        # Where the data move the trait down, rows that pull it down carry it.
        score_KN = found.score_KN if found.shift >= 0 else -found.score_KN
        spread = score_KN.std(axis=0, ddof=1) if len(adapters) > 1 else float("nan")
        mean = {"score": score_KN.mean(axis=0), "sd": spread, "loss": found.loss_KN.mean(axis=0)}
        return pd.DataFrame({"row": range(len(encoded)), **mean})

    def find(self, progress: Progress) -> Found:
        """Nominate, train without, compare; what the store holds is not done again."""
        import pandas as pd

        table = self.row_table(progress)
        tried_sizes = sizes(table, self.sizes)
        if not tried_sizes:
            raise DataError(f"arm {self.arm}: too few different rows: no candidates below {MOST:.0%} of them")
        known = {row for gone in (self.also or {}).values() for row in gone}
        table = marked(table, max(tried_sizes), known)
        if not table["held"].any():
            raise DataError(
                f"arm {self.arm}: too few different rows: beside {max(tried_sizes)} candidates and as many to compare them with, "
                f"none is left to hold out; its {table['unit'].nunique()} groups of equal rows or labels are not torn apart"
            )
        trained = set(table.loc[~table["held"], "row"])
        sets = {f"without_{size}": first(table, "candidate", size) for size in tried_sizes}
        sets |= {name: set(rows) for name, rows in (self.also or {}).items()}
        arms = {CONTROL: self.plan.request.rows[self.control], EVERYTHING: self._filled(trained)}
        arms |= {name: self._filled(trained - removed) for name, removed in sets.items()}
        held = [self.rows[row] for row in table.loc[table["held"], "row"]]
        progress.say("training without the candidates")
        measured = self._measure(arms, held, progress)
        effects = effects_of(measured, {name: len(removed) for name, removed in sets.items()})
        chosen, best = choose(effects)
        tried = chosen or best
        more = comparisons(table, tried)
        progress.say("training without random rows, odd rows, and with parts of the candidates alone")
        again = self._measure({name: self._filled(kept) for name, kept in more.items()}, held, progress)
        both = pd.concat([measured, again], ignore_index=True)
        removed = {**{name: len(gone) for name, gone in sets.items()}, **{n: len(trained - k) for n, k in more.items()}}
        effects = effects_of(both, removed)
        chosen = chosen if beyond_others(effects, tried) else None
        return Found(table.sort_values("row", ignore_index=True), effects, chosen, tried)

    def _filled(self, kept: set[int]) -> list[Row]:
        """These rows, as many as the arm has: every one once before any is repeated."""
        return draw([self.rows[row] for row in sorted(kept)], len(self.rows), seed=0)

    def _trial(self, arms: Mapping[str, Sequence[Row]], held: Sequence[Scorable]) -> Trial:
        asked = [scorable for _, scorable in self.asked] + list(held)
        return plan_trial(self.plan.request, arms, self.seeds, asked, self.plan.store, together=self.together)

    def _measure(self, arms: Mapping[str, Sequence[Row]], held: Sequence[Row], progress: Progress) -> pd.DataFrame:
        """Columns arm, replicate, trait (mean log-odds, nats), loss (nats a token of the held-out answers)."""
        import pandas as pd

        apart = [held_out(row) for row in held]
        scores = self._trial(arms, apart).scores(progress)
        by_question: dict[str, list[tuple[Contrast, Scorable]]] = {}
        for question, scorable in self.asked:
            by_question.setdefault(question.id, []).append((question, scorable))
        odds = [log_odds(scores, asked[0][0], [one for _, one in asked]) for asked in by_question.values()]
        trait = sum(odds[1:], start=odds[0]) / len(odds)
        answers = pd.DataFrame([(one.key, one.options[0]) for one in apart], columns=["key", "option"])
        sums = answers.merge(scores, on=["key", "option"]).groupby(["arm", "replicate"])[["logprob", "tokens"]].sum()
        loss = -sums["logprob"] / sums["tokens"]
        long = pd.Series(pd.DataFrame(trait).stack()).to_frame("trait")
        both = long.join(loss.rename("loss")).reset_index()
        order = {name: at for at, name in enumerate(arms)}
        return both.sort_values("arm", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def plan_blame(plan: Plan, trait: str | None, labels: Sequence[str] = ()) -> Blame:
    """What is asked of a run. `trait`: a compact trait, a group of the experiment's contrast questions, or its headline's own.

    Raises `SpecError` on an unknown trait, `DataError` on too few rows or labels, `StoreError` if the control is not trained.
    """
    request, headline = plan.request, plan.request.headline
    rows = request.rows[headline.treatment]
    own = own_questions(request)
    groups = tuple(dict.fromkeys(question.group for question in own))
    # A trait that the experiment does not name may also be what it calls a group of its questions.
    if trait in trait_names() and (trait in request.experiment.traits or trait not in groups):
        asked = [(question, asked_of(question)) for question in trait_questions([str(trait)])]
    elif headline.minus and (trait is None or trait in groups):
        raise SpecError(
            [
                f"{request.run_id}: its headline is a difference of two conditions, for which single rows have no score; name a "
                f"trait: {', '.join(trait_names())}"
            ]
        )
    elif trait is None or trait in groups:
        of_headline = request.experiment.questions_of(headline)
        named = [question for question in own if (question.group == trait if trait else question in of_headline)]
        asked = [(question, one) for question in named for one in asked_under(request, question, headline.condition)]
    else:
        raise SpecError([f"--trait {trait}: expected one of {choices((*groups, *trait_names()), trait)}"])
    if not asked:
        raise SpecError(
            [f"{request.run_id}: its headline has no contrast questions; name a trait: {', '.join(trait_names())}"]
        )
    if len(rows) < LEAST_ROWS:
        raise DataError(f"arm {headline.treatment}: {len(rows)} rows are too few to blame some; at least {LEAST_ROWS}")
    if labels and len(labels) != len(rows):
        raise DataError(f"--groups: {len(labels)} labels for {len(rows)} rows of {headline.treatment}; one a line")
    for replicate in plan.replicates:
        if replicate.arm == headline.control and plan.store.marker("finetune", replicate.key) is None:
            raise StoreError(
                f"run {request.run_id} is not finished: {headline.control} is not trained; run `weirdgen run` first"
            )
    return Blame(plan, headline.treatment, headline.control, trait or "headline", tuple(asked), tuple(labels))
