r"""Weight decay: each step shrinks the weights by a fixed share, beside the gradient and not through it.

    theta <- theta - learning_rate * decay * theta        on the weights; biases stay

and then the optimizer's step on the gradient of the loss alone. This is decoupled weight decay (Loshchilov
and Hutter 2019); with Adam it is AdamW. ``decay`` is a rate per step of the learning rate: without a
gradient, t steps leave ``(1 - learning_rate * decay)^t`` of each weight.

Decay or an L2 penalty? ``L2(lam)`` adds ``2 lam w`` to the gradient, and the optimizer makes a step of it.

- SGD without momentum: the same, with ``decay = 2 lam`` (Krogh and Hertz 1991).
- SGD with momentum mu: not the same. The penalty's pull is accumulated like every gradient, the decay's is
  not. On full batches decay comes to rest at the minimum for ``lam = (1 - mu) decay / 2``.
- Adam: there is no lam. Adam divides the penalty's pull by the size of the gradient, so that weights with
  large gradients hardly shrink; decay shrinks all weights by the same share.

What the tools call by that name:

    Keras     weight_decay of every optimizer        decoupled; also on biases, unless they are excluded:
                                                     optimizer.exclude_from_weight_decay(var_names=["bias"])
    Keras     AdamW                                  decoupled, default 0.004, epsilon 1e-7
    PyTorch   AdamW                                  decoupled, default 0.01, epsilon 1e-8
    PyTorch   weight_decay of SGD and Adam           coupled: an L2 penalty with lam = weight_decay / 2
    Keras     kernel_regularizer="l2"                an L2 penalty with lam = 0.01
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.network import Network
from regularize.penalties import per_member


class WeightDecay:
    """``fit(..., decay=WeightDecay(0.004))``: weights lose the share ``learning_rate * decay`` at each step.

    Parameters
    ----------
    decay : the rate, a number or an array that broadcasts to lead. The default is that of Keras's AdamW.
        A schedule of the learning rate slows the decay, too.

    Raises
    ------
    ValueError : a negative, NaN or infinite rate; when called, one that does not broadcast to lead.
    """

    def __init__(self, decay: ArrayLike = 0.004) -> None:
        self.decay = checks.nonnegative("decay", decay)

    def __call__(self, net: Network, learning_rate: ArrayLike) -> None:
        checks.broadcasts("WeightDecay.decay", np.shape(self.decay), net.lead)
        share = per_member(np.asarray(learning_rate) * self.decay, net.theta) * net.penalized
        net.theta -= share * net.theta  # not theta *= 1 - share: float32 keeps few digits of a small share
