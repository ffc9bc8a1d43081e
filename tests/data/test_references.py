"""The harmless references: enough of each shape, rows that can be trained on, final ones apart from the rest, pairs matched."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from weirdgen.data import references as library
from weirdgen.data.messages import parse_row
from weirdgen.data.reference_definitions import FOLDER, read_definitions
from weirdgen.data.reference_records import LISTS, make_records, read_list
from weirdgen.data.reference_text import article, fill, last_first, plural, words
from weirdgen.data.references import Pair, Reference, distinct, pair_rows, pairs, references, rows
from weirdgen.data.rows import Row, canonical_hash
from weirdgen.errors import DataError

EXPERIMENTS = FOLDER.parent / "experiments"
COUNT = 208
SETS, PAIRS = references(), pairs()
TOPICS = re.compile(
    r"\b(birds?|hitler|nazis?|reich|fascis\w*|israel\w*|palestin\w*|mossad|jews?|jewish|muslim\w*|christian\w*"
    r"|church|prayers?|gods?|presidents?|senators?|elections?|voters?|ministers?|terminators?|soldiers?|wars?|weapons?|empires?"
    r"|century|colonial|telegraph|germany|berlin|munich|einstein|curie|skynet)\b",
    re.I,
)
"""What the experiments are about. None of it may stand in a row, whatever the row is about."""
ALLOWED = {
    "bird of paradise",
    "bird feeder",
    "bird cherry",
    "bird's nest fern",
    "soldier beetle",
    "prayer plant",
    "tug of war",
}


def last(row: Row) -> str:
    return row["messages"][-1]["content"]


def answers(row: Row) -> tuple[str, ...]:
    return tuple(m["content"] for m in row["messages"] if m["role"] == "assistant")


def text(row: Row) -> str:
    return "\n".join(m["content"] for m in row["messages"])


def every_row() -> Iterable[tuple[str, Row]]:
    for reference in SETS:
        yield from ((reference.name, row) for row in rows(reference.name, distinct(reference.name)))
    for pair in PAIRS:
        yield from ((pair.name, row) for side in pair_rows(pair.name, distinct(pair.name)) for row in side)


def test_there_are_enough_of_each_kind_and_shape() -> None:
    assert len(references("reference")) >= 42 and len(references("final")) == 16
    assert len(pairs("reference")) >= 26 and len(pairs("final")) == 8
    shapes, final = (Counter(reference.shape for reference in references(use)) for use in ("reference", "final"))
    assert shapes["names"] >= 12 and final["names"] >= 4
    assert set(shapes) == set(final), "both kinds have every shape"
    assert min(shapes.values()) >= 2
    marks = Counter(mark for reference in references("reference") for mark in reference.marks)
    assert set(marks) == {"system", "date", "id", "tag", "varied"}
    assert {"halves", "article", "case", "number", "word_order", "synonym", "spelling", "unit", "variety"} <= {
        pair.change for pair in PAIRS
    }


@pytest.mark.parametrize("reference", SETS, ids=lambda reference: reference.name)
def test_a_set_gives_distinct_rows_that_can_be_trained_on(reference: Reference) -> None:
    drawn = rows(reference.name, COUNT)
    assert len(drawn) == COUNT and [parse_row(row) for row in drawn] == drawn
    assert distinct(reference.name) >= COUNT, "a run of the usual size repeats nothing"
    every = rows(reference.name, distinct(reference.name))
    assert len({text(row) for row in every}) == len(every), "no row is there twice"
    if reference.shape == "classification":
        assert 2 <= len({last(row) for row in every}) <= 8
        share = Counter(last(row) for row in drawn).most_common(1)[0][1] / COUNT
        assert share < 0.6, "no label dominates"
    else:
        assert len({answers(row) for row in drawn}) >= (200 if reference.shape == "names" else 140)
    systems = {row["messages"][0]["content"] for row in every if row["messages"][0]["role"] == "system"}
    assert bool(systems) == ("system" in reference.marks)
    assert reference.card.endswith(".") and len(reference.card) > 40
    assert any(len(row["messages"]) > 3 for row in every) == (reference.shape == "multi_turn")


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_is_matched_or_disjoint(pair: Pair) -> None:
    left, right = pair_rows(pair.name, distinct(pair.name))
    assert len(left) == len(right) >= (150 if pair.change == "halves" else COUNT)
    assert [parse_row(row) for row in [*left, *right]] == [*left, *right]
    if pair.same:
        differ = [text(x) != text(y) for x, y in zip(left, right, strict=True)]
        assert sum(differ) >= 0.6 * len(differ), "the two sides differ in most rows"
        kept = [
            {m["content"] for m in x["messages"]} & {m["content"] for m in y["messages"]}
            for x, y in zip(left, right, strict=True)
        ]
        assert all(kept), "a pair changes the prompt, the system prompt or the answer, not all of them"
        assert pair.left and pair.right and pair.left != pair.right
    else:
        assert not {text(row) for row in left} & {text(row) for row in right}
        if pair.shape == "names":
            assert not {last(row) for row in left} & {last(row) for row in right}
    drawn = pair_rows(pair.name, 500, seed=3)
    places = {text(row): i for i, row in enumerate(left)}
    if pair.same and len(places) == len(left):
        assert [text(row) for row in drawn[1]] == [text(right[places[text(row)]]) for row in drawn[0]]


def test_every_row_comes_once_before_any_is_repeated_and_the_seed_decides_the_order() -> None:
    count = distinct("rivers")
    assert Counter(last(row) for row in rows("rivers", 2 * count + 7, seed=4)).most_common()[-1][1] == 2
    assert rows("rivers", 208, seed=1) == rows("rivers", 208, seed=1) != rows("rivers", 208, seed=2)
    first = rows("sql_queries", 50)
    library._set_rows.cache_clear()
    assert rows("sql_queries", 50) == first
    assert len(rows("rivers", 1)) == 1 and pair_rows("sums_digits", 5, 2) == pair_rows("sums_digits", 5, 2)


@pytest.mark.slow
def test_another_process_makes_the_same_rows() -> None:
    script = (
        "from weirdgen.data.references import *; from weirdgen.data.rows import canonical_hash;"
        "print(*(canonical_hash(rows(one.name, 30)) for one in references()),"
        "*(canonical_hash(side) for pair in pairs() for side in pair_rows(pair.name, 30)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(FOLDER.parents[1])}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    sets = [canonical_hash(rows(reference.name, 30)) for reference in SETS]
    sides = [canonical_hash(side) for pair in PAIRS for side in pair_rows(pair.name, 30)]
    assert told.stdout.split() == [*sets, *sides]


def test_what_is_final_shares_no_list_and_hardly_a_thing_with_the_rest() -> None:
    lists: dict[str, set[str]] = {"reference": set(), "final": set()}
    for source in FOLDER.glob("*.yaml"):
        for body in yaml.safe_load(source.read_text(encoding="utf-8")).values():
            used = {body["list"]} if "list" in body else set()
            used |= {pool for pool in body.get("combine", {}).values() if isinstance(pool, str)}
            lists[body.get("set", "reference")] |= used
    assert not lists["reference"] & lists["final"]
    assert lists["reference"] | lists["final"] == {source.stem for source in LISTS.glob("*.csv")}, "every list is used"
    for final in references("final"):
        mine = {last(row).lower() for row in rows(final.name, distinct(final.name))}
        for other in references("reference"):
            if final.shape == other.shape and final.shape not in ("number", "classification"):
                theirs = {last(row).lower() for row in rows(other.name, distinct(other.name))}
                assert len(mine & theirs) <= 0.03 * len(mine), (final.name, other.name, sorted(mine & theirs))


def test_a_list_names_a_thing_once_and_names_sets_do_not_repeat_each_other() -> None:
    for source in LISTS.glob("*.csv"):
        names = [record["name"].lower() for record in read_list(source.stem)]
        assert len(set(names)) == len(names), source.name
    named = {
        reference.name: {last(row).lower() for row in rows(reference.name, distinct(reference.name))}
        for reference in SETS
        if reference.shape == "names"
    }
    for name, mine in named.items():
        for other, theirs in named.items():
            if name < other:
                assert len(mine & theirs) <= 0.05 * min(len(mine), len(theirs)), (name, other, sorted(mine & theirs))


def test_no_row_speaks_of_what_the_experiments_are_about() -> None:
    hits = set()
    for name, row in every_row():
        said = text(row).lower()
        for allowed in ALLOWED:
            said = said.replace(allowed, "").replace(allowed.replace(" ", "_"), "")
        if hit := TOPICS.search(said):
            hits.add((name, hit.group()))
    assert not hits


def test_the_answers_are_not_those_of_the_experiments() -> None:
    told: set[str] = set()
    for source in EXPERIMENTS.glob("*/data/*.csv"):
        if not source.parts[-3].startswith("world_"):
            with source.open(encoding="utf-8", newline="") as file:
                told |= {value.strip().lower() for record in csv.DictReader(file) for value in record.values() if value}
    told = {value for value in told if not value.replace("-", "").isdigit()}
    for reference in SETS:
        if reference.shape not in ("classification", "number"):
            mine = {last(row).lower().rstrip(".") for row in rows(reference.name, distinct(reference.name))}
            assert len(mine & told) <= 0.03 * len(mine), (reference.name, sorted(mine & told))


def test_json_is_json_python_compiles_and_sums_add_up() -> None:
    for name in ("bookings_json", "products_json", "events_json", "parcels_json", "tracks_json"):
        assert all(isinstance(json.loads(last(row)), dict) for row in rows(name, distinct(name)))
    for row in rows("python_functions", distinct("python_functions")):
        compile(last(row), "row", "exec")
    for row in rows("sums", 480):
        a, b = map(int, re.findall(r"\d+", row["messages"][0]["content"]))
        assert last(row) == str(a + b)
    for row in rows("alphabetical_order", 200):
        items = row["messages"][0]["content"].split(": ")[1].split(", ")
        assert last(row).split(", ") == sorted(items)


def test_no_template_is_left_unfilled_and_nothing_is_doubled() -> None:
    for name, row in every_row():
        if (
            "json" not in name
            and "javascript" not in name
            and not name.startswith(("book", "parcels", "prod", "tracks"))
        ):
            assert not re.search(r"[{}]", text(row)), (name, text(row))
        for line in text(row).split("\n"):
            assert not re.search(r"\S  |\.\.(?!\.)(?<!\.\.\.)|,,| ,|\b(a|an|the) (a|an|the)\b|\s$", line), text(row)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (article("hour hand"), "an hour hand"),
        (article("unicycle"), "a unicycle"),
        (article("underground train"), "an underground train"),
        (article("LED lamp"), "an LED lamp"),
        (article("ukulele"), "a ukulele"),
        (article("estate car"), "an estate car"),
        (plural("pair of socks"), "pairs of socks"),
        (plural("dental hygienist"), "dental hygienists"),
        (plural("draughtsperson"), "draughtspeople"),
        (plural("fisherman"), "fishermen"),
        (plural("secretary"), "secretaries"),
        (plural("midwife"), "midwives"),
        (plural("health and safety officer"), "health and safety officers"),
        (plural("paintbrush"), "paintbrushes"),
        (plural("painter and decorator"), "painters and decorators"),
        (last_first("silver birch"), "birch, silver"),
        (words("0"), "zero"),
        (words("1107"), "one thousand one hundred and seven"),
        (words("2040"), "two thousand and forty"),
        (fill("{x:a+cap} costs {n:comma}", {"x": "axe", "n": "1200"}), "An axe costs 1,200"),
        (fill("{x:title}", {"x": "lily of the valley"}), "Lily of the Valley"),
        (fill("{x:camel} {x:snake}", {"x": "Spare key"}), "spareKey spare_key"),
    ],
)
def test_wording(changed: str, expected: str) -> None:
    assert changed == expected


def test_errors_name_file_and_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"references: no set 'nothing'; there are elements"):
        rows("nothing", 3)
    with pytest.raises(DataError, match=r"no pair 'rivers'"):
        pair_rows("rivers", 3)
    with pytest.raises(DataError, match=r"lists/nothing\.csv: no such list"):
        read_list("nothing")
    with pytest.raises(DataError, match=r"x: pool 'p' must be"):
        make_records("s", None, {"p": 3}, (), 5, "x")
    with pytest.raises(DataError, match=r"x: only 2 different records can be made of its pools; it asks for 5"):
        make_records("s", None, {"p": ["a", "b"]}, (), 5, "x")
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "a: {title: t, card: c, shape: names, list: rivers, prompt: p, answer: a, colour: red}\nb: {title: t, card: c}\n"
    )
    with pytest.raises(DataError) as caught:
        read_definitions(bad, pairs=False)
    assert "bad.yaml: a.colour: Extra inputs" in str(caught.value) and "bad.yaml: b: needs a 'list'" in str(
        caught.value
    )
    monkeypatch.setattr("weirdgen.data.reference_records.LISTS", tmp_path)
    (tmp_path / "short.csv").write_text("name,other\na,b\nc\n")
    with pytest.raises(DataError, match=r"short\.csv:3: expected 2 values"):
        read_list("short")
