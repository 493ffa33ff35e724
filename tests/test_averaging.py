"""Averages are those of their formulas, of Keras and of PyTorch; snapshots vote and leave no trace."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import MOMENTUM, RATE, relative, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, seeds_of
from test_training import data

from regularize import averaging
from regularize.averaging import EMA, SWA, Snapshot, Snapshots, cosine_cycles, ensemble_predict
from regularize.layers import Dense, Layer
from regularize.losses import squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.training import fit, predict


class Both:
    """An average that also notes the weights and the average after each step."""

    def __init__(self, average):
        self.average, self.weights, self.averages = average, [], []

    def begin(self):
        self.average.begin()

    def update(self, net):
        self.average.update(net)
        self.weights.append(net.theta.copy())
        self.averages.append(self.average.theta.copy() if hasattr(self.average, "theta") else None)

    def finish(self, net):
        self.average.finish(net)


class Counter(Layer):
    """Counts its training passes in a state, as moving statistics would."""

    count: np.ndarray
    states = {"count": (1,)}  # noqa: RUF012

    def forward(self, x, train):
        self.count += train
        return x

    def backward(self, g):
        return g


def trained(average, *, seeds=(0, 1, 2), epochs=4, dtype="float64", batch_size=5):
    """What happened in 3 steps an epoch, and the network."""
    net, both = Network(Counter(), Dense(4, 3), seeds=seeds, dtype=dtype), Both(average)
    fit(net, *data(n=12), Adam(0.05), epochs=epochs, batch_size=batch_size, average=both)
    return net, np.array(both.weights), both.averages


# -- EMA -----------------------------------------------------------------------------------------------------


def law_an_ema_is_its_closed_form(momentum=0.75):
    """``m^(t-1) w_1 + (1 - m) sum m^(t-i) w_i`` after every step; it ends in the network."""
    net, w, averages = trained(EMA(momentum))
    m = np.asarray(momentum)[..., None]
    for t in range(1, 13):
        shares = np.array([m ** (t - 1), *((1 - m) * m ** (t - i) for i in range(2, t + 1))])
        np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-14)
        expected = (shares.reshape(t, -1, 1) * w[:t]).sum(0)
        np.testing.assert_allclose(averages[t - 1], expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(net.theta, averages[-1])
    assert np.abs(net.theta - w[-1]).max() > 1e-3


@pytest.mark.parametrize("momentum", [0.25, 0.75, 0.99, [0.1, 0.5, 0.9]])
def test_an_ema_is_its_closed_form(momentum):
    law_an_ema_is_its_closed_form(momentum)


def test_without_momentum_the_average_is_the_weights():
    net, w, averages = trained(EMA(0.0))
    np.testing.assert_array_equal(averages, w)
    np.testing.assert_array_equal(net.theta, w[-1])


def test_the_default_is_that_of_keras():
    assert EMA().momentum == 0.99
    assert (SWA(3).start, SWA(3).every) == (3, 1)
    assert (SWA(3).steps, SWA(3).averaged) == (0, 0)


def law_on_a_quadratic_an_ema_has_a_closed_form(momentum=0.75, steps=30):
    """After t steps w = q^t, and the average is a geometric series of them."""
    q, ema = 0.9, EMA(momentum)
    last, way = quadratic_descent(q, ema, steps)
    t, m = np.arange(1, steps + 1), momentum
    left = m ** (t - 1) * q + (1 - m) * q**2 * (m ** (t - 1) - q ** (t - 1)) / (m - q)
    np.testing.assert_allclose(way, left, rtol=1e-12)
    np.testing.assert_array_equal(last, way[-1])


def quadratic_descent(q, average, steps, noise=0.0, weights=1):
    """J = ||w||^2 / 2 from w = 1: each step leaves the share q of each weight, plus noise. The bias stays 0.

    Returns the last weights, and the average of the first after each step (NaN before there is one).
    """
    net = Network(Dense(weights, 1, lambda stream, shape: np.ones(shape)))
    both, rng, x = Both(average), np.random.default_rng(0), np.ones((1, weights))

    def gradient(net, x, y, loss):
        net.grad[:-1] = net.theta[:-1] + noise / (1 - q) * rng.standard_normal(weights)

    arguments = {"epochs": steps, "batch_size": 1, "loss": squared_error, "gradient": gradient}
    fit(net, x, np.ones((1, 1)), SGD(1 - q), average=both, **arguments)
    return net.theta[:-1], np.array([np.nan if a is None else a[0] for a in both.averages])


@pytest.mark.parametrize("momentum", [0.25, 0.75, 0.96875])
def test_on_a_quadratic_an_ema_has_a_closed_form(momentum):
    law_on_a_quadratic_an_ema_has_a_closed_form(momentum)


# -- SWA -----------------------------------------------------------------------------------------------------


def law_swa_is_the_mean_of_its_steps(start=4, every=3, epochs=4):
    swa = SWA(start, every)
    net, w, averages = trained(swa, epochs=epochs)
    steps = 3 * epochs
    chosen = [t for t in range(1, steps + 1) if t >= start and (t - start) % every == 0]
    for t in range(1, steps + 1):
        so_far = [i - 1 for i in chosen if i <= t]
        if so_far:
            assert averages[t - 1] is not None
            np.testing.assert_allclose(averages[t - 1], w[so_far].mean(0), rtol=1e-13, atol=1e-15)
        else:
            assert averages[t - 1] is None
    np.testing.assert_array_equal(net.theta, averages[-1])
    assert (swa.steps, swa.averaged) == (steps, len(chosen))


@pytest.mark.parametrize(("start", "every"), [(1, 1), (4, 3), (12, 1), (12, 5), (2, 10), (1, 4), (5, 100)])
def test_swa_is_the_mean_of_its_steps(start, every):
    law_swa_is_the_mean_of_its_steps(start, every)


@given(start=st.integers(1, 6), every=st.integers(1, 6))
def test_swa_is_the_mean_of_its_steps_for_all_settings(start, every):
    law_swa_is_the_mean_of_its_steps(start, every, epochs=2)


def law_on_a_quadratic_swa_has_a_closed_form(start=5, every=4, steps=30):
    """The mean of q^t over t = start, start + every, ...: a geometric series."""
    q = 0.9
    last, way = quadratic_descent(q, SWA(start, every), steps)
    assert np.isnan(way[: start - 1]).all()
    for t in range(start, steps + 1):
        c = (t - start) // every + 1
        left = q**start * (1 - q ** (every * c)) / (1 - q**every) / c
        assert way[t - 1] == pytest.approx(left, rel=1e-12)
    np.testing.assert_array_equal(last, way[-1])


@pytest.mark.parametrize(("start", "every"), [(1, 1), (5, 4), (10, 7)])
def test_on_a_quadratic_swa_has_a_closed_form(start, every):
    law_on_a_quadratic_swa_has_a_closed_form(start, every)


def law_averages_shrink_the_variance_about_the_minimum():
    """Noisy descent is an AR(1) process of variance ``v = noise^2 / (1 - q^2)``. Over 2000 weights:

    an EMA has ``v (1 - m) / (1 + m) * (1 + m q) / (1 - m q)``; the mean of T steps the double sum of
    ``v q^|i - j| / T^2``. The standard error of a variance over N weights is ``sqrt(2 / N)`` of it.
    """
    q, m, noise, n = 0.5, 0.875, 0.1, 2000
    v = noise**2 / (1 - q**2)
    averages = EMA(0.0), EMA(m), SWA(21)
    raw, ema, swa = (quadratic_descent(q, average, 60, noise, n)[0] for average in averages)
    lags = np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    theory = v, v * (1 - m) / (1 + m) * (1 + m * q) / (1 - m * q), v * (q**lags).mean()
    for sample, expected in zip((raw, ema, swa), theory, strict=True):
        assert (sample**2).mean() == pytest.approx(expected, rel=5 * np.sqrt(2 / n))
    assert theory[1] < v / 4
    assert theory[2] < v / 10


def test_averages_shrink_the_variance_about_the_minimum():
    law_averages_shrink_the_variance_about_the_minimum()


# -- both ----------------------------------------------------------------------------------------------------

AVERAGES = {"EMA": lambda: EMA(0.75), "SWA": lambda: SWA(3, 2)}


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_training_does_not_notice_its_average(make):
    _, w, _ = trained(make())
    _, plain, _ = trained(EMA(0.0))
    np.testing.assert_array_equal(w, plain)


def law_moving_statistics_stay_those_of_the_last_step(make=AVERAGES["EMA"]):
    net, _, _ = trained(make())
    np.testing.assert_array_equal(net.state, 12)


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_moving_statistics_stay_those_of_the_last_step(make):
    law_moving_statistics_stay_those_of_the_last_step(make)


def law_a_member_has_the_average_of_its_own(make=AVERAGES["EMA"], dtype="float32"):
    """Bit for bit, in both precisions, at any ensemble shape."""
    together, _, averages = trained(make(), seeds=[[4, 0, 7], [1, 1, 3]], dtype=dtype)
    assert together.theta.dtype == averages[-1].dtype == dtype
    for s in np.ndindex(2, 3):
        alone, _, own = trained(make(), seeds=together.seeds[s], dtype=dtype)
        np.testing.assert_array_equal(together.theta[s], alone.theta)
        np.testing.assert_array_equal(averages[-1][s], own[-1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_a_member_has_the_average_of_its_own(make, dtype):
    law_a_member_has_the_average_of_its_own(make, dtype)


def test_a_momentum_per_member_is_that_of_the_member():
    together, _, _ = trained(EMA([[0.5], [0.9]]), seeds=[[4, 0], [4, 0]], dtype="float32")
    for s in np.ndindex(2, 2):
        alone, _, _ = trained(EMA([0.5, 0.9][s[0]]), seeds=together.seeds[s], dtype="float32")
        np.testing.assert_array_equal(together.theta[s], alone.theta)


def law_the_next_run_begins_a_new_average(make=AVERAGES["EMA"]):
    """And the average of the first run remains what it was."""
    average = make()
    trained(average, seeds=[7, 8, 9])
    first = average.theta
    kept = first.copy()
    again, _, _ = trained(average)
    np.testing.assert_array_equal(again.theta, trained(make())[0].theta)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_the_next_run_begins_a_new_average(make):
    law_the_next_run_begins_a_new_average(make)


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_the_next_network_may_have_another_shape(make):
    average = make()
    trained(average, seeds=0)
    np.testing.assert_array_equal(trained(average)[0].theta, trained(make())[0].theta)


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_the_average_is_a_copy(make):
    average = make()
    net, _, _ = trained(average)
    kept = average.theta.copy()
    net.theta += 1
    np.testing.assert_array_equal(average.theta, kept)


@pytest.mark.parametrize("make", AVERAGES.values(), ids=AVERAGES)
def test_without_steps_the_weights_stay(make):
    average = make()
    for _ in range(2):
        net = mlp(4, 3)
        before = net.theta.copy()
        fit(net, *data(), SGD(0.1), epochs=0, batch_size=5, average=average)
        np.testing.assert_array_equal(net.theta, before)
        trained(average)  # and neither is an old average put in place


def law_training_that_ends_before_swa_starts_is_an_error():
    with pytest.raises(ValueError, match="start: expected at most the 12 steps of training, got 13"):
        trained(SWA(13))
    swa = SWA(13)
    with refused("start"):
        trained(swa)
    assert trained(swa, epochs=5)[0].theta.shape == (3, 15)  # it counts anew
    assert (swa.steps, swa.averaged) == (15, 3)


def test_training_that_ends_before_swa_starts_is_an_error():
    law_training_that_ends_before_swa_starts_is_an_error()


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, np.nan, np.inf, [0.5, 1.0], []])
def test_a_momentum_is_a_rate(bad):
    with refused("momentum", ValueError):
        EMA(bad)


def test_what_is_no_number_is_no_momentum():
    for bad in ("0.9", None):
        with refused("momentum", TypeError):
            EMA(bad)


def test_momenta_must_fit_the_members():
    with refused("EMA.momentum", ValueError):
        trained(EMA([0.5, 0.9]))


@pytest.mark.parametrize("bad", [0, -1, 2.0, None, "3", True, [1, 2]])
def test_steps_are_whole_numbers(bad):
    with refused("start"):
        SWA(bad)
    with refused("every"):
        SWA(1, bad)


# -- cycles and snapshots ------------------------------------------------------------------------------------


def law_cycles_are_the_formula(length=5, floor=0.25):
    schedule = cosine_cycles(length, floor)
    for epoch in range(3 * length):
        cosine = math.cos(math.pi * (epoch % length) / length)
        assert schedule(epoch) == pytest.approx(floor + (1 - floor) * 0.5 * (1 + cosine), rel=1e-14)
        assert isinstance(schedule(epoch), float)
    assert schedule(0) == schedule(length) == 1
    assert schedule(length - 1) > floor


@pytest.mark.parametrize(("length", "floor"), [(5, 0.25), (1, 0.0), (2, 0), (7, 0.9)])
def test_cycles_are_the_formula(length, floor):
    law_cycles_are_the_formula(length, floor)


def test_cycles_fall_to_zero_by_default():
    assert cosine_cycles(4)(2) == pytest.approx(0.5, rel=1e-15)
    assert cosine_cycles(1000)(999) < 1e-5
    assert cosine_cycles(4, 1.0)(3) == 1.0


def law_snapshots_are_the_ends_of_cycles(length=3, epochs=8):
    net, snapshots = Network(Counter(), Dense(4, 3), seeds=[0, 1]), Snapshots(length)
    seen = []

    def watch(net):
        snapshots(net)
        seen.append((net.theta.copy(), net.state.copy()))

    fit(net, *data(), SGD(0.1), epochs=epochs, batch_size=5, schedule=cosine_cycles(length), watch=watch)
    ends = seen[length - 1 :: length]
    assert len(snapshots.taken) == len(ends) == epochs // length
    for snapshot, (theta, state) in zip(snapshots.taken, ends, strict=True):
        np.testing.assert_array_equal(snapshot.theta, theta)
        np.testing.assert_array_equal(snapshot.state, state)
    return net, snapshots


@pytest.mark.parametrize(("length", "epochs"), [(3, 8), (1, 3), (4, 4), (5, 4)])
def test_snapshots_are_the_ends_of_cycles(length, epochs):
    law_snapshots_are_the_ends_of_cycles(length, epochs)


def test_fit_calls_snapshots_that_are_still_empty():
    snapshots = Snapshots(2)
    net = mlp(4, 3)
    for _ in range(2):  # and they count on from one run to the next
        fit(net, *data(), SGD(0.1), epochs=3, batch_size=5, watch=snapshots)
    assert (snapshots.epochs, len(snapshots.taken)) == (6, 3)
    np.testing.assert_array_equal(snapshots.taken[-1].theta, net.theta)


class Shift(Layer):
    """Adds its state, as batch normalization would: predictions need the state of the snapshot."""

    offset: np.ndarray
    states = {"offset": (1, 3)}  # noqa: RUF012

    def forward(self, x, train):
        return x + self.offset

    def backward(self, g):
        return g


def ensemble(lead=(2,), dtype="float64"):
    net = Network(Dense(4, 3), Shift(), seeds=seeds_of(lead), dtype=dtype)
    rng = np.random.default_rng(0)

    def draw(a):
        return rng.standard_normal(a.shape).astype(dtype)

    return net, [Snapshot(draw(net.theta), draw(net.state)) for _ in range(3)]


def law_an_ensemble_predicts_the_mean_of_probabilities(lead=(2,)):
    net, taken = ensemble(lead)
    x, before = data()[0], (net.theta.copy(), net.state.copy())
    p = ensemble_predict(net, taken, x)
    np.testing.assert_array_equal(net.theta, before[0])
    np.testing.assert_array_equal(net.state, before[1])
    expected = np.zeros((*lead, 12, 3))
    for theta, state in taken:
        net.theta[...], net.state[...] = theta, state
        e = np.exp(predict(net, x))
        expected += e / e.sum(-1, keepdims=True) / 3
    np.testing.assert_allclose(p, expected, rtol=1e-13)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)


@pytest.mark.parametrize("lead", LEADS)
def test_an_ensemble_predicts_the_mean_of_probabilities(lead):
    law_an_ensemble_predicts_the_mean_of_probabilities(lead)


def test_an_ensemble_of_snapshots_of_a_run():
    net, snapshots = law_snapshots_are_the_ends_of_cycles(2, 6)
    x, _ = data()
    all_three = ensemble_predict(net, snapshots, x)
    np.testing.assert_array_equal(all_three, ensemble_predict(net, iter(snapshots.taken), x))
    single = [ensemble_predict(net, [s], x) for s in snapshots.taken]
    np.testing.assert_allclose(all_three, np.mean(single, 0), rtol=1e-14)
    np.testing.assert_allclose(ensemble_predict(net, snapshots.taken[-1:], x, batch_size=5), single[-1])


def test_an_ensemble_keeps_its_precision_and_takes_large_outputs():
    net, taken = ensemble(dtype="float32")
    x = data()[0]
    assert ensemble_predict(net, taken, x).dtype == np.float32
    p = ensemble_predict(net, [Snapshot(1e6 * taken[0].theta, taken[0].state)], x)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-6)
    assert np.isfinite(p).all()


def test_members_that_diverged_stay_nan():
    net, taken = ensemble()
    taken[1].theta[0] = np.nan
    taken[2].theta[0] = np.inf
    p = ensemble_predict(net, taken, data()[0])
    assert np.isnan(p[0]).all()
    assert np.isfinite(p[1]).all()


def test_a_refused_prediction_leaves_the_weights():
    net, taken = ensemble()
    before = net.theta.copy()
    with refused("x"):
        ensemble_predict(net, taken, np.full((5, 4), np.nan))
    np.testing.assert_array_equal(net.theta, before)
    with refused("batch_size"):
        ensemble_predict(net, taken, data()[0], batch_size=0)
    np.testing.assert_array_equal(net.theta, before)


def test_bad_snapshots_are_refused():
    net, taken = ensemble()
    x = data()[0]
    with refused("snapshots", ValueError):
        ensemble_predict(net, [], x)
    with refused("snapshots", ValueError):
        ensemble_predict(net, Snapshots(3), x)
    other, _ = ensemble((3,))
    with pytest.raises(ValueError, match=r"snapshots: expected weights of shape \(3, 15\), got \(2, 15\)"):
        ensemble_predict(other, taken, x)
    with refused("snapshots", ValueError):
        ensemble_predict(net, [taken[0], Snapshot(taken[1].theta, np.zeros((2, 4)))], x)


@pytest.mark.parametrize("bad", [0, -1, 2.0, None, True])
def test_lengths_are_whole_numbers(bad):
    with refused("length"):
        cosine_cycles(bad)
    with refused("length"):
        Snapshots(bad)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, "0.1", [0.1]])
def test_a_floor_is_a_share(bad):
    with refused("floor"):
        cosine_cycles(5, bad)


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


def three_layers(**options):
    return mlp(8, 16, 3, **options)


@pytest.mark.keras
def test_200_steps_and_the_final_overwrite_are_those_of_keras(keras):
    difference = steps_in_keras(
        three_layers,
        SGD(RATE, momentum=MOMENTUM),
        keras.optimizers.SGD(RATE, momentum=MOMENTUM, use_ema=True, ema_momentum=0.96875),
        average=EMA(0.96875),
        finish=lambda twin: twin.optimizer.finalize_variable_values(twin.trainable_variables),
    )
    assert difference <= 1e-12


@pytest.mark.keras
def test_cycles_are_the_cosine_restarts_of_keras(keras):
    theirs = keras.optimizers.schedules.CosineDecayRestarts(1.0, 8, t_mul=1.0, m_mul=1.0, alpha=0.125)
    ours = cosine_cycles(8, 0.125)
    for epoch in range(24):
        assert ours(epoch) == pytest.approx(float(theirs(epoch)), rel=1e-6)


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


def averaged_in_torch(torch, w, steps, **options):
    """PyTorch's AveragedModel, shown our weights after the given steps."""
    model = torch.nn.Linear(w.shape[-1], 1, bias=False, dtype=torch.float64)
    average = torch.optim.swa_utils.AveragedModel(model, **options)
    for t in steps:
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(w[t - 1][None]))
        average.update_parameters(model)
    return average.module.weight.detach().numpy()[0]


@pytest.mark.torch
@pytest.mark.parametrize(("start", "every"), [(1, 1), (3, 4)])
def test_swa_is_the_averaged_model_of_pytorch(torch, start, every):
    net, w, _ = trained(SWA(start, every), seeds=0, epochs=20)
    theirs = averaged_in_torch(torch, w, range(start, 61, every))
    assert relative(net.theta, theirs) <= 1e-14


@pytest.mark.torch
def test_an_ema_is_the_averaged_model_of_pytorch(torch):
    net, w, _ = trained(EMA(0.875), seeds=0, epochs=20)
    multi_avg_fn = torch.optim.swa_utils.get_ema_multi_avg_fn(0.875)
    theirs = averaged_in_torch(torch, w, range(1, 61), multi_avg_fn=multi_avg_fn)
    assert relative(net.theta, theirs) <= 1e-14


# -- planted bugs --------------------------------------------------------------------------------------------

ema, swa = law_an_ema_is_its_closed_form, law_swa_is_the_mean_of_its_steps


def anew(make):
    return lambda: law_the_next_run_begins_a_new_average(AVERAGES[make])


def in_this_module(name, right, wrong, law):
    """The laws call the function by its name in this module."""
    import test_averaging

    return Bug(test_averaging, name, right, wrong, law)


@pytest.mark.parametrize("make", [lambda: EMA(0.9), lambda: SWA(2)])
def test_an_interrupted_run_leaves_nothing_in_the_next(make):
    def interrupted(net):
        raise KeyboardInterrupt

    x, y = np.random.default_rng(0).standard_normal((9, 4)), np.eye(3)[np.arange(9) % 3]
    used, fresh, nets = make(), make(), []
    with pytest.raises(KeyboardInterrupt):
        fit(mlp(4, 5, 3), x, y, SGD(0.1), epochs=1, batch_size=3, average=used, watch=interrupted)
    for average in (used, fresh):
        nets.append(mlp(4, 3, seeds=1))
        fit(nets[-1], x, y, SGD(0.1), epochs=3, batch_size=3, average=average)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


BUGS = {
    "the average starts at 0": Bug(EMA, "update", "net.theta.copy(), True", "0 * net.theta, True", ema),
    "the average is the weights themselves": Bug(EMA, "update", "net.theta.copy()", "net.theta", ema),
    "momentum and rate are exchanged": Bug(
        EMA, "update", "per_member(self.momentum,", "per_member(1 - self.momentum,", ema
    ),
    "the new weights are not scaled": Bug(
        EMA, "update", "per_member(1 - self.momentum, self.theta) * net.theta", "net.theta", ema
    ),
    "the average is never put in place": Bug(
        EMA, "finish", "net.theta[...] = self.theta", "self.running = False", ema
    ),
    "an old average goes on": Bug(
        EMA, "begin", "self.running = False", "pass", anew("EMA")
    ),
    "the mean counts one too few": Bug(SWA, "update", "/ self.averaged", "/ (self.averaged - 1)", swa),
    "the mean counts one too many": Bug(SWA, "update", "/ self.averaged", "/ (self.averaged + 1)", swa),
    "the mean counts all steps": Bug(SWA, "update", "/ self.averaged", "/ self.steps", swa),
    "averaging starts one step late": Bug(SWA, "update", "steps < self.start", "steps <= self.start", swa),
    "the period counts from step 0": Bug(SWA, "update", "(self.steps - self.start) %", "self.steps %", swa),
    "steps before the start are averaged": Bug(SWA, "update", "self.steps < self.start or ", "", swa),
    "the first is the weights themselves": Bug(SWA, "update", "net.theta.copy()", "net.theta", swa),
    "SWA is never put in place": Bug(SWA, "finish", "net.theta[...] = self.theta", "pass", swa),
    "SWA counts on in the next run": Bug(SWA, "begin", "self.running = False", "pass", anew("SWA")),
    "SWA that never started is silent": Bug(
        SWA, "finish", "raise ValueError(", "return (",
        law_training_that_ends_before_swa_starts_is_an_error,
    ),
    "the cosine goes full circle": in_this_module(
        "cosine_cycles", "np.cos(np.pi *", "np.cos(2 * np.pi *", law_cycles_are_the_formula
    ),
    "cycles do not restart": in_this_module(
        "cosine_cycles", "(epoch % length) /", "epoch /", law_cycles_are_the_formula
    ),
    "the floor is added on top": in_this_module(
        "cosine_cycles", "(1 - floor) * ", "", law_cycles_are_the_formula
    ),
    "snapshots share their memory": Bug(
        Snapshots, "__call__", "net.theta.copy()", "net.theta", law_snapshots_are_the_ends_of_cycles
    ),
    "snapshots are of the beginning of a cycle": Bug(
        Snapshots, "__call__", "self.length == 0", "self.length == 1", law_snapshots_are_the_ends_of_cycles
    ),
    "the network keeps the last snapshot": in_this_module(
        "ensemble_predict", "net.theta[...], net.state[...] = before", "pass",
        law_an_ensemble_predicts_the_mean_of_probabilities,
    ),
    "moving statistics are those of the network": Bug(
        averaging, "_probabilities", "theta[...], net.state[...] = snapshot", "theta[...] = snapshot[0]",
        law_an_ensemble_predicts_the_mean_of_probabilities,
    ),
    "outputs are averaged before the softmax": in_this_module(
        "ensemble_predict", ".mean(0)", ".prod(0)", law_an_ensemble_predicts_the_mean_of_probabilities
    ),
    "probabilities do not sum to 1": Bug(
        averaging, "_probabilities", "axis=-1", "axis=None",
        law_an_ensemble_predicts_the_mean_of_probabilities,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
