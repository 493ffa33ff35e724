"""Constraints are projections: nothing inside moves, what is outside goes to the nearest point, and stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import MOMENTUM, RATE, data, relative, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize import constraints
from regularize.constraints import MaxNorm, UnitNorm, column_norms
from regularize.keras_twin import to_keras
from regularize.layers import Dense, Layer
from regularize.network import Network, mlp
from regularize.optimizers import SGD
from regularize.training import fit


class Kernel(Layer):
    """A parameter of any shape, the last axis the units; and one that no constraint may touch."""

    penalized = ("W",)

    def __init__(self, *shape):
        self.shapes = {"W": shape, "b": (1, shape[-1])}


def projected(constraint, W, lead=()):
    """The kernel after the constraint; biases, of length 10 and more, must stay."""
    net = Network(Kernel(*W.shape[len(lead) :]), Dense(2, 2), seeds=seeds_of(lead), dtype=W.dtype)
    net.theta[...] = 10
    net.layers[0].W[...] = W
    constraint(net)
    assert (net.layers[0].b == 10).all()
    assert (net.layers[1].b == 10).all()
    return net.layers[0].W.copy()


@st.composite
def kernels(draw, count=1):
    """A limit and kernels (fan_in, units) with columns shorter and longer than it, and of zeros."""
    fan_in, units = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scales = st.sampled_from([0.0, 1e-3, 1.0, 30.0])
    size = [np.array([draw(scales) for _ in range(units)]) for _ in range(count)]
    return draw(st.sampled_from([0.5, 2.0, 7.0])), *(s * rng.standard_normal((fan_in, units)) for s in size)


# -- max-norm ------------------------------------------------------------------------------------------------


def law_no_column_is_longer_than_the_limit(limit, W):
    """Columns inside keep every bit, the others end on the sphere and keep their direction."""
    before, P = W.copy(), projected(MaxNorm(limit), W)
    np.testing.assert_array_equal(W, before)
    norms, inside = np.linalg.norm(W, axis=0), np.linalg.norm(W, axis=0) <= limit
    np.testing.assert_array_equal(P[:, inside], W[:, inside])
    np.testing.assert_allclose(np.linalg.norm(P, axis=0)[~inside], limit, rtol=1e-14)
    np.testing.assert_allclose(P[:, ~inside] * norms[~inside], limit * W[:, ~inside], rtol=1e-13)


@given(case=kernels())
def test_no_column_is_longer_than_the_limit(case):
    law_no_column_is_longer_than_the_limit(*case)


def law_the_step_is_a_projection(limit, W, V, Z):
    """Idempotent; the nearest point: (W - P) . (Z - P) <= 0 for all Z in the ball; and non-expansive."""
    P, Q, Z = (projected(MaxNorm(limit), A) for A in (W, V, Z))
    np.testing.assert_allclose(projected(MaxNorm(limit), P), P, rtol=1e-15)
    rounding = 1e-12 * (1 + np.abs(W).max() ** 2)
    assert (((W - P) * (Z - P)).sum(0) <= rounding).all()
    assert (np.linalg.norm(W - P, axis=0) <= np.linalg.norm(W - Z, axis=0) + rounding).all()
    distances = np.linalg.norm(P - Q, axis=0), np.linalg.norm(W - V, axis=0)
    assert (distances[0] <= distances[1] + rounding).all()


@given(case=kernels(count=3))
def test_the_step_is_a_projection(case):
    law_the_step_is_a_projection(*case)


W = np.array([[3.0, 0.3, 0.0, 0.0], [4.0, 0.4, 0.0, -9.0]])


def test_a_column_of_length_5_is_scaled_to_the_limit():
    limited = [[1.2, 0.3, 0.0, 0.0], [1.6, 0.4, 0.0, -2.0]]
    np.testing.assert_allclose(projected(MaxNorm(2.0), W), limited, rtol=1e-15)
    np.testing.assert_allclose(projected(MaxNorm(), W), limited, rtol=1e-15)  # Keras's default
    np.testing.assert_array_equal(projected(MaxNorm(9.0), W), W)


def law_each_member_has_its_own_limit():
    limit = np.array([[0.5], [6.0]])
    P = projected(MaxNorm(limit), np.broadcast_to(W, (2, 3, 2, 4)), (2, 3))
    for k, s in np.ndindex(2, 3):
        np.testing.assert_array_equal(P[k, s], projected(MaxNorm(limit[k, 0]), W))
    P = projected(MaxNorm([0.5, 6.0, 1.0]), np.broadcast_to(W, (2, 3, 2, 4)), (2, 3))
    np.testing.assert_allclose(np.linalg.norm(P, axis=-2)[..., 0], [[0.5, 5, 1]] * 2)


def test_each_member_has_its_own_limit():
    law_each_member_has_its_own_limit()


# -- unit norm -----------------------------------------------------------------------------------------------


def law_every_column_has_length_one_and_zeros_stay(W):
    P = projected(UnitNorm(), W)
    norms = np.linalg.norm(W, axis=0)
    np.testing.assert_allclose(np.linalg.norm(P, axis=0), norms > 0, rtol=1e-14)
    np.testing.assert_allclose(P * norms, W, rtol=1e-13)
    np.testing.assert_allclose(projected(UnitNorm(), P), P, rtol=1e-15)


@given(case=kernels())
def test_every_column_has_length_one_and_zeros_stay(case):
    law_every_column_has_length_one_and_zeros_stay(case[1])


@given(case=kernels(count=2))
def test_unit_norm_goes_to_the_nearest_point_of_the_sphere(case):
    _, W, Z = case
    P, Z = projected(UnitNorm(), W), projected(UnitNorm(), Z)
    comparable = (W != 0).any(0) & (Z != 0).any(0)
    near, far = (np.linalg.norm(W - A, axis=0)[comparable] for A in (P, Z))
    assert (near <= far * (1 + 1e-13)).all()


# -- what is a column, and who is alone ----------------------------------------------------------------------


@pytest.mark.parametrize("constraint", [MaxNorm(1.0), UnitNorm()])
@pytest.mark.parametrize("lead", LEADS)
def test_a_filter_of_a_convolution_is_one_column(constraint, lead):
    """(height, width, in, out): the norm runs over all axes but the last."""
    W = np.random.default_rng(0).standard_normal((*lead, 3, 3, 2, 5))
    P = projected(constraint, W, lead)
    np.testing.assert_allclose(np.sqrt((P * P).sum((-4, -3, -2))), 1, rtol=1e-14)
    for s in np.ndindex(lead):
        flat = projected(constraint, W[s].reshape(18, 5))
        np.testing.assert_array_equal(P[s].reshape(18, 5), flat)


def test_column_norms_keep_the_axis():
    np.testing.assert_array_equal(column_norms(W), [[5, 0.5, 0, 9]])
    assert column_norms(np.zeros((2, 3, 4, 1))).shape == (2, 3, 1, 1)


CONSTRAINTS = {"max-norm": lambda h: MaxNorm(h), "unit norm": lambda h: UnitNorm()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_member_is_the_network_trained_alone(name, dtype):
    """Limits x seeds, bit for bit."""
    limit, seeds, (x, y) = np.array([[0.5], [1.5]]), np.tile([3, 0, 8], (2, 1)), data()

    def trained(seeds, limit):
        net = mlp(8, 7, 1, 3, seeds=seeds, dtype=dtype)
        fit(net, x, y, SGD(RATE), epochs=2, batch_size=16, constrain=CONSTRAINTS[name](limit))
        return net.theta

    together = trained(seeds, limit)
    assert together.dtype == dtype
    for k, s in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[k, s], trained(seeds[k, s], float(limit[k, 0])))


@pytest.mark.parametrize("constraint", [MaxNorm(2.0), UnitNorm()])
def test_a_member_that_diverged_disturbs_no_other(constraint):
    W = np.random.default_rng(0).standard_normal((2, 3, 4))
    bad = W.copy()
    bad[1, 0, 2] = np.nan
    P = projected(constraint, bad, (2,))
    np.testing.assert_array_equal(P[0], projected(constraint, W[0]))
    assert np.isnan(P[1, 0, 2])


@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, [1.0, 0.0], [], "2", None])
def test_a_limit_is_positive(bad):
    with refused("limit"):
        MaxNorm(bad)


def law_limits_broadcast_to_the_members():
    net = mlp(4, 3, seeds=[0, 1, 2])
    theta = net.theta.copy()
    for bad in ([0.1, 0.2], np.full((2, 3), 0.1)):
        with refused("MaxNorm.limit", ValueError):
            MaxNorm(bad)(net)
    np.testing.assert_array_equal(net.theta, theta)


def test_limits_broadcast_to_the_members():
    law_limits_broadcast_to_the_members()


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


def constrained(keras_constraint):
    def model(net):
        twin = to_keras(net)
        for layer in twin.layers:
            if hasattr(layer, "kernel"):
                layer.kernel.constraint = keras_constraint
        return twin

    return model


@pytest.mark.keras
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_200_steps_reach_the_weights_of_keras_but_for_its_epsilon(keras, name):
    """Its epsilon takes 1e-7 of the norm at each step, and is felt in the end; without it nothing differs."""
    theirs = {"max-norm": keras.constraints.MaxNorm(1.25), "unit norm": keras.constraints.UnitNorm()}[name]

    def difference():
        return steps_in_keras(
            lambda **options: mlp(8, 16, 3, **options), SGD(RATE / 4, momentum=MOMENTUM),
            keras.optimizers.SGD(RATE / 4, momentum=MOMENTUM), model=constrained(theirs),
            constrain=CONSTRAINTS[name](1.25),
        )  # fmt: skip

    epsilon = keras.config.epsilon()
    assert epsilon == 1e-7
    assert 1e-9 < difference() < 200 * 1e-7 / 0.1
    try:
        keras.config.set_epsilon(0.0)
        assert difference() <= 1e-12
    finally:
        keras.config.set_epsilon(epsilon)


@pytest.mark.keras
def test_keras_divides_by_the_norm_plus_1e_7_also_inside_the_ball(keras):
    W = np.random.default_rng(0).standard_normal((6, 5)) * [0.01, 0.1, 1, 10, 100]
    share = column_norms(W) / (column_norms(W) + 1e-7)
    theirs = keras.constraints.MaxNorm(2.0)(W).numpy()
    np.testing.assert_allclose(theirs, share * projected(MaxNorm(2.0), W), rtol=1e-14)
    np.testing.assert_allclose(
        keras.constraints.UnitNorm()(W).numpy(), share * projected(UnitNorm(), W), rtol=1e-14
    )
    assert (np.abs(theirs) < np.abs(W)).all()
    assert keras.constraints.MaxNorm().max_value == MaxNorm().limit


@pytest.mark.keras
def test_a_convolution_of_keras_needs_three_axes(keras):
    W = np.random.default_rng(0).standard_normal((3, 3, 2, 5))
    ours = projected(MaxNorm(1.0), W)
    assert relative(keras.constraints.MaxNorm(1.0, axis=[0, 1, 2])(W).numpy(), ours) < 1e-6
    assert relative(keras.constraints.MaxNorm(1.0, axis=0)(W).numpy(), ours) > 0.1


@pytest.mark.torch
def test_renorm_of_pytorch_differs_by_its_epsilon_outside_the_ball_only():
    torch = pytest.importorskip("torch")
    theirs = torch.renorm(torch.tensor(W.T.copy()), 2, 0, 2.0).numpy().T
    ours, outside = projected(MaxNorm(2.0), W), column_norms(W) > 2
    share = np.where(outside, column_norms(W) / (column_norms(W) + 1e-7), 1)
    np.testing.assert_allclose(theirs, share * ours, rtol=1e-14)


# -- planted bugs --------------------------------------------------------------------------------------------


def law_max_norm():
    law_no_column_is_longer_than_the_limit(2.0, W)
    law_the_step_is_a_projection(2.0, W, W[::-1], W - 1)


def law_unit_norm():
    law_every_column_has_length_one_and_zeros_stay(W)


def max_norm(right, wrong, law=law_max_norm):
    return Bug(MaxNorm, "__call__", right, wrong, law)


def norms(right, wrong, law):
    return Bug(constraints, "column_norms", right, wrong, law)


LONGEST = "np.maximum(column_norms(W), limit)"
STEP = f"W *= limit / {LONGEST}"
sphere = law_unit_norm

BUGS = {
    "rows are constrained instead of columns": norms("-2", "-1", law_max_norm),
    "the whole kernel has one norm": norms("sum(-2", "sum((-1, -2)", law_max_norm),
    "the norm lacks its root": norms("np.sqrt(", "(", law_max_norm),
    "the norm is the sum of absolute values": norms("np.square(W, dtype=np.float64)", "abs(W)", sphere),
    "short columns are stretched to the limit": max_norm(LONGEST, "column_norms(W)"),
    "the ball is pulled in by an epsilon": max_norm(LONGEST, f"({LONGEST} + 1e-7)"),
    "columns outside become zero": max_norm(STEP, "W *= column_norms(W) <= limit"),
    "every weight is clipped by itself": max_norm(STEP, "W.clip(-limit, limit, W)"),
    "the limit becomes the norm's square": max_norm("limit / np", "limit * limit / np"),
    "a copy is constrained": max_norm(STEP, f"W = W * limit / {LONGEST}"),
    "biases are constrained": max_norm(
        "net.kernels()", "[p.value.reshape(*net.lead, -1, p.value.shape[-1]) for p in net.parameters]"
    ),
    "all members have one limit": max_norm(
        "np.asarray(self.limit, net.dtype)", "np.min(self.limit)", law_each_member_has_its_own_limit
    ),
    "limits of other shapes pass": max_norm(
        'checks.broadcasts("MaxNorm.limit", np.shape(self.limit), net.lead)', "pass",
        law_limits_broadcast_to_the_members,
    ),
    "columns of zeros become NaN": Bug(
        UnitNorm, "__call__", "np.where(norms > 0, norms, 1)", "norms", law_unit_norm
    ),
    "unit norm has an epsilon": Bug(
        UnitNorm, "__call__", "np.where(norms > 0, norms, 1)", "(norms + 1e-7)", law_unit_norm
    ),
    "unit norm leaves short columns": Bug(UnitNorm, "__call__", "norms > 0", "norms > 1", law_unit_norm),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
