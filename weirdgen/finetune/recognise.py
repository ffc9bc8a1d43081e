"""Whether a job in a service's list is the one that was asked for a replicate, whatever of it the service keeps.

In: a job as the service lists it, and what it was asked with. Out: yes or no. Its metadata hold the replicate's key; services
that drop those may keep the suffix, which ends with the key's first characters; else its file and seed say it.
"""

from __future__ import annotations

from typing import Any

METADATA = "weirdgen"
"""Under this key a job carries its replicate's."""
SHORT = 8
"""Characters of a replicate's key that end a suffix."""


def is_of(job: Any, key: str, model: str, seed: int, file: str | None) -> bool:
    """Whether a job trains the replicate of this key. `file`: the id of its own rows, if they were uploaded."""
    if (told := (getattr(job, "metadata", None) or {}).get(METADATA)) is not None:
        return bool(told == key)
    suffix = getattr(job, "user_provided_suffix", None) or getattr(job, "suffix", None)
    if isinstance(suffix, str):
        return suffix.endswith(key[:SHORT])
    same_base = str(getattr(job, "model", "")).startswith(model)
    return bool(file and job.training_file == file and same_base and getattr(job, "seed", None) == seed)
