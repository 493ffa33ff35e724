"""Training: one loop, and one seam for every regularizer of the book.

    data -> forward -> loss -> gradient -> update -> weights -> stopping

Read ``fit`` as the map of the book: each method occupies exactly one of its lines.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.losses import Loss, cross_entropy
from regularize.network import Network
from regularize.optimizers import Optimizer
from regularize.penalties import ElasticNet
from regularize.streams import Streams


class Stopping(Protocol):
    """When to stop. ``update`` is called after each epoch; ``finish`` once, after the last."""

    def update(self, net: Network, epoch: int) -> bool:
        """True when no member wants to go on."""

    def finish(self, net: Network) -> None:
        """For example, put the best weights back."""


class Average(Protocol):
    """A running average of the weights: ``update`` after each step, ``finish`` after the last epoch."""

    def begin(self) -> None:
        """Forget what another run, also one that was interrupted, has left."""

    def update(self, net: Network) -> None: ...

    def finish(self, net: Network) -> None:
        """For example, put the average in the place of the weights."""


def backpropagate(net: Network, x: Array, y: Array, loss: Loss) -> Array:
    """The gradient of the mean loss of one batch, into ``net.grad``. Returns the gradient for ``x``."""
    outputs = net(x, train=True)
    _, g = loss(outputs, y)
    return net.backward(g)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # divergence is one error, at the end
def fit(
    net: Network,
    x: ArrayLike,
    y: ArrayLike,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int,
    augment: Callable[[Array, Array, Streams], tuple[Array, Array]] | None = None,
    loss: Loss = cross_entropy,
    gradient: Callable[[Network, Array, Array, Loss], Any] = backpropagate,
    penalty: ElasticNet | None = None,
    proximal: bool = False,
    clip: Callable[[Network], None] | None = None,
    decay: Callable[[Network, ArrayLike], None] | None = None,
    constrain: Callable[[Network], None] | None = None,
    average: Average | None = None,
    schedule: Callable[[int], ArrayLike] | None = None,
    stopping: Stopping | None = None,
    watch: Callable[[Network], Any] | None = None,
    diverged: str = "raise",
) -> list[Any]:
    """Train every member of an ensemble by mini-batch gradient descent.

    Parameters
    ----------
    net : the ensemble, changed in place. Dropout, batch normalization, residual blocks are its layers.
    x, y : ``(n, features)`` and ``(n, k)``, shared by all members, or with leading axes that
        broadcast to ``net.lead``. With ``cross_entropy``, rows of y are one-hot or soft labels.
    optimizer : a fresh ``SGD`` or ``Adam``.
    epochs, batch_size : each epoch visits every example once, in an order of each member's own;
        the last batch of an epoch may be smaller.
    augment : ``(x, y, noise) -> (x, y)``, applied to each batch; several: ``Compose``.
    loss : ``(outputs, y) -> (value, gradient)``: ``cross_entropy`` or ``squared_error``.
    gradient : ``(net, x, y, loss)``, fills ``net.grad``: ``backpropagate``, or a method that takes another
        gradient (sharpness-aware minimization, a gradient penalty).
    penalty, proximal : add the penalty's gradient to the loss's, or take the penalty's proximal
        step after each update (exact for SGD; with Adam a shrinkage by the learning rate).
    clip : ``(net)``, changes ``net.grad`` in place, before the update.
    decay : ``(net, learning_rate)``, shrinks the weights beside the gradient step.
    constrain : ``(net)``, changes the weights in place, after the update. For two of them:
        ``constrain=lambda net: (adaptive(net), max_norm(net))``.
    average : an object that follows the weights after each step: ``EMA``, ``SWA``.
    schedule : ``epoch -> factor`` of the learning rate.
    stopping : an object that decides after each epoch whether to go on: ``EarlyStopping``. Members that it
        gives other weights lose what ``average`` has put there.
    watch : ``(net)``, what to note after each epoch.
    diverged : what to do when members end with NaN or infinite weights. "raise" an error, or "keep" them
        as NaN: a diverged run is a result, too, when learning rates are compared.

    Returns
    -------
    The list of what ``watch`` returned, one entry an epoch (empty without ``watch``).

    Raises
    ------
    ValueError : data of the wrong shape, empty, NaN or infinite; labels that are not
        probabilities; leading axes or hyper-parameters that do not broadcast to ``net.lead``.
    FloatingPointError : the weights became NaN or infinite: training diverged.
    """
    x, y = check_data(net, x, y, loss)
    _check_hyperparameters(net, optimizer, penalty, proximal)
    _check_seams(
        {"augment": augment, "gradient": gradient, "clip": clip, "decay": decay, "constrain": constrain,
         "schedule": schedule, "watch": watch},
        {"average": average, "stopping": stopping},
    )  # fmt: skip
    checks.choice("diverged", diverged, ("raise", "keep"))
    n, history, full_rate = x.shape[-2], [], optimizer.learning_rate
    batch_size = min(checks.integer("batch_size", batch_size), n)
    epochs = checks.integer("epochs", epochs, low=0)
    if average:
        average.begin()
    try:
        for epoch in range(epochs):
            if schedule:
                optimizer.learning_rate = full_rate * np.asarray(schedule(epoch))
            order = net.order.permutation(n)
            for start in range(0, n, batch_size):
                rows = order[..., start : start + batch_size]
                xb, yb = take(x, rows), take(y, rows)
                if augment:
                    xb, yb = augment(xb, yb, net.noise)
                gradient(net, xb, yb, loss)
                if penalty and not proximal:
                    net.grad += penalty.gradient(net.theta, net.penalized)
                if clip:
                    clip(net)
                if decay:
                    decay(net, optimizer.learning_rate)
                optimizer.step(net.theta, net.grad)
                if penalty and proximal:
                    net.theta[...] = penalty.prox(net.theta, optimizer.learning_rate, net.penalized)
                if constrain:
                    constrain(net)
                if average:
                    average.update(net)
            if watch:
                history.append(watch(net))
            if stopping and stopping.update(net, epoch):
                break
        try:
            if average:
                average.finish(net)
        finally:
            if stopping:
                stopping.finish(net)
    finally:
        optimizer.learning_rate = full_rate
    _check_finite(net, diverged)
    return history


class Scores(NamedTuple):
    """One entry a member, shape lead."""

    loss: Array
    accuracy: Array


def evaluate(net: Network, x: ArrayLike, y: ArrayLike, loss: Loss = cross_entropy) -> Scores:
    """The mean data loss and the share of right answers of each member, in evaluation mode.

    The loss is the data loss alone; Keras's ``evaluate`` adds the penalty. The answer is the
    largest output; with a single output there is no class, and the accuracy is NaN. So are both of a
    member that diverged.
    """
    x, y = check_data(net, x, y, loss)
    z = predict(net, x)
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss(z, y)[0]
    classes = z.shape[-1] > 1 and np.isfinite(z).all((-1, -2))
    return Scores(value, np.where(classes, (z.argmax(-1) == y.argmax(-1)).mean(-1), np.nan))


def predict(net: Network, x: ArrayLike, batch_size: int = 256) -> Array:
    """The outputs ``lead + (n, k)`` in evaluation mode, computed in batches to save memory."""
    x = _check_inputs(net, x)
    checks.integer("batch_size", batch_size)
    with np.errstate(over="ignore", invalid="ignore"):  # members that diverged stay NaN
        return np.concatenate(
            [net(x[..., i : i + batch_size, :]) for i in range(0, x.shape[-2], batch_size)], axis=-2
        )


def in_chunks(
    run: Callable[[Array], tuple[Array, ...]], seeds: ArrayLike, *, size: int = 8, threads: int = 2
) -> tuple[Array, ...]:
    """Run an experiment on a few seeds at a time, and put the results together.

    ``run(some_seeds)`` returns arrays whose last axis is the members. Members do not depend on
    each other, so every chunking gives the same bits. Large networks run faster in chunks of
    about 8 members (they stay in the cache), and the chunks run on ``threads`` threads.
    """
    seeds = np.atleast_1d(checks.seeds(seeds))
    if seeds.ndim > 1:
        raise ValueError(f"seeds: expected one axis of seeds to cut into chunks, got shape {seeds.shape}")
    parts = [seeds[i : i + size] for i in range(0, len(seeds), checks.integer("size", size))]
    with ThreadPoolExecutor(checks.integer("threads", threads)) as pool:
        results = list(pool.map(run, parts))
    return tuple(np.concatenate(arrays, axis=-1) for arrays in zip(*results, strict=True))


def take(a: Array, rows: Array) -> Array:
    """Rows ``lead + (B,)`` of shared data ``(n, d)`` or of each member's own ``lead + (n, d)``."""
    if a.ndim == 2:
        return a[rows]
    members = np.ogrid[tuple(slice(size) for size in rows.shape)][:-1]
    return a[(*members, rows)]


def _check_inputs(net: Network, x: ArrayLike) -> Array:
    x = np.ascontiguousarray(checks.array("x", x, min_ndim=2, dtype=net.dtype))  # BLAS rounds by layout
    net.output_features(x.shape[-1])
    checks.broadcasts("x's leading axes", x.shape[:-2], net.lead)
    return x if x.ndim == 2 else np.broadcast_to(x, net.lead + x.shape[-2:])


def check_data(net: Network, x: ArrayLike, y: ArrayLike, loss: Loss) -> tuple[Array, Array]:
    """x and y as ``fit`` takes them, in the network's precision; or its errors."""
    x = _check_inputs(net, x)
    if not callable(loss):
        raise TypeError(f"loss: expected a function such as cross_entropy, got {loss!r}")
    targets = (x.shape[-2], net.output_features(x.shape[-1]))
    if np.ndim(y) == 1:
        raise ValueError(
            f"y: expected shape (..., {targets[0]}, {targets[1]}), got shape {np.shape(y)}; "
            "for labels write one_hot(y, classes), for one number each y[:, None]"
        )
    y = checks.array("y", y, min_ndim=2, shape=targets, dtype=net.dtype)
    checks.broadcasts("y's leading axes", y.shape[:-2], net.lead)
    if loss is cross_entropy and ((y < 0).any() or np.abs(y.sum(-1) - 1).max() > 1e-5):
        sums = f"entries from {y.min():g}, row sums from {y.sum(-1).min():g} to {y.sum(-1).max():g}"
        raise ValueError(f"y: expected one-hot or soft labels (rows >= 0 that sum to 1), got {sums}")
    return x, (y if y.ndim == 2 else np.broadcast_to(y, net.lead + y.shape[-2:]))


def _check_hyperparameters(
    net: Network, optimizer: Optimizer, penalty: ElasticNet | None, proximal: bool
) -> None:
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(f"optimizer: expected an object such as Adam(), got {optimizer!r}")
    if any(getattr(optimizer, memory, None) is not None for memory in ("velocity", "m")):
        raise ValueError("optimizer: expected a fresh one, got one that remembers another run")
    if isinstance(penalty, type) or not (penalty is None or hasattr(penalty, "gradient")):
        raise TypeError(f"penalty: expected an object such as L2(0.01), got {penalty!r}")
    if proximal and penalty is None:
        raise ValueError("proximal: expected a penalty to take the proximal step of, got penalty=None")
    for owner in (optimizer, penalty):
        for name, value in vars(owner).items() if owner is not None else ():
            if isinstance(value, float | np.ndarray):
                checks.broadcasts(f"{type(owner).__name__}.{name}", np.shape(value), net.lead)


#: What to write for each argument of ``fit`` that is a function or an object with methods.
EXAMPLES = {
    "augment": "Compose(Shift(1, (8, 8)))", "gradient": "SAM(0.05)", "clip": "ClipGlobalNorm(1.0)",
    "decay": "WeightDecay(0.004)", "constrain": "MaxNorm(3.0)", "schedule": "cosine_cycles(10)",
    "watch": "lambda net: evaluate(net, x, y)", "average": "EMA(0.99)",
    "stopping": "EarlyStopping(x, y, Patience(10))",
}  # fmt: skip


def _check_seams(functions: dict[str, Any], objects: dict[str, Any]) -> None:
    for name, function in functions.items():
        if function is not None or name == "gradient":
            checks.function(name, function, EXAMPLES[name])
    for name, thing in objects.items():
        fits = hasattr(thing, "update") and hasattr(thing, "finish")
        if isinstance(thing, type) or not (thing is None or fits):
            raise TypeError(f"{name}: expected an object such as {EXAMPLES[name]}, got {thing!r}")


def _check_finite(net: Network, diverged: str) -> None:
    bad = ~np.isfinite(net.theta).all(-1)
    if diverged == "keep":
        net.theta[bad] = np.nan
    elif bad.any():
        raise FloatingPointError(
            f"training diverged: the weights of {int(bad.sum())} of {bad.size} members are NaN or infinite "
            f"(seeds {net.seeds[bad].tolist()[:5]}); a smaller learning rate may help, or diverged='keep'"
        )
