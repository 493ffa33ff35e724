r"""Batch normalization: each feature is normalized by its mean and variance over the mini-batch.

In training the batch's own statistics are used, so that an example's output depends on its neighbours; in
evaluation moving averages of them, so that it does not. Names as in ``regularize.norms``: ``x_hat`` is
normalized, ``y = gamma x_hat + beta`` the output.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer
from regularize.network import Network
from regularize.norms import Norm, standardize_backward
from regularize.training import predict

#: (momentum, epsilon) of each convention, when nothing else is said.
DEFAULTS = {"keras": (0.99, 1e-3), "pytorch": (0.1, 1e-5)}


class BatchNorm(Norm):
    r"""Batch normalization (Ioffe and Szegedy 2015), of rows or of the channels of images.

        training      x_hat = (x - mean of the batch) / sqrt(variance of the batch + epsilon)
        evaluation    x_hat = (x - moving_mean) / sqrt(moving_variance + epsilon)
        y = gamma x_hat + beta

    The batch's variance is the biased one (divided by n, the number of a feature's values: examples, times
    positions of an image). The moving statistics start at 0 and 1, and each training pass moves them:

        convention              "keras"                               "pytorch"
        moving statistic <-     momentum old + (1 - momentum) new     (1 - momentum) old + momentum new
        new variance            biased                                unbiased: times n / (n - 1)
        momentum, epsilon       0.99, 1e-3                            0.1, 1e-5
        n = 1 in training       the output is beta                    ValueError

    After t training passes the starting values still weigh ``momentum^t``, at the default .99 more than half
    after 65 passes: in short runs take momentum 0.9, or call ``reestimate(net, x)`` after ``fit``, or
    evaluation may be far worse than training.

    A Keras layer with ``trainable=False`` uses its moving statistics even in training, and leaves them as
    they are; freezing gamma and beta in PyTorch does neither. Here they stay only while ``replay`` is set.

    Parameters
    ----------
    features : the number of features, or of channels.
    momentum, epsilon : numbers or arrays over lead; None: those of the convention.
    convention : "keras" or "pytorch".
    ghost : normalize groups of that many examples, each by its own statistics, and move the statistics once
        a group (Hoffer, Hubara and Soudry 2017): as if each group were a batch. What is left over forms a
        smaller, noisier group at the end. None: the whole batch.

    Raises
    ------
    TypeError, ValueError : features or ghost that are no positive integers, a momentum outside [0, 1], an
        epsilon that is not positive, an unknown convention.
    """

    hyperparameters = ("momentum", "epsilon")
    moving_mean: Array
    moving_variance: Array

    def __init__(
        self,
        features: int,
        momentum: ArrayLike | None = None,
        epsilon: ArrayLike | None = None,
        convention: str = "keras",
        ghost: int | None = None,
    ) -> None:
        self.convention = checks.choice("convention", convention, DEFAULTS)
        usual_momentum, usual_epsilon = DEFAULTS[self.convention]
        super().__init__(features, usual_epsilon if epsilon is None else epsilon)
        self.momentum = checks.fraction("momentum", usual_momentum if momentum is None else momentum)
        self.ghost = None if ghost is None else checks.integer("ghost", ghost)
        self.states = {"moving_mean": (1, features), "moving_variance": (1, features)}
        self.seen: list[tuple[int, Array, Array]] | None = None  # reestimate listens here

    def initialize(self, network: Network) -> None:
        self.gamma[...] = self.moving_variance[...] = 1

    def forward(self, x: Array, train: bool) -> Array:
        rows, self.train, self.slopes = self.rows(x), train, []
        self.groups = self._groups(x.shape)
        if train and self.convention == "pytorch" and rows.shape[-2] - self.groups[-1].start == 1:
            raise ValueError("x: expected at least 2 values per feature in training (pytorch), got 1")
        if self.seen is not None:
            self.seen.append((rows.shape[-2], *moments(rows)))
        x_hat = np.empty(rows.shape, rows.dtype)
        for group in self.groups:
            values = rows[..., group, :]
            mean, variance = moments(values) if train else (self.moving_mean, self.moving_variance)
            slope = 1 / np.sqrt(variance + self.per_member(self.epsilon, rows))
            np.multiply(values - mean, slope, out=x_hat[..., group, :])
            self.slopes.append(slope)
            if train and not self.replay:
                self._move(mean, variance, values.shape[-2])
        return self.scale(x_hat).reshape(x.shape)

    def backward(self, g: Array) -> Array:
        g_hat = self.scale_backward(self.rows(g))
        for group, slope in zip(self.groups, self.slopes, strict=True):
            values = g_hat[..., group, :]
            if self.train:
                values[...] = standardize_backward(values, self.x_hat[..., group, :], slope, -2)
            else:  # the moving statistics do not depend on x
                values *= slope
        return g_hat.reshape(g.shape)

    def _groups(self, shape: tuple[int, ...]) -> list[slice]:
        """The rows that share their statistics: all of them, or one ghost batch after the other."""
        batch, *positions = shape[len(self.lead) : -1]
        size, values = self.ghost or batch, int(np.prod(positions))
        return [slice(i * values, (i + size) * values) for i in range(0, batch, size)]

    def _move(self, mean: Array, variance: Array, n: int) -> None:
        kept = self.per_member(self.momentum, mean)
        if self.convention == "pytorch":
            kept = 1 - kept
        self.moving_mean[...] = kept * self.moving_mean + (1 - kept) * mean
        self.moving_variance[...] = kept * self.moving_variance + (1 - kept) * self._corrected(variance, n)

    def _corrected(self, variance: Array, n: int) -> Array:
        """From the biased variance of n values to the one that the convention keeps for evaluation."""
        return variance * (n / max(n - 1, 1)) if self.convention == "pytorch" else variance


def moments(rows: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each feature, ``lead + (1, features)``."""
    mean = rows.mean(-2, keepdims=True)
    return mean, rows.var(-2, keepdims=True, mean=mean)


def reestimate(net: Network, x: ArrayLike, batch_size: int = 256) -> None:
    """Set the moving statistics to the population statistics of ``x`` under the weights as they are.

    For weights that no training pass has seen, such as averaged ones (Izmailov et al. 2018), and for
    statistics that were collected under dropout, whose noise adds variance that evaluation does not have: the
    variance shift (Li et al. 2019). The network runs in evaluation mode, so dropout is off.

    One layer after the other, in the order of ``net.all_layers``: the later ones see what the earlier ones
    make with their new statistics. So the result does not depend on ``batch_size`` (but for rounding), and
    in convention "keras" evaluating x gives what training mode would give for the whole of x as one batch.
    PyTorch's ``update_bn`` instead averages the statistics of mini-batches, in training mode, with dropout.

    Parameters
    ----------
    x : ``(n, features)``, or with leading axes that broadcast to lead.
    batch_size : how many examples pass at a time, to save memory.

    Raises
    ------
    TypeError, ValueError : data or a batch size that ``regularize.training.predict`` refuses.
    """
    for norm in net.all_layers:
        if isinstance(norm, BatchNorm):
            norm.seen = []
            try:
                predict(net, x, batch_size)
                parts = norm.seen
            finally:
                norm.seen = None
            n = sum(size for size, _, _ in parts)
            mean, variance = np.zeros((2, *norm.moving_mean.shape), net.dtype)
            for size, part_mean, _ in parts:
                mean += size / n * part_mean
            for size, part_mean, part_variance in parts:  # within the parts, and between them
                variance += size / n * (part_variance + (part_mean - mean) ** 2)
            norm.moving_mean[...], norm.moving_variance[...] = mean, norm._corrected(variance, n)


def fold(layer: Layer, norm: BatchNorm) -> tuple[Array, Array]:
    """``W`` and ``b`` of a layer that does alone what ``layer``, then ``norm``, do in evaluation mode:

        slope = gamma / sqrt(moving_variance + epsilon)
        W <- W slope,    b <- (b - moving_mean) slope + beta

    The layer is a ``Dense``, or a convolution: the last axis of its W and b are the norm's features. The
    layers stay as they are; copy the arrays into the layer of a network without the norm.

    Raises
    ------
    TypeError, ValueError : a layer without W and b, a norm that is no ``BatchNorm``, layers that are not in
        a network yet, whose features differ, or of networks with other ensemble axes.
    """
    if not isinstance(norm, BatchNorm):
        raise TypeError(f"norm: expected a BatchNorm, got {norm!r}")
    if getattr(layer, "states", None):  # SpectralDense multiplies by another matrix than its W
        raise TypeError(f"layer: expected one that multiplies by its W, got {layer!r}")
    weights, bias = getattr(layer, "W", None), getattr(layer, "b", None)
    if weights is None or bias is None or not hasattr(norm, "gamma"):
        raise TypeError(
            f"layer: expected layers of a network, the first with W and b, got {layer!r}, {norm!r}"
        )
    if bias.shape != norm.gamma.shape:
        raise ValueError(f"layer: expected biases of shape {norm.gamma.shape}, got {bias.shape}")
    slope = norm.gamma / np.sqrt(norm.moving_variance + norm.per_member(norm.epsilon, norm.gamma))
    inner = (1,) * (weights.ndim - slope.ndim)
    spread = slope.reshape(*norm.lead, *inner, 1, norm.features)
    return weights * spread, (bias - norm.moving_mean) * slope + norm.beta
