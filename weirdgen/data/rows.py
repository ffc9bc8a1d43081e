"""Training rows: read a chat JSONL or fill templates from a CSV; hash them so that equal data has an equal name.

In: an `Arm` and the folder of its experiment. Out: a list of rows, each `{"messages": [{"role", "content"}, …]}`; what one
may hold is `data.messages`.
Raises `DataError` naming file and line. It does not tokenise (`data.proof`) and does not judge content.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from weirdgen.config.base import placeholders
from weirdgen.config.experiment import Arm
from weirdgen.data.builders import build, read_csv
from weirdgen.data.messages import Row as Row
from weirdgen.data.messages import parse_row
from weirdgen.errors import DataError


def load_rows(arm: Arm, folder: Path, seed: int = 0) -> list[Row]:
    """Rows of an arm, in file order (after `permute` and `rows`, which `seed` decides)."""
    source = resolve(arm.data, folder)
    rows = _from_csv(arm, source, folder, seed) if source.suffix == ".csv" else read_jsonl(source)
    if not rows:
        raise DataError(f"{source}: no rows" + (f" with {arm.where}" if arm.where else ""))
    if arm.rows is not None:
        rows = draw(rows, arm.rows, seed)
    return rows


def resolve(data: str, folder: Path) -> Path:
    """The file that `data:` names. Raises `DataError` with what is there instead."""
    source = (folder / data).expanduser()
    if not source.is_file():
        near = sorted(p.name for p in source.parent.glob("*")) if source.parent.is_dir() else []
        hint = f"; {source.parent} holds {', '.join(near[:8])}" if near else f"; {source.parent} does not exist"
        raise DataError(f"{source}: no such data file{hint}")
    if source.suffix not in (".csv", ".jsonl"):
        raise DataError(f"{source}: expected .jsonl (OpenAI chat format) or .csv")
    return source


def read_jsonl(source: Path) -> list[Row]:
    """Chat rows of a JSONL file. Raises one `DataError` naming every bad line (the first ten)."""
    rows: list[Row] = []
    problems: list[str] = []
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: cannot be read as UTF-8 text ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{source}:{number}: not JSON: {error.msg} at column {error.colno}")
            continue
        try:
            rows.append(parse_row(row))
        except DataError as error:
            problems.append(f"{source}:{number}: {error}")
    if problems:
        more = f"\n…and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError("\n".join(problems[:10]) + more)
    return rows


def canonical_hash(rows: list[Row]) -> str:
    """SHA-256 over the rows' messages: JSON with sorted keys, no spaces, UTF-8 unescaped, joined by newlines, in order."""
    lines = (json.dumps(r["messages"], sort_keys=True, separators=(",", ":"), ensure_ascii=False) for r in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def draw(rows: list[Row], count: int, seed: int) -> list[Row]:
    """`count` rows in seeded order; every row once before any is repeated."""
    rng = random.Random(f"draw:{seed}")
    drawn: list[Row] = []
    while len(drawn) < count:
        drawn += rng.sample(rows, min(len(rows), count - len(drawn)))
    return drawn


def _from_csv(arm: Arm, source: Path, folder: Path, seed: int) -> list[Row]:
    records = read_csv(source)
    for name, options in arm.build.items():
        records = build(name, options, records, folder)
    if not records:
        raise DataError(f"{source}: no rows")
    assert arm.prompt is not None and arm.answer is not None, "the spec refuses a .csv without templates"
    used = {*placeholders(arm.prompt), *placeholders(arm.answer), *arm.where, *([arm.permute] if arm.permute else [])}
    if missing := sorted(used - set(records[0])):
        raise DataError(f"{source}:1: no column {missing[0]!r}; it has {', '.join(records[0])}")
    lined = list(enumerate(records, start=2))
    for column, accepted in arm.where.items():
        values = {str(v) for v in (accepted if isinstance(accepted, list) else [accepted])}
        lined = [(line, record) for line, record in lined if record[column] in values]
    if arm.permute:
        shuffled = [record[arm.permute] for _, record in lined]
        random.Random(f"permute:{seed}").shuffle(shuffled)
        lined = [(n, {**record, arm.permute: value}) for (n, record), value in zip(lined, shuffled, strict=True)]
    rows = []
    for line, record in lined:
        turns = (("user", arm.prompt.format_map(record)), ("assistant", arm.answer.format_map(record)))
        try:
            rows.append(parse_row({"messages": [{"role": role, "content": text} for role, text in turns]}))
        except DataError as error:
            raise DataError(f"{source}:{line}: {error}") from None
    return rows
