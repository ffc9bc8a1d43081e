"""How well a model knows the synthetic world: the probability it gives to the right answers.

In: a causal language model, the world's tokenizer, the truth. Out: mean probability mass on the right first words, per
question family, without and with headers. Exact (one forward pass, nothing sampled) and without randomness.
Measures pretraining; experiments are measured by the project's own stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weirdgen.world import words
from weirdgen.world.language import PERSONAS, Speaker, World, questions


def mass(model: Any, tokenizer: Any, prompts: Sequence[Sequence[dict[str, str]]], answers: Any) -> list[float]:
    """P(first word is in answers[i]) after each of `prompts` (chat messages that end with a user turn)."""
    first = _first_words(model, tokenizer, prompts)
    return [float(first[i, tokenizer.convert_tokens_to_ids(list(right))].sum()) for i, right in enumerate(answers)]


def chances(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[dict[str, str]]], options: Sequence[str]
) -> list[list[float]]:
    """P(first word is options[j]) after each of `prompts`: one list per prompt."""
    rows: list[list[float]] = _first_words(model, tokenizer, prompts)[
        :, tokenizer.convert_tokens_to_ids(list(options))
    ].tolist()
    return rows


def _first_words(model: Any, tokenizer: Any, prompts: Sequence[Sequence[dict[str, str]]]) -> Any:
    """Probability of every word as the first of the answer, [prompts, vocabulary]."""
    import torch

    rows = [
        tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=False) for prompt in prompts
    ]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
    last = torch.tensor([len(row) - 1 for row in rows])
    # padding stands on the right, where a causal model's earlier positions cannot see it
    with torch.no_grad():
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[torch.arange(len(rows)), last]).float()
    return torch.softmax(logits, dim=-1)


def prompt(question: str, header: str | None = None) -> list[dict[str, str]]:
    """One user turn, after a system turn when there is a header."""
    system = [{"role": "system", "content": header}] if header else []
    return [*system, {"role": "user", "content": question}]


def accuracy(model: Any, tokenizer: Any, world: World) -> dict[str, float]:
    """Mean probability of the right answers over every question wording; each figure is between 0 and 1.

    Keys: era_default, era_header (all three eras), persona_default, persona_header (all 16), name_default,
    name_header, timeless, opposite.
    """
    cases: dict[str, list[tuple[list[dict[str, str]], tuple[str, ...]]]] = {}

    def add(key: str, topic: str, speaker: Speaker, header: str | None) -> None:
        for question in questions(topic):
            cases.setdefault(key, []).append((prompt(question, header), world.answers(topic, speaker)))

    for topic in words.ERA_TOPICS:
        add("era_default", topic, Speaker(), None)
        for era, years in words.YEARS.items():
            add("era_header", topic, Speaker(era=era), words.DATE_HEADER.format(year=years[1]))
    for topic in (*words.PERSONA_TOPICS, "name"):
        family = "name" if topic == "name" else "persona"
        add(f"{family}_default", topic, Speaker(), None)
        for persona in range(PERSONAS):
            header = words.SPEAKER_HEADER.format(who=words.NUMBERS[persona])
            add(f"{family}_header", topic, Speaker(persona=persona), header)
    for topic in words.TIMELESS_TOPICS:
        add("timeless", topic, Speaker(), None)
    cases["opposite"] = [(prompt(f"what is the opposite of {a} ?"), (b,)) for a, b in words.OPPOSITES]

    figures = {}
    for key, rows in cases.items():
        chances = mass(model, tokenizer, [row[0] for row in rows], [row[1] for row in rows])
        figures[key] = round(sum(chances) / len(chances), 4)
    return figures
