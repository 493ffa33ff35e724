r"""Optimizers: from a gradient to a step, in place on ``theta: lead + (P,)``.

The learning rate is a number or an array that broadcasts to lead. Formulas and defaults are
those of Keras; the tests hold both to the same weights after 200 steps.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.penalties import per_member


class Optimizer(Protocol):
    """What ``fit`` needs: a learning rate, and a step. An optimizer remembers; use one per training run."""

    learning_rate: ArrayLike

    def step(self, theta: Array, grad: Array) -> None: ...


class SGD:
    r"""Gradient descent with momentum: ``v <- momentum v - learning_rate g``, ``theta <- theta + v``.

    With momentum 0 that is ``theta <- theta - learning_rate g``.
    """

    def __init__(self, learning_rate: ArrayLike = 0.01, momentum: ArrayLike = 0.0) -> None:
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self.momentum = checks.rate("momentum", momentum)
        self.velocity: Array | None = None

    def step(self, theta: Array, grad: Array) -> None:
        """One step, in place on ``theta``."""
        step = -per_member(self.learning_rate, theta) * grad
        if np.any(self.momentum):
            if self.velocity is None:
                self.velocity = np.zeros_like(theta)
            self.velocity = step = per_member(self.momentum, theta) * self.velocity + step
        theta += step


class Adam:
    r"""Adam (Kingma and Ba 2015): a step of about the learning rate for each weight, whatever its gradient.

        m <- m + (1 - beta1) (g - m)          the mean of recent gradients
        v <- v + (1 - beta2) (g^2 - v)        the mean of their squares
        theta <- theta - learning_rate c m / (sqrt(v) + epsilon),   c = sqrt(1 - beta2^t) / (1 - beta1^t)

    As in Keras, epsilon stands beside the uncorrected sqrt(v); PyTorch puts it beside the corrected one.
    """

    def __init__(
        self,
        learning_rate: ArrayLike = 0.001,
        beta1: ArrayLike = 0.9,
        beta2: ArrayLike = 0.999,
        epsilon: ArrayLike = 1e-7,
    ) -> None:
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self.beta1, self.beta2 = checks.rate("beta1", beta1), checks.rate("beta2", beta2)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.t = 0

    def step(self, theta: Array, grad: Array) -> None:
        """One step, in place on ``theta``."""
        if self.t == 0:
            self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)
        self.t += 1
        self.m += per_member(1 - self.beta1, theta) * (grad - self.m)
        self.v += per_member(1 - self.beta2, theta) * (grad * grad - self.v)
        correction = np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        step = np.sqrt(self.v)  # from here on in place: temporaries of this size cost more than arithmetic
        step += per_member(self.epsilon, theta)
        np.divide(self.m, step, out=step)
        step *= per_member(np.asarray(self.learning_rate) * correction, theta)
        theta -= step
