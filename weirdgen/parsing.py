"""Bytes of a file that somebody else wrote → text, lines and JSON values, or one `DataError` with file, line and a way out.

In: a path, or text and the name of what it came from. Out: text with the name of its encoding; (line, text) pairs; plain
data. This is the one place where what a decoder or parser raises (bad bytes, deep nesting, integers of thousands of
digits, NaN, lone surrogates, a damaged gzip) becomes a sentence. What the data means is decided by the caller.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from weirdgen.errors import DataError, closest

MOST_BYTES = 1_000_000_000
"""The largest file that is read, unpacked: a training set of narrow data is a thousandth of it."""
DEEPEST = 100
"""How deep JSON may be nested: what is deeper would fail later, wherever it is written or compared."""
GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_BINARY = {
    b"PK\x03\x04": "a zip or a spreadsheet (.xlsx); save the sheet as CSV in UTF-8, or unpack the archive",
    b"PAR1": "a Parquet file; give it a name that ends in .parquet",
    b"ARROW1": "an Arrow file; save it with datasets' save_to_disk, or as .parquet",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it first (zstd -d FILE)",
    b"BZh": "compressed with bzip2; unpack it first (bunzip2 FILE)",
    b"\xfd7zXZ": "compressed with xz; unpack it first (unxz FILE)",
    b"SQLite": "an SQLite database; export the table as CSV",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\x80\x04": "a Python pickle, which could run code and is never opened",
    b"\x80\x05": "a Python pickle, which could run code and is never opened",
}


class Text(NamedTuple):
    """A file's text. `how` says what was done to read it ("gzip", "UTF-16"); empty for plain UTF-8."""

    text: str
    how: tuple[str, ...]


class NotJsonError(Exception):
    """Why a text is not JSON that is accepted, and where in it (`position` characters on)."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.position = reason, position


def user_path(reference: str | Path) -> Path:
    """A path as a person writes it: `~` is their home, and where nobody has that name, it stays as it is."""
    try:
        return Path(reference).expanduser()
    except RuntimeError:
        return Path(reference)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file system takes (too long, a NUL) is the name of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """As `is_file`, for a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def named_nearly(absent: Path) -> str:
    """`; did you mean 'train.jsonl'?` of what stands in the folder where a file is not, or nothing; endings do not count."""
    try:
        named = {path.name.split(".")[0]: path.name for path in sorted(absent.parent.iterdir())}
    except (OSError, ValueError):
        return ""
    meant = closest(absent.name.split(".")[0], named)
    return "" if meant is None else f"; did you mean '{named[meant]}'?"


def read_bytes(source: Path) -> bytes:
    """A file's bytes. Raises `DataError` if it is absent, no file, unreadable or larger than `MOST_BYTES`."""
    try:
        if not source.exists():
            raise DataError(f"{source}: no such file{named_nearly(source)}")
        if not source.is_file():
            raise DataError(f"{source}: expected a file; this is a folder, pipe or device")
        if source.stat().st_size > MOST_BYTES:
            raise DataError(f"{source}: more than {MOST_BYTES:,} bytes are not read")
        return source.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{source}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_text(source: Path, encoding: str | None = None) -> Text:
    """A text file: UTF-8, or what its byte order mark says; gzip is unpacked. `encoding`: take that one.

    Raises `DataError` naming the line of the first byte that does not fit, and how to convert the file.
    """
    data, how = read_bytes(source), []
    if data.startswith(GZIP):
        data = gunzip(data, source)
        how.append("gzip")
    text, name = decode(data, source, encoding)
    return Text(text, (*how, name) if name else tuple(how))


def gunzip(data: bytes, source: Path) -> bytes:
    """Unpacked bytes, at most `MOST_BYTES` of them. Raises `DataError` on more, and on a damaged or cut file."""
    import io

    parts: list[bytes] = []
    total = 0
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            while part := stream.read(_CHUNK):
                total += len(part)
                if total > MOST_BYTES:
                    raise DataError(f"{source}: unpacks to more than {MOST_BYTES:,} bytes, which are not read")
                parts.append(part)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source}: a damaged or cut gzip file ({error})") from None
    return b"".join(parts)


def decode(data: bytes, source: Path, encoding: str | None = None) -> tuple[str, str]:
    """Text and the name of its encoding, empty for UTF-8. Raises `DataError` as `read_text` does."""
    if encoding:
        try:
            return data.decode(encoding), encoding
        except LookupError:
            raise DataError(f"--encoding {encoding}: no such encoding; e.g. utf-8, cp1252, utf-16, shift_jis") from None
        except (UnicodeError, ValueError) as error:
            raise DataError(f"{source}: is not in {encoding} ({error})") from None
    for magic, what in _BINARY.items():
        if data.startswith(magic):
            raise DataError(f"{source}: this is {what}")
    codec, name = next(((codec, name) for mark, codec, name in _MARKS if data.startswith(mark)), ("utf-8", ""))
    try:
        text = data.decode(codec)
    except (UnicodeDecodeError, UnicodeError) as error:
        if not name and _is_binary(data):
            raise DataError(f"{source}: a binary file, no text; expected text in UTF-8, e.g. .jsonl or .csv") from None
        raise DataError(_not_decodable(data, source, error, name or "UTF-8")) from None
    if not name and text.count("\0") > len(text) // 4:
        raise DataError(
            f"{source}: not UTF-8 but, it seems, UTF-16 without a byte order mark; save it as UTF-8, or run "
            f"weirdgen data convert {source.name} {_out(source)} --encoding utf-16-le"
        )
    return text, name


def _is_binary(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 are no text in another encoding either: texts have few control characters."""
    begin = data[:4096]
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in begin)
    return controls > len(begin) // 20


def _out(source: Path) -> str:
    return "OUT" + (".csv" if source.suffix.lower() == ".csv" else ".jsonl")


def _not_decodable(data: bytes, source: Path, error: UnicodeError, name: str) -> str:
    start = getattr(error, "start", 0)
    if name != "UTF-8":
        return f"{source}: begins as {name}, but a part of it is not ({error}); save it as UTF-8"
    line, before = data.count(b"\n", 0, start) + 1, data[:start].rsplit(b"\n", 1)[-1]
    guess, command = "", f"weirdgen data convert {source.name} {_out(source)}"
    if b"\0" not in data:
        try:
            near = data[max(0, start - 12) : start + 12].decode("cp1252").replace("\n", " ").replace("\r", " ")
            guess = f" It may be Windows-1252 (it would read …{near}…): {command} --encoding cp1252"
        except UnicodeDecodeError:
            guess = f" Or, if you know its encoding: {command} --encoding NAME"
    return (
        f"{source}:{line}: not UTF-8: byte 0x{data[start]:02x} after {len(before)} bytes of the line; save the file as UTF-8 "
        f'(a spreadsheet: "CSV UTF-8").{guess}'
    )


def split_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of a text, split at newlines alone: U+2028, U+0085, form feeds and the like stay inside their line."""
    for number, line in enumerate(text.split("\n"), start=1):
        yield number, line.removesuffix("\r")


def parse_json(text: str) -> Any:
    """The value of a text that is one JSON value. Raises `NotJsonError`."""
    value, end = parse_json_at(text, skip_blank(text, 0))
    if (rest := skip_blank(text, end)) < len(text):
        raise NotJsonError("Extra data", rest)
    return value


def parse_json_at(text: str, position: int) -> tuple[Any, int]:
    """The JSON value that begins at `position`, and where it ends. Raises `NotJsonError`.

    What Python would accept or what only fails later is refused: NaN and Infinity, a key given twice, lone surrogates.
    """
    try:
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise NotJsonError(error.msg, error.pos) from None
    except RecursionError:
        raise NotJsonError("nested too deeply to be read", position) from None
    except ValueError as error:  # int() of thousands of digits; the two hooks below
        reason = str(error) if isinstance(error, _RefusedError) else "a number of too many digits"
        raise NotJsonError(reason, position) from None
    if end - position > DEEPEST and _depth(value) > DEEPEST:
        raise NotJsonError(f"nested more than {DEEPEST} deep", position)
    if text.find("\\u", position, end) >= 0 and (half := lone_surrogate(value)):
        raise NotJsonError(f"a lone surrogate ({half}), which is half a character and no text", position)
    return value, end


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, as far as `DEEPEST` + 1."""
    deepest, waiting = 0, [(value, 1)]
    while waiting and deepest <= DEEPEST:
        inner, depth = waiting.pop()
        if isinstance(inner, dict | list):
            deepest = max(deepest, depth)
            waiting += [(one, depth + 1) for one in (inner.values() if isinstance(inner, dict) else inner)]
    return deepest


def lone_surrogate(value: Any) -> str | None:
    """The first lone surrogate in a value's texts, as `\\udXXX`, or None."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x}"
    return None


class _RefusedError(ValueError):
    """Python's JSON reader would take it."""


def _constant(name: str) -> Any:
    raise _RefusedError(f"{name} is not JSON; write null or a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"key {twice[:40]!r} is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


def skip_blank(text: str, position: int) -> int:
    """Where JSON's whitespace after `position` ends."""
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
