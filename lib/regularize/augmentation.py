r"""Augmentation: new images from old ones, by changes after which the label is still right.

An augmentation is called as ``augment(x, y, noise) -> (x, y)``, which is the seam of ``fit``:

    fit(net, x, y, Adam(), augment=Compose(Rotate(10, (8, 8)), GaussianNoise(0.1)), ...)

``x: lead + (B, features)`` are images as rows, flattened in reading order with channels last, and ``noise``
are the members' random streams: each member draws its own numbers, fresh ones for each image and each
batch. The same objects make harder test sets, too: ``Shift(1, (8, 8))(x, y, Streams(0, "noise"))``.

A strength ``a`` stands for the range ``-a .. a`` (``1 - a .. 1 + a`` for factors), and a tuple
``(low, high)`` for that range. Each image draws uniformly from it; ``(v, v)`` changes all images alike.
Strengths are numbers or arrays that broadcast to lead.

Whether the label is still right is up to who chooses the change: a 2 that is flipped is no 2, and a 6 that is
turned by 180 degrees is a 9. Krizhevsky, Sutskever and Hinton (2012) shifted, mirrored and recoloured their
photographs; Shorten and Khoshgoftaar (2019) survey the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike
from scipy.special import cosdg, sindg

from regularize import checks
from regularize.checks import Array
from regularize.streams import Streams

Step = Callable[[Array, Array, Streams], tuple[Array, Array]]


class Augmentation:
    """The contract: ``augment(x, y, noise) -> (x, y)``, without a change of the caller's arrays.

    Raises
    ------
    ValueError, TypeError : x without rows, NaN, infinite, or with other leading axes than the streams; a
        strength that does not broadcast to lead.
    """

    def __call__(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        """New inputs ``lead + (B, features)`` and their targets; x without lead is shared by all members."""
        if not isinstance(noise, Streams):
            raise TypeError(f"noise: expected Streams, such as net.noise, got {noise!r}")
        x = checks.array("x", x, min_ndim=2)
        checks.broadcasts("x's leading axes", x.shape[:-2], noise.lead)
        return self.transform(np.broadcast_to(x, noise.lead + x.shape[-2:]), y, noise)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        """What a subclass says, with x checked and of shape ``lead + (B, features)``."""
        raise NotImplementedError


class ImageAugmentation(Augmentation):
    """One that must know which pixels are neighbours: ``shape`` is (height, width), or with channels a third.

    Raises
    ------
    ValueError, TypeError : a bad shape; when called, rows with another number of pixels.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        if not isinstance(shape, tuple) or len(shape) not in (2, 3):
            raise ValueError(f"shape: expected (height, width) or (height, width, channels), got {shape!r}")
        self.shape = tuple(checks.integer("shape", size) for size in (*shape, 1)[:3])

    def images(self, x: Array) -> Array:
        """Rows ``lead + (B, features)`` as ``lead + (B, height, width, channels)``."""
        if x.shape[-1] != np.prod(self.shape):
            raise ValueError(f"x: expected images of shape {self.shape}, got rows of {x.shape[-1]} values")
        return x.reshape(x.shape[:-1] + self.shape)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        return self.change(self.images(x), noise).reshape(x.shape), y

    def change(self, images: Array, noise: Streams) -> Array:
        """From images to images, ``lead + (B, height, width, channels)``."""
        raise NotImplementedError


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
        self.degrees, self.zoom = _Range("degrees", degrees), _Range("zoom", zoom, middle=1.0)
        if (self.zoom.low <= 0).any():
            raise ValueError(f"zoom: expected magnifications > 0, got {self.zoom.low.min()}")
        self.pixels = _Range("pixels", pixels, whole=not fractional)
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
        chosen = _chosen(self.probability, images.shape[-4], noise)
        return np.where(chosen[..., None, None, None], mirrored, images)


class Brightness(Augmentation):
    """Adds one number to all pixels of an image: ``x + amount``.

    ``limits`` are the (least, greatest) value of a pixel, to which the result is clipped; None leaves it
    alone, which is right for standardized pixels. Keras clips by default, to 0..255, and counts in units of
    that range. PyTorch multiplies instead.
    """

    def __init__(self, amount: ArrayLike, *, limits: tuple[float, float] | None = None) -> None:
        self.amount, self.limits = _Range("amount", amount), _limits(limits)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        amount = self.amount(noise.uniform((x.shape[-2], 1)), noise)
        return _clip(x + amount.astype(x.dtype), self.limits), y


class Contrast(ImageAugmentation):
    """``mean + factor (x - mean)``, with the mean of each channel of each image, as in Keras.

    The factor is drawn from ``1 - amount .. 1 + amount``; ``limits`` as for ``Brightness``. PyTorch takes the
    mean of the grey image instead.
    """

    def __init__(
        self, amount: ArrayLike, shape: tuple[int, ...], *, limits: tuple[float, float] | None = None
    ) -> None:
        ImageAugmentation.__init__(self, shape)
        self.amount, self.limits = _Range("amount", amount, middle=1.0, least=0.0), _limits(limits)

    def change(self, images: Array, noise: Streams) -> Array:
        factor = self.amount(noise.uniform((images.shape[-4], 1, 1, 1)), noise).astype(images.dtype)
        mean = images.mean((-3, -2), keepdims=True)
        return _clip(_blend(factor, images, mean), self.limits)


class Color(ImageAugmentation):
    r"""Saturation, of images in red, green and blue: ``grey + factor (x - grey)``.

    Grey is the luma ``0.299 R + 0.587 G + 0.114 B`` of a pixel (ITU-R BT.601), and stays as it is. Factor 0
    leaves nothing but grey, 1 changes nothing, 2 doubles the colours. It is drawn as for ``Contrast``.

    PyTorch does this with 0.2989 for R; so does Keras's RandomColorDegeneration, whose factor is 1 - ours.
    Keras's RandomSaturation scales the S of HSV instead. ``limits`` as for ``Brightness``.
    """

    def __init__(
        self, amount: ArrayLike, shape: tuple[int, ...], *, limits: tuple[float, float] | None = None
    ) -> None:
        ImageAugmentation.__init__(self, shape)
        if self.shape[2] != 3:
            raise ValueError(f"shape: expected three channels (red, green, blue), got {shape}")
        self.amount, self.limits = _Range("amount", amount, middle=1.0, least=0.0), _limits(limits)

    def change(self, images: Array, noise: Streams) -> Array:
        factor = self.amount(noise.uniform((images.shape[-4], 1, 1, 1)), noise).astype(images.dtype)
        red, green, blue = np.split(images, 3, axis=-1)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        return _clip(_blend(factor, images, grey), self.limits)


class GaussianNoise(Augmentation):
    """Adds to every feature its own normal number of standard deviation ``std``; for any kind of features.

    For what it does to the weights see ``regularize.tikhonov``.
    """

    def __init__(self, std: ArrayLike) -> None:
        self.std = checks.nonnegative("std", std)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        std = per_member("std", self.std, noise).astype(x.dtype)
        return x + std * noise.normal(x.shape[-2:], x.dtype), y


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


class Compose(Augmentation):
    """One step after the other: ``Compose(Shift(1, (8, 8)), GaussianNoise(0.1), Mixup(0.2))``."""

    def __init__(self, *steps: Step) -> None:
        if not steps:
            raise ValueError("steps: expected at least one, got none")
        self.steps = [checks.function("steps", step) for step in steps]

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        for step in self.steps:
            x, y = step(x, y, noise)
        return x, y


class Sometimes(Augmentation):
    """A step for some examples only: each takes part with the probability, and else stays as it is."""

    def __init__(self, probability: ArrayLike, step: Step) -> None:
        self.probability = checks.fraction("probability", probability)
        self.step = checks.function("step", step)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        chosen = _chosen(self.probability, x.shape[-2], noise)[..., None]
        new_x, new_y = self.step(x, y, noise)
        return np.where(chosen, new_x, x), (y if new_y is y else np.where(chosen, new_y, y))


def per_member(name: str, h: ArrayLike, noise: Streams, axes: int = 2) -> Array:
    """A hyper-parameter of shape () or lead, checked, and shaped for ``lead`` and that many axes more."""
    checks.broadcasts(name, np.shape(h), noise.lead)
    h = np.asarray(h)
    return h.reshape(h.shape + (1,) * axes)


def box(shape: tuple[int, ...], height: Any, width: Any, noise: Streams, count: int) -> Array:
    """True in a rectangle around a random pixel, ``lead + (count, *shape[:2])``, cut off at the frame.

    ``height`` and ``width`` are whole numbers, or arrays ``lead + (count,)`` of them.
    """

    def inside(size: int, extent: Any) -> Array:
        start = noise.integers(size, (count,)) - extent // 2
        at = np.arange(size)
        return (at >= start[..., None]) & (at < (start + extent)[..., None])

    return inside(shape[0], height)[..., :, None] & inside(shape[1], width)[..., None, :]


class _Range:
    """Where a strength is drawn from: ``middle - a .. middle + a`` for a number a, or a tuple (low, high)."""

    def __init__(
        self, name: str, amount: ArrayLike, middle: float = 0.0, least: float = -np.inf, whole: bool = False
    ) -> None:
        self.name, self.whole = name, whole
        if isinstance(amount, tuple):
            if len(amount) != 2:
                raise ValueError(f"{name}: expected a number or a tuple (low, high), got {amount}")
            self.low, self.high = (checks.array(name, end, dtype=np.float64) for end in amount)
        else:
            a = np.asarray(checks.nonnegative(name, amount))
            self.low, self.high = middle - a, middle + a
        if np.any(self.low > self.high) or np.any(self.low < least):
            raise ValueError(f"{name}: expected {least} <= low <= high, got low {self.low}, high {self.high}")
        if whole and np.any((self.low % 1 != 0) | (self.high % 1 != 0)):
            raise ValueError(f"{name}: expected whole numbers, got {amount}; or say fractional=True")

    def __call__(self, u: Array, noise: Streams) -> Array:
        """The numbers, in float64, that belong to the uniform ones ``u: lead + (B, ...)``."""
        axes = u.ndim - len(noise.lead)
        low, high = (per_member(self.name, end, noise, axes) for end in (self.low, self.high))
        if self.whole:
            return low + np.floor((high - low + 1) * u)
        return low + (high - low) * u


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


def _chosen(probability: ArrayLike, count: int, noise: Streams) -> Array:
    return noise.uniform((count,)) < per_member("probability", probability, noise, axes=1)


def _blend(factor: Array, images: Array, other: Array) -> Array:
    """``other + factor (images - other)``, exactly the images where the factor is 1."""
    new = factor * images
    new += (1 - factor) * other
    return new


def _limits(limits: tuple[float, float] | None) -> tuple[float, float] | None:
    if limits is None:
        return None
    if not isinstance(limits, tuple) or len(limits) != 2:
        raise ValueError(f"limits: expected None or a tuple (least, greatest), got {limits!r}")
    low, high = (checks.number("limits", limit) for limit in limits)
    if low >= high:
        raise ValueError(f"limits: expected least < greatest, got {limits}")
    return low, high


def _clip(x: Array, limits: tuple[float, float] | None) -> Array:
    return x if limits is None else np.clip(x, *limits, out=x)
