"""Checks for the exercises of the chapter "All of them together"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_interactions(answer: Callable[..., Any]) -> None:
    """``answer(both, first, second)``: the pair's mean gain over the better one, and over their sum."""
    rng = np.random.default_rng(0)
    problem = diagnose(
        answer,
        lambda both, a, b: (both.mean() - max(a.mean(), b.mean()), both.mean() - a.mean() - b.mean()),
        cases=[
            (rng.normal(5, 2, 20), rng.normal(4, 2, 20), rng.normal(3, 2, 20)),
            (rng.normal(1, 2, 12), rng.normal(0, 2, 12), rng.normal(2, 2, 12)),
        ],
        mistakes=[
            (
                lambda both, a, b: (
                    (both - np.maximum(a, b)).mean(),
                    both.mean() - a.mean() - b.mean(),
                ),
                "you took the better method of each seed. Which one is better there is known only after the "
                "test: compare with the method whose mean is higher.",
            ),
            (
                lambda both, a, b: (
                    both.mean() - max(a.mean(), b.mean()),
                    both.mean() - (a.mean() + b.mean()) / 2,
                ),
                "your second value compares the pair with the mean of the two gains. Gains that add up make "
                "their sum.",
            ),
            (
                lambda both, a, b: (
                    both.mean() - min(a.mean(), b.mean()),
                    both.mean() - a.mean() - b.mean(),
                ),
                "you compared the pair with the worse of its two methods: that is easy to beat.",
            ),
        ],
    )
    report(problem, "A pair has to beat the better of its two, not their average.")


def check_one_dial(answer: Callable[..., Any]) -> None:
    """``answer(lam, tau, rate)``: lam + (tau^2 + rate) / (1 - rate)."""
    problem = diagnose(
        answer,
        lambda lam, tau, rate: lam + (tau**2 + rate) / (1 - rate),
        cases=[(0.1, 0.5, 0.2), (0.0, 2.0, 0.5), (1.0, 0.3, 0.75)],
        mistakes=[
            (
                lambda lam, tau, rate: lam + tau**2 + rate / (1 - rate),
                "you added three penalties that hold one at a time. Dropout acts on the noisy inputs, so it "
                "divides the noise by 1 - rate, too.",
            ),
            (
                lambda lam, tau, rate: lam + (tau + rate) / (1 - rate),
                "you took the standard deviation of the noise; its variance is what counts.",
            ),
            (
                lambda lam, tau, rate: lam + (tau**2 + 1 - rate) / rate,
                "you took the rate for the probability to keep. Here it is the probability to drop.",
            ),
        ],
    )
    report(problem, "Three methods, one number: tuning all three is tuning one, three times.")


def check_holm(answer: Callable[..., Any]) -> None:
    """``answer(p, level)``: 1 for each hypothesis that Holm's procedure rejects, else 0."""

    def right(p: Any, level: float) -> Any:
        order = np.argsort(p)
        rejected = np.zeros(len(p))
        rejected[order] = np.logical_and.accumulate(p[order] <= level / np.arange(len(p), 0, -1))
        return rejected

    def step_up(p: Any, level: float) -> Any:
        order = np.argsort(p)
        passes = p[order] <= level / np.arange(len(p), 0, -1)
        rejected = np.zeros(len(p))
        rejected[order] = np.logical_or.accumulate(passes[::-1])[::-1]
        return rejected

    def no_stop(p: Any, level: float) -> Any:
        order = np.argsort(p)
        rejected = np.zeros(len(p))
        rejected[order] = p[order] <= level / np.arange(len(p), 0, -1)
        return rejected

    problem = diagnose(
        answer,
        right,
        cases=[
            (np.array([0.03, 0.001, 0.04, 0.013]), 0.05),  # Bonferroni rejects one, Holm two
            (np.array([0.06, 0.016, 0.001, 0.03, 0.013]), 0.05),  # the second fails, the third would pass
        ],
        mistakes=[
            (
                lambda p, level: p <= level / len(p),
                "that is Bonferroni: every p-value meets the same bound. Holm's bounds grow from level / m "
                "to level.",
            ),
            (lambda p, level: p <= level, "you corrected nothing: each p-value met the whole level."),
            (
                no_stop,
                "you compared each p-value with its own bound, and did not stop at the first that fails.",
            ),
            (
                step_up,
                "you went from the largest p-value downwards. That is Hochberg's procedure, which needs "
                "more assumptions; Holm starts with the smallest.",
            ),
            (
                lambda p, level: right(p, level)[np.argsort(p)],
                "your answers are sorted by p-value. Put them back in the order of the input.",
            ),
        ],
    )
    report(problem, "No assumption on how the tests depend on each other, and never weaker than Bonferroni.")


def check_variance_shift(answer: Callable[..., Any]) -> None:
    """``answer(mu, sigma, rate)``: sd after batch norm in evaluation, when it was trained behind dropout."""
    problem = diagnose(
        answer,
        lambda mu, sigma, rate: sigma * np.sqrt((1 - rate) / (sigma**2 + rate * mu**2)),
        cases=[(0.0, 1.0, 0.5), (1.0, 2.0, 0.2), (3.0, 0.5, 0.25)],
        mistakes=[
            (
                lambda mu, sigma, rate: np.sqrt(1 - rate),
                "that holds for units of mean 0 only. ReLU units have a mean, and dropout turns it into "
                "variance.",
            ),
            (
                lambda mu, sigma, rate: sigma**2 * (1 - rate) / (sigma**2 + rate * mu**2),
                "that is the variance; take its root.",
            ),
            (
                lambda mu, sigma, rate: np.sqrt(sigma**2 + rate * mu**2) / (sigma * np.sqrt(1 - rate)),
                "your ratio is upside down. Batch norm divides by the larger deviation of training, so what "
                "comes out in evaluation is below 1.",
            ),
            (
                lambda mu, sigma, rate: np.sqrt((1 - rate) / (sigma**2 + rate * mu**2)),
                "you divided 1 by the collected deviation. In evaluation the input varies by sigma.",
            ),
        ],
    )
    report(problem, "Below 1 for every rate above 0: the layers behind see signals that are too weak.")
