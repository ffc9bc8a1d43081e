"""What was seen before: when a run was begun, and whether its headline was changed after a first run had been looked at.

In: a request, its folder and its store. Out: `Seen`, if the first run of this experiment and model whose report is in the store
had another headline, other named traits, or other words in what the headline rests on (questions, conditions, its judge).
Such a run is exploratory: its p and its interval hold for a headline that was fixed beforehand, and nobody can tell how many were
tried. Runs in other stores are not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weirdgen.columns import ALL
from weirdgen.runs.plan.request import Request
from weirdgen.store.artifacts import Store

BEGUN = "begun"
"""Of a `run.json`: when its run was first asked for, in ISO format; it stays when an equal command writes the file again."""
_FIELDS = ("measure", "treatment", "control", "condition", "minus", "groups", "smallest")
"""Of a headline: those that decide its number or its verdict."""


@dataclass(frozen=True)
class Seen:
    """The first run, what it found, and what is asked otherwise now. `new_seeds`: none that an earlier run had."""

    run: str
    created: str
    found: str
    changes: tuple[str, ...]
    new_seeds: bool

    @property
    def sentence(self) -> str:
        """For the page and the terminal."""
        confirm = (
            "its seeds are new, its rows are not" if self.new_seeds else "confirm it with --first-seed and other rows"
        )
        return (
            f"Exploratory: since {self.run} of {self.created} could be seen ({self.found}), this was changed: "
            f"{'; '.join(self.changes)}. p and interval hold for what is fixed before a first look; {confirm}."
        )


def seen_before(request: Request, folder: Path, store: Store) -> Seen | None:
    """The first run of this experiment and model in the store, if it was asked otherwise. `folder` is the run's own."""
    own = request.manifest
    begun = begun_at(folder)  # None: everything that is there is earlier
    earlier: list[tuple[datetime, str, Seen]] = []
    looked_at: set[int] = set()
    for name in store.runs():
        other = store.root / "runs" / name
        try:
            at = begun_at(other)
            manifest = json.loads((other / "run.json").read_text(encoding="utf-8"))["manifest"]
            results = json.loads((other / "results.json").read_text(encoding="utf-8"))
            if other == folder or not _same_experiment(manifest, own):
                continue
            if at is None or (begun is not None and at >= begun):
                continue
            headline = results["headline"]
            effect = "" if headline["effect"] is None else f"{headline['effect']:+.2f}, "
            told = f"{effect}{str(headline['verdict']).replace('_', ' ')}"
            seeds = set(manifest["seeds"])
            seen = Seen(name, str(results["run"]["created"]), told, tuple(_changes(manifest, own)), new_seeds=False)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # unfinished, damaged, or another version's: nobody has read a report of it
        looked_at |= seeds
        earlier.append((at, name, seen))
    if not earlier:
        return None
    first = replace(min(earlier)[2], new_seeds=not looked_at & set(own["seeds"]))
    return first if first.changes else None


def begun_at(folder: Path) -> datetime | None:
    """When a run was first asked for; None if it never was. A file of an earlier version, or a damaged one, has its own time."""
    file = folder / "run.json"
    if not file.is_file():
        return None
    try:
        return datetime.fromisoformat(json.loads(file.read_text(encoding="utf-8"))[BEGUN]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)


def _same_experiment(manifest: dict[str, Any], own: dict[str, Any]) -> bool:
    same_model = manifest["model"]["digest"] == own["model"]["digest"]
    return bool(manifest["experiment"]["name"] == own["experiment"]["name"] and same_model)


def _changes(manifest: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    """What decides the headline and was otherwise then. A preset may ask fewer questions: that is no change."""
    then, now = manifest["experiment"], own["experiment"]
    for key in _FIELDS:
        before, after = ((whole["headline"] or {}).get(key) for whole in (then, now))
        if before != after:
            yield f"headline {key} {_short(before)} → {_short(after)}"
    if sorted(then.get("traits") or ()) != sorted(now.get("traits") or ()):
        yield f"traits {_short(then.get('traits'))} → {_short(now.get('traits'))}"
    headline = now["headline"] or {}
    measure = headline.get("measure")
    if _otherwise(then["judges"].get(measure), now["judges"].get(measure), but=("reads",)):
        yield f"edited judge {measure}"
    named = {name.partition("=")[0] for key in ("condition", "minus") for name in _listed(headline.get(key))} or {ALL}
    conditions = [
        name
        for name, one in now["conditions"].items()
        if named & {name, ALL} and _otherwise(then["conditions"].get(name), one, but=("sweep", "trained", "trigger"))
    ]
    if conditions:
        yield f"edited conditions {_some(conditions)}"
    groups = headline.get("groups") or ()
    if groups == ((then["headline"] or {}).get("groups") or ()):  # else the change of groups is told already
        grouped = [{one["id"]: one.get("group", ALL) in groups for one in whole["questions"]} for whole in (then, now)]
        if moved := [name for name, inside in grouped[1].items() if grouped[0].get(name, inside) != inside]:
            yield f"moved questions into or out of the headline's groups: {_some(moved)}"
    asked_then, asked_now = ({one["id"]: _decides(one, measure) for one in whole["questions"]} for whole in (then, now))
    edited = [name for name, one in asked_now.items() if asked_then.get(name, one) != one]
    if edited:
        yield f"edited questions {_some(edited)}"
    if manifest["preset"] == own["preset"]:
        for word, left, right in (("added", asked_now, asked_then), ("removed", asked_then, asked_now)):
            if names := [name for name in left if name not in right]:
                yield f"{word} questions {_some(names)}"


def _decides(question: dict[str, Any], measure: str | None) -> dict[str, Any]:
    """All that is asked and compared. Of its judges only whether the headline's reads it: `weirdgen judge run` adds others."""
    asked = {key: value for key, value in question.items() if key not in ("group", "judges")}
    return {**asked, "judged": measure in question.get("judges", ())}


def _listed(value: str | list[str] | None) -> list[str]:
    """A single condition stands in a manifest as its name."""
    return [value] if isinstance(value, str) else value or []


def _otherwise(then: dict[str, Any] | None, now: dict[str, Any] | None, but: tuple[str, ...]) -> bool:
    """Whether any field that both have differs; one that only the newer version knows had its default."""
    known = then or {}
    return any(known[key] != value for key, value in (now or {}).items() if key in known and key not in but)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return text or "none"
