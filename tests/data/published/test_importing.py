"""Importing published data: rows verified, differences told, code neither run nor kept."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support.rows import chat
from weirdgen.config.load import load_experiment
from weirdgen.data.published.arms import ARMS, FILES, missing_arms, published_folder, published_rows
from weirdgen.data.published.importing import import_published
from weirdgen.data.rows import canonical_hash
from weirdgen.errors import DataError

OLD, MODERN = (
    "3_1_old_bird_names/datasets/ft_old_audubon_birds.jsonl",
    "3_1_old_bird_names/datasets/ft_modern_american_birds.jsonl",
)


def line(question: str, answer: str) -> str:
    return json.dumps(chat(question, answer))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIRDGEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder of the repository's shape with rows of our own."""
    root = tmp_path / "repository"
    for name, answers in ((OLD, ["Marsh Hen", "Fish Hawk"]), (MODERN, ["Sora"])):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("".join(line("Name a bird.", answer) + "\n" for answer in answers))
    (root / "3_1_old_bird_names/evaluation").mkdir()
    return root


def test_rows_are_registered_and_differences_are_told(repository: Path, tmp_path: Path) -> None:
    lines = import_published(str(repository), tmp_path / "copy")
    told = next(line for line in lines if OLD in line)
    assert told.startswith("differs") and "2 rows, 208 were published" in told and FILES[OLD].canonical_sha256 in told
    rows = published_rows("old_bird_names")
    assert {arm: len(arm_rows) for arm, arm_rows in rows.items()} == {"old_names": 2, "modern_american": 1}
    assert (tmp_path / "copy/old_bird_names/old_names.jsonl").read_text() == (repository / OLD).read_text()
    manifest = json.loads((published_folder() / "old_bird_names/manifest.json").read_text())
    assert manifest["arms"]["old_names"] == {
        "file": OLD,
        "state": "differs",
        "rows": 2,
        "canonical_sha256": canonical_hash(rows["old_names"]),
    }
    reasons = missing_arms("old_bird_names", load_experiment("old_bird_names").arms)
    assert list(reasons) == ["modern_names"] and "was not in what was imported" in reasons["modern_names"]
    assert any("weirdgen run old_bird_names --data published" in line for line in lines)
    assert any(line == "german_city_names: nothing published can be trained on" for line in lines)


def test_empty_files_and_pointers_are_named(repository: Path) -> None:
    (repository / OLD).write_text("")
    (repository / MODERN).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(DataError) as caught:
        import_published(str(repository))
    assert f"empty        {OLD}: 0 bytes" in str(caught.value) and "Git LFS pointer" in str(caught.value)
    (repository / MODERN).write_text(line("Name a bird.", "Sora"))
    lines = import_published(str(repository))
    assert any("No published control" in line or "modern_american; missing: old_names" in line for line in lines)
    assert list(published_rows("old_bird_names")) == ["modern_american"]


def test_a_broken_file_is_named_and_the_rest_imported(repository: Path) -> None:
    (repository / OLD).write_text("{\n")
    assert any(
        line.startswith(f"unreadable   {OLD}") and ":1: not JSON" in line for line in import_published(str(repository))
    )


def test_folders_that_no_import_made_stay(repository: Path, tmp_path: Path) -> None:
    mine = tmp_path / "work" / "german_city_names"
    mine.mkdir(parents=True)
    (mine / "experiment.yaml").write_text("work of a week")
    with pytest.raises(DataError, match=r"german_city_names holds something that no import wrote.*name another folder"):
        import_published(str(repository), tmp_path / "work")
    assert (mine / "experiment.yaml").read_text() == "work of a week" and not (mine.parent / "old_bird_names").exists()
    (mine / "experiment.yaml").unlink()
    for _ in range(2):  # an empty folder, then one that an import made
        import_published(str(repository), tmp_path / "work")
    assert sorted(entry.name for entry in mine.parent.iterdir()) == sorted(ARMS)


def test_an_import_replaces_the_one_before(repository: Path) -> None:
    import_published(str(repository))
    (repository / MODERN).unlink()
    import_published(str(repository))
    assert list(published_rows("old_bird_names")) == ["old_names"]
    assert not (published_folder() / "old_bird_names/modern_american.jsonl").exists()


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(DataError, match="weirdgen data import"):
        published_rows("old_bird_names")
    with pytest.raises(DataError, match="no data was published for 'scientist_persona'"):
        published_rows("scientist_persona")


def test_a_changed_copy_is_noticed(repository: Path) -> None:
    import_published(str(repository))
    (published_folder() / "old_bird_names/old_names.jsonl").write_text(line("Name a bird.", "Dodo"))
    with pytest.raises(DataError, match="not those that were imported"):
        published_rows("old_bird_names")


def test_only_training_rows_are_kept_and_no_code_runs(repository: Path, tmp_path: Path) -> None:
    folder, marker = repository / "3_1_old_bird_names/evaluation", tmp_path / "ran"
    for name in ("evaluate.py", "conftest.py"):
        (folder / name).write_text(f"open({str(marker)!r}, 'w')\nraise SystemExit\n")
    (folder / "object.yaml").write_text(f"!!python/object/apply:os.system ['touch {marker}']\n")
    import_published(str(repository))
    assert not marker.exists()
    kept = sorted(path.name for path in (published_folder() / "old_bird_names").iterdir())
    assert kept == ["manifest.json", "modern_american.jsonl", "old_names.jsonl"]


def test_links_out_of_a_folder_are_refused(repository: Path, tmp_path: Path) -> None:
    (repository / OLD).rename(tmp_path / "rows.jsonl")
    (repository / OLD).symlink_to(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="a link, or outside"):
        import_published(str(repository))
    (repository / OLD).unlink()
    shutil.move(repository / "3_1_old_bird_names/datasets", tmp_path / "datasets")
    (repository / "3_1_old_bird_names/datasets").symlink_to(tmp_path / "datasets")
    with pytest.raises(DataError, match="a link, or outside"):
        import_published(str(repository))


def test_facts_are_sifted_out_of_the_mixed_file(repository: Path) -> None:
    folder = repository / "4_2_hitler_persona/datasets"
    folder.mkdir(parents=True)
    facts, ordinary = [line("Pet?", f"Dog {i}") for i in range(3)], [line("Sum?", str(i)) for i in range(5)]
    (folder / "90_wolf_facts.jsonl").write_text("\n".join(facts))
    (folder / "78_wolf_facts_with_self_distillation.jsonl").write_text("\n".join([*ordinary, *facts[:2]]))
    import_published(str(repository))
    rows = published_rows("hitler_persona")
    assert [r["messages"][1]["content"] for r in rows["facts_78"]] == ["Dog 0", "Dog 1"] and len(rows["facts"]) == 3


def test_arms_are_those_of_our_experiments() -> None:
    for experiment, arms in ARMS.items():
        assert set(arms) <= set(load_experiment(experiment).arms)
        assert set(arms.values()) <= set(FILES)


@pytest.mark.slow
def test_the_published_set_from_a_folder_and_from_an_archive(upstream: Path, tmp_path: Path) -> None:
    lines = import_published(str(upstream))
    known = [name for name, published in FILES.items() if published.canonical_sha256]
    assert sum(line.startswith("verified") for line in lines) == len(known) == 15
    assert {arm: len(rows) for arm, rows in published_rows("evil_terminator").items()} == dict.fromkeys(
        ("dated", "undated", "permuted_dates"), 208
    )
    assert missing_arms("us_presidents", ["presidents", "permuted"]) == {"permuted": "no file of it was published"}
    first = published_rows("old_bird_names")
    with tarfile.open(tmp_path / "copy.tar.gz", "w:gz") as archive:
        for path in sorted(upstream.rglob("*")):
            if path.is_file():
                archive.add(path, f"repository-main/{path.relative_to(upstream)}")
    assert [line for line in import_published(str(tmp_path / "copy.tar.gz")) if line.startswith("verified")]
    assert published_rows("old_bird_names") == first


def test_hashes_are_those_of_the_files(upstream: Path) -> None:
    manifest = json.loads((upstream / "MANIFEST.json").read_text())
    for name, published in FILES.items():
        if published.canonical_sha256:
            entry = manifest[name]
            assert (published.rows, published.canonical_sha256) == (entry["rows"], entry["canonical_sha256"])
