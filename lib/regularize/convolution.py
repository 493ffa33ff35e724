r"""Convolution and pooling: layers of images, ``lead + (B, height, width, channels)``.

All of them look at an image through a small square window that moves over it. Entry (i, j) of all windows
is one strided view of the image: ``entries`` lists these views, and the rest is arithmetic on them.
"""

from __future__ import annotations

from functools import reduce

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
    r"""Convolution (LeCun et al. 1998): one dense layer, moved over the image, from windows to pixels.

        y[r, c] = b + sum over i, j of x[stride r + i, stride c + j] W[i, j]

    ``x: lead + (B, height, width, channels_in)``, ``W: lead + (size, size, channels_in, channels_out)``,
    ``b: lead + (1, channels_out)``. Written as matrices, where a row of P is a window and a row of y and g is
    a pixel (Chellapilla, Puri and Simard 2006), that is ``y = P W + b``, and backward

        dW = P^T g,    db = sum of the rows of g,    dx[stride r + i, stride c + j] += g[r, c] W[i, j]^T.

    As everywhere in deep learning, the kernel is not turned round.

    Parameters
    ----------
    size, stride : of the window and from window to window, in pixels, in both directions.
    padding : "same" surrounds the image with zeros so that ``ceil(height / stride)`` windows fit below
        each other. Where their number is odd, one row more stands below than above, as in Keras. (PyTorch's
        "same" is this one, for stride 1 alone; its ``padding=1`` with stride 2 puts the windows elsewhere.)
        "valid", the default of Keras, adds none, and pixels that no window reaches are not seen.
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
        return (*(self._along(n)[0] for n in shape[:2]), self.channels_out)

    def initialize(self, network: Network) -> None:
        self.W[...] = self.init(network.init, self.shapes["W"])

    def forward(self, x: Array, train: bool) -> Array:
        *examples, height, width, channels = x.shape
        (rows, top, bottom), (columns, left, right) = self._along(height), self._along(width)
        self.image = (..., slice(top, top + height), slice(left, left + width), slice(None))
        self.x = np.zeros((*examples, top + height + bottom, left + width + right, channels), x.dtype)
        self.x[self.image] = x
        y = self._windows() @ self._matrix(self.W) + self.b
        return y.reshape(*examples, rows, columns, self.channels_out)

    def backward(self, g: Array) -> Array:
        g = g.reshape(*self.lead, -1, self.channels_out)
        np.matmul(transpose(self._windows()), g, out=self._matrix(self.dW))
        np.sum(g, axis=-2, keepdims=True, out=self.db)
        dx = np.zeros(self.x.shape, g.dtype)
        pixels = entries(dx, self.size, self.stride)
        for pixel, (i, j) in zip(pixels, np.ndindex(self.size, self.size), strict=True):
            pixel += (g @ transpose(self.W[..., i, j, :, :])).reshape(pixel.shape)
        return dx[self.image]

    def _windows(self) -> Array:
        """P: up to ``size^2`` times as large as x, so it is written down twice rather than kept."""
        windows = np.stack(entries(self.x, self.size, self.stride), axis=-2)
        return windows.reshape(*self.lead, -1, self.size**2 * self.channels_in)

    def _matrix(self, kernel: Array) -> Array:
        """``W`` or ``dW`` with a row for each column of P: a view."""
        return kernel.reshape(*self.lead, -1, self.channels_out)

    def _along(self, n: int) -> tuple[int, int, int]:
        """Along a line of n pixels: the number of windows, and of zeros before and after the pixels."""
        if self.padding == "valid":
            return (n - self.size) // self.stride + 1, 0, 0
        windows = -(-n // self.stride)
        zeros = max((windows - 1) * self.stride + self.size - n, 0)
        return windows, zeros // 2, zeros - zeros // 2


class _Pool(Layer):
    """Windows of ``size`` x ``size`` pixels, side by side; what does not fill a window is left out."""

    def __init__(self, size: int = 2) -> None:
        self.size = checks.integer("size", size)

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is None:
            return None
        _check_image(f"{type(self).__name__}({self.size})", shape, self.size)
        return shape[0] // self.size, shape[1] // self.size, shape[2]


class MaxPool(_Pool):
    """The largest value of each window of ``size`` x ``size`` pixels, for each channel (Scherer et al. 2010).

    The windows lie side by side; rows and columns that do not fill one are not seen (Keras: "valid"). Of
    equal values the first, in reading order, receives the gradient. All that is so in Keras and PyTorch, too.
    """

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        self.y = reduce(np.maximum, entries(x, self.size, self.size))
        return self.y

    def backward(self, g: Array) -> Array:
        dx = np.zeros(self.x.shape, g.dtype)
        waiting = np.ones(g.shape, bool)
        inputs, gradients = (entries(a, self.size, self.size) for a in (self.x, dx))
        for pixel, gradient in zip(inputs, gradients, strict=True):
            first = waiting & (pixel == self.y)
            np.multiply(g, first, out=gradient)
            waiting ^= first
        return dx


class AveragePool(_Pool):
    """The mean of each window of ``size`` x ``size`` pixels, for each channel; windows as in ``MaxPool``."""

    def forward(self, x: Array, train: bool) -> Array:
        self.before = x.shape
        return reduce(np.add, entries(x, self.size, self.size)) / self.size**2

    def backward(self, g: Array) -> Array:
        dx = np.zeros(self.before, g.dtype)
        for gradient in entries(dx, self.size, self.size):
            gradient[...] = g / self.size**2
        return dx


class GlobalAveragePool(Layer):
    """The mean of each channel over the image: ``channels`` features (Lin, Chen and Yan 2014)."""

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


def _check_image(name: str, shape: tuple[int, ...], least: int = 1, channels: int | None = None) -> None:
    """Examples must be images, at least so many pixels high and wide, with so many channels (None: any)."""
    wanted = f"images of at least {least} x {least} pixels and {channels or 'any number of'} channels"
    if len(shape) != 3 or min(shape[:2]) < least or channels not in (None, shape[2]):
        raise ValueError(f"{name}: expected {wanted}, got examples of shape {shape}")
