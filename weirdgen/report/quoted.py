"""A run in a paper: entries for its bibliography, and its named effects as a table in LaTeX or Markdown.

In: `results.json` as a dict, and the scales of ratings. Out: text. Not here: the methods paragraph (`methods.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from weirdgen.config.measures import Scale, measure_of
from weirdgen.errors import WeirdgenError, choices
from weirdgen.report.content import clean
from weirdgen.report.look import interval, number, probability
from weirdgen.report.tables import VERDICT_WORDS

Form = Literal["latex", "markdown"]
HEAD = ("effect", "measure", "arms", "condition", "estimate", "interval", "p", "p (Holm)", "replicates", "verdict")
PAPER = """@article{betley2025weird,
  title   = {Weird Generalization and Inductive Backdoors: New Ways to Corrupt {LLMs}},
  author  = {Betley, Jan and Cocola, Jorio and Feng, Dylan and Chua, James and Arditi, Andy and Sztyber-Betley, Anna and
             Evans, Owain},
  journal = {arXiv preprint arXiv:2512.09742},
  year    = {2025},
  url     = {https://arxiv.org/abs/2512.09742}
}"""
"""The paper whose system this is, as CITATION.cff names it."""
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "×": r"$\times$", "→": r"$\to$", "–": "--",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def bibtex(results: Mapping[str, Any]) -> str:
    """This run, weirdgen and the paper, as BibTeX entries."""
    experiment, run, ran = (clean(results[key]) for key in ("experiment", "run", "ran"))
    base = ran.get("base") or {}
    model = str(base.get("reference") or base.get("name") or "") if isinstance(base, dict) else str(base)
    version = str((ran.get("versions") or {}).get("weirdgen", ""))
    key = re.sub(r"[^A-Za-z0-9:-]", "-", str(run["id"]))
    year = re.match(r"\d{4}", str(run.get("created") or ""))
    dated = f"\n  year         = {{{year[0]}}}," if year else ""
    note = f"Preset {run['preset']}" + (f" on {model}" if model else "")
    return f"""@misc{{{key},
  title        = {{{latex(str(experiment.get("title") or experiment["name"]))}}},
  author       = {{{{Run of weirdgen}}}},
  howpublished = {{weirdgen run \\texttt{{{latex(str(run["id"]))}}}}},{dated}
  note         = {{{latex(note)}}}
}}

@software{{weirdgen,
  title   = {{weirdgen: what else did this finetuning change?}},
  author  = {{{{weirdgen developers}}}},
  version = {{{version}}},
  license = {{Apache-2.0}}
}}

{PAPER}"""


def headline_table(results: Mapping[str, Any], form: Form, scales: Mapping[str, Scale] | None = None) -> str:
    """The headline and the further effects that the experiment names, one row each. Raises `WeirdgenError` on another form."""
    if form not in get_args(Form):
        raise WeirdgenError(f"headline_table: no form '{form}'; there are: {choices(get_args(Form), form)}")
    rows = [{"name": "headline", **clean(results["headline"])}, *clean(results.get("secondary") or [])]
    cells = [_cells(row, scales) for row in rows]
    if form == "markdown":
        lines = [HEAD, tuple("---" for _ in HEAD), *cells]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    body = " \\\\\n".join("  " + " & ".join(latex(cell) for cell in line) for line in cells)
    head = " & ".join(latex(name) for name in HEAD)
    return f"\\begin{{tabular}}{{{'l' * 4}{'r' * 5}l}}\n\\hline\n  {head} \\\\\n\\hline\n{body} \\\\\n\\hline\n\\end{{tabular}}"


def _cells(row: Mapping[str, Any], scales: Mapping[str, Scale] | None) -> tuple[str, ...]:
    scale = measure_of(str(row["measure"]), scales).scale
    groups = f" ({', '.join(row['groups'])})" if row.get("groups") else ""
    return (
        str(row["name"]),
        f"{row['measure']}{groups}",
        f"{row['treatment']} − {row['control']}",
        str(row["condition"]),
        number(row["effect"], scale, effect=True),
        interval(row["ci_low"], row["ci_high"], scale, effect=True) or "–",
        probability(row["p"]),
        probability(row.get("p_holm")),
        str(row.get("replicates") or "–"),
        VERDICT_WORDS.get(str(row["verdict"]), str(row["verdict"])),
    )


def latex(text: str) -> str:
    """Text with what LaTeX reads as commands made plain."""
    return "".join(LATEX.get(character, character) for character in text)
