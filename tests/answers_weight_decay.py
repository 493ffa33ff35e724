"""Readers' answers to the exercises of "Weight decay": right ones, and each usual mistake."""

import math

import numpy as np
from exercise import Exercise

from regularize.exercises import weight_decay as decay
from regularize.network import Network, mlp
from regularize.optimizers import Adam
from regularize.weight_decay import WeightDecay


def share_left(rates, wd):
    w = 1.0
    for rate in rates:
        w -= rate * wd * w
    return w


def adamw(w, g, m, v, t, rate, wd):
    """The library's own optimizer and decay, on a network that holds nothing but these weights."""
    net: Network = mlp(len(w), 1, seeds=0)
    net.theta[:-1], net.theta[-1] = w, 0
    optimizer = Adam(rate)
    optimizer.t, optimizer.m, optimizer.v = t - 1, np.append(m, 0), np.append(v, 0)
    WeightDecay(wd)(net, rate)
    optimizer.step(net.theta, np.append(g, 0))
    return net.theta[:-1], optimizer.m[:-1], optimizer.v[:-1]


def forgot_the_correction(w, g, m, v, t, rate, wd):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return w * (1 - rate * wd) - rate * m / (v**0.5 + 1e-7), m, v


def equilibrium(rate, wd, g):
    square = math.sqrt(rate / (2 * wd)) * g  # |w|^2
    return [math.sqrt(square), rate * g / square]


EXERCISES = [
    Exercise(
        decay.check_share_left,
        share_left,
        [
            ("left the learning rate out", lambda rates, wd: np.prod([1 - wd for _ in rates])),
            ("the first learning rate", lambda rates, wd: share_left([rates[0]] * len(rates), wd)),
            ("limit of small steps", lambda rates, wd: math.exp(-wd * sum(rates))),
            ("multiply, do not add", lambda rates, wd: 1 - wd * sum(rates)),
        ],
    ),
    Exercise(
        decay.check_translate,
        lambda lam, mu: [lam + lam, lam / ((1 - mu) / 2)],
        [
            ("only without momentum", lambda lam, mu: (lam * 2, lam * 2)),
            ("factor 2 is missing", lambda lam, mu: (lam, lam / (1 - mu))),
            ("must be *larger*", lambda lam, mu: (2 * lam, 2 * lam - 2 * lam * mu)),
            ("exchanged the two", lambda lam, mu: (2 * lam / (1 - mu), 2 * lam)),
        ],
    ),
    Exercise(
        decay.check_adamw_step,
        adamw,
        [
            ("Adam with L2", lambda w, g, m, v, t, rate, wd: adamw(w, g + wd * w, m, v, t, rate, 0)),
            ("as the paper writes it", lambda w, g, m, v, t, rate, wd: adamw(w, g, m, v, t, rate, wd / rate)),
            ("that is Adam", lambda w, g, m, v, t, rate, wd: adamw(w, g, m, v, t, rate, 0)),
            ("start at 0", forgot_the_correction),
        ],
    ),
    Exercise(
        decay.check_equilibrium,
        equilibrium,
        [
            (
                "the *square* of",
                lambda rate, wd, g: (equilibrium(rate, wd, g)[0] ** 2, (2 * rate * wd) ** 0.5),
            ),
            ("*twice* that share", lambda rate, wd, g: equilibrium(rate, wd / 2, g)),
            ("at length 1", lambda rate, wd, g: (equilibrium(rate, wd, g)[0], rate * g)),
        ],
    ),
]
