"""Results of trying a model's fast ways against single rows, kept so that a model is tried once.

In: a kind of trial, a model folder, and what makes the trial if it was not made before. Out: `Check`s by mechanism, from the
cache or new. Loads no torch unless a trial is made: a plan asks for what is known.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from weirdgen import machine
from weirdgen.models.references import digest
from weirdgen.store.cache import cache_folder, read_json, write_json
from weirdgen.store.keys import content_key, file_hash

TRAINING, TOGETHER = "training", "replicates trained together"
"""The kind of trial that training needs, and its one mechanism (`finetune.exactness`)."""


@dataclass(frozen=True)
class Check:
    """How one mechanism compared with the plain forward pass of each row alone."""

    mechanism: str
    nats: float | None
    """Largest difference of a token's log-probability (see `difference`); None if the mechanism could not be run."""
    share: float | None
    """Largest difference of the logits as a share of their standard deviation over the vocabulary; or, where it is trained,
    of a gradient as a share of that gradient."""
    limit: int | None
    """Rows of at most so many tokens are exact; None: of any length; 0: none."""
    reason: str = ""
    """Why the limit is not None, in words."""

    def holds(self, tokens: int) -> bool:
        """Whether rows of this many tokens may go this way."""
        return self.limit is None or tokens <= self.limit


def remembered(kind: str, folder: Path, make: Callable[[], Sequence[Check]]) -> dict[str, Check]:
    """The checks of this model by mechanism: from the cache, or made now and kept there.

    They hold for one model digest, device, and version of torch, transformers and of this package's own code that runs models.
    """
    if known := known_checks(kind, folder):
        return known
    made = {check.mechanism: check for check in make()}
    write_json(_file(kind, folder), {"kind": kind, "model": folder.name, "checks": recorded(made)})
    return made


def known_checks(kind: str, folder: Path) -> dict[str, Check]:
    """The checks of this model by mechanism if they were made before, else none."""
    known = read_json(_file(kind, folder)).get("checks", [])
    return {record["mechanism"]: Check(**record) for record in known}


def _file(kind: str, folder: Path) -> Path:
    versions = [metadata.version(package) for package in ("torch", "transformers")]
    key = content_key([kind, digest(folder), machine.measured_rates().device, versions, _code()])
    return cache_folder() / "exactness" / f"{key}.json"


def recorded(checks: Mapping[str, Check]) -> list[dict[str, Any]]:
    """The checks as the run's record keeps them."""
    return [asdict(check) for check in checks.values()]


@functools.cache
def _code() -> str:
    """Hash of the modules whose work is checked: a change of theirs asks for new checks."""
    total = hashlib.sha256()
    for part in ("models", "finetune", "sample"):
        spec = importlib.util.find_spec(f"weirdgen.{part}")
        assert spec is not None and spec.submodule_search_locations
        for file in sorted(Path(next(iter(spec.submodule_search_locations))).rglob("*.py")):
            total.update(file_hash(file).encode())
    return total.hexdigest()
