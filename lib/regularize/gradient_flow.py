r"""How large activations and gradients are at each depth of a network: do they vanish, do they explode?

The chain rule multiplies the gradient by one Jacobian per layer on its way back,

    dJ/dx_l = J_l^T ... J_(L-1)^T dJ/dx_L,        J_l = dx_(l+1) / dx_l

so that its size changes like a power of what one layer does (Bengio, Simard and Frasconi 1994). It is
measured with respect to the activations, and not to the weights: ``dJ/dW_l = x_l^T dJ/dx_(l+1)`` is a product
of what came forward and what came back. In a network whose weights are too small the first falls with l and
the second rises; their product is the same at all depths, and nothing seems to vanish.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regularize.checks import Array
from regularize.losses import Loss, cross_entropy
from regularize.network import Network
from regularize.training import check_data


class Flow(NamedTuple):
    """Sizes at the ``depth + 1`` boundaries between layers: 0 is the input, the last the output.

    activations, gradients : shape ``(depth + 1,) + lead``, float64.
    """

    activations: Array
    gradients: Array

    @property
    def growth(self) -> Array:
        """``gradients[l] / gradients[l + 1]``, what layer l does to the gradient: shape ``(depth,) + lead``.

        NaN where both are 0, infinite where only the latter is.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.gradients[:-1] / self.gradients[1:]


def gradient_flow(net: Network, x: ArrayLike, y: ArrayLike, loss: Loss = cross_entropy) -> Flow:
    r"""The sizes of activations and of their gradients before, between and after ``net.layers``.

        activations[l]    root of the mean of x_l^2, over examples and features
        gradients[l]      root of the mean of ||n dJ/dx_l||^2, over the n examples

    J is the mean loss of the examples, so that ``n dJ/dx_l`` is about one example, whatever n is. Activations
    are measured per value, gradients by the length of an example's, for then weights of variance
    ``1 / fan_in`` leave both as they are in a linear network, whatever its widths. A residual block is one
    layer.

    The pass is one of training: batch normalization takes the statistics of this batch, and dropout draws
    the masks that the next training step would draw. It runs on a copy, which leaves the network, its
    statistics and its random streams as they were.

    Raises
    ------
    TypeError, ValueError : data that ``fit`` refuses.
    """
    x, y = check_data(net, x, y, loss)
    net = deepcopy(net)
    with np.errstate(over="ignore", invalid="ignore"):  # members that diverged show as infinite or NaN
        activations = [np.broadcast_to(x, net.lead + x.shape[-2:])]
        for layer in net.layers:
            activations.append(layer.forward(activations[-1], True))
        gradients = [loss(activations[-1], y)[1]]
        for layer in reversed(net.layers):
            gradients.append(layer.backward(gradients[-1]))
        n = x.shape[-2]
        return Flow(
            np.stack([np.sqrt(_squares(a, net).mean((-1, -2))) for a in activations]),
            np.stack([n * np.sqrt(_squares(g, net).sum(-1).mean(-1)) for g in reversed(gradients)]),
        )


def _squares(a: Array, net: Network) -> Array:
    """``lead + (B, values of an example)``, in float64, where the square of a vanishing float32 is not 0."""
    return np.square(a, dtype=np.float64).reshape(*a.shape[: len(net.lead) + 1], -1)
