"""Pictures. A function is named for its picture, draws data on an axis and returns the axis.

Nothing here trains, and nothing calls ``show``. Series differ in colour, in line style and in
marker, so figures survive greyscale printing and colour blindness (palette: Okabe and Ito 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from regularize import checks
from regularize.statistics import Interval, interval

COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
STYLES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


def use_style() -> None:
    """The book's look, for the session: call it once, at the top of a chapter."""
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=STYLES) + cycler(marker=MARKERS),
            "font.size": 11,
            "lines.markersize": 5,
            "legend.frameon": False,
        }
    )


def band(ax: Axes, x: ArrayLike, values: ArrayLike, label: str | None = None, **style: Any) -> Axes:
    """The mean over seeds against x, with its 95 % interval as a shade.

    ``values`` has shape ``(len(x), S)``: one row for each x, one column for each seed.
    """
    x = checks.array("x", x, ndim=1)
    v = checks.array("values", values, ndim=2, shape=(len(x), None))
    rows = [interval(row) for row in v]
    (line,) = ax.plot(x, [r.mean for r in rows], label=label, **style)
    ax.fill_between(x, [r.low for r in rows], [r.high for r in rows], color=line.get_color(), alpha=0.2, lw=0)
    return ax


def differences(ax: Axes, labels: Sequence[str], intervals: Sequence[Interval]) -> Axes:
    """Paired differences, one row each, with their intervals and a line at 0 (no effect)."""
    if len(labels) != len(intervals) or not labels:
        raise ValueError(f"labels: expected one for each of {len(intervals)} intervals, got {len(labels)}")
    rows = np.arange(len(labels))[::-1]
    means, halves = [i.mean for i in intervals], [i.half_width for i in intervals]
    ax.errorbar(means, rows, xerr=halves, fmt="o", color=COLORS[0], capsize=4, linestyle="none")
    ax.axvline(0, color="0.3", lw=1, linestyle="-", marker="")
    ax.set_yticks(rows, labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    return ax


def coefficient_paths(ax: Axes, lam: ArrayLike, coefs: ArrayLike, names: Sequence[str] = ()) -> Axes:
    """Coefficients ``(L, p)`` against lambda on a logarithmic axis, each named at its left end."""
    lam = checks.array("lam", lam, ndim=1)
    checks.positive("lam", lam)  # 0 has no place on this axis
    coefs = checks.array("coefs", coefs, ndim=2, shape=(len(lam), None))
    if len(names) not in (0, coefs.shape[1]):
        raise ValueError(f"names: expected one for each of {coefs.shape[1]} coefficients, got {len(names)}")
    for j in range(coefs.shape[1]):
        ax.plot(lam, coefs[:, j], color=COLORS[j % 7], linestyle=STYLES[(j // 2) % 7], marker="", lw=1.5)
    ax.axhline(0, color="0.3", lw=1, linestyle="-", marker="")
    ax.set_xscale("log")
    if names:
        name_lines(ax, lam.min(), coefs[lam.argmin()], names, side="left")
    return ax


def name_lines(ax: Axes, x: float, heights: ArrayLike, names: Sequence[str], side: str = "right") -> Axes:
    """Write the name of each line beside its end ``(x, height)``, moved apart where two would overlap."""
    heights = checks.array("heights", heights, ndim=1, shape=(len(names),))
    checks.choice("side", side, ("left", "right"))
    low, high = ax.get_ylim()
    order = np.argsort(heights, kind="stable")
    places = heights[order].copy()
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + 0.045 * (high - low))
    places += (heights.mean() - places.mean()) / 2
    for j, place in zip(order, places, strict=True):
        offset, align = (5, "left") if side == "right" else (-5, "right")
        ax.annotate(names[j], (x, place), xytext=(offset, 0), textcoords="offset points", ha=align,
                    va="center", fontsize=9, color=COLORS[j % 7])  # fmt: skip
    return ax


def images(axes: Sequence[Axes], pixels: ArrayLike, titles: Sequence[str] = ()) -> Sequence[Axes]:
    """Grey square images, one row of ``pixels: (count, side * side)`` on each axis, dark ink on white."""
    pixels = checks.array("pixels", pixels, min_ndim=2)
    side = isqrt(pixels[0].size)
    if len(pixels) != len(axes) or side * side != pixels[0].size:
        raise ValueError(f"pixels: expected {len(axes)} square images, got shape {pixels.shape}")
    if len(titles) not in (0, len(axes)):
        raise ValueError(f"titles: expected one for each of {len(axes)} images, got {len(titles)}")
    for i, (ax, image) in enumerate(zip(axes, pixels, strict=True)):
        ax.imshow(image.reshape(side, side), cmap="gray_r", interpolation="nearest")
        ax.set_axis_off()
        if titles:
            ax.set_title(titles[i], fontsize=9)
    return axes
