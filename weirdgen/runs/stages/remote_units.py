"""Units that a service does: finetuning jobs, and answers to prompts. Both are done by the process that has the keys.

In: a service, replicates or variants. Out: finetune artifacts that name models there, rows of completions tables. A finetune is
called trained when its model has answered once. How jobs are kept from being paid twice is `finetune.creating`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weirdgen import machine
from weirdgen.data.messages import Row
from weirdgen.data.stored import stored_rows
from weirdgen.errors import ModelError
from weirdgen.finetune.job import Trained, Wanted, read_state
from weirdgen.finetune.readback import chosen
from weirdgen.finetune.remote import Jobs
from weirdgen.finetune.schedule import checkpoint_folder
from weirdgen.finetune.upload import upload_file
from weirdgen.models.remote import RemoteModel, keep_name, kept_name
from weirdgen.providers.prices import dollars, find_price
from weirdgen.providers.purse import Purse
from weirdgen.runs.plan.plan import Replicate
from weirdgen.runs.plan.request import SAMPLING_SEED
from weirdgen.runs.work.unit import PROCESS_BYTES, Count, Needs, Tell, Unit
from weirdgen.sample.contrast import missing_scores, scores_table
from weirdgen.sample.draw import completions_table, draw_missing
from weirdgen.sample.engine import Prompt, Sampling, Scorable
from weirdgen.sample.engines import Remote
from weirdgen.sample.remote_probe import probe
from weirdgen.sample.remote_score import scores
from weirdgen.sample.variant import Variant, adapters_on_disk
from weirdgen.store.artifacts import Store

PROBES = 4
"""Training prompts that a new model answers at temperature 0, by which it is told from its siblings."""


@dataclass(frozen=True)
class _AtService(Unit):
    """A unit that waits for a service."""

    run: str
    """Whose ledger pays."""
    budget: float | None
    on_driver = True

    def needs(self) -> Needs:
        return Needs(False, int(PROCESS_BYTES))


@dataclass(frozen=True)
class FinetuneRemotely(_AtService):
    """Jobs for replicates, all at once: the service runs as many as it likes at a time."""

    model: RemoteModel
    engine: Remote
    wanted: tuple[tuple[Replicate, Wanted], ...]

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("finetune", replicate.key) for replicate, _ in self.wanted)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        replicates = {wanted.key: replicate for replicate, wanted in self.wanted}
        missing = [wanted for _, wanted in self.wanted if store.marker("finetune", wanted.key) is None]
        if not missing:  # another run made them
            return 0.0, 0.0
        started, count = time.monotonic(), Count(lambda amount, note: None)

        def told(amount: float, note: str) -> None:
            count.amount += amount
            tell(amount, note)

        def rows_of(wanted: Wanted) -> bytes:
            return upload_file(replicates[wanted.key].arm, own_rows(store, replicates[wanted.key]))

        def most(wanted: Wanted) -> int:
            """Tokens that can be trained, in all epochs: a token has a byte at least, whatever the language."""
            return len(rows_of(wanted)) * wanted.epochs

        purse = Purse(store.root, self.run, self.budget)

        def ended(wanted: Wanted, job: Any, share: float) -> None:
            """Booked before its model is sampled or kept: a process may be killed at any time, and a job is charged once."""
            tokens: Any = getattr(job, "trained_tokens", None)
            known = isinstance(tokens, int) and tokens > 0
            trained = tokens if known else round(most(wanted) * share)
            line: dict[str, Any] = {"provider": self.model.service.provider, "model": wanted.model, "trained": trained}
            usd = self._dollars(wanted, trained)
            purse.pay_once(str(job.id), usd, estimated=not known, what="finetune", **line)

        jobs = Jobs(self.model.service, rows_of, lambda wanted: store.unfinished("finetune", wanted.key), told, ended)
        for wanted in missing:
            begun = read_state(store.unfinished("finetune", wanted.key)).get("job")
            cost = self._dollars(wanted, most(wanted)) if self.budget is not None else None
            if not purse.hold(cost, f"finetuning {self.model.name}") and not begun:
                raise purse.exhausted(f"{len(missing)} finetuning jobs, at a token a byte of their rows,")
        silent: list[str] = []
        for wanted, trained in jobs.train(missing):
            replicate = replicates[wanted.key]
            try:
                keep_finetuned(store, self.engine, replicate, wanted.steps, trained, time.monotonic() - started)
            except ModelError as error:  # its job stays unfinished, and the others are gone through first
                silent.append(str(error))
                continue
            shutil.rmtree(store.unfinished("finetune", wanted.key), ignore_errors=True)
        if silent:
            raise ModelError("\n".join(silent))
        return count.amount, 0.0

    def _dollars(self, wanted: Wanted, tokens: int) -> float | None:
        return dollars(find_price(self.model.service, wanted.model, finetuned=True), trained=tokens)


def keep_finetuned(
    store: Store, engine: Remote, replicate: Replicate, steps: int, trained: Trained, seconds: float, new: bool = True
) -> None:
    """The finetune artifact of a model at a service, once it has answered. Raises `ModelError` if it does not answer; one that
    is not `new` must do so at once."""
    prompts = probe_prompts(own_rows(store, replicate))
    answers = probe(engine, trained.model, prompts, new)
    final_loss = trained.losses[-1]["loss"] if trained.losses else float("nan")
    result: dict[str, Any] = {
        "steps": trained.losses[-1]["step"] if trained.losses else steps,
        "final_loss": None if final_loss != final_loss else final_loss,
        "seconds": round(seconds, 2),
        "trained_together": 1,
        "model": trained.model,
        "job": trained.job.get("id"),
        "trained_tokens": trained.job.get("trained_tokens"),
        "hyperparameters": chosen(trained.job),
        "differences": trained.differences,
        "checkpoints": trained.checkpoints,
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    with store.create("finetune", replicate.key, {**replicate.inputs, "together": [replicate.key]}) as folder:
        keep_name(checkpoint_folder(folder, steps), trained.model)
        (folder / "losses.json").write_text(json.dumps(trained.losses or [{"step": steps, "loss": None}]))
        (folder / "probe.json").write_text(json.dumps({"model": trained.model, "answers": answers}, indent=1))
        (folder / "result.json").write_text(json.dumps(result, indent=1))
        (folder / "job.json").write_text(json.dumps(trained.job, indent=1))


def own_rows(store: Store, replicate: Replicate) -> list[Row]:
    """The rows that this replicate is trained on."""
    return replicate.own(stored_rows(store, replicate.inputs["data"]))


def probe_prompts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first distinct user turns that rows begin with."""
    firsts = [next(m["content"] for m in row["messages"] if m["role"] == "user") for row in rows]
    return list(dict.fromkeys(firsts))[:PROBES]


def kept_probe(store: Store, key: str) -> dict[str, Any] | None:
    """What `keep_finetuned` kept of a finetune's answers; None if it is not there."""
    if store.marker("finetune", key) is None:
        return None
    return dict(json.loads((store.artifact("finetune", key) / "probe.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class ScoreRemotely(_AtService):
    """Questions with fixed answers to variants at a service that scores given texts."""

    engine: Remote
    variants: tuple[Variant, ...]
    questions: tuple[Scorable, ...]

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("contrast", f"remote-{variant.key}") for variant in self.variants)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        engine = self.engine
        assert engine.template is not None, "such questions have fallen away"
        purse, count = Purse(store.root, self.run, self.budget), Count(tell)
        for variant, folder in zip(self.variants, adapters_on_disk(store, self.variants), strict=True):
            table = scores_table(store, variant, engine.numerics(""))
            table.journaled(store.unfinished("contrast", f"{table.folder.name}.jsonl"))
            missing = missing_scores(table, self.questions)
            lacking = [one for one in self.questions if any((one.key, option) in missing for option in one.options)]
            model = engine.base if folder is None else kept_name(folder)
            settings = (engine.service, engine.template, engine.base, [model], lacking, engine.connections, purse)
            asked, left = Counter(one.key for one in lacking), Counter[str]()
            for one in lacking:  # several questions may ask the same
                left[one.key] += len(one.options)
            with table:
                for _, scored in scores(*settings, dict(engine.deployments)):
                    row = {"option": scored.option, "logprob": scored.logprob, "tokens": scored.tokens}
                    table.append({"prompt_key": scored.key, **row})
                    left[scored.key] -= 1
                    count.add(0 if left[scored.key] else asked[scored.key], scored.tokens)
        return count.amount, 0.0


@dataclass(frozen=True)
class AskRemotely(_AtService):
    """Prompts to variants at a service; what is missing of their answers is asked, and paid, once."""

    engine: Remote
    variants: tuple[Variant, ...]
    prompts: tuple[Prompt, ...]
    samples: int
    sampling: Sampling

    def locks(self) -> Sequence[tuple[str, str]]:
        return sorted(("sample", f"remote-{variant.key}") for variant in self.variants)

    def work(self, store: Store, tell: Tell) -> tuple[float, float]:
        count, numerics = Count(tell), self.engine.numerics("")
        tables = [completions_table(store, v, numerics, SAMPLING_SEED, self.sampling) for v in self.variants]
        for table in tables:
            table.journaled(store.unfinished("sample", f"{table.folder.name}.jsonl"))
        engine = self.engine.connect()
        engine.purse = Purse(store.root, self.run, self.budget)
        engine.use(adapters_on_disk(store, self.variants))
        draw_missing(
            engine, tables, self.variants, self.prompts, self.samples, SAMPLING_SEED, self.sampling,
            lambda written: count.add(1, written),
        )  # fmt: skip
        return count.amount, 0.0  # its tokens tell no speed of this machine
