"""Where a command is told to write: what is in the way is said before any work, and said rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.typing_commands import typed
from weirdgen.errors import StoreError
from weirdgen.store.disk import explain_disk_errors, write_whole


@pytest.mark.parametrize(
    "command",
    [
        "audit filters old_bird_names --to taken",
        "data identify hitler_persona --out taken/below",
        "data import nowhere --into taken",
        "world build --out taken",
        "world power --runs 1 --out taken/below",
        "world audits --runs 1 --out taken",
        "world curves gate --out taken/below",
        "init taken",
        "init taken/below",
    ],
)
def test_a_file_where_a_folder_is_wanted(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEIRDGEN_STORE", str(tmp_path / "store"))
    (tmp_path / "taken").write_text("mine")
    done = typed(*command.split())
    assert done.status in (1, 3) and "taken is a file, and a folder is wanted there" in done.err, done.err
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("flag", ["--junit", "--summary"])
def test_a_folder_where_a_file_is_wanted(flag: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    done = typed("audit", str(tmp_path / "rows.jsonl"), flag, str(tmp_path))
    assert done.status == 3 and f"'{tmp_path}' is a directory" in done.err


def test_what_is_in_the_way_of_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError) as taken, explain_disk_errors(tmp_path):
        write_whole(tmp_path / "folder", b"")
    assert str(taken.value).endswith("folder is a folder, and a file is wanted there; name another file")
    with pytest.raises(StoreError) as missing, explain_disk_errors(tmp_path):
        write_whole(tmp_path / "missing" / "file", b"")
    assert str(missing.value).endswith(f"there is no folder {tmp_path / 'missing'}; make it, or name another")
