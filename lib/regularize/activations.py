r"""The nonlinearities between dense layers, each with its derivative.

Each remembers what its derivative is simplest in: the input for ReLU, the output for tanh and sigmoid.
"""

from __future__ import annotations

import numpy as np

from regularize.checks import Array
from regularize.layers import Layer


class ReLU(Layer):
    """``y = max(x, 0)``; ``dy/dx = 1`` where ``x > 0``, else 0 (also at ``x = 0``, as in Keras)."""

    def forward(self, x: Array, train: bool) -> Array:
        self.on = x > 0
        return x * self.on

    def backward(self, g: Array) -> Array:
        return g * self.on


class Tanh(Layer):
    """``y = tanh(x)``; ``dy/dx = 1 - y^2``."""

    def forward(self, x: Array, train: bool) -> Array:
        self.y = np.tanh(x)
        return self.y

    def backward(self, g: Array) -> Array:
        return g * (1 - self.y * self.y)


class Sigmoid(Layer):
    """``y = 1 / (1 + exp(-x))``, written with tanh so that no x overflows; ``dy/dx = y (1 - y)``."""

    def forward(self, x: Array, train: bool) -> Array:
        self.y = 0.5 + 0.5 * np.tanh(0.5 * x)
        return self.y

    def backward(self, g: Array) -> Array:
        return g * (self.y * (1 - self.y))
