r"""Losses: how wrong the outputs are, per member, and in which direction to change them.

A loss takes outputs ``z: lead + (B, k)`` and targets ``y`` of the same trailing shape, and returns
its value, the mean over the B examples (shape ``lead``), and its gradient with respect to z.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regularize.checks import Array

Loss = Callable[[Array, Array], tuple[Array, Array]]


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    r"""Softmax cross-entropy of logits: ``-sum_k y_k log softmax(z)_k``; gradient ``softmax(z) - y``.

    ``y`` holds probabilities that sum to 1: one-hot labels, or soft ones.
    """
    _check_shapes(z, y)
    z = z - z.max(-1, keepdims=True)  # softmax does not change, and exp cannot overflow
    e = np.exp(z)
    total = e.sum(-1, keepdims=True)
    value = (np.log(total) - (y * z).sum(-1, keepdims=True)).mean((-1, -2))
    return value, (e / total - y) / z.dtype.type(z.shape[-2])


def squared_error(z: Array, y: Array) -> tuple[Array, Array]:
    """The squared distance ``sum_k (z_k - y_k)^2``; gradient ``2 (z - y)``.

    Summed over outputs, not averaged: Keras's mean squared error is this divided by k.
    """
    _check_shapes(z, y)
    r = z - y
    return (r * r).sum(-1).mean(-1), 2 * r / z.dtype.type(z.shape[-2])


def _check_shapes(z: Array, y: Array) -> None:
    if z.shape[-2:] != y.shape[-2:]:
        raise ValueError(f"y: expected targets of shape (..., {z.shape[-2]}, {z.shape[-1]}), got {y.shape}")
