"""Finite differences: right where the derivative is known, and not fooled by what members share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused
from test_layers import LEADS

from regularize.numerical import numerical_gradient, relative_error


def array(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_the_gradient_of_a_known_function(lead, shape):
    a = array(*lead, *shape)
    kept = a.copy()
    axes = tuple(range(len(lead), a.ndim))
    gradient = numerical_gradient(lambda: (a**3 + np.sin(a)).sum(axes), a, lead)
    np.testing.assert_allclose(gradient, 3 * a**2 + np.cos(a), rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(a, kept)  # what was moved is put back


def test_a_value_that_leaks_between_members_shows():
    a = array(3, 4)
    leaking = numerical_gradient(lambda: (a**2).sum(-1) + a[::-1].sum(-1), a, (3,))
    assert relative_error(leaking, 2 * a) > 0.1


def test_the_error_falls_with_the_square_of_the_step():
    a = array(4)
    errors = [
        relative_error(numerical_gradient(lambda: np.exp(a).sum(), a, step=h), np.exp(a)) for h in (0.1, 0.01)
    ]
    np.testing.assert_allclose(errors[0] / errors[1], 100, rtol=0.01)


def test_what_is_moved_is_put_back_even_after_an_error():
    a = array(3)
    kept = a.copy()
    with pytest.raises(ZeroDivisionError):
        numerical_gradient(lambda: 1 / 0, a)
    np.testing.assert_array_equal(a, kept)


numbers = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(np.array)


@given(a=numbers, b=numbers)
@settings(max_examples=40)
def test_the_relative_error_is_symmetric_and_zero_only_for_equals(a, b):
    assert relative_error(a, b) == relative_error(b, a) >= 0
    assert (relative_error(a, b) == 0) == np.array_equal(a, b)
    assert relative_error(a, a) == 0


def test_the_relative_error_is_relative_to_the_largest_entry():
    np.testing.assert_allclose(relative_error(np.array([100.0, 1e-3]), np.array([100.0, 2e-3])), 1e-5)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert not relative_error(np.array([np.nan]), np.zeros(1)) <= 1e-7  # NaN must never pass a test


@pytest.mark.parametrize("bad", [np.zeros(3, np.float32), [1.0], 1.0, np.zeros(3, int)])
def test_differences_need_float64(bad):
    with refused("a", TypeError):
        numerical_gradient(lambda: 0.0, bad)


@pytest.mark.parametrize("lead", [(2,), (4, 3), (3, 4, 1)])
def test_lead_must_be_the_first_axes(lead):
    a = array(3, 4)
    with refused("lead", ValueError):
        numerical_gradient(lambda: a.sum(), a, lead)


@pytest.mark.parametrize("step", [0, -1e-5, np.nan])
def test_a_step_is_positive(step):
    with refused("step", ValueError):
        numerical_gradient(lambda: 0.0, array(3), step=step)
