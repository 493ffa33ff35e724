"""Readers' answers to the exercises of "Choosing lambda": right ones, and each usual mistake."""

import math

import numpy as np
from exercise import Exercise

from regularize.exercises import choosing_lambda as choosing


def press(y, fitted, leverage):
    return sum((a - b) ** 2 / (1 - h) ** 2 for a, b, h in zip(y, fitted, leverage, strict=True))


def fold_errors(x, y, fold, strength, swap=False):
    """Ridge as least squares with extra rows; ``strength(m)`` stands beside the sum of squares."""
    result = []
    for k in np.unique(fold):
        train = fold == k if swap else fold != k
        rows = math.sqrt(strength(train.sum())) * np.eye(x.shape[1])
        targets = np.concatenate([y[train], np.zeros(x.shape[1])])
        w = np.linalg.lstsq(np.vstack([x[train], rows]), targets, rcond=None)[0]
        result.append([(b - a @ w) ** 2 for a, b in zip(x[~train], y[~train], strict=True)])
    return result


def mean_of_means(errors):
    return sum(sum(e) / len(e) for e in errors) / len(errors)


def within(scores, strength, width):
    """The strengths whose mean score is at most the lowest plus width(sd, folds)."""
    means = [column.mean() for column in scores.T]
    i = int(np.argmin(means))
    deviation = math.sqrt(((scores[:, i] - means[i]) ** 2).sum() / (len(scores) - 1))
    limit = means[i] + width(deviation, len(scores))
    return [t for t, mean in zip(strength, means, strict=True) if mean <= limit]


def standard_error(deviation, folds):
    return deviation / folds**0.5


EXERCISES = [
    Exercise(
        choosing.check_leave_one_out,
        lambda y, f, h: press(y, f, h) / len(y),
        [
            ("training error", lambda y, f, h: (y - f) @ (y - f) / len(y)),
            ("squared residual by", lambda y, f, h: sum((y - f) ** 2 / (1 - h)) / len(y)),
            ("generalized", lambda y, f, h: len(y) * (y - f) @ (y - f) / (len(y) - h.sum()) ** 2),
            ("multiplied", lambda y, f, h: np.mean((y - f) ** 2 * (1 - h) ** 2)),
            ("PRESS", press),
        ],
    ),
    Exercise(
        choosing.check_cross_validation,
        lambda x, y, fold, lam: mean_of_means(fold_errors(x, y, fold, lambda m: m * lam)),
        [
            (
                "all n examples",
                lambda x, y, fold, lam: mean_of_means(fold_errors(x, y, fold, lambda m: len(y) * lam)),
            ),
            (
                "beside a sum",
                lambda x, y, fold, lam: mean_of_means(fold_errors(x, y, fold, lambda m: lam)),
            ),
            (
                "other way round",
                lambda x, y, fold, lam: mean_of_means(fold_errors(x, y, fold, lambda m: m * lam, swap=True)),
            ),
            (
                "different size",
                lambda x, y, fold, lam: sum(map(sum, fold_errors(x, y, fold, lambda m: m * lam))) / len(y),
            ),
        ],
    ),
    Exercise(
        choosing.check_final_alpha,
        lambda alpha, k: alpha / (1 - 1 / k),
        [
            ("keeps alpha", lambda alpha, k: 1.0 * alpha),
            ("wrong way", lambda alpha, k: alpha * (1 - 1 / k)),
            ("k times", lambda alpha, k: k * alpha),
        ],
    ),
    Exercise(
        choosing.check_one_standard_error,
        lambda s, t: max(within(s, t, standard_error)),
        [
            ("best score", lambda s, t: t[int(np.argmin(s.sum(0)))]),
            ("standard deviation", lambda s, t: max(within(s, t, lambda deviation, folds: deviation))),
            ("weakest", lambda s, t: min(within(s, t, standard_error))),
        ],
    ),
]
