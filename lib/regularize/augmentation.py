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
photographs; Shorten and Khoshgoftaar (2019) survey the field. What moves pixels: ``regularize.geometry``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

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


class Brightness(Augmentation):
    """Adds one number to all pixels of an image: ``x + amount``.

    ``limits`` are the (least, greatest) value of a pixel, to which the result is clipped; None leaves it
    alone, which is right for standardized pixels. Keras clips by default, to 0..255, and counts in units of
    that range. PyTorch multiplies instead.
    """

    def __init__(self, amount: ArrayLike, *, limits: tuple[float, float] | None = None) -> None:
        self.amount, self.limits = Range("amount", amount), _limits(limits)

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
        self.amount, self.limits = Range("amount", amount, middle=1.0, least=0.0), _limits(limits)

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
        self.amount, self.limits = Range("amount", amount, middle=1.0, least=0.0), _limits(limits)

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
        taking_part = chosen(self.probability, x.shape[-2], noise)[..., None]
        new_x, new_y = self.step(x, y, noise)
        return np.where(taking_part, new_x, x), (y if new_y is y else np.where(taking_part, new_y, y))


def per_member(name: str, h: ArrayLike, noise: Streams, axes: int = 2) -> Array:
    """A hyper-parameter of shape () or lead, checked, and shaped for ``lead`` and that many axes more."""
    checks.broadcasts(name, np.shape(h), noise.lead)
    h = np.asarray(h)
    return h.reshape(h.shape + (1,) * axes)


class Range:
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


def chosen(probability: ArrayLike, count: int, noise: Streams) -> Array:
    """Which of ``count`` examples take part, ``lead + (count,)``."""
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
