"""Checks for the exercises of the chapter "Activations and gradients"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from regularize.exercises import diagnose, report


def check_whole_factor(answer: Callable[..., Any]) -> None:
    """``answer(factor, layers)``: how much longer the gradient is after ``layers`` layers.

    ``factor`` is what one layer multiplies the *mean square* by.
    """
    problem = diagnose(
        answer,
        lambda factor, layers: factor ** (layers / 2),
        cases=[(0.25, 3), (1.44, 10), (0.0557, 49)],
        mistakes=[
            (
                lambda factor, layers: factor**layers,
                "that is what happens to the square of the length. Take the root.",
            ),
            (
                lambda factor, layers: np.sqrt(factor) * layers,
                "you multiplied by the number of layers. The chain rule multiplies once per layer: a power.",
            ),
            (
                lambda factor, layers: factor ** (-layers / 2),
                "you went the wrong way. The factor says what one layer does to a gradient "
                "on its way back through it.",
            ),
        ],
    )
    report(problem, "A power of the number of layers, and nothing but 1 stays where it is.")


def check_leaky_variance(answer: Callable[..., Any]) -> None:
    """``answer(fan_in, slope)``: the variance that keeps the mean square through a leaky ReLU."""
    problem = diagnose(
        answer,
        lambda fan_in, slope: 2 / ((1 + slope**2) * fan_in),
        cases=[(64, 0.0), (100, 0.3), (32, 1.0)],
        mistakes=[
            (
                lambda fan_in, slope: np.sqrt(2 / ((1 + slope**2) * fan_in)),
                "that is the standard deviation. The question is about the variance.",
            ),
            (
                lambda fan_in, slope: 2 / ((1 + slope) * fan_in),
                "the slope must be squared: it is the mean *square* that is kept.",
            ),
            (
                lambda fan_in, slope: 2 / fan_in,
                "that is He's variance for ReLU. A leaky ReLU also lets a part of the negative half through.",
            ),
            (
                lambda fan_in, slope: 1 / fan_in,
                "that is LeCun's variance, for an activation that lets everything through.",
            ),
            (
                lambda fan_in, slope: (1 + slope**2) / (2 * fan_in),
                "you multiplied by what the activation does. The weights must undo it: divide.",
            ),
        ],
    )
    report(problem, "Slope 0 gives He's variance, slope 1 LeCun's.")


def check_clip_together(answer: Callable[..., Any]) -> None:
    """``answer(g_w, g_b, limit)``: both gradients, clipped by their common norm."""
    rng = np.random.default_rng(3)

    def shrink(g: Any, norm: Any, limit: float) -> Any:
        return g * np.minimum(1, limit / norm)

    def right(w: Any, b: Any, limit: float) -> Any:
        norm = np.sqrt((w**2).sum() + (b**2).sum())
        return shrink(w, norm, limit), shrink(b, norm, limit)

    problem = diagnose(
        answer,
        right,
        cases=[
            (rng.standard_normal((3, 2)), rng.standard_normal(2), 0.5),
            (0.01 * rng.standard_normal((2, 2)), 0.01 * rng.standard_normal(2), 1.0),
            (np.array([[3.0, 0.0]]), np.array([4.0]), 4.5),
        ],
        mistakes=[
            (
                lambda w, b, limit: (
                    shrink(w, np.linalg.norm(w), limit),
                    shrink(b, np.linalg.norm(b), limit),
                ),
                "you clipped each array by its own norm. That is `clipnorm`; it turns the whole gradient.",
            ),
            (
                lambda w, b, limit: (np.clip(w, -limit, limit), np.clip(b, -limit, limit)),
                "you cut off the entries. That is clipping by value.",
            ),
            (
                lambda w, b, limit: tuple(g * limit / np.sqrt((w**2).sum() + (b**2).sum()) for g in (w, b)),
                "you made a short gradient longer. Clipping only shortens: the factor is at most 1.",
            ),
            (
                lambda w, b, limit: tuple(
                    shrink(g, np.linalg.norm(w) + np.linalg.norm(b), limit) for g in (w, b)
                ),
                "the norm of two arrays together is not the sum of their norms: add the squares.",
            ),
        ],
    )
    report(problem, "One factor for all: the direction stays.")


def check_residual_scale(answer: Callable[..., Any]) -> None:
    """``answer(blocks, growth)``: the scale with which the mean square grows exactly ``growth`` times."""
    problem = diagnose(
        answer,
        lambda blocks, growth: np.sqrt(growth ** (1 / blocks) - 1),
        cases=[(1, 2.0), (50, np.e), (10, 1.5)],
        mistakes=[
            (
                lambda blocks, growth: growth ** (1 / blocks) - 1,
                "that is the square of the scale: one block multiplies the mean square by 1 + scale^2.",
            ),
            (
                lambda blocks, growth: 1 / np.sqrt(blocks),
                "that is the rule of thumb of the chapter. It gives (1 + 1 / blocks)^blocks, below e; "
                "here the growth is given.",
            ),
            (
                lambda blocks, growth: np.sqrt((growth - 1) / blocks),
                "you added the blocks up. Each multiplies what the one before has left: take a root of order "
                "`blocks`.",
            ),
            (
                lambda blocks, growth: np.sqrt(growth - 1),
                "that is right for one block. The growth is that of all blocks together.",
            ),
        ],
    )
    report(problem, "For many blocks this is about sqrt(log(growth) / blocks).")


def check_silent_share(answer: Callable[..., Any]) -> None:
    """``answer(z)``: from (seeds, images, units), the share of units that never fire, (seeds,)."""
    z = np.random.default_rng(5).standard_normal((3, 4, 6)) - 0.6
    z[0, :, 2], z[1, :, :2], z[2, 1, 4] = -1.0, 0.0, 0.0
    problem = diagnose(
        answer,
        lambda z: (z <= 0).all(axis=1).mean(axis=1),
        cases=[(z,), (np.where(np.arange(5) < 2, -(z[:, :, :5] ** 2), z[:, :, :5] + 0.1),)],
        mistakes=[
            (
                lambda z: (z <= 0).mean(axis=(1, 2)),
                "that is the share of zeros. A unit that is off for one image may fire for another; "
                "a silent one is off for all of them.",
            ),
            (
                lambda z: (z <= 0).any(axis=1).mean(axis=1),
                "those are the units that are off for some image. That is what ReLU is for.",
            ),
            (
                lambda z: (z > 0).any(axis=1).mean(axis=1),
                "that is the share of units that fire; the silent ones are the others.",
            ),
            (
                lambda z: (z <= 0).all(axis=1).mean(),
                "that is one number for all seeds. Keep the seeds apart.",
            ),
            (
                lambda z: (z < 0).all(axis=1).mean(axis=1),
                "at exactly 0 ReLU gives 0 and its slope is taken as 0: such a unit is silent too.",
            ),
        ],
    )
    report(problem, "No training image can change what leads into such a unit.")
