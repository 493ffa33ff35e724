"""A network is one flat vector of parameters, seen through its layers."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize.activations import ReLU, Tanh
from regularize.layers import Dense, Layer, Reshape
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


# -- layers with states, children, hyper-parameters, and masks ----------------------------------------------


class Counter(Layer):
    """Counts its training passes in a state, unless they are repeated; its share differs between members."""

    states = {"count": (1, 2)}  # noqa: RUF012
    hyperparameters = ("share",)

    def __init__(self, share=0.0):
        self.share = share

    def initialize(self, network):
        self.count[...] = 1

    def forward(self, x, train):
        if train and not self.replay:
            self.count += 1
        return x

    def backward(self, g):
        return g


class Twice(Layer):
    """Two layers inside one."""

    def __init__(self, *children):
        self.children = children

    def forward(self, x, train):
        for child in self.children:
            x = child.forward(x, train)
        return x

    def backward(self, g):
        for child in reversed(self.children):
            g = child.backward(g)
        return g


@pytest.mark.parametrize("lead", LEADS)
def test_states_are_views_into_one_array(lead):
    counters = Counter(), Counter()
    net = Network(counters[0], Dense(4, 3), counters[1], seeds=seeds_of(lead))
    assert net.state.shape == (*lead, 4)
    assert net.theta.shape == (*lead, 15)
    assert (net.state == 1).all()
    net(np.zeros((5, 4)), train=True)
    net(np.zeros((5, 4)))
    assert (net.state == 2).all()
    net.state[..., 2:] = 7
    assert (counters[1].count == 7).all()
    assert (counters[0].count == 2).all()
    assert counters[0].count.shape == (*lead, 1, 2)


def test_a_replay_changes_nothing_and_ends_also_after_an_error():
    inner = Counter()
    net = Network(Dense(4, 4), Twice(inner, Dense(4, 3)))
    net.layers[0].replay = True  # who brought a mask along keeps it
    with net.replay():
        assert all(layer.replay for layer in net.all_layers)
        net(np.zeros((5, 4)), train=True)
    assert (net.state == 1).all()
    assert [layer.replay for layer in net.all_layers] == [True, False, False, False]
    with pytest.raises(ZeroDivisionError), net.replay():
        1 / 0  # noqa: B018
    assert not inner.replay


@pytest.mark.parametrize("lead", LEADS)
def test_layers_inside_layers_are_part_of_the_network(lead):
    first, inner, last = Dense(4, 5), Dense(5, 5), Dense(5, 3)
    block = Twice(inner, ReLU())
    net = Network(first, block, last, seeds=seeds_of(lead))
    assert net.all_layers == (first, block, inner, block.children[1], last)
    assert all(layer.lead == lead for layer in net.all_layers)
    plain = Network(Dense(4, 5), Dense(5, 5), ReLU(), Dense(5, 3), seeds=seeds_of(lead))
    np.testing.assert_array_equal(net.theta, plain.theta)
    x = np.random.default_rng(0).standard_normal((6, 4))
    np.testing.assert_array_equal(net(x), plain(x))
    net.backward(net(x))
    plain.backward(plain(x))
    np.testing.assert_array_equal(net.grad, plain.grad)


def test_parameters_are_listed_in_the_order_of_theta():
    net = mlp(4, 3, 2, seeds=[0, 1])
    assert [p.name for p in net.parameters] == ["W", "b", "W", "b"]
    assert [p.penalized for p in net.parameters] == [True, False, True, False]
    assert [p.layer for p in net.parameters] == [net.layers[0]] * 2 + [net.layers[2]] * 2
    np.testing.assert_array_equal(
        np.concatenate([p.value.reshape(2, -1) for p in net.parameters], axis=-1), net.theta
    )
    net.parameters[2].gradient[...] = 4
    assert (net.layers[2].dW == 4).all()
    assert (net.grad == 4).sum() == net.layers[2].dW.size


class Filters(Layer):
    shapes = {"K": (2, 2, 3, 5)}  # noqa: RUF012
    penalized = ("K",)


@pytest.mark.parametrize("lead", LEADS)
def test_kernels_are_matrices_whose_columns_lead_into_units(lead):
    net = Network(Dense(4, 3), Filters(), seeds=seeds_of(lead))
    dense, filters = net.kernels()
    assert dense.shape == (*lead, 4, 3)
    assert filters.shape == (*lead, 12, 5)
    filters[..., 2] = 9
    assert (net.layers[1].K[..., 2] == 9).all()
    assert (net.theta == 9).sum() == filters[..., 2].size


def test_a_layer_belongs_to_one_network():
    layer = Dense(4, 3)
    first = Network(layer)
    theta = first.theta.copy()
    for again in (layer, Twice(layer)):
        with refused("layers", ValueError):
            Network(again)
    np.testing.assert_array_equal(first.theta, theta)
    with refused("layers", ValueError):
        Network(Twice(inner := Dense(4, 4)), inner)


@pytest.mark.parametrize("share", [[0.1, 0.2], np.zeros((4, 2, 3))])
def test_hyper_parameters_of_layers_broadcast_to_the_members(share):
    with refused("Counter.share", ValueError):
        Network(Counter(share), Dense(4, 3), seeds=seeds_of((2, 3)))
    Network(Counter(np.zeros((2, 1))), Dense(4, 3), seeds=seeds_of((2, 3)))


def test_outputs_are_counted():
    net = mlp(4, 5, 3)
    assert net.output_features(4) == 3
    with refused("Dense"):
        net.output_features(5)


def test_everything_is_in_the_precision_of_the_network():
    net = Network(Counter(), Dense(4, 3), dtype="float32")
    assert {a.dtype for a in (net.theta, net.grad, net.state, net.penalized)} == {np.dtype(np.float32)}


def test_outputs_are_rows():
    with refused("layers", ValueError):
        Network(Dense(4, 4), Reshape(2, 2)).output_features(4)


@pytest.mark.parametrize("copy", [deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_weights_of_its_own_and_can_be_trained(copy):
    net = Network(Counter(), Dense(4, 3), Twice(Dense(3, 3)), seeds=[0, 1])
    other = copy(net)
    np.testing.assert_array_equal(other.theta, net.theta)
    other.theta[...] = 0
    other.state[...] = 5
    assert not other.layers[1].W.any()
    assert not other.layers[2].children[0].b.any()
    assert (other.layers[0].count == 5).all()
    assert net.theta.any()
    assert (net.state == 1).all()
    other.layers[1].dW[...] = 2
    assert (other.parameters[0].gradient == 2).all()
    assert (other.grad == 2).sum() == other.layers[1].dW.size
