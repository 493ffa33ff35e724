"""A network is a list of layers around one flat vector of parameters.

All parameters of a member lie in one row of ``theta``; every ``layer.W`` is a view into it. What
acts on "all the weights" (a penalty, an optimizer, clipping, restoring the best) is therefore
one line on ``theta``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.activations import ReLU
from regularize.checks import Array
from regularize.initialization import he_normal, lecun_normal
from regularize.layers import Dense, Layer
from regularize.streams import Streams


class Parameter(NamedTuple):
    """One named parameter of one layer: views of shape ``lead + (...)`` into ``theta`` and ``grad``."""

    layer: Layer
    name: str
    value: Array
    gradient: Array
    penalized: bool


class Network:
    """An ensemble of networks with the same layers and different seeds.

    Parameters
    ----------
    *layers : the layers, in the order of the forward pass. A layer belongs to one network.
    seeds : one seed (lead = ()), or an array of them, whose shape is ``lead``.
    dtype : "float64" (results), or "float32" (twice as fast).

    Attributes
    ----------
    theta, grad : ``lead + (P,)``, all parameters and their gradient.
    state : ``lead + (Q,)``, what training changes without a gradient: moving statistics.
    penalized : ``(P,)``, 1 where a penalty acts (weights), 0 where it must not (biases).
    parameters : the same parameters one by one, as views, in the order of ``theta``.
    all_layers : the layers and the layers inside them, in the order of ``theta``.
    init, noise, order : the random streams of initialization, of noise layers, and of shuffling.

    Raises
    ------
    ValueError : layers whose shapes do not fit together or that belong to another network, a bad seed
        or dtype, a hyper-parameter of a layer that does not broadcast to lead.
    """

    def __init__(self, *layers: Layer, seeds: ArrayLike = 0, dtype: Any = "float64") -> None:
        self.layers, self.all_layers = layers, tuple(_all_layers(layers))
        _check_fresh(self.all_layers)
        _check_chain(layers)
        self.dtype = checks.dtype(dtype)
        self.init, self.noise, self.order = (Streams(seeds, p) for p in ("init", "noise", "order"))
        self.seeds, self.lead = self.init.seeds, self.init.lead
        for layer in self.all_layers:
            for name in layer.hyperparameters:
                shape = np.shape(getattr(layer, name))
                checks.broadcasts(f"{type(layer).__name__}.{name}", shape, self.lead)

        def size(table: str) -> int:
            return sum(int(np.prod(s)) for layer in self.all_layers for s in getattr(layer, table).values())

        self.theta, self.grad = np.zeros((2, *self.lead, size("shapes")), self.dtype)
        self.state = np.zeros((*self.lead, size("states")), self.dtype)
        self._make_views()
        for layer in self.all_layers:
            layer.lead = self.lead
            layer.initialize(self)

    def _make_views(self) -> None:
        """Give the layers their parts of theta, grad and state."""
        self.penalized = np.zeros(self.theta.shape[-1], self.dtype)
        self.parameters: list[Parameter] = []
        start = at = 0
        for layer in self.all_layers:
            for name, shape in layer.shapes.items():
                stop = start + int(np.prod(shape))
                value, gradient = (
                    a[..., start:stop].reshape(self.lead + shape) for a in (self.theta, self.grad)
                )
                penalized = name in layer.penalized
                self.parameters.append(Parameter(layer, name, value, gradient, penalized))
                self.penalized[start:stop] = penalized
                setattr(layer, name, value)
                setattr(layer, "d" + name, gradient)
                start = stop
            for name, shape in layer.states.items():
                end = at + int(np.prod(shape))
                setattr(layer, name, self.state[..., at:end].reshape(self.lead + shape))
                at = end

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """A copy (``deepcopy``, ``pickle``) has arrays of its own: its layers must look at those."""
        vars(self).update(attributes)
        self._make_views()

    def __repr__(self) -> str:
        """The layers, the ensemble axes, and how many parameters a member has."""
        layers = ", ".join(map(repr, self.layers))
        return f"Network({layers}), lead {self.lead}, {self.theta.shape[-1]} parameters"

    def __call__(self, x: Array, train: bool = False) -> Array:
        """The forward pass. ``x``: ``(B, features)``, shared by all members, or ``lead + (B, features)``."""
        x = np.broadcast_to(x, self.lead + x.shape[-2:])
        for layer in self.layers:
            x = layer.forward(x, train)
        return x

    def backward(self, g: Array) -> Array:
        """Backpropagation: from dJ/d(output) to ``grad``, and to dJ/d(input), which is returned."""
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Inside, forward passes repeat the last one's masks and leave moving statistics as they are.

        For methods that take a second gradient at the same batch: it must be one of the same function.
        """
        before = [layer.replay for layer in self.all_layers]
        try:
            for layer in self.all_layers:
                layer.replay = True
            yield
        finally:
            for layer, value in zip(self.all_layers, before, strict=True):
                layer.replay = value

    def weights(self) -> Array:
        """The penalized parameters alone, ``lead + (number of weights,)``: no biases."""
        return self.theta[..., self.penalized > 0]

    def kernels(self) -> list[Array]:
        """The penalized parameters as matrices ``lead + (fan_in, units)``: views, one a layer.

        Column j holds the weights that lead into unit (or channel) j.
        """
        return [p.value.reshape(*self.lead, -1, p.value.shape[-1]) for p in self.parameters if p.penalized]

    def output_features(self, features: int) -> int:
        """How many outputs that many features give; ValueError when the layers do not take that many."""
        shape = _check_chain(self.layers, (features,))
        if shape is None or len(shape) != 1:
            raise ValueError(f"layers: expected rows of outputs, got shape {shape}; add Flatten()")
        return shape[0]


def _all_layers(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected Layer objects, one by one and not in a list, got {layer!r}")
        yield layer
        yield from _all_layers(layer.children)


def _check_fresh(layers: tuple[Layer, ...]) -> None:
    if not layers:
        raise ValueError("layers: expected at least one layer, got none")
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError("layers: expected distinct Layer objects, got one of them twice")
    for layer in layers:
        if "lead" in vars(layer):
            raise ValueError(f"layers: expected new layers, got a {type(layer).__name__} of another network")


def _check_chain(layers: tuple[Layer, ...], shape: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def mlp(
    *widths: int, activation: type[Layer] = ReLU, seeds: ArrayLike = 0, dtype: Any = "float64"
) -> Network:
    """A multilayer perceptron: ``mlp(64, 128, 10)`` has one hidden layer of 128 units.

    The activation stands after every dense layer but the last, whose outputs are logits (or, with
    ``squared_error``, predictions). Hidden layers start He-normal under ReLU, else LeCun-normal.
    """
    if len(widths) < 2:
        raise ValueError(
            f"widths: expected an input and an output width or more, as in mlp(64, 10), got {widths}"
        )
    if not (isinstance(activation, type) and issubclass(activation, Layer)):
        raise TypeError(f"activation: expected a layer class such as ReLU or Tanh, got {activation!r}")
    init = he_normal if activation is ReLU else lecun_normal
    layers: list[Layer] = []
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [Dense(n_in, n_out, init), activation()]
    return Network(*layers, Dense(widths[-2], widths[-1], lecun_normal), seeds=seeds, dtype=dtype)
