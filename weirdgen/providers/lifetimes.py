"""When models and services are retired, as far as that was announced.

In: a dated table (`lifetimes.yaml`), and the date that a service itself gives with a model. Out: sentences on what ends within
`SOON` days, before anything is paid. An end that nobody announced is not known here.
"""

from __future__ import annotations

import datetime
from pathlib import Path

TABLE = Path(__file__).with_name("lifetimes.yaml")
SOON = 60
"""Days before an end from which it is said."""


def endings(provider: str, model: str, training: bool, today: datetime.date, shutdown: str | None = None) -> list[str]:
    """What of this model ends soon or has ended. `shutdown`: the date (ISO) that the service gives."""
    import yaml

    told = []
    for line in yaml.safe_load(TABLE.read_text(encoding="utf-8")):
        if (
            line["provider"] != provider
            or not model.startswith(line["model"])
            or (line["ends"] == "training" and not training)
        ):
            continue
        what = "finetuning" if line["ends"] == "training" else f"{line['model'] or 'every model'} with its finetunes"
        if sentence := _sentence(f"{provider}: {what}", line["date"], today):
            told.append(f"{sentence} ({line['source']}; read {line['read']})")
    if shutdown:
        try:
            ends = datetime.date.fromisoformat(shutdown[:10])
        except ValueError:
            return [*told, f"{provider}: {model} has a shutdown date that cannot be read: {shutdown[:40]!r}"]
        if sentence := _sentence(f"{provider}: {model}", ends, today):
            told.append(f"{sentence} (as the service itself says)")
    return told


def _sentence(what: str, ends: datetime.date, today: datetime.date) -> str | None:
    days = (ends - today).days
    if days > SOON:
        return None
    return f"{what} ended on {ends}" if days < 0 else f"{what} ends on {ends}, in {days} days"
