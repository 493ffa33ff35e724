"""Problems made on the spot: the truth is known, so an error can be measured against it.

Every generator takes ``seeds`` and returns arrays with the seeds' shape in front. Member s depends on seed s
alone; a smaller n gives the beginning of a larger one, and another noise level scales the same noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularize import checks
from regularize.streams import Streams

Array = NDArray[Any]


def _number(name: str, value: Any) -> float:
    if np.ndim(value):
        raise TypeError(f"{name}: expected one number, got an array of shape {np.shape(value)}")
    return checks.nonnegative(name, value)


def _linear_target(x: Array, coef: Array, noise: Array) -> Array:
    """x @ coef + noise, summed row by row: the last bits of a matrix product depend on the number of rows."""
    return (x * coef[..., None, :]).sum(axis=-1) + noise


def _target_noise(seeds: ArrayLike, n: int, sd: ArrayLike) -> Array:
    """Normal noise, lead + (n,); sd is one number or an array that broadcasts to lead."""
    streams = Streams(seeds, "labels")
    sd = np.asarray(checks.nonnegative("noise", sd))
    checks.broadcasts("noise", sd.shape, streams.lead)
    return sd[..., None] * streams.normal((n,))


def polynomial_truth(x: ArrayLike) -> Array:
    """The curve behind ``polynomial_problem``: sin(3 x)."""
    return np.sin(3 * checks.array("x", x))


def polynomial_problem(seeds: ArrayLike, n: int, *, noise: ArrayLike = 0.2) -> tuple[Array, Array]:
    """A curve to fit polynomials to: y = sin(3 x) + noise, with x uniform in [-1, 1).

    Returns x and y, each lead + (n,). ``noise`` is the standard deviation; ``polynomial_truth(x)`` the truth.
    """
    n = checks.integer("n", n)
    x = 2 * Streams(seeds, "data").uniform((n,)).astype(np.float64) - 1
    return x, polynomial_truth(x) + _target_noise(seeds, n, noise)


def sparse_regression(
    seeds: ArrayLike,
    n: int,
    p: int,
    nonzero: int,
    noise: ArrayLike,
    *,
    correlation: float = 0.0,
    signal: float = 3.0,
) -> tuple[Array, Array, Array]:
    """A linear truth of which only a few features matter: y = x @ true_coef + noise.

    The features are standard normal, i and j correlated by correlation^|i - j| (the design of Tibshirani,
    "Regression shrinkage and selection via the lasso", 1996). ``nonzero`` of the p coefficients, at random
    places, are +signal or -signal, the others exactly 0; nonzero = p is a dense truth, 0 is pure noise.

    Returns x lead + (n, p), y lead + (n,), true_coef lead + (p,). ``noise`` is the standard deviation.
    Raises ValueError for nonzero > p, a correlation outside [0, 1) or a negative noise or signal.
    """
    n, p = checks.integer("n", n), checks.integer("p", p)
    if checks.integer("nonzero", nonzero, low=0) > p:
        raise ValueError(f"nonzero: expected at most p = {p}, got {nonzero}")
    rho = checks.rate("correlation", _number("correlation", correlation))
    streams = Streams(seeds, "data")
    place = streams.permutation(p)
    sign = 2 * streams.integers(2, (p,)) - 1
    true_coef = np.where(place < nonzero, sign * _number("signal", signal), 0.0)
    x = streams.normal((n, p))
    for j in range(1, p):  # each feature is a share of its left neighbor and a share of its own
        x[..., j] = rho * x[..., j - 1] + np.sqrt(1 - rho**2) * x[..., j]
    return x, _linear_target(x, true_coef, _target_noise(seeds, n, noise)), true_coef


def correlated_groups(
    seeds: ArrayLike,
    n: int,
    *,
    groups: int = 3,
    size: int = 5,
    irrelevant: int = 25,
    spread: float = 0.1,
    noise: ArrayLike = 15.0,
    signal: float = 3.0,
) -> tuple[Array, Array, Array]:
    """Groups of nearly identical features: the lasso picks one of each, the elastic net keeps them together.

    Feature j of group g is z_g + spread * e_j, with z and e standard normal; after the groups come
    ``irrelevant`` independent standard normal features. The coefficients are ``signal`` in the groups and 0
    after them, and y = x @ true_coef + noise. The defaults are example 4 of Zou and Hastie, "Regularization
    and variable selection via the elastic net" (2005): 40 features, 15 of which matter.

    Returns x lead + (n, p), y lead + (n,), true_coef lead + (p,), with p = groups * size + irrelevant.
    """
    n, groups = checks.integer("n", n), checks.integer("groups", groups)
    size, irrelevant = checks.integer("size", size), checks.integer("irrelevant", irrelevant, low=0)
    relevant = groups * size
    streams = Streams(seeds, "data")
    normal = streams.normal((n, groups + relevant + irrelevant))  # one row per example: nested in n
    z, x = normal[..., :groups], normal[..., groups:].copy()
    x[..., :relevant] = np.repeat(z, size, axis=-1) + _number("spread", spread) * x[..., :relevant]
    true_coef = np.zeros((*streams.lead, relevant + irrelevant))
    true_coef[..., :relevant] = _number("signal", signal)
    return x, _linear_target(x, true_coef, _target_noise(seeds, n, noise)), true_coef


def add_noise_features(x: ArrayLike, seeds: ArrayLike, count: int) -> Array:
    """x, (n, d) or lead + (n, d), with ``count`` standard normal features appended: lead + (n, d + count).

    They know nothing of the target, and nothing of x even where x was made from the same seeds.
    """
    x = checks.array("x", x, min_ndim=2)
    streams = Streams(seeds, "features")
    checks.broadcasts("x", x.shape[:-2], streams.lead)
    noise = streams.normal((x.shape[-2], checks.integer("count", count)), x.dtype)
    return np.concatenate([np.broadcast_to(x, (*streams.lead, *x.shape[-2:])), noise], axis=-1)
