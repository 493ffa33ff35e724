r"""A penalty on the gradient of the loss with respect to the inputs: small changes of x shall change little.

    J + lam * (1/B) sum_i ||v_i||^2,        v_i = d loss_i / d x_i

is double backpropagation (Drucker and Le Cun 1992). The penalty on the critic of a Wasserstein GAN (Gulrajani et
al. 2017) is its relative, which asks for gradients of length 1 instead of 0.

**Its gradient without second derivatives.** Backpropagation gives ``dJ/dx_i = v_i / B``, as J is a mean. Hold a
direction c fixed: the change of J along c is ``sum_i c_i . dJ/dx_i``. Take the gradient of both sides:

    sum_i c_i . d(dJ/dx_i)/dtheta = d/de  grad_theta J(x + e c)  at e = 0

With ``c_i = v_i`` the left side is half the gradient of ``(1/B) sum_i ||v_i||^2``. So, by a central difference,

    grad penalty = 2 lam d/de grad_theta J(x + e v) = (lam / e) (grad J(x + e v) - grad J(x - e v)) + O(e^2)

which is two more passes. Here e is such that the example with the longest v_i moves by a cube root of the
machine precision, times the root mean square of x: the best bargain between the error of the formula and
that of rounding. What remains is about 1e-9 of the penalty's gradient in float64, and 1e-3 in float32.

**ReLU.** The gradient jumps where a unit is switched, and a difference taken across a jump is no derivative. So the
two extra passes keep every ReLU as it was at x. Other layers with kinks (max pooling, PReLU, SELU) are not held:
now and then a batch brings an outlier with them; smooth activations or clipping help.

**Noise.** A loss changes by ``v . n`` under small noise n on x. With noise of standard deviation s, ``s^2 ||v||^2`` is its
mean squared change. For a linear model ``x W + b`` under squared error, with residuals ``r_i = y_i - x_i W - b``,

    (1/B) sum_i ||v_i||^2 = (4/B) sum_i ||W r_i||^2

With one output that is ``4 MSE ||w||^2``. Noise on the inputs adds ``s^2 ||w||^2`` to the mean squared error (Tikhonov
regularization, Bishop 1995), so the penalty weighs as much as noise with ``s^2 = 4 lam MSE``, and fades with the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.activations import ReLU
from regularize.checks import Array
from regularize.losses import Loss
from regularize.network import Network
from regularize.penalties import per_member
from regularize.training import backpropagate


class GradientPenalty:
    """``fit(..., gradient=GradientPenalty(0.01))``: the gradient of the loss and of the penalty on ``v_i``.

    All passes are of the same function: the later ones use the dropout masks of the first and leave moving
    statistics alone. A step costs three passes. Where a layer mixes the examples of a batch (batch
    normalization), v_i is ``B dJ/dx_i``.

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

    def slopes(layer: ReLU) -> Callable[[Array, bool], Array]:
        return lambda x, train: layer.backward(x)

    layers = [layer for layer in net.all_layers if isinstance(layer, ReLU)]
    try:
        for layer in layers:
            vars(layer)["forward"] = slopes(layer)  # hides the method of the class
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
