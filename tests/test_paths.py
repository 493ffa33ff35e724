"""Laws of the exact lasso path, agreement with scikit-learn, and the published path of the diabetes data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, lars_path

from regularize import linear, paths
from regularize.data import published_diabetes
from regularize.paths import Event, lasso_path


def random_problem(seed):
    """Tall or wide, independent, correlated or nearly collinear features of unequal scale."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(3, 60)), int(rng.integers(1, 60))
    x = rng.normal(size=(n, p))
    if seed % 3 == 1:
        x += rng.choice([1, 3, 30]) * rng.normal(size=(n, 1))
    elif seed % 3 == 2:
        x = x.cumsum(axis=1)
    if seed % 2:
        x *= np.exp(rng.normal(size=p))
    return x + rng.normal(size=p), x[:, :3].sum(1) + rng.normal(size=n) + 5.0


def grid(path, smallest=1e-3, size=20):
    """Knots, points between them and points above the first, as shares of it."""
    return np.concatenate([path.knots, path.knots[0] * np.geomspace(1.1, smallest, size)])


def interpolate(alphas, coefs, at):
    return np.array([np.interp(at, alphas[::-1], c[::-1]) for c in coefs]).T


# --- the path is exact --------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 1e-3, 0.1])
def test_every_point_of_the_path_is_optimal(l2):
    for seed in range(120):
        x, y = random_problem(seed)
        path = lasso_path(x, y, l2=l2)
        lam = grid(path)
        gap = linear.kkt_gap(x, y, path.at(lam), lam, l2)
        assert gap.max() <= 1e-11, f"seed {seed}"
        against_l1 = gap * path.knots[0] / np.maximum(lam, 1e-300)
        assert against_l1[lam >= 0.02 * path.knots[0]].max() <= 1e-10, f"seed {seed}"


def test_the_path_is_lars_path_with_twice_the_alpha():
    for seed in range(120):
        x, y = random_problem(seed)
        path = lasso_path(x, y)
        lam = path.knots[0] * np.geomspace(1, 1e-3, 20)
        xc = np.asfortranarray(x - x.mean(0))
        alphas, _, coefs = lars_path(xc, y - y.mean(), method="lasso", alpha_min=lam[-1] / 4)
        theirs = interpolate(2 * alphas, coefs, lam)
        np.testing.assert_allclose(path.at(lam).coef, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("intercept", [True, False])
def test_the_path_is_scikit_learns_lasso_and_elastic_net(seed, intercept):
    x, y = random_problem(3 * seed)
    for share, l2 in [(0.5, 0.0), (0.1, 0.0), (0.1, 0.2)]:
        path = lasso_path(x, y, l2=l2, intercept=intercept)
        l1 = share * path.knots[0]
        same = {"tol": 1e-14, "max_iter": 10**6, "fit_intercept": intercept}
        theirs = (
            Lasso(l1 / 2, **same) if l2 == 0 else ElasticNet(l1 / 2 + l2, l1_ratio=l1 / (l1 + 2 * l2), **same)
        )
        theirs.fit(x, y)
        fit = path.at(l1)
        np.testing.assert_allclose(fit.coef, theirs.coef_, rtol=0, atol=1e-10 * np.abs(theirs.coef_).max())
        assert fit.intercept == pytest.approx(theirs.intercept_, rel=1e-10, abs=1e-12)
        assert np.array_equal(fit.coef == 0, theirs.coef_ == 0)


@pytest.mark.parametrize("solver", [linear.coordinate_descent, linear.ista, linear.fista])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_solvers_for_one_lambda_are_points_of_the_path(solver, l2):
    x, y = random_problem(6)
    path = lasso_path(x, y, l2=l2)
    for share in (0.8, 0.3, 0.05):
        fit = solver(x, y, share * path.knots[0], l2, tol=1e-13)
        exact = path.at(share * path.knots[0])
        np.testing.assert_allclose(fit.coef, exact.coef, rtol=0, atol=1e-10 * np.abs(exact.coef).max())
        assert fit.intercept == pytest.approx(exact.intercept, rel=1e-10)


def test_the_path_ends_at_least_squares_or_ridge():
    for seed in range(0, 60, 3):
        x, y = random_problem(seed)
        ridge = linear.ridge(x, y, 0.1).coef
        np.testing.assert_allclose(
            lasso_path(x, y, l2=0.1).coefs[-1], ridge, atol=1e-11 * np.abs(ridge).max()
        )
        if len(x) > x.shape[1] + 1:
            least = linear.least_squares(x, y).coef
            np.testing.assert_allclose(lasso_path(x, y).coefs[-1], least, atol=1e-9 * np.abs(least).max())


def test_one_feature_is_a_soft_threshold():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1))
    y = x[:, 0] + rng.normal(size=20)
    path = lasso_path(x, y, l2=0.1)
    xc, lam = x[:, 0] - x.mean(), np.linspace(0, 1.2 * path.knots[0], 8)
    expected = linear.soft_threshold(xc @ y / 20, lam / 2) / (xc @ xc / 20 + 0.1)
    np.testing.assert_allclose(path.at(lam).coef[:, 0], expected, rtol=1e-13)
    assert path.events == (Event(0, joins=True), None)


# --- laws along the path ------------------------------------------------------------------------------------


@pytest.fixture(params=range(0, 120, 7))
def example(request):
    x, y = random_problem(request.param)
    return x, y, lasso_path(x, y)


def test_knots_fall_from_lambda_max_to_smallest(example):
    x, y, path = example
    assert path.knots[0] == pytest.approx(linear.lambda_max(x, y), rel=1e-14)
    assert (np.diff(path.knots) <= 0).all()
    assert path.knots[-1] == 0
    assert len(path.events) == len(path.knots) == len(path.coefs) == len(path.intercepts)


def test_norm_and_loss_are_monotone_along_the_path(example):
    x, y, path = example
    norm = np.abs(path.coefs).sum(1)
    loss = ((y - path.at(path.knots).predict(x)) ** 2).mean(-1)
    assert (np.diff(norm) >= -1e-12 * norm.max()).all()
    assert (np.diff(loss) <= 1e-12 * loss[0]).all()


def test_the_path_is_continuous_and_straight_between_knots(example):
    _, _, path = example
    middle = path.at((path.knots[1:] + path.knots[:-1]) / 2)
    scale = 1e-12 * np.abs(path.coefs).max()
    np.testing.assert_allclose(middle.coef, (path.coefs[1:] + path.coefs[:-1]) / 2, rtol=0, atol=scale)
    assert np.array_equal(path.at(path.knots).coef, path.coefs)
    assert np.array_equal(path.at(path.knots).intercept, path.intercepts)


def test_events_say_which_coefficients_are_not_zero(example):
    """Right below a knot the non-zero coefficients are those whose feature has joined and not left."""
    _, _, path = example
    active, below = set(), (path.knots[1:] + path.knots[:-1]) / 2
    for k, event in enumerate(path.events[:-1]):
        assert (event.feature in active) != event.joins
        active ^= {event.feature}
        assert path.degrees_of_freedom()[k + 1] == len(active)
        if path.knots[k + 1] < path.knots[k]:
            assert set(np.flatnonzero(path.at(below[k]).coef)) == active
    assert path.events[-1] is None
    assert path.degrees_of_freedom()[0] == 0


def test_features_do_leave_and_come_back():
    events = [e for seed in range(120) for e in lasso_path(*random_problem(seed)).events[:-1]]
    assert sum(not e.joins for e in events) > 100


def test_everything_is_zero_from_lambda_max_upwards(example):
    _, y, path = example
    fit = path.at(path.knots[0] * np.array([1.0, 1.5, 100.0]))
    assert (fit.coef == 0).all()
    np.testing.assert_allclose(fit.intercept, y.mean(), rtol=1e-14)


def test_a_path_that_ends_early_is_the_beginning_of_the_whole_one(example):
    x, y, whole = example
    smallest = 0.3 * whole.knots[0]
    part = lasso_path(x, y, smallest=smallest)
    assert part.knots[-1] == smallest
    np.testing.assert_allclose(part.coefs[-1], whole.at(smallest).coef, atol=1e-12 * np.abs(part.coefs).max())
    assert part.events[:-1] == whole.events[: len(part.events) - 1]


def test_scaling_laws(example):
    x, y, path = example
    bigger, coarser = lasso_path(x, 4 * y + 1), lasso_path(8 * x - 1, y)
    np.testing.assert_allclose(bigger.knots, 4 * path.knots, rtol=1e-9, atol=1e-12 * path.knots[0])
    np.testing.assert_allclose(coarser.knots, 8 * path.knots, rtol=1e-9, atol=1e-12 * path.knots[0])
    np.testing.assert_allclose(coarser.coefs * 8, path.coefs, rtol=0, atol=1e-9 * np.abs(path.coefs).max())


def test_at_takes_any_shape():
    path = lasso_path(*random_problem(0))
    lam = path.knots[0] * np.random.default_rng(0).uniform(0, 1.2, (2, 3))
    fit, p = path.at(lam), path.coefs.shape[1]
    assert fit.coef.shape == (2, 3, p)
    assert fit.intercept.shape == (2, 3)
    assert np.array_equal(fit.coef[1, 2], path.at(lam[1, 2]).coef)
    assert path.at(0.0).coef.shape == (p,)


# --- ties, duplicates, and other corners --------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_ties_and_dependent_columns_are_solved(l2):
    """Designs of small integers are full of ties; some columns are copies, opposites, or constant."""
    tied = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, p = rng.integers(1, 14, 2)
        x = rng.integers(-2, 3, (n, p)) if seed % 2 else rng.choice([-1, 1], (n, p))
        x = x.astype(float)
        if seed % 5 == 0 and p > 2:
            x[:, 1], x[:, 2] = x[:, 0], -x[:, 0]
        if seed % 7 == 0:
            x[:, -1] = 0.1
        y = rng.integers(-3, 4, n)
        path = lasso_path(x, y, l2=l2)
        lam = np.concatenate([path.knots, np.linspace(0, 1.1 * path.knots[0], 20)])
        assert linear.kkt_gap(x, y, path.at(lam), lam, l2).max() < 1e-12, f"seed {seed}"
        tied += (np.diff(path.knots) == 0).any()
    assert tied > 25  # or this test would not test what it says


def test_of_two_equal_columns_only_one_is_used_unless_l2_shares():
    x, y = random_problem(0)
    x[:, 1] = x[:, 0]
    assert np.count_nonzero(lasso_path(x, y).coefs[:, :2].any(0)) == 1
    shared = lasso_path(x, y, l2=0.1)
    np.testing.assert_allclose(
        shared.coefs[:, 0], shared.coefs[:, 1], rtol=0, atol=1e-12 * shared.coefs.max()
    )
    assert shared.coefs[-1, 0] != 0


def test_at_most_n_minus_1_features_are_active_in_a_wide_problem():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 60)), rng.normal(size=15)
    path = lasso_path(x, y)
    assert path.degrees_of_freedom().max() == 14
    assert np.abs(y - path.at(0.0).predict(x)).max() < 1e-12
    assert lasso_path(x, y, intercept=False).degrees_of_freedom().max() == 15


def test_columns_that_are_nearly_dependent_cost_digits_but_not_the_solution():
    for distance, gap in [(1e-3, 1e-11), (1e-4, 1e-8), (1e-6, 1e-6), (1e-10, 1e-10)]:
        for seed in range(10):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(40, 30))
            x[:, 1:3] = x[:, :1] + x[:, [1, 3]] * [0, 1] + distance * rng.normal(size=(40, 2))
            y = x[:, 0] + x[:, 3] + rng.normal(size=40)
            path = lasso_path(x, y)
            lam = grid(path)
            assert linear.kkt_gap(x, y, path.at(lam), lam).max() < gap


@pytest.mark.parametrize("seed", [832, 1153, 1507])
def test_a_column_that_waits_joins_after_another_has_left(seed):
    """x_p = x_0 + x_1 - x_2 ties with these three while they are active, and is needed when two have left."""
    rng = np.random.default_rng(seed)
    n, p = rng.integers(5, 12), rng.integers(4, 9)
    x = rng.normal(size=(n, p)) if seed % 2 else rng.integers(-3, 4, (n, p)).astype(float)
    x = np.column_stack([x, x[:, 0] + x[:, 1] - x[:, 2]])
    if seed % 3:
        x = np.column_stack([x, x[:, 0] - x[:, 1] + x[:, 2], (x[:, 3] + x[:, 0]) / 2])
    y = x[:, :3].sum(1) + rng.normal(size=n) * rng.choice([0.1, 1.0])
    path = lasso_path(x, y)
    lam = np.concatenate([path.knots, (path.knots[1:] + path.knots[:-1]) / 2])
    assert linear.kkt_gap(x, y, path.at(lam), lam).max() < 1e-12


@pytest.mark.parametrize("seed", [2993, 4112])
def test_more_than_n_features_are_never_active_whatever_the_rounding(seed):
    """Here a column that depends on n nearly collinear ones looks independent."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 5))
    x = rng.normal(size=(n, n + int(rng.integers(1, 6))))
    k = int(rng.integers(1, n + 1)) + 1
    x[:, :k] = x[:, :1] + x[:, :k] * 10.0 ** -rng.uniform(4.5, 6.0)
    assert lasso_path(x, rng.normal(size=n), intercept=False).degrees_of_freedom().max() <= n


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_a_constant_column_is_never_used(l2):
    x, y = random_problem(4)
    x[:, 2] = 0.1  # its mean is not exactly 0.1
    assert not lasso_path(x, y, l2=l2).coefs[:, 2].any()


def test_nothing_to_explain():
    x, _ = random_problem(4)
    path = lasso_path(x, np.full(len(x), 0.1))
    assert path.knots.tolist() == [0.0]
    assert not path.at([0.0, 1.0]).coef.any()
    high = lasso_path(*random_problem(4), smallest=1e9)
    assert high.knots.tolist() == [1e9]
    assert not high.at(2e9).coef.any()
    assert lasso_path([[2.0]], [3.0]).at(0.0).intercept == 3.0


def test_ties_without_end_are_an_error(monkeypatch):
    active = paths._ActiveSet
    monkeypatch.setattr(active, "next_event", lambda self, lam: (1.0, 0, 0.0 if self.features else 1.0))
    with pytest.raises(RuntimeError, match=r"too many ties at l1 = 1"):
        lasso_path(*random_problem(0))


# --- the diabetes data --------------------------------------------------------------------------------------

NAMES = ["age", "sex", "bmi", "map", "tc", "ldl", "hdl", "tch", "ltg", "glu"]


@pytest.fixture(scope="module")
def diabetes():
    """As scikit-learn ships it: columns of mean 0 and length 1."""
    x, y = load_diabetes(return_X_y=True)
    return x, y, lasso_path(x, y)


@pytest.fixture(scope="module")
def diabetes_of_r():
    """As the R package ``lars`` has it, in more digits than scikit-learn's file."""
    published = published_diabetes()
    return published.x, published.y, lasso_path(published.x, published.y)


CP = [453.726255, 418.032217, 143.801193, 86.741078, 33.695679, 21.505224, 18.327003]
CP += [8.877493, 9.131148, 10.843547, 11.338975, 9.266761, 11.0]
STEP_7 = {"sex": -197.756501, "bmi": 522.264847, "map": 297.159737, "tc": -103.946249, "hdl": -223.926033}
STEP_7 |= {"ltg": 514.749481, "glu": 54.767681}


def nonzeros(coef):
    return {name: value for name, value in zip(NAMES, coef, strict=True) if value != 0}


@pytest.mark.parametrize("version", ["diabetes", "diabetes_of_r"])
def test_diabetes_order_of_events(version, request):
    *_, path = request.getfixturevalue(version)
    order = [("" if e.joins else "-") + NAMES[e.feature] for e in path.events[:-1]]
    assert order == "bmi ltg map hdl sex glu tc tch ldl age -hdl hdl".split()


def test_diabetes_knots(diabetes):
    x, _, path = diabetes
    known = [949.435, 889.314, 452.896, 316.073, 130.130, 88.784, 68.965, 19.981, 5.478, 5.088, 2.182, 1.310]
    np.testing.assert_allclose(len(x) * path.knots[:-1] / 2, known, atol=5.1e-4)


def test_diabetes_knots_of_r(diabetes_of_r):
    *_, path = diabetes_of_r
    published = [2.14804358, 2.01202713, 1.02466283, 0.71509967, 0.29441369]
    published += [0.20086523, 0.15602991, 0.04520646, 0.01239247, 0.01151398]
    np.testing.assert_allclose(path.knots[:10] / 2, published, atol=5.1e-9)


def test_diabetes_coefficients_at_step_7_are_those_of_r(diabetes_of_r, diabetes):
    assert nonzeros(diabetes_of_r[-1].coefs[7]) == pytest.approx(STEP_7, abs=5.1e-7)
    assert nonzeros(diabetes[-1].coefs[7]) == pytest.approx(STEP_7, rel=3e-5)  # the digits of the file


def test_diabetes_cp_is_that_of_r(diabetes_of_r, diabetes):
    np.testing.assert_allclose(paths.mallows_cp(*diabetes_of_r), CP, atol=5.1e-7)
    np.testing.assert_allclose(paths.mallows_cp(*diabetes), CP, atol=5e-3)  # the digits of the file


def test_r_counts_hdl_where_it_leaves(diabetes_of_r):
    """At step 10 the coefficient of hdl is 0; with a count of the non-zeros Cp would be 9.339."""
    *_, path = diabetes_of_r
    assert path.degrees_of_freedom()[10] == np.count_nonzero(path.coefs[10]) + 1 == 10
    assert paths.mallows_cp(*diabetes_of_r)[10] - 2 == pytest.approx(9.339, abs=5.1e-4)


def test_diabetes_least_squares_on_bmi_is_the_first_knot(diabetes):
    x, y, path = diabetes
    bmi = x[:, [2]]
    fit = linear.least_squares(bmi, y)
    error = ((y - fit.predict(bmi)) ** 2).mean()
    assert fit.coef[0] == pytest.approx(949.43526, abs=5.1e-6)
    assert fit.intercept == pytest.approx(152.13348, abs=5.1e-6)
    assert error == pytest.approx(3890.457, abs=5.1e-4)
    assert 1 - error / y.var() == pytest.approx(0.343924, abs=5.1e-7)
    assert len(y) * path.knots[0] / 2 == pytest.approx(fit.coef[0], rel=1e-12)


def test_cp_of_all_features_is_their_number():
    """At l1 = 0, RSS = sigma^2 (n - p - 1), so Cp is p + 1, or p without an intercept."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    assert paths.mallows_cp(x, y, lasso_path(x, y))[-1] == pytest.approx(5, abs=1e-10)
    without = lasso_path(x, y, intercept=False)
    assert paths.mallows_cp(x, y, without, intercept=False)[-1] == pytest.approx(4, abs=1e-10)


# --- bad input ----------------------------------------------------------------------------------------------

X = np.random.default_rng(1).normal(size=(8, 3))
Y = X.sum(1)
not_finite = st.sampled_from([np.nan, np.inf, -np.inf])


@given(st.sampled_from("xy"), not_finite, st.integers(0, 7))
def test_nan_and_infinity_are_named(argument, value, where):
    data = {"x": X.copy(), "y": Y.copy()}
    data[argument][where] = value
    with pytest.raises(ValueError, match=rf"^{argument}: expected finite numbers, got .* NaN or infinite"):
        lasso_path(**data)


@given(st.integers(0, 20).filter(lambda n: n != 8))
def test_mismatched_lengths_are_named(n):
    with pytest.raises(ValueError, match=r"^y: expected"):
        lasso_path(X, np.zeros(n))


@given(st.sampled_from([(8,), (), (0, 3), (8, 0), (2, 8, 3)]))
def test_wrong_or_empty_x_is_named(shape):
    with pytest.raises(ValueError, match=r"^x: expected"):
        lasso_path(np.ones(shape), Y)


@given(st.sampled_from(["smallest", "l2"]), st.floats(max_value=0, exclude_max=True) | not_finite)
def test_negative_strengths_are_named(argument, value):
    with pytest.raises(ValueError, match=rf"^{argument}: expected .*finite number"):
        lasso_path(X, Y, **{argument: value})


@given(st.floats(max_value=0, exclude_max=True) | not_finite)
def test_negative_lambda_on_the_path_is_named(value):
    with pytest.raises(ValueError, match=r"^lam: expected a finite number >= 0"):
        lasso_path(X, Y).at([1.0, value])


def test_below_the_end_of_the_path_is_an_error():
    with pytest.raises(ValueError, match=r"^lam: expected at least 0\.5, where the path ends, got 0\.1"):
        lasso_path(X, Y, smallest=0.5).at([0.7, 0.1])


def test_cp_needs_more_examples_than_coefficients():
    x = np.random.default_rng(0).normal(size=(5, 4))
    with pytest.raises(ValueError, match=r"^x: expected more examples than coefficients, got shape \(5, 4\)"):
        paths.mallows_cp(x, x[:, 0], lasso_path(x, x[:, 0]))


def test_integers_and_float32_are_computed_in_float64():
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, (30, 4)), rng.integers(-9, 9, 30)
    exact = lasso_path(x, y)
    for dtype in (np.int8, np.float32):
        other = lasso_path(x.astype(dtype), y.astype(dtype))
        assert other.coefs.dtype == other.knots.dtype == np.float64
        assert np.array_equal(other.coefs, exact.coefs)
