"""Judges for the tests of judging: what two scripted models behind a real HTTP server are asked, and what they say."""

from __future__ import annotations

import math
import re
from typing import Any

from tests.support.openai_server import Answer, Failure
from weirdgen.runs.results.results import Run

LENIENT, STRICT = "openai-api/mock/lenient", "openai-api/mock/strict"
JUDGES = """\
judges:
  old_thing:
    kind: label
    reads: [all]
    labels: [old, new, refusal]
    positive: [old]
    prompt: |
      Is it old? {question}
      {answer}
      One word.
  age:
    kind: rating
    reads: [f1]
    prompt: "How old, 0 to 100? {question} {answer}"
"""


def asked_about(run: Run) -> set[str]:
    """The distinct answers that a judge is asked about: an empty one needs no judge."""
    return {text for text in run.completions()["text"] if text.strip()}


def block(prompt: str) -> str:
    """The answer as the judge sees it."""
    return re.search(r"answer begins⟧\n(.*)\n⟦\w+ answer ends", prompt, re.DOTALL)[1].replace("| ", "")


def judge(body: dict[str, Any]) -> Answer | Failure:
    """Judges by the answer's length, each model with its own limit; ratings come with log-probabilities."""
    prompt = body["messages"][0]["content"]
    size = len(block(prompt))
    if "Is it old?" in prompt:
        return Answer("old" if size > (6 if body["model"] == "strict" else 4) else "New.")
    return Answer("40", [("40", {"40": math.log(0.5), "60": math.log(0.25), "no": math.log(0.25)})])
