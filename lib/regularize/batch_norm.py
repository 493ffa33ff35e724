r"""Batch normalization: each feature is normalized by its mean and variance over the mini-batch.

In training the batch's own statistics are used, so that an example's output depends on its neighbours; in
evaluation moving averages of them, so that it does not. The names ``x_hat`` (normalized) and ``y = gamma
x_hat + beta`` (the output) are those of ``regularize.norms``.
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

    A Keras layer with ``trainable=False`` uses its moving statistics even in training, and leaves them; in
    PyTorch freezing gamma and beta does neither. While ``replay`` is set, they stay as they are here, too.

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
        self.gamma[...] = 1
        self.moving_variance[...] = 1

    def forward(self, x: Array, train: bool) -> Array:
        rows, epsilon = self.rows(x), self.per_member(self.epsilon, x)
        ...
