r"""Early stopping in closed form: on least squares, a few steps of gradient descent are a kind of ridge.

    J(w) = (1/n) ||y - X w||^2,        X = U diag(s) V',        h_j = s_j^2 / n

Gradient descent from w = 0 with learning rate eta moves along each principal direction v_j by itself, and
after t steps it has come a share f_j of the way to the least-squares fit. Ridge regression stays at a share:

    gradient descent, t steps       f_j = 1 - (1 - 2 eta h_j)^t
    ridge regression, lambda        f_j = h_j / (h_j + lambda)

Both nearly reach the fit where the data vary much, and hardly leave 0 where they vary little. There the
shares are 2 eta t h_j and h_j / lambda, which agree for

    lambda = 1 / (2 eta t).

The 2 is that of the gradient of a square: with J/2 this is the well-known ``lambda = 1 / (eta t)``.

How good is the one beside the other? Under random weights (``risk``) no shares are better than those of the
best ridge, and stopping at the time that belongs to it costs at most 22 percent more, if the steps are small.
At matching times along the whole path it is at most 69 percent (Ali, Kolter and Tibshirani 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.linear import Array, LinearFit, centered


def early_stopped(
    x: ArrayLike, y: ArrayLike, learning_rate: ArrayLike, steps: ArrayLike, *, intercept: bool = True
) -> LinearFit:
    """Where gradient descent on the centered data is after ``steps`` steps from w = 0, without taking them:

        w = V diag(f / s) U'y

    learning_rate and steps broadcast against lead and may add axes in front, as lambda does in
    ``regularize.linear.ridge``: steps of shape (T,) give T models, coef ``(T, p)``.

    Raises
    ------
    ValueError : steps that are no whole numbers >= 0; a learning rate of 1 / max(h) or more, which diverges.
    """
    data = centered(x, y, intercept=intercept)
    u, s, vt = np.linalg.svd(data.x, full_matrices=False)
    f = _shares(s**2 / data.x.shape[-2], learning_rate, steps)
    along = _over(f, s) * (u.mT @ data.y[..., None])[..., 0]
    return data.fit((vt.mT @ along[..., None])[..., 0])


def stopping_factors(
    x: ArrayLike, learning_rate: ArrayLike, steps: ArrayLike, *, intercept: bool = True
) -> Array:
    """The shares f of gradient descent; those of ridge are ``regularize.linear.shrinkage_factors``.

    Shape ``broadcast(learning_rate, steps, lead) + (min(n, p),)``, largest direction first.
    """
    return _shares(curvatures(x, intercept=intercept), learning_rate, steps)


def curvatures(x: ArrayLike, *, intercept: bool = True) -> Array:
    """The h_j, largest first: the variances of x along its principal directions, ``lead + (min(n, p),)``.

    J curves by ``2 h_j``. Gradient descent converges for learning rates below ``1 / max(h)``; up to half of
    that it does not overshoot.
    """
    x = checks.array("x", x, min_ndim=2, dtype=np.float64)
    x = centered(x, np.zeros(x.shape[-2]), intercept=intercept).x
    s: Array = np.linalg.svd(x, compute_uv=False)  # type: ignore[assignment]
    return s**2 / x.shape[-2]


def matching_lambda(learning_rate: ArrayLike, steps: ArrayLike) -> Any:
    """``1 / (2 eta t)``: the ridge that shrinks weak directions as much as t steps do."""
    return 1 / (2 * checks.positive("learning_rate", learning_rate) * checks.positive("steps", steps))


def matching_steps(learning_rate: ArrayLike, lam: ArrayLike) -> Any:
    """``1 / (2 eta lambda)``, as a real number: when to stop instead of this ridge."""
    return 1 / (2 * checks.positive("learning_rate", learning_rate) * checks.positive("lam", lam))


def directional_lambda(
    x: ArrayLike, learning_rate: ArrayLike, steps: ArrayLike, *, intercept: bool = True
) -> Array:
    """One lambda a direction, with which ridge is exactly t steps of gradient descent: ``h (1 - f) / f``.

    Up to the learning rate ``1 / (2 max(h))`` they lie between 0, on the strongest directions, and
    ``1 / (2 eta t)``, on the weakest. Shape as ``stopping_factors``.
    """
    checks.positive("steps", steps)
    h = curvatures(x, intercept=intercept)
    f = _shares(h, learning_rate, steps)
    weakest = np.asarray(matching_lambda(learning_rate, steps))[..., None]
    return np.where(f == 0, weakest, h * _over(1 - f, f))


def risk(
    factors: ArrayLike, x: ArrayLike, signal: ArrayLike, noise: ArrayLike, *, intercept: bool = True
) -> Any:
    """The expected ``||w_hat - w||^2`` of an estimate with the shares ``factors``, over random w and noise:

        sum over directions of   (1 - f_j)^2 signal  +  f_j^2 noise / (n h_j)
                                 bias                   variance

    where y = X w + errors, the weights are independent with mean 0 and variance ``signal``, the errors with
    variance ``noise``. Directions that x does not span keep f = 0. The least of all risks is that of ridge
    with ``lambda = noise / (n signal)``.

    Parameters
    ----------
    factors : ``(...,) + lead + (min(n, p),)``, of ``stopping_factors`` or ``shrinkage_factors``.
    signal, noise : variances, numbers or arrays that broadcast with the leading axes of the factors.
    """
    h = curvatures(x, intercept=intercept)
    n, p = np.shape(x)[-2:]
    f = checks.array("factors", factors, min_ndim=1, shape=h.shape[-1:], dtype=np.float64)
    signal, noise = (np.asarray(checks.nonnegative(*v)) for v in (("signal", signal), ("noise", noise)))
    variance = (f * _over(f, h)).sum(-1) * noise / n
    return ((1 - f) ** 2).sum(-1) * signal + variance + (p - h.shape[-1]) * signal


def _shares(h: Array, learning_rate: ArrayLike, steps: ArrayLike) -> Array:
    """``1 - (1 - 2 eta h)^t``, without the cancellation where ``2 eta h`` is small."""
    eta = np.asarray(checks.positive("learning_rate", learning_rate))[..., None]
    t = np.asarray(checks.nonnegative("steps", steps))[..., None]
    if (t != np.floor(t)).any():
        raise ValueError(f"steps: expected whole numbers >= 0, got {t[t != np.floor(t)][0]}")
    try:
        eta, t, h = np.broadcast_arrays(eta, t, h)
    except ValueError:
        got = f"{eta.shape[:-1]} and {t.shape[:-1]}"
        raise ValueError(
            f"learning_rate, steps: expected shapes that broadcast with {h.shape[:-1]}, got {got}"
        ) from None
    step = 2 * eta * h
    if (step >= 2).any():
        raise ValueError(
            f"learning_rate: expected less than 1 / max(h) = {1 / h.max():.3g}, got {eta.max():.3g}"
        )
    small = np.minimum(step, 0.5)
    return np.where(step < 0.5, -np.expm1(t * np.log1p(-small)), 1 - (1 - step) ** t)


def _over(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where b is 0."""
    return np.where(b != 0, a, 0) / np.where(b != 0, b, 1)
