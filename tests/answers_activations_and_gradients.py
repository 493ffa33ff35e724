"""Readers' answers to the exercises of "Activations and gradients": right ones, and each usual mistake."""

import math

import numpy as np
from exercise import Exercise

from regularize.exercises import activations_and_gradients as act


def whole_factor(factor, layers):
    length = 1.0
    for _ in range(layers):
        length *= math.sqrt(factor)
    return length


def together(w, b, limit):
    norm = np.linalg.norm(np.concatenate([w.ravel(), b.ravel()]))
    return (w, b) if norm <= limit else (w / norm * limit, b / norm * limit)


def each(w, b, limit):
    return tuple(g / max(1, np.linalg.norm(g) / limit) for g in (w, b))


def silent(z):
    return [sum(max(image[unit] for image in seed) <= 0 for unit in range(len(seed[0]))) / len(seed[0])
            for seed in z]  # fmt: skip


EXERCISES = [
    Exercise(
        act.check_whole_factor,
        whole_factor,
        [
            ("square of the length", lambda factor, layers: whole_factor(factor, layers) ** 2),
            ("number of layers", lambda factor, layers: layers * factor**0.5),
            ("wrong way", lambda factor, layers: 1 / whole_factor(factor, layers)),
        ],
    ),
    Exercise(
        act.check_leaky_variance,
        lambda fan_in, slope: 1 / (fan_in * (0.5 + 0.5 * slope * slope)),
        [
            ("standard deviation", lambda fan_in, slope: (0.5 * fan_in * (1 + slope * slope)) ** -0.5),
            ("must be squared", lambda fan_in, slope: 1 / (fan_in * (0.5 + 0.5 * slope))),
            ("He's variance for ReLU", lambda fan_in, slope: 1 / (fan_in / 2)),
            ("LeCun's variance", lambda fan_in, slope: fan_in**-1.0),
            ("must undo it", lambda fan_in, slope: (0.5 + 0.5 * slope * slope) / fan_in),
        ],
    ),
    Exercise(
        act.check_clip_together,
        together,
        [
            ("by its own norm", each),
            ("cut off the entries", lambda w, b, limit: (w.clip(-limit, limit), b.clip(-limit, limit))),
            (
                "short gradient longer",
                lambda w, b, limit: tuple(limit * g / math.hypot(*w.ravel(), *b.ravel()) for g in (w, b)),
            ),
            (
                "add the squares",
                lambda w, b, limit: tuple(
                    g * min(1, limit / (math.hypot(*w.ravel()) + math.hypot(*b.ravel()))) for g in (w, b)
                ),
            ),
        ],
    ),
    Exercise(
        act.check_residual_scale,
        lambda blocks, growth: math.sqrt(math.expm1(math.log(growth) / blocks)),
        [
            ("square of the scale", lambda blocks, growth: math.expm1(math.log(growth) / blocks)),
            ("rule of thumb", lambda blocks, growth: blocks**-0.5),
            ("added the blocks up", lambda blocks, growth: ((growth - 1) / blocks) ** 0.5),
            ("right for one block", lambda blocks, growth: (growth - 1) ** 0.5),
        ],
    ),
    Exercise(
        act.check_silent_share,
        silent,
        [
            ("share of zeros", lambda z: 1 - (z > 0).mean(2).mean(1)),
            ("off for some image", lambda z: (z.min(1) <= 0).mean(1)),
            ("units that fire", lambda z: (z.max(1) > 0).mean(1)),
            ("Keep the seeds apart", lambda z: (z.max(1) <= 0).mean()),
            ("at exactly 0", lambda z: (z.max(1) < 0).mean(1)),
        ],
    ),
]
