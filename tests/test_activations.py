"""Activations: values, derivatives (also at 0), ranges, and the same as in Keras and PyTorch."""

import math
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import MOMENTUM, RATE, relative, steps_in_keras
from planting import Bug, check_noticed
from scipy.special import ndtr
from test_checks import refused
from test_layers import LEADS, WORST, law_gradients_are_those_of_finite_differences, seeds_of

from regularize import activations
from regularize.activations import ELU, GELU, SELU, LeakyReLU, PReLU, ReLU, Sigmoid, SiLU, Tanh
from regularize.initialization import he_normal, lecun_normal
from regularize.layers import Dense, Flatten, Reshape
from regularize.network import Network, mlp
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD
from regularize.penalties import L2
from regularize.training import fit, predict

ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # the authors' code
LAYERS = {
    "LeakyReLU": LeakyReLU,
    "LeakyReLU(0)": lambda: LeakyReLU(0),
    "LeakyReLU(1.5)": lambda: LeakyReLU(1.5),
    "PReLU": lambda: PReLU(4),
    "ELU": ELU,
    "ELU(0.5)": lambda: ELU(0.5),
    "SELU": SELU,
    "GELU": GELU,
    "GELU(True)": lambda: GELU(True),
    "SiLU": SiLU,
}
ALL = {"ReLU": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid, **LAYERS}


def tanh_gelu(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# As written in the papers, for one number.
FORMULAS = {
    "ReLU": lambda x: max(x, 0.0),
    "Tanh": math.tanh,
    "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "LeakyReLU": lambda x: x if x > 0 else 0.3 * x,
    "LeakyReLU(0)": lambda x: max(x, 0.0),
    "LeakyReLU(1.5)": lambda x: x if x > 0 else 1.5 * x,
    "PReLU": lambda x: max(x, 0.0) + 0.25 * min(x, 0.0),
    "ELU": lambda x: x if x > 0 else math.expm1(x),
    "ELU(0.5)": lambda x: x if x > 0 else 0.5 * math.expm1(x),
    "SELU": lambda x: SCALE * (x if x > 0 else ALPHA * math.expm1(x)),
    "GELU": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "GELU(True)": tanh_gelu,
    "SiLU": lambda x: x / (1 + math.exp(-x)),
}
AT_ZERO = {  # dy/dx
    "ReLU": 0, "Tanh": 1, "Sigmoid": 0.25, "LeakyReLU": 0.3, "LeakyReLU(0)": 0, "LeakyReLU(1.5)": 1.5,
    "PReLU": 0, "ELU": 1, "ELU(0.5)": 0.5, "SELU": SCALE, "GELU": 0.5, "GELU(True)": 0.5, "SiLU": 0.5,
}  # fmt: skip


def run(layer, x):
    """``y`` and ``dy/dx`` at the numbers x, one a row; PReLU sees each as a row of four."""
    net = Network(layer)
    rows = np.repeat(np.ravel(x)[:, None], 4, axis=1)
    y = net(rows)
    return y[:, 0], net.backward(np.ones_like(y))[:, 0]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_finite_differences(make, lead):
    law_gradients_are_those_of_finite_differences(make, lead)


# -- values --------------------------------------------------------------------------------------------------


def law_values_are_those_of_the_formula(name):
    x = np.concatenate([np.linspace(-12, 12, 49), [-1e-9, 1e-9]])
    np.testing.assert_allclose(run(ALL[name](), x)[0], [FORMULAS[name](t) for t in x], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_of_the_formula(name):
    law_values_are_those_of_the_formula(name)


def law_derivative_at_zero(name):
    """Of the kinks at 0 nobody takes the derivative by finite differences."""
    y, slope = run(ALL[name](), [0.0, -0.0])
    np.testing.assert_array_equal(y, 0.5 if name == "Sigmoid" else 0)
    np.testing.assert_allclose(slope, AT_ZERO[name], rtol=1e-15)


@pytest.mark.parametrize("name", ALL)
def test_derivative_at_zero(name):
    law_derivative_at_zero(name)


def law_nothing_overflows(name, dtype):
    """Not even on the way to a right value; far out y is x, or the limit."""
    large = np.array([50.0, 1e4, 1e13, 1e30, 1e38 if dtype == "float32" else 1e300], dtype)
    try:
        with np.errstate(over="raise", invalid="raise"):
            y, slope = run(ALL[name](), np.concatenate([-large, large]))
    except FloatingPointError as error:
        pytest.fail(str(error))
    assert np.isfinite(y).all()
    assert np.isfinite(slope).all()
    left, right = np.split(slope, 2)
    limits = {"Tanh": (0, 0), "Sigmoid": (0, 0), "SELU": (0, SCALE), "LeakyReLU": (0.3, 1),
              "LeakyReLU(1.5)": (1.5, 1), "PReLU": (0.25, 1)}  # fmt: skip
    below, above = limits.get(name, (0, 1))
    np.testing.assert_allclose(left, below, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(right, above, rtol=1e-6, atol=1e-12)
    if above:
        np.testing.assert_allclose(y[5:], above * large, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ALL)
def test_nothing_overflows(name, dtype):
    law_nothing_overflows(name, dtype)


def law_tails_keep_their_digits(name):
    """``1 + erf`` and ``exp(x) - 1`` would have none left."""
    x = -30.0 if name in ("GELU", "SiLU") else -1e-12
    expected = {
        "GELU": x * 0.5 * math.erfc(-x / math.sqrt(2)),
        "SiLU": x * math.exp(x) / (1 + math.exp(x)),
        "ELU": x * (1 + x / 2),
        "SELU": SCALE * ALPHA * x * (1 + x / 2),
    }
    np.testing.assert_allclose(run(ALL[name](), [x])[0], expected[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["GELU", "SiLU", "ELU", "SELU"])
def test_tails_keep_their_digits(name):
    law_tails_keep_their_digits(name)


# -- what they do to a range of values -----------------------------------------------------------------------


@given(a=st.floats(0, 1e6), x=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
@settings(max_examples=50)
def test_rectifiers_keep_the_scale_of_their_input(a, x):
    """relu(a x) = a relu(x): no range, and nothing that normalizes."""
    for make in (ReLU, LeakyReLU, LAYERS["PReLU"]):
        x = np.array(x)
        np.testing.assert_allclose(run(make(), a * x)[0], a * run(make(), x)[0], rtol=1e-12, atol=1e-300)


def table():
    """The rows of the module's table: name -> (lowest value, highest value, dy/dx at 0, largest dy/dx)."""
    lines = activations.__doc__.split("dy/dx at most\n")[1].split("\n\n")[0].splitlines()
    rows = (re.split(r"\s{2,}", line.strip()) for line in lines)
    return {name: (*interval[1:-1].split(", "), zero, top) for name, _, interval, zero, top in rows}


def number(cell):
    """For example ``1/4``, ``-alpha`` (1 by default), or ``1, or slope`` (0.3, or 0.25): at most 1."""
    return float(eval(cell.split(", or ")[0], {"alpha": 1, "slope": 0.3, "inf": np.inf}))


def law_ranges_and_slopes_are_those_of_the_table():
    """Of the infinite ones, far out. A limit that is not reached is 1e-4 from the values at +-12."""
    assert list(table()) == ["ReLU", "LeakyReLU", "PReLU", "ELU", "SELU", "GELU", "SiLU", "Tanh", "Sigmoid"]
    x = np.union1d(np.linspace(-12, 12, 24_001), [-1e-6])
    for name, row in table().items():
        low, high, zero, top = (number(cell) for cell in row)
        y, slope = run(ALL[name](), x)
        (left, right), _ = run(ALL[name](), [-1e9, 1e9])
        assert left <= -0.25e9 if low == -np.inf else abs(y.min() - low) < 1e-4, name
        assert right >= 1e9 if high == np.inf else abs(y.max() - high) < 1e-4, name
        assert low <= left, name
        assert right <= high, name
        assert abs(slope[x == 0][0] - zero) < 1e-4, name
        assert abs(slope.max() - top) < 1e-4, name


def test_ranges_and_slopes_are_those_of_the_table():
    law_ranges_and_slopes_are_those_of_the_table()


@given(x=st.floats(-1e3, 1e3))
@settings(max_examples=50)
def test_gates_add_up_to_one(x):
    """y = x gate(x) and gate(x) + gate(-x) = 1, so y(x) - y(-x) = x."""
    for make in (GELU, LAYERS["GELU(True)"], SiLU):
        (right, left), _ = run(make(), [x, -x])
        np.testing.assert_allclose(right - left, x, rtol=1e-14, atol=1e-300)


def test_the_two_gelus_are_near_each_other_and_not_the_same():
    x = np.linspace(-6, 6, 1201)
    for i, most in enumerate((5e-4, 1e-3)):
        difference = np.abs(run(GELU(), x)[i] - run(GELU(True), x)[i]).max()
        assert most / 2 < difference < most


def test_leaky_relu_with_slope_0_is_relu_and_with_1_the_identity():
    x = np.linspace(-3, 3, 13)
    np.testing.assert_array_equal(run(LeakyReLU(0), x), run(ReLU(), x))
    np.testing.assert_array_equal(run(LeakyReLU(1), x), [x, np.ones(13)])


def law_selu_keeps_mean_zero_and_variance_one():
    """For standard normal x. With E[e^x; x < 0] = e^(1/2) Phi(-1) both moments have closed forms."""
    half, two = math.exp(0.5) * ndtr(-1), math.exp(2) * ndtr(-2)
    alpha, scale = SELU.alpha, SELU.scale
    mean = scale * (1 / math.sqrt(2 * math.pi) + alpha * (half - 0.5))
    square = scale**2 * (0.5 + alpha**2 * (two - 2 * half + 0.5))
    np.testing.assert_allclose([mean, square], [0, 1], atol=1e-15)
    x, w = np.polynomial.legendre.leggauss(400)  # the same by quadrature, through the layer
    x = 5 * (x[:, None] + [-1, 1]).ravel("F")
    w = 5 * np.tile(w, 2) * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    y = run(SELU(), x)[0]
    np.testing.assert_allclose([w @ y, w @ y**2], [0, 1], atol=1e-13)


def test_selu_keeps_mean_zero_and_variance_one():
    law_selu_keeps_mean_zero_and_variance_one()
    assert (SELU.alpha, SELU.scale) == (ALPHA, SCALE)


# -- PReLU ---------------------------------------------------------------------------------------------------

SHAPES = {"rows": (5, 4), "images": (3, 2, 3, 4)}


def prelu(lead=(), shape=(5, 4), dtype="float64"):
    """In a network, with slopes that differ, and inputs."""
    layer = PReLU(shape[-1])
    net = Network(layer, seeds=seeds_of(lead), dtype=dtype)
    rng = np.random.default_rng(2)
    net.theta += rng.uniform(-0.5, 0.5, net.theta.shape).astype(dtype)
    x = rng.standard_normal((*lead, *shape))
    return layer, np.where(np.abs(x) < 1e-2, 0.5, x).astype(dtype)


def law_prelu_gradients(lead, shape):
    layer, x = prelu(lead, shape)
    c = np.random.default_rng(3).standard_normal(x.shape)

    def objective():
        return (c * layer.forward(x, True)).reshape(*lead, -1).sum(-1)

    objective()
    errors = [
        relative_error(layer.backward(c), numerical_gradient(objective, x, lead)),
        relative_error(layer.dalpha.copy(), numerical_gradient(objective, layer.alpha, lead)),
    ]
    assert max(errors) <= WORST, errors


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_prelu_gradients(lead, shape):
    law_prelu_gradients(lead, shape)


def law_positions_of_an_image_share_the_slope_of_their_channel():
    layer, x = prelu((2,), SHAPES["images"])
    y = layer.forward(x, True)
    for member, channel in np.ndindex(2, 4):
        part = x[member, ..., channel]
        slopes = np.where(part > 0, 1, layer.alpha[member, 0, channel])
        np.testing.assert_allclose(y[member, ..., channel], slopes * part, rtol=1e-15)


def test_positions_of_an_image_share_the_slope_of_their_channel():
    law_positions_of_an_image_share_the_slope_of_their_channel()


def law_slopes_are_not_penalized():
    """A strong penalty moves the weights, and the slopes only through the data."""
    x, y = np.random.default_rng(0).standard_normal((6, 4)), np.eye(2)[[0, 1, 0, 1, 1, 0]]
    net = Network(PReLU(4), Dense(4, 2))
    np.testing.assert_array_equal(net.penalized[:4], 0)
    fit(net, np.abs(x), y, SGD(0.1), epochs=3, batch_size=6, penalty=L2(0.5))  # no x below 0, no data
    np.testing.assert_array_equal(net.theta[:4], 0.25)


def test_slopes_are_not_penalized():
    law_slopes_are_not_penalized()


def test_slopes_start_where_they_are_told_to():
    net = Network(PReLU(3), PReLU(3, slope=[[0.5], [0.0]]), seeds=np.zeros((2, 3), int))
    np.testing.assert_array_equal(net.layers[0].alpha, np.full((2, 3, 1, 3), 0.25))
    np.testing.assert_array_equal(net.layers[1].alpha[0], 0.5)
    np.testing.assert_array_equal(net.layers[1].alpha[1], 0)


def test_prelu_learns_the_slope_of_its_data():
    """y = x above 0 and -2 x below: each channel finds its own slope, also a negative one."""
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    net = Network(PReLU(2))
    for _ in range(400):
        r = net(x) - np.where(x > 0, x, x * [-2, 0.5])
        net.backward(2 * r / 60)
        net.theta -= 0.5 * net.grad
    np.testing.assert_allclose(net.theta, [-2, 0.5], rtol=1e-9)


def test_prelu_takes_its_number_of_features():
    layer = PReLU(4)
    assert layer.output_shape((4,)) == (4,)
    assert layer.output_shape((2, 3, 4)) == (2, 3, 4)
    assert layer.output_shape(None) is None
    with pytest.raises(ValueError, match=re.escape("PReLU(4): expected 4 features, got 3")):
        layer.output_shape((4, 3))
    with refused("PReLU(4)", ValueError):
        Network(Dense(3, 5), layer)


# -- the conventions of the library --------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_precision_stays_and_no_array_of_the_caller_changes(make, shape):
    layer = make()
    Network(layer, seeds=[0, 1], dtype="float32")
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    g, before = np.ones_like(x), x.copy()
    y = layer.forward(x, True)
    assert y.dtype == layer.backward(g).dtype == np.float32
    assert y.shape == x.shape
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, 1)
    np.testing.assert_array_equal(layer.forward(x, False), y)  # both modes are the same


@pytest.mark.parametrize("make", [LeakyReLU, ELU, lambda h: PReLU(4, h)], ids=["LeakyReLU", "ELU", "PReLU"])
def test_a_setting_for_each_member(make):
    """A member of an ensemble of several settings is, bit for bit, the network with its own."""
    x, h = np.random.default_rng(0).standard_normal((2, 3, 5, 4)), np.array([[0.125], [0.7]])
    together = Network(make(h), seeds=seeds_of((2, 3)))
    y, g = together(x), together.backward(x)
    for k, i in np.ndindex(2, 3):
        alone = Network(make(h[k, 0]))
        np.testing.assert_array_equal(alone(x[k, i]), y[k, i])
        np.testing.assert_array_equal(alone.backward(x[k, i]), g[k, i])
        np.testing.assert_array_equal(alone.grad, together.grad[k, i])
    name = type(make(1.0)).__name__
    with refused(name + "." + ("alpha" if name == "ELU" else "slope"), ValueError):
        Network(make(np.ones(3)), seeds=[0, 1])


@pytest.mark.parametrize("features", [1, 6])
@pytest.mark.parametrize("first", [True, False])
def test_a_member_is_the_network_trained_alone(features, first):
    """Bit for bit, also where PReLU is the first layer and sees the shared data."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, features)), np.eye(3)[rng.integers(3, size=11)]

    def trained(seeds):
        layers = [PReLU(features)] * first + [Dense(features, 6), PReLU(6), SiLU(), Dense(6, 3)]
        net = Network(*layers, seeds=seeds)
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=4)
        return net

    together = trained([4, 1, 7])
    for i, seed in enumerate([4, 1, 7]):
        alone = trained(seed)
        np.testing.assert_array_equal(together.theta[i], alone.theta)
        np.testing.assert_array_equal(predict(together, x)[i], predict(alone, x))


@pytest.mark.parametrize("activation", [LeakyReLU, ELU, SELU, GELU, SiLU])
def test_a_perceptron_takes_a_class(activation):
    net = mlp(4, 5, 3, activation=activation)
    assert isinstance(net.layers[1], activation)
    assert net.layers[0].init is lecun_normal
    assert mlp(4, 5, 3).layers[0].init is he_normal


def test_prelu_needs_features_so_that_mlp_cannot_make_it():
    with pytest.raises(TypeError, match="features"):
        mlp(4, 5, 3, activation=PReLU)


def test_defaults():
    assert (LeakyReLU().slope, PReLU(2).slope, ELU().alpha, GELU().approximate) == (0.3, 0.25, 1.0, False)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, "0.3", [0.1, -1], None])
def test_a_slope_is_a_number_from_zero(bad):
    with refused("slope"):
        LeakyReLU(bad)
    with refused("slope"):
        PReLU(3, bad)


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "1", [1, 0], None])
def test_alpha_is_a_positive_number(bad):
    with refused("alpha"):
        ELU(bad)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, "3", None])
def test_features_are_a_positive_integer(bad):
    with refused("features"):
        PReLU(bad)


@pytest.mark.parametrize("bad", [0, 1, "tanh", None, np.True_])
def test_approximate_is_true_or_false(bad):
    with refused("approximate", TypeError):
        GELU(bad)


# -- Keras and PyTorch ---------------------------------------------------------------------------------------

POINTS = np.array([-1e4, -800, -40, -8, -3, -1, -0.3, -1e-3, -1e-9, -0.0, 0.0, 1e-9, 0.2, 1, 5, 40, 800, 1e4])
SAME = ["ReLU", "Tanh", "Sigmoid", "LeakyReLU(1/4)", "PReLU", "ELU", "ELU(0.5)", "SELU", "SiLU"]
MAKE = {**ALL, "LeakyReLU(1/4)": lambda: LeakyReLU(0.25)}


def in_keras(keras, name):
    """Keras's function of that name, at rows of four."""
    import tensorflow as tf

    functions = {
        "LeakyReLU(1/4)": lambda: keras.layers.LeakyReLU(0.25, dtype="float64"),
        "PReLU": lambda: keras.layers.PReLU(keras.initializers.Constant(0.25), dtype="float64"),
        "ELU(0.5)": lambda: keras.layers.ELU(0.5, dtype="float64"),
        "GELU": lambda: partial(keras.activations.gelu, approximate=False),
        "GELU(True)": lambda: partial(keras.activations.gelu, approximate=True),
    }
    f = functions.get(name, lambda: keras.activations.get(name.lower()))()
    x = tf.Variable(np.repeat(POINTS[:, None], 4, axis=1))
    with tf.GradientTape() as tape:
        y = f(x)
    return y.numpy()[:, 0], tape.gradient(y, x).numpy()[:, 0]


@pytest.mark.keras
@pytest.mark.parametrize("name", SAME)
def test_values_and_derivatives_are_those_of_keras(keras, name):
    """Also at 0. Where both are near 0 and TensorFlow takes ``exp(x) - 1``, it has fewer digits."""
    for ours, theirs in zip(run(MAKE[name](), POINTS), in_keras(keras, name), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.keras
def test_keras_rounds_the_constants_of_gelu(keras):
    root, cubic = np.float64(np.float32(math.sqrt(0.5))), np.float64(np.float32(0.044715))
    u = math.sqrt(2 / math.pi) * (POINTS + cubic * POINTS**3)
    rounded = {
        "GELU": POINTS * ndtr(math.sqrt(2) * root * POINTS),
        "GELU(True)": POINTS * (0.5 + 0.5 * np.tanh(u)),
    }
    for name, values in rounded.items():
        theirs, ours = in_keras(keras, name), run(ALL[name](), POINTS)
        np.testing.assert_allclose(theirs[0], values, rtol=1e-13, atol=1e-15)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)
        assert np.abs(ours[0] - theirs[0]).max() > 1e-11


@pytest.mark.torch
@pytest.mark.parametrize("name", [*SAME, "GELU", "GELU(True)"])
def test_values_and_derivatives_are_those_of_pytorch(name):
    """But for the derivatives of SELU and PReLU at 0: PyTorch takes those from the left."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    f = {
        "LeakyReLU(1/4)": torch.nn.LeakyReLU(0.25),
        "PReLU": torch.nn.PReLU(dtype=torch.float64),
        "ELU(0.5)": torch.nn.ELU(0.5),
        "GELU(True)": torch.nn.GELU(approximate="tanh"),
    }.get(name)
    x = torch.tensor(POINTS, requires_grad=True)
    theirs = (f or getattr(torch.nn, name)())(x)
    theirs.sum().backward()
    y, slope = run(MAKE[name](), POINTS)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-13, atol=1e-15)
    at = x.grad.numpy().copy()
    if name in ("SELU", "PReLU"):
        np.testing.assert_allclose(at[POINTS == 0], {"SELU": SCALE * ALPHA, "PReLU": 0.25}[name], rtol=1e-15)
        at[POINTS == 0] = slope[POINTS == 0]
    np.testing.assert_allclose(slope, at, rtol=1e-13, atol=1e-15)


@pytest.mark.torch
def test_defaults_of_pytorch():
    torch = pytest.importorskip("torch")
    assert torch.nn.LeakyReLU().negative_slope == 0.01
    assert torch.nn.PReLU().weight.tolist() == [PReLU(1).slope]
    assert torch.nn.ELU().alpha == ELU().alpha
    assert torch.nn.GELU().approximate == "none"


@pytest.mark.keras
def test_defaults_of_keras(keras):
    assert keras.layers.LeakyReLU().negative_slope == LeakyReLU().slope
    assert keras.layers.ELU().alpha == ELU().alpha
    layer = keras.layers.PReLU()
    layer.build((None, 2, 2, 3))
    assert layer.alpha.shape == (2, 2, 3)  # one for each value of an image
    assert not np.any(layer.alpha)


NETWORKS = {
    "rectifiers": lambda: [PReLU(8), Dense(8, 6), LeakyReLU(0.25), Dense(6, 5), PReLU(5, 0.125), Dense(5, 3)],
    "exponentials": lambda: [Dense(8, 6), ELU(0.5), Dense(6, 5), SELU(), Dense(5, 4), SiLU(), Dense(4, 3)],
    "images": lambda: [Reshape(2, 2, 2), PReLU(2), Flatten(), Dense(8, 3)],
    "GELU": lambda: [Dense(8, 6), GELU(), Dense(6, 5), GELU(True), Dense(5, 3)],
}


@pytest.mark.keras
@pytest.mark.parametrize("name", NETWORKS)
def test_200_steps_reach_the_weights_of_keras(keras, name):
    """GELU differs by Keras's rounded constants."""
    theirs = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    difference = steps_in_keras(
        lambda **options: Network(*NETWORKS[name](), **options), SGD(RATE, momentum=MOMENTUM), theirs
    )
    assert difference <= (1e-6 if name == "GELU" else 1e-12)


@pytest.mark.keras
def test_float32_is_that_of_keras_within_rounding(keras):
    import tensorflow as tf

    keras.config.set_floatx("float32")
    x = np.linspace(-6, 6, 97, dtype=np.float32)
    for name in ("ELU", "SELU", "GELU", "SiLU"):
        f = keras.activations.get(name.lower())
        assert relative(run(ALL[name](), x)[0], f(tf.constant(x)).numpy()) <= 1e-6


# -- planted bugs --------------------------------------------------------------------------------------------


def gradients(name):
    return partial(law_gradients_are_those_of_finite_differences, LAYERS[name], (3,))


def values(name):
    return partial(law_values_are_those_of_the_formula, name)


def at_zero(name):
    return partial(law_derivative_at_zero, name)


def overflow(name):
    return partial(law_nothing_overflows, name, "float64")


rows, images = (partial(law_prelu_gradients, (3,), shape) for shape in SHAPES.values())
shared = law_positions_of_an_image_share_the_slope_of_their_channel

BUGS = {
    "the leak is on the wrong side": Bug(LeakyReLU, "forward", "x > 0", "x <= 0", values("LeakyReLU")),
    "the leak has no derivative": Bug(
        LeakyReLU, "backward", "self.factor", "(self.factor == 1)", gradients("LeakyReLU")
    ),
    "the leak has derivative 1 at 0": Bug(LeakyReLU, "forward", "x > 0", "x >= 0", at_zero("LeakyReLU")),
    "the leak is subtracted": Bug(
        LeakyReLU, "forward", "self.per_member", "-self.per_member", values("LeakyReLU")
    ),
    "the leak is max(x, slope x), wrong for slopes above 1": Bug(
        LeakyReLU, "forward", "return x * self.factor", "return np.maximum(x, self.slope * x)",
        values("LeakyReLU(1.5)"),
    ),
    "alpha's gradient is averaged": Bug(PReLU, "backward", "np.sum(", "np.mean(", rows),
    "alpha's gradient sums positive inputs, too": Bug(
        PReLU, "backward", "np.minimum(self.x, 0)", "self.x", rows
    ),
    "alpha is missing from the gradient of the input": Bug(
        PReLU, "backward", "self.alpha * (self.x < 0)", "(self.x < 0)", rows
    ),
    "alpha acts on both sides": Bug(PReLU, "forward", "np.minimum(self.x, 0)", "self.x", values("PReLU")),
    "alpha's gradient is that of one feature": Bug(
        PReLU, "backward", "axis=-2, keepdims=True, out=self.dalpha)",
        "axis=-2, keepdims=True, out=self.dalpha); self.dalpha[...] = self.dalpha[..., :1]", images,
    ),
    "channels come first": Bug(
        PReLU, "forward", "self.alpha * np", "np.flip(self.alpha, -1) * np", shared
    ),
    "PReLU has derivative alpha at 0": Bug(PReLU, "backward", "self.x < 0", "self.x <= 0", at_zero("PReLU")),
    "ELU's exponential overflows": Bug(ELU, "forward", "np.minimum(x, 0)", "x", overflow("ELU")),
    "ELU's derivative is that of alpha 1": Bug(
        ELU, "backward", "self.per_member(self.alpha, g)", "1", gradients("ELU(0.5)")
    ),
    "ELU's derivative is its value": Bug(
        ELU, "backward", "self.y + self.per_member(self.alpha, g)", "self.y", gradients("ELU")
    ),
    "ELU has derivative 1 at 0 for every alpha": Bug(
        ELU, "backward", "self.x > 0", "self.x >= 0", at_zero("ELU(0.5)")
    ),
    "ELU subtracts 1 from the exponential": Bug(
        ELU, "forward", "np.expm1(np.minimum(x, 0))", "(np.exp(np.minimum(x, 0)) - 1)",
        partial(law_tails_keep_their_digits, "ELU"),
    ),
    "ELU's alpha is inside the exponential": Bug(
        ELU, "forward", "self.per_member(self.alpha, x) * np.expm1(np.minimum(x, 0))",
        "np.expm1(self.per_member(self.alpha, x) * np.minimum(x, 0))", values("ELU(0.5)"),
    ),
    "SELU's scale acts on positive inputs only": Bug(
        SELU, "forward", "self.scale * np.where(x >= 0, x, ", "np.where(x >= 0, self.scale * x, ",
        law_selu_keeps_mean_zero_and_variance_one,
    ),
    "SELU is ELU with a scale": Bug(
        SELU, "forward", "self.alpha * np", "np", law_selu_keeps_mean_zero_and_variance_one
    ),
    "SELU's derivative lacks the scale": Bug(
        SELU, "backward", "self.y + self.scale * self.alpha", "self.y + self.alpha", gradients("SELU")
    ),
    "SELU's derivative lacks the scale on the right": Bug(
        SELU, "backward", "0, self.scale,", "0, 1,", gradients("SELU")
    ),
    "SELU's derivative at 0 is PyTorch's": Bug(
        SELU, "backward", "self.x >= 0", "self.x > 0", at_zero("SELU")
    ),
    "SELU's exponential overflows": Bug(SELU, "forward", "np.minimum(x, 0)", "x", overflow("SELU")),
    "GELU is the sigmoid approximation": Bug(
        GELU, "forward", "ndtr(x)", "expit(1.702 * x)", values("GELU")
    ),
    "GELU's tanh lacks the cube": Bug(
        GELU, "forward", "(1 + 0.044715 * self.square)", "(1 + 0.044715)", values("GELU(True)")
    ),
    "GELU's tanh becomes a sigmoid of u": Bug(GELU, "forward", "2 * u", "u", values("GELU(True)")),
    "GELU's derivative is its gate": Bug(GELU, "backward", " + self.x * slope", "", gradients("GELU")),
    "GELU's density lacks its constant": Bug(
        GELU, "backward", " / math.sqrt(2 * math.pi)", "", gradients("GELU")
    ),
    "GELU's derivative lacks the cube": Bug(
        GELU, "backward", "(1 + 3 * 0.044715 * self.square) * ", "", gradients("GELU(True)")
    ),
    "GELU's powers overflow": Bug(GELU, "forward", "np.clip(x, -40, 40)", "x", overflow("GELU(True)")),
    "GELU's square overflows": Bug(GELU, "forward", "np.clip(x, -40, 40)", "x", overflow("GELU")),
    "GELU's tail is lost": Bug(
        GELU, "forward", "ndtr(x)", "0.5 + (ndtr(x) - 0.5)", partial(law_tails_keep_their_digits, "GELU")
    ),
    "GELU takes the approximation for the exact one": Bug(
        GELU, "forward", "if self.approximate", "if not self.approximate", values("GELU")
    ),
    "SiLU's derivative is its gate": Bug(
        SiLU, "backward", " + self.x * self.gate * (1 - self.gate)", "", gradients("SiLU")
    ),
    "SiLU's derivative takes the output for the input": Bug(
        SiLU, "backward", "self.x * self.gate", "self.x * self.gate * self.gate", gradients("SiLU")
    ),
    "SiLU's sigmoid overflows": Bug(SiLU, "forward", "expit(x)", "1 / (1 + np.exp(-x))", overflow("SiLU")),
    "SiLU's tail is lost": Bug(
        SiLU, "forward", "expit(x)", "0.5 + 0.5 * np.tanh(0.5 * x)",
        partial(law_tails_keep_their_digits, "SiLU"),
    ),
    "SiLU has a temperature": Bug(SiLU, "forward", "expit(x)", "expit(1.5 * x)", values("SiLU")),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
