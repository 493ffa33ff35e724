"""An activity penalty adds the derivative of ``(l1 sum|a| + l2 sum a^2) / B``, and changes nothing else."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import BATCH, EPOCHS, MOMENTUM, RATE, data, relative, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, WORST, inputs, seeds_of

from regularize.activations import ReLU
from regularize.activity import ActivityPenalty
from regularize.keras_twin import to_keras
from regularize.layers import Dense
from regularize.losses import squared_error
from regularize.network import Network
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.training import evaluate, fit

X, Y = data()
STRENGTHS = {"L1": {"l1": 0.3}, "L2": {"l2": 0.7}, "both": {"l1": 0.3, "l2": 0.7}}


def by_hand(a, l1, l2):
    """One network's penalty: a is (B, ...)."""
    return (l1 * np.abs(a).sum() + l2 * (a**2).sum()) / len(a)


# -- what it does --------------------------------------------------------------------------------------------


def law_backward_adds_the_derivative_of_the_value(lead, strengths, shape=(4,)):
    """J = sum of c * output + penalty, and its differences. Activations pass as they are."""
    layer = ActivityPenalty(**strengths)
    Network(layer, seeds=seeds_of(lead))
    x = inputs(lead, features=int(np.prod(shape))).reshape(*lead, 5, *shape)
    c = np.random.default_rng(3).standard_normal(x.shape)

    def objective():
        assert layer.forward(x, True) is x
        return (c * x).reshape(*lead, -1).sum(-1) + layer.value

    expected = numerical_gradient(objective, x, lead)
    objective()
    kept = c.copy()
    assert relative_error(layer.backward(c), expected) <= WORST
    np.testing.assert_array_equal(c, kept)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3)])
@pytest.mark.parametrize("strengths", STRENGTHS.values(), ids=STRENGTHS)
@pytest.mark.parametrize("lead", LEADS)
def test_backward_adds_the_derivative_of_the_value(lead, strengths, shape):
    law_backward_adds_the_derivative_of_the_value(lead, strengths, shape)


def law_the_value_is_the_mean_over_the_examples():
    layer, x = ActivityPenalty([[0.1], [0.2]], [0.0, 0.3, 0.5]), inputs((2, 3)).reshape(2, 3, 5, 2, 2)
    Network(layer, seeds=seeds_of((2, 3)))
    layer.forward(x, True)
    assert layer.value.shape == (2, 3)
    for k, s in np.ndindex(2, 3):
        expected = by_hand(x[k, s], [0.1, 0.2][k], [0.0, 0.3, 0.5][s])
        np.testing.assert_allclose(layer.value[k, s], expected, rtol=1e-13)


def test_the_value_is_the_mean_over_the_examples():
    law_the_value_is_the_mean_over_the_examples()


@given(copies=st.integers(1, 5), l1=st.sampled_from([0.0, 0.1, 3.0]), l2=st.floats(1e-3, 3))
def test_the_batch_size_does_not_matter(copies, l1, l2):
    """The same examples several times over: the same penalty, and the same gradient in all."""
    x, results = inputs(()), []
    for batch in (x, np.concatenate([x] * copies)):
        layer = ActivityPenalty(l1, l2)
        layer.forward(batch, True)
        pull = layer.backward(np.zeros_like(batch))
        results.append([layer.value, (pull * batch).sum()])
    np.testing.assert_allclose(*results, rtol=1e-12)


def law_evaluation_is_the_identity_both_ways():
    layer, x = ActivityPenalty(0.5, 0.5), inputs(())
    layer.forward(x, True)
    value = layer.value
    assert layer.forward(2 * x, False) is not None
    np.testing.assert_array_equal(layer.forward(2 * x, False), 2 * x)
    np.testing.assert_array_equal(layer.backward(x), x)
    assert layer.value == value  # still that of the last training pass


def test_evaluation_is_the_identity_both_ways():
    law_evaluation_is_the_identity_both_ways()


def law_an_activation_of_zero_is_not_pulled():
    layer = ActivityPenalty(0.5, 0.5)
    layer.forward(np.array([[0.0, 2.0, -2.0]]), True)
    np.testing.assert_allclose(layer.backward(np.zeros((1, 3))), [[0.0, 2.5, -2.5]])


def test_an_activation_of_zero_is_not_pulled():
    law_an_activation_of_zero_is_not_pulled()


def law_each_batch_is_penalized_at_its_own_activations():
    layer, x = ActivityPenalty(l2=0.5), inputs(())
    for batch in (x, 3 * x):
        layer.forward(batch, True)
        np.testing.assert_allclose(layer.backward(np.zeros_like(x)), batch / 5)
        np.testing.assert_allclose(layer.value, by_hand(batch, 0, 0.5))


def test_each_batch_is_penalized_at_its_own_activations():
    law_each_batch_is_penalized_at_its_own_activations()


def test_without_strengths_it_does_nothing():
    layer, x = ActivityPenalty(), inputs(())
    layer.forward(x, True)
    np.testing.assert_array_equal(layer.backward(x), x)
    assert layer.value == 0


# -- in training ---------------------------------------------------------------------------------------------


def make(l1=0.0, l2=0.0, **options):
    return Network(Dense(8, 16), ReLU(), ActivityPenalty(l1, l2), Dense(16, 3), **options)


def trained(l1=0.0, l2=0.0, *, optimizer=None, epochs=EPOCHS, **options):
    net = make(l1, l2, **options)
    fit(net, X, Y, optimizer or SGD(RATE, momentum=MOMENTUM), epochs=epochs, batch_size=BATCH)
    return net


def test_on_a_linear_layer_it_is_a_ridge_with_the_features_as_weights():
    """l2 (1/B) sum (x w)^2 added to (1/B) sum (x w - y)^2 divides the least squares solution by 1 + l2."""
    y, l2 = X @ np.arange(8.0)[:, None], 0.5
    net = Network(Dense(8, 1), ActivityPenalty(l2=l2))
    fit(net, X - X.mean(0), y - y.mean(), SGD(0.1), epochs=400, batch_size=len(X), loss=squared_error)
    np.testing.assert_allclose(net.layers[0].W[:, 0], np.arange(8) / (1 + l2), rtol=1e-9, atol=1e-9)


def test_l1_makes_relu_units_sparse():
    shares = []
    for l1 in (0.0, 0.03):
        net = trained(l1, seeds=range(4), optimizer=Adam(0.01))
        net(X)
        shares.append(net.layers[1].on.mean((-1, -2)))
    assert (shares[1] < 0.8 * shares[0]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_member_is_the_network_trained_alone(dtype):
    """Strengths x seeds, bit for bit."""
    l1, seeds = np.array([[0.0], [0.02]]), np.tile([3, 0, 8], (2, 1))
    together = trained(l1, [0.0, 0.01, 0.1], seeds=seeds, dtype=dtype, epochs=2)
    assert together.theta.dtype == together.layers[2].value.dtype == dtype
    for k, s in np.ndindex(2, 3):
        alone = trained(l1[k, 0], [0.0, 0.01, 0.1][s], seeds=seeds[k, s], dtype=dtype, epochs=2)
        np.testing.assert_array_equal(together.theta[k, s], alone.theta)
        np.testing.assert_array_equal(together.layers[2].value[k, s], alone.layers[2].value)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, [0.1, -1], [], "0.1", None])
def test_strengths_are_not_negative(bad):
    with refused("l1"):
        ActivityPenalty(l1=bad)
    with refused("l2"):
        ActivityPenalty(l2=bad)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_strengths_broadcast_to_the_members(name):
    with refused(f"ActivityPenalty.{name}", ValueError):
        Network(ActivityPenalty(**{name: [0.1, 0.2]}), seeds=[0, 1, 2])


def test_before_training_there_is_no_value():
    layer = ActivityPenalty(0.1)
    layer.forward(X, False)
    with refused("value", ValueError):
        _ = layer.value


# -- Keras ---------------------------------------------------------------------------------------------------

L1, L2 = 2**-7, 2**-6


@pytest.mark.keras
@pytest.mark.parametrize(("l1", "l2"), [(L1, 0.0), (0.0, L2), (L1, L2)])
def test_200_steps_reach_the_weights_of_keras(keras, l1, l2):
    """The layer ActivityRegularization; 5 batches of an epoch have 16 examples, the last has 6."""
    difference = steps_in_keras(
        partial(make, l1, l2), SGD(RATE, momentum=MOMENTUM), keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    )
    assert difference <= 1e-12
    assert relative(trained(l1, l2, seeds=5).theta, trained(seeds=5).theta) > 1e-3  # the penalty was felt


@pytest.mark.keras
def test_the_argument_of_keras_does_the_same(keras):
    """``activity_regularizer`` sees the output of its layer's activation."""

    def model(net):
        regularizer = keras.regularizers.L1L2(L1, L2)
        twin = keras.Sequential([
            keras.Input((8,)),
            keras.layers.Dense(16, "relu", dtype="float64", activity_regularizer=regularizer),
            keras.layers.Dense(3, dtype="float64"),
        ])  # fmt: skip
        twin.set_weights(
            [p.value.reshape(w.shape) for p, w in zip(net.parameters, twin.weights, strict=True)]
        )
        return twin

    assert steps_in_keras(partial(make, L1, L2), SGD(RATE), keras.optimizers.SGD(RATE), model=model) <= 1e-12


@pytest.mark.keras
def test_keras_divides_by_the_batch_and_reports_it_in_its_loss(keras):
    """Penalties on weights it divides by nothing; ``evaluate`` adds it, ours is the data loss alone."""
    net = make(L1, L2)
    net(X, train=True)
    model = to_keras(net)
    model(X[:10])
    net(X[:10], train=True)
    penalty = net.layers[2].value
    np.testing.assert_allclose(float(sum(model.losses)), penalty, rtol=1e-12)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    theirs = model.evaluate(X[:10], Y[:10], batch_size=10, verbose=0)
    np.testing.assert_allclose(theirs, evaluate(net, X[:10], Y[:10]).loss + penalty, rtol=1e-6)


# -- planted bugs --------------------------------------------------------------------------------------------

gradient = partial(law_backward_adds_the_derivative_of_the_value, (3,), STRENGTHS["both"])
images = partial(law_backward_adds_the_derivative_of_the_value, (3,), STRENGTHS["both"], (2, 2, 3))
mean = law_the_value_is_the_mean_over_the_examples
identity = law_evaluation_is_the_identity_both_ways


def backward(right, wrong, law):
    return Bug(ActivityPenalty, "backward", right, wrong, law)


BUGS = {
    "the batch size does not divide": backward("pull / batch", "pull", gradient),
    "every activation divides": backward("pull / batch", "pull / a.size", gradient),
    "the last axis is taken for the batch": backward("a.shape[len(self.lead)]", "a.shape[-2]", images),
    "a member is taken for the batch": backward("a.shape[len(self.lead)]", "a.shape[0]", gradient),
    "L2 lacks its 2": backward("2 * self", "self", gradient),
    "L1 pulls by the activation": backward("np.sign(a)", "a", gradient),
    "L1 pushes away from zero": backward("np.sign(a)", "-np.sign(a)", gradient),
    "an activation of zero is pulled": backward(
        "np.sign(a)", "(2 * (a >= 0) - 1)", law_an_activation_of_zero_is_not_pulled
    ),
    "the gradient that comes in is lost": backward("g + pull", "pull", gradient),
    "the gradient that comes in is overwritten": backward(
        "return g + pull / batch", "g += pull / batch; return g", gradient
    ),
    "evaluation is penalized": backward("not self.train", "False", identity),
    "evaluation overwrites the value": Bug(ActivityPenalty, "forward", "if train:", "if True:", identity),
    "a second pass is penalized at the first one's activations": Bug(
        ActivityPenalty, "forward", "if train:", 'if "a" not in vars(self):',
        law_each_batch_is_penalized_at_its_own_activations,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
