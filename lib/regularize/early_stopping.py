r"""Early stopping: after each epoch look at validation data, and stop when they no longer improve.

    stopping = EarlyStopping(x, y, Patience(10), restore_best_weights=True)
    fit(net, ..., stopping=stopping)

The validation data decide, so they are part of training: the honest test is on data that neither saw. Each
member of an ensemble decides for itself. ``fit`` runs until every member wants to stop, and then each gets
back the weights and moving statistics of its own epoch: those that it would have, had it been trained alone.
(Its random streams have gone on with the others: what is drawn after ``fit`` differs.)

Epochs count from 0. A rule also reads recorded curves: ``GL(5).stop_epochs(curves)`` says where it stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.losses import Loss, cross_entropy
from regularize.network import Network
from regularize.training import evaluate

#: What may be monitored, and in which direction it improves.
MODES = {"loss": "min", "accuracy": "max"}


class Stops(NamedTuple):
    """What a rule decided, one entry a member, shape lead."""

    stopped_epoch: Array  # 0 without a stop: no rule stops after epoch 0
    best_epoch: Array
    best: Array


class Rule:
    """What all rules share. A rule holds settings only; ``begin`` makes a copy with a memory, for one run."""

    hyperparameters: tuple[str, ...] = ()
    needs_training = False
    #: The memory. ``running``: members that have not stopped.
    mode: str
    running: Array
    stops: Stops

    def begin(self, lead: tuple[int, ...], mode: str = "min") -> Self:
        """A copy that can follow members of shape ``lead``; smaller ("min") or larger ("max") is better."""
        run = copy(self)
        run.mode = checks.choice("mode", mode, MODES.values())
        for name in self.hyperparameters:
            checks.broadcasts(f"{type(self).__name__}.{name}", np.shape(getattr(self, name)), lead)
        run.running = np.ones(lead, bool)
        run.stops = Stops(np.zeros(lead, int), np.zeros(lead, int), np.full(lead, np.nan))
        run.reset(lead)
        return run

    def reset(self, lead: tuple[int, ...]) -> None:
        """Empty the memory of the rule itself."""

    def follow(self, epoch: int, value: ArrayLike, training: ArrayLike = np.nan) -> tuple[Array, Array]:
        """Take in an epoch's values, shape lead. Returns who is better than ever before, and who stops."""
        error, best = self.error(value), self.error(self.stops.best)
        better, stop = self.decide(epoch, error, best, self.error(training))
        better, stop = better & self.running, stop & self.running & (epoch > 0)
        self.running = self.running & ~stop
        new = (stop, epoch), (better, epoch), (better, value)
        self.stops = Stops(*(np.where(*a, old) for a, old in zip(new, self.stops, strict=True)))
        return better, stop

    def decide(self, epoch: int, error: Array, best: Array, training: Array) -> tuple[Array, Array]:
        """The rule, whoever has stopped already. ``best`` is the least error of the epochs before, or NaN."""
        raise NotImplementedError

    def error(self, value: ArrayLike) -> Array:
        """The monitored value as something to minimize."""
        value = np.asarray(value, np.float64)
        return value if self.mode == "min" else -value

    def stop_epochs(self, values: ArrayLike, training: ArrayLike | None = None, mode: str = "min") -> Stops:
        """What the rule makes of recorded curves ``(epochs,) + lead``; ``training`` is what ``PQ`` needs."""
        values = np.asarray(values, np.float64)
        if values.ndim == 0:
            raise ValueError(f"values: expected a curve of one value an epoch, got the number {values}")
        if training is None:
            if self.needs_training:
                raise ValueError("training: expected the curves of the training errors, got None")
            training = np.full_like(values, np.nan)
        training = np.asarray(training, np.float64)
        if training.shape != values.shape:
            raise ValueError(f"training: expected the shape of values, {values.shape}, got {training.shape}")
        run = self.begin(values.shape[1:], mode)
        for epoch, now in enumerate(zip(values, training, strict=True)):
            run.follow(epoch, *now)
        return run.stops


class Patience(Rule):
    """Stop after ``patience`` epochs without an improvement: the rule of Keras's ``EarlyStopping``, exactly.

        improvement      value < best - min_delta     (of an accuracy: value > best + min_delta)
        waited           0 after an improvement that also beats the baseline by min_delta, else one more
        stop             waited >= patience, after an epoch without improvement

    So patience 0 is the same as patience 1. The first epoch that is watched is an improvement, whatever its
    value. A value that is NaN is none. Only here Keras differs: if the first value it watches is NaN, that
    remains the best, since no number is less than NaN.

    Parameters
    ----------
    patience : how many epochs to wait. It and the others: a number, or an array that broadcasts to lead.
    min_delta : the least change that counts.
    baseline : a value to beat, or None.
    start_from_epoch : epochs before it are not watched.
    """

    hyperparameters = ("patience", "min_delta", "baseline", "start_from_epoch")
    waited: Array

    def __init__(
        self,
        patience: ArrayLike = 0,
        min_delta: ArrayLike = 0.0,
        baseline: ArrayLike | None = None,
        start_from_epoch: ArrayLike = 0,
    ) -> None:
        self.patience = _whole("patience", patience, 0)
        self.min_delta = checks.nonnegative("min_delta", min_delta)
        self.baseline = None if baseline is None else checks.array("baseline", baseline)
        self.start_from_epoch = _whole("start_from_epoch", start_from_epoch, 0)

    def reset(self, lead: tuple[int, ...]) -> None:
        self.waited = np.zeros(lead, int)

    def decide(self, epoch: int, error: Array, best: Array, training: Array) -> tuple[Array, Array]:
        watched = epoch >= self.start_from_epoch
        better = (epoch == self.start_from_epoch) | (watched & _less(error + self.min_delta, best))
        beats = self.baseline is None or error + self.min_delta < self.error(self.baseline)
        self.waited = np.where(better & beats, 0, self.waited + watched)
        return better, watched & ~better & (self.waited >= self.patience)


class Prechelt(Rule):
    """The rules of Prechelt (1998), on validation errors ``E(t)``, in epochs t that count from 1.

    ``E_opt(t)`` is the least error up to t. Errors are losses or, of an accuracy, ``1 - accuracy``. His
    networks end with the weights of the least error: ``restore_best_weights=True``. None of these rules is
    sure to stop; ``epochs`` is the limit. A member whose error is NaN has diverged, and stops.
    """

    def error(self, value: ArrayLike) -> Array:
        value = np.asarray(value, np.float64)
        return value if self.mode == "min" else 1 - value

    def decide(self, epoch: int, error: Array, best: Array, training: Array) -> tuple[Array, Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            stop = self.exceeds(epoch + 1, error, best, training)
        return (epoch == 0) | _less(error, best), stop | np.isnan(error)

    def exceeds(self, t: int, error: Array, lowest: Array, training: Array) -> Array:
        """Whether the criterion is met at t. ``lowest`` is ``E_opt(t - 1)``."""
        raise NotImplementedError


class GL(Prechelt):
    """Generalization loss: stop when the error is more than ``alpha`` percent above its lowest.

        GL(t) = 100 (E(t) / E_opt(t) - 1) > alpha

    Prechelt's alpha are 1, 2, 3 and 5. A number > 0, or an array that broadcasts to lead.
    """

    hyperparameters = ("alpha",)

    def __init__(self, alpha: ArrayLike) -> None:
        self.alpha = checks.positive("alpha", alpha)

    def exceeds(self, t: int, error: Array, lowest: Array, training: Array) -> Array:
        return generalization_loss(error, lowest) > self.alpha


class PQ(Prechelt):
    """Progress quotient: a generalization loss is tolerated as long as the training error falls fast.

        P_k(t) = 1000 (mean of the training errors of the strip / their minimum - 1)
        GL(t) / P_k(t) > alpha        at the end of a strip of k epochs: t = k, 2 k, 3 k, ...

    Prechelt's alpha are 0.5, 0.75, 1, 2 and 3 (numbers > 0, or an array that broadcasts to lead); k is 5.
    """

    hyperparameters = ("alpha",)
    needs_training = True
    strip: Array

    def __init__(self, alpha: ArrayLike, k: int = 5) -> None:
        self.alpha, self.k = checks.positive("alpha", alpha), checks.integer("k", k)

    def reset(self, lead: tuple[int, ...]) -> None:
        self.strip = np.zeros((self.k, *lead))

    def exceeds(self, t: int, error: Array, lowest: Array, training: Array) -> Array:
        self.strip[t % self.k] = training
        progress = 1000 * (self.strip.mean(0) / self.strip.min(0) - 1)
        return (t % self.k == 0) & (generalization_loss(error, lowest) / progress > self.alpha)


class UP(Prechelt):
    """Stop when the error has risen in ``strips`` successive strips of k epochs, by however little.

        E(t) > E(t - k)               at the end of a strip: t = 2 k, 3 k, ...

    There is no E(0), so the first strip has nothing to be compared with. Prechelt's strips are 2, 3, 4, 6
    and 8 (whole numbers >= 1, or an array that broadcasts to lead); k is 5.
    """

    hyperparameters = ("strips",)
    rises: Array
    before: Array

    def __init__(self, strips: ArrayLike, k: int = 5) -> None:
        self.strips, self.k = _whole("strips", strips, 1), checks.integer("k", k)

    def reset(self, lead: tuple[int, ...]) -> None:
        self.rises, self.before = np.zeros(lead, int), np.full(lead, np.nan)

    def exceeds(self, t: int, error: Array, lowest: Array, training: Array) -> Array:
        if t % self.k:
            return np.zeros_like(self.running)
        self.rises = np.where(error > self.before, self.rises + 1, 0)
        self.before = error
        return self.rises >= self.strips


def generalization_loss(error: Array, lowest: Array) -> Array:
    """``100 (error / lowest - 1)``, in percent of the lowest error before; 0 where it is no higher."""
    return np.where(error > lowest, 100 * (error / lowest - 1), 0.0)


class EarlyStopping:
    """``fit(..., stopping=EarlyStopping(x, y, Patience(10)))``: what ``rule`` says, for each member.

    Members that have stopped keep the weights and moving statistics of their last epoch, or those of their
    best one. As in Keras 3, the best are restored also where training ran to its end. Either way they replace
    what an ``average`` has put there: beside one, only members that never stopped, and without
    ``restore_best_weights``, end with their average. Members that have stopped are trained on, unseen, until
    the last one stops.

    Parameters
    ----------
    x, y : validation data, as ``regularize.training.evaluate`` takes them.
    rule : ``Patience``, ``GL``, ``PQ`` or ``UP``.
    monitor : "loss" (the data loss alone, without penalty) or "accuracy".
    loss : the loss that is monitored.
    restore_best_weights : end with the best epoch; otherwise with the last.
    training : training data ``(x, y)``, for the rules that need their error (``PQ``).

    Attributes
    ----------
    stopped_epoch : shape lead; 0 for members that never stopped.
    best_epoch, best : the epoch of the best value, and the value.
    history : the monitored values of each epoch, a list of arrays of shape lead, NaN after a member's end.

    Raises
    ------
    TypeError, ValueError : data that are no finite arrays; a rule, monitor or loss that is none; after the
        first epoch, data or settings that do not fit the network.
    """

    stopped_epoch: Array
    best_epoch: Array
    best: Array

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        rule: Rule,
        *,
        monitor: str = "loss",
        loss: Loss = cross_entropy,
        restore_best_weights: bool = False,
        training: Iterable[ArrayLike] | None = None,
    ) -> None:
        self.x, self.y = checks.array("x", x, min_ndim=2), checks.array("y", y, min_ndim=2)
        if not isinstance(rule, Rule):
            raise TypeError(f"rule: expected an object such as Patience(10), got {rule!r}")
        self.rule, self.monitor = rule, checks.choice("monitor", monitor, MODES)
        self.loss, self.restore_best_weights = checks.function("loss", loss), restore_best_weights
        pair = tuple(training) if isinstance(training, Iterable) else ()  # such as ``data.train``
        if rule.needs_training and len(pair) != 2:
            raise TypeError(f"training: expected (x, y), got {type(training).__name__}")
        self.training = pair if rule.needs_training else None
        self.history: list[Array] = []
        self.kept: Array | None = None  # members whose weights are kept, while training runs

    def update(self, net: Network, epoch: int) -> bool:
        """Judge an epoch. True when no member wants to go on."""
        if self.kept is None or epoch == 0:
            if self.monitor == "accuracy" and net.output_features(self.x.shape[-1]) == 1:
                raise ValueError("monitor: expected 'loss' for a network with one output, got 'accuracy'")
            self.run, self.history = self.rule.begin(net.lead, MODES[self.monitor]), []
            self.kept, self.theta, self.state = np.zeros(net.lead, bool), net.theta.copy(), net.state.copy()
        value = self._monitored(net, self.x, self.y)
        training = self._monitored(net, *self.training) if self.training else np.nan
        self.history.append(np.where(self.run.running, value, np.nan))
        better, stop = self.run.follow(epoch, value, training)
        self.stopped_epoch, self.best_epoch, self.best = self.run.stops
        keep = better if self.restore_best_weights else stop
        self.theta[keep], self.state[keep] = net.theta[keep], net.state[keep]
        self.kept = self.kept | keep
        return not self.run.running.any()

    def finish(self, net: Network) -> None:
        """Put the kept weights and moving statistics in place."""
        if self.kept is not None:
            net.theta[self.kept], net.state[self.kept] = self.theta[self.kept], self.state[self.kept]
        self.kept = None

    def _monitored(self, net: Network, x: ArrayLike, y: ArrayLike) -> Any:
        return getattr(evaluate(net, x, y, self.loss), self.monitor)


def _less(a: Array, b: Array) -> Array:
    """``a < b``; any number is less than NaN, which stands for nothing yet, and NaN is less than nothing."""
    return ~np.isnan(a) & ~(a >= b)


def _whole(name: str, value: ArrayLike, low: int) -> Array:
    a = np.asarray(checks.nonnegative(name, value))
    if (a != np.floor(a)).any() or (a < low).any():
        raise ValueError(f"{name}: expected whole numbers >= {low}, got {a}")
    return a
