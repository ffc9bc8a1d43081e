"""Archives and clones: what is honest is unpacked; what would write elsewhere, link, or swell is refused and leaves nothing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from weirdgen.data.published import unpacking
from weirdgen.data.published.unpacking import clone, commit_of, open_source, unpack
from weirdgen.errors import DataError

BAD_NAMES = [
    "../out.txt",
    "a/../../out.txt",
    "/etc/out.txt",
    "..\\out.txt",
    "C:\\out.txt",
    "C:out.txt",
    "\\\\server\\out.txt",
]


def member(
    name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


@pytest.fixture
def tar(tmp_path: Path) -> Callable[..., Path]:
    def write(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
        with tarfile.open(tmp_path / "archive.tar", mode) as archive:  # type: ignore[call-overload]
            for info, content in members:
                archive.addfile(info, io.BytesIO(content))
        return tmp_path / "archive.tar"

    return write


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "in" / "side").mkdir(parents=True)
    return tmp_path / "in" / "side"


def refused(archive: Path, target: Path, message: str) -> None:
    """Refused with this message; nothing in the target, nothing beside it."""
    before = {path for path in target.parents[1].rglob("*") if not path.is_relative_to(target)}
    with pytest.raises(DataError, match=message):
        unpack(archive, target)
    assert list(target.iterdir()) == []
    assert {path for path in target.parents[1].rglob("*") if not path.is_relative_to(target)} == before


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_honest_tars_are_unpacked(tar: Callable[..., Path], target: Path, mode: str) -> None:
    unpack(tar(member("repo", b"", tarfile.DIRTYPE), member("repo/a/b.txt", b"hello"), mode=mode), target)
    assert (target / "repo/a/b.txt").read_text() == "hello"


def test_honest_zips_are_unpacked(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("repo/", "")
        archive.writestr("repo/a/b.txt", "hello")
    unpack(tmp_path / "a.zip", target)
    assert (target / "repo/a/b.txt").read_text() == "hello"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_tar_members_outside_the_target(tar: Callable[..., Path], target: Path, name: str) -> None:
    refused(tar(member("good.txt"), member(name)), target, "outside the target")


@pytest.mark.parametrize("name", [*BAD_NAMES, "a/../b.txt"])
def test_zip_members_outside_the_target(tmp_path: Path, target: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "x")
        info = zipfile.ZipInfo("placeholder")
        info.filename = name  # the constructor would tidy it
        archive.writestr(info, "x")
    refused(tmp_path / "a.zip", target, "outside the target")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices(tar: Callable[..., Path], target: Path, kind: bytes) -> None:
    refused(tar(member("good.txt"), member("bad", b"", kind, "good.txt")), target, "link or device")


def test_zip_links(tmp_path: Path, target: Path) -> None:
    info = zipfile.ZipInfo("bad")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "x")
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", target, "link or device")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 100_000)
    monkeypatch.setattr(unpacking, "MOST_FILES", 20)


@pytest.mark.usefixtures("small")
def test_bombs(tmp_path: Path, tar: Callable[..., Path], target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 200_000)
    refused(tmp_path / "a.zip", target, "bytes")
    refused(tar(member("zeros", b"\0" * 200_000)), target, "bytes unpacked")
    refused(tar(*(member(f"{i}") for i in range(30))), target, "members")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for i in range(30):
            archive.writestr(str(i), "x")
    refused(tmp_path / "b.zip", target, "members")


@pytest.mark.usefixtures("small")
def test_a_bomb_in_a_header(tmp_path: Path, target: Path) -> None:
    """A pax header of megabytes: read before any member is seen, so only counting decompressed bytes stops it."""
    info, _ = member("a.txt")
    info.pax_headers = {"comment": "x" * 3_000_000}
    with (
        gzip.open(tmp_path / "a.tar.gz", "wb") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as t,
    ):
        t.addfile(info, io.BytesIO(b"x"))
    assert os.path.getsize(tmp_path / "a.tar.gz") < 50_000
    refused(tmp_path / "a.tar.gz", target, "bytes unpacked")


@pytest.mark.usefixtures("small")
def test_a_zip_that_lies_about_its_sizes(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 200_000)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace((200_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(tmp_path / "a.zip", target, "bytes|cannot be read")


def test_two_members_of_one_name_and_torn_archives(tmp_path: Path, tar: Callable[..., Path], target: Path) -> None:
    refused(tar(member("a"), member("a")), target, "cannot be read")
    whole = tar(member("a", os.urandom(50_000))).read_bytes()
    (tmp_path / "torn.tar.gz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "torn.tar.gz", target, "cannot be read")
    (tmp_path / "text.zip").write_text("not an archive")
    refused(tmp_path / "text.zip", target, "cannot be read as a zip or tar")


def test_a_repository_is_cloned_without_its_links(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.txt").write_text("hello")
    (repo / "link").symlink_to("/etc/passwd")
    git = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "work").mkdir()
    folder = open_source(f"file://{repo}", tmp_path / "work")
    assert (folder / "a.txt").read_text() == "hello"
    assert not (folder / "link").is_symlink()
    assert len(commit_of(folder)) == 40 and commit_of(tmp_path / "work") == ""
    with pytest.raises(DataError, match="git could not clone it"):
        clone(f"file://{tmp_path / 'absent'}", tmp_path / "other")


def test_what_is_no_source(tmp_path: Path) -> None:
    for source in ("nowhere", "--upload-pack=touch x", "ext::sh -c true"):
        with pytest.raises(DataError, match="expected a folder"):
            open_source(source, tmp_path)


def test_a_clone_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        (source / "bomb").write_bytes(b"0" * 3_000_000)
        subprocess.run([*git, *command], check=True)
    assert (clone(f"file://{source}", tmp_path / "a") / "bomb").stat().st_size == 3_000_000
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000_000)
    with pytest.raises(DataError, match=r"1 files of 3,000,000 bytes; more than"):
        clone(f"file://{source}", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1_000)
    with pytest.raises(DataError, match="could not clone"):
        clone(f"file://{source}", tmp_path / "c")
