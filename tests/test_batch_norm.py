"""Batch normalization: the batch's statistics in training, moving ones in evaluation, in two conventions."""

import inspect
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import BATCH, EPOCHS, MOMENTUM, RATE, batches, data, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, law_gradients_are_those_of_finite_differences
from test_norms import IMAGES, ROWS, SHAPES, examples, law_gradients_of_any_shape, prepared

from regularize import batch_norm
from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.batch_norm import BatchNorm
from regularize.initialization import he_normal, lecun_normal
from regularize.layers import Dense, Flatten, Layer, Reshape
from regularize.losses import squared_error
from regularize.network import Network
from regularize.norms import Norm
from regularize.optimizers import SGD
from regularize.spectral import SpectralDense
from regularize.training import fit, predict

KEPT, EPS = 0.875, 2**-10  # numbers that float32 holds exactly
LAYERS = {
    "keras": lambda: BatchNorm(4),
    "pytorch": lambda: BatchNorm(4, convention="pytorch"),
    "ghost batches": lambda: BatchNorm(4, ghost=2),
    "ghost batches that fit": lambda: BatchNorm(4, convention="pytorch", ghost=5),
}


def over(x):
    """The axes of one member's statistics: all but the features'."""
    return tuple(range(x.ndim - 1))


def outputs_and_states(layer, x):
    """After one training pass."""
    y = layer.forward(x, True)
    return y, layer.moving_mean.copy(), layer.moving_variance.copy()


# -- gradients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_finite_differences(make, lead):
    law_gradients_are_those_of_finite_differences(make, lead)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_of_images_and_in_evaluation_are_those_of_finite_differences(make, shape, train):
    law_gradients_of_any_shape(make, (3,), shape, train)


# -- training ------------------------------------------------------------------------------------------------


def law_training_outputs_have_mean_beta_and_variance_gamma_squared(shape):
    """Exactly: gamma^2 v / (v + epsilon), where v is the variance of the inputs."""
    layer, x = prepared(BatchNorm(4, epsilon=0.5)), examples((), shape)
    y, v = layer.forward(x, True), x.var(over(x))
    np.testing.assert_allclose(y.mean(over(x)), layer.beta[0], rtol=1e-12)
    np.testing.assert_allclose(y.var(over(x)), layer.gamma[0] ** 2 * v / (v + 0.5), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_training_outputs_have_mean_beta_and_variance_gamma_squared(shape):
    law_training_outputs_have_mean_beta_and_variance_gamma_squared(shape)


def test_the_claim_of_zero_mean_and_unit_variance():
    """It holds before gamma and beta, in training, up to epsilon; neither after them nor in evaluation."""
    layer, x = prepared(BatchNorm(4, epsilon=1e-12)), examples((), (50, 4))
    y = layer.forward(x, True)
    np.testing.assert_allclose(layer.x_hat.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose(layer.x_hat.var(0), 1, rtol=1e-10)
    np.testing.assert_array_equal(y, layer.gamma * layer.x_hat + layer.beta)
    assert np.abs(y.mean(0)).max() > 0.1
    layer.forward(x, False)
    assert np.abs(layer.x_hat.mean(0)).max() > 0.1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_batch_of_equal_examples_gives_beta(shape):
    layer = prepared(BatchNorm(4))
    x = np.broadcast_to(np.array([0.1, -3, 0, 1e4]), shape)
    y = layer.forward(x, True)
    np.testing.assert_allclose(y, np.broadcast_to(layer.beta[0], shape), atol=1e-9)
    assert np.isfinite(layer.backward(np.ones(shape))).all()


def test_a_single_example_gives_beta_in_one_convention_and_an_error_in_the_other():
    x = examples((), (1, 4))
    keras, pytorch = prepared(BatchNorm(4)), prepared(BatchNorm(4, convention="pytorch"))
    np.testing.assert_array_equal(keras.forward(x, True), keras.beta)
    before = pytorch.moving_mean.copy()
    with refused("x", ValueError):
        pytorch.forward(x, True)
    with refused("x", ValueError):  # nor may a ghost batch be left with one
        prepared(BatchNorm(4, convention="pytorch", ghost=2)).forward(examples((), (5, 4)), True)
    np.testing.assert_array_equal(pytorch.moving_mean, before)
    pytorch.forward(x, False)
    pytorch.forward(examples((), (1, 1, 2, 4)), True)  # one image has several values per channel
    prepared(BatchNorm(4, ghost=2)).forward(examples((), (5, 4)), True)


# -- evaluation ----------------------------------------------------------------------------------------------


def law_evaluation_uses_the_moving_statistics(shape, convention="keras"):
    layer, x = prepared(BatchNorm(4, epsilon=0.5, convention=convention, ghost=2)), examples((), shape)
    before = layer.moving_mean.copy(), layer.moving_variance.copy()
    expected = (x - before[0][0]) / np.sqrt(before[1][0] + 0.5) * layer.gamma[0] + layer.beta[0]
    np.testing.assert_allclose(layer.forward(x, False), expected, rtol=1e-12)
    np.testing.assert_array_equal((layer.moving_mean, layer.moving_variance), before)


@pytest.mark.parametrize("convention", ["keras", "pytorch"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_evaluation_uses_the_moving_statistics(shape, convention):
    law_evaluation_uses_the_moving_statistics(shape, convention)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_example_depends_on_the_others_in_training_only(shape):
    layer, x = prepared(BatchNorm(4)), examples((), shape)
    for train in (True, False):
        first, all_ = layer.forward(x[:2], train)[:1], layer.forward(x, train)[:1]
        assert np.array_equal(first, all_) is not train


# -- moving statistics ---------------------------------------------------------------------------------------


def law_moving_statistics_approach_those_of_the_batch(convention, shape):
    """From 0 and 1: after k passes over the same batch, a share kept^k of the start is left."""
    layer, x = (
        BatchNorm(4, KEPT if convention == "keras" else 1 - KEPT, None, convention),
        examples((), shape),
    )
    Network(layer)
    mean, variance = x.mean(over(x)), x.var(over(x), ddof=convention == "pytorch")
    for k in range(1, 8):
        layer.forward(x, True)
        np.testing.assert_allclose(layer.moving_mean[0], (1 - KEPT**k) * mean, rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance[0], KEPT**k + (1 - KEPT**k) * variance, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("convention", ["keras", "pytorch"])
def test_moving_statistics_approach_those_of_the_batch(convention, shape):
    law_moving_statistics_approach_those_of_the_batch(convention, shape)


def law_moving_statistics_average_the_batches():
    """The newest batch counts 1 - momentum, the one before momentum (1 - momentum), and so on."""
    layer = BatchNorm(4, KEPT)
    Network(layer)
    stream = [examples((), ROWS, seed) for seed in range(6)]
    for x in stream:
        layer.forward(x, True)
    weights = (1 - KEPT) * KEPT ** np.arange(len(stream))[::-1]
    means, variances = (np.array([getattr(x, name)(0) for x in stream]) for name in ("mean", "var"))
    np.testing.assert_allclose(layer.moving_mean[0], weights @ means, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance[0], KEPT**6 + weights @ variances, rtol=1e-12)


def test_moving_statistics_average_the_batches():
    law_moving_statistics_average_the_batches()


def law_a_replayed_pass_leaves_the_moving_statistics():
    layer, x = BatchNorm(4), examples((), ROWS)
    net = Network(layer)
    y = net(x, train=True)
    before = net.state.copy()
    with net.replay():
        np.testing.assert_array_equal(net(x, train=True), y)
    np.testing.assert_array_equal(net.state, before)
    net(x, train=True)
    assert np.abs(net.state - before).max() > 0


def test_a_replayed_pass_leaves_the_moving_statistics():
    law_a_replayed_pass_leaves_the_moving_statistics()


def test_momentum_0_and_1_are_allowed():
    x = examples((), ROWS)
    last, first = BatchNorm(4, 0.0), BatchNorm(4, 1.0)
    Network(last, Flatten(), first)
    for layer in (last, first):
        layer.forward(x, True)
    np.testing.assert_array_equal(last.moving_mean[0], x.mean(0))
    np.testing.assert_array_equal(first.moving_variance, 1)


# -- ghost batches -------------------------------------------------------------------------------------------


def law_a_ghost_batch_is_a_batch(batch, ghost, convention="keras", shape=(2, 3)):
    """Outputs, gradients and moving statistics of groups one after the other, bit for bit."""
    make = partial(BatchNorm, 4, 0.75, convention=convention)
    whole, parts = prepared(make(ghost=ghost), (2,)), prepared(make(), (2,))
    x = examples((2,), (batch, *shape, 4))
    c = np.random.default_rng(3).standard_normal(x.shape)
    y, dx = whole.forward(x, True), whole.backward(c)
    dgamma = dbeta = 0
    for i in range(0, batch, ghost):
        part = (slice(None), slice(i, i + ghost))
        np.testing.assert_array_equal(y[part], parts.forward(x[part], True))
        np.testing.assert_array_equal(dx[part], parts.backward(c[part]))
        dgamma, dbeta = dgamma + parts.dgamma, dbeta + parts.dbeta
    np.testing.assert_array_equal(whole.moving_mean, parts.moving_mean)
    np.testing.assert_array_equal(whole.moving_variance, parts.moving_variance)
    np.testing.assert_allclose(whole.dgamma, dgamma, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(whole.dbeta, dbeta, rtol=1e-11, atol=1e-13)


@given(batch=st.integers(1, 9), ghost=st.integers(1, 10), rows=st.booleans())
@settings(max_examples=30)
def test_a_ghost_batch_is_a_batch(batch, ghost, rows):
    law_a_ghost_batch_is_a_batch(batch, ghost, shape=() if rows else (2, 3))


def test_a_ghost_batch_of_pytorch_is_a_batch():
    law_a_ghost_batch_is_a_batch(9, 4, "pytorch")


# -- population statistics -----------------------------------------------------------------------------------


class Noise(Layer):
    """Inverted dropout in a few lines, and a layer with a layer inside, as blocks have."""

    def __init__(self, rate, *children):
        self.rate, self.children = rate, children

    def initialize(self, network):
        self.noise = network.noise

    def forward(self, x, train):
        for child in self.children:
            x = child.forward(x, train)
        self.mask = 1
        if train:
            kept = self.noise.uniform(x.shape[len(self.lead) :]) >= self.rate
            self.mask = (kept / (1 - self.rate)).astype(x.dtype)
        return x * self.mask

    def backward(self, g):
        g = g * self.mask
        for child in reversed(self.children):
            g = child.backward(g)
        return g


def two_norms(rate=0.5, convention="keras", **options):
    first, second = BatchNorm(6, None, 0.5, convention), BatchNorm(5, None, None, convention, ghost=2)
    return Network(
        Dense(4, 6),
        first,
        ReLU(),
        Noise(rate),
        Dense(6, 5),
        ReLU(),
        Noise(rate, second),
        Dense(5, 3),
        **options,
    )


def law_reestimated_evaluation_is_training_on_the_whole_data(batch_size):
    """Without dropout, for the biased variance of Keras; whatever the size of the batches."""
    x, y = data(features=4)
    net = two_norms(seeds=[0, 1])
    fit(net, x, y, SGD(0.1), epochs=2, batch_size=16)
    plain = two_norms(seeds=[0, 1])
    for layer in plain.all_layers:
        layer.rate, layer.ghost = 0.0, None
    plain.theta[...] = net.theta
    theta, noise = net.theta.copy(), net.noise._generators[0].bit_generator.state
    batch_norm.reestimate(net, x, batch_size)
    np.testing.assert_allclose(predict(net, x), plain(x, train=True), rtol=1e-11)
    np.testing.assert_array_equal(net.theta, theta)
    assert str(net.noise._generators[0].bit_generator.state) == str(noise)  # dropout was off


@pytest.mark.parametrize("batch_size", [7, 64, 70, 1000])
def test_reestimated_evaluation_is_training_on_the_whole_data(batch_size):
    law_reestimated_evaluation_is_training_on_the_whole_data(batch_size)


def law_reestimated_statistics_are_those_of_the_data(convention, dtype="float64"):
    """Exactly, when the data pass at once: the mean and the variance of the norm's inputs."""
    x, net = data(features=4, dtype=dtype)[0], two_norms(convention=convention, dtype=dtype)
    first, second = (layer for layer in net.all_layers if isinstance(layer, BatchNorm))
    before = net.state.copy()
    batch_norm.reestimate(net, x, batch_size=len(x))
    inputs = [net.layers[0].forward(x, False)]
    for layer in net.layers[1:6]:
        inputs.append(layer.forward(inputs[-1], False))
    for norm, z in ((first, inputs[0]), (second, inputs[-1])):
        np.testing.assert_array_equal(norm.moving_mean[0], z.mean(0))
        share = 70 / 69 if convention == "pytorch" else 1
        np.testing.assert_array_equal(norm.moving_variance[0], z.var(0) * share)
    assert np.abs(net.state - before).min() > 0
    assert net.state.dtype == dtype


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("convention", ["keras", "pytorch"])
def test_reestimated_statistics_are_those_of_the_data(convention, dtype):
    law_reestimated_statistics_are_those_of_the_data(convention, dtype)


def test_reestimating_leaves_the_network_as_it_was_but_for_the_statistics():
    net, x = two_norms(), data(features=4)[0]
    replays = [layer.replay for layer in net.all_layers]
    batch_norm.reestimate(net, x, 16)
    state = net.state.copy()
    with refused("Dense"):
        batch_norm.reestimate(net, x[:, :3])
    with refused("x"):
        batch_norm.reestimate(net, np.full_like(x, np.nan))
    for bad in (0, 2.5, None):
        with refused("batch_size"):
            batch_norm.reestimate(net, x, bad)
    np.testing.assert_array_equal(net.state, state)
    assert [layer.replay for layer in net.all_layers] == replays
    assert all(layer.seen is None for layer in net.all_layers if isinstance(layer, BatchNorm))
    net(x[:20], train=True)  # training goes on from there
    assert np.abs(net.state - state).min() > 0
    batch_norm.reestimate(Network(Dense(4, 3)), x)


def test_as_many_examples_pass_at_a_time_as_in_prediction():
    sizes = [inspect.signature(f).parameters["batch_size"].default for f in (batch_norm.reestimate, predict)]
    assert sizes[0] == sizes[1]


def test_a_single_example_has_no_variance():
    for convention in ("keras", "pytorch"):
        net, x = two_norms(convention=convention), data(features=4)[0]
        batch_norm.reestimate(net, x[:1])
        np.testing.assert_array_equal(net.layers[1].moving_variance, 0)


def test_two_examples_have_the_variance_that_the_convention_says():
    x = np.array([[1.0], [4.0]])
    for convention, variance in (("keras", 2.25), ("pytorch", 4.5)):
        layer = BatchNorm(1, convention=convention)
        net = Network(layer, Dense(1, 1))
        batch_norm.reestimate(net, x)
        assert (layer.moving_mean, layer.moving_variance) == (2.5, variance)
        layer.momentum = 0.0 if convention == "keras" else 1.0
        net(x, train=True)
        assert (layer.moving_mean, layer.moving_variance) == (2.5, variance)


def test_reestimating_takes_data_of_each_member():
    x, net = np.stack([data(features=4)[0], 1 + data(features=4)[0] ** 2]), two_norms(seeds=[3, 5])
    batch_norm.reestimate(net, x, 16)
    for i, seed in enumerate([3, 5]):
        alone = two_norms(seeds=seed)
        batch_norm.reestimate(alone, x[i], 16)
        np.testing.assert_array_equal(net.state[i], alone.state)


def law_dropout_before_batch_norm_shifts_the_variance():
    """Training sees E[x^2] / (1 - p) - E[x]^2, evaluation E[x^2] - E[x]^2: reestimating mends it.

    The error of a mean over 200 passes of 500 values of variance near 1 is about 1 / 300: 2 % are 6 of them.
    """
    layer = BatchNorm(4, 0.0)
    net, x = Network(Noise(0.5), layer, Dense(4, 1)), np.abs(examples((), (500, 4)))
    passes = []
    for _ in range(200):
        net(x, train=True)
        passes.append(layer.moving_variance[0].copy())
    square, mean = (x * x).mean(0), x.mean(0)
    np.testing.assert_allclose(np.mean(passes, 0), 2 * square - mean**2, rtol=0.02)
    batch_norm.reestimate(net, x)
    np.testing.assert_allclose(layer.moving_variance[0], square - mean**2, rtol=1e-12)
    assert (2 * square - mean**2 > 1.5 * (square - mean**2)).all()


def test_dropout_before_batch_norm_shifts_the_variance():
    law_dropout_before_batch_norm_shifts_the_variance()


# -- folding -------------------------------------------------------------------------------------------------


def law_a_folded_layer_does_the_work_of_both(lead, epsilon=0.5):
    """Same outputs in evaluation mode, to rounding, for networks and for convolutions' shapes of W."""
    dense, norm, folded = Dense(4, 6), BatchNorm(6, epsilon=epsilon), Dense(4, 6)
    seeds = np.arange(np.prod(lead, dtype=int)).reshape(lead)
    net, small = Network(dense, norm, ReLU(), seeds=seeds), Network(folded, ReLU(), seeds=seeds)
    rng = np.random.default_rng(1)
    net.theta += rng.uniform(-1, 1, net.theta.shape)
    net.state += rng.uniform(0.1, 2, net.state.shape)
    before = net.theta.copy()
    folded.W[...], folded.b[...] = batch_norm.fold(dense, norm)
    x = rng.standard_normal((*lead, 9, 4))
    np.testing.assert_allclose(small(x), net(x), rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(net.theta, before)
    image = dense.W.reshape(*lead, 2, 2, 1, 6)  # a kernel (height, width, in, out)
    dense.W = image
    kernel, _ = batch_norm.fold(dense, norm)
    np.testing.assert_array_equal(kernel.reshape(*lead, 4, 6), folded.W)


@pytest.mark.parametrize("lead", LEADS)
def test_a_folded_layer_does_the_work_of_both(lead):
    law_a_folded_layer_does_the_work_of_both(lead)
    if lead == (2, 3):
        law_a_folded_layer_does_the_work_of_both(lead, np.array([[0.1], [2.0]]))


def test_folding_refuses_what_does_not_belong_together():
    dense, norm, other = Dense(4, 6), BatchNorm(6), BatchNorm(5)
    Network(dense, norm, seeds=[0, 1])
    Network(other, seeds=[0, 1])
    weights_alone, bias_alone = ReLU(), ReLU()
    weights_alone.W, bias_alone.b = dense.W, dense.b
    for wrong in (ReLU(), Dense(4, 6), None, BatchNorm(6), weights_alone, bias_alone):
        with refused("layer", TypeError):
            batch_norm.fold(wrong, norm)
    for wrong in (dense, None, Norm(6, 1.0)):
        with refused("norm", TypeError):
            batch_norm.fold(dense, wrong)
    with refused("layer", TypeError):
        batch_norm.fold(dense, BatchNorm(6))
    with refused("layer", ValueError):
        batch_norm.fold(dense, other)
    alone = BatchNorm(6)
    Network(alone)
    with refused("layer", ValueError):
        batch_norm.fold(dense, alone)


# -- what follows for the weights before it ------------------------------------------------------------------


def gradient_at(scale, epsilon, shift=0.0):
    """Outputs and gradients of a dense layer before a batch norm, its weights times ``scale``."""
    dense, norm = Dense(4, 6), BatchNorm(6, epsilon=epsilon)
    net = Network(dense, norm, Dense(6, 3), seeds=[0, 1])
    dense.W *= scale
    dense.b += shift
    x = np.random.default_rng(1).standard_normal((20, 4))
    z = net(x, train=True)
    net.backward(squared_error(z, np.ones((20, 3)))[1])
    return z, dense


@given(log_scale=st.floats(-3, 3), shift=st.floats(-5, 5))
@settings(max_examples=20)
def test_the_scale_of_the_weights_before_it_does_not_matter(log_scale, shift):
    """Outputs stay under W -> a W, and dW becomes dW / a; exactly, if epsilon is scaled by a^2."""
    a = 10.0**log_scale
    (z, dense), (moved, other) = gradient_at(1.0, 2**-10), gradient_at(a, a * a * 2**-10, shift)
    np.testing.assert_allclose(moved, z, rtol=1e-7, atol=1e-8)
    scale = np.abs(dense.dW).max()
    np.testing.assert_allclose(a * other.dW / scale, dense.dW / scale, atol=1e-6)


def law_the_gradient_is_orthogonal_to_each_units_weights():
    """Since the outputs stay when a unit's weights are scaled; a bias before the norm does nothing at all."""
    _, dense = gradient_at(1.0, 1e-15)
    size = np.linalg.norm(dense.W, axis=-2) * np.linalg.norm(dense.dW, axis=-2)
    assert (np.abs((dense.W * dense.dW).sum(-2)) / size).max() < 1e-12
    assert np.abs(dense.db).max() < 1e-14 * 20
    _, regular = gradient_at(1.0, 0.5)  # with an epsilon that is not small it is not
    assert np.abs((regular.W * regular.dW).sum(-2)).max() > 1e-3


def test_the_gradient_is_orthogonal_to_each_units_weights():
    law_the_gradient_is_orthogonal_to_each_units_weights()


def backward_growth(activation, norm):
    """The factor by which one layer, at the start, changes the norm of the gradient on its way back."""
    width, batch, depth = 256, 256, 16
    init = he_normal if activation is ReLU else lecun_normal
    layers = []
    for _ in range(depth):
        layers += [
            Dense(width, width, init),
            *([BatchNorm(width, epsilon=1e-9)] if norm else []),
            activation(),
        ]
    net, rng = Network(*layers, seeds=[0, 1]), np.random.default_rng(1)
    net(rng.standard_normal((batch, width)), train=True)
    g, logs = rng.standard_normal((2, batch, width)), []
    for layer in reversed(layers):
        g = layer.backward(g)
        if isinstance(layer, Dense):
            logs.append(np.log(np.linalg.norm(g, axis=(-1, -2))))
    return np.exp(np.diff(logs, axis=0)[4:-4].mean())  # away from both ends, where the distributions settle


def theoretical_growth(activation):
    """``sqrt(E[f'(z)^2] / Var f(z))``, z standard normal: its slope, over what the next norm divides by.

    By the Poincare inequality at least 1: under batch norm nothing vanishes, and all but the linear explodes.
    """
    z = (np.arange(20000) - 9999.5)[None] / 1000
    weight = np.exp(-z * z / 2) / np.exp(-z * z / 2).sum()
    layer = activation()
    f = layer.forward(z, True)
    slope = layer.backward(np.ones_like(z))
    return np.sqrt((weight * slope**2).sum() / ((weight * f**2).sum() - (weight * f).sum() ** 2))


def law_gradients_grow_backwards_as_mean_field_theory_says(activation):
    """The theory is for infinite width; at 256 it holds to 0.5 %, at 128 to 1 %: 1 % are allowed."""
    theory = theoretical_growth(activation)
    assert backward_growth(activation, norm=True) == pytest.approx(theory, rel=0.01)
    assert theory > 1
    if activation is ReLU:
        assert theory == pytest.approx(np.sqrt(np.pi / (np.pi - 1)), rel=1e-5)


@pytest.mark.parametrize("activation", [ReLU, Tanh, Sigmoid])
def test_gradients_grow_backwards_as_mean_field_theory_says(activation):
    law_gradients_grow_backwards_as_mean_field_theory_says(activation)


def test_batch_norm_cures_vanishing_gradients_and_makes_others_explode():
    """Sigmoid: from a quarter a layer (its largest slope) or less to about 1; ReLU: from 1 to 1.21."""
    assert backward_growth(Sigmoid, norm=False) < 0.25
    assert backward_growth(ReLU, norm=False) == pytest.approx(1, abs=0.03)
    assert 1 < theoretical_growth(Sigmoid) < 1.03 < 1.2 < theoretical_growth(ReLU)


# -- the conventions of the library --------------------------------------------------------------------------


def test_defaults_are_those_of_the_convention():
    keras, pytorch = BatchNorm(4), BatchNorm(4, convention="pytorch")
    assert (keras.convention, keras.momentum, keras.epsilon, keras.ghost) == ("keras", 0.99, 1e-3, None)
    assert (pytorch.momentum, pytorch.epsilon) == (0.1, 1e-5)
    own = BatchNorm(4, 0.0, 0.25, "pytorch", 3)
    assert (own.momentum, own.epsilon, own.convention, own.ghost) == (0.0, 0.25, "pytorch", 3)


def test_parameters_start_at_1_and_0_and_statistics_at_0_and_1():
    layer = BatchNorm(4)
    net = Network(layer, seeds=[0, 1])
    assert [(p.name, p.penalized) for p in net.parameters] == [("gamma", False), ("beta", False)]
    assert layer.hyperparameters == ("momentum", "epsilon")
    for name, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
        np.testing.assert_array_equal(getattr(layer, name), np.full((2, 1, 4), value))
    assert net.state.shape == (2, 8)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_precision_stays_and_no_array_of_the_caller_changes(make, train, shape):
    layer = prepared(make(), (2,), dtype="float32")
    x = examples((2,), shape).astype(np.float32)
    g, before = np.ones_like(x), x.copy()
    y = layer.forward(x, train)
    assert y.dtype == layer.backward(g).dtype == layer.moving_mean.dtype == np.float32
    assert y.shape == x.shape
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, 1)


def trained(x, y, seeds, momentum, epsilon, dtype="float64", **options):
    features = x.shape[-1]
    net = Network(
        BatchNorm(features, momentum, epsilon, **options), Dense(features, 6),
        BatchNorm(6, momentum, epsilon, **options), ReLU(), Dense(6, 3), seeds=seeds, dtype=dtype,
    )  # fmt: skip
    fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
    return net


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"ghost": 3}, {"convention": "pytorch"}])
@pytest.mark.parametrize("features", [1, 6])
def test_a_member_is_the_network_trained_alone(features, options, dtype):
    """Bit for bit, with settings of its own, and where the norm sees the shared data first."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, features)).astype(dtype), np.eye(3)[rng.integers(3, size=11)]
    seeds, momentum, epsilon = np.array([[4, 1, 7]] * 2), np.array([[0.5], [0.9]]), np.array([1e-3, 0.1, 1.0])
    together = trained(x, y, seeds, momentum, epsilon, dtype, **options)
    for k, i in np.ndindex(2, 3):
        alone = trained(x, y, seeds[k, i], momentum[k, 0], epsilon[i], dtype, **options)
        np.testing.assert_array_equal(together.theta[k, i], alone.theta)
        np.testing.assert_array_equal(together.state[k, i], alone.state)
        np.testing.assert_array_equal(predict(together, x)[k, i], predict(alone, x))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, "0.9", [0.5, 2.0], []])
def test_momentum_is_a_fraction(bad):
    with refused("momentum"):
        BatchNorm(4, bad)


@pytest.mark.parametrize("bad", [0.0, -1e-3, np.nan, "small"])
def test_epsilon_is_positive(bad):
    with refused("epsilon"):
        BatchNorm(4, epsilon=bad)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3"])
def test_features_and_ghost_are_positive_integers(bad):
    with refused("features"):
        BatchNorm(bad)
    with refused("ghost"):
        BatchNorm(4, ghost=bad)


def test_a_convention_has_a_name():
    for bad in ("torch", "Keras", None):
        with refused("convention", ValueError):
            BatchNorm(4, convention=bad)


@pytest.mark.parametrize("name", ["momentum", "epsilon"])
def test_settings_of_members_broadcast_to_the_ensemble(name):
    with refused(f"BatchNorm.{name}", ValueError):
        Network(BatchNorm(4, **{name: [0.1, 0.2, 0.3]}), seeds=[0, 1])


def test_a_norm_takes_its_number_of_features():
    layer = BatchNorm(4)
    assert layer.output_shape((2, 3, 4)) == (2, 3, 4)
    with refused("BatchNorm(4)", ValueError):
        layer.output_shape((5,))


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


def dense_norms(convention="keras", **kw):
    momentum = KEPT if convention == "keras" else 1 - KEPT
    norms = [BatchNorm(n, momentum, EPS, convention) for n in (8, 6)]
    return Network(norms[0], Dense(8, 6), norms[1], ReLU(), Dense(6, 3), **kw)


NETWORKS = {
    "rows": dense_norms,
    "images": lambda **kw: Network(
        Reshape(2, 2, 2), BatchNorm(2, KEPT, EPS), Flatten(), Dense(8, 3), **kw
    ),
}  # fmt: skip


@pytest.mark.keras
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_200_steps_reach_the_weights_and_moving_statistics_of_keras(keras, make):
    theirs = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    assert steps_in_keras(make, SGD(RATE, momentum=MOMENTUM), theirs) <= 1e-12


@pytest.mark.keras
def test_what_keras_does(keras):
    """Its defaults; beta for a single example; and trainable=False, which is evaluation mode for good."""
    ours = BatchNorm(4)
    theirs = keras.layers.BatchNormalization(dtype="float64")
    assert (theirs.momentum, theirs.epsilon) == (ours.momentum, ours.epsilon)
    x = examples((), ROWS)
    theirs.build(x.shape)
    theirs.set_weights([np.array([1, 2, 3, 4.0]), np.array([5, 6, 7, 8.0]), np.ones(4), np.full(4, 2.0)])
    np.testing.assert_array_equal(theirs(x[:1], training=True), [[5, 6, 7, 8]])
    theirs.trainable = False
    before = theirs.get_weights()
    np.testing.assert_array_equal(theirs(x, training=True), theirs(x, training=False))
    np.testing.assert_array_equal(theirs.get_weights(), before)
    theirs.trainable = True
    assert np.abs(theirs(x, training=True) - theirs(x, training=False)).max() > 0.1


@pytest.mark.torch
def test_200_steps_reach_the_weights_and_running_statistics_of_pytorch():
    """Its momentum is 1 minus that of Keras, its running variance the unbiased one."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    net, (x, y) = dense_norms("pytorch", seeds=5), data()
    model = torch.nn.Sequential(
        torch.nn.BatchNorm1d(8, EPS, 1 - KEPT), torch.nn.Linear(8, 6), torch.nn.BatchNorm1d(6, EPS, 1 - KEPT),
        torch.nn.ReLU(), torch.nn.Linear(6, 3),
    ).double()  # fmt: skip
    for ours, theirs in zip(net.layers, model, strict=True):
        if isinstance(ours, Dense):
            theirs.weight.data, theirs.bias.data = (
                torch.tensor(ours.W.T.copy()),
                torch.tensor(ours.b[0].copy()),
            )
    fit(net, x, y, SGD(RATE, MOMENTUM), epochs=EPOCHS, batch_size=BATCH)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)
    for rows in batches(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor(x[rows])), torch.tensor(y[rows])).backward()
        optimizer.step()
    norms = [(net.layers[i], model[i]) for i in (0, 2)]
    pairs = [(a.gamma, b.weight) for a, b in norms] + [(a.beta, b.bias) for a, b in norms]
    pairs += [(a.moving_mean, b.running_mean) for a, b in norms]
    pairs += [(a.moving_variance, b.running_var) for a, b in norms]
    pairs += [(net.layers[i].W.T, model[i].weight) for i in (1, 4)]
    pairs += [(net.layers[i].b, model[i].bias) for i in (1, 4)]
    for mine, other in pairs:  # the shifts before the second norm stay 0, to rounding
        np.testing.assert_allclose(mine.squeeze(), other.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(predict(net, x), model.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-10)


@pytest.mark.torch
def test_what_pytorch_does():
    """Its defaults, an error for a single example, and freezing that does not stop the statistics."""
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.BatchNorm1d(4).double(), BatchNorm(4, convention="pytorch")
    assert (theirs.momentum, theirs.eps) == (ours.momentum, ours.epsilon)
    x = torch.tensor(examples((), ROWS))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        theirs(x[:1])
    for p in theirs.parameters():
        p.requires_grad = False
    np.testing.assert_allclose(theirs(x).numpy().mean(0), 0, atol=1e-13)
    assert theirs.running_mean.abs().max() > 0


@pytest.mark.torch
def test_update_bn_of_pytorch_loses_the_variance_between_batches():
    """The same for the data as one batch; for several, it averages their variances."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    x, layer = data()[0], BatchNorm(8, convention="pytorch")
    batch_norm.reestimate(Network(layer, Dense(8, 1)), x)
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(8)).double()
    for batch_size, same in ((70, True), (7, False)):
        torch.optim.swa_utils.update_bn(torch.tensor(x).split(batch_size), model)
        np.testing.assert_allclose(model[0].running_mean.numpy(), layer.moving_mean[0], atol=1e-14)
        assert np.allclose(model[0].running_var.numpy(), layer.moving_variance[0], rtol=1e-12) is same


# -- planted bugs --------------------------------------------------------------------------------------------


def method(name, right, wrong, law, *arguments):
    return Bug(BatchNorm, name, right, wrong, partial(law, *arguments))


def function(name, right, wrong, law, *arguments):
    return Bug(batch_norm, name, right, wrong, partial(law, *arguments))


gradients = partial(law_gradients_of_any_shape, LAYERS["keras"], (3,), ROWS)
in_evaluation = partial(law_gradients_of_any_shape, LAYERS["keras"], (3,), ROWS, False)
moments = law_training_outputs_have_mean_beta_and_variance_gamma_squared
evaluation = partial(law_evaluation_uses_the_moving_statistics, ROWS)
approach = law_moving_statistics_approach_those_of_the_batch
ghosts = partial(law_a_ghost_batch_is_a_batch, 9, 4)
whole = partial(law_reestimated_evaluation_is_training_on_the_whole_data, 16)
exact = law_reestimated_statistics_are_those_of_the_data
folded = partial(law_a_folded_layer_does_the_work_of_both, (3,))


def test_a_layer_that_does_not_multiply_by_its_weights_is_not_folded():
    dense, norm = SpectralDense(4, 3), BatchNorm(3)
    Network(dense, norm)
    with refused("layer", TypeError):
        batch_norm.fold(dense, norm)


BUGS = {
    # training and evaluation
    "evaluation uses the batch's statistics": method(
        "forward", "moments(values) if train else", "moments(values) if True else", evaluation
    ),
    "training uses the moving statistics": method(
        "forward", "moments(values) if train else", "moments(values) if False else", moments, ROWS
    ),
    "a replayed pass moves the statistics": method(
        "forward", "train and not self.replay", "train", law_a_replayed_pass_leaves_the_moving_statistics
    ),
    "each image is normalized by itself": method("_groups", "self.ghost or batch", "1", moments, IMAGES),
    "epsilon stands beside the root": method(
        "forward", "np.sqrt(variance + self.per_member(self.epsilon, rows))",
        "(np.sqrt(variance) + self.per_member(self.epsilon, rows))", evaluation,
    ),
    "the batch is divided by its unbiased deviation": function(
        "moments", "mean=mean", "mean=mean, ddof=1", moments, ROWS
    ),
    "the variance is taken around 0": function("moments", "mean=mean", "mean=0 * mean", moments, ROWS),
    # gradients
    "the batch's statistics count as constants": method("backward", "if self.train", "if False", gradients),
    "the moving statistics count as those of the batch": method(
        "backward", "if self.train", "if True", in_evaluation
    ),
    "the gradient crosses ghost batches": method(
        "backward", "zip(self.groups, self.slopes, strict=True)", "[(slice(None), self.slopes[0])]", ghosts
    ),
    # moving statistics
    "momentum is the share of the old ones in PyTorch, too": method(
        "_move", "kept = 1 - kept", "pass", approach, "pytorch", ROWS
    ),
    "momentum is the share of the new ones in Keras, too": method(
        "_move", "kept = self.per_member", "kept = 1 - self.per_member", approach, "keras", ROWS
    ),
    "momentum counts for the mean alone": method(
        "_move", "kept * self.moving_variance + (1 - kept) *", "0.99 * self.moving_variance + 0.01 *",
        law_moving_statistics_average_the_batches,
    ),
    "the unbiased variance is kept by Keras, too": method(
        "_corrected", 'if self.convention == "pytorch"', "if True", approach, "keras", ROWS
    ),
    "the biased variance is kept by PyTorch, too": method(
        "_corrected", 'if self.convention == "pytorch"', "if False", approach, "pytorch", ROWS
    ),
    "an image counts as one value": method(
        "forward", "values.shape[-2]", "x.shape[len(self.lead)]", approach, "pytorch", IMAGES
    ),
    "the standard deviation is averaged": method(
        "_move", "self._corrected(variance, n)", "np.sqrt(variance)", approach, "keras", ROWS
    ),
    "the moving variance starts at 0": method(
        "initialize", "self.gamma[...] = self.moving_variance[...] = 1", "self.gamma[...] = 1",
        approach, "keras", ROWS,
    ),
    # ghost batches
    "ghost batches are counted in rows of pixels": method(
        "_groups", "int(np.prod(positions))", "positions[0]", ghosts
    ),
    "ghost batches overlap": method("_groups", "range(0, batch, size)", "range(0, batch)", ghosts),
    "what is left over is dropped": method(
        "_groups", "range(0, batch, size)", "range(0, batch - size + 1, size)", ghosts
    ),
    "the last ghost batch alone moves the statistics": method(
        "forward", "not self.replay:", "not self.replay and group == self.groups[-1]:", ghosts
    ),
    # population statistics
    "statistics are reestimated under dropout": function(
        "reestimate", "predict(net, x, batch_size)", "net(np.asarray(x), train=True)", whole
    ),
    "the variance between batches is missing": function(
        "reestimate", " + (part_mean - mean) ** 2", "", whole
    ),
    "a small batch counts as much as a large one": function(
        "reestimate", "mean += size / n * part_mean", "mean += part_mean / len(parts)", whole
    ),
    "a norm is reestimated before the one it follows": function(
        "reestimate", "in net.all_layers", "in reversed(net.all_layers)", whole
    ),
    "norms inside blocks are left out": function("reestimate", "in net.all_layers", "in net.layers", whole),
    "the reestimated variance of PyTorch is biased": function(
        "reestimate", "norm._corrected(variance, n)", "variance", exact, "pytorch"
    ),
    # folding
    "the folded bias keeps the mean": function(
        "fold", "(bias - norm.moving_mean) * slope", "bias * slope", folded
    ),
    "the folded slope lacks gamma": function("fold", "slope = norm.gamma / ", "slope = 1 / ", folded),
    "the folded slope lacks epsilon": function(
        "fold", " + norm.per_member(norm.epsilon, norm.gamma)", "", folded
    ),
    "beta is scaled": function("fold", "* slope + norm.beta", "* slope + slope * norm.beta", folded),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
