"""The arms of an experiment: each one's training rows, and the control that `control: auto` adds.

In: an experiment, by reference or as an object. Out: the experiment and the rows of every arm; a twin's are empty, for the base
has yet to answer them. Raises one `SpecError` that lists
the problems of the file and of its data together, each with its line. How one file is read is `data.rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from weirdgen.config.arm import AUTO_CONTROL, Arm
from weirdgen.config.experiment import Experiment
from weirdgen.config.files import Lines
from weirdgen.config.load import read_experiment
from weirdgen.data.rows import Row, load_rows
from weirdgen.errors import DataError, SpecError

Rows = dict[str, list[Row]]


def load_arms(experiment: str | Path | Experiment) -> tuple[Experiment, Rows]:
    """An experiment with the rows of each arm. Raises one `SpecError` with every problem of the file and its data."""
    if isinstance(experiment, Experiment):
        return _with_auto_control(experiment, *_read(experiment, None))
    read = read_experiment(experiment)
    rows, problems = _read(read.experiment, read.lines, read.missing.unread)
    problems += _same_rows(read.experiment, rows, read.lines)
    return _with_auto_control(read.experiment, rows, [*read.problems, *problems])


def _read(experiment: Experiment, lines: Lines | None, unread: Collection[str] = ()) -> tuple[Rows, list[str]]:
    """The rows of each arm that can be read, and what is wrong with the others, but for those that are `unread`."""
    rows: Rows = {}
    problems: list[str] = []
    for name, arm in experiment.arms.items():
        if name in unread:
            continue
        try:
            rows[name] = [] if arm.twin else load_rows(arm, experiment.folder or Path())
        except DataError as error:
            where = f"{lines.at(('arms', name, 'data'))}: " if lines else ""
            problems += [f"{where}arms.{name}: {line}" for line in str(error).splitlines()]
        except (KeyError, ValueError, IndexError) as error:
            where = f"{lines.at(('arms', name))}: " if lines else ""
            problems.append(f"{where}arms.{name}: template does not fill: {error}")
    return rows, problems


def same_rows(first: Iterable[Row], second: Iterable[Row]) -> bool:
    """Whether two datasets hold the same rows, in whatever order."""
    return Counter(map(repr, first)) == Counter(map(repr, second))


def _same_rows(experiment: Experiment, rows: Rows, lines: Lines) -> list[str]:
    """Controls that are a treatment once more, most likely by a slip. `permute` asks for equal rows, paired anew, and different
    numbers of ordinary rows make arms differ. Experiments made in Python are taken as they are."""
    filled = [(name, arm) for name, arm in experiment.arms.items() if rows.get(name)]
    return [
        f"{lines.at(('arms', name, 'data'))}: arms.{name}: it holds the same {len(rows[name]):,} rows as arms.{treatment}, so no "
        "difference between the two can mean anything: give it rows of its own, or 'control: auto' in place of this arm"
        for name, arm in filled
        if arm.role == "control" and not arm.permute
        for treatment, other in filled
        if other.role == "treatment" and other.ordinary == arm.ordinary and same_rows(rows[treatment], rows[name])
    ]


def _with_auto_control(experiment: Experiment, rows: Rows, problems: list[str]) -> tuple[Experiment, Rows]:
    if experiment.control == "auto" and AUTO_CONTROL in experiment.arms:
        problems = [
            *problems,
            f"{experiment.source or experiment.name}: 'control: auto' adds an arm named '{AUTO_CONTROL}'; rename yours",
        ]
    if problems:
        raise SpecError(problems)
    if experiment.control != "auto":
        return experiment, rows
    source, treatment = next((name, arm) for name, arm in experiment.arms.items() if arm.role == "treatment")
    twin = Arm(role="control", twin=source, ordinary=treatment.ordinary)
    arms = {**experiment.arms, AUTO_CONTROL: twin}
    return experiment.model_copy(update={"arms": arms}), {**rows, AUTO_CONTROL: []}
