"""The store: nothing partial is ever read, nothing finished is lost, and simultaneous writers agree."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from weirdgen.errors import StoreError
from weirdgen.store.artifacts import MARKER, Store
from weirdgen.store.keys import content_key, file_hash, text_key
from weirdgen.store.table import COMPACT_PARTS, FLUSH_ROWS, open_table


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.create("finetune", "k", {"a": 1}) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert store.marker("finetune", "k") is None
    assert list((tmp_path / "tmp").iterdir()) == []
    with store.create("finetune", "k", {"a": 1}) as folder:
        (folder / "whole").write_text("x")
    marker = store.marker("finetune", "k")
    assert marker is not None and marker["inputs"] == {"a": 1} and list(marker["files"]) == ["whole"]


def test_a_damaged_folder_is_named_and_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.create("finetune", "k", {}) as folder:
        (folder / "weights").write_bytes(b"x" * 100)
    (store.folder("finetune", "k") / "weights").write_bytes(b"x" * 60)
    with pytest.warns(UserWarning, match=r"weights is truncated, damaged or missing"):
        assert store.marker("finetune", "k") is None
    assert (store.folder("finetune", "k") / "weights").exists(), "reading changes nothing"
    with pytest.warns(UserWarning, match="it is made again"), store.create("finetune", "k", {}) as folder:
        (folder / "weights").write_bytes(b"y" * 100)
    assert (store.folder("finetune", "k") / "weights").read_bytes() == b"y" * 100


def test_a_folder_without_its_marker_is_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.create("finetune", "k", {}) as folder:
        (folder / "weights").write_text("first")
    (store.folder("finetune", "k") / MARKER).unlink()
    with (
        pytest.warns(UserWarning, match=r"finetune/k has no complete.json; it is made again"),
        store.create("finetune", "k", {}) as folder,
    ):
        (folder / "weights").write_text("second")
    assert store.marker("finetune", "k") is not None
    assert (store.folder("finetune", "k") / "weights").read_text() == "second"


def test_an_artifact_that_another_process_finished_meanwhile_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.create("finetune", "k", {}) as late:
        (late / "weights").write_text("late")
        with Store(tmp_path).create("finetune", "k", {}) as early:
            (early / "weights").write_text("early")
    assert (store.folder("finetune", "k") / "weights").read_text() == "early"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_another_error_of_the_block_is_not_called_a_full_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for error in (OSError("Can't load tokenizer for '/models/foo'"), FileNotFoundError(2, "no", "/models/foo")):
        with pytest.raises(type(error)) as caught, store.create("finetune", "k", {}):
            raise error
        assert caught.value is error
    with pytest.raises(StoreError, match="cannot write"), store.create("finetune", "k", {}) as folder:
        (folder / "no" / "such").write_text("x")


def test_rows_survive_reopen_and_repeats_are_dropped(tmp_path: Path) -> None:
    table = open_table(Store(tmp_path), "sample", "k", {"v": 1}, unique=("id",))
    with table:
        for i in range(100):
            table.append({"id": i % 90, "text": f"t{i % 90}"})
    frame = open_table(Store(tmp_path), "sample", "k", {"v": 1}, unique=("id",)).read()
    assert sorted(frame["id"]) == list(range(90))
    assert len(list(table.folder.glob("part-*"))) == 2  # 64 rows, then the rest


def test_a_damaged_part_is_named_and_only_it_is_lost(tmp_path: Path) -> None:
    table = open_table(Store(tmp_path), "sample", "k", {}, unique=("id",))
    for start in (0, 10):
        with table:
            for i in range(start, start + 10):
                table.append({"id": i})
    part = sorted(table.folder.glob("part-*"))[0]
    lost = set(range(20)) - set(_ids_without(table, part))
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.warns(UserWarning, match=part.name):
        frame = table.read()
    assert set(frame["id"]) == set(range(20)) - lost and len(lost) == 10
    assert part.exists(), "reading changes nothing"
    with table:
        for i in lost:
            table.append({"id": i})
    assert file_hash(part)[:32] == part.stem[5:] if part.exists() else True
    assert set(open_table(Store(tmp_path), "sample", "k", {}, unique=("id",)).read()["id"]) == set(range(20))


def _ids_without(table: object, part: Path) -> list[int]:
    import pyarrow.parquet as pq

    others = [p for p in part.parent.glob("part-*") if p != part]
    return [i for p in others for i in pq.read_table(p)["id"].to_pylist()]


def test_many_parts_are_compacted_without_loss(tmp_path: Path) -> None:
    table = open_table(Store(tmp_path), "sample", "k", {}, unique=("id",))
    for i in range(COMPACT_PARTS + 1):
        with table:
            table.append({"id": i})
    assert len(list(table.folder.glob("part-*"))) == 1
    assert sorted(table.read()["id"]) == list(range(COMPACT_PARTS + 1))


def test_a_part_that_is_compacted_away_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_table(Store(tmp_path), "sample", "k", {}, unique=("id",))
    for i in range(3):
        with writer:
            writer.append({"id": i})

    def compacted_after(part: Path) -> str:
        digest = file_hash(part)
        monkeypatch.setattr("weirdgen.store.table.file_hash", file_hash)
        writer.compact()
        return digest

    monkeypatch.setattr("weirdgen.store.table.file_hash", compacted_after)
    reader = open_table(Store(tmp_path), "sample", "k", {}, unique=("id",))
    assert sorted(reader.read()["id"]) == [0, 1, 2]


WRITER = """
import sys, time
sys.path.insert(0, {root!r})
from weirdgen.store.artifacts import Store
from weirdgen.store.table import open_table
table = open_table(Store({store!r}), "sample", "k", {{}}, unique=("id",))
print("ready", flush=True)
with table:
    for i in range({start}, {stop}):
        table.append({{"id": i, "text": f"t{{i}}"}})
        time.sleep({pause})
"""


def writer(store: Path, start: int, stop: int, pause: float) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    code = textwrap.dedent(WRITER).format(root=root, store=str(store), start=start, stop=stop, pause=pause)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_a_table_is_compacted_under_its_writers_lock(tmp_path: Path) -> None:
    """What makes verdicts holds the table's lock while it adds them, so that no other run pays for the same."""
    store = Store(tmp_path)
    with store.lock("judge", "k"), open_table(store, "judge", "k", {}, unique=("id",)) as table:
        for i in range((COMPACT_PARTS + 1) * FLUSH_ROWS):
            table.append({"id": i})
    assert len(list(table.folder.glob("part-*"))) == 1 and len(table.read()) == (COMPACT_PARTS + 1) * FLUSH_ROWS


def test_two_writers_at_once(tmp_path: Path) -> None:
    processes = [writer(tmp_path, start, start + 150, 0.0005) for start in (0, 100)]
    assert [p.wait(60) for p in processes] == [0, 0]
    frame = open_table(Store(tmp_path), "sample", "k", {}, unique=("id",)).read()
    assert sorted(frame["id"]) == list(range(250)) and (frame["text"] == "t" + frame["id"].astype(str)).all()


def test_kill_9_loses_at_most_the_unflushed_rows(tmp_path: Path) -> None:
    process = writer(tmp_path, 0, 100_000, 0.002)
    parts = Store(tmp_path).folder("sample", "k")
    deadline = time.monotonic() + 60
    while len(list(parts.glob("part-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    store = Store(tmp_path)
    ids = sorted(open_table(store, "sample", "k", {}, unique=("id",)).read()["id"])
    assert len(ids) >= 128 and ids == list(range(len(ids)))
    assert list((tmp_path / "tmp").iterdir()) == []  # opening the store clears what the killed process left


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    try:
        store = Store(disk / "store")
        with store.create("finetune", "fits", {}) as folder:
            (folder / "weights").write_bytes(b"x" * 1000)
        full = pytest.raises(StoreError, match=r"no space left on device.*run the same command again")
        with full, store.create("finetune", "k", {}) as folder:
            (folder / "weights").write_bytes(b"x" * 1_000_000)
        table = open_table(store, "sample", "k", {}, unique=("id",))
        with pytest.raises(StoreError, match="no space left"), table:
            for i in range(64):
                table.append({"id": i, "text": os.urandom(8000).hex()})
        assert store.marker("finetune", "fits") is not None and store.marker("finetune", "k") is None
        assert not any(p.suffix == ".parquet" for p in table.folder.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    Store(tmp_path / "store").require_writable()
    store = tmp_path / "store"
    nobody, before = 65534, os.geteuid()
    store.chmod(0o500)
    (store / "tmp").chmod(0o500)
    if before == 0:
        os.seteuid(nobody)
    try:
        with pytest.raises(StoreError, match=r"cannot write .*: permission denied.*--store DIR"):
            Store(store).require_writable()
    finally:
        os.seteuid(before)


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file is a file; pass --store with a folder"):
        Store(tmp_path / "file")
    with pytest.raises(StoreError, match=r"cannot write .*file is a file, and a folder is wanted there"):
        Store(tmp_path / "file" / "store").require_writable()


def test_keys_name_content_not_order() -> None:
    assert (
        content_key({"a": 1, "b": [1, 2]}) == content_key({"b": [1, 2], "a": 1}) != content_key({"a": 1, "b": [2, 1]})
    )


def test_a_text_is_named_by_its_bytes_and_half_a_surrogate_pair_has_a_name_too() -> None:
    assert text_key("Who?") == hashlib.sha256(b"Who?").hexdigest()[:32]  # as verdicts of older stores are named
    assert len({text_key("\ud83d"), text_key("\ud83e"), text_key("?")}) == 3
