"""Readers' answers to the exercises of "Overfitting": right ones, and each usual mistake."""

import numpy as np
from exercise import Exercise

from regularize.exercises import overfitting as over


def bias_variance(f, truth):
    sets, points = f.shape
    mean = [sum(f[:, i]) / sets for i in range(points)]
    bias2 = sum((mean[i] - truth[i]) ** 2 for i in range(points)) / points
    variance = sum((f[s, i] - mean[i]) ** 2 for s in range(sets) for i in range(points)) / (sets * points)
    return [bias2, variance]


def choose(v, t):
    return [t[min(range(len(v)), key=lambda k: v[k, s]), s] for s in range(v.shape[1])]


EXERCISES = [
    Exercise(
        over.check_expected_gap,
        lambda p, n, sigma2: sigma2 * (1 + p / n) - sigma2 * (1 - p / n),
        [
            ("only half", lambda p, n, sigma2: sigma2 / n * p),
            ("standard deviation", lambda p, n, sigma2: 2 * sigma2**0.5 * p / n),
            ("fresh labels itself", lambda p, n, sigma2: (n + p) / n * sigma2),
        ],
    ),
    Exercise(
        over.check_bias_variance,
        bias_variance,
        [
            ("opposite sign cancel", lambda f, t: ((f - t).mean() ** 2, bias_variance(f, t)[1])),
            ("the whole error", lambda f, t: (((f - t) ** 2).mean(), bias_variance(f, t)[1])),
            (
                "runs over the points",
                lambda f, t: (bias_variance(f, t)[0], f.std(axis=1) @ f.std(1) / len(f)),
            ),
            (
                "S - 1",
                lambda f, t: (bias_variance(f, t)[0], bias_variance(f, t)[1] * len(f) / (len(f) - 1)),
            ),
        ],
    ),
    Exercise(
        over.check_choose,
        choose,
        [
            ("on the test set", lambda v, t: [min(column) for column in t.T]),
            ("validation loss of the chosen", lambda v, t: [min(column) for column in v.T]),
            ("one setting for all seeds", lambda v, t: t[np.argmin(v.sum(axis=1)), :]),
            ("*highest*", lambda v, t: choose(-v, t)),
        ],
    ),
]
