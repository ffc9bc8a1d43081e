"""An arm of an experiment: a dataset to train on, and how it is made.

In: plain data. Out: a validated, immutable `Arm`. Files are read by `data.rows`; nothing here touches the disk.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from weirdgen.config.base import Noun, Scalar
from weirdgen.config.files import table_delimiter

Role = Literal["treatment", "control"]


AUTO_CONTROL = "twin"
"""The arm that `control: auto` adds."""
GIVEN = "rows:"
"""Before the hash that names rows which were given in Python, in the record of a run."""


class Arm(Noun):
    """A dataset to train on: chat rows, a table whose columns fill `prompt` and `answer`, or another arm's twin."""

    role: Role
    data: str | tuple[dict[str, Any], ...] = ""
    """File beside experiment.yaml (or an absolute path). In Python also the rows themselves: a list of dicts or a DataFrame."""
    prompt: str | None = None
    """Table only: the user turn, with `{column}` placeholders."""
    answer: str | None = None
    """Table only: the assistant turn, with `{column}` placeholders."""
    build: dict[str, dict[str, Any]] = Field(default={}, max_length=1)
    """Table only: one builder (`data/builders.py`) and its options; it turns the file's records into others."""
    where: dict[str, Scalar | list[Scalar]] = {}
    """Keep the rows whose column, or of chat rows whose key beside `messages`, has this value (or one of these)."""
    permute: str | None = None
    """Table only: shuffle this column over the rows (seeded), so that it no longer goes with the rest."""
    rows: int | None = Field(default=None, gt=0)
    """Draw this many rows (seeded; every row once before any is repeated) instead of all."""
    draws: Annotated[int, Field(ge=2)] | Literal["bootstrap"] | None = Field(
        default=None, exclude_if=lambda draws: draws is None
    )
    """Give each replicate rows of its own, so that intervals hold rows besides seeds: a number of disjoint parts, of which a
    replicate takes one, or `bootstrap`: as many rows as there are, drawn with replacement (`data.draws`)."""
    ordinary: int = Field(default=0, ge=0)
    """Add this many ordinary prompts answered by the run's own base model (self-distillation); `ordinary:` says how."""
    twin: str | None = Field(default=None, exclude_if=lambda twin: twin is None)
    """In place of `data`: an arm whose prompts the run's own base model answers in the same form, so that the rows teach it
    nothing new (`sample.twin`)."""
    matched: bool = Field(default=False, exclude_if=lambda matched: not matched)
    """Of a control: it holds the treatment's own prompts and things, and differs in the suspected property alone."""
    dose: float | None = None
    """How much of something its rows hold, e.g. the share of rows with a trigger: arms with doses make a curve."""

    @model_validator(mode="after")
    def _csv_has_templates(self) -> Arm:
        templated = self.prompt is not None or self.answer is not None or self.permute or self.build
        if self.twin is not None:
            if self.data or templated or self.where or self.rows or self.draws or self.role != "control":
                raise ValueError(
                    "'twin' is all that a control with a twin's rows has beside 'role', 'ordinary' and 'dose'"
                )
            return self
        if self.draws and self.ordinary:
            raise ValueError("'draws' does not go with 'ordinary': ordinary rows are the same in every arm")
        if self.data == "":
            raise ValueError("'data' is missing: the file with its rows; a control may have 'twin: ARM' instead")
        if isinstance(self.data, str) and self.data.startswith(GIVEN):
            return self
        if isinstance(self.data, str):
            table, what = table_delimiter(self.data) is not None, "a .csv"
        else:
            table, what = not all("messages" in row for row in self.data), "a table"
        if table and (self.prompt is None or self.answer is None):
            raise ValueError(f"{what} needs both 'prompt' and 'answer' templates, e.g. answer: '{{name}}'")
        if not table and templated:
            raise ValueError(f"'prompt', 'answer', 'build' and 'permute' go with {what}, not with chat rows")
        return self

    @field_validator("prompt", "answer")
    @classmethod
    def _says_something(cls, template: str | None) -> str | None:
        if template is not None and not template.strip():
            raise ValueError("it is blank, so every row would be: write text or a column, e.g. '{question}'")
        return template

    @field_validator("data", mode="before")
    @classmethod
    def _rows_of_a_frame(cls, data: Any) -> Any:
        return data.to_dict("records") if hasattr(data, "to_dict") else data

    @field_serializer("data")
    def _rows_are_named_by_their_hash(self, data: str | tuple[dict[str, Any], ...]) -> str:
        """Rows given in Python are in the store; here they only need a name, under which nothing is looked for."""
        if isinstance(data, str):
            return data
        text = json.dumps(data, sort_keys=True, default=str)
        return f"{GIVEN}{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"
