"""Convolution and pooling: against loops that anyone can read, finite differences, Keras and PyTorch."""

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, WORST, seeds_of

from regularize import convolution
from regularize.activations import ReLU, Tanh
from regularize.convolution import AveragePool, Conv2D, GlobalAveragePool, MaxPool
from regularize.initialization import glorot_uniform, he_normal
from regularize.layers import Dense, Reshape
from regularize.network import Network
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.streams import Streams
from regularize.training import evaluate, fit, in_chunks, predict

#: Each layer with images that it takes: (height, width, channels).
LAYERS = {
    "Conv2D": (lambda: Conv2D(2, 3), (4, 3, 2)),
    "Conv2D even": (lambda: Conv2D(1, 2, size=2), (3, 4, 1)),
    "Conv2D stride": (lambda: Conv2D(2, 1, stride=2), (5, 4, 2)),
    "Conv2D valid": (lambda: Conv2D(1, 2, stride=2, padding="valid"), (6, 5, 1)),
    "Conv2D large": (lambda: Conv2D(1, 1, size=4), (2, 3, 1)),
    "Conv2D 1 x 1": (lambda: Conv2D(2, 2, size=1, stride=2), (3, 4, 2)),
    "MaxPool": (MaxPool, (5, 4, 2)),
    "MaxPool 3": (lambda: MaxPool(3), (3, 7, 1)),
    "MaxPool 1": (lambda: MaxPool(1), (2, 3, 1)),
    "AveragePool": (AveragePool, (5, 4, 2)),
    "AveragePool 3": (lambda: AveragePool(3), (3, 7, 1)),
    "GlobalAveragePool": (GlobalAveragePool, (3, 4, 2)),
}
each_layer = pytest.mark.parametrize(("make", "image"), LAYERS.values(), ids=LAYERS)
BATCH = 3


def images(shape, seed=1):
    """Values in a random order, no two closer than 0.01, so that finite differences meet no tie."""
    count = int(np.prod(shape))
    return 0.01 * (np.random.default_rng(seed).permutation(count) - count / 2).reshape(shape)


def whole(shape, seed=1, high=4):
    """Whole numbers: every order of summation gives the same bits, and there are ties."""
    return np.random.default_rng(seed).integers(-high, high, shape).astype(np.float64)


def normal(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def initialized(layer, lead=(), values=normal, dtype="float64"):
    """The layer in a network of its own, with random weights and biases."""
    net = Network(layer, seeds=seeds_of(lead), dtype=dtype)
    net.theta[...] = values(net.theta.shape, seed=2)
    return net


# ------------------------------------------------------------------------------------------------ gradients


def law_gradients_are_those_of_finite_differences(make, image, lead):
    layer = make()
    net, x = initialized(layer, lead), images((*lead, BATCH, *image))
    c = normal(layer.forward(x, True).shape, seed=3)

    def objective():
        return (c * layer.forward(x, True)).reshape(*lead, -1).sum(-1)

    objective()
    errors = [relative_error(layer.backward(c), numerical_gradient(objective, x, lead))]
    if net.theta.size:
        errors.append(relative_error(net.grad.copy(), numerical_gradient(objective, net.theta, lead)))
    assert max(errors) <= WORST, errors


@pytest.mark.parametrize("lead", LEADS)
@each_layer
def test_gradients_are_those_of_finite_differences(make, image, lead):
    law_gradients_are_those_of_finite_differences(make, image, lead)


# ------------------------------------------------------------------------------- the definition, in loops


def five_loops(x, W, b, stride, padding):
    """Convolution by its definition, with TensorFlow's formula of "SAME" padding, and its gradients."""
    size, (batch, height, width, _) = len(W), x.shape

    def zeros(n):
        total = max(size - (stride if n % stride == 0 else n % stride), 0) if padding == "same" else 0
        return total // 2, total - total // 2

    padded = np.pad(x, [(0, 0), zeros(height), zeros(width), (0, 0)])
    rows = range(0, padded.shape[1] - size + 1, stride)
    columns = range(0, padded.shape[2] - size + 1, stride)
    y = np.zeros((batch, len(rows), len(columns), W.shape[-1]))
    for n in range(batch):
        for r, top in enumerate(rows):
            for c, left in enumerate(columns):
                for k in range(W.shape[-1]):
                    y[n, r, c, k] = b[0, k]
                    for channel in range(W.shape[-2]):
                        window = padded[n, top : top + size, left : left + size, channel]
                        y[n, r, c, k] += (window * W[:, :, channel, k]).sum()
    return y


def law_convolution_is_what_the_loops_say(
    size=3, stride=2, padding="same", height=6, width=5, channels=(2, 3)
):
    """On whole numbers, exactly. The convolution is linear in x and in W: that gives the gradients, too."""
    layer = Conv2D(*channels, size, stride, padding)
    initialized(layer, values=whole)
    x = whole((2, height, width, channels[0]))
    if padding == "valid" and size > min(height, width):
        with refused("Conv2D", ValueError):
            layer.output_shape(x.shape[1:])
        return
    y = layer.forward(x, True)
    expected = five_loops(x, layer.W, layer.b, stride, padding)
    assert y.shape[1:] == layer.output_shape(x.shape[1:]) == expected.shape[1:]
    np.testing.assert_array_equal(y, expected)
    g, other = whole(y.shape, seed=4), whole(x.shape, seed=5)
    dx, no_bias = layer.backward(g), np.zeros_like(layer.b)
    assert (dx * other).sum() == (g * five_loops(other, layer.W, no_bias, stride, padding)).sum()
    other = whole(layer.W.shape, seed=6)
    assert (layer.dW * other).sum() == (g * five_loops(x, other, no_bias, stride, padding)).sum()
    np.testing.assert_array_equal(layer.db[0], g.sum((0, 1, 2)))


@settings(max_examples=60)
@given(
    size=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.sampled_from(["same", "valid"]),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 3)),
)
@example(size=2, stride=1, padding="same", height=3, width=3, channels=(1, 1))
@example(size=4, stride=3, padding="same", height=5, width=2, channels=(2, 1))
@example(size=1, stride=3, padding="same", height=5, width=7, channels=(1, 2))
@example(size=3, stride=1, padding="valid", height=3, width=2, channels=(1, 1))
@example(size=3, stride=2, padding="valid", height=3, width=6, channels=(1, 2))
def test_convolution_is_what_the_loops_say(size, stride, padding, height, width, channels):
    law_convolution_is_what_the_loops_say(size, stride, padding, height, width, channels)


def windows(x, size):
    """Every window of ``size`` x ``size``, cut out: ``(B, rows, columns, size^2, channels)``."""
    batch, height, width, channels = x.shape
    cut = np.empty((batch, height // size, width // size, size * size, channels))
    for r in range(height // size):
        for c in range(width // size):
            window = x[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
            cut[:, r, c] = window.reshape(batch, size * size, channels)
    return cut


sizes = st.integers(1, 3), st.integers(3, 7), st.integers(3, 7)


def law_max_pooling_takes_the_largest_and_the_first_of_equals(size=2, height=5, width=6):
    layer, x = MaxPool(size), whole((2, height, width, 3), high=2)
    y, cut = layer.forward(x, True), windows(x, size)
    np.testing.assert_array_equal(y, cut.max(3))
    assert y.shape[1:] == layer.output_shape(x.shape[1:])
    g = normal(y.shape)
    expected = np.zeros_like(cut)
    np.put_along_axis(expected, cut.argmax(3)[:, :, :, None], g[:, :, :, None], 3)
    dx = layer.backward(g)
    np.testing.assert_array_equal(windows(dx, size), expected)
    np.testing.assert_allclose(dx.sum(), g.sum(), rtol=1e-12)  # nothing flows to pixels that are not seen


@given(*sizes)
def test_max_pooling_takes_the_largest_and_the_first_of_equals(size, height, width):
    law_max_pooling_takes_the_largest_and_the_first_of_equals(size, height, width)


def law_average_pooling_takes_the_mean(size=2, height=5, width=6):
    layer, x = AveragePool(size), whole((2, height, width, 3))
    y = layer.forward(x, True)
    np.testing.assert_allclose(y, windows(x, size).mean(3), rtol=1e-14, atol=1e-15)
    assert y.shape[1:] == layer.output_shape(x.shape[1:])
    g = whole(y.shape)
    np.testing.assert_allclose(windows(layer.backward(g), size).sum(3), g, rtol=1e-14)
    np.testing.assert_allclose(layer.backward(g).sum(), g.sum(), rtol=1e-12, atol=1e-12)


@given(*sizes)
def test_average_pooling_takes_the_mean(size, height, width):
    law_average_pooling_takes_the_mean(size, height, width)


def law_global_average_pooling_takes_the_mean_of_the_image():
    layer, x = GlobalAveragePool(), normal((2, 3, 4, 5, 6))
    layer.lead = (2,)
    y = layer.forward(x, True)
    np.testing.assert_allclose(y, x.reshape(2, 3, 20, 6).sum(2) / 20, rtol=1e-13)
    assert y.shape[2:] == layer.output_shape((4, 5, 6)) == (6,)
    g = normal(y.shape)
    np.testing.assert_allclose(layer.backward(g), np.ones(x.shape) * g[:, :, None, None] / 20, rtol=1e-15)


def test_global_average_pooling_takes_the_mean_of_the_image():
    law_global_average_pooling_takes_the_mean_of_the_image()


def test_pooling_does_not_hide_a_nan():
    for layer in (MaxPool(), AveragePool(), GlobalAveragePool()):
        x = np.zeros((1, 4, 4, 1))
        x[0, 1, 0] = np.nan
        assert np.isnan(layer.forward(x, False)).sum() == 1


# ------------------------------------------------------------------------------------------------- theory


def law_a_valid_convolution_moves_with_the_image():
    """Translation equivariance: moving the image moves the output, at every position that still exists."""
    layer = Conv2D(2, 3, padding="valid")
    initialized(layer, values=whole)
    x = whole((2, 9, 8, 2))
    moved = layer.forward(np.ascontiguousarray(x[:, 2:, 1:]), True)
    np.testing.assert_array_equal(moved, layer.forward(x, True)[:, 2:, 1:])


def test_a_valid_convolution_moves_with_the_image():
    law_a_valid_convolution_moves_with_the_image()


def test_zeros_at_the_border_break_the_equivariance():
    """Which is why a network with "same" padding can know where in the image it is."""
    layer = Conv2D(1, 1)
    initialized(layer, values=whole)
    y = layer.forward(np.ones((1, 5, 5, 1)), True)[0, :, :, 0]
    assert np.ptp(y[1:-1, 1:-1]) == 0
    assert np.ptp(y) > 0


def law_a_1_x_1_convolution_is_a_dense_layer_at_every_position():
    lead, x = (3,), normal((3, BATCH, 4, 5, 2))
    convolution, dense = Conv2D(2, 6, size=1), Dense(2, 6)
    nets = [initialized(layer, lead) for layer in (convolution, dense)]
    y = convolution.forward(x, True)
    np.testing.assert_array_equal(y.reshape(3, -1, 6), dense.forward(x.reshape(3, -1, 2), True))
    g = normal(y.shape, seed=3)
    dx = dense.backward(g.reshape(3, -1, 6))
    np.testing.assert_allclose(convolution.backward(g).reshape(dx.shape), dx, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(nets[0].grad, nets[1].grad)


def test_a_1_x_1_convolution_is_a_dense_layer_at_every_position():
    law_a_1_x_1_convolution_is_a_dense_layer_at_every_position()


def test_a_convolution_as_large_as_the_image_is_a_dense_layer():
    layer, dense, x = Conv2D(2, 6, size=4, padding="valid"), Dense(32, 6), normal((BATCH, 4, 4, 2))
    for one in (layer, dense):
        initialized(one)
    y = layer.forward(x, True)
    assert y.shape == (BATCH, 1, 1, 6)
    np.testing.assert_array_equal(y[:, 0, 0], dense.forward(x.reshape(BATCH, -1), True))


# ------------------------------------------------------------------------------------------- the contract


def law_weights_start_as_drawn_and_biases_at_zero(init=he_normal, seeds=(0, 3)):
    layer = Conv2D(4, 5, 2, init=init)
    net = Network(layer, seeds=seeds)
    np.testing.assert_array_equal(layer.W, init(Streams(net.seeds, "init"), (2, 2, 4, 5)))
    assert not layer.b.any()
    assert layer.b.shape == (2, 1, 5)
    np.testing.assert_array_equal(net.penalized, np.arange(2 * 2 * 4 * 5 + 5) < 2 * 2 * 4 * 5)


@pytest.mark.parametrize("init", [he_normal, glorot_uniform])
def test_weights_start_as_drawn_and_biases_at_zero(init):
    law_weights_start_as_drawn_and_biases_at_zero(init)


def test_the_defaults():
    layer = Conv2D(1, 2)
    assert (layer.size, layer.stride, layer.padding, layer.init) == (3, 1, "same", he_normal)
    assert MaxPool().size == AveragePool().size == 2


def test_kernels_have_a_column_for_each_channel():
    layer = Conv2D(2, 5)
    (kernel,) = Network(layer, seeds=[0, 1]).kernels()
    np.testing.assert_array_equal(kernel, layer.W.reshape(2, 18, 5))
    assert np.shares_memory(kernel, layer.W)


@each_layer
def test_the_output_has_the_shape_that_was_announced(make, image):
    layer = make()
    initialized(layer, (2,))
    assert layer.forward(images((2, BATCH, *image)), False).shape == (2, BATCH, *layer.output_shape(image))
    assert layer.output_shape(None) is None


@each_layer
def test_a_layer_keeps_the_precision_of_its_network(make, image):
    layer = make()
    net = initialized(layer, (2,), dtype="float32")
    y = layer.forward(images((2, BATCH, *image)).astype(np.float32), True)
    assert y.dtype == layer.backward(y).dtype == net.grad.dtype == np.float32


@each_layer
def test_a_layer_leaves_what_it_is_given_as_it_is(make, image):
    layer, x = make(), images((BATCH, *image))
    net = initialized(layer)
    before, theta = x.copy(), net.theta.copy()
    g = normal(layer.forward(x, True).shape)
    kept = g.copy()
    layer.backward(g)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, kept)
    np.testing.assert_array_equal(net.theta, theta)


@each_layer
def test_training_and_evaluation_compute_the_same(make, image):
    layer, x = make(), images((BATCH, *image))
    initialized(layer)
    np.testing.assert_array_equal(layer.forward(x, True), layer.forward(x, False))


@each_layer
def test_backward_replaces_the_gradient_of_the_step_before(make, image):
    layer, x = make(), images((BATCH, *image))
    net = initialized(layer)
    g = normal(layer.forward(x, True).shape)
    first = layer.backward(g).copy(), net.grad.copy()
    for a, b in zip(first, (layer.backward(g), net.grad), strict=True):
        np.testing.assert_array_equal(a, b)


@each_layer
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_member_computes_the_same_bits_alone(make, image, dtype):
    lead = (2, 3)
    together, alone = make(), make()
    all_of_them, one = initialized(together, lead, dtype=dtype), initialized(alone, dtype=dtype)
    one.theta[...] = all_of_them.theta[1, 2]
    x = images((*lead, BATCH, *image)).astype(dtype)
    y = together.forward(x, True)
    np.testing.assert_array_equal(y[1, 2], alone.forward(x[1, 2], True))
    g = normal(y.shape).astype(dtype)
    np.testing.assert_array_equal(together.backward(g)[1, 2], alone.backward(g[1, 2]))
    np.testing.assert_array_equal(all_of_them.grad[1, 2], one.grad)


def law_windows_are_not_kept():
    """Nine times the image, for every layer and member, would be most of the memory of a network."""
    layer, x = Conv2D(4, 2), normal((5, BATCH, 6, 6, 4))
    initialized(layer, (5,))
    layer.backward(layer.forward(x, True))
    kept = [a for a in vars(layer).values() if isinstance(a, np.ndarray)]
    assert sum(a.size for a in kept if a.base is None) <= 2 * x.size


def test_windows_are_not_kept():
    law_windows_are_not_kept()


# --------------------------------------------------------------------------------------------- in networks


def cnn(seeds=0, dtype="float64"):
    """A small network with every layer of this module."""
    return Network(
        Reshape(6, 6, 1), Conv2D(1, 4), ReLU(), MaxPool(), Conv2D(4, 6, size=2, stride=2), Tanh(),
        AveragePool(1), Conv2D(6, 3, size=2, padding="valid"), GlobalAveragePool(), Dense(3, 3),
        seeds=seeds, dtype=dtype,
    )  # fmt: skip


def task(n=40, features=36, classes=3):
    x = normal((n, features))
    return x, np.eye(classes)[(x[:, :classes] ** 2).argmax(1)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_member_is_the_network_trained_alone(dtype):
    x, y = task()
    ensemble = cnn([[3, 1], [7, 5]], dtype)
    fit(ensemble, x, y, Adam(), epochs=2, batch_size=16)  # 40 = 16 + 16 + 8
    alone = cnn(7, dtype)
    fit(alone, x, y, Adam(), epochs=2, batch_size=16)
    np.testing.assert_array_equal(ensemble.theta[1, 0], alone.theta)
    assert np.abs(alone.theta - cnn(7, dtype).theta).max() > 1e-3
    np.testing.assert_array_equal(predict(ensemble, x)[1, 0], predict(alone, x))

    def run(seeds):
        net = cnn(seeds, dtype)
        fit(net, x, y, Adam(), epochs=2, batch_size=16)
        return (np.moveaxis(net.theta, 0, -1),)

    (chunks,) = in_chunks(run, [3, 1, 7, 5], size=3)
    np.testing.assert_array_equal(chunks.T, ensemble.theta.reshape(4, -1))


def test_a_convolutional_network_knows_a_stroke_wherever_it_stands():
    """Diagonal or antidiagonal? Two examples, both in the same place, are enough for all places."""
    strokes = np.zeros((2, 3, 3, 6, 6))
    for r in range(3):
        for c in range(3):
            rows, columns = [r + 1, r + 2], [c + 1, c + 2]  # never at the border, which fewer windows see
            strokes[0, r, c, rows, columns] = strokes[1, r, c, rows, columns[::-1]] = 1
    layers = Conv2D(1, 4, 2, padding="valid"), ReLU(), GlobalAveragePool(), Dense(4, 2)
    net = Network(Reshape(6, 6, 1), *layers, seeds=[1, 2])
    fit(net, strokes[:, 1, 1].reshape(2, 36), np.eye(2), Adam(0.05), epochs=60, batch_size=2)
    everywhere = strokes.reshape(2 * 9, 36)
    assert (evaluate(net, everywhere, np.repeat(np.eye(2), 9, axis=0)).accuracy == 1).all()
    z = predict(net, everywhere).reshape(2, 2, 9, 2)
    np.testing.assert_allclose(z, np.broadcast_to(z[:, :, :1], z.shape), rtol=1e-12)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_sizes_are_positive_integers(bad):
    for name in ("channels_in", "channels_out", "size", "stride"):
        with refused(f"{name}:"):
            Conv2D(**{"channels_in": 1, "channels_out": 1, name: bad})
    for pool in (MaxPool, AveragePool):
        with refused("size:"):
            pool(bad)


@pytest.mark.parametrize("bad", ["full", "SAME", None, 1])
def test_the_padding_is_one_of_two(bad):
    with refused("padding:", ValueError):
        Conv2D(1, 1, padding=bad)


@pytest.mark.parametrize("bad", ["he", None, 2.0, Dense])
def test_an_initializer_is_a_function(bad):
    with refused("init:", TypeError):
        Conv2D(1, 1, init=bad)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2D(3, 4), (8, 8, 1)),
        (Conv2D(3, 4), (8, 8)),
        (Conv2D(3, 4), (3,)),
        (Conv2D(3, 4), (2, 8, 8, 3)),
        (Conv2D(3, 4, padding="valid"), (2, 8, 3)),
        (Conv2D(3, 4, padding="valid"), (8, 2, 3)),
        (MaxPool(3), (2, 8, 3)),
        (MaxPool(), (8, 1, 3)),
        (MaxPool(), (64,)),
        (AveragePool(3), (8, 2, 3)),
        (AveragePool(), (8, 8)),
        (GlobalAveragePool(), (64,)),
        (GlobalAveragePool(), (0, 8, 2)),
    ],
)
def test_examples_of_the_wrong_shape_are_refused(layer, shape):
    with refused(type(layer).__name__, ValueError):
        layer.output_shape(shape)


def test_the_errors_say_what_was_expected():
    with pytest.raises(
        ValueError, match=r"^Conv2D\(3, 4\): .* at least 1 x 1 .* 3 channels, got .*\(8, 8, 1\)"
    ):
        Network(Reshape(8, 8, 1), Conv2D(3, 4))
    with pytest.raises(ValueError, match=r"^MaxPool\(3\): .* at least 3 x 3 .* any number of channels"):
        Network(Reshape(2, 4, 1), MaxPool(3))
    with pytest.raises(ValueError, match=r"^Conv2D\(1, 4\): .* at least 5 x 5 pixels and 1 channels"):
        Network(Reshape(4, 4, 1), Conv2D(1, 4, 5, padding="valid"))
    with pytest.raises(ValueError, match=r"^GlobalAveragePool\(\): "):
        Network(Reshape(4), GlobalAveragePool())
    assert Conv2D(3, 4).output_shape((1, 1, 3)) == (1, 1, 4)
    assert MaxPool(3).output_shape((3, 3, 7)) == (1, 1, 7)


# ----------------------------------------------------------------------------------- Keras and PyTorch


def gradients_in_keras(layer, x, c, compile):
    """Output and gradients of the twin of ``layer``, eagerly, as a graph or compiled by XLA."""
    import tensorflow as tf

    from regularize.keras_twin import to_keras

    image = x.shape[1:]
    net = Network(Reshape(*image), layer, dtype=x.dtype)
    net.theta[...] = normal(net.theta.shape, seed=2)
    model = to_keras(net)
    rows = tf.constant(x.reshape(len(x), -1))

    def run(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            y = model(rows, training=True)
            objective = tf.reduce_sum(y * c)
        return y, tape.gradient(objective, [rows, *model.trainable_variables])

    run = tf.function(run, jit_compile=compile == "xla") if compile != "eager" else run
    y, (dx, *rest) = run(rows)
    return (
        y.numpy(),
        dx.numpy().reshape(x.shape),
        np.concatenate([a.numpy().ravel() for a in (*rest, rows[:0])]),
    )


def check_against_keras(layer, image, x=None, compile="eager", limit=1e-13):
    x = images((BATCH, *image)) if x is None else x
    c = normal((BATCH, *layer.output_shape(image)), seed=3).astype(x.dtype)
    y, dx, dtheta = gradients_in_keras(layer, x, c, compile)
    assert relative_error(layer.forward(x, True), y) <= limit
    assert relative_error(layer.backward(c), dx) <= limit
    if dtheta.size:
        assert relative_error(np.concatenate([layer.dW.ravel(), layer.db.ravel()]), dtheta) <= limit


@pytest.mark.keras
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_convolution_is_that_of_keras(keras, size, stride, padding):
    for image in ((4, 5, 2), (7, 6, 1)):
        check_against_keras(Conv2D(image[-1], 3, size, stride, padding), image)


@pytest.mark.keras
@pytest.mark.parametrize("pool", [MaxPool, AveragePool])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_pooling_is_that_of_keras(keras, pool, size):
    for image in ((4, 5, 2), (7, 6, 1)):
        check_against_keras(pool(size), image)
    check_against_keras(GlobalAveragePool(), image)


@pytest.mark.keras
@pytest.mark.parametrize("compile", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_of_equal_values_keras_too_gives_the_gradient_to_the_first(keras, dtype, compile):
    x = whole((BATCH, 5, 4, 2), high=2).astype(dtype)
    check_against_keras(MaxPool(), (5, 4, 2), x, compile, limit=0)


@pytest.mark.keras
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_200_steps_are_those_of_keras(keras, name):
    from parity import BETA1, BETA2, EPSILON, MOMENTUM, RATE, steps_in_keras

    optimizers = {
        "SGD": (SGD(RATE, MOMENTUM), keras.optimizers.SGD(RATE, MOMENTUM)),
        "Adam": (
            Adam(RATE, BETA1, BETA2, EPSILON), keras.optimizers.Adam(RATE, BETA1, BETA2, EPSILON)
        ),
    }  # fmt: skip
    assert steps_in_keras(cnn, *optimizers[name]) <= 1e-12


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize(
    ("size", "stride", "padding", "zeros"),
    [(3, 1, "same", 1), (5, 1, "same", 2), (2, 1, "same", "same"), (3, 2, "valid", 0), (2, 3, "valid", 0)],
)
def test_convolutions_that_pytorch_has_are_those_of_pytorch(size, stride, padding, zeros):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    layer, x = Conv2D(2, 3, size, stride, padding), images((BATCH, 7, 6, 2))
    initialized(layer)
    ours = x.transpose(0, 3, 1, 2), layer.W.transpose(3, 2, 0, 1), layer.b[0]
    theirs = [torch.tensor(a, requires_grad=True) for a in ours]
    z = torch.nn.functional.conv2d(*theirs, stride=stride, padding=zeros)
    y = layer.forward(x, True)
    assert relative_error(y, z.detach().numpy().transpose(0, 2, 3, 1)) <= 1e-13
    g = normal(y.shape)
    z.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    dx, dW, db = (a.grad.numpy() for a in theirs)
    assert relative_error(layer.backward(g), dx.transpose(0, 2, 3, 1)) <= 1e-13
    assert relative_error(layer.dW, dW.transpose(2, 3, 1, 0)) <= 1e-13
    assert relative_error(layer.db[0], db) <= 1e-13


@pytest.mark.torch
def test_a_stride_of_two_with_padding_one_is_another_convolution_in_pytorch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    layer, x = Conv2D(1, 1, stride=2), images((BATCH, 6, 6, 1))
    initialized(layer)
    theirs = [torch.tensor(a) for a in (x.transpose(0, 3, 1, 2), layer.W.transpose(3, 2, 0, 1), layer.b[0])]
    z = torch.nn.functional.conv2d(*theirs, stride=2, padding=1).numpy().transpose(0, 2, 3, 1)
    y = layer.forward(x, True)
    assert z.shape == y.shape
    assert relative_error(y, z) > 0.1


@pytest.mark.torch
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pooling_is_that_of_pytorch(size):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    x = whole((BATCH, 7, 6, 2), high=2)
    for layer, name in ((MaxPool(size), "max_pool2d"), (AveragePool(size), "avg_pool2d")):
        theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        z = getattr(torch.nn.functional, name)(theirs, size)
        y = layer.forward(x, True)
        assert relative_error(y, z.detach().numpy().transpose(0, 2, 3, 1)) <= 1e-15
        g = normal(y.shape)
        z.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
        assert relative_error(layer.backward(g), theirs.grad.numpy().transpose(0, 2, 3, 1)) <= 1e-15


# ------------------------------------------------------------------------------------------ planted bugs

loops = law_convolution_is_what_the_loops_say
even = partial(loops, size=2, stride=1)
gradients = partial(law_gradients_are_those_of_finite_differences, *LAYERS["Conv2D"], (3,))
largest = law_max_pooling_takes_the_largest_and_the_first_of_equals
mean = law_average_pooling_takes_the_mean
whole_image = law_global_average_pooling_takes_the_mean_of_the_image
start = law_weights_start_as_drawn_and_biases_at_zero
dense = law_a_1_x_1_convolution_is_a_dense_layer_at_every_position

BUGS = {
    # convolution
    "an odd zero stands above the image": Bug(
        Conv2D, "_along", "zeros // 2, zeros - zeros // 2", "zeros - zeros // 2, zeros // 2", even,
    ),
    "'same' rounds the number of windows down": Bug(
        Conv2D, "_along", "-(-n // self.stride)", "max(n // self.stride, 1)", partial(loops, height=5),
    ),
    "'same' forgets that a stride needs fewer zeros": Bug(
        Conv2D, "_along", "max((windows - 1) * self.stride + self.size - n, 0)", "self.size - 1", loops,
    ),
    "'valid' is padded like 'same'": Bug(
        Conv2D, "_along", 'self.padding == "valid"', "False", partial(loops, padding="valid"),
    ),
    "the windows are read column by column": Bug(
        convolution, "entries", "for i in range(size) for j in range(size)",
        "for j in range(size) for i in range(size)", loops,
    ),
    "channels and positions of a window are mixed up": Bug(Conv2D, "_windows", "axis=-2", "axis=-1", loops),
    "the kernel is transposed on the way back": Bug(
        Conv2D, "backward", "self.W[..., i, j, :, :]", "self.W[..., j, i, :, :]", gradients,
    ),
    "the kernel is turned round on the way back": Bug(
        Conv2D, "backward", "self.W[..., i, j, :, :]", "self.W[..., -1 - i, -1 - j, :, :]", gradients,
    ),
    "windows that overlap overwrite each other's gradient": Bug(
        Conv2D, "backward", "pixel += ", "pixel[...] = ", gradients,
    ),
    "the bias's gradient is a mean over positions": Bug(Conv2D, "backward", "np.sum", "np.mean", gradients),
    "the bias is forgotten": Bug(Conv2D, "forward", " + self.b", "", loops),
    "fan_in does not count the window": Bug(
        Conv2D, "initialize", 'self.shapes["W"]', 'self.shapes["W"][2:]', start,
    ),
    "the zeros are all taken away below and on the right": Bug(
        Conv2D, "backward", "dx[self.image]", "dx[..., :-2, :-2, :]", gradients,
    ),
    "the windows are kept": Bug(
        Conv2D, "_windows", "windows = np", "windows = self.kept = np", law_windows_are_not_kept,
    ),
    # pooling
    "all equal values receive the gradient": Bug(
        MaxPool, "backward", "waiting & (pixel == self.y)", "pixel == self.y", largest,
    ),
    "the last of equal values receives the gradient": Bug(
        MaxPool, "backward", "zip(inputs, gradients, strict=True)", "zip(inputs[::-1], gradients[::-1])",
        largest,
    ),
    "the first pixel receives the gradient": Bug(
        MaxPool, "backward", "waiting & (pixel == self.y)", "waiting.copy()", largest,
    ),
    "the gradient of a maximum is spread over the window": Bug(
        MaxPool, "backward", "np.multiply(g, first, out=gradient)", "gradient[...] = g / self.size**2",
        largest,
    ),
    "pooling takes the smallest": Bug(MaxPool, "forward", "np.maximum", "np.minimum", largest),
    "pooling takes the largest magnitude": Bug(
        MaxPool, "forward", "np.maximum", "lambda a, b: np.where(abs(a) >= abs(b), a, b)", largest,
    ),
    "the mean divides by the width of the window": Bug(AveragePool, "forward", "**2", "", mean),
    "the sum is pooled": Bug(AveragePool, "forward", " / self.size**2", "", mean),
    "the gradient of a mean is that of a sum": Bug(AveragePool, "backward", "g / self.size**2", "g", mean),
    "the gradient of a mean is divided by the width": Bug(AveragePool, "backward", "**2", "", mean),
    "only one pixel of a window receives the mean's gradient": Bug(
        AveragePool, "backward", "entries(dx, self.size, self.size)", "entries(dx, self.size, self.size)[:1]",
        mean,
    ),
    "the sum of the image": Bug(GlobalAveragePool, "forward", "x.mean", "x.sum", whole_image),
    "the mean over examples and rows": Bug(GlobalAveragePool, "forward", "(-3, -2)", "(-4, -3)", whole_image),
    "the gradient of the sum of the image": Bug(
        GlobalAveragePool, "backward", " / (height * width)", "", whole_image,
    ),
    "every image is square": Bug(
        GlobalAveragePool, "backward", "height * width", "height * height", whole_image,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
