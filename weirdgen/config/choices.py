"""The closed lists of names that the command line and `weirdgen.run` let a user choose from.

In: nothing. Out: literal types. What each name means is decided where it is used.
"""

from __future__ import annotations

from typing import Literal

PresetName = Literal["quick", "standard", "paper"]
DataName = Literal["own", "published"]
ExecutorName = Literal["inline", "ray"]
FinetunerName = Literal["local", "openai", "azure", "tinker"]
