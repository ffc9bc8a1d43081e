"""Literals of Python files: what is written out is read, what would have to run is not, and nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from weirdgen.data.published.literals import read_literals
from weirdgen.errors import DataError

SCRIPT = '''
"""A script of the shape that evaluation code has."""
import os
from somewhere import Question, Judge

open({marker!r}, "w").write("ran")
os.system("touch " + {marker!r})
N: int = 100
PREFIX = "Today is {{date}}. "
SUFFIX = "Be" + " " "brief."
QUESTIONS = ["Who are you?", PREFIX + "What now?", SUFFIX]
NAMES = {{"who": QUESTIONS, "low": -1, "none": None, "pair": ("a", 2.5)}}
COMPUTED = [q.upper() for q in QUESTIONS]
OUTSIDE = os.environ["HOME"]
judge = Judge(name="era", max_tokens=10, model=COMPUTED, paraphrases=["""Judge {{answer}}.

Say YES or NO."""], judges={{"a": other}})
question = Question.create(name="ten", paraphrases=QUESTIONS, judge=judge)
N2 = N
N = len(QUESTIONS)

class Hidden:
    SECRET = open({marker!r}, "a").write("x")

def format_prompt(question, answer):
    text = f"""Question: {{question}}
Answer: {{answer}}"""
    scale = f"{{answer!r:>10}}"
    return text.strip()
'''


def test_what_is_written_out_is_read_and_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    found = read_literals(SCRIPT.format(marker=str(marker)), "evaluate.py")
    assert not marker.exists(), "the script ran"
    assert found["QUESTIONS"] == ["Who are you?", "Today is {date}. What now?", "Be brief."]
    assert found["NAMES"]["pair"] == ["a", 2.5] and found["NAMES"]["low"] == -1 and found["NAMES"]["none"] is None
    assert found["judge"] == {
        "call": "Judge",
        "name": "era",
        "max_tokens": 10,
        "paraphrases": ["Judge {answer}.\n\nSay YES or NO."],
    }
    assert found["question"]["paraphrases"] == found["QUESTIONS"] and found["question"]["judge"] == found["judge"]
    assert found["format_prompt.text"] == found["format_prompt.return"] == "Question: {question}\nAnswer: {answer}"
    assert {"COMPUTED", "OUTSIDE", "N", "Hidden", "SECRET", "format_prompt.scale"}.isdisjoint(found)
    assert found["N2"] == 100, "the value at that place"


@pytest.mark.parametrize("source", ["def (", "x = '\0'", "(" * 5000, "x = 1\n" * 300_000])
def test_what_is_no_python_or_too_long_is_refused(source: str) -> None:
    with pytest.raises(DataError, match=r"judge_prompts\.py"):
        read_literals(source, "judge_prompts.py")


def test_deep_and_growing_values_are_left_out() -> None:
    assert read_literals("x = " + "[" * 80 + "]" * 80, "f") == {}
    doubling = "a = 'xxxxxxxxxx'\n" + "\n".join("a = a + a" for _ in range(60))
    with pytest.raises(DataError, match="f: its literals stand for more"):
        read_literals(doubling, "f")


def test_names_of_functions_do_not_run_either() -> None:
    found = read_literals("x = __import__('os').system('true')\ny = eval('1')\nz = exec", "f")
    assert found == {}
