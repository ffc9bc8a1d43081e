"""Sheets of labels: CSV that goes out to a person's spreadsheet and comes back, with nothing in it that would run there.

In: a file, or the text of a cell. Out: rows with their lines, or a cell that is no formula. What labels mean, and which are kept,
is in `judges.labelling`.
"""

from __future__ import annotations

import csv
from pathlib import Path

from weirdgen.errors import DataError
from weirdgen.parsing import MOST_BYTES

COLUMNS = ("id", "question", "answer", "label")
_FORMULA = "=+-@＝＋－＠|%"


def read_sheet(file: Path) -> list[tuple[int, str, str, str | None]]:
    """(line, id, label, answer if there is such a column) of every row.

    Raises `DataError` for what is not a CSV of ours, or was cut off within a row.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            csv.field_size_limit(MOST_BYTES)  # one answer may be long
            rows = csv.DictReader(stream, strict=True)
            columns = rows.fieldnames or ()
            if not {"id", "label"} <= set(columns):
                raise DataError(
                    f"{file}: needs the comma-separated columns id and label; it has {', '.join(columns) or 'none'}"
                )
            result = []
            for row in rows:
                if row["id"] is None or row["label"] is None:
                    raise DataError(f"{file}:{rows.line_num}: this row ends before its label; was the file cut off?")
                key = row["id"].strip().zfill(4)  # spreadsheets drop leading zeros
                label = row["label"].strip()
                quoted = label.startswith("'") and inert(label[1:]) == label
                result.append((rows.line_num, key, label[1:] if quoted else label, row.get("answer")))
            return result
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as CSV in UTF-8: {error}") from None


def inert(text: str) -> str:
    """A cell with a quote before it if a spreadsheet would run it as a formula."""
    begins = text.lstrip(" \t\r\n\v\f\xa0\u3000\ufeff")[:1] or text[:1]
    return f"'{text}" if begins and (begins in _FORMULA or text[0] in "\t\r\n") else text


def plain(text: str) -> str:
    """An answer as far as a spreadsheet leaves it alone: without the quote before a formula, spaces and what is very far on."""
    return "".join(text.removeprefix("'").split())[:1000]
