"""Rows with a name each, so that what is known of a row is made once, whatever dataset it stands in.

In: chat rows. Out: `Keyed` rows. Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from weirdgen.data.rows import Row
from weirdgen.store.keys import content_key


@dataclass(frozen=True, eq=False)
class Keyed:
    """A row and the hash of its turns."""

    row: Row

    @cached_property
    def key(self) -> str:
        """Names equal rows equally."""
        return content_key(self.row["messages"])

    @cached_property
    def text(self) -> str:
        """All turns, one a line."""
        return "\n".join(message["content"] for message in self.row["messages"])


def distinct(rows: Iterable[Row]) -> list[Keyed]:
    """Every different row once, in order."""
    return list({one.key: one for one in map(Keyed, rows)}.values())
