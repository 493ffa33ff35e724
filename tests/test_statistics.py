"""An interval of 95 % covers the truth 95 times in 100, and a verdict follows its rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_checks import refused

from regularize import statistics
from regularize.statistics import FEWEST_SEEDS, Interval, Verdicts, paired_difference, verdict

interval = statistics.interval


def law_intervals_cover_the_truth(seeds, level=0.95, repeats=2000):
    """The share of covering intervals lies within 4 binomial standard errors of the level."""
    rows = 2.0 + 3.0 * np.random.default_rng(0).standard_normal((repeats, seeds))
    found = [statistics.interval(row, level) for row in rows]
    share = np.mean([i.low <= 2.0 <= i.high for i in found])
    assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / repeats), share


@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize("seeds", [3, 20])
def test_intervals_cover_the_truth(seeds, level):
    law_intervals_cover_the_truth(seeds, level)


def law_an_interval_is_that_of_a_t_test():
    values = np.random.default_rng(0).standard_normal(25)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = statistics.interval(values)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-13)
    assert found.n == 25


def test_an_interval_is_that_of_a_t_test():
    law_an_interval_is_that_of_a_t_test()


def law_what_arms_share_cancels():
    """Shared noise of size 1, own noise of size 0.1: pairing makes the interval about ten times smaller."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(32)
    a, b = (shared + 0.1 * rng.standard_normal(32) for _ in range(2))
    paired = statistics.paired_difference(a, b)
    unpaired = np.hypot(interval(a).half_width, interval(b).half_width)
    assert paired.half_width < 0.2 * unpaired


def test_what_arms_share_cancels():
    law_what_arms_share_cancels()


arms = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


@given(a=arms)
@settings(max_examples=30)
def test_a_paired_difference_changes_sign_with_the_arms(a):
    a, b = np.array(a), np.array(a[::-1])
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.mean == -back.mean
    assert there.half_width == back.half_width
    same = paired_difference(a, a)
    assert (same.mean, same.half_width) == (0, 0)


def test_an_interval_in_other_units():
    i = Interval(0.02, 0.01, 32)
    assert 100 * i == i * 100 == Interval(2.0, 1.0, 32)
    assert i * -1 == Interval(-0.02, 0.01, 32)


@pytest.mark.parametrize(
    ("low", "high", "small", "expected"),
    [
        (0.1, 0.3, 0.0, "higher"),
        (-0.3, -0.1, 0.0, "lower"),
        (-0.1, 0.3, 0.0, "no detectable difference"),
        (0.0, 0.3, 0.0, "no detectable difference"),
        (-0.3, 0.0, 0.0, "no detectable difference"),
        (0.1, 0.3, 0.4, "small"),
        (-0.3, -0.1, 0.4, "small"),
        (0.1, 0.3, 0.2, "higher"),
        (-0.3, -0.1, 0.2, "lower"),
        (-0.1, 0.3, 0.4, "small"),
        (-0.1, 0.3, 0.2, "no detectable difference"),
    ],
)
def test_the_verdict_follows_the_rule(low, high, small, expected):
    difference = Interval((low + high) / 2, (high - low) / 2, 20)
    assert low * high != 0 or 0 in (difference.low, difference.high)  # a bound at 0 is exactly there
    assert verdict(difference, small) == expected


def law_few_seeds_have_no_verdict():
    with refused("difference", ValueError):
        statistics.verdict(Interval(1.0, 0.1, FEWEST_SEEDS - 1))
    assert statistics.verdict(Interval(1.0, 0.1, FEWEST_SEEDS)) == "higher"


def test_few_seeds_have_no_verdict():
    law_few_seeds_have_no_verdict()


def test_an_interval_prints_its_sign_and_its_width():
    i = Interval(-0.1454, 0.0256, 32)
    assert f"{i:+.3f}" == f"{i}" == "-0.145 ± 0.026"
    assert f"{-1 * i:+.2f}" == "+0.15 ± 0.03"
    assert f"{-1 * i:.1f}" == "0.1 ± 0.0"
    assert str(i) == "-0.145 ± 0.026 (32 seeds)"


@pytest.mark.parametrize("bad", [[1.0], [], [[1.0, 2.0]], [1.0, np.nan], [1.0, np.inf], ["a", "b"], None])
def test_values_are_one_finite_number_for_each_of_several_seeds(bad):
    with refused("values"):
        interval(bad)


def test_arms_must_be_paired():
    with refused("b", ValueError):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
    with refused("b", ValueError):
        paired_difference([1.0, 2.0], [1.0, np.nan])
    with refused("a", ValueError):
        paired_difference([[1.0, 2.0]], [1.0, 2.0])


@given(level=st.floats().filter(lambda v: not 0 < v < 1))
@settings(max_examples=20)
def test_a_level_lies_between_zero_and_one(level):
    with refused("level", ValueError):
        interval([1.0, 2.0], level)
    with refused("level", ValueError):
        paired_difference([1.0, 2.0], [2.0, 4.0], level)


@pytest.mark.parametrize("bad", [-0.1, np.nan, "tiny"])
def test_small_is_a_size(bad):
    with refused("small"):
        verdict(Interval(1.0, 0.1, 20), bad)


def test_within_asks_for_the_whole_interval():
    assert Interval(0.1, 0.3, 20).within(0.41)
    assert Interval(-0.1, 0.3, 20).within(0.41)
    assert not Interval(0.1, 0.3, 20).within(0.4 - 1e-9)
    assert not Interval(-0.1, 0.3, 20).within(0.2)


def test_the_edges_of_the_rules():
    assert not Interval(0.5, 0.5, 20).within(1.0)  # it touches 1
    assert Interval(0.5, 0.5, 20).within(1.0 + 1e-9)
    assert verdict(Interval(0.5, 0.1, 20)) == "higher"  # nothing is small unless it is said
    for level in (0.0, 1.0):
        with refused("level", ValueError):
            interval(np.arange(5.0), level)
    for values in (np.zeros((2, 5)), np.float64(3.0)):
        with refused("values", ValueError):
            interval(values)
    with refused("b", ValueError):
        paired_difference(np.zeros(10), np.zeros((2, 5)))


def test_an_interval_of_float32_values_is_computed_in_float64():
    values = np.float32(1e4) + np.arange(20, dtype=np.float32)
    assert interval(values) == interval(values.astype(np.float64))


# --- Verdicts that are counted ------------------------------------------------------------------------------


def test_verdicts_are_those_of_the_rule_and_counted_once():
    decide = Verdicts()
    clear, narrow, none = Interval(1.0, 0.1, 20), Interval(-1.0, 0.9, 20), Interval(0.1, 0.2, 20)
    assert [decide(d) for d in (clear, narrow, none)] == [verdict(d) for d in (clear, narrow, none)]
    assert decide(none, small=0.5) == "small"  # the same interval, asked once more
    assert str(decide) == (
        "intervals judged: 3, of which 5 %: 0.1\n2 exclude zero, 1 of them narrowly (mean < 1.5 half-widths)"
    )


def test_a_refused_interval_is_not_counted():
    decide = Verdicts()
    with refused("difference: expected at least 20 seeds, got 19"):
        decide(Interval(1.0, 0.1, 19))
    assert decide.judged == set()


def test_a_mean_of_exactly_one_and_a_half_half_widths_is_not_narrow():
    decide = Verdicts()
    decide(Interval(1.5, 1.0, 20))
    decide(Interval(1.0, 1.0, 20))  # touches zero: excludes nothing
    assert "1 exclude zero, 0 of them narrowly" in str(decide)
