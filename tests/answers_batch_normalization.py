"""Readers' answers to the exercises of "Batch normalization": right ones, and each usual mistake."""

import math

import numpy as np
from exercise import Exercise

from regularize.exercises import batch_normalization as bn


def forward(x, gamma, beta, epsilon):
    out = []
    for column, g, b in zip(x.T, gamma, beta, strict=True):
        mean = sum(column) / len(column)
        variance = sum((v - mean) ** 2 for v in column) / len(column)
        out.append([g * (v - mean) / math.sqrt(variance + epsilon) + b for v in column])
    return np.transpose(out)


def backward(g, x_hat, slope):
    """By the Jacobian of each feature."""
    n = len(g)
    columns = [
        s * (np.eye(n) - 1 / n - np.outer(h, h) / n) @ c for c, h, s in zip(g.T, x_hat.T, slope, strict=True)
    ]
    return np.stack(columns, axis=1)


def fold(W, b, mean, variance, gamma, beta, epsilon):
    """By what the two layers do to the zero and to the unit vectors."""

    def both(x):
        return (x @ W + b - mean) * gamma * (variance + epsilon) ** -0.5 + beta

    start = both(np.zeros(len(W)))
    return both(np.eye(len(W))) - start, start


def conventions(m, old, v, n):
    rate = 1 - m
    return rate, old + rate * (v * n / (n - 1) - old)


def growth(a):
    return math.sqrt((1 + a**2) * math.pi / ((1 + a**2) * math.pi - (1 - a) ** 2))


EXERCISES = [
    Exercise(
        bn.check_forward,
        forward,
        [
            ("that is x_hat", lambda x, gamma, beta, e: forward(x, np.ones_like(gamma), 0 * beta, e)),
            (
                "to the standard deviation",
                lambda x, gamma, beta, e: gamma * (x - x.mean(0)) / (x.var(0) ** 0.5 + e) + beta,
            ),
            (
                "B - 1",
                lambda x, gamma, beta, e: (
                    gamma * (x - x.mean(0)) * (x.var(0) * len(x) / (len(x) - 1) + e) ** -0.5 + beta
                ),
            ),
            (
                "layer normalization",
                lambda x, gamma, beta, e: gamma * forward(x.T, np.ones(len(x)), np.zeros(len(x)), e).T + beta,
            ),
        ],
    ),
    Exercise(
        bn.check_backward,
        backward,
        [
            ("evaluation mode", lambda g, h, s: g * s),
            ("along x_hat, is missing", lambda g, h, s: (g - sum(g) / len(g)) * s),
            ("through the mean is missing", lambda g, h, s: g * s - s * h * sum(g * h) / len(g)),
            ("sums over the batch", lambda g, h, s: (g - sum(g) - h * sum(g * h)) * s),
            ("slope is missing", lambda g, h, s: backward(g, h, np.ones_like(s))),
        ],
    ),
    Exercise(
        bn.check_fold,
        fold,
        [
            (
                "scale it as well",
                lambda W, b, m, v, gamma, beta, e: (
                    fold(W, b, m, v, gamma, beta, e)[0],
                    fold(W, 0 * b, m, v, gamma, beta, e)[1] + b,
                ),
            ),
            (
                "beta is missing",
                lambda W, b, m, v, gamma, beta, e: fold(W, b, m, v, gamma, 0 * beta, e),
            ),
            (
                "must be subtracted",
                lambda W, b, m, v, gamma, beta, e: fold(W, b, 0 * m, v, gamma, beta, e),
            ),
            (
                "divided by the variance",
                lambda W, b, m, v, gamma, beta, e: fold(W, b, m, (v + e) ** 2, gamma, beta, 0.0),
            ),
        ],
    ),
    Exercise(
        bn.check_conventions,
        conventions,
        [
            ("weight of the new value", lambda m, old, v, n: (m, conventions(m, old, v, n)[1])),
            ("what Keras averages", lambda m, old, v, n: (1 - m, old * m + v * (1 - m))),
            ("changed places", lambda m, old, v, n: (1 - m, conventions(1 - m, old, v, n)[1])),
            (
                "been through that",
                lambda m, old, v, n: (1 - m, conventions(m, old, v * (n - 1) / n, n)[1] / (1 - 1 / n)),
            ),
        ],
    ),
    Exercise(
        bn.check_growth,
        growth,
        [
            ("Take the root", lambda a: growth(a) ** 2),
            ("divided by E f^2", lambda a: 1.0),
            ("the inverse", lambda a: 1 / growth(a)),
            ("factor of ReLU", lambda a: growth(0.0)),
        ],
    ),
]
