r"""Dropout: in training, units are switched off at random; in evaluation, all of them work.

    training      y = m x / (1 - p),    m = 0 with probability p (the rate), else 1
    evaluation    y = x,                the mean of the training output over the masks m

A unit that is off has output 0 and passes no gradient back (Hinton et al. 2012; Srivastava et al. 2014).
As the first layer of a network it is input dropout. The rate is the probability to drop, as in Keras and
PyTorch; the p of Srivastava et al. is the probability to keep. It may be an array that broadcasts to lead.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, softmax

from regularize import checks
from regularize.checks import Array
from regularize.layers import Layer
from regularize.network import Network
from regularize.streams import Streams
from regularize.training import predict

#: What SELU tends to as x goes to minus infinity: minus its scale times its alpha.
SELU_FLOOR = -1.0507009873554805 * 1.6732632423543772


class RandomLayer(Layer):
    """A layer that draws a new mask in each training pass.

    ``mask`` is the last one: 1 keeps, 0 drops. To bring a mask along, set ``layer.mask = m`` and
    ``layer.replay = True``; m broadcasts to the shape of what it acts on. ``sampling`` makes the layer
    random in evaluation mode, too (see ``monte_carlo``).
    """

    hyperparameters: tuple[str, ...] = ("rate",)
    sampling: bool = False
    mask: Array | None = None
    noise: Streams
    factor: Array

    def __init__(self, rate: ArrayLike) -> None:
        self.rate = checks.rate("rate", rate)

    def initialize(self, network: Network) -> None:
        self.noise = network.noise

    def draw(self, shape: tuple[int, ...]) -> Array:
        """A new mask, ``lead + shape``."""
        u = self.noise.uniform(shape)  # also at rate 0: what other layers draw must not depend on the rate
        return u >= self.per_member(self.rate, u)

    def next_mask(self, shape: tuple[int, ...]) -> Array:
        """A new mask; while ``replay`` is True the one that is there, and ValueError if it does not fit."""
        if not self.replay:
            self.mask = self.draw(shape)
        if self.mask is None:
            raise ValueError("mask: expected one to use again, since replay is True, got None")
        try:
            return np.broadcast_to(self.mask, self.lead + shape)
        except ValueError:
            expected, got = self.lead + shape, np.shape(self.mask)
            raise ValueError(f"mask: expected a shape that broadcasts to {expected}, got {got}") from None

    def backward(self, g: Array) -> Array:
        return g * self.factor


class Dropout(RandomLayer):
    r"""Each unit of each example is dropped with probability p = ``rate``.

        scaling       training           evaluation
        "inverted"    m x / (1 - p)      x
        "standard"    m x                (1 - p) x

    Keras and PyTorch use inverted scaling, Srivastava et al. (2014) the standard one. The two networks are
    the same if with inverted scaling the weights that read the units are (1 - p) times as large, and SGD
    keeps them the same if the learning rate of those weights is (1 - p)^2 times as large.

    Raises
    ------
    TypeError, ValueError : a rate outside [0, 1), an unknown scaling, a given mask that does not fit.
    """

    def __init__(self, rate: ArrayLike, scaling: str = "inverted") -> None:
        super().__init__(rate)
        self.scaling = checks.choice("scaling", scaling, ("inverted", "standard"))

    def forward(self, x: Array, train: bool) -> Array:
        inverted, keep = self.scaling == "inverted", 1 - self.rate
        if train or self.sampling:
            mask, scale = self.next_mask(x.shape[len(self.lead) :]), 1 / keep if inverted else 1.0
            self.factor = np.multiply(mask, self.per_member(scale, x), dtype=x.dtype)
        else:
            self.factor = self.per_member(1.0 if inverted else keep, x)
        return x * self.factor


class SpatialDropout(Dropout):
    """Drops whole channels of images ``lead + (B, height, width, channels)``, with inverted scaling.

    Neighboring pixels of a channel say nearly the same, so dropping them one by one hides little
    (Tompson et al. 2015). Rows of features have no pixels: they raise ValueError, and want ``Dropout``.
    """

    def __init__(self, rate: ArrayLike) -> None:
        super().__init__(rate)

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is not None and len(shape) != 3:
            raise ValueError(f"SpatialDropout: expected images (height, width, channels), got shape {shape}")
        return shape

    def draw(self, shape: tuple[int, ...]) -> Array:
        self.output_shape(shape[1:])
        return RandomLayer.draw(self, (shape[0], 1, 1, shape[-1]))


class GaussianDropout(RandomLayer):
    """Multiplies each unit by normal noise of mean 1 and variance ``p / (1 - p)``, those of inverted dropout.

    No unit is ever quite off; evaluation is the identity (Srivastava et al. 2014). ``mask`` is the noise.
    """

    def draw(self, shape: tuple[int, ...]) -> Array:
        z = self.noise.normal(shape)
        return 1 + self.per_member(np.sqrt(self.rate / (1 - self.rate)), z) * z

    def forward(self, x: Array, train: bool) -> Array:
        random = train or self.sampling
        self.factor = np.asarray(self.next_mask(x.shape[len(self.lead) :]) if random else 1, x.dtype)
        return x * self.factor


class AlphaDropout(RandomLayer):
    r"""Dropout for SELU networks: it keeps mean 0 and variance 1 (Klambauer et al. 2017).

    A dropped unit takes the value that SELU has at minus infinity, c = -1.7581; then all are rescaled:

        y = a (m x + (1 - m) c) + b,    a = ((1 - p) (1 + p c^2))^(-1/2),    b = -a p c
    """

    def forward(self, x: Array, train: bool) -> Array:
        self.factor = self.per_member(1.0, x)
        if not (train or self.sampling):
            return x
        p, c = self.rate, SELU_FLOOR
        a = ((1 - p) * (1 + p * c**2)) ** -0.5
        scale, shift = self.per_member(a, x), self.per_member(-a * p * c, x)
        mask = self.next_mask(x.shape[len(self.lead) :])
        self.factor = np.multiply(mask, scale, dtype=x.dtype)
        return scale * np.where(mask, x, c) + shift


def monte_carlo(net: Network, x: ArrayLike, samples: int, batch_size: int = 256) -> Array:
    """Outputs ``(samples,) + lead + (n, k)`` with new masks each time (Gal and Ghahramani 2016).

    Only layers that draw masks are random; all others, such as batch normalization, are in evaluation mode.
    The network is left as it was, and so is its noise stream: training goes on as if nothing had been drawn,
    and a second call returns the same numbers.

    Raises
    ------
    TypeError, ValueError : no layer draws masks; fewer than one sample; bad x.
    """
    checks.integer("samples", samples)
    layers: list[Any] = [layer for layer in net.all_layers if hasattr(layer, "sampling")]
    if not layers:
        raise ValueError("net: expected a layer that draws masks, such as Dropout, got none")
    before, noise = [vars(layer).copy() for layer in layers], deepcopy(net.noise)
    try:
        for layer in layers:
            layer.sampling, layer.replay, layer.noise = True, False, noise
        return np.stack([predict(net, x, batch_size) for _ in range(samples)])
    finally:
        for layer, attributes in zip(layers, before, strict=True):
            vars(layer).clear()
            vars(layer).update(attributes)


class Uncertainty(NamedTuple):
    """What samples say about each example: ``mean: lead + (n, k)``, the others ``lead + (n,)``, in nats."""

    mean: Array
    entropy: Array
    mutual_information: Array


def uncertainty(samples: Array) -> Uncertainty:
    r"""How sure a classifier is, from logits ``z: (samples,) + lead + (n, k)``, such as ``monte_carlo``'s.

    With the entropy of probabilities ``H(q) = -sum of q_k log q_k``:

        mean                  q = mean of softmax(z) over the samples
        entropy               H(q): how undecided the prediction is, for whatever reason
        mutual information    H(q) - mean of H(softmax(z)): how far the samples disagree

    The last is 0 if all samples agree, and at most the entropy (Houlsby et al. 2011). The members of an
    ensemble are samples, too: ``uncertainty(predict(net, x))`` for a network with lead (S,).
    """
    if np.ndim(samples) < 3:
        raise ValueError(f"samples: expected shape (samples, ..., n, k), got shape {np.shape(samples)}")
    q = softmax(samples, axis=-1)
    mean = q.mean(0)
    entropy = entr(mean).sum(-1)
    return Uncertainty(mean, entropy, np.maximum(entropy - entr(q).sum(-1).mean(0), 0))
