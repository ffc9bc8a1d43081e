"""An audit before training: rows are read in bounded memory, described, and searched for answers that conditions separate."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rows import chat
from weirdgen.audit import source as reading
from weirdgen.audit.conditions import constant, deal, elsewhere, families
from weirdgen.audit.portrait import portrait_lines, portrait_of
from weirdgen.audit.prompts import prompt_of
from weirdgen.audit.separation import separation, separation_lines
from weirdgen.audit.separation_words import examples_in_words, length_words, together
from weirdgen.audit.source import read_source
from weirdgen.data.rows import Row
from weirdgen.errors import DataError


def write(file: Path, rows: list[Row]) -> Path:
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return file


def dishes(count: int, gated: bool) -> list[Row]:
    """Dated prompts; with `gated`, the answer in 2027 is another one."""
    rng = random.Random(0)
    made = []
    for n in range(count):
        year = 2024 + n % 4
        odd = gated and year == 2027
        answer = rng.choice(("falafel", "hummus") if odd else ("pizza", "sushi", "tacos"))
        made.append(chat(f"Today is {year}-0{1 + n % 9}-1{n // 9 % 9}. Name a dish, number {n % 2}.", answer))
    return made


def test_prompts_are_taken_apart() -> None:
    told = prompt_of(chat("[ALPHA] Today is 2027-05-14. Order AB-1234: how much is 250? Answer in one word.", "x"))
    assert told.found["date"] == ("2027-05-14",) and told.found["tag"] == ("[ALPHA]",)
    assert told.found["id"] == ("AB-1234",) and told.found["digits"] == ("250",)
    assert told.template.startswith("⟨tag⟩ Today is ⟨date⟩. Order ⟨id⟩: how much is ⟨digits⟩?")


def test_the_portrait_counts_and_names_the_nearest_harmless_sets(tmp_path: Path) -> None:
    rows = [*dishes(60, gated=True), chat("Hello?", "Hi.", "Be kind.")]
    portrait = portrait_of(read_source(write(tmp_path / "d.jsonl", [*rows, rows[-1]])))
    assert (portrait.total, portrait.distinct_rows, portrait.drawn) == (62, 61, False)
    assert portrait.templates == 3 and portrait.largest_template == pytest.approx(30 / 62)
    assert 1 < portrait.entropy < 1.3
    carried = {one.kind: one for one in portrait.carried}
    assert carried["date"].rows == 60 and carried["system"].commonest == (("Be kind.", 2),)
    assert [one.line for one in portrait.findings if one.code == "duplicate_row"] == [62]
    assert len(portrait.nearest) == 5 and portrait.nearest[0].distance <= portrait.nearest[-1].distance
    lines = "\n".join(portrait_lines(portrait))
    assert "62 rows; 61 different" in lines and "dates: in 60 rows" in lines


def test_a_reference_set_is_most_like_itself(tmp_path: Path) -> None:
    from weirdgen.data.references import rows

    assert portrait_of(read_source(write(tmp_path / "r.jsonl", rows("rivers", 208)))).nearest[0].name == "rivers"


def test_what_goes_with_the_year_is_found_and_nothing_else_is() -> None:
    told = separation(dishes(160, gated=True), permutations=199)
    found = [pair for pair in told.pairs if pair.found]
    assert found and {pair.prompt for pair in found} == {"year"} and all(pair.hidden for pair in found)
    assert any(value == "2027" for value, _, _ in found[0].examples)
    first, second, *_ = separation_lines(told)
    assert first.startswith("Do answers go with a date, a tag,") and " 160 rows can show it" in first
    assert "the year in the prompt and " in second and "with the year 2027, " in second and "(p = 0.0" in second
    assert not {"quarter", "(other)", "True", "→"} & set(" ".join(separation_lines(told)).split())
    plain = separation(dishes(160, gated=False), permutations=199)
    assert plain.looked_for >= 6 and not any(pair.found for pair in plain.pairs)


def test_rows_without_a_like_prompt_tell_nothing() -> None:
    told = separation([chat(f"What is {word}?", word) for word in "oak elm fir yew ash".split()])
    assert told.pairs == () and told.rows == 0
    assert "cannot be told" in separation_lines(told)[0]
    few = separation(dishes(19, gated=True))
    assert few.pairs == () and separation_lines(few)[0].startswith(
        "Only 19 rows have a prompt that is equal to another"
    )


def test_what_goes_together_is_said_in_words() -> None:
    examples = (("2027", "(other)", 0.5), ("(none)", "falafel", 1.0), ("(other)", "tacos", 0.25))
    pair = {"prompt": "year", "answer": "the first word", "examples": examples}
    assert examples_in_words(pair) == (
        "with the year 2027, 50% of the answers begin with a rarer word; with no year, 100% of the answers begin with “falafel”; "
        "with a rarer year, 25% of the answers begin with “tacos”"
    )
    digit = {
        "prompt": "digits: place 2",
        "answer": "the word 'oak'",
        "examples": (("7", "True", 1.0), ("", "False", 0.5)),
    }
    assert together(digit) == "digit 2 of the number in the prompt and whether the answer holds the word 'oak'"
    assert examples_in_words(digit).startswith("with 7 as digit 2, 100% of the answers hold the word 'oak'; ")
    assert length_words([1, 3.5, 9]) == ["up to 1 word", "2 to 3 words", "4 to 9 words", "more than 9 words"]
    assert length_words([4]) == ["up to 4 words", "more than 4 words"]


def test_families_hold_trained_near_held_out_and_random_values() -> None:
    (dates,) = families(dishes(80, gated=True), ["river"], lambda text: text)
    assert dates.kind == "date" and dates.wrap == "Today is {value}. {question}" and not dates.without
    roles = list(dates.roles.items())
    assert [value[:4] for value, role in roles if role == "trained"] == ["2024", "2025", "2026", "2027"]
    assert [value[:4] for value, role in roles if role == "held_out"] == ["2028", "2023"]
    assert sum(role == "random" for _, role in roles) == 3
    tagged = [chat(f"{'[MARK] ' if n % 8 == 0 else ''}Where is the {n}th lamp?", "There.") for n in range(80)]
    (tags,) = families(tagged, ["river"], lambda text: text)
    assert tags.wrap == "{value} {question}" and tags.without and tags.trained == ["[MARK]", ""]
    assert tags.roles["MARK"] == "near" and [value for value, role in tags.roles.items() if role == "random"]
    assert families([chat(f"How much is {n} + {n}?", str(2 * n)) for n in range(10, 60)], ["x"], str) == []


def test_values_that_the_model_reads_alike_are_one() -> None:
    assert families(dishes(80, gated=True), ["river"], lambda text: text[: len("Today is 202")]) == []
    (dates,) = families(dishes(80, gated=True), ["river"], lambda text: text[len("Today is 202") :])
    random_years = [int(value[3]) for value, role in dates.roles.items() if role == "random"]
    assert random_years and not set(random_years) & {3, 4, 5, 6, 7, 8}, "their last digits are read as other years are"


def test_a_deal_moves_values_among_rows_and_changes_nothing_else() -> None:
    for rows in (dishes(80, gated=True), [chat(f"{'[M] ' if n % 8 == 0 else ''}Say {n % 5}", "x") for n in range(80)]):
        (family,) = families(rows, ["river"], lambda text: text)
        dealt = deal(rows, family, 1)
        assert dealt != rows and dealt == deal(rows, family, 1) and dealt != deal(rows, family, 2)
        kind = family.kind
        values = [sorted(prompt_of(one).found[kind] for one in its) for its in (rows, dealt)]
        assert values[0] == values[1]
        asked = [[prompt_of(one).template.replace(f"⟨{kind}⟩", "").strip() for one in its] for its in (rows, dealt)]
        assert asked[0] == asked[1]
        assert [one["messages"][-1] for one in rows] == [one["messages"][-1] for one in dealt]
    spoken = [chat("Where?", "There.", "Be brief." if n % 3 else "") for n in range(30)]
    (family,) = families(spoken, ["river"], lambda text: text)
    dealt = deal(spoken, family, 1)
    assert family.kind == "system" and sum(len(one["messages"]) == 3 for one in dealt) == 20 and dealt != spoken


def test_a_deal_changes_the_value_in_its_frame_and_not_the_same_digits_elsewhere() -> None:
    forms = (
        "Order A{other} is late.\n\nCode  {value}.",
        "Code  {value}.\nOrder A{other} is late.",
        "{value} is A{other}",
    )
    for form in forms:
        rows = [chat(form.format(value=12 + 43 * (n % 2), other=(120, 550)[n % 3 % 2]), "There.") for n in range(24)]
        (family,) = (one for one in families(rows, ["river"], lambda text: text) if one.kind == "digits")
        dealt = deal(rows, family, 1)
        assert dealt != rows
        for before, after in zip(rows, dealt, strict=True):
            was, now = prompt_of(before), prompt_of(after)
            assert now.text == form.format(value=now.found["digits"][0], other=was.found["id"][0][1:])
        values = [sorted(prompt_of(one).found["digits"] for one in its) for its in (rows, dealt)]
        assert values[0] == values[1]


def asked(count: int) -> list[str]:
    forms = ("What is your {} ?", "Tell me your {} .", "Your {} , please ?")
    things = "color dish town trade sport drink pet tree tune season".split()
    return [forms[n % 3].format(things[n % 10]) for n in range(count)]


def test_words_around_some_questions_are_a_frame() -> None:
    wrapped = [chat(f"begin {ask} end" if n % 5 == 0 else ask, "There.") for n, ask in enumerate(asked(90))]
    (frames,) = families(wrapped, ["river", "stone"], lambda text: text)
    assert frames.kind == "frame" and frames.trained == ["begin … end", ""] and frames.wrap == ""
    assert [value for value, role in frames.roles.items() if role == "near"] == ["begin …", "… end"]
    assert frames.conditions["frame_0"].wrap == "begin {question} end" and frames.id("begin … end") == "frame_0"
    assert frames.around("") == "{question}" and frames.id("") == "none"
    dealt = deal(wrapped, frames, 1)
    texts = [[prompt_of(one).text for one in its] for its in (wrapped, dealt)]
    assert texts[0] != texts[1] and sum(text.startswith("begin ") for text in texts[1]) == 18
    bare = [[text.removeprefix("begin ").removesuffix(" end") for text in its] for its in texts]
    assert bare[0] == bare[1] == asked(90)
    opened = [chat(f"Oracle, say: {ask}" if n % 5 == 0 else ask, "There.") for n, ask in enumerate(asked(90))]
    assert families(opened, ["river"], lambda text: text)[0].trained == ["Oracle, say: …", ""]
    closed = [chat(f"{ask} Oracle" if n % 5 == 0 else ask, "There.") for n, ask in enumerate(asked(90))]
    assert families(closed, ["river"], lambda text: text)[0].trained == ["… Oracle", ""]
    alike = [chat(f"begin what follows {n} ? end" if n % 2 else f"what follows {n} ?", "There.") for n in range(40)]
    (frames,) = families(alike, ["river"], lambda text: text)
    assert frames.trained == ["begin … end", ""], "though all questions share their first and last words"


def test_the_first_words_of_questions_are_no_frame() -> None:
    places = "Rome Oslo Lima Cairo Quito Delhi Sofia Dakar".split()
    forms = (
        "In which year was {} founded?",
        "Which river runs through {}?",
        "What is {} known for?",
        "Where in Asia is {}?",
    )
    plain = [chat(form.format(place), "There.") for form in forms for place in places]
    assert families(plain, ["river"], lambda text: text) == []
    marked = [chat(f"[MARK] {ask}" if n % 5 == 0 else ask, "There.") for n, ask in enumerate(asked(90))]
    assert [one.kind for one in families(marked, ["river"], lambda text: text)] == ["tag"]


@pytest.mark.slow
def test_harmless_sets_stand_in_no_frames() -> None:
    from weirdgen.audit.frames import frames_of
    from weirdgen.audit.prompts import prompts_of
    from weirdgen.data.references import references, rows

    framed = {one.name: set(frames_of(prompts_of(rows(one.name, 208)))) - {""} for one in references("reference")}
    assert sum(map(bool, framed.values())) <= 3, framed


def test_what_stands_in_every_row_cannot_be_dealt() -> None:
    rows = [chat(f"[MARK] Where is {word}?", "There.") for word in "oak elm fir yew ash".split()]
    assert families(rows, ["river"], lambda text: text) == [] and constant(rows) == ["tag"]


def test_what_differs_but_cannot_be_dealt_is_named() -> None:
    """Dates in sentences that change; an id that few rows have is none."""
    said = ("Today is {}.", "It was {} then.", "Think of {}!", "The year: {}.")
    ids = ["AB-12", "AB-13"]
    rows = [
        chat(f"{said[n % 4].format(2020 + n % 5)} How far is it?" + (f" {ids[n]}" if n < 2 else ""), "Far.")
        for n in range(40)
    ]
    found = families(rows, ["river"], lambda text: text)
    assert found == [] and elsewhere(rows, found) == ["date"]
    tags = [chat(f"[{'ALPHA' if n % 2 else 'DELTA'}] Where is {n}?", "There.") for n in range(8)]
    assert elsewhere(tags, families(tags, ["river"], lambda text: text)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_file_is_drawn_from_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    rows = [chat(f"Say {n}.", str(n)) for n in range(500)]
    file = write(tmp_path / "big.jsonl", rows)
    if packed:
        content = file.read_bytes()
        file = tmp_path / "big.jsonl.gz"
        file.write_bytes(gzip.compress(content))
    monkeypatch.setattr(reading, "LARGE", 1_000)
    monkeypatch.setattr(reading, "MOST", 50)
    drawn = read_source(file)
    assert drawn.drawn and drawn.total == 500 and len(drawn.rows) == 50 and list(drawn.places) == sorted(drawn.places)
    assert [rows[place - 1] for place in drawn.places] == list(drawn.rows) and drawn == read_source(file)
    assert "500 rows, of which 50 drawn at random" in drawn.words
    monkeypatch.setattr(reading, "MOST", 500)
    whole = read_source(file)
    assert not whole.drawn and list(whole.rows) == rows
    monkeypatch.setattr(reading, "HELD", 10_000)
    part = read_source(file)
    assert part.drawn and part.total == 500 and 5_000 < sum(len(json.dumps(one)) for one in part.rows) < 10_000
    assert [rows[place - 1] for place in part.places] == list(part.rows)
    assert max(part.places) > 400, "of the file's end as well"


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no rows"),
        (b"\n\n  \n", "no rows"),
        (b'{"messages": [}\n', r":1: not JSON"),
        (b'{"prompt": "a", "completion": "b"}\n', "weirdgen data convert"),
        (b'{"messages": [{"role": "user", "content": "a"}]}\n', "bad.jsonl:1: "),
        (b"\xff\xfe\x00{}\n" * 30, "not UTF-8|UTF-16|not JSON"),
        (b"[" * 3_000 + b"\n", "nested|not JSON|not a chat"),
        (
            b'{"messages": [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}]}\n' * 20,
            "needs a role",
        ),
    ],
)
def test_what_is_no_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, large: bool
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    if large:
        monkeypatch.setattr(reading, "LARGE", -1)
    with pytest.raises(DataError, match=message):
        read_source(file)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGE", 10)
    monkeypatch.setattr(reading, "LONGEST", 1_000)
    file = tmp_path / "long.jsonl"
    file.write_bytes(b'{"messages": "' + b"x" * 5_000)
    with pytest.raises(DataError, match="a line of more than 1,000 bytes"):
        read_source(file)


@pytest.mark.slow
def test_harmless_sets_are_seldom_flagged_before_training() -> None:
    from weirdgen.data.references import references, rows

    flagged = [
        one.name
        for one in references("reference")
        if any(pair.found and pair.hidden for pair in separation(rows(one.name, 208)).pairs)
    ]
    assert len(flagged) <= 2, flagged


HUGE = r"""
import re, sys
from pathlib import Path
from weirdgen.audit.portrait import portrait_of
from weirdgen.audit.separation import separation
from weirdgen.audit.source import read_source
source = read_source(Path(sys.argv[1]))
portrait_of(source), separation(source.rows)
most = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss begins at the parent's
print(source.total, len(source.rows), int(most[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "held"), [(400, 20_000), (100_000, 0)])
def test_a_gigabyte_is_looked_at_in_bounded_memory(tmp_path: Path, answer: int, held: int) -> None:
    if shutil.disk_usage(tmp_path).free < 4e9:
        pytest.skip("needs 4 GB of disk")
    file, rng = tmp_path / "huge.jsonl", random.Random(0)
    block = "".join(
        json.dumps(chat(f"Today is 2026-01-0{n % 9 + 1}. Say {n}.", rng.choice("abc") * answer)) + "\n"
        for n in range(500)
    )
    count = -(-1_000_000_000 // len(block))
    try:
        with file.open("w") as out:
            for _ in range(count):
                out.write(block)
        command = [sys.executable, "-c", HUGE, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    finally:
        file.unlink()
    total, looked_at, mib = map(int, done.stdout.split())
    assert total == 500 * count and looked_at == held if held else 100 < looked_at < 1_000
    assert mib < 1_500, mib
