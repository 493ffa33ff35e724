"""The sizes of activations and gradients at each depth: where they vanish, where they explode."""

import math
from itertools import pairwise

import numpy as np
import pytest
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize import gradient_flow as flow  # the module, so that bugs can be planted in it
from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.batch_norm import BatchNorm
from regularize.dropout import Dropout
from regularize.gradient_flow import Flow
from regularize.initialization import he_normal, lecun_normal, scaled_normal
from regularize.layers import Dense, Flatten, Reshape
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network
from regularize.numerical import numerical_gradient
from regularize.optimizers import SGD
from regularize.residual import Residual
from regularize.training import backpropagate, fit


def problem(n=7, features=4, classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, features)), np.eye(classes)[rng.integers(classes, size=n)]


def blocks(depth, width, init, *layers, seeds=range(4), features=20):
    """``depth`` times (dense layer, then the other layers), and a last dense layer, as lists."""
    deep = [
        [Dense(features if i == 0 else width, width, init), *(make() for make in layers)]
        for i in range(depth)
    ]
    net = Network(*(layer for block in deep for layer in block), Dense(width, 3, lecun_normal), seeds=seeds)
    return net, 1 + len(layers)


def block_growth(net, size, n=100):
    """What each block but the first multiplies the gradient by: ``(depth - 1,) + lead``."""
    gradients = flow.gradient_flow(net, *problem(n, 20)).gradients[:-1:size]
    return gradients[1:-1] / gradients[2:]


# -- what is measured ----------------------------------------------------------------------------------------


def law_linear_networks_multiply_by_their_weights(lead):
    """Forward by W, on the way back by W^T: sizes by hand from the products, biases included."""
    dense = [Dense(a, b) for a, b in ((4, 6), (6, 5), (5, 3))]
    net, (x, y) = Network(*dense, seeds=seeds_of(lead)), problem()
    net.theta += 0.1
    found = flow.gradient_flow(net, x, y, squared_error)
    assert found.activations.shape == found.gradients.shape == (4, *lead)
    for member in np.ndindex(lead):
        a = [x]
        for layer in dense:
            a.append(a[-1] @ layer.W[member] + layer.b[member])
        g = [2 * (a[-1] - y)]  # of each example's own loss
        for layer in reversed(dense):
            g.insert(0, g[0] @ layer.W[member].T)
        sizes = [[math.sqrt((v**2).mean()) for v in a], [math.sqrt((v**2).sum(-1).mean()) for v in g]]
        np.testing.assert_allclose([f[:, *member] for f in found], sizes, rtol=1e-12)


@pytest.mark.parametrize("lead", LEADS)
def test_linear_networks_multiply_by_their_weights(lead):
    law_linear_networks_multiply_by_their_weights(lead)


def law_gradients_are_those_of_finite_differences():
    """At each boundary, of the mean loss of what follows; a residual block is one layer."""
    layers = Dense(4, 5), Tanh(), Residual(Dense(5, 5), Tanh(), scale=0.5), Sigmoid(), Dense(5, 3)
    net, (x, y) = Network(*layers), problem()
    found = flow.gradient_flow(net, x, y)
    a = x
    for depth in range(6):

        def mean_loss(a=a, depth=depth):
            z = a
            for layer in layers[depth:]:
                z = layer.forward(z, False)
            return cross_entropy(z, y)[0]

        g = len(x) * numerical_gradient(mean_loss, a)
        np.testing.assert_allclose(found.gradients[depth], math.sqrt((g**2).sum(-1).mean()), rtol=1e-8)
        np.testing.assert_allclose(found.activations[depth], math.sqrt((a**2).mean()), rtol=1e-12)
        a = layers[depth].forward(a, False) if depth < 5 else None


def test_gradients_are_those_of_finite_differences():
    law_gradients_are_those_of_finite_differences()


def law_sizes_do_not_depend_on_the_number_of_examples():
    net, (x, y) = Network(Dense(4, 5), ReLU(), Dense(5, 3), seeds=[0, 1]), problem()
    once, thrice = (flow.gradient_flow(net, np.tile(x, (k, 1)), np.tile(y, (k, 1))) for k in (1, 3))
    np.testing.assert_allclose(thrice, once, rtol=1e-12)


def test_sizes_do_not_depend_on_the_number_of_examples():
    law_sizes_do_not_depend_on_the_number_of_examples()


def law_sizes_do_not_depend_on_the_widths():
    """In a linear network with LeCun's weights both stay level, in the mean over seeds. The targets are so
    large that the loss's gradient does not depend on the weights."""
    widths = [60, 400, 100, 300, 50]
    net = Network(*(Dense(a, b, lecun_normal) for a, b in pairwise(widths)), seeds=range(20))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 60)), 1e6 * rng.standard_normal((30, 50))
    found = flow.gradient_flow(net, x, y, squared_error)
    for sizes in found:
        np.testing.assert_allclose((sizes**2).mean(-1) / (sizes[-1] ** 2).mean(), 1, atol=0.12)


def test_sizes_do_not_depend_on_the_widths():
    law_sizes_do_not_depend_on_the_widths()


def test_images_are_measured_like_rows():
    net, (x, y) = Network(Reshape(2, 2, 1), Flatten(), Dense(4, 3), seeds=[0, 1]), problem()
    found = flow.gradient_flow(net, x, y)
    for sizes in found:
        np.testing.assert_allclose(sizes[1:3], sizes[:2], rtol=1e-12)


def law_growth_is_the_factor_of_each_layer_on_the_way_back():
    found = Flow(np.ones((4, 2)), np.array([[3.0, 0], [6, 0], [2, 5], [1, 0]]))
    growth = found.growth
    np.testing.assert_array_equal(growth, [[0.5, np.nan], [3, 0], [2, np.inf]])
    net, (x, y) = Network(Dense(4, 5), Tanh(), Dense(5, 3), seeds=[0, 1]), problem()
    found = flow.gradient_flow(net, x, y)
    assert found.growth.shape == (3, 2)
    np.testing.assert_allclose(found.growth.prod(0), found.gradients[0] / found.gradients[-1], rtol=1e-12)


def test_growth_is_the_factor_of_each_layer_on_the_way_back():
    law_growth_is_the_factor_of_each_layer_on_the_way_back()


# -- what is found -------------------------------------------------------------------------------------------


def gaussian_mean(f):
    """E f(z) for standard normal z."""
    z, w = np.polynomial.hermite_e.hermegauss(60)
    return w @ f(z) / math.sqrt(2 * math.pi)


def law_sigmoid_networks_vanish_as_theory_says():
    """With LeCun's weights the inputs of a sigmoid have variance q = E sigmoid(sqrt(q) z)^2. A layer
    multiplies the gradient's mean square by E sigmoid'(sqrt(q) z)^2: its size by 0.24, after 10 by 1e-6."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    q = 0.25
    for _ in range(50):
        q = gaussian_mean(lambda z, q=q: sigmoid(math.sqrt(q) * z) ** 2)
    slope = gaussian_mean(lambda z: (sigmoid(math.sqrt(q) * z) * (1 - sigmoid(math.sqrt(q) * z))) ** 2)
    net, size = blocks(10, 150, lecun_normal, Sigmoid)
    growth = block_growth(net, size)
    assert 0.23 < math.sqrt(slope) < 0.25
    np.testing.assert_allclose(growth.mean(), math.sqrt(slope), rtol=0.02)
    assert (growth < 0.28).all()
    assert (growth.prod(0) < 1e-4).all()


def test_sigmoid_networks_vanish_as_theory_says():
    law_sigmoid_networks_vanish_as_theory_says()


def law_he_keeps_relu_gradients(gain=2.0):
    """Half of the gates are open: the mean square of the gradient is multiplied by gain / 2."""
    net, size = blocks(10, 150, scaled_normal(gain), ReLU, seeds=range(8))
    growth = block_growth(net, size)
    np.testing.assert_allclose((growth**2).mean(), gain / 2, rtol=0.05)


@pytest.mark.parametrize("gain", [1.0, 2.0, 4.0])
def test_he_keeps_relu_gradients_and_others_do_not(gain):
    law_he_keeps_relu_gradients(gain)


def law_gradients_of_weights_hide_the_vanishing():
    """With half of He's variance activations and gradients halve in two layers, from their two ends.
    The gradient of W is a product of the two, and equally large at all depths."""
    net, size = blocks(20, 100, scaled_normal(1.0), ReLU, features=100)
    x, y = problem(60, 100)
    gradients = flow.gradient_flow(net, x, y).gradients[:-1:size]
    backpropagate(net, x, y, cross_entropy)
    weights = np.array([np.sqrt((layer.dW**2).sum((-1, -2))) for layer in net.layers[2:-1:size]])
    assert (gradients[1] < 0.01 * gradients[-1]).all()
    assert (weights.max(0) < 3 * weights.min(0)).all()


def test_gradients_of_weights_hide_the_vanishing():
    law_gradients_of_weights_hide_the_vanishing()


def law_batch_norm_cures_vanishing_and_causes_exploding():
    """Sigmoid networks vanish no more; ReLU networks grow by sqrt(pi / (pi - 1)) a layer (Yang et al. 2019).

    At the start moving statistics are no statistics yet: in evaluation mode none of this would show.
    """

    def norm():
        return BatchNorm(120, epsilon=1e-9)

    net, size = blocks(8, 120, lecun_normal, norm, Sigmoid)
    assert 0.9 < block_growth(net, size).mean() < 1.15
    net, size = blocks(8, 120, he_normal, norm, ReLU)
    np.testing.assert_allclose(block_growth(net, size).mean(), math.sqrt(math.pi / (math.pi - 1)), rtol=0.03)


def test_batch_norm_cures_vanishing_and_causes_exploding():
    law_batch_norm_cures_vanishing_and_causes_exploding()


# -- what stays as it is -------------------------------------------------------------------------------------


def random_network(**options):
    return Network(
        Dense(4, 6),
        BatchNorm(6),
        ReLU(),
        Dropout(0.5),
        Residual(Dense(6, 6), drop_rate=0.5),
        Dense(6, 3),
        **options,
    )


def law_nothing_changes():
    """Training goes on, bit for bit, as if nobody had looked: weights, statistics, masks, random numbers."""
    (x, y), nets = problem(), [random_network(seeds=[4, 1]) for _ in range(2)]
    for net in nets:
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
    before = {name: getattr(nets[0], name).copy() for name in ("theta", "grad", "state")}
    masks = [layer.mask for layer in nets[0].all_layers if hasattr(layer, "mask")]
    flow.gradient_flow(nets[0], x, y)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(nets[0], name), value)
    assert all(
        old is layer.mask
        for old, layer in zip(masks, (a for a in nets[0].all_layers if hasattr(a, "mask")), strict=True)
    )
    for net in nets:
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    np.testing.assert_array_equal(nets[0].state, nets[1].state)


def test_nothing_changes():
    law_nothing_changes()


def law_the_pass_is_that_of_the_next_training_step():
    """In training mode, with the masks that it will draw; and with those that are given."""
    (x, y), net = problem(), random_network(seeds=[4, 1])
    found, again = (flow.gradient_flow(net, x, y) for _ in range(2))
    np.testing.assert_array_equal(found, again)
    inputs = backpropagate(net, x, y, cross_entropy)
    np.testing.assert_allclose(found.gradients[0], 7 * np.sqrt((inputs**2).sum(-1).mean(-1)), rtol=1e-12)
    with net.replay():
        np.testing.assert_allclose(flow.gradient_flow(net, x, y).gradients, found.gradients, rtol=1e-12)
    assert not np.allclose(flow.gradient_flow(net, x, y).gradients, found.gradients)


def test_the_pass_is_that_of_the_next_training_step():
    law_the_pass_is_that_of_the_next_training_step()


def test_a_member_is_the_network_alone():
    x, y = problem()
    together = flow.gradient_flow(random_network(seeds=[[4, 1], [7, 0]]), x, y)
    for (i, j), seed in np.ndenumerate([[4, 1], [7, 0]]):
        alone = flow.gradient_flow(random_network(seeds=seed), x, y)
        np.testing.assert_array_equal([f[:, i, j] for f in together], alone)


def test_members_may_have_data_of_their_own():
    (x, y), net = problem(), Network(Dense(4, 3), seeds=[0, 1])
    found = flow.gradient_flow(net, np.stack([x, 2 * x]), y)
    np.testing.assert_allclose(found.activations[0, 1], 2 * found.activations[0, 0], rtol=1e-14)


def law_float32_vanishes_where_its_numbers_do():
    """And not at 1e-23, whose square is 0 in float32. Sizes are float64."""
    x, y = problem(features=20)
    net, _ = blocks(60, 10, lecun_normal, Sigmoid)
    single = Network(*blocks_of_the_same(net), seeds=range(4), dtype="float32")
    found = flow.gradient_flow(single, x.astype(np.float32), y)
    exact = flow.gradient_flow(net, x, y)
    assert found.gradients.dtype == found.activations.dtype == np.float64
    near = exact.gradients > 1e-30
    assert (exact.gradients[near] < 1e-25).any()
    np.testing.assert_allclose(found.gradients[near], exact.gradients[near], rtol=1e-3)


def blocks_of_the_same(net):
    return [Dense(a.n_in, a.n_out, a.init) if isinstance(a, Dense) else type(a)() for a in net.layers]


def test_float32_vanishes_where_its_numbers_do():
    law_float32_vanishes_where_its_numbers_do()


def test_members_that_diverged_do_not_disturb_the_others():
    (x, y), net = problem(), Network(Dense(4, 5), ReLU(), Dense(5, 3), seeds=[0, 1])
    fine = flow.gradient_flow(net, x, y)
    net.theta[0] = 1e200
    found = flow.gradient_flow(net, x, y)
    np.testing.assert_array_equal(found.gradients[:, 1], fine.gradients[:, 1])
    assert np.isinf(found.activations[-1, 0])
    net.theta[0] = np.nan
    assert np.isnan(flow.gradient_flow(net, x, y).gradients[:, 0]).all()


def test_bad_data_are_refused_as_fit_refuses_them():
    (x, y), net = problem(), Network(Dense(4, 3))
    with refused("x"):
        flow.gradient_flow(net, x * np.nan, y)
    with refused("Dense(4, 3)"):
        flow.gradient_flow(net, x[:, :3], y)
    with refused("y"):
        flow.gradient_flow(net, x, y[:3])
    with refused("y"):
        flow.gradient_flow(net, x, 2 * y)
    with refused("loss", TypeError):
        flow.gradient_flow(net, x, y, "cross_entropy")
    flow.gradient_flow(net, x, 2 * y, squared_error)


# -- planted bugs --------------------------------------------------------------------------------------------


def linear():
    law_linear_networks_multiply_by_their_weights((2, 3))


def bug(right, wrong, law):
    return Bug(flow, "gradient_flow", right, wrong, law)


BUGS = {
    "the gradient shrinks with the number of examples": bug(
        "n * np.sqrt", "np.sqrt", law_sizes_do_not_depend_on_the_number_of_examples
    ),
    "the gradient is one of the sum of examples": bug(
        "_squares(g, net).sum(-1).mean(-1)", "_squares(g, net).sum((-1, -2))",
        law_sizes_do_not_depend_on_the_number_of_examples,
    ),
    "the gradient is averaged over features": bug(
        "_squares(g, net).sum(-1).mean(-1)", "_squares(g, net).mean((-1, -2))",
        law_sizes_do_not_depend_on_the_widths,
    ),
    "activations are lengths": bug(
        "_squares(a, net).mean((-1, -2))", "_squares(a, net).sum(-1).mean(-1)",
        law_sizes_do_not_depend_on_the_widths,
    ),
    "gradients come in the order of the backward pass": bug("in reversed(gradients)", "in gradients", linear),
    "the output's gradient is missing": bug(
        "for g in reversed(gradients)", "for g in [*reversed(gradients)][:-1] + gradients[-1:]", linear
    ),
    "the pass is one of evaluation": bug(
        "(activations[-1], True)", "(activations[-1], False)",
        law_batch_norm_cures_vanishing_and_causes_exploding
    ),
    "moving statistics move": bug("deepcopy(net)", "net", law_nothing_changes),
    "only the parameters are put back": bug(
        "activations = [", "net.noise.uniform((1,)); activations = [",
        law_the_pass_is_that_of_the_next_training_step,
    ),
    "the default loss is taken for the given one": bug(
        "loss(activations", "cross_entropy(activations", linear
    ),
    "squares are taken in float32": Bug(
        flow, "_squares", ", dtype=np.float64", "", law_float32_vanishes_where_its_numbers_do
    ),
    "the examples of an ensemble are put into one row": Bug(
        flow, "_squares", "[: len(net.lead) + 1], -1", "[:1], 1, -1", linear
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)


def test_growth_upside_down_is_noticed(monkeypatch):
    """``growth`` is a property, which cannot be planted like a function."""
    monkeypatch.setattr(Flow, "growth", property(lambda f: f.gradients[1:] / f.gradients[:-1]))
    with pytest.raises(AssertionError), np.errstate(all="ignore"):
        law_growth_is_the_factor_of_each_layer_on_the_way_back()
