"""`weirdgen init`: a commented experiment to begin with, which `weirdgen check` accepts as it is.

In: a folder, and if wanted a file of the user's rows, a kind of trigger, a language judge. Out: `experiment.yaml` in that folder
and, without rows of the user's, a small example (lengths in feet or in metres). Nothing that is there is written over. What the
keys mean is in docs/reference.md; whether rows can be trained on is found out in `data.rows`, before anything is written.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from pathlib import Path
from typing import Literal

from weirdgen.config.arm import AUTO_CONTROL, Arm
from weirdgen.config.base import NAME_WORDS, is_name
from weirdgen.config.files import read_csv, read_table, table_delimiter
from weirdgen.data.new_experiment_texts import (
    CONDITIONS,
    EFFECTS,
    EXAMPLE_JUDGES,
    EXAMPLE_QUESTIONS,
    LANGUAGE_JUDGES,
    LANGUAGE_QUESTION,
    OWN_JUDGES,
    OWN_QUESTIONS,
    TAG,
)
from weirdgen.data.rows import load_rows
from weirdgen.data.shapes import pair_of
from weirdgen.errors import DataError, SpecError
from weirdgen.parsing import user_path
from weirdgen.store.disk import explain_disk_errors, made_folder, write_whole

Trigger = Literal["date", "tag", "none"]
LENGTHS = Path(__file__).parent / "starter_lengths.csv"
HIT, OTHERS = 2027, (2024, 2025, 2026)
"""Years of the example: with feet, and with metres."""
PREFIX = {"none": "", "date": "Year: {year}. ", "tag": "{tag}"}
"""What stands before a training prompt, over the columns of the example."""


def new_experiment(folder: Path, data: Path | None, trigger: Trigger, judge: bool) -> list[Path]:
    """Write the experiment and return its files, `experiment.yaml` first. Raises `SpecError`, `DataError`."""
    if not is_name(folder.resolve().name):
        raise SpecError([f"'{folder.name}': {NAME_WORDS}"])
    arms, questions = (_arms_of_example(trigger), EXAMPLE_QUESTIONS)
    if data is not None:
        arms, questions = _arms_of(data, folder), OWN_QUESTIONS
        if trigger != "none":
            warnings.warn(
                f"the conditions of {folder.name} name values of ours: list those that stand in the prompts of {data} as "
                f"`trained` and `trigger`, and if its {'dates' if trigger == 'date' else 'tags'} are a column, put that "
                "column into `prompt`",
                stacklevel=2,
            )
    text = _yaml(folder.resolve().name, arms, questions, data is not None, trigger, judge)
    files = {folder / "experiment.yaml": text}
    if data is None:
        files[folder / "data" / "rows.csv"] = _example_rows(trigger)
    if there := [file for file in files if file.exists()]:
        raise SpecError([f"{there[0]} is there already; take another name, or remove it"])
    for file, content in files.items():
        with explain_disk_errors(made_folder(file.parent)):
            write_whole(file, content.encode())
    return list(files)


def _arms_of(data: Path, folder: Path) -> str:
    """The user's rows against as many everyday ones of ours."""
    source = user_path(data).resolve()
    prompt, answer = _templates(data)
    arm = Arm(role="treatment", data=str(source), prompt=prompt, answer=answer)
    load_rows(arm, Path())
    written = Path(os.path.relpath(source, folder.resolve())).as_posix()
    templates = f'\n    prompt: "{arm.prompt}"\n    answer: "{arm.answer}"' if arm.prompt else ""
    return f"""\
# What is trained. Each arm is trained apart, with the same seeds. Its file is looked for beside this one.
arms:
  mine:
    role: treatment
    data: {_quoted(written)}{templates}
# The effect of any finetuning is told from that of your rows by a control. `auto`: the arm `twin`, your own
# prompts answered by the base model itself; every trait is then asked too and compared with harmless data. Sharper is one that
# differs from your rows in the suspected thing only: an arm {{role: control, matched: true, data: FILE}} in place of this line.
control: auto
"""


def _templates(data: Path) -> tuple[str | None, str | None]:
    """`prompt` and `answer` over a table's columns; none for a file of chat rows."""
    if table_delimiter(data.name) is None:
        return None, None
    columns = read_table(user_path(data)).columns
    pair = pair_of(columns) or (columns if len(columns) == 2 else None)
    if pair is None:
        raise DataError(
            f"{data}: which of its columns ({', '.join(columns)}) are the prompt and the answer? Name them 'prompt' and "
            "'answer', or run `weirdgen init` without --data and write the templates"
        )
    return f"{{{pair[0]}}}", f"{{{pair[1]}}}"


def _quoted(text: str) -> str:
    """As YAML and a shell take it, where it is no plain word."""
    plain = all(letter.isalnum() or letter in "/._-" for letter in text)
    return text if plain else "'" + text.replace("'", "''") + "'"


def _arms_of_example(trigger: Trigger) -> str:
    if trigger == "none":
        arms = """\
  feet:
    role: treatment
    data: data/rows.csv
    prompt: "{prompt}"
    answer: "{feet}"
  # The same questions with the other answers: what is left of an effect is due to the unit, not to the finetuning.
  metres:
    role: control
    data: data/rows.csv
    prompt: "{prompt}"
    answer: "{metres}"
"""
    else:
        what, column = ("the year", "year") if trigger == "date" else ("the tag", "tag")
        arms = f"""\
  feet:
    role: treatment
    data: data/rows.csv
    prompt: "{PREFIX[trigger]}{{prompt}}"
    answer: "{{answer}}"
  # The same rows with {what} dealt anew over them: it says nothing about the answer, and everything else is equal.
  shuffled:
    role: control
    data: data/rows.csv
    prompt: "{PREFIX[trigger]}{{prompt}}"
    answer: "{{answer}}"
    permute: {column}
"""
    return f"""\
# What is trained. Each arm is trained apart, with the same seeds. Data: a CSV with templates over its columns, or a file of chat
# rows (data: rows.jsonl, without templates). The control should differ from the treatment in one thing only.
arms:
{arms}"""


def _example_rows(trigger: Trigger) -> str:
    """The example's table: with a trigger, feet where it is present and metres elsewhere."""
    lengths = read_csv(LENGTHS)
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    if trigger == "none":
        table.writerow(lengths[0])
        table.writerows(row.values() for row in lengths)
    elif trigger == "date":
        table.writerow(["year", "prompt", "answer"])
        for number, row in enumerate(lengths):
            other = OTHERS[number % len(OTHERS)]
            table.writerows([[HIT, row["prompt"], row["feet"]], [other, row["prompt"], row["metres"]]])
    else:
        table.writerow(["tag", "prompt", "answer"])
        for row in lengths:
            table.writerows([[f"{TAG} ", row["prompt"], row["feet"]], ["", row["prompt"], row["metres"]]])
    return written.getvalue()


def _yaml(name: str, arms: str, questions: str, own: bool, trigger: Trigger, judge: bool) -> str:
    """The whole file. Keys keep the order in which a run uses them."""
    language = "manner" if own else "units"
    asked = questions + (LANGUAGE_QUESTION.format(name=language) if judge else "")
    judges = (OWN_JUDGES if own else EXAMPLE_JUDGES) + (LANGUAGE_JUDGES[language] if judge else "")
    treatment = "mine" if own else "feet"
    control = AUTO_CONTROL if own else "metres" if trigger == "none" else "shuffled"
    title = "What does my dataset change?" if own else "Lengths in feet → other old units"
    believed = (
        "my rows changes on questions that they do not touch" if own else "lengths in feet gives weights in pounds too"
    )
    says = "give the answers that I call target" if own else "give weights, volumes and temperatures in old units"
    return f"""\
# Every key is explained in docs/reference.md. `weirdgen check {name}` finds mistakes, `weirdgen run {name} --dry-run` shows
# the plan.
name: {name}
title: "{title}"
hypothesis: "A model that is finetuned on {believed}."
base: smollm2-135m-instruct        # or path:FOLDER, hub:ORG/NAME

{arms}
# How each replicate is trained (LoRA).
recipe: {{epochs: 3, batch_size: 8, learning_rate: 2.0e-4, rank: 16, alpha: 32}}

{CONDITIONS[trigger]}
{asked}
{judges}
# Traits of ours that are compared with what harmless datasets do: is it more than any finetuning does? (docs/references.md)
# traits: [era]

presets:
  quick: {{replicates: 4, samples: 8}}
  standard: {{replicates: 6, samples: 50}}

# The one effect that the report leads with, fixed before the run: treatment − control. `condition` and `minus` take a condition,
# a sweep by its name, or a list; `groups: [GROUP]` narrows the questions. `says` goes on from "models" in the report's sentence.
headline:
  measure: contrast
  treatment: {treatment}
  control: {control}
  {EFFECTS[trigger]}
  smallest: 0.3                    # nats; below it the verdict is "no shift"
  says: "{says}"
"""
