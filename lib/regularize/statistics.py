r"""How sure are we? Every "better" in this book is a paired difference with its 95 % interval.

Two arms that share seeds share splits, initial weights, mini-batches and noise. The difference is
taken seed by seed, so what the seeds have in common cancels. For S differences d_s,

    mean(d) ± t(0.975, S - 1) * sd(d) / sqrt(S)            (Student's t)

The interval speaks of new seeds on the *same* data set, not of other data sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from regularize import checks

#: The book draws no verdict from fewer seeds.
FEWEST_SEEDS = 20


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, ``mean ± half_width``, over ``n`` seeds."""

    mean: float
    half_width: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def within(self, size: float) -> bool:
        """Whether the whole interval lies between -size and +size."""
        return max(abs(self.low), abs(self.high)) < size

    def __format__(self, spec: str) -> str:
        """``f"{interval:+.3f}"`` prints ``-0.145 ± 0.026``."""
        spec = spec or "+.3f"
        return f"{self.mean:{spec}} ± {self.half_width:{spec.lstrip('+')}}"

    def __str__(self) -> str:
        return f"{self:+.3f} ({self.n} seeds)"

    def __mul__(self, factor: float) -> Interval:
        """In other units: ``100 * interval`` turns a share into percentage points."""
        return Interval(factor * self.mean, abs(factor) * self.half_width, self.n)

    __rmul__ = __mul__


def interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of one number a seed, shape ``(S,)``, with its interval.

    Raises
    ------
    ValueError : fewer than 2 seeds, NaN, more than one axis, a level outside (0, 1).
    """
    v = checks.array("values", values, ndim=1, dtype=np.float64)
    if len(v) < 2:
        raise ValueError("values: expected at least 2 seeds, got 1: one run has no spread")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    t = stats.t.ppf(0.5 + level / 2, len(v) - 1)
    return Interval(float(v.mean()), float(t * v.std(ddof=1) / np.sqrt(len(v))), len(v))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """``a - b``, seed by seed: entry s of both must come from the same seed."""
    a, b = checks.array("a", a, ndim=1), checks.array("b", b, ndim=1)
    if a.shape != b.shape:
        raise ValueError(f"b: expected the {len(a)} seeds of a, got {len(b)}: the arms must be paired")
    return interval(a - b, level)


def verdict(difference: Interval, small: float = 0.0) -> str:
    """The book's rule, stated once: "small", "no detectable difference", "higher" or "lower".

    * The whole interval lies within ±``small``, a size that nobody would care about: "small".
    * Otherwise, if it contains 0: "no detectable difference".
    * Otherwise the sign of the mean decides: "higher" or "lower".

    Raises
    ------
    ValueError : fewer than 20 seeds, a negative ``small``.
    """
    if difference.n < FEWEST_SEEDS:
        raise ValueError(f"difference: expected at least {FEWEST_SEEDS} seeds, got {difference.n}")
    if difference.within(checks.nonnegative("small", small)):
        return "small"
    if difference.low <= 0 <= difference.high:
        return "no detectable difference"
    return "higher" if difference.mean > 0 else "lower"


class Verdicts:
    """`verdict` with a memory: a page that draws many verdicts says how many would look real by chance.

    ``decide = Verdicts()``; then ``decide(difference, small)`` is ``verdict(difference, small)``, and
    ``print(decide)`` counts the intervals judged so far. One that is judged twice counts once.
    """

    def __init__(self) -> None:
        self.judged: set[Interval] = set()

    def __call__(self, difference: Interval, small: float = 0.0) -> str:
        found = verdict(difference, small)
        self.judged.add(difference)
        return found

    def __str__(self) -> str:
        real = [d for d in self.judged if not d.low <= 0 <= d.high]
        narrow = sum(abs(d.mean) < 1.5 * d.half_width for d in real)
        return (
            f"intervals judged: {len(self.judged)}, of which 5 %: {len(self.judged) / 20:.1f}\n"
            f"{len(real)} exclude zero, {narrow} of them narrowly (mean < 1.5 half-widths)"
        )
