"""Weight decay shrinks weights by a fixed share: L2 under plain SGD, a method of its own elsewhere."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import (
    BATCH,
    BETA1,
    BETA2,
    EPOCHS,
    EPSILON,
    MOMENTUM,
    RATE,
    batches,
    data,
    relative,
    steps_in_keras,
)
from planting import Bug, check_noticed
from test_checks import refused

from regularize.layers import Dense
from regularize.losses import squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.penalties import L2
from regularize.training import fit
from regularize.weight_decay import WeightDecay

DECAY = 2**-5
OPTIMIZERS = {
    "SGD": lambda rate=RATE: SGD(rate),
    "momentum": lambda rate=RATE: SGD(rate / 4, momentum=MOMENTUM),
    "Adam": lambda rate=RATE: Adam(rate / 4, BETA1, BETA2, EPSILON),
}
X, Y = data()


def trained(optimizer="SGD", *, seeds=5, dtype="float64", epochs=EPOCHS, rate=RATE, **seams):
    net = mlp(8, 16, 3, seeds=seeds, dtype=dtype)
    fit(net, X, Y, OPTIMIZERS[optimizer](rate), epochs=epochs, batch_size=BATCH, **seams)
    return net


def without_gradient(decay, rate, t, dtype="float64", lead=(2, 3)):
    """The weights after t steps on data that pull nowhere, relative to the first ones; biases are 0.5."""
    net = mlp(4, 3, seeds=np.arange(np.prod(lead, dtype=int)).reshape(lead), dtype=dtype)
    net.layers[0].b[...] = 0.5
    first = net.weights().astype(np.float64)
    x, y = np.zeros((2, 4)), np.full((2, 3), 0.5)
    fit(net, x, y, SGD(rate), epochs=t, batch_size=2, loss=squared_error, decay=WeightDecay(decay))
    np.testing.assert_array_equal(net.layers[0].b, 0.5)
    return net.weights() / first


# -- what it does --------------------------------------------------------------------------------------------


def law_without_a_gradient_weights_shrink_by_a_fixed_share():
    """By ``(1 - learning_rate decay)^t``; biases stay. Rates and decays may differ between members."""
    for rate, decay, t in [(0.25, 0.5, 1), (0.1, 0.3, 20), (1.5, 1.0, 3)]:
        share = without_gradient(decay, rate, t)
        np.testing.assert_allclose(share, np.full_like(share, (1 - rate * decay) ** t), rtol=1e-13)
    rate, decay = np.array([0.1, 0.2, 0.3]), np.array([[0.5], [2.0]])
    share = without_gradient(decay, rate, 4)
    np.testing.assert_allclose(
        share, np.broadcast_to((1 - rate * decay)[..., None] ** 4, share.shape), rtol=1e-13
    )


def test_without_a_gradient_weights_shrink_by_a_fixed_share():
    law_without_a_gradient_weights_shrink_by_a_fixed_share()


@given(decay=st.floats(0, 4), rate=st.floats(1e-3, 1), t=st.integers(0, 5))
def test_any_decay_is_a_geometric_sequence(decay, rate, t):
    share = without_gradient(decay, rate, t, lead=())
    np.testing.assert_allclose(share, (1 - rate * decay) ** t, rtol=1e-12, atol=1e-15)


def law_small_shares_are_not_lost_in_float32():
    """In float32 ``1 - 4e-7`` is 4 % off for all weights, ``w - 4e-7 w`` is right on average."""
    share = without_gradient(0.004, 0.0001, 400, "float32", lead=(40,)).mean()
    np.testing.assert_allclose(np.log(share), 400 * np.log1p(-4e-7), rtol=0.015)


def test_small_shares_are_not_lost_in_float32():
    law_small_shares_are_not_lost_in_float32()


def law_decay_equals_l2_under_sgd_only():
    """C8: ``decay = 2 lam`` under plain SGD to rounding; with momentum and with Adam, another training."""
    plain = relative(trained(penalty=L2(DECAY / 2)).theta, trained(decay=WeightDecay(DECAY)).theta)
    assert plain <= 1e-13, plain
    for optimizer in ("momentum", "Adam"):
        penalized, decayed = (
            trained(optimizer, penalty=L2(DECAY / 2)),
            trained(optimizer, decay=WeightDecay(DECAY)),
        )
        assert relative(penalized.theta, decayed.theta) > 0.02, optimizer


def test_decay_equals_l2_under_sgd_only():
    law_decay_equals_l2_under_sgd_only()


def test_decay_is_no_proximal_step_either():
    """``1 - lr decay`` against ``1 / (1 + 2 lr lam)``: they agree to first order in the learning rate."""
    proximal = trained(penalty=L2(DECAY / 2), proximal=True)
    difference = relative(trained(decay=WeightDecay(DECAY)).theta, proximal.theta)
    assert 1e-6 < difference < 1e-2


def test_with_momentum_decay_rests_at_the_minimum_for_a_smaller_lambda():
    """``lam = (1 - mu) decay / 2`` on full batches: least squares, where that minimum is known."""
    x, y, decay, mu = X, Y @ np.ones((3, 2)) + X[:, :2], 0.5, 0.875
    net = Network(Dense(8, 2), seeds=[0, 1])
    fit(
        net,
        x,
        y,
        SGD(0.05, momentum=mu),
        epochs=900,
        batch_size=len(x),
        loss=squared_error,
        decay=WeightDecay(decay),
    )
    lam, n, centered = (1 - mu) * decay / 2, len(x), x - x.mean(0)
    w = np.linalg.solve(centered.T @ centered + n * lam * np.eye(8), centered.T @ (y - y.mean(0)))
    for s in range(2):
        np.testing.assert_allclose(net.layers[0].W[s], w, rtol=1e-9, atol=1e-12)


def test_no_decay_changes_no_bit_and_the_default_is_that_of_adamw_in_keras():
    np.testing.assert_array_equal(trained(decay=WeightDecay(0.0), epochs=3).theta, trained(epochs=3).theta)
    assert WeightDecay().decay == 0.004


def test_the_gradient_stays_and_the_step_is_relative_to_the_rate_of_the_moment():
    net = mlp(4, 3, seeds=[0, 1])
    theta, rate = net.theta.copy(), np.array([0.5, 0.25])
    net.grad[...] = 7.0
    WeightDecay([0.5, 1.0])(net, rate)
    assert (net.grad == 7).all()
    np.testing.assert_array_equal(net.weights(), 0.75 * theta[:, net.penalized > 0])  # dyadic: exact
    np.testing.assert_array_equal(rate, [0.5, 0.25])


# -- members and bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_member_is_the_network_trained_alone(optimizer, dtype):
    """Decays x seeds, bit for bit; a schedule makes the rate an array."""
    decay, seeds = np.array([[0.1], [1.0]]), np.tile([3, 0, 8], (2, 1))
    options = {"epochs": 2, "dtype": dtype, "schedule": lambda epoch: 0.5**epoch}
    together = trained(optimizer, seeds=seeds, decay=WeightDecay(decay), **options)
    assert together.theta.dtype == dtype
    for k, s in np.ndindex(2, 3):
        alone = trained(optimizer, seeds=seeds[k, s], decay=WeightDecay(decay[k, 0]), **options)
        np.testing.assert_array_equal(together.theta[k, s], alone.theta)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, [0.1, -1], [], "0.1", None])
def test_a_decay_is_not_negative(bad):
    with refused("decay"):
        WeightDecay(bad)


def law_decays_broadcast_to_the_members():
    net = mlp(4, 3, seeds=[0, 1, 2])
    theta = net.theta.copy()
    with refused("WeightDecay.decay", ValueError):
        WeightDecay([0.1, 0.2])(net, 0.1)
    with refused("WeightDecay.decay", ValueError):
        WeightDecay(np.full((2, 3), 0.1))(net, 0.1)
    np.testing.assert_array_equal(net.theta, theta)


def test_decays_broadcast_to_the_members():
    law_decays_broadcast_to_the_members()


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


def make(**options):
    return mlp(8, 16, 3, **options)


def without_biases(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.keras
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_200_steps_reach_the_weights_of_keras(keras, optimizer):
    o = keras.optimizers
    theirs = {
        "SGD": lambda: o.SGD(RATE, weight_decay=DECAY),
        "momentum": lambda: o.SGD(RATE / 4, momentum=MOMENTUM, weight_decay=DECAY),
        "Adam": lambda: o.AdamW(RATE / 4, DECAY, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON),
    }[optimizer]
    ours = OPTIMIZERS[optimizer]
    assert steps_in_keras(make, ours(), without_biases(theirs()), decay=WeightDecay(DECAY)) <= 1e-12
    # Keras decays biases, too, unless they are excluded.
    assert steps_in_keras(make, ours(), theirs(), decay=WeightDecay(DECAY)) > 1e-4


@pytest.mark.keras
def test_the_defaults_of_keras_are_as_documented(keras):
    adamw = keras.optimizers.AdamW()
    assert adamw.weight_decay == WeightDecay().decay
    assert adamw.epsilon == 1e-7
    np.testing.assert_allclose(float(keras.regularizers.get("l2").l2), 0.01, rtol=1e-6)
    assert keras.optimizers.SGD().weight_decay is None


def in_torch(torch, build, epsilon):
    """200 steps of a PyTorch optimizer from the same weights; biases without decay."""
    torch.set_num_threads(1)
    net = make(seeds=5)
    layers = [layer for layer in net.layers if isinstance(layer, Dense)]
    W, b = ([torch.tensor(getattr(a, name).copy(), requires_grad=True) for a in layers] for name in "Wb")
    optimizer = build([{"params": W}, {"params": b, "weight_decay": 0.0}])
    x, y = torch.tensor(X), torch.tensor(Y)
    for t, rows in enumerate(batches(5), start=1):
        for group in optimizer.param_groups:
            if epsilon:
                group["eps"] = EPSILON / np.sqrt(1 - BETA2**t)  # Keras's place of epsilon
        optimizer.zero_grad()
        z = torch.relu(x[rows] @ W[0] + b[0]) @ W[1] + b[1]
        torch.nn.functional.cross_entropy(z, y[rows]).backward()
        optimizer.step()
    for layer, kernel, bias in zip(layers, W, b, strict=True):
        layer.W[...], layer.b[...] = kernel.detach().numpy(), bias.detach().numpy()
    return net.theta


@pytest.mark.torch
def test_200_steps_reach_the_weights_of_pytorch():
    """AdamW is decoupled. ``weight_decay`` of SGD and Adam is coupled: L2 with half that lambda."""
    torch = pytest.importorskip("torch")
    o, betas = torch.optim, (BETA1, BETA2)
    decoupled = in_torch(torch, partial(o.AdamW, lr=RATE / 4, betas=betas, weight_decay=DECAY), True)
    assert relative(trained("Adam", decay=WeightDecay(DECAY)).theta, decoupled) <= 1e-12
    coupled = in_torch(torch, partial(o.Adam, lr=RATE / 4, betas=betas, weight_decay=DECAY), True)
    assert relative(trained("Adam", penalty=L2(DECAY / 2)).theta, coupled) <= 1e-12
    assert relative(trained("Adam", decay=WeightDecay(DECAY)).theta, coupled) > 0.02
    momentum = in_torch(torch, partial(o.SGD, lr=RATE / 4, momentum=MOMENTUM, weight_decay=DECAY), False)
    assert relative(trained("momentum", penalty=L2(DECAY / 2)).theta, momentum) <= 1e-12
    assert relative(trained("momentum", decay=WeightDecay(DECAY)).theta, momentum) > 0.02
    plain = in_torch(torch, partial(o.SGD, lr=RATE, weight_decay=DECAY), False)
    assert relative(trained("SGD", decay=WeightDecay(DECAY)).theta, plain) <= 1e-12


@pytest.mark.torch
def test_the_defaults_of_pytorch_are_as_documented():
    torch = pytest.importorskip("torch")
    defaults = torch.optim.AdamW([torch.zeros(1)]).defaults
    assert (defaults["weight_decay"], defaults["eps"]) == (0.01, 1e-8)


# -- planted bugs --------------------------------------------------------------------------------------------

share = law_without_a_gradient_weights_shrink_by_a_fixed_share
l2 = law_decay_equals_l2_under_sgd_only
RATES, STEP = "np.asarray(learning_rate)", "net.theta -= share * net.theta"
PENALTY = "net.grad += per_member(self.decay, net.theta) * net.penalized * net.theta"


def decay_bug(right, wrong, law):
    return Bug(WeightDecay, "__call__", right, wrong, law)


BUGS = {
    "decay forgets the learning rate": decay_bug(f"{RATES} * self.decay", "self.decay", l2),
    "decay has L2's 2": decay_bug("* self.decay", "* 2 * self.decay", l2),
    "decay goes through the gradient": decay_bug(STEP, PENALTY, l2),
    "biases decay": decay_bug(" * net.penalized", "", share),
    "only biases decay": decay_bug("* net.penalized", "* (1 - net.penalized)", share),
    "weights grow": decay_bug("-= share", "+= share", share),
    "a fixed step instead of a share": decay_bug(STEP, "net.theta -= share * np.sign(net.theta)", share),
    "all members decay alike": decay_bug("* self.decay", "* np.mean(self.decay)", share),
    "all members have one learning rate": decay_bug(RATES, "np.mean(learning_rate)", share),
    "a small share drowns in float32": decay_bug(
        STEP, "net.theta *= 1 - share", law_small_shares_are_not_lost_in_float32
    ),
    "decays of other shapes pass": decay_bug(
        'checks.broadcasts("WeightDecay.decay", np.shape(self.decay), net.lead)', "pass",
        law_decays_broadcast_to_the_members,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
