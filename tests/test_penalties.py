"""A penalty's gradient agrees with its value, and its proximal step minimizes what it says it does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from test_checks import refused
from test_layers import LEADS, WORST

from regularize.numerical import numerical_gradient, relative_error
from regularize.penalties import L1, L2, ElasticNet

PENALTIES = {"L1": L1(0.3), "L2": L2(0.7), "elastic net": ElasticNet(0.3, 0.7), "none": ElasticNet()}
MASK = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
strength = st.floats(0, 10)
number = st.floats(-10, 10)


def weights(lead):
    """Never near 0, where |w| has no derivative."""
    w = np.random.default_rng(0).standard_normal((*lead, 5))
    return np.where(np.abs(w) < 1e-2, 0.5, w)


def law_the_gradient_is_that_of_finite_differences(penalty, lead, mask=1.0):
    w = weights(lead)
    assert np.shape(penalty.value(w, mask)) == lead
    numerical = numerical_gradient(lambda: penalty.value(w, mask), w, lead)
    error = relative_error(penalty.gradient(w, mask), numerical)
    assert error <= WORST, error
    return error


@pytest.mark.parametrize("mask", [1.0, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_the_gradient_is_that_of_finite_differences(penalty, lead, mask):
    law_the_gradient_is_that_of_finite_differences(penalty, lead, mask)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3), (1, 3)])
def test_an_array_of_strengths_is_one_strength_for_each_member(shape):
    """Bit for bit: value, gradient and proximal step."""
    lead, rng = (2, 3), np.random.default_rng(1)
    l1, l2, step = (rng.random(shape) for _ in range(3))
    l1.flat[0] = 0
    for dtype in (np.float64, np.float32):
        w, mask = weights(lead).astype(dtype), MASK.astype(dtype)
        together = ElasticNet(l1, l2)
        for s in np.ndindex(lead):
            h1, h2, h = (float(np.broadcast_to(a, lead)[s]) for a in (l1, l2, step))
            alone = ElasticNet(h1, h2)
            assert together.value(w, mask)[s] == alone.value(w[s], mask)
            np.testing.assert_array_equal(together.gradient(w, mask)[s], alone.gradient(w[s], mask))
            np.testing.assert_array_equal(together.prox(w, step, mask)[s], alone.prox(w[s], h, mask))


def law_values_are_sums_of_absolute_values_and_of_squares():
    w = np.array([3.0, -4.0])
    assert L1(0.5).value(w) == 0.5 * 7
    assert L2(0.5).value(w) == 0.5 * 25
    assert ElasticNet(0.5, 0.25).value(w) == 0.5 * 7 + 0.25 * 25


def test_values_are_sums_of_absolute_values_and_of_squares():
    law_values_are_sums_of_absolute_values_and_of_squares()


def objective(v, w, step, l1, l2):
    return (v - w) ** 2 / (2 * step) + l1 * abs(v) + l2 * v * v


def law_prox_minimizes_its_objective(w, step, l1, l2):
    best = float(ElasticNet(l1, l2).prox(np.array([w]), step)[0])
    found = minimize_scalar(objective, args=(w, step, l1, l2), bounds=(-11, 11), method="bounded")
    at_best = objective(best, w, step, l1, l2)
    assert at_best <= objective(found.x, w, step, l1, l2) + 1e-12 * (1 + abs(at_best))
    assert at_best <= objective(0.0, w, step, l1, l2) * (1 + 1e-15)
    assert abs(best) <= abs(w)  # it shrinks,
    assert best * w >= 0  # and never changes the sign


@given(w=number, step=st.floats(1e-3, 10), l1=strength, l2=strength)
@settings(max_examples=80)
def test_prox_minimizes_its_objective(w, step, l1, l2):
    law_prox_minimizes_its_objective(w, step, l1, l2)


def law_l1_prox_sets_small_weights_to_exactly_zero():
    w = np.array([-2.0, -0.5, -0.1, 0.0, 0.1, 0.5, 2.0])
    np.testing.assert_array_equal(L1(1.0).prox(w, 0.5), [-1.5, 0, 0, 0, 0, 0, 1.5])


def test_l1_prox_sets_small_weights_to_exactly_zero():
    law_l1_prox_sets_small_weights_to_exactly_zero()


@given(w=st.lists(number, min_size=5, max_size=5), step=st.floats(1e-3, 10), lam=strength)
@settings(max_examples=40)
def test_prox_in_closed_form(w, step, lam):
    w = np.array(w)
    np.testing.assert_allclose(L2(lam).prox(w, step), w / (1 + 2 * step * lam), rtol=1e-15)
    soft = np.sign(w) * np.maximum(np.abs(w) - step * lam, 0)
    np.testing.assert_array_equal(L1(lam).prox(w, step), soft)
    np.testing.assert_array_equal(ElasticNet(lam, 0).prox(w, step), soft)
    np.testing.assert_array_equal(ElasticNet(0, lam).prox(w, step), L2(lam).prox(w, step))


@given(w=st.lists(number, min_size=5, max_size=5), lam=strength)
@settings(max_examples=20)
def test_the_elastic_net_without_one_part_is_the_other_penalty(w, lam):
    w = np.array(w)
    for net, single in ((ElasticNet(lam, 0), L1(lam)), (ElasticNet(0, lam), L2(lam))):
        assert net.value(w) == single.value(w)
        np.testing.assert_array_equal(net.gradient(w), single.gradient(w))


@pytest.mark.parametrize("penalty", [L1(0), L2(0), ElasticNet()])
def test_without_strength_a_penalty_does_nothing(penalty):
    w = weights((2,))
    assert not penalty.value(w).any()
    assert not penalty.gradient(w).any()
    np.testing.assert_array_equal(penalty.prox(w, 0.1), w)


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_what_the_mask_leaves_out_is_left_alone(penalty):
    w, off = weights((2,)), MASK == 0
    assert not penalty.gradient(w, MASK)[:, off].any()
    np.testing.assert_array_equal(penalty.prox(w, 0.1, MASK)[:, off], w[:, off])
    np.testing.assert_allclose(penalty.value(w, MASK), penalty.value(w[:, ~off]), rtol=1e-15)


def test_prox_returns_a_new_array_and_keeps_the_precision():
    w = weights(()).astype(np.float32)
    kept = w.copy()
    v = ElasticNet(0.1, 0.1).prox(w, 0.5)
    assert v.dtype == ElasticNet(0.1, np.float64(0.1)).gradient(w).dtype == np.float32
    np.testing.assert_array_equal(w, kept)


def test_the_subgradient_of_l1_at_zero_is_zero():
    assert L1(3.0).gradient(np.zeros(2)).tolist() == [0, 0]


bad_strength = st.one_of(
    st.floats(max_value=0, exclude_max=True), st.sampled_from([np.nan, np.inf, "0.1", None, [], [0.1, -0.1]])
)


@given(bad=bad_strength)
@settings(max_examples=30)
def test_strengths_are_finite_and_not_negative(bad):
    for penalty, name in ((L1, "lam"), (L2, "lam"), (ElasticNet, "l1"), (lambda v: ElasticNet(0, v), "l2")):
        with refused(name):
            penalty(bad)


@pytest.mark.parametrize("step", [0, -1.0, np.nan, "1"])
def test_a_step_is_positive(step):
    with refused("step"):
        L1(0.1).prox(np.ones(3), step)
