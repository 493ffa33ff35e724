r"""A penalty on activations instead of weights: units that are rarely or weakly active.

    J + (l1 * sum |a| + l2 * sum a^2) / B        over the B examples of the batch and all units

Like the loss, it is a mean over the examples, so that it does not depend on the batch size. The L1 form
makes hidden units sparse (Glorot, Bordes and Bengio 2011).

Keras has it as the layer ``ActivityRegularization`` and as the argument ``activity_regularizer``. It divides
by the batch size, too, though its penalties on weights are divided by nothing; and it adds the penalty to
the loss that ``evaluate`` reports, which here is the data loss alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer


class ActivityPenalty(Layer):
    """Passes activations on as they are, and adds the gradient ``(l1 sign(a) + 2 l2 a) / B`` on the way back.

    It stands after the layer whose output it penalizes. In evaluation mode it does nothing.

    Parameters
    ----------
    l1, l2 : the strengths, numbers or arrays that broadcast to lead.

    Raises
    ------
    ValueError : a negative, NaN or infinite strength.
    """

    hyperparameters = ("l1", "l2")
    a: Array

    def __init__(self, l1: ArrayLike = 0.0, l2: ArrayLike = 0.0) -> None:
        self.l1, self.l2 = checks.nonnegative("l1", l1), checks.nonnegative("l2", l2)

    def forward(self, x: Array, train: bool) -> Array:
        self.train = train
        if train:
            self.a = x
        return x

    def backward(self, g: Array) -> Array:
        if not self.train:
            return g
        a, batch = self.a, self.a.shape[len(self.lead)]
        pull = self.per_member(self.l1, a) * np.sign(a) + 2 * self.per_member(self.l2, a) * a
        return g + pull / batch

    @property
    def value(self) -> Array:
        """The penalty in the last training pass, shape lead. ValueError when there was none."""
        if not hasattr(self, "a"):
            raise ValueError("value: expected a training pass first, got none")
        a = self.a.reshape(*self.lead, self.a.shape[len(self.lead)], -1)
        l1, l2 = np.asarray(self.l1, a.dtype), np.asarray(self.l2, a.dtype)
        return l1 * np.abs(a).sum(-1).mean(-1) + l2 * (a * a).sum(-1).mean(-1)
