"""Laws of the linear models, and agreement with scikit-learn."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from test_checks import refused

from regularize import linear
from regularize.linear import LinearFit

SOLVERS = [linear.coordinate_descent, linear.ista, linear.fista]
STEPS = [linear.coordinate_steps, linear.ista_steps, linear.fista_steps]


def problem(seed=0, n=40, p=6, correlation=0.5):
    """Correlated features with unequal means and scales, three of them useful, noise and an offset."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + correlation * rng.normal(size=(n, 1))
    x = x * rng.uniform(0.5, 2.0, p) + rng.normal(size=p)
    return x, x[:, :3].sum(1) + rng.normal(size=n) + 5.0


def close(a, b, tol=1e-10):
    """Largest difference at most tol of the largest value."""
    np.testing.assert_allclose(a, b, rtol=0, atol=tol * np.abs(b).max())


# --- soft threshold -----------------------------------------------------------------------------------------


def test_soft_threshold_minimizes_its_definition():
    w = np.linspace(-4, 4, 80_001)
    for z in (-2.5, -0.3, 0.0, 0.7, 3.0):
        best = w[np.argmin((w - z) ** 2 / 2 + 0.7 * np.abs(w))]
        assert linear.soft_threshold(z, 0.7) == pytest.approx(best, abs=1e-4)


def test_soft_threshold_is_exactly_zero_inside_and_never_expands():
    z = np.random.default_rng(0).normal(size=(2, 1000))
    s = linear.soft_threshold(z, 0.5)
    assert np.array_equal(s == 0, np.abs(z) <= 0.5)
    assert (np.abs(s[0] - s[1]) <= np.abs(z[0] - z[1]) + 1e-15).all()


# --- least squares and ridge --------------------------------------------------------------------------------


def test_least_squares_is_scikit_learns():
    x, y = problem()
    fit, theirs = linear.least_squares(x, y), LinearRegression().fit(x, y)
    close(fit.coef, theirs.coef_, 1e-12)
    assert fit.intercept == pytest.approx(theirs.intercept_, rel=1e-12)
    close(linear.least_squares(x, y, intercept=False).coef, np.linalg.lstsq(x, y)[0], 1e-12)


@pytest.mark.parametrize("shape", [(40, 6), (5, 12)])
def test_least_squares_is_the_shortest_of_all_minimizers(shape):
    x, y = problem(1, *shape)
    x[:, 1] = x[:, 0] + x[:, 2]
    fit = linear.least_squares(x, y)
    xc = x - x.mean(0)
    close(xc.T @ xc @ fit.coef, xc.T @ (y - y.mean()))
    outside = fit.coef - np.linalg.pinv(xc) @ (xc @ fit.coef)  # the part of w that no row of x sees
    assert np.abs(outside).max() < 1e-12


@pytest.mark.parametrize("shape", [(40, 6), (7, 6), (6, 6), (5, 12)])
@pytest.mark.parametrize("dependent", [False, True])
def test_ridge_without_penalty_is_least_squares(shape, dependent):
    x, y = problem(2, *shape)
    if dependent:
        x[:, 1] = x[:, 0] - x[:, 2]
    ridge, least = linear.ridge(x, y, 0.0), linear.least_squares(x, y)
    close(ridge.coef, least.coef)
    close(ridge.intercept, least.intercept)


@pytest.mark.parametrize("shape", [(40, 6), (5, 12)])
def test_ridge_meets_the_normal_equations_with_a_free_intercept(shape):
    x, y = problem(3, *shape)
    n, p = shape
    lam = 0.3
    ones = np.column_stack([np.ones(n), x])
    penalty = n * lam * np.diag([0.0] + [1.0] * p)
    b, *w = np.linalg.solve(ones.T @ ones + penalty, ones.T @ y)
    fit = linear.ridge(x, y, lam)
    close(fit.coef, np.array(w), 1e-12)
    assert fit.intercept == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("shape", [(60, 8), (10, 25)])
def test_ridge_is_scikit_learns_with_alpha_n_lam(shape, intercept):
    x, y = problem(4, *shape)
    lam = np.geomspace(1e-4, 1e3, 30)
    fit = linear.ridge(x, y, lam, intercept=intercept)
    assert fit.coef.shape == (30, shape[1])
    assert fit.intercept.shape == (30,)
    for i, value in enumerate(lam):
        theirs = Ridge(alpha=len(y) * value, fit_intercept=intercept, solver="svd").fit(x, y)
        close(fit.coef[i], theirs.coef_, 1e-11)
        close(fit.intercept[i] + 1, theirs.intercept_ + 1, 1e-11)


def test_gradient_is_zero_at_the_ridge_solution():
    x, y = problem(5)
    lam = np.geomspace(1e-3, 10, 7)
    fit = linear.ridge(x, y, lam)
    assert linear.kkt_gap(x, y, fit, 0.0, lam).max() < 1e-13
    assert linear.kkt_gap(x, y, fit, 0.0, 1.1 * lam).min() > 1e-5


def test_ridge_shrinks_monotonically():
    x, y = problem(6)
    norms = np.linalg.norm(linear.ridge(x, y, np.geomspace(1e-4, 1e4, 50)).coef, axis=-1)
    assert (np.diff(norms) < 0).all()


def test_shrinkage_factors_are_what_ridge_leaves_of_least_squares():
    x, y = problem(7)
    lam = np.array([0.0, 0.1, 2.0])
    directions = np.linalg.svd(x - x.mean(0))[2]
    left = linear.ridge(x, y, lam).coef @ directions.T
    close(left / (linear.least_squares(x, y).coef @ directions.T), linear.shrinkage_factors(x, lam), 1e-10)


@pytest.mark.parametrize("shape", [(40, 6), (5, 12)])
def test_effective_degrees_of_freedom_are_the_trace_of_the_hat_matrix(shape):
    x, _ = problem(8, *shape)
    n, lam = shape[0], 0.2
    targets = np.eye(n)  # n data sets that share one x: the fitted values are the columns of the hat matrix
    hat = linear.ridge(x, targets, lam).predict(x)
    assert np.trace(hat) - 1 == pytest.approx(linear.effective_degrees_of_freedom(x, lam), rel=1e-12)
    assert linear.effective_degrees_of_freedom(x, 0.0) == np.linalg.matrix_rank(x - x.mean(0))
    assert linear.effective_degrees_of_freedom(x, 1e12) < 1e-9


def test_leading_axes_equal_a_loop_bit_for_bit():
    data = [problem(seed, 30, 5) for seed in range(4)]
    x, y = (np.stack(part) for part in zip(*data, strict=True))
    lam = np.geomspace(1e-3, 1, 3)
    fit = linear.ridge(x, y, lam[:, None])
    assert fit.coef.shape == (3, 4, 5)
    assert fit.intercept.shape == (3, 4)
    assert fit.predict(x).shape == (3, 4, 30)
    for s in range(4):
        alone = linear.ridge(x[s], y[s], lam)
        assert np.array_equal(fit.coef[:, s], alone.coef)
        assert np.array_equal(fit.intercept[:, s], alone.intercept)
        assert np.array_equal(linear.least_squares(x, y).coef[s], linear.least_squares(x[s], y[s]).coef)
        assert np.array_equal(
            linear.shrinkage_factors(x, lam[:, None])[:, s], linear.shrinkage_factors(x[s], lam)
        )
        assert linear.lambda_max(x, y)[s] == linear.lambda_max(x[s], y[s])


@pytest.mark.parametrize("fitted", [linear.least_squares, lambda x, y: linear.ridge(x, y, 0.3)])
def test_members_may_share_x_or_y(fitted):
    x, y = problem(9)
    ys = np.stack([y, -y, y**2])
    assert fitted(x, ys).coef.shape == (3, 6)
    for s in range(3):
        close(fitted(x, ys).coef[s], fitted(x, ys[s]).coef, 1e-13)
    xs = np.stack([x, x[::-1]])
    for s in range(2):
        close(fitted(xs, y).coef[s], fitted(xs[s], y).coef, 1e-13)


# --- one lambda: coordinate descent, ISTA, FISTA ------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("shape", "share"), [((50, 8), 0.1), ((15, 25), 0.3)])
def test_lasso_is_scikit_learns_with_half_the_lambda(solver, intercept, shape, share):
    x, y = problem(10, *shape)
    l1 = share * linear.lambda_max(x, y, intercept=intercept)
    theirs = Lasso(alpha=l1 / 2, tol=1e-14, max_iter=10**6, fit_intercept=intercept).fit(x, y)
    fit = solver(x, y, l1, intercept=intercept, tol=1e-13)
    close(fit.coef, theirs.coef_)
    assert fit.intercept == pytest.approx(theirs.intercept_, rel=1e-10)
    assert np.array_equal(fit.coef == 0, theirs.coef_ == 0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_elastic_net_is_scikit_learns(solver):
    x, y = problem(11)
    l1, l2 = 0.2 * linear.lambda_max(x, y), 0.3
    alpha = l1 / 2 + l2
    theirs = ElasticNet(alpha=alpha, l1_ratio=l1 / 2 / alpha, tol=1e-14, max_iter=10**6).fit(x, y)
    fit = solver(x, y, l1, l2, tol=1e-13)
    close(fit.coef, theirs.coef_)
    assert fit.intercept == pytest.approx(theirs.intercept_, rel=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_l1_the_solvers_are_ridge(solver):
    x, y = problem(12)
    close(solver(x, y, 0.0, 0.1, tol=1e-13).coef, linear.ridge(x, y, 0.1).coef)
    close(solver(x, y, 0.0, tol=1e-13).coef, linear.least_squares(x, y).coef)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(8))
def test_no_perturbation_improves_the_solution(solver, seed):
    x, y = problem(seed, n=20, p=10)
    l1, l2 = 0.1 * linear.lambda_max(x, y), 0.05 * (seed % 2)
    fit = solver(x, y, l1, l2)
    assert linear.kkt_gap(x, y, fit, l1, l2) <= 2e-12
    best = linear.objective(x, y, fit, l1, l2)
    rng = np.random.default_rng(seed)
    for size in (1e-4, 1e-2, 1.0):
        moved = LinearFit(
            fit.coef + size * rng.normal(size=(200, 10)) * rng.integers(0, 2, (200, 10)),
            fit.intercept + size * rng.normal(size=200),
        )
        assert linear.objective(x, y, moved, l1, l2).min() > best
        assert linear.kkt_gap(x, y, moved, l1, l2).min() > 1e-9


@pytest.mark.parametrize("solver", SOLVERS)
def test_everything_is_zero_from_lambda_max_upwards_and_not_below(solver):
    x, y = problem(13)
    top = linear.lambda_max(x, y)
    fit = solver(x, y, top * (1 + 1e-12))
    assert (fit.coef == 0).all()
    assert fit.intercept == pytest.approx(y.mean(), rel=1e-14)
    assert np.count_nonzero(solver(x, y, 0.999 * top).coef) == 1


@pytest.mark.parametrize("steps", STEPS)
def test_every_step_of_the_monotone_methods_descends(steps):
    x, y = problem(14)
    data, l1 = linear.centered(x, y), 0.1 * linear.lambda_max(x, y)
    values = [
        linear.objective(x, y, data.fit(w), l1, 0.1) for w in islice(steps(data.x, data.y, l1, 0.1), 60)
    ]
    if steps is not linear.fista_steps:  # its momentum may overshoot
        assert (np.diff(values) <= 1e-14 * values[0]).all()
    assert values[-1] < values[0]


def test_momentum_needs_fewer_steps():
    x, y = problem(15, n=30, p=20, correlation=3.0)
    l1 = 0.01 * linear.lambda_max(x, y)
    data, best = linear.centered(x, y), linear.objective(x, y, linear.coordinate_descent(x, y, l1), l1)
    after = [
        linear.objective(x, y, data.fit(next(islice(steps(data.x, data.y, l1), 200, None))), l1) - best
        for steps in (linear.ista_steps, linear.fista_steps)
    ]
    assert after[1] < 0.1 * after[0]
    linear.fista(x, y, l1, max_iter=1000)  # without its restarts, FISTA takes 7000
    with pytest.raises(linear.NotConverged):
        linear.ista(x, y, l1, max_iter=1000)


@pytest.mark.parametrize("solver", SOLVERS)
def test_giving_up_is_an_error_that_says_how_far_it_came(solver):
    x, y = problem(16)
    with pytest.raises(linear.NotConverged, match=r"KKT gap \d\.\de-\d\d after 3 iterations.*1\.0e-12"):
        solver(x, y, 0.01, max_iter=3)


# --- laws of every model ------------------------------------------------------------------------------------

MODELS = {
    "least squares": lambda x, y, k=1.0, c=1.0: linear.least_squares(x, y),
    "ridge": lambda x, y, k=1.0, c=1.0: linear.ridge(x, y, 0.3 * c * c),
    **{
        s.__name__: lambda x, y, k=1.0, c=1.0, s=s: s(x, y, 0.4 * k * c, 0.2 * c * c, tol=1e-13)
        for s in SOLVERS
    },
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request):
    return request.param


def test_shifting_the_data_shifts_only_the_intercept(model):
    x, y = problem(17)
    fit, up, aside = model(x, y), model(x, y + 1000), model(x + np.arange(6), y)
    close(up.coef, fit.coef)
    assert up.intercept == pytest.approx(fit.intercept + 1000, rel=1e-12)
    close(aside.coef, fit.coef)
    close(aside.predict(x + np.arange(6)), fit.predict(x))


def test_scaling_y_with_l1_and_x_with_both_scales_the_solution(model):
    """J(k y; k l1, l2) = k^2 J at k w, and J(c x; c l1, c^2 l2) = J at w / c."""
    x, y = problem(18)
    fit = model(x, y)
    close(model(x, 7 * y, k=7).coef, 7 * fit.coef)
    close(model(3 * x, y, c=3).coef, fit.coef / 3)


def test_repeating_the_data_changes_nothing(model):
    """The loss is a mean, so lambda keeps its meaning when there is more data."""
    x, y = problem(19)
    close(model(np.tile(x, (3, 1)), np.tile(y, 3)).coef, model(x, y).coef)


def test_a_constant_column_and_constant_targets_get_zero(model):
    x, y = problem(20)
    x[:, 2] = 0.1
    coef = model(x, y).coef
    assert abs(coef[2]) < 1e-14 * np.abs(coef).max()  # the singular vectors have rounding errors
    flat = model(x, np.full(40, 0.1))
    assert np.abs(flat.coef).max() == 0
    assert flat.intercept == pytest.approx(0.1, rel=1e-14)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_l2_constant_columns_do_not_divide_by_zero(solver):
    x, y = problem(20)
    x[:, 2] = 0.1
    assert solver(x, y, 0.1).coef[2] == 0
    assert not solver(np.ones((40, 3)), y, 0.1).coef.any()


def test_one_example_and_one_feature(model):
    fit = model([[2.0]], [3.0])
    assert fit.coef == [0.0]
    assert fit.predict([[5.0]]) == [3.0]


def test_integers_and_float32_are_computed_in_float64(model):
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, (30, 4)), rng.integers(-9, 9, 30)
    fit = model(x, y)
    for dtype in (np.int8, np.float32):
        other = model(x.astype(dtype), y.astype(dtype))
        assert other.coef.dtype == np.float64
        assert np.array_equal(other.coef, fit.coef)
    assert np.array_equal(model(x.tolist(), y.tolist()).coef, fit.coef)


def test_the_data_are_not_changed(model):
    x, y = problem(21)
    before = x.copy(), y.copy()
    model(x, y)
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])


def test_kkt_gap_sees_each_condition():
    x, y = problem(22)
    l1 = 0.3 * linear.lambda_max(x, y)
    fit = linear.coordinate_descent(x, y, l1)
    on, off = np.flatnonzero(fit.coef)[0], np.flatnonzero(fit.coef == 0)[0]
    assert linear.kkt_gap(x, y, fit, l1) < 1e-12
    for j in (on, off):
        assert linear.kkt_gap(x, y, LinearFit(fit.coef + 0.01 * np.eye(6)[j], fit.intercept), l1) > 1e-3
    assert linear.kkt_gap(x, y, LinearFit(fit.coef, fit.intercept + 0.01), l1) > 1e-3
    assert linear.kkt_gap(x, y, fit, 0.9 * l1) == pytest.approx(0.1 * 0.3, rel=1e-6)


def test_kkt_gap_of_zero_is_how_far_l1_lies_below_lambda_max():
    x, y = problem(23)
    top, nothing = linear.lambda_max(x, y), LinearFit(np.zeros(6), y.mean())
    share = np.array([0.0, 0.25, 1.0, 2.0])
    np.testing.assert_allclose(linear.kkt_gap(x, y, nothing, share * top), [1.0, 0.75, 0.0, 0.0], atol=1e-15)


def test_kkt_gap_on_constant_targets():
    x, _ = problem(24)
    y = np.full(40, 3.0)
    assert linear.kkt_gap(x, y, LinearFit(np.zeros(6), np.array(3.0)), 0.1) == 0
    assert linear.kkt_gap(x, y, LinearFit(np.ones(6), np.array(3.0)), 0.1) == np.inf


# --- bad input ----------------------------------------------------------------------------------------------

X, Y = problem(25, n=8, p=3)
TAKES_DATA = {
    "least_squares": lambda x=X, y=Y: linear.least_squares(x, y),
    "ridge": lambda x=X, y=Y, lam=0.1: linear.ridge(x, y, lam),
    "lambda_max": lambda x=X, y=Y: linear.lambda_max(x, y),
    "kkt_gap": lambda x=X, y=Y, l1=0.1, l2=0.1: linear.kkt_gap(
        x, y, LinearFit(np.zeros(3), np.zeros(())), l1, l2
    ),
    **{
        s.__name__: lambda x=X, y=Y, l1=0.1, l2=0.1, tol=1e-12, max_iter=10**5, s=s: s(
            x, y, l1, l2, tol=tol, max_iter=max_iter
        )
        for s in SOLVERS
    },
}
data_functions = st.sampled_from(sorted(TAKES_DATA))
not_finite = st.sampled_from([np.nan, np.inf, -np.inf])


@given(data_functions, st.sampled_from("xy"), not_finite, st.integers(0, 7))
def test_nan_and_infinity_are_named(name, argument, value, where):
    bad = (X if argument == "x" else Y).copy()
    bad[where] = value
    with pytest.raises(ValueError, match=rf"^{argument}: expected finite numbers, got .* NaN or infinite"):
        TAKES_DATA[name](**{argument: bad})


@given(data_functions, st.integers(0, 20).filter(lambda n: n != 8))
def test_mismatched_lengths_are_named(name, n):
    with pytest.raises(ValueError, match=r"^y: expected"):
        TAKES_DATA[name](y=np.zeros(n))


@given(data_functions, st.sampled_from([(8,), (), (0, 3), (8, 0)]))
def test_wrong_or_empty_x_is_named(name, shape):
    with pytest.raises(ValueError, match=r"^x: expected"):
        TAKES_DATA[name](x=np.ones(shape))


@given(data_functions, st.sampled_from("xy"), st.sampled_from(["text", None, [1j] * 8, [["a"] * 3] * 8]))
def test_what_is_not_a_number_is_named(name, argument, value):
    with pytest.raises(TypeError, match=rf"^{argument}: expected an array of numbers"):
        TAKES_DATA[name](**{argument: value})


@given(st.sampled_from([s.__name__ for s in SOLVERS]), st.sampled_from("xy"))
def test_the_solvers_take_one_data_set(name, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: expected \d axes"):
        TAKES_DATA[name](**{argument: np.stack([X, X]) if argument == "x" else np.stack([Y, Y])})


@settings(max_examples=200)
@given(
    st.sampled_from(
        [(n, a) for n in TAKES_DATA for a in ("lam", "l1", "l2") if a in TAKES_DATA[n].__code__.co_varnames]
    ),
    st.floats(max_value=0, exclude_max=True, allow_infinity=True) | not_finite,
)
def test_negative_lambda_is_named(case, value):
    name, argument = case
    with pytest.raises(ValueError, match=rf"^{argument}: expected .*finite number"):
        TAKES_DATA[name](**{argument: value})


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"l1": [0.1, 0.2]}, ValueError, "l1: expected 0 axes"),
        ({"tol": 0.0}, ValueError, "tol: expected a finite number > 0"),
        ({"max_iter": 0}, ValueError, "max_iter: expected an integer >= 1"),
        ({"max_iter": 1.5}, TypeError, "max_iter: expected an integer >= 1"),
    ],
)
def test_bad_settings_of_the_solvers_are_named(solver, wrong, error, message):
    with pytest.raises(error, match=rf"^{message}"):
        solver(X, Y, **({"l1": 0.1} | wrong))


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match=r"^t: expected a finite number >= 0, got -1"):
        linear.soft_threshold(1.0, -1.0)
    with pytest.raises(ValueError, match=r"^lam: expected .* leading axes of the data \(4,\), got \(3,\)"):
        linear.ridge(np.stack([X] * 4), np.stack([Y] * 4), [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"^y: expected .* leading axes of x \(4,\), got \(3,\)"):
        linear.ridge(np.stack([X] * 4), np.stack([Y] * 3), 0.1)
    with pytest.raises(ValueError, match=r"^x: expected shape \(..., any, 3\), got shape \(2, 2\)"):
        linear.least_squares(X, Y).predict(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"^fit\.coef: expected shape \(..., 3\)"):
        linear.kkt_gap(X, Y, LinearFit(np.zeros(4), np.zeros(())), 0.1)
    with pytest.raises(ValueError, match=r"^lam: expected a finite number >= 0"):
        linear.shrinkage_factors(X, -1.0)
    for wrong in ({"l1": -1.0}, {"l2": -1.0}):
        with pytest.raises(ValueError, match=r"^l[12]: expected a finite number >= 0"):
            linear.objective(X, Y, linear.least_squares(X, Y), **({"l1": 0.1} | wrong))


# --- many models at once ------------------------------------------------------------------------------------


def test_stacked_models_predict_as_each_of_them_and_can_be_taken_out_again():
    x, y = problem()
    fits = [linear.ridge(x, y, np.array([lam, 2 * lam])) for lam in (0.1, 1.0, 10.0)]
    for axis in (0, 1):
        stacked = LinearFit.stack(fits, axis)
        close(stacked.predict(x), np.stack([fit.predict(x) for fit in fits], axis), 1e-14)
    first, picked = stacked[0], stacked[np.array([1, 0]), np.array([2, 0])]
    assert np.array_equal(first.coef, [fit.coef[0] for fit in fits])
    assert np.array_equal(picked.coef, [fits[2].coef[1], fits[0].coef[0]])
    assert np.array_equal(picked.intercept, [fits[2].intercept[1], fits[0].intercept[0]])


def test_an_index_never_reaches_the_coefficients():
    x, y = problem()
    with pytest.raises(IndexError):
        linear.ridge(x, y, np.array([0.1, 1.0]))[0, 0]


def test_without_restart_fista_is_slower():
    x, y = problem(3, correlation=3.0)
    l1 = 0.01 * linear.lambda_max(x, y)
    data = linear.centered(x, y)
    exact = linear.objective(x, y, linear.coordinate_descent(x, y, l1), l1)

    def steps(**options):
        for k, w in enumerate(linear.fista_steps(data.x, data.y, l1, **options)):
            if linear.objective(x, y, data.fit(w), l1) - exact < 1e-10:
                return k

    assert 2 * steps() < steps(restart=False)


# --- every member its own, and every formula to the letter -------------------------------------------------


def stacked(scales=(1.0, 10.0, 0.1)):
    """Three problems of very different size, and the same one by one."""
    pairs = [problem(seed) for seed in range(len(scales))]
    x = np.stack([s * pair[0] for s, pair in zip(scales, pairs, strict=True)])
    y = np.stack([s * pair[1] for s, pair in zip(scales, pairs, strict=True)])
    return x, y


def test_members_of_unequal_size_do_not_share_their_scale():
    x, y = stacked()
    fit = linear.ridge(x, y, np.full(3, 0.1))
    for member in range(3):
        own = linear.ridge(x[member], y[member], 0.1)
        one = LinearFit(fit.coef[member], fit.intercept[member])
        close(one.coef, own.coef)
        for f in (linear.objective, linear.kkt_gap):
            together = f(x, y, fit, 0.2, 0.1)[member]
            assert together == pytest.approx(f(x[member], y[member], one, 0.2, 0.1), rel=1e-9)
        assert linear.lambda_max(x, y)[member] == pytest.approx(linear.lambda_max(x[member], y[member]))
        for intercept in (True, False):
            for f in (linear.effective_degrees_of_freedom, linear.shrinkage_factors):
                together, alone = (f(a, 0.1, intercept=intercept) for a in (x, x[member]))
                close(together[member], alone)
    close(linear.effective_degrees_of_freedom(x, 0.0), np.full(3, 6.0))
    assert not np.allclose(
        linear.effective_degrees_of_freedom(x[0], 0.1),
        linear.effective_degrees_of_freedom(x[0], 0.1, intercept=False),
    )


def test_a_constant_column_of_one_member_is_centered_to_zero_and_the_others_keep_theirs():
    x, y = stacked((1.0, 1.0, 1.0))
    x[1, :, 2] = 0.1  # its mean is 0.1 only up to rounding
    data = linear.centered(x, y)
    assert not data.x[1, :, 2].any()
    assert data.x[0, :, 2].any()
    assert np.abs(data.x.mean(-2)).max() < 1e-14
    assert linear.centered(x, y, intercept=False).x_mean.shape == (6,)


def test_the_largest_curvature_is_the_largest_eigenvalue():
    x, _ = problem()
    largest = np.linalg.eigvalsh(2 / 40 * x.T @ x + 2 * 0.3 * np.eye(6))[-1]
    assert linear._largest_curvature(x, 0.3) == pytest.approx(largest, rel=1e-12)
    assert linear._largest_curvature(0 * x, 0.0) == 1.0


@pytest.mark.parametrize("restart", [True, False])
def test_fista_is_its_formula(restart):
    data = linear.centered(*problem())
    x, y, l1 = data.x, data.y, 0.3
    curvature = np.linalg.eigvalsh(2 / 40 * x.T @ x)[-1]
    w, v, t = np.zeros(6), np.zeros(6), 1.0
    for got in islice(linear.fista_steps(x, y, l1, restart=restart), 60):
        z = v + 2 / 40 * x.T @ (y - x @ v) / curvature
        new = np.sign(z) * np.maximum(np.abs(z) - l1 / curvature, 0)
        t = 1.0 if restart and (v - new) @ (new - w) > 0 else t
        after = 0.5 + np.sqrt(0.25 + t * t)
        v, w, t = new + (t - 1) / after * (new - w), new, after
        close(got, w, 1e-9)


@pytest.mark.parametrize("steps", STEPS)
def test_without_l2_the_steps_are_those_of_the_lasso(steps):
    data = linear.centered(*problem())
    for default, zero in islice(
        zip(steps(data.x, data.y, 0.2), steps(data.x, data.y, 0.2, 0.0), strict=True), 3
    ):
        np.testing.assert_array_equal(default, zero)
    np.testing.assert_array_equal(
        linear.gradient(data.x, data.y, np.ones(6)), linear.gradient(data.x, data.y, np.ones(6), 0.0)
    )


def test_data_of_any_type_become_float64():
    x, y = problem()
    fit = linear.least_squares(x, y)
    x32 = x.astype(np.float32)
    np.testing.assert_array_equal(fit.predict(x32), fit.predict(x32.astype(float)))
    for f in (linear.shrinkage_factors, linear.effective_degrees_of_freedom):
        np.testing.assert_array_equal(f(x32, 0.1), f(x32.astype(float), 0.1))


def test_stacked_models_are_on_the_first_axis_if_nothing_else_is_said():
    fits = [linear.ridge(*problem(), np.array([0.1, 0.2])) for _ in range(3)]
    assert LinearFit.stack(fits).coef.shape == (3, 2, 6)
    assert LinearFit.stack(fits, 1).coef.shape == (2, 3, 6)


NAMED = {
    "axis": lambda x, y: LinearFit.stack([linear.ridge(x, y, 0.1)], 0.5),
    "y": lambda x, y: linear.objective(x, "y", linear.ridge(x, y, 0.1), 0.1),
    "x": lambda x, y: linear.shrinkage_factors("x", 0.1),
    "tol": lambda x, y: linear.ista(x, y, 0.1, tol=[0.1, 0.2]),
    "fit.coef": lambda x, y: linear.kkt_gap(x, y, LinearFit(np.ones(5), np.zeros(())), 0.1),
}


@pytest.mark.parametrize("name", NAMED)
def test_an_error_names_the_argument(name):
    with refused(name):
        NAMED[name](*problem())
