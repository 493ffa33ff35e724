"""First weights: the variances that the papers ask for, and what they do to activations on their way."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import Bug, check_noticed
from test_checks import refused

from regularize import initialization
from regularize.activations import SELU, LeakyReLU, ReLU, Tanh
from regularize.initialization import fans, he_normal, lecun_normal, scaled_normal
from regularize.layers import Dense
from regularize.network import Network
from regularize.streams import Streams

DENSE, CONVOLUTION = (300, 500), (3, 3, 60, 240)
VARIANCES = {
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "scaled_normal": lambda fan_in, fan_out: 0.7 / fan_in,
}


def draw(name, shape, seeds=0):
    """By name, so that bugs can be planted."""
    init = getattr(initialization, name)
    init = init(0.7) if name == "scaled_normal" else init
    return init(Streams(seeds, "init"), shape)


# -- what is drawn -------------------------------------------------------------------------------------------


def law_fans_count_connections(shape):
    """fan_in is the number of nonzero weights that an output sees, fan_out that an input reaches."""
    *field, n_in, n_out = shape
    assert initialization.fans(shape) == (math.prod(field) * n_in, math.prod(field) * n_out)


@pytest.mark.parametrize("shape", [(7, 3), (1, 1), (3, 3, 4, 8), (5, 2, 1, 6), (3, 4, 8)])
def test_fans_count_connections(shape):
    law_fans_count_connections(shape)


@pytest.mark.parametrize("bad", [(), (3,), (0, 3), (3, 0), (0, 3, 4, 8), (-1, -2)])
def test_a_kernel_has_two_axes_and_no_empty_one(bad):
    with refused("shape", ValueError):
        fans(bad)
    with refused("shape", ValueError):
        he_normal(Streams(0, "init"), bad)


def law_variance(name, shape):
    """Mean 0 and the variance of the paper, within 4.5 standard errors."""
    w, expected = draw(name, shape), VARIANCES[name](*fans(shape))
    kurtosis = 1.8 if "uniform" in name else 3
    assert w.shape == shape
    assert abs(w.mean()) < 4.5 * math.sqrt(expected / w.size)
    assert abs((w**2).mean() / expected - 1) < 4.5 * math.sqrt((kurtosis - 1) / w.size)
    assert abs((w**4).mean() / expected**2 / kurtosis - 1) < 0.05


@pytest.mark.parametrize("shape", [DENSE, CONVOLUTION], ids=["dense", "convolution"])
@pytest.mark.parametrize("name", VARIANCES)
def test_variance(name, shape):
    law_variance(name, shape)


@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple), name=st.sampled_from([*VARIANCES])
)
@settings(max_examples=40)
def test_weights_are_numbers_of_the_members_stream_times_a_constant(shape, name):
    """Bit for bit: of a normal or uniform distribution of variance 1 or 1 / 3."""
    stream, variance = Streams([3, 5], "init"), VARIANCES[name](*fans(shape))
    if name == "glorot_uniform":
        expected = math.sqrt(6 / sum(fans(shape))) * (2 * stream.uniform(shape).astype(float) - 1)
    else:
        expected = math.sqrt(variance) * stream.normal(shape)
    w = draw(name, shape, seeds=[3, 5])
    np.testing.assert_array_equal(w, expected)
    assert w.dtype == np.float64


def law_uniform_weights_fill_their_range():
    limit = math.sqrt(6 / sum(fans(DENSE)))
    w = draw("glorot_uniform", DENSE) / limit
    assert -1 <= w.min() < -0.9999
    assert 0.9999 < w.max() <= 1


def test_uniform_weights_fill_their_range():
    law_uniform_weights_fill_their_range()


@pytest.mark.parametrize("name", VARIANCES)
def test_a_member_draws_as_if_alone(name):
    together = draw(name, (4, 3), seeds=[[4, 1], [7, 4]])
    assert together.shape == (2, 2, 4, 3)
    for (i, j), seed in np.ndenumerate([[4, 1], [7, 4]]):
        np.testing.assert_array_equal(together[i, j], draw(name, (4, 3), seeds=seed))


def test_both_precisions_start_from_the_same_weights():
    double, single = (Network(Dense(5, 4), seeds=[0, 1], dtype=d) for d in ("float64", "float32"))
    np.testing.assert_array_equal(single.theta, double.theta.astype(np.float32))


def test_scaled_normal_is_the_others_at_their_gains():
    for gain, init in ((2, he_normal), (1, lecun_normal)):
        ours, theirs = (f(Streams(0, "init"), DENSE) for f in (scaled_normal(gain), init))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "2", None, [1.0, 2.0]])
def test_a_gain_is_one_positive_number(bad):
    with refused("gain"):
        scaled_normal(bad)


# -- what weights do to a network ----------------------------------------------------------------------------

WIDTH, DEPTH, SEEDS = 128, 12, 12


def sizes(init, activation=None, size=1.0, depth=DEPTH):
    """The mean square after each layer, ``(depth + 1,) + (seeds,)``, for inputs of mean square size^2."""
    dense = [Dense(a, b, init) for a, b in pairwise([WIDTH] * (depth + 1))]
    Network(*dense, seeds=np.arange(SEEDS))
    x = size * np.random.default_rng(0).standard_normal((SEEDS, 20, WIDTH))
    q = [(x**2).mean((-1, -2))]
    for layer in dense:
        x = layer.forward(x, False)
        x = activation.forward(x, False) if activation else x
        q.append((x**2).mean((-1, -2)))
    return np.array(q), x


def law_each_layer_multiplies_the_mean_square(name, activation, factor):
    """In the mean over layers and seeds, within 4.5 standard errors."""
    init = getattr(initialization, name) if isinstance(name, str) else scaled_normal(name)
    q = sizes(init, activation)[0]
    ratio = (q[1:] / q[:-1]).ravel()
    error = ratio.std() / math.sqrt(ratio.size)
    assert abs(ratio.mean() - factor) < 4.5 * error, (ratio.mean(), factor, error)
    assert error < 0.03 * factor


@pytest.mark.parametrize(
    ("name", "activation", "factor"),
    [
        ("he_normal", ReLU(), 1.0),
        ("lecun_normal", ReLU(), 0.5),
        ("lecun_normal", None, 1.0),
        ("glorot_normal", None, 1.0),
        ("glorot_uniform", None, 1.0),
        (0.5, None, 0.5),
        (3.0, ReLU(), 1.5),
        ("lecun_normal", LeakyReLU(0.5), (1 + 0.5**2) / 2),
        (2 / (1 + 0.5**2), LeakyReLU(0.5), 1.0),
    ],
)
def test_each_layer_multiplies_the_mean_square(name, activation, factor):
    law_each_layer_multiplies_the_mean_square(name, activation, factor)


def law_he_keeps_relu_networks_as_they_are():
    """30 layers of 128 units: LeCun's weights leave 2^-30 of the mean square, He's about all of it."""
    he, lecun = (
        sizes(getattr(initialization, f"{n}_normal"), ReLU(), depth=30)[0][-1] for n in ("he", "lecun")
    )
    assert 0.2 < np.median(he) < 2
    np.testing.assert_allclose(lecun, he / 2.0**30, rtol=1e-9)


def test_he_keeps_relu_networks_as_they_are():
    law_he_keeps_relu_networks_as_they_are()


def law_selu_normalizes_itself():
    """From mean squares of 1/4 and 4, 30 layers with LeCun's weights bring mean 0 and variance 1."""
    for size in (0.5, 2.0):
        q, x = sizes(initialization.lecun_normal, SELU(), size, depth=30)
        assert abs(x.mean()) < 0.03
        assert abs(x.var((-1, -2)).mean() - 1) < 0.05
        assert abs(q[0].mean() - size**2) < 0.05


def test_selu_normalizes_itself():
    law_selu_normalizes_itself()


def test_other_weights_or_activations_do_not_normalize():
    assert sizes(he_normal, SELU(), depth=20)[0][-1].mean() > 1.5
    assert sizes(lecun_normal, ReLU(), depth=20)[0][-1].mean() < 1e-4


def law_glorot_keeps_tanh_networks_near_zero():
    """Where tanh is nearly the identity, small values stay nearly as they are; He's weights double them."""
    glorot, he = (
        sizes(getattr(initialization, f"{n}_normal"), Tanh(), size=0.002, depth=8)[0]
        for n in ("glorot", "he")
    )
    np.testing.assert_allclose(glorot[-1].mean() / glorot[0].mean(), 1, atol=0.1)
    np.testing.assert_allclose(he[-1].mean() / he[0].mean(), 2.0**8, rtol=0.25)


def test_glorot_keeps_tanh_networks_near_zero():
    law_glorot_keeps_tanh_networks_near_zero()


def law_glorot_is_between_forward_and_backward():
    """Forward the mean square grows by fan_in v, on the way back by fan_out v: their mean is 1.

    He's and LeCun's weights keep the forward one whatever the widths.
    """
    n_in, n_out = 150, 450
    for name, forward in (("glorot_normal", 0.5), ("glorot_uniform", 0.5), ("lecun_normal", 1.0)):
        layer = Dense(n_in, n_out, getattr(initialization, name))
        net, rng = Network(layer, seeds=np.arange(SEEDS)), np.random.default_rng(1)
        x, g = rng.standard_normal((SEEDS, 50, n_in)), rng.standard_normal((SEEDS, 50, n_out))
        there = (net(x) ** 2).mean() / (x**2).mean()
        back = (net.backward(g) ** 2).mean() / (g**2).mean()
        np.testing.assert_allclose([there, back], [forward, forward * n_out / n_in], rtol=0.02)


def test_glorot_is_between_forward_and_backward():
    law_glorot_is_between_forward_and_backward()


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.keras
@pytest.mark.parametrize("shape", [DENSE, CONVOLUTION], ids=["dense", "convolution"])
@pytest.mark.parametrize("name", ["he_normal", "lecun_normal", "glorot_normal", "glorot_uniform"])
def test_variances_are_those_of_keras(keras, name, shape):
    """Keras cuts normal distributions off at two standard deviations, and widens them for it."""
    keras.utils.set_random_seed(0)
    theirs = np.asarray(keras.initializers.get(name)(shape))
    ours, variance = draw(name, shape), VARIANCES[name](*fans(shape))
    np.testing.assert_allclose(theirs.var(), variance, rtol=0.02)
    np.testing.assert_allclose(theirs.var(), ours.var(), rtol=0.03)
    if name == "glorot_uniform":
        np.testing.assert_allclose(np.abs(theirs).max(), np.abs(ours).max(), rtol=1e-4)
    else:
        cut = 2 * math.sqrt(variance) / 0.87962566103423978
        assert 0.99 * cut < np.abs(theirs).max() <= cut * (1 + 1e-6)
        assert np.abs(ours).max() > 1.5 * cut


@pytest.mark.keras
@pytest.mark.parametrize("shape", [(7, 3), (3, 3, 4, 8)])
def test_fans_are_those_of_keras(keras, shape):
    """Its uniform weights reach sqrt(3 / fan)."""
    for mode, fan in zip(("fan_in", "fan_out"), fans(shape), strict=True):
        draws = [keras.initializers.VarianceScaling(1.0, mode, "uniform", seed)(shape) for seed in range(30)]
        w = np.ravel(draws)
        assert 0.95 < np.abs(w).max() / math.sqrt(3 / fan) <= 1


@pytest.mark.keras
def test_the_default_of_keras(keras):
    """``glorot_uniform``, and biases of 0, for dense and convolution layers."""
    for layer in (keras.layers.Dense(3), keras.layers.Conv2D(3, 3)):
        assert layer.kernel_initializer.__class__.__name__ == "GlorotUniform"
        assert layer.bias_initializer.__class__.__name__ == "Zeros"


@pytest.mark.torch
def test_the_default_of_pytorch():
    """Uniform within 1 / sqrt(fan_in), biases too: a third of LeCun's variance, a sixth of He's."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for layer, fan_in in ((torch.nn.Linear(300, 500), 300), (torch.nn.Conv2d(60, 240, 3), 540)):
        w, b = (a.detach().numpy().astype(float) for a in (layer.weight, layer.bias))
        np.testing.assert_allclose(w.var() * fan_in, 1 / 3, rtol=0.02)
        np.testing.assert_allclose(np.abs(w).max() * math.sqrt(fan_in), 1, rtol=1e-3)
        np.testing.assert_allclose(np.abs(b).max() * math.sqrt(fan_in), 1, rtol=0.02)


# -- planted bugs --------------------------------------------------------------------------------------------


def variance(name):
    return partial(law_variance, name, DENSE)


def factor(name, activation, value):
    return partial(law_each_layer_multiplies_the_mean_square, name, activation, value)


convolution = partial(law_variance, "he_normal", CONVOLUTION)

BUGS = {
    "fan_in forgets the size of the filter": Bug(
        initialization, "fans", "return field * shape[-2], ", "return shape[-2], ",
        partial(law_fans_count_connections, (3, 3, 4, 8)),
    ),
    "fan_out forgets the size of the filter": Bug(
        initialization, "fans", "field * shape[-1]", "shape[-1]",
        partial(law_fans_count_connections, (3, 3, 4, 8)),
    ),
    "the fans change places": Bug(
        initialization, "fans", "field * shape[-2], field * shape[-1]",
        "field * shape[-1], field * shape[-2]", partial(law_fans_count_connections, (7, 3)),
    ),
    "He's variance is LeCun's": Bug(
        initialization, "he_normal", "2.0", "1.0", law_he_keeps_relu_networks_as_they_are
    ),
    "He's variance becomes a standard deviation": Bug(
        initialization, "he_normal", "np.sqrt(2.0 / fans(shape)[0])", "2.0 / fans(shape)[0]",
        factor("he_normal", ReLU(), 1.0),
    ),
    "He's variance is that of fan_out": Bug(initialization, "he_normal", "[0]", "[1]", variance("he_normal")),
    "He's fan is the first axis, also of a convolution": Bug(
        initialization, "he_normal", "fans(shape)[0]", "shape[0]", convolution
    ),
    "LeCun's variance is He's": Bug(
        initialization, "lecun_normal", "1.0", "2.0", law_selu_normalizes_itself
    ),
    "LeCun's variance becomes a standard deviation": Bug(
        initialization, "lecun_normal", "np.sqrt(1.0 / fans(shape)[0])", "1.0 / fans(shape)[0]",
        variance("lecun_normal"),
    ),
    "LeCun's variance is that of fan_out": Bug(
        initialization, "lecun_normal", "[0]", "[1]", law_glorot_is_between_forward_and_backward
    ),
    "Glorot's variance lacks its 2": Bug(
        initialization, "glorot_normal", "2.0", "1.0", law_glorot_keeps_tanh_networks_near_zero
    ),
    "Glorot's variance is LeCun's": Bug(
        initialization, "glorot_normal", "2.0 / sum(fans(shape))", "1.0 / fans(shape)[0]",
        law_glorot_is_between_forward_and_backward,
    ),
    "the uniform limit is a standard deviation": Bug(
        initialization, "glorot_uniform", "6.0", "2.0", variance("glorot_uniform")
    ),
    "uniform weights are positive": Bug(
        initialization, "glorot_uniform", "(2 * stream.uniform(shape).astype(np.float64) - 1)",
        "stream.uniform(shape).astype(np.float64)", law_uniform_weights_fill_their_range,
    ),
    "uniform weights are half as large": Bug(
        initialization, "glorot_uniform", "2 * stream.uniform(shape).astype(np.float64) - 1",
        "stream.uniform(shape).astype(np.float64) - 0.5", law_uniform_weights_fill_their_range,
    ),
    "the gain is a standard deviation": Bug(
        initialization, "scaled_normal", "np.sqrt(gain / fans(shape)[0])", "gain / np.sqrt(fans(shape)[0])",
        variance("scaled_normal"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
