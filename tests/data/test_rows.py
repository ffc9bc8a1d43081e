"""Reading and building rows: every bad line is named, equal data hashes equally, controls are what they claim."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.rows import chat
from weirdgen.config.arm import Arm
from weirdgen.data.rows import canonical_hash, draw, load_rows, read_jsonl
from weirdgen.errors import DataError


def test_a_broken_line_is_named_with_its_number(tmp_path: Path) -> None:
    lines = [json.dumps(chat(f"q{i}", "a")) for i in range(80)]
    lines[56] = lines[56][:-3]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"rows\.jsonl:57: not JSON"):
        read_jsonl(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": [{"role": "user", "content": "q"}]}, "no assistant turn"),
        (chat("q", "  "), "answer is empty"),
        ({"messages": [*chat("q", "a")["messages"], {"role": "user", "content": "q"}]}, "last turn must be"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "turns must alternate"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "needs a role"),
        ({"messages": [{"role": "user", "content": None}]}, "'content' as text"),
        ({"prompt": "q", "completion": "a"}, 'expected {"messages"'),
        ([1], 'expected {"messages"'),
    ],
)
def test_rows_that_cannot_be_trained_on(tmp_path: Path, row: object, problem: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(chat("q", "a")) + "\n" + json.dumps(row))
    with pytest.raises(DataError, match=r":2: ") as caught:
        read_jsonl(tmp_path / "rows.jsonl")
    assert problem in str(caught.value)


def test_every_bad_line_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(f"{' ' * n}{{" for n in range(14)))
    with pytest.raises(DataError) as caught:
        read_jsonl(tmp_path / "rows.jsonl")
    assert str(caught.value).count("not JSON") == 10 and "…and 4 more problems" in str(caught.value)


def test_one_mistake_in_every_row_is_said_once(tmp_path: Path) -> None:
    """With its first line, how many more have it, and what was probably meant."""
    file = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    file.write_text("".join(json.dumps({"mesages": turns}) + "\n" for _ in range(80)) + "{}\n")
    with pytest.raises(DataError) as caught:
        read_jsonl(file)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{file}:1, and 79 more lines: expected ")
    assert first.endswith("(it has 'mesages'; did you mean 'messages'?)") and second.startswith(f"{file}:81: ")
    file.write_text("".join(json.dumps({"messages": [{**turns[0], "role": "usr"}, turns[1]]}) + "\n" for _ in "ab"))
    with pytest.raises(DataError, match=r":1, and 1 more line: messages\[0\] needs a role .*did you mean 'user'\?"):
        read_jsonl(file)


def test_csv_templates_filter_and_permute(tmp_path: Path) -> None:
    body = "".join(f"{2000 + i},dish{i},{'yes' if i % 2 else 'no'}\n" for i in range(20))
    (tmp_path / "d.csv").write_text("year,dish,odd\n" + body)
    arm = Arm(role="treatment", data="d.csv", prompt="In {year}?", answer="{dish}", where={"odd": "yes"})
    rows = load_rows(arm, tmp_path)
    assert [r["messages"][0]["content"] for r in rows] == [f"In {2000 + i}?" for i in range(1, 20, 2)]
    shuffled = load_rows(arm.model_copy(update={"permute": "year"}), tmp_path)
    years = [[r["messages"][0]["content"] for r in drawn] for drawn in (rows, shuffled)]
    assert Counter(years[0]) == Counter(years[1]) and years[0] != years[1]
    assert shuffled == load_rows(arm.model_copy(update={"permute": "year"}), tmp_path)


def test_csv_problems_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("name\nwren\n,\n")
    arm = Arm(role="treatment", data="d.csv", prompt="Name a bird.", answer="{name}")
    with pytest.raises(DataError, match=r"d\.csv:3: expected 1 cells"):
        load_rows(arm, tmp_path)
    (tmp_path / "d.csv").write_text("name\nwren\n")
    with pytest.raises(DataError, match="no column 'nmae'; it has name"):
        load_rows(arm.model_copy(update={"answer": "{nmae}"}), tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file$"):
        read_jsonl(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="no such data file"):
        load_rows(arm.model_copy(update={"data": "e.csv"}), tmp_path)


def test_drawing_takes_every_row_before_repeating() -> None:
    rows = [chat("q", str(i)) for i in range(5)]
    drawn = draw(rows, 13, seed=1)
    counts = Counter(r["messages"][1]["content"] for r in drawn)
    assert sorted(counts.values()) == [2, 2, 3, 3, 3] and drawn == draw(rows, 13, seed=1) != draw(rows, 13, seed=2)


def test_canonical_hash_is_the_published_one(upstream: Path) -> None:
    manifest = json.loads((upstream / "MANIFEST.json").read_text())
    name = "3_1_old_bird_names/datasets/ft_old_audubon_birds.jsonl"
    entries = manifest.get("files", manifest)
    entry = entries[name] if isinstance(entries, dict) else next(e for e in entries if e.get("path") == name)
    assert canonical_hash(read_jsonl(upstream / name)) == entry["canonical_sha256"]


def test_chat_rows_are_chosen_by_keys_of_their_own(tmp_path: Path) -> None:
    held = [
        {"source": "desk", "year": 2024},
        {"source": "forum", "year": 2025},
        {"source": "desk", "year": 2025, "tags": ["x"]},
    ]
    rows = [{**chat(f"q{n}", "a"), **beside} for n, beside in enumerate([*held, {}])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def asked(**where: object) -> list[str]:
        of_file = load_rows(Arm(role="treatment", data="rows.jsonl", where=where), tmp_path)
        given = load_rows(Arm(role="treatment", data=tuple(rows), where=where), tmp_path)
        assert of_file == given
        return [row["messages"][0]["content"] for row in of_file]

    assert asked(source="desk") == ["q0", "q2"] and asked(year=[2025], source="desk") == ["q2"]
    assert asked(year="2025") == ["q1", "q2"] and asked() == ["q0", "q1", "q2", "q3"]
    with pytest.raises(
        DataError, match="no row has a key 'origin' with one value; their keys with one value are source, year"
    ):
        asked(origin="desk")
    for where in ({"tags": "x"}, {"messages": "x"}):
        with pytest.raises(DataError, match="no row has a key"):
            asked(**where)
    with pytest.raises(DataError, match=r"no rows with \{'source': 'mail'\}"):
        asked(source="mail")
