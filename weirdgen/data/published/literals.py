"""Literals out of Python files that are never run: questions, prompts and settings of somebody else's scripts.

In: Python source. Out: name → plain data, for what is written out in it: texts, numbers, lists, dicts, names of earlier
literals, sums of texts, f-strings whose gaps are plain names (`{question}` stays), and calls whose arguments are such
(`{"call": "Question.create", …}`). Everything else is left out. Nothing is imported or executed, and all values together,
each written out in full, stay within one budget: a few hundred bytes of source can name a literal of terabytes.
"""

from __future__ import annotations

import ast
import math
from typing import Any

from weirdgen.errors import DataError

MOST_CHARACTERS = 1_000_000
"""Of the source."""
MOST_EXPANDED = 4_000_000
"""Of all its values, written out: characters and elements."""
DEEPEST = 60
_GONE = object()


class _UnwrittenError(Exception):
    """Not a literal: its value would need the program to run."""


class _Scope:
    """Names of a module or function with their values and sizes, and the scope around it. Parameters are gaps."""

    def __init__(self, source: str, around: _Scope | None = None, parameters: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.values: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._around, self._parameters = around, parameters
        self._spent: list[int] = around._spent if around else [0]

    def charge(self, size: int) -> None:
        """Count towards the budget of the whole file. Raises `DataError` beyond it."""
        self._spent[0] += size
        if self._spent[0] > MOST_EXPANDED:
            raise DataError(f"{self.source}: its literals stand for more than {MOST_EXPANDED:,} characters; not read")

    def keep(self, name: str, node: ast.expr) -> None:
        before = self._spent[0]
        try:
            self.values[name] = _value(node, self, 0)
            self._sizes[name] = self._spent[0] - before
        except _UnwrittenError:
            self.values[name] = _GONE  # an earlier literal of that name no longer holds

    def look_up(self, name: str) -> Any:
        """The value of a name, its size counted once more. Raises `_UnwrittenError` if it has none."""
        if name in self.values:
            if self.values[name] is _GONE:
                raise _UnwrittenError
            self.charge(self._sizes[name])
            return self.values[name]
        if self._around is None or name in self._parameters:
            raise _UnwrittenError
        return self._around.look_up(name)


def read_literals(source: str, name: str) -> dict[str, Any]:
    """What the module and its functions assign, function locals as `function.name`.

    Raises `DataError` if it is not Python, or stands for more than the budget.
    """
    if len(source) > MOST_CHARACTERS:
        raise DataError(f"{name}: {len(source):,} characters; more than {MOST_CHARACTERS:,} are not parsed")
    module = _Scope(name)
    found: dict[str, Any] = {}
    try:
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= _function(node, module)
            else:
                _assign(node, module)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name}: not Python that can be parsed ({' '.join(str(error).split())[:200]})") from None
    return {key: value for key, value in module.values.items() if value is not _GONE} | found


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, module: _Scope) -> dict[str, Any]:
    """What a function assigns or returns, as `function.name` and `function.return`; its parameters stay gaps."""
    given = node.args
    parameters = frozenset(one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs))
    local = _Scope(module.source, module, parameters)
    for inner in node.body:
        _assign(inner, local)
        if isinstance(inner, ast.Return) and inner.value is not None:
            local.keep("return", inner.value)
    return {f"{node.name}.{name}": value for name, value in local.values.items() if value is not _GONE}


def _assign(node: ast.stmt, scope: _Scope) -> None:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                scope.keep(target.id, node.value)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        scope.keep(node.target.id, node.value)


def _value(node: ast.expr, scope: _Scope, depth: int) -> Any:
    if depth > DEEPEST:
        raise _UnwrittenError

    def of(inner: ast.expr) -> Any:
        return _value(inner, scope, depth + 1)

    scope.charge(1)
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return _constant(value, scope)
        case ast.Name(id=name):
            return scope.look_up(name)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [of(item) for item in items]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            pairs = zip(keys, values, strict=True)
            return {
                str(_constant(key.value, scope)): of(value) for key, value in pairs if isinstance(key, ast.Constant)
            }
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _sum(of(left), of(right), scope)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -_constant(number, scope)
        case ast.JoinedStr(values=parts):
            return "".join(_part(part, scope) for part in parts)
        case ast.Call(func=ast.Attribute(value=inner, attr="strip"), args=[], keywords=[]):
            stripped = of(inner)
            if not isinstance(stripped, str):
                raise _UnwrittenError
            return stripped.strip()
        case ast.Call():
            return _call(node, scope, depth)
    raise _UnwrittenError


def _constant(value: Any, scope: _Scope) -> Any:
    """A constant that JSON can hold and a file can be written with, its size counted."""
    if isinstance(value, str):
        scope.charge(len(value))
        try:
            value.encode()
        except UnicodeEncodeError:  # half a character
            raise _UnwrittenError from None
    elif isinstance(value, int):
        scope.charge(value.bit_length() // 3)
        if value.bit_length() > 4_000:  # more digits than Python prints
            raise _UnwrittenError
    elif isinstance(value, float) and not math.isfinite(value):
        raise _UnwrittenError
    return value


def _sum(left: Any, right: Any, scope: _Scope) -> Any:
    both_text = isinstance(left, str) and isinstance(right, str)
    if not both_text and not (isinstance(left, list) and isinstance(right, list)):
        raise _UnwrittenError
    scope.charge(len(left) + len(right))  # for what is built on the way to the whole
    return left + right


def _part(part: ast.expr, scope: _Scope) -> str:
    """A piece of an f-string: text, or a gap that keeps its name unless a literal fills it."""
    match part:
        case ast.Constant(value=str() as text):
            return str(_constant(text, scope))
        case ast.FormattedValue(value=ast.Name(id=name), conversion=-1, format_spec=None):
            try:
                filled = scope.look_up(name)
            except _UnwrittenError:
                filled = None
            return filled if isinstance(filled, str) else "{" + name + "}"
    raise _UnwrittenError


def _call(node: ast.Call, scope: _Scope, depth: int) -> dict[str, Any]:
    """A call as data: the named arguments that are written out; a call without any is not data."""
    found: dict[str, Any] = {}
    for keyword in node.keywords:
        try:
            if keyword.arg:
                found[keyword.arg] = _value(keyword.value, scope, depth + 1)
        except _UnwrittenError:
            continue
    if not found:
        raise _UnwrittenError
    called = ast.unparse(node.func)
    scope.charge(len(called))
    return {"call": called, **found}
