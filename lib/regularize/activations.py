r"""The nonlinearities between dense layers, each with its derivative.

Without them, layers in a row are one linear layer. What they do to a layer's values differs:

    layer        y                                  values            dy/dx at 0     dy/dx at most
    ReLU         max(x, 0)                          [0, inf)          0              1
    LeakyReLU    x, or slope x if x < 0             (-inf, inf)       slope          1, or slope
    PReLU        the same, with learned slopes      (-inf, inf)       0              1, or slope
    ELU          x, or alpha (e^x - 1) if x < 0     (-alpha, inf)     alpha          1, or alpha
    SELU         1.0507 ELU, with alpha = 1.6733    (-1.7581, inf)    1.0507         1.7581
    GELU         x Phi(x)                           [-0.1700, inf)    1/2            1.1289
    SiLU         x sigmoid(x)                       [-0.2785, inf)    1/2            1.0998
    Tanh         tanh(x)                            (-1, 1)           1              1
    Sigmoid      1 / (1 + e^-x)                     (0, 1)            1/4            1/4

Only the last two bring values into a range. ReLU does not: ``relu(2 x) = 2 relu(x)``. And only the sigmoid
makes every gradient that passes it at least four times as small (see ``regularize.gradient_flow``).

At x = 0 a kink has no derivative; the library takes what Keras (with TensorFlow) takes. PyTorch differs for
SELU (1.7581) and PReLU (the slope). No power or exponential overflows, however large x is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, ndtr

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer

if TYPE_CHECKING:
    from regularize.network import Network


class ReLU(Layer):
    """``y = max(x, 0)``; ``dy/dx = 1`` where ``x > 0``, else 0 (also at ``x = 0``, as in Keras)."""

    def forward(self, x: Array, train: bool) -> Array:
        self.on = x > 0
        return x * self.on

    def backward(self, g: Array) -> Array:
        return g * self.on


class LeakyReLU(Layer):
    """``y = x`` where ``x > 0``, else ``slope * x``: no unit is ever quite off (Maas, Hannun and Ng 2013).

    ``dy/dx = slope`` where ``x <= 0``. He et al. (2015) start the weights before it with variance
    ``2 / ((1 + slope^2) fan_in)``: ``scaled_normal(2 / (1 + slope**2))``.

    Parameters
    ----------
    slope : a number >= 0, or an array that broadcasts to lead. The default is that of Keras; PyTorch's is
        0.01, that of the paper.

    Raises
    ------
    TypeError, ValueError : a slope that is no finite number >= 0.
    """

    hyperparameters = ("slope",)

    def __init__(self, slope: ArrayLike = 0.3) -> None:
        self.slope = checks.nonnegative("slope", slope)

    def forward(self, x: Array, train: bool) -> Array:
        self.factor = np.where(x > 0, 1, self.per_member(self.slope, x))
        return x * self.factor

    def backward(self, g: Array) -> Array:
        return g * self.factor


class PReLU(Layer):
    """``y = max(x, 0) + alpha min(x, 0)``: a leaky ReLU whose slopes are learned (He et al. 2015).

        dJ/dx = g (1 where x > 0, alpha where x < 0, 0 where x = 0)
        dJ/dalpha = sum of g min(x, 0)

    There is one slope for each feature, ``alpha: lead + (1, features)``; all positions of an image share the
    slope of their channel. Slopes are not penalized: a penalty pushes them to 0, and PReLU is ReLU then
    (He et al. leave weight decay out for that reason). ``mlp`` makes its activations without arguments, so
    it cannot make this one: use ``Network(Dense(64, 128), PReLU(128), ...)``.

    Parameters
    ----------
    features : of the rows, or channels of the images.
    slope : what alpha starts at, a number >= 0 or an array that broadcasts to lead. The default is that of
        the paper and of PyTorch (whose slope is by default one for all channels); Keras starts at 0, with
        a slope for each value of an image, unless ``shared_axes=[1, 2]``.

    Raises
    ------
    TypeError, ValueError : features that are no positive integer, a slope that is no finite number >= 0.
    """

    hyperparameters = ("slope",)
    alpha: Array
    dalpha: Array

    def __init__(self, features: int, slope: ArrayLike = 0.25) -> None:
        self.features = checks.integer("features", features)
        self.slope = checks.nonnegative("slope", slope)
        self.shapes = {"alpha": (1, features)}

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and shape[-1] != self.features:
            raise ValueError(f"PReLU({self.features}): expected {self.features} features, got {shape[-1]}")
        return shape

    def initialize(self, network: Network) -> None:
        self.alpha[...] = self.per_member(self.slope, self.alpha)

    def rows(self, x: Array) -> Array:
        """``lead + (B, ..., features)`` as ``lead + (values per feature, features)``."""
        return x.reshape(*self.lead, -1, self.features)

    def forward(self, x: Array, train: bool) -> Array:
        self.x = self.rows(x)
        return (np.maximum(self.x, 0) + self.alpha * np.minimum(self.x, 0)).reshape(x.shape)

    def backward(self, g: Array) -> Array:
        rows = self.rows(g)
        np.sum(rows * np.minimum(self.x, 0), axis=-2, keepdims=True, out=self.dalpha)
        return (rows * ((self.x > 0) + self.alpha * (self.x < 0))).reshape(g.shape)


class ELU(Layer):
    """``y = x`` where ``x > 0``, else ``alpha (exp(x) - 1)`` (Clevert, Unterthiner and Hochreiter 2016).

    Negative values bring the mean of the outputs nearer to 0. ``dy/dx = y + alpha`` where ``x <= 0``.

    Parameters
    ----------
    alpha : minus what y tends to at minus infinity, a number > 0 or an array that broadcasts to lead.

    Raises
    ------
    TypeError, ValueError : an alpha that is no finite number > 0.
    """

    hyperparameters = ("alpha",)

    def __init__(self, alpha: ArrayLike = 1.0) -> None:
        self.alpha = checks.positive("alpha", alpha)

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        self.y = np.where(x > 0, x, self.per_member(self.alpha, x) * np.expm1(np.minimum(x, 0)))
        return self.y

    def backward(self, g: Array) -> Array:
        return g * np.where(self.x > 0, 1, self.y + self.per_member(self.alpha, g))


class SELU(Layer):
    """``y = scale x`` where ``x >= 0``, else ``scale alpha (exp(x) - 1)`` (Klambauer et al. 2017).

    The constants are such that standard normal inputs give outputs of mean 0 and variance 1. With weights
    from ``lecun_normal`` each layer then brings mean and variance nearer to 0 and 1. ``AlphaDropout`` keeps
    them there. At 0, dy/dx is ``scale``, as in Keras; in PyTorch it is ``scale alpha``.
    """

    #: As in the authors' code (github.com/bioinf-jku/SNNs), rounded to float64.
    alpha = 1.6732632423543772
    scale = 1.0507009873554805

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        self.y = self.scale * np.where(x >= 0, x, self.alpha * np.expm1(np.minimum(x, 0)))
        return self.y

    def backward(self, g: Array) -> Array:
        return g * np.where(self.x >= 0, self.scale, self.y + self.scale * self.alpha)


class GELU(Layer):
    """``y = x Phi(x)``, Phi the distribution function of the normal distribution (Hendrycks and Gimpel 2016).

        exact          Phi(x) = (1 + erf(x / sqrt(2))) / 2              dy/dx = Phi(x) + x phi(x)
        approximate    Phi(x) ~ (1 + tanh(u)) / 2 = sigmoid(2 u),       u = sqrt(2 / pi) (x + 0.044715 x^3)

    phi is the density. The two differ by less than 0.0005. Keras rounds the constants sqrt(1/2) and 0.044715
    to float32, also in float64, so that its values differ by 1e-8.

    Parameters
    ----------
    approximate : False as in Keras and PyTorch (there ``approximate="none"``), or True (``"tanh"``).

    Raises
    ------
    TypeError : ``approximate`` is not True or False.
    """

    def __init__(self, approximate: bool = False) -> None:
        if not isinstance(approximate, bool):
            raise TypeError(f"approximate: expected True or False, got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Array, train: bool) -> Array:
        self.x = x
        near = np.clip(x, -40, 40)  # powers of a large x overflow; Phi is 0 or 1 long before
        self.square = near * near
        if self.approximate:
            u = math.sqrt(2 / math.pi) * near * (1 + 0.044715 * self.square)
            self.gate = expit(2 * u)
        else:
            self.gate = ndtr(x)
        return x * self.gate

    def backward(self, g: Array) -> Array:
        if self.approximate:
            slope = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * self.square) * self.gate * (1 - self.gate)
        else:
            slope = np.exp(-0.5 * self.square) / math.sqrt(2 * math.pi)
        return g * (self.gate + self.x * slope)


class SiLU(Layer):
    """``y = x s`` with ``s = sigmoid(x)``, also called swish; ``dy/dx = s + x s (1 - s)``.

    A smooth ReLU that dips to -0.28 at x = -1.28 (Elfwing, Uchibe and Doya 2018).
    """

    def forward(self, x: Array, train: bool) -> Array:
        self.x, self.gate = x, expit(x)
        return x * self.gate

    def backward(self, g: Array) -> Array:
        return g * (self.gate + self.x * self.gate * (1 - self.gate))


class Tanh(Layer):
    """``y = tanh(x)``; ``dy/dx = 1 - y^2``."""

    def forward(self, x: Array, train: bool) -> Array:
        self.y = np.tanh(x)
        return self.y

    def backward(self, g: Array) -> Array:
        return g * (1 - self.y * self.y)


class Sigmoid(Layer):
    """``y = 1 / (1 + exp(-x))``, written with tanh so that no x overflows; ``dy/dx = y (1 - y)``."""

    def forward(self, x: Array, train: bool) -> Array:
        self.y = 0.5 + 0.5 * np.tanh(0.5 * x)
        return self.y

    def backward(self, g: Array) -> Array:
        return g * (self.y * (1 - self.y))
