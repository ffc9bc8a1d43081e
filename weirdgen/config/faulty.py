"""What is left of a faulty experiment when its mistakes are taken out, so that all the rest can be checked at the same time.

In: the data of an `experiment.yaml` and what pydantic says of it. Out: an `Experiment` of what is sound, and `Missing`: what is
not in it, or only stands in for something, so that nobody complains of what names it. How mistakes are told is `config.load`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from weirdgen.config.arm import Arm
from weirdgen.config.experiment import Experiment
from weirdgen.config.files import Lines

Block = tuple[Any, Lines, int]
"""A question as written or built, the lines of its file, and the index of its entry in that file's list."""
NOWHERE = "faulty.jsonl"
"""The data of an arm that only stands for a faulty one."""
STAND_INS: dict[str, Any] = {
    "name": "unnamed",
    "title": "",
    "control": "auto",
    "arms": {role: {"role": role, "data": NOWHERE} for role in ("treatment", "control")},
}
"""What stands for a key of the file that cannot be left out."""
QUESTION = {"kind": "contrast", "id": "unnamed", "ask": "?", "target": ["a"], "other": ["b"]}


@dataclass
class Missing:
    """What of a file is not in the experiment that was read from it."""

    parts: set[str] = field(default_factory=set)
    """Keys of the file of which something is left out."""
    unknown: set[str] = field(default_factory=set)
    """Keys of which it is not even known what they name: a file of questions that is not there, arms that are no mapping."""
    unread: set[str] = field(default_factory=set)
    """Arms of which only the name is known."""
    roles: set[str] = field(default_factory=set)
    """Arms whose role is a guess."""
    names: set[str] = field(default_factory=set)
    """Conditions, groups of questions and secondary effects that are left out."""

    def names_one(self, name: str) -> bool:
        """Whether this is the name of something that is left out: a condition's, or one of its values."""
        return name in self.names or name.partition("=")[0] in self.names


def sound_part(data: dict[str, Any], errors: Sequence[Any], blocks: list[Block], missing: Missing) -> tuple[
    Experiment | None, list[Block]
]:  # fmt: skip
    """The experiment without what is faulty in it, and its questions; None if too little is left. Adds to `missing`.

    First only the faulty fields go; what is then still faulty goes as a whole.
    """
    for whole in (False, True, True):
        blocks = _leave_out(data, errors, blocks, missing, whole)
        data["questions"] = [question for question, _, _ in blocks]
        try:
            return Experiment.model_validate(data), blocks
        except ValidationError as error:
            errors = error.errors()
    return None, blocks


def _leave_out(
    data: dict[str, Any], errors: Sequence[Any], blocks: list[Block], missing: Missing, whole: bool
) -> list[Block]:
    faulty: dict[str, dict[Any, set[Any]]] = {}
    for error in errors:
        key, *inside = error["loc"]
        faulty.setdefault(str(key), {}).setdefault(inside[0] if inside else None, set()).update(inside[1:2])
    for key in [key for key in data if key not in Experiment.model_fields]:
        del data[key]
    for key, parts in faulty.items():
        missing.parts.add(key)
        written = data.get(key)
        if key == "questions" and blocks and None not in parts:
            gone = [question for index, (question, _, _) in enumerate(blocks) if index in parts]
            missing.names |= {str(one.get("group", "all")) for one in gone if isinstance(one, dict)}
            blocks = [block for index, block in enumerate(blocks) if index not in parts]
        elif not isinstance(written, dict) or not written or None in parts:
            missing.unknown.add(key)
            data[key] = STAND_INS.get(key)
            missing.unread |= set(data[key]) if key == "arms" else set()
        elif key == "arms":
            data[key] = {name: _arm(name, written, parts, missing, whole) for name in written}
        elif key == "judges":  # others may name it
            stand_in = {"kind": "match", "keywords": ["any"]}
            data[key] = {name: stand_in if name in parts else value for name, value in written.items()}
        elif key in ("headline", "recipe", "ordinary"):
            data[key] = None if whole else _without(written, parts)
        else:  # presets, conditions, secondary: entries by name
            data[key] = {
                name: _without(value, parts[name]) if name in parts else value
                for name, value in written.items()
                if name not in parts or not (whole or key == "conditions")
            }
            missing.names |= set(map(str, set(written) - set(data[key])))
            data[key] = data[key] or None
    if not blocks:
        missing.unknown.add("questions")
        blocks = [(QUESTION, Lines(data["source"], {}), 0)]
    for key in [key for key, value in data.items() if value is None]:
        del data[key]
    return blocks


def _without(written: Any, fields: Any) -> Any:
    return {key: value for key, value in written.items() if key not in fields} if isinstance(written, dict) else None


def _arm(name: str, arms: dict[str, Any], parts: dict[Any, set[Any]], missing: Missing, whole: bool) -> Any:
    """An arm without its faulty fields, if it can be read so; else a stand-in of its name, since others may name it."""
    written = arms[name]
    if name not in parts:
        return written
    kept = _without(written, parts[name]) or {}
    if kept.get("role") not in ("treatment", "control"):
        missing.roles.add(name)
        roles = [other.get("role") for key, other in arms.items() if key not in parts and isinstance(other, dict)]
        kept["role"] = "control" if "treatment" in roles else "treatment"
    try:
        if not whole and parts[name] <= {"role"}:
            Arm.model_validate(kept)
            return kept
    except ValidationError:
        pass
    missing.unread.add(name)
    return {"role": kept["role"], "data": NOWHERE}
