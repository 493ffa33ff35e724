"""Layer and group normalization: mean beta and variance gamma^2 in each example, whatever its batch holds."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import MOMENTUM, RATE, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, WORST, law_gradients_are_those_of_finite_differences, seeds_of

from regularize import norms
from regularize.activations import ReLU
from regularize.layers import Dense, Flatten, Reshape
from regularize.network import Network
from regularize.norms import GroupNorm, LayerNorm, Norm
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD
from regularize.training import fit, predict

LAYERS = {
    "LayerNorm": lambda: LayerNorm(4),
    "LayerNorm with a large epsilon": lambda: LayerNorm(4, epsilon=2.0),
    "GroupNorm in pairs": lambda: GroupNorm(4, 2),
    "GroupNorm as one": lambda: GroupNorm(4, 1),
}
ROWS, IMAGES = (5, 4), (3, 2, 3, 4)
SHAPES = {"rows": ROWS, "images": IMAGES}


def examples(lead, shape, seed=1):
    """Features whose means and sizes differ."""
    rng = np.random.default_rng(seed)
    return 3 + rng.standard_normal((*lead, *shape)) * rng.uniform(0.5, 4, shape[-1])


def prepared(layer, lead=(), dtype="float64"):
    """In a network, with a gamma and a beta (and moving statistics) that are not those of the start."""
    net = Network(layer, seeds=seeds_of(lead), dtype=dtype)
    rng = np.random.default_rng(2)
    net.theta += rng.uniform(-0.5, 0.5, net.theta.shape).astype(dtype)
    net.state += rng.uniform(0.1, 2, net.state.shape).astype(dtype)
    return layer


def law_gradients_of_any_shape(make, lead, shape, train=True):
    """As ``law_gradients_are_those_of_finite_differences``, also for images and in evaluation mode."""
    layer, x = prepared(make(), lead), examples(lead, shape)
    parameters = [(layer.gamma, layer.dgamma), (layer.beta, layer.dbeta)]
    c = np.random.default_rng(3).standard_normal(x.shape)

    def objective():
        return (c * layer.forward(x, train)).reshape(*lead, -1).sum(-1)

    layer.replay = True  # moving statistics stay
    objective()
    errors = [relative_error(layer.backward(c), numerical_gradient(objective, x, lead))]
    for value, gradient in parameters:
        errors.append(relative_error(gradient.copy(), numerical_gradient(objective, value, lead)))
    assert max(errors) <= WORST, errors


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_finite_differences(make, lead):
    law_gradients_are_those_of_finite_differences(make, lead)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_of_images_are_those_of_finite_differences(make, lead):
    law_gradients_of_any_shape(make, lead, IMAGES)


# -- what they compute ---------------------------------------------------------------------------------------


def by_hand(layer, x):
    """Each example, position and group by itself, from the definition, for lead = ()."""
    y = np.empty_like(x)
    for values, out in zip(x, y, strict=True):
        if isinstance(layer, LayerNorm):
            parts = [(*i, slice(None)) for i in np.ndindex(values.shape[:-1])]
        else:
            size = layer.features // layer.groups
            parts = [(..., slice(k * size, (k + 1) * size)) for k in range(layer.groups)]
        for part in parts:
            v = values[part]
            out[part] = (v - v.mean()) / np.sqrt(((v - v.mean()) ** 2).mean() + layer.epsilon)
    return layer.gamma[0] * y + layer.beta[0]


def law_outputs_are_the_formula(make, shape):
    layer, x = prepared(make()), examples((), shape)
    np.testing.assert_allclose(layer.forward(x, True), by_hand(layer, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_outputs_are_the_formula(make, shape):
    law_outputs_are_the_formula(make, shape)


def law_each_group_has_mean_zero_and_variance_one(make, axes):
    """At the start, where gamma = 1 and beta = 0: then y = x_hat, of variance v / (v + epsilon)."""
    layer, x = make(), examples((2,), IMAGES)
    Network(layer, seeds=[0, 1])
    y, before = ((a if axes == -1 else layer.grouped(a)) for a in (layer.forward(x, True), x))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-14)
    v = before.var(axes)
    np.testing.assert_allclose(y.var(axes), v / (v + layer.epsilon), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "axes"), [(LAYERS["LayerNorm"], -1), (LAYERS["GroupNorm in pairs"], (-3, -1))]
)
def test_each_group_has_mean_zero_and_variance_one(make, axes):
    law_each_group_has_mean_zero_and_variance_one(make, axes)


def law_the_normalized_value_is_not_the_output(make):
    """x_hat is the value before gamma and beta, y the one after."""
    layer, x = prepared(make(), (2,)), examples((2,), ROWS)
    y = layer.forward(x, True)
    np.testing.assert_allclose(layer.x_hat.mean(-1), 0, atol=1e-12)
    np.testing.assert_array_equal(y, layer.gamma * layer.x_hat + layer.beta)
    assert np.abs(y - layer.x_hat).max() > 0.1


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_normalized_value_is_not_the_output(make):
    law_the_normalized_value_is_not_the_output(make)


def law_an_example_does_not_depend_on_its_batch(make, shape):
    """Nor on the mode: training and evaluation are the same, bit for bit."""
    layer, x = prepared(make(), (3,)), examples((3,), shape)
    together = layer.forward(x, True)
    np.testing.assert_array_equal(layer.forward(x, False), together)
    for i in range(shape[0]):
        np.testing.assert_array_equal(layer.forward(x[:, i : i + 1], True), together[:, i : i + 1])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_an_example_does_not_depend_on_its_batch(make, shape):
    law_an_example_does_not_depend_on_its_batch(make, shape)


@pytest.mark.parametrize("features", [1, 4])
@pytest.mark.parametrize("make", [LayerNorm, lambda n: GroupNorm(n, n), lambda n: GroupNorm(n, 1)])
def test_equal_values_give_beta(make, features):
    """Their variance is 0: only epsilon keeps the quotient finite."""
    layer = prepared(make(features))
    y = layer.forward(np.full((2, 3, 3, features), 0.1), True)
    np.testing.assert_allclose(y, np.broadcast_to(layer.beta[0], y.shape), atol=1e-13)
    assert np.isfinite(layer.backward(np.ones_like(y))).all()


@given(a=st.floats(0.01, 100), shift=st.floats(-10, 10))
@settings(max_examples=20)
def test_scale_and_shift_of_an_example_do_not_matter(a, shift):
    """norm(a x + c) = norm(x), if epsilon is scaled by a^2 along with the variance."""
    x = examples((), ROWS)
    for make in (LayerNorm, lambda n, epsilon: GroupNorm(n, 2, epsilon)):
        plain, moved = (prepared(make(4, epsilon=e)) for e in (2**-10, a * a * 2**-10))
        np.testing.assert_allclose(moved.forward(a * x + shift, True), plain.forward(x, True), atol=1e-9)


def test_one_group_of_rows_is_layer_normalization():
    x = examples((2,), ROWS)
    one, layer = prepared(GroupNorm(4, 1), (2,)), prepared(LayerNorm(4), (2,))
    np.testing.assert_allclose(one.forward(x, True), layer.forward(x, True), rtol=1e-13)
    g = np.random.default_rng(3).standard_normal(x.shape)
    np.testing.assert_allclose(one.backward(g), layer.backward(g), rtol=1e-11, atol=1e-14)


def test_a_group_for_each_channel_is_instance_normalization():
    x = examples((), IMAGES)
    layer = GroupNorm(4, 4)
    Network(layer)
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(layer.forward(x, True), (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-12)


# -- the conventions of the library --------------------------------------------------------------------------


def test_defaults_and_what_is_penalized():
    for layer in (LayerNorm(4), GroupNorm(4, 2)):
        net = Network(layer)
        assert layer.epsilon == 1e-3
        np.testing.assert_array_equal(layer.gamma, np.ones((1, 4)))
        np.testing.assert_array_equal(layer.beta, np.zeros((1, 4)))
        assert [p.name for p in net.parameters] == ["gamma", "beta"]
        assert not net.penalized.any()
        assert net.state.size == 0


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_precision_stays_and_no_array_of_the_caller_changes(make, shape):
    layer = prepared(make(), (2,), dtype="float32")
    x = examples((2,), shape).astype(np.float32)
    g = np.ones_like(x)
    before = x.copy()
    y = layer.forward(x, True)
    assert y.dtype == layer.backward(g).dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, 1)
    assert y.shape == x.shape


def law_an_epsilon_for_each_member(make):
    """A member of an ensemble of several epsilons is, bit for bit, the network with its own."""
    x, epsilon = examples((2, 3), IMAGES), np.array([[1e-3], [0.5]])
    together = prepared(make(epsilon), (2, 3))
    y = together.forward(x, True)
    for k, i in np.ndindex(2, 3):
        alone = make(epsilon[k, 0])
        Network(alone)
        alone.gamma[...], alone.beta[...] = together.gamma[k, i], together.beta[k, i]
        np.testing.assert_array_equal(alone.forward(x[k, i], True), y[k, i])


@pytest.mark.parametrize("make", [partial(LayerNorm, 4), partial(GroupNorm, 4, 2)])
def test_an_epsilon_for_each_member(make):
    law_an_epsilon_for_each_member(make)
    with refused(f"{type(make(1.0)).__name__}.epsilon", ValueError):
        Network(make(np.ones(3)), seeds=[0, 1])


@pytest.mark.parametrize("make", [LayerNorm, lambda n: GroupNorm(n, 1)])
@pytest.mark.parametrize("features", [1, 6])
def test_a_member_is_the_network_trained_alone(make, features):
    """Bit for bit, also where the norm is the first layer and sees the shared data."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, features)), np.eye(3)[rng.integers(3, size=11)]

    def trained(seeds):
        net = Network(make(features), Dense(features, 6), make(6), ReLU(), Dense(6, 3), seeds=seeds)
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
        return net

    together = trained([4, 1, 7])
    for i, seed in enumerate([4, 1, 7]):
        alone = trained(seed)
        np.testing.assert_array_equal(together.theta[i], alone.theta)
        np.testing.assert_array_equal(predict(together, x)[i], predict(alone, x))


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_features_and_groups_are_positive_integers(bad):
    with refused("features"):
        LayerNorm(bad)
    with refused("features"):
        GroupNorm(bad, 1)
    with refused("groups"):
        GroupNorm(4, bad)


@pytest.mark.parametrize("groups", [3, 5, 8])
def test_groups_divide_the_features(groups):
    with refused("groups", ValueError):
        GroupNorm(4, groups)


@pytest.mark.parametrize("bad", [0.0, -1e-3, np.nan, np.inf, "small", [1e-3, 0.0]])
def test_epsilon_is_positive(bad):
    with refused("epsilon"):
        LayerNorm(4, bad)
    with refused("epsilon"):
        GroupNorm(4, 2, bad)


def test_a_norm_takes_its_number_of_features():
    for layer in (LayerNorm(4), GroupNorm(4, 2)):
        assert layer.output_shape((4,)) == (4,)
        assert layer.output_shape((2, 3, 4)) == (2, 3, 4)
        assert layer.output_shape(None) is None
        with refused(f"{type(layer).__name__}(4)", ValueError):
            layer.output_shape((4, 3))
    with refused("LayerNorm(4)", ValueError):
        Network(Dense(3, 5), LayerNorm(4))


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


NETWORKS = {
    "LayerNorm of rows": lambda **kw: Network(
        Dense(8, 6), LayerNorm(6, 2**-10), ReLU(), Dense(6, 3), LayerNorm(3, 2**-10), **kw
    ),
    "GroupNorm of rows": lambda **kw: Network(
        Dense(8, 6), GroupNorm(6, 2, 2**-10), ReLU(), Dense(6, 3), **kw
    ),
    "LayerNorm of images": lambda **kw: Network(
        Reshape(2, 2, 4), LayerNorm(4, 2**-10), Flatten(), Dense(16, 3), **kw
    ),
    "GroupNorm of images": lambda **kw: Network(
        Reshape(2, 2, 4), GroupNorm(4, 2, 2**-10), Flatten(), Dense(16, 3), **kw
    ),
}


@pytest.mark.keras
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_200_steps_reach_the_weights_of_keras(keras, make):
    theirs = keras.optimizers.SGD(RATE / 4, momentum=MOMENTUM)
    assert steps_in_keras(make, SGD(RATE / 4, momentum=MOMENTUM), theirs) <= 1e-12


@pytest.mark.keras
def test_defaults_are_those_of_keras(keras):
    assert keras.layers.LayerNormalization().epsilon == LayerNorm(4).epsilon
    assert keras.layers.GroupNormalization().epsilon == GroupNorm(4, 2).epsilon


@pytest.mark.torch
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "GroupNorm of images"])
def test_outputs_and_gradients_are_those_of_pytorch(name):
    """PyTorch's epsilon is 1e-5, and its channels come first."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    layer = prepared(LayerNorm(4, 1e-5) if name == "LayerNorm" else GroupNorm(4, 2, 1e-5))
    theirs = torch.nn.LayerNorm(4) if name == "LayerNorm" else torch.nn.GroupNorm(2, 4)
    theirs = theirs.double()
    assert theirs.eps == 1e-5
    theirs.weight.data, theirs.bias.data = (torch.tensor(a[0].copy()) for a in (layer.gamma, layer.beta))
    x = examples((), IMAGES if "images" in name else ROWS)
    c = np.random.default_rng(3).standard_normal(x.shape)
    inputs = torch.tensor(x, requires_grad=True)
    outputs = theirs(inputs.movedim(-1, 1)).movedim(1, -1)
    (outputs * torch.tensor(c)).sum().backward()
    np.testing.assert_allclose(layer.forward(x, True), outputs.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.backward(c), inputs.grad.numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(layer.dgamma[0], theirs.weight.grad.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(layer.dbeta[0], theirs.bias.grad.numpy(), rtol=1e-12, atol=1e-13)


# -- planted bugs --------------------------------------------------------------------------------------------

layer_norm, pairs = LAYERS["LayerNorm"], LAYERS["GroupNorm in pairs"]
gradients = partial(law_gradients_of_any_shape, layer_norm, (3,), ROWS)
formula = {name: partial(law_outputs_are_the_formula, layer_norm, shape) for name, shape in SHAPES.items()}
grouped = partial(law_outputs_are_the_formula, pairs, IMAGES)
normal = partial(law_each_group_has_mean_zero_and_variance_one, layer_norm, -1)
alone = partial(law_an_example_does_not_depend_on_its_batch, layer_norm, IMAGES)

BUGS = {
    "the gradient forgets the path through the mean": Bug(
        norms, "standardize_backward", "g - g.mean(axes, keepdims=True) - x_hat", "g - x_hat", gradients
    ),
    "the gradient forgets the path through the variance": Bug(
        norms, "standardize_backward", " - x_hat * (g * x_hat).mean(axes, keepdims=True)", "", gradients
    ),
    "the gradient takes the slope twice": Bug(
        norms, "standardize_backward", "return slope * (", "return slope * slope * (", gradients
    ),
    "the variance is the unbiased one": Bug(
        norms, "standardize", "mean=mean", "mean=mean, ddof=1", formula["rows"]
    ),
    "the variance is taken around 0": Bug(norms, "standardize", "mean=mean", "mean=0 * mean", normal),
    "epsilon stands beside the root": Bug(
        norms, "standardize", "np.sqrt(x.var(axes, keepdims=True, mean=mean) + epsilon)",
        "(np.sqrt(x.var(axes, keepdims=True, mean=mean)) + epsilon)", formula["rows"],
    ),
    "the division is by the variance": Bug(norms, "standardize", "1 / np.sqrt(", "1 / (", normal),
    "gamma's gradient is taken at the output": Bug(
        Norm, "scale", "self.x_hat = x_hat", "self.x_hat = self.gamma * x_hat + self.beta", gradients
    ),
    "beta's gradient is averaged": Bug(Norm, "scale_backward", "np.sum(g, ", "np.mean(g, ", gradients),
    "gamma is missing from the gradient of the input": Bug(
        Norm, "scale_backward", "return g * self.gamma", "return g", gradients
    ),
    "gamma starts at 0": Bug(Norm, "initialize", "= 1", "= 0", normal),
    "layer norm is taken over the batch": Bug(LayerNorm, "forward", "rows, -1,", "rows, -2,", alone),
    "layer norm is taken over the positions, too": Bug(
        LayerNorm, "forward", "rows, -1,", "rows, (-2, -1),", formula["images"]
    ),
    "group norm leaves the positions out": Bug(GroupNorm, "forward", "(-3, -1)", "-1", grouped),
    "group norm is taken over the batch": Bug(
        GroupNorm, "forward", "(-3, -1)", "(-4, -3, -1)",
        partial(law_an_example_does_not_depend_on_its_batch, pairs, ROWS),
    ),
    "groups are interleaved": Bug(GroupNorm, "forward", "(-3, -1)", "(-3, -2)", grouped),
    "the backward pass of group norm has other groups": Bug(
        GroupNorm, "backward", "(-3, -1)", "-1", partial(law_gradients_of_any_shape, pairs, (3,), IMAGES)
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
