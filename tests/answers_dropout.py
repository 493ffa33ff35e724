"""Readers' answers to the exercises of "Dropout": right ones, and each usual mistake."""

import numpy as np
from exercise import Exercise

from regularize.exercises import dropout as drop


def masked(h, mask, rate):
    return np.where(mask, np.divide(h, 1 - rate), 0)


def added(x, w, p):
    """Summed in plain Python."""
    n, d = x.shape
    squares = [sum(x[i, j] ** 2 for i in range(n)) / n for j in range(d)]
    return sum(p * w[j] ** 2 * squares[j] for j in range(d)) / (1 - p)


def geometric(q):
    root = np.prod(q ** (1 / len(q)), axis=0)
    return root / np.sum(root)


EXERCISES = [
    Exercise(
        drop.check_masked,
        masked,
        [
            ("makes up for the units", lambda h, m, p: np.where(m, h, 0)),
            ("divided by the rate", lambda h, m, p: np.where(m, h / p, 0)),
            ("multiplied by the share kept", lambda h, m, p: np.where(m, h - p * h, 0)),
            ("in *this* mask", lambda h, m, p: m * h * m.size / m.sum()),
            ("kept what the mask drops", lambda h, m, p: np.where(m, 0, h / (1 - p))),
        ],
    ),
    Exercise(
        drop.check_to_inverted,
        lambda w, lr, p: (w - p * w, lr * (1 - 2 * p + p * p)),
        [
            ("the learning rate has to change", lambda w, lr, p: (w - p * w, lr)),
            ("right for Adam", lambda w, lr, p: [w - p * w, lr - p * lr]),
            ("the other way", lambda w, lr, p: (w / (1 - p), lr / (1 - p) / (1 - p))),
            ("took the rate for the share", lambda w, lr, p: (w * p, lr * p * p)),
        ],
    ),
    Exercise(
        drop.check_added_by_dropout,
        added,
        [
            ("variance of the bare mask", lambda x, w, p: (1 - p) ** 2 * added(x, w, p)),
            ("mean *square*", lambda x, w, p: added(x - x.mean(0), w, p)),
            ("sum over the examples", lambda x, w, p: len(x) * added(x, w, p)),
            ("plain ridge", lambda x, w, p: w @ w * p / (1 - p)),
            ("squared the prediction", lambda x, w, p: p / (1 - p) * np.square(x @ w).sum() / len(x)),
        ],
    ),
    Exercise(
        drop.check_geometric_mean,
        geometric,
        [
            ("the arithmetic mean", lambda q: sum(q) / len(q)),
            ("do not sum to 1", lambda q: np.prod(q, axis=0) ** (1 / len(q))),
            ("without taking the root", lambda q: geometric(q ** len(q))),
            ("these are logarithms", lambda q: np.log(np.prod(q, axis=0)) / len(q)),
        ],
    ),
]
