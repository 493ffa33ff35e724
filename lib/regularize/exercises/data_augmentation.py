"""Checks for the exercises of the chapter "Data augmentation"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_smoothing(answer: Callable[..., Any]) -> None:
    """``answer(amount, k)``: the best probability of the right class, and the gap of the logits there."""

    def right(a: float, k: int) -> tuple[float, float]:
        p = 1 - a + a / k
        return p, np.log(p / (a / k))

    problem = diagnose(
        answer,
        right,
        cases=[(0.1, 10), (0.3, 4), (0.05, 1000)],
        mistakes=[
            (
                lambda a, k: (1 - a, np.log((1 - a) / (a / k))),
                "the right class gets its share of the uniform part, too: amount / k comes on top.",
            ),
            (
                lambda a, k: (1 - a, np.log((1 - a) / (a / (k - 1)))),
                "you shared the amount among the wrong classes alone. That is another convention; here (and "
                "in Keras and PyTorch) it is mixed in over all k classes.",
            ),
            (
                lambda a, k: (1 - a + a / k, (1 - a + a / k) / (a / k)),
                "the gap is a difference of logits: the logarithm of the ratio of the probabilities.",
            ),
            (
                lambda a, k: (1 - a + a / k, np.log(1 - a + a / k)),
                "that is the logarithm of the right class alone; a gap needs the wrong ones as well.",
            ),
        ],
    )
    report(problem, "Plain targets ask for an infinite gap, and training never ends.")


def check_mixup(answer: Callable[..., Any]) -> None:
    """``answer(x, y, partner, share)``: the mixed inputs and targets of one batch."""
    rng = np.random.default_rng(0)
    cases = [
        (rng.random((4, 3)), np.eye(3)[[0, 2, 1, 1]], np.array([2, 0, 3, 1]), 0.7),
        (rng.random((3, 5)), np.eye(2)[[0, 1, 0]], np.array([1, 2, 0]), 0.2),
    ]

    def mix(a: Any, partner: Any, share: float) -> Any:
        return share * a + (1 - share) * a[partner]

    problem = diagnose(
        answer,
        lambda x, y, p, s: (mix(x, p, s), mix(y, p, s)),
        cases=cases,
        mistakes=[
            (
                lambda x, y, p, s: (mix(x, p, s), y),
                "you mixed the inputs and left the targets. Then the network is told that half a 3 is a "
                "whole 2; mix both alike.",
            ),
            (
                lambda x, y, p, s: (mix(x, p, 1 - s), mix(y, p, 1 - s)),
                "your share belongs to the partner. Here it is the share of the example itself.",
            ),
            (
                lambda x, y, p, s: (mix(x, p, s), mix(y, p, 1 - s)),
                "inputs and targets are mixed by opposite shares.",
            ),
            (
                lambda x, y, p, s: (mix(x, p, s), y if s >= 0.5 else y[p]),
                "you gave the mixture the label of the larger share. The target is mixed, not chosen.",
            ),
        ],
    )
    report(problem, "Two lines, the same for inputs and for targets.")


def check_orbit(answer: Callable[..., Any]) -> None:
    """``answer(outputs, y)``: from outputs (views, n) and targets (n,), the two terms of the mean loss."""
    rng = np.random.default_rng(1)
    problem = diagnose(
        answer,
        lambda f, y: (np.mean((f.mean(0) - y) ** 2), np.mean(f.var(0))),
        cases=[(rng.standard_normal((5, 4)), rng.standard_normal(4)), (rng.random((3, 6)), rng.random(6))],
        mistakes=[
            (
                lambda f, y: (np.mean((f - y) ** 2), np.mean(f.var(0))),
                "your first term is the whole loss. It belongs to the prediction *averaged* over the views.",
            ),
            (
                lambda f, y: (np.mean((f.mean(0) - y) ** 2), np.mean(f.var(1))),
                "your variance runs over the examples. It must run over the views of each, axis 0.",
            ),
            (
                lambda f, y: (np.mean((f.mean(0) - y) ** 2), np.mean(f.var(0, ddof=1))),
                "you divided by the number of views minus 1. The views are the whole orbit, not a sample, "
                "and the terms must add up to the loss exactly.",
            ),
            (
                lambda f, y: (np.mean((f.mean(0) - y) ** 2), np.mean(f.std(0))),
                "that is the standard deviation; the penalty is the variance.",
            ),
        ],
    )
    report(problem, "They add up to the mean loss over all views, for every model.")


def check_penalty(answer: Callable[..., Any]) -> None:
    """``answer(w, covariance)``: what noise of this covariance adds to the loss of a linear model."""
    rng = np.random.default_rng(2)
    root = rng.standard_normal((3, 3))
    problem = diagnose(
        answer,
        lambda w, c: w @ c @ w,
        cases=[
            (np.array([1.0, -2.0, 0.5]), root @ root.T),
            (np.array([0.3, 2.0]), np.array([[2.0, 0.7], [0.7, 1.0]])),
        ],
        mistakes=[
            (
                lambda w, c: (np.diag(c) * w**2).sum(),
                "you used the variances alone. Noise that moves two pixels together is felt by the sum of "
                "their weights: the covariances count.",
            ),
            (
                lambda w, c: c.trace() * (w @ w) / len(w),
                "that is ridge with the mean variance. It is right only if the covariance is a multiple of "
                "the identity.",
            ),
            (
                lambda w, c: np.sqrt(w @ c @ w),
                "that is the standard deviation of the output; the squared error rises by its square.",
            ),
            (
                lambda w, c: 2 * c @ w,
                "that is the gradient of the penalty; return the penalty itself.",
            ),
        ],
    )
    report(problem, "For brightness it is the square of the sum of the weights, times the variance.")


def check_effective(answer: Callable[..., Any]) -> None:
    """``answer(sizes, accuracies, augmented)``: the size whose accuracy, interpolated in log n, is that."""

    def right(n: Any, a: Any, value: float) -> float:
        return float(np.exp(np.interp(value, a, np.log(n))))

    problem = diagnose(
        answer,
        right,
        cases=[
            (np.array([50.0, 100.0, 200.0, 400.0]), np.array([0.81, 0.89, 0.93, 0.95]), 0.905),
            (np.array([10.0, 1000.0]), np.array([0.5, 0.9]), 0.8),
        ],
        mistakes=[
            (
                lambda n, a, v: np.interp(v, a, n),
                "you interpolated in n. Accuracy rises about as much from 50 to 100 as from 100 to 200: "
                "interpolate in log n.",
            ),
            (
                lambda n, a, v: np.interp(v, a, np.log(n)),
                "that is the logarithm of the number; take the exponential.",
            ),
            (
                lambda n, a, v: n[np.abs(a - v).argmin()],
                "you returned the nearest size of the curve; interpolate between the two neighbours.",
            ),
        ],
    )
    report(problem, "Divide by n, and you have the price of an augmentation in real images.")
