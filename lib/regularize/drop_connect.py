r"""DropConnect: in training, single weights are switched off at random, where dropout switches off units.

    training      y = x (M * W) / (1 - p) + b,    M = 0 with probability p (the rate), else 1, for each weight
    evaluation    y = x W + b

This is the elementwise mask on a weight matrix (Wan et al. 2013). If M is constant along each of its rows,
whole inputs are dropped: that is dropout in front of a dense layer, with one mask for the whole batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize.checks import Array
from regularize.dropout import RandomLayer
from regularize.initialization import Initializer, he_normal
from regularize.layers import Dense, transpose
from regularize.network import Network


class DropConnect(RandomLayer, Dense):
    """A dense layer with a random mask ``lead + (n_in, n_out)`` on its weights, new for each mini-batch.

    Wan et al. draw a mask for each example. That takes B masks as large as W, and B products with a vector
    instead of one with a matrix. One mask per mini-batch has the same expected gradient, since the masks that
    one example meets have the same distribution; but examples of a batch share their noise, so the gradient
    varies more. Two more differences: here biases are never dropped, and evaluation uses the mean weights
    (Wan et al. sample the inputs of each unit from a normal distribution; ``monte_carlo`` samples masks).

    Parameters
    ----------
    n_in, n_out, init : as for ``Dense``.
    rate : the probability to drop a weight, in [0, 1); may be an array that broadcasts to lead.

    Raises
    ------
    TypeError, ValueError : bad widths, a rate outside [0, 1), a given mask that does not fit.
    """

    def __init__(self, n_in: int, n_out: int, rate: ArrayLike, init: Initializer = he_normal) -> None:
        Dense.__init__(self, n_in, n_out, init)
        RandomLayer.__init__(self, rate)

    def initialize(self, network: Network) -> None:
        Dense.initialize(self, network)
        RandomLayer.initialize(self, network)

    def forward(self, x: Array, train: bool) -> Array:
        self.x, self.factor = x, self.per_member(1.0, self.W)
        if train or self.sampling:
            mask, scale = self.next_mask(self.shapes["W"]), self.per_member(1 / (1 - self.rate), self.W)
            self.factor = np.multiply(mask, scale, dtype=x.dtype)
        self.thinned = self.W * self.factor
        return x @ self.thinned + self.b

    def backward(self, g: Array) -> Array:
        np.matmul(transpose(self.x), g, out=self.dW)
        self.dW *= self.factor
        np.sum(g, axis=-2, keepdims=True, out=self.db)
        return g @ transpose(self.thinned)
