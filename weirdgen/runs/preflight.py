"""Before anything is trained: whatever would fail, or say nothing, after hours of training is tried now.

In: a `Plan` with work left. Out: lines for the plan, or one error with every problem. It tries the sides of scored questions
(as this model's tokens), every judge on five probes, the server that is to answer and whether it finds adapters, and the room
on the disk; one prompt is shown as the model will see it. It trains nothing and keeps nothing. What the rows themselves may
hold is proven by `runs.plan`.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import PromptedJudge, offline, prompted
from weirdgen.config.llm_judges import added_judges
from weirdgen.config.questions import ScoredQuestion, sampled, scored
from weirdgen.config.turns import turns_of
from weirdgen.errors import SpecError, all_at_once
from weirdgen.finetune.schedule import total_steps
from weirdgen.judges.language import language_table
from weirdgen.judges.local_model import LocalJudgeModel
from weirdgen.judges.model import JudgeModel, is_local, local_judge
from weirdgen.judges.probes import PROBES, probe_language, probe_offline
from weirdgen.models.chat import THOUGHT, answer_ids, load_tokenizer
from weirdgen.models.ends import end_of_turn_ids
from weirdgen.models.references import LocalModel, read_config
from weirdgen.models.template import plain, template_errors
from weirdgen.providers.purse import Purse, parse_budget
from weirdgen.runs.plan.plan import Plan, Replicate
from weirdgen.runs.plan.scale import ANSWER_BYTES, Shape
from weirdgen.runs.stages.all import workload
from weirdgen.runs.stages.finetune import groups
from weirdgen.runs.work.loaded import engine_with, local_folder
from weirdgen.sample.engines import Transformers
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors

SHOWN = 400
"""Characters of the prompt that is shown."""
FEW = 3
"""Probes of a judge that is known to work: so many failures count as a model that cannot be asked."""
UNFINISHED = 3
"""Adapters' worth of disk that one replicate in training takes beside its checkpoints: weights and AdamW's two moments."""
GB = 1e9


def preflight(plan: Plan) -> list[str]:
    """What was tried, in lines; none if nothing is left to compute. Raises one `WeirdgenError` with all that failed."""
    left = {work.stage for work in workload(plan) if work.missing}
    trials: list[Callable[[Plan], list[str]]] = []
    here = isinstance(plan.request.model, LocalModel)  # else template, server and adapters are a provider's
    if here and left & {"distill", "finetune"}:
        trials.append(disk_lines)
    if here and left & {"contrast", "sample"}:
        trials += [asked_lines, server_lines]
    if "sample" in left:  # of answers that are there, verdicts are the next thing that is asked for
        trials.append(judge_lines)
    return [line for lines in all_at_once(partial(trial, plan) for trial in trials) for line in lines]


def asked_lines(plan: Plan) -> list[str]:
    """One prompt as it will be asked. Raises `SpecError` if the sides of a scored question are not two to this model."""
    tokenizer = load_tokenizer(plan.request.local.folder, plan.request.date)
    require_two_sides(plan.request.experiment, tokenizer)
    return prompt_lines(plan.request.experiment, tokenizer)


def require_two_sides(experiment: Experiment, tokenizer: Any) -> None:
    """Raises `SpecError` with every scored question whose sides this model's tokens cannot tell apart."""
    wrapper = experiment.wrappers()[0]
    problems = [
        f"{experiment.file_name}: question {question.id}: {problem}"
        for question in scored(experiment.questions)
        for problem in side_problems(tokenizer, question, wrapper.apply(question.ask))
    ]
    if problems:
        raise SpecError(problems)


def side_problems(tokenizer: Any, question: ScoredQuestion, ask: str) -> list[str]:
    """Problems of a question's answers after `ask`. Raises `ModelError` if an answer cannot be put to this model."""
    tokens = {option: answer_ids(tokenizer, ask, option) for option in question.options}
    unknown, ends = getattr(tokenizer, "unk_token_id", None), end_of_turn_ids(tokenizer)
    problems = [
        f"the answer {option!r} holds a word that this model's tokenizer does not know, so its score says nothing of it"
        for option, ids in tokens.items()
        if unknown is not None and unknown not in ends and unknown in ids
    ]
    if problems:
        return problems
    return [
        f"the answers {target!r} (target) and {other!r} (other) are the same tokens to this model, so it can prefer neither"
        for target in question.target
        for other in question.other
        if tokens[target] == tokens[other]
    ]


def prompt_lines(experiment: Experiment, tokenizer: Any) -> list[str]:
    """One prompt, as the model is given it, and what its template does about thinking."""
    wrapper, question = experiment.wrappers()[-1], experiment.questions[0]
    turns = plain(turns_of(wrapper.apply(question.ask)))

    def written(**thinking: bool) -> str:
        with template_errors():
            return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **thinking))

    text = written(enable_thinking=False)
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"
    lines = [f"  prompt {question.id} under {wrapper.id}: {json.dumps(shown, ensure_ascii=False)}"]
    if text != written(enable_thinking=True):
        lines.append(
            "  thinking: this chat template has a switch for it; it is switched off, in training and in asking"
        )
    elif THOUGHT.search(text[-SHOWN // 2 :]):
        lines.append("  thinking: this chat template opens a thought before every answer and has no switch for it")
    return lines


def server_lines(plan: Plan) -> list[str]:
    """A server that is to answer is asked, and given an adapter as it will be given those that are trained. `ModelError`."""
    request = plan.request
    if request.engine.holds_weights or request.options.executor != "inline":
        return []
    engine = request.engine.open(request.local.folder, request.dtype, request.date)
    if request.recipe.full:
        return [f"  server: {request.options.engine} answers"]
    from weirdgen.finetune.lora import write_trial_adapter

    plan.store.require_writable()
    folder = plan.store.root / "tmp" / f"trial-{uuid.uuid4().hex[:8]}"
    try:
        with explain_disk_errors(folder):
            write_trial_adapter(request.local.folder, request.recipe, folder)
        engine.use([folder])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [f"  server: {request.numerics} answers, and loads an adapter of rank {request.recipe.rank} from the store"]


def judge_lines(plan: Plan) -> list[str]:
    """Every judge that reads an answer, on five probes. Raises `SpecError` with the judges that give no verdict; `ModelError`.

    A language judge that has given verdicts on this model before needs none; if there is more to train, the model is tried.
    The rating that every judged run is given holds up none: without verdicts of it the run goes on with those of the others.
    """
    request, judges = plan.request, plan.request.experiment.judges
    asks = {name: q.ask for q in reversed(sampled(request.experiment.questions)) for name in q.read_by}
    read_offline = {name: judge for name, judge in offline(judges).items() if name in asks}
    told = [f"  judge {line}" for line in probe_offline(read_offline)]
    asking = {name: judge for name, judge in prompted(judges).items() if name in asks}
    if request.judge is None or not asking:
        return told
    reference, identity = request.judge
    local = is_local(reference)
    if local and request.options.executor != "inline":
        return [*told, "  judges: a local model is not probed here, as the work is done elsewhere"]
    new = {name: judge for name, judge in asking.items() if not _has_judged(plan.store, judge, identity)}
    if new:
        probed = probe_language(new, asks, _judging_model(plan, reference))
    elif _to_train(plan):
        probed = probe_language(dict([next(iter(asking.items()))]), asks, _judging_model(plan, reference), PROBES[:FEW])
        probed = probed._replace(problems={})
    else:
        return told
    added = {name for name, judge in added_judges().items() if asking.get(name) == judge}
    if probed.problems and not (probed.problems.keys() <= added < asking.keys()):
        raise SpecError([f"--judge {reference}: {problem}" for problem in probed.problems.values()])
    for name in probed.problems:
        told.append(
            f"  judge {name}: added to every judged run, and without a verdict from {reference} on {len(PROBES)} probes; the run "
            f"goes on, and counts each of its ratings as failed (a judge '{name}' of your own replaces it: docs/judges.md)"
        )
    cost = "" if local else f"; {probed.asked} requests were sent: {probed.read} tokens read, {probed.written} written"
    if answering := [name for name in new or asking if name not in probed.problems]:
        told.append(f"  judges: {', '.join(answering)} answer probes on {reference}{cost}")
    return told + [f"  judge {line}" for line in probed.lines]


def _has_judged(store: Store, judge: PromptedJudge, identity: str) -> bool:
    """Whether the store holds a verdict of this judge on this model that is one."""
    frame = language_table(store, judge, identity).read()
    return bool(len(frame)) and not frame["status"].isin(["unparseable", "error"]).all()


def _to_train(plan: Plan) -> list[Replicate]:
    """The replicates that the store lacks."""
    return [replicate for replicate in plan.replicates if plan.store.marker("finetune", replicate.key) is None]


def _judging_model(plan: Plan, reference: str) -> JudgeModel:
    if not is_local(reference):
        from weirdgen.judges.api_model import ApiJudgeModel

        purse = Purse(plan.store.root, plan.request.run_id, parse_budget(plan.request.options.budget))
        return ApiJudgeModel(reference, purse=purse)
    model, dtype = local_judge(reference)
    return LocalJudgeModel(local_folder(model), engine_with(model, dtype, Transformers(), adapters=[None]))


def disk_lines(plan: Plan) -> list[str]:
    """What will be written, and the room for it. Raises `SpecError` if there is less."""
    needed = needed_bytes(plan)
    place = next(folder for folder in (plan.store.root, *plan.store.root.parents) if folder.is_dir())
    disk = shutil.disk_usage(place)
    if not disk.total:  # no disk, as /proc is none: writing will say so
        return []
    free = disk.free
    if needed > free:
        raise SpecError(
            [
                f"this run writes about {needed / GB:.1f} GB into {plan.store.root}, where {free / GB:.1f} GB are free; "
                "make room, name another place with --store, or keep fewer checkpoints"
            ]
        )
    return [f"  disk: about {needed / GB:.2g} GB to write, {free / GB:,.0f} GB free"]


def needed_bytes(plan: Plan) -> float:
    """About what the replicates and answers that are missing take on disk."""
    request, recipe = plan.request, plan.request.recipe
    config = read_config(request.local.folder)
    if recipe.full:
        each = request.model.parameters * (2 if recipe.dtype == "bf16" else 4)
    else:
        try:
            each = Shape(request.model.reference, config).adapter_bytes(recipe.rank)
        except KeyError:  # an architecture of other keys: at most a tenth of its weights, in fp32
            each = request.model.parameters * 4 // 10
    missing = _to_train(plan)
    kept = sum(len(recipe.checkpoint_steps(total_steps(replicate.rows, recipe))) for replicate in missing)
    together = max(map(len, groups(plan)), default=0)
    answers = len(plan.prompts) * request.samples * len(plan.sampled)
    return float(each * (kept + UNFINISHED * together) + ANSWER_BYTES * answers)
