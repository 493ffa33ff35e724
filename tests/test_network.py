"""A network is one flat vector of parameters, seen through its layers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize.activations import ReLU, Tanh
from regularize.layers import Dense
from regularize.network import Network, mlp


@pytest.mark.parametrize("lead", LEADS)
def test_the_layers_are_views_that_cover_theta_exactly_once(lead):
    net = mlp(4, 3, 2, seeds=seeds_of(lead))
    net.theta[...] = np.arange(net.theta.size).reshape(net.theta.shape)
    net.grad[...] = -net.theta
    arrays = [(layer.W, layer.dW) for layer in net.layers if isinstance(layer, Dense)]
    arrays += [(layer.b, layer.db) for layer in net.layers if isinstance(layer, Dense)]
    seen = np.concatenate([a.reshape(*lead, -1) for a, _ in arrays], axis=-1)
    np.testing.assert_array_equal(np.sort(seen, axis=-1), net.theta)
    assert all(np.array_equal(d, -a) for a, d in arrays)
    net.layers[0].W[...] = 0.5  # and the other way round
    assert (net.theta == 0.5).sum() == net.layers[0].W.size


def law_only_weights_are_penalized():
    net = mlp(4, 3, 2, seeds=[0, 1])
    for layer in net.layers:
        if isinstance(layer, Dense):
            layer.W[...], layer.b[...] = 1, 0
    np.testing.assert_array_equal(net.penalized, net.theta[0])
    assert net.weights().shape == (2, 4 * 3 + 3 * 2)
    assert (net.weights() == 1).all()


def test_only_weights_are_penalized():
    law_only_weights_are_penalized()


@pytest.mark.parametrize("lead", LEADS)
def test_the_forward_pass_is_the_formula(lead):
    net = mlp(4, 3, 2, activation=Tanh, seeds=seeds_of(lead))
    net.theta += 0.1
    x = np.random.default_rng(0).standard_normal((5, 4))
    z = net(x)
    first, _, last = net.layers
    for s in np.ndindex(lead):
        hand = np.tanh(x @ first.W[s] + first.b[s]) @ last.W[s] + last.b[s]
        np.testing.assert_allclose(z[s], hand, rtol=1e-13, atol=1e-13)


def test_an_mlp_has_an_activation_after_every_layer_but_the_last():
    kinds = [type(layer) for layer in mlp(5, 4, 3, 2).layers]
    assert kinds == [Dense, ReLU, Dense, ReLU, Dense]
    assert [type(layer) for layer in mlp(5, 2).layers] == [Dense]
    assert isinstance(mlp(5, 4, 2, activation=Tanh).layers[1], Tanh)


def test_hidden_layers_start_with_gain_two_under_relu_and_all_others_with_gain_one():
    for activation, gain in ((ReLU, 2), (Tanh, 1)):
        first, _, last = mlp(100, 100, 100, activation=activation).layers
        np.testing.assert_allclose([100 * first.W.var(), 100 * last.W.var()], [gain, 1], rtol=0.1)


def test_the_seed_is_zero_unless_given():
    np.testing.assert_array_equal(mlp(4, 3).theta, mlp(4, 3, seeds=0).theta)
    np.testing.assert_array_equal(Network(Dense(4, 3)).theta, Network(Dense(4, 3), seeds=0).theta)


def test_both_precisions_start_from_the_same_weights():
    wide, narrow = (mlp(5, 4, 2, seeds=[0, 1], dtype=dtype) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(narrow.theta, wide.theta, rtol=3e-7)


def test_seeds_differ_and_equal_seeds_agree():
    net = mlp(5, 4, 2, seeds=[[2, 0], [0, 2]])
    np.testing.assert_array_equal(net.theta[0, 0], net.theta[1, 1])
    np.testing.assert_array_equal(net.theta[0, 1], net.theta[1, 0])
    assert not np.array_equal(net.theta[0, 0], net.theta[0, 1])


@pytest.mark.parametrize("seeds", [0.5, [1.0, 2.0], True, -1, [0, -1], "0", [], None])
def test_bad_seeds_are_refused(seeds):
    with refused("seeds"):
        mlp(4, 3, seeds=seeds)


@given(widths=st.lists(st.integers(1, 4), min_size=4, max_size=4))
@settings(max_examples=20)
def test_layers_whose_widths_do_not_fit_are_refused(widths):
    a, b, c, d = widths
    if b == c:
        Network(Dense(a, b), ReLU(), Dense(c, d))
    else:
        with refused("Dense", ValueError):
            Network(Dense(a, b), ReLU(), Dense(c, d))


def test_a_network_needs_layers_that_are_layers_and_distinct():
    with refused("layers", ValueError):
        Network()
    with refused("layers", TypeError):
        Network(Dense(2, 2), np.tanh)
    with refused("layers", TypeError):
        Network(Dense(2, 2), ReLU)
    dense = Dense(2, 2)
    with refused("layers", ValueError):
        Network(dense, dense)


@pytest.mark.parametrize("widths", [(), (4,), (4, 0), (4, -1, 2), (4, 2.5), (True, 2)])
def test_an_mlp_needs_two_positive_widths(widths):
    with pytest.raises((ValueError, TypeError), match=r"expected .* got"):
        mlp(*widths)


@pytest.mark.parametrize("activation", ["relu", np.tanh, ReLU(), None])
def test_an_activation_is_a_kind_of_layer(activation):
    with refused("activation", TypeError):
        mlp(4, 3, 2, activation=activation)


@pytest.mark.parametrize("dtype", ["float16", int, "double precision"])
def test_an_unknown_precision_is_refused(dtype):
    with refused("dtype", ValueError):
        mlp(4, 2, dtype=dtype)
