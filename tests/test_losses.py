"""A loss is the mean over the examples, its gradient agrees, and no logit is too large for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from test_checks import refused
from test_layers import LEADS, WORST

from regularize import losses
from regularize.numerical import numerical_gradient, relative_error

NAMES = ["cross_entropy", "squared_error"]


def outputs_and_targets(lead, batch=4, k=3, soft=True):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((*lead, batch, k)), rng.random((*lead, batch, k))
    y = y / y.sum(-1, keepdims=True) if soft else np.eye(k)[rng.integers(k, size=(*lead, batch))]
    return z, y


def law_the_gradient_is_that_of_finite_differences(name, lead, soft=True):
    loss = getattr(losses, name)
    z, y = outputs_and_targets(lead, soft=soft)
    value, gradient = loss(z, y)
    assert value.shape == lead
    error = relative_error(gradient, numerical_gradient(lambda: loss(z, y)[0], z, lead))
    assert error <= WORST, error
    return error


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences(name, lead, soft):
    law_the_gradient_is_that_of_finite_differences(name, lead, soft)


def law_the_value_is_the_formula():
    z, y = outputs_and_targets((2,))
    cross_entropy, squared_error = (getattr(losses, name)(z, y)[0] for name in NAMES)
    np.testing.assert_allclose(cross_entropy, -(y * log_softmax(z, -1)).sum(-1).mean(-1), rtol=1e-14)
    np.testing.assert_allclose(squared_error, ((z - y) ** 2).sum(-1).mean(-1), rtol=1e-14)


def test_the_value_is_the_formula():
    law_the_value_is_the_formula()


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_averaged(name):
    """Twice the same batch: the same value, and half the weight for each example."""
    z, y = outputs_and_targets(())
    value, gradient = getattr(losses, name)(z, y)
    double, halves = getattr(losses, name)(np.concatenate([z, z]), np.concatenate([y, y]))
    np.testing.assert_allclose(double, value, rtol=1e-14)
    np.testing.assert_allclose(halves, np.concatenate([gradient, gradient]) / 2, rtol=1e-14)


def law_large_logits_neither_overflow_nor_vanish():
    z, y = np.array([[1000.0, 0.0, -1000.0]]), np.eye(3)
    values = [float(losses.cross_entropy(z, y[[i]])[0]) for i in range(3)]
    np.testing.assert_allclose(values, [0, 1000, 2000])
    np.testing.assert_allclose(losses.cross_entropy(z, y[[2]])[1], [[1, 0, -1]])


def test_large_logits_neither_overflow_nor_vanish():
    law_large_logits_neither_overflow_nor_vanish()


@settings(max_examples=25)
@given(shift=st.floats(-1e3, 1e3))
def test_cross_entropy_does_not_see_a_common_shift_of_the_logits(shift):
    z, y = outputs_and_targets(())
    np.testing.assert_allclose(
        losses.cross_entropy(z + shift, y)[0], losses.cross_entropy(z, y)[0], rtol=1e-10
    )


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    np.testing.assert_allclose(losses.cross_entropy(np.zeros((5, 10)), np.eye(10)[:5])[0], np.log(10))


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_keeps_its_precision(name):
    z, y = (a.astype(np.float32) for a in outputs_and_targets((2,)))
    value, gradient = getattr(losses, name)(z, y)
    assert value.dtype == gradient.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple))
@settings(max_examples=25)
def test_targets_of_another_shape_are_refused(name, shape):
    if shape[-2:] == (4, 3):
        return
    with refused("y", ValueError):
        getattr(losses, name)(np.zeros((4, 3)), np.zeros(shape))
