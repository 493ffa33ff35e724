"""Checks for the exercises of the chapter "Batch normalization"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_forward(answer: Callable[..., Any]) -> None:
    """``answer(x, gamma, beta, epsilon)``: the output in training mode, for x (B, features)."""
    rng = np.random.default_rng(0)

    def normalized(x: Any, gamma: Any, beta: Any, root: Callable[[Any], Any], axis: int = 0) -> Any:
        center = x - x.mean(axis, keepdims=True)
        return gamma * center / root(x) + beta

    problem = diagnose(
        answer,
        lambda x, gamma, beta, e: normalized(x, gamma, beta, lambda x: np.sqrt(x.var(0) + e)),
        cases=[
            (2 + rng.standard_normal((4, 3)), rng.random(3), rng.standard_normal(3), 0.25),
            (rng.standard_normal((5, 2)), rng.random(2), rng.standard_normal(2), 0.0625),
        ],
        mistakes=[
            (
                lambda x, gamma, beta, e: normalized(x, 1, 0, lambda x: np.sqrt(x.var(0) + e)),
                "that is x_hat. The layer's output is gamma x_hat + beta.",
            ),
            (
                lambda x, gamma, beta, e: normalized(x, gamma, beta, lambda x: x.std(0) + e),
                "you added epsilon to the standard deviation. It belongs under the root, to the variance.",
            ),
            (
                lambda x, gamma, beta, e: normalized(x, gamma, beta, lambda x: np.sqrt(x.var(0, ddof=1) + e)),
                "you divided the squares by B - 1. What normalizes is the biased variance, divided by B, "
                "in Keras and in PyTorch.",
            ),
            (
                lambda x, gamma, beta, e: normalized(
                    x, gamma, beta, lambda x: np.sqrt(x.var(1, keepdims=True) + e), axis=1
                ),
                "you normalized each example over its features, axis 1: that is layer normalization. "
                "Here each feature is normalized over the batch.",
            ),
        ],
    )
    report(problem, "Four steps: mean, variance, x_hat, and then gamma and beta.")


def check_backward(answer: Callable[..., Any]) -> None:
    """``answer(g, x_hat, slope)``: from the gradient for x_hat to that for x."""
    rng = np.random.default_rng(1)

    def case(n: int, features: int) -> tuple[Any, ...]:
        x = rng.standard_normal((n, features))
        slope = 1 / np.sqrt(x.var(0) + 0.25)
        return rng.standard_normal((n, features)), slope * (x - x.mean(0)), slope

    problem = diagnose(
        answer,
        lambda g, h, s: s * (g - g.mean(0) - h * (g * h).mean(0)),
        cases=[case(6, 3), case(4, 2)],
        mistakes=[
            (
                lambda g, h, s: s * g,
                "that is the gradient in evaluation mode. In training the mean and the variance depend on x, "
                "too: subtract these two ways.",
            ),
            (
                lambda g, h, s: s * (g - g.mean(0)),
                "you have the way through the mean; the one through the variance, along x_hat, is missing.",
            ),
            (
                lambda g, h, s: s * (g - h * (g * h).mean(0)),
                "you have the way through the variance; the one through the mean is missing.",
            ),
            (
                lambda g, h, s: s * (g - g.sum(0) - h * (g * h).sum(0)),
                "you took sums over the batch where the formula has means.",
            ),
            (
                lambda g, h, s: g - g.mean(0) - h * (g * h).mean(0),
                "the factor slope is missing: x_hat = slope (x - mean).",
            ),
        ],
    )
    report(problem, "What is left is perpendicular to the ones and, but for epsilon, to x_hat.")


def check_fold(answer: Callable[..., Any]) -> None:
    """``answer(W, b, mean, variance, gamma, beta, epsilon)``: W and b of one layer that does both."""
    rng = np.random.default_rng(2)

    def case(inputs: int, features: int) -> tuple[Any, ...]:
        b, mean, gamma, beta = rng.standard_normal((4, features))
        return rng.standard_normal((inputs, features)), b, mean, rng.random(features), gamma, beta, 0.0625

    def slope(v: Any, gamma: Any, e: float) -> Any:
        return gamma / np.sqrt(v + e)

    problem = diagnose(
        answer,
        lambda W, b, m, v, gamma, beta, e: (
            W * slope(v, gamma, e),
            (b - m) * slope(v, gamma, e) + beta,
        ),
        cases=[case(3, 2), case(2, 4)],
        mistakes=[
            (
                lambda W, b, m, v, gamma, beta, e: (
                    W * slope(v, gamma, e),
                    b - m * slope(v, gamma, e) + beta,
                ),
                "your W is right. The bias b passes the normalization, too: scale it as well.",
            ),
            (
                lambda W, b, m, v, gamma, beta, e: (W * slope(v, gamma, e), (b - m) * slope(v, gamma, e)),
                "your W is right; beta is missing from b.",
            ),
            (
                lambda W, b, m, v, gamma, beta, e: (W * slope(v, gamma, e), b * slope(v, gamma, e) + beta),
                "your W is right; the moving mean must be subtracted from b.",
            ),
            (
                lambda W, b, m, v, gamma, beta, e: (
                    W * gamma / (v + e),
                    (b - m) * gamma / (v + e) + beta,
                ),
                "you divided by the variance. Divide by its root.",
            ),
        ],
    )
    report(problem, "After training the normalization costs nothing.")


def check_conventions(answer: Callable[..., Any]) -> None:
    """``answer(m, old, v, B)``: PyTorch's momentum, and its running variance after the batch."""
    problem = diagnose(
        answer,
        lambda m, old, v, n: (1 - m, m * old + (1 - m) * v * n / (n - 1)),
        cases=[(0.99, 1.0, 2.5, 5), (0.9, 0.5, 3.0, 2), (0.75, 2.0, 1.0, 11)],
        mistakes=[
            (
                lambda m, old, v, n: (m, m * old + (1 - m) * v * n / (n - 1)),
                "your variance is right. PyTorch's momentum is the weight of the new value, Keras's that of "
                "the old one.",
            ),
            (
                lambda m, old, v, n: (1 - m, m * old + (1 - m) * v),
                "that is what Keras averages. PyTorch averages the unbiased variance, times B / (B - 1).",
            ),
            (
                lambda m, old, v, n: (1 - m, (1 - m) * old + m * v * n / (n - 1)),
                "in your average old and new have changed places.",
            ),
            (
                lambda m, old, v, n: (1 - m, (m * old + (1 - m) * v) * n / (n - 1)),
                "only the batch's variance is corrected; the old average has been through that already.",
            ),
        ],
    )
    report(problem, "And epsilon differs by a factor of 100, too.")


def check_growth(answer: Callable[..., Any]) -> None:
    """``answer(a)``: the growth of the gradient per layer with batch normalization and leaky ReLU."""

    def square(a: float) -> float:
        return (1 + a * a) / 2

    def mean(a: float) -> float:
        return (1 - a) / np.sqrt(2 * np.pi)

    problem = diagnose(
        answer,
        lambda a: np.sqrt(square(a) / (square(a) - mean(a) ** 2)),
        cases=[(0.0,), (0.3,), (0.5,), (1.0,)],
        mistakes=[
            (
                lambda a: square(a) / (square(a) - mean(a) ** 2),
                "that is the growth of the mean square. Take the root.",
            ),
            (
                lambda a: np.sqrt(square(a) / square(a)),
                "you divided by E f^2. Batch normalization subtracts the mean: divide by the variance of f.",
            ),
            (
                lambda a: np.sqrt((square(a) - mean(a) ** 2) / square(a)),
                "that is the inverse: by this factor the gradient shrinks on its way *forward*.",
            ),
            (
                lambda a: np.sqrt(np.pi / (np.pi - 1)),
                "that is the factor of ReLU, a = 0. A leaky one is closer to a straight line.",
            ),
        ],
    )
    report(problem, "The closer to a straight line, the slower the explosion.")
