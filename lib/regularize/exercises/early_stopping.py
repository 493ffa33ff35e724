"""Checks for the exercises of the chapter "Early stopping"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_matching_lambda(answer: Callable[..., Any]) -> None:
    """``answer(eta, t)``: the lambda of ridge that belongs to t steps, 1 / (2 eta t)."""
    problem = diagnose(
        answer,
        lambda eta, t: 1 / (2 * eta * t),
        cases=[(0.1, 50), (0.25, 8), (0.01, 3000)],
        mistakes=[
            (
                lambda eta, t: 1 / (eta * t),
                "that belongs to half the squared error. The gradient of a whole square has a factor 2.",
            ),
            (
                lambda eta, t: 2 * eta * t,
                "you have it upside down: more steps must mean a *weaker* penalty.",
            ),
            (
                lambda eta, t: 1 / (4 * eta * t),
                "you counted the factor 2 twice. In ridge both the gradient of the loss and that of the "
                "penalty have it, so there it cancels.",
            ),
        ],
    )
    report(problem, "Time is an inverse penalty: twice the steps, half the lambda.")


def check_patience(answer: Callable[..., Any]) -> None:
    """``answer(losses, patience)``: the epoch after which training stops (0: never) and the best epoch."""

    def rule(
        losses: Any, patience: Any, extra: int = 0, equal: bool = False, last: bool = False
    ) -> tuple[int, int]:
        best = waited = 0
        for epoch in range(1, len(losses)):
            to_beat = losses[epoch - 1 if last else best]
            better = losses[epoch] <= to_beat if equal else losses[epoch] < to_beat
            best = epoch if better else best
            waited = 0 if better else waited + 1
            if waited >= patience + extra:
                return epoch, best
        return 0, best

    def without_best(losses: Any, patience: Any) -> tuple[int, int]:
        stop, _ = rule(losses, patience)
        return stop, stop or len(losses) - 1

    def from_one(losses: Any, patience: Any) -> tuple[int, int]:
        stop, best = rule(losses, patience)
        return stop + (stop > 0), best + 1

    problem = diagnose(
        answer,
        rule,
        cases=[
            (np.array([2.0, 1.5, 1.6, 1.55, 1.5, 1.4, 1.7]), 3),
            (np.array([3.0, 2.0, 2.5, 2.4, 1.9, 2.0, 2.1, 2.2]), 2),
            (np.array([1.0, 0.9, 0.8, 0.7]), 1),
            (np.array([1.0, 0.9, 0.9, 0.95, 0.9, 0.8]), 2),
        ],
        mistakes=[
            (
                lambda losses, patience: rule(losses, patience, extra=1),
                "you wait one epoch too long: training stops after `patience` epochs without improvement.",
            ),
            (
                lambda losses, patience: rule(losses, patience, equal=True),
                "you count an equal loss as an improvement. It must be lower.",
            ),
            (
                lambda losses, patience: rule(losses, patience, last=True),
                "you compare each loss with the one before. Compare it with the lowest so far.",
            ),
            (
                without_best,
                "your best epoch is the last one. It is the one with the lowest loss: "
                "that is what restore_best_weights is for.",
            ),
            (from_one, "your epochs count from 1. Here the first epoch is epoch 0."),
        ],
    )
    report(problem, "The best epoch lies `patience` epochs before the stop, always.")


def check_noisy_accuracy(answer: Callable[..., Any]) -> None:
    """``answer(a, rho, k)``: the expected accuracy on labels of which a share rho is wrong."""
    problem = diagnose(
        answer,
        lambda a, rho, k: (1 - rho) * a + rho * (1 - a) / (k - 1),
        cases=[(0.9, 0.2, 10), (0.6, 0.4, 5), (0.75, 0.5, 3)],
        mistakes=[
            (
                lambda a, rho, k: (1 - rho) * a,
                "you forgot the lucky cases: a wrong answer may hit upon the wrong label.",
            ),
            (
                lambda a, rho, k: (1 - rho) * a + rho / k,
                "your noisy labels are drawn among all k classes. Here they come from the k - 1 others.",
            ),
            (
                lambda a, rho, k: (1 - rho) * a + rho * (1 - a),
                "a wrong answer does not always meet the wrong label: there are k - 1 wrong classes.",
            ),
            (
                lambda a, rho, k: (1 - rho) * a + rho / (k - 1),
                "the second term needs a wrong answer: its probability is 1 - a.",
            ),
        ],
    )
    report(problem, "It rises with a: noisy labels rank networks as clean ones do, only less visibly.")


def check_degrees_of_freedom(answer: Callable[..., Any]) -> None:
    """``answer(h, eta, t)``: the sum of the shares 1 - (1 - 2 eta h)^t."""
    problem = diagnose(
        answer,
        lambda h, eta, t: np.sum(1 - (1 - 2 * eta * h) ** t),
        cases=[
            (np.array([4.0, 1.0, 0.25]), 0.1, 3),
            (np.array([2.0, 0.5, 0.1, 0.01]), 0.2, 20),
            (np.array([1.0, 0.0]), 0.25, 2),
        ],
        mistakes=[
            (
                lambda h, eta, t: np.sum(1 - (1 - eta * h) ** t),
                "you lost the factor 2 of the gradient of a square.",
            ),
            (
                lambda h, eta, t: np.sum((1 - 2 * eta * h) ** t),
                "that is the sum of what is still *missing*. Take it from 1 in each direction.",
            ),
            (
                lambda h, eta, t: np.sum(1 - np.exp(-2 * eta * t * h)),
                "that is the limit of small steps. These steps are finite: use the power.",
            ),
            (
                lambda h, eta, t: np.sum(2 * eta * t * h / (1 + 2 * eta * t * h)),
                "those are the degrees of freedom of ridge at the matching lambda.",
            ),
        ],
    )
    report(problem, "From 0 before the first step to one for each direction at the end.")
