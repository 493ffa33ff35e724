"""Tables of results, as plain text: they print in a notebook, and are compared number by number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def print_table(columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their headings, in aligned columns.

    Parameters
    ----------
    columns : heading -> format, as in an f-string: ``{"n": "d", "loss": ".3f", "setting": "s"}``.
        An ``Interval`` takes the format of its numbers: ``"+.3f"`` prints ``-0.145 ± 0.026``.
    rows : one value for each column.

    Raises
    ------
    ValueError : no rows, or a row with too few or too many values.
    """
    rows = [list(row) for row in rows]
    if not rows:
        raise ValueError("rows: expected at least one row, got none")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"rows: expected {len(columns)} values in each row, got {len(row)}: {row}")
    texts = [[format(value, spec) for value, spec in zip(row, columns.values(), strict=True)] for row in rows]
    lines = [list(columns), *texts]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    left = [spec.endswith("s") for spec in columns.values()]
    for line in lines:
        cells = [
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(line, widths, left, strict=True)
        ]
        print("  ".join(cells).rstrip())
