"""How fast are the methods? The arms of a comparison, all seeds at once here, seed after seed in Keras.

``bookbuild.bench`` lists these benchmarks. Keras trains a few of the seeds only, and its time is scaled to
all of them. It trains one compiled model again and again, which flatters it: as many models would compile as
often.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from regularize.activations import ReLU
from regularize.batch_norm import BatchNorm
from regularize.convolution import Conv2D, MaxPool
from regularize.dropout import Dropout
from regularize.geometry import Shift
from regularize.layers import Dense, Flatten, Layer, Reshape
from regularize.network import Network
from regularize.optimizers import Adam
from regularize.training import fit, in_chunks

N, EPOCHS = 1280, 5
Program = Callable[[], Any]


class Arm(NamedTuple):
    """One method in both libraries: our layers and augmentation, and Keras's layers after the input."""

    layers: Callable[[], list[Layer]]
    keras_layers: Callable[[Any], list[Any]]
    augment: Any = None


@cache
def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 64)).astype(np.float32)
    return x, np.eye(10, dtype=np.float32)[rng.integers(10, size=N)]


def _shifted(layers: Any) -> list[Any]:
    """Keras moves by fractions of a pixel and rounds to the nearest one; that costs it nothing."""
    move = layers.RandomTranslation(1 / 8, 1 / 8, fill_mode="constant", interpolation="nearest")
    return [layers.Reshape((8, 8, 1)), move, layers.Flatten()]


ARMS = {
    "no method": Arm(
        lambda: [Dense(64, 64), ReLU(), Dense(64, 10)],
        lambda k: [k.Dense(64, "relu"), k.Dense(10)],
    ),
    "dropout": Arm(
        lambda: [Dense(64, 64), ReLU(), Dropout(0.5), Dense(64, 10)],
        lambda k: [k.Dense(64, "relu"), k.Dropout(0.5), k.Dense(10)],
    ),
    "batch normalization": Arm(
        lambda: [Dense(64, 64), BatchNorm(64), ReLU(), Dense(64, 10)],
        lambda k: [k.Dense(64), k.BatchNormalization(), k.ReLU(), k.Dense(10)],
    ),
    "augmentation": Arm(
        lambda: [Dense(64, 64), ReLU(), Dense(64, 10)],
        lambda k: [*_shifted(k), k.Dense(64, "relu"), k.Dense(10)],
        Shift(1, shape=(8, 8)),
    ),
    "convolution": Arm(
        lambda: [
            Reshape(8, 8, 1), Conv2D(1, 32), ReLU(), MaxPool(), Conv2D(32, 64), ReLU(), MaxPool(),
            Conv2D(64, 64), ReLU(), Flatten(), Dense(256, 64), ReLU(), Dense(64, 10),
        ],
        lambda k: [
            k.Reshape((8, 8, 1)), k.Conv2D(32, 3, padding="same", activation="relu"), k.MaxPooling2D(),
            k.Conv2D(64, 3, padding="same", activation="relu"), k.MaxPooling2D(),
            k.Conv2D(64, 3, padding="same", activation="relu"),
            k.Flatten(), k.Dense(64, "relu"), k.Dense(10),
        ],
    ),
}  # fmt: skip


def _train(arm: Arm, seeds: Any, batch_size: int, epochs: int) -> tuple[Any, ...]:
    x, y = _data()
    net = Network(*arm.layers(), seeds=seeds, dtype="float32")
    fit(net, x, y, Adam(), epochs=epochs, batch_size=batch_size, augment=arm.augment)
    return (net.theta.sum(-1),)


def _keras_fits(arm: Arm, seeds: int, batch_size: int, epochs: int, **options: Any) -> Program:
    import keras

    x, y = _data()
    model = keras.Sequential([keras.Input((64,)), *arm.keras_layers(keras.layers)])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, **options)

    def run() -> None:
        for _ in range(seeds):
            model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)

    return run


def _times(program: Program) -> tuple[float, float]:
    """Seconds on the clock, and of computing: the second counts every thread, and no one else's work."""
    start = time.perf_counter(), time.process_time()
    program()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def race(
    name: str, *, seeds: int, few: int, goal: float | None, batch_size: int = 32, epochs: int = EPOCHS,
    chunk: int | None = None, repeats: int = 3,
) -> None:  # fmt: skip
    """Print how many times faster ``seeds`` seeds of an arm train here, on one thread, than in Keras."""
    arm, scale = ARMS[name], seeds / few

    def ours() -> None:
        if chunk is None:
            _train(arm, range(seeds), batch_size, epochs)
        else:
            in_chunks(lambda some: _train(arm, some, batch_size, epochs), range(seeds), size=chunk, threads=1)

    theirs = {
        "Keras fit runs": _keras_fits(arm, few, batch_size, epochs),
        "Keras fit runs, an epoch in one call": _keras_fits(
            arm, few, batch_size, epochs, steps_per_execution=-(-N // batch_size)
        ),
    }
    for program in (ours, *theirs.values()):
        program()  # the first run of anything pays for imports, compilation and cold caches
    mine: list[float] = []
    ratios: dict[str, list[tuple[float, float]]] = {rival: [] for rival in theirs}
    for _ in range(repeats):
        wall, computing = _times(ours)
        mine.append(wall)
        for rival, program in theirs.items():
            their_wall, their_computing = _times(program)
            ratios[rival].append((scale * their_wall / wall, scale * their_computing / computing))
    print(
        f"{seeds} seeds, {name}, batch {batch_size}, {epochs} epochs, Adam, float32: "
        f"{1000 * median(mine):.0f} ms (median of {repeats})"
    )
    for rival, values in ratios.items():
        ratio, computing = (median(column) for column in zip(*values, strict=True))
        low, high = min(values)[0], max(values)[0]
        line = f"  {ratio:6.2f} times faster than {seeds} {rival} (from {low:.2f} to {high:.2f}; "
        line += f"{computing:.2f} in processor time)"
        if goal is not None:
            line += f"; goal {goal}: {'met' if ratio >= goal else 'MISSED'}"
        print(line, flush=True)


def arms() -> None:
    """32 seeds of 64-64-10 with dropout, batch normalization, or shifted images in every batch."""
    for name in ("dropout", "batch normalization", "augmentation"):
        race(name, seeds=32, few=4, goal=20.0)


def convolution() -> None:
    """20 seeds of a small convolutional network, on one thread; Keras takes as many as it likes."""
    for batch_size in (32, 64):
        race("convolution", seeds=20, few=4, goal=1.0, batch_size=batch_size, epochs=1, chunk=4)


def memory() -> None:
    """The largest memory that one epoch of ``fit`` holds at a time, for each member."""
    for name, arm in ARMS.items():
        for seeds in (1, 4) if name == "convolution" else (1, 32):
            _train(arm, range(seeds), 32, epochs=0)
            tracemalloc.start()
            _train(arm, range(seeds), 32, epochs=1)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            net = Network(*arm.layers(), dtype="float32")
            own = peak / seeds
            print(f"{seeds:2} seeds, {name}, batch 32, float32: {own / 2**20:.2f} MB a member, ", end="")
            print(f"{own / net.theta.nbytes:.1f} times its parameters", flush=True)
