"""Import every module of the package as if only the core dependencies were there; exit 1 naming those that need more."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from importlib.metadata import packages_distributions, requires

import weirdgen


def extras_only() -> set[str]:
    """Top-level modules that come with an extra of ours and with nothing else."""
    wanted: dict[str, set[bool]] = {}
    for line in requires("weirdgen") or []:
        name = re.split(r"[<>=!~;\[ ]", line)[0]
        wanted.setdefault(name.lower().replace("_", "-"), set()).add("extra ==" in line)
    extras = {name for name, kinds in wanted.items() if kinds == {True}}
    provided = packages_distributions().items()
    return {module for module, of in provided if {d.lower().replace("_", "-") for d in of} <= extras}


def main() -> int:
    for module in extras_only():
        sys.modules[module] = None  # type: ignore[assignment]  # Python's own way to make an import fail
    failed = []
    for info in pkgutil.walk_packages(weirdgen.__path__, "weirdgen."):
        if info.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(info.name)
        except ImportError as error:
            failed.append(f"{info.name}: {error}")
    print("\n".join(failed) or "every module imports")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
