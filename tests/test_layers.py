"""Every backward pass agrees with finite differences, for parameters and inputs, at every ensemble shape."""

import re

import numpy as np
import pytest
from test_checks import refused

from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.dropout import Dropout
from regularize.layers import Dense, Flatten, Layer, Reshape, transpose
from regularize.network import Network
from regularize.numerical import numerical_gradient, relative_error
from regularize.residual import Residual
from regularize.streams import Streams

LEADS = [(), (3,), (2, 3)]
LAYERS = {
    "Dense": lambda: Dense(4, 3),
    "Dense to one": lambda: Dense(4, 1),
    "Reshape": lambda: Reshape(2, 2, 1),
    "Flatten": Flatten,
    "ReLU": ReLU,
    "Tanh": Tanh,
    "Sigmoid": Sigmoid,
}
WORST = 1e-7


def seeds_of(lead):
    return np.arange(np.prod(lead, dtype=int)).reshape(lead)


def inputs(lead, batch=5, features=4):
    """Standard normal, but never near 0, where ReLU has no derivative."""
    x = np.random.default_rng(1).standard_normal((*lead, batch, features))
    return np.where(np.abs(x) < 1e-2, 0.5, x)


def law_gradients_are_those_of_finite_differences(make, lead):
    """J = sum of c * output, for random c: then dJ/d(output) = c. Returns the worst relative error."""
    layer = make()
    net, x = Network(layer, seeds=seeds_of(lead)), inputs(lead)
    net.theta += np.random.default_rng(2).standard_normal(net.theta.shape)  # biases start at 0 otherwise
    c = np.random.default_rng(3).standard_normal(layer.forward(x, True).shape)

    def objective():
        return (c * layer.forward(x, True)).reshape(*lead, -1).sum(-1)

    layer.replay = True  # random layers: the same masks again
    objective()
    errors = [relative_error(layer.backward(c), numerical_gradient(objective, x, lead))]
    if net.theta.size:
        errors.append(relative_error(net.grad.copy(), numerical_gradient(objective, net.theta, lead)))
    assert max(errors) <= WORST, errors
    return max(errors)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_finite_differences(make, lead):
    law_gradients_are_those_of_finite_differences(make, lead)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_shared_inputs_are_inputs_that_every_member_has(make):
    lead, x = (2, 3), inputs(())
    nets = [Network(make(), seeds=seeds_of(lead)) for _ in range(2)]
    z, own = nets[0](x), nets[1](np.broadcast_to(x, lead + x.shape).copy())
    np.testing.assert_array_equal(np.broadcast_to(z, own.shape), own)
    assert z.shape == own.shape
    g = np.random.default_rng(3).standard_normal(own.shape)
    np.testing.assert_array_equal(nets[0].backward(g), nets[1].backward(g))
    np.testing.assert_array_equal(nets[0].grad, nets[1].grad)


def test_backward_replaces_the_gradient_of_the_step_before():
    net, x = Network(Dense(4, 3)), inputs(())
    net(x)
    net.backward(np.ones((5, 3)))
    first = net.grad.copy()
    net.backward(np.ones((5, 3)))
    np.testing.assert_array_equal(net.grad, first)


def test_weights_start_as_drawn_and_biases_at_zero():
    layer = Dense(200, 100, lambda stream, shape: 3 * stream.normal(shape))
    net = Network(layer, seeds=[0, 1])
    np.testing.assert_array_equal(layer.W, 3 * Streams(net.seeds, "init").normal((200, 100)))
    assert not layer.b.any()


def law_relu_has_derivative_zero_at_zero():
    layer = ReLU()
    y = layer.forward(np.array([[-2.0, 0.0, 3.0]]), True)
    np.testing.assert_array_equal(y, [[0, 0, 3]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), [[0, 0, 1]])


def test_relu_has_derivative_zero_at_zero():
    law_relu_has_derivative_zero_at_zero()


def test_sigmoid_and_tanh_reach_their_limits_without_overflow():
    x = np.array([[-1e4, -40.0, 0.0, 40.0, 1e4]])
    np.testing.assert_allclose(Sigmoid().forward(x, False), [[0, 0, 0.5, 1, 1]], atol=1e-16)
    np.testing.assert_allclose(Tanh().forward(x, False), [[-1, -1, 0, 1, 1]], atol=1e-16)


def test_sigmoid_is_the_logistic_function():
    x = np.linspace(-6, 6, 25)[None]
    np.testing.assert_allclose(Sigmoid().forward(x, False), 1 / (1 + np.exp(-x)), rtol=1e-13)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_keeps_the_precision_of_its_network(make):
    net, x = Network(make(), dtype="float32"), inputs(()).astype(np.float32)
    z = net(x)
    assert z.dtype == net.backward(z).dtype == net.theta.dtype == np.float32


def test_images_are_rows_in_reading_order_with_channels_last():
    x = np.arange(2 * 12.0).reshape(2, 12)
    layers = [Reshape(2, 3, 2), Flatten()]
    net = Network(*layers, seeds=[0, 1, 2])
    images = layers[0].forward(np.broadcast_to(x, (3, 2, 12)), False)
    assert images.shape == (3, 2, 2, 3, 2)
    np.testing.assert_array_equal(images[1, 1, 1, 2], [22, 23])
    np.testing.assert_array_equal(net(x), np.broadcast_to(x, (3, 2, 12)))
    np.testing.assert_array_equal(layers[1].backward(net(x)), images)
    assert layers[0].output_shape((12,)) == (2, 3, 2) == layers[0].output_shape(None)
    assert layers[1].output_shape((2, 3, 2)) == (12,)
    assert layers[1].output_shape(None) is None


@pytest.mark.parametrize("shape", [(), (0,), (2, -1), (2.0, 2), ("2",)])
def test_a_shape_is_of_positive_integers(shape):
    with refused("shape"):
        Reshape(*shape)


def test_a_reshape_keeps_the_number_of_values():
    with pytest.raises(ValueError, match=re.escape("Reshape(2, 2): expected 4 values, got 5 features")):
        Reshape(2, 2).output_shape((5,))
    with pytest.raises(ValueError, match=re.escape("got examples of shape (2, 2)")):
        Dense(4, 3).output_shape((2, 2))


@pytest.mark.parametrize(
    ("h", "shape"), [(2.0, ()), ([1.0, 2.0, 3.0], (3, 1, 1)), ([[4.0], [5.0]], (2, 1, 1, 1))]
)
def test_a_hyper_parameter_is_spread_over_its_members(h, shape):
    layer = Layer()
    layer.lead = (2, 3)
    spread = layer.per_member(h, np.zeros((2, 3, 5, 4), np.float32))
    assert spread.shape == shape
    assert spread.dtype == np.float32
    np.testing.assert_array_equal(np.ravel(spread), np.ravel(h))


def test_transpose_leaves_the_ensemble_axes_alone():
    assert transpose(np.zeros((2, 3, 4, 5))).shape == (2, 3, 5, 4)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_widths_are_positive_integers(bad):
    with refused("n_in"):
        Dense(bad, 3)
    with refused("n_out"):
        Dense(3, bad)


@pytest.mark.parametrize("bad", ["he", None, 2.0, Dense])
def test_an_initializer_is_a_function(bad):
    with refused("init"):
        Dense(3, 3, bad)


def test_the_contract_must_be_filled_in():
    with pytest.raises(NotImplementedError):
        Layer().forward(np.zeros((1, 1)), False)
    with pytest.raises(NotImplementedError):
        Layer().backward(np.zeros((1, 1)))


def test_a_layer_shows_how_it_was_made():
    assert repr(Dense(4, 3)) == "Dense(4, 3)"
    assert repr(Reshape(2, 3, 1)) == "Reshape(2, 3, 1)"
    assert [repr(layer) for layer in (ReLU(), Flatten())] == ["ReLU()", "Flatten()"]
    assert repr(Dropout(0.25, scaling="standard")) == "Dropout(0.25, scaling='standard')"
    assert repr(Residual(Dense(4, 4), scale=0.5)) == "Residual(Dense(4, 4), scale=0.5)"
    net = Network(Dense(4, 3), Tanh(), seeds=[0, 1])
    assert repr(net) == "Network(Dense(4, 3), Tanh()), lead (2,), 15 parameters"
