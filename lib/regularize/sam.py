r"""Sharpness-aware minimization: the gradient is taken where the loss is worst nearby (Foret et al. 2021).

The objective is the largest loss within distance rho of the weights. To first order the worst point lies
uphill along the gradient, and SAM descends from where it stands with the gradient of that point:

    g = grad J(theta)
    step along   grad J(theta + rho g / ||g||)        ||g|| over all parameters of a member, biases too

A flat minimum keeps its small gradient, a sharp one does not. Each step costs two passes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.losses import Loss
from regularize.network import Network
from regularize.penalties import per_member
from regularize.training import backpropagate


class SAM:
    """``fit(..., gradient=SAM(0.05))``, with any optimizer.

    Both passes are of the same function: the second uses the dropout masks of the first and leaves moving
    statistics alone. Penalty, clipping and decay act afterwards, at the weights themselves.

    Parameters
    ----------
    rho : the distance, a number or an array that broadcasts to lead. Around 0.05 is usual.

    Raises
    ------
    ValueError : a negative, NaN or infinite rho; when called, one that does not broadcast to lead.
    """

    def __init__(self, rho: ArrayLike = 0.05) -> None:
        self.rho = checks.nonnegative("rho", rho)

    def __call__(self, net: Network, x: Array, y: Array, loss: Loss) -> None:
        checks.broadcasts("SAM.rho", np.shape(self.rho), net.lead)
        backpropagate(net, x, y, loss)
        square = np.square(net.grad, dtype=np.float64).sum(-1, keepdims=True)  # of 1e-24, 0 in float32
        norm = np.sqrt(square).astype(net.dtype)
        theta = net.theta.copy()
        net.theta += per_member(self.rho, theta) * (net.grad / np.where(norm > 0, norm, 1))
        try:
            with net.replay():
                backpropagate(net, x, y, loss)
        finally:
            net.theta[...] = theta  # a copy: subtracting what was added would round
