"""Checks for the exercises of the chapter "Weight decay"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7


def check_share_left(answer: Callable[..., Any]) -> None:
    """``answer(learning_rates, decay)``: what decay alone leaves of a weight after one step for each rate."""
    problem = diagnose(
        answer,
        lambda rates, decay: np.prod(1 - rates * decay),
        cases=[(np.array([0.5, 0.25, 0.125]), 0.5), (np.array([0.2, 0.1]), 2.0), (np.array([0.1]), 3.0)],
        mistakes=[
            (
                lambda rates, decay: (1 - decay) ** len(rates),
                "you left the learning rate out. A step takes the share learning rate times decay.",
            ),
            (
                lambda rates, decay: (1 - rates[0] * decay) ** len(rates),
                "you used the first learning rate for all steps. When a schedule lowers it, the decay slows.",
            ),
            (
                lambda rates, decay: np.exp(-(rates * decay).sum()),
                "that is the limit of small steps, a good approximation. Here multiply the exact shares.",
            ),
            (
                lambda rates, decay: 1 - (rates * decay).sum(),
                "each step takes a share of what is *left*, not of the first weight: multiply, do not add.",
            ),
        ],
    )
    report(problem, "At a constant rate that is about exp(- steps x learning rate x decay).")


def check_translate(answer: Callable[..., Any]) -> None:
    """``answer(lam, momentum)``: weight_decay of PyTorch's SGD, and of Keras's SGD with the same rest."""
    problem = diagnose(
        answer,
        lambda lam, momentum: (2 * lam, 2 * lam / (1 - momentum)),
        cases=[(0.01, 0.9), (0.5, 0.0), (0.003, 0.5)],
        mistakes=[
            (
                lambda lam, momentum: (2 * lam, 2 * lam),
                "the two agree only without momentum. A coupled pull goes through the momentum and is "
                "summed up; the decay beside it is not.",
            ),
            (
                lambda lam, momentum: (lam, lam / (1 - momentum)),
                "the gradient of lambda w^2 is 2 lambda w. A factor 2 is missing.",
            ),
            (
                lambda lam, momentum: (2 * lam, 2 * lam * (1 - momentum)),
                "the right factor on the wrong side: momentum makes the coupled pull stronger, so the "
                "decoupled decay must be *larger* to match it.",
            ),
            (
                lambda lam, momentum: (2 * lam / (1 - momentum), 2 * lam),
                "you exchanged the two: PyTorch's SGD adds its decay to the gradient, Keras keeps it apart.",
            ),
        ],
    )
    report(problem, "Only the place of rest agrees; the way there does not.")


def _adam(w: Any, g: Any, m: Any, v: Any, t: Any, rate: Any) -> tuple[Any, Any, Any]:
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    corrected = np.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    return w - rate * corrected * m / (np.sqrt(v) + EPSILON), m, v


def check_adamw_step(answer: Callable[..., Any]) -> None:
    """``answer(w, g, m, v, t, learning_rate, decay)``: w, m and v after step t of AdamW."""
    rng = np.random.default_rng(0)

    def right(w: Any, g: Any, m: Any, v: Any, t: Any, rate: Any, decay: Any) -> Any:
        return _adam(w - rate * decay * w, g, m, v, t, rate)

    def without_correction(w: Any, g: Any, m: Any, v: Any, t: Any, rate: Any, decay: Any) -> Any:
        _, m, v = _adam(w, g, m, v, t, rate)
        return w - rate * decay * w - rate * m / (np.sqrt(v) + EPSILON), m, v

    problem = diagnose(
        answer,
        right,
        cases=[
            (*rng.standard_normal((3, 4)), rng.random(4), 3, 0.125, 0.5),
            (*rng.standard_normal((3, 2)), rng.random(2), 2, 0.25, 0.25),
        ],
        mistakes=[
            (
                lambda w, g, m, v, t, rate, decay: _adam(w, g + decay * w, m, v, t, rate),
                "you added the decay to the gradient. That is Adam with L2; the memories m and v must not "
                "see the decay.",
            ),
            (
                lambda w, g, m, v, t, rate, decay: _adam(w - decay * w, g, m, v, t, rate),
                "you left the learning rate out of the decay (as the paper writes it). In Keras and PyTorch "
                "the share is learning rate times decay.",
            ),
            (
                lambda w, g, m, v, t, rate, decay: _adam(w, g, m, v, t, rate),
                "there is no decay in your step: that is Adam.",
            ),
            (
                without_correction,
                "m and v start at 0, and t corrects for it: multiply the step by "
                "sqrt(1 - beta2^t) / (1 - beta1^t).",
            ),
        ],
    )
    report(problem, "One line more than Adam, and the memories never see it.")


def check_equilibrium(answer: Callable[..., Any]) -> None:
    """``answer(learning_rate, decay, gradient)``: length and angle at rest; gradient is that at length 1."""
    problem = diagnose(
        answer,
        lambda rate, decay, g: ((rate * g**2 / (2 * decay)) ** 0.25, np.sqrt(2 * rate * decay)),
        cases=[(0.1, 0.02, 3.0), (0.5, 0.01, 0.25), (0.2, 0.3, 1.5)],
        mistakes=[
            (
                lambda rate, decay, g: (np.sqrt(rate * g**2 / (2 * decay)), np.sqrt(2 * rate * decay)),
                "your first value is the *square* of the length: the gradient itself shrinks as 1/|w|, "
                "so the balance holds for the fourth power.",
            ),
            (
                lambda rate, decay, g: ((rate * g**2 / decay) ** 0.25, np.sqrt(rate * decay)),
                "a factor 2 is missing: a step takes the share rate x decay of |w|, so *twice* that share "
                "of |w|^2.",
            ),
            (
                lambda rate, decay, g: ((rate * g**2 / (2 * decay)) ** 0.25, rate * g),
                "your angle is the one of a step at length 1. Divide the step rate * g / |w| by the length "
                "once more.",
            ),
        ],
    )
    report(problem, "The angle contains neither the loss nor the data.")
