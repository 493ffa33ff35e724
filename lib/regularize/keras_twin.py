"""The same network in Keras: the judge of the NumPy one, and a bridge for readers who use Keras.

The only module of the library that needs TensorFlow. It is imported on first use, since that takes seconds.

    model = to_keras(net, penalty=L2(0.01))     # one member, same weights, same penalty
    model.compile(optimizer="adam", loss=cross_entropy_loss())
    from_keras(model, net)                      # and back

Keras reads Python numbers as float32, even in a float64 model: 0.01 becomes 0.00999999977. Where
weights must agree to the last digits, use powers of two (0.0078125, 0.875). And its losses compute in
``keras.config.floatx()``, whatever the model's type: ``keras.config.set_floatx("float64")`` comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer
from regularize.network import Network
from regularize.penalties import ElasticNet


class _Builder:
    """Turns the layers of one member into Keras layers, and remembers which became which."""

    def __init__(self, net: Network, member: tuple[int, ...], penalty: ElasticNet | None) -> None:
        import keras

        self.layers, self.net, self.member = keras.layers, net, member
        self.pairs: list[tuple[Layer, Any]] = []
        self.regularizer = None
        if penalty is not None:
            l1, l2 = (self.pick(strength, "penalty") for strength in (penalty.l1, penalty.l2))
            self.regularizer = keras.regularizers.L1L2(l1, l2)

    def pick(self, h: Any, name: str) -> float:
        """This member's value of a hyper-parameter."""
        checks.broadcasts(name, np.shape(h), self.net.lead)
        return float(np.broadcast_to(h, self.net.lead)[self.member])

    def apply(self, layer: Layer, x: Any) -> Any:
        """The twin of ``layer`` at the Keras tensor ``x``."""
        name = type(layer).__name__
        if name == "Residual":
            return self._residual(layer, x)
        if name not in TWINS or not type(layer).__module__.startswith("regularize."):
            raise TypeError(f"to_keras: expected layers among {', '.join((*TWINS, 'Residual'))}, got {name}")
        twin = TWINS[name](self, layer, x)
        self.pairs.append((layer, twin))
        return twin(x)

    def make(self, kind: str, *arguments: Any, **options: Any) -> Any:
        """The Keras layer of that name, in the precision of the network."""
        return getattr(self.layers, kind)(*arguments, dtype=self.net.dtype.name, **options)

    def _residual(self, block: Any, x: Any) -> Any:
        y = x
        for layer in block.children:
            y = self.apply(layer, y)
        rate, scale = self.pick(block.drop_rate, "drop_rate"), self.pick(block.scale, "scale")
        if rate:
            y = self.make("Dropout", rate, noise_shape=(None, *(1 for _ in y.shape[1:])))(y)
        if scale != 1:
            y = self.make("Rescaling", scale)(y)
        return self.make("Add")([x, y])


def _only(condition: bool, layer: Layer, what: str) -> None:
    if not condition:
        raise TypeError(f"to_keras: expected a {type(layer).__name__} with {what}, which Keras has")


def _dropout(b: _Builder, layer: Any, x: Any) -> Any:
    _only(layer.scaling == "inverted", layer, "scaling='inverted'")
    return b.make("Dropout", b.pick(layer.rate, "rate"))


def _batch_norm(b: _Builder, layer: Any, x: Any) -> Any:
    _only(layer.convention == "keras" and layer.ghost is None, layer, "convention='keras' and ghost=None")
    momentum, epsilon = (b.pick(getattr(layer, name), name) for name in ("momentum", "epsilon"))
    return b.make("BatchNormalization", momentum=momentum, epsilon=epsilon)


#: Which Keras layer stands for which of ours, by name, so that this module imports no method.
TWINS: dict[str, Callable[[_Builder, Any, Any], Any]] = {
    "Dense": lambda b, a, x: b.make("Dense", a.n_out, kernel_regularizer=b.regularizer),
    "Conv2D": lambda b, a, x: b.make(
        "Conv2D", a.channels_out, a.size, a.stride, a.padding, kernel_regularizer=b.regularizer
    ),
    "MaxPool": lambda b, a, x: b.make("MaxPooling2D", a.size),
    "AveragePool": lambda b, a, x: b.make("AveragePooling2D", a.size),
    "GlobalAveragePool": lambda b, a, x: b.make("GlobalAveragePooling2D"),
    "Reshape": lambda b, a, x: b.make("Reshape", a.shape),
    "Flatten": lambda b, a, x: b.make("Flatten"),
    "ReLU": lambda b, a, x: b.make("Activation", "relu"),
    "Tanh": lambda b, a, x: b.make("Activation", "tanh"),
    "Sigmoid": lambda b, a, x: b.make("Activation", "sigmoid"),
    "SELU": lambda b, a, x: b.make("Activation", "selu"),
    "SiLU": lambda b, a, x: b.make("Activation", "silu"),
    "GELU": lambda b, a, x: b.make("Activation", _gelu(a.approximate)),
    "ELU": lambda b, a, x: b.make("ELU", b.pick(a.alpha, "alpha")),
    "LeakyReLU": lambda b, a, x: b.make("LeakyReLU", b.pick(a.slope, "slope")),
    "PReLU": lambda b, a, x: b.make("PReLU", shared_axes=list(range(1, len(x.shape) - 1)) or None),
    "Dropout": _dropout,
    "GaussianDropout": lambda b, a, x: b.make("GaussianDropout", b.pick(a.rate, "rate")),
    "SpatialDropout": lambda b, a, x: b.make("SpatialDropout2D", b.pick(a.rate, "rate")),
    "AlphaDropout": lambda b, a, x: b.make("AlphaDropout", b.pick(a.rate, "rate")),
    "BatchNorm": _batch_norm,
    "LayerNorm": lambda b, a, x: b.make("LayerNormalization", epsilon=b.pick(a.epsilon, "epsilon")),
    "GroupNorm": lambda b, a, x: b.make("GroupNormalization", a.groups, epsilon=b.pick(a.epsilon, "epsilon")),
    "ActivityPenalty": lambda b, a, x: b.make(
        "ActivityRegularization", b.pick(a.l1, "l1"), b.pick(a.l2, "l2")
    ),
}


def _gelu(approximate: bool) -> Callable[[Any], Any]:
    import keras

    return lambda x: keras.activations.gelu(x, approximate=approximate)


def to_keras(net: Network, *, member: tuple[int, ...] | int = (), penalty: ElasticNet | None = None) -> Any:
    """One member as a ``keras.Model`` with the same weights and moving statistics, in the same precision.

    Random layers get their counterpart; Keras never draws the same masks as we do.

    Parameters
    ----------
    member : which one: () for a network with lead (), s or (l, s) for an ensemble.
    penalty : becomes the ``kernel_regularizer`` of dense and convolution layers.

    Raises
    ------
    TypeError : a layer that Keras does not have.
    ValueError : ``member`` does not pick exactly one network, or the penalty does not broadcast to lead.
    """
    import keras

    member = _one_member(net, member)
    builder = _Builder(net, member, penalty)
    x = inputs = keras.Input((input_features(net),), dtype=net.dtype.name)
    for layer in net.layers:
        x = builder.apply(layer, x)
    model = keras.Model(inputs, x)
    for layer, twin in builder.pairs:
        arrays = [getattr(layer, name)[member] for name in (*layer.shapes, *layer.states)]
        twin.set_weights([a.reshape(w.shape) for a, w in zip(arrays, twin.weights, strict=True)])
    return model


def from_keras(model: Any, net: Network, *, member: tuple[int, ...] | int = ()) -> None:
    """Copy the weights and moving statistics of a twin back into one member.

    The layers that have weights must follow each other in the same order, with the same shapes (a shape
    may differ by axes of size 1: a bias is ``(n,)`` there and ``(1, n)`` here).
    """
    member = _one_member(net, member)
    ours = [layer for layer in net.all_layers if layer.shapes or layer.states]
    theirs = [layer.get_weights() for layer in model.layers if layer.weights]
    if len(ours) != len(theirs):
        raise ValueError(f"model: expected {len(ours)} layers with weights, got {len(theirs)}")
    pairs: list[tuple[Array, Array]] = []
    for layer, weights in zip(ours, theirs, strict=True):
        arrays = [getattr(layer, name)[member] for name in (*layer.shapes, *layer.states)]
        expected, got = ([tuple(n for n in a.shape if n > 1) for a in which] for which in (arrays, weights))
        if got != expected:
            shapes = [a.shape for a in arrays], [w.shape for w in weights]
            raise ValueError(f"model: expected weights of shapes {shapes[0]}, got {shapes[1]}")
        pairs += zip(arrays, weights, strict=True)
    for array, weight in pairs:
        array[...] = weight.reshape(array.shape)


def input_features(net: Network) -> int | None:
    """How many features a row of data has: what the first layer that says so takes (None: no layer does)."""
    for layer in net.all_layers:
        if type(layer).__name__ == "Reshape":
            return int(np.prod(layer.shape))  # type: ignore[attr-defined]
        for name in ("n_in", "features"):
            if hasattr(layer, name):
                return int(getattr(layer, name))
    return None


def cross_entropy_loss() -> Any:
    """Keras's loss that equals ``regularize.losses.cross_entropy``: on logits, not on probabilities."""
    import keras

    return keras.losses.CategoricalCrossentropy(from_logits=True)


def squared_error_loss(outputs: int) -> Any:
    """Keras's loss that equals ``regularize.losses.squared_error``: Keras averages over outputs, we sum."""
    import keras

    checks.integer("outputs", outputs)

    def sum_of_squares(y: Any, z: Any) -> Array:
        return outputs * keras.losses.mean_squared_error(y, z)

    return sum_of_squares


def _one_member(net: Network, member: tuple[int, ...] | int) -> tuple[int, ...]:
    member = member if isinstance(member, tuple) else (member,)
    whole = all(isinstance(index, int | np.integer) for index in member)
    fits = whole and len(member) == len(net.lead)
    if not fits or any(not 0 <= m < size for m, size in zip(member, net.lead, strict=True)):
        raise ValueError(f"member: expected an index for the ensemble axes {net.lead}, got {member}")
    return member
