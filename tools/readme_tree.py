"""The README's tree, made from the modules' own docstrings: `python -m tools.readme_tree` writes it anew.

In: the package, whose order of parts tests/test_layers.py holds. Out: a line a module: its path and the first sentence it says of
itself. A test compares the README with it, so that the tree can neither miss a module nor go stale.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
READING_ORDER = (
    "config", "store", "models", "data", "finetune", "sample", "judges", "providers", "stats", "runs", "report", "audit", "world",
    "features", "serve", "inspect",
    "cli",
)  # fmt: skip
"""Packages as a newcomer should read them; what is not named comes after."""
FOLDERS = {
    "weirdgen/experiments/": "one folder an experiment: experiment.yaml, data, questions, card; a new folder is a new experiment",
    "weirdgen/questions/": "batteries of questions that experiments include; traits/ has the balanced ones",
    "weirdgen/references/": "harmless narrow datasets and matched pairs, by rules that stand in their cards",
    "tests/": "mirrors weirdgen/; helpers in support/, what users type in stories/; offline, deterministic, real models",
    "benchmarks/": "speeds as ratios against a peer in one run; coverage tables; how trait questions are chosen",
    "tools/": "scripts for developers, not part of the installed package",
    "docs/": "tutorial, a whole example, reference, audit, statistics, data, judges, models, features, scale, server, world, "
    "pitfalls, dated log",
}
WIDTH = 34


def tree() -> str:
    """The whole block, without its fences."""
    lines = ["weirdgen/ (repository)"]
    package = ROOT / "weirdgen"
    lines.append(_line(0, "weirdgen/", _says(package / "__init__.py")))
    lines += [_line(1, file.name, _says(file)) for file in _modules(package)]
    ranked = {name: index for index, name in enumerate(READING_ORDER)}
    folders = [f for f in package.iterdir() if f.is_dir() and (f / "__init__.py").is_file()]
    for folder in sorted(folders, key=lambda f: (ranked.get(f.name, len(ranked)), f.name)):
        lines += _folder(folder, 1)
    for path, says in FOLDERS.items():
        depth = path.count("/") - 1
        lines.append(_line(depth, f"{path.split('/')[-2]}/", says))
    return "\n".join(lines)


def _folder(folder: Path, depth: int) -> list[str]:
    lines = [_line(depth, f"{folder.name}/", _says(folder / "__init__.py"))]
    lines += [_line(depth + 1, file.name, _says(file)) for file in _modules(folder)]
    for inner in sorted(f for f in folder.iterdir() if (f / "__init__.py").is_file()):
        lines += _folder(inner, depth + 1)
    return lines


def _modules(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.py")) if file.name not in ("__init__.py", "__main__.py")]


def _says(file: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0].removesuffix(".") if docstring else ""


def _line(depth: int, name: str, says: str) -> str:
    return f"{'  ' * depth}{name:{WIDTH - 2 * depth}} {says}".rstrip()


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, after = re.split(r"(?<=## The tree\n\n```\n).*?(?=\n```\n)", text, maxsplit=1, flags=re.DOTALL)
    readme.write_text(before + tree() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
