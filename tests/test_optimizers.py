"""An optimizer turns gradients into steps as its formula says, member by member."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused

from regularize.optimizers import SGD, Adam
from regularize.penalties import L2


def run(optimizer, gradients, theta=None):
    theta = np.zeros(gradients[0].shape) if theta is None else theta.copy()
    for g in gradients:
        optimizer.step(theta, g)
    return theta


def gradients(shape, steps=12):
    return list(np.random.default_rng(0).standard_normal((steps, *shape)))


def test_sgd_walks_against_the_gradient():
    g = np.array([2.0, -4.0])
    np.testing.assert_array_equal(run(SGD(0.25), [g]), [-0.5, 1.0])


def test_momentum_zero_is_plain_gradient_descent():
    g = gradients((3, 5))
    np.testing.assert_array_equal(run(SGD(0.1), g), run(SGD(0.1, momentum=0.0), g))
    np.testing.assert_allclose(run(SGD(0.1), g), -0.1 * np.sum(g, axis=0), rtol=1e-14)
    np.testing.assert_array_equal(run(SGD(0.1, momentum=np.zeros(3)), g), run(SGD(0.1), g))


def law_momentum_sums_a_geometric_series():
    """Under a constant gradient, step k is lr * (1 + m + ... + m^(k-1))."""
    m, steps, g = 0.5, 6, np.array([1.0, -2.0])
    expected = -0.125 * g * sum((1 - m ** (k + 1)) / (1 - m) for k in range(steps))
    np.testing.assert_allclose(run(SGD(0.125, momentum=m), [g] * steps), expected, rtol=1e-14)


def test_momentum_sums_a_geometric_series():
    law_momentum_sums_a_geometric_series()


def law_the_first_step_of_adam_has_the_size_of_the_learning_rate(scale):
    theta = run(Adam(0.01), [scale * np.array([1.0, -3.0, 0.2])])
    np.testing.assert_allclose(theta, [-0.01, 0.01, -0.01], rtol=1e-4)


@settings(max_examples=30)
@given(scale=st.floats(0, 6).map(lambda e: 10**e))
def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(scale):
    law_the_first_step_of_adam_has_the_size_of_the_learning_rate(scale)


def law_adam_is_its_formula():
    """Kingma and Ba's sums, with Keras's epsilon: gradients near epsilon show where it stands."""
    lr, b1, b2, eps = 0.01, 0.8, 0.95, 1e-3
    gs = [1e-3 * g for g in gradients((4,), steps=9)]
    theta = np.zeros(4)
    for t in range(1, len(gs) + 1):
        m = sum((1 - b1) * b1 ** (t - i) * gs[i - 1] for i in range(1, t + 1))
        v = sum((1 - b2) * b2 ** (t - i) * gs[i - 1] ** 2 for i in range(1, t + 1))
        theta -= lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    np.testing.assert_allclose(run(Adam(lr, b1, b2, eps), gs), theta, rtol=1e-12)


def test_adam_is_its_formula():
    law_adam_is_its_formula()


MAKERS = {
    "SGD": lambda h: SGD(h),
    "momentum": lambda h: SGD(0.1, momentum=h),
    "both": lambda h: SGD(h, momentum=h),
    "Adam": lambda h: Adam(h),
    "Adam beta1": lambda h: Adam(0.1, beta1=h),
    "Adam beta2": lambda h: Adam(0.1, beta2=h),
    "Adam epsilon": lambda h: Adam(0.1, epsilon=h),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3)])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_array_of_rates_is_one_rate_for_each_member(make, shape, dtype):
    """Bit for bit. P = 3 equals the number of seeds: a rate on the wrong axis would not raise."""
    lead, h = (2, 3), np.random.default_rng(1).uniform(0.1, 0.9, shape)
    gs = [g.astype(dtype) for g in gradients((*lead, 3))]
    together = run(make(h), gs, np.zeros((*lead, 3), dtype))
    assert together.dtype == dtype
    for s in np.ndindex(lead):
        alone = run(make(float(np.broadcast_to(h, lead)[s])), [g[s] for g in gs], np.zeros(3, dtype))
        np.testing.assert_array_equal(together[s], alone)


def test_steps_are_taken_in_place_and_leave_the_gradient_alone():
    for optimizer in (SGD(0.1), SGD(0.1, 0.9), Adam(0.1)):
        theta, g = np.ones((2, 3)), np.full((2, 3), 0.5)
        view = theta[:1]
        for _ in range(2):
            optimizer.step(theta, g)
        assert (view < 1).all()
        assert (g == 0.5).all()


def law_sgd_with_l2_shrinks_by_two_lr_lambda():
    """The gradient of lam w^2 is 2 lam w: without other gradients a step moves w by -2 lr lam w."""
    w, lr, lam = np.array([1.0, -3.0]), 0.125, 0.25
    np.testing.assert_allclose(run(SGD(lr), [L2(lam).gradient(w)], w), w * (1 - 2 * lr * lam), rtol=1e-15)


def test_sgd_with_l2_shrinks_by_two_lr_lambda():
    law_sgd_with_l2_shrinks_by_two_lr_lambda()


@pytest.mark.parametrize("bad", [0, -0.1, np.nan, np.inf, "0.1", None, [], [0.1, -0.1]])
def test_learning_rates_are_positive(bad):
    for optimizer in (SGD, Adam):
        with refused("learning_rate"):
            optimizer(bad)
    with refused("epsilon"):
        Adam(epsilon=bad)


outside = st.one_of(
    st.floats(min_value=1), st.floats(max_value=0, exclude_max=True), st.sampled_from([np.nan, "0.9", None])
)


@given(bad=outside)
@settings(max_examples=30)
def test_momentum_and_betas_lie_in_zero_to_one(bad):
    with refused("momentum"):
        SGD(0.1, momentum=bad)
    with refused("beta1"):
        Adam(beta1=bad)
    with refused("beta2"):
        Adam(beta2=bad)


def test_learning_rates_are_those_of_keras_if_not_given():
    assert (SGD().learning_rate, SGD().momentum) == (0.01, 0.0)
    adam = Adam()
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-7)
