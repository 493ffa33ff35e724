"""The gradient by finite differences: slow, simple, and the judge of every backward pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regularize import checks
from regularize.checks import Array


def numerical_gradient(
    f: Callable[[], Array], a: Array, lead: tuple[int, ...] = (), step: float = 1e-5
) -> Array:
    """df/da by central differences, ``(f(a + h) - f(a - h)) / 2h``, one entry of ``a`` after the other.

    Parameters
    ----------
    f : returns the values of the members, shape ``lead``; it reads ``a``, which is changed in place
        and put back.
    a : ``lead + (...)``, float64. The same entry of all members is moved at once, so a value that
        leaks from one member to another shows as a wrong gradient.
    lead : the ensemble axes of ``a``.
    step : h. The error is about h^2 from the formula and 1e-16 / h from rounding.

    Raises
    ------
    TypeError : ``a`` is not a float64 array (float32 is too coarse for differences).
    ValueError : ``lead`` are not the first axes of ``a``, or the step is not positive.
    """
    if not isinstance(a, np.ndarray) or a.dtype != np.float64:
        raise TypeError(f"a: expected a float64 array, got {getattr(a, 'dtype', type(a).__name__)}")
    if a.shape[: len(lead)] != tuple(lead):
        raise ValueError(f"lead: expected the first axes of an array of shape {a.shape}, got {lead}")
    checks.positive("step", step)
    gradient = np.empty_like(a)
    for index in np.ndindex(a.shape[len(lead) :]):
        entry = (..., *index) if index else ...
        kept = a[entry].copy()
        try:
            a[entry] = kept + step
            above = f()
            a[entry] = kept - step
            below = f()
        finally:
            a[entry] = kept
        gradient[entry] = (above - below) / (2 * step)
    return gradient


def relative_error(a: Array, b: Array) -> float:
    """The largest ``|a - b|``, relative to the largest ``|a|`` or ``|b|``."""
    scale = max(np.abs(a).max(), np.abs(b).max())
    return float(np.abs(a - b).max() / scale) if scale else 0.0
