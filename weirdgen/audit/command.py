"""What `weirdgen forecast` and `weirdgen blame` do.

In: the words of the command line. Out: lines to print. The work is that of `audit.forecast`, `audit.sealed` and `audit.blame`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from weirdgen.audit.forecast import experiment_of, plan_forecast, told, trait_questions, undistilled
from weirdgen.audit.sealed import sealed_of
from weirdgen.config.experiment import Experiment
from weirdgen.config.load import load_experiment
from weirdgen.config.measures import CONTRAST
from weirdgen.errors import StoreError
from weirdgen.parsing import read_text, split_lines
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import default_store, run_options
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.results.results import Run, load_run
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import made_folder


def forecast_lines(
    target: str,
    model: str | None,
    preset: str,
    steps: int,
    traits: Sequence[str],
    seal: bool,
    store: str | None,
    dry_run: bool,
    quiet: bool,
) -> Iterator[str]:
    """The ranking, and where it was sealed; the plan goes to standard error."""
    opened, progress = Store(store or default_store()), Progress(quiet and not dry_run)
    request = resolve(_scored(experiment_of(target, model)), run_options(model=model, preset=preset, samples=0))
    if dry_run and (first := undistilled(request, opened)):
        for line in first:
            progress.say(line)
        return
    forecast = plan_forecast(request, opened, steps, traits, progress)
    for line in forecast.lines():
        progress.say(line)
    if dry_run:
        return
    table = forecast.table(progress)
    yield from told(forecast, table)
    if seal:
        file, digest, when = forecast.seal(table)
        yield f"sealed {when}: SHA-256 {digest}, {file}"


def _scored(experiment: str | Experiment) -> str | Experiment:
    """An experiment whose headline is judged, with one that needs no sampled answers: a forecast takes its arms and conditions.

    One that asks no contrast questions is asked traits instead, as a file is.
    """
    if isinstance(experiment, Experiment):
        return experiment
    loaded = load_experiment(experiment)
    headline = loaded.headline
    if (headline.measure if headline else loaded.main_measure) not in loaded.judges:
        return experiment
    scored = any(CONTRAST.name in question.measures and not question.near for question in loaded.questions)
    if headline:
        changes = {"measure": CONTRAST.name, "groups": (), "smallest": None, "says": None}
        headline = headline.model_copy(update=changes)
    questions = loaded.questions if scored else (*loaded.questions, *trait_questions(()))
    return loaded.model_copy(update={"headline": headline, "questions": questions})


def score_lines(run: str, store: str | None) -> list[str]:
    """How every forecast that was sealed for a run did. Raises `StoreError` if none was."""
    loaded = load_run(run, store)
    loaded.require_finished()
    if not (lines := sealed_lines(loaded)):
        name = loaded.request.experiment.name
        raise StoreError(f"run {loaded.id}: no forecast of its data was sealed; `weirdgen forecast {name} --seal` does")
    return lines


def sealed_lines(run: Run) -> list[str]:
    """The same of a run at hand; none if nothing was sealed."""
    return [line for one in sealed_of(run) for line in one.lines()]


def blame_lines(
    run: str, trait: str | None, groups: Path | None, to: Path | None, store: str | None, dry_run: bool, quiet: bool
) -> Iterator[str]:
    """What was found, and the files; the plan goes to standard error."""
    from weirdgen.audit import proof
    from weirdgen.audit.blame import plan_blame

    loaded, progress = load_run(run, store), Progress(quiet and not dry_run)
    labels = [] if groups is None else [line for _, line in split_lines(read_text(groups).text.removesuffix("\n"))]
    blame = plan_blame(loaded.plan, trait, labels)
    for line in blame.lines():
        progress.say(line)
    if dry_run:
        return
    if to:
        made_folder(to)
    found = blame.find(progress)
    yield from proof.told(found, blame)
    for file in proof.write(found, blame, to or loaded.folder / "blame" / blame.trait):
        yield str(file)
