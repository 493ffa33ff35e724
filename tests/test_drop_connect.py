"""Single weights are dropped; dropout in front of a dense layer is the case of whole rows."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, inputs, law_gradients_are_those_of_finite_differences

from regularize.activations import Tanh
from regularize.drop_connect import DropConnect
from regularize.dropout import Dropout, monte_carlo
from regularize.initialization import lecun_normal
from regularize.layers import Dense
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network
from regularize.numerical import relative_error
from regularize.optimizers import SGD, Adam
from regularize.penalties import L2
from regularize.streams import Streams
from regularize.training import fit, predict


def data(n=24, features=6, classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)), np.eye(classes)[rng.integers(classes, size=n)]


def law_the_gradients_are_those_of_finite_differences(lead=(3,)):
    rate = np.random.default_rng(4).uniform(0.1, 0.6, lead)
    law_gradients_are_those_of_finite_differences(lambda: DropConnect(4, 3, rate), lead)


@pytest.mark.parametrize("lead", LEADS)
def test_gradients_are_those_of_finite_differences(lead):
    law_the_gradients_are_those_of_finite_differences(lead)


def law_a_pass_is_that_of_the_masked_weights(rate=0.3):
    """``x (M * W) / (1 - p) + b``: dropped weights are exactly 0, kept ones divided by exactly 1 - p."""
    layer, x = DropConnect(4, 3, rate), inputs(())
    net = Network(layer)
    net.theta += 0.5  # biases, too
    y = net(x, train=True)
    thinned = np.where(layer.mask, layer.W * (1 / (1 - rate)), 0)
    np.testing.assert_array_equal(y, x @ thinned + layer.b)
    assert layer.mask.shape == (4, 3)
    assert 0 < layer.mask.sum() < 12


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_a_pass_is_that_of_the_masked_weights(rate):
    law_a_pass_is_that_of_the_masked_weights(rate)


def law_evaluation_is_the_dense_layer():
    """Forward and backward, after a pass in training mode, too. It starts with the weights of a dense one."""
    lead, x = [0, 1], inputs(())
    nets = [Network(make(4, 3), seeds=lead) for make in (Dense, partial(DropConnect, rate=0.5))]
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    nets[1](x, train=True)
    g = np.random.default_rng(2).standard_normal((2, 5, 3))
    outputs = [(net(x), net.backward(g), net.grad) for net in nets]
    for dense, ours in zip(*outputs, strict=True):
        np.testing.assert_array_equal(ours, dense)


def test_evaluation_is_the_dense_layer():
    law_evaluation_is_the_dense_layer()


def law_rate_zero_is_the_dense_layer_bit_for_bit():
    """Through training, beside a member that does drop."""
    x, y = data()
    ours = Network(DropConnect(6, 7, [0.0, 0.5]), Tanh(), Dense(7, 3), seeds=[3, 3])
    dense = Network(Dense(6, 7), Tanh(), Dense(7, 3), seeds=3)
    for net in (ours, dense):
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=7)
    np.testing.assert_array_equal(ours.theta[0], dense.theta)
    assert np.any(ours.theta[1] != dense.theta)


def test_rate_zero_is_the_dense_layer_bit_for_bit():
    law_rate_zero_is_the_dense_layer_bit_for_bit()


def law_the_mean_over_all_masks_is_the_output_in_evaluation(rate=0.3):
    """All 2^6 masks, each with its probability."""
    layer, x = DropConnect(3, 2, rate), np.random.default_rng(0).standard_normal((5, 3))
    net = Network(layer)
    net.theta += 0.5
    layer.replay, mean = True, 0.0
    for mask in product([0, 1], repeat=6):
        layer.mask = np.reshape(mask, (3, 2))
        probability = (1 - rate) ** sum(mask) * rate ** (6 - sum(mask))
        mean += probability * net(x, train=True)
    np.testing.assert_allclose(mean, net(x), rtol=1e-13)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_the_mean_over_all_masks_is_the_output_in_evaluation(rate):
    law_the_mean_over_all_masks_is_the_output_in_evaluation(rate)


def law_a_unit_mask_is_a_weight_mask_with_whole_rows_of_zeros():
    """Dropout in front of a dense layer, one mask for the batch: outputs and gradients agree."""
    units = np.array([[True, False, True, True, False, True]])
    x, y = data()
    drop, weights = Dropout(0.25), DropConnect(6, 3, 0.25)
    nets = Network(drop, Dense(6, 3), seeds=1), Network(weights, seeds=1)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    drop.mask, weights.mask = units, np.repeat(units.T, 3, axis=1)
    drop.replay = weights.replay = True
    outputs = []
    for net in nets:
        z = net(x, train=True)
        outputs.append((z, net.backward(squared_error(z, y)[1]), net.grad))
    for by_units, by_weights in zip(*outputs, strict=True):
        assert relative_error(by_units, by_weights) < 1e-15
    assert (weights.dW[~units[0]] == 0).all()
    weights.mask = np.ones((6, 3))
    weights.mask[0, 0] = 0  # a mask that no choice of units can give
    assert relative_error(nets[1](x, train=True), outputs[0][0]) > 0.01


def test_a_unit_mask_is_a_weight_mask_with_whole_rows_of_zeros():
    law_a_unit_mask_is_a_weight_mask_with_whole_rows_of_zeros()


def law_dropped_weights_have_no_gradient_and_biases_always_have_one():
    layer, (x, y) = DropConnect(6, 3, 0.5), data()
    net = Network(layer, seeds=[0, 1])
    net.backward(cross_entropy(net(x, train=True), np.stack([y, y]))[1])
    np.testing.assert_array_equal(layer.dW != 0, layer.mask)
    assert (layer.db != 0).all()


def test_dropped_weights_have_no_gradient_and_biases_always_have_one():
    law_dropped_weights_have_no_gradient_and_biases_always_have_one()


def second_draw(seed, shape):
    """What the noise stream of a seed gives the second time it is asked."""
    noise = Streams(seed, "noise")
    return (noise.uniform(shape), noise.uniform(shape))[1]


def law_every_weight_step_and_member_has_its_own_mask(rate=0.2):
    layer = DropConnect(60, 50, rate)
    net, x = Network(layer, seeds=[3, 8, 3]), np.ones((2, 60))
    net(x, train=True)
    first = layer.mask.copy()
    net(x, train=True)
    assert first.shape == (3, 60, 50)
    np.testing.assert_array_equal(first[0], first[2])  # the same seed
    for a, b in [(first[0], first[1]), (first[0], layer.mask[0]), (first[0], first[0][::-1])]:
        assert np.any(a != b)
    assert abs(1 - first[0].mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / 3000)
    for axis in (0, 1):
        assert 0 < first[0].mean(axis).min() <= first[0].mean(axis).max() <= 1
        assert np.any(first[0] != first[0].take([0], axis))  # neither rows nor columns are alike
    np.testing.assert_array_equal(layer.mask[1], second_draw(8, (60, 50)) >= np.float32(rate))


def test_every_weight_step_and_member_has_its_own_mask():
    law_every_weight_step_and_member_has_its_own_mask()


def law_one_mask_serves_the_whole_batch():
    """Equal examples have equal outputs; Wan et al. would give each its own."""
    x = np.ones((4, 6)) * np.arange(1, 7)
    y = Network(DropConnect(6, 3, 0.5))(x, train=True)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], y.shape))


def test_one_mask_serves_the_whole_batch():
    law_one_mask_serves_the_whole_batch()


def test_the_gradient_of_one_mask_a_batch_varies_more_than_that_of_one_an_example():
    """The same mean; the variance of its noise is larger, and for equal examples B times as large."""
    layer, dense = DropConnect(6, 1, 0.5), Dense(6, 1)
    nets = Network(layer, seeds=2), Network(dense, seeds=2)
    batch, passes = 8, 3000
    x, y = np.ones((batch, 6)), np.zeros((batch, 1))
    shared, own = np.empty((passes, 6)), np.empty((passes, 6))
    for i in range(passes):
        nets[0].backward(squared_error(nets[0](x, train=True), y)[1])
        shared[i] = layer.dW[:, 0]
    masks = np.random.default_rng(0).random((passes, batch, 6)) >= 0.5
    z = (x * 2 * masks) @ dense.W  # for one output, a mask on the weights is one on the inputs
    own = ((2 * z) * x * 2 * masks).mean(1)
    error = 5 * np.sqrt(shared.var(0) / passes + own.var(0) / passes)
    assert (np.abs(shared.mean(0) - own.mean(0)) < error).all()
    ratio = shared.var(0).sum() / own.var(0).sum()
    assert abs(ratio / batch - 1) < 0.2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_both_precisions_have_the_same_masks_and_keep_their_own(dtype):
    layer, reference = (DropConnect(4, 3, 0.3) for _ in range(2))
    net, x = Network(layer, seeds=[0, 1], dtype=dtype), inputs((2,)).astype(dtype)
    y = net(x, train=True)
    assert y.dtype == net.backward(y).dtype == layer.factor.dtype == layer.thinned.dtype == dtype
    assert layer.factor.max() == np.dtype(dtype).type(1 / 0.7)
    Network(reference, seeds=[0, 1])(inputs((2,)), train=True)
    np.testing.assert_array_equal(layer.mask, reference.mask)
    assert net(x).dtype == net.backward(y).dtype == dtype


@pytest.mark.parametrize("kind", [bool, int, np.float64])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_mask_can_be_brought_along(dtype, kind):
    layer, x = DropConnect(4, 3, 0.5), inputs(()).astype(dtype)
    net, mask = Network(layer, seeds=[0, 1], dtype=dtype), np.eye(4, 3)
    layer.mask, layer.replay = mask.astype(kind), True
    y = net(x, train=True)
    assert y.dtype == net.backward(y).dtype == dtype
    np.testing.assert_array_equal(y, x @ (layer.W * 2 * mask.astype(dtype)) + layer.b)
    np.testing.assert_array_equal(net(x, train=True), y)


@pytest.mark.parametrize("mask", [np.ones((3, 4)), np.ones((5, 4, 3)), None])
def test_a_mask_that_does_not_fit_is_refused(mask):
    layer = DropConnect(4, 3, 0.5)
    net = Network(layer)
    layer.mask, layer.replay = mask, True
    with refused("mask", ValueError):
        net(inputs(()), train=True)


def test_a_replayed_pass_is_the_same_function():
    net, x = Network(DropConnect(4, 3, 0.5)), inputs(())
    y = net(x, train=True)
    with net.replay():
        np.testing.assert_array_equal(net(x, train=True), y)
    assert np.any(net(x, train=True) != y)


def law_a_member_is_the_network_trained_alone(dtype="float64"):
    """Bit for bit, with a rate of its own, 0 among them; the penalty acts on all weights, dropped or not."""
    rates, seeds = np.array([[0.0], [0.5]]), np.array([[4, 1, 4], [0, 1, 9]])

    def train(rate, seeds):
        net = Network(
            DropConnect(6, 7, rate), Tanh(), DropConnect(7, 3, rate, lecun_normal), seeds=seeds, dtype=dtype
        )
        x, y = (a.astype(dtype) for a in data())
        fit(net, x, y, Adam(0.01), epochs=2, batch_size=7, penalty=L2(0.01))
        return net.theta, predict(net, x), monte_carlo(net, x, 2)

    theta, outputs, samples = train(rates, seeds)
    for s in np.ndindex(seeds.shape):
        alone = train(float(rates[s[0], 0]), seeds[s])
        np.testing.assert_array_equal(theta[s], alone[0])
        np.testing.assert_array_equal(outputs[s], alone[1])
        np.testing.assert_array_equal(samples[:, *s], alone[2])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_member_is_the_network_trained_alone(dtype):
    law_a_member_is_the_network_trained_alone(dtype)


def test_weights_are_penalized_and_start_as_asked():
    layer = DropConnect(4, 3, 0.5, lecun_normal)
    net = Network(layer, seeds=7)
    np.testing.assert_array_equal(layer.W, Network(Dense(4, 3, lecun_normal), seeds=7).layers[0].W)
    np.testing.assert_array_equal(net.penalized, [1] * 12 + [0] * 3)
    assert layer.output_shape((4,)) == (3,)


def test_samples_are_passes_with_new_masks():
    net, x = Network(DropConnect(6, 3, 0.5), seeds=[0, 1]), data()[0]
    samples = monte_carlo(net, x, 600)
    error = samples.std(0) / np.sqrt(600)
    assert (np.abs(samples.mean(0) - predict(net, x)) < 5 * error).all()
    assert not net.layers[0].sampling


def test_inputs_and_weights_are_left_as_they_are():
    law_inputs_and_weights_are_left_as_they_are()


def law_inputs_and_weights_are_left_as_they_are():
    net, x, g = Network(DropConnect(4, 3, 0.5)), inputs(()), np.ones((5, 3))
    copies = x.copy(), net.theta.copy()
    for train in (True, False):
        net(x, train)
        net.backward(g)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(net.theta, copies[1])
    np.testing.assert_array_equal(g, 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("n_in", (0, 3, 0.5)), ("n_out", (4, 1.5, 0.5)), ("rate", (4, 3, 1.0)), ("rate", (4, 3, -0.1)),
        ("rate", (4, 3, None)), ("rate", (4, 3, np.nan)), ("init", (4, 3, 0.5, "he")),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(name, arguments):
    with refused(name):
        DropConnect(*arguments)


def test_rates_broadcast_to_the_members_and_inputs_have_the_right_number_of_features():
    with refused("DropConnect.rate", ValueError):
        Network(DropConnect(4, 3, [0.1, 0.2]), seeds=[0, 1, 2])
    with pytest.raises(ValueError, match="expected 4 features"):
        Network(Dense(6, 5), DropConnect(4, 3, 0.5))


gradients = law_the_gradients_are_those_of_finite_differences
expectation = law_the_mean_over_all_masks_is_the_output_in_evaluation

BUGS = {
    "kept weights are not scaled": Bug(DropConnect, "forward", "1 / (1 - self.rate)", "1.0", expectation),
    "divided by the rate": Bug(DropConnect, "forward", "1 / (1 - self.rate)", "1 / self.rate", expectation),
    "the bias is scaled with the weights": Bug(
        DropConnect, "forward", "+ self.b", "+ self.b * np.max(self.factor)", expectation
    ),
    "weights are dropped in evaluation, too": Bug(
        DropConnect, "forward", "train or self.sampling", "True", law_evaluation_is_the_dense_layer
    ),
    "the factor of the last training pass is left over": Bug(
        DropConnect, "forward", "self.x, self.factor = x, self.per_member(1.0, self.W)",
        "self.x = x\n    if not hasattr(self, 'factor'): self.factor = 1.0",
        law_evaluation_is_the_dense_layer,
    ),
    "units are dropped, not weights": Bug(
        DropConnect, "forward", 'self.next_mask(self.shapes["W"])', "self.next_mask((self.n_in, 1))",
        law_every_weight_step_and_member_has_its_own_mask,
    ),
    "the weights themselves are set to 0": Bug(
        DropConnect, "forward", "self.thinned = self.W * self.factor",
        "self.W *= self.factor; self.thinned = self.W", law_inputs_and_weights_are_left_as_they_are,
    ),
    "dropped weights get a gradient": Bug(
        DropConnect, "backward", "self.dW *= self.factor\n", "pass\n",
        law_dropped_weights_have_no_gradient_and_biases_always_have_one,
    ),
    "the gradient of the weights lacks the scale": Bug(
        DropConnect, "backward", "self.dW *= self.factor", "self.dW *= self.factor > 0", gradients
    ),
    "the gradient of the inputs uses all weights": Bug(
        DropConnect, "backward", "transpose(self.thinned)", "transpose(self.W)", gradients
    ),
    "the gradient of the bias is averaged": Bug(DropConnect, "backward", "np.sum(", "np.mean(", gradients),
    "the noise stream is not the network's": Bug(
        DropConnect, "initialize", "RandomLayer.initialize(self, network)", "self.noise = network.init",
        law_every_weight_step_and_member_has_its_own_mask,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
