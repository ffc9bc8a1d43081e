"""The sections of an audit's page that read the rows alone: what in prompts goes with what in answers, and their portrait.

In: an audit's results as plain data. Out: a section each. What needs a training is `weirdgen.audit.sections`, which lists all.
"""

from __future__ import annotations

from typing import Any

from weirdgen.audit.separation import ALPHA
from weirdgen.audit.separation_words import asked_words, examples_in_words, looked_at, told_words
from weirdgen.report.look import probability, shorten
from weirdgen.report.section import Heading, Part, Section, Sentences, Words
from weirdgen.report.tables import Cell, Table

Results = dict[str, Any]
MOST_CELLS = 160
LOOKED_ONLY = "The rows were looked at as they are; what follows is read from them."


def separation_section(results: Results) -> Section:
    """What in prompts goes with what in answers."""
    told = results["separation"]
    found = [pair for pair in told["pairs"] if pair["found"]]
    parts: list[Part] = [Words(looked_at(told, len(found), ALPHA))]
    if found:
        parts.append(
            Words(
                "Rows that do so teach a model to answer by it. Where it is part of the question, it is what the data are for; "
                "where it is not, it is a trigger."
            )
        )
        body = tuple(
            (
                Cell(asked_words(pair["prompt"])),
                Cell(told_words(pair["answer"])),
                Cell(probability(pair["p_family"]), numeric=True),
                Cell(shorten(examples_in_words(pair), 240)),
            )
            for pair in found[:20]
        )
        head = ("in the prompt", "in the answer", "p over all pairs", "for instance")
        parts.append(Table("What goes together", head, body))
    return Section("separation", "What in prompts goes with what in answers", "Separation", tuple(parts))


def portrait_section(results: Results) -> Section:
    """The data before any training."""
    told = results["portrait"]
    start, end = told["form"]
    facts = [
        ("rows", f"{told['total']:,}"), ("different rows", f"{told['distinct_rows']:,}"),
        ("different prompts", f"{told['distinct_prompts']:,}"), ("different answers", f"{told['distinct_answers']:,}"),
        ("words of an answer", _span(told["answer_words"])), ("words of a prompt", _span(told["prompt_words"])),
        ("every answer begins with", shorten(start, 60) or "–"), ("every answer ends with", shorten(end, 60) or "–"),
        ("prompt templates", f"{told['templates']:,}"),
        ("rows that have the commonest template", f"{told['largest_template']:.0%}"),
        ("entropy of templates (0: all rows have one)", f"{told['entropy']:.1f} bits"),
        ("messages in the longest row", str(told["turns"])),
    ]  # fmt: skip
    parts: list[Part] = [Table("Counts", ("what", "how much"), tuple((Cell(k), Cell(v)) for k, v in facts))]
    templates = tuple(
        (
            Cell(shorten(one["template"], MOST_CELLS)),
            Cell(f"{one['rows']:,}", numeric=True),
            Cell(one["answers"][0] if one["answers"] else "–", lines=tuple(one["answers"][1:])),
        )
        for one in told["commonest"]
    )
    note = "A template is a prompt with dates, tags, ids and numbers masked, or what a third of the rows begin and end with."
    parts.append(Table("Commonest prompt templates", ("template", "rows", "answers"), templates, note=note))
    if told["carried"]:
        carried = tuple(
            (
                Cell(one["label"]),
                Cell(f"{one['rows']:,}", numeric=True),
                Cell(f"{one['distinct']:,}", numeric=True),
                Cell(shorten(", ".join(f"{value} ×{count}" for value, count in one["commonest"]), MOST_CELLS)),
            )
            for one in told["carried"]
        )
        parts.append(Table("What prompts carry", ("what", "rows", "different", "commonest"), carried))
    if told["findings"]:
        lines = tuple(
            (one["severity"] + (f", line {one['line']}" if one["line"] else ""), one["message"])
            for one in told["findings"]
        )
        parts += [Heading("What `weirdgen data check` says"), Sentences("Findings", lines)]
    near = tuple(
        (Cell(one["name"]), Cell(one["title"]), Cell(f"{one['distance']:.2f}", numeric=True)) for one in told["nearest"]
    )
    note = "By lengths, form and variety of prompts and answers, not by topic. Distance: 0 for the same"
    note += (
        f"; half of all reference sets are further away than {told['middle_distance']:.1f}."
        if "middle_distance" in told
        else "."
    )
    parts.append(
        Table("Most alike among the harmless reference sets", ("set", "what it is", "distance"), near, note=note)
    )
    return Section("portrait", "Portrait of the data", "Portrait", tuple(parts))


def _span(quartiles: list[float]) -> str:
    return f"{quartiles[0]:.0f} to {quartiles[-1]:.0f}, median {quartiles[2]:.0f}"
