r"""Gradient clipping: no gradient is larger than a limit, however steep the objective gets.

    ClipValue         g_i <- min(max(g_i, -limit), limit)          each entry; the direction changes
    ClipNorm          g_W <- g_W * min(1, limit / ||g_W||)         each parameter array (a W, a b)
    ClipGlobalNorm    g   <- g * min(1, limit / ||g||)             all parameters of a member together

The norms are Euclidean. Only the last keeps the direction of the whole gradient (Pascanu, Mikolov and Bengio
2013); ClipNorm keeps that of each array. ``fit(..., clip=...)`` clips the gradient of the objective, penalty
included, before the optimizer sees it. A gradient within the limit keeps every bit, and 0 stays 0.

Keras has the three as ``clipvalue``, ``clipnorm`` and ``global_clipnorm`` of its optimizers, and takes only
one at a time. PyTorch has the first and the last, ``clip_grad_value_`` and ``clip_grad_norm_``; the latter
divides by ``||g|| + 1e-6``, so that what it clips comes out a little shorter than the limit.

Clipping does not hide that training diverged. NaN stays NaN; where a norm is NaN or infinite there is no
direction to keep, and all that it was taken over becomes NaN; ``fit`` then names the members. Only ClipValue
takes an infinite entry for a large one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.network import Network
from regularize.penalties import per_member


class _Clip:
    """What the three share: a limit for each member."""

    def __init__(self, limit: ArrayLike) -> None:
        self.limit = checks.positive("limit", limit)

    def limits(self, net: Network) -> Array:
        """The limits, shaped to divide ``lead + (1,)``."""
        checks.broadcasts(f"{type(self).__name__}.limit", np.shape(self.limit), net.lead)
        return per_member(self.limit, net.theta)


class ClipValue(_Clip):
    """``fit(..., clip=ClipValue(0.5))``: each entry of the gradient is cut off at ``+- limit``.

    Parameters
    ----------
    limit : a number > 0, or an array that broadcasts to lead.

    Raises
    ------
    TypeError, ValueError : a limit that is not positive; when called, one that does not broadcast to lead.
    """

    def __call__(self, net: Network) -> None:
        limit = self.limits(net)
        np.clip(net.grad, -limit, limit, out=net.grad)


class ClipNorm(_Clip):
    """``fit(..., clip=ClipNorm(1.0))``: no parameter array's gradient is longer than ``limit``.

    Parameters
    ----------
    limit : a number > 0, or an array that broadcasts to lead.

    Raises
    ------
    TypeError, ValueError : a limit that is not positive; when called, one that does not broadcast to lead.
    """

    def __call__(self, net: Network) -> None:
        limit = self.limits(net)
        for p in net.parameters:
            g = p.gradient.reshape(*net.lead, -1)  # a view
            g *= shrinkage(g, limit)


class ClipGlobalNorm(_Clip):
    """``fit(..., clip=ClipGlobalNorm(1.0))``: no member's gradient is longer than ``limit``.

    Parameters
    ----------
    limit : a number > 0, or an array that broadcasts to lead.

    Raises
    ------
    TypeError, ValueError : a limit that is not positive; when called, one that does not broadcast to lead.
    """

    def __call__(self, net: Network) -> None:
        net.grad *= shrinkage(net.grad, self.limits(net))


@np.errstate(over="ignore")
def shrinkage(g: Array, limit: Array) -> Array:
    """``min(1, limit / ||g||)`` for ``g: lead + (n,)``, shape ``lead + (1,)``; NaN if the norm is not finite.

    The norm is computed in float64: in float32 the square of 1e20 is infinite.
    """
    norm = np.sqrt(np.square(g, dtype=np.float64).sum(-1, keepdims=True))
    return np.where(np.isfinite(norm), limit / np.maximum(norm, limit), np.nan).astype(g.dtype)
