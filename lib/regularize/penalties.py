r"""Penalties on the size of the weights, in the book's one convention:

    J(theta) = (mean loss over the examples) + lambda * Omega(w)
    Omega_1(w) = sum |w|        Omega_2(w) = sum w^2        (no 1/2 and no 1/n anywhere)

A penalty acts on ``w: lead + (P,)``. Its strength is a number or an array that broadcasts to lead,
so one run trains several lambdas. ``mask`` is 1 where it acts and 0 where it does not (biases).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array


def per_member(h: ArrayLike, w: Array) -> Array:
    """A hyper-parameter of shape () or lead, shaped to multiply ``w: lead + (P,)``, in w's precision."""
    h = np.asarray(h, w.dtype)
    return h[..., None] if h.ndim else h


class ElasticNet:
    r"""``l1 * sum |w| + l2 * sum w^2`` (Zou and Hastie 2005).

    Raises
    ------
    ValueError : a negative, NaN or infinite strength.
    """

    def __init__(self, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0) -> None:
        self.l1, self.l2 = checks.nonnegative("l1", l1), checks.nonnegative("l2", l2)

    def value(self, w: Array, mask: Array | float = 1.0) -> Array:
        """The penalty of each member, shape lead."""
        w = w * mask
        l1, l2 = np.asarray(self.l1, w.dtype), np.asarray(self.l2, w.dtype)
        return l1 * np.abs(w).sum(-1) + l2 * (w * w).sum(-1)

    def gradient(self, w: Array, mask: Array | float = 1.0) -> Array:
        """``l1 sign(w) + 2 l2 w``, taking 0 as the subgradient of |w| at 0."""
        g = np.zeros_like(w)
        if np.any(self.l1):
            g += per_member(self.l1, w) * np.sign(w)
        if np.any(self.l2):
            g += 2 * per_member(self.l2, w) * w
        return g * mask

    def prox(self, w: Array, step: ArrayLike, mask: Array | float = 1.0) -> Array:
        """The proximal step: the v that minimizes ``(v - w)^2 / (2 step) + penalty(v)``.

        That is the soft threshold ``step l1`` and then the division by ``1 + 2 step l2``. It sets
        small weights to exactly 0, which a gradient step never does.
        """
        checks.positive("step", step)
        threshold = per_member(self.l1 * np.asarray(step), w) * mask
        shrink = 1 + 2 * per_member(self.l2 * np.asarray(step), w) * mask
        return np.sign(w) * np.maximum(np.abs(w) - threshold, 0) / shrink


class L1(ElasticNet):
    """``lam * sum |w|``: the lasso (Tibshirani 1996)."""

    def __init__(self, lam: ArrayLike) -> None:
        super().__init__(l1=checks.nonnegative("lam", lam))


class L2(ElasticNet):
    """``lam * sum w^2``: ridge regression (Hoerl and Kennard 1970). The gradient is ``2 lam w``."""

    def __init__(self, lam: ArrayLike) -> None:
        super().__init__(l2=checks.nonnegative("lam", lam))
