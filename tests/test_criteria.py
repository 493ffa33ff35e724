"""The closed forms equal the loops and the tools, and choose what was published."""

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Bug, check_noticed
from scipy.stats import norm
from sklearn.linear_model import LassoLarsIC, LinearRegression, RidgeCV
from test_checks import refused

from regularize import criteria
from regularize.criteria import (
    generalized_cross_validation,
    lasso_information,
    leave_one_out,
    noise_variance,
    ridge_information,
)
from regularize.data import load, standardize
from regularize.linear import LinearFit, effective_degrees_of_freedom, ridge
from regularize.paths import lasso_path, mallows_cp
from regularize.synthetic import sparse_regression

LAM = np.geomspace(1e-3, 10, 6)
each_intercept = pytest.mark.parametrize("intercept", [True, False])


def problem(n=20, p=5, lead=(), seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*lead, n, p)) + rng.standard_normal(p)
    return x, x[..., 0] + 3 + rng.standard_normal((*lead, n))


# -- leave-one-out and generalized cross-validation ----------------------------------------------------------


def law_leave_one_out_is_the_loop(n=12, p=5, intercept=True):
    """n models, each of the same lambda on n - 1 examples; also with more features than examples."""
    x, y = problem(n, p)
    errors = []
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        fit = ridge(x[rest], y[rest], LAM, intercept=intercept)
        errors.append((y[i] - fit.predict(x[i : i + 1])[:, 0]) ** 2)
    ours = leave_one_out(x, y, LAM, intercept=intercept)
    np.testing.assert_allclose(ours, np.mean(errors, 0), rtol=1e-10)


@each_intercept
@pytest.mark.parametrize(("n", "p"), [(12, 5), (8, 20), (6, 1), (9, 9)])
def test_leave_one_out_is_the_loop(n, p, intercept):
    law_leave_one_out_is_the_loop(n, p, intercept)


@each_intercept
def test_leave_one_out_of_least_squares_is_the_loop(intercept):
    x, y = problem()
    errors = [
        (y[i] - LinearRegression(fit_intercept=intercept).fit(np.delete(x, i, 0), np.delete(y, i))
         .predict(x[i : i + 1])[0]) ** 2 for i in range(20)
    ]  # fmt: skip
    assert leave_one_out(x, y, 0.0, intercept=intercept) == pytest.approx(np.mean(errors), rel=1e-10)


@each_intercept
def test_leave_one_out_is_ridge_cvs_at_n_minus_1_times_lambda(intercept):
    x, y = problem()
    theirs = RidgeCV(19 * LAM, fit_intercept=intercept, store_cv_results=True).fit(x, y)
    ours = leave_one_out(x, y, LAM, intercept=intercept)
    np.testing.assert_allclose(ours, theirs.cv_results_.mean(0), rtol=1e-10)
    assert theirs.alpha_ == 19 * LAM[ours.argmin()]


def hat(x, lam, intercept):
    """The matrix that turns y into fitted values, column by column: the fits to unit vectors."""
    return np.stack([ridge(x, e, lam, intercept=intercept).predict(x) for e in np.eye(len(x))], axis=1)


def law_generalized_cross_validation_is_its_formula(n=12, p=5, intercept=True):
    x, y = problem(n, p)
    ours = generalized_cross_validation(x, y, LAM, intercept=intercept)
    assert ours.shape == LAM.shape
    for value, lam in zip(ours, LAM, strict=True):
        h = hat(x, lam, intercept)
        assert value == pytest.approx(((y - h @ y) ** 2).mean() / (1 - np.trace(h) / n) ** 2, rel=1e-10)


@each_intercept
@pytest.mark.parametrize(("n", "p"), [(12, 5), (8, 20)])
def test_generalized_cross_validation_is_its_formula(n, p, intercept):
    law_generalized_cross_validation_is_its_formula(n, p, intercept)


def test_rotating_the_examples_changes_leave_one_out_but_not_generalized_cross_validation():
    x, y = problem()
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((20, 20)))[0]

    def change(criterion):
        both = [criterion(*data, LAM, intercept=False) for data in [(x, y), (q @ x, q @ y)]]
        return np.abs(both[1] / both[0] - 1).max()

    assert change(generalized_cross_validation) < 1e-12
    assert change(leave_one_out) > 1e-3


def test_with_equal_leverages_both_are_the_same():
    """One feature that is -1 or 1, as often: the hat matrix treats all examples alike."""
    x = np.tile([[-1.0], [1.0]], (6, 1))
    y = np.random.default_rng(0).standard_normal(12)
    ours = leave_one_out(x, y, LAM)
    np.testing.assert_allclose(ours, generalized_cross_validation(x, y, LAM * 11 / 12), rtol=1e-13)


@pytest.mark.parametrize("criterion", [leave_one_out, generalized_cross_validation])
def test_an_infinite_lambda_leaves_the_mean(criterion):
    """Then every example is predicted by the mean of the others: n^2 / (n - 1)^2 times the variance."""
    x, y = problem()
    assert criterion(x, y, 1e12) == pytest.approx(y.var() * (20 / 19) ** 2, rel=1e-9)
    assert criterion(x, y, 1e12, intercept=False) == pytest.approx((y**2).mean(), rel=1e-9)


@pytest.mark.parametrize("criterion", [leave_one_out, generalized_cross_validation])
def test_a_fit_through_an_example_whatever_its_target_is_refused(criterion):
    x, y = problem(5, 4)
    with refused("lam", ValueError):
        criterion(x, y, 0.0)
    with refused("lam", ValueError):
        criterion(x, y, [1.0, 1e-12])
    assert np.isfinite(criterion(x, y, [1.0, 1e-3])).all()
    assert criterion(x, y, 1e-6) == pytest.approx(criterion(x, y, 2e-6), rel=1e-3)


def test_one_example_with_a_feature_of_its_own_has_leverage_1():
    x, y = problem()
    x[:, -1] = np.eye(20)[0]
    with refused("lam", ValueError):
        leave_one_out(x, y, 0.0)
    assert np.isfinite(generalized_cross_validation(x, y, 0.0))


CRITERIA = {
    "leave one out": leave_one_out,
    "generalized": generalized_cross_validation,
    "AIC": ridge_information,
    "BIC": partial(ridge_information, criterion="bic"),
    "BIC, known variance": partial(ridge_information, criterion="bic", variance=2.0),
}


def law_a_data_set_among_many_has_the_criteria_it_has_alone(criterion, intercept=True):
    x, y = problem(lead=(3,))
    together = criterion(x, y, LAM[:, None], intercept=intercept)
    assert together.shape == (6, 3)
    for s in range(3):
        alone = criterion(x[s], y[s], LAM, intercept=intercept)
        np.testing.assert_allclose(together[:, s], alone, rtol=1e-12)
        one = criterion(x[s], y[s], LAM[2], intercept=intercept)
        assert np.shape(one) == ()
        assert one == pytest.approx(alone[2], rel=1e-12)
    shared = criterion(x[0], y, LAM[:, None], intercept=intercept)
    np.testing.assert_allclose(shared[:, 0], together[:, 0], rtol=1e-12)
    np.testing.assert_allclose(shared[:, 1], criterion(x[0], y[1], LAM, intercept=intercept), rtol=1e-12)


@each_intercept
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_a_data_set_among_many_has_the_criteria_it_has_alone(criterion, intercept):
    law_a_data_set_among_many_has_the_criteria_it_has_alone(criterion, intercept)


@pytest.mark.parametrize("name", CRITERIA)
@given(scale=st.sampled_from([0.5, 2.0, 64.0]), shift=st.floats(-100, 100))
def test_units_and_origins_do_not_matter(name, scale, shift):
    """Errors are in the units of y squared; an information criterion moves by the same for all models."""
    x, y = problem()
    ours, theirs = CRITERIA[name](x, y, LAM), CRITERIA[name](x, scale * y + shift, LAM)
    if "known" in name:
        return
    expected = ours + 20 * np.log(scale**2) if "IC" in name else ours * scale**2
    np.testing.assert_allclose(theirs, expected, rtol=1e-8)


def test_each_criterion_chooses_a_good_lambda():
    """Its choice predicts new data nearly as well as the best lambda does, which only new data can tell."""
    x, y, truth = sparse_regression(range(40), 60, 20, 20, 12.0)
    lam = np.geomspace(1e-3, 1e3, 60)[:, None]
    risk = ((ridge(x, y, lam).coef - truth) ** 2).sum(-1)  # the features are uncorrelated, with variance 1
    for name in ("leave one out", "generalized", "AIC"):
        chosen = CRITERIA[name](x, y, lam).argmin(0)
        lost = np.median(risk[chosen, np.arange(40)] / risk.min(0))
        assert lost < 1.25, (name, lost)
        assert lost < np.median(risk[[0, -1]].min(0) / risk.min(0))


# -- information criteria ------------------------------------------------------------------------------------


def law_the_lasso_has_lassolarsics_values(criterion="aic", intercept=True, variance=None):
    x, y = load("diabetes").x, load("diabetes").y
    theirs = LassoLarsIC(criterion, fit_intercept=intercept, noise_variance=variance).fit(x, y)
    path = lasso_path(x, y, intercept=intercept)
    np.testing.assert_allclose(path.knots / 2, theirs.alphas_, rtol=1e-10, atol=1e-15)
    fit = LinearFit(path.coefs, path.intercepts)  # at the knots themselves: rounding moves no feature across
    ours = lasso_information(x, y, fit, criterion, variance=variance, intercept=intercept)
    np.testing.assert_allclose(ours, theirs.criterion_, rtol=1e-10)
    assert theirs.alpha_ == theirs.alphas_[ours.argmin()]


@each_intercept
@pytest.mark.parametrize("criterion", ["aic", "bic"])
@pytest.mark.parametrize("variance", [None, 2000.0])
def test_the_lasso_has_lassolarsics_values(criterion, intercept, variance):
    law_the_lasso_has_lassolarsics_values(criterion, intercept, variance)


def law_both_choose_the_published_model_of_the_diabetes_data():
    """Seven of ten features (Zou, Hastie and Tibshirani 2007, figure 2), at scikit-learn's alpha = 0.950407
    for features of variance 1, which is half of our l1."""
    (x,), y = standardize(load("diabetes").x), load("diabetes").y
    path = lasso_path(x, y)
    fit = LinearFit(path.coefs, path.intercepts)
    for criterion in ("aic", "bic"):
        chosen = lasso_information(x, y, fit, criterion).argmin()
        assert path.knots[chosen] / 2 == pytest.approx(0.950407, abs=5e-7)
        assert (path.coefs[chosen] != 0).sum() == 7


def test_both_choose_the_published_model_of_the_diabetes_data():
    law_both_choose_the_published_model_of_the_diabetes_data()


def test_aic_is_the_default_and_differs_from_bic_by_its_price_alone():
    x, y = problem()
    fit = lasso_path(x, y).at(LAM)
    for values, df in [
        (partial(lasso_information, x, y, fit), (fit.coef != 0).sum(-1)),
        (partial(ridge_information, x, y, LAM), effective_degrees_of_freedom(x, LAM)),
    ]:
        np.testing.assert_array_equal(values(), values("aic"))
        np.testing.assert_allclose(values("bic") - values("aic"), (np.log(20) - 2) * df, rtol=1e-12)


def test_no_minimum_lies_between_knots():
    x, y = problem()
    path = lasso_path(x, y)
    between = path.knots[0] * np.linspace(1e-4, 1, 500)
    for criterion in ("aic", "bic"):
        at_knots = lasso_information(x, y, path.at(path.knots), criterion).min()
        assert lasso_information(x, y, path.at(between), criterion).min() >= at_knots


def law_the_value_is_minus_twice_the_log_likelihood_and_a_price(intercept=True):
    x, y = problem()
    v = noise_variance(x, y, intercept=intercept)
    values = {c: ridge_information(x, y, LAM, c, intercept=intercept) for c in ("aic", "bic")}
    for l, lam in enumerate(LAM):  # noqa: E741
        fitted = ridge(x, y, lam, intercept=intercept).predict(x)
        df = np.trace(hat(x, lam, intercept)) - intercept
        likelihood = -2 * norm(fitted, np.sqrt(v)).logpdf(y).sum()
        assert values["aic"][l] == pytest.approx(likelihood + 2 * df, rel=1e-12)
        assert values["bic"][l] == pytest.approx(likelihood + np.log(20) * df, rel=1e-12)


@each_intercept
def test_the_value_is_minus_twice_the_log_likelihood_and_a_price(intercept):
    law_the_value_is_minus_twice_the_log_likelihood_and_a_price(intercept)


def test_aic_ranks_models_as_mallows_cp_does():
    x, y = problem()
    path = lasso_path(x, y)
    difference = lasso_information(x, y, path.at(path.knots)) - mallows_cp(x, y, path)
    left = [event is not None and not event.joins for event in path.events]
    assert not any(left)  # where a feature leaves, Cp would count it and a count of non-zeros would not
    v = noise_variance(x, y)
    np.testing.assert_allclose(difference, 20 * np.log(2 * np.pi * v) + 20 - 2, rtol=1e-12)


@each_intercept
def test_the_noise_variance_is_unbiased(intercept):
    """Over 4000 data sets its mean is the truth, 4; dividing by n would miss it by a third."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 15, 4))
    y = x[..., 0] + intercept * 7 + 2 * rng.standard_normal((4000, 15))
    v = noise_variance(x, y, intercept=intercept)
    assert v.shape == (4000,)
    assert v.mean() == pytest.approx(4, abs=4 * v.std() / np.sqrt(4000))


def law_features_that_add_nothing_do_not_count():
    """A copy, and a constant beside the intercept."""
    x, y = problem()
    for more in (x, np.ones(20)):
        assert noise_variance(np.c_[x, more], y) == pytest.approx(noise_variance(x, y), rel=1e-12)


def test_features_that_add_nothing_do_not_count():
    law_features_that_add_nothing_do_not_count()


@each_intercept
def test_without_a_residual_there_is_no_estimate_of_the_noise(intercept):
    x, y = problem(5 + intercept, 5)
    with refused("x", ValueError):
        noise_variance(x, y, intercept=intercept)
    with refused("x", ValueError):
        ridge_information(x, y, 1.0, intercept=intercept)
    assert np.isfinite(ridge_information(x, y, 1.0, variance=1.0, intercept=intercept))
    x, y = problem(6 + intercept, 5)
    assert noise_variance(x, y, intercept=intercept) > 0


# -- bad input -----------------------------------------------------------------------------------------------

X, Y = problem()


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": np.ones(20)}), ("x", {"x": X * np.nan}), ("x", {"x": "x"}),
        ("y", {"y": Y[:-1]}), ("y", {"y": Y * np.inf}), ("y", {"y": None}),
        ("lam", {"lam": -1.0}), ("lam", {"lam": np.nan}), ("lam", {"lam": "1"}), ("lam", {"lam": []}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(criterion, name, change):
    with refused(name):
        criterion(**{"x": X, "y": Y, "lam": 1.0} | change)


@pytest.mark.parametrize(("name", "x"), [("x", np.ones(20)), ("x", "x"), ("x", X * np.nan)])
def test_bad_data_are_refused_for_the_lasso(name, x):
    with refused(name):
        lasso_information(x, Y, ridge(X, Y, 1.0))


@pytest.mark.parametrize(
    "information", [partial(ridge_information, X, Y, 1.0), partial(lasso_information, X, Y, ridge(X, Y, 1.0))]
)
def test_bad_criteria_and_variances_are_refused(information):
    with refused("criterion", ValueError):
        information("AIC")
    for variance in (0.0, -1.0, np.nan, "2"):
        with refused("variance"):
            information(variance=variance)


def test_a_grid_that_does_not_fit_the_data_sets_is_refused():
    x, y = problem(lead=(3,))
    for criterion in CRITERIA.values():
        with refused("lam", ValueError):
            criterion(x, y, LAM)
        with refused("lam", ValueError):
            criterion(x[0], y, LAM)


def test_callers_arrays_stay_as_they_are_and_float32_is_computed_in_float64():
    x, y = (a.astype(np.float32) for a in problem())
    before = x.copy(), y.copy()
    for criterion in CRITERIA.values():
        exact = criterion(x.astype(float), y.astype(float), LAM)
        np.testing.assert_array_equal(criterion(x, y, LAM), exact)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


# -- planted bugs --------------------------------------------------------------------------------------------


def here(name, right, wrong, law):
    """The laws call functions by their names in this module."""
    return Bug(sys.modules[__name__], name, right, wrong, law)


def residuals(right, wrong, law=law_leave_one_out_is_the_loop):
    return Bug(criteria, "_residuals", right, wrong, law)


def information(right, wrong, law):
    return Bug(criteria, "_information", right, wrong, law)


likelihood = law_the_value_is_minus_twice_the_log_likelihood_and_a_price
BUGS = {
    "lambda is that of n examples": here(
        "leave_one_out", " * ((n - 1) / n)", "", law_leave_one_out_is_the_loop
    ),
    "the leverage lacks the intercept": residuals("intercept / u.shape[-2] + ", ""),
    "the leverage is that of least squares": residuals("@ f[..., None]", "@ np.sign(f)[..., None]"),
    "the leverage has the square of the shrinkage": residuals("@ f[..., None]", "@ (f * f)[..., None]"),
    "the data are not centered": residuals(
        "centered(x, y, intercept=intercept).x", "centered(x, y, intercept=False).x"
    ),
    "residuals are divided by the root of 1 - h": here(
        "leave_one_out", "_below_one(leverage)", "np.sqrt(_below_one(leverage))",
        law_leave_one_out_is_the_loop,
    ),
    "errors are summed": here(
        "leave_one_out", ".mean(-1)", ".sum(-1)", law_leave_one_out_is_the_loop
    ),
    "GCV's denominator is not squared": here(
        "generalized_cross_validation", "_below_one(leverage.mean(-1)) ** 2", "_below_one(leverage.mean(-1))",
        law_generalized_cross_validation_is_its_formula,
    ),
    "GCV takes each leverage": here(
        "generalized_cross_validation",
        "(residual**2).mean(-1) / _below_one(leverage.mean(-1)) ** 2",
        "(residual**2 / _below_one(leverage) ** 2).mean(-1)",
        law_generalized_cross_validation_is_its_formula,
    ),
    "GCV at the lambda of n - 1 examples": here(
        "generalized_cross_validation", "(x, y, lam,", "(x, y, lam * (1 - 1 / len(x)),",
        law_generalized_cross_validation_is_its_formula,
    ),
    "the noise variance is divided by n": here(
        "noise_variance", "/ spare", "/ n", likelihood
    ),
    "the noise variance forgets the intercept": Bug(
        criteria, "noise_variance", "matrix_rank(data.x) - intercept", "matrix_rank(data.x)",
        law_the_lasso_has_lassolarsics_values,
    ),
    "columns are counted, not their rank": here(
        "noise_variance", "np.linalg.matrix_rank(data.x)", "data.x.shape[-1]",
        law_features_that_add_nothing_do_not_count,
    ),
    "BIC's price is 2": information("np.log(n)}", "2.0}", likelihood),
    "BIC's logarithm has base 10": information("np.log(n)}", "np.log10(n)}", likelihood),
    "AIC's price is 1": information('"aic": 2.0', '"aic": 1.0', likelihood),
    "each model has a variance of its own": information(
        "noise_variance(x, y, intercept=intercept) if variance is None else variance",
        "objective(x, y, fit, 0.0)", likelihood,
    ),
    "the mean of squares stands for their sum": information(
        "n * (np.log(2 * np.pi * v) + objective(x, y, fit, 0.0) / v)",
        "(n * np.log(2 * np.pi * v) + objective(x, y, fit, 0.0) / v)", likelihood,
    ),
    "the lasso's df are all features": here(
        "lasso_information", "(fit.coef != 0).sum(-1)", "fit.coef.shape[-1]",
        law_both_choose_the_published_model_of_the_diabetes_data,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
