"""Hyper-gradients are those of finite differences, and following them lowers the validation loss."""

import sys
from functools import partial

import numpy as np
import pytest
from planting import Bug, check_noticed
from scipy.optimize import minimize_scalar
from test_checks import refused
from test_layers import LEADS, seeds_of

from regularize import hypergradient
from regularize.activations import ReLU
from regularize.batch_norm import BatchNorm
from regularize.data import load, split
from regularize.dropout import Dropout
from regularize.hypergradient import AdaptiveL2, descend_ridge, ridge_hypergradient
from regularize.layers import Dense
from regularize.linear import objective, ridge
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD
from regularize.penalties import L2
from regularize.statistics import paired_difference
from regularize.training import evaluate, fit

WORST = 1e-7

# -- ridge ---------------------------------------------------------------------------------------------------


def problem(n=30, p=6, seed=0):
    """Training and validation parts of one linear truth, in which only some features matter."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2 * n, p)) + rng.standard_normal(p)
    y = x[:, : max(p // 2, 1)].sum(1) + 3 + 2 * rng.standard_normal(2 * n)
    return x[:n], y[:n], x[n:], y[n:]


def law_ridges_hypergradient_is_that_of_finite_differences(n=30, p=6, per_weight=True):
    data = problem(n, p)
    rho = np.log(np.geomspace(0.01, 1, p)) if per_weight else np.array(np.log(0.3))
    gradient = ridge_hypergradient(*data, np.exp(rho))[1]
    numerical = numerical_gradient(lambda: np.array(ridge_hypergradient(*data, np.exp(rho))[0]), rho)
    assert np.shape(gradient) == rho.shape
    error = relative_error(np.asarray(gradient), numerical)
    assert error <= WORST, error


@pytest.mark.parametrize("per_weight", [False, True])
@pytest.mark.parametrize(("n", "p"), [(30, 6), (8, 20), (5, 1)])
def test_ridges_hypergradient_is_that_of_finite_differences(n, p, per_weight):
    law_ridges_hypergradient_is_that_of_finite_differences(n, p, per_weight)


def law_the_validation_loss_is_that_of_ridge():
    x, y, x_val, y_val = problem()
    for lam in (1e-6, 0.1, 10.0):
        loss = ridge_hypergradient(x, y, x_val, y_val, lam)[0]
        assert loss == pytest.approx(objective(x_val, y_val, ridge(x, y, lam), 0.0), rel=1e-10)
        same, gradient = ridge_hypergradient(x, y, x_val, y_val, np.full(6, lam))
        assert same == pytest.approx(loss, rel=1e-13)
        assert gradient.sum() == pytest.approx(ridge_hypergradient(x, y, x_val, y_val, lam)[1], rel=1e-9)
    own = np.geomspace(0.01, 1, 6)  # one lambda per weight is one for all, of features divided by its root
    scaled = ridge(x / np.sqrt(own), y, 1.0)
    expected = objective(x_val / np.sqrt(own), y_val, scaled, 0.0)
    assert ridge_hypergradient(x, y, x_val, y_val, own)[0] == pytest.approx(expected, rel=1e-10)


def test_the_validation_loss_is_that_of_ridge():
    law_the_validation_loss_is_that_of_ridge()


@pytest.mark.parametrize("function", [ridge_hypergradient, descend_ridge])
def test_float32_is_computed_in_float64(function):
    data = [a.astype(np.float32) for a in problem()]
    for a, b in zip(function(*data, 1.0), function(*(a.astype(float) for a in data), 1.0), strict=True):
        np.testing.assert_array_equal(a, b)


def curve(data, rho):
    return ridge_hypergradient(*data, np.exp(rho))[0]


def law_descent_arrives_at_the_minimum_of_the_validation_curve(start=1.0, seed=0):
    data = problem(p=20, seed=seed)
    found = descend_ridge(*data, start)
    assert found.loss[-1] <= min(curve(data, rho) for rho in np.linspace(-12, 8, 400))
    best = minimize_scalar(partial(curve, data), bounds=(-12, 8), method="bounded", options={"xatol": 1e-9})
    assert np.log(found.lam[-1]) == pytest.approx(best.x, abs=1e-4)
    assert abs(ridge_hypergradient(*data, found.lam[-1])[1]) <= 1e-6 * found.loss[-1]
    assert (np.diff(found.loss) < 0).all()
    assert found.lam[0] == pytest.approx(start, rel=1e-15)
    for lam, loss in zip(found.lam, found.loss, strict=True):
        assert ridge_hypergradient(*data, lam)[0] == loss
    assert np.abs(np.diff(np.log(found.lam))).max() <= 2 * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start", [1e-4, 1.0, 1e3])
def test_descent_arrives_at_the_minimum_of_the_validation_curve(start, seed):
    law_descent_arrives_at_the_minimum_of_the_validation_curve(start, seed)


def law_one_lambda_per_weight_drops_useless_features():
    data = problem(n=200, p=6)
    one, own = descend_ridge(*data, 0.1), descend_ridge(*data, np.full(6, 0.1))
    assert own.lam.shape == (len(own.loss), 6)
    assert own.loss[0] == pytest.approx(one.loss[0], rel=1e-12)
    assert own.loss[-1] < one.loss[-1]
    assert own.lam[-1, 3:].min() > 100 * own.lam[-1, :3].max()


def test_one_lambda_per_weight_drops_useless_features():
    law_one_lambda_per_weight_drops_useless_features()


def test_descent_stops_when_told():
    data = problem(p=20)
    assert len(descend_ridge(*data, 1e-4, steps=3).lam) == 4
    assert len(descend_ridge(*data, 1.0, steps=1).loss) == 2
    loose, tight = descend_ridge(*data, tol=1e-2), descend_ridge(*data, tol=1e-5)
    assert len(loose.lam) < len(tight.lam)
    for found, tol in ((loose, 1e-2), (tight, 1e-5)):
        slopes = [abs(ridge_hypergradient(*data, lam)[1]) / loss for lam, loss in zip(*found, strict=True)]
        assert slopes[-1] <= tol < min(slopes[:-1])
    assert descend_ridge(*data).lam[0] == 1
    slow = descend_ridge(*problem(n=200, seed=2), np.full(6, 0.1))  # useless features' lambdas grow and grow
    assert len(slow.lam) == 201
    x, y, x_val, _ = data
    at_once = descend_ridge(x, y, x_val, np.full(len(x_val), y.mean() + 1), 1e12)  # it predicts the mean
    assert len(at_once.lam) == 1


def test_descent_where_the_curve_falls_for_ever_ends_without_overflow():
    """Validation targets that are the mean: the larger lambda, the better, and the loss comes down to 0."""
    x, y, x_val, _ = problem()
    found = descend_ridge(x, y, x_val, np.full(len(x_val), y.mean()), steps=500)
    assert (np.diff(np.log(found.lam)) > 0).all()
    assert np.isfinite(found.lam).all()
    assert found.loss[-1] == 0
    assert len(found.loss) < 500


# -- networks ------------------------------------------------------------------------------------------------


def data(lead=(), n=12, features=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*lead, n, features)), np.eye(classes)[rng.integers(classes, size=(*lead, n))]


def noisy_net(lead, dtype="float64"):
    """Dropout and batch normalization: both would disturb, or be disturbed."""
    return Network(
        Dense(4, 6), BatchNorm(6), ReLU(), Dropout(0.5), Dense(6, 3), seeds=seeds_of(lead), dtype=dtype
    )


def law_the_hypergradient_is_that_of_finite_differences_through_one_step(
    lead=(), momentum=0.0, loss=cross_entropy
):
    """Two steps, of which the second one's lambda is moved: the first one's is ignored, as is said."""
    rate, rho, (x, y), valid = 0.25, np.full(lead, np.log(0.05)), data(n=10), data(lead, n=7, seed=1)
    rho += 0.1 * np.arange(rho.size).reshape(lead)

    def train(penalty, after):
        net, calls = noisy_net(lead), iter([None, after])

        def constrain(net):
            step = next(calls)
            if step is None:
                penalty.l2 = np.exp(rho)
            else:
                step(net)

        fit(net, x, y, SGD(rate, momentum), epochs=2, batch_size=10, loss=loss, penalty=penalty,
            constrain=constrain)  # fmt: skip
        return net

    def validation_loss():
        return evaluate(train(L2(0.5), lambda net: None), *valid, loss).loss

    adaptive = AdaptiveL2(*valid, lam=0.5, loss=loss)
    train(adaptive.penalty, adaptive)
    assert np.shape(adaptive.hypergradient) == lead
    error = relative_error(rate * adaptive.hypergradient, numerical_gradient(validation_loss, rho, lead))
    assert error <= WORST, error


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_the_hypergradient_is_that_of_finite_differences_through_one_step(lead, momentum):
    law_the_hypergradient_is_that_of_finite_differences_through_one_step(lead, momentum)


def test_the_hypergradient_is_that_of_the_loss_it_is_given():
    law_the_hypergradient_is_that_of_finite_differences_through_one_step((2,), 0.0, squared_error)


def test_its_penalty_is_l2_and_remembers_the_weights():
    w, mask = np.random.default_rng(0).standard_normal((2, 5)), np.array([1.0, 0, 1, 1, 0])
    penalty = AdaptiveL2(*data(), lam=[0.1, 0.2]).penalty
    np.testing.assert_array_equal(penalty.gradient(w), L2([0.1, 0.2]).gradient(w))
    np.testing.assert_array_equal(penalty.weights, w)
    np.testing.assert_array_equal(penalty.gradient(w, mask), L2([0.1, 0.2]).gradient(w, mask))
    np.testing.assert_array_equal(penalty.weights, w * mask)
    assert isinstance(penalty, L2)


def law_lambda_follows_its_rule(lead=(2,), rate=0.3):
    net, (x, y), valid = mlp(4, 5, 3, seeds=seeds_of(lead)), data(), data(seed=1)
    net.theta += 0.3  # biases, too, are not 0
    adaptive, before = AdaptiveL2(*valid, lam=0.05, rate=rate), net.theta.copy()
    fit(net, x, y, SGD(0.25), epochs=1, batch_size=12, penalty=adaptive.penalty, constrain=adaptive)

    def validation_loss():
        return cross_entropy(net(valid[0]), valid[1])[0]

    g = numerical_gradient(validation_loss, net.theta, lead)
    g, w = (a[..., net.penalized > 0] for a in (g, before))
    cosine = (g * w).sum(-1) / np.linalg.norm(g, axis=-1) / np.linalg.norm(w, axis=-1)
    np.testing.assert_allclose(np.log(adaptive.lam / 0.05), rate * cosine, rtol=1e-6)
    np.testing.assert_allclose(adaptive.hypergradient, -2 * 0.05 * (g * w).sum(-1), rtol=1e-6)
    assert adaptive.lam.shape == lead
    np.testing.assert_array_equal(adaptive.lam, adaptive.penalty.l2)


def test_lambda_follows_its_rule():
    law_lambda_follows_its_rule()
    law_lambda_follows_its_rule(rate=np.array([0.1, 1.0]))
    law_lambda_follows_its_rule((), 2.0)


def test_the_defaults_are_those_of_the_documentation():
    adaptive = AdaptiveL2(*data())
    assert (adaptive.lam, adaptive.rate, adaptive.loss) == (1e-4, 0.1, cross_entropy)


def law_a_member_adapts_as_if_alone(dtype="float64", valid_lead=()):
    """Bit for bit: weights, lambda and hyper-gradient after 3 epochs."""
    lead, (x, y), valid = (2, 3), data(n=13), data(valid_lead, n=9, seed=1)
    lam, rate = np.array([[1e-3], [0.1]]), np.array([0.1, 0.5, 1.0])

    def train(seeds, valid, lam, rate):
        net = Network(Dense(4, 6), BatchNorm(6), ReLU(), Dropout(0.5), Dense(6, 3), seeds=seeds, dtype=dtype)
        adaptive = AdaptiveL2(*valid, lam=lam, rate=rate)
        fit(net, x, y, SGD(0.1, 0.5), epochs=3, batch_size=5, penalty=adaptive.penalty, constrain=adaptive)
        assert {a.dtype for a in adaptive.data} == {np.dtype(dtype)}
        assert adaptive.x.dtype == np.float64  # the next network may be one
        return net.theta, net.state, adaptive.lam, adaptive.hypergradient

    together = train(seeds_of(lead), valid, lam, rate)
    assert together[0].dtype == dtype
    for s in np.ndindex(lead):
        own = [np.broadcast_to(a, lead + a.shape[-2:])[s] for a in valid]
        alone = train(seeds_of(lead)[s], own, lam[s[0], 0], rate[s[1]])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[s], b)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("valid_lead", [(), (3,), (2, 1), (2, 3)])
def test_a_member_adapts_as_if_alone(dtype, valid_lead):
    law_a_member_adapts_as_if_alone(dtype, valid_lead)


def law_nothing_but_lambda_is_touched(dtype="float32"):
    """With lambda put back after each step, weights, statistics, masks, noise, gradients are those of L2."""
    results = []
    for adapt in (False, True):
        net, (x, y) = noisy_net((2,), dtype), data()
        adaptive = AdaptiveL2(*data(n=9, seed=1), lam=0.01)

        def constrain(net, adaptive=adaptive):
            adaptive(net)
            adaptive.penalty.l2 = 0.01

        fit(
            net, x, y, SGD(0.1, 0.5), epochs=3, batch_size=5,
            **({"penalty": adaptive.penalty, "constrain": constrain} if adapt else {"penalty": L2(0.01)}),
        )  # fmt: skip
        results.append((net.theta, net.state, net.grad, net.layers[3].mask, net.noise.uniform((4,))))
        assert net.theta.dtype == net.grad.dtype == dtype
    for plain, adapted in zip(*results, strict=True):
        np.testing.assert_array_equal(plain, adapted)


def test_nothing_but_lambda_is_touched():
    law_nothing_but_lambda_is_touched()
    law_nothing_but_lambda_is_touched("float64")


def law_lambda_changes_by_no_more_than_its_rate_and_stays_positive(rate=1.5):
    adaptive, lams = AdaptiveL2(*data(n=9, seed=1), lam=1e-3, rate=rate), [np.full(3, 1e-3)]
    net = mlp(4, 8, 3, seeds=range(3))

    def constrain(net):
        adaptive(net)
        lams.append(adaptive.lam)

    fit(net, *data(), SGD(0.1), epochs=30, batch_size=5, penalty=adaptive.penalty, constrain=constrain,
        diverged="keep")  # fmt: skip
    change = np.abs(np.diff(np.log(lams), axis=0))
    assert change.max() <= rate
    assert change.max() > 0.1 * rate
    assert np.min(lams) > 0


def test_lambda_changes_by_no_more_than_its_rate_and_stays_positive():
    law_lambda_changes_by_no_more_than_its_rate_and_stays_positive()


def test_lambda_grows_where_shrinking_helps_and_falls_where_it_harms():
    """Validation labels that are the opposite of the training labels, and the very same ones."""
    x, y = data(n=40, classes=2)
    lam = {}
    for name, labels in (("opposite", y[:, ::-1]), ("same", y)):
        adaptive = AdaptiveL2(x, labels, lam=np.full(5, 1e-3))
        fit(mlp(4, 16, 2, seeds=range(5)), x, y, SGD(0.3), epochs=10, batch_size=10, penalty=adaptive.penalty,
            constrain=adaptive)  # fmt: skip
        lam[name] = adaptive.lam
    assert lam["opposite"].min() > 1e-3 > lam["same"].max()


def test_weights_that_are_zero_leave_lambda_where_it_is():
    net = mlp(4, 3)
    net.theta[...] = 0
    adaptive = AdaptiveL2(*data(seed=1), lam=0.01)
    fit(net, *data(), SGD(0.1), epochs=1, batch_size=12, penalty=adaptive.penalty, constrain=adaptive)
    assert adaptive.lam == 0.01
    assert adaptive.hypergradient == 0


def test_a_member_that_diverges_harms_no_other():
    lams = []
    for rate in ([0.1, 1e200], [0.1, 0.1]):
        adaptive, net = AdaptiveL2(*data(seed=1), lam=0.01), mlp(4, 5, 3, seeds=[0, 1])
        with np.errstate(all="ignore"):
            fit(net, *data(), SGD(rate), epochs=5, batch_size=5, penalty=adaptive.penalty, constrain=adaptive,
                diverged="keep")  # fmt: skip
        lams.append(adaptive.lam[0])
    assert lams[0] == lams[1]


def test_training_can_go_on_with_the_lambda_that_was_reached():
    nets = [mlp(4, 5, 3, seeds=[0, 1]) for _ in range(2)]
    adaptive = [AdaptiveL2(*data(seed=1), lam=0.01) for _ in range(2)]
    for net, a, epochs in zip(nets, adaptive, [(4,), (1, 3)], strict=True):
        for n in epochs:
            fit(net, *data(), SGD(0.1), epochs=n, batch_size=5, penalty=a.penalty, constrain=a)
    np.testing.assert_array_equal(adaptive[0].lam, adaptive[1].lam)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_on_noisy_labels_lambda_grows_and_the_test_loss_falls():
    """Digits, 40 % wrong labels, 24 seeds: an interval that lies below a tenth of a nat."""
    seeds = range(24)
    parts = split(load("digits"), seeds, train=100, validation=100, test=300, label_noise=0.4)
    adaptive, losses = AdaptiveL2(*parts.validation, lam=1e-4), {}
    for name, penalty, constrain in (("adaptive", adaptive.penalty, adaptive), ("fixed", L2(1e-4), None)):
        net = mlp(64, 32, 10, seeds=seeds, dtype="float32")
        fit(net, *parts.train, SGD(0.1, 0.9), epochs=60, batch_size=25, penalty=penalty, constrain=constrain)
        losses[name] = evaluate(net, *parts.test).loss
    assert adaptive.lam.min() > 10 * 1e-4
    assert paired_difference(losses["adaptive"], losses["fixed"]).high < -0.1


# -- bad input -----------------------------------------------------------------------------------------------

R = dict(zip(("x", "y", "x_val", "y_val"), problem(), strict=True)) | {"lam": 1.0}


@pytest.mark.parametrize("function", [ridge_hypergradient, descend_ridge])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": R["y"]}), ("x", {"x": R["x"] * np.nan}), ("x", {"x": R["x"][None]}), ("x", {"x": "x"}),
        ("y", {"y": R["y"][:-1]}), ("y", {"y": R["y"][None]}), ("y", {"y": R["y"] * np.inf}),
        ("x_val", {"x_val": R["x"][:, :-1]}), ("x_val", {"x_val": R["y"]}), ("x_val", {"x_val": None}),
        ("x_val", {"x_val": R["x"][None]}), ("y_val", {"y_val": R["y"][None]}),
        ("y_val", {"y_val": R["y"][:-1]}), ("y_val", {"y_val": R["x"]}),
        ("lam", {"lam": 0.0}), ("lam", {"lam": -1.0}), ("lam", {"lam": np.nan}), ("lam", {"lam": np.ones(5)}),
        ("lam", {"lam": np.ones((2, 6))}), ("lam", {"lam": "1"}),
    ],
)  # fmt: skip
def test_bad_input_is_refused_for_ridge(function, name, change):
    with refused(name):
        function(**R | change)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"steps": 1.5}, {"tol": 0.0}, {"tol": -1}, {"tol": [1e-3, 1e-3]}]
)
def test_bad_limits_of_the_descent_are_refused(change):
    with refused(next(iter(change))):
        descend_ridge(**R, **change)


V = dict(zip(("x", "y"), data(seed=1), strict=True))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": np.ones(4)}), ("x", {"x": V["x"] * np.nan}), ("x", {"x": None}),
        ("y", {"y": V["y"][:-1]}), ("y", {"y": V["y"][:, 0]}), ("y", {"y": "y"}),
        ("lam", {"lam": 0.0}), ("lam", {"lam": -1.0}), ("lam", {"lam": np.inf}), ("lam", {"lam": None}),
        ("rate", {"rate": 0.0}), ("rate", {"rate": -0.1}), ("rate", {"rate": "1"}),
        ("loss", {"loss": "cross_entropy"}), ("loss", {"loss": None}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(name, change):
    with refused(name):
        AdaptiveL2(**V | change)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Dense", {"x": np.ones((12, 5))}),
        ("y", {"y": np.ones((12, 4)) / 4}),
        ("x", {"x": np.ones((3, 12, 4))}),
        ("y", {"y": np.ones((3, 12, 3)) / 3}),
        ("AdaptiveL2.rate", {"rate": np.ones(3)}),
        ("RememberingL2.l2", {"lam": np.ones(3)}),
    ],
)
def test_what_does_not_fit_the_network_is_refused(name, change):
    adaptive = AdaptiveL2(**V | change)
    with refused(name, ValueError):
        fit(mlp(4, 3, seeds=[0, 1]), *data(), SGD(), epochs=1, batch_size=4, penalty=adaptive.penalty,
            constrain=adaptive)  # fmt: skip


@pytest.mark.parametrize("other", ["none", "plain", "proximal"])
def test_a_step_without_its_penalty_is_refused(other):
    adaptive = AdaptiveL2(**V)
    penalty = {"none": None, "plain": L2(0.1), "proximal": adaptive.penalty}[other]
    with refused("penalty", ValueError):
        fit(mlp(4, 3), *data(), SGD(), epochs=1, batch_size=4, penalty=penalty, constrain=adaptive,
            proximal=other == "proximal")  # fmt: skip


def test_callers_arrays_stay_as_they_are():
    x, y, lam = *data(seed=1), np.array([0.1, 0.2])
    before = [a.copy() for a in (x, y, lam)]
    adaptive = AdaptiveL2(x, y, lam)
    fit(mlp(4, 3, seeds=[0, 1], dtype="float32"), *data(), SGD(), epochs=1, batch_size=4,
        penalty=adaptive.penalty, constrain=adaptive)  # fmt: skip
    descend_ridge(**R | {"lam": (own := np.ones(6))})
    assert own.tolist() == [1] * 6
    for a, b in zip((x, y, lam), before, strict=True):
        np.testing.assert_array_equal(a, b)


# -- planted bugs --------------------------------------------------------------------------------------------


def ridge_bug(right, wrong, law=law_ridges_hypergradient_is_that_of_finite_differences):
    """The laws call functions by their names in this module."""
    return Bug(sys.modules[__name__], "ridge_hypergradient", right, wrong, law)


def descent(right, wrong, law=law_descent_arrives_at_the_minimum_of_the_validation_curve):
    return Bug(sys.modules[__name__], "descend_ridge", right, wrong, law)


def step(right, wrong, law, name="__call__"):
    return Bug(AdaptiveL2, name, right, wrong, law)


one_step = partial(law_the_hypergradient_is_that_of_finite_differences_through_one_step, (2,))
loss_of_ridge = law_the_validation_loss_is_that_of_ridge
rule = law_lambda_follows_its_rule
untouched = law_nothing_but_lambda_is_touched
BUGS = {
    "the derivative is that by lambda, not by its logarithm": ridge_bug("-2 * lam * w", "-2 * w"),
    "the sign is wrong": ridge_bug("-2 * lam * w", "2 * lam * w"),
    "the curvature is left out": ridge_bug("w * np.linalg.solve(A, dw)", "w * dw"),
    "the curvature lacks the penalty": ridge_bug(
        "np.linalg.solve(A, dw)", "np.linalg.solve(A - 2 * lam * np.eye(p), dw)"
    ),
    "the penalty lacks its 2": ridge_bug("2 * lam * np.eye(p)", "lam * np.eye(p)", loss_of_ridge),
    "validation data are centered by themselves": ridge_bug(
        "x_val - data.x_mean", "x_val - x_val.mean(0)", loss_of_ridge
    ),
    "the intercept is lost": ridge_bug("y_val - data.y_mean", "y_val", loss_of_ridge),
    "the validation loss is a sum": ridge_bug("r @ r / len(r)", "r @ r", loss_of_ridge),
    "the mean of the weights' derivatives": ridge_bug(
        "gradient.sum()", "gradient.mean()", partial(
            law_ridges_hypergradient_is_that_of_finite_differences, per_weight=False
        ),
    ),
    "descent climbs": descent("gradient / (loss or 1.0)", "-gradient / (loss or 1.0)"),
    "steps are never halved": descent("length /= 2", "break", partial(
        law_descent_arrives_at_the_minimum_of_the_validation_curve, 1e-4
    )),
    "the validation gradient is taken in training mode": step(
        "net(x)", "net(x, train=True)", untouched,
        "_validation_gradient",
    ),
    "the training gradient is lost": step(
        "net.grad[...] = kept", "pass", untouched, "_validation_gradient"
    ),
    "biases count": step("net.grad * net.penalized", "net.grad + 0", rule, "_validation_gradient"),
    "the weights are those after the step": step(
        "w, self.penalty.weights = self.penalty.weights, None",
        "w, self.penalty.weights = net.theta * net.penalized, None", one_step,
    ),
    "the weights are remembered by reference": Bug(
        hypergradient.RememberingL2, "gradient", "self.weights = w * mask", "self.weights = w", one_step
    ),
    "the hyper-gradient lacks its 2": step("-2 * self.lam * slope", "-self.lam * slope", one_step),
    "the hyper-gradient is that by lambda": step("-2 * self.lam * slope", "-2 * slope", one_step),
    "lambda climbs the validation loss": step("self.rate * slope /", "-self.rate * slope /", rule),
    "members share one lambda": step(
        "_inner(g, w), np.sqrt", "_inner(g, w).mean() + 0 * _inner(g, w), np.sqrt",
        law_a_member_adapts_as_if_alone,
    ),
    "the step is not divided by its size": step(
        "slope / np.where(most > 0, most, 1)", "slope", rule
    ),
    "lambda moves by addition": step(
        "self.lam * np.exp(self.rate * slope / np.where(most > 0, most, 1))",
        "self.lam + self.rate * slope / np.where(most > 0, most, 1)",
        law_lambda_changes_by_no_more_than_its_rate_and_stays_positive,
    ),
    "zero weights make NaN": step(
        "np.where(most > 0, most, 1)", "most",
        test_weights_that_are_zero_leave_lambda_where_it_is,
    ),
    "the weights of the last run are kept": step(
        "w, self.penalty.weights = self.penalty.weights, None", "w = self.penalty.weights",
        lambda: test_training_goes_on(),
    ),
}  # fmt: skip


def test_training_goes_on():
    try:
        test_training_can_go_on_with_the_lambda_that_was_reached()
    except ValueError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
