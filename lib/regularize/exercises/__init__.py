"""Exercises that answer back: a check says *what* is wrong with an answer, not only that it is.

Each chapter has its module of checks here. A check runs the reader's function on a few inputs,
compares it with the right answer, and knows the usual mistakes by what they return.
"""

from __future__ import annotations

import textwrap
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
        inputs = _copies(case)
        try:
            got = answer(*inputs)
        except Exception as error:
            return f"your function raised {type(error).__name__}: {error} (on {_show(case)})."
        if got is None or got is Ellipsis:
            return "the function returns nothing. Replace the `...`, and end with a `return`."
        problem = _compare(got, right(*case), tolerance) or _mutation(case, inputs)
        if problem:
            for wrong, message in mistakes:
                if all(_compare(_try(answer, c), wrong(*c), tolerance) is None for c in cases):
                    return message
            return f"{problem} (on {_show(case)})."
    return None


def report(problem: str | None, praise: str) -> None:
    """Print the verdict on an answer."""
    print(textwrap.fill(f"Not yet: {problem}" if problem else f"Correct. {praise}", 76))


def real_numbers(value: Any) -> np.ndarray | None:
    """A reader's value as an array, or None if it is anything else than real numbers (text, complex, ...)."""
    try:
        a = np.asarray(value)
    except Exception:  # ragged lists, or whatever a foreign object raises
        return None
    return a if a.dtype.kind in "biuf" else None


def _try(answer: Callable[..., Any], case: tuple[Any, ...]) -> Any:
    try:
        return answer(*_copies(case))
    except Exception:
        return None


def _copies(case: tuple[Any, ...]) -> tuple[Any, ...]:
    """A reader's function may change its inputs; the next comparison must not see that."""
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case)


def _mutation(case: tuple[Any, ...], inputs: tuple[Any, ...]) -> str | None:
    for i, (before, after) in enumerate(zip(case, inputs, strict=True), start=1):
        if not np.array_equal(before, after):
            return f"your function changed its argument number {i} in place; compute with a copy of it"
    return None


def _compare(got: Any, want: Any, tolerance: float) -> str | None:
    if isinstance(want, tuple):
        return _compare_each(got, want, tolerance)
    values, want = real_numbers(got), np.asarray(want, float) + 0.0  # + 0.0: no reader should meet -0
    if values is None:
        inside = f" of {got.dtype}" if isinstance(got, np.ndarray) else ""
        return f"expected real numbers, got {type(got).__name__}{inside}"
    if values.shape != want.shape:
        return f"expected shape {want.shape}, got {values.shape}"
    with np.errstate(over="ignore"):  # a wider float can be infinite in float64
        values = values.astype(float)
    if not np.allclose(values, want, rtol=tolerance, atol=tolerance):
        return _difference(values, want)
    return None


def _compare_each(got: Any, want: tuple[Any, ...], tolerance: float) -> str | None:
    if not isinstance(got, tuple | list) and not (isinstance(got, np.ndarray) and got.ndim):
        return f"expected {len(want)} values, got one {type(got).__name__}"
    if len(got) != len(want):
        return f"expected {len(want)} values, got {len(got)}"
    for i, (g, w) in enumerate(zip(got, want, strict=True), start=1):
        if problem := _compare(g, w, tolerance):
            return f"in value {i} of {len(want)}: {problem}"
    return None


def _difference(got: np.ndarray, want: np.ndarray) -> str:
    """Both in full if they are small and look different, else where they differ most (or got is NaN)."""
    if _show(got) != _show(want):
        return f"expected {_show(want)}, got {_show(got)}"
    worst = np.unravel_index(np.abs(got - want).argmax(), want.shape)
    place = f" at index {', '.join(map(str, worst))}" if worst else ""
    return f"expected {want[worst]:.12g}{place}, got {got[worst]:.12g}"


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_show, value))
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"an array of shape {value.shape}"
    if isinstance(value, np.ndarray) and value.ndim:
        return np.array2string(value, precision=4, separator=", ").replace("\n", " ")
    return f"{value:.4g}" if isinstance(value, float | np.ndarray) else repr(value)
