r"""Augmentation that moves pixels: shift, rotation, zoom, mirror images, holes.

How they are called, and what a strength means, is said in ``regularize.augmentation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy.special import cosdg, sindg

from regularize import checks
from regularize.augmentation import ImageAugmentation, Range, chosen
from regularize.checks import Array
from regularize.streams import Streams


class Affine(ImageAugmentation):
    r"""Turns, magnifies and moves each image about its centre c, in one bilinear interpolation.

    Pixel p of the result is what the image has at the point

        q = c + R^-1 (p - c - d) / m        R: rotation by the angle, m: magnification, d: displacement

    a mean of the four pixels around q, weighted by nearness. Beyond the frame lies ``fill``, and a point
    less than one pixel outside takes its share of both, as in Keras and PyTorch (SciPy's "grid-constant").
    Where q falls on a pixel the result is an exact copy. One ``Affine`` blurs less than three steps in a
    row.

    Parameters
    ----------
    degrees : the angle, counter-clockwise like ``numpy.rot90``. Keras counts in full turns instead.
    zoom : for magnifications in ``1 - zoom .. 1 + zoom``; above 1 the image grows. In Keras it then shrinks.
    pixels : the displacement downwards and, drawn by itself, to the right. Keras takes shares of the size.
    fractional : False allows whole pixels only, each equally likely.
    fill : the value beyond the frame: the background of the digits is 0.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        degrees: ArrayLike = 0.0,
        zoom: ArrayLike = 0.0,
        pixels: ArrayLike = 0.0,
        fractional: bool = True,
        fill: float = 0.0,
    ) -> None:
        ImageAugmentation.__init__(self, shape)
        self.degrees, self.zoom = Range("degrees", degrees), Range("zoom", zoom, middle=1.0)
        if (self.zoom.low <= 0).any():
            raise ValueError(f"zoom: expected magnifications > 0, got {self.zoom.low.min()}")
        self.pixels = Range("pixels", pixels, whole=not fractional)
        self.fill = checks.number("fill", fill)

    def change(self, images: Array, noise: Streams) -> Array:
        u = noise.uniform((4, images.shape[-4]))  # four, whatever is fixed: arms stay paired
        angle, zoom, down, right = (
            draw(u[..., k, :], noise).reshape(-1, 1)
            for k, draw in enumerate((self.degrees, self.zoom, self.pixels, self.pixels))
        )
        height, width = self.shape[:2]
        cos, sin = cosdg(angle) / zoom, sindg(angle) / zoom  # exact at 0, 90 and 180 degrees
        i = np.arange(height) - (height - 1) / 2 - down
        j = np.arange(width) - (width - 1) / 2 - right
        cos, sin, i, j = (a.astype(images.dtype) for a in (cos, sin, i, j))
        new = np.empty(images.shape, images.dtype)
        old, out = images.reshape(-1, *self.shape), new.reshape(-1, *self.shape)
        piece = max(1, 2**16 // old[0].nbytes)  # what stays in the cache is several times faster
        for start in range(0, len(old), piece):
            k = slice(start, start + piece)
            rows = ((height - 1) / 2 + cos[k] * i[k])[:, :, None] + (sin[k] * j[k])[:, None, :]
            columns = ((width - 1) / 2 + cos[k] * j[k])[:, None, :] - (sin[k] * i[k])[:, :, None]
            out[k] = _bilinear(old[k], rows, columns, self.fill)
        return new


class Shift(Affine):
    """Moves each image by up to ``pixels`` in both directions; whole pixels unless ``fractional``."""

    def __init__(
        self, pixels: ArrayLike, shape: tuple[int, ...], *, fractional: bool = False, fill: float = 0.0
    ) -> None:
        Affine.__init__(self, shape, pixels=pixels, fractional=fractional, fill=fill)

    def change(self, images: Array, noise: Streams) -> Array:
        if not self.pixels.whole:
            return Affine.change(self, images, noise)
        u = noise.uniform((4, images.shape[-4]))  # as many as Affine draws: the two stay paired
        down, right = (self.pixels(u[..., k, :], noise).astype(int).ravel() for k in (2, 3))
        reach, (height, width, _) = max(abs(down).max(), abs(right).max()), self.shape
        framed = np.pad(
            images.reshape(-1, *self.shape),
            ((0, 0), (reach, reach), (reach, reach), (0, 0)),
            constant_values=self.fill,
        )
        windows = sliding_window_view(framed, (height, width), axis=(1, 2))
        new = windows[np.arange(len(framed)), reach - down, reach - right]  # copies: nothing to interpolate
        return np.moveaxis(new, 1, -1).reshape(images.shape)


class Rotate(Affine):
    """Turns each image about its centre by up to ``degrees``."""

    def __init__(self, degrees: ArrayLike, shape: tuple[int, ...], *, fill: float = 0.0) -> None:
        Affine.__init__(self, shape, degrees=degrees, fill=fill)


class Zoom(Affine):
    """Magnifies each image about its centre, ``1 - amount`` to ``1 + amount`` times."""

    def __init__(self, amount: ArrayLike, shape: tuple[int, ...], *, fill: float = 0.0) -> None:
        Affine.__init__(self, shape, zoom=amount, fill=fill)


class Flip(ImageAugmentation):
    """Mirrors an image with a probability: "horizontal" swaps left and right, "vertical" top and bottom."""

    def __init__(self, direction: str, shape: tuple[int, ...], *, probability: ArrayLike = 0.5) -> None:
        ImageAugmentation.__init__(self, shape)
        self.direction = checks.choice("direction", direction, ("horizontal", "vertical"))
        self.probability = checks.fraction("probability", probability)

    def change(self, images: Array, noise: Streams) -> Array:
        mirrored = images[..., ::-1, :] if self.direction == "horizontal" else images[..., ::-1, :, :]
        taking_part = chosen(self.probability, images.shape[-4], noise)
        return np.where(taking_part[..., None, None, None], mirrored, images)


class Cutout(ImageAugmentation):
    """Fills a square of ``size`` pixels a side (DeVries and Taylor 2017).

    Its centre is uniform over the pixels, and what sticks out of the frame is lost: near the border less of
    the image is hidden. ``fill`` 0 is the mean of standardized pixels, and the background of the digits.
    """

    def __init__(self, size: int, shape: tuple[int, ...], *, fill: float = 0.0) -> None:
        ImageAugmentation.__init__(self, shape)
        self.size, self.fill = checks.integer("size", size), checks.number("fill", fill)

    def change(self, images: Array, noise: Streams) -> Array:
        hole = box(self.shape, self.size, self.size, noise, images.shape[-4])
        return np.where(hole[..., None], images.dtype.type(self.fill), images)


def box(shape: tuple[int, ...], height: Any, width: Any, noise: Streams, count: int) -> Array:
    """True in a rectangle around a random pixel, ``lead + (count, *shape[:2])``, cut off at the frame.

    ``height`` and ``width`` are whole numbers, or arrays ``lead + (count,)`` of them.
    """

    def inside(size: int, extent: Any) -> Array:
        start = noise.integers(size, (count,)) - extent // 2
        at = np.arange(size)
        return (at >= start[..., None]) & (at < (start + extent)[..., None])

    return inside(shape[0], height)[..., :, None] & inside(shape[1], width)[..., None, :]


def _bilinear(images: Array, rows: Array, columns: Array, fill: float) -> Array:
    """The images (n, height, width, channels) at points between their pixels, ``rows, columns: (n, h, w)``.

    Overwrites rows and columns.
    """
    n, height, width, channels = images.shape
    framed = np.full((n, height + 3, width + 3, channels), fill, images.dtype)
    framed[:, 1:-2, 1:-2] = images
    np.clip(rows, -1, height, out=rows)
    np.clip(columns, -1, width, out=columns)
    top, left = np.floor(rows), np.floor(columns)
    rows -= top
    columns -= left
    pixels, line = framed.ravel(), (width + 3) * channels
    corner = (top + 1).astype(np.intp) * line + (left + 1).astype(np.intp) * channels
    corner += np.arange(n)[:, None, None] * framed[0].size
    above = corner[..., None] + np.arange(channels)
    down, right = rows[..., None], columns[..., None]

    def between(at: Array) -> Array:
        return _lerp(pixels.take(at), pixels.take(at + channels), right)

    return _lerp(between(above), between(above + line), down)


def _lerp(a: Array, b: Array, share: Array) -> Array:
    """``a + share (b - a)``, which is exactly a where the share is 0. Overwrites both."""
    b -= a
    b *= share
    a += b
    return a
