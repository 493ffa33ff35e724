"""Linear models, where every claim about L1 and L2 can be computed exactly.

One objective for the whole book, with the intercept b never penalized:

    J(w, b) = (1/n) ||y - X w - b||^2 + l1 ||w||_1 + l2 ||w||_2^2

    x : lead + (n, p)     y : lead + (n,)     coef : lead + (p,)     intercept : lead

``lead`` are ensemble axes (data sets, settings); where only one model is fitted, the function says so.
Everything is computed in float64, whatever comes in: these models are the yardstick for the others.

In this convention scikit-learn's ``Lasso`` has alpha = l1 / 2 and its ``Ridge`` has alpha = n * l2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularize import checks

Array = NDArray[np.float64]


class NotConverged(RuntimeError):
    """An iterative solver used up its iterations before the optimality conditions held."""


@dataclass(frozen=True)
class LinearFit:
    """Coefficients lead + (p,) and intercept lead of a linear model, or of many."""

    coef: Array
    intercept: Array

    def predict(self, x: ArrayLike) -> Array:
        """x coef + intercept: lead + (n,) for x (n, p) or lead + (n, p)."""
        x = checks.array("x", x, min_ndim=2, shape=(None, self.coef.shape[-1]), dtype=np.float64)
        return _times(x, self.coef) + self.intercept[..., None]

    def __getitem__(self, index: Any) -> LinearFit:
        """Some of many models: ``index`` is for the leading axes, as ``fits[best, np.arange(seeds)]``."""
        index = index if isinstance(index, tuple) else (index,)
        return LinearFit(self.coef[(*index, ..., slice(None))], self.intercept[index])

    @classmethod
    def stack(cls, fits: Iterable[LinearFit], axis: int = 0) -> LinearFit:
        """Many models as one, along a new leading axis ``axis`` >= 0."""
        fits = list(fits)
        return cls(
            np.stack([fit.coef for fit in fits], checks.integer("axis", axis, low=0)),
            np.stack([fit.intercept for fit in fits], axis),
        )


@dataclass(frozen=True)
class Centered:
    """Data with the means taken off, which is all that an unpenalized intercept needs.

    For any w the best intercept is mean(y) - mean(x) w. Put back into J, it leaves the same problem
    without an intercept, in x - mean(x) and y - mean(y).
    """

    x: Array
    y: Array
    x_mean: Array
    y_mean: Array

    def fit(self, coef: Array) -> LinearFit:
        """The model with these coefficients and the intercept that belongs to them."""
        return LinearFit(coef, np.asarray(self.y_mean - (coef * self.x_mean).sum(-1)))


def centered(x: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> Centered:
    """Checked float64 data, centered if the model has an intercept; raises TypeError or ValueError.

    x is lead + (n, p) and y lead + (n,); either may lack the leading axes and is then shared. A column that
    is constant up to rounding becomes exactly 0, or the rounding errors would pass for a feature.
    """
    x = checks.array("x", x, min_ndim=2, dtype=np.float64)
    y = checks.array("y", y, min_ndim=1, shape=(x.shape[-2],), dtype=np.float64)
    _broadcast("y", "the leading axes of x", y.shape[:-1], x.shape[:-2])
    if not intercept:
        return Centered(x, y, np.zeros(x.shape[-1]), np.zeros(()))
    x_centered, x_mean = _without_mean(x, axis=-2)
    y_centered, y_mean = _without_mean(y, axis=-1)
    return Centered(x_centered, y_centered, x_mean, y_mean)


def _without_mean(a: Array, axis: int) -> tuple[Array, Array]:
    mean = a.mean(axis, keepdims=True)
    rest = a - mean
    spread = rest.max(axis, keepdims=True) - rest.min(axis, keepdims=True)
    constant = spread <= np.finfo(float).eps * a.shape[axis] * np.abs(mean)
    if constant.any():
        rest = np.where(constant, 0.0, rest)
    return rest, mean.squeeze(axis)


def _broadcast(name: str, expected: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"{name}: expected a shape that broadcasts with {expected} {shapes[-1]}, got {shapes[0]}"
        ) from None


def strength(name: str, value: ArrayLike) -> float:
    """One penalty strength, a number >= 0, for the functions that fit one model."""
    return float(checks.nonnegative(name, checks.array(name, value, ndim=0)))


def _times(matrix: Array, vector: Array) -> Array:
    """lead + (n, p) times lead + (p,): lead + (n,)."""
    return (matrix @ vector[..., None])[..., 0]


def soft_threshold(z: ArrayLike, t: ArrayLike) -> Any:
    """sign(z) max(|z| - t, 0): the w that minimizes (w - z)^2 / 2 + t |w|, or the proximal step of t |.|.

    z of any shape, t >= 0 (else ValueError) that broadcasts with it.
    """
    t = checks.nonnegative("t", t)
    return np.sign(z) * np.maximum(np.abs(z) - t, 0.0)


def objective(x: ArrayLike, y: ArrayLike, fit: LinearFit, l1: ArrayLike, l2: ArrayLike = 0.0) -> Any:
    """J(w, b) of the book, without constants left out: one number per model of ``fit``."""
    l1, l2 = checks.nonnegative("l1", l1), checks.nonnegative("l2", l2)
    residual = checks.array("y", y, min_ndim=1) - fit.predict(x)
    return (residual**2).mean(-1) + l1 * np.abs(fit.coef).sum(-1) + l2 * (fit.coef**2).sum(-1)


def gradient(x: Array, y: Array, coef: Array, l2: ArrayLike = 0.0) -> Array:
    """Gradient of the smooth part, -(2/n) X'(y - X w) + 2 l2 w, without an intercept: lead + (p,)."""
    residual = y - _times(x, coef)
    return -2.0 / x.shape[-2] * _times(x.mT, residual) + 2.0 * np.asarray(l2)[..., None] * coef


def lambda_max(x: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> Any:
    """(2/n) max_j |x_j' y| of the centered data: from this l1 upwards every coefficient is 0."""
    data = centered(x, y, intercept=intercept)
    return np.abs(gradient(data.x, data.y, np.zeros(data.x.shape[-1]))).max(-1)


def kkt_gap(
    x: ArrayLike, y: ArrayLike, fit: LinearFit, l1: ArrayLike, l2: ArrayLike = 0.0, *, intercept: bool = True
) -> Any:
    """How far ``fit`` is from optimal: 0 exactly at the minimum of J, one number per model.

    With g = (2/n) X'(y - X w - b) - 2 l2 w, the pull of the data on each weight, w is optimal if and only if

        g_j = l1 sign(w_j) where w_j != 0,     |g_j| <= l1 where w_j = 0,     mean(y - X w - b) = 0.

    The gap is the largest violation of the first two, divided by `lambda_max`, the pull at w = 0 (dividing
    by l1 would ask for more digits than float64 has when l1 is tiny), or of the third, divided by the
    standard deviation of y, whichever is larger.
    """
    data = centered(x, y, intercept=intercept)
    l1, l2 = checks.nonnegative("l1", l1), checks.nonnegative("l2", l2)
    checks.array("fit.coef", fit.coef, shape=data.x.shape[-1:])
    scale = np.abs(gradient(data.x, data.y, np.zeros(data.x.shape[-1]))).max(-1)
    gap = _relative(_violation(gradient(data.x, data.y, fit.coef, l2), fit.coef, l1), scale)
    if not intercept:
        return gap
    offset = np.abs(fit.intercept - data.fit(fit.coef).intercept)
    return np.maximum(gap, _relative(offset, np.sqrt((data.y**2).mean(-1))))


def _violation(slope: Array, coef: Array, l1: ArrayLike) -> Any:
    l1 = np.asarray(l1)[..., None]
    at_zero = np.maximum(np.abs(slope) - l1, 0.0)
    return np.where(coef == 0, at_zero, np.abs(slope + l1 * np.sign(coef))).max(-1)


def _relative(amount: Any, scale: Any) -> Any:
    """amount / scale, with 0 / 0 = 0: on constant targets w = 0 is optimal and the scale is 0."""
    with np.errstate(divide="ignore"):
        return np.where(amount == 0.0, 0.0, amount / np.where(amount == 0.0, 1.0, scale))[()]


def least_squares(x: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> LinearFit:
    """The w that minimizes ||y - X w - b||^2, and of several such w the shortest (by the pseudo-inverse)."""
    data = centered(x, y, intercept=intercept)
    inverse: Array = np.linalg.pinv(data.x, rcond=_rank_tolerance(data.x))  # type: ignore[assignment]
    return data.fit(_times(inverse, data.y))


def _rank_tolerance(x: Array) -> float:
    """Singular values below this share of the largest are rounding errors (as numpy's matrix_rank has it)."""
    return max(x.shape[-2:]) * np.finfo(float).eps


def ridge(x: ArrayLike, y: ArrayLike, lam: ArrayLike, *, intercept: bool = True) -> LinearFit:
    """Every ridge model of a grid of lambda from one thin SVD, X = U diag(s) V':

        w(lam) = V diag(s / (s^2 + n lam)) U'y

    lam broadcasts against lead and may add axes in front: (L,) for one data set, (L, 1) for S of them
    (lead (S,)); coef is broadcast(lam.shape, lead) + (p,). lam = 0 gives `least_squares`, also when X has not
    full rank: along directions that X does not span, w stays 0 (Hoerl & Kennard 1970).
    """
    data = centered(x, y, intercept=intercept)
    lam = _grid(lam, np.broadcast_shapes(data.x.shape[:-2], data.y.shape[:-1]))
    rows, targets = _fewer_rows(data.x, data.y)
    u, s, vt = np.linalg.svd(rows, full_matrices=False)
    shrunk = _filter(s, data.x, lam, numerator=s) * _times(u.mT, targets)
    return data.fit(_times(vt.mT, shrunk))


def _fewer_rows(x: Array, y: Array) -> tuple[Array, Array]:
    """The same problem in p + 1 rows, R of [x y] = Q R, which halves the cost of the SVD when n is large.

    Q only rotates the examples, so s, V and every ||y - X w|| stay. Not done where members share one x.
    """
    if x.shape[-2] <= x.shape[-1] or x.shape[:-2] != y.shape[:-1]:
        return x, y
    r: Array = np.linalg.qr(np.concatenate([x, y[..., None]], axis=-1), mode="r")  # type: ignore[assignment]
    return r[..., :-1], r[..., -1]


def shrinkage_factors(x: ArrayLike, lam: ArrayLike, *, intercept: bool = True) -> Array:
    """s^2 / (s^2 + n lam): what ridge leaves of the least-squares fit along each principal direction of x.

    Shape broadcast(lam.shape, lead) + (min(n, p),), largest first; 0 along directions that x does not span.
    """
    x = checks.array("x", x, min_ndim=2, dtype=np.float64)
    lam = _grid(lam, x.shape[:-2])
    if intercept:
        x, _ = _without_mean(x, axis=-2)
    s: Array = np.linalg.svd(x, compute_uv=False)  # type: ignore[assignment]
    return _filter(s, x, lam, numerator=s**2)


def effective_degrees_of_freedom(x: ArrayLike, lam: ArrayLike, *, intercept: bool = True) -> Any:
    """Sum of the shrinkage factors = trace of the matrix that turns y into fitted values.

    The intercept is not counted: the rank of the centered x at lam = 0, falling to 0 as lam grows.
    """
    return shrinkage_factors(x, lam, intercept=intercept).sum(-1)


def _grid(lam: ArrayLike, lead: tuple[int, ...]) -> Array:
    lam = np.asarray(checks.nonnegative("lam", lam))
    _broadcast("lam", "the leading axes of the data", lam.shape, lead)
    return lam


def _filter(s: Array, x: Array, lam: Array, numerator: Array) -> Array:
    """numerator / (s^2 + n lam), and 0 where s is no more than rounding error."""
    real = s > _rank_tolerance(x) * s.max(-1, keepdims=True)
    return np.where(real, numerator, 0.0) / (np.where(real, s**2, 1.0) + x.shape[-2] * lam[..., None])


def coordinate_steps(x: Array, y: Array, l1: float, l2: float = 0.0) -> Iterator[Array]:
    """Coordinate descent (Friedman, Hastie & Tibshirani 2010): yields w after each sweep, without end.

    x (n, p) and y (n,) are centered. Along one coordinate, J is a parabola plus l1 |w_j|, and its minimum is
    one soft threshold.
    """
    n, p = x.shape
    w, residual = np.zeros(p), y.copy()
    curvature = (x**2).sum(0) / n
    while True:
        for j in np.flatnonzero(curvature):
            pull = x[:, j] @ residual / n + curvature[j] * w[j]  # of the data, if w_j were 0
            new = np.sign(pull) * max(abs(pull) - l1 / 2, 0.0) / (curvature[j] + l2)
            residual -= (new - w[j]) * x[:, j]
            w[j] = new
        yield w.copy()


def ista_steps(x: Array, y: Array, l1: float, l2: float = 0.0) -> Iterator[Array]:
    """Proximal gradient descent: a gradient step on the smooth part, then the proximal step of l1 ||w||_1.

    x (n, p) and y (n,) are centered; yields w after each step, without end. The step 1/L, with L the largest
    curvature of the smooth part, never overshoots: J falls at least as fast as 1/k (Beck & Teboulle 2009).
    """
    step, w = 1.0 / _largest_curvature(x, l2), np.zeros(x.shape[1])
    while True:
        w = soft_threshold(w - step * gradient(x, y, w, l2), step * l1)
        yield w


def fista_steps(x: Array, y: Array, l1: float, l2: float = 0.0, *, restart: bool = True) -> Iterator[Array]:
    """ISTA with momentum: the same step from a point v ahead of w. J falls as 1/k^2 (Beck & Teboulle 2009).

    The momentum starts anew when it points uphill (adaptive restart, O'Donoghue & Candes 2015): ``restart``
    False leaves that out, and w circles the minimum.
    """
    step, t = 1.0 / _largest_curvature(x, l2), 1.0
    w = v = np.zeros(x.shape[1])
    while True:
        new = soft_threshold(v - step * gradient(x, y, v, l2), step * l1)
        if restart and (v - new) @ (new - w) > 0:
            t = 1.0
        t_next = (1 + np.sqrt(1 + 4 * t**2)) / 2
        v = new + (t - 1) / t_next * (new - w)
        w, t = new, t_next
        yield w


def _largest_curvature(x: Array, l2: float) -> float:
    """Largest eigenvalue of (2/n) X'X + 2 l2 I (1 if that is 0, when any step will do)."""
    return 2.0 * np.linalg.norm(x, 2) ** 2 / x.shape[0] + 2.0 * l2 or 1.0


def coordinate_descent(
    x: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float = 0.0,
    *,
    intercept: bool = True,
    tol: float = 1e-12,
    max_iter: int = 100_000,
) -> LinearFit:
    """Lasso or elastic net for one (l1, l2) and one data set, by `coordinate_steps`.

    Stops when `kkt_gap` is at most ``tol``; raises `NotConverged` after ``max_iter`` sweeps.
    """
    return _solve(coordinate_steps, x, y, l1, l2, intercept, tol, max_iter)


def ista(
    x: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float = 0.0,
    *,
    intercept: bool = True,
    tol: float = 1e-12,
    max_iter: int = 100_000,
) -> LinearFit:
    """The same by `ista_steps`."""
    return _solve(ista_steps, x, y, l1, l2, intercept, tol, max_iter)


def fista(
    x: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float = 0.0,
    *,
    intercept: bool = True,
    tol: float = 1e-12,
    max_iter: int = 100_000,
) -> LinearFit:
    """The same by `fista_steps`."""
    return _solve(fista_steps, x, y, l1, l2, intercept, tol, max_iter)


def _solve(
    steps: Callable[..., Iterator[Array]],
    x: ArrayLike,
    y: ArrayLike,
    l1: float,
    l2: float,
    intercept: bool,
    tol: float,
    max_iter: int,
) -> LinearFit:
    x, y = checks.array("x", x, ndim=2), checks.array("y", y, ndim=1)
    data = centered(x, y, intercept=intercept)
    l1, l2 = strength("l1", l1), strength("l2", l2)
    tol = checks.positive("tol", checks.array("tol", tol, ndim=0))
    scale = np.abs(gradient(data.x, data.y, np.zeros(x.shape[1]))).max()
    iterates = steps(data.x, data.y, l1, l2)
    for _ in range(checks.integer("max_iter", max_iter)):
        w = next(iterates)
        gap = _violation(gradient(data.x, data.y, w, l2), w, l1)
        if gap <= tol * scale:
            return data.fit(w)
    raise NotConverged(f"KKT gap {gap / scale:.1e} after {max_iter} iterations, expected at most {tol:.1e}")
