r"""Hyper-gradients: lambda is learned like a weight, by the gradient of the validation loss L.

For ridge the weights are a known function of lambda, and so is their derivative. At the minimum of ``J`` its
gradient is 0; differentiating that by ``lambda_j`` (the implicit function theorem; Bengio 2000) gives

    A w = (2/n) X'y,    A = (2/n) X'X + 2 diag(lambda),    A dw/dlambda_j = -2 w_j e_j,
    dL/dlambda_j = -2 w_j (A^-1 dL/dw)_j

A network has no closed form, but it has a last step. For SGD,

    w' = w - lr (gradient of the loss + 2 lambda w),    dL(w')/dlog lambda = -2 lr lambda <dL/dw', w>

``AdaptiveL2`` follows that while the network is trained (T1-T2, Luketina et al. 2016): lambda grows when the
validation loss would fall if the weights shrank. Both descend in log lambda, which keeps lambda positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.linear import Centered, centered
from regularize.losses import Loss, cross_entropy
from regularize.network import Network
from regularize.penalties import L2, ElasticNet
from regularize.training import check_data


def ridge_hypergradient(
    x: ArrayLike, y: ArrayLike, x_val: ArrayLike, y_val: ArrayLike, lam: ArrayLike
) -> tuple[float, Array]:
    """The validation loss of ridge (mean squared error) and its exact gradient by log lambda, for one model.

    x, y and x_val, y_val are ``(n, p)`` and ``(n,)``. lam is one strength > 0, or one per weight, ``(p,)``;
    the gradient has its shape. The intercept is not penalized. Raises ValueError or TypeError for anything
    else.
    """
    data, x_val, y_val, lam = _check(x, y, x_val, y_val, lam)
    n, p = data.x.shape
    A = 2 / n * data.x.T @ data.x + 2 * lam * np.eye(p)
    w = np.linalg.solve(A, 2 / n * data.x.T @ data.y)
    z = x_val - data.x_mean
    r = y_val - data.y_mean - z @ w
    dw = -2 / len(r) * z.T @ r
    gradient = -2 * lam * w * np.linalg.solve(A, dw)
    return float(r @ r / len(r)), gradient if lam.ndim else gradient.sum()


def _check(
    x: ArrayLike, y: ArrayLike, x_val: ArrayLike, y_val: ArrayLike, lam: ArrayLike
) -> tuple[Centered, Array, Array, Array]:
    data = centered(checks.array("x", x, ndim=2), checks.array("y", y, ndim=1))
    x_val = checks.array("x_val", x_val, ndim=2, shape=data.x.shape[1:], dtype=np.float64)
    y_val = checks.array("y_val", y_val, ndim=1, shape=x_val.shape[:1], dtype=np.float64)
    lam = np.asarray(checks.positive("lam", lam))
    checks.broadcasts("lam", lam.shape, data.x.shape[1:])
    return data, x_val, y_val, lam


class Descent(NamedTuple):
    """Every lambda on the way and its validation loss, from first to last."""

    lam: Array
    loss: Array


def descend_ridge(
    x: ArrayLike,
    y: ArrayLike,
    x_val: ArrayLike,
    y_val: ArrayLike,
    lam: ArrayLike = 1.0,
    *,
    steps: int = 200,
    tol: float = 1e-6,
) -> Descent:
    """Gradient descent on log L in log lambda, starting from ``lam``; the result is ``lam[-1]``.

    A step that lowers log L by less than half of what its slope promises is halved, and the next one may be
    twice as long. It ends when no slope exceeds ``tol``, or after ``steps``. It finds *a* minimum: a
    validation curve may have several. One lambda per weight drops useless features by making theirs large,
    but then p numbers are fitted to the validation data, and can overfit them.
    """
    rho = np.log(_check(x, y, x_val, y_val, lam)[-1])
    steps, tol, length = checks.integer("steps", steps), checks.positive_number("tol", tol), 1.0

    def at(rho: Array) -> tuple[float, Array]:
        loss, gradient = ridge_hypergradient(x, y, x_val, y_val, np.exp(rho))
        return loss, gradient / (loss or 1.0)

    loss, slope = at(rho)
    lams, losses = [np.exp(rho)], [loss]
    while len(losses) <= steps and np.abs(slope).max() > tol:
        length = min(2 * length, 2 / np.abs(slope).max())  # no leap by more than a factor of e^2
        while (new := at(rho - length * slope))[0] > loss * np.exp(-length / 2 * (slope * slope).sum()):
            length /= 2
        rho, (loss, slope) = rho - length * slope, new
        lams.append(np.exp(rho))
        losses.append(loss)
    return Descent(np.array(lams), np.array(losses))


class RememberingL2(L2):
    """An L2 penalty that keeps the penalized weights at which its gradient was taken last."""

    weights: Array | None = None

    def gradient(self, w: Array, mask: Array | float = 1.0) -> Array:
        self.weights = w * mask
        return ElasticNet.gradient(self, w, mask)


class AdaptiveL2:
    r"""An L2 penalty whose lambda follows the validation loss during training, each member its own.

        adaptive = AdaptiveL2(*validation)
        fit(net, *train, SGD(0.1), ..., penalty=adaptive.penalty, constrain=adaptive)

    After each step, with w the weights before it and g the gradient of the validation loss after it,

        log lam <- log lam + rate * <g, w> / (||g|| ||w||)        over the penalized weights alone

    That is a step down the hyper-gradient ``-2 lr lam <g, w>``, divided by the most it could be: the learning
    rate cancels, and lam changes by a factor of at most ``exp(rate)`` per step. Undivided, it would stand
    still where lam is small and overshoot where lam is large.

    What it ignores: that earlier lambdas shaped w, too, so it is short-sighted and may settle at another
    lambda than whole runs would choose; and whatever an optimizer does to the gradient. For SGD, also with
    momentum, the last step's derivative is exact; under Adam the rule is a rule of thumb. The validation
    examples become training data of a kind: judge the result on others.

    The validation loss is that of evaluation mode: no masks are drawn, no moving statistics move, and
    ``net.grad`` is put back. A step costs one more pass, of the whole validation part.

    Parameters
    ----------
    x, y : validation examples, as for ``fit``.
    lam : the first lambda, > 0, a number or an array that broadcasts to lead.
    rate : the largest change of log lam per step, > 0, likewise: ``c lam`` is ``log(c) / rate`` steps away.
    loss : the one that ``fit`` is given.

    Attributes
    ----------
    penalty : the penalty for ``fit``.
    hypergradient : ``-2 lam <g, w>`` of the last step: dL/dlog lam per unit of the learning rate, shape lead.

    Raises
    ------
    TypeError, ValueError : bad input; when called, what does not fit the network, a step without ``penalty``.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        lam: ArrayLike = 1e-4,
        rate: ArrayLike = 0.1,
        loss: Loss = cross_entropy,
    ) -> None:
        self.x = np.ascontiguousarray(checks.array("x", x, min_ndim=2))
        self.y = checks.array("y", y, min_ndim=2, shape=(self.x.shape[-2], None))
        self.checked: Network | None = None  # the network that ``data`` have been checked for
        self.penalty = RememberingL2(checks.positive("lam", lam))
        self.rate, self.loss = checks.positive("rate", rate), checks.function("loss", loss)

    @property
    def lam(self) -> Array:
        """The strength of each member."""
        return np.asarray(self.penalty.l2)

    def __call__(self, net: Network) -> None:
        w, self.penalty.weights = self.penalty.weights, None
        if w is None:
            raise ValueError("penalty: expected fit(penalty=adaptive.penalty), not proximal, got another one")
        g = self._validation_gradient(net)
        slope, most = _inner(g, w), np.sqrt(_inner(g, g) * _inner(w, w))
        self.hypergradient = -2 * self.lam * slope
        self.penalty.l2 = self.lam * np.exp(self.rate * slope / np.where(most > 0, most, 1))

    def _validation_gradient(self, net: Network) -> Array:
        """dL/dtheta, ``lead + (P,)``, 0 where no penalty acts. The network stays as it was."""
        checks.broadcasts("AdaptiveL2.rate", np.shape(self.rate), net.lead)
        if self.checked is not net:
            self.data, self.checked = check_data(net, self.x, self.y, self.loss), net
        x, y = self.data
        kept = net.grad.copy()
        net.backward(self.loss(net(x), y)[1])
        g: Array = net.grad * net.penalized
        net.grad[...] = kept
        return g


def _inner(a: Array, b: Array) -> Array:
    """<a, b> of each member, in float64, in which lambda is kept."""
    return np.asarray((a * b).sum(-1), np.float64)
