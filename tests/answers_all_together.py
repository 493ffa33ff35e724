"""Readers' answers to the exercises of "All of them together": right ones, and each usual mistake."""

import numpy as np
from exercise import Exercise

from regularize.exercises import all_together


def interactions(both, a, b):
    mean = sum(both) / len(both)
    first, second = sum(a) / len(a), sum(b) / len(b)
    return [min(mean - first, mean - second), mean - (first + second)]


def holm(p, level):
    rejected, remaining = [0.0] * len(p), list(range(len(p)))
    while remaining:
        smallest = min(remaining, key=lambda i: p[i])
        if p[smallest] * len(remaining) > level:
            break
        rejected[smallest] = 1.0
        remaining.remove(smallest)
    return np.array(rejected)


def own_bound(p, level):
    rank = [sum(p < each) for each in p]
    return [float(each * (len(p) - r) <= level) for each, r in zip(p, rank, strict=True)]


def hochberg(p, level):
    largest = max((each for each, ok in zip(p, own_bound(p, level), strict=True) if ok), default=-1)
    return [float(each <= largest) for each in p]


EXERCISES = [
    Exercise(
        all_together.check_interactions,
        interactions,
        [
            (
                "better method of each seed",
                lambda both, a, b: (
                    np.mean([x - max(y, z) for x, y, z in zip(both, a, b, strict=True)]),
                    interactions(both, a, b)[1],
                ),
            ),
            (
                "mean of the two gains",
                lambda both, a, b: (interactions(both, a, b)[0], np.mean(both - (a + b) / 2)),
            ),
            (
                "worse of its two",
                lambda both, a, b: (
                    max(np.mean(both - a), np.mean(both - b)),
                    interactions(both, a, b)[1],
                ),
            ),
        ],
    ),
    Exercise(
        all_together.check_one_dial,
        lambda lam, tau, rate: lam + (tau**2 + 1) / (1 - rate) - 1,
        [
            ("one at a time", lambda lam, tau, rate: lam + tau**2 + 1 / (1 - rate) - 1),
            ("standard deviation of the noise", lambda lam, tau, rate: lam + (tau + 1) / (1 - rate) - 1),
            ("probability to keep", lambda lam, tau, rate: lam + (tau**2 + 1) / rate - 1),
        ],
    ),
    Exercise(
        all_together.check_holm,
        holm,
        [
            ("Bonferroni: every", lambda p, level: (len(p) * p <= level).astype(float)),
            ("corrected nothing", lambda p, level: np.where(p > level, 0.0, 1.0)),
            ("did not stop", own_bound),
            ("Hochberg", hochberg),
            ("sorted by p-value", lambda p, level: sorted(holm(p, level), reverse=True)),
        ],
    ),
    Exercise(
        all_together.check_variance_shift,
        lambda mu, sigma, rate: sigma / ((sigma**2 + mu**2) / (1 - rate) - mu**2) ** 0.5,
        [
            ("mean 0 only", lambda mu, sigma, rate: (1 - rate) ** 0.5),
            (
                "take its root",
                lambda mu, sigma, rate: sigma**2 / ((sigma**2 + mu**2) / (1 - rate) - mu**2),
            ),
            (
                "upside down",
                lambda mu, sigma, rate: ((sigma**2 + mu**2) / (1 - rate) - mu**2) ** 0.5 / sigma,
            ),
            ("divided 1 by", lambda mu, sigma, rate: ((sigma**2 + mu**2) / (1 - rate) - mu**2) ** -0.5),
        ],
    ),
]
