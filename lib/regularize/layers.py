"""A layer turns activations into activations, and gradients back into gradients.

``forward`` remembers what ``backward`` needs. ``backward`` receives dJ/d(output), fills the
gradients of its own parameters and returns dJ/d(input).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.initialization import Initializer, he_normal

if TYPE_CHECKING:
    from regularize.network import Network


def transpose(a: Array) -> Array:
    """Swap the last two axes, and leave the ensemble axes alone."""
    return np.swapaxes(a, -1, -2)


class Layer:
    """The contract. Activations have shape ``lead + (B, ...)``: B examples of any shape.

    ``shapes`` names the parameters and their shapes without lead. The network gives the layer, for each
    name ``W``, two arrays: ``layer.W`` (a view into ``network.theta``) and ``layer.dW`` (a view into
    ``network.grad``). ``penalized`` lists the names that a penalty acts on. ``states`` names what training
    changes without a gradient (moving statistics): views into ``network.state``. ``children`` are layers
    inside this one. ``hyperparameters`` lists the attributes that may be arrays that broadcast to lead.
    """

    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - a default that no layer changes in place
    states: dict[str, tuple[int, ...]] = {}  # noqa: RUF012
    penalized: tuple[str, ...] = ()
    hyperparameters: tuple[str, ...] = ()
    children: tuple[Layer, ...] = ()
    #: The ensemble axes, set by the network.
    lead: tuple[int, ...] = ()
    #: True while a forward pass must repeat the one before: random layers use their masks again, and
    #: moving statistics stay where they are. ``Network.replay`` sets it; so does who brings a mask along.
    replay: bool = False

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """The shape of one example that comes out, given that of one that goes in (None: not known yet).

        Raises ValueError when the layer does not take such examples.
        """
        return shape

    def initialize(self, network: Network) -> None:
        """Set the first values of parameters and states. Called once, by the network."""

    def forward(self, x: Array, train: bool) -> Array:
        """The output for ``x``, in training or in evaluation mode."""
        raise NotImplementedError

    def backward(self, g: Array) -> Array:
        """From dJ/d(output) of the last forward pass to dJ/d(input), filling the parameters' gradients."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """As it was made, without what is as usual: ``Dense(64, 10)``."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value: Any = getattr(self, name, None)
            if parameter.kind is parameter.VAR_POSITIONAL:
                shown += [repr(each) for each in (self.children or value or ())]
            elif parameter.default is parameter.empty:
                shown.append(repr(value))
            elif not callable(value) and np.any(value != parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def per_member(self, h: ArrayLike, x: Array) -> Array:
        """A hyper-parameter of shape () or lead, shaped to multiply ``x: lead + (...)``, in x's precision."""
        h = np.asarray(h, x.dtype)
        return h.reshape(h.shape + (1,) * (x.ndim - len(self.lead))) if h.ndim else h


class Dense(Layer):
    r"""The fully connected layer: ``y = x W + b``.

    ``x: lead + (B, n_in)``, ``W: lead + (n_in, n_out)``, ``b: lead + (1, n_out)``, and backward

        dW = x^T g,    db = sum over the batch of g,    dx = g W^T.

    W starts as ``init`` draws it (see ``regularize.initialization``), by default with variance
    ``2 / n_in``, which suits ReLU; b starts at 0.
    """

    penalized = ("W",)
    W: Array
    b: Array
    dW: Array
    db: Array

    def __init__(self, n_in: int, n_out: int, init: Initializer = he_normal) -> None:
        self.n_in, self.n_out = checks.integer("n_in", n_in), checks.integer("n_out", n_out)
        self.init = checks.function("init", init)
        self.shapes = {"W": (n_in, n_out), "b": (1, n_out)}

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...]:
        if shape not in (None, (self.n_in,)):
            raise ValueError(
                f"Dense({self.n_in}, {self.n_out}): expected {self.n_in} features, got {_words(shape)}"
            )
        return (self.n_out,)

    def initialize(self, network: Network) -> None:
        self.W[...] = self.init(network.init, self.shapes["W"])

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        return x @ self.W + self.b

    def backward(self, g: Array) -> Array:
        np.matmul(transpose(self.x), g, out=self.dW)
        np.sum(g, axis=-2, keepdims=True, out=self.db)
        return g @ transpose(self.W)


class Reshape(Layer):
    """Rows of features become examples of another shape: ``Reshape(8, 8, 1)`` makes images of 64 pixels.

    Images are ``lead + (B, height, width, channels)``. Data stay rows everywhere else, so that ``fit``,
    augmentation and every other method need to know one shape only.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = tuple(checks.integer("shape", size) for size in shape)
        if not shape:
            raise ValueError("shape: expected at least one size, got none")

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...]:
        if shape is not None and np.prod(shape) != np.prod(self.shape):
            wanted = int(np.prod(self.shape))
            raise ValueError(f"Reshape{self.shape}: expected {wanted} values, got {_words(shape)}")
        return self.shape

    def forward(self, x: Array, train: bool) -> Array:
        self.before = x.shape
        return x.reshape(x.shape[: len(self.lead) + 1] + self.shape)

    def backward(self, g: Array) -> Array:
        return g.reshape(self.before)


class Flatten(Layer):
    """Examples of any shape become rows of features, ``lead + (B, features)``."""

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if shape is None else (int(np.prod(shape)),)

    def forward(self, x: Array, train: bool) -> Array:
        self.before = x.shape
        return x.reshape(*x.shape[: len(self.lead) + 1], -1)

    def backward(self, g: Array) -> Array:
        return g.reshape(self.before)


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} features" if len(shape) == 1 else f"examples of shape {shape}"
