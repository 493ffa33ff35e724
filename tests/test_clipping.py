"""Clipping: no gradient is larger than its limit, and one within the limit keeps every bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from parity import MOMENTUM, RATE, steps_in_keras
from planting import Bug, check_noticed
from sklearn.datasets import load_wine
from test_checks import refused
from test_layers import seeds_of

from regularize import clipping
from regularize.clipping import ClipGlobalNorm, ClipNorm, ClipValue
from regularize.data import one_hot, standardize
from regularize.network import mlp
from regularize.optimizers import SGD
from regularize.penalties import L2
from regularize.training import evaluate, fit

CLIPS = [ClipValue, ClipNorm, ClipGlobalNorm]
SIZES = (15, 5, 10, 2)  # of W, b, W, b below


def network(lead=(), dtype="float64", scale=1.0):
    """With a random gradient, whose parts have norms of about ``scale`` times 4, 2, 3, 1."""
    net = mlp(3, 5, 2, seeds=seeds_of(lead), dtype=dtype)
    net.grad[...] = scale * np.random.default_rng(0).standard_normal(net.grad.shape)
    return net


def parts(net, gradient):
    """The gradient of each parameter array, ``lead + (n,)``."""
    return np.split(gradient, np.cumsum(SIZES)[:-1], axis=-1)


def norms(a):
    return np.sqrt((a.astype(float) ** 2).sum(-1, keepdims=True))


def by_hand(kind, net, gradient, limit):
    """The formula, for each member by itself."""
    limit = np.broadcast_to(limit, net.lead)[..., None]
    if kind is ClipValue:
        return np.sign(gradient) * np.minimum(np.abs(gradient), limit)
    groups = [gradient] if kind is ClipGlobalNorm else parts(net, gradient)
    return np.concatenate([g * np.minimum(1, limit / norms(g)) for g in groups], axis=-1)


# -- the formula ---------------------------------------------------------------------------------------------


def law_the_formula_holds(kind):
    for lead, limit in (((), 0.7), ((3,), [0.1, 2.5, 50]), ((2, 3), [[0.3], [3]])):
        net = network(lead)
        before = net.grad.copy()
        assert getattr(clipping, kind.__name__)(limit)(net) is None
        np.testing.assert_allclose(net.grad, by_hand(kind, net, before, limit), rtol=1e-14)


@pytest.mark.parametrize("kind", CLIPS)
def test_the_formula_holds(kind):
    law_the_formula_holds(kind)


@given(
    gradient=arrays(np.float64, (2, 32), elements=st.floats(-1e100, 1e100)),
    limit=st.floats(1e-100, 1e100),
    kind=st.sampled_from(CLIPS),
)
@settings(max_examples=60)
def test_the_limit_is_kept_and_what_is_within_keeps_its_bits(gradient, limit, kind):
    net = network((2,))
    net.grad[...] = gradient
    kind(limit)(net)
    for old, new in zip(parts(net, gradient), parts(net, net.grad), strict=True):
        assert (np.abs(new) <= np.abs(old)).all()
        assert (new * np.sign(old) >= 0).all()
    if kind is ClipValue:
        assert np.abs(net.grad).max() <= limit
        within = np.abs(gradient) <= limit
        np.testing.assert_array_equal(net.grad[within], gradient[within])
        return
    groups = [(gradient, net.grad)]
    if kind is ClipNorm:
        groups = zip(parts(net, gradient), parts(net, net.grad), strict=True)
    for old, new in groups:
        assert (norms(new) <= limit * (1 + 1e-14)).all()
        for member in range(2):
            if norms(old)[member] <= limit * (1 - 1e-14):
                np.testing.assert_array_equal(new[member], old[member])


def law_a_gradient_at_the_limit_keeps_every_bit(kind, dtype):
    """Also where limit / norm is no power of two: 0.1 g / 0.1 would not be g."""
    net = network((2,), dtype)
    net.grad[...] = 0
    net.layers[0].dW[:, 0, 0], net.layers[0].dW[:, 1, 0] = 0.3, -0.4
    before = net.grad.copy()
    limit = {
        ClipValue: np.abs(before).max(),
        ClipNorm: norms(before).max(),
        ClipGlobalNorm: norms(before).max(),
    }
    for factor in (1, 3):
        getattr(clipping, kind.__name__)(factor * limit[kind])(net)
        np.testing.assert_array_equal(net.grad, before)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", CLIPS)
def test_a_gradient_at_the_limit_keeps_every_bit(kind, dtype):
    law_a_gradient_at_the_limit_keeps_every_bit(kind, dtype)


def law_zero_stays_zero(kind):
    net = network((2,))
    net.grad[0] = 0
    net.layers[0].dW[1] = 0
    getattr(clipping, kind.__name__)(0.5)(net)
    np.testing.assert_array_equal(net.grad[0], 0)
    np.testing.assert_array_equal(net.layers[0].dW, 0)
    assert np.isfinite(net.grad).all()


@pytest.mark.parametrize("kind", CLIPS)
def test_zero_stays_zero(kind):
    law_zero_stays_zero(kind)


def law_directions_are_kept():
    """Of the whole gradient by ClipGlobalNorm, of each array by ClipNorm; ClipValue keeps none."""

    def same(a, b):
        return np.allclose(a / norms(a), b / norms(b), rtol=1e-13, atol=0)

    whole, each = {}, {}
    for name in ("ClipValue", "ClipNorm", "ClipGlobalNorm"):
        net = network((3,))
        before = net.grad.copy()
        getattr(clipping, name)(0.25)(net)
        whole[name] = same(net.grad, before)
        pairs = zip(parts(net, net.grad), parts(net, before), strict=True)
        each[name] = all([same(a, b) for a, b in pairs])
    assert whole == {"ClipValue": False, "ClipNorm": False, "ClipGlobalNorm": True}
    assert each == {"ClipValue": False, "ClipNorm": True, "ClipGlobalNorm": True}


def test_directions_are_kept():
    law_directions_are_kept()


def law_members_do_not_influence_each_other(kind):
    """An exploding neighbour, limits of their own: each is, bit for bit, what it is alone."""
    limits = np.array([[0.5], [2.0]])
    together = network((2, 3))
    together.grad[0, 1] *= 1e9
    before = together.grad.copy()
    getattr(clipping, kind.__name__)(limits)(together)
    for k, i in np.ndindex(2, 3):
        alone = network()
        alone.grad[...] = before[k, i]
        getattr(clipping, kind.__name__)(limits[k, 0])(alone)
        np.testing.assert_array_equal(alone.grad, together.grad[k, i])


@pytest.mark.parametrize("kind", CLIPS)
def test_members_do_not_influence_each_other(kind):
    law_members_do_not_influence_each_other(kind)


@pytest.mark.parametrize("kind", CLIPS)
def test_wide_members_are_the_networks_trained_alone(kind):
    """Bit for bit, with sums of many squares, where the order of the terms could differ."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 70)), np.eye(2)[rng.integers(2, size=11)]

    def trained(seeds):
        net = mlp(70, 60, 2, seeds=seeds)
        fit(net, x, y, SGD(0.5, momentum=0.5), epochs=2, batch_size=4, clip=kind(0.01))
        return net.theta

    together = trained([4, 1, 7])
    for i, seed in enumerate([4, 1, 7]):
        np.testing.assert_array_equal(together[i], trained(seed))


# -- numbers that are none -----------------------------------------------------------------------------------


def law_clipping_does_not_hide_divergence():
    """NaN stays; a norm that is NaN or infinite makes NaN of what it was taken over, and of nothing else."""
    for bad in (np.nan, np.inf, -np.inf, 1e200):
        for kind in CLIPS:
            net = network((2,))
            net.layers[2].dW[0, 0, 0] = bad
            before = network((2,)).grad
            getattr(clipping, kind.__name__)(0.5)(net)
            gone = np.isnan(net.grad)
            expected = {ClipValue: int(np.isnan(bad)), ClipNorm: 10, ClipGlobalNorm: 32}[kind]
            assert gone[0].sum() == expected, (bad, kind)
            assert not gone[1].any()
            assert not np.isinf(net.grad).any()
            np.testing.assert_allclose(net.grad[1], by_hand(kind, net, before, 0.5)[1], rtol=1e-13)


def test_clipping_does_not_hide_divergence():
    law_clipping_does_not_hide_divergence()


def test_fit_names_members_whose_gradient_is_no_number():
    x = np.array([[1e200, 1.0, 1.0], [1.0, -1e200, 1.0]])  # so is one of the gradients
    for kind in (ClipNorm, ClipGlobalNorm):
        with pytest.raises(FloatingPointError, match="diverged"):
            fit(mlp(3, 5, 2, seeds=range(6)), x, np.eye(2), SGD(0.1), epochs=2, batch_size=2, clip=kind(1.0))


def law_float32_has_room_for_large_gradients(kind):
    """The squares of 1e25 are infinite in float32; the direction is there all the same."""
    net, exact = network((2,), "float32", scale=1e25), network((2,), scale=1e25)
    for n in (net, exact):
        getattr(clipping, kind.__name__)(0.5)(n)
    assert net.grad.dtype == net.layers[0].dW.dtype == np.float32
    np.testing.assert_allclose(net.grad, exact.grad, rtol=1e-6)


@pytest.mark.parametrize("kind", CLIPS)
def test_float32_has_room_for_large_gradients(kind):
    law_float32_has_room_for_large_gradients(kind)


# -- in training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLIPS)
def test_the_gradient_is_clipped_in_place(kind):
    net = network((2,))
    grad, theta, view = net.grad, net.theta.copy(), net.layers[0].dW
    before = grad.copy()
    kind(1e-4)(net)
    assert net.grad is grad
    assert net.layers[0].dW is view
    np.testing.assert_array_equal(view.reshape(2, -1), grad[:, :15])
    np.testing.assert_array_equal(net.theta, theta)
    assert (grad != before).all()


def law_the_step_is_bounded():
    """SGD with a clipped gradient moves by at most learning rate times limit, penalty included."""
    net = mlp(3, 5, 2, seeds=[0, 1, 2])
    start, limit = net.theta.copy(), np.array([1e-3, 1e-2, 1e6])
    x, y = np.random.default_rng(0).standard_normal((6, 3)), np.eye(2)[[0, 1, 0, 1, 1, 0]]
    fit(net, x, y, SGD(0.5), epochs=1, batch_size=6, penalty=L2(1.0), clip=clipping.ClipGlobalNorm(limit))
    moved = norms(net.theta - start)[:, 0]
    np.testing.assert_allclose(moved[:2], 0.5 * limit[:2], rtol=1e-9)
    assert 0.1 < moved[2] < 100


def test_the_step_is_bounded():
    law_the_step_is_bounded()


def law_clipping_rescues_a_deep_network():
    """Six hidden layers, momentum 0.9, learning rate 0.3: every member fails; with clipping none does."""
    wine = load_wine()
    x, y = standardize(wine.data)[0], one_hot(wine.target, 3)
    limits = {None: None, "ClipValue": 0.01, "ClipNorm": 0.1, "ClipGlobalNorm": 0.1}
    for name, limit in limits.items():
        net = mlp(13, *[16] * 6, 3, seeds=range(6))
        clip = getattr(clipping, name)(limit) if name else None
        fit(net, x, y, SGD(0.3, momentum=0.9), epochs=10, batch_size=25, clip=clip, diverged="keep")
        accuracy = evaluate(net, x, y).accuracy
        assert (accuracy > 0.95).all() if name else not (accuracy > 0.6).any(), (name, accuracy)


def test_clipping_rescues_a_deep_network():
    law_clipping_rescues_a_deep_network()


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 0.0, -1, np.nan, np.inf, "1", None, [1.0, 0.0], []])
@pytest.mark.parametrize("kind", CLIPS)
def test_a_limit_is_positive(kind, bad):
    with refused("limit"):
        kind(bad)


@pytest.mark.parametrize("kind", CLIPS)
def test_a_limit_broadcasts_to_the_members(kind):
    net = network((2, 3))
    before = net.grad.copy()
    for limit in ([1.0, 2.0], np.ones((3, 1)), np.ones((1, 2, 3))):
        with refused(f"{kind.__name__}.limit", ValueError):
            kind(limit)(net)
    np.testing.assert_array_equal(net.grad, before)


# -- Keras and PyTorch ---------------------------------------------------------------------------------------

TWINS = {
    "clipvalue": (ClipValue, 2**-2),
    "clipnorm": (ClipNorm, 2**-1),
    "global_clipnorm": (ClipGlobalNorm, 2**-1),
}


@pytest.mark.keras
@pytest.mark.parametrize("name", TWINS)
def test_200_steps_reach_the_weights_of_keras(keras, name):
    """Some steps are clipped and some are not; the penalty is part of what is clipped."""
    kind, limit = TWINS[name]
    clip, clipped = kind(limit), []

    def counting(net):
        before = net.grad.copy()
        clip(net)
        clipped.append((net.grad != before).any())

    difference = steps_in_keras(
        lambda **options: mlp(8, 16, 3, **options),
        SGD(RATE, momentum=MOMENTUM),
        keras.optimizers.SGD(RATE, momentum=MOMENTUM, **{name: limit}),
        penalty=L2(2**-6),
        clip=counting,
    )
    assert difference <= 1e-12
    assert len(clipped) == 200
    assert 10 < sum(clipped) < 190


@pytest.mark.keras
def test_keras_takes_one_kind_at_a_time(keras):
    with pytest.raises(ValueError, match="Only one"):
        keras.optimizers.SGD(clipnorm=1.0, clipvalue=1.0)


@pytest.mark.keras
def test_keras_rounds_what_is_within_the_limit(keras):
    """It computes ``g limit / max(norm, limit)``: with 0.1 not always g."""
    g = np.random.default_rng(0).uniform(-1, 1, 200) / 200
    theirs = keras.optimizers.SGD(clipnorm=0.1)._clip_by_norm(keras.ops.convert_to_tensor(g, dtype="float64"))
    assert np.linalg.norm(g) < 0.1
    np.testing.assert_allclose(np.asarray(theirs), g, rtol=1e-15)
    assert (np.asarray(theirs) != g).any()


@pytest.mark.torch
def test_pytorch_divides_by_a_little_more():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    for kind, clip in (
        (ClipValue, torch.nn.utils.clip_grad_value_),
        (ClipGlobalNorm, torch.nn.utils.clip_grad_norm_),
    ):
        for limit in (0.25, 1e-4, 100.0):
            net = network()
            theirs = [torch.nn.Parameter(torch.zeros(p.gradient.shape).double()) for p in net.parameters]
            for a, p in zip(theirs, net.parameters, strict=True):
                a.grad = torch.tensor(p.gradient.copy())
            norm = norms(net.grad)
            clip(theirs, limit)
            kind(limit)(net)
            found = np.concatenate([a.grad.numpy().ravel() for a in theirs])
            if kind is ClipGlobalNorm and limit < norm:
                np.testing.assert_allclose(found, net.grad * norm / (norm + 1e-6), rtol=1e-14)
                assert norms(found) < limit * (1 - 1e-8)
            else:
                np.testing.assert_array_equal(found, net.grad)


# -- planted bugs --------------------------------------------------------------------------------------------


def formula(kind):
    return lambda: law_the_formula_holds(kind)


def alone(kind):
    return lambda: law_members_do_not_influence_each_other(kind)


def zero():
    law_zero_stays_zero(ClipNorm)


BUGS = {
    "values are clipped on one side": Bug(
        ClipValue, "__call__", "-limit, limit", "None, limit", formula(ClipValue)
    ),
    "values are clipped at 1": Bug(ClipValue, "__call__", "-limit, limit", "-1, 1", formula(ClipValue)),
    "the clipped values are thrown away": Bug(
        ClipValue, "__call__", ", out=net.grad", "", formula(ClipValue)
    ),
    "the weights are clipped": Bug(
        ClipValue, "__call__", "out=net.grad", "out=net.theta", formula(ClipValue)
    ),
    "values are scaled by the largest": Bug(
        ClipValue, "__call__", "np.clip(net.grad, -limit, limit, out=net.grad)",
        "net.grad *= np.minimum(1, limit / np.abs(net.grad).max(-1, keepdims=True))", law_directions_are_kept,
    ),
    "each array's norm is clipped, biases are not": Bug(
        ClipNorm, "__call__", "in net.parameters:", "in (q for q in net.parameters if q.penalized):",
        formula(ClipNorm),
    ),
    "the joint norm is clipped instead of each": Bug(
        ClipNorm, "__call__", "shrinkage(g, limit)", "shrinkage(net.grad, limit)", formula(ClipNorm)
    ),
    "the rows of a kernel are clipped": Bug(
        ClipNorm, "__call__", "p.gradient.reshape(*net.lead, -1)",
        "np.swapaxes(p.gradient, -1, 0) if not net.lead else p.gradient[..., 0, :]", formula(ClipNorm),
    ),
    "all members share one norm": Bug(
        clipping, "shrinkage", ".sum(-1, keepdims=True)", ".sum()", alone(ClipGlobalNorm)
    ),
    "members take the limit of the first": Bug(
        clipping._Clip, "limits", "per_member(self.limit, net.theta)",
        "per_member(np.ravel(self.limit)[0], net.theta)", alone(ClipNorm),
    ),
    "gradients are lengthened to the limit": Bug(
        clipping, "shrinkage", "limit / np.maximum(norm, limit)", "limit / norm",
        lambda: law_a_gradient_at_the_limit_keeps_every_bit(ClipGlobalNorm, "float64"),
    ),
    "a gradient of 0 becomes NaN": Bug(
        clipping, "shrinkage", "limit / np.maximum(norm, limit)",
        "np.minimum(1, limit / norm) * (norm / norm)", zero,
    ),
    "the norm has PyTorch's 1e-6": Bug(
        clipping, "shrinkage", "np.maximum(norm, limit)", "np.maximum(norm + 1e-6, limit)",
        formula(ClipGlobalNorm),
    ),
    "the norm is the sum of absolute values": Bug(
        clipping, "shrinkage", "np.sqrt(np.square(g, dtype=np.float64).sum(-1, keepdims=True))",
        "np.abs(g).sum(-1, keepdims=True)", formula(ClipNorm),
    ),
    "the norm is squared": Bug(
        clipping, "shrinkage", "np.sqrt(np.square(g, dtype=np.float64).sum(-1, keepdims=True))",
        "np.square(g).sum(-1, keepdims=True)", formula(ClipGlobalNorm),
    ),
    "the norm is the root of a mean": Bug(
        clipping, "shrinkage", ".sum(-1, keepdims=True)", ".mean(-1, keepdims=True)", formula(ClipGlobalNorm)
    ),
    "squares are taken in float32": Bug(
        clipping, "shrinkage", ", dtype=np.float64", "",
        lambda: law_float32_has_room_for_large_gradients(ClipGlobalNorm),
    ),
    "an infinite norm makes zeros": Bug(
        clipping, "shrinkage", ", np.nan)", ", 0)", law_clipping_does_not_hide_divergence
    ),
    "NaN becomes 0": Bug(
        ClipValue, "__call__", "np.clip(net.grad,", "np.clip(np.nan_to_num(net.grad),",
        law_clipping_does_not_hide_divergence,
    ),
    "the penalty's limit is the learning rate's": Bug(
        ClipGlobalNorm, "__call__", "self.limits(net)", "0.5 * self.limits(net)", law_the_step_is_bounded
    ),
    "nothing is clipped": Bug(
        ClipGlobalNorm, "__call__", "net.grad *= ", "", law_clipping_rescues_a_deep_network
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
