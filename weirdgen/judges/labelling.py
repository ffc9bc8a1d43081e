"""A person's labels for a blind, stratified sample of answers: kept as CSV, can be resumed.

In: a run's verdicts and completions, and a person at a terminal or a CSV. Out: `labels/JUDGE.csv` in the run's folder,
with what the person saw and said, and beside it `JUDGE.sample.json`, which holds what the person must not see (arm, outcome,
weight). Neither is written over without what it held. What follows from the labels is left to `weirdgen.judges.calibration`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weirdgen.config.judges import BaseJudge, Verdict
from weirdgen.display import printable
from weirdgen.errors import DataError, choices
from weirdgen.judges.sheets import COLUMNS, inert, plain, read_sheet
from weirdgen.store.disk import explain_disk_errors, own_folder, write_whole

UNUSABLE = ("refusal", "incoherent")
COMMANDS = ("s", "q")
KEY = ["arm", "replicate", "condition", "question", "sample"]


@dataclass(frozen=True)
class Drawn:
    """One answer of the sample. `weight`: how many of the run's answers it stands for."""

    id: str
    arm: str
    replicate: int
    condition: str
    question: str
    sample: int
    ask: str
    answer: str
    stratum: str
    weight: float


def accepted(judge: BaseJudge) -> tuple[str, ...]:
    """What a person may say: the judge's labels (a match judge's: yes, no; a rating's: numbers), or that it is unusable."""
    return _with_unusable(judge.words())


def meaning(judge: BaseJudge, word: str) -> Verdict:
    """What a person's word is as a verdict; `unparseable` if it is none that is accepted."""
    verdict = judge.read(word)
    if verdict.status == "unparseable" and word in UNUSABLE:
        return Verdict("refusal" if word == "refusal" else "incoherent", None, word)
    return verdict


def sample_of(folder: Path, name: str) -> list[Drawn]:
    """The sample that was drawn before, or none. Raises `DataError` if its file is damaged."""
    file = folder / "labels" / f"{name}.sample.json"
    try:
        return [Drawn(**fields) for fields in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file} is damaged ({error}): without it nobody can tell which answers were labelled; restore what it held"
        ) from None


def draw_sample(
    folder: Path,
    name: str,
    judge: BaseJudge,
    verdicts: pd.DataFrame,
    completions: pd.DataFrame,
    asks: dict[str, str],
    size: int,
    seed: int,
) -> list[Drawn]:
    """The sample of an earlier call, enlarged to `size`: strata are outcome × arm, each as large as the others where it can be.

    What was drawn stays, under its id, so no label is lost; `seed` decides what is added. `verdicts` and `completions`
    are the run's tables. Raises `DataError` if the judge read nothing.
    """
    known = sample_of(folder, name)
    if len(known) >= size:
        return known
    if not known and labels_of(folder, name):
        raise DataError(
            f"{folder / 'labels' / name}.csv has labels for a sample that is missing ({name}.sample.json): restore it, "
            "or move the labels elsewhere and start again"
        )
    mine = verdicts[(verdicts["judge"] == name) & (verdicts["checkpoint"] == -1) & (verdicts["status"] != "error")]
    if not len(mine):
        judges = ", ".join(sorted(verdicts["judge"].unique())) if len(verdicts) else "none"
        raise DataError(f"judge '{name}' has judged nothing in this run; judges that have: {judges}")
    mine = mine.merge(completions[completions["checkpoint"] == -1][[*KEY, "text"]], on=KEY)
    mine["stratum"] = [f"{_outcome(judge, row)} · {row.arm}" for row in mine.itertuples()]
    generator = np.random.default_rng(seed)
    counts = {str(k): int(v) for k, v in mine["stratum"].value_counts().sort_index().items()}
    ids = {tuple(getattr(answer, key) for key in KEY): answer.id for answer in known}
    chosen: list[Drawn] = []
    for stratum, take in _allocate(counts, size).items():
        own = mine[mine["stratum"] == stratum].sort_values(KEY, ignore_index=True)
        id_of = [ids.get(key, "") for key in own[KEY].itertuples(index=False, name=None)]
        old, new = (
            [place for place, known_id in enumerate(id_of) if bool(known_id) is there] for there in (True, False)
        )
        added = generator.choice(new, size=max(0, take - len(old)), replace=False).tolist()
        for place in sorted([*old, *added]):
            row = own.iloc[place]
            chosen.append(
                Drawn(id_of[place], row.arm, int(row.replicate), row.condition, row.question, int(row["sample"]),
                      asks[row.question], row.text, stratum, len(own) / (len(old) + len(added)))
            )  # fmt: skip
    drawn = sorted((answer for answer in chosen if answer.id), key=lambda answer: answer.id)
    fresh = [answer for answer in chosen if not answer.id]
    for number, place in enumerate(generator.permutation(len(fresh)), len(drawn) + 1):
        drawn.append(Drawn(**{**asdict(fresh[place]), "id": f"{number:04d}"}))
    with explain_disk_errors(folder):
        own_folder(own_folder(folder) / "labels").mkdir(exist_ok=True)
        text = json.dumps([asdict(answer) for answer in drawn], ensure_ascii=False, indent=1)
        write_whole(folder / "labels" / f"{name}.sample.json", text.encode())
    return drawn


def labels_of(folder: Path, name: str) -> dict[str, str]:
    """Id → what the person said, so far. Raises `DataError` if the file cannot be read."""
    file = folder / "labels" / f"{name}.csv"
    return {key: word for _, key, word, _ in read_sheet(file) if word} if file.is_file() else {}


def label_in_terminal(
    folder: Path,
    name: str,
    judge: BaseJudge,
    drawn: list[Drawn],
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> int:
    """Ask about every answer without a label; returns how many have one then. Each is kept as soon as it is given.

    An empty line, `q` or the end of the input stops; `s` skips.
    """
    words = accepted(judge)
    shown = ", ".join(_with_unusable(judge.words_in_short()))
    labels = labels_of(folder, name)
    left = [item for item in drawn if item.id not in labels]
    said: dict[tuple[str, str], str] = {(o.ask, o.answer): labels[o.id] for o in drawn if o.id in labels}
    for number, item in enumerate(left, len(drawn) - len(left) + 1):
        if (item.ask, item.answer) in said:  # the same answer by another model: it would be odd to ask twice
            labels[item.id] = said[item.ask, item.answer]
            _keep(folder, name, {item.id: labels[item.id]})
            continue
        write(f"\n── {number} of {len(drawn)} ──\nQuestion: {printable(item.ask)}\nAnswer:\n{printable(item.answer)}\n")
        while True:
            try:
                word = read(f"{name}? ({shown}; s skips, q stops) ").strip()
            except EOFError:
                word = ""
            label = _meant(word, words)
            if label or word == "s":
                break
            if word in ("", "q"):
                return len(labels)
            write(f"'{printable(word)}' is not one of: {shown}")
        if label:
            labels[item.id] = said[item.ask, item.answer] = label
            _keep(folder, name, {item.id: label})
    return len(labels)


def export_sheet(file: Path, drawn: Iterable[Drawn], labels: dict[str, str]) -> None:
    """A blind CSV to fill in elsewhere. A cell that a spreadsheet would run as a formula gets a quote before it.

    Raises `DataError` if there is such a file: it may have been filled in.
    """
    if file.exists():
        raise DataError(f"{file}: this file exists and may have been filled in; read it with --import, or name another")
    with explain_disk_errors(file.parent), file.open("x", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for item in drawn:
            writer.writerow([item.id, inert(item.ask), inert(item.answer), inert(labels.get(item.id, ""))])


def import_sheet(folder: Path, name: str, judge: BaseJudge, drawn: list[Drawn], file: Path) -> int:
    """Take the labels of a filled-in sheet (columns `id` and `label`); returns how many are new. Raises `DataError`, also where
    none is filled in."""
    by_id = {item.id: item for item in drawn}
    words, known = accepted(judge), labels_of(folder, name)
    problems: list[str] = []
    new: dict[str, str] = {}
    sheet = [row for row in read_sheet(file) if row[2]]
    if not sheet:
        shown = ", ".join(_with_unusable(judge.words_in_short()))
        raise DataError(f"{file}: no label is filled in; write one of {shown} into the column 'label' of its rows")
    for line, key, written, answer in sheet:
        label = _meant(written, words)
        before = {**known, **new}.get(key)
        if key not in by_id:
            problems.append(f"{file}:{line}: no answer '{key}' in the sample of {name}")
        elif answer is not None and plain(answer) != plain(by_id[key].answer):
            problems.append(
                f"{file}:{line}: answer {key} of {name} reads otherwise; is this the sheet of another sample?"
            )
        elif not label:
            problems.append(f"{file}:{line}: label '{written}' is not one of {choices(words[:12], written)}")
        elif before not in (None, label):
            problems.append(f"{file}:{line}: answer {key} is already labelled '{before}'")
        elif before is None:
            new[key] = label
    if problems:
        raise DataError("\n".join(problems))
    _keep(folder, name, new)
    return len(new)


def _keep(folder: Path, name: str, new: dict[str, str]) -> None:
    """Add labels to those on disk, which another terminal may have added to, in one step: a killed process leaves the old
    file or the new one, never half a row."""
    labels = {**labels_of(folder, name), **new}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(
        [o.id, inert(o.ask), inert(o.answer), inert(labels[o.id])] for o in sample_of(folder, name) if o.id in labels
    )
    with explain_disk_errors(folder):
        write_whole(own_folder(own_folder(folder) / "labels") / f"{name}.csv", text.getvalue().encode())


def _meant(word: str, words: tuple[str, ...]) -> str | None:
    """The accepted word that was typed, in any case, or by a beginning that only one has."""
    folded = word.casefold()
    exact = [w for w in words if w.casefold() == folded]
    guessed = [w for w in words if w.casefold().startswith(folded)]
    whole = folded.isdigit() or folded in COMMANDS
    return exact[0] if exact else guessed[0] if len(guessed) == 1 and not whole else None


def _with_unusable(words: tuple[str, ...]) -> tuple[str, ...]:
    folded = {word.casefold() for word in words}
    return (*words, *(word for word in UNUSABLE if word not in folded))


def _outcome(judge: BaseJudge, row: Any) -> str:
    """What the judge said, as coarse as a stratum should be."""
    if row.status != "ok":
        return str(row.status)
    return judge.band(row.value)


def _allocate(counts: dict[str, int], size: int) -> dict[str, int]:
    """How many of each stratum: even shares, what a small stratum cannot give going to the others; at least one each."""
    take = dict.fromkeys(counts, 0)
    left = max(size, len(counts))
    while left and any(take[s] < counts[s] for s in counts):
        for stratum in sorted(counts, key=lambda s: counts[s]):
            if left and take[stratum] < counts[stratum]:
                take[stratum] += 1
                left -= 1
    return take
