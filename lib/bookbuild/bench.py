"""How fast is the library? Ratios, each measured side by side in this one run, medians over repeats.

    make bench                    all of it
    python -m bookbuild.bench lasso ridge

Two programs are timed in turn, A B A B, so that a machine that slows down slows both; the ratio
is taken pair by pair. A ratio above 1 says how many times faster the library is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from bookbuild import bench_methods
from regularize.linear import ridge
from regularize.network import mlp
from regularize.optimizers import Adam
from regularize.paths import lasso_path
from regularize.training import fit, in_chunks

Program = Callable[[], Any]


def seconds(program: Program) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


def compare(
    title: str, ours: Program, theirs: dict[str, Program], repeats: int, goals: dict[str, float]
) -> None:
    """Print how many times longer each rival takes, and whether that meets the goal, if there is one."""
    ours()  # the first run of anything pays for imports, compilation and cold caches
    mine: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in theirs}
    for rival in theirs.values():
        rival()
    for _ in range(repeats):
        mine.append(seconds(ours))
        for name, rival in theirs.items():
            ratios[name].append(seconds(rival) / mine[-1])
    print(f"{title}: {1000 * median(mine):.1f} ms (median of {repeats})")
    for name, values in ratios.items():
        low, high = min(values), max(values)
        line = f"  {median(values):6.2f} times faster than {name} (from {low:.2f} to {high:.2f})"
        if name in goals:
            line += f"; goal {goals[name]}: {'met' if median(values) >= goals[name] else 'MISSED'}"
        print(line, flush=True)


def networks(widths: tuple[int, ...], batch_size: int, goal: float, chunked: bool, seeds: int = 32) -> None:
    """32 seeds of a network, together here and one after another elsewhere: 1280 examples, 5 epochs."""
    import keras

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1280, widths[0])).astype(np.float32)
    y = np.eye(widths[-1], dtype=np.float32)[rng.integers(widths[-1], size=1280)]
    epochs = 5

    def train(some_seeds: Any) -> tuple[Any, ...]:
        net = mlp(*widths, seeds=some_seeds, dtype="float32")
        fit(net, x, y, Adam(), epochs=epochs, batch_size=batch_size)
        return (net.theta.sum(-1),)

    def ours() -> None:
        in_chunks(train, range(seeds)) if chunked else train(range(seeds))

    def keras_fits(**options: Any) -> Program:
        """The same compiled model again and again, which flatters Keras: 32 models would compile 32 times."""
        model = keras.Sequential([keras.Input((widths[0],))])
        for units in widths[1:-1]:
            model.add(keras.layers.Dense(units, activation="relu"))
        model.add(keras.layers.Dense(widths[-1]))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(), loss, **options)

        def run() -> None:
            for _ in range(seeds):
                model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)

        return run

    theirs: dict[str, Program] = {
        f"{seeds} Keras fit runs": keras_fits(),
        f"{seeds} Keras fit runs, an epoch in one call": keras_fits(steps_per_execution=1280 // batch_size),
    }
    goals = dict.fromkeys(theirs, goal)
    theirs.update(_torch_vmap(widths, x, y, epochs, batch_size, seeds))
    theirs.update(_jax_vmap(widths, x, y, epochs, batch_size, seeds))
    name = "-".join(map(str, widths))
    compare(f"{seeds} seeds of {name}, batch {batch_size}, Adam, float32", ours, theirs, 3, goals)


def _torch_vmap(widths: Any, x: Any, y: Any, epochs: int, batch_size: int, seeds: int) -> dict[str, Program]:
    try:
        import torch
        from torch.func import grad, vmap
    except ImportError:
        print("  (PyTorch is not installed: no comparison with torch.vmap)")
        return {}
    torch.set_num_threads(1)  # more of them fight TensorFlow's: ratios from 1 to 60
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y).argmax(-1)
    pairs = list(pairwise(widths))

    def loss(weights: Any, xb: Any, yb: Any) -> Any:
        h = xb
        for i, (w, b) in enumerate(weights):
            h = h @ w + b
            if i < len(weights) - 1:
                h = torch.relu(h)
        return torch.nn.functional.cross_entropy(h, yb)

    gradient = vmap(grad(loss))

    def train() -> None:
        weights = [(torch.randn(seeds, a, b) / a**0.5, torch.zeros(seeds, b)) for a, b in pairs]
        flat = [p for pair in weights for p in pair]
        means, squares, t = [torch.zeros_like(p) for p in flat], [torch.zeros_like(p) for p in flat], 0
        for _ in range(epochs):
            order = torch.stack([torch.randperm(len(x)) for _ in range(seeds)])
            for i in range(0, len(x), batch_size):
                rows = order[:, i : i + batch_size]
                t += 1
                step = 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
                found = [g for pair in gradient(weights, inputs[rows], targets[rows]) for g in pair]
                for p, g, m, v in zip(flat, found, means, squares, strict=True):
                    m.lerp_(g, 0.1)
                    v.lerp_(g * g, 0.001)
                    p.addcdiv_(m, v.sqrt().add_(1e-7), value=-step)

    return {"torch.vmap (one thread)": train}


def _jax_vmap(widths: Any, x: Any, y: Any, epochs: int, batch_size: int, seeds: int) -> dict[str, Program]:
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        print("  (JAX is not installed: no comparison with jax.vmap)")
        return {}
    inputs, targets = jnp.asarray(x), jnp.asarray(y)
    pairs = list(pairwise(widths))

    def loss(weights: Any, xb: Any, yb: Any) -> Any:
        h = xb
        for i, (w, b) in enumerate(weights):
            h = h @ w + b
            if i < len(weights) - 1:
                h = jax.nn.relu(h)
        return -(yb * jax.nn.log_softmax(h)).sum(-1).mean()

    def train_one(key: Any) -> Any:
        keys = jax.random.split(key, len(pairs) + 1)
        weights = [
            (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
            for k, (a, b) in zip(keys[1:], pairs, strict=True)
        ]
        count = len(x) // batch_size
        orders = jnp.stack([jax.random.permutation(k, len(x)) for k in jax.random.split(keys[0], epochs)])
        rows = orders[:, : count * batch_size].reshape(epochs * count, batch_size)
        zeros = jax.tree.map(jnp.zeros_like, weights)

        def step(state: Any, batch: Any) -> Any:
            weights, m, v, t = state
            g = jax.grad(loss)(weights, inputs[batch], targets[batch])
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            size = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
            return (weights, m, v, t), None

        return jax.lax.scan(step, (weights, zeros, zeros, 0.0), rows)[0][0]

    keys = jax.random.split(jax.random.key(0), seeds)
    program = jax.jit(jax.vmap(train_one))
    return {"jax.vmap": lambda: jax.block_until_ready(program(keys))}


def _regression(n: int, p: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p)) + 0.5 * rng.standard_normal((n, 1))
    y = x[:, :20] @ rng.standard_normal(20) + rng.standard_normal(n)
    return x - x.mean(0), y - y.mean()


def lasso() -> None:
    """The lasso at 100 values of lambda, against the same from scikit-learn's exact path."""
    from sklearn.linear_model import lars_path

    x, y = _regression(1000, 200)
    largest = np.abs(x.T @ y).max() / len(x)
    alphas = np.geomspace(largest, largest / 1000, 100)

    def ours() -> Any:
        return lasso_path(x, y, smallest=2 * alphas[-1]).at(2 * alphas).coef

    def theirs() -> Any:
        knots, _, coefs = lars_path(x, y, method="lasso", alpha_min=alphas[-1])
        return np.stack([np.interp(alphas, knots[::-1], row[::-1]) for row in coefs], -1)

    assert np.allclose(ours(), theirs(), atol=1e-8)
    compare("lasso path, 100 lambdas, 1000 x 200", ours, {"lars_path": theirs}, 15, {"lars_path": 1.0})


def ridges() -> None:
    """Ridge at 100 values of lambda, against 100 fits by scikit-learn."""
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    for name, (x, y) in {
        "1000 x 200": _regression(1000, 200),
        "diabetes": load_diabetes(return_X_y=True),
    }.items():
        lam = np.geomspace(1e-4, 1e3, 100)

        def ours(x: Any = x, y: Any = y, lam: Any = lam) -> Any:
            return ridge(x, y, lam).coef

        def theirs(x: Any = x, y: Any = y, lam: Any = lam) -> Any:
            return np.stack([Ridge(alpha=len(x) * one).fit(x, y).coef_ for one in lam])

        assert np.allclose(ours(), theirs(), atol=1e-6)
        compare(
            f"ridge, 100 lambdas, {name}", ours, {"100 fits of Ridge": theirs}, 7, {"100 fits of Ridge": 15.0}
        )


BENCHMARKS: dict[str, Program] = {
    "small": lambda: networks((64, 64, 10), 32, 40.0, chunked=False),
    "large": lambda: networks((64, 256, 256, 10), 128, 3.5, chunked=True),
    "lasso": lasso,
    "ridge": ridges,
    "arms": bench_methods.arms,
    "convolution": bench_methods.convolution,
    "memory": bench_methods.memory,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or BENCHMARKS:
        if wanted not in BENCHMARKS:
            sys.exit(f"no benchmark named {wanted!r}; there are: {', '.join(BENCHMARKS)}")
        BENCHMARKS[wanted]()
