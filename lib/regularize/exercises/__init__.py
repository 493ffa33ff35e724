"""Exercises that answer back: a check says *what* is wrong with an answer, not only that it is.

Each chapter has its module of checks here. A check runs the reader's function on a few inputs,
compares it with the right answer, and knows the usual mistakes by what they return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: A usual mistake: what it would return, and what to say to the reader who made it.
Mistake = tuple[Callable[..., Any], str]


def diagnose(
    answer: Callable[..., Any],
    right: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    mistakes: Sequence[Mistake] = (),
    tolerance: float = 1e-9,
) -> str | None:
    """What is wrong with a reader's function, or None when it is right on every case."""
    if not callable(answer):
        return f"expected a function, got {type(answer).__name__}."
    for case in cases:
        try:
            got = answer(*_copies(case))
        except Exception as error:
            return f"your function raised {type(error).__name__}: {error} (on {_show(case)})."
        problem = _compare(got, right(*case), tolerance)
        if problem:
            for wrong, message in mistakes:
                if all(_compare(_try(answer, c), wrong(*c), tolerance) is None for c in cases):
                    return message
            return f"{problem} (on {_show(case)})."
    return None


def report(problem: str | None, praise: str) -> None:
    """Print the verdict on an answer."""
    print(f"Not yet: {problem}" if problem else f"Correct. {praise}")


def _try(answer: Callable[..., Any], case: tuple[Any, ...]) -> Any:
    try:
        return answer(*_copies(case))
    except Exception:
        return None


def _copies(case: tuple[Any, ...]) -> tuple[Any, ...]:
    """A reader's function may change its inputs; the next comparison must not see that."""
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case)


def _compare(got: Any, want: Any, tolerance: float) -> str | None:
    if got is None or got is Ellipsis:
        return "your function returned nothing; end it with a `return`"
    if isinstance(want, tuple):
        if not isinstance(got, tuple | list) or len(got) != len(want):
            return f"expected {len(want)} values, got {_show(got)}"
        return next((p for g, w in zip(got, want, strict=True) if (p := _compare(g, w, tolerance))), None)
    try:
        got, want = np.asarray(got, float), np.asarray(want, float)
    except (TypeError, ValueError):
        return f"expected numbers, got {type(got).__name__}"
    if got.shape != want.shape:
        return f"expected shape {want.shape}, got {got.shape}"
    if not np.allclose(got, want, rtol=tolerance, atol=tolerance):
        return f"expected {_show(want)}, got {_show(got)}"
    return None


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_show, value))
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"an array of shape {value.shape}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", " ")
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
