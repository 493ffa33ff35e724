"""Residual blocks: a skip keeps gradients alive, a scale keeps them small, and some branches are left out."""

import math
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from parity import MOMENTUM, RATE, data, steps_in_keras
from planting import Bug, check_noticed
from sklearn.datasets import load_wine
from test_checks import refused
from test_layers import LEADS, inputs, law_gradients_are_those_of_finite_differences, seeds_of

from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.batch_norm import BatchNorm
from regularize.data import one_hot, standardize
from regularize.dropout import Dropout, monte_carlo
from regularize.gradient_flow import gradient_flow
from regularize.initialization import he_normal, lecun_normal
from regularize.layers import Dense, Flatten, Layer, Reshape
from regularize.network import Network
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.residual import Residual
from regularize.training import evaluate, fit, predict

BLOCKS = {
    "one layer": lambda: Residual(Dense(4, 4)),
    "three layers": lambda: Residual(Dense(4, 6), Tanh(), Dense(6, 4), scale=0.5),
    "no parameters": lambda: Residual(Tanh(), scale=3),
    "nested": lambda: Residual(Dense(4, 4), Residual(Tanh(), Dense(4, 4), scale=0.25)),
    "stochastic depth": lambda: Residual(Dense(4, 6), Tanh(), Dense(6, 4), scale=0.5, drop_rate=0.4),
}


def block(lead=(), **options):
    """``Residual(Dense, Tanh, Dense)`` in a network with biases, and the branch by itself."""
    layers = Dense(4, 6), Tanh(), Dense(6, 4)
    net = Network(Residual(*layers, **options), seeds=seeds_of(lead))
    net.theta += 0.1

    def branch(x):
        return np.tanh(x @ layers[0].W + layers[0].b) @ layers[2].W + layers[2].b

    return net, net.layers[0], branch


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_gradients_are_those_of_finite_differences(make, lead):
    law_gradients_are_those_of_finite_differences(make, lead)


# -- the sum -------------------------------------------------------------------------------------------------


def law_the_branch_is_added(train, scale):
    x = inputs((2, 3))
    net, _, branch = block((2, 3), scale=scale)
    expected = x + np.reshape(scale, (*np.shape(scale), 1, 1)) * branch(x)
    np.testing.assert_allclose(net(x, train), expected, rtol=1e-14)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.0, 0.3, [[0.5], [2.0]]], ids=str)
def test_the_branch_is_added(train, scale):
    law_the_branch_is_added(train, scale)


def law_the_gradient_has_a_way_back_that_no_layer_touches():
    """With scale 0 the block is the identity, both ways, to the bit; its weights get no gradient."""
    net, _, _ = block((2,), scale=0)
    x = inputs((2,))
    np.testing.assert_array_equal(net(x, True), x)
    np.testing.assert_array_equal(net.backward(2 * x), 2 * x)
    np.testing.assert_array_equal(net.grad, 0)


def test_the_gradient_has_a_way_back_that_no_layer_touches():
    law_the_gradient_has_a_way_back_that_no_layer_touches()


def test_layers_inside_belong_to_the_network():
    inner = Dense(4, 4), Residual(BatchNorm(4), Dense(4, 4))
    net = Network(Residual(*inner), Dense(4, 3), seeds=[[0, 1, 2]])
    block = net.layers[0]
    assert net.all_layers == (block, inner[0], inner[1], *inner[1].children, net.layers[1])
    assert [p.name for p in net.parameters] == ["W", "b", "gamma", "beta", "W", "b", "W", "b"]
    assert all(layer.lead == (1, 3) for layer in net.all_layers)
    assert block.shapes == block.states == {}
    assert len(net.kernels()) == 3
    net.theta[...] = 0
    assert not inner[1].children[1].W.any()


def law_images_pass():
    """Any shape, if the branch keeps it."""
    scale_up = Residual(Flatten(), Dense(8, 8), Reshape(2, 2, 2), drop_rate=0.5)
    net = Network(Reshape(2, 2, 2), scale_up, Flatten(), seeds=[0, 1])
    x, dense = inputs((2,), batch=40, features=8), scale_up.children[1]
    y, mask = net(x, True), scale_up.mask
    np.testing.assert_allclose(y, x + 2 * mask[..., None] * (x @ dense.W), rtol=1e-13)
    assert mask.shape == (2, 40)


def test_images_pass():
    law_images_pass()


# -- shapes --------------------------------------------------------------------------------------------------


def test_the_branch_keeps_the_shape():
    assert BLOCKS["three layers"]().output_shape((4,)) == (4,)
    assert BLOCKS["three layers"]().output_shape(None) == (4,)  # it takes what it gives
    assert BLOCKS["no parameters"]().output_shape((2, 3, 4)) == (2, 3, 4)
    assert BLOCKS["no parameters"]().output_shape(None) is None
    message = "Residual: expected layers that keep the shape (4,), got (3,)"
    with pytest.raises(ValueError, match=re.escape(message)):
        Network(Dense(5, 4), Residual(Dense(4, 3)))
    with refused("Residual", ValueError):
        Residual(Flatten()).output_shape((2, 2, 1))
    with refused("Dense(4, 3)", ValueError):
        Network(Residual(Dense(4, 3)))
    with refused("Dense(4, 4)", ValueError):
        Network(Dense(5, 3), Residual(Dense(4, 4)))


# -- stochastic depth ----------------------------------------------------------------------------------------


def law_a_dropped_example_passes_unchanged():
    """Its output is its input and its gradient that of the output, to the bit; the weights do not see it. The
    others' branches are 1 / (1 - p) times as large."""
    x, g = inputs((2,), batch=6), np.random.default_rng(3).standard_normal((2, 6, 4))
    net, layer, branch = block((2,), scale=0.5, drop_rate=0.2)
    net(x, True)
    layer.mask, layer.replay = np.array([[1, 0, 1, 0, 0, 1], [0, 1, 1, 1, 0, 0]]), True
    kept = layer.mask.astype(bool)
    y, back = net(x, True), net.backward(g)
    np.testing.assert_array_equal(y[~kept], x[~kept])
    np.testing.assert_array_equal(back[~kept], g[~kept])
    np.testing.assert_allclose(y[kept], (x + 0.5 / 0.8 * branch(x))[kept], rtol=1e-13)
    for member in range(2):
        few, _, _ = block(scale=0.5 / 0.8)
        few.theta[...] = net.theta[member]
        few(x[member, kept[member]], True)
        np.testing.assert_allclose(
            few.backward(g[member, kept[member]]), back[member, kept[member]], rtol=1e-12
        )
        np.testing.assert_allclose(few.grad, net.grad[member], rtol=1e-12)


def test_a_dropped_example_passes_unchanged():
    law_a_dropped_example_passes_unchanged()


def law_evaluation_is_the_mean_over_the_masks():
    """Exactly, for one block: with weights 1 - p and p."""
    x, p = inputs((2,)), np.array([0.25, 0.7])
    net, layer, _ = block((2,), scale=0.5, drop_rate=p)
    layer.replay = True
    outputs = []
    for layer.mask in (np.ones(5), np.zeros((2, 1))):
        outputs.append(net(x, True))
    share = p[:, None, None]
    np.testing.assert_allclose((1 - share) * outputs[0] + share * outputs[1], net(x), rtol=1e-13)
    plain, _, _ = block((2,), scale=0.5)
    np.testing.assert_array_equal(net(x), plain(x))


def test_evaluation_is_the_mean_over_the_masks():
    law_evaluation_is_the_mean_over_the_masks()


def law_each_example_is_dropped_at_its_members_rate():
    rate = np.array([[0.0], [0.3], [0.8]])
    net, layer, _ = block((3, 2), drop_rate=rate)
    net(inputs((3, 2), batch=4000), True)
    assert layer.mask.shape == (3, 2, 4000)
    np.testing.assert_allclose(layer.mask.mean(-1), 1 - np.broadcast_to(rate, (3, 2)), atol=0.03)
    assert layer.mask[0].all()
    assert (layer.mask[1, 0] != layer.mask[1, 1]).any()
    mask = layer.mask
    net(inputs((3, 2), batch=4000), True)
    assert (layer.mask != mask)[1:].any((-1, -2)).all()


def test_each_example_is_dropped_at_its_members_rate():
    law_each_example_is_dropped_at_its_members_rate()


def law_masks_of_other_layers_do_not_depend_on_the_rate():
    """Nor on evaluation in between: arms of a comparison share their noise."""

    def mask(rate):
        net = Network(Residual(Dense(4, 4), drop_rate=rate), Dropout(0.5))
        net(inputs(()))
        net(inputs(()), True)
        return net.layers[1].mask

    np.testing.assert_array_equal(mask(0.0), mask(0.5))


def test_masks_of_other_layers_do_not_depend_on_the_rate():
    law_masks_of_other_layers_do_not_depend_on_the_rate()


def law_a_mask_is_used_again():
    x = inputs((2,))
    net, layer, _ = block((2,), drop_rate=0.5)
    first, mask = net(x, True), layer.mask
    with net.replay():
        np.testing.assert_array_equal(net(x, True), first)
    assert layer.mask is mask
    assert (net(x, True) != first).any()


def test_a_mask_is_used_again():
    law_a_mask_is_used_again()


def test_a_mask_that_is_missing_or_does_not_fit_is_refused():
    net, layer, _ = block((2,), drop_rate=0.5)
    layer.replay = True
    with refused("mask", ValueError):
        net(inputs((2,)), True)
    for bad in (np.ones(4), np.ones((3, 5)), np.ones((2, 5, 1))):
        layer.mask = bad
        with refused("mask", ValueError):
            net(inputs((2,)), True)
    with pytest.raises(ValueError, match=re.escape("broadcasts to (2, 5), got (2, 5, 1)")):
        net(inputs((2,)), True)
    layer.mask = np.ones((1, 5))
    net(inputs((2,)), True)


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_a_branch_is_kept_with_probability_one_minus_p_to_the_last_bit(rate):
    """Uniform numbers may be 0, and none is 1: those from p on keep the branch."""
    net, layer, _ = block(drop_rate=rate)
    layer.noise = SimpleNamespace(
        uniform=lambda shape: np.float32([0, 0.25, rate, 0.9, np.nextafter(rate, 1)])
    )
    net(inputs(()), True)
    np.testing.assert_array_equal(layer.mask, [rate == 0, True, True, True, True])


# -- depth ---------------------------------------------------------------------------------------------------


def deep(branch, scale, *, depth=50, width=64, seeds=range(4), features=13):
    """With ``scale`` None without skips."""
    blocks = [branch() if scale is None else [Residual(*branch(), scale=scale)] for _ in range(depth)]
    middle = [layer for block in blocks for layer in block]
    return Network(Dense(features, width, lecun_normal), *middle, Dense(width, 3, lecun_normal), seeds=seeds)


def wine():
    data = load_wine()
    return standardize(data.data)[0], one_hot(data.target, 3)


def branch_of(activation, width=64):
    init = he_normal if activation is ReLU else lecun_normal
    return lambda: [activation(), Dense(width, width, init)]


def law_blocks_multiply_the_mean_square_by_one_plus_scale_squared(scale):
    """Forward and on the way back, with He's weights behind ReLU, within 4.5 standard errors."""
    flow = gradient_flow(deep(branch_of(ReLU, 128), scale, depth=10, width=128, seeds=range(10)), *wine())
    forward = (flow.activations[2:-1] / flow.activations[1:-2]) ** 2
    backward = flow.growth[1:-1] ** 2
    for factor in (forward, backward):
        error = factor.std() / math.sqrt(factor.size)
        assert abs(factor.mean() - (1 + scale**2)) < 4.5 * error, (factor.mean(), error)
        assert error < 0.02 * (1 + scale**2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_blocks_multiply_the_mean_square_by_one_plus_scale_squared(scale):
    law_blocks_multiply_the_mean_square_by_one_plus_scale_squared(scale)


def law_fifty_blocks_explode_unless_they_are_scaled():
    """Values and gradients 2^25 times as large, within a factor of 8; with 1 / sqrt(50), sqrt(e) times."""
    for scale, factor, slack in ((1.0, 2.0**25, 8), (50**-0.5, (1 + 1 / 50) ** 25, 1.3)):
        flow = gradient_flow(deep(branch_of(ReLU), scale), *wine())
        for sizes in (flow.activations[-2] / flow.activations[1], flow.gradients[1] / flow.gradients[-2]):
            assert (sizes > factor / slack).all(), (scale, sizes)
            assert (sizes < factor * slack).all(), (scale, sizes)


def test_fifty_blocks_explode_unless_they_are_scaled():
    law_fifty_blocks_explode_unless_they_are_scaled()


def law_a_skip_keeps_gradients_alive():
    """Of the gradient 50 sigmoid layers leave 1e-30, 50 tanh layers a fifth at most; blocks leave all."""
    for activation, plain in ((Sigmoid, 1e-28), (Tanh, 0.2)):
        for scale in (None, 1.0, 50**-0.5):
            gradients = gradient_flow(deep(branch_of(activation), scale), *wine()).gradients
            left = gradients[1] / gradients[-2]
            assert (left < plain).all() if scale is None else (left > 0.9).all(), (activation, scale, left)


def test_a_skip_keeps_gradients_alive():
    law_a_skip_keeps_gradients_alive()


def law_fifty_layers_learn_with_skips():
    """Six epochs: plain layers guess or little better, unscaled ReLU blocks explode, scaled blocks learn."""
    x, y = wine()

    def accuracy(activation, scale):
        net = deep(branch_of(activation, 16), scale, width=16)
        fit(net, x, y, Adam(3e-3), epochs=6, batch_size=25)
        return evaluate(net, x, y).accuracy.mean()

    for activation in (Tanh, ReLU):
        assert accuracy(activation, None) < 0.8
        assert accuracy(activation, 50**-0.5) > 0.95
    assert accuracy(ReLU, 1.0) < 0.8


def test_fifty_layers_learn_with_skips():
    law_fifty_layers_learn_with_skips()


# -- the conventions of the library --------------------------------------------------------------------------


def test_defaults():
    layer = Residual(Tanh())
    assert (layer.scale, layer.drop_rate, layer.mask) == (1.0, 0.0, None)
    assert layer.penalized == ()


def law_a_member_is_the_network_trained_alone():
    """Bit for bit, with scales and rates of its own and random layers inside."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 4)), np.eye(3)[rng.integers(3, size=11)]
    scales, rates = np.array([[1.0], [0.3]]), np.array([0.0, 0.5, 0.25])

    def trained(seeds, scale, rate):
        inside = Dense(4, 4), BatchNorm(4), ReLU(), Dropout(0.3)
        net = Network(Residual(*inside, scale=scale, drop_rate=rate), Dense(4, 3), seeds=seeds)
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
        return net

    together = trained([[4, 1, 7], [1, 0, 4]], scales, rates)
    for (k, i), seed in np.ndenumerate([[4, 1, 7], [1, 0, 4]]):
        alone = trained(seed, scales[k, 0], rates[i])
        np.testing.assert_array_equal(together.theta[k, i], alone.theta)
        np.testing.assert_array_equal(together.state[k, i], alone.state)
        np.testing.assert_array_equal(predict(together, x)[k, i], predict(alone, x))


def test_a_member_is_the_network_trained_alone():
    law_a_member_is_the_network_trained_alone()


@pytest.mark.parametrize("shared", [True, False])
def test_precision_stays_and_no_array_of_the_caller_changes(shared):
    net = Network(Residual(Dense(4, 4), scale=0.3, drop_rate=0.3), seeds=[0, 1], dtype="float32")
    x = inputs(() if shared else (2,)).astype(np.float32)
    before = x.copy()
    y = net(x, True)
    g = np.ones_like(y)
    assert y.dtype == net.backward(g).dtype == net(x).dtype == np.float32
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, 1)


class Watched(Layer):
    """Remembers in which mode it was."""

    def forward(self, x, train):
        self.train = train
        return x

    def backward(self, g):
        return g


def law_layers_inside_are_told_the_mode(train):
    inside = Watched()
    Network(Residual(inside))(inputs(()), train)
    assert inside.train is train


@pytest.mark.parametrize("train", [True, False])
def test_layers_inside_are_told_the_mode(train):
    law_layers_inside_are_told_the_mode(train)


def test_moving_statistics_inside_stay_in_a_replay():
    net = Network(Residual(BatchNorm(4)))
    net(inputs(()), True)
    state = net.state.copy()
    with net.replay():
        net(inputs(()), True)
    np.testing.assert_array_equal(net.state, state)


@pytest.mark.parametrize("bad", [(), (None,), (Dense,), (Tanh(), "relu"), ([Tanh()],)])
def test_a_branch_is_of_layers(bad):
    with refused("layers"):
        Residual(*bad)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, "1", None, [1.0, -1]])
def test_scale_is_a_number_from_zero(bad):
    with refused("scale"):
        Residual(Tanh(), scale=bad)


@pytest.mark.parametrize("bad", [-0.1, 1.0, np.nan, "0.5", None, [0.5, 1]])
def test_a_rate_is_below_one(bad):
    with refused("drop_rate"):
        Residual(Tanh(), drop_rate=bad)


def test_settings_broadcast_to_the_members():
    for name in ("scale", "drop_rate"):
        with refused(f"Residual.{name}", ValueError):
            Network(Residual(Tanh(), **{name: [0.1, 0.2, 0.3]}), seeds=[0, 1])


def test_a_layer_cannot_stand_inside_and_outside():
    layer = Dense(4, 4)
    with refused("layers", ValueError):
        Network(layer, Residual(layer))


def test_nested_gradients_of_images_are_those_of_finite_differences():
    lead = (2,)
    layers = Reshape(2, 2, 1), Residual(Residual(Tanh(), scale=0.5), Flatten(), Dense(4, 4), Reshape(2, 2, 1))
    net, x = Network(*layers, Flatten(), seeds=[0, 1]), inputs(lead)
    c = np.random.default_rng(3).standard_normal(x.shape)

    def objective():
        return (c * net(x, True)).sum((-1, -2))

    objective()
    assert relative_error(net.backward(c), numerical_gradient(objective, x, lead)) <= 1e-7
    assert relative_error(net.grad.copy(), numerical_gradient(objective, net.theta, lead)) <= 1e-7


# -- Keras ---------------------------------------------------------------------------------------------------

NETWORKS = {
    "blocks": lambda **kw: Network(
        Dense(8, 6),
        Residual(ReLU(), Dense(6, 6)),
        Residual(Dense(6, 5), Tanh(), Dense(5, 6), scale=0.5),
        Dense(6, 3),
        **kw,
    ),
    "nested": lambda **kw: Network(
        Residual(Dense(8, 8), Residual(Tanh(), Dense(8, 8), scale=0.25), ReLU()), ReLU(), Dense(8, 3), **kw
    ),
}


@pytest.mark.keras
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_200_steps_reach_the_weights_of_keras(keras, make):
    theirs = keras.optimizers.SGD(RATE / 4, momentum=MOMENTUM)
    assert steps_in_keras(make, SGD(RATE / 4, momentum=MOMENTUM), theirs) <= 1e-12


@pytest.mark.keras
def test_stochastic_depth_is_dropout_of_whole_examples_in_keras(keras):
    """Its ``Dropout`` with ``noise_shape=(None, 1)``: an example has no branch, or 1 / (1 - p) of it."""
    from regularize.keras_twin import to_keras

    layer = Residual(Dense(8, 8), scale=0.5, drop_rate=0.75)
    net, (x, _) = Network(layer), data()
    model = to_keras(net)
    np.testing.assert_allclose(model(x, training=False).numpy(), net(x), rtol=1e-13)
    keras.utils.set_random_seed(0)
    theirs = model(x, training=True).numpy()
    layer.mask, layer.replay = (theirs != x).all(-1), True
    assert 5 < layer.mask.sum() < 30
    np.testing.assert_array_equal((theirs != x).any(-1), layer.mask)
    np.testing.assert_allclose(net(x, True), theirs, rtol=1e-13)


# -- planted bugs --------------------------------------------------------------------------------------------


def gradients(name):
    return partial(law_gradients_are_those_of_finite_differences, BLOCKS[name], (3,))


added = partial(law_the_branch_is_added, True, [[0.5], [2.0]])
evaluated = partial(law_the_branch_is_added, False, [[0.5], [2.0]])
dropped, mean = law_a_dropped_example_passes_unchanged, law_evaluation_is_the_mean_over_the_masks

BUGS = {
    "there is no skip": Bug(Residual, "forward", "return x + ", "return ", added),
    "the gradient has no skip": Bug(
        Residual, "backward", "return g + h", "return h", law_a_skip_keeps_gradients_alive
    ),
    "the scale acts on the sum": Bug(
        Residual, "forward", "return x + self.factor * y", "return self.factor * (x + y)", added
    ),
    "the gradient lacks the scale": Bug(
        Residual, "backward", "self.factor * g", "g", gradients("three layers")
    ),
    "the gradient is scaled behind the branch, too": Bug(
        Residual, "backward", "return g + h", "return g + self.factor * h", gradients("three layers")
    ),
    "the skip's gradient is scaled": Bug(
        Residual, "backward", "return g + h", "return self.factor * g + h", gradients("three layers")
    ),
    "the backward pass runs forward": Bug(
        Residual, "backward", "reversed(self.children)", "self.children", gradients("nested")
    ),
    "layers inside are in evaluation mode": Bug(
        Residual, "forward", "layer.forward(y, train)", "layer.forward(y, False)",
        partial(law_layers_inside_are_told_the_mode, True),
    ),
    "only the last layer is the branch": Bug(
        Residual, "forward", "y = layer.forward(y, train)", "y = layer.forward(x, train)",
        gradients("nested"),
    ),
    "scaling by 1 / sqrt(scale)": Bug(
        Residual, "forward", "self.per_member(self.scale, x)", "self.per_member(self.scale**0.5, x)",
        law_fifty_blocks_explode_unless_they_are_scaled,
    ),
    "branches are dropped in evaluation": Bug(Residual, "forward", "if train", "if True", mean),
    "branches are never dropped": Bug(
        Residual, "forward", "if train", "if False", dropped
    ),
    "kept branches are not enlarged": Bug(
        Residual, "_kept", "return mask * self.per_member(1 / (1 - self.drop_rate), x)",
        "return mask * self.per_member(1.0, x)", mean,
    ),
    "kept branches are enlarged by 1 / p": Bug(
        Residual, "_kept", "1 / (1 - self.drop_rate)", "1 / (self.drop_rate + 0.1 * (self.drop_rate < 0.1))",
        dropped,
    ),
    "the rate is that of keeping": Bug(
        Residual, "draw", "u >= self", "u < self", law_each_example_is_dropped_at_its_members_rate
    ),
    "a whole batch is dropped": Bug(
        Residual, "draw", "return u >=", "return u[..., :1] + 0 * u >=",
        law_each_example_is_dropped_at_its_members_rate,
    ),
    "values are dropped one by one": Bug(
        Residual, "_kept", "mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))",
        "mask = self.noise.uniform(x.shape[len(self.lead):]) >= 0.2", dropped,
    ),
    "masks are drawn anew in a replay": Bug(
        Residual, "next_mask", "if not self.replay", "if True", law_a_mask_is_used_again
    ),
    "no numbers are drawn at rate 0": Bug(
        Residual, "next_mask", "if not self.replay:", "if not self.replay and not np.any(self.drop_rate):\n"
        "        self.mask = np.ones(shape, bool)\n    elif not self.replay:",
        law_masks_of_other_layers_do_not_depend_on_the_rate,
    ),
    "members share their masks": Bug(
        Residual, "draw", "u = self.noise.uniform(shape)",
        "u = self.noise.uniform(shape); u[...] = u[(0,) * len(self.lead)]",
        law_each_example_is_dropped_at_its_members_rate,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)


def test_monte_carlo_samples_stochastic_depth_too():
    net = Network(Residual(Dense(4, 4), drop_rate=0.5), seeds=[0, 1])
    x = np.random.default_rng(0).standard_normal((6, 4))
    samples = monte_carlo(net, x, 400)
    assert samples.std(0).min() > 0
    np.testing.assert_allclose(samples.mean(0), net(x), atol=5 * samples.std(0).max() / 20)
    assert not net.layers[0].sampling
