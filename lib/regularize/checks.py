"""Bad input is stopped at the door: each check names the argument, what was expected and what came.

Every function returns its (converted) argument: a constructor reads ``self.lam = nonnegative("lam", lam)``.
A value that has the wrong *kind* raises TypeError, one that is out of range raises ValueError.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def _fail(error: type[Exception], name: str, expected: str, got: object) -> None:
    raise error(f"{name}: expected {expected}, got {got}")


def _numeric(name: str, value: ArrayLike, expected: str) -> Array:
    try:
        a = np.asarray(value)
    except ValueError:  # ragged nested lists
        a = np.empty(0, object)
    if a.dtype.kind not in "biuf":
        _fail(TypeError, name, expected, f"{type(value).__name__} of {a.dtype}")
    return a


def array(
    name: str,
    value: ArrayLike,
    *,
    ndim: int | None = None,
    min_ndim: int = 0,
    shape: tuple[int | None, ...] | None = None,
    dtype: Any = None,
) -> Array:
    """A finite, non-empty array of numbers.

    Parameters
    ----------
    name : what to call it in the error.
    ndim, min_ndim : exact or least number of axes.
    shape : expected sizes of the *last* axes; None stands for any size.
    dtype : convert to this type; without it, integers become float64 and floats stay as they are.
    """
    a = _numeric(name, value, "an array of numbers")
    if dtype is None:
        dtype = a.dtype if a.dtype.kind == "f" else np.float64
    if ndim is not None and a.ndim != ndim:
        _fail(ValueError, name, f"{ndim} axes", f"shape {a.shape}")
    if a.ndim < min_ndim:
        _fail(ValueError, name, f"at least {min_ndim} axes", f"shape {a.shape}")
    if shape is not None:
        last = a.shape[a.ndim - len(shape) :] if a.ndim >= len(shape) else None
        if last is None or any(want not in (None, got) for want, got in zip(shape, last, strict=True)):
            wanted = ", ".join("any" if s is None else str(s) for s in shape)
            _fail(ValueError, name, f"shape (..., {wanted})", f"shape {a.shape}")
    if a.size == 0:
        _fail(ValueError, name, "at least one value", f"an empty array of shape {a.shape}")
    with np.errstate(over="ignore"):
        a = a.astype(dtype, copy=False)
    if not np.isfinite(a).all():  # after the conversion: 1e300 is infinite in float32
        bad = int((~np.isfinite(a)).sum())
        _fail(ValueError, name, "finite numbers", f"{bad} NaN or infinite value(s) out of {a.size}")
    return a


def _range(name: str, value: ArrayLike, expected: str, ok: Any) -> Any:
    a = _numeric(name, value, expected)
    if a.size == 0:
        _fail(ValueError, name, expected, "an empty array")
    with np.errstate(invalid="ignore"):
        good = np.isfinite(a) & ok(a)
    if not good.all():
        bad = a[~good].ravel()
        _fail(ValueError, name, expected, f"{bad[0]}" + (f" and {bad.size - 1} more" if bad.size > 1 else ""))
    return float(a) if a.ndim == 0 else a.astype(np.float64)


def nonnegative(name: str, value: ArrayLike) -> Any:
    """A number >= 0, or an array of them: a penalty strength, a decay."""
    return _range(name, value, "a finite number >= 0", lambda a: a >= 0)


def positive(name: str, value: ArrayLike) -> Any:
    """A number > 0, or an array of them: a learning rate, a norm limit."""
    return _range(name, value, "a finite number > 0", lambda a: a > 0)


def number(name: str, value: Any, *, low: float = -np.inf, high: float = np.inf) -> float:
    """One finite number in [low, high], not an array of them."""
    expected = "one finite number" if np.isinf(low) and np.isinf(high) else f"one number in [{low}, {high}]"
    a = _numeric(name, value, expected)
    if a.ndim:
        _fail(TypeError, name, expected, f"an array of shape {a.shape}")
    return float(_range(name, a, expected, lambda a: (a >= low) & (a <= high)))


def positive_number(name: str, value: Any) -> float:
    """One number > 0, not an array of them: an initial scale, a window of time."""
    if np.ndim(value):
        _fail(TypeError, name, "one number > 0", f"an array of shape {np.shape(value)}")
    return float(positive(name, value))


def rate(name: str, value: ArrayLike) -> Any:
    """A number in [0, 1), or an array of them: a dropout rate, a momentum, a share of wrong labels."""
    return _range(name, value, "a rate in [0, 1)", lambda a: (a >= 0) & (a < 1))


def fraction(name: str, value: ArrayLike) -> Any:
    """A number in [0, 1], or an array of them."""
    return _range(name, value, "a fraction in [0, 1]", lambda a: (a >= 0) & (a <= 1))


def integer(name: str, value: Any, *, low: int = 1) -> int:
    """One whole number >= low: a width, a batch size, a number of epochs."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        _fail(TypeError, name, f"an integer >= {low}", f"{value!r} ({type(value).__name__})")
    if value < low:
        _fail(ValueError, name, f"an integer >= {low}", value)
    return int(value)


def seeds(value: ArrayLike) -> NDArray[np.int64]:
    """Seeds: one non-negative integer, or an array of them whose shape is the ensemble's ``lead``."""
    expected = "a non-negative integer, or an array of them"
    if isinstance(value, range):
        value = np.array(value, dtype=np.int64)
    a = _numeric("seeds", value, expected)
    if a.dtype.kind not in "iu":
        _fail(TypeError, "seeds", expected, f"{type(value).__name__} of {a.dtype}")
    if a.size == 0:
        _fail(ValueError, "seeds", expected, f"an empty array of shape {a.shape}")
    if (a < 0).any():
        _fail(ValueError, "seeds", expected, int(a.min()))
    if a.max() > np.iinfo(np.int64).max:
        _fail(ValueError, "seeds", "seeds below 2**63", int(a.max()))
    return a.astype(np.int64)


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of a fixed set of names; the error suggests the nearest one."""
    options = list(options)
    if value not in options:
        near = difflib.get_close_matches(str(value), options, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        _fail(ValueError, name, f"one of {', '.join(map(repr, options))}", f"{value!r}{hint}")
    return str(value)


def function(name: str, value: Any, such_as: str = "") -> Any:
    """Something that can be called, and not a class by mistake; ``such_as`` is an example for the error."""
    if isinstance(value, type) or not callable(value):
        _fail(TypeError, name, f"a function, such as {such_as}" if such_as else "a function", repr(value))
    return value


def broadcasts(name: str, shape: tuple[int, ...], lead: tuple[int, ...]) -> None:
    """``shape`` must broadcast to ``lead`` without enlarging it, as NumPy broadcasts."""
    try:
        fits = np.broadcast_shapes(shape, lead) == lead
    except ValueError:
        fits = False
    if not fits:
        _fail(ValueError, name, f"a shape that broadcasts to the ensemble axes {lead}", f"shape {shape}")


def labels(name: str, value: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Integer class labels in 0 .. classes - 1."""
    expected = f"integer labels in 0..{classes - 1}"
    a = _numeric(name, value, expected)
    if a.dtype.kind not in "iu":
        _fail(TypeError, name, expected, f"dtype {a.dtype}")
    if a.size == 0:
        _fail(ValueError, name, expected, f"an empty array of shape {a.shape}")
    if a.min() < 0 or a.max() >= classes:
        _fail(ValueError, name, expected, f"labels from {a.min()} to {a.max()}")
    return a.astype(np.int64)


def dtype(value: Any) -> np.dtype[Any]:
    """float64 or float32."""
    try:
        d = np.dtype(value)
    except (TypeError, ValueError):
        d = np.dtype(object)  # not None: NumPy takes None for float64
    if d not in (np.float64, np.float32):
        _fail(ValueError, "dtype", "float64 or float32", repr(value))
    return d


Precision = Literal["float64", "float32"]
