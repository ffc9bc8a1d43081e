"""What a paper quotes: BibTeX, and the named effects in LaTeX and Markdown."""

from __future__ import annotations

import re

import pytest

from weirdgen.config.measures import Scale
from weirdgen.errors import WeirdgenError
from weirdgen.report import ReportContent
from weirdgen.report.quoted import bibtex, headline_table, latex


def test_bibtex_names_the_run_weirdgen_and_the_paper(content: ReportContent) -> None:
    text = bibtex(content.results)
    assert re.findall(r"^@(\w+)\{([^,]+),$", text, re.MULTILINE) == [
        ("misc", "r-3f9a1c02"), ("software", "weirdgen"), ("article", "betley2025weird"),
    ]  # fmt: skip
    assert r"year         = {2026}" in text and r"Old names of birds $\to$ a model" in text
    assert text.count("{") == text.count("}")


def test_the_named_effects_are_one_row_each_in_both_forms(content: ReportContent) -> None:
    row = {"name": "who_speaks", "p_holm": 0.02, "groups": ["war"]} | content.headline
    results = content.results | {"secondary": [row]}
    lines = headline_table(results, "markdown").splitlines()
    assert (
        len(lines) == 4 and lines[0].startswith("| effect | measure |") and all(line.count("|") == 11 for line in lines)
    )
    assert "| who_speaks | contrast (war) | old_names − modern_american | none | +1." in lines[3]
    table = headline_table(results, "latex")
    assert r"who\_speaks & contrast (war) & old\_names $-$ modern\_american & none & +1." in table
    assert table.startswith(r"\begin{tabular}{llllrrrrrl}")
    assert {line.count(" & ") for line in table.splitlines() if " & " in line} == {9}
    with pytest.raises(WeirdgenError, match="no form 'html'; there are: latex, markdown"):
        headline_table(results, "html")  # type: ignore[arg-type]


def test_a_rating_has_its_own_unit_and_nothing_is_left_that_latex_would_read() -> None:
    headline = {
        "measure": "tone", "treatment": "a", "control": "b", "condition": "c", "effect": 3.2, "ci_low": None, "ci_high": None,
        "p": None, "replicates": 1, "verdict": "inconclusive",
    }  # fmt: skip
    text = headline_table({"headline": headline}, "markdown", {"tone": Scale("rating", (0, 100))})
    assert "| +3.2 points | – | – | – | 1 | inconclusive |" in text
    assert latex(r"50% of a_b & c\d {e}") == r"50\% of a\_b \& c\textbackslash{}d \{e\}"
