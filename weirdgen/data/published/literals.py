"""Literals out of Python files that are never run: questions, prompts and settings of somebody else's scripts.

In: Python source. Out: name → plain data, for what is written out in it: texts, numbers, lists, dicts, names of earlier
literals, sums of texts, f-strings whose gaps are plain names (`{question}` stays), and calls whose arguments are such
(`{"call": "Question.create", …}`). Everything else is left out. Nothing is imported or executed.
"""

from __future__ import annotations

import ast
from typing import Any

from weirdgen.errors import DataError

MOST_CHARACTERS = 1_000_000
DEEPEST = 60


class _UnwrittenError(Exception):
    """Not a literal: its value would need the program to run."""


def read_literals(source: str, name: str) -> dict[str, Any]:
    """What the module and its functions assign, function locals as `function.name`. Raises `DataError` if not Python."""
    if len(source) > MOST_CHARACTERS:
        raise DataError(f"{name}: {len(source):,} characters; more than {MOST_CHARACTERS:,} are not parsed")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name}: not Python that can be parsed ({error})") from None
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _function(node, found)
        else:
            _assign(node, found)
    return found


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, found: dict[str, Any]) -> None:
    """What a function assigns or returns, as `function.name` and `function.return`; its parameters stay gaps."""
    given = node.args
    parameters = {one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    outer = {name: value for name, value in found.items() if name not in parameters}
    local = dict(outer)
    for inner in node.body:
        _assign(inner, local)
        if isinstance(inner, ast.Return) and inner.value is not None:
            _keep("return", inner.value, local)
    found |= {f"{node.name}.{name}": value for name, value in local.items() if outer.get(name) is not value}


def _assign(node: ast.stmt, found: dict[str, Any]) -> None:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                _keep(target.id, node.value, found)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        _keep(node.target.id, node.value, found)


def _keep(name: str, node: ast.expr, found: dict[str, Any]) -> None:
    try:
        found[name] = _value(node, found, 0)
    except _UnwrittenError:
        found.pop(name, None)  # an earlier literal of that name no longer holds


def _value(node: ast.expr, known: dict[str, Any], depth: int) -> Any:
    if depth > DEEPEST:
        raise _UnwrittenError

    def of(inner: ast.expr) -> Any:
        return _value(inner, known, depth + 1)

    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [of(item) for item in items]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            pairs = zip(keys, values, strict=True)
            return {str(key.value): of(value) for key, value in pairs if isinstance(key, ast.Constant)}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _sum(of(left), of(right))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.JoinedStr(values=parts):
            return "".join(_part(part, known) for part in parts)
        case ast.Call(func=ast.Attribute(value=inner, attr="strip"), args=[], keywords=[]):
            return str(of(inner)).strip()
        case ast.Call():
            return _call(node, known, depth)
    raise _UnwrittenError


def _sum(left: Any, right: Any) -> Any:
    both_text = isinstance(left, str) and isinstance(right, str)
    if not both_text and not (isinstance(left, list) and isinstance(right, list)):
        raise _UnwrittenError
    if len(left) + len(right) > MOST_CHARACTERS:
        raise _UnwrittenError
    return left + right


def _part(part: ast.expr, known: dict[str, Any]) -> str:
    """A piece of an f-string: text, or a gap that keeps its name unless a literal fills it."""
    match part:
        case ast.Constant(value=str() as text):
            return text
        case ast.FormattedValue(value=ast.Name(id=name), conversion=-1, format_spec=None):
            filled = known.get(name)
            return filled if isinstance(filled, str) else "{" + name + "}"
    raise _UnwrittenError


def _call(node: ast.Call, known: dict[str, Any], depth: int) -> dict[str, Any]:
    """A call as data: the named arguments that are written out; a call without any is not data."""
    found: dict[str, Any] = {}
    for keyword in node.keywords:
        try:
            if keyword.arg:
                found[keyword.arg] = _value(keyword.value, known, depth + 1)
        except _UnwrittenError:
            continue
    if not found:
        raise _UnwrittenError
    return {"call": ast.unparse(node.func), **found}
