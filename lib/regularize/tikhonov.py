r"""Noise on the inputs is a penalty: training with noise is Tikhonov regularization (Bishop 1995).

Let e be noise with mean 0 and covariance ``std^2 I``, drawn anew whenever an example is used. To the expected
squared error of a linear model it adds exactly the penalty of ridge regression, whatever its distribution:

    E mean (y - (x + e) w - b)^2 = mean (y - x w - b)^2 + std^2 sum w^2

For a network f with squared error it adds, up to terms in ``std^4`` (when its distribution is symmetric),

    std^2 mean sum_k |grad_x f_k|^2 + std^2 mean sum_k (f_k - y_k) laplace_x f_k

Where f is the mean of y given x, the second term vanishes. The first is ``tikhonov_penalty``: it prefers
outputs that change little with the inputs. To train with noise: ``augmentation.GaussianNoise``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.network import Network


def ridge_strength(std: ArrayLike) -> Any:
    """The lambda that noise of standard deviation ``std`` stands for in a linear model: ``std^2``.

    This is in the book's convention, mean squared error plus ``lambda sum w^2``: for ``linear.ridge``, or for
    ``L2`` beside ``squared_error``. ``std`` is a number >= 0 or an array of them, else ValueError.
    """
    return checks.nonnegative("std", std) ** 2


def matched_copies(x: ArrayLike, y: ArrayLike, std: float) -> tuple[Array, Array]:
    """Noise without chance: 2 d copies of the data whose noise has mean 0 and covariance ``std^2 I``.

    Copy j adds ``std sqrt(d)`` to feature j of every example, copy d + j subtracts it. So least squares on
    the copies is ridge regression on the data, to rounding; random copies only come close, in great number.

    Parameters
    ----------
    x : lead + (n, d).
    y : lead + (n,) or lead + (n, k), repeated as it is.
    std : one number >= 0, in the units of x.

    Returns
    -------
    x and y with 2 d n rows, in the precision of x and y. Raises ValueError or TypeError for bad input.
    """
    x, y = checks.array("x", x, min_ndim=2), checks.array("y", y)
    rows = x.ndim - 2
    if y.shape[: rows + 1] != x.shape[:-1]:
        raise ValueError(f"y: expected shape {x.shape[:-1]}, or one axis more, got shape {y.shape}")
    n, d = x.shape[-2:]
    step = checks.number("std", std, low=0.0) * np.sqrt(d) * np.eye(d)
    noise = np.concatenate([step, -step]).astype(x.dtype)  # one row for each copy
    copies = (x[..., None, :, :] + noise[:, None, :]).reshape(*x.shape[:-2], 2 * d * n, d)
    return copies, np.concatenate([y] * (2 * d), axis=rows)


def tikhonov_penalty(net: Network, x: ArrayLike, std: ArrayLike) -> Array:
    """``std^2 * mean over the examples of sum_k |grad_x f_k|^2``, of each member, shape lead.

    How much the outputs f (logits, in a classifier) change with the inputs, in evaluation mode. For a linear
    model it is ``std^2 sum w^2``. It takes a backward pass for each output, and leaves ``net.grad`` as it is.

    Parameters
    ----------
    x : ``(n, features)``, or with leading axes that broadcast to lead.
    std : a number >= 0 or an array that broadcasts to lead.

    Raises
    ------
    ValueError : data or ``std`` of the wrong shape, a negative, NaN or infinite ``std``.
    """
    x = checks.array("x", x, min_ndim=2, dtype=net.dtype)
    checks.broadcasts("x's leading axes", x.shape[:-2], net.lead)
    std = np.asarray(ridge_strength(std), net.dtype)
    checks.broadcasts("std", std.shape, net.lead)
    outputs = net.output_features(x.shape[-1])
    before = net.grad.copy()
    total = np.zeros(net.lead, net.dtype)
    z = net(np.broadcast_to(x, net.lead + x.shape[-2:]))
    for k in range(outputs):
        g = np.zeros_like(z)
        g[..., k] = 1
        slope = net.backward(g)
        total += (slope * slope).sum(-1).mean(-1)
    net.grad[...] = before
    return std * total
