r"""Searching for hyper-parameters: which settings to try, and how much training to spend on each.

Settings are a dict of arrays with one entry a trial, ``{"lam": (T,), "rate": (T,)}``, made by ``grid`` or
``draw``. The objective scores many trials at once, as the library trains many settings at once:

    def score(settings, budget):                # budget in epochs, say
        net = mlp(64, 128, 10, seeds=np.tile(seeds, (len(settings["lam"]), 1)))      # lead (trials, seeds)
        fit(net, ..., penalty=L2(settings["lam"][:, None]), epochs=budget, diverged="keep")
        return evaluate(net, *validation).loss

It returns a loss of shape ``(T,)`` or ``(T, ...)``; over further axes, such as seeds, the mean is taken. NaN
and infinity are worse than any number and never chosen; of equal trials the first wins.

Grid and random search with as many trials and the same budget spend the same. With d hyper-parameters of
which one matters, a grid of T trials has tried ``T^(1/d)`` values of it, a random draw T (Bergstra and Bengio
2012). Either way the winner's score is the best of T draws and flatters it: test it on other data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.streams import Streams

Objective = Callable[[dict[str, Array], int], ArrayLike]
Draw = Callable[[Array], Array]


def grid(**values: ArrayLike) -> dict[str, Array]:
    """Every combination of the values given for each name; the last name varies fastest.

    ``grid(lam=[0.01, 0.1], rate=[0, 0.5])`` are 4 trials.
    """
    axes = np.meshgrid(*(_values(name, value) for name, value in values.items()), indexing="ij")
    return {name: axis.ravel() for name, axis in zip(values, axes, strict=True)}


def draw(trials: int, seed: int = 0, **space: Draw) -> dict[str, Array]:
    """Random trials: ``draw(20, lam=log_uniform(1e-5, 1), rate=uniform(0, 0.8))``.

    The first trials of a longer search are those of a shorter one with the same seed and names.
    """
    trials, seed = checks.integer("trials", trials), checks.integer("seed", seed, low=0)
    u = Streams(seed, "search").uniform((trials, len(space))).astype(np.float64)
    return {name: checks.function(name, place)(u[:, j]) for j, (name, place) in enumerate(space.items())}


def uniform(low: float, high: float) -> Draw:
    """Uniform between low and high."""
    low, high = checks.number("low", low), checks.number("high", high, low=low)
    return lambda u: low + (high - low) * u


def log_uniform(low: float, high: float) -> Draw:
    """Uniform in the logarithm: as many draws between 0.001 and 0.01 as between 0.1 and 1.

    For what acts by its order of magnitude: a penalty strength, a learning rate.
    """
    low = checks.positive_number("low", low)
    high = checks.number("high", high, low=low)
    return lambda u: low * (high / low) ** u


def one_of(values: ArrayLike) -> Draw:
    """One of the values, each as likely as the others."""
    choices = _values("values", values)
    return lambda u: choices[(u * len(choices)).astype(int)]


def _values(name: str, values: ArrayLike) -> Array:
    a = np.asarray(values)
    if a.ndim != 1 or a.size == 0:
        raise ValueError(f"{name}: expected a list of at least one value, got shape {a.shape}")
    return a


class Rung(NamedTuple):
    """Trials that were trained alike: their indices, the budget of each, and their scores."""

    budget: int
    trials: Array
    scores: Array


@dataclass(frozen=True, eq=False)
class Search:
    """What was tried and what came out: all ``settings``, and the ``rungs`` in which they were trained."""

    settings: dict[str, Array]
    rungs: tuple[Rung, ...]

    @property
    def spent(self) -> int:
        """The budgets of all trials of all rungs together; every rung trains from the start."""
        return sum(rung.budget * len(rung.trials) for rung in self.rungs)

    @property
    def scores(self) -> Array:
        """The last score of each trial, (T,); infinite where it diverged."""
        scores = np.empty_like(self.rungs[0].scores)
        for rung in self.rungs:
            scores[rung.trials] = rung.scores
        return scores

    @property
    def best(self) -> int:
        """Of the trials that went furthest without diverging, that with the lowest score; else ValueError."""
        for rung in reversed(self.rungs):
            last = self.scores[rung.trials]
            if np.isfinite(last).any():
                return int(rung.trials[last.argmin()])
        raise ValueError("score: expected a finite score for at least one trial, got none")

    @property
    def best_settings(self) -> dict[str, Any]:
        """The settings of the best trial."""
        return {name: values[self.best] for name, values in self.settings.items()}


def search(score: Objective, settings: Mapping[str, ArrayLike], budget: int) -> Search:
    """Score every trial with the same budget: grid search or random search, by the settings it is given.

    Raises
    ------
    ValueError : settings of unequal lengths, a budget below 1, scores that are not one a trial.
    """
    trials = _check_settings(settings)
    return Search(trials, (_run(score, trials, np.arange(_count(trials)), budget),))


def successive_halving(
    score: Objective, settings: Mapping[str, ArrayLike], budget: int, eta: int = 3
) -> Search:
    """Train all a little, keep the best ``1 / eta`` and train those eta times as long, and so on.

    Rung k trains ``T // eta^k`` trials with ``budget * eta^k`` each, until fewer than one would be left: no
    rung costs more than the first (Jamieson and Talwalkar 2016; with eta, Li et al. 2018). 27 trials with 4
    epochs and eta 3 are 27 x 4, 9 x 12, 3 x 36, 1 x 108: 432 epochs, enough to train 4 trials to the end. The
    bet is that who leads early leads late: it is lost where strong regularization or a small learning rate
    starts slowly. Trials that diverge do not go on.

    Every rung trains from the start, and ``Search.spent`` counts it so.

    Parameters
    ----------
    budget : of each trial in the first rung, an integer >= 1.
    eta : an integer >= 2.
    """
    trials, eta = _check_settings(settings), checks.integer("eta", eta, low=2)
    going, rungs = np.arange(_count(trials)), list[Rung]()
    while len(going):
        rungs.append(_run(score, trials, going, budget * eta ** len(rungs)))
        order = np.argsort(rungs[-1].scores, kind="stable")[: np.isfinite(rungs[-1].scores).sum()]
        going = np.sort(going[order[: _count(trials) // eta ** len(rungs)]])
    return Search(trials, tuple(rungs))


def _check_settings(settings: Mapping[str, ArrayLike]) -> dict[str, Array]:
    trials = {name: _values(name, values) for name, values in settings.items()}
    if len({len(values) for values in trials.values()}) != 1:
        lengths = {name: len(values) for name, values in trials.items()}
        raise ValueError(f"settings: expected arrays of one length, got {lengths}")
    return trials


def _count(settings: dict[str, Array]) -> int:
    return len(next(iter(settings.values())))


def _run(score: Objective, settings: dict[str, Array], trials: Array, budget: int) -> Rung:
    checks.function("score", score)
    some = {name: values[trials] for name, values in settings.items()}
    scores = np.asarray(score(some, checks.integer("budget", budget)), np.float64)
    if scores.shape[:1] != trials.shape or not scores.size:
        raise ValueError(f"score: expected a first axis of {len(trials)} trials, got shape {scores.shape}")
    means = scores.reshape(len(trials), -1).mean(1)
    return Rung(budget, trials, np.where(np.isfinite(means), means, np.inf))
