"""Planting a bug: an edit of a function's source, for as long as one test runs.

``right`` occurs in the function exactly once and becomes ``wrong``; then the law must fail. When the library
is rewritten and ``right`` is no longer found, the test says so, and the bug is to be planted anew.

    BUGS = {"the mask lacks the scale": Bug(Dropout, "backward", "* self.mask", "* (self.mask > 0)", law)}

    @pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
    def test_a_planted_bug_is_noticed(bug, monkeypatch):
        check_noticed(bug, monkeypatch)
"""

import __future__

import inspect
import textwrap
from typing import Any, NamedTuple

import numpy as np
import pytest


class Bug(NamedTuple):
    """``owner.name`` is the function, ``law`` a function without arguments that asserts what must hold."""

    owner: Any
    name: str
    right: str
    wrong: str
    law: Any


def broken(bug):
    """The function with the bug in it, compiled in the names of its own module."""
    function = inspect.unwrap(inspect.getattr_static(bug.owner, bug.name))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(bug.right) == 1, f"{bug.right!r} is no longer in the source: plant the bug anew"
    names = dict(function.__globals__)
    code = compile(
        source.replace(bug.right, bug.wrong), "planted", "exec", __future__.annotations.compiler_flag
    )
    exec(code, names)
    return names[function.__name__]


def check_noticed(bug, monkeypatch):
    """The law holds, and no longer holds once the bug is planted."""
    bug.law()
    monkeypatch.setattr(bug.owner, bug.name, broken(bug))
    with pytest.raises((AssertionError, pytest.fail.Exception)), np.errstate(all="ignore"):
        bug.law()
