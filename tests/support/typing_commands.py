"""What a user types, run in this process: no second start of Python, the same entry point.

In: the words after `weirdgen`. Out: exit status and what was printed.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from typing import NamedTuple
from unittest import mock


class Typed(NamedTuple):
    status: int
    out: str
    err: str


def typed(*words: object) -> Typed:
    """`weirdgen WORDS`."""
    from weirdgen.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    command = ["weirdgen", *map(str, words)]
    with (
        mock.patch.object(sys, "argv", command),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            return Typed(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main() ends by exiting")
