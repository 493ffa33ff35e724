r"""Normalization within one example: layer normalization and group normalization.

Every normalization layer computes two things, and the book keeps two names for them:

    x_hat = (x - mean) / sqrt(variance + epsilon)        the normalized value: mean 0, variance about 1
    y     = gamma x_hat + beta                           the output: gamma and beta are learned, per feature

They differ in the values that the mean and the variance are taken over. Here those belong to one example, so
training and evaluation are the same and no example depends on its batch (``regularize.batch_norm`` differs).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer
from regularize.network import Network


def standardize(x: Array, axes: int | tuple[int, ...], epsilon: Array) -> tuple[Array, Array]:
    """``x_hat = slope (x - mean)``, and the slope ``1 / sqrt(variance + epsilon)``.

    The mean and the (biased) variance are those over ``axes``.
    """
    mean = x.mean(axes, keepdims=True)
    slope = 1 / np.sqrt(x.var(axes, keepdims=True, mean=mean) + epsilon)
    return (x - mean) * slope, slope


def standardize_backward(g: Array, x_hat: Array, slope: Array, axes: int | tuple[int, ...]) -> Array:
    """From ``g = dJ/dx_hat`` to ``dJ/dx = slope (g - mean(g) - x_hat mean(g x_hat))``.

    The two means are the paths through the mean and the variance of x.
    """
    return slope * (g - g.mean(axes, keepdims=True) - x_hat * (g * x_hat).mean(axes, keepdims=True))


class Norm(Layer):
    """What normalization layers share: the scale gamma, which starts at 1, and the shift beta, at 0.

    Both have shape ``(1, features)`` and no penalty. Images are normalized as rows of their channels.
    """

    hyperparameters: tuple[str, ...] = ("epsilon",)
    gamma: Array
    beta: Array
    dgamma: Array
    dbeta: Array

    def __init__(self, features: int, epsilon: ArrayLike) -> None:
        self.features = checks.integer("features", features)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.shapes = {"gamma": (1, features), "beta": (1, features)}

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and shape[-1] != self.features:
            name = type(self).__name__
            raise ValueError(f"{name}({self.features}): expected {self.features} features, got {shape[-1]}")
        return shape

    def initialize(self, network: Network) -> None:
        self.gamma[...] = 1

    def rows(self, x: Array) -> Array:
        """``lead + (B, ..., features)`` as ``lead + (values per feature, features)``."""
        return x.reshape(*self.lead, -1, self.features)

    def scale(self, x_hat: Array) -> Array:
        """``y = gamma x_hat + beta``, for rows."""
        self.x_hat = x_hat
        return self.gamma * x_hat + self.beta

    def scale_backward(self, g: Array) -> Array:
        """From dJ/dy to dJ/dx_hat, for rows; fills dgamma and dbeta."""
        np.sum(g * self.x_hat, axis=-2, keepdims=True, out=self.dgamma)
        np.sum(g, axis=-2, keepdims=True, out=self.dbeta)
        return g * self.gamma


class LayerNorm(Norm):
    """Layer normalization (Ba, Kiros and Hinton 2016): mean and variance over the features of one example.

    Of an image, each position is normalized alone, over its channels, as ``LayerNormalization`` of Keras
    does. epsilon (a number or an array over lead) defaults to that of Keras; PyTorch's is 1e-5.

    Raises
    ------
    TypeError, ValueError : features that are no positive integer, an epsilon that is not positive.
    """

    def __init__(self, features: int, epsilon: ArrayLike = 1e-3) -> None:
        super().__init__(features, epsilon)

    def forward(self, x: Array, train: bool) -> Array:
        rows = self.rows(x)
        x_hat, self.slope = standardize(rows, -1, self.per_member(self.epsilon, rows))
        return self.scale(x_hat).reshape(x.shape)

    def backward(self, g: Array) -> Array:
        g_hat = self.scale_backward(self.rows(g))
        return standardize_backward(g_hat, self.x_hat, self.slope, -1).reshape(g.shape)


class GroupNorm(Norm):
    """Group normalization (Wu and He 2018): mean and variance over a group of the features of one example.

    The features, in their order, form ``groups`` groups of equal size; of an image, a group's values are its
    channels at all positions. One group of rows is layer normalization; as many groups as channels is
    instance normalization. epsilon defaults to that of Keras; PyTorch's is 1e-5.

    Raises
    ------
    TypeError, ValueError : features or groups that are no positive integers, groups that do not divide
        features, an epsilon that is not positive.
    """

    def __init__(self, features: int, groups: int, epsilon: ArrayLike = 1e-3) -> None:
        super().__init__(features, epsilon)
        self.groups = checks.integer("groups", groups)
        if features % groups:
            raise ValueError(f"groups: expected a divisor of {features} features, got {groups}")

    def forward(self, x: Array, train: bool) -> Array:
        grouped = self.grouped(x)
        x_hat, self.slope = standardize(grouped, (-3, -1), self.per_member(self.epsilon, grouped))
        return self.scale(self.rows(x_hat)).reshape(x.shape)

    def backward(self, g: Array) -> Array:
        g_hat = self.grouped(self.scale_backward(self.rows(g)).reshape(g.shape))
        x_hat = self.x_hat.reshape(g_hat.shape)
        return standardize_backward(g_hat, x_hat, self.slope, (-3, -1)).reshape(g.shape)

    def grouped(self, x: Array) -> Array:
        """``lead + (B, positions, groups, features in a group)``; rows have one position."""
        axes = len(self.lead) + 1
        return x.reshape(*x.shape[:axes], -1, self.groups, self.features // self.groups)
