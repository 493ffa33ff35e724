"""Rules stop where their definitions say, as Keras does; each member ends as if it had been trained alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import BATCH, MOMENTUM, RATE, N, batches, data, relative
from planting import Bug, check_noticed
from test_checks import refused

from regularize import early_stopping
from regularize.averaging import EMA
from regularize.data import load, split
from regularize.early_stopping import GL, PQ, UP, EarlyStopping, Patience, Rule, generalization_loss
from regularize.keras_twin import cross_entropy_loss, from_keras, to_keras
from regularize.layers import Dense, Layer
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.training import Scores, evaluate, fit

NAN, INF = np.nan, np.inf
seeds = st.integers(0, 2**32 - 1)


def curves(seed, epochs=12, lead=(7,), bad=0.0):
    """Random walks in steps of 1/8, so that ties are common, about 2; a share ``bad`` is NaN or infinite."""
    rng = np.random.default_rng(seed)
    walks = 2 + 0.125 * rng.integers(-3, 4, (epochs, *lead)).cumsum(0)
    walks = np.maximum(walks, 0.125)
    return np.where(rng.random(walks.shape) < bad, rng.choice([NAN, NAN, INF], walks.shape), walks)


# -- patience ------------------------------------------------------------------------------------------------


def waits(curve, patience=0, min_delta=0.0, baseline=None, start=0, mode="min"):
    """The rule in words, for one curve: (stopped_epoch, best_epoch, best)."""

    def better(a, b):
        return a < b - min_delta if mode == "min" else a > b + min_delta

    best, best_epoch, waited = None, 0, 0
    for epoch, value in enumerate(curve):
        if epoch < start:
            continue
        if best is None or (np.isnan(best) and not np.isnan(value)) or better(value, best):
            best, best_epoch = value, epoch
            if baseline is None or better(value, baseline):
                waited = 0
            else:
                waited += 1
            continue
        waited += 1
        if waited >= patience and epoch > 0:
            return epoch, best_epoch, best
    return 0, best_epoch, NAN if best is None else best


def law_patience_is_its_definition(seed=0, mode="min", baseline=True, bad=0.1):
    """On a (3, 4) grid of curves, settings that vary along either axis."""
    rng = np.random.default_rng(seed)
    values = curves(seed, lead=(3, 4), bad=bad)
    settings = {
        "patience": rng.integers(0, 4, (3, 1)),
        "min_delta": rng.choice([0, 0.125, 0.5], 4),
        "baseline": rng.choice([1.0, 2.0, 3.0], (3, 4)) if baseline else None,
        "start_from_epoch": rng.integers(0, 4, (3, 1)),
    }
    stops = Patience(**settings).stop_epochs(values, mode=mode)
    for s in np.ndindex(3, 4):
        own = [None if h is None else np.broadcast_to(h, (3, 4))[s] for h in settings.values()]
        expected = waits(values[(slice(None), *s)], *own, mode=mode)
        np.testing.assert_array_equal([a[s] for a in stops], expected)


@given(
    seed=seeds, mode=st.sampled_from(["min", "max"]), baseline=st.booleans(), bad=st.sampled_from([0, 0.3])
)
def test_patience_is_its_definition(seed, mode, baseline, bad):
    law_patience_is_its_definition(seed, mode, baseline, bad)


def test_patience_by_hand():
    curve = [5.0, 4, 4.5, 3.5, 3.5, 3.6, 3.4, 3.3]
    assert Patience().stop_epochs(curve) == (2, 1, 4.0)
    assert Patience(2).stop_epochs(curve) == (5, 3, 3.5)
    assert Patience(3).stop_epochs(curve) == (0, 7, 3.3)
    assert Patience(3, min_delta=0.2).stop_epochs(curve) == (6, 3, 3.5)
    assert Patience(3, baseline=3.45).stop_epochs(curve) == (2, 1, 4.0)
    assert Patience(4, baseline=3.45).stop_epochs(curve) == (4, 3, 3.5)
    assert Patience(7, baseline=3.45).stop_epochs(curve) == (0, 7, 3.3)
    assert Patience(2, start_from_epoch=3).stop_epochs(curve) == (5, 3, 3.5)
    assert Patience(2, start_from_epoch=4).stop_epochs(curve) == (0, 7, 3.3)
    assert Patience(2).stop_epochs(np.negative(curve), mode="max") == (5, 3, -3.5)


@given(seed=seeds)
@settings(max_examples=25)
def test_patience_0_is_patience_1(seed):
    values = curves(seed, bad=0.1)
    for baseline in (None, 2.0):
        pairs = zip(*(Patience(p, baseline=baseline).stop_epochs(values) for p in (0, 1)), strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a, b)


def law_nan_is_never_the_best():
    """It is waited for, like any epoch without improvement; a number is better than a NaN at the start."""
    assert Patience(3).stop_epochs([3.0, NAN, NAN, 2.0, NAN, NAN, NAN]) == (6, 3, 2.0)
    assert Patience(3).stop_epochs([NAN, NAN, 2.0, 3.0]) == (0, 2, 2.0)
    assert Patience(3).stop_epochs([NAN, NAN, 2.0, 3.0], mode="max") == (0, 3, 3.0)
    assert Patience(9).stop_epochs([INF, INF, 5.0, -INF]) == (0, 3, -INF)
    never = Patience(2).stop_epochs([NAN] * 5)
    assert never[:2] == (2, 0)
    assert np.isnan(never.best)


def test_nan_is_never_the_best():
    law_nan_is_never_the_best()


def law_before_the_first_watched_epoch_there_is_no_best():
    stops = Patience(start_from_epoch=5).stop_epochs([3.0, 2.0, 4.0])
    assert stops[:2] == (0, 0)
    assert np.isnan(stops.best)


def test_before_the_first_watched_epoch_there_is_no_best():
    law_before_the_first_watched_epoch_there_is_no_best()


# -- Prechelt ------------------------------------------------------------------------------------------------


def generalization_losses(errors):
    """GL(1), GL(2), ..., as Prechelt defines them."""
    return [100 * (errors[t] / min(errors[: t + 1]) - 1) for t in range(len(errors))]


def first(conditions):
    """The first epoch, from 1 on, at which the condition holds, else 0."""
    return next((epoch for epoch, condition in enumerate(conditions) if condition and epoch > 0), 0)


def stops_of_gl(errors, training, alpha):
    return first(gl > alpha for gl in generalization_losses(errors))


def stops_of_pq(errors, training, alpha, k):
    def progress(t):
        strip = training[t - k : t]
        return 1000 * (sum(strip) / (k * min(strip)) - 1)

    losses = generalization_losses(errors)
    return first(t % k == 0 and losses[t - 1] / progress(t) > alpha for t in range(1, len(errors) + 1))


def stops_of_up(errors, training, strips, k):
    def up(s, t):
        return s == 0 or (t >= 2 * k and errors[t - 1] > errors[t - k - 1] and up(s - 1, t - k))

    return first(t % k == 0 and up(strips, t) for t in range(1, len(errors) + 1))


def smooth(seed, epochs=40, lead=(6,)):
    """Falling, then rising errors with noise, and a training error that falls; no two are equal."""
    rng = np.random.default_rng(seed)
    t = np.arange(epochs).reshape(-1, *(1 for _ in lead))
    rise = rng.uniform(0, 0.02, lead) * np.maximum(t - rng.integers(5, 25, lead), 0)
    fall = np.exp(-t / rng.uniform(3, 20, lead))
    noise = rng.uniform(0, 0.03, (2, epochs, *lead))
    return 0.5 + fall + rise + noise[0], 0.3 + fall + noise[1]


PRECHELT = {
    "GL": (GL, stops_of_gl, [1, 2, 3, 5], ()),
    "PQ": (PQ, stops_of_pq, [0.5, 0.75, 1, 2, 3], (5, 3, 2)),
    "UP": (UP, stops_of_up, [1, 2, 3, 4], (5, 3, 1)),
}


def law_prechelts_rules_are_their_definitions(name="GL", seed=0):
    """A threshold for each row of a (L, 6) grid of curves; the best is the least error until the stop."""
    make, reference, thresholds, lengths = PRECHELT[name]
    lead = (len(thresholds), 6)
    values, training = smooth(seed, lead=lead)
    for k in lengths or [None]:
        own = () if k is None else (k,)
        stops = make(np.array(thresholds)[:, None], *own).stop_epochs(values, training)
        for s in np.ndindex(lead):
            errors, train = values[(slice(None), *s)].tolist(), training[(slice(None), *s)].tolist()
            stop = reference(errors, train, thresholds[s[0]], *own)
            until = errors[: stop + 1] if stop else errors
            assert stops.stopped_epoch[s] == stop
            assert stops.best_epoch[s] == np.argmin(until)
            assert stops.best[s] == min(until)


@given(seed=seeds)
@settings(max_examples=25)
@pytest.mark.parametrize("name", PRECHELT)
def test_prechelts_rules_are_their_definitions(name, seed):
    law_prechelts_rules_are_their_definitions(name, seed)


def law_prechelts_rules_by_hand():
    """In epochs that count from 0."""
    assert GL(6.25).stop_epochs([2.0, 1.0, 1.0625, 1.125]) == (3, 1, 1.0)  # more than alpha
    assert GL(6).stop_epochs([2.0, 1.0, 1.0625, 1.125]) == (2, 1, 1.0)
    up = [5.0, 4.0, 4.5, 4.5, 3.0, 5.0]
    assert UP(1, k=2).stop_epochs(up) == (3, 4 - 3, 4.0)  # E(4) = 4.5 > E(2) = 4
    assert UP(2, k=2).stop_epochs(up) == (5, 4, 3.0)  # and E(6) = 5 > E(4)
    assert UP(3, k=2).stop_epochs(up) == (0, 4, 3.0)
    assert UP(1, k=1).stop_epochs(up) == (2, 1, 4.0)
    assert UP(1).stop_epochs([9.0] * 4 + [1.0, 5, 5, 5, 5, 1.0]) == (0, 4, 1.0)  # as high is not higher
    assert UP(1).stop_epochs([9.0] * 4 + [1.0, 5, 5, 5, 5, 1.5]) == (9, 4, 1.0)
    # GL = 12.5, and the training errors 3 and 1 have twice their minimum as mean: P = 1000
    assert PQ(0.01249, k=2).stop_epochs([1.0, 1.125], [3.0, 1.0]) == (1, 0, 1.0)
    assert PQ(0.0125, k=2).stop_epochs([1.0, 1.125], [3.0, 1.0]) == (0, 0, 1.0)
    assert PQ(0.01249, k=3).stop_epochs([1.0, 1.125], [3.0, 1.0]) == (0, 0, 1.0)


def test_prechelts_rules_by_hand():
    law_prechelts_rules_by_hand()


def law_errors_of_0_are_no_accident():
    """0 / 0 is no loss, and anything above 0 an infinite one; no progress at all makes any loss too much."""
    zero = np.zeros(4)
    assert GL(5).stop_epochs(zero) == (0, 0, 0.0)
    assert GL(5).stop_epochs([1, 0, 0, 0.5]) == (3, 1, 0.0)
    assert PQ(1, k=2).stop_epochs(zero, zero) == (0, 0, 0.0)
    assert PQ(1, k=2).stop_epochs([1, 1, 1, 1.5], [3, 3, 3, 3]) == (3, 0, 1.0)
    with np.errstate(invalid="ignore"):
        losses = generalization_loss(np.array([2.0, 3.0, 1.0, 0.0]), np.array([2.0, 2.0, 2.0, 0.0]))
    np.testing.assert_array_equal(losses, [0, 50, 0, 0])


def test_errors_of_0_are_no_accident():
    law_errors_of_0_are_no_accident()


def law_a_diverged_member_stops_at_once():
    for rule, training in [(GL(5), None), (UP(2, k=3), None), (PQ(1, k=3), [1, 1, 1, NAN, NAN])]:
        assert rule.stop_epochs([2.0, 1.0, 0.9, NAN, 0.8], training) == (3, 2, 0.9)
        late = rule.stop_epochs([NAN, 1.0, 0.9, 0.8, 0.7], training and [1] * 5)  # after epoch 0 none stops
        assert late == (0, 4, 0.7)
    assert GL(5).stop_epochs([1.0, INF]) == (1, 0, 1.0)


def test_a_diverged_member_stops_at_once():
    law_a_diverged_member_stops_at_once()


def law_of_an_accuracy_the_error_is_what_is_missing():
    """An error that rises from 10 to 11 percent is a generalization loss of 10."""
    accuracy = [0.5, 0.9, 0.89, 0.95]
    assert GL(9.9).stop_epochs(accuracy, mode="max") == (2, 1, 0.9)
    assert GL(10.1).stop_epochs(accuracy, mode="max") == (0, 3, 0.95)
    assert UP(1, k=1).stop_epochs(accuracy, mode="max") == (2, 1, 0.9)
    # training accuracies 0.8 and 0.9: errors 0.2 and 0.1, P = 500
    assert PQ(0.019, k=2).stop_epochs([0.9, 0.89], [0.8, 0.9], mode="max") == (1, 0, 0.9)
    assert PQ(0.021, k=2).stop_epochs([0.9, 0.89], [0.8, 0.9], mode="max") == (0, 0, 0.9)


def test_of_an_accuracy_the_error_is_what_is_missing():
    law_of_an_accuracy_the_error_is_what_is_missing()


@pytest.mark.parametrize("rule", [Patience(1), GL(1), UP(1, k=1), PQ(0.1, k=1)])
def test_no_rule_stops_after_epoch_0(rule):
    assert rule.stop_epochs([2.0], [1.0])[:2] == (0, 0)


def test_prechelts_strips_have_5_epochs_by_default():
    assert UP(2).k == PQ(1).k == 5
    patience = Patience()
    assert (patience.patience, patience.min_delta, patience.baseline, patience.start_from_epoch) == (
        0,
        0,
        None,
        0,
    )


RULES = {
    "patience": Patience(1),
    "patience per member": Patience([0, 1, 2], min_delta=[0.0, 0.001, 0.0]),
    "baseline": Patience(3, baseline=0.9, start_from_epoch=2),
    "GL": GL([0.05, 0.5, 2.0]),
    "UP": UP([1, 1, 2], k=2),
    "PQ": PQ(0.02, k=2),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_remembers_nothing_of_its_runs(rule):
    before = dict(vars(rule))
    values, training = smooth(1, lead=(3,))
    once, again = (rule.stop_epochs(values, training) for _ in range(2))
    first, second = rule.begin((3,)), rule.begin((3,))
    for epoch in range(40):  # two runs side by side
        first.follow(epoch, values[epoch], training[epoch])
        second.follow(epoch, values[-1 - epoch], training[epoch])
    for a, b, c in zip(once, again, first.stops, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert vars(rule) == before


# -- in training ---------------------------------------------------------------------------------------------


class Counter(Layer):
    """Counts its training passes in a state, as moving statistics would."""

    count: np.ndarray
    states = {"count": (1,)}  # noqa: RUF012

    def forward(self, x, train):
        self.count += train
        return x

    def backward(self, g):
        return g


def blurred(x, y, noise):
    return x + (0.3 * noise.normal(x.shape[-2:])).astype(x.dtype), y


def law_a_member_ends_as_if_trained_alone(name="patience", restore=False, monitor="loss", dtype="float32"):
    """Bit for bit: weights, state, epochs, values and history, though members stop at different times."""
    (x, y), rule = data(), RULES[name]

    def train(seeds, rule):
        net = Network(Counter(), Dense(8, 12), Dense(12, 3), seeds=seeds, dtype=dtype)
        stopping = EarlyStopping(
            x[50:], y[50:], rule, monitor=monitor, restore_best_weights=restore, training=(x[:20], y[:20])
        )
        arguments = {"epochs": 14, "batch_size": 16, "augment": blurred, "stopping": stopping}
        fit(net, x[:50], y[:50], Adam(0.03), **arguments)
        return net, stopping

    net, stopping = train([0, 1, 2], rule)
    assert net.state.dtype == net.theta.dtype == dtype
    for s in range(3):
        own = {h: np.broadcast_to(getattr(rule, h), 3)[s] for h in rule.hyperparameters}
        own = {h: None if value is None else value for h, value in own.items()}
        own_rule = type(rule)(**own, **({"k": rule.k} if hasattr(rule, "k") else {}))
        alone, its_stopping = train(s, own_rule)
        np.testing.assert_array_equal(net.theta[s], alone.theta)
        np.testing.assert_array_equal(net.state[s], alone.state)
        for result in ("stopped_epoch", "best_epoch", "best"):
            np.testing.assert_array_equal(getattr(stopping, result)[s], getattr(its_stopping, result))
        history = np.array([values[s] for values in stopping.history])
        length = len(its_stopping.history)
        np.testing.assert_array_equal(history[:length], its_stopping.history)
        assert np.isnan(history[length:]).all()
    return stopping


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_a_member_ends_as_if_trained_alone(name, restore, monitor):
    law_a_member_ends_as_if_trained_alone(name, restore, monitor)


def test_the_members_of_these_tests_stop_at_different_times():
    for name in ("patience per member", "GL", "UP"):
        stopping = law_a_member_ends_as_if_trained_alone(name, dtype="float64")
        assert len(set(stopping.stopped_epoch.tolist())) > 1
        assert (
            len(stopping.history) == stopping.stopped_epoch.max() + 1 or (stopping.stopped_epoch == 0).any()
        )


def law_kept_weights_are_those_of_their_epoch(restore=True, rule=RULES["patience per member"], epochs=14):
    """And those of their moving statistics; what is monitored is what ``evaluate`` finds."""
    x, y = data()
    net, seen = Network(Counter(), Dense(8, 12), Dense(12, 3), seeds=[0, 1, 2]), []
    stopping = EarlyStopping(x[50:], y[50:], rule, restore_best_weights=restore)

    def watch(net):
        seen.append((net.theta.copy(), net.state.copy(), evaluate(net, x[50:], y[50:]).loss))

    fit(net, x[:50], y[:50], Adam(0.03), epochs=epochs, batch_size=16, augment=blurred, watch=watch,
        stopping=stopping)  # fmt: skip
    last = np.where(stopping.stopped_epoch, stopping.stopped_epoch, len(seen) - 1)
    for s, epoch in enumerate(stopping.best_epoch if restore else last):
        np.testing.assert_array_equal(net.theta[s], seen[epoch][0][s])
        np.testing.assert_array_equal(net.state[s], seen[epoch][1][s])
        assert stopping.best[s] == seen[stopping.best_epoch[s]][2][s]
        for t, values in enumerate(stopping.history):
            np.testing.assert_array_equal(values[s], seen[t][2][s] if t <= last[s] else NAN)
    recorded = rule.stop_epochs([loss for _, _, loss in seen])
    np.testing.assert_array_equal(recorded.stopped_epoch, stopping.stopped_epoch)
    np.testing.assert_array_equal(recorded.best_epoch, stopping.best_epoch)
    np.testing.assert_array_equal(recorded.best, stopping.best)
    return stopping, net


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("epochs", [2, 14])
def test_kept_weights_are_those_of_their_epoch(restore, epochs):
    law_kept_weights_are_those_of_their_epoch(restore, epochs=epochs)


def law_the_best_are_restored_without_a_stop():
    """As Keras 3 does it."""
    stopping, _ = law_kept_weights_are_those_of_their_epoch(True, Patience(99))
    assert not stopping.stopped_epoch.any()
    assert (stopping.best_epoch < 13).any()


def test_the_best_are_restored_without_a_stop():
    law_the_best_are_restored_without_a_stop()


def law_training_ends_when_the_last_member_stops():
    stopping, net = law_kept_weights_are_those_of_their_epoch(False)
    assert stopping.stopped_epoch.all()
    assert len(stopping.history) == stopping.stopped_epoch.max() + 1 < 14
    np.testing.assert_array_equal(net.state[:, 0], 4 * (stopping.stopped_epoch + 1))


def test_training_ends_when_the_last_member_stops():
    law_training_ends_when_the_last_member_stops()


def law_pq_sees_the_training_data(monitor="loss"):
    """What it decides is what it makes of the recorded curves of both."""
    x, y = data()
    net, seen, rule = mlp(8, 12, 3, seeds=[0, 1, 2]), [], PQ([0.01, 0.05, 0.1], k=2)
    stopping = EarlyStopping(x[50:], y[50:], rule, monitor=monitor, training=(x[:50], y[:50]))

    def watch(net):
        parts = (x[50:], y[50:]), (x[:50], y[:50])
        seen.append([getattr(evaluate(net, *part), monitor) for part in parts])

    fit(net, x[:50], y[:50], Adam(0.03), epochs=14, batch_size=16, watch=watch, stopping=stopping)
    validation, training = np.swapaxes(seen, 0, 1)
    recorded = rule.stop_epochs(validation, training, mode={"loss": "min", "accuracy": "max"}[monitor])
    assert stopping.stopped_epoch.any()
    np.testing.assert_array_equal(stopping.stopped_epoch, recorded.stopped_epoch)
    np.testing.assert_array_equal(stopping.best_epoch, recorded.best_epoch)


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_pq_sees_the_training_data(monitor):
    law_pq_sees_the_training_data(monitor)


def test_any_loss_may_be_monitored():
    x, y = data()
    net = mlp(8, 12, 3)
    stopping = EarlyStopping(x, y, Patience(5), loss=squared_error)
    fit(net, x, y, SGD(0.01), epochs=3, batch_size=16, loss=squared_error, stopping=stopping)
    assert stopping.history[-1] == evaluate(net, x, y, squared_error).loss
    assert EarlyStopping(x, y, Patience()).loss is cross_entropy


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_members_may_have_validation_data_of_their_own(monitor):
    x, y = data()
    own = np.stack([x[:20], x[20:40]]), np.stack([y[:20], y[20:40]])
    net = mlp(8, 3, seeds=[0, 1])
    stopping = EarlyStopping(*own, Patience(9), monitor=monitor)
    fit(net, x, y, SGD(0.1), epochs=2, batch_size=32, stopping=stopping)
    np.testing.assert_array_equal(stopping.history[-1], getattr(evaluate(net, *own), monitor))


def test_training_errors_are_only_computed_where_they_are_needed(monkeypatch):
    calls, (x, y) = [], data()
    monkeypatch.setattr(early_stopping, "evaluate", lambda *a: (calls.append(a), evaluate(*a))[1])
    for rule, per_epoch in [(Patience(9), 1), (PQ(1), 2)]:
        calls.clear()
        stopping = EarlyStopping(x, y, rule, training=(x, y))
        fit(mlp(8, 3), x, y, SGD(0.1), epochs=3, batch_size=32, stopping=stopping)
        assert len(calls) == 3 * per_epoch


def law_a_stopped_member_that_diverges_later_is_saved():
    """It is trained on, unseen; what becomes of it then does not matter."""
    x, y = data()
    net, seen = mlp(8, 3, seeds=[0, 1]), []

    def poison(net):
        seen.append(net.theta[0].copy())
        if len(seen) == 5:
            net.theta[0] = NAN

    stopping = EarlyStopping(x, y, Patience([0, 9], min_delta=99.0))
    fit(net, x, y, SGD(0.1), epochs=8, batch_size=N, constrain=poison, stopping=stopping, diverged="keep")
    np.testing.assert_array_equal(stopping.stopped_epoch, [1, 0])
    np.testing.assert_array_equal(net.theta[0], seen[1])


def test_a_stopped_member_that_diverges_later_is_saved():
    law_a_stopped_member_that_diverges_later_is_saved()


def test_what_is_restored_replaces_an_average():
    x, y = data()
    net, average, seen = mlp(8, 3), EMA(0.9), []
    stopping = EarlyStopping(x, y, Patience(99), restore_best_weights=True)
    fit(net, x, y, SGD(0.1), epochs=3, batch_size=N, average=average, stopping=stopping,
        watch=lambda net: seen.append(net.theta.copy()))  # fmt: skip
    np.testing.assert_array_equal(net.theta, seen[stopping.best_epoch])
    assert np.abs(net.theta - average.theta).max() > 1e-4


def law_the_next_run_begins_anew():
    """Also without an epoch, and on a network of another shape."""
    x, y = data()
    stopping = EarlyStopping(x[50:], y[50:], Patience(1), restore_best_weights=True)

    def train(stopping, seeds, epochs=14):
        net = mlp(8, 12, 3, seeds=seeds)
        fit(net, x[:50], y[:50], Adam(0.03), epochs=epochs, batch_size=16, stopping=stopping)
        return net.theta

    train(stopping, [5, 6])
    np.testing.assert_array_equal(train(stopping, [5, 6], 0), mlp(8, 12, 3, seeds=[5, 6]).theta)
    fresh = EarlyStopping(x[50:], y[50:], Patience(1), restore_best_weights=True)
    np.testing.assert_array_equal(train(stopping, [7, 8]), train(fresh, [7, 8]))
    np.testing.assert_array_equal(stopping.stopped_epoch, fresh.stopped_epoch)
    np.testing.assert_array_equal(stopping.history, fresh.history)
    train(stopping, 3)
    assert stopping.best.shape == ()


def test_the_next_run_begins_anew():
    law_the_next_run_begins_anew()


def law_an_abandoned_run_leaves_no_trace():
    """``fit`` broke off and never called ``finish``; and a loop of one's own may count from another epoch."""
    x, y = data()
    stopping = EarlyStopping(x, y, Patience(1), restore_best_weights=True)
    stopping.update(mlp(8, 3, seeds=[5, 6]), 0)
    net = mlp(8, 3, seeds=[7, 8])
    theta = net.theta.copy()
    stopping.update(net, 0)
    assert len(stopping.history) == 1
    net.theta += 1
    stopping.finish(net)
    np.testing.assert_array_equal(net.theta, theta)
    stopping.update(net, 3)
    assert len(stopping.history) == 1


def test_an_abandoned_run_leaves_no_trace():
    law_an_abandoned_run_leaves_no_trace()


def test_data_are_not_changed():
    x, y = data()
    before = x.copy(), y.copy()
    fit(mlp(8, 3), x, y, SGD(0.1), epochs=2, batch_size=32, stopping=EarlyStopping(x, y, Patience(1)))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


# -- Keras ---------------------------------------------------------------------------------------------------


def in_keras(keras, curve, mode, restore, settings):
    """Keras's callback on a model whose weights are the number of the epoch: what it did, and the weights."""
    callback = keras.callbacks.EarlyStopping("value", mode=mode, restore_best_weights=restore, **settings)
    model = SimpleNamespace(stop_training=False, weights=-1)
    model.get_weights = lambda: model.weights
    model.set_weights = lambda weights: setattr(model, "weights", weights)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(curve):
        model.weights = epoch
        callback.on_epoch_end(epoch, {"value": value})
        if model.stop_training:
            break
    callback.on_train_end()
    best = NAN if callback.best is None else float(callback.best)
    return callback.stopped_epoch, callback.best_epoch, best, model.weights, epoch


def on_recorded_curves(values, rule, mode, restore, monkeypatch):
    """The same in our EarlyStopping, all curves at once; ``evaluate`` returns what was recorded."""
    lead = values.shape[1:]
    net = Network(Dense(1, 2), seeds=np.zeros(lead, int))
    now = iter(values)
    monkeypatch.setattr(early_stopping, "evaluate", lambda *_: Scores(*[next(now)] * 2))
    monitor = {"min": "loss", "max": "accuracy"}[mode]
    stopping = EarlyStopping(
        np.ones((1, 1)), np.ones((1, 2)), rule, monitor=monitor, restore_best_weights=restore
    )
    for epoch in range(len(values)):
        net.theta[...] = epoch
        if stopping.update(net, epoch):
            break
    stopping.finish(net)
    return stopping.stopped_epoch, stopping.best_epoch, stopping.best, net.theta[..., 0], epoch


@pytest.mark.keras
@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_patience_is_the_rule_of_keras(keras, monkeypatch, mode, baseline, restore):
    """75 random curves each with its own settings: 600 in all. Only a NaN at the start is left out."""
    rng = np.random.default_rng([mode == "min", baseline, restore])
    values = curves(rng, 10, (75,), bad=0.1)
    start = rng.integers(0, 4, 75) * rng.integers(0, 2, 75)
    watched_first = values[start, np.arange(75)]
    values[start, np.arange(75)] = np.where(np.isnan(watched_first), 2.0, watched_first)
    settings = {
        "patience": rng.integers(0, 5, 75),
        "min_delta": rng.choice([0.0, 0.125, 0.25], 75),
        "start_from_epoch": start,
    }
    if baseline:
        settings["baseline"] = 2 + 0.125 * rng.integers(-6, 7, 75)
    ours = on_recorded_curves(values, Patience(**settings), mode, restore, monkeypatch)
    theirs = [
        in_keras(keras, values[:, s], mode, restore, {h: v[s].item() for h, v in settings.items()})
        for s in range(75)
    ]
    for a, b in zip(ours[:4], zip(*theirs, strict=True), strict=False):
        np.testing.assert_array_equal(a, b)
    assert ours[4] == max(run[4] for run in theirs)
    assert 10 < np.count_nonzero(ours[0]) < 75


@pytest.mark.keras
def test_in_keras_a_nan_at_the_start_stays_the_best(keras, monkeypatch):
    """The one difference: it keeps the weights of the NaN, here a number that comes later is better."""
    curve = [NAN, 3.0, 2.0, 1.0]
    settings = {"patience": 3}
    stopped, best_epoch, best, weights, _ = in_keras(keras, curve, "min", True, settings)
    assert (stopped, best_epoch, weights) == (3, 0, 0)
    assert np.isnan(best)
    ours = on_recorded_curves(np.array(curve), Patience(3), "min", True, monkeypatch)
    assert tuple(float(a) for a in ours) == (0, 3, 1.0, 3, 3)


@pytest.mark.keras
@pytest.mark.parametrize("restore", [False, True])
def test_a_run_of_keras_stops_with_the_same_weights(keras, restore):
    """Its callback at work: the same batches, its own validation losses."""
    x, y = data()
    net = mlp(8, 16, 3, seeds=5)
    twin = to_keras(net)
    twin.compile(optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss=cross_entropy_loss())
    x_val = np.random.default_rng(3).standard_normal((30, 8))
    y_val = np.eye(3)[(x_val[:, :3] ** 2).argmax(1)]
    stopping = EarlyStopping(x_val, y_val, Patience(3), restore_best_weights=restore)
    fit(net, x, y, SGD(RATE, momentum=MOMENTUM), epochs=40, batch_size=BATCH, stopping=stopping)
    callback = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=restore)
    callback.set_model(twin)
    callback.on_train_begin()
    steps, per_epoch = batches(5), -(-N // BATCH)
    for epoch in range(40):
        for _ in range(per_epoch):
            rows = next(steps)
            twin.train_on_batch(x[rows], y[rows])
        callback.on_epoch_end(epoch, {"val_loss": float(cross_entropy_loss()(y_val, twin(x_val)))})
        if twin.stop_training:
            break
    callback.on_train_end()
    other = mlp(8, 16, 3, seeds=5)
    from_keras(twin, other)
    assert stopping.stopped_epoch == callback.stopped_epoch > 3
    assert stopping.best_epoch == callback.best_epoch
    assert relative(net.theta, other.theta) <= 1e-12


# -- bad input -----------------------------------------------------------------------------------------------

X, Y = data()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("patience", lambda: Patience(-1)),
        ("patience", lambda: Patience(1.5)),
        ("patience", lambda: Patience([1, NAN])),
        ("patience", lambda: Patience("3")),
        ("patience", lambda: Patience(None)),
        ("min_delta", lambda: Patience(min_delta=-0.1)),
        ("baseline", lambda: Patience(baseline=NAN)),
        ("baseline", lambda: Patience(baseline="low")),
        ("start_from_epoch", lambda: Patience(start_from_epoch=-1)),
        ("start_from_epoch", lambda: Patience(start_from_epoch=0.5)),
        ("alpha", lambda: GL(0)),
        ("alpha", lambda: GL([1, -1])),
        ("alpha", lambda: PQ(0)),
        ("k", lambda: PQ(1, 0)),
        ("k", lambda: PQ(1, 2.0)),
        ("strips", lambda: UP(0)),
        ("strips", lambda: UP(1.5)),
        ("k", lambda: UP(1, 0)),
        ("values", lambda: GL(1).stop_epochs(3.0)),
        ("training", lambda: PQ(1).stop_epochs([1.0, 2.0])),
        ("training", lambda: PQ(1).stop_epochs([1.0, 2.0], [1.0])),
        ("training", lambda: PQ(1).stop_epochs([1.0, 2.0], 1.0)),
        ("mode", lambda: GL(1).stop_epochs([1.0], mode="auto")),
        ("Patience.patience", lambda: Patience([1, 2]).stop_epochs(np.ones((4, 3)))),
        ("Patience.min_delta", lambda: Patience(min_delta=[1, 2]).stop_epochs(np.ones((4, 3)))),
        ("Patience.baseline", lambda: Patience(baseline=[1, 2]).stop_epochs(np.ones((4, 3)))),
        ("Patience.start_from_epoch", lambda: Patience(start_from_epoch=[1, 2]).stop_epochs(np.ones((4, 3)))),
        ("GL.alpha", lambda: GL([[1]]).stop_epochs(np.ones((4, 3)))),
        ("PQ.alpha", lambda: PQ([1, 2]).stop_epochs(np.ones((4, 3)), np.ones((4, 3)))),
        ("UP.strips", lambda: UP([1, 2]).stop_epochs(np.ones((4, 3)))),
        ("x", lambda: EarlyStopping(X[0], Y, Patience())),
        ("x", lambda: EarlyStopping(np.full_like(X, NAN), Y, Patience())),
        ("y", lambda: EarlyStopping(X, Y[0], Patience())),
        ("rule", lambda: EarlyStopping(X, Y, 10)),
        ("rule", lambda: EarlyStopping(X, Y, Patience)),
        ("monitor", lambda: EarlyStopping(X, Y, Patience(), monitor="val_loss")),
        ("loss", lambda: EarlyStopping(X, Y, Patience(), loss="cross_entropy")),
        ("training", lambda: EarlyStopping(X, Y, PQ(1))),
        ("training", lambda: EarlyStopping(X, Y, PQ(1), training=X)),
        ("training", lambda: EarlyStopping(X, Y, PQ(1), training=(X, Y, X))),
    ],
)
def test_bad_input_is_refused(name, call):
    with refused(name):
        call()


def train_with(net, stopping):
    fit(net, X, Y[:, : net.output_features(8)], SGD(0.1), epochs=2, batch_size=32, loss=squared_error,
        stopping=stopping)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stopping"),
    [
        ("x", EarlyStopping(np.zeros((4, 70, 8)), Y, Patience())),
        ("y", EarlyStopping(X, Y[:-1], Patience())),
        ("Patience.patience", EarlyStopping(X, Y, Patience([1, 2]))),
    ],
)
def test_what_does_not_fit_the_network_is_refused(name, stopping):
    with refused(name):
        train_with(mlp(8, 3, seeds=[0, 1, 2]), stopping)


def test_a_network_with_one_output_has_no_accuracy():
    with refused("monitor", ValueError):
        train_with(mlp(8, 1), EarlyStopping(X, Y[:, :1], Patience(), monitor="accuracy"))
    train_with(mlp(8, 1), EarlyStopping(X, Y[:, :1], Patience(), loss=squared_error))


def test_the_contract_must_be_filled_in():
    with pytest.raises(NotImplementedError):
        Rule().begin(()).follow(0, 1.0)
    with pytest.raises(NotImplementedError):
        early_stopping.Prechelt().begin(()).follow(0, 1.0)


# -- planted bugs --------------------------------------------------------------------------------------------


def patience(seeds=range(40)):
    for seed in seeds:
        law_patience_is_its_definition(seed, "min", baseline=bool(seed % 2))
        law_patience_is_its_definition(seed, "max", baseline=bool(seed % 2))


def prechelt(name):
    def law():
        for seed in range(10):
            law_prechelts_rules_are_their_definitions(name, seed)
        law_prechelts_rules_by_hand()

    return law


kept, alone = law_kept_weights_are_those_of_their_epoch, law_a_member_ends_as_if_trained_alone


def test_training_data_may_be_a_part_of_a_split():
    parts = split(load("wine"), 0, train=20, test=10)
    stopping = EarlyStopping(*parts.test, PQ(1), training=parts.train)
    assert len(stopping.training) == 2
    for bad in (parts.train.x[0, 0], None, [parts.train.x]):
        with refused("training", TypeError):
            EarlyStopping(*parts.test, PQ(1), training=bad)


BUGS = {
    "patience is one epoch too long": Bug(
        Patience, "decide", "self.waited >= self.patience", "self.waited > self.patience", patience
    ),
    "min_delta has the wrong sign": Bug(
        Patience, "decide", "_less(error + self", "_less(error - self", patience
    ),
    "the wait never starts again": Bug(
        Patience, "decide", "np.where(better & beats, 0,", "np.where(False, 0,", patience
    ),
    "the baseline is the first best": Bug(
        Patience, "decide", "_less(error + self.min_delta, best)",
        "(error < best) & (self.baseline is None or error < self.error(self.baseline))", patience,
    ),
    "the baseline is ignored": Bug(Patience, "decide", "better & beats", "better", patience),
    "the baseline of an accuracy is that of a loss": Bug(
        Patience, "decide", "self.error(self.baseline)", "self.baseline", patience
    ),
    "unwatched epochs are waited": Bug(
        Patience, "decide", "self.waited + watched", "self.waited + 1", patience
    ),
    "unwatched epochs may be the best": Bug(
        Patience, "decide", "watched & _less", "_less", law_before_the_first_watched_epoch_there_is_no_best
    ),
    "an epoch that improves may stop": Bug(
        Patience, "decide", "watched & ~better", "watched", patience
    ),
    "as good as the best is better": Bug(
        early_stopping, "_less", "~(a >= b)", "~(a > b)", patience
    ),
    "NaN is better than all": Bug(
        early_stopping, "_less", "~np.isnan(a) & ~(a >= b)", "~(a >= b)", law_nan_is_never_the_best
    ),
    "nothing is better than NaN": Bug(
        early_stopping, "_less", "~np.isnan(a) & ~(a >= b)", "a < b", law_nan_is_never_the_best
    ),
    "an accuracy is minimized": Bug(Rule, "error", "else -value", "else value", patience),
    "members that stopped go on choosing their best": Bug(
        Rule, "follow", "better & self.running", "better", patience
    ),
    "members that stopped stop again": Bug(
        Rule, "follow", "stop & self.running", "stop", patience
    ),
    "the first epoch may stop": Bug(
        Rule, "follow", " & (epoch > 0)", "", law_a_diverged_member_stops_at_once
    ),
    "GL is no percentage": Bug(
        early_stopping, "generalization_loss", ", 100 * (error", ", (error", prechelt("GL")
    ),
    "GL is relative to the error itself": Bug(
        early_stopping, "generalization_loss", "(error / lowest - 1), 0", "(1 - lowest / error), 0",
        prechelt("GL"),
    ),
    "GL is relative to the epoch before": Bug(
        Rule, "follow", "(better, value)", "(self.running, value)", prechelt("GL")
    ),
    "0 / 0 stops": Bug(
        early_stopping, "generalization_loss", "np.where(error > lowest, 100 * (error / lowest - 1), 0.0)",
        "np.nan_to_num(100 * (error / lowest - 1), nan=np.inf)", law_errors_of_0_are_no_accident,
    ),
    "diverged members go on": Bug(
        early_stopping.Prechelt, "decide", "stop | np.isnan(error)", "stop",
        law_a_diverged_member_stops_at_once,
    ),
    "the error of an accuracy is minus it": Bug(
        early_stopping.Prechelt, "error", "1 - value", "-value",
        law_of_an_accuracy_the_error_is_what_is_missing,
    ),
    "progress is per hundred": Bug(PQ, "exceeds", "1000 *", "100 *", prechelt("PQ")),
    "progress is of validation errors": Bug(PQ, "exceeds", "= training", "= error", prechelt("PQ")),
    "progress is relative to the mean of the strip": Bug(
        PQ, "exceeds", "self.strip.min(0)", "self.strip.max(0)", prechelt("PQ")
    ),
    "PQ is asked after each epoch": Bug(PQ, "exceeds", "(t % self.k == 0) & ", "", prechelt("PQ")),
    "the quotient is upside down": Bug(
        PQ, "exceeds", "generalization_loss(error, lowest) / progress",
        "progress / generalization_loss(error, lowest)", prechelt("PQ"),
    ),
    "strips need not follow each other": Bug(
        UP, "exceeds", "self.rises + 1, 0)", "self.rises + 1, self.rises)", prechelt("UP")
    ),
    "a strip is compared with the lowest": Bug(
        UP, "exceeds", "error > self.before", "error > lowest", prechelt("UP")
    ),
    "UP is asked after each epoch": Bug(UP, "exceeds", "if t % self.k", "if False", prechelt("UP")),
    "one strip too many": Bug(UP, "exceeds", "rises >= self", "rises > self", prechelt("UP")),
    "the first strip is compared with nothing": Bug(
        UP, "reset", "np.full(lead, np.nan)", "np.zeros(lead)", prechelt("UP")
    ),
    "the best weights are not copied": Bug(
        EarlyStopping, "update", "net.theta.copy(), net.state.copy()", "net.theta, net.state", kept
    ),
    "moving statistics are not kept": Bug(
        EarlyStopping, "finish", "net.state[self.kept] =", "_ =", kept
    ),
    "the best are restored after a stop only": Bug(
        EarlyStopping, "finish", "if self.kept is not None", "if self.stopped_epoch.any()",
        law_the_best_are_restored_without_a_stop,
    ),
    "the last weights are restored": Bug(
        EarlyStopping, "update", "keep = better if self.restore_best_weights else stop", "keep = stop", kept
    ),
    "the first member to stop ends training": Bug(
        EarlyStopping, "update", "not self.run.running.any()", "not self.run.running.all()", alone
    ),
    "members that stopped keep the weights of the end": Bug(
        EarlyStopping, "update", "else stop", "else stop & ~self.run.running.any()",
        law_training_ends_when_the_last_member_stops,
    ),
    "training never ends": Bug(
        EarlyStopping, "update", "return not self.run.running.any()", "return False",
        law_training_ends_when_the_last_member_stops,
    ),
    "the history goes on in the next run": Bug(
        EarlyStopping, "update", "MODES[self.monitor]), []", "MODES[self.monitor]), self.history",
        law_the_next_run_begins_anew,
    ),
    "the memory of an abandoned run is kept": Bug(
        EarlyStopping, "update", "self.kept is None or epoch == 0", "self.kept is None",
        law_an_abandoned_run_leaves_no_trace,
    ),
    "the weights of the last run are put back": Bug(
        EarlyStopping, "finish", "self.kept = None", "pass", law_the_next_run_begins_anew
    ),
    "what diverged later is kept": Bug(
        EarlyStopping, "update", "self.theta[keep], self.state[keep] = net.theta[keep], net.state[keep]",
        "self.theta[...], self.state[...] = net.theta, net.state",
        law_a_stopped_member_that_diverges_later_is_saved,
    ),
    "PQ sees validation data twice": Bug(
        EarlyStopping, "update", "self._monitored(net, *self.training)", "value",
        law_pq_sees_the_training_data,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
