"""Readers' answers to the exercises of "Data augmentation": right ones, and each usual mistake."""

import numpy as np
from exercise import Exercise

from regularize.exercises import data_augmentation as aug


def smoothing(a, k):
    target = (1 - a) * np.eye(k)[0] + a / k
    z = np.log(target)
    return target[0], z[0] - z[1]


def blend(a, partner, s):
    return np.array([s * row + (1 - s) * a[p] for row, p in zip(a, partner, strict=True)])


def orbit(f, y):
    total = ((f - y) ** 2).mean()
    spread = ((f - f.mean(axis=0)) ** 2).sum() / f.size
    return [total - spread, spread]


def penalty(w, c):
    return sum(w[i] * w[j] * c[i, j] for i in range(len(w)) for j in range(len(w)))


def effective(n, a, value):
    k = next(i for i in range(1, len(a)) if a[i] >= value)
    t = (value - a[k - 1]) / (a[k] - a[k - 1])
    return n[k - 1] ** (1 - t) * n[k] ** t


EXERCISES = [
    Exercise(
        aug.check_smoothing,
        smoothing,
        [
            ("comes on top", lambda a, k: (1 - a, np.log(k * (1 - a) / a))),
            ("another convention", lambda a, k: (1 - a, np.log((k - 1) * (1 - a) / a))),
            ("difference of logits", lambda a, k: (smoothing(a, k)[0], np.exp(smoothing(a, k)[1]))),
            ("right class alone", lambda a, k: (smoothing(a, k)[0], np.log(smoothing(a, k)[0]))),
        ],
    ),
    Exercise(
        aug.check_mixup,
        lambda x, y, p, s: (blend(x, p, s), blend(y, p, s)),
        [
            ("half a 3", lambda x, y, p, s: (blend(x, p, s), y.copy())),
            ("belongs to the partner", lambda x, y, p, s: [blend(x, p, 1 - s), blend(y, p, 1 - s)]),
            ("opposite shares", lambda x, y, p, s: (blend(x, p, s), blend(y, p, 1 - s))),
            ("not chosen", lambda x, y, p, s: (blend(x, p, s), y[p] if s < 0.5 else 1 * y)),
        ],
    ),
    Exercise(
        aug.check_orbit,
        orbit,
        [
            ("the whole loss", lambda f, y: (((f - y) ** 2).sum() / f.size, orbit(f, y)[1])),
            ("runs over the examples", lambda f, y: (orbit(f, y)[0], f.std(axis=1) @ f.std(1) / len(f))),
            (
                "minus 1",
                lambda f, y: (orbit(f, y)[0], orbit(f, y)[1] * len(f) / (len(f) - 1)),
            ),
            ("standard deviation", lambda f, y: (orbit(f, y)[0], np.sqrt(f.var(axis=0)).mean())),
        ],
    ),
    Exercise(
        aug.check_penalty,
        penalty,
        [
            ("variances alone", lambda w, c: sum(c[i, i] * w[i] ** 2 for i in range(len(w)))),
            ("mean variance", lambda w, c: np.mean(np.diag(c)) * np.sum(w**2)),
            ("the output", lambda w, c: penalty(w, c) ** 0.5),
            ("gradient of the penalty", lambda w, c: (c + c.T) @ w),
        ],
    ),
    Exercise(
        aug.check_effective,
        effective,
        [
            ("interpolated in n", lambda n, a, v: np.interp(v, a, n) + 0.0),
            ("take the exponential", lambda n, a, v: np.log(effective(n, a, v))),
            ("nearest size", lambda n, a, v: min(zip(abs(a - v), n, strict=True))[1]),
        ],
    ),
]
