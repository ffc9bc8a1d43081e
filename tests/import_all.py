"""Import every module of the package; exit 1 naming those that need more than the core dependencies."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import weirdgen


def main() -> int:
    failed = []
    for module in pkgutil.walk_packages(weirdgen.__path__, "weirdgen."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed.append(f"{module.name}: {error}")
    print("\n".join(failed) or "every module imports")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
