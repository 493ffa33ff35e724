r"""Averages of the weights along the way: training jumps about a minimum, and their mean lies closer to it.

    fit(net, ..., average=EMA(0.99))              the recent past, older steps fading out
    fit(net, ..., average=SWA(start, every))      equal shares, from a step on

Training itself does not notice. At its end the average takes the place of the weights. (``EarlyStopping``
comes after it: the weights that it restores are those of training.)

Averaged weights need moving statistics of their own for batch normalization, and no training pass has made
them: the network keeps those of its last step. Set them right with ``regularize.batch_norm.reestimate``.
PyTorch has ``update_bn`` for that, or ``use_buffers=True``, which averages them like weights; in Keras they
stay those of the last step.

Snapshot ensembles keep several points of the way, and average their predictions instead of their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from regularize import checks
from regularize.checks import Array
from regularize.network import Network
from regularize.penalties import per_member
from regularize.training import predict


class EMA:
    """Exponential moving average of the weights, as Keras's ``use_ema``.

        average <- weights                                           after the first step
        average <- momentum average + (1 - momentum) weights         after each other step

    The weights of k steps ago count ``(1 - momentum) momentum^k``: the average reaches back about
    ``1 / (1 - momentum)`` steps. It begins with weights and not with 0, so there is no bias to divide out as
    in Adam; but in a short run the first step keeps the large share ``momentum^(steps - 1)``.

    PyTorch's ``AveragedModel`` with ``get_ema_multi_avg_fn`` does the same, by default with 0.999.

    Parameters
    ----------
    momentum : a number in [0, 1), or an array that broadcasts to lead.

    Attributes
    ----------
    theta : ``lead + (P,)``, the average, to be read at any time.

    Raises
    ------
    ValueError : a momentum out of range; after the first step, one that does not broadcast to lead.
    """

    theta: Array

    def __init__(self, momentum: ArrayLike = 0.99) -> None:
        self.momentum = checks.rate("momentum", momentum)
        self.running = False

    def begin(self) -> None:
        """Forget the run before, also one that was interrupted."""
        self.running = False

    def update(self, net: Network) -> None:
        """Take in the weights after a step."""
        if not self.running:
            checks.broadcasts("EMA.momentum", np.shape(self.momentum), net.lead)
            self.theta, self.running = net.theta.copy(), True
            return
        self.theta *= per_member(self.momentum, self.theta)
        self.theta += per_member(1 - self.momentum, self.theta) * net.theta

    def finish(self, net: Network) -> None:
        """Put the average in the place of the weights."""
        if self.running:
            net.theta[...] = self.theta


class SWA:
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights after some of the steps.

        after the steps start, start + every, start + 2 every, ...
        average <- average + (weights - average) / (how many, with this one)

    A step is a batch, and the first has number 1: ``SWA(1)`` averages them all (Polyak and Juditsky 1992).
    The paper averages late in training, either once an epoch at a learning rate that stays high, or once a
    cycle of a cyclic one, at its lowest. PyTorch's ``AveragedModel`` does the same.

    Parameters
    ----------
    start, every : whole numbers of steps.

    Attributes
    ----------
    theta : ``lead + (P,)``, the average, to be read from step ``start`` on.
    steps, averaged : how many steps there were, and how many of them are in the average.

    Raises
    ------
    ValueError : at the end of a training that never came to step ``start``.
    """

    theta: Array

    def __init__(self, start: int, every: int = 1) -> None:
        self.start, self.every = checks.integer("start", start), checks.integer("every", every)
        self.steps = self.averaged = 0
        self.running = False

    def begin(self) -> None:
        """Forget the run before, also one that was interrupted."""
        self.running = False

    def update(self, net: Network) -> None:
        """Take in the weights after a step, if it is one of those."""
        if not self.running:
            self.steps, self.averaged, self.running = 0, 0, True
        self.steps += 1
        if self.steps < self.start or (self.steps - self.start) % self.every:
            return
        self.averaged += 1
        if self.averaged == 1:
            self.theta = net.theta.copy()
        else:
            self.theta += (net.theta - self.theta) / self.averaged

    def finish(self, net: Network) -> None:
        """Put the average in the place of the weights."""
        if not self.running:
            return
        if not self.averaged:
            raise ValueError(f"start: expected at most the {self.steps} steps of training, got {self.start}")
        net.theta[...] = self.theta


def cosine_cycles(length: int, floor: float = 0.0) -> Callable[[int], float]:
    """``fit(..., schedule=cosine_cycles(10))``: the learning rate falls in cycles, and begins each one high.

        factor = floor + (1 - floor) (1 + cos(pi (epoch mod length) / length)) / 2

    It falls from 1 almost to ``floor``, a number in [0, 1]. Huang et al. (2017) move the rate at each step;
    here it is constant within an epoch. Keras: ``CosineDecayRestarts`` with ``t_mul=1`` and ``alpha=floor``.
    """
    length, floor = checks.integer("length", length), checks.number("floor", floor, low=0, high=1)
    return lambda epoch: float(floor + (1 - floor) * (1 + np.cos(np.pi * (epoch % length) / length)) / 2)


class Snapshot(NamedTuple):
    """Weights ``lead + (P,)`` and moving statistics ``lead + (Q,)`` at one moment."""

    theta: Array
    state: Array


class Snapshots:
    """``fit(..., watch=snapshots)`` with ``snapshots = Snapshots(10)``: keep the end of each 10th epoch.

    With the length of ``cosine_cycles`` these are the ends of its cycles. ``snapshots.taken`` is the list of
    them, oldest first. One object follows one network, also through several calls of ``fit``.
    """

    def __init__(self, length: int) -> None:
        self.length = checks.integer("length", length)
        self.epochs = 0
        self.taken: list[Snapshot] = []

    def __call__(self, net: Network) -> None:
        self.epochs += 1
        if self.epochs % self.length == 0:
            self.taken.append(Snapshot(net.theta.copy(), net.state.copy()))


def ensemble_predict(
    net: Network, snapshots: Snapshots | Iterable[Snapshot], x: ArrayLike, batch_size: int = 256
) -> Array:
    """The mean of ``softmax(outputs)`` over snapshots: class probabilities ``lead + (n, k)``.

    Unlike ``predict`` and ``monte_carlo``, these are probabilities and no logits: for ``cross_entropy`` take
    their logarithm. The accuracy is ``(probabilities.argmax(-1) == y.argmax(-1)).mean(-1)``.

    Each member has the ensemble of its own snapshots. Huang et al. (2017) take the last few of them:
    ``snapshots.taken[-5:]``. The network is left as it was.

    Raises
    ------
    ValueError : no snapshots, or snapshots of another network; what ``regularize.training.predict`` refuses.
    """
    taken = snapshots.taken if isinstance(snapshots, Snapshots) else list(snapshots)
    if not taken:
        raise ValueError("snapshots: expected at least one, got none")
    for snapshot in taken:
        if (snapshot.theta.shape, snapshot.state.shape) != (net.theta.shape, net.state.shape):
            shapes = net.theta.shape, snapshot.theta.shape
            raise ValueError(f"snapshots: expected weights of shape {shapes[0]}, got {shapes[1]}")
    before = Snapshot(net.theta.copy(), net.state.copy())
    try:
        return np.stack([_probabilities(net, snapshot, x, batch_size) for snapshot in taken]).mean(0)
    finally:
        net.theta[...], net.state[...] = before


@np.errstate(invalid="ignore")  # members that diverged stay NaN
def _probabilities(net: Network, snapshot: Snapshot, x: ArrayLike, batch_size: int) -> Array:
    net.theta[...], net.state[...] = snapshot
    return softmax(predict(net, x, batch_size), axis=-1)
