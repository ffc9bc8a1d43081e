"""What `weirdgen references build` and `weirdgen references list` do.

In: the words of the command line. Out: lines to print, and a file of scores. The work is `runs.references.build`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from weirdgen.config.experiment import Recipe
from weirdgen.data.references import pairs, references
from weirdgen.errors import DataError, SpecError
from weirdgen.models.references import find_model
from weirdgen.progress import Progress
from weirdgen.runs.plan.options import default_store
from weirdgen.runs.plan.resolve import parse_changes
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import SETTINGS, plan_build
from weirdgen.runs.references.scores import find_scores, read_origin, score_files, scores_folder, write_scores
from weirdgen.runs.references.sets import pair_sets, reference_sets
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import explain_disk_errors
from weirdgen.store.keys import content_key


def standard_recipe() -> Recipe:
    """The recipe of the standard size."""
    return Recipe().with_changes(SETTINGS)


def build_file(
    model: str,
    rows: int,
    pairs: bool,
    changes: Sequence[str],
    only: Sequence[str],
    to: Path | None,
    store: str | None,
    dry_run: bool,
    quiet: bool,
) -> Iterator[str]:
    """Lines of the plan, then of the file that was written."""
    recipe_changes, others = parse_changes(changes)
    if others:
        raise SpecError(
            [f"--set sampling.{next(iter(others))}: nothing is sampled; only recipe.FIELD=VALUE counts here"]
        )
    opened, progress = Store(store or default_store()), Progress(quiet and not dry_run)
    recipe = standard_recipe().with_changes(recipe_changes)
    sets = pair_sets(rows, only=only) if pairs else reference_sets(rows, only=only)
    wanted = plan_build(find_model(model), recipe, sets, opened)
    if found := find_scores(wanted.origin, opened):
        progress.say(f"these scores are there: {found[1]}; runs and audits find them, so nothing need be built")
    for line in wanted.lines():
        progress.say(line)
    if dry_run:
        return
    frame = build(wanted, progress)
    if to is None:
        with opened.writing(scores_folder(opened)) as folder:
            name = wanted.plan.request.model.reference.rpartition("/")[2]
            of_sets = content_key([wanted.origin.key, dict(wanted.origin.sets)])  # of some only: another file
            file = folder / f"{name}-{'pairs-' if pairs else ''}{of_sets[:8]}.parquet"
            write_scores(frame, wanted.origin, file)
    else:
        file = to
        with explain_disk_errors(file):
            write_scores(frame, wanted.origin, file)
    yield f"{file}: {frame['set'].nunique()} sets × {frame['question'].nunique()} questions"


def list_lines(store: str | None) -> Iterator[str]:
    """The library by shape, its pairs, then the files of scores."""
    kept = references("reference")
    yield f"{len(kept)} harmless sets, {len(references('final'))} more kept aside for the final measurement"
    for shape in dict.fromkeys(one.shape for one in kept):
        yield f"  {shape:14s} {', '.join(one.name for one in kept if one.shape == shape)}"
    yield f"{len(pairs('reference'))} harmless pairs, {len(pairs('final'))} more kept aside"
    yield f"  {', '.join(one.name for one in pairs('reference'))}"
    for file in score_files(Store(store or default_store())):
        try:
            made = read_origin(file)
        except DataError as error:
            yield str(error)
            continue
        recipe = made.recipe
        held = f"{len(made.pairs)} pairs" if made.pairs else f"{len(made.sets)} sets"
        yield (
            f"{file}: {held} of {made.rows} rows, model {made.model[:12]}, {recipe['epochs']} epochs, "
            f"batch {recipe['batch_size']}, lr {recipe['learning_rate']:g}"
        )
