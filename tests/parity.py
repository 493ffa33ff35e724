"""200 steps of training, ours and Keras's, on the same batches, with numbers that float32 holds exactly.

Keras reads Python numbers as float32 even in a float64 model: with powers of two the arithmetic is
compared, and not the rounding of 0.01. The fixture ``keras`` (conftest) sets float64.
"""

import numpy as np

from regularize.keras_twin import cross_entropy_loss, from_keras, input_features, to_keras
from regularize.losses import cross_entropy
from regularize.network import Network
from regularize.streams import Streams
from regularize.training import fit

RATE, MOMENTUM, BETA1, BETA2, EPSILON = 2**-5, 0.875, 0.875, 1 - 2**-10, 2**-23
N, BATCH, EPOCHS = 70, 16, 40  # 5 batches an epoch, the last of 6: 200 steps


def data(features=8, classes=3, dtype="float64"):
    """70 examples whose class is a smooth function of their features."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, features))
    return x.astype(dtype), np.eye(classes, dtype=dtype)[(x[:, :classes] ** 2).argmax(1)]


def batches(seed, epochs=EPOCHS):
    """The rows of every batch, as ``fit`` draws them."""
    order = Streams(seed, "order")
    for _ in range(epochs):
        rows = order.permutation(N)
        for start in range(0, N, BATCH):
            yield rows[start : start + BATCH]


def relative(a, b):
    """The largest difference, relative to the largest entry of b."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def steps_in_keras(make, ours, theirs, *, seed=5, loss=cross_entropy, keras_loss=None, model=None, after=None,
                   finish=None, penalty=None, epochs=EPOCHS, dtype="float64", **seams):  # fmt: skip
    """The relative difference of parameters and moving statistics after 200 steps; the caller sets the limit.

    Parameters
    ----------
    make : ``seeds, dtype -> Network``, for example ``lambda **kw: Network(Dense(8, 3), **kw)``.
    ours, theirs : the two optimizers.
    model : ``net -> Keras model``, if not ``to_keras(net, penalty=penalty)``.
    after, finish : called with the Keras model after each step, and after the last.
    seams : passed to ``fit``.
    """
    net = make(seeds=seed, dtype=dtype)
    features = input_features(net)
    x, y = data(features, net.output_features(features), dtype)
    twin = model(net) if model else to_keras(net, penalty=penalty)
    start = net.theta.copy()
    twin.compile(optimizer=theirs, loss=(keras_loss or cross_entropy_loss()))
    fit(net, x, y, ours, epochs=epochs, batch_size=BATCH, loss=loss, penalty=penalty, **seams)
    for rows in batches(seed, epochs):
        twin.train_on_batch(x[rows], y[rows])
        if after:
            after(twin)
    if finish:
        finish(twin)
    assert relative(net.theta, start) > 0.05  # something was learned
    other: Network = make(seeds=seed, dtype=dtype)
    from_keras(twin, other)
    differences = [relative(net.theta, other.theta)]
    if net.state.size:
        differences.append(relative(net.state, other.state))
    return max(differences)
