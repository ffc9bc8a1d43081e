"""The sample stage: every final variant answers the free-form questions.

In: a plan's variants and prompts. Out: rows of completions tables, one per variant, and from them one row per answer
(`completions`). Several variants answer in one batch; how answers are drawn is `sample.draw`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from weirdgen.columns import IDENTITY
from weirdgen.models.chat import load_tokenizer, prompt_ids
from weirdgen.models.remote import RemoteModel
from weirdgen.providers.purse import parse_budget
from weirdgen.runs.plan.plan import Plan
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.stages.remote_units import AskRemotely
from weirdgen.runs.stages.stage import Batch, Stage, Work, counted_models, counted_prompts, require_encodable
from weirdgen.runs.stages.together import together
from weirdgen.runs.work.loaded import AskedOfVariants
from weirdgen.runs.work.unit import Count, Tell
from weirdgen.sample.draw import completions_table, draw, missing_samples, prompts_at_once, variants_at_once
from weirdgen.sample.engine import Prompt, Sampling
from weirdgen.sample.engines import Remote
from weirdgen.sample.variant import distinct
from weirdgen.store.artifacts import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Draw(AskedOfVariants):
    """Answers to prompts."""

    prompts: tuple[Prompt, ...]
    samples: int
    sampling: Sampling

    def locks(self) -> Sequence[tuple[str, str]]:
        return [("sample", self.lock_key(self.prompts))]

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count = Count(tell)
        tables = [
            completions_table(store, variant, self.numerics, SAMPLING_SEED, self.sampling) for variant in self.variants
        ]
        lacking = sum(missing_samples(table, self.prompts, self.samples) for table in tables)
        # A batch that is drawn again as it was may hold more samples than are asked for now.
        draw(
            self.open(store), self.variants, tables, self.prompts, self.samples, SAMPLING_SEED, self.sampling,
            lambda written: count.add(int(count.amount < lacking), written),
        )  # fmt: skip
        return count.amount, count.tokens


COLUMNS = ["sample", "prompt", "text", "finish_reason", "prompt_tokens", "completion_tokens", "seed"]


def completions(plan: Plan) -> pd.DataFrame:
    """One row per sampled answer: identity, sample, prompt, text, finish_reason, token counts, seed."""
    import pandas as pd

    asked = [(prompt.key, condition, question, prompt.text) for condition, question, prompt in plan.prompts]
    wanted = pd.DataFrame(asked, columns=["prompt_key", "condition", "question", "prompt"])
    frames = []
    for variant in plan.sampled if asked else []:
        table = plan.completions(variant).read()
        if not len(table):  # not drawn yet
            continue
        rows = wanted.merge(table[table["sample"] < plan.request.samples], on="prompt_key")
        rows = rows.assign(arm=variant.arm, role=variant.role, replicate=variant.replicate)
        frames.append(rows.assign(checkpoint=variant.checkpoint))
    columns = [*IDENTITY, *COLUMNS]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns].sort_values([*IDENTITY, "sample"], ignore_index=True)


def missing_answers(plan: Plan, *arms: str) -> int:
    """Answers that are still to be drawn, of these arms or else of all."""
    prompts = [prompt for _, _, prompt in plan.prompts]
    tables = [plan.completions(variant) for variant in plan.sampled if not arms or variant.arm in arms]
    return sum(missing_samples(table, prompts, plan.request.samples) for table in tables)


class Sample(Stage):
    """Sampled answers."""

    name, counts, speed = "sample", "answers", "generate"
    tables: ClassVar[Mapping[str, Callable[[Plan], pd.DataFrame]]] = {"completions": completions}

    def check(self, plan: Plan) -> None:
        """Every prompt can be put to this model as it stands."""
        if isinstance(plan.request.model, RemoteModel) or not missing_answers(plan):  # a provider has its own template
            return
        tokenizer = load_tokenizer(plan.request.local.folder, plan.request.date)
        require_encodable(plan.prompts, lambda prompt: prompt_ids(tokenizer, prompt.text))

    def work(self, plan: Plan) -> list[Work]:
        prompts = [prompt for _, _, prompt in plan.prompts]
        if not prompts or not plan.request.samples:
            return []
        missing, samples = missing_answers(plan), plan.request.samples
        longest = sum(prompt.max_tokens for prompt in prompts) / max(1, len(prompts))
        what = f"{counted_models(plan.sampled)} × {counted_prompts(plan.prompts, 'free-form questions')} × {samples} samples"
        wanted = len(prompts) * samples * len(plan.sampled)
        return [Work(self.name, what, missing, wanted, self.counts, self.seconds(plan, missing * longest))]

    def batch(self, plan: Plan) -> Batch:
        request, prompts = plan.request, [prompt for _, _, prompt in plan.prompts]
        answers = {variant: plan.completions(variant) for variant in distinct(plan.sampled)}
        missing = {variant: missing_samples(table, prompts, request.samples) for variant, table in answers.items()}
        if isinstance(request.engine, Remote):
            lacking = tuple(variant for variant, count in missing.items() if count)
            wanted = AskRemotely(
                request.run_id,
                parse_budget(request.options.budget),
                request.engine,
                lacking,
                tuple(prompts),
                request.samples,
                request.sampling,
            )
            return Batch([wanted] if lacking else [], sum(missing.values()))
        size = variants_at_once(max((p.max_tokens for p in prompts), default=1), request.model.parameters)
        size = 1 if request.recipe.full else size
        units: list[Draw] = []
        for variants in together(plan, "sample", [v for v, lacking in missing.items() if lacking], size):
            at_once = prompts_at_once(len(variants), request.samples)
            for start in range(0, len(prompts), at_once):
                portion = prompts[start : start + at_once]
                if any(missing_samples(answers[variant], portion, request.samples) for variant in variants):
                    how = (request.local, request.dtype, request.engine, request.date, tuple(variants))
                    units.append(Draw(*how, tuple(portion), request.samples, request.sampling))
        return Batch(units, sum(missing.values()))

    def artifacts(self, plan: Plan) -> dict[str, Path]:
        return {f"answers of {variant.name}": plan.completions(variant).folder for variant in plan.sampled}
