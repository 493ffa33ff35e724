r"""Dropout on the inputs of linear regression, where its effect can be computed exactly.

With masks m on the inputs, kept with probability 1 - p and divided by it, the mean over all masks is

    E (1/n) sum_i (y_i - b - sum_j w_j m_ij x_ij / (1 - p))^2
        = (1/n) ||y - X w - b||^2 + p / (1 - p) sum_j w_j^2 s_j^2,        s_j^2 = (1/n) sum_i x_ij^2

because each masked value is x_ij on average, with variance ``x_ij^2 p / (1 - p)``, independent of the others.
So dropout is ridge regression with a larger penalty for larger features (Srivastava et al. 2014, section 9.1;
Wager et al. 2013). For features of mean square 1 it is plain ridge with lambda = p / (1 - p). Without the
division by 1 - p in training, weights v have the loss that the weights w = (1 - p) v have here.

Shapes are those of ``regularize.linear``: x ``lead + (n, d)``, y ``lead + (n,)``, coef ``lead + (d,)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks, linear
from regularize.checks import Array
from regularize.linear import LinearFit

#: 2^16 masks are 65 536; one more feature doubles time and memory.
MOST_FEATURES = 16


def adaptive_penalty(x: ArrayLike, coef: ArrayLike, rate: ArrayLike) -> Any:
    """``p / (1 - p) sum_j w_j^2 s_j^2``: what dropout adds to the expected loss, one number per model.

    ``rate`` is a number in [0, 1), or an array that broadcasts with the leading axes.
    """
    s = _root_mean_square(x)
    coef = checks.array("coef", coef, shape=s.shape[-1:])
    return _lam(rate) * ((coef * s) ** 2).sum(-1)


def expected_loss(x: ArrayLike, y: ArrayLike, fit: LinearFit, rate: ArrayLike) -> Any:
    """The mean squared error under dropout, averaged over all masks, in closed form: one number per model."""
    return linear.objective(x, y, fit, 0.0) + adaptive_penalty(x, fit.coef, rate)


def dropout_ridge(x: ArrayLike, y: ArrayLike, rate: ArrayLike, *, intercept: bool = True) -> LinearFit:
    """The exact minimizer of ``expected_loss``: ridge with lambda = p / (1 - p) on the features x_j / s_j.

    ``rate`` may be an array, as lambda of ``linear.ridge``. Rate 0 is least squares, and where x has not full
    rank the limit of small rates.
    """
    x, s = np.asarray(x), _root_mean_square(x)
    s = np.where(s > 0, s, np.inf)  # a feature that is always 0 gets weight 0
    fit = linear.ridge(x / s[..., None, :], y, _lam(rate), intercept=intercept)
    return LinearFit(fit.coef / s, fit.intercept)


def all_masks(features: int) -> Array:
    """Every mask of so many features, ``(2^features, features)`` of 0 and 1; at most 16 features."""
    if checks.integer("features", features) > MOST_FEATURES:
        raise ValueError(f"features: expected at most {MOST_FEATURES}, got {features}")
    return np.arange(2**features)[:, None] >> np.arange(features) & 1


def enumerated_loss(x: ArrayLike, y: ArrayLike, fit: LinearFit, rate: ArrayLike) -> Any:
    """The same number as ``expected_loss``, the long way: the loss under each of the 2^d masks, averaged.

    A mask of k kept features has probability ``(1 - p)^k p^(d - k)``. Each mask serves all examples at once;
    with a mask of its own for each example the average is the same, for the loss is a mean over examples.
    """
    x = checks.array("x", x, shape=(None, fit.coef.shape[-1]))
    y = checks.array("y", y, shape=x.shape[-2:-1])
    keep = 1 - np.asarray(checks.rate("rate", rate))[..., None]
    masks = all_masks(x.shape[-1])
    kept = masks.sum(-1)
    probability = keep**kept * (1 - keep) ** (x.shape[-1] - kept)
    thinned = masks * (fit.coef / keep)[..., None, :]  # masking w_j is masking x_j
    prediction = thinned @ x.mT + np.asarray(fit.intercept)[..., None, None]
    return (probability * ((y[..., None, :] - prediction) ** 2).mean(-1)).sum(-1)


def _root_mean_square(x: ArrayLike) -> Array:
    x = checks.array("x", x, min_ndim=2, dtype=np.float64)
    return np.sqrt((x**2).mean(-2))


def _lam(rate: ArrayLike) -> Any:
    rate = np.asarray(checks.rate("rate", rate))
    return rate / (1 - rate)
