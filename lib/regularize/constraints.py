r"""Constraints: after each step the weights are put back into a set, whatever the gradient wanted.

Both act on the columns of the kernels: column j holds the weights that lead into unit (or channel) j,

    MaxNorm    w_j <- w_j * min(1, limit / ||w_j||)        the nearest point of the ball
    UnitNorm   w_j <- w_j / ||w_j||                        the nearest point of the sphere

Biases are free. (The average of points on a sphere lies inside: with an ``average``, call UnitNorm once more
after ``fit``.) A constraint is a limit and has no price: a unit inside the ball feels nothing.

Keras has both as ``kernel_constraint``. It divides by ``||w_j|| + 1e-7``, so that the norms come out smaller
by a share of ``1e-7 / ||w_j||``, at each step, and also inside the ball. Its ``axis=0`` means the columns of
a dense kernel; a convolution needs ``axis=[0, 1, 2]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.network import Network


class MaxNorm:
    """``fit(..., constrain=MaxNorm(3.0))``: no unit's incoming weights are longer than ``limit``.

    Srivastava et al. (2014) combine it with dropout. Weights inside the ball keep every bit.

    Parameters
    ----------
    limit : the radius, a number or an array that broadcasts to lead. The default is that of Keras.

    Raises
    ------
    ValueError : a limit that is not positive; when called, one that does not broadcast to lead.
    """

    def __init__(self, limit: ArrayLike = 2.0) -> None:
        self.limit = checks.positive("limit", limit)

    def __call__(self, net: Network) -> None:
        checks.broadcasts("MaxNorm.limit", np.shape(self.limit), net.lead)
        limit = np.asarray(self.limit, net.dtype)[..., None, None]
        for W in net.kernels():
            W *= limit / np.maximum(column_norms(W), limit)


class UnitNorm:
    """``fit(..., constrain=UnitNorm())``: each unit's incoming weights have length 1; zeros stay zeros."""

    def __call__(self, net: Network) -> None:
        for W in net.kernels():
            norms = column_norms(W)
            W /= np.where(norms > 0, norms, 1)


def column_norms(W: Array) -> Array:
    """The Euclidean length of each column of ``W: lead + (fan_in, units)``, shape ``lead + (1, units)``."""
    square = np.square(W, dtype=np.float64).sum(-2, keepdims=True)  # of 1e20, infinite in float32
    return np.sqrt(square).astype(W.dtype)
