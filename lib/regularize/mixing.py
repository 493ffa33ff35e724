r"""Mixing: training on mixtures of examples, or of labels.

Mixup and CutMix pair each example of a batch with a partner, drawn by a permutation of the batch, and mix the
targets as they mix the inputs. Label smoothing mixes each target with the uniform distribution. All three are
augmentations (see ``regularize.augmentation``): ``fit(..., augment=Mixup(0.2))``.

With ``cross_entropy``, a mixed target is the same as a mixed loss, which is linear in the target. Accuracy on
mixed batches means little; ``evaluate`` is for clean data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from regularize import checks
from regularize.augmentation import Augmentation, ImageAugmentation, per_member
from regularize.checks import Array
from regularize.geometry import box
from regularize.streams import Streams
from regularize.training import take


class Mixup(Augmentation):
    r"""Weighted means of pairs of examples (Zhang, Cisse, Dauphin and Lopez-Paz 2018).

        x <- s x + (1 - s) x',    y <- s y + (1 - s) y',    s from Beta(alpha, alpha)

    Each member draws one share s for the whole batch, as the authors' code does (Keras draws one for each
    example). The partner x' comes from a permutation of the batch, so the batch keeps its mean.

    Parameters
    ----------
    alpha : >= 0, a number or an array that broadcasts to lead. 0 mixes nothing, 1 makes s uniform. 0.2 is
        Keras's default; the authors' code for CIFAR-10 takes 1.

    Raises
    ------
    ValueError : a negative, NaN or infinite alpha; when called, targets without a row for each example.
    """

    def __init__(self, alpha: ArrayLike = 0.2) -> None:
        self.alpha = checks.nonnegative("alpha", alpha)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        y = _targets(x, y, noise)
        share, partner = _share(self.alpha, noise), noise.permutation(x.shape[-2])
        return _mix(x, take(x, partner), share), _mix(y, take(y, partner), share)


class CutMix(ImageAugmentation):
    r"""A rectangle of each image is replaced by the same rectangle of its partner (Yun et al. 2019).

    With s from Beta(alpha, alpha), the rectangle has ``sqrt(1 - s)`` of the height and of the width,
    rounded, and lies around a pixel that is uniform over the image. What sticks out of the frame is lost.
    The targets are mixed by the share of the pixels that each image then has, exactly.

    Each member draws one rectangle for the whole batch, as the authors' code does. Keras draws one for each
    example, always inside the frame, and draws alpha itself from a range.

    Parameters
    ----------
    alpha : >= 0, a number or an array that broadcasts to lead. 0 mixes nothing; 1 makes s uniform, as
        in the paper.
    shape : (height, width) or (height, width, channels).

    Raises
    ------
    ValueError, TypeError : as ``Mixup``, and a bad shape or rows with another number of pixels.
    """

    def __init__(self, alpha: ArrayLike, shape: tuple[int, ...]) -> None:
        ImageAugmentation.__init__(self, shape)
        self.alpha = checks.nonnegative("alpha", alpha)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        y, images = _targets(x, y, noise), self.images(x)
        side = np.sqrt(1 - _share(self.alpha, noise)[..., 0])
        height, width = (np.rint(size * side) for size in self.shape[:2])
        inside = box(self.shape, height, width, noise, 1)
        partner = noise.permutation(x.shape[-2])
        mixed = np.where(inside[..., None], take(x, partner).reshape(images.shape), images)
        share = 1 - inside.mean((-1, -2))[..., None]
        return mixed.reshape(x.shape), _mix(y, take(y, partner), share)


class LabelSmoothing(Augmentation):
    r"""Targets that are never quite sure: ``(1 - amount) y + amount / k``, k classes (Szegedy et al. 2016).

    The same as the argument ``label_smoothing`` of cross-entropy in Keras and PyTorch. The loss is least at
    finite logits: the right class has probability ``1 - amount + amount / k`` there, and no more.

    Parameters
    ----------
    amount : in [0, 1], a number or an array that broadcasts to lead. The paper takes 0.1 (and 1000 classes).

    Raises
    ------
    ValueError : an amount out of range; fewer than two outputs.
    """

    def __init__(self, amount: ArrayLike = 0.1) -> None:
        self.amount = checks.fraction("amount", amount)

    def transform(self, x: Array, y: Array, noise: Streams) -> tuple[Array, Array]:
        y = _targets(x, y, noise)
        if y.shape[-1] < 2:
            raise ValueError("y: expected at least two classes, got one output")
        share = 1 - per_member("amount", self.amount, noise)
        return x, _mix(y, np.full_like(y, 1 / y.shape[-1]), share)


def _targets(x: Array, y: Array, noise: Streams) -> Array:
    y = checks.array("y", y, shape=(x.shape[-2], None))
    checks.broadcasts("y's leading axes", y.shape[:-2], noise.lead)
    return np.broadcast_to(y, noise.lead + y.shape[-2:])


def _share(alpha: ArrayLike, noise: Streams) -> Array:
    """One number from Beta(alpha, alpha) for each member, ``lead + (1, 1)``: where its CDF passes u."""
    alpha = per_member("alpha", alpha, noise)
    a = np.maximum(alpha, 1e-9)  # SciPy has no answer for much less; and there every share is 0 or 1
    return np.where(alpha > 0, betaincinv(a, a, noise.uniform((1, 1))), 1.0)


def _mix(a: Array, b: Array, share: Array) -> Array:
    """``share a + (1 - share) b``, in the precision of a."""
    share = share.astype(a.dtype)
    return share * a + (1 - share) * b
