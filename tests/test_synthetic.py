"""Laws of the generators: what is random, what is nested, and that the truth is what is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regularize import synthetic
from regularize.streams import Streams
from regularize.synthetic import (
    add_noise_features,
    correlated_groups,
    polynomial_problem,
    polynomial_truth,
    sparse_regression,
)

GENERATORS = {
    "polynomial": lambda seeds, n, noise=0.2: polynomial_problem(seeds, n, noise=noise),
    "sparse": lambda seeds, n, noise=1.0: sparse_regression(seeds, n, 7, 3, noise, correlation=0.5),
    "groups": lambda seeds, n, noise=1.0: correlated_groups(seeds, n, noise=noise),
    "noise features": lambda seeds, n: (add_noise_features(np.ones((n, 2)), seeds, 3),),
}
NOISY = [make for name, make in GENERATORS.items() if name != "noise features"]
each = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS.keys())
each_noisy = pytest.mark.parametrize("make", NOISY)


@each
@pytest.mark.parametrize("seeds", [[7, 3, 11], [[7, 3], [3, 0]]])
def test_a_member_is_bit_for_bit_what_its_seed_gives_alone(make, seeds):
    together = make(seeds, 12)
    for member, seed in np.ndenumerate(np.array(seeds)):
        for a, b in zip(together, make(int(seed), 12), strict=True):
            assert a.shape[: np.ndim(seeds)] == np.shape(seeds)
            assert a[member].tobytes() == b.tobytes()


@each
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(make):
    for small, big in zip(make([0, 1], 5), make([0, 1], 50), strict=True):
        axis_n = big.shape[1] == 50  # the true coefficients have no axis of examples
        np.testing.assert_array_equal(small, big[:, :5] if axis_n else big)


@each
def test_seeds_differ(make):
    x = make(range(10), 8)[0]
    assert len({member.tobytes() for member in x}) == 10


@each_noisy
def test_noise_level_scales_the_same_noise(make):
    (x, clean), (x1, y1), (x2, y2) = (make(0, 30, noise)[:2] for noise in (0.0, 1.0, 2.0))
    np.testing.assert_array_equal(x, x1)
    np.testing.assert_array_equal(x, x2)
    np.testing.assert_allclose(y2 - clean, 2 * (y1 - clean), atol=1e-12)


@each_noisy
def test_noise_has_the_asked_standard_deviation_and_knows_nothing_of_x(make):
    n = 20_000
    (x, clean), (_, y) = (make(0, n, noise)[:2] for noise in (0.0, 3.0))
    noise = y - clean
    assert noise.mean() == pytest.approx(0, abs=4 * 3 / np.sqrt(n))
    assert noise.std() == pytest.approx(3, rel=4 / np.sqrt(2 * n))
    for column in x.reshape(n, -1).T:
        assert abs(np.corrcoef(column, noise)[0, 1]) < 5 / np.sqrt(n)


@each_noisy
def test_a_noise_level_per_member(make):
    seeds, levels = [[1, 2, 3]] * 2, [[0.0], [2.0]]
    y = make(seeds, 10, levels)[1]
    for k, level in enumerate((0.0, 2.0)):
        np.testing.assert_array_equal(y[k], make([1, 2, 3], 10, level)[1])


def test_polynomial_problem_is_sin_3x_on_minus_1_to_1():
    x, y = polynomial_problem(0, 10_000, noise=0.0)
    assert x.shape == y.shape == (10_000,)
    np.testing.assert_array_equal(y, np.sin(3 * x))
    np.testing.assert_array_equal(y, polynomial_truth(x))
    assert x.min() >= -1
    assert x.max() < 1
    assert np.histogram(x, 10, (-1, 1))[0] == pytest.approx([1000] * 10, abs=4 * np.sqrt(900))


@given(st.integers(1, 12), st.data())
@settings(deadline=None)
def test_sparse_truth(p, data):
    nonzero = data.draw(st.integers(0, p))
    x, y, coef = sparse_regression([0, 1], 4, p, nonzero, 0.0, signal=2.0)
    assert x.shape == (2, 4, p)
    assert y.shape == (2, 4)
    assert ((coef != 0).sum(-1) == nonzero).all()
    assert set(np.abs(coef[coef != 0])) <= {2.0}
    np.testing.assert_allclose(y, (x @ coef[..., None])[..., 0], atol=1e-12)


def test_sparse_truth_lies_anywhere_with_either_sign_and_is_nested():
    few = sparse_regression(range(300), 1, 10, 3, 1.0)[2]
    more = sparse_regression(range(300), 1, 10, 5, 1.0)[2]
    np.testing.assert_array_equal(few[few != 0], more[few != 0])
    assert (few != 0).mean(0) == pytest.approx([0.3] * 10, abs=4 * np.sqrt(0.21 / 300))
    assert (few > 0).sum() == pytest.approx(450, abs=4 * np.sqrt(225))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_sparse_features_are_correlated_by_distance(rho):
    n = 40_000
    x = sparse_regression(0, n, 5, 2, 1.0, correlation=rho)[0]
    distance = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    np.testing.assert_allclose(x.T @ x / n, rho**distance, atol=5 * np.sqrt(2 / n))


def test_groups_are_nearly_identical_inside_and_independent_outside():
    n = 20_000
    x, _, coef = correlated_groups(0, n, groups=2, size=3, irrelevant=2, spread=0.1)
    assert x.shape == (n, 8)
    np.testing.assert_array_equal(coef, [3] * 6 + [0] * 2)
    group = np.array([0, 0, 0, 1, 1, 1, 2, 3])
    expected = (group[:, None] == group) + np.diag([0.01] * 6 + [0] * 2)
    np.testing.assert_allclose(x.T @ x / n, expected, atol=5 * np.sqrt(2.1 / n))


def test_groups_without_spread_are_identical():
    x = correlated_groups([0, 1], 20, groups=2, size=3, irrelevant=0, spread=0.0)[0]
    np.testing.assert_array_equal(x, np.repeat(x[..., [0, 3]], 3, axis=-1))


def test_group_defaults_are_zou_and_hasties():
    x, y, coef = correlated_groups(0, 50)
    assert x.shape == (50, 40)
    np.testing.assert_array_equal(coef, [3] * 15 + [0] * 25)
    assert np.std(y - x @ coef) == pytest.approx(15, rel=0.4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_noise_features_keep_x_and_add_standard_normal_columns(dtype):
    x = np.arange(4000.0).reshape(2000, 2).astype(dtype)
    wide = add_noise_features(x, [0, 1], 5)
    assert wide.shape == (2, 2000, 7)
    assert wide.dtype == dtype
    np.testing.assert_array_equal(wide[..., :2], np.stack([x, x]))
    assert wide[..., 2:].mean((0, 1)) == pytest.approx([0] * 5, abs=4 / np.sqrt(4000))
    assert wide[..., 2:].std((0, 1)) == pytest.approx([1] * 5, abs=4 / np.sqrt(8000))


@pytest.mark.parametrize("make", [GENERATORS["sparse"], GENERATORS["groups"]])
def test_noise_features_share_no_numbers_with_features_of_the_same_seed(make):
    x = make([0, 1], 40)[0]
    d = x.shape[-1]
    noise = add_noise_features(x, [0, 1], d)[..., d:]
    normals = synthetic.Streams([0, 1], "data").normal((40 * 60,))
    assert not np.isin(noise, x).any()
    assert not np.isin(noise, normals).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda n: sparse_regression([0, 1], n, 5, 2, 1.0, signal=0.0),
        lambda n: correlated_groups([0, 1], n, groups=1, noise=1.0, signal=0.0),
    ],
)
def test_target_noise_shares_no_numbers_with_features_of_the_same_seed(make):
    noise = make(40)[1]  # without a signal, the target is its noise
    assert (noise != 0).all()
    assert not np.isin(noise, synthetic.Streams([0, 1], "data").normal((40 * 60,))).any()


def test_noise_features_of_one_member_are_appended_to_that_member():
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    wide = add_noise_features(x, [4, 5], 2)
    np.testing.assert_array_equal(wide[1], add_noise_features(x[1], 5, 2))


# Bad input

GOOD = {
    polynomial_problem: {"seeds": 0, "n": 5, "noise": 0.1},
    sparse_regression: {"seeds": 0, "n": 5, "p": 4, "nonzero": 2, "noise": 1.0}
    | {"correlation": 0.1, "signal": 1.0},
    correlated_groups: {"seeds": 0, "n": 5, "groups": 2, "size": 2, "noise": 1.0}
    | {"irrelevant": 1, "spread": 0.1, "signal": 1.0},
    add_noise_features: {"x": np.ones((5, 2)), "seeds": 0, "count": 2},
}
COUNTS = [
    (f, k)
    for f, good in GOOD.items()
    for k in good
    if k in ("n", "p", "nonzero", "groups", "size", "irrelevant", "count")
]
NUMBERS = [
    (f, k) for f, good in GOOD.items() for k in good if k in ("noise", "signal", "spread", "correlation")
]


@given(bad=st.floats() | st.text() | st.none() | st.booleans() | st.integers(max_value=-1))
@settings(deadline=None)
@pytest.mark.parametrize(("make", "name"), COUNTS)
def test_counts_must_be_whole_numbers(make, name, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected an integer >="):
        make(**(GOOD[make] | {name: bad}))


@given(bad=st.floats(max_value=-1e-300) | st.sampled_from([np.nan, np.inf, "1", None]))
@settings(deadline=None)
@pytest.mark.parametrize(("make", "name"), NUMBERS)
def test_numbers_must_be_finite_and_not_negative(make, name, bad):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected a"):
        make(**(GOOD[make] | {name: bad}))


@pytest.mark.parametrize("make", GOOD)
@pytest.mark.parametrize("seeds", [0.5, "1", -1, [], None])
def test_seeds_must_be_whole_numbers(make, seeds):
    with pytest.raises((TypeError, ValueError), match=r"^seeds: expected"):
        make(**(GOOD[make] | {"seeds": seeds}))


@pytest.mark.parametrize(
    ("make", "change", "error", "message"),
    [
        (sparse_regression, {"nonzero": 5}, ValueError, "nonzero: expected at most p = 4, got 5"),
        (sparse_regression, {"correlation": 1.0}, ValueError, r"correlation: expected a rate in \[0, 1\)"),
        (sparse_regression, {"signal": [1.0, 2.0]}, TypeError, "signal: expected one number"),
        (correlated_groups, {"spread": [0.1]}, TypeError, "spread: expected one number"),
        (polynomial_problem, {"noise": [1.0, 2.0]}, ValueError, "noise: expected a shape that broadcasts"),
        (add_noise_features, {"x": np.ones((3, 5, 2))}, ValueError, r"x: expected a shape that broadcasts"),
        (add_noise_features, {"x": [[np.nan]]}, ValueError, "x: expected finite"),
        (add_noise_features, {"x": [1.0]}, ValueError, "x: expected at least 2 axes"),
    ],
)
def test_what_else_is_refused(make, change, error, message):
    with pytest.raises(error, match=message):
        make(**(GOOD[make] | change))


def test_what_seed_7_means_never_changes():
    """Chapters print numbers made from these draws: the recipe is part of the book's results."""
    x, y = synthetic.polynomial_problem(7, 3)
    u = Streams(7, "data").uniform((3,)).astype(float)
    e = Streams(7, "labels").normal((3,))
    np.testing.assert_array_equal(x, 2 * u - 1)
    np.testing.assert_array_equal(y, np.sin(3 * x) + 0.2 * e)

    x, y, coef = synthetic.sparse_regression(7, 4, 3, 2, 0.5, correlation=0.6)
    np.testing.assert_allclose(y, x @ coef + 0.5 * Streams(7, "labels").normal((4,)), rtol=1e-13)
    assert set(np.abs(coef)) == {0.0, 3.0}
    own = synthetic.sparse_regression(7, 4, 3, 2, 0.5)[0]  # without correlation: the features' own shares
    np.testing.assert_allclose(x[:, 1], 0.6 * x[:, 0] + 0.8 * own[:, 1], rtol=1e-13)

    x, y, coef = synthetic.correlated_groups(7, 4, groups=1, size=2, irrelevant=1)
    normal = Streams(7, "data").normal((4, 4))
    np.testing.assert_allclose(x[:, :2], normal[:, :1] + 0.1 * normal[:, 1:3], rtol=1e-13)
    np.testing.assert_array_equal(x[:, 2], normal[:, 3])
    np.testing.assert_allclose(y, x @ coef + 15 * Streams(7, "labels").normal((4,)), rtol=1e-12)
