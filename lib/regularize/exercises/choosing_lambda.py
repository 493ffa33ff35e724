"""Checks for the exercises of the chapter "Choosing lambda"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_leave_one_out(answer: Callable[..., Any]) -> None:
    """``answer(y, fitted, leverage)``: the mean of ((y - fitted) / (1 - leverage))^2, all (n,)."""
    rng = np.random.default_rng(0)
    problem = diagnose(
        answer,
        lambda y, f, h: np.mean(((y - f) / (1 - h)) ** 2),
        cases=[
            (rng.standard_normal(6), rng.standard_normal(6), rng.uniform(0.1, 0.9, 6)),
            (np.array([1.0, 3.0, 2.0]), np.array([1.5, 2.0, 2.5]), np.array([0.5, 0.75, 0.2])),
        ],
        mistakes=[
            (
                lambda y, f, h: np.mean((y - f) ** 2),
                "that is the training error. Each residual must be divided by 1 - leverage first.",
            ),
            (
                lambda y, f, h: np.mean((y - f) ** 2 / (1 - h)),
                "you divided the squared residual by 1 - h. The residual itself is divided, "
                "then squared: 1 - h is squared, too.",
            ),
            (
                lambda y, f, h: np.mean((y - f) ** 2) / (1 - np.mean(h)) ** 2,
                "that is generalized cross-validation, with the mean leverage in place of each.",
            ),
            (
                lambda y, f, h: np.mean(((y - f) * (1 - h)) ** 2),
                "you multiplied by 1 - h. Without the example its error is larger, not smaller: divide.",
            ),
            (
                lambda y, f, h: np.sum(((y - f) / (1 - h)) ** 2),
                "that is the sum (Allen's PRESS). Divide by n for the mean.",
            ),
        ],
    )
    report(problem, "n models for the price of one.")


def _cross_validation(
    x: Any, y: Any, fold: Any, lam: float, count: Callable[[int, int], float] = lambda m, n: m
) -> list[Any]:
    """The squared errors on each fold; ``count(m, n)`` multiplies lam, with m of n examples in training."""
    errors = []
    for k in range(int(fold.max()) + 1):
        a, b = x[fold != k], y[fold != k]
        w = np.linalg.solve(a.T @ a + count(len(a), len(x)) * lam * np.eye(x.shape[1]), a.T @ b)
        errors.append((y[fold == k] - x[fold == k] @ w) ** 2)
    return errors


def _swapped(x: Any, y: Any, fold: Any, lam: float) -> Any:
    """Trained on the fold, judged on the rest."""
    errors = []
    for k in range(int(fold.max()) + 1):
        a, b = x[fold == k], y[fold == k]
        w = np.linalg.solve(a.T @ a + len(a) * lam * np.eye(x.shape[1]), a.T @ b)
        errors.append(np.mean((y[fold != k] - x[fold != k] @ w) ** 2))
    return np.mean(errors)


def check_cross_validation(answer: Callable[..., Any]) -> None:
    """``answer(x, y, fold, lam)``: the mean over the folds of the mean squared error of ridge."""
    rng = np.random.default_rng(1)

    def case(n: int, fold: list[int], lam: float) -> tuple[Any, ...]:
        return rng.standard_normal((n, 3)), rng.standard_normal(n), np.array(fold), lam

    def mean(errors: list[Any]) -> Any:
        return np.mean([e.mean() for e in errors])

    problem = diagnose(
        answer,
        lambda x, y, fold, lam: mean(_cross_validation(x, y, fold, lam)),
        cases=[
            case(11, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1], 0.3),
            case(8, [1, 0, 0, 1, 0, 1, 0, 0], 0.05),
        ],
        mistakes=[
            (
                lambda x, y, fold, lam: mean(_cross_validation(x, y, fold, lam, lambda m, n: n)),
                "you penalized by n lambda with all n examples. A fold's model is trained on fewer: "
                "use m lambda.",
            ),
            (
                lambda x, y, fold, lam: mean(_cross_validation(x, y, fold, lam, lambda m, n: 1)),
                "you penalized by lambda beside a sum. In this book lambda stands beside a mean: m lambda.",
            ),
            (
                _swapped,
                "you trained on the fold and judged on the rest. It is the other way round.",
            ),
            (
                lambda x, y, fold, lam: np.mean(np.concatenate(_cross_validation(x, y, fold, lam))),
                "you averaged over all examples at once. Average on each fold first, then over the folds: "
                "the folds are of different size.",
            ),
        ],
    )
    report(problem, "Every example has judged models that never saw it.")


def check_final_alpha(answer: Callable[..., Any]) -> None:
    """``answer(alpha, k)``: alpha k / (k - 1), the same lambda on all the data."""
    problem = diagnose(
        answer,
        lambda alpha, k: alpha * k / (k - 1),
        cases=[(2.0, 5), (0.3, 10), (7.0, 3)],
        mistakes=[
            (
                lambda alpha, k: alpha,
                "that keeps alpha. Beside a sum over more examples, the same alpha is a smaller lambda.",
            ),
            (
                lambda alpha, k: alpha * (k - 1) / k,
                "you went the wrong way: the final model has more examples, and a longer sum, than the "
                "folds had.",
            ),
            (
                lambda alpha, k: alpha * k,
                "that is k times as much, as if a fold's model were trained on one fold. "
                "It was trained on k - 1 of them.",
            ),
        ],
    )
    report(problem, "lambda is alpha over the number of examples, in the folds as in the final fit.")


def _one_se(scores: Any, strength: Any, divide: bool = True, ddof: int = 1, pick: Any = np.max) -> Any:
    mean = scores.mean(0)
    lowest = mean.argmin()
    error = scores[:, lowest].std(ddof=ddof) / (np.sqrt(len(scores)) if divide else 1)
    return pick(strength[mean <= mean[lowest] + error])


def check_one_standard_error(answer: Callable[..., Any]) -> None:
    """``answer(scores, strength)``: the largest strength within one standard error of the best."""
    strength = np.array([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4])
    noise = np.array([-1.5, -0.5, 0.0, 0.5, 1.5])[:, None]
    first = np.array([1.4, 1.2, 1.0, 1.25, 1.48, 1.9, 3.0]) + 0.9 * noise
    second = np.array([5.0, 2.3, 2.0, 2.15, 2.5, 2.62, 4.0])[::-1] + noise[::-1] * 1.1
    problem = diagnose(
        answer,
        _one_se,
        cases=[(first, strength), (second, strength[::-1].copy())],
        mistakes=[
            (
                lambda s, t: t[s.mean(0).argmin()],
                "that is the strength with the best score. Go on to stronger ones while they are within "
                "one standard error.",
            ),
            (
                lambda s, t: _one_se(s, t, divide=False),
                "you took the standard deviation of the scores. The standard error of their mean is smaller "
                "by the square root of the number of folds.",
            ),
            (
                lambda s, t: _one_se(s, t, pick=np.min),
                "you took the weakest penalty within the limit. The rule prefers the simplest model: "
                "the strongest.",
            ),
        ],
    )
    report(problem, "A preference for simple models, not a test.")
