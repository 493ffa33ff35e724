"""Checks for the exercises of the chapter "Overfitting"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, real_numbers, report


def check_expected_gap(answer: Callable[..., Any]) -> None:
    """``answer(p, n, sigma2)``: the expected gap of least squares on fresh labels, 2 p sigma^2 / n."""
    problem = diagnose(
        answer,
        lambda p, n, sigma2: 2 * p * sigma2 / n,
        cases=[(10, 50, 4.0), (3, 200, 0.25), (1, 10, 1.0)],
        mistakes=[
            (
                lambda p, n, sigma2: p * sigma2 / n,
                "that is only half of it: the training error falls by p sigma^2 / n, "
                "and the error on fresh labels rises by as much again.",
            ),
            (
                lambda p, n, sigma2: 2 * p * np.sqrt(sigma2) / n,
                "you took the standard deviation of the noise; the gap grows with its variance.",
            ),
            (
                lambda p, n, sigma2: sigma2 * (1 + p / n),
                "that is the error on fresh labels itself; subtract the training error.",
            ),
        ],
    )
    report(problem, "More parameters, more noise: a wider gap. More data: a narrower one.")


def check_bias_variance(answer: Callable[..., Any]) -> None:
    """``answer(predictions, truth)``: squared bias and variance from predictions (S, n) and truth (n,)."""
    rng = np.random.default_rng(0)
    problem = diagnose(
        answer,
        lambda f, t: (np.mean((f.mean(0) - t) ** 2), np.mean(f.var(0))),
        cases=[(rng.standard_normal((6, 4)), rng.standard_normal(4)), (np.ones((3, 2)), np.zeros(2))],
        mistakes=[
            (
                lambda f, t: (np.mean(f.mean(0) - t) ** 2, np.mean(f.var(0))),
                "you averaged the bias over the points before squaring it: biases of opposite sign cancel. "
                "Square first.",
            ),
            (
                lambda f, t: (np.mean((f - t) ** 2), np.mean(f.var(0))),
                "your first value is the whole error. "
                "The bias belongs to the *mean* prediction over data sets.",
            ),
            (
                lambda f, t: (np.mean((f.mean(0) - t) ** 2), np.mean(f.var(1))),
                "your variance runs over the points. It must run over the data sets, axis 0.",
            ),
            (
                lambda f, t: (np.mean((f.mean(0) - t) ** 2), np.mean(f.var(0, ddof=1))),
                "you divided by S - 1. That estimates a variance; here the sum bias^2 + variance "
                "must equal the mean error exactly, so divide by S.",
            ),
        ],
    )
    report(problem, "The two add up to the mean squared distance from the truth, exactly.")


def check_choose(answer: Callable[..., Any]) -> None:
    """``answer(validation_loss, test_loss)``: each seed's test loss at the setting its validation loss chose.

    Both are (settings, seeds); the result is (seeds,).
    """
    rng = np.random.default_rng(1)

    def right(v: Any, t: Any) -> Any:
        return t[v.argmin(0), np.arange(v.shape[1])]

    problem = diagnose(
        answer,
        right,
        cases=[tuple(rng.random((2, 5, 7))), tuple(rng.random((2, 3, 4)))],
        mistakes=[
            (
                lambda v, t: t.min(0),
                "you chose the setting on the test set. That is the leak this chapter warns of.",
            ),
            (
                lambda v, t: v.min(0),
                "that is the validation loss of the chosen setting. "
                "It is too good: it was chosen for being low.",
            ),
            (
                lambda v, t: t[v.mean(1).argmin()],
                "you chose one setting for all seeds, from their mean. A reader with one data set "
                "has one validation set: let each seed choose for itself.",
            ),
            (
                lambda v, t: t[v.argmax(0), np.arange(v.shape[1])],
                "you took the *highest* validation loss.",
            ),
        ],
    )
    report(problem, "Validation data choose, test data judge.")


def check_peak(answer: Any, error: Any, features: Any) -> None:
    """``answer``: the number of features at which the measured error is highest."""
    peak = np.asarray(features)[np.asarray(error).argmax()]
    guess, problem = real_numbers(answer), None
    if guess is None or guess.ndim:
        problem = "expected one number, the count of features where you see the peak."
    elif not abs(guess - peak) <= 0.15 * peak:  # NaN fails every comparison
        problem = (
            f"the measured error at {guess:g} features is not the highest. "
            "When does the model first have as many features as there are training examples to fit?"
        )
    report(
        problem, "The peak follows the number of training examples: it is not a property of the model alone."
    )
