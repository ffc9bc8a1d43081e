"""Which files hold the language judges of an experiment, and the names of the judges in them.

In: an `experiment.yaml`. Out: the paths of `judges_llm.yaml` and `questions_llm.yaml` beside it and beside the question files
that it includes, and of shipped batteries. What stands in them is read and checked in `config.llm_judges`.
"""

from __future__ import annotations

from pathlib import Path

from weirdgen.config.files import read_yaml
from weirdgen.errors import SpecError
from weirdgen.parsing import is_file

BATTERIES = Path(__file__).parents[1] / "questions"
COHERENCE = BATTERIES / "coherence_llm.yaml"
"""Added to every judged run, unless a file of the experiment has a judge of that name."""


def judge_files(source: Path | None) -> list[Path]:
    """The files that hold language judges and their questions for an `experiment.yaml`, its own first."""
    if source is None:
        return [COHERENCE]
    folders = [source.parent]
    batteries: list[Path] = []
    included = read_yaml(source, [])[0].get("questions") if is_file(source) else None
    for entry in included if isinstance(included, list) else []:
        if isinstance(entry, str):
            beside = source.parent / entry
            if is_file(beside):
                folders.append(beside.parent)
            else:
                batteries.append(BATTERIES / f"{entry}_llm.yaml")
    files = [folder / name for folder in folders for name in ("judges_llm.yaml", "questions_llm.yaml")]
    return [file for file in dict.fromkeys(f.resolve() for f in [*files, *batteries, COHERENCE]) if is_file(file)]


def judges_elsewhere(source: Path) -> set[str]:
    """Names of the judges in those files: questions of the experiment may name them. A file that cannot be read has none."""
    names: set[str] = set()
    for file in judge_files(source):
        try:
            judges = read_yaml(file)[0].get("judges")
        except SpecError:
            continue  # said where the file itself is checked
        names |= set(judges) if isinstance(judges, dict) else set()
    return names
