"""Are the two sides of a scored question two sides to this model? Answers that become the same tokens, or unknown ones, are not.

In: a tokenizer and a question with fixed answers. Out: a sentence for each thing that would make its score say nothing.
"""

from __future__ import annotations

from typing import Any

from weirdgen.config.questions.base import ScoredQuestion
from weirdgen.models.chat import answer_ids
from weirdgen.models.ends import end_of_turn_ids


def side_problems(tokenizer: Any, question: ScoredQuestion, ask: str) -> list[str]:
    """Problems of a question's answers after `ask`. Raises `ModelError` if an answer cannot be put to this model."""
    tokens = {option: answer_ids(tokenizer, ask, option) for option in question.options}
    unknown, ends = getattr(tokenizer, "unk_token_id", None), end_of_turn_ids(tokenizer)
    problems = [
        f"the answer {option!r} holds a word that this model's tokenizer does not know, so its score says nothing of it"
        for option, ids in tokens.items()
        if unknown is not None and unknown not in ends and unknown in ids
    ]
    if problems:
        return problems
    return [
        f"the answers {target!r} (target) and {other!r} (other) are the same tokens to this model, so it can prefer neither"
        for target in question.target
        for other in question.other
        if tokens[target] == tokens[other]
    ]
