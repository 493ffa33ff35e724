"""Random numbers, one private stream per member and purpose.

Member s of an ensemble draws only from the generator made from (seed s, purpose). So its
numbers do not depend on who trains beside it, and the arms of a comparison that share a seed
share their initial weights, their mini-batches and their noise: the comparison is *paired*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularize import checks

#: What a stream is for. The numbers are part of the book's results: never reuse or reorder them.
PURPOSES = {"init": 1, "noise": 2, "order": 3, "data": 4, "labels": 5, "features": 6,
            "folds": 7, "search": 8}  # fmt: skip


class Streams:
    """One generator per seed; every draw comes back stacked, with shape ``lead + shape``.

    Parameters
    ----------
    seeds : a non-negative integer (lead = ()) or an array of them (lead = its shape).
    purpose : "init", "noise", "order", "data", "labels", "features", "folds" or "search".

    Members with equal seeds receive equal numbers (drawn once, then copied).
    """

    def __init__(self, seeds: ArrayLike, purpose: str) -> None:
        self.seeds = checks.seeds(seeds)
        self.lead = self.seeds.shape
        key = PURPOSES[checks.choice("purpose", purpose, PURPOSES)]
        flat = self.seeds.ravel().tolist()
        distinct = list(dict.fromkeys(flat))  # in the order of the members
        self._member = [distinct.index(s) for s in flat]
        self._generators = [np.random.Generator(np.random.SFC64([s, key])) for s in distinct]

    def _stack(self, rows: NDArray[Any]) -> NDArray[Any]:
        """From one row per distinct seed to one per member."""
        if len(rows) != len(self._member):
            rows = rows[self._member]
        return rows.reshape(self.lead + rows.shape[1:])

    def normal(self, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Standard normal numbers, always drawn in float64: both precisions see the same ones."""
        rows = np.stack([g.standard_normal(shape) for g in self._generators])
        return self._stack(rows.astype(dtype, copy=False))

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Uniform numbers in [0, 1), always drawn in float32: both precisions see the same ones."""
        rows = np.empty((len(self._generators), *shape), np.float32)
        for generator, row in zip(self._generators, rows, strict=True):
            generator.random(out=row, dtype=np.float32)
        return self._stack(rows)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """A shuffled 0 .. n - 1 for each member, shape ``lead + (n,)``."""
        return self._stack(np.stack([g.permutation(n) for g in self._generators]))

    def integers(self, high: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Whole numbers in 0 .. high - 1."""
        return self._stack(np.stack([g.integers(high, size=shape) for g in self._generators]))
