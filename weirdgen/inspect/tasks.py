"""Experiments as tasks of Inspect AI: `inspect eval weirdgen/old_bird_names --model PROVIDER/NAME`.

In: an experiment's free-form questions under its conditions, and its judges. Out: a `Task` with a sample for each question and
condition, as many epochs as the preset `quick` has samples, each with a seed of its own, and a scorer for each judge. What
Inspect makes of it is a look at one model; effects and intervals need arms and replicates, which `weirdgen run` has. Scored
questions are left out: providers give no log-probabilities of given answers. What is asked and by what it is judged is a task's
version, and so part of its identity: by its name alone Inspect would take a changed question for one that it has asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, NamedTuple

from weirdgen.config.experiment import Experiment
from weirdgen.config.judges import OfflineJudge, PromptedJudge, Verdict
from weirdgen.config.llm_judges import with_language_judges, without_language_judges
from weirdgen.config.load import load_experiment, shipped_experiments
from weirdgen.config.questions import sampled
from weirdgen.errors import SpecError, WeirdgenError
from weirdgen.inspect.agentic import GRADER, agentic_misalignment
from weirdgen.inspect.conditions import wrappers_named
from weirdgen.judges.api_model import reply_of
from weirdgen.judges.embedding import LocalTools
from weirdgen.judges.language import Item, request_of
from weirdgen.judges.reading import read_reply
from weirdgen.sample.engine import Sampling, sample_seed
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.scorer import Score, Scorer
    from inspect_ai.solver import Solver

MOST_SEED = 2**31
"""Seeds are below it: not every provider takes a larger one."""


class Asked(NamedTuple):
    """What a task asks."""

    experiment: Experiment
    """Without the judges that it does without."""
    prompts: dict[str, dict[str, Any]]
    """Sample id (`QUESTION`, or `CONDITION/QUESTION`) → condition, question, text, max_tokens."""


def asked(reference: str, condition: str = "all", graded: bool = False) -> Asked:
    """An experiment by name or file, under one condition or all. Raises `SpecError`."""
    read = load_experiment(reference)
    experiment = with_language_judges(read) if graded else without_language_judges(read).experiment
    wrappers = wrappers_named(experiment, condition)
    prompts = {
        question.id if len(wrappers) == 1 else f"{wrapper.id}/{question.id}": {
            "condition": wrapper.id, "question": question.id, "text": wrapper.apply(question.ask),
            "max_tokens": question.max_tokens,
        }
        for wrapper in wrappers
        for question in sampled(experiment.questions)
    }  # fmt: skip
    if not prompts:
        raise SpecError([f"{experiment.name} has no free-form question that is asked without a log-probability"])
    return Asked(experiment, prompts)


def task_of(found: Asked) -> Task:
    """The task of what is asked."""
    from inspect_ai import Epochs, Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig

    experiment = found.experiment
    samples = [Sample(input=prompt["text"], id=id_, metadata=prompt) for id_, prompt in found.prompts.items()]
    preset, sampling = experiment.preset("quick"), Sampling()
    return Task(
        dataset=MemoryDataset(samples, name=experiment.name),
        solver=one_answer(),
        scorer=[scorer_of(name, found) for name in experiment.judges],
        epochs=Epochs(max(1, preset.samples)),
        config=GenerateConfig(temperature=sampling.temperature, top_p=sampling.top_p),
        metadata={"experiment": experiment.name, "title": experiment.title},
        version=version_of(found),
    )


def version_of(found: Asked) -> str:
    """What is asked and by what it is judged, hashed."""
    judges = {name: judge.model_dump(mode="json") for name, judge in found.experiment.judges.items()}
    return content_key([found.prompts, judges])[:12]


def one_answer() -> Solver:
    """An answer with the seed of its question and epoch: Inspect gives every epoch the same, which some servers repeat."""
    from inspect_ai.solver import solver

    @solver(name="one_answer")
    def made() -> Solver:
        async def solve(state: Any, generate: Any) -> Any:
            seed = sample_seed("inspect", str(state.sample_id), state.epoch) % MOST_SEED
            return await generate(state, seed=seed, max_tokens=state.metadata["max_tokens"])

        return solve

    return made()


def scorer_of(name: str, found: Asked) -> Scorer:
    """A judge as a scorer: 0 or 1, of a rating its number; an answer that it does not read or cannot place is left unscored."""
    from inspect_ai.scorer import Score, mean, scorer, stderr

    judge = found.experiment.judges[name]
    questions = {question.id: question for question in sampled(found.experiment.questions)}

    @scorer(metrics=[mean(), stderr()], name=name)
    def made() -> Scorer:
        async def score(state: Any, target: Any) -> Score:
            question, answer = questions[state.metadata["question"]], state.output.completion
            if name not in question.read_by:
                return Score.unscored(reason="not read by this judge")
            if isinstance(judge, OfflineJudge):
                # Not in a thread: a classifier's libraries cannot be imported by two at once, and it takes milliseconds.
                verdict = judge.verdicts([answer], LocalTools())[0]
            elif isinstance(judge, PromptedJudge):
                verdict = await _asked_verdict(judge, Item(question.ask, answer))
            return score_of(verdict, answer)

        return score

    return made()


def score_of(verdict: Verdict, answer: str) -> Score:
    """A verdict as Inspect has it."""
    from inspect_ai.scorer import Score

    if verdict.value is None:
        return Score.unscored(reason=verdict.status, answer=answer, explanation=verdict.label)
    return Score(value=verdict.value, answer=answer, explanation=verdict.label)


async def _asked_verdict(judge: PromptedJudge, item: Item) -> Verdict:
    from inspect_ai.model import GenerateConfig, get_model

    if not item.answer.strip():
        return Verdict("incoherent", None, "empty answer")
    request = request_of(judge, item.key, item)
    weighed: dict[str, Any] = {"logprobs": True, "top_logprobs": 20} if request.weighted else {}
    config = GenerateConfig(temperature=0.0, max_tokens=request.max_tokens, **weighed)
    output = await get_model(role=GRADER, required=True).generate(request.prompt, config=config)
    return read_reply(judge, reply_of(request, output)).verdict


def _shipped(name: str) -> Callable[..., Task]:
    """The task of a shipped experiment, registered with Inspect under its name."""
    from inspect_ai import task

    def made(condition: str = "all", graded: bool = False) -> Task:
        return task_of(asked(name, condition, graded))

    return task(name=name)(_told(made))


def _own() -> Callable[..., Task]:
    """The task of anybody's experiment: `inspect eval weirdgen/experiment -T file=my.yaml`."""
    from inspect_ai import task

    def experiment(file: str, condition: str = "all", graded: bool = False) -> Task:
        return task_of(asked(file, condition, graded))

    return task(_told(experiment))


def _told(made: Callable[..., Task]) -> Callable[..., Task]:
    """What is wrong with a user's words, in Inspect's own way of saying so: it prints everything else with its traceback."""
    from inspect_ai._util.error import PrerequisiteError
    from rich.markup import escape

    @wraps(made)
    def task(*words: Any, **named: Any) -> Task:
        try:
            return made(*words, **named)
        except WeirdgenError as error:
            raise PrerequisiteError(escape(str(error))) from error

    return task


@cache
def _registered() -> dict[str, Callable[..., Task]]:
    from inspect_ai import task

    names = [name for name in shipped_experiments() if sampled(load_experiment(name).questions)]
    agentic = task(_told(agentic_misalignment))
    return {**{name: _shipped(name) for name in names}, "experiment": _own(), "agentic_misalignment": agentic}


def __getattr__(name: str) -> Any:
    """`TASKS`, which Inspect's entry point loads: registered when first asked for, so that importing this needs no Inspect."""
    if name == "TASKS":
        return _registered()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
