r"""A penalty on the gradient of the loss with respect to the inputs: small changes of x shall change little.

    J + lam * (1/B) sum_i ||v_i||^2,        v_i = d loss_i / d x_i

is double backpropagation (Drucker and Le Cun 1992). The penalty on the critic of a Wasserstein GAN
(Gulrajani et al. 2017) is its relative; it asks for gradients of length 1 instead of 0.

Its gradient needs no second derivatives. Backpropagation gives ``dJ/dx_i = v_i / B``, as J is a mean. Along
fixed directions c_i, J changes by ``sum_i c_i . dJ/dx_i``. The gradient of that for theta is

    sum_i c_i . d(dJ/dx_i)/dtheta  =  d/de grad_theta J(x + e c)  at e = 0.

With ``c_i = v_i`` the left side is half the gradient of ``(1/B) sum_i ||v_i||^2``. So a central difference
gives

    grad penalty  =  (lam / e) (grad_theta J(x + e v) - grad_theta J(x - e v)) + O(e^2):

two more passes. Here e moves the example with the longest v_i by h times the root mean square of x, where h
is the cube root of the machine precision: the best bargain between the error of the formula and that of
rounding. What remains on the digits is 2e-10 of the penalty's gradient in float64, and 1e-4 in float32.

ReLU: the gradient jumps where a unit is switched, and a difference across a jump is no derivative. So the
two extra passes keep every ReLU and LeakyReLU as it was at x. Other layers with kinks (max pooling, PReLU,
SELU, ELU with another alpha than 1, ActivityPenalty with l1) are not held: now and then a batch brings an
outlier with them. Smooth activations or clipping help.

Noise: small noise n on x changes a loss by ``v . n``. With standard deviation s, the mean squared change
is ``s^2 ||v||^2``. For a linear model ``x W + b`` under squared error, with ``r_i = y_i - x_i W - b``,

    (1/B) sum_i ||v_i||^2 = (4/B) sum_i ||W r_i||^2        (one output: 4 ||w||^2 times the squared error)

and noise adds ``s^2 ||w||^2`` to the squared error (Tikhonov regularization, Bishop 1995). So the penalty
weighs as much as noise with ``s^2 = 4 lam`` times the squared error: it fades as the error does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.activations import LeakyReLU, ReLU
from regularize.checks import Array
from regularize.layers import Layer
from regularize.losses import Loss
from regularize.network import Network
from regularize.penalties import per_member
from regularize.training import backpropagate


class GradientPenalty:
    """``fit(..., gradient=GradientPenalty(0.01))``: the gradient of the loss and of the penalty on ``v_i``.

    All passes are of the same function: the later ones use the dropout masks of the first and leave moving
    statistics alone. A step costs three passes. Where a layer mixes the examples of a batch (batch
    normalization), v_i is ``B dJ/dx_i``. Where an ``ActivityPenalty`` stands in the network, v_i is the
    gradient of the loss and of that penalty together.

    Parameters
    ----------
    lam : the strength, a number or an array that broadcasts to lead.

    Raises
    ------
    ValueError : a negative, NaN or infinite strength; when called, one that does not broadcast to lead.
    """

    def __init__(self, lam: ArrayLike) -> None:
        self.lam = checks.nonnegative("lam", lam)

    def __call__(self, net: Network, x: Array, y: Array, loss: Loss) -> None:
        checks.broadcasts("GradientPenalty.lam", np.shape(self.lam), net.lead)
        v = x.shape[-2] * backpropagate(net, x, y, loss)
        plain = net.grad.copy()
        e = _step(x, v)
        with net.replay(), _on_the_same_piece(net):
            backpropagate(net, x - e * v, y, loss)
            below = net.grad.copy()
            backpropagate(net, x + e * v, y, loss)
        net.grad -= below
        net.grad *= per_member(self.lam, plain) / e[..., 0]
        net.grad += plain

    def value(self, net: Network, x: Array, y: Array, loss: Loss) -> Array:
        """The penalty ``lam * mean_i ||v_i||^2`` of each member, shape lead, in evaluation mode.

        Leaves the gradient of the loss in ``net.grad``, as every backward pass does.
        """
        checks.broadcasts("GradientPenalty.lam", np.shape(self.lam), net.lead)
        v = x.shape[-2] * net.backward(loss(net(x), y)[1])
        return np.asarray(self.lam, v.dtype) * (v * v).sum(-1).mean(-1)


def _step(x: Array, v: Array) -> Array:
    """The factor e, shape ``lead + (1, 1)``; 1 stands in for lengths that are 0."""
    size = np.sqrt((x * x).mean((-1, -2), keepdims=True))
    longest = np.sqrt((v * v).sum(-1, keepdims=True)).max(-2, keepdims=True)
    h = np.cbrt(np.finfo(v.dtype).eps)
    return h * np.where(size > 0, size, 1) / np.where(longest > 0, longest, 1)


@contextmanager
def _on_the_same_piece(net: Network) -> Iterator[None]:
    """Inside, every ReLU multiplies by the slopes of its last pass: forward is then what backward is."""

    def slopes(layer: Layer) -> Callable[[Array, bool], Array]:
        return lambda x, train: layer.backward(x)

    layers = [layer for layer in net.all_layers if isinstance(layer, ReLU | LeakyReLU)]
    try:
        for layer in layers:
            vars(layer)["forward"] = slopes(layer)  # hides the method of the class
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
