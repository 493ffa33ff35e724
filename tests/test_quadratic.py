"""Gradient descent on least squares has a closed form, and it is nearly ridge."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Bug, check_noticed
from sklearn.datasets import load_diabetes
from test_checks import refused

from regularize import linear, quadratic
from regularize.layers import Dense
from regularize.losses import squared_error
from regularize.network import Network
from regularize.optimizers import SGD
from regularize.quadratic import (
    curvatures,
    directional_lambda,
    early_stopped,
    matching_lambda,
    matching_steps,
    risk,
    stopping_factors,
)
from regularize.training import fit

STEPS = np.array([0, 1, 2, 10, 100, 1000])


def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def data(lead=(), n=12, p=5):
    rng = np.random.default_rng(3)
    return rng.standard_normal((*lead, n, p)) * np.linspace(0.2, 2, p) + 1, rng.standard_normal(
        (*lead, n)
    ) + 2


def stable(x, share=0.9):
    """That share of the learning rate at which descent diverges, shape lead."""
    return share / curvatures(x).max(-1)


def descended(x, y, learning_rate, steps):
    """Gradient descent step by step, on the centered data."""
    x, y = x - x.mean(-2, keepdims=True), y - y.mean(-1, keepdims=True)
    w = np.zeros(x.shape[:-2] + x.shape[-1:])
    for _ in range(steps):
        w = w - np.asarray(learning_rate)[..., None] * linear.gradient(x, y, w)
    return w


# -- the closed form -----------------------------------------------------------------------------------------


def law_the_closed_form_is_gradient_descent(lead=(), share=0.45):
    """Returns the largest difference, relative to the largest coefficient of least squares."""
    x, y = diabetes() if lead == () else data(lead)
    eta, worst = stable(x, share), 0.0
    scale = np.abs(linear.least_squares(x, y).coef).max()
    for steps in STEPS:
        closed = early_stopped(x, y, eta, int(steps)).coef
        worst = max(worst, np.abs(closed - descended(x, y, eta, steps)).max() / scale)
    assert worst <= (3e-15 if lead == () else 1e-14)
    return worst


@pytest.mark.parametrize("share", [0.1, 0.45, 0.9])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_the_closed_form_is_gradient_descent(lead, share):
    law_the_closed_form_is_gradient_descent(lead, share)


def law_fit_follows_the_closed_form():
    """The library's own training loop: one dense layer that starts at 0, full batches, centered data."""
    x, y = diabetes()
    eta = float(stable(x))
    net = Network(Dense(10, 1, lambda stream, shape: np.zeros(shape)), seeds=[0, 1])
    seen = fit(net, x, y[:, None], SGD(eta), epochs=100, batch_size=len(x), loss=squared_error,
               watch=lambda net: net.layers[0].W[..., 0].copy())  # fmt: skip
    closed = early_stopped(x, y, eta, np.arange(1, 101))
    np.testing.assert_allclose(seen, np.stack([closed.coef] * 2, 1), rtol=0, atol=1e-14)
    np.testing.assert_allclose(net.layers[0].b, 0, atol=1e-14)


def test_fit_follows_the_closed_form():
    law_fit_follows_the_closed_form()


def law_the_intercept_belongs_to_the_weights(intercept=True):
    """The mean residual is 0 at every step; without an intercept nothing is centered."""
    x, y = data()
    eta = 0.9 / curvatures(x, intercept=intercept).max()
    model = early_stopped(x, y, eta, STEPS, intercept=intercept)
    if intercept:
        np.testing.assert_allclose((y - model.predict(x)).mean(-1), 0, atol=1e-14)
        assert model.intercept[0] == pytest.approx(y.mean(), rel=1e-14)
    else:
        assert not model.intercept.any()
        np.testing.assert_allclose(model.coef[1], eta * 2 / len(x) * x.T @ y, rtol=1e-13)


@pytest.mark.parametrize("intercept", [True, False])
def test_the_intercept_belongs_to_the_weights(intercept):
    law_the_intercept_belongs_to_the_weights(intercept)


def law_settings_may_add_axes_in_front():
    """Learning rates (L, 1, 1) and steps (T, 1) on S data sets: every model is that of its own settings."""
    x, y = data((3,))
    rates, steps = stable(x).min() * np.array([0.2, 0.6])[:, None, None], STEPS[:, None]
    models = early_stopped(x, y, rates, steps)
    f, lam = stopping_factors(x, rates, steps), directional_lambda(x, rates, steps[1:])
    assert models.coef.shape == f.shape == (2, 6, 3, 5)
    assert models.intercept.shape == (2, 6, 3)
    assert lam.shape == (2, 5, 3, 5)
    for i, t, s in np.ndindex(2, 6, 3):
        alone = early_stopped(x[s], y[s], float(rates[i, 0, 0]), int(STEPS[t]))
        np.testing.assert_allclose(models.coef[i, t, s], alone.coef, rtol=1e-12, atol=1e-15)
        own = stopping_factors(x[s], float(rates[i, 0, 0]), int(STEPS[t]))
        np.testing.assert_allclose(f[i, t, s], own, rtol=1e-12)


def test_settings_may_add_axes_in_front():
    law_settings_may_add_axes_in_front()


def test_members_may_share_the_examples():
    x, y = data()[0], data((3,))[1]
    models = early_stopped(x, y, stable(x), 7)
    assert models.coef.shape == (3, 5)
    for s in range(3):
        np.testing.assert_allclose(models.coef[s], early_stopped(x, y[s], stable(x), 7).coef, rtol=1e-12)


def law_descent_ends_at_least_squares_and_starts_at_zero():
    x, y = data()
    models = early_stopped(x, y, stable(x), [0, 100_000])
    assert not models.coef[0].any()
    np.testing.assert_allclose(models.coef[1], linear.least_squares(x, y).coef, rtol=1e-9)


def test_descent_ends_at_least_squares_and_starts_at_zero():
    law_descent_ends_at_least_squares_and_starts_at_zero()


def test_what_x_does_not_span_stays_zero():
    """More features than examples, a copied and a constant feature: as ridge has it, for lambda to 0."""
    x, y = data(n=4, p=6)
    x[:, 5], x[:, 4] = x[:, 0], 7.0
    model = early_stopped(x, y, stable(x), 10**6)
    np.testing.assert_allclose(model.coef, linear.least_squares(x, y).coef, rtol=1e-7, atol=1e-12)
    assert abs(model.coef[4]) < 1e-12
    assert model.coef[0] == pytest.approx(model.coef[5], rel=1e-12)


def test_one_step_along_two_axes_one_of_them_empty():
    model = early_stopped(np.diag([1.0, 0.0]), [1.0, 1.0], 0.25, 1, intercept=False)
    np.testing.assert_allclose(model.coef, [0.25, 0.0], rtol=1e-15)  # eta 2 / n x'y


def test_on_constant_features_nothing_is_learned():
    x, y = np.ones((5, 2)), np.arange(5.0)
    model = early_stopped(x, y, 0.3, [0, 9])
    assert not model.coef.any()
    np.testing.assert_array_equal(model.intercept, 2.0)
    np.testing.assert_array_equal(stopping_factors(x, 0.3, 9), 0)
    np.testing.assert_allclose(directional_lambda(x, 0.25, 8), 0.25)
    assert risk([0, 0], x, 3.0, 1.0) == 6.0


# -- the shares ----------------------------------------------------------------------------------------------


def law_curvatures_are_variances_along_principal_directions():
    """And J bends by 2 h along them: its second difference at any point."""
    x, _ = data((2,))
    h = curvatures(x)
    covariance = np.stack([np.cov(part, rowvar=False, bias=True) for part in x])
    np.testing.assert_allclose(h, np.linalg.eigvalsh(covariance)[:, ::-1], rtol=1e-12)
    raw = curvatures(x, intercept=False)
    np.testing.assert_allclose(raw, np.linalg.eigvalsh(x.mT @ x / 12)[:, ::-1], rtol=1e-12)
    bend = linear.gradient(x[0], np.zeros(12), np.linalg.svd(x[0])[2][0])
    assert np.linalg.norm(bend) == pytest.approx(2 * raw[0, 0], rel=1e-12)


def test_curvatures_are_variances_along_principal_directions():
    law_curvatures_are_variances_along_principal_directions()


def law_the_shares_are_the_formula(share=0.9):
    """In exact arithmetic, which the library's must match to the last digits even where 2 eta h is tiny."""
    x = np.diag([1.0, 1e-3, 1e-6])
    eta = share * 3.0
    h = curvatures(x, intercept=False)
    for steps in (1, 3, 20):
        exact = [float(1 - (1 - 2 * Fraction(eta) * Fraction(float(v))) ** steps) for v in h]
        np.testing.assert_allclose(stopping_factors(x, eta, steps, intercept=False), exact, rtol=1e-14)


@pytest.mark.parametrize("share", [0.05, 0.2499, 0.25, 0.2501, 0.5, 0.9])
def test_the_shares_are_the_formula(share):
    law_the_shares_are_the_formula(share)


def test_small_steps_never_overshoot_and_large_ones_do():
    x, _ = data()
    small = stopping_factors(x, stable(x, 0.5), STEPS)
    assert (small[0] == 0).all()
    assert ((small >= 0) & (small <= 1)).all()
    assert (np.diff(small, axis=0) >= 0).all()
    assert (np.diff(small, axis=-1) <= 0).all()  # largest direction first, and fastest
    assert stopping_factors(x, stable(x, 0.9), 1)[0] == pytest.approx(1.8, rel=1e-13)


def law_weak_directions_agree_with_ridge_at_matching_lambda():
    """To first order in eta t h; on strong ones descent has come further."""
    x = np.diag([1.0, 1e-5])
    eta, steps = 0.2, 50
    lam = matching_lambda(eta, steps)
    descent = stopping_factors(x, eta, steps, intercept=False)
    ridge = linear.shrinkage_factors(x, lam, intercept=False)
    assert descent[1] == pytest.approx(ridge[1], rel=1e-7)
    assert descent[0] > 1.05 * ridge[0]


def test_weak_directions_agree_with_ridge_at_matching_lambda():
    law_weak_directions_agree_with_ridge_at_matching_lambda()


@given(eta=st.floats(1e-6, 1e3), steps=st.integers(1, 10**6))
def test_steps_and_lambda_are_exchanged_back_and_forth(eta, steps):
    lam = matching_lambda(eta, steps)
    assert 2 * eta * steps * lam == pytest.approx(1, rel=1e-14)
    assert matching_steps(eta, lam) == pytest.approx(steps, rel=1e-14)


def test_exchanges_take_arrays():
    np.testing.assert_array_equal(matching_lambda([0.25, 0.5], 2), [1.0, 0.5])
    np.testing.assert_array_equal(matching_steps(0.25, [[1.0], [0.5]]), [[2.0], [4.0]])


def law_descent_is_ridge_with_a_lambda_for_each_direction():
    x, y = data()
    eta, steps = stable(x, 0.4), 15
    lam = directional_lambda(x, eta, steps)
    assert (lam > 0).all()
    assert (lam <= matching_lambda(eta, steps)).all()
    assert (np.diff(lam) > 0).all()
    _, _, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    xc, n = x - x.mean(0), len(x)
    ridge = np.linalg.solve(xc.T @ xc + n * vt.T @ np.diag(lam) @ vt, xc.T @ (y - y.mean()))
    np.testing.assert_allclose(early_stopped(x, y, eta, steps).coef, ridge, rtol=1e-12)


def test_descent_is_ridge_with_a_lambda_for_each_direction():
    law_descent_is_ridge_with_a_lambda_for_each_direction()


def test_the_weakest_direction_has_the_matching_lambda():
    x = np.diag([1.0, 1e-7, 0.0])
    lam = directional_lambda(x, 0.3, 40, intercept=False)
    np.testing.assert_allclose(lam[1:], matching_lambda(0.3, 40), rtol=1e-11)


# -- the risk ------------------------------------------------------------------------------------------------


def law_the_risk_is_what_simulation_finds(n=12):
    """With 20 000 draws of weights and errors the mean is within five standard errors."""
    rng = np.random.default_rng(0)
    (x, _), (signal, noise) = data(n=n), (0.7, 0.4)
    w = np.sqrt(signal) * rng.standard_normal((20_000, 5))
    y = w @ x.T + np.sqrt(noise) * rng.standard_normal((20_000, n)) + 3
    for model, f in [
        (early_stopped(x, y, stable(x), 9), stopping_factors(x, stable(x), 9)),
        (linear.ridge(x, y, 0.3), linear.shrinkage_factors(x, 0.3)),
    ]:
        errors = ((model.coef - w) ** 2).sum(-1)
        expected = risk(f, x, signal, noise)
        assert abs(errors.mean() - expected) <= 5 * errors.std() / np.sqrt(len(errors))
        assert errors.std() / np.sqrt(len(errors)) < 0.02 * expected  # sharp enough to mean something


@pytest.mark.parametrize("n", [12, 4])
def test_the_risk_is_what_simulation_finds(n):
    law_the_risk_is_what_simulation_finds(n)


def law_no_shares_are_better_than_those_of_the_best_ridge():
    x, _ = data()
    signal, noise, n = 0.7, 0.4, len(x)
    best = linear.shrinkage_factors(x, noise / (n * signal))
    least = risk(best, x, signal, noise)
    others = best + 0.1 * np.random.default_rng(0).standard_normal((100, 5))
    assert (risk(others, x, signal, noise) > least).all()
    assert risk(np.ones(5), x, signal, noise) == pytest.approx(
        noise / n * (1 / curvatures(x)).sum(), rel=1e-12
    )
    assert risk(np.zeros(5), x, signal, noise) == pytest.approx(5 * signal, rel=1e-14)


def test_no_shares_are_better_than_those_of_the_best_ridge():
    law_no_shares_are_better_than_those_of_the_best_ridge()


def test_the_risk_takes_settings_in_front():
    x, _ = data((3,))
    f = stopping_factors(x, stable(x), STEPS[:, None])
    r = risk(f, x, [0.5, 1.0, 2.0], 0.1)
    assert r.shape == (6, 3)
    for s, signal in enumerate([0.5, 1.0, 2.0]):
        np.testing.assert_allclose(r[:, s], risk(f[:, s], x[s], signal, 0.1), rtol=1e-12)


def test_the_same_shares_have_a_risk_on_each_data_set():
    x, _ = data((3,))
    np.testing.assert_allclose(
        risk(np.full(5, 0.5), x, 1.0, 2.0), [risk(np.full(5, 0.5), part, 1.0, 2.0) for part in x], rtol=1e-14
    )


SMALL = 1e-4  # of the largest stable learning rate: nearly gradient flow


def spectra():
    """Random data with spectra of every kind, as many as are needed to come near the bounds."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        p = int(rng.integers(1, 8))
        yield np.diag(10 ** rng.uniform(-2, 1, p)), 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-2, 2)


def law_stopping_costs_at_most_22_percent():
    """At the time that belongs to the best ridge (Ali, Kolter and Tibshirani 2019); the worst is 1.2147.

    Per direction, with u = h / lambda, the ratio of the risks is (1 + u) (exp(-2u) + (1 - exp(-u))^2 / u).
    """
    ratios = []
    for x, signal, noise in [*spectra(), (np.diag([1.0, 1.0]), 1.0, 1 / 3.2)]:
        lam = noise / (len(x) * signal)
        eta = min(SMALL / curvatures(x, intercept=False).max(), SMALL / lam)
        steps = round(matching_steps(eta, lam))
        ratios.append(
            risk(stopping_factors(x, eta, steps, intercept=False), x, signal, noise, intercept=False)
            / risk(linear.shrinkage_factors(x, lam, intercept=False), x, signal, noise, intercept=False)
        )
    assert min(ratios) >= 1
    assert max(ratios) <= 1.22
    u = np.linspace(0.01, 20, 100_000)
    bound = ((1 + u) * (np.exp(-2 * u) + (1 - np.exp(-u)) ** 2 / u)).max()
    assert bound == pytest.approx(1.2147, abs=1e-4)
    assert max(ratios) == pytest.approx(bound, rel=1e-3)  # a spectrum of equal h reaches it
    return max(ratios)


def test_stopping_costs_at_most_22_percent():
    law_stopping_costs_at_most_22_percent()


def test_along_the_whole_path_matching_times_cost_at_most_69_percent():
    ratios = []
    for x, signal, noise in spectra():
        lam = np.geomspace(1e-3, 1e3, 25)
        eta = SMALL / max(curvatures(x, intercept=False).max(), lam.max())
        steps = np.round(matching_steps(eta, lam))
        f = (
            stopping_factors(x, eta, steps, intercept=False),
            linear.shrinkage_factors(x, lam, intercept=False),
        )
        descent, ridge = (risk(shares, x, signal, noise, intercept=False) for shares in f)
        ratios.append((descent / ridge).max())
    assert 1.5 < max(ratios) <= 1.69


def test_the_best_stopping_time_is_nearly_as_good_as_the_best_lambda():
    """On data of one's own: 200 problems with 60 examples of 50 features, both tuned by the true risk."""
    rng = np.random.default_rng(0)
    scale = np.linspace(0.2, 1.5, 50)
    x = rng.standard_normal((200, 60, 50)) * scale
    w = rng.standard_normal((200, 50)) / np.sqrt(50)
    y = (x @ w[..., None])[..., 0] + rng.standard_normal((200, 60))
    steps = np.unique(np.round(np.geomspace(1, 5000, 60)))[:, None]
    eta = 0.5 / curvatures(x, intercept=False).max(-1)

    def excess(model):
        return (((model.coef - w) * scale) ** 2).sum(-1)

    stopped = excess(early_stopped(x, y, eta, steps, intercept=False)).min(0)
    ridge = excess(linear.ridge(x, y, np.geomspace(1e-3, 30, 60)[:, None], intercept=False)).min(0)
    ratio = stopped / ridge
    half_width = 1.96 * ratio.std() / np.sqrt(200)
    assert ratio.mean() - half_width > 1
    assert ratio.mean() + half_width < 1.05


# -- bad input -----------------------------------------------------------------------------------------------

X, Y = data()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("steps", lambda: early_stopped(X, Y, 0.1, 1.5)),
        ("steps", lambda: early_stopped(X, Y, 0.1, -1)),
        ("steps", lambda: stopping_factors(X, 0.1, [1, np.nan])),
        ("steps", lambda: stopping_factors(X, 0.1, "3")),
        ("steps", lambda: directional_lambda(X, 0.1, 0)),
        ("steps", lambda: matching_lambda(0.1, 0)),
        ("learning_rate", lambda: early_stopped(X, Y, 0.0, 3)),
        ("learning_rate", lambda: early_stopped(X, Y, -0.1, 3)),
        ("learning_rate", lambda: early_stopped(X, Y, stable(X, 1.0), 3)),
        ("learning_rate", lambda: stopping_factors(X, [stable(X, 0.5), stable(X, 1.01)], 3)),
        ("learning_rate", lambda: matching_lambda(0.0, 3)),
        ("learning_rate", lambda: matching_steps(-1.0, 3)),
        ("lam", lambda: matching_steps(0.1, 0.0)),
        ("learning_rate, steps", lambda: stopping_factors(X, [0.1, 0.2], [1, 2, 3])),
        ("x", lambda: early_stopped(X[0], Y, 0.1, 3)),
        ("x", lambda: curvatures(np.where(X > 2, np.nan, X))),
        ("x", lambda: curvatures(X[0])),
        ("y", lambda: early_stopped(X, Y[:-1], 0.1, 3)),
        ("factors", lambda: risk(np.ones(4), X, 1.0, 1.0)),
        ("factors", lambda: risk(1.0, X, 1.0, 1.0)),
        ("signal", lambda: risk(np.ones(5), X, -1.0, 1.0)),
        ("noise", lambda: risk(np.ones(5), X, 1.0, np.nan)),
    ],
)
def test_bad_input_is_refused(name, call):
    with refused(name):
        call()


def test_the_error_says_where_descent_begins_to_diverge():
    x = np.diag([2.0, 1.0])
    for eta in (0.5, 0.75):
        with pytest.raises(ValueError, match=re.escape(f"expected less than 1 / max(h) = 0.5, got {eta}")):
            stopping_factors(x, eta, 3, intercept=False)
    with pytest.raises(ValueError, match=re.escape("whole numbers >= 0, got 2.5")):
        stopping_factors(x, 0.1, [1, 2.5], intercept=False)
    shapes = "expected shapes that broadcast with (3,), got (2,) and (4, 1)"
    with pytest.raises(ValueError, match=re.escape(shapes)):
        stopping_factors(data((3,))[0], [0.1, 0.2], np.ones((4, 1)))


def test_data_are_not_changed():
    x, y = X.copy(), Y.copy()
    early_stopped(X, Y, stable(X), STEPS)
    risk(stopping_factors(X, stable(X), 3), X, 1.0, 1.0)
    np.testing.assert_array_equal(X, x)
    np.testing.assert_array_equal(Y, y)


# -- planted bugs --------------------------------------------------------------------------------------------


def planted(name, right, wrong, law):
    """The laws call the functions by their names in this module; what these call is found in their own."""
    import test_quadratic

    owner = quadratic if name.startswith("_") else test_quadratic
    return Bug(owner, name, right, wrong, law)


descent = law_the_closed_form_is_gradient_descent
shares = law_the_shares_are_the_formula
BUGS = {
    "the gradient of the square lacks its 2": planted("_shares", "2 * eta * h", "eta * h", descent),
    "one step too many": planted("_shares", "t * np.log1p", "(t + 1) * np.log1p", shares),
    "one step too many, when they are large": planted("_shares", "** t", "** (t + 1)", shares),
    "gradient flow in the place of descent": planted("_shares", "np.log1p(-small)", "-small", descent),
    "small shares are cancelled": planted("_shares", "step < 0.5", "step < 0", shares),
    "the fit has the variances with n - 1": planted(
        "early_stopped", "s**2 / data.x.shape[-2]", "s**2 / (data.x.shape[-2] - 1)", descent
    ),
    "the shares have the variances with n - 1": planted(
        "curvatures", "s**2 / x.shape[-2]", "s**2 / (x.shape[-2] - 1)",
        law_curvatures_are_variances_along_principal_directions,
    ),
    "singular values in the place of their squares": planted(
        "curvatures", "s**2", "s", law_curvatures_are_variances_along_principal_directions
    ),
    "the fit is not divided by s": planted("early_stopped", "_over(f, s)", "f", descent),
    "V is not transposed": planted("early_stopped", "vt.mT @ along", "vt @ along", descent),
    "the intercept is forgotten": planted(
        "early_stopped", "return data.fit(", "return LinearFit(intercept=np.zeros(6), coef=",
        law_the_intercept_belongs_to_the_weights,
    ),
    "lambda without the 2": planted(
        "matching_lambda", "2 * checks", "checks", law_weak_directions_agree_with_ridge_at_matching_lambda
    ),
    "lambda is eta t": planted(
        "matching_lambda", "return 1 / (2", "return (2",
        law_weak_directions_agree_with_ridge_at_matching_lambda,
    ),
    "lambda of the other share": planted(
        "directional_lambda", "_over(1 - f, f)", "_over(f, 1 - f)",
        law_descent_is_ridge_with_a_lambda_for_each_direction,
    ),
    "the variance lacks its 1 / n": planted(
        "risk", "noise / n", "noise", law_the_risk_is_what_simulation_finds
    ),
    "the shares of the variance are not squared": planted(
        "risk", "(f * _over(f, h))", "_over(f, h)", law_the_risk_is_what_simulation_finds
    ),
    "the bias is not squared": planted(
        "risk", "((1 - f) ** 2)", "np.abs(1 - f)", law_the_risk_is_what_simulation_finds
    ),
    "directions out of reach are forgotten": planted(
        "risk", " + (p - h.shape[-1]) * signal", "", lambda: law_the_risk_is_what_simulation_finds(n=4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
