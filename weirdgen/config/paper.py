"""`paper.yaml` of an experiment: the paper's numbers, to be drawn next to ours and marked as such.

In: an experiment's folder. Out: plain data for `results["paper"]`, or None where the folder has no such file. Every
figure says from which model and section its numbers come and how they were read. Not here: drawing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weirdgen.config.files import read_yaml
from weirdgen.errors import SpecError

FILE = "paper.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """One number of the paper. `at` labels its row; `arm` is our arm that stands for the paper's (or `base`)."""

    at: str
    arm: str
    value: float = Field(ge=0, le=1)
    low: float | None = None
    high: float | None = None
    question: str = "all"
    """Our question that asks for the same; empty if we have none."""
    condition: str | None = None
    measure: str | None = None


class PaperFigure(_Strict):
    """One figure: rates (fractions) of the paper. `measure` and `condition` say what of ours stands beside them."""

    title: str
    section: str
    model: str
    read: str
    """How the numbers were obtained, and what their intervals are."""
    measure: str
    condition: str = "none"
    points: tuple[Point, ...] = Field(min_length=1)


class Paper(_Strict):
    """The whole file."""

    source: str
    figures: tuple[PaperFigure, ...] = Field(min_length=1)


def load_paper(folder: Path | None) -> dict[str, Any] | None:
    """The paper's numbers of the experiment in `folder`. Raises `SpecError` naming the file and every wrong field."""
    if folder is None or not (file := folder / FILE).is_file():
        return None
    data, lines = read_yaml(file)
    try:
        paper = Paper.model_validate(data)
    except ValidationError as error:
        places = [(lines.at(tuple(problem["loc"])), problem) for problem in error.errors()]
        raise SpecError(
            [f"{at}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for at, problem in places]
        ) from None
    return paper.model_dump(mode="json")
