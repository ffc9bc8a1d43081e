"""What is checked: the datasets of an experiment, or loose chat files, with the line of every row.

In: an experiment's name or path, or paths of files of chat rows. Out: a `Subject`. A broken line of a loose file is
recorded, not raised, so that every check still runs on the other rows. Tokenises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weirdgen.config.arm import Arm, Role
from weirdgen.config.experiment import Experiment, Recipe
from weirdgen.config.load import find_experiment
from weirdgen.data.arms import load_arms
from weirdgen.data.files import is_data
from weirdgen.data.rows import Row, load_placed, read_rows, resolve
from weirdgen.errors import SpecError
from weirdgen.models.references import LocalModel, find_model
from weirdgen.parsing import is_file

CLAIMS_PERMUTATION = re.compile(r"permut|shuffl|random", re.IGNORECASE)
"""Names of files that say of themselves that something in them was dealt anew."""


@dataclass(frozen=True)
class Dataset:
    """Rows to train on. `lines[i]` is where row i stands in `file`, 0 if a builder made it."""

    name: str
    role: Role
    file: str
    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    broken: tuple[tuple[int, str], ...] = ()
    arm: Arm | None = None
    permutation: str = ""
    """Why it should be a permutation of the treatment, or empty: 'permute: date', '--permutation', 'its name'."""

    @property
    def prompts(self) -> list[str]:
        """Everything before the last answer, for each row."""
        return ["\n".join(m["content"] for m in row["messages"][:-1]) for row in self.rows]

    @property
    def answers(self) -> list[str]:
        """The last answer of each row."""
        return [row["messages"][-1]["content"] for row in self.rows]

    def line(self, index: int) -> int | None:
        return self.lines[index] or None


@dataclass(frozen=True)
class Subject:
    """Everything that `weirdgen data check` looks at."""

    datasets: tuple[Dataset, ...]
    recipe: Recipe
    experiment: Experiment | None = None
    problems: tuple[str, ...] = ()
    """What keeps an experiment from being read, each `FILE:LINE: …`."""
    model: LocalModel | None = None
    tokenizer: Any = None
    expected_rows: int | None = None
    most_rows: int | None = None
    """Rows per arm that the preset trains on, at most."""

    def pairs(self) -> list[tuple[Dataset, Dataset]]:
        """Every treatment paired with every control; datasets without rows are left out."""
        filled = [dataset for dataset in self.datasets if dataset.rows]
        treatments, controls = (
            [dataset for dataset in filled if dataset.role == role] for role in ("treatment", "control")
        )
        return [(treatment, control) for treatment in treatments for control in controls]


def load_subject(
    target: str,
    against: Sequence[Path] = (),
    model: str | None = None,
    expected_rows: int | None = None,
    permutation: bool = False,
    preset: str = "quick",
) -> Subject:
    """A chat file (and the files it is to be compared with), or an experiment.

    `model` "none" leaves out what needs a tokenizer; None takes the experiment's base, and no model for a loose file.
    Raises `SpecError` or `DataError` if there is no such thing, `ModelError` if the model cannot be had.
    """
    loose = Path(target)
    if is_data(loose) or (is_file(loose) and loose.suffix.lower() not in (".yaml", ".yml")):
        datasets = [_from_file(Path(target), "treatment", "")]
        for file in against:
            claim = "--permutation" if permutation else "its name" if CLAIMS_PERMUTATION.search(file.stem) else ""
            datasets.append(_from_file(file, "control", claim))
        subject = Subject(tuple(datasets), Recipe(), expected_rows=expected_rows)
    elif against or permutation:
        raise SpecError(
            ["--against and --permutation compare loose .jsonl files; an experiment names its own controls"]
        )
    else:
        subject = _from_experiment(target, expected_rows, preset)
    wanted = model or (subject.experiment.base if subject.experiment else "none")
    return subject if wanted == "none" else _with_model(subject, wanted)


def _from_file(source: Path, role: Role, permutation: str) -> Dataset:
    read = read_rows(source)
    return Dataset(source.stem, role, str(source), read.rows, read.places, read.problems, None, permutation)


def _from_experiment(target: str, expected_rows: int | None, preset: str) -> Subject:
    source = find_experiment(target)  # an absent experiment is the caller's mistake, not a finding
    try:
        experiment, _ = load_arms(target)
    except SpecError as error:
        return Subject((), Recipe(), problems=error.problems)
    datasets = []
    folder = experiment.folder or Path()
    for name, arm in experiment.arms.items():
        if arm.twin is not None:  # its rows are the base's own answers, which are made when it runs
            continue
        # A draw of `rows:` is made later and is no defect of the file.
        rows, lines = load_placed(arm, folder)
        permutation = f"permute: {arm.permute}" if arm.permute else ""
        file = f"{_short(resolve(str(arm.data), folder), source)} (arm {name})"
        datasets.append(Dataset(name, arm.role, file, tuple(rows), tuple(lines), (), arm, permutation))
    size = experiment.preset(preset)
    recipe = experiment.recipe.with_changes(size.recipe)
    return Subject(tuple(datasets), recipe, experiment, expected_rows=expected_rows, most_rows=size.rows)


def _short(source: Path, experiment: Path) -> str:
    """The path from the experiment's folder, if it is shorter than the whole one."""
    folder = experiment.resolve().parent
    return str(source.resolve().relative_to(folder)) if source.resolve().is_relative_to(folder) else str(source)


def _with_model(subject: Subject, reference: str) -> Subject:
    from weirdgen.models.chat import load_tokenizer

    model = find_model(reference)
    date = subject.experiment.date if subject.experiment else None
    return replace(subject, model=model, tokenizer=load_tokenizer(model.folder, date.isoformat() if date else None))
