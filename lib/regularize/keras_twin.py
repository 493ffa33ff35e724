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

from typing import Any

import numpy as np

from regularize import checks
from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.checks import Array
from regularize.layers import Dense
from regularize.network import Network
from regularize.penalties import ElasticNet

ACTIVATIONS = {ReLU: "relu", Tanh: "tanh", Sigmoid: "sigmoid"}


def to_keras(net: Network, *, member: tuple[int, ...] | int = (), penalty: ElasticNet | None = None) -> Any:
    """One member as a ``keras.Sequential`` with the same weights, in the same precision.

    Parameters
    ----------
    member : which one: () for a network with lead (), s or (l, s) for an ensemble.
    penalty : becomes a ``kernel_regularizer`` of each dense layer; its strength must be one number.

    Raises
    ------
    TypeError : a layer that has no twin here.
    ValueError : ``member`` does not pick exactly one network, or the strength is an array.
    """
    import keras

    member = _one_member(net, member)
    regularizer = None
    if penalty is not None:
        if np.ndim(penalty.l1) or np.ndim(penalty.l2):
            raise ValueError("penalty: expected one strength for one member, got an array of strengths")
        regularizer = keras.regularizers.L1L2(penalty.l1, penalty.l2)
    model = keras.Sequential()
    n_in = next((layer.n_in for layer in net.layers if isinstance(layer, Dense)), None)
    model.add(keras.Input((n_in,), dtype=net.dtype.name))
    for layer in net.layers:
        if isinstance(layer, Dense):
            twin = keras.layers.Dense(layer.n_out, kernel_regularizer=regularizer, dtype=net.dtype.name)
            model.add(twin)
            twin.set_weights([layer.W[member], layer.b[member][0]])
        elif type(layer) in ACTIVATIONS:
            model.add(keras.layers.Activation(ACTIVATIONS[type(layer)], dtype=net.dtype.name))
        else:
            known = ", ".join(kind.__name__ for kind in (Dense, *ACTIVATIONS))
            raise TypeError(f"to_keras: expected layers among {known}, got {type(layer).__name__}")
    return model


def from_keras(model: Any, net: Network, *, member: tuple[int, ...] | int = ()) -> None:
    """Copy the weights of a twin back into one member."""
    member = _one_member(net, member)
    dense = [layer for layer in net.layers if isinstance(layer, Dense)]
    twins = [layer for layer in model.layers if layer.get_weights()]
    if len(dense) != len(twins):
        raise ValueError(f"model: expected {len(dense)} dense layers, got {len(twins)}")
    for layer, twin in zip(dense, twins, strict=True):
        expected, got = [(layer.n_in, layer.n_out), (layer.n_out,)], [w.shape for w in twin.get_weights()]
        if got != expected:
            raise ValueError(f"model: expected a kernel and a bias of shapes {expected}, got {got}")
    for layer, twin in zip(dense, twins, strict=True):
        layer.W[member], layer.b[member] = twin.get_weights()


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
