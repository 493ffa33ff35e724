r"""Convolution and pooling: layers of images, ``lead + (B, height, width, channels)``.

All of them look at an image through a small square window that moves over it. Entry (i, j) of all windows
together is a strided view of the image; ``entries`` lists these views, and the rest is arithmetic on them.
"""

from __future__ import annotations

import numpy as np

from regularize import checks
from regularize.checks import Array
from regularize.initialization import Initializer, he_normal
from regularize.layers import Layer, transpose
from regularize.network import Network


def entries(images: Array, size: int, stride: int) -> list[Array]:
    """The entries of the windows that lie inside the images: ``size * size`` views, in reading order.

    Entry ``(i, j)`` of the window in row r and column c is the pixel ``(stride r + i, stride c + j)``. Each
    view has shape ``lead + (B, rows of windows, columns of windows, channels)``.
    """
    rows, columns = ((n - size) // stride * stride + 1 for n in images.shape[-3:-1])
    corners = [(i, j) for i in range(size) for j in range(size)]
    return [images[..., i : i + rows : stride, j : j + columns : stride, :] for i, j in corners]


class Conv2D(Layer):
    r"""Convolution: one dense layer for all positions, from a window of pixels to the channels of one pixel.

        y[r, c] = b + sum over i, j of x[stride r + i, stride c + j] W[i, j]

    ``x: lead + (B, height, width, channels_in)``, ``W: lead + (size, size, channels_in, channels_out)``,
    ``b: lead + (1, channels_out)``. If the rows of P are the windows ("im2col"; Chellapilla, Puri and
    Simard 2006), and the rows of y and g are the pixels, that is ``y = P W + b``, and backward

        dW = P^T g,    db = sum of the rows of g,    dx[stride r + i, stride c + j] += g[r, c] W[i, j]^T.

    As everywhere in deep learning the kernel is not flipped.

    Parameters
    ----------
    size, stride : of the window and between windows, in pixels, the same in both directions.
    padding : "same" surrounds the image with zeros, so that ``ceil(height / stride)`` windows fit in a column.
        Of an odd number of rows of zeros the larger part is below the image, as in Keras; PyTorch's
        ``padding=p`` puts p rows on either side, which differs for even sizes and for most strides. "valid"
        adds nothing (the default of Keras).
    init : draws W (see ``regularize.initialization``); b starts at 0.
    """

    penalized = ("W",)
    W: Array
    b: Array
    dW: Array
    db: Array

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int = 3,
        stride: int = 1,
        padding: str = "same",
        init: Initializer = he_normal,
    ) -> None:
        self.channels_in = checks.integer("channels_in", channels_in)
        self.channels_out = checks.integer("channels_out", channels_out)
        self.size, self.stride = checks.integer("size", size), checks.integer("stride", stride)
        self.padding = checks.choice("padding", padding, ("same", "valid"))
        self.init = checks.function("init", init)
        self.shapes = {"W": (size, size, channels_in, channels_out), "b": (1, channels_out)}

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is None:
            return None
        least = self.size if self.padding == "valid" else 1
        _check_image(f"Conv2D({self.channels_in}, {self.channels_out})", shape, least, self.channels_in)
        rows, columns = ((n + sum(self._zeros(n)) - self.size) // self.stride + 1 for n in shape[:2])
        return rows, columns, self.channels_out

    def initialize(self, network: Network) -> None:
        self.W[...] = self.init(network.init, self.shapes["W"])

    def forward(self, x: Array, train: bool) -> Array:
        *outer, height, width, channels = x.shape
        (top, bottom), (left, right) = self._zeros(height), self._zeros(width)
        self.inside = (..., slice(top, top + height), slice(left, left + width), slice(None))
        self.x = np.zeros((*outer, top + height + bottom, left + width + right, channels), x.dtype)
        self.x[self.inside] = x
        y = self._windows() @ self.W.reshape(*self.lead, -1, self.channels_out) + self.b
        self.y_shape = y.shape
        rows, columns = ((n - self.size) // self.stride + 1 for n in self.x.shape[-3:-1])
        return y.reshape(*outer, rows, columns, self.channels_out)

    def backward(self, g: Array) -> Array:
        pixels = g.reshape(*self.lead, -1, self.channels_out)
        np.matmul(transpose(self._windows()), pixels, out=self.dW.reshape(*self.lead, -1, self.channels_out))
        np.sum(pixels, axis=-2, keepdims=True, out=self.db)
        dx = np.zeros_like(self.x)
        kernel = self.W.reshape(*self.lead, -1, *self.W.shape[-2:])
        for k, entry in enumerate(entries(dx, self.size, self.stride)):
            entry += (pixels @ transpose(kernel[..., k, :, :])).reshape(entry.shape)
        return dx[self.inside]

    def _windows(self) -> Array:
        """P. It is ``size^2`` times as large as the image: written down when needed, and never kept."""
        windows = np.stack(entries(self.x, self.size, self.stride), axis=-2)
        return windows.reshape(*self.lead, -1, self.size**2 * self.channels_in)

    def _zeros(self, n: int) -> tuple[int, int]:
        """How many zeros stand before and after a line of n pixels."""
        windows = -(-n // self.stride)
        missing = max((windows - 1) * self.stride + self.size - n, 0) if self.padding == "same" else 0
        return missing // 2, missing - missing // 2


class MaxPool(Layer):
    """The largest value of each window of ``size`` x ``size`` pixels, channel by channel.

    The windows lie side by side. Rows and columns that do not fill a window are left out, as in Keras
    ("valid") and PyTorch. Of equal values the first, in reading order, receives the gradient, as in both.
    """

    def __init__(self, size: int = 2) -> None:
        self.size = checks.integer("size", size)

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return _pooled(self, shape, self.size)

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        self.y, *others = entries(x, self.size, self.size)
        for entry in others:
            self.y = np.maximum(self.y, entry)
        return self.y

    def backward(self, g: Array) -> Array:
        dx = np.zeros_like(self.x)
        free = np.ones(g.shape, bool)
        for dx_entry, x_entry in zip(*(entries(a, self.size, self.size) for a in (dx, self.x)), strict=True):
            largest = (x_entry == self.y) & free
            dx_entry[...] = g * largest
            free &= ~largest
        return dx


class AveragePool(Layer):
    """The mean of each window of ``size`` x ``size`` pixels, channel by channel; windows as in ``MaxPool``."""

    def __init__(self, size: int = 2) -> None:
        self.size = checks.integer("size", size)

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return _pooled(self, shape, self.size)

    def forward(self, x: Array, train: bool) -> Array:
        self.before = x.shape
        return sum(entries(x, self.size, self.size)) / self.size**2

    def backward(self, g: Array) -> Array:
        dx = np.zeros(self.before, g.dtype)
        for entry in entries(dx, self.size, self.size):
            entry[...] = g / self.size**2
        return dx


class GlobalAveragePool(Layer):
    """The mean of each channel over the whole image: a row of ``channels`` features (Lin, Chen and Yan 2014)."""

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is None:
            return None
        _check_image("GlobalAveragePool()", shape)
        return shape[2:]

    def forward(self, x: Array, train: bool) -> Array:
        self.before = x.shape
        return x.mean((-3, -2))

    def backward(self, g: Array) -> Array:
        height, width = self.before[-3:-1]
        return np.broadcast_to(g[..., None, None, :] / (height * width), self.before)


def _pooled(layer: Layer, shape: tuple[int, ...] | None, size: int) -> tuple[int, ...] | None:
    if shape is None:
        return None
    _check_image(f"{type(layer).__name__}({size})", shape, size)
    return shape[0] // size, shape[1] // size, shape[2]


def _check_image(name: str, shape: tuple[int, ...], least: int = 1, channels: int | None = None) -> None:
    """Examples are images, at least so many pixels high and wide, with so many channels (None: any number)."""
    wanted = f"images of at least {least} x {least} pixels and {channels or 'any number of'} channels"
    if len(shape) != 3 or min(shape[:2]) < least or channels not in (None, shape[2]):
        raise ValueError(f"{name}: expected {wanted}, got examples of shape {shape}")
