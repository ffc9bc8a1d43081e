"""Label judges: a language model picks one of a closed list of labels.

In: a reply's last line, or a log-probability for each label. Out: 1 if the label is positive, else 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from weirdgen.config.judges.base import STATUS_WORDS, PromptedJudge, Verdict, quoted, unparseable


class Label(PromptedJudge):
    """Closed labels from a language model: 1 if the label is in `positive`, else 0.

    A label called `refusal` or `incoherent` (in any case) that is not positive is that status, not a 0.
    """

    kind: Literal["label"]
    labels: tuple[str, ...] = Field(min_length=2)
    positive: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _closed(self) -> Label:
        folded = [label.strip().casefold() for label in self.labels]
        if "" in folded or len(set(folded)) < len(folded):
            raise ValueError("labels must be distinct, ignoring case, and not empty")
        if stray := set(self.positive) - set(self.labels):
            raise ValueError(f"positive names {sorted(stray)[0]!r}, which is not in labels")
        if set(self.positive) == set(self.labels):
            raise ValueError("every label is positive, so the rate would always be 1")
        return self

    def in_words(self) -> str:
        labels = f"one of {len(self.labels)} labels"
        return f"A language model gives each answer {labels}; an answer counts where it is {quoted(self.positive)}."

    def words(self) -> tuple[str, ...]:
        return self.labels

    def read(self, word: str) -> Verdict:
        for label in self.labels:
            if label.strip().casefold() == word.casefold():
                status = STATUS_WORDS.get(label.strip().casefold())
                if status and label not in self.positive:
                    return Verdict(status, None, label)
                return Verdict("ok", float(label in self.positive), label)
        return unparseable(word)

    def word_of(self, verdict: Verdict) -> str:
        return verdict.label

    def longest_reply(self) -> int:
        return max(len(label) for label in self.labels)

    def changed(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Any:
        return first["label"] != second["label"]
