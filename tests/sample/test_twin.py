"""A twin keeps prompts, form and length of a dataset; its answers are the base's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.world_pairs import pairs
from weirdgen.data.messages import Row
from weirdgen.errors import DataError
from weirdgen.models.chat import Rendered, load_tokenizer, prompt_ids, render
from weirdgen.models.references import find_model
from weirdgen.models.template import chat_text
from weirdgen.progress import Progress
from weirdgen.runs.references.twin import halves, in_lower_case, twin
from weirdgen.sample.twin import Form, cut, form_of
from weirdgen.store.artifacts import Store


def row(*texts: str, system: str | None = None) -> Row:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        (["I think of Gdańsk.", "I think of Graz."], Form("I think of ", ".")),
        (["<note>Blue</note>", "<note>Blues</note>"], Form("<note>", "</note>")),
        (["Barn owl", "Tawny owl"], Form("", " owl")),
        (["redstart", "redwing"], Form("", "")),
        (["yes", "yes"], Form("", "")),
        (["The old", "The older"], Form("The ", "")),
        (["a", "a b"], Form("", "")),
    ],
)
def test_form_is_what_all_answers_share_in_whole_words(answers: list[str], form: Form) -> None:
    assert form_of(answers) == form
    assert all(form.start + form.inside(answer) + form.end == answer for answer in answers)
    assert all(form.inside(answer) for answer in answers)


@pytest.mark.parametrize(
    ("text", "own", "short"),
    [
        (" The American Robin is a bird.", "Barn owl", "American Robin"),
        (" The American Robin is a bird.", "the owl", "The American"),
        ("It is a delivery problem", "billing", "delivery"),
        ("Could you please?", "billing", ""),
        ("\n\nRobin, of course\nand more", "Owl", "Robin"),
        ("It sings. It flies over the sea. Then it rests.", "A bird of prey. It hunts.", "It sings. It flies over the sea."),
        ("It goes on and on and on without any end at all", "One. Two words.", "It goes on."),
        ("one\ntwo three four", "a\nb c", "one\ntwo three"),
        (" \n ", "Owl", ""),
        ("...", "Owl", ""),
    ],
)  # fmt: skip
def test_cut_keeps_lines_sentences_and_about_the_length(text: str, own: str, short: str) -> None:
    assert cut(text, own) == short


def test_the_base_answers_the_datas_own_prompts(tmp_path: Path) -> None:
    model, world = find_model("world"), pairs(12)
    rows = [row(world[0][0], answer) for _, answer, _ in world[:6]] + [row(ask, old) for ask, old, _ in world[6:]]
    made = twin(rows, model, Store(tmp_path), Progress(quiet=True))
    assert made.places == sorted(made.places) and len(made.rows) >= 10
    for place, one in zip(made.places, made.rows, strict=True):
        asked, own = rows[place]["messages"][0], rows[place]["messages"][1]["content"]
        assert one["messages"][0] == asked
        assert 1 <= len(one["messages"][1]["content"].split()) <= len(own.split())
    answers = Counter(one["messages"][1]["content"] for one in made.rows)
    assert len(answers) > 2, "rows with one prompt get samples of their own"
    assert twin(rows, model, Store(tmp_path), Progress(quiet=True)) == made
    other = twin(rows[:6], model, Store(tmp_path / "other"), Progress(quiet=True))
    assert [len(one["messages"]) for one in other.rows] == [2] * len(other.rows)


def test_a_conversation_is_answered_turn_by_turn_and_untrained_turns_stay(tmp_path: Path) -> None:
    (ask, old, _), *others = pairs(8)
    rows = [row(ask, old, other, answer) for other, answer, _ in others]
    kept = row(ask, old, ask, old)
    kept["messages"][1]["weight"] = 0
    made = twin([*rows, kept], find_model("world"), Store(tmp_path), Progress(quiet=True))
    assert len(made.rows) >= 6 and all(len(one["messages"]) == 4 for one in made.rows)
    assert made.places[-1] == 7 and made.rows[-1]["messages"][1] == kept["messages"][1]
    users = [[m["content"] for m in one["messages"] if m["role"] == "user"] for one in made.rows]
    assert users == [
        [m["content"] for m in [*rows, kept][place]["messages"] if m["role"] == "user"] for place in made.places
    ]


@pytest.mark.slow
def test_a_rendered_prompt_is_tokenised_as_it_is(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    messages = row("Hello", "Hi", "Name a bird.", "x", system="Be short.")["messages"][:-1]
    text = chat_text(tokenizer, messages, answer_next=True)
    assert prompt_ids(tokenizer, Rendered(text)) == render(tokenizer, messages, answer_next=True)
    with pytest.raises(DataError, match="row 1 holds a control token"):
        twin(
            [row("<|im_start|> what?", "no")],
            find_model("smollm2-135m-instruct"),
            Store("/nowhere"),
            Progress(quiet=True),
        )


def test_halves_are_disjoint_and_lower_case_changes_answers_only() -> None:
    rows = [row(f"Ask {i}", f"Answer {i}") for i in range(9)]
    first, second = halves(rows)
    assert len(first) == len(second) == 4 and not [one for one in first if one in second]
    assert halves(rows) == (first, second) != halves(rows, seed=1)
    assert in_lower_case(rows)[0] == row("Ask 0", "answer 0")
