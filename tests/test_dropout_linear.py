"""The closed forms of dropout on linear regression, held against all 2^d masks and against training."""

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import Bug, check_noticed
from test_checks import refused

from regularize import dropout_linear, linear
from regularize.dropout import Dropout
from regularize.dropout_linear import (
    adaptive_penalty,
    all_masks,
    dropout_ridge,
    enumerated_loss,
    expected_loss,
)
from regularize.layers import Dense
from regularize.linear import LinearFit
from regularize.losses import squared_error
from regularize.network import Network
from regularize.numerical import numerical_gradient
from regularize.optimizers import SGD


def problem(n=30, d=5, lead=(), seed=0):
    """Correlated features with unequal means and scales, and an offset."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*lead, n, d)) + rng.standard_normal((*lead, n, 1))
    x = x * np.linspace(0.3, 2, d) + np.linspace(1, -1, d)
    return x, x[..., :2].sum(-1) + 0.5 * rng.standard_normal((*lead, n)) + 3


def some_fit(d=5, lead=(), seed=1):
    rng = np.random.default_rng(seed)
    return LinearFit(rng.standard_normal((*lead, d)), rng.standard_normal(lead))


def close(a, b, tol=1e-13):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol * np.abs(b).max())


# -- the closed form -----------------------------------------------------------------------------------------


def law_the_expected_loss_is_the_mean_over_all_masks(rate=0.3, d=5, lead=()):
    (x, y), fit = problem(d=d, lead=lead), some_fit(d, lead)
    close(expected_loss(x, y, fit, rate), enumerated_loss(x, y, fit, rate))


@pytest.mark.parametrize("d", [1, 2, 10])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_the_expected_loss_is_the_mean_over_all_masks(rate, d):
    law_the_expected_loss_is_the_mean_over_all_masks(rate, d)


def test_the_ten_features_of_the_book_agree_to_the_last_digits():
    (x, y), fit = problem(d=10), some_fit(10)
    difference = expected_loss(x, y, fit, 0.5) / enumerated_loss(x, y, fit, 0.5) - 1
    assert abs(difference) < 4e-15


@given(rate=st.floats(0, 0.95), seed=st.integers(0, 50), d=st.integers(1, 6))
@settings(max_examples=30)
def test_the_expected_loss_is_the_mean_over_all_masks_whatever_the_data(rate, seed, d):
    (x, y), fit = problem(d=d, seed=seed), some_fit(d, seed=seed)
    close(expected_loss(x, y, fit, rate), enumerated_loss(x, y, fit, rate), 1e-11)


def law_the_penalty_is_that_of_the_formula():
    x, w = np.array([[1.0, 3.0], [-2.0, 1.0]]), np.array([2.0, -1.0])
    assert adaptive_penalty(x, w, 0.2) == pytest.approx(0.25 * (4 * 2.5 + 1 * 5.0), rel=1e-15)
    assert adaptive_penalty(x, w, 0.0) == 0


def test_the_penalty_is_that_of_the_formula():
    law_the_penalty_is_that_of_the_formula()


def test_the_expected_loss_is_the_loss_plus_the_penalty():
    (x, y), fit = problem(), some_fit()
    loss = ((y - fit.predict(x)) ** 2).mean()
    close(expected_loss(x, y, fit, 0.3), loss + adaptive_penalty(x, fit.coef, 0.3))
    close(expected_loss(x, y, fit, 0.0), loss)


def law_a_mask_for_each_example_has_the_same_mean():
    """What the layer does: two examples, so 4^2 pairs of masks for two features."""
    (x, y), fit, rate = problem(n=2, d=2), some_fit(2), 0.3
    masks, total = all_masks(2), 0.0
    for first in masks:
        for second in masks:
            m = np.stack([first, second])
            probability = np.where(m, 1 - rate, rate).prod()
            total += probability * ((y - fit.predict(x * m / (1 - rate))) ** 2).mean()
    close(enumerated_loss(x, y, fit, rate), total)


def test_a_mask_for_each_example_has_the_same_mean():
    law_a_mask_for_each_example_has_the_same_mean()


def test_standard_scaling_is_the_same_at_rescaled_weights():
    """Without the division, v has the loss of w = (1 - p) v, with the penalty p (1 - p) sum v^2 s^2."""
    (x, y), fit, rate = problem(), some_fit(), 0.3
    v, total = fit.coef / (1 - rate), 0.0
    for m in all_masks(5):
        probability = np.where(m, 1 - rate, rate).prod()
        total += probability * ((y - fit.intercept - (m * x) @ v) ** 2).mean()
    close(expected_loss(x, y, fit, rate), total)
    rescaled = ((y - fit.intercept - (1 - rate) * (x @ v)) ** 2).mean()
    close(total, rescaled + rate * (1 - rate) * (v**2 * (x**2).mean(0)).sum())


def test_the_layer_has_this_loss_on_average():
    """1000 passes of the layer that the book trains with, within 5 standard errors."""
    (x, y), fit = problem(), some_fit()
    net = Network(Dropout(0.3), Dense(5, 1), seeds=range(1000))
    net.layers[1].W[...] = fit.coef[:, None]
    net.layers[1].b[...] = fit.intercept
    loss = squared_error(net(x, train=True), np.broadcast_to(y[:, None], (1000, 30, 1)))[0]
    assert abs(loss.mean() - expected_loss(x, y, fit, 0.3)) < 5 * loss.std() / np.sqrt(1000)


# -- the minimizer -------------------------------------------------------------------------------------------


def law_the_minimizer_has_no_slope(rate=0.4, intercept=True):
    """Of the mean over all masks, by finite differences: exact for a quadratic but for rounding."""
    x, y = problem()
    fit = dropout_ridge(x, y, rate, intercept=intercept)
    w, b = fit.coef.copy(), np.array(float(fit.intercept))
    slopes = [
        numerical_gradient(lambda: enumerated_loss(x, y, LinearFit(w, b), rate), a, step=1e-3) for a in (w, b)
    ]
    scale = expected_loss(x, y, LinearFit(np.zeros(5), np.zeros(())), rate)
    assert np.abs(slopes[0]).max() < 1e-10 * scale
    if intercept:
        assert abs(slopes[1]) < 1e-10 * scale
    else:
        assert b == 0


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.9])
def test_the_minimizer_has_no_slope(rate, intercept):
    law_the_minimizer_has_no_slope(rate, intercept)


@given(seed=st.integers(0, 100), step=st.floats(1e-3, 10))
@settings(max_examples=30)
def test_every_step_away_from_the_minimizer_costs(seed, step):
    x, y = problem()
    best, away = dropout_ridge(x, y, 0.4), some_fit(seed=seed)
    other = LinearFit(best.coef + step * away.coef, best.intercept + step * away.intercept)
    assert expected_loss(x, y, other, 0.4) > expected_loss(x, y, best, 0.4)


def law_the_minimizer_solves_the_normal_equations():
    """``(X'X / n + p / (1 - p) diag(s^2)) w = X'y / n`` without an intercept."""
    x, y = problem()
    matrix = x.T @ x / 30 + 3 / 7 * np.diag((x**2).mean(0))
    close(dropout_ridge(x, y, 0.3, intercept=False).coef, np.linalg.solve(matrix, x.T @ y / 30), 1e-12)


def test_the_minimizer_solves_the_normal_equations():
    law_the_minimizer_solves_the_normal_equations()


def test_on_features_of_mean_square_one_it_is_plain_ridge():
    x, y = problem()
    x = x / np.sqrt((x**2).mean(0))
    ours, ridge = dropout_ridge(x, y, 0.2), linear.ridge(x, y, 0.25)
    close(ours.coef, ridge.coef, 1e-12)
    close(ours.intercept, ridge.intercept, 1e-12)


def test_the_unit_of_a_feature_does_not_matter():
    """Unlike plain ridge: a feature in other units gets a weight in other units."""
    x, y = problem()
    units = np.array([1000.0, 0.01, 1, 1, 1])
    close(dropout_ridge(x * units, y, 0.3).coef * units, dropout_ridge(x, y, 0.3).coef, 1e-11)
    plain, rescaled = linear.ridge(x, y, 3 / 7).coef, linear.ridge(x * units, y, 3 / 7).coef * units
    assert np.abs(rescaled / plain - 1).max() > 0.1


def test_an_offset_of_a_feature_makes_its_penalty_larger():
    """Dropout sets a feature to 0, not to its mean: far from 0, that is a greater change."""
    x, y = problem()
    near = dropout_ridge(x - x.mean(0), y, 0.3)
    far = dropout_ridge(x - x.mean(0) + 10, y, 0.3)
    assert (np.abs(far.coef) < np.abs(near.coef)).all()


def test_rate_zero_is_least_squares():
    x, y = problem()
    ours, least = dropout_ridge(x, y, 0.0), linear.least_squares(x, y)
    close(ours.coef, least.coef, 1e-11)
    close(ours.intercept, least.intercept, 1e-11)


def test_where_least_squares_has_many_answers_rate_zero_is_the_limit_of_small_rates():
    x, y = problem()
    x[:, 4] = x[:, 0] - 2 * x[:, 1]
    close(dropout_ridge(x, y, 0.0).coef, dropout_ridge(x, y, 1e-10).coef, 1e-6)


def law_a_feature_that_is_always_zero_gets_no_weight():
    x, y = problem()
    x[:, 2] = 0
    fit = dropout_ridge(x, y, 0.3)
    assert fit.coef[2] == 0
    rest = [0, 1, 3, 4]
    close(fit.coef[rest], dropout_ridge(x[:, rest], y, 0.3).coef, 1e-12)


def test_a_feature_that_is_always_zero_gets_no_weight():
    law_a_feature_that_is_always_zero_gets_no_weight()


def test_gradient_descent_with_dropout_wanders_around_the_minimizer():
    """64 members, the mean of their last weights: within 5 standard errors, and far from least squares."""
    x, y = problem()
    best, rate, members = dropout_ridge(x, y, 0.4, intercept=False).coef, 0.4, 64
    net = Network(Dropout(rate), Dense(5, 1), seeds=range(members))
    net.theta[...] = 0
    sgd, targets, mean = SGD(2**-6), np.broadcast_to(y[:, None], (members, 30, 1)), 0.0
    for step in range(2000):
        net.backward(squared_error(net(x, train=True), targets)[1])
        net.layers[1].db[...] = 0
        sgd.step(net.theta, net.grad)
        if step >= 500:
            mean = mean + net.layers[1].W[..., 0] / 1500
    error = mean.std(0) / np.sqrt(members)
    assert (np.abs(mean.mean(0) - best) < 5 * error).all()
    least = linear.least_squares(x, y, intercept=False).coef
    assert (np.abs(least - best) > 20 * error).any()


# -- masks ---------------------------------------------------------------------------------------------------


def law_all_masks_are_there_once(features=4):
    masks = all_masks(features)
    assert masks.shape == (2**features, features)
    assert set(np.unique(masks)) == {0, 1}
    assert len(set((masks @ 2 ** np.arange(features)).tolist())) == 2**features


@pytest.mark.parametrize("features", [1, 4, 16])
def test_all_masks_are_there_once(features):
    law_all_masks_are_there_once(features)


def law_every_share_of_kept_features_has_its_binomial_weight(rate=0.2):
    """The probabilities sum to 1, and the count of kept features has the variance d p (1 - p)."""
    nothing = LinearFit(np.zeros(3), np.zeros(()))
    close(enumerated_loss(np.eye(3), np.ones(3), nothing, rate), 1.0)
    count = LinearFit(np.ones(3) * (1 - rate), np.zeros(()))  # predicts how many features are kept
    loss = enumerated_loss(np.ones((1, 3)), np.array([3 * (1 - rate)]), count, rate)
    close(loss, 3 * rate * (1 - rate))


def test_every_share_of_kept_features_has_its_binomial_weight():
    law_every_share_of_kept_features_has_its_binomial_weight()


# -- members -------------------------------------------------------------------------------------------------

RATES = np.array([[0.1], [0.6]])


def law_a_member_is_computed_alone():
    """Rates x data sets at once, and shared data with many rates."""
    x, y = problem(lead=(3,))
    fits = dropout_ridge(x, y, RATES)
    assert fits.coef.shape == (2, 3, 5)
    assert fits.intercept.shape == (2, 3)
    losses = [f(x, y, fits, RATES) for f in (expected_loss, enumerated_loss)]
    penalties = adaptive_penalty(x, fits.coef, RATES)
    for r, s in np.ndindex(2, 3):
        rate = float(RATES[r, 0])
        alone = dropout_ridge(x[s], y[s], rate)
        close(fits[r, s].coef, alone.coef)
        close(fits[r, s].intercept, alone.intercept)
        close(penalties[r, s], adaptive_penalty(x[s], alone.coef, rate))
        for loss, f in zip(losses, (expected_loss, enumerated_loss), strict=True):
            close(loss[r, s], f(x[s], y[s], alone, rate))
    shared = dropout_ridge(x[0], y[0], [0.1, 0.6])
    close(shared.coef, fits[:, 0].coef)
    close(enumerated_loss(x[0], y[0], shared, [0.1, 0.6]), expected_loss(x[0], y[0], shared, [0.1, 0.6]))


def test_a_member_is_computed_alone():
    law_a_member_is_computed_alone()


def test_lists_and_float32_are_computed_in_float64_and_arrays_are_left_as_they_are():
    (x, y), fit = problem(), some_fit()
    copies = x.copy(), y.copy(), fit.coef.copy()
    rough = [a.astype(np.float32) for a in (x, y, fit.coef)]
    exact = [a.astype(np.float64) for a in rough]
    whole = LinearFit(np.zeros(5, np.float32), np.zeros((), np.float32))
    for f in (expected_loss, enumerated_loss):
        close(f(*rough[:2], fit, 0.3), f(*exact[:2], fit, 0.3))
        close(f(*rough[:2], whole, 0.3), f(*exact[:2], whole, 0.3))
        close(f(x.tolist(), y.tolist(), fit, 0.3), f(x, y, fit, 0.3))
    close(adaptive_penalty(rough[0], rough[2], 0.3), adaptive_penalty(exact[0], exact[2], 0.3))
    close(dropout_ridge(*rough[:2], 0.3).coef, dropout_ridge(*exact[:2], 0.3).coef)
    close(dropout_ridge(x.tolist(), y.tolist(), 0.3).coef, dropout_ridge(x, y, 0.3).coef)
    for a, b in zip((x, y, fit.coef), copies, strict=True):
        np.testing.assert_array_equal(a, b)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.1, 1.0, np.nan, "0.5", None])
def test_a_rate_lies_between_zero_and_one(bad):
    (x, y), fit = problem(), some_fit()
    for call in (
        lambda: adaptive_penalty(x, fit.coef, bad),
        lambda: expected_loss(x, y, fit, bad),
        lambda: enumerated_loss(x, y, fit, bad),
        lambda: dropout_ridge(x, y, bad),
    ):
        with refused("rate"):
            call()


def test_data_of_the_wrong_shape_are_refused():
    (x, y), fit = problem(), some_fit()
    for f in (expected_loss, enumerated_loss):
        with refused("x"):
            f(x[:, :4], y, fit, 0.3)
        with refused("x"):
            f(np.full_like(x, np.nan), y, fit, 0.3)
    for data in (x, np.stack([x, x])):
        with refused("y"):
            enumerated_loss(data, y[:-1], fit, 0.3)
        with refused("y"):
            dropout_ridge(data, y[:-1], 0.3)
    for bad in (x[0], np.full_like(x, np.inf), "x"):
        with refused("x"):
            dropout_ridge(bad, y, 0.3)
    for bad in (fit.coef[:-1], np.full(5, np.nan), None):
        with refused("coef"):
            adaptive_penalty(x, bad, 0.3)


@pytest.mark.parametrize("bad", [0, 17, 2.0, None])
def test_there_are_masks_for_one_to_sixteen_features(bad):
    with refused("features"):
        all_masks(bad)


# -- planted bugs --------------------------------------------------------------------------------------------

HERE = sys.modules[__name__]  # the laws call functions by their names in this module
mean = law_the_expected_loss_is_the_mean_over_all_masks
minimum = partial(law_the_minimizer_has_no_slope, 0.4)

BUGS = {
    "p (1 - p) instead of p / (1 - p)": Bug(
        dropout_linear, "_lam", "rate / (1 - rate)", "rate * (1 - rate)", mean
    ),
    "(1 - p) / p instead of p / (1 - p)": Bug(
        dropout_linear, "_lam", "rate / (1 - rate)", "(1 - rate) / np.maximum(rate, 1e-9)", minimum
    ),
    "the features are not squared": Bug(
        dropout_linear, "_root_mean_square", "(x**2).mean(-2)", "abs(x).mean(-2)", mean
    ),
    "the variance stands for the mean square": Bug(
        dropout_linear, "_root_mean_square", "(x**2).mean(-2)", "x.var(-2)", mean
    ),
    "the sum stands for the mean over examples": Bug(
        dropout_linear, "_root_mean_square", "(x**2).mean(-2)", "(x**2).sum(-2)", minimum
    ),
    "plain ridge for adaptive ridge": Bug(
        HERE, "dropout_ridge", "x / s[..., None, :]", "x", law_the_minimizer_solves_the_normal_equations
    ),
    "the weights stay in units of the scaled features": Bug(
        HERE, "dropout_ridge", "fit.coef / s", "fit.coef", minimum
    ),
    "the intercept is forgotten": Bug(
        HERE, "dropout_ridge", "fit.coef / s, fit.intercept", "fit.coef / s, 0.0 * fit.intercept", minimum
    ),
    "the intercept is always fitted": Bug(
        HERE, "dropout_ridge", "intercept=intercept", "intercept=True",
        law_the_minimizer_solves_the_normal_equations,
    ),
    "a feature that is always 0 divides by 0": Bug(
        HERE, "dropout_ridge", "np.where(s > 0, s, np.inf)", "np.maximum(s, 1e-300)",
        law_a_feature_that_is_always_zero_gets_no_weight,
    ),
    "all masks are equally likely": Bug(
        HERE, "enumerated_loss", "keep**kept * (1 - keep) ** (x.shape[-1] - kept)", "0.5 ** x.shape[-1]", mean
    ),
    "keeping and dropping are swapped": Bug(
        HERE, "enumerated_loss", "keep**kept * (1 - keep)", "(1 - keep)**kept * keep", mean
    ),
    "kept features are not scaled": Bug(HERE, "enumerated_loss", "fit.coef / keep", "fit.coef", mean),
    "the intercept is masked, too": Bug(
        HERE, "enumerated_loss", "np.asarray(fit.intercept)[..., None, None]",
        "np.asarray(fit.intercept)[..., None, None] * masks[:, :1]", mean,
    ),
    "some masks are missing": Bug(
        HERE, "all_masks", "np.arange(2**features)[:, None]", "np.arange(2**features)[:, None] // 2 * 2",
        law_all_masks_are_there_once,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
