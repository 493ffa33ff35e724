r"""Residual blocks: what some layers compute is added to their input.

    y = x + scale * branch(x)
    dJ/dx = g + scale * J_branch^T g

The gradient has a way back that no layer touches, so it does not vanish with depth (He et al. 2016a). As
in He et al. (2016b), no activation follows the sum; the first paper's is a ``ReLU()`` after the block.

How large is y? If the branch gives back values as large as it gets and not correlated with them, as
``ReLU(), Dense(n, n)`` does with He's weights, then each block multiplies the mean square by

    1 + scale^2

forward, and that of the gradient on the way back: with ``scale = 1`` it doubles from block to block, and
after 50 blocks values are 2^25 times as large. With ``scale = 1 / sqrt(depth)`` all blocks together make it
``(1 + 1 / depth)^depth < e`` times as large. Batch normalization in the branches has a similar effect
(De and Smith 2020).
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.dropout import RandomLayer
from regularize.layers import Layer


class Residual(RandomLayer):
    r"""``y = x + scale * branch(x)``, where the branch is the given layers, one after the other.

    With a ``drop_rate`` p the block has stochastic depth (Huang et al. 2016): in training, each example skips
    the branch with probability p, and the branch of the others is enlarged to keep the mean,

        y = x + m scale branch(x) / (1 - p),    m = 0 with probability p, else 1

    In evaluation all branches work, and nothing is scaled. The paper drops a block for a whole batch at once,
    which saves its computation, leaves it as it is otherwise, and scales it by 1 - p in evaluation; here (as
    with ``torchvision.ops.stochastic_depth(mode="row")``) each example has its own mask. In the paper p grows
    with depth: of L blocks the l-th has ``p = 0.5 l / L``.

    Parameters
    ----------
    *layers : the branch. Its output must have the shape of its input.
    scale : a number >= 0, or an array that broadcasts to lead.
    drop_rate : a number in [0, 1), or an array that broadcasts to lead.

    Attributes
    ----------
    mask : ``lead + (B,)``, the last one: 1 keeps an example's branch, 0 drops it. To bring one along, set
        ``mask`` and ``replay = True``.

    Raises
    ------
    TypeError, ValueError : no layers, or things that are none; a scale or rate out of range; when the network
        is made, a branch that changes the shape; in training, a given mask that does not fit.
    """

    hyperparameters = ("scale", "drop_rate")

    def __init__(self, *layers: Layer, scale: ArrayLike = 1.0, drop_rate: ArrayLike = 0.0) -> None:
        if not layers:
            raise ValueError("layers: expected at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: expected Layer objects, got {layer!r}")
        self.children = layers
        self.scale = checks.nonnegative("scale", scale)
        self.drop_rate = checks.rate("drop_rate", drop_rate)

    def output_shape(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        out = self._after_branch(shape)
        if shape is None:  # what comes out of the branch must fit into it again
            shape, out = out, self._after_branch(out)
        if out != shape:
            raise ValueError(f"Residual: expected layers that keep the shape {shape}, got {out}")
        return out

    def _after_branch(self, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for layer in self.children:
            shape = layer.output_shape(shape)
        return shape

    def forward(self, x: Array, train: bool) -> Array:
        self.factor = self.per_member(self.scale, x)
        if train or self.sampling:
            self.factor = self.factor * self._kept(x)
        y = x
        for layer in self.children:
            y = layer.forward(y, train)
        return x + self.factor * y

    def backward(self, g: Array) -> Array:
        h = self.factor * g
        for layer in reversed(self.children):
            h = layer.backward(h)
        return g + h

    def draw(self, shape: tuple[int, ...]) -> Array:
        u = self.noise.uniform(shape)  # also at p = 0: what other layers draw must not depend on p
        return u >= self.per_member(self.drop_rate, u)

    def _kept(self, x: Array) -> Array:
        """``m / (1 - p)``, shaped to multiply x."""
        mask = self.next_mask(x.shape[len(self.lead) : len(self.lead) + 1])
        mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
        return mask * self.per_member(1 / (1 - self.drop_rate), x)
