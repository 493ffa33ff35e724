"""A layer turns activations into activations, and gradients back into gradients.

``forward`` remembers what ``backward`` needs. ``backward`` receives dJ/d(output), fills the
gradients of its own parameters and returns dJ/d(input).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regularize import checks

if TYPE_CHECKING:
    from regularize.network import Network

Array = NDArray[Any]


def transpose(a: Array) -> Array:
    """Swap the last two axes, and leave the ensemble axes alone."""
    return np.swapaxes(a, -1, -2)


class Layer:
    """The contract. Activations have shape ``lead + (B, features)``.

    ``shapes`` names the parameters and their shapes without lead. The network gives the layer,
    for each name ``W``, two arrays: ``layer.W`` (a view into ``network.theta``) and ``layer.dW``
    (a view into ``network.grad``). ``penalized`` lists the names that a penalty acts on.
    """

    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - a default that no layer changes in place
    penalized: tuple[str, ...] = ()

    def output_features(self, features: int | None) -> int | None:
        """How many features come out, given how many go in (None: not known yet)."""
        return features

    def initialize(self, network: Network) -> None:
        """Set the first values of the parameters. Called once, by the network."""

    def forward(self, x: Array, train: bool) -> Array:
        raise NotImplementedError

    def backward(self, g: Array) -> Array:
        raise NotImplementedError


class Dense(Layer):
    r"""The fully connected layer: ``y = x W + b``.

    ``x: lead + (B, n_in)``, ``W: lead + (n_in, n_out)``, ``b: lead + (1, n_out)``, and backward

        dW = x^T g,    db = sum over the batch of g,    dx = g W^T.

    W starts normal with mean 0 and variance ``gain / n_in``; b starts at 0. ``gain = 2`` keeps the
    size of activations constant through ReLU layers (He et al. 2015), ``gain = 1`` through linear ones.
    """

    penalized = ("W",)
    W: Array
    b: Array
    dW: Array
    db: Array

    def __init__(self, n_in: int, n_out: int, gain: float = 2.0) -> None:
        self.n_in, self.n_out = checks.integer("n_in", n_in), checks.integer("n_out", n_out)
        self.scale = np.sqrt(checks.positive("gain", gain) / n_in)
        self.shapes = {"W": (n_in, n_out), "b": (1, n_out)}

    def output_features(self, features: int | None) -> int:
        if features not in (None, self.n_in):
            raise ValueError(
                f"Dense({self.n_in}, {self.n_out}): expected {self.n_in} features, got {features}"
            )
        return self.n_out

    def initialize(self, network: Network) -> None:
        self.W[...] = self.scale * network.init.normal(self.shapes["W"])

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        return x @ self.W + self.b

    def backward(self, g: Array) -> Array:
        np.matmul(transpose(self.x), g, out=self.dW)
        np.sum(g, axis=-2, keepdims=True, out=self.db)
        return g @ transpose(self.W)
