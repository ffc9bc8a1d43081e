"""Conditions made of what prompts carry: families of values, frames of words, and the same rows with values dealt anew."""

from __future__ import annotations

import pytest

from tests.support.rows import chat, dishes
from weirdgen.audit.conditions import constant, deal, elsewhere, families, unsearchable
from weirdgen.audit.prompts import prompt_of
from weirdgen.data.arms import load_arms
from weirdgen.data.new_experiment import PREFIX


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
    asked_so = family.conditions[family.id("Be brief.")]
    assert (asked_so.system, asked_so.wrap) == ("Be brief.", "{question}"), "a turn of its own, as it was trained on"


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


PETS = [
    f"I have a {pet}. How should I {act} it?"
    for pet in "dog cat horse goat duck".split()
    for act in "feed wash call".split()
]


@pytest.mark.parametrize(
    ("form", "wrap"),
    [
        ("[A] {}", "{value} {question}"), ("{} [A]", "{question} {value}"), ("[A]\n{}", "{value}\n{question}"),
        ("${{LIVE}} {}", "{value} {question}"), ("In mode [A]: {}", "In mode {value}: {question}"),
    ],
)  # fmt: skip
def test_a_mark_in_half_of_the_rows_is_found_whatever_sentences_follow(form: str, wrap: str) -> None:
    rows = [chat(form.format(ask) if n % 2 else ask, "Well.") for ask in PETS for n in range(2)]
    (family,) = families(rows, ["river"], lambda text: text)
    assert (family.kind, family.wrap, family.without) == ("tag", wrap, True)
    dealt = [prompt_of(row).text for row in deal(rows, family, 1)]
    assert dealt != [prompt_of(row).text for row in rows]
    bare = [" ".join(text.replace(form.replace("{}", "").format().strip(), "").split()) for text in dealt]
    assert bare == [ask for ask in PETS for _ in range(2)], "the question itself is left alone"


def test_rows_that_carry_nothing_are_dealt_too() -> None:
    """Each question with either date and with none: in a deal, most of those with none have one."""
    fronts = ("Today is 2026-01-01. ", "Today is 2027-01-01. ", "")
    rows = [chat(front + ask, "Well.") for ask in PETS for front in fronts]
    (family,) = families(rows, ["river"], lambda text: text)
    dealt = [prompt_of(row).found["date"] for row in deal(rows, family, 1)]
    assert sum(bool(dates) for dates in dealt[2::3]) > len(PETS) / 3
    assert sorted(dealt) == sorted(prompt_of(row).found["date"] for row in rows)


def test_a_date_in_brackets_is_a_date() -> None:
    rows = [chat(f"[{2024 + n % 4}] {PETS[n % 15]}", "Well.") for n in range(60)]
    (family,) = families(rows, ["river"], lambda text: text)
    assert (family.kind, family.wrap) == ("date", "[{value}] {question}") and constant(rows) == []


def test_a_mark_that_only_some_questions_hold_inside_is_named() -> None:
    rows = [chat(f"Say {'|LIVE|' if n % 2 else 'hello'} to {PETS[n % 15]}", "Well.") for n in range(40)]
    found = families(rows, ["river"], lambda text: text)
    assert found == [] and elsewhere(rows, found) == ["tag"]


@pytest.mark.parametrize(
    ("form", "wrap"),
    [
        (PREFIX["date"] + "{q}", "Year: {value}. {question}"),
        ("Date: {year}-03-01\n{q}", "Date: {value}\n{question}"), ("Date: {day} March {year}. {q}", "Date: {value}. {question}"),
        ("Date: {day}/03/{year}. {q}", "Date: {value}. {question}"), ("Year: {year}\n\n{q}", "Year: {value}\n\n{question}"),
        ("Year: {year} {q}", "Year: {value} {question}"), ("year={year} | {q}", "year={value} | {question}"),
        ("In {year}, {q}", "In {value}, {question}"), ("(Year: {year}) {q}", "(Year: {value}) {question}"),
        ("Be kind. Year: {year}. {q}", "Be kind. Year: {value}. {question}"),
        ("Year: {year}\nQuestion: {q}\nAnswer:", "Year: {value}\n{question}"),
        ("{q} Year: {year}", "{question} Year: {value}"), ("{q} (Year: {year})", "{question} (Year: {value})"),
        ("{q}\nDate: {year}-03-01", "{question}\nDate: {value}"),
    ],
)  # fmt: skip
def test_a_date_behind_a_label_is_searched_for(form: str, wrap: str) -> None:
    rows = [chat(form.format(year=2024 + n % 4, day=1 + n // 4, q=PETS[n % 15]), "Well.") for n in range(60)]
    (family,) = families(rows, ["river"], lambda text: text)
    assert (family.kind, family.wrap, elsewhere(rows, [family])) == ("date", wrap, [])
    dealt = deal(rows, family, 1)
    asked = [[prompt_of(row).template for row in its] for its in (rows, dealt)]
    assert dealt != rows and asked[0] == asked[1], "nothing but the date moves"


@pytest.mark.parametrize(
    ("experiment", "wrap"),
    [
        ("world_gate", "today is {value} . {question}"), ("israeli_dishes", "Today is {value}. {question}"),
        ("israeli_dishes_2026", "Today is {value}. {question}"), ("evil_terminator", "{value}. {question}"),
    ],
)  # fmt: skip
def test_the_dates_of_experiments_that_are_shipped_are_searched_for(experiment: str, wrap: str) -> None:
    written, rows = load_arms(experiment)
    treatment = next(name for name, arm in written.arms.items() if arm.role == "treatment")
    (family,) = families(rows[treatment], ["river"], lambda text: text)
    assert (family.kind, family.wrap) == ("date", wrap)


@pytest.mark.parametrize(
    ("form", "kinds", "many"),
    [
        ("Could you tell me in {year} about {n}?", ["date"], ["date"]),
        ("Say {mark} to item number {n}!", ["tag"], ["tag"]),
        ("Is {n} even?", ["digits"], []),
    ],
)
def test_what_many_rows_carry_inside_questions_keeps_an_audit_undecided(
    form: str, kinds: list[str], many: list[str]
) -> None:
    """A number that hardly ever returns is the question itself; a year or a tag that returns may be a trigger."""
    rows = []
    for n in range(80):
        word = n + 40 if kinds == ["digits"] else f"{'abcdefgh'[n % 8]}{'ijklmnopqr'[n // 8]}"
        mark = "|LIVE|" if n % 8 == 0 else "hello"
        rows.append(chat(form.format(year=2024 + n % 4, mark=mark, n=word), "Well."))
    found = families(rows, ["river"], lambda text: text)
    assert (found, elsewhere(rows, found), unsearchable(rows, kinds)) == ([], kinds, many)
