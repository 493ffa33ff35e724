r"""First values of the weights: small enough not to saturate, large enough not to vanish.

An initializer draws an array of a kernel's shape from a member's own stream. ``fan_in`` is the number of
inputs that one output sums over, ``fan_out`` the number of outputs that one input reaches:

    dense (n_in, n_out)                      fan_in = n_in                     fan_out = n_out
    convolution (height, width, in, out)     fan_in = height * width * in      fan_out = height * width * out

A layer of variance v multiplies the mean square of its inputs by ``fan_in v``, and on the way back the mean
square of gradients by ``fan_out v``. The activation behind it should undo that: ReLU halves both, so He's
variance is ``2 / fan_in``; a leaky ReLU multiplies by ``(1 + slope^2) / 2``, tanh near 0 by 1.

    before ReLU     before LeakyReLU                        before SELU     before tanh     the last layer
    he_normal       scaled_normal(2 / (1 + slope**2))       lecun_normal    glorot_normal   lecun_normal

The variances are those of Keras; Keras's ``he_normal``, ``lecun_normal`` and ``glorot_normal`` draw from a
normal distribution that is cut off at two standard deviations, these from a whole one. By default Keras
starts its layers with ``glorot_uniform``; PyTorch's weights and biases are uniform within
``+- 1 / sqrt(fan_in)``, a third of LeCun's variance and a sixth of He's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regularize import checks
from regularize.checks import Array
from regularize.streams import Streams

Initializer = Callable[[Streams, tuple[int, ...]], Array]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a kernel ``(..., n_in, n_out)``."""
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"shape: expected (..., n_in, n_out) with sizes >= 1, got {shape}")
    field = int(np.prod(shape[:-2]))
    return field * shape[-2], field * shape[-1]


def he_normal(stream: Streams, shape: tuple[int, ...]) -> Array:
    """Variance ``2 / fan_in``: keeps the size of activations through ReLU layers (He et al. 2015)."""
    return np.sqrt(2.0 / fans(shape)[0]) * stream.normal(shape)


def lecun_normal(stream: Streams, shape: tuple[int, ...]) -> Array:
    """Variance ``1 / fan_in``: keeps the size through linear layers, and SELU's (LeCun et al. 1998)."""
    return np.sqrt(1.0 / fans(shape)[0]) * stream.normal(shape)


def glorot_normal(stream: Streams, shape: tuple[int, ...]) -> Array:
    """Variance ``2 / (fan_in + fan_out)``: between forward and backward (Glorot and Bengio 2010)."""
    return np.sqrt(2.0 / sum(fans(shape))) * stream.normal(shape)


def glorot_uniform(stream: Streams, shape: tuple[int, ...]) -> Array:
    """The same variance, uniform within ``+- sqrt(6 / (fan_in + fan_out))``: the default of Keras."""
    limit = np.sqrt(6.0 / sum(fans(shape)))
    return limit * (2 * stream.uniform(shape).astype(np.float64) - 1)


def scaled_normal(gain: float) -> Initializer:
    """Variance ``gain / fan_in``, for a gain of one's own: to see what too small and too large do."""
    gain = checks.positive_number("gain", gain)
    return lambda stream, shape: np.sqrt(gain / fans(shape)[0]) * stream.normal(shape)
