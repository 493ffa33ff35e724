"""Checks for the exercises of the chapter "Dropout"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from regularize.exercises import diagnose, report


def check_masked(answer: Callable[..., Any]) -> None:
    """``answer(h, mask, rate)``: the training output with inverted scaling, h mask / (1 - rate)."""
    h = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
    problem = diagnose(
        answer,
        lambda h, m, p: h * m / (1 - p),
        cases=[
            (h, np.array([[1, 0, 1], [1, 1, 0]]), 0.2),
            (h[0], np.array([1, 1, 0]), 0.75),
        ],
        mistakes=[
            (
                lambda h, m, p: h * m,
                "that is standard scaling: nothing makes up for the units that are missing. "
                "Divide, so that the mean over all masks is h.",
            ),
            (
                lambda h, m, p: h * m / p,
                "you divided by the rate, the share that is dropped. Divide by the share that is kept.",
            ),
            (
                lambda h, m, p: h * m * (1 - p),
                "you multiplied by the share kept. That is what standard scaling does in *evaluation*; "
                "in training the kept units must grow.",
            ),
            (
                lambda h, m, p: h * m / m.mean(),
                "you divided by the share kept in *this* mask. Divide by its expectation, 1 - rate: "
                "it is the same number in every step.",
            ),
            (
                lambda h, m, p: h * (1 - m) / (1 - p),
                "you kept what the mask drops: 1 keeps and 0 drops.",
            ),
        ],
    )
    report(problem, "Right on average, so that evaluation has nothing to do.")


def check_to_inverted(answer: Callable[..., Any]) -> None:
    """``answer(W, learning_rate, rate)``: weights and learning rate of the same layer, inverted scaling."""
    rng = np.random.default_rng(0)
    problem = diagnose(
        answer,
        lambda w, lr, p: ((1 - p) * w, (1 - p) ** 2 * lr),
        cases=[(rng.standard_normal((3, 2)), 0.1, 0.2), (rng.standard_normal((2, 2)), 0.5, 0.75)],
        mistakes=[
            (
                lambda w, lr, p: ((1 - p) * w, lr),
                "the weights are right. But inverted scaling makes the gradient of these weights "
                "1 / (1 - rate) times as large, and the weights themselves are smaller: "
                "the learning rate has to change, too.",
            ),
            (
                lambda w, lr, p: ((1 - p) * w, (1 - p) * lr),
                "that learning rate is right for Adam, which ignores the scale of a gradient. "
                "For SGD there is a second factor.",
            ),
            (
                lambda w, lr, p: (w / (1 - p), lr / (1 - p) ** 2),
                "you went the other way, from inverted to standard. Inverted scaling has made the units "
                "larger, so its weights are smaller.",
            ),
            (
                lambda w, lr, p: (p * w, p**2 * lr),
                "you took the rate for the share that is kept.",
            ),
        ],
    )
    report(problem, "With these two the runs agree to the last digits, for as long as you train.")


def check_added_by_dropout(answer: Callable[..., Any]) -> None:
    """``answer(x, coef, rate)``: p / (1 - p) sum_j w_j^2 s_j^2, what input dropout adds to the mean loss."""
    rng = np.random.default_rng(1)
    problem = diagnose(
        answer,
        lambda x, w, p: p / (1 - p) * (w**2 * (x**2).mean(0)).sum(),
        cases=[
            (1 + rng.standard_normal((4, 3)), rng.standard_normal(3), 0.2),
            (2 - rng.standard_normal((5, 2)), rng.standard_normal(2), 0.75),
        ],
        mistakes=[
            (
                lambda x, w, p: p * (1 - p) * (w**2 * (x**2).mean(0)).sum(),
                "p (1 - p) is the variance of the bare mask. Inverted scaling divides the mask "
                "by 1 - p, and so its variance by (1 - p)^2.",
            ),
            (
                lambda x, w, p: p / (1 - p) * (w**2 * x.var(0)).sum(),
                "you took the variance of the features. What counts is their mean *square*: "
                "the noise is as large as the value, wherever the origin lies.",
            ),
            (
                lambda x, w, p: p / (1 - p) * (w**2 * (x**2).sum(0)).sum(),
                "that is the sum over the examples; the loss is their mean.",
            ),
            (
                lambda x, w, p: p / (1 - p) * (w**2).sum(),
                "that is plain ridge. It is the same only if every feature has mean square 1.",
            ),
            (
                lambda x, w, p: p / (1 - p) * ((x @ w) ** 2).mean(),
                "you squared the prediction. The masks of different features are independent, "
                "so their variances add: square first, then sum.",
            ),
        ],
    )
    report(problem, "A ridge penalty in which each feature pays by its own size.")


def check_geometric_mean(answer: Callable[..., Any]) -> None:
    """``answer(q)``: the normalized geometric mean of probabilities (masks, k), shape (k,)."""
    rng = np.random.default_rng(2)
    problem = diagnose(
        answer,
        lambda q: softmax(np.log(q).mean(0)),
        cases=[(softmax(2 * rng.standard_normal((4, 3)), -1),), (softmax(rng.standard_normal((2, 5)), -1),)],
        mistakes=[
            (
                lambda q: q.mean(0),
                "that is the arithmetic mean, the one of Monte-Carlo dropout. Average the logarithms.",
            ),
            (
                lambda q: np.exp(np.log(q).mean(0)),
                "these do not sum to 1 yet. Divide by their sum.",
            ),
            (
                lambda q: q.prod(0) / q.prod(0).sum(),
                "you multiplied without taking the root: the logarithms are to be averaged, not summed.",
            ),
            (
                lambda q: np.log(q).mean(0),
                "these are logarithms. Take the exponential, then divide by the sum.",
            ),
        ],
    )
    report(problem, "If dropout stands before the last layer, one pass computes this for all masks at once.")
