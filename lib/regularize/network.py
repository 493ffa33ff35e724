"""A network is a list of layers around one flat vector of parameters.

All parameters of a member lie in one row of ``theta``; every ``layer.W`` is a view into it. What
acts on "all the weights" (a penalty, an optimizer, clipping, restoring the best) is therefore
one line on ``theta``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.activations import ReLU
from regularize.layers import Array, Dense, Layer
from regularize.streams import Streams


class Network:
    """An ensemble of networks with the same layers and different seeds.

    Parameters
    ----------
    *layers : the layers, in the order of the forward pass.
    seeds : one seed (lead = ()), or an array of them, whose shape is ``lead``.
    dtype : "float64" (results), or "float32" (twice as fast).

    Attributes
    ----------
    theta, grad : ``lead + (P,)``, all parameters and their gradient.
    penalized : ``(P,)``, 1 where a penalty acts (weights), 0 where it must not (biases).
    init, noise, order : the random streams of initialization, of noise layers, and of shuffling.

    Raises
    ------
    ValueError : layers whose widths do not fit together, a bad seed or dtype.
    """

    def __init__(self, *layers: Layer, seeds: ArrayLike = 0, dtype: Any = "float64") -> None:
        _check_chain(layers)
        self.layers, self.dtype = layers, checks.dtype(dtype)
        self.init, self.noise, self.order = (Streams(seeds, p) for p in ("init", "noise", "order"))
        self.seeds, self.lead = self.init.seeds, self.init.lead

        size = sum(int(np.prod(s)) for layer in layers for s in layer.shapes.values())
        self.theta, self.grad = np.zeros((2, *self.lead, size), self.dtype)
        self.penalized = np.zeros(size, self.dtype)
        start = 0
        for layer in layers:
            for name, shape in layer.shapes.items():
                stop = start + int(np.prod(shape))
                setattr(layer, name, self.theta[..., start:stop].reshape(self.lead + shape))
                setattr(layer, "d" + name, self.grad[..., start:stop].reshape(self.lead + shape))
                self.penalized[start:stop] = name in layer.penalized
                start = stop
            layer.initialize(self)

    def __call__(self, x: Array, train: bool = False) -> Array:
        """The forward pass. ``x``: ``(B, features)``, shared by all members, or ``lead + (B, features)``."""
        for layer in self.layers:
            x = layer.forward(x, train)
        return x

    def backward(self, g: Array) -> Array:
        """Backpropagation: from dJ/d(output) to ``grad``, and to dJ/d(input), which is returned."""
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g

    def weights(self) -> Array:
        """The penalized parameters alone, ``lead + (number of weights,)``: no biases."""
        return self.theta[..., self.penalized > 0]

    def output_features(self, features: int) -> int | None:
        """How many outputs that many features give; ValueError when the layers do not take that many."""
        return _check_chain(self.layers, features)


def _check_chain(layers: tuple[Layer, ...], features: int | None = None) -> int | None:
    if not layers:
        raise ValueError("layers: expected at least one layer, got none")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected Layer objects, got {layer!r}")
        features = layer.output_features(features)
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError("layers: expected distinct Layer objects, got one of them twice")
    return features


def mlp(
    *widths: int, activation: type[Layer] = ReLU, seeds: ArrayLike = 0, dtype: Any = "float64"
) -> Network:
    """A multilayer perceptron: ``mlp(64, 128, 10)`` has one hidden layer of 128 units.

    The activation stands after every dense layer but the last, whose outputs are logits (or, with
    ``squared_error``, predictions). Hidden layers start with gain 2 under ReLU, else with gain 1.
    """
    if len(widths) < 2:
        raise ValueError(f"widths: expected at least an input and an output width, got {widths}")
    if not (isinstance(activation, type) and issubclass(activation, Layer)):
        raise TypeError(f"activation: expected a layer class such as ReLU or Tanh, got {activation!r}")
    gain = 2.0 if activation is ReLU else 1.0
    layers: list[Layer] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [Dense(n_in, n_out, gain), activation()]
    return Network(*layers, Dense(*widths[-2:], gain=1.0), seeds=seeds, dtype=dtype)
