"""Masks drop what they should, as often as they should, and what is dropped has no part in the step."""

import sys
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, WORST, inputs, law_gradients_are_those_of_finite_differences, seeds_of

from regularize.activations import SELU, ReLU, Tanh
from regularize.batch_norm import BatchNorm
from regularize.dropout import (
    SELU_FLOOR,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    RandomLayer,
    SpatialDropout,
    monte_carlo,
    uncertainty,
)
from regularize.initialization import lecun_normal
from regularize.layers import Dense, Flatten, Layer, Reshape
from regularize.losses import cross_entropy
from regularize.network import Network
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.residual import Residual
from regularize.streams import Streams
from regularize.training import fit, predict

ROWS = {
    "inverted": Dropout,
    "standard": lambda rate: Dropout(rate, "standard"),
    "Gaussian": GaussianDropout,
    "alpha": AlphaDropout,
}
LAYERS = ROWS | {"spatial": SpatialDropout}
BINARY = [Dropout, lambda rate: Dropout(rate, scaling="standard"), AlphaDropout]


def images(lead=(), batch=5):
    return np.random.default_rng(1).standard_normal((*lead, batch, 3, 2, 4))


def data_for(make, lead=()):
    return images(lead) if make is SpatialDropout else inputs(lead)


def ready(layer, **options):
    """The layer of a network of its own; its activations are ``lead + ...``."""
    Network(layer, **options)
    return layer


def data(n=24, features=6, classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)), np.eye(classes)[rng.integers(classes, size=n)]


# -- the backward pass ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_gradients_are_those_of_finite_differences(make, lead):
    rate = np.random.default_rng(4).uniform(0.1, 0.6, lead)
    law_gradients_are_those_of_finite_differences(lambda: make(rate), lead)


def law_spatial_gradients_are_those_of_finite_differences(lead=(3,)):
    layer, x = ready(SpatialDropout(0.5), seeds=seeds_of(lead)), images(lead)
    c = np.random.default_rng(3).standard_normal(x.shape)

    def objective():
        return (c * layer.forward(x, True)).reshape(*lead, -1).sum(-1)

    objective()
    layer.replay = True
    assert relative_error(layer.backward(c), numerical_gradient(objective, x, lead)) <= WORST


@pytest.mark.parametrize("lead", LEADS)
def test_spatial_gradients_are_those_of_finite_differences(lead):
    law_spatial_gradients_are_those_of_finite_differences(lead)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_derivative_is_that_of_the_last_pass(make):
    """After a pass in evaluation mode it is that of evaluation: no mask of an earlier pass is left over."""
    layer, x = ready(make(0.5)), data_for(make)
    g = np.random.default_rng(3).standard_normal(x.shape)
    layer.forward(x, True)
    layer.forward(x, False)
    share = 0.5 if make is ROWS["standard"] else 1.0
    np.testing.assert_array_equal(layer.backward(g), share * g)


# -- masks ---------------------------------------------------------------------------------------------------


def law_a_kept_unit_is_divided_by_the_share_kept(rate=0.3, dtype="float64"):
    """Exactly; a dropped one is exactly 0. So the mask can be read from the output."""
    layer = Dropout(rate)
    net = Network(layer, dtype=dtype)
    x = np.ones((50, 20), dtype)
    y = net(x, train=True)
    assert set(np.unique(y)) == {net.dtype.type(0), net.dtype.type(1 / (1 - rate))}
    np.testing.assert_array_equal(y > 0, layer.mask)
    np.testing.assert_array_equal(net.backward(x), y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_a_kept_unit_is_divided_by_the_share_kept(rate, dtype):
    law_a_kept_unit_is_divided_by_the_share_kept(rate, dtype)


def law_standard_scaling_acts_in_evaluation(rate=0.25):
    layer, x = Dropout(rate, "standard"), inputs(())
    net = Network(layer)
    np.testing.assert_array_equal(net(x, train=True), np.where(layer.mask, x, 0))
    np.testing.assert_array_equal(net(x), (1 - rate) * x)


def test_standard_scaling_acts_in_evaluation():
    law_standard_scaling_acts_in_evaluation()


def law_evaluation_is_the_identity(make=Dropout):
    layer, x = ready(make([0.5, 0.1]), seeds=[0, 1]), data_for(make, (2,))
    np.testing.assert_array_equal(layer.forward(x, False), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("make", [Dropout, GaussianDropout, AlphaDropout, SpatialDropout])
def test_evaluation_is_the_identity(make):
    law_evaluation_is_the_identity(make)


def law_rate_zero_is_the_identity_bit_for_bit(make=Dropout):
    """Also beside members that do drop."""
    layer, x = ready(make([0.0, 0.5]), seeds=[3, 3]), data_for(make, (2,))
    y = layer.forward(x, True)
    assert y[0].tobytes() == x[0].tobytes()
    assert layer.backward(x)[0].tobytes() == x[0].tobytes()
    assert np.any(y[1] != x[1])


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_rate_zero_is_the_identity_bit_for_bit(make):
    law_rate_zero_is_the_identity_bit_for_bit(make)


def law_what_follows_draws_the_same_numbers_at_every_rate(make=Dropout):
    """So the arms of a comparison stay paired, and a member with rate 0 is itself when trained alone."""
    x, masks = data_for(make), []
    for rate in (0.0, 0.5):
        first, last = make(rate), Dropout(0.5)
        Network(Residual(first, last))
        last.forward(first.forward(x, True), True)
        masks.append(last.mask)
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_what_follows_draws_the_same_numbers_at_every_rate(make):
    law_what_follows_draws_the_same_numbers_at_every_rate(make)


def law_the_share_of_zeros_is_the_rate(make=Dropout, rates=(0.1, 0.5, 0.8)):
    """Within 5 standard deviations of a binomial distribution."""
    n = 40_000
    layer = make(np.array(rates))
    Network(layer, seeds=range(len(rates)))(np.ones((n // 100, 100)), train=True)
    share = 1 - layer.mask.mean((-1, -2))
    assert (np.abs(share - rates) < 5 * np.sqrt(np.multiply(rates, 1 - np.array(rates)) / n)).all(), share


@pytest.mark.parametrize("make", BINARY)
def test_the_share_of_zeros_is_the_rate(make):
    law_the_share_of_zeros_is_the_rate(make)


def law_every_unit_of_every_example_step_and_member_has_its_own_mask():
    layer = Dropout(0.5)
    net, x = Network(layer, seeds=[3, 8, 3]), np.ones((40, 30))
    net(x, train=True)
    first = layer.mask.copy()
    net(x, train=True)
    assert first.shape == (3, 40, 30)
    np.testing.assert_array_equal(first[0], first[2])  # the same seed
    for a, b in [(first[0], first[1]), (first[0], layer.mask[0])]:
        assert 0.4 < (a == b).mean() < 0.6
    assert 0 < first[0].mean(0).min() <= first[0].mean(0).max() < 1  # no unit is off in the whole batch
    assert 0 < first[0].mean(1).min() <= first[0].mean(1).max() < 1


def test_every_unit_of_every_example_step_and_member_has_its_own_mask():
    law_every_unit_of_every_example_step_and_member_has_its_own_mask()


def law_both_precisions_have_the_same_masks(make=Dropout, rate=0.3):
    masks = []
    for dtype in ("float64", "float32"):
        layer, x = ready(make(rate), seeds=[0, 1], dtype=dtype), data_for(make, (2,)).astype(dtype)
        for train in (False, True):
            y = layer.forward(x, train)
            assert y.dtype == layer.backward(y).dtype == dtype
        masks.append(layer.mask)
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_both_precisions_have_the_same_masks(make):
    law_both_precisions_have_the_same_masks(make)


class Drawn:
    """A stream with known numbers."""

    def __init__(self, u):
        self.u = np.asarray(u, np.float32)

    def uniform(self, shape):
        return self.u.reshape(shape)


def law_a_number_as_large_as_the_rate_keeps_the_unit():
    """0.7 rounds down in float32: both precisions must compare in the precision of the numbers drawn."""
    rate = np.float32(0.7)
    u = [0.0, np.nextafter(rate, np.float32(0)), rate, np.nextafter(rate, np.float32(1))]
    for dtype in ("float64", "float32"):
        layer = Dropout(0.7)
        net = Network(layer, dtype=dtype)
        layer.noise = Drawn(u)
        net(np.ones((1, 4), dtype), train=True)
        np.testing.assert_array_equal(layer.mask, [[False, False, True, True]])


def test_a_number_as_large_as_the_rate_keeps_the_unit():
    law_a_number_as_large_as_the_rate_keeps_the_unit()


@given(rates=st.lists(st.floats(0, 0.99), min_size=2, max_size=2).map(sorted))
@settings(max_examples=30)
def test_what_a_small_rate_drops_a_larger_one_drops_too(rates):
    """The same numbers are compared with each rate: settings differ by the rate and by nothing else."""
    layer = Dropout(rates)
    Network(layer, seeds=[1, 1])(np.ones((20, 10)), train=True)
    assert (layer.mask[0] >= layer.mask[1]).all()


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("train", [False, True])
def test_inputs_are_left_as_they_are(make, train):
    layer, x = ready(make(0.5)), data_for(make)
    g = x + 1
    copies = x.copy(), g.copy()
    layer.forward(x, train)
    layer.backward(g)
    np.testing.assert_array_equal((x, g), copies)


# -- one's own masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bool, int, np.float64])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_a_mask_can_be_brought_along(make, kind, dtype):
    """With any leading axes that broadcast, and in any kind of number."""
    layer, mask = make(0.5), np.array([[1, 0, 0, 1]])
    net, x = Network(layer, seeds=[0, 1], dtype=dtype), inputs((2,)).astype(dtype)
    layer.mask, layer.replay = mask.astype(kind), True
    y = net(x, train=True)
    assert y.dtype == dtype
    np.testing.assert_array_equal(layer.mask, mask)
    np.testing.assert_array_equal(net(x, train=True), y)
    g = net.backward(np.ones_like(x))
    assert g.dtype == dtype
    np.testing.assert_array_equal(g == 0, np.broadcast_to(mask == 0, x.shape))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_replayed_pass_is_the_same_function_and_draws_nothing(make):
    layers, x = [ready(make(0.5)) for _ in range(2)], data_for(make)
    first = [layer.forward(x, True) for layer in layers]
    np.testing.assert_array_equal(*first)
    layers[0].replay = True
    np.testing.assert_array_equal(layers[0].forward(x, True), first[0])
    layers[0].replay = False
    np.testing.assert_array_equal(layers[0].forward(x, True), layers[1].forward(x, True))


@pytest.mark.parametrize("mask", [np.ones((3, 4)), np.ones((1, 5, 4)), np.ones(5), None])
def test_a_mask_that_does_not_fit_is_refused(mask):
    layer = Dropout(0.5)
    net = Network(layer)
    layer.replay = True
    if mask is not None:
        layer.mask = mask
    with refused("mask", ValueError):
        net(inputs(()), train=True)
    np.testing.assert_array_equal(net(inputs(())), inputs(()))  # evaluation needs none


# -- expectation ---------------------------------------------------------------------------------------------


def law_the_mean_over_all_masks_is_the_output_in_evaluation(scaling="inverted", rate=0.3):
    """Exactly, if what follows is linear. All 2^4 masks, each with its probability."""
    layer = Dropout(rate, scaling)
    net, x = Network(layer, Dense(4, 3)), inputs(())
    layer.replay, mean = True, 0.0
    for mask in product([0, 1], repeat=4):
        layer.mask = np.array([mask])
        kept = sum(mask)
        mean += (1 - rate) ** kept * rate ** (4 - kept) * net(x, train=True)
    np.testing.assert_allclose(mean, net(x), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("scaling", ["inverted", "standard"])
def test_the_mean_over_all_masks_is_the_output_in_evaluation(scaling, rate):
    law_the_mean_over_all_masks_is_the_output_in_evaluation(scaling, rate)


def test_behind_a_nonlinearity_evaluation_is_not_the_mean_over_all_masks():
    """With ReLU it lies below: the mean of max(., 0) is at least the max of the mean (Jensen)."""
    layer = Dropout(0.5)
    net, x = Network(layer, Dense(4, 50), ReLU()), inputs(())
    layer.replay, mean = True, 0.0
    for mask in product([0, 1], repeat=4):
        layer.mask = np.array([mask])
        mean += net(x, train=True) / 16
    assert (mean - net(x) >= -1e-12).all()
    assert (mean - net(x)).max() > 0.1


def law_noise_has_mean_one_and_the_variance_of_dropout(make=GaussianDropout, rate=0.2):
    """p / (1 - p), within 5 standard errors; for dropout, that of m / (1 - p)."""
    n = 40_000
    y = Network(make(rate))(np.ones((n // 100, 100)), train=True)
    variance = rate / (1 - rate)
    fourth = ((y - 1) ** 4).mean()
    assert abs(y.mean() - 1) <= 5 * np.sqrt(variance / n)
    assert abs(((y - 1) ** 2).mean() - variance) <= 5 * np.sqrt((fourth - variance**2) / n)


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("make", [GaussianDropout, Dropout])
def test_noise_has_mean_one_and_the_variance_of_dropout(make, rate):
    law_noise_has_mean_one_and_the_variance_of_dropout(make, rate)


def test_gaussian_noise_is_normal_and_drops_nothing():
    layer = GaussianDropout(0.5)
    Network(layer)(np.ones((400, 100)), train=True)
    z = layer.mask - 1
    np.testing.assert_array_equal(layer.mask, 1 + Streams(0, "noise").normal((400, 100)))
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / z.size)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size)
    assert (layer.mask != 0).all()


def law_alpha_dropout_keeps_mean_zero_and_variance_one(rate=0.2):
    """Exactly, over both states of the mask: for inputs of mean 0 and variance 1."""
    x = np.random.default_rng(0).standard_normal((200, 1))
    x = (x - x.mean()) / x.std()
    layer = AlphaDropout(rate)
    net = Network(layer)
    layer.replay, outputs = True, []
    for layer.mask in (np.array([[0]]), np.array([[1]])):
        outputs.append(net(x, train=True))
    mean = rate * outputs[0].mean() + (1 - rate) * outputs[1].mean()
    square = rate * (outputs[0] ** 2).mean() + (1 - rate) * (outputs[1] ** 2).mean()
    np.testing.assert_allclose([mean, square], [0, 1], atol=1e-13)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_zero_and_variance_one(rate):
    law_alpha_dropout_keeps_mean_zero_and_variance_one(rate)


def test_a_deep_selu_network_keeps_mean_zero_and_variance_one_with_alpha_dropout_only():
    def deep(make):
        blocks = [(Dense(200, 200, lecun_normal), SELU(), make(0.1)) for _ in range(8)]
        net = Network(*(layer for block in blocks for layer in block), seeds=2)
        z = net(np.random.default_rng(0).standard_normal((200, 200)), train=True)
        return abs(z.mean()), abs(np.log(z.var()))

    mean, spread = deep(AlphaDropout)
    assert mean < 0.05
    assert spread < np.log(1.2)
    assert deep(Dropout)[1] > 2 * spread


def test_selu_tends_to_the_value_of_a_dropped_unit():
    assert SELU_FLOOR == pytest.approx(SELU().forward(np.full((1, 1), -50.0), False).item(), rel=1e-15)
    layer = AlphaDropout(0.25)
    net = Network(layer)
    layer.mask, layer.replay = np.zeros((1, 1)), True
    y = net(np.array([[-3.0], [5.0]]), train=True)
    a = 1 / np.sqrt(0.75 * (1 + 0.25 * SELU_FLOOR**2))
    np.testing.assert_allclose(y, 0.75 * a * SELU_FLOOR, rtol=1e-14)


# -- channels ------------------------------------------------------------------------------------------------


def law_spatial_dropout_drops_whole_channels():
    layer, x = ready(SpatialDropout(0.4), seeds=[0, 1]), np.ones((2, 30, 3, 2, 4))
    y = layer.forward(x, True)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :, :1, :1], y.shape))
    assert set(np.unique(y)) == {0.0, 1 / 0.6}
    channels = y[:, :, 0, 0]
    assert np.any(channels[0] != channels[1])
    for axis in (1, 2):  # examples and channels differ
        assert np.ptp(channels, axis=axis).max() > 0
    np.testing.assert_array_equal(layer.backward(x), y)


def test_spatial_dropout_drops_whole_channels():
    law_spatial_dropout_drops_whole_channels()


def test_spatial_dropout_of_images_in_a_network_of_rows():
    net = Network(Reshape(3, 2, 2), SpatialDropout(0.5), Flatten(), Dense(12, 3), seeds=[0, 1])
    x, y = data(features=12)
    fit(net, x, y, SGD(0.1), epochs=2, batch_size=5)
    assert predict(net, x).shape == (2, 24, 3)


def test_spatial_dropout_refuses_rows():
    """Also at the end of a fit that knows the number of features, and in a bare forward pass."""
    with refused("SpatialDropout", ValueError):
        Network(Dense(4, 3), SpatialDropout(0.5))
    with refused("SpatialDropout", ValueError):
        fit(Network(SpatialDropout(0.5), Dense(6, 3)), *data(), SGD(), epochs=1, batch_size=8)
    with refused("SpatialDropout", ValueError):
        Network(SpatialDropout(0.5))(inputs(()), train=True)
    with refused("SpatialDropout", ValueError):
        SpatialDropout(0.5).output_shape((4, 4))
    assert SpatialDropout(0.5).output_shape(None) is None


# -- training ------------------------------------------------------------------------------------------------


class LayerSGD:
    """SGD with a learning rate for each parameter."""

    learning_rate = 1.0

    def __init__(self, rates):
        self.rates = tuple(rates)

    def step(self, theta, grad):
        theta -= np.array(self.rates) * grad


def law_both_scalings_follow_the_same_path(rate=0.3):
    """Inverted with W2' = (1 - p) W2 and a learning rate (1 - p)^2 as large: 200 steps to rounding errors."""
    nets = {}
    for scaling in ("standard", "inverted"):
        reader = Dense(7, 3)
        net = nets[scaling] = Network(Dense(6, 7), Tanh(), Dropout(rate, scaling), reader, seeds=4)
        rates = np.full(net.theta.shape, 0.25)
        if scaling == "inverted":
            reader.W *= 1 - rate
            rates[6 * 7 + 7 :][: reader.W.size] *= (1 - rate) ** 2
        start = net.theta.copy()
        fit(net, *data(), LayerSGD(rates), epochs=50, batch_size=6)
        assert relative_error(net.theta, start) > 0.1
    standard, inverted = nets["standard"], nets["inverted"]
    x = data()[0]
    assert relative_error(standard(x), inverted(x)) < 1e-13
    standard.layers[3].W *= 1 - rate
    assert relative_error(standard.theta, inverted.theta) < 1e-13


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_both_scalings_follow_the_same_path(rate):
    law_both_scalings_follow_the_same_path(rate)


def law_what_is_dropped_has_no_gradient_in_that_step(make=Dropout):
    """Neither the weights that make the unit, nor those that read it; all others have one."""
    layer = make(0.5)
    makes, reads = Dense(6, 8), Dense(8, 3)
    net, (x, y) = Network(makes, Tanh(), layer, reads, seeds=1), data(n=1)
    net.backward(cross_entropy(net(x, train=True), y)[1])
    off = ~layer.mask[0]
    assert 0 < off.sum() < 8
    np.testing.assert_array_equal((makes.dW == 0).all(0), off)
    np.testing.assert_array_equal(makes.db[0] == 0, off)
    if make is Dropout:  # under alpha dropout a dropped unit has a value, and what reads it learns
        np.testing.assert_array_equal((reads.dW == 0).all(1), off)
    return net, makes, off


@pytest.mark.parametrize("make", [Dropout, AlphaDropout])
def test_what_is_dropped_has_no_gradient_in_that_step(make):
    law_what_is_dropped_has_no_gradient_in_that_step(make)


def test_what_is_dropped_stays_with_plain_sgd_but_moves_with_momentum_or_a_penalty():
    """No gradient does not mean no update: an optimizer that remembers goes on."""

    def moved(**memory):
        layer, makes = Dropout(0.5), Dense(6, 8)
        net, (x, y) = Network(makes, Tanh(), layer, Dense(8, 3), seeds=1), data(n=1)
        optimizer = memory.get("optimizer", SGD)(0.125)
        masks = np.arange(8) < 4, np.arange(8) >= 4
        layer.replay = True
        for layer.mask in masks:
            before = makes.W.copy()
            net.backward(cross_entropy(net(x, train=True), y)[1])
            net.grad += memory.get("decay", 0.0) * net.theta
            optimizer.step(net.theta, net.grad)
        return (before != makes.W).any(0)

    np.testing.assert_array_equal(moved(), np.arange(8) >= 4)
    for memory in ({"optimizer": lambda h: SGD(h, 0.875)}, {"optimizer": Adam}, {"decay": 0.01}):
        assert moved(**memory).all()


def law_a_member_is_the_network_trained_alone(make=Dropout, dtype="float64"):
    """Bit for bit, with a rate of its own, 0 among them."""
    rates, seeds = np.array([[0.0], [0.5]]), np.array([[4, 1, 4], [0, 1, 9]])

    def train(rate, seeds):
        layers = make(rate), Dense(6, 7), Tanh(), make(rate), Dense(7, 3)
        net = Network(*layers, seeds=seeds, dtype=dtype)
        x, y = (a.astype(dtype) for a in data())
        fit(net, x, y, Adam(0.01), epochs=2, batch_size=7)
        return net.theta, predict(net, x), monte_carlo(net, x, 2)

    theta, outputs, samples = train(rates, seeds)
    for s in np.ndindex(seeds.shape):
        alone = train(float(rates[s[0], 0]), seeds[s])
        np.testing.assert_array_equal(theta[s], alone[0])
        np.testing.assert_array_equal(outputs[s], alone[1])
        np.testing.assert_array_equal(samples[:, *s], alone[2])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_a_member_is_the_network_trained_alone(make, dtype):
    law_a_member_is_the_network_trained_alone(make, dtype)


# -- Monte-Carlo ---------------------------------------------------------------------------------------------


class Spy(Layer):
    """Has a moving average that only training may move, and a fuse."""

    states = {"moving": (1,)}  # noqa: RUF012
    fuse = False

    def forward(self, x, train):
        if self.fuse:
            raise OverflowError("the fuse has blown")
        if train:
            self.moving += 1
        return x

    def backward(self, g):
        return g


def network(make=Dropout, rate=0.5, **options):
    """With dropout in front, and inside a residual block."""
    block = Residual(Dense(6, 6), Tanh(), make(rate))
    return Network(Dropout(rate), block, BatchNorm(6), Spy(), Dense(6, 3), **options)


def law_samples_are_passes_with_new_masks_and_nothing_else_random():
    """What they are made of: masks everywhere, also inside blocks; moving statistics stay."""
    net, x = network(seeds=[0, 1]), data()[0]
    state = net.state.copy()
    samples = monte_carlo(net, x, 5)
    assert samples.shape == (5, 2, 24, 3)
    assert len(np.unique(samples, axis=0)) == 5
    np.testing.assert_array_equal(net.state, state)
    inside = Network(Dropout(0.0), Residual(Dense(6, 6), Dropout(0.5)), Dense(6, 3))
    assert (np.ptp(monte_carlo(inside, x, 3), axis=0) > 0).all()
    assert np.ptp(monte_carlo(network(rate=0.0), x, 3), axis=0).max() == 0
    np.testing.assert_array_equal(monte_carlo(network(rate=0.0), x, 1)[0], predict(network(rate=0.0), x))


def test_samples_are_passes_with_new_masks_and_nothing_else_random():
    law_samples_are_passes_with_new_masks_and_nothing_else_random()


def law_the_mean_of_many_samples_of_a_linear_network_is_its_prediction(make=Dropout):
    """Within 5 standard errors."""
    net, x = Network(make(0.5), Dense(6, 3), seeds=[0, 1]), data()[0]
    samples = monte_carlo(net, x, 600)
    error = samples.std(0) / np.sqrt(600)
    assert (np.abs(samples.mean(0) - predict(net, x)) < 5 * error).all()


@pytest.mark.parametrize("make", [Dropout, ROWS["standard"], GaussianDropout])
def test_the_mean_of_many_samples_of_a_linear_network_is_its_prediction(make):
    law_the_mean_of_many_samples_of_a_linear_network_is_its_prediction(make)


@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_every_kind_of_dropout_can_be_sampled(make):
    net, x = Network(Dense(6, 6), make(0.5)), data()[0]
    assert (np.ptp(monte_carlo(net, x, 4), axis=0) > 0).any(0).all()


def law_sampling_does_not_disturb_training():
    """The same weights, bit for bit, whether or not somebody looks."""
    x, y = data()
    nets = [network(seeds=[0, 1]) for _ in range(2)]
    watches = [None, lambda net: monte_carlo(net, x, 2)]
    looks = [
        fit(net, x, y, SGD(0.1), epochs=3, batch_size=5, watch=watch)
        for net, watch in zip(nets, watches, strict=True)
    ]
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    assert len(looks[1]) == 3


def test_sampling_does_not_disturb_training():
    law_sampling_does_not_disturb_training()


def law_a_network_is_left_as_it_was(blown=False):
    """Masks, switches and streams, after an error, too."""
    net, x = network(), data()[0]
    first, inside, spy = net.layers[0], net.layers[1].children[2], net.layers[3]
    net(x, train=True)
    inside.replay = True
    random = [layer for layer in net.all_layers if isinstance(layer, RandomLayer)]
    assert random == [first, net.layers[1], inside]  # a residual block skips at random
    kept = [vars(layer).copy() for layer in random]
    if blown:
        spy.fuse = True
        with pytest.raises(OverflowError):
            monte_carlo(net, x, 3)
        spy.fuse = False
    else:
        monte_carlo(net, x, 3)
    for layer, before in zip(random, kept, strict=True):
        now = vars(layer)
        assert now.keys() == before.keys()
        assert all(now[name] is before[name] for name in now)
    np.testing.assert_array_equal(predict(net, x), predict(net, x))


@pytest.mark.parametrize("blown", [False, True])
def test_a_network_is_left_as_it_was(blown):
    law_a_network_is_left_as_it_was(blown)


def test_a_second_call_gives_the_same_samples_and_more_samples_begin_with_the_fewer():
    net, x = network(), data()[0]
    few, x_before = monte_carlo(net, x, 2), x.copy()
    np.testing.assert_array_equal(monte_carlo(net, x, 4)[:2], few)
    np.testing.assert_array_equal(x, x_before)
    net(x, train=True)
    assert np.any(monte_carlo(net, x, 2) != few)


def test_samples_do_not_replay_a_mask_that_was_brought_along():
    net, x = network(), data()[0]
    for layer in (net.layers[0], net.layers[1].children[2]):
        layer.mask, layer.replay = np.ones((1, 6)), True
    assert (np.ptp(monte_carlo(net, x, 5), axis=0) > 0).all()


def test_samples_are_computed_in_batches():
    net, x = Network(Dropout(0.5), Dense(6, 3)), np.ones((300, 6))
    sizes = []
    net.layers[0].draw = lambda shape: (sizes.append(shape[0]), np.ones(shape))[1]
    monte_carlo(net, x, 1)
    monte_carlo(net, x, 2, batch_size=150)
    assert sizes == [256, 44, 150, 150, 150, 150]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("samples", (0,)), ("samples", (1.5,)), ("samples", ([3],)), ("batch_size", (1, 0)), ("x", None)],
)
def test_bad_arguments_of_monte_carlo_are_refused(name, arguments):
    with refused(name):
        monte_carlo(network(), *(([[np.nan] * 6], 1) if arguments is None else (data()[0], *arguments)))


def test_a_network_without_random_layers_has_no_samples():
    with refused("net", ValueError):
        monte_carlo(Network(Dense(6, 3)), data()[0], 2)


# -- uncertainty ---------------------------------------------------------------------------------------------

logits = st.floats(-30, 30)


@given(z=st.lists(st.lists(logits, min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_samples_know_at_most_what_the_entropy_holds(z):
    mean, entropy, information = uncertainty(np.array(z)[:, None])
    assert mean.shape == (1, 3)
    assert entropy.shape == information.shape == (1,)
    assert mean.sum() == pytest.approx(1, abs=1e-12)
    assert 0 <= information[0] <= entropy[0] + 1e-12
    assert entropy[0] <= np.log(3) + 1e-12


def law_uncertainty_tells_disagreement_from_doubt():
    """Columns: two samples that agree and are sure; that agree and doubt; that are sure and disagree."""
    sure, doubt, other = [99.0, 0.0], [0.0, 0.0], [0.0, 99.0]
    mean, entropy, information = uncertainty(np.array([[sure, doubt, sure], [sure, doubt, other]]))
    np.testing.assert_allclose(mean, [[1, 0], [0.5, 0.5], [0.5, 0.5]], atol=1e-15)
    np.testing.assert_allclose(entropy, [0, np.log(2), np.log(2)], atol=1e-14)
    np.testing.assert_allclose(information, [0, 0, np.log(2)], atol=1e-14)


def test_uncertainty_tells_disagreement_from_doubt():
    law_uncertainty_tells_disagreement_from_doubt()


def test_uncertainty_is_that_of_the_formulas():
    z = np.random.default_rng(0).standard_normal((7, 2, 5, 4))
    q = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    mean, entropy, information = uncertainty(z)
    np.testing.assert_allclose(mean, q.mean(0), rtol=1e-13)
    np.testing.assert_allclose(entropy, -(mean * np.log(mean)).sum(-1), rtol=1e-13)
    np.testing.assert_allclose(information, entropy + (q * np.log(q)).sum(-1).mean(0), rtol=1e-12)
    assert {a.dtype for a in uncertainty(z.astype(np.float32))} == {np.dtype(np.float32)}


def test_uncertainty_needs_samples():
    with refused("samples", ValueError):
        uncertainty(np.zeros((5, 3)))


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, np.nan, np.inf, "0.5", None, [0.1, 1.0], []])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_rate_lies_between_zero_and_one(make, bad):
    with refused("rate"):
        make(bad)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_rates_broadcast_to_the_members(make):
    with refused(f"{type(make(0.5)).__name__}.rate", ValueError):
        Network(make([0.1, 0.2]), seeds=[0, 1, 2])


def test_an_unknown_scaling_is_refused():
    with refused("scaling", ValueError):
        Dropout(0.5, "inverse")
    assert Dropout(0.5).scaling == "inverted"


# -- Keras and PyTorch ---------------------------------------------------------------------------------------

RATE = 0.25


def shifted(shape=(40, 8)):
    """No value is 0, so that a zero in the output means a dropped unit."""
    return np.random.default_rng(0).uniform(0.5, 2, shape)


def in_keras(make, x, c):
    """Output and gradient of ``sum of c * output`` in training mode."""
    import tensorflow as tf

    t = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = make(t, training=True)
        value = tf.reduce_sum(c * y)
    return y.numpy(), tape.gradient(value, t).numpy()


def in_torch(make, x, c):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    t = torch.tensor(x, requires_grad=True)
    y = make.train()(t)
    (torch.tensor(c) * y).sum().backward()
    return y.detach().numpy(), t.grad.numpy()


def agrees(layer, mask, x, c, theirs, limit=1e-15):
    """Ours, with the mask read from theirs: outputs and gradients, relative to the largest."""
    assert 0.05 < np.mean(np.asarray(mask) == 0) < 0.5 or isinstance(layer, GaussianDropout)
    ready(layer)
    layer.mask, layer.replay = mask, True
    assert relative_error(layer.forward(x, True), theirs[0]) <= limit
    assert relative_error(layer.backward(c), theirs[1]) <= limit


def alpha_mask(y, rate):
    a = ((1 - rate) * (1 + rate * SELU_FLOOR**2)) ** -0.5
    return np.abs(y - a * SELU_FLOOR * (1 - rate)) > 1e-6


@pytest.mark.keras
@pytest.mark.parametrize("rate", [0.25, 0.3])
def test_dropout_is_that_of_keras(keras, rate):
    """0.3, too: the rate goes into the scale as a Python number, without the detour through float32."""
    x, c = shifted(), shifted()[::-1] - 1
    theirs = in_keras(keras.layers.Dropout(rate, seed=1, dtype="float64"), x, c)
    agrees(Dropout(rate), theirs[0] != 0, x, c, theirs)


@pytest.mark.keras
def test_gaussian_dropout_is_that_of_keras(keras):
    x, c = shifted(), shifted()[::-1] - 1
    theirs = in_keras(keras.layers.GaussianDropout(RATE, seed=1, dtype="float64"), x, c)
    noise = theirs[0] / x
    agrees(GaussianDropout(RATE), noise, x, c, theirs)
    assert abs(noise.std() - np.sqrt(RATE / (1 - RATE))) < 5 * np.sqrt(RATE / (1 - RATE) / 2 / noise.size)


@pytest.mark.keras
def test_spatial_dropout_is_that_of_keras(keras):
    x = shifted((10, 3, 2, 8))
    c = x[::-1] - 1
    theirs = in_keras(keras.layers.SpatialDropout2D(RATE, seed=1, dtype="float64"), x, c)
    agrees(SpatialDropout(RATE), theirs[0][:, :1, :1] != 0, x, c, theirs)


@pytest.mark.keras
@pytest.mark.parametrize("rate", [0.25, 0.3])
def test_alpha_dropout_is_that_of_keras(keras, rate):
    x, c = shifted(), shifted()[::-1] - 1
    theirs = in_keras(keras.layers.AlphaDropout(rate, seed=1, dtype="float64"), x, c)
    agrees(AlphaDropout(rate), alpha_mask(theirs[0], rate), x, c, theirs)


@pytest.mark.keras
@pytest.mark.parametrize("name", ["Dropout", "GaussianDropout", "AlphaDropout"])
def test_evaluation_in_keras_is_the_identity_too(keras, name):
    x = shifted()
    np.testing.assert_array_equal(getattr(keras.layers, name)(0.5, dtype="float64")(x, training=False), x)


@pytest.mark.keras
def test_a_hundred_steps_with_the_masks_of_keras_reach_its_weights(keras):
    import tensorflow as tf

    layer = Dropout(RATE)
    net, (x, y) = Network(Dense(6, 8), Tanh(), layer, Dense(8, 3), seeds=3), data()
    first, last = (keras.layers.Dense(n, dtype="float64") for n in (8, 3))
    drop = keras.layers.Dropout(RATE, seed=2, dtype="float64")
    for theirs, ours in ((first, net.layers[0]), (last, net.layers[3])):
        theirs.build((None, ours.n_in))
        theirs.set_weights([ours.W, ours.b[0]])
    weights = first.trainable_weights + last.trainable_weights
    optimizer, sgd = keras.optimizers.SGD(2**-3, 0.875), SGD(2**-3, 0.875)
    start, layer.replay = net.theta.copy(), True
    for step in range(100):
        rows = slice(step % 3 * 8, step % 3 * 8 + 8)
        with tf.GradientTape() as tape:
            dropped = drop(tf.tanh(first(x[rows])), training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y[rows], last(dropped)))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        layer.mask = dropped.numpy() != 0
        net.backward(cross_entropy(net(x[rows], train=True), y[rows])[1])
        sgd.step(net.theta, net.grad)
    assert relative_error(net.theta, start) > 0.1
    assert relative_error(net.theta, np.concatenate([np.ravel(w) for w in weights])) <= 1e-12


@pytest.mark.torch
@pytest.mark.parametrize("rate", [0.25, 0.3])
def test_dropout_is_that_of_pytorch(rate):
    torch = pytest.importorskip("torch")
    x, c = shifted(), shifted()[::-1] - 1
    theirs = in_torch(torch.nn.Dropout(rate), x, c)
    agrees(Dropout(rate), theirs[0] != 0, x, c, theirs)


@pytest.mark.torch
def test_spatial_dropout_is_that_of_pytorch():
    """Dropout2d, which has channels in front of height and width."""
    torch = pytest.importorskip("torch")
    x = shifted((10, 3, 2, 8))
    c = x[::-1] - 1
    first, back = (0, 3, 1, 2), (0, 2, 3, 1)
    theirs = in_torch(torch.nn.Dropout2d(RATE), x.transpose(first), c.transpose(first))
    theirs = [a.transpose(back) for a in theirs]
    agrees(SpatialDropout(RATE), theirs[0][:, :1, :1] != 0, x, c, theirs)


@pytest.mark.torch
def test_alpha_dropout_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    x, c = shifted(), shifted()[::-1] - 1
    theirs = in_torch(torch.nn.AlphaDropout(RATE), x, c)
    agrees(AlphaDropout(RATE), alpha_mask(theirs[0], RATE), x, c, theirs)


# -- planted bugs --------------------------------------------------------------------------------------------

HERE = sys.modules[__name__]  # the laws call functions by their names in this module
expectation = law_the_mean_over_all_masks_is_the_output_in_evaluation
DRAW = "u >= self.per_member(self.rate, u)"
SCALE = "1 / keep if inverted else 1.0"

BUGS = {
    "the rate is taken for the share to keep": Bug(
        RandomLayer, "draw", DRAW, "u < self.per_member(self.rate, u)",
        partial(law_the_share_of_zeros_is_the_rate, rates=(0.1, 0.8)),
    ),
    "a number equal to the rate drops the unit": Bug(
        RandomLayer, "draw", ">=", ">", law_a_number_as_large_as_the_rate_keeps_the_unit
    ),
    "the rate is compared in float64": Bug(
        RandomLayer, "draw", "self.per_member(self.rate, u)", "np.float64(self.rate)",
        law_a_number_as_large_as_the_rate_keeps_the_unit,
    ),
    "one mask for all examples": Bug(
        RandomLayer, "draw", "self.noise.uniform(shape)",
        "self.noise.uniform((1, *shape[1:])) + np.zeros((*shape, ), np.float32)",
        law_every_unit_of_every_example_step_and_member_has_its_own_mask,
    ),
    "one mask for all members": Bug(
        RandomLayer, "draw", "u >=", "u[:1] >=",
        law_every_unit_of_every_example_step_and_member_has_its_own_mask,
    ),
    "the mask of the first step stays": Bug(
        RandomLayer, "next_mask", "if not self.replay:", "if self.mask is None:",
        law_every_unit_of_every_example_step_and_member_has_its_own_mask,
    ),
    "nothing is drawn at rate 0": Bug(
        RandomLayer, "draw", "u = self.noise.uniform(shape)",
        "u = self.noise.uniform(shape) if np.any(self.rate) else np.ones(self.lead + shape, np.float32)",
        law_what_follows_draws_the_same_numbers_at_every_rate,
    ),
    "the backward pass forgets the mask": Bug(
        RandomLayer, "backward", "g * self.factor", "g", law_what_is_dropped_has_no_gradient_in_that_step
    ),
    "the backward pass forgets the scale": Bug(
        RandomLayer, "backward", "self.factor", "(self.factor > 0)",
        law_a_kept_unit_is_divided_by_the_share_kept,
    ),
    "no scaling at all": Bug(Dropout, "forward", SCALE, "1.0", expectation),
    "divided by the rate": Bug(Dropout, "forward", "1 / keep", "1 / self.rate", expectation),
    "scaled in training and in evaluation": Bug(
        Dropout, "forward", "1.0 if inverted else keep", "keep", law_evaluation_is_the_identity
    ),
    "dropped in evaluation, too": Bug(
        Dropout, "forward", "train or self.sampling", "True", law_evaluation_is_the_identity
    ),
    "standard scaling multiplies by the rate": Bug(
        Dropout, "forward", "else keep, x", "else self.rate, x", law_standard_scaling_acts_in_evaluation
    ),
    "standard scaling divides in training": Bug(
        Dropout, "forward", SCALE, "1 / keep", partial(law_both_scalings_follow_the_same_path, 0.3)
    ),
    "a mask for pixels, not for channels": Bug(
        SpatialDropout, "draw", "(shape[0], 1, 1, shape[-1])", "shape",
        law_spatial_dropout_drops_whole_channels,
    ),
    "all channels together": Bug(
        SpatialDropout, "draw", "1, 1, shape[-1]", "1, 1, 1", law_spatial_dropout_drops_whole_channels
    ),
    "all examples lose the same channels": Bug(
        SpatialDropout, "draw", "(shape[0], 1, 1", "(1, 1, 1", law_spatial_dropout_drops_whole_channels
    ),
    "the axis of height is taken for the channels": Bug(
        SpatialDropout, "draw", "1, 1, shape[-1]", "shape[1], 1, 1", law_spatial_dropout_drops_whole_channels
    ),
    "the noise has variance p": Bug(
        GaussianDropout, "draw", "self.rate / (1 - self.rate)", "self.rate",
        law_noise_has_mean_one_and_the_variance_of_dropout,
    ),
    "the noise has p / (1 - p) as its standard deviation": Bug(
        GaussianDropout, "draw", "np.sqrt(self.rate / (1 - self.rate))", "self.rate / (1 - self.rate)",
        law_noise_has_mean_one_and_the_variance_of_dropout,
    ),
    "the noise has mean 0": Bug(
        GaussianDropout, "draw", "1 + self", "0 + self", law_noise_has_mean_one_and_the_variance_of_dropout
    ),
    "noise in evaluation": Bug(
        GaussianDropout, "forward", "train or self.sampling", "True",
        partial(law_evaluation_is_the_identity, GaussianDropout),
    ),
    "float32 networks get float64 noise": Bug(
        GaussianDropout, "forward", ", x.dtype)", ")",
        partial(law_both_precisions_have_the_same_masks, GaussianDropout),
    ),
    "alpha dropout sets units to 0": Bug(
        AlphaDropout, "forward", "np.where(mask, x, c)", "np.where(mask, x, 0)",
        law_alpha_dropout_keeps_mean_zero_and_variance_one,
    ),
    "alpha dropout lacks its shift": Bug(
        AlphaDropout, "forward", " + shift", "", law_alpha_dropout_keeps_mean_zero_and_variance_one
    ),
    "alpha dropout swaps p and 1 - p": Bug(
        AlphaDropout, "forward", "(1 - p) * (1 + p", "p * (1 + (1 - p)",
        law_alpha_dropout_keeps_mean_zero_and_variance_one,
    ),
    "alpha dropout passes gradients through dropped units": Bug(
        AlphaDropout, "forward", "np.multiply(mask, scale, dtype=x.dtype)", "scale",
        partial(law_what_is_dropped_has_no_gradient_in_that_step, AlphaDropout),
    ),
    "samples move the moving statistics": Bug(
        HERE, "monte_carlo", "predict(net, x, batch_size)", "net(np.asarray(x), train=True)",
        law_samples_are_passes_with_new_masks_and_nothing_else_random,
    ),
    "layers inside blocks are not sampled": Bug(
        HERE, "monte_carlo", "net.all_layers", "net.layers",
        law_samples_are_passes_with_new_masks_and_nothing_else_random,
    ),
    "sampling uses up the noise of training": Bug(
        HERE, "monte_carlo", "deepcopy(net.noise)", "net.noise", law_sampling_does_not_disturb_training
    ),
    "the switches stay on": Bug(
        HERE, "monte_carlo", "vars(layer).update(attributes)",
        "vars(layer).update(attributes | {'sampling': True})", law_a_network_is_left_as_it_was,
    ),
    "the switches stay on after an error": Bug(
        HERE, "monte_carlo", "finally:", "except ZeroDivisionError:",
        partial(law_a_network_is_left_as_it_was, blown=True),
    ),
    "the information is the mean of the entropies": Bug(
        HERE, "uncertainty", "entropy - entr(q)", "entr(q)", law_uncertainty_tells_disagreement_from_doubt
    ),
    "the logits are averaged, not the probabilities": Bug(
        HERE, "uncertainty", "q.mean(0)", "softmax(np.mean(samples, 0), axis=-1)",
        lambda: test_uncertainty_is_that_of_the_formulas(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
