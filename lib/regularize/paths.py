"""The whole lasso path, exactly: every l1 at once, because between two knots the solution is a straight line.

With x and y centered, let c = (2/n) X'y and G = (2/n) X'X + 2 l2 I. At the minimum of
J(w) = (1/n) ||y - X w||^2 + l1 ||w||_1 + l2 ||w||_2^2 the pull r = c - G w equals l1 sign(w) on the active
features, those with w != 0, and does not exceed l1 on the others. So while the active set A and its signs s
stay the same,

    G_AA w_A = c_A - l1 s,    that is    w_A = u - l1 d,    u = G_AA^-1 c_A,    d = G_AA^-1 s,
                              and        r   = e + l1 a,    e = c - G_.A u,     a = G_.A d.

As l1 falls, the next thing to happen is that some |r_j| meets l1, and j joins, or that some w_i meets 0, and
i leaves (Osborne, Presnell & Turlach 2000; Efron, Hastie, Johnstone & Tibshirani 2004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg.lapack import dpotrs, dtrtrs

from regularize import checks
from regularize.linear import Array, LinearFit, centered, least_squares, strength

# Relative size below which a slope, a pivot or a step cannot be told from rounding error.
_ROUNDING = 1e-12


class Event(NamedTuple):
    """What happens at a knot: a feature joins the active set or leaves it."""

    feature: int
    joins: bool


@dataclass(frozen=True)
class Path:
    """The solutions for all l1 from `knots[0]` = lambda_max down to `knots[-1]`.

    knots      (K,)    values of l1, falling; equal neighbors where several things happen at once
    coefs      (K, p)  the solution at each knot
    intercepts (K,)
    events     (K,)    what happens there; None at the last knot, where the path simply ends
    """

    knots: Array
    coefs: Array
    intercepts: Array
    events: tuple[Event | None, ...]

    def at(self, lam: ArrayLike) -> LinearFit:
        """The exact solutions at l1 = lam: coef lam.shape + (p,), by linear interpolation between knots.

        Above lambda_max every coefficient is 0. Below the last knot nothing was computed: ValueError.
        """
        lam = np.asarray(checks.nonnegative("lam", lam))
        if lam.min() < self.knots[-1]:
            end = self.knots[-1]
            raise ValueError(f"lam: expected at least {end:g}, where the path ends, got {lam.min():g}")
        left = np.maximum(np.searchsorted(-self.knots, -lam) - 1, 0)
        right = np.minimum(left + 1, len(self.knots) - 1)
        width = self.knots[left] - self.knots[right]
        t = np.maximum(self.knots[left] - lam, 0.0) / np.where(width > 0, width, 1.0)
        coef = (1 - t)[..., None] * self.coefs[left] + t[..., None] * self.coefs[right]
        return LinearFit(coef, (1 - t) * self.intercepts[left] + t * self.intercepts[right])

    def degrees_of_freedom(self) -> NDArray[np.int64]:
        """Number of features active on the segment that ends at each knot, (K,); without the intercept.

        For the lasso this is an unbiased estimate of the degrees of freedom between knots (Zou, Hastie &
        Tibshirani 2007). At the knot where a feature leaves, it is one more than the number of non-zeros.
        """
        change = [0 if event is None else 1 if event.joins else -1 for event in self.events]
        return np.concatenate([[0], np.cumsum(change)[:-1]])


def lasso_path(
    x: ArrayLike, y: ArrayLike, *, smallest: float = 0.0, l2: float = 0.0, intercept: bool = True
) -> Path:
    """The exact path of the lasso (l2 = 0) or elastic net (l2 > 0) from lambda_max down to l1 = smallest.

    x is (n, p), y (n,); the features are used as they are. If smallest is above lambda_max, that is the only
    knot. Constant columns stay 0. A column that depends linearly on the active ones (a duplicate, or any once
    n - 1 are active) waits until one of them leaves: it would change no prediction. Ties are taken one by
    one. Columns that *nearly* depend on the others cost digits: the KKT gap, mostly below 1e-13, rises to
    1e-9 at a relative distance of 1e-4 and to about 1e-7 at 1e-6, below which they count as dependent.
    Raises RuntimeError if the events at one l1 never end (no tie that does so is known).
    """
    x, y = checks.array("x", x, ndim=2), checks.array("y", y, ndim=1)
    smallest, l2 = strength("smallest", smallest), strength("l2", l2)
    data = centered(x, y, intercept=intercept)
    knots, coefs, events = _walk(data.x, data.y, smallest, l2)
    fit = data.fit(np.array(coefs))
    return Path(np.array(knots), fit.coef, fit.intercept, tuple(events))


_Walk = tuple[list[float], list[Array], list[Event | None]]


def _walk(x: Array, y: Array, smallest: float, l2: float) -> _Walk:
    """Knots, coefficients and events, from w = 0 at l1 = infinity downwards."""
    n, p = x.shape
    active = _ActiveSet(2.0 / n * (x.T @ y), _gram(x, l2), capacity=p if l2 > 0 else min(n, p))
    lam = np.inf
    knots: list[float] = []
    coefs: list[Array] = []
    events: list[Event | None] = []
    while True:
        at, feature, sign = active.next_event(lam)
        event = Event(feature, sign != 0) if at > smallest else None
        at = at if event else smallest
        w = coefs[-1].copy() if at == lam else active.coefficients(at)  # of a tie: w stays where it is
        if event and event.joins and not active.join(feature, sign):
            continue  # it depends on the others: look for the next event without it
        if event and not event.joins:
            w[feature] = 0.0
            active.leave(feature)
        lam = at
        knots.append(lam)
        coefs.append(w)
        events.append(event)
        if event is None:
            return knots, coefs, events
        if len(knots) > 4 * p + 4 and knots[-4 * p - 4] <= lam * (1 + _ROUNDING):
            raise RuntimeError(f"too many ties at l1 = {lam:g}: add a little noise to x")


def _gram(x: Array, l2: float) -> Callable[[int], Array]:
    """Row j of G = (2/n) X'X + 2 l2 I; of a wide x only the rows that are asked for are computed."""
    n, p = x.shape
    if p <= n:
        whole = 2.0 / n * (x.T @ x)
        whole.flat[:: p + 1] += 2.0 * l2
        return whole.__getitem__

    def row(j: int) -> Array:
        g = 2.0 / n * (x[:, j] @ x)
        g[j] += 2.0 * l2
        return g

    return row


class _ActiveSet:
    """The active features A, with their signs s, their rows of G and the Cholesky factor of G_AA."""

    def __init__(self, c: Array, gram_row: Callable[[int], Array], capacity: int) -> None:
        self.c, self.gram_row = c, gram_row
        self.features: list[int] = []
        self.signs = np.empty(capacity)
        self.rows = np.empty((capacity, len(c)))
        self.factor = np.empty((capacity, capacity), order="F")
        self.may_join = np.ones(len(c), bool)
        self._draw_line()

    def _draw_line(self) -> None:
        """w_A = u - l1 d and r = e + l1 a, which hold until the active set changes."""
        k = len(self.features)
        right_sides = np.stack([self.c[self.features], self.signs[:k]], axis=1)
        solution: Array = dpotrs(self.factor[:k, :k], right_sides, lower=1)[0].T if k else np.zeros((2, 0))
        self.u, self.d = solution[0], solution[1]
        pull, self.a = solution @ self.rows[:k]
        self.e = self.c - pull

    def coefficients(self, lam: float) -> Array:
        w = np.zeros(len(self.c))
        w[self.features] = self.u - lam * self.d if self.features else 0.0
        return w

    def next_event(self, lam: float) -> tuple[float, int, float]:
        """The largest l1 <= lam at which something happens, to which feature, and its sign (0: it leaves).

        e_j + l1 a_j = +-l1 gives l1 = +-e_j / (1 -+ a_j). It counts only if |r_j| shrinks more slowly than
        l1, so that l1 overtakes it: a feature that has just left does not come straight back. In the same
        way w_i = 0 counts only if w_i moves towards 0: a feature that has just joined stays. What does not
        count gets an infinite denominator. An event above lam, by a rounding error, happens at lam.
        """
        k, p = len(self.features), len(self.c)
        plus, minus = 1.0 - self.a, 1.0 + self.a
        plus = np.where(self.may_join & (plus > _ROUNDING), plus, np.inf)
        minus = np.where(self.may_join & (minus > _ROUNDING), minus, np.inf)
        shrink = np.where(self.signs[:k] * self.d < 0, self.d, np.inf)
        when = np.concatenate([self.e / plus, -self.e / minus, self.u / shrink])
        first = int(when.argmax())
        at = float(when[first])
        if at > lam * (1 - _ROUNDING):
            at = lam
        if first < 2 * p:
            return at, first % p, 1.0 if first < p else -1.0
        return at, self.features[first - 2 * p], 0.0

    def join(self, j: int, sign: float) -> bool:
        """Take in feature j unless it depends linearly on the active ones; then it waits until one leaves."""
        k, row = len(self.features), self.gram_row(j)
        below = dtrtrs(self.factor[:k, :k], row[self.features], lower=1)[0] if k else np.zeros(0)
        pivot = row[j] - below @ below
        self.may_join[j] = False
        if k == len(self.signs) or pivot <= _ROUNDING * row[j]:
            return False
        self.factor[k, :k], self.factor[k, k] = below, np.sqrt(pivot)
        self.rows[k], self.signs[k] = row, sign
        self.features.append(j)
        self._draw_line()
        return True

    def leave(self, j: int) -> None:
        """Take out feature j; every other one may try to join again."""
        i, k = self.features.index(j), len(self.features) - 1
        self.features.pop(i)
        self.rows[i:k], self.signs[i:k] = self.rows[i + 1 : k + 1], self.signs[i + 1 : k + 1]
        self.factor[:k, :k] = np.linalg.cholesky(self.rows[:k, self.features])
        self.may_join[:] = True
        self.may_join[self.features] = False
        self._draw_line()


def mallows_cp(x: ArrayLike, y: ArrayLike, path: Path, *, intercept: bool = True) -> Array:
    """Mallows' Cp at each knot of a lasso path: RSS / sigma^2 - n + 2 df, (K,), as in R's package ``lars``.

    sigma^2 is the residual variance of least squares on all features, df the `Path.degrees_of_freedom` plus
    one for the intercept. Where a feature leaves, R still counts it, and so does this function; a count of
    the non-zeros gives 2 less there. Raises ValueError unless n exceeds the rank of x plus the intercept.
    """
    data = centered(x, y, intercept=intercept)
    n, full = len(data.y), least_squares(x, y, intercept=intercept)
    spare = n - int(np.linalg.matrix_rank(data.x)) - intercept
    if spare <= 0:
        raise ValueError(f"x: expected more examples than coefficients, got shape {data.x.shape}")
    variance = ((data.y - data.x @ full.coef) ** 2).sum() / spare
    rss = ((data.y - path.coefs @ data.x.T) ** 2).sum(-1)
    return rss / variance - n + 2 * (path.degrees_of_freedom() + intercept)
