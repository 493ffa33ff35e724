"""Checks for the exercises of the chapter "The mathematics of L1 and L2"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq

from regularize import linear
from regularize.exercises import diagnose, report
from regularize.paths import lasso_path


def check_soft_threshold(answer: Callable[..., Any]) -> None:
    """``answer(a, t)``: the w that minimizes (w - a)^2 / 2 + t |w|, elementwise."""
    a = np.array([-2.0, -0.4, 0.0, 0.3, 1.5])
    problem = diagnose(
        answer,
        linear.soft_threshold,
        cases=[(a, 0.5), (a, 0.0), (a, 1.2)],  # no |a| equals a t > 0, where < and <= would differ
        mistakes=[
            (
                lambda a, t: np.where(np.abs(a) > t, a, 0.0),
                "that is the hard threshold: you set small values to 0 but left the large ones alone. "
                "Every value also moves towards 0 by t.",
            ),
            (
                lambda a, t: np.maximum(np.abs(a) - t, 0.0),
                "you lost the sign: a negative a must give a negative w.",
            ),
            (
                lambda a, t: np.maximum(a - t, 0.0),
                "negative values come out as 0. Threshold |a| and put the sign of a back.",
            ),
            (
                lambda a, t: a - t * np.sign(a),
                "that is the subgradient step: where |a| < t it jumps over 0 to the other side. Stop at 0.",
            ),
            (
                lambda a, t: np.sign(a) * np.maximum(np.abs(a) - t / 2, 0.0),
                "your threshold is t/2. That belongs to (w - a)^2 without the factor 1/2.",
            ),
        ],
    )
    report(problem, "One line, and the whole difference between L1 and L2: it reaches 0 and stays.")


def check_ridge(answer: Callable[..., Any]) -> None:
    """``answer(x, y, lam)``: coefficients (p,) and intercept of ridge regression in the book's convention."""
    rng = np.random.default_rng(0)
    cases = [
        (rng.standard_normal((n, p)) + 2.0, 5.0 + rng.standard_normal(n), lam)
        for n, p, lam in ((8, 3, 0.5), (20, 2, 0.1))
    ]
    problem = diagnose(
        answer,
        lambda x, y, lam: _ridge(x, y, len(y) * lam),
        cases,
        mistakes=[
            (
                lambda x, y, lam: _ridge(x, y, lam),
                "you solved with X'X + lambda I. The loss is a *mean*: it must be n lambda.",
            ),
            (
                lambda x, y, lam: _ridge(x, y, 2 * len(y) * lam),
                "your penalty is twice too strong: the 2 of its gradient cancels the 2 of the loss's.",
            ),
            (
                _penalized_intercept,
                "you penalized the intercept: a column of ones must not appear under lambda. "
                "Center x and y instead, and compute b afterwards.",
            ),
            (
                lambda x, y, lam: (_normal_equations(x, y, len(y) * lam), np.mean(y)),
                "you did not center: now the coefficients have to explain the mean of y.",
            ),
            (
                lambda x, y, lam: (_ridge(x, y, len(y) * lam)[0], np.mean(y)),
                "the coefficients are right. The intercept is mean(y) - mean(x) w, as x has not mean 0.",
            ),
        ],
    )
    report(problem, "The intercept stays free, so adding 100 to every y moves b by 100 and no weight at all.")


def _normal_equations(x: Any, y: Any, amount: float) -> Any:
    return np.linalg.solve(x.T @ x + amount * np.eye(x.shape[1]), x.T @ y)


def _ridge(x: Any, y: Any, amount: float) -> tuple[Any, Any]:
    coef = _normal_equations(x - x.mean(0), y - y.mean(), amount)
    return coef, y.mean() - x.mean(0) @ coef


def _penalized_intercept(x: Any, y: Any, lam: float) -> tuple[Any, Any]:
    coef = _normal_equations(np.column_stack([x, np.ones(len(y))]), y, len(y) * lam)
    return coef[:-1], coef[-1]


def check_exchange(answer: Callable[..., Any]) -> None:
    """``answer(lam, n)``: alpha of scikit-learn's Ridge and Lasso, and weight_decay of PyTorch's SGD."""
    problem = diagnose(
        answer,
        lambda lam, n: (n * lam, lam / 2, 2 * lam),
        cases=[(0.01, 100), (0.5, 442)],
        mistakes=[
            (
                lambda lam, n: (lam, lam / 2, 2 * lam),
                "Ridge minimizes the *sum* of the squared errors: its alpha is n times the book's lambda.",
            ),
            (
                lambda lam, n: (lam / n, lam / 2, 2 * lam),
                "you divided by n for Ridge. A sum outweighs the penalty n times more than a mean: multiply.",
            ),
            (
                lambda lam, n: (n * lam, lam, 2 * lam),
                "Lasso puts 1/(2n) in front of the squared errors, so half the loss needs half the penalty.",
            ),
            (
                lambda lam, n: (n * lam, 2 * lam, 2 * lam),
                "you doubled for Lasso. Its loss has a factor 1/2 more, so its alpha has one too.",
            ),
            (
                lambda lam, n: (n * lam, lam / 2, lam),
                "weight_decay multiplies w in the gradient, and the gradient of lambda w^2 is 2 lambda w.",
            ),
        ],
    )
    report(problem, "Three tools, three numbers, one model.")


def check_lambda_for(answer: Callable[..., Any]) -> None:
    """``answer(x, df)``: the lambda at which ridge has ``df`` effective degrees of freedom."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5])
    problem = diagnose(
        answer,
        _lambda_for,
        cases=[(x, 2.0), (x, 3.5), (x + 1.0, 1.2)],
        mistakes=[
            (
                lambda x, df: len(x) * _lambda_for(x, df),
                "that is n lambda. In the shrinkage factors lambda appears as s^2 / (s^2 + n lambda).",
            ),
            (
                lambda x, df: _lambda_for(x, df - 1) if df > 1 else np.nan,
                "you counted the intercept as one degree of freedom. Here only the penalized weights count.",
            ),
            (
                lambda x, df: _lambda_for(x, df, square=False),
                "the factors are s^2 / (s^2 + n lambda); you did not square the singular values.",
            ),
            (
                lambda x, df: _lambda_for(x, df, center=False),
                "center x first: the intercept is free, so the mean of a feature costs nothing.",
            ),
        ],
        tolerance=1e-5,
    )
    report(problem, "Degrees of freedom are a scale on which every tool, and every data set, means the same.")


def _lambda_for(x: Any, df: float, *, square: bool = True, center: bool = True) -> float:
    s = np.linalg.svd(x - x.mean(0) if center else x, compute_uv=False)
    s = s**2 if square else s
    return float(np.exp(brentq(lambda t: (s / (s + len(x) * np.exp(t))).sum() - df, -40.0, 40.0, xtol=1e-13)))


def check_laplace_map(answer: Callable[..., Any]) -> None:
    """``answer(x, y, sigma, scale)``: the most probable weights under a Laplace prior, no intercept."""
    rng = np.random.default_rng(3)
    cases = []
    # The last has so little noise that no mistake sets all weights to 0, which would hide which one it was.
    for n, p, sigma, scale in ((20, 5, 2.0, 0.5), (40, 8, 1.0, 0.2), (30, 4, 0.3, 0.8)):
        x = rng.standard_normal((n, p))
        cases.append((x, x @ rng.laplace(scale=scale, size=p) + sigma * rng.standard_normal(n), sigma, scale))

    def lasso(factor: Callable[[int, float, float], float]) -> Callable[..., Any]:
        def solution(x: Any, y: Any, sigma: float, scale: float) -> Any:
            return lasso_path(x, y, intercept=False).at(factor(len(y), sigma, scale)).coef

        return solution

    problem = diagnose(
        answer,
        lasso(lambda n, sigma, scale: 2 * sigma**2 / (n * scale)),
        cases,
        mistakes=[
            (
                lasso(lambda n, sigma, scale: sigma**2 / (n * scale)),
                "your lambda is half of the right one: multiply the negative log posterior by 2 sigma^2 / n, "
                "which makes the loss a mean, and look at what stands before sum |w|.",
            ),
            (
                lasso(lambda n, sigma, scale: 2 * sigma**2 / scale),
                "your lambda lacks the 1/n: the loss is a mean over the examples.",
            ),
            (
                lasso(lambda n, sigma, scale: sigma**2 / (n * scale**2)),
                "that is the lambda of a Gaussian prior, sigma^2 / (n tau^2). The Laplace density is "
                "exp(-|w| / scale): its scale is not squared.",
            ),
            (
                lasso(lambda n, sigma, scale: 2 * sigma / (n * scale)),
                "you took the standard deviation of the noise where its variance belongs.",
            ),
        ],
        tolerance=1e-6,
    )
    report(problem, "This is the mode of the posterior. Whether the mode predicts well is another question.")
