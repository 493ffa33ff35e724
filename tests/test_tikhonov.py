"""Noise on the inputs is ridge regression in a linear model, and a penalty on the gradient in a network."""

import numpy as np
import pytest
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize import linear, tikhonov
from regularize.activations import Tanh
from regularize.augmentation import GaussianNoise
from regularize.layers import Dense, Layer
from regularize.losses import squared_error
from regularize.network import Network, mlp
from regularize.numerical import numerical_gradient
from regularize.optimizers import SGD
from regularize.penalties import L2
from regularize.streams import Streams
from regularize.training import fit


def data(lead=(), n=12, d=3, k=None):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*lead, n, d)) + 0.5
    return x, rng.standard_normal((*lead, n) if k is None else (*lead, n, k))


def tanh_net(lead=(), outputs=2):
    net = mlp(3, 4, outputs, activation=Tanh, seeds=seeds_of(lead))
    net.theta += 0.1 * np.random.default_rng(1).standard_normal(net.theta.shape)
    return net


def penalty(net, x, std):
    return tikhonov.tikhonov_penalty(net, x, std)


# -- linear models -------------------------------------------------------------------------------------------


def law_least_squares_on_the_copies_is_ridge(lead=(), intercept=True, std=0.75):
    x, y = data(lead, n=30)
    ours = linear.least_squares(*tikhonov.matched_copies(x, y, std), intercept=intercept)
    ridge = linear.ridge(x, y, tikhonov.ridge_strength(std), intercept=intercept)
    np.testing.assert_allclose(ours.coef, ridge.coef, rtol=1e-13)
    np.testing.assert_allclose(ours.intercept, ridge.intercept, rtol=1e-13, atol=1e-15)


def law_noise_has_mean_zero_and_the_covariance_asked_for(lead=(2,), std=0.75):
    x, y = data(lead)
    copies, targets = tikhonov.matched_copies(x, y, std)
    noise = copies.reshape(*lead, 6, 12, 3) - x[..., None, :, :]
    np.testing.assert_allclose(noise[..., :3, :, :], -noise[..., 3:, :, :], atol=1e-14)
    assert (noise[..., 0, :, 0] > 1).all()  # the first copy adds to the first feature
    assert np.abs(noise.mean(-3)).max() < 1e-15  # in every example
    covariance = (noise[..., :, None] * noise[..., None, :]).mean(-4)
    np.testing.assert_allclose(covariance, np.broadcast_to(std**2 * np.eye(3), covariance.shape), atol=1e-14)
    np.testing.assert_array_equal(targets, np.concatenate([y] * 6, axis=-1))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("lead", LEADS)
def test_least_squares_on_the_copies_is_ridge(lead, intercept):
    law_least_squares_on_the_copies_is_ridge(lead, intercept)


@pytest.mark.parametrize("lead", LEADS)
def test_noise_has_mean_zero_and_the_covariance_asked_for(lead):
    law_noise_has_mean_zero_and_the_covariance_asked_for(lead)


def test_copies_without_noise_are_copies():
    x, y = data((2,), k=2)
    copies, targets = tikhonov.matched_copies(x, y, 0)
    np.testing.assert_array_equal(copies, np.concatenate([x] * 6, axis=-2))
    np.testing.assert_array_equal(targets, np.concatenate([y] * 6, axis=-2))


def test_copies_keep_precision_and_data():
    x, y = (a.astype(np.float32) for a in data())
    before = x.copy()
    copies, targets = tikhonov.matched_copies(x, y, 0.5)
    assert copies.dtype == targets.dtype == np.float32
    np.testing.assert_array_equal(x, before)


def law_expected_loss_is_the_objective_of_ridge(std=0.5, draws=4000):
    """The mean over many draws of the noise: within 4 standard errors. For any w, not only the best one."""
    x, y = data()
    w = linear.LinearFit(np.array([1.0, -2.0, 0.5]), np.array(0.25))
    noisy = GaussianNoise(std)(x, y, Streams(range(draws), "noise"))[0]
    losses = ((y - w.predict(noisy)) ** 2).mean(-1)
    wanted = linear.objective(x, y, w, 0.0, tikhonov.ridge_strength(std))
    assert abs(losses.mean() - wanted) < 4 * losses.std() / np.sqrt(draws)
    assert losses.mean() - 4 * losses.std() / np.sqrt(draws) > linear.objective(x, y, w, 0.0)


def test_expected_loss_is_the_objective_of_ridge():
    law_expected_loss_is_the_objective_of_ridge()


def test_training_on_copies_is_training_with_an_l2_penalty():
    x, y = data(k=2)
    nets = [Network(Dense(3, 2), seeds=[0, 1]) for _ in range(2)]
    common = {"epochs": 50, "batch_size": 12, "loss": squared_error}
    fit(nets[0], x, y, SGD(0.05), augment=lambda x, y, noise: tikhonov.matched_copies(x, y, 0.5), **common)
    fit(nets[1], x, y, SGD(0.05), penalty=L2(tikhonov.ridge_strength(0.5)), **common)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-13)


def test_a_strength_is_the_square_of_std():
    np.testing.assert_array_equal(tikhonov.ridge_strength([0.0, 0.5, 3.0]), [0.0, 0.25, 9.0])
    assert tikhonov.ridge_strength(0.5) == 0.25


# -- networks ------------------------------------------------------------------------------------------------


def law_a_linear_model_pays_for_its_weights(lead=()):
    net = Network(Dense(3, 2), seeds=seeds_of(lead))
    x, _ = data(lead)
    np.testing.assert_allclose(penalty(net, x, 0.5), 0.25 * (net.weights() ** 2).sum(-1), rtol=1e-14)


def law_the_penalty_is_the_mean_squared_gradient(lead=()):
    """By finite differences of each output with respect to each input."""
    net, (x, _) = tanh_net(lead), data(lead)
    total = 0.0
    for k in range(2):
        slope = numerical_gradient(lambda k=k: net(x)[..., k].sum(-1), x, lead)
        total = total + (slope**2).sum(-1).mean(-1)
    np.testing.assert_allclose(penalty(net, x, 0.5), 0.25 * total, rtol=1e-8)


def added(net, x, y, std):
    """What noise of exactly that covariance, without third moments, adds to the squared error."""
    return squared_error(*_outputs(net, *tikhonov.matched_copies(x, y, std)))[0] - squared_error(net(x), y)[0]


def _outputs(net, x, y):
    return net(x), y


def law_small_noise_adds_the_penalty_and_the_curvature():
    """The rest is of fourth order: half the noise leaves a sixteenth of it."""
    net, (x, y) = tanh_net(), data(k=2)
    h = 1e-3
    steps = h * np.eye(3)
    laplace = sum(net(x + step) + net(x - step) - 2 * net(x) for step in steps) / h**2
    curvature = ((net(x) - y) * laplace).sum(-1).mean()
    assert abs(curvature) > 0.01
    rests = [added(net, x, y, std) - penalty(net, x, std) - std**2 * curvature for std in (0.2, 0.1)]
    assert abs(rests[0] / rests[1] - 16) < 2
    exact = net(x)  # where the network is right, only the penalty remains
    rests = [added(net, x, exact, std) - penalty(net, x, std) for std in (0.2, 0.1)]
    assert abs(rests[0] / rests[1] - 16) < 2


@pytest.mark.parametrize("lead", LEADS)
def test_a_linear_model_pays_for_its_weights(lead):
    law_a_linear_model_pays_for_its_weights(lead)


@pytest.mark.parametrize("lead", LEADS)
def test_the_penalty_is_the_mean_squared_gradient(lead):
    law_the_penalty_is_the_mean_squared_gradient(lead)


def test_small_noise_adds_the_penalty_and_the_curvature():
    law_small_noise_adds_the_penalty_and_the_curvature()


def test_members_have_their_own_std_and_may_share_data():
    net, (x, _) = tanh_net((2, 3)), data()
    together = penalty(net, x, [[0.5], [2.0]])
    assert together.shape == (2, 3)
    alone = penalty(net, np.broadcast_to(x, (2, 3, *x.shape)), 1.0)
    np.testing.assert_allclose(together, alone * [[0.25], [4.0]], rtol=1e-15)


def test_a_member_alone_pays_the_same():
    net, (x, _) = mlp(3, 4, 2, seeds=[5, 1, 5]), data((3,))
    np.testing.assert_array_equal(penalty(net, x, 0.5)[1], penalty(mlp(3, 4, 2, seeds=1), x[1], 0.5))


class OnlyEvaluated(Layer):
    def forward(self, x, train):
        assert not train
        return x

    def backward(self, g):
        return g


def law_the_network_stays_as_it_is():
    """Also its gradient, and no layer is in training mode."""
    net, (x, y) = Network(OnlyEvaluated(), Dense(3, 2)), data(k=2)
    net.backward(squared_error(net(x), y)[1])
    before = net.grad.copy(), net.theta.copy(), x.copy()
    penalty(net, x, 0.5)
    for now, then in zip((net.grad, net.theta, x), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert net.grad.any()


def test_the_network_stays_as_it_is():
    law_the_network_stays_as_it_is()


def test_the_penalty_has_the_precision_of_the_network():
    net, (x, _) = mlp(3, 4, 2, seeds=[0, 1], dtype="float32"), data()
    value = penalty(net, x, 0.3)
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, penalty(net, x.astype(np.float32), 0.3))


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["1", None, np.nan, np.inf, -0.5])
def test_std_is_not_negative(bad):
    x, y = data()
    with refused("std"):
        tikhonov.ridge_strength(bad)
    with refused("std"):
        tikhonov.matched_copies(x, y, bad)
    with refused("std"):
        penalty(tanh_net(), x, bad)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("x", np.zeros(3), np.zeros(3)),
        ("x", "data", np.zeros(3)),
        ("x", np.full((4, 3), np.nan), np.zeros(4)),
        ("y", np.zeros((4, 3)), np.zeros(3)),
        ("y", np.zeros((2, 4, 3)), np.zeros(4)),
        ("y", np.zeros((2, 4, 3)), np.zeros((4, 2))),
        ("y", np.zeros((4, 3)), "targets"),
    ],
)
def test_copies_are_of_rows_with_targets(name, x, y):
    with refused(name):
        tikhonov.matched_copies(x, y, 0.5)


def test_the_error_names_the_shape_that_was_expected():
    with refused("y: expected shape (2, 4), or one axis more, got shape (3,)"):
        tikhonov.matched_copies(np.zeros((2, 4, 3)), np.zeros(3), 0.5)


def test_copies_have_one_std():
    with refused("std", TypeError):
        tikhonov.matched_copies(*data(), [0.5, 1.0])


@pytest.mark.parametrize(
    ("name", "x", "std"),
    [
        ("x", np.zeros(3), 0.5),
        ("x", np.full((4, 3), np.inf), 0.5),
        ("x's leading axes", np.zeros((3, 4, 3)), 0.5),
        ("Dense(3, 4)", np.zeros((4, 5)), 0.5),
        ("std", np.zeros((4, 3)), np.ones(3)),
    ],
)
def test_data_fit_the_network(name, x, std):
    with refused(name):
        penalty(tanh_net((2,)), x, std)


# -- planted bugs --------------------------------------------------------------------------------------------

covariance = law_noise_has_mean_zero_and_the_covariance_asked_for
gradient = law_the_penalty_is_the_mean_squared_gradient

BUGS = {
    "lambda is std": Bug(
        tikhonov, "ridge_strength", " ** 2", "", law_expected_loss_is_the_objective_of_ridge
    ),
    "lambda is half the variance": Bug(
        tikhonov, "ridge_strength", " ** 2", " ** 2 / 2", law_expected_loss_is_the_objective_of_ridge
    ),
    "copies lack the number of features": Bug(
        tikhonov, "matched_copies", "* np.sqrt(d) *", "*", law_least_squares_on_the_copies_is_ridge
    ),
    "copies are scaled by d": Bug(
        tikhonov, "matched_copies", "np.sqrt(d)", "d", law_least_squares_on_the_copies_is_ridge
    ),
    "noise is added but never subtracted": Bug(
        tikhonov, "matched_copies", "[step, -step]", "[step, step]", covariance
    ),
    "all features move together": Bug(
        tikhonov, "matched_copies", "np.eye(d)", "np.ones((d, d)) / np.sqrt(d)", covariance
    ),
    "targets do not follow their copies": Bug(
        tikhonov, "matched_copies", "np.concatenate([y] * (2 * d), axis=rows)",
        "np.repeat(y, 2 * d, axis=rows)", law_least_squares_on_the_copies_is_ridge,
    ),
    "the gradient is not squared": Bug(
        tikhonov, "tikhonov_penalty", "slope * slope", "np.abs(slope)", gradient
    ),
    "the gradient is averaged over the features": Bug(
        tikhonov, "tikhonov_penalty", ".sum(-1).mean(-1)", ".mean((-1, -2))", gradient
    ),
    "the gradient is summed over the examples": Bug(
        tikhonov, "tikhonov_penalty", ".sum(-1).mean(-1)", ".sum((-1, -2))", gradient
    ),
    "outputs are summed before their gradient is taken": Bug(
        tikhonov, "tikhonov_penalty", "g[..., k] = 1", "g[...] = 1 / np.sqrt(outputs)", gradient
    ),
    "only the last output counts": Bug(tikhonov, "tikhonov_penalty", "total +=", "total =", gradient),
    "it leaves its gradient behind": Bug(
        tikhonov, "tikhonov_penalty", "net.grad[...] = before", "pass", law_the_network_stays_as_it_is
    ),
    "it runs in training mode": Bug(
        tikhonov, "tikhonov_penalty", "x.shape[-2:]))", "x.shape[-2:]), True)", law_the_network_stays_as_it_is
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
