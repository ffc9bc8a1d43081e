"""The arms of an experiment: each one's training rows, and the control that `control: auto` adds.

In: an experiment, by reference or as an object. Out: the experiment and the rows of every arm; a twin's are empty, for the base
has yet to answer them. Raises one `SpecError` that lists
the problems of the file and of its data together, each with its line. How one file is read is `data.rows`.
"""

from __future__ import annotations

from collections.abc import Collection
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
