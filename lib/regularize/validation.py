r"""Cross-validation: every example is used for training, and every example judges models that never saw it.

The examples are dealt into k folds. For each fold the model is trained on all the others and scored on the
fold; the mean of the k scores estimates the error of a model trained on ``(k - 1) / k`` of the data (Stone
1974). All settings are scored at once, so scores have shape ``(folds, settings, ...)``: a loss, low is good.

    lam = np.geomspace(1e-4, 10, 50)
    def score(train, validation):
        return prediction_error(ridge(x[train], y[train], lam), x[validation], y[validation])
    scores = cross_validate(score, k_folds(len(x), 10))
    lam[best(scores)], lam[one_standard_error(scores, lam)]

Whatever learns from the data belongs inside ``score``: standardizing or selecting features beforehand lets
the validation part leak into training. Data with a leading axis of seeds are indexed ``x[..., train, :]``;
then scores are ``(folds, settings, seeds)`` and each seed gets a choice of its own.

A trap of conventions: scikit-learn's ``Ridge(alpha)`` keeps alpha, the weight against the *sum* of squares,
in every fold. That is another lambda in each, ``alpha / (examples trained on)``; here lambda is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.linear import LinearFit, objective
from regularize.streams import Streams

Score = Callable[[Array, Array], ArrayLike]


class Fold(NamedTuple):
    """Which examples to train on, and which to validate on: indices, in increasing order.

    scikit-learn takes a list of folds as its argument ``cv``.
    """

    train: Array
    validation: Array


def k_folds(
    n: int, folds: int, seed: int = 0, *, stratify: ArrayLike | None = None, repeats: int = 1
) -> list[Fold]:
    """Deal n examples into folds at random; in each repeat every example is validated exactly once.

    The sizes of the folds differ by at most one. ``folds=n`` leaves out one example at a time.

    Parameters
    ----------
    n, folds, seed : numbers of examples and of folds, and the seed of the shuffling.
    stratify : ``(n,)``, a label for each example: then the folds' counts of each label, too, differ by at
        most one (Kohavi 1995).
    repeats : how often to deal anew; the folds of all repeats come in one list, repeat by repeat.

    Raises
    ------
    ValueError : fewer than 2 folds or more than n, labels of another shape.
    """
    n = checks.integer("n", n)
    if checks.integer("folds", folds, low=2) > n:
        raise ValueError(f"folds: expected at most {n}, the number of examples, got {folds}")
    labels = np.zeros(n) if stratify is None else checks.array("stratify", stratify, ndim=1, shape=(n,))
    stream, result = Streams(checks.integer("seed", seed, low=0), "folds"), []
    for _ in range(checks.integer("repeats", repeats)):
        order = stream.permutation(n)
        order = order[np.argsort(labels[order], kind="stable")]  # one label after the other, dealt like cards
        result += [_fold(n, np.sort(order[k::folds])) for k in range(folds)]
    return result


def _fold(n: int, validation: Array) -> Fold:
    return Fold(np.delete(np.arange(n), validation), validation)


def time_folds(n: int, folds: int, *, gap: int = 0) -> list[Fold]:
    """Folds for examples in the order of time: training always lies before validation.

    The last ``folds`` blocks of ``n // (folds + 1)`` examples are validated, one after the other, each by a
    model trained on all that came before, without the last ``gap`` examples. scikit-learn: TimeSeriesSplit.

    Raises
    ------
    ValueError : nothing would be left to train on.
    """
    n, folds = checks.integer("n", n), checks.integer("folds", folds)
    size, gap = n // (folds + 1), checks.integer("gap", gap, low=0)
    if size < 1 or n - folds * size <= gap:
        raise ValueError(f"n: expected enough for {folds} folds, training and a gap of {gap}, got {n}")
    starts = range(n - folds * size, n, size)
    return [Fold(np.arange(start - gap), np.arange(start, start + size)) for start in starts]


def prediction_error(fit: LinearFit, x: ArrayLike, y: ArrayLike) -> Any:
    """The mean squared error of each model of ``fit`` on the examples x, y."""
    return objective(x, y, fit, l1=0.0)


def cross_validate(score: Score, folds: Sequence[Fold]) -> Array:
    """``score(train, validation)`` for each fold, stacked: ``(folds, settings, ...)``.

    ``score`` receives the two index arrays, trains every setting and returns its validation loss, for linear
    models and networks alike; NaN says that training diverged.

    Raises
    ------
    ValueError : no folds, or scores whose shape changes from fold to fold.
    """
    checks.function("score", score)
    rows = [np.asarray(score(*fold), np.float64) for fold in folds]
    if len({row.shape for row in rows}) != 1:
        raise ValueError(f"score: expected one shape for all folds, got {[row.shape for row in rows]}")
    return np.stack(rows)


def best(scores: ArrayLike) -> Any:
    """The setting with the lowest mean over the folds, one index for each member.

    ``scores`` is ``(folds, settings, ...)``. A setting that is NaN or infinite in any fold is never chosen;
    the first of equal ones is. Raises ValueError where no setting is left.
    """
    return _means(_check_scores(scores)).argmin(0)


def one_standard_error(scores: ArrayLike, strength: ArrayLike) -> Any:
    """The strongest regularization that is within one standard error of the best (Breiman et al. 1984).

        mean(chosen) <= mean(best) + sd(best) / sqrt(folds)        sd over the folds, dividing by folds - 1

    A preference for simple models, not a test: the folds share training data, so the standard error is rough
    (Chen and Yang 2021). Give it the folds of one repeat; more rows would make it too small.

    Parameters
    ----------
    scores : ``(folds, settings, ...)``, at least 2 folds.
    strength : ``(settings,)``, in any order: the larger, the simpler the model. Of equal ones the first.

    Returns
    -------
    The index of the chosen setting, one for each member.
    """
    scores = _check_scores(scores)
    if len(scores) < 2:
        raise ValueError(f"scores: expected at least 2 folds, got {len(scores)}: one score has no spread")
    means = _means(scores)
    strength = checks.array("strength", strength, ndim=1, shape=scores.shape[1:2])
    error = np.where(np.isfinite(means), scores, 0).std(0, ddof=1) / np.sqrt(len(scores))
    lowest = means.argmin(0)[None]
    limit = np.take_along_axis(means, lowest, 0) + np.take_along_axis(error, lowest, 0)
    order = strength.reshape(-1, *[1] * (means.ndim - 1))
    return np.where(means <= limit, order, -np.inf).argmax(0)


def _check_scores(scores: ArrayLike) -> Array:
    a = np.asarray(scores)
    if a.dtype.kind not in "iuf":
        raise TypeError(f"scores: expected an array of numbers, got {type(scores).__name__} of {a.dtype}")
    if a.ndim < 2 or a.size == 0:
        raise ValueError(f"scores: expected shape (folds, settings, ...), got shape {a.shape}")
    return a.astype(np.float64, copy=False)


def _means(scores: Array) -> Array:
    """The mean over the folds, infinite where any score is not finite."""
    good = np.isfinite(scores).all(0)
    if not good.any(0).all():
        raise ValueError("scores: expected a setting with finite scores in all folds, got none")
    return np.where(good, np.where(good, scores, 0).mean(0), np.inf)


class Nested(NamedTuple):
    """``scores``: of the settings chosen, one for each outer fold; ``chosen``: the settings' indices."""

    scores: Array
    chosen: Array


def nested(
    score: Score,
    outer: Sequence[Fold],
    inner: Callable[[Array], Sequence[Fold]],
    choose: Callable[[Array], Any] = best,
) -> Nested:
    """Nested cross-validation: judges choosing and training together, on examples that had no part in either.

    The score of the chosen setting is too good to be true, for it was chosen by that score (Varma and Simon
    2006). So each outer training part is divided again, by ``inner(train)``, whose folds count within it, as
    ``lambda train: k_folds(len(train), 5)``; ``choose(scores)`` returns a setting's index, which is then
    trained on the whole outer training part and scored on the outer validation part.
    """
    scores, chosen = [], []
    for train, validation in outer:
        folds = [Fold(train[fold.train], train[fold.validation]) for fold in inner(train)]
        index = np.asarray(choose(cross_validate(score, folds)))
        scores.append(np.take_along_axis(np.asarray(score(train, validation)), index[None], 0)[0])
        chosen.append(index)
    return Nested(np.array(scores), np.array(chosen))
