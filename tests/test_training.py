"""``fit`` does what its map says, and member s of an ensemble is the network trained alone with seed s."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused
from test_layers import LEADS, WORST, seeds_of

from regularize import losses, training
from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.layers import Dense, Layer
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.penalties import L1, L2, ElasticNet
from regularize.training import evaluate, fit, in_chunks, predict, take


class Still:
    """An optimizer that stays where it is."""

    learning_rate = 1.0

    def step(self, theta, grad):
        self.grad = grad.copy()


class Log(list):
    """Entries written by the seams of ``fit``, in the order in which they are called."""

    def note(self, name, result=None):
        return lambda *args: (self.append(name), result)[1]


def data(lead=(), n=12, features=4, classes=3, soft=False):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*lead, n, features))
    y = np.eye(classes)[rng.integers(classes, size=(*lead, n))]
    return x, 0.7 * y + 0.3 / classes if soft else y


# -- the gradient --------------------------------------------------------------------------------------------


def law_fit_follows_the_gradient_of_the_objective(lead, loss_name, penalty, activation=ReLU):
    """J = mean loss + penalty on the weights; returns the worst relative error over parameters and inputs."""
    net, loss, still = mlp(4, 5, 3, 3, activation=activation, seeds=seeds_of(lead)), None, Still()
    net.theta += 0.1 * np.random.default_rng(1).standard_normal(net.theta.shape)
    loss, (x, y) = getattr(losses, loss_name), data(lead, n=6, soft=True)
    fit(net, x, y, still, epochs=1, batch_size=6, loss=loss, penalty=penalty)

    def objective():
        return loss(net(x), y)[0] + penalty.value(net.theta, net.penalized)

    errors = [relative_error(still.grad, numerical_gradient(objective, net.theta, lead))]
    inputs = net.backward(loss(net(x), y)[1])
    errors.append(relative_error(inputs, numerical_gradient(objective, x, lead)))
    assert max(errors) <= WORST, errors
    return max(errors)


@pytest.mark.parametrize("penalty", [L1(0.03), L2(0.05), ElasticNet(0.03, 0.05)])
@pytest.mark.parametrize("loss_name", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("lead", LEADS)
def test_fit_follows_the_gradient_of_the_objective(lead, loss_name, penalty):
    law_fit_follows_the_gradient_of_the_objective(lead, loss_name, penalty)


@pytest.mark.parametrize("activation", [Tanh, Sigmoid])
def test_fit_follows_the_gradient_through_every_activation(activation):
    law_fit_follows_the_gradient_of_the_objective((2, 3), "cross_entropy", L2(0.05), activation)


# -- members -------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda h: SGD(h),
    "momentum": lambda h: SGD(h, momentum=0.875),
    "Adam": lambda h: Adam(h),
}
PENALTIES = {
    "none": lambda h: None,
    "L1": L1,
    "L2": L2,
    "elastic net": lambda h: ElasticNet(h, h),
}


def noisy(x, y, noise):
    """Augmentation that uses the members' own noise streams."""
    return x + (0.1 * noise.normal(x.shape[-2:])).astype(x.dtype), y


def law_a_member_is_the_network_trained_alone(
    *,
    seeds=(4, 1),
    widths=(4, 5, 3),
    optimizer="Adam",
    penalty="none",
    proximal=False,
    dtype="float64",
    x_lead=(),
    order="C",
    n=7,
    batch_size=3,
    rate_shape=(),
    lam_shape=(),
):
    """Bit for bit: weights after 3 epochs, history, predictions and scores."""
    seeds = np.asarray(seeds)
    lead, rng = seeds.shape, np.random.default_rng(0)
    x, y = (np.asarray(a, order=order) for a in data(x_lead, n, widths[0], widths[-1]))
    rate, lam = (0.02 * rng.uniform(0.5, 2, shape) for shape in (rate_shape, lam_shape))

    def train(seeds, x, y, rate, lam):
        net = mlp(*widths, seeds=seeds, dtype=dtype)
        history = fit(
            net, x, y, OPTIMIZERS[optimizer](rate), epochs=3, batch_size=batch_size, augment=noisy,
            penalty=PENALTIES[penalty](lam), proximal=proximal and penalty != "none",
            watch=lambda net: net.theta.copy(),
        )  # fmt: skip
        return [net.theta, *history, predict(net, x), *evaluate(net, x, y)]

    together = train(seeds, x, y, rate, lam)
    for s in np.ndindex(lead):
        own = (np.broadcast_to(a, lead + a.shape[-2:])[s] for a in (x, y))
        alone = train(seeds[s], *own, *(float(np.broadcast_to(h, lead)[s]) for h in (rate, lam)))
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[s], b)


@st.composite
def ensembles(draw):
    lead = draw(st.sampled_from([(1,), (3,), (2, 3), (2, 1), (1, 2)]))
    count = int(np.prod(lead))
    seeds = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    shapes = st.sampled_from([(), lead, (*lead[:-1], 1), lead[-1:]])
    return {
        "seeds": np.reshape(seeds, lead),
        "widths": draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)),
        "optimizer": draw(st.sampled_from(list(OPTIMIZERS))),
        "penalty": draw(st.sampled_from(list(PENALTIES))),
        "proximal": draw(st.booleans()),
        "dtype": draw(st.sampled_from(["float64", "float32"])),
        "x_lead": draw(shapes),
        "order": draw(st.sampled_from(["C", "F"])),
        "n": draw(st.integers(1, 9)),
        "batch_size": draw(st.integers(1, 10)),
        "rate_shape": draw(shapes),
        "lam_shape": draw(shapes),
    }


@given(case=ensembles())
@settings(max_examples=60, deadline=None)
def test_a_member_is_the_network_trained_alone(case):
    law_a_member_is_the_network_trained_alone(**case)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("proximal", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_member_of_a_real_experiment_is_the_network_trained_alone(optimizer, proximal, dtype):
    """Sizes at which BLAS leaves its small special cases; lambdas x seeds, and a last small batch."""
    law_a_member_is_the_network_trained_alone(
        seeds=np.tile([3, 0, 8], (2, 1)), widths=(64, 33, 10), optimizer=optimizer, penalty="elastic net",
        proximal=proximal, dtype=dtype, n=75, batch_size=32, rate_shape=(3,), lam_shape=(2, 1),
    )  # fmt: skip


def run(seeds):
    x, y = data(n=10)
    net = mlp(4, 6, 3, seeds=seeds, dtype="float32")
    fit(net, x, y, Adam(), epochs=2, batch_size=4)
    return (*evaluate(net, x, y), net.theta.T)


@pytest.mark.parametrize(("size", "threads"), [(1, 1), (2, 2), (3, 1), (8, 2)])
def test_chunks_give_the_bits_of_the_whole(size, threads):
    seeds = [5, 0, 3, 9, 1]
    for a, b in zip(in_chunks(run, seeds, size=size, threads=threads), run(seeds), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_seed_is_a_chunk_of_one():
    np.testing.assert_array_equal(in_chunks(run, 3)[0], run([3])[0])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("size", {"size": 0}), ("size", {"size": 2.0}), ("threads", {"threads": 0}),
        ("seeds", {"seeds": [0.5]}), ("seeds", {"seeds": []}), ("seeds", {"seeds": [[0, 1], [2, 3]]}),
    ],
)  # fmt: skip
def test_chunks_refuse_bad_input(name, arguments):
    with refused(name):
        in_chunks(run, **{"seeds": [0, 1]} | arguments)


# -- the loop ------------------------------------------------------------------------------------------------


class Probe(Layer):
    """Leaves activations alone, and notes when they pass, and in which mode."""

    def __init__(self, log):
        self.log = log

    def forward(self, x, train):
        self.log.append("forward" if train else "predict")
        return x

    def backward(self, g):
        self.log.append("backward")
        return g


def logged(log, base, **methods):
    """An object of a class derived from ``base`` whose methods write to the log first."""

    def wrap(name, entry):
        def method(self, *args):
            log.append(entry)
            return getattr(base, name)(self, *args)

        return method

    return type(base.__name__, (base,), {name: wrap(name, entry) for name, entry in methods.items()})


class Never:
    def begin(self):
        pass

    def update(self, net, epoch=None):
        return False

    def finish(self, net):
        pass


@pytest.mark.parametrize("proximal", [False, True])
def test_every_seam_is_called_in_its_place(proximal):
    log = Log()
    net = Network(Dense(4, 3), Probe(log))
    x, y = data(n=5)

    def loss(z, y):
        log.append("loss")
        return cross_entropy(z, y)

    fit(
        net, x, y, logged(log, SGD, step="step")(0.1), epochs=2, batch_size=3, loss=loss, proximal=proximal,
        augment=lambda x, y, noise: (log.append("augment"), (x, y))[1],
        penalty=logged(log, L1, gradient="penalty", prox="prox")(0.1),
        gradient=lambda *args: (log.append("gradient"), training.backpropagate(*args))[1],
        clip=log.note("clip"), decay=log.note("decay"), constrain=log.note("constrain"),
        average=logged(log, Never, update="average", finish="averaged")(),
        schedule=log.note("schedule", 1.0), watch=log.note("watch"),
        stopping=logged(log, Never, update="update", finish="finish")(),
    )  # fmt: skip
    start = ["augment", "gradient", "forward", "loss", "backward"]
    middle = ["clip", "decay", "step", "prox"] if proximal else ["penalty", "clip", "decay", "step"]
    batch = [*start, *middle, "constrain", "average"]
    assert log == (["schedule", *batch * 2, "watch", "update"]) * 2 + ["averaged", "finish"]


def test_what_augment_returns_is_what_the_network_sees():
    x, y = data(n=6)
    nets = [mlp(4, 5, 3), mlp(4, 5, 3)]
    fit(nets[0], x, y, SGD(0.1), epochs=2, batch_size=4, augment=lambda x, y, noise: (2 * x, y[:, ::-1]))
    fit(nets[1], 2 * x, y[:, ::-1], SGD(0.1), epochs=2, batch_size=4)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_what_clip_leaves_is_what_the_optimizer_sees_and_constrain_has_the_last_word():
    net, still = mlp(4, 5, 3), Still()
    fit(net, *data(), still, epochs=1, batch_size=12, clip=lambda n: n.grad.clip(-0.01, 0.01, n.grad))
    assert np.abs(still.grad).max() == 0.01
    fit(net, *data(), SGD(0.5), epochs=2, batch_size=5, constrain=lambda n: n.theta.clip(-0.1, 0.1, n.theta))
    assert np.abs(net.theta).max() == 0.1


def test_the_gradient_is_the_one_that_was_asked_for():
    net = mlp(4, 3)
    start = net.theta.copy()

    def ones(net, x, y, loss):
        net.grad[...] = 1

    fit(net, *data(), SGD(0.25), epochs=1, batch_size=12, gradient=ones)
    np.testing.assert_allclose(net.theta, start - 0.25, rtol=1e-14)


def test_decay_sees_the_weights_before_the_step_and_the_learning_rate_of_the_epoch():
    net, seen = mlp(4, 3), []
    start = net.theta.copy()
    fit(
        net, *data(), SGD(0.5), epochs=2, batch_size=12, schedule=lambda epoch: 1 / (epoch + 1),
        decay=lambda n, rate: seen.append((n.theta.copy(), rate)),
    )  # fmt: skip
    np.testing.assert_array_equal(seen[0][0], start)
    assert [rate for _, rate in seen] == [0.5, 0.25]


def test_a_schedule_multiplies_the_learning_rate_of_each_epoch_and_is_over_with_training():
    nets, (x, y) = [mlp(4, 3, seeds=[0, 1]) for _ in range(2)], data()
    optimizer = SGD([0.5, 0.25])
    fit(nets[0], x, y, optimizer, epochs=2, batch_size=5, schedule=lambda epoch: [1.0, 0.5][epoch])
    np.testing.assert_array_equal(optimizer.learning_rate, [0.5, 0.25])
    for rate in ([0.5, 0.25], [0.25, 0.125]):
        fit(nets[1], x, y, SGD(rate), epochs=1, batch_size=5)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_an_average_sees_every_step_and_has_the_last_word_before_stopping():
    class Last:
        count = 7

        def begin(self):
            self.count = 0

        def update(self, net):
            self.count += 1

        def finish(self, net):
            net.theta[...] = self.count

    net = mlp(4, 3)
    fit(net, *data(), SGD(), epochs=3, batch_size=5, average=Last())
    assert (net.theta == 9).all()


def test_a_replayed_pass_gives_the_gradient_of_the_same_function():
    net, (x, y) = mlp(4, 5, 3, seeds=[0, 1]), data()
    inputs = training.backpropagate(net, np.stack([x, x]), np.stack([y, y]), cross_entropy)
    first = net.grad.copy()
    with net.replay():
        again = training.backpropagate(net, np.stack([x, x]), np.stack([y, y]), cross_entropy)
    np.testing.assert_array_equal(net.grad, first)
    np.testing.assert_array_equal(inputs, again)
    assert inputs.shape == (2, *x.shape)


def test_stopping_ends_training_after_its_epoch_and_may_change_the_weights():
    class AfterTwo:
        def update(self, net, epoch):
            return epoch == 1

        def finish(self, net):
            net.theta[...] = 0.5

    net = mlp(4, 3)
    assert fit(net, *data(), SGD(), epochs=9, batch_size=4, stopping=AfterTwo(), watch=lambda n: 1) == [1, 1]
    assert (net.theta == 0.5).all()


def test_history_is_what_watch_returned_after_each_epoch():
    net, (x, y) = mlp(4, 3, seeds=[0, 1]), data()
    history = fit(net, x, y, SGD(0.1), epochs=3, batch_size=5, watch=lambda net: evaluate(net, x, y).loss)
    assert len(history) == 3
    np.testing.assert_array_equal(history[-1], evaluate(net, x, y).loss)
    assert (history[-1] < history[0]).all()
    assert fit(net, x, y, SGD(0.1), epochs=3, batch_size=5) == []


def test_without_epochs_nothing_changes():
    net = mlp(4, 5, 3, seeds=[0, 1])
    before = net.theta.copy()
    assert fit(net, *data(), Adam(), epochs=0, batch_size=4, watch=lambda n: 1, penalty=L1(0.1)) == []
    np.testing.assert_array_equal(net.theta, before)


def law_an_epoch_visits_every_example_once(n, batch_size):
    """In an order that differs between members and between epochs; targets stay with their examples."""
    seen = []

    def augment(x, y, noise):
        np.testing.assert_array_equal(x[..., 0], y[..., 1])
        seen.append(x[..., 0])
        return x, y

    x = np.arange(n, dtype=float)[:, None] * [1.0, 0.0]
    y = x[:, ::-1].copy()
    still = Still()
    fit(Network(Dense(2, 2), seeds=[3, 1]), x, y, still, epochs=2, batch_size=batch_size,
        augment=augment, loss=squared_error)  # fmt: skip
    sizes = [batch.shape[-1] for batch in seen]
    per_epoch = len(sizes) // 2
    assert per_epoch == -(-n // batch_size)
    assert all(size == min(batch_size, n) for size in sizes[: per_epoch - 1])
    epochs = [np.concatenate(seen[:per_epoch], -1), np.concatenate(seen[per_epoch:], -1)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch, -1), np.tile(np.arange(n), (2, 1)))
    if n >= 8:  # the chance that two of these orders agree is below 1 in 40 000
        orders = np.concatenate(epochs)
        assert len(np.unique(orders, axis=0)) == 4


@given(n=st.integers(1, 12), batch_size=st.integers(1, 14))
@settings(max_examples=25, deadline=None)
def test_an_epoch_visits_every_example_once(n, batch_size):
    law_an_epoch_visits_every_example_once(n, batch_size)


def test_diverged_members_are_named_and_the_others_are_trained():
    x, y = data()
    arguments = {"epochs": 60, "batch_size": 4, "loss": squared_error}
    net = mlp(4, 5, 3, seeds=[7, 8, 9])
    with pytest.raises(FloatingPointError, match=re.escape("1 of 3 members are NaN or infinite (seeds [8])")):
        fit(net, x, y, SGD([0.01, 50.0, 0.01]), **arguments)
    alone = mlp(4, 5, 3, seeds=9)
    fit(alone, x, y, SGD(0.01), **arguments)
    np.testing.assert_array_equal(net.theta[2], alone.theta)
    with pytest.raises(FloatingPointError, match=re.escape("(seeds [5])")):
        fit(mlp(4, 5, 3, seeds=5, dtype="float32"), x, y, SGD(50.0), **arguments)


def test_diverged_members_may_be_kept_as_nan():
    x, y = data()
    arguments = {"epochs": 60, "batch_size": 4, "loss": squared_error}
    net = mlp(4, 5, 3, seeds=[7, 8, 9])
    fit(net, x, y, SGD([0.01, 50.0, 0.01]), diverged="keep", **arguments)
    assert np.isnan(net.theta[1]).all()
    alone = mlp(4, 5, 3, seeds=9)
    fit(alone, x, y, SGD(0.01), **arguments)
    np.testing.assert_array_equal(net.theta[2], alone.theta)
    for score in evaluate(net, x, y, squared_error):
        np.testing.assert_array_equal(np.isnan(score), [False, True, False])
    assert np.isnan(predict(net, x)[1]).all()


# -- what training reaches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_full_batch_descent_reaches_least_squares_and_ridge(lam):
    x, rng = data(n=30)[0], np.random.default_rng(1)
    y = x @ rng.standard_normal((4, 2)) + 3 + rng.standard_normal((30, 2))
    net = Network(Dense(4, 2), seeds=[0, 1])
    fit(net, x, y, SGD(0.1), epochs=800, batch_size=30, loss=squared_error, penalty=L2(lam))
    centered = x - x.mean(0)
    w = np.linalg.solve(centered.T @ centered + 30 * lam * np.eye(4), centered.T @ (y - y.mean(0)))
    for s in range(2):
        np.testing.assert_allclose(net.layers[0].W[s], w, rtol=1e-10)
        np.testing.assert_allclose(net.layers[0].b[s, 0], y.mean(0) - x.mean(0) @ w, rtol=1e-10)


def law_proximal_descent_reaches_the_lasso_with_exact_zeros():
    """At the minimum the loss's gradient is -lam sign(w) where w != 0, and within +-lam where w = 0."""
    x, rng, lam = data(n=30, features=8)[0], np.random.default_rng(1), 0.5
    y = x[:, :2] @ [[2.0], [-1.0]] + 0.5 * rng.standard_normal((30, 1))
    net = Network(Dense(8, 1))
    fit(net, x, y, SGD(0.1), epochs=800, batch_size=30, loss=squared_error, penalty=L1(lam), proximal=True)
    net.backward(squared_error(net(x), y)[1])
    (layer,) = net.layers
    zero = layer.W == 0
    assert 3 <= zero.sum() <= 7
    np.testing.assert_allclose(layer.dW[~zero], -lam * np.sign(layer.W[~zero]), rtol=1e-10)
    assert (np.abs(layer.dW[zero]) <= lam).all()
    np.testing.assert_allclose(layer.db, 0, atol=1e-12)


def test_proximal_descent_reaches_the_lasso_with_exact_zeros():
    law_proximal_descent_reaches_the_lasso_with_exact_zeros()


def law_penalties_leave_biases_alone(penalty, proximal):
    """Inputs and targets 0: only the penalty acts. Weights shrink, biases must not."""
    net = mlp(4, 3, seeds=[0, 1])
    net.layers[0].b[...] = 0.5
    weights = net.layers[0].W.copy()
    x, y = np.zeros((6, 4)), np.full((6, 3), 0.5)
    fit(net, x, y, SGD(0.1), epochs=3, batch_size=3, loss=squared_error, penalty=penalty, proximal=proximal)
    np.testing.assert_array_equal(net.layers[0].b, 0.5)
    assert (np.abs(net.layers[0].W) < np.abs(weights)).all()


@pytest.mark.parametrize("proximal", [False, True])
@pytest.mark.parametrize("penalty", [L1(0.01), L2(0.1), ElasticNet(0.01, 0.1)])
def test_penalties_leave_biases_alone(penalty, proximal):
    law_penalties_leave_biases_alone(penalty, proximal)


def law_l1_makes_exact_zeros_only_by_the_proximal_step():
    zeros = []
    for proximal in (False, True):
        net = mlp(4, 16, 3, seeds=range(3))
        fit(net, *data(), SGD(0.1), epochs=100, batch_size=4, penalty=L1(0.02), proximal=proximal)
        zeros.append((net.weights() == 0).mean())
    assert zeros[0] == 0
    assert zeros[1] > 0.2


def test_l1_makes_exact_zeros_only_by_the_proximal_step():
    law_l1_makes_exact_zeros_only_by_the_proximal_step()


# -- evaluation ----------------------------------------------------------------------------------------------


def test_evaluate_is_the_mean_loss_and_the_share_of_right_answers():
    net, (x, y) = mlp(4, 5, 3, seeds=[0, 1]), data(n=9)
    scores = evaluate(net, x, y)
    for s in range(2):
        z = predict(net, x)[s]
        p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
        np.testing.assert_allclose(scores.loss[s], -np.log(p[y == 1]).mean(), rtol=1e-13)
        hits = sum(z[i].argmax() == y[i].argmax() for i in range(9))
        np.testing.assert_allclose(scores.accuracy[s], hits / 9, rtol=1e-15)


def test_with_a_single_output_there_is_no_accuracy():
    net, (x, _) = mlp(4, 1, seeds=[0, 1]), data()
    loss, accuracy = evaluate(net, x, x[:, :1], squared_error)
    np.testing.assert_allclose(loss, ((net(x) - x[:, :1]) ** 2).mean((-1, -2)))
    assert accuracy.shape == (2,)
    assert np.isnan(accuracy).all()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 30, 99])
def test_predictions_in_batches_are_those_of_one_pass(batch_size, own):
    net, (x, _) = mlp(4, 5, 3, seeds=[0, 1]), data((2,) if own else (), n=30)
    np.testing.assert_allclose(predict(net, x, batch_size), net(x), rtol=1e-12, atol=1e-14)


def law_prediction_is_in_evaluation_mode():
    log = Log()
    net, (x, y) = Network(Probe(log), Dense(4, 3)), data()
    predict(net, x)
    evaluate(net, x, y)
    assert log == ["predict", "predict"]


def test_prediction_is_in_evaluation_mode():
    law_prediction_is_in_evaluation_mode()


@pytest.mark.parametrize("lead", LEADS)
def test_take_picks_each_members_rows(lead):
    rng = np.random.default_rng(0)
    shared, own = rng.random((6, 2)), rng.random((*lead, 6, 2))
    rows = rng.integers(6, size=(*lead, 4))
    assert take(shared, rows).shape == take(own, rows).shape == (*lead, 4, 2)
    for s in np.ndindex(lead):
        np.testing.assert_array_equal(take(shared, rows)[s], shared[rows[s]])
        np.testing.assert_array_equal(take(own, rows)[s], own[s][rows[s]])


# -- bad input -----------------------------------------------------------------------------------------------

LEAD = (2, 3)
NAN, INF = data()[0], data()[0]
NAN[3, 1], INF[0, 0] = np.nan, -np.inf
X, Y = data()
BAD = {
    "x of one axis": ("x", {"x": X[0]}),
    "x with NaN": ("x", {"x": NAN}),
    "x infinite": ("x", {"x": INF}),
    "x empty": ("x", {"x": X[:0], "y": Y[:0]}),
    "x of text": ("x", {"x": X.astype(str)}),
    "x ragged": ("x", {"x": [[1, 2], [3]]}),
    "x's features": ("Dense", {"x": X[:, :3]}),
    "x's members": ("x", {"x": np.stack([X] * 4)}),
    "x's axes": ("x", {"x": np.zeros((1, *LEAD, 12, 4))}),
    "y of labels": ("y", {"y": Y.argmax(-1)}),
    "y with NaN": ("y", {"y": np.where(Y == 1, np.nan, Y)}),
    "y's examples": ("y", {"y": Y[:5]}),
    "y's classes": ("y", {"y": np.eye(4)[:1].repeat(12, 0)}),
    "y's outputs": ("y", {"y": X, "loss": squared_error}),
    "y's members": ("y", {"y": np.stack([Y] * 2)}),
    "y's sums": ("y", {"y": 2 * Y}),
    "y negative": ("y", {"y": 1.5 * Y - 0.5 / 2 * (1 - Y)}),
    "epochs negative": ("epochs", {"epochs": -1}),
    "epochs no integer": ("epochs", {"epochs": 2.0}),
    "batch empty": ("batch_size", {"batch_size": 0}),
    "batch negative": ("batch_size", {"batch_size": -4}),
    "batch no integer": ("batch_size", {"batch_size": 4.0}),
    "batch None": ("batch_size", {"batch_size": None}),
    "optimizer by name": ("optimizer", {"optimizer": "adam"}),
    "optimizer class": ("optimizer", {"optimizer": Adam}),
    "loss by name": ("loss", {"loss": "cross_entropy"}),
    "penalty by name": ("penalty", {"penalty": "l2"}),
    "penalty class": ("penalty", {"penalty": L2}),
    "penalty number": ("penalty", {"penalty": 0.01}),
    "proximal without penalty": ("proximal", {"proximal": True}),
    "augment": ("augment", {"augment": "noise"}),
    "clip": ("clip", {"clip": 1.0}),
    "constrain": ("constrain", {"constrain": 3.0}),
    "gradient": ("gradient", {"gradient": None}),
    "decay": ("decay", {"decay": 0.1}),
    "schedule": ("schedule", {"schedule": 0.1}),
    "watch": ("watch", {"watch": "loss"}),
    "stopping": ("stopping", {"stopping": 10}),
    "stopping class": ("stopping", {"stopping": Never}),
    "average": ("average", {"average": 0.9}),
    "diverged": ("diverged", {"diverged": "ignore"}),
    "rates": ("SGD.learning_rate", {"optimizer": SGD([0.1, 0.2])}),
    "momenta": ("SGD.momentum", {"optimizer": SGD(0.1, momentum=np.full((2, 1, 1), 0.5))}),
    "betas": ("Adam.beta1", {"optimizer": Adam(beta1=[0.5, 0.6])}),
    "strengths": ("L2.l2", {"penalty": L2([0.1, 0.2])}),
    "too many strengths": ("L1.l1", {"penalty": L1(np.full((4, 2, 3), 0.1))}),
}


def law_a_refused_fit_changes_nothing(name, arguments):
    net = mlp(4, 5, 3, seeds=seeds_of(LEAD))
    theta = net.theta.copy()
    with refused(name):
        fit(net, **{"x": X, "y": Y, "optimizer": SGD(0.1), "epochs": 2, "batch_size": 4} | arguments)
    np.testing.assert_array_equal(net.theta, theta)
    fresh = mlp(4, 5, 3, seeds=seeds_of(LEAD))  # nor was anything drawn
    np.testing.assert_array_equal(net.order.permutation(9), fresh.order.permutation(9))
    np.testing.assert_array_equal(net.noise.normal((2,)), fresh.noise.normal((2,)))


@pytest.mark.parametrize(("name", "arguments"), BAD.values(), ids=BAD)
def test_a_refused_fit_changes_nothing(name, arguments):
    law_a_refused_fit_changes_nothing(name, arguments)


leads = st.lists(st.integers(1, 3), max_size=2).map(tuple)


def fits_into(shape, lead):
    try:
        return np.broadcast_shapes(shape, lead) == lead
    except ValueError:
        return False


@given(
    lead=leads, x_lead=leads, y_lead=leads, rows=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    features=st.integers(1, 3), outputs=st.integers(1, 3), rate_shape=leads, lam_shape=leads,
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_fit_takes_exactly_the_shapes_that_fit(
    lead, x_lead, y_lead, rows, features, outputs, rate_shape, lam_shape
):
    net = Network(Dense(2, 2), seeds=seeds_of(lead))
    theta = net.theta.copy()
    x, y = np.ones((*x_lead, rows[0], features)), np.ones((*y_lead, rows[1], outputs))
    good = features == outputs == 2 and rows[0] == rows[1] > 0
    good = good and all(fits_into(shape, lead) for shape in (x_lead, y_lead, rate_shape, lam_shape))

    def train():
        fit(net, x, y, SGD(np.full(rate_shape, 0.1)), epochs=1, batch_size=2, loss=squared_error,
            penalty=L2(np.full(lam_shape, 0.1)))  # fmt: skip

    if good:
        train()
        assert not np.array_equal(net.theta, theta)
    else:
        with pytest.raises(ValueError, match=r"expected .* got"):
            train()
        np.testing.assert_array_equal(net.theta, theta)


@given(where=st.integers(0, 47), bad=st.sampled_from([np.nan, np.inf, -np.inf]), which=st.sampled_from("xy"))
@settings(max_examples=20, deadline=None)
def test_one_bad_value_anywhere_is_refused(where, bad, which):
    arrays = {"x": X.copy(), "y": Y.copy()}
    arrays[which].flat[where % arrays[which].size] = bad
    law_a_refused_fit_changes_nothing(which, arrays)


def test_an_optimizer_that_has_trained_another_network_is_refused():
    optimizer = Adam()
    fit(mlp(4, 3), X, Y, optimizer, epochs=1, batch_size=4)
    with refused("optimizer"):
        fit(mlp(4, 3), X, Y, optimizer, epochs=1, batch_size=4)


@pytest.mark.parametrize("bad", [0, -1, 2.5, None])
def test_predict_needs_a_batch(bad):
    with refused("batch_size"):
        predict(mlp(4, 3), X, bad)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("x", NAN, Y), ("Dense", X[:, :2], Y), ("x", X[:0], Y[:0]), ("y", X, Y[:3]), ("y", X, X), ("y", X, -Y)],
)
def test_evaluate_refuses_what_fit_refuses(name, x, y):
    with refused(name):
        evaluate(mlp(4, 3), x, y)


def test_data_take_the_precision_of_the_network():
    net, seen = mlp(4, 5, 3, dtype="float32"), []

    def spy(net, x, y, loss):
        seen.extend([x.dtype, y.dtype])

    fit(net, X, Y, SGD(), epochs=1, batch_size=12, gradient=spy)
    assert set(seen) == {np.dtype(np.float32)}
    assert predict(net, X).dtype == np.float32


def test_two_classes_have_an_accuracy_and_one_output_has_none():
    x, y = data(classes=2)
    scores = evaluate(mlp(4, 2), x, y)
    assert scores.accuracy == (predict(mlp(4, 2), x).argmax(-1) == y.argmax(-1)).mean()
    assert np.isnan(evaluate(mlp(4, 1), x, y[:, :1], squared_error).accuracy)


def test_momentum_that_remembers_another_run_is_refused():
    optimizer = SGD(0.1, momentum=0.5)
    fit(mlp(4, 3), X, Y, optimizer, epochs=1, batch_size=4)
    with refused("optimizer"):
        fit(mlp(4, 3), X, Y, optimizer, epochs=1, batch_size=4)


def test_labels_that_are_no_probabilities_are_described():
    y = Y.copy()
    y[0] *= 3
    with pytest.raises(ValueError, match=re.escape("got entries from 0, row sums from 1 to 3")):
        fit(mlp(4, 3), X, y, SGD(), epochs=1, batch_size=4)


def test_the_learning_rate_comes_back_also_after_an_error():
    optimizer = SGD(0.5)

    def interrupted(net):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(mlp(4, 3), X, Y, optimizer, epochs=2, batch_size=4, schedule=lambda e: 0.1, watch=interrupted)
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("name", training.EXAMPLES)
def test_a_wrong_argument_is_answered_by_an_example(name):
    for bad in (0.1, SGD):
        with pytest.raises(TypeError, match=re.escape(f"such as {training.EXAMPLES[name]}, got")):
            fit(mlp(4, 3), X, Y, SGD(), epochs=1, batch_size=4, **{name: bad})


def test_labels_in_a_row_are_answered_by_what_to_write():
    with pytest.raises(ValueError, match=re.escape("y: expected shape (..., 12, 3), got shape (12,);")):
        evaluate(mlp(4, 3), X, np.zeros(12, int))
