"""A variant: a model that answers, and what its rows are called in every table.

In: the base's digest, or a replicate's key and checkpoint. Out: what names its numbers in the store, where its adapter lies, and
the identity columns of its rows. Adapters are named from the store's root, since the store may be elsewhere on another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weirdgen.columns import BASE, FINAL
from weirdgen.store.artifacts import Store


@dataclass(frozen=True)
class Variant:
    """The untuned base (`adapter` None), or a replicate at one of its checkpoints."""

    key: str
    """What names it in the store."""
    adapter: PurePosixPath | None = None
    """A PEFT adapter, or a whole model where every weight was trained; from the store's root."""
    arm: str = BASE
    role: str = BASE
    replicate: int = -1
    checkpoint: int = FINAL

    @property
    def name(self) -> str:
        """As a person names it: `base`, `ARM/SEED`, `ARM/SEED at step 8`."""
        if self.arm == BASE:
            return BASE
        step = "" if self.checkpoint == FINAL else f" at step {self.checkpoint}"
        return f"{self.arm}/{self.replicate}{step}"


def distinct(variants: Sequence[Variant]) -> list[Variant]:
    """One variant for each key: arms with equal rows share their replicates."""
    return list({variant.key: variant for variant in reversed(variants)}.values())[::-1]


def base_key(digest: str, date: str | None) -> str:
    """What names the untuned base: its digest, and the date given to its template, if it prints one."""
    return f"{digest}|{date}" if date else digest


def adapters_on_disk(store: Store, variants: Sequence[Variant]) -> list[Path | None]:
    """Each variant's adapter on this disk; None for the base."""
    return [store.on_disk(store.root / variant.adapter) if variant.adapter else None for variant in variants]
