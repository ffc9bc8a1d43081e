"""`experiment.yaml` → `Experiment`: reads it and what it names, and collects all errors with lines.

In: a path, a folder, or the name of a shipped experiment. Out: a validated `Experiment`, and where its keys stand. Raises one
`SpecError` that lists all problems: what is sound is checked although something else is faulty. The meaning of each key is in
`config.experiment`; what no single key can know is checked in `config.check`; training rows are read in `data.arms`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from weirdgen.config.arm import Arm
from weirdgen.config.base import NAME_WORDS
from weirdgen.config.check import Asked, cross_check
from weirdgen.config.conditions import Condition
from weirdgen.config.crossing import build_questions
from weirdgen.config.experiment import Experiment, Headline, Ordinary, Preset, Recipe
from weirdgen.config.faulty import Block, Missing, sound_part
from weirdgen.config.files import KeyPath, Lines, read_yaml
from weirdgen.config.judge_files import BATTERIES, judges_elsewhere
from weirdgen.config.judges import JUDGE_KINDS
from weirdgen.config.questions import QUESTION_KINDS
from weirdgen.errors import DataError, SpecError, choices, did_you_mean
from weirdgen.parsing import is_file, is_folder, named_nearly, user_path

PACKAGE = Path(__file__).parents[1]
SHIPPED = PACKAGE / "experiments"
WORLD = "world"
"""The reference of the synthetic world's model."""


EXPECTED = {
    "model_type": "expected a mapping of keys",
    "model_attributes_type": "expected a mapping of keys",
    "dict_type": "expected a mapping of keys",
    "tuple_type": "expected a list",
    "string_type": "expected text; quote it",
    "string_pattern_mismatch": NAME_WORDS,
    "string_too_short": "expected text, and it is empty",
}
"""What would be accepted, where pydantic says it in words of its own."""


def shipped_experiments() -> dict[str, Path]:
    """Name → `experiment.yaml` of every experiment in the package: adding a folder adds an experiment."""
    return {file.parent.name: file for file in sorted(SHIPPED.glob("*/experiment.yaml"))}


def named_experiments(references: Sequence[str]) -> list[str]:
    """The references, with `all` standing for every shipped experiment on a real model (the world's own are left out)."""
    files = shipped_experiments().items()
    every = [name for name, file in files if read_yaml(file)[0].get("base") != WORLD]
    names = [name for reference in references for name in (every if reference == "all" else [reference])]
    return list(dict.fromkeys(names))


def find_experiment(reference: str) -> Path:
    """The `experiment.yaml` that a path, a folder or a shipped name stands for."""
    path = user_path(reference)
    if is_file(path):
        return path
    if is_file(path / "experiment.yaml"):
        return path / "experiment.yaml"
    shipped = shipped_experiments()
    if reference in shipped:
        return shipped[reference]
    if path.suffix in (".yaml", ".yml"):
        raise SpecError([f"{path}: no such file{named_nearly(path)}"])
    if is_folder(path):
        held = ", ".join(sorted(one.name for one in path.iterdir())[:8]) or "nothing"
        raise SpecError([f"{path}: a folder without an experiment.yaml; it holds {held}"])
    raise SpecError(
        [
            f"'{reference}' is neither a file nor an experiment; `all` stands for those of the paper; there are: "
            f"{choices(shipped, reference)}"
        ]
    )


class ReadExperiment(NamedTuple):
    """An experiment without what is faulty in it, where its keys stand, and every problem."""

    experiment: Experiment
    lines: Lines
    problems: list[str]
    missing: Missing
    """What of the file is not in `experiment`."""


def load_experiment(reference: str | Path) -> Experiment:
    """An experiment by path, folder or shipped name. Raises one `SpecError` with every problem and its line."""
    read = read_experiment(reference)
    if read.problems:
        raise SpecError(read.problems)
    return read.experiment


def read_experiment(reference: str | Path) -> ReadExperiment:
    """Like `load_experiment`, but problems are returned, so that those of the data can be reported with them.

    Raises `SpecError` where too little is left to look at.
    """
    source = find_experiment(str(reference)).resolve()
    twice: list[str] = []
    data, lines = read_yaml(source, twice)
    blocks, judge_lines, problems = _include_questions(data, lines, twice)
    # Keys of included files carry their own lines, so questions are validated under the path of the file they stand in.
    data = {**data, "questions": [q for q, _, _ in blocks], "source": source}
    missing = Missing()
    if problems:
        missing.parts.add("questions")
        missing.unknown.add("questions")
    written = blocks
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        errors = error.errors()
        # Faulty entries are left out of a list, which then only looks empty.
        faulty = {e["loc"][0] for e in errors if len(e["loc"]) > 1} | ({"questions"} if problems else set())
        real = [e for e in errors if not (e["type"] == "too_short" and len(e["loc"]) == 1 and e["loc"][0] in faulty)]
        problems += [_explain(e, lines, blocks, judge_lines) for e in real]
        left, blocks = sound_part(data, errors, blocks, missing)
        if left is None:
            raise SpecError([*twice, *problems]) from None
        experiment = left
    asked = [Asked.of(question, its_lines.at(("questions", index))) for question, its_lines, index in written]
    named = {name for question in asked for name in question.judges}
    elsewhere = judges_elsewhere(source) if named - set(experiment.judges) else set()
    problems += cross_check(experiment, lines, asked, elsewhere, missing)
    return ReadExperiment(experiment, lines, [*twice, *problems], missing)


def _include_questions(
    data: dict[str, Any], lines: Lines, twice: list[str]
) -> tuple[list[Block], dict[str, Lines], list[str]]:
    """Questions of the file and of the files it includes, which file each included judge stands in, and problems.

    An entry with `build` stands for the questions that its builder makes. The included files' judges are added to
    `data`; a judge of the same name in the file itself goes first.
    """
    entries = data.get("questions")
    if not isinstance(entries, list):
        if entries is None:
            return [], {}, []
        raise SpecError([f"{lines.at(('questions',))}: 'questions' must be a list of questions or of files"])
    blocks: list[Block] = []
    judge_lines: dict[str, Lines] = {}
    problems: list[str] = []

    def add(entry: Any, its_lines: Lines, index: int) -> None:
        try:
            built = build_questions(entry, its_lines.source.parent) if _is_built(entry) else [entry]
        except DataError as error:
            where = its_lines.at(("questions", index))
            problems.extend(f"{where}: questions.{index}: {line}" for line in str(error).splitlines())
            return
        blocks.extend((question, its_lines, index) for question in built)

    for index, entry in enumerate(entries):
        if not isinstance(entry, str):
            add(entry, lines, index)
            continue
        beside, ours = lines.source.parent / entry, BATTERIES / f"{entry}.yaml"
        if not (is_file(beside) or is_file(ours)):
            known = choices(sorted(p.stem for p in BATTERIES.glob("*.yaml")), entry)
            where = lines.at(("questions", index))
            problems.append(
                f"{where}: no questions file {beside}, and no shipped battery {entry!r} (there is: {known})"
            )
            continue
        try:
            included, its_lines = read_yaml(beside if is_file(beside) else ours, twice)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        if unknown := sorted(set(included) - {"questions", "judges"}):
            problems.append(f"{its_lines.at((unknown[0],))}: a questions file holds 'questions' and 'judges' only")
        asked, judges, own = included.get("questions") or [], included.get("judges") or {}, data.get("judges") or {}
        if not isinstance(asked, list) or not isinstance(judges, dict):
            problems.append(
                f"{its_lines.source}: 'questions' is a list of questions, 'judges' a mapping of judges by name"
            )
            continue
        for position, question in enumerate(asked):
            add(question, its_lines, position)
        if isinstance(own, dict):
            judge_lines |= {name: its_lines for name in judges if name not in own}
            data["judges"] = {**judges, **own}
    return blocks, judge_lines, problems


def _is_built(entry: Any) -> bool:
    return isinstance(entry, dict) and "build" in entry


def _explain(error: Any, lines: Lines, blocks: list[Block], judge_lines: dict[str, Lines]) -> str:
    """One line per problem: file:line, key, what is wrong, what would be accepted."""
    path: KeyPath = tuple(error["loc"])
    where = lines.at(path)
    if path[:1] == ("questions",) and len(path) > 1 and isinstance(path[1], int) and path[1] < len(blocks):
        _, its_lines, index = blocks[path[1]]
        where = its_lines.at(("questions", index, *path[2:]))
    if path[:1] == ("judges",) and len(path) > 1:
        where = judge_lines.get(str(path[1]), lines).at(path)
    return _sentence(error, path, where)


def explain_noun(error: Any, path: KeyPath, lines: Lines) -> str:
    """Like `_explain`, for a noun that was validated by itself and is at `path` of its file."""
    whole: KeyPath = (*path, *error["loc"])
    return _sentence(error, whole, lines.at(whole))


def _sentence(error: Any, path: KeyPath, where: str) -> str:
    key = ".".join(str(p) for p in path)
    message = EXPECTED.get(error["type"], error["msg"].removeprefix("Value error, "))
    if error["type"] == "extra_forbidden":
        message = f"unknown key; accepted here: {choices(_fields_at(path), path[-1])}"
    elif error["type"] == "missing":
        message = "missing"
    elif error["type"] == "too_short":
        message = f"expected at least {error['ctx']['min_length']} of them"
    elif error["type"] == "union_tag_invalid":
        tag, tags = error["ctx"]["tag"], error["ctx"]["expected_tags"]
        message = f"kind {tag!r} is not one of {tags}{did_you_mean(tag, _quoted(tags))}"
    elif error["type"] == "union_tag_not_found":
        kinds = ", ".join(JUDGE_KINDS if path[:1] == ("judges",) else QUESTION_KINDS)
        message = f"'kind' is missing; there are: {kinds}"
    elif "input" in error and error["input"] != "" and not isinstance(error["input"], dict | list | tuple):
        message += f" (got {error['input']!r})"
        if error["type"] == "literal_error":
            message += did_you_mean(error["input"], _quoted(error["ctx"]["expected"]))
    return f"{where}: {key}: {message}"


def _quoted(names: str) -> list[str]:
    """The names in pydantic's list of what it expected."""
    return re.findall(r"'([^']+)'", names)


def _fields_at(path: KeyPath) -> list[str]:
    """Names of the fields that the noun at `path` may have."""
    nouns: dict[str, Any] = {"arms": Arm, "recipe": Recipe, "conditions": Condition}
    nouns |= {"presets": Preset, "headline": Headline, "ordinary": Ordinary}
    kinds: dict[Any, dict[str, Any]] = {"questions": dict(QUESTION_KINDS), "judges": dict(JUDGE_KINDS)}
    if path[0] in kinds and len(path) > 2:
        return list(kinds[path[0]][str(path[2])].model_fields)
    if path[0] == "secondary" and len(path) > 2:
        return list(Headline.model_fields)
    if len(path) > 1 and path[0] in nouns:
        return list(nouns[str(path[0])].model_fields)
    return [field for field in Experiment.model_fields if field != "source"]
