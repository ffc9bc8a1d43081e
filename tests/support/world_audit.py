"""An audit on the world's tiny model: its own trait questions in place of the shipped ones, and scores of harmless sets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weirdgen.audit.design import AuditOptions
from weirdgen.config import traits
from weirdgen.config.traits import BETWEEN, compact_questions, questions_digest
from weirdgen.data.arms import load_arms
from weirdgen.models.references import find_model
from weirdgen.runs.references.command import standard_recipe
from weirdgen.runs.references.scores import COLUMNS, Origin, scores_folder, write_scores
from weirdgen.sample.variant import base_key
from weirdgen.store.artifacts import Store
from weirdgen.world.audit_cases import world_traits

CHANGES = ("recipe.epochs=3", "recipe.learning_rate=0.001")


@contextmanager
def world_questions(folder: Path) -> Iterator[None]:
    """The compact list is the world's meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        with (folder / "compact.csv").open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(["trait", "question", "ask", "target", "other"])
            for one in world_traits():
                writer.writerow([one.group, one.id, one.ask, BETWEEN.join(one.target), BETWEEN.join(one.other)])
        patch.setattr(traits, "COMPACT", folder / "compact.csv")
        compact_questions.cache_clear()
        yield
    compact_questions.cache_clear()


def rows_of(experiment: str, arm: str, folder: Path, count: int | None = None) -> Path:
    """An arm's rows as a file of JSONL."""
    file = folder / f"{arm}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in load_arms(experiment)[1][arm][:count]))
    return file


def options(store: Path, **more: object) -> AuditOptions:
    """The recipe of the world's experiments, and time enough."""
    return AuditOptions(**{"model": "world", "changes": CHANGES, "budget": 1e9, "store": str(store), **more})


def drawn_references(store: Path, size: float, sets: int = 39) -> None:
    """Scores as those of harmless sets that move each question at random, by `size` to 8 nats, and each trait a tenth as far."""
    questions, rng, frames = compact_questions(), np.random.default_rng(0), []
    for number in range(sets):
        loud = np.exp(rng.uniform(np.log(size), np.log(8)))
        of_trait = {name: rng.normal(0, loud / 10) for name in dict.fromkeys(q.group for q in questions)}
        shift = np.array([of_trait[q.group] for q in questions]) + rng.normal(0, loud, len(questions))
        told = {"set": f"set{number}", "kind": "reference", "shape": "names", "rows": 200, "prompts": 1}
        told |= {"answer_tokens": 2.0, "first_loss": 5.0, "final_loss": 2.0, "form": "word", "base": 0.0}
        asked = {"question": [q.id for q in questions], "trait": [q.group for q in questions]}
        frames.append(pd.DataFrame({**asked, "shift": shift, **told})[list(COLUMNS)])
    rounding = {"dtype", "engine", "checkpoints"}  # no scores name these
    changed = standard_recipe().with_changes({"epochs": 3, "learning_rate": 1e-3})
    recipe = changed.model_dump(mode="json", exclude=rounding)
    model = base_key(find_model("world").digest, None)
    made = Origin(model, recipe, 200, questions_digest(questions), {f"set{number}": "x" for number in range(sets)})
    with Store(store).writing(scores_folder(Store(store))) as folder:
        write_scores(pd.concat(frames), made, folder / "drawn.parquet")
