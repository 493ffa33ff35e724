"""Bad input is stopped at the door, by errors that name the argument, what was expected and what came."""

import math
import re
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regularize import checks

NOT_NUMBERS = ["0.1", None, {}, [[1], [1, 2]], 1j, object()]
any_float = st.floats(allow_nan=True, allow_infinity=True)

# What each check of a range lets through.
RANGES = {
    checks.nonnegative: lambda v: v >= 0,
    checks.positive: lambda v: v > 0,
    checks.rate: lambda v: 0 <= v < 1,
    checks.fraction: lambda v: 0 <= v <= 1,
}


@contextmanager
def refused(name, error=(ValueError, TypeError)):
    """The block must raise, and say which argument was wrong, what was expected and what came."""
    with pytest.raises(error) as caught:
        yield
    message = str(caught.value)
    assert message.startswith(name), message
    assert "expected" in message, message
    assert "got" in message, message


@pytest.mark.parametrize("check", RANGES)
@given(value=any_float)
@example(value=0.0)
@example(value=1.0)
@example(value=5e-324)
@example(value=np.nextafter(1, 2))
def test_a_range_takes_what_lies_in_it_and_refuses_the_rest(check, value):
    if math.isfinite(value) and RANGES[check](value):
        assert check("h", value) == value
    else:
        with refused("h", ValueError):
            check("h", value)


@pytest.mark.parametrize("check", RANGES)
@given(values=st.lists(any_float, max_size=4))
def test_a_range_of_an_array_holds_for_every_entry(check, values):
    if values and all(math.isfinite(v) and RANGES[check](v) for v in values):
        np.testing.assert_array_equal(check("h", values), values)
    else:
        with refused("h", ValueError):
            check("h", values)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("check", [*RANGES, checks.array, lambda name, v: checks.labels(name, v, 3)])
def test_what_is_no_number_has_the_wrong_type(check, value):
    with refused("h", TypeError):
        check("h", value)


@given(shape=st.lists(st.integers(0, 3), max_size=3).map(tuple), ndim=st.integers(0, 3))
def test_an_array_has_the_axes_asked_for_and_at_least_one_value(shape, ndim):
    a = np.ones(shape)
    if len(shape) == ndim and a.size:
        assert checks.array("x", a, ndim=ndim) is a  # what is right already is not copied
    else:
        with refused("x", ValueError):
            checks.array("x", a, ndim=ndim)
    if len(shape) < ndim:
        with refused("x", ValueError):
            checks.array("x", a, min_ndim=ndim)


@given(
    shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    last=st.lists(st.sampled_from([None, 1, 2, 3]), min_size=1, max_size=2).map(tuple),
)
def test_the_last_axes_of_an_array_have_the_sizes_asked_for(shape, last):
    fits = len(shape) >= len(last) and all(
        w in (None, s) for w, s in zip(last, shape[len(shape) - len(last) :], strict=False)
    )
    if fits:
        assert checks.array("x", np.ones(shape), shape=last).shape == shape
    else:
        with refused("x", ValueError):
            checks.array("x", np.ones(shape), shape=last)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(where=st.integers(0, 5))
def test_one_bad_value_spoils_an_array(bad, where):
    x = np.ones((2, 3))
    x.flat[where] = bad
    with refused("x", ValueError):
        checks.array("x", x)


def test_a_value_that_float32_cannot_hold_is_infinite():
    with refused("x", ValueError):
        checks.array("x", [1.0, 1e300], dtype=np.float32)


def test_whole_numbers_become_float64_and_floats_keep_their_precision():
    assert checks.array("x", [1, 2]).dtype == np.float64
    assert checks.array("x", np.ones(2, np.float32)).dtype == np.float32
    assert checks.array("x", np.ones(2), dtype=np.float32).dtype == np.float32


@given(value=st.integers(-3, 5), low=st.integers(-2, 2))
def test_an_integer_is_at_least_its_least_value(value, low):
    if value >= low:
        assert checks.integer("n", value, low=low) == checks.integer("n", np.int16(value), low=low) == value
    else:
        with refused("n", ValueError):
            checks.integer("n", value, low=low)


@pytest.mark.parametrize("value", [1.0, True, np.True_, "3", None, [2], np.array(2)])
def test_what_only_looks_like_an_integer_is_refused(value):
    with refused("n", TypeError):
        checks.integer("n", value)


whole = st.integers(0, 2**63 - 1)


@given(value=st.one_of(whole, st.lists(whole, min_size=1, max_size=4)))
def test_seeds_are_whole_numbers_of_any_shape(value):
    np.testing.assert_array_equal(checks.seeds(value), value)
    assert checks.seeds([value, value]).shape == (2, *np.shape(value))


def test_a_range_is_an_array_of_seeds():
    np.testing.assert_array_equal(checks.seeds(range(3)), [0, 1, 2])


@pytest.mark.parametrize(
    "value", [1.5, 1.0, True, [True, False], -1, [0, -3], "7", ["a"], None, [], range(0), 2**63, 2**70]
)
def test_what_is_no_seed_is_refused(value):
    with refused("seeds"):
        checks.seeds(value)


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    assert checks.choice("purpose", "init", ["init", "noise"]) == "init"
    with refused("purpose", ValueError):
        checks.choice("purpose", 3, ["init", "noise"])
    with pytest.raises(ValueError, match="did you mean 'noise'"):
        checks.choice("purpose", "nosie", ["init", "noise"])


sizes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@given(shape=sizes, lead=sizes)
def test_a_shape_broadcasts_exactly_when_numpy_can_stretch_it_to_lead(shape, lead):
    try:
        np.broadcast_to(np.zeros(shape), lead)
    except ValueError:
        with refused("lam", ValueError):
            checks.broadcasts("lam", shape, lead)
    else:
        checks.broadcasts("lam", shape, lead)


@given(values=st.lists(st.integers(-2, 5), max_size=4), classes=st.integers(1, 4))
def test_labels_lie_between_zero_and_the_number_of_classes(values, classes):
    if values and all(0 <= v < classes for v in values):
        np.testing.assert_array_equal(checks.labels("y", np.array(values), classes), values)
    else:
        with refused("y", ValueError):
            checks.labels("y", np.array(values, dtype=int), classes)


def test_labels_are_integers():
    with refused("y", TypeError):
        checks.labels("y", [0.0, 1.0], 3)


@pytest.mark.parametrize("value", ["float16", "int64", "flaot64", 3, [], complex, "half", {"x": 1}])
def test_only_two_precisions_are_known(value):
    with refused("dtype", ValueError):
        checks.dtype(value)
    assert checks.dtype("float32") == checks.dtype(np.float32) == np.dtype(np.float32)
    assert checks.dtype(float) == np.dtype(np.float64)


@settings(max_examples=30)
@given(value=any_float.filter(lambda v: not (math.isfinite(v) and v >= 0)))
def test_the_error_shows_the_value_that_came(value):
    with pytest.raises(ValueError, match="lam") as caught:
        checks.nonnegative("lam", value)
    assert str(value) in str(caught.value)
    with pytest.raises(ValueError, match=re.escape(f"got {value} and 1 more")):
        checks.nonnegative("lam", [value, 0.0, value])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.5, 2.5])
def test_a_number_lies_in_its_range(bad):
    with refused("h", ValueError):
        checks.number("h", bad, low=-1, high=2)
    assert [checks.number("h", good, low=-1, high=2) for good in (-1, 0.5, np.float32(2))] == [-1, 0.5, 2]
    assert isinstance(checks.number("h", np.float32(1)), float)


@pytest.mark.parametrize("bad", [[1.0], "1", None, 1j])
def test_a_number_is_one_number(bad):
    for check in (checks.number, checks.positive_number):
        with refused("h", TypeError):
            check("h", bad)


@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf])
def test_a_positive_number_is_positive(bad):
    with refused("h", ValueError):
        checks.positive_number("h", bad)
    assert checks.positive_number("h", 2) == 2.0


@pytest.mark.parametrize("bad", ["relu", None, 3, dict])
def test_a_function_can_be_called_and_is_no_class(bad):
    with refused("f", TypeError):
        checks.function("f", bad)
    assert checks.function("f", abs) is abs


MESSAGES = {
    "text for numbers": (lambda: checks.array("x", "a"), "x: expected an array of numbers, got str of <U1"),
    "ragged": (
        lambda: checks.array("x", [[1], [1, 2]]),
        "x: expected an array of numbers, got list of object",
    ),
    "axes": (lambda: checks.array("x", [1], ndim=2), "x: expected 2 axes, got shape (1,)"),
    "few axes": (lambda: checks.array("x", [1], min_ndim=2), "x: expected at least 2 axes, got shape (1,)"),
    "shape": (
        lambda: checks.array("x", [[1]], shape=(None, 2)),
        "x: expected shape (..., any, 2), got shape (1, 1)",
    ),
    "empty": (
        lambda: checks.array("x", []),
        "x: expected at least one value, got an empty array of shape (0,)",
    ),
    "NaN": (
        lambda: checks.array("x", [1, 2, np.nan]),
        "x: expected finite numbers, got 1 NaN or infinite value(s) out of 3",
    ),
    "negative": (lambda: checks.nonnegative("l", -1), "l: expected a finite number >= 0, got -1"),
    "some": (
        lambda: checks.nonnegative("l", [-2, 3, -1, -4]),
        "l: expected a finite number >= 0, got -2 and 2 more",
    ),
    "zero": (lambda: checks.positive("l", 0), "l: expected a finite number > 0, got 0"),
    "none": (lambda: checks.positive("l", []), "l: expected a finite number > 0, got an empty array"),
    "kind": (lambda: checks.rate("p", "a"), "p: expected a rate in [0, 1), got str of <U1"),
    "one": (lambda: checks.rate("p", 1), "p: expected a rate in [0, 1), got 1"),
    "two": (lambda: checks.fraction("p", 2), "p: expected a fraction in [0, 1], got 2"),
    "numbers": (lambda: checks.number("h", [1]), "h: expected one finite number, got an array of shape (1,)"),
    "range": (lambda: checks.number("h", 3, low=1, high=2), "h: expected one number in [1, 2], got 3"),
    "from": (lambda: checks.number("h", 3, high=2), "h: expected one number in [-inf, 2], got 3"),
    "text": (lambda: checks.number("h", "a"), "h: expected one finite number, got str of <U1"),
    "positives": (
        lambda: checks.positive_number("h", [1, 2]),
        "h: expected one number > 0, got an array of shape (2,)",
    ),
    "no integer": (lambda: checks.integer("n", 2.0), "n: expected an integer >= 1, got 2.0 (float)"),
    "low": (lambda: checks.integer("n", 0), "n: expected an integer >= 1, got 0"),
    "seeds": (
        lambda: checks.seeds(1.5),
        "seeds: expected a non-negative integer, or an array of them, got float of float64",
    ),
    "no seeds": (
        lambda: checks.seeds(range(0)),
        "seeds: expected a non-negative integer, or an array of them, got an empty array of shape (0,)",
    ),
    "below": (
        lambda: checks.seeds([1, -2]),
        "seeds: expected a non-negative integer, or an array of them, got -2",
    ),
    "above": (
        lambda: checks.seeds(np.uint64(2**63)),
        "seeds: expected seeds below 2**63, got 9223372036854775808",
    ),
    "unknown": (lambda: checks.choice("c", "zzz", ["aa", "b"]), "c: expected one of 'aa', 'b', got 'zzz'"),
    "near": (
        lambda: checks.choice("c", "lasso1", ["lasso", "lassos"]),
        "c: expected one of 'lasso', 'lassos', got 'lasso1'; did you mean 'lasso'?",
    ),
    "function": (lambda: checks.function("f", "relu"), "f: expected a function, got 'relu'"),
    "axes of members": (
        lambda: checks.broadcasts("h", (2,), (3,)),
        "h: expected a shape that broadcasts to the ensemble axes (3,), got shape (2,)",
    ),
    "labels": (lambda: checks.labels("y", [0.5], 3), "y: expected integer labels in 0..2, got dtype float64"),
    "no labels": (
        lambda: checks.labels("y", np.zeros(0, int), 3),
        "y: expected integer labels in 0..2, got an empty array of shape (0,)",
    ),
    "label": (
        lambda: checks.labels("y", [1, 3], 3),
        "y: expected integer labels in 0..2, got labels from 1 to 3",
    ),
    "text labels": (lambda: checks.labels("y", "a", 3), "y: expected integer labels in 0..2, got str of <U1"),
    "dtype": (lambda: checks.dtype("float16"), "dtype: expected float64 or float32, got 'float16'"),
}


@pytest.mark.parametrize(("call", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_names_the_argument_and_says_what_was_expected_and_what_came(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message


def test_the_largest_seed_is_taken_and_types_are_those_promised():
    assert checks.seeds(np.uint64(2**63 - 1)) == 2**63 - 1
    assert checks.seeds(np.uint8(3)).dtype == checks.labels("y", np.uint8([1]), 2).dtype == np.int64
    assert checks.seeds(range(3)).dtype == np.int64
