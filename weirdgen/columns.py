"""How the tables of a run name their rows: the identity columns, and the values in them that mean something of their own."""

from __future__ import annotations

IDENTITY = ["arm", "role", "replicate", "checkpoint", "condition", "question"]
"""Columns of every table of completions, contrasts, verdicts and cells."""
FINAL = -1
"""A checkpoint: the end of training, after however many steps. Earlier ones are named by their step."""
BASE = "base"
"""An arm and its role: the model before any finetuning."""
ALL = "all"
"""A condition or question: the mean over all of them."""
