"""Data sets and their splits: where every experiment of the book begins.

A comparison needs the same data in both arms and fresh data for every seed. ``split`` gives member s of an
ensemble its own random training, validation and test part, made from seed s alone and stacked on the
ensemble's leading axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regularize import checks
from regularize.streams import Streams

Array = NDArray[Any]

#: The names in Efron et al. (2004); scikit-learn calls map "bp" and the last six "s1" to "s6".
_DIABETES = ("age", "sex", "bmi", "map", "tc", "ldl", "hdl", "tch", "ltg", "glu")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table: n examples with d features and one target each.

    x : (n, d), float64 or float32. y : (n,), integer labels 0 .. classes - 1, or a regression's real targets.
    feature_names : d names. target_names : one name per class, empty for a regression.
    Raises ValueError or TypeError when these do not fit together.
    """

    x: Array
    y: Array
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        if self.classes == 1:
            raise ValueError(f"target_names: expected none or at least 2, got {self.target_names}")
        x = checks.array("x", self.x, ndim=2, shape=(None, len(self.feature_names)))
        y = checks.labels("y", self.y, self.classes) if self.classes else checks.array("y", self.y)
        if y.shape != x.shape[:1]:
            raise ValueError(f"y: expected one target per example, shape {x.shape[:1]}, got shape {y.shape}")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def classes(self) -> int:
        """The number of classes; 0 says that the target is a real number."""
        return len(self.target_names)


def load(name: str) -> Dataset:
    """A data set that comes with scikit-learn: no network is needed.

    "digits"         1797 images, 8 x 8 pixels, of digits handwritten by 13 people, 10 classes: the test set
                     of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998).
                     A pixel counts ink from 0 to 16; here it is divided by 16.
    "diabetes"       442 patients, 10 baseline measurements; target: disease progression one year later
                     (Efron, Hastie, Johnstone and Tibshirani, "Least angle regression", 2004). As published,
                     each column is centered and scaled to sum of squares 1 over *all* patients.
    "breast_cancer"  569 fine needle aspirates of breast masses, 30 measurements of the cell nuclei; 212
                     malignant (0), 357 benign (1): UCI's "Breast Cancer Wisconsin (Diagnostic)"
                     (W. H. Wolberg, W. N. Street and O. L. Mangasarian, 1993).
    "wine"           178 wines of one Italian region by three cultivators (59, 71, 48), 13 chemical
                     measurements: UCI's "Wine" (M. Forina et al., PARVUS, Genoa).

    MNIST and Fashion-MNIST are in ``regularize.mnist``. Raises ValueError for any other name.
    """
    from sklearn import datasets

    checks.choice("name", name, ("digits", "diabetes", "breast_cancer", "wine"))
    table = getattr(datasets, f"load_{name}")()
    x = table.data / 16 if name == "digits" else table.data
    features = _DIABETES if name == "diabetes" else tuple(map(str, table.feature_names))
    targets = () if name == "diabetes" else tuple(map(str, table.target_names))
    return Dataset(x, table.target, features, targets, name)


def published_diabetes() -> Dataset:
    """The diabetes data as Efron et al. (2004) had them: what it takes to reproduce published figures.

    scikit-learn's file rounds two columns: ltg, the logarithm of a whole number, to four decimals, and map,
    a multiple of 1/3, to two. Here both are restored. Each column is centered and has length 1.
    """
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    ltg, blood_pressure = _DIABETES.index("ltg"), _DIABETES.index("map")
    x[:, ltg] = np.log(np.rint(np.exp(x[:, ltg])))
    x[:, blood_pressure] = np.rint(3 * x[:, blood_pressure]) / 3
    x -= x.mean(0)
    return Dataset(x / np.linalg.norm(x, axis=0), y, _DIABETES, (), "diabetes")


def one_hot(labels: ArrayLike, classes: int, dtype: Any = np.float64) -> Array:
    """Labels lead + (n,) as rows of zeros with a one at the label, lead + (n, classes)."""
    classes = checks.integer("classes", classes, low=2)
    return np.eye(classes, dtype=checks.dtype(dtype))[checks.labels("labels", labels, classes)]


def standardize(train: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """(x - mean) / sd, with each feature's mean and standard deviation from the *training* part alone.

    Statistics of all the data would let the test part leak into training. Every array is lead + (n, d) and
    each member has its own mean and sd (dividing by n, not n - 1). A feature that is constant in the training
    part is only centered. Returns as many arrays as were given. Raises ValueError where shapes do not match.
    """
    train = checks.array("train", train, min_ndim=2)
    lead, d = train.shape[:-2], train.shape[-1]
    rest = [checks.array(f"others[{i}]", x, shape=(None, d)) for i, x in enumerate(others)]
    for i, x in enumerate(rest):
        checks.broadcasts(f"others[{i}]", x.shape[:-2], lead)
    first = train[..., :1, :]
    # Rounding gives a constant feature a tiny standard deviation instead of 0: compare the values themselves.
    constant = (train == first).all(axis=-2, keepdims=True)
    mean = np.where(constant, first, train.mean(axis=-2, keepdims=True))
    sd = np.where(constant, 1, train.std(axis=-2, keepdims=True))
    return tuple((x - mean) / sd for x in (train, *rest))


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split.

    x : lead + (n, d). y : lead + (n, classes), one-hot, or lead + (n, 1) for a regression, of which linear
    models take ``y[..., 0]``.
    labels : lead + (n,), the labels that y encodes, wrong ones included; None for a regression.
    index : lead + (n,), the rows of the data set; ``dataset.y[part.index]`` are the clean targets.
    """

    x: Array
    y: Array
    labels: Array | None
    index: Array

    def __iter__(self) -> Iterator[Array]:
        """Inputs and targets: ``fit(net, *data.train, ...)``, ``evaluate(net, *data.test)``."""
        return iter((self.x, self.y))


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one random split per seed. ``validation`` is None where none was asked for."""

    train: Part
    validation: Part | None
    test: Part


def split(
    dataset: Dataset,
    seeds: ArrayLike,
    *,
    train: int,
    test: int,
    validation: int = 0,
    label_noise: float = 0.0,
    noise_kind: str = "wrong",
    noisy_validation: bool = True,
    standardize: bool = False,
) -> Split:
    """A random split for every seed, without replacement, stacked on the seeds' axes.

    Member s depends on seed s alone. The examples are shuffled once and dealt in the order test, validation,
    train. So with equal test and validation sizes a smaller training part is the beginning of a larger one,
    and a curve over the sample size is paired.

    Parameters
    ----------
    train, test, validation : numbers of examples.
    label_noise : the share of labels to replace, in [0, 1]: exactly round(share * n) in each noisy part.
        Each seed has one order in which examples go wrong: a larger share replaces the same ones and more.
    noise_kind : "wrong" draws one of the other classes; "random" draws any class and so hits the right one by
        chance, as in Zhang et al., "Understanding deep learning requires rethinking generalization" (2017).
    noisy_validation : whether the validation labels are as noisy as the training labels, as they are where
        both come from the same source. Test labels are always clean.
    standardize : scale the features by the training part's mean and sd (see ``standardize``). Targets stay.

    Raises ValueError when the data set is too small, when label_noise is asked of a regression, or when a
    value is out of range; TypeError for values of the wrong kind.
    """
    sizes = _sizes(dataset, train, test, validation)
    share = _share(dataset, label_noise)
    kind = checks.choice("noise_kind", noise_kind, ("wrong", "random"))
    order = Streams(seeds, "data").permutation(len(dataset))
    ends = np.cumsum([*sizes.values()])
    index = {part: order[..., end - sizes[part] : end] for part, end in zip(sizes, ends, strict=True)}
    targets = {part: dataset.y[rows] for part, rows in index.items()}
    if share:
        rank, drawn = _label_draws(dataset, seeds, kind)
        for part in ("validation", "train") if noisy_validation else ("train",):
            targets[part] = _replace_labels(targets[part], index[part], rank, drawn, share)
    parts = {part: _part(dataset, targets[part], index[part]) for part in sizes if sizes[part]}
    if standardize:
        parts = _standardized(parts)
    return Split(parts["train"], parts.get("validation"), parts["test"])


def _sizes(dataset: Dataset, train: int, test: int, validation: int) -> dict[str, int]:
    sizes = {
        "test": checks.integer("test", test),
        "validation": checks.integer("validation", validation, low=0),
        "train": checks.integer("train", train),
    }
    total = sum(sizes.values())
    if total > len(dataset):
        raise ValueError(
            f"train + validation + test: expected at most {len(dataset)}, the examples that {dataset.name!r} "
            f"has, got {train} + {validation} + {test} = {total}"
        )
    return sizes


def _share(dataset: Dataset, label_noise: float) -> float:
    share = checks.fraction("label_noise", label_noise)
    if np.ndim(share):
        raise TypeError(f"label_noise: expected one number, got an array of shape {np.shape(share)}")
    if share and not dataset.classes:
        raise ValueError(f"label_noise: expected 0, as {dataset.name!r} is a regression, got {share}")
    return share


def _label_draws(dataset: Dataset, seeds: ArrayLike, kind: str) -> tuple[Array, Array]:
    """For every example of the data set, whatever the sizes and the share: its turn, and its noisy label."""
    n, classes = len(dataset), dataset.classes
    streams = Streams(seeds, "labels")
    rank = streams.permutation(n)
    if kind == "random":
        return rank, streams.integers(classes, (n,))
    # Moving on by 1 .. classes - 1 reaches each of the other classes with equal probability.
    return rank, (dataset.y + 1 + streams.integers(classes - 1, (n,))) % classes


def _replace_labels(labels: Array, index: Array, rank: Array, drawn: Array, share: float) -> Array:
    """Give the round(share * n) examples whose turn comes first their noisy labels."""
    turn = np.take_along_axis(rank, index, -1).argsort(-1).argsort(-1)  # 0 .. n - 1 within this part
    return np.where(turn < round(share * index.shape[-1]), np.take_along_axis(drawn, index, -1), labels)


def _part(dataset: Dataset, target: Array, index: Array) -> Part:
    x = dataset.x[index]
    if not dataset.classes:
        return Part(x, target[..., None], None, index)
    return Part(x, one_hot(target, dataset.classes, x.dtype), target, index)


def _standardized(parts: dict[str, Part]) -> dict[str, Part]:
    names = ["train", *(name for name in parts if name != "train")]
    scaled = standardize(*(parts[name].x for name in names))
    return {name: replace(parts[name], x=x) for name, x in zip(names, scaled, strict=True)}
