"""SAM's gradient is that of the point rho uphill, of the same function, and nothing else moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import BATCH, EPOCHS, MOMENTUM, RATE, data, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import seeds_of

from regularize.activations import ReLU, Tanh
from regularize.keras_twin import to_keras
from regularize.layers import Dense, Layer
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.sam import SAM
from regularize.training import backpropagate, fit

RHO = 2**-4
X, Y = data()


class Mask(Layer):
    """Drops activations at random; under replay the same ones."""

    def initialize(self, network):
        self.noise = network.noise

    def forward(self, x, train):
        if train and not self.replay:
            self.mask = (self.noise.uniform(x.shape[len(self.lead) :]) > 0.5).astype(x.dtype)
        self.factor = self.mask if train else 1
        return x * self.factor

    def backward(self, g):
        return g * self.factor


class Moving(Layer):
    """Notes the mean of what passes, unless under replay."""

    states = {"mean": (1, 1)}  # noqa: RUF012

    def forward(self, x, train):
        if train and not self.replay:
            self.mean += x.mean((-1, -2), keepdims=True)
        return x

    def backward(self, g):
        return g


def random_net(**options):
    return Network(Dense(8, 16), Tanh(), Mask(), Moving(), Dense(16, 3), **options)


def gradient_at(net, theta, x=X, y=Y, loss=cross_entropy):
    """The plain gradient at other weights; the network stays as it is."""
    kept = net.theta.copy()
    net.theta[...] = theta
    backpropagate(net, x, y, loss)
    net.theta[...] = kept
    return net.grad.copy()


# -- what it does --------------------------------------------------------------------------------------------


def law_the_gradient_is_that_of_the_point_rho_uphill(lead=(2, 3)):
    """Joint norm over all parameters of a member; rho differs between members."""
    rho = {(): 0.5, (2,): [0.05, 0.5], (2, 3): [[0.05], [0.5]]}[lead]
    net = mlp(8, 16, 3, activation=Tanh, seeds=seeds_of(lead))
    net.theta += 0.1
    theta = net.theta.copy()
    g = gradient_at(net, theta)
    uphill = np.broadcast_to(rho, lead)[..., None] * g / np.linalg.norm(g, axis=-1, keepdims=True)
    expected = gradient_at(net, theta + uphill)
    SAM(rho)(net, X, Y, cross_entropy)
    np.testing.assert_allclose(net.grad, expected, rtol=1e-10, atol=1e-14)
    assert np.abs(expected - g).max() > 1e-3
    np.testing.assert_array_equal(net.theta, theta)  # every bit


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_the_gradient_is_that_of_the_point_rho_uphill(lead):
    law_the_gradient_is_that_of_the_point_rho_uphill(lead)


def law_on_a_quadratic_it_is_the_closed_form(rho=0.3):
    """J = w'Aw/2 has gradient Aw, so SAM's is A (w + rho A w / ||A w||): here w is (W, b), A = 2 Z'Z/B."""
    net, y = Network(Dense(8, 1), seeds=[0, 1]), np.zeros((len(X), 1))
    net.theta += 0.2
    Z = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    A = 2 * Z.T @ Z / len(X)
    Aw = net.theta @ A
    SAM(rho)(net, X, y, squared_error)
    closed = Aw + rho * Aw @ A / np.linalg.norm(Aw, axis=-1, keepdims=True)
    np.testing.assert_allclose(net.grad, closed, rtol=1e-12)


@given(rho=st.floats(0, 10))
def test_on_a_quadratic_it_is_the_closed_form(rho):
    law_on_a_quadratic_it_is_the_closed_form(rho)


def test_it_climbs_when_the_loss_is_measured_at_the_point_uphill():
    """To first order the worst loss within rho is the loss plus rho times the length of the gradient."""
    net = mlp(8, 16, 3, activation=Tanh, seeds=[0, 1, 2])
    g = gradient_at(net, net.theta)
    length, start = np.linalg.norm(g, axis=-1), cross_entropy(net(X), Y)[0]
    net.theta += 1e-4 * g / length[:, None]
    np.testing.assert_allclose(cross_entropy(net(X), Y)[0] - start, 1e-4 * length, rtol=1e-3)


def law_a_tiny_rho_gives_the_plain_gradient():
    net = mlp(8, 16, 3, activation=Tanh, seeds=[0, 1])
    plain = gradient_at(net, net.theta)
    SAM(0.0)(net, X, Y, cross_entropy)
    np.testing.assert_array_equal(net.grad, plain)
    SAM(1e-9)(net, X, Y, cross_entropy)
    np.testing.assert_allclose(net.grad, plain, rtol=1e-6, atol=1e-10)
    assert SAM().rho == 0.05


def test_a_tiny_rho_gives_the_plain_gradient():
    law_a_tiny_rho_gives_the_plain_gradient()


def law_a_gradient_of_zero_is_no_division_by_zero():
    """One member stands at its minimum, the other does not: neither notices the other."""
    nets = [Network(Dense(8, 3), seeds=s) for s in ([0, 1], 1)]
    nets[0].theta[0] = 0
    y = np.zeros((len(X), 3))
    for net in nets:
        SAM(0.1)(net, X, y, squared_error)
    assert not nets[0].grad[0].any()
    assert not nets[0].theta[0].any()
    np.testing.assert_array_equal(nets[0].grad[1], nets[1].grad)


def test_a_gradient_of_zero_is_no_division_by_zero():
    law_a_gradient_of_zero_is_no_division_by_zero()


# -- both passes are of one function -------------------------------------------------------------------------


def law_the_second_pass_sees_the_masks_of_the_first():
    """The gradient of the second point under the mask of the first; one mask drawn, one mean noted."""
    net, twin = random_net(seeds=[3, 4]), random_net(seeds=[3, 4])
    SAM(0.5)(net, X, Y, cross_entropy)
    g = gradient_at(twin, twin.theta)
    with twin.replay():
        expected = gradient_at(twin, twin.theta + 0.5 * g / np.linalg.norm(g, axis=-1, keepdims=True))
    np.testing.assert_array_equal(net.layers[2].mask, twin.layers[2].mask)
    np.testing.assert_allclose(net.grad, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(net.state, twin.state)
    np.testing.assert_array_equal(net.noise.uniform((3,)), twin.noise.uniform((3,)))
    assert not any(layer.replay for layer in net.all_layers)


def test_the_second_pass_sees_the_masks_of_the_first():
    law_the_second_pass_sees_the_masks_of_the_first()


def law_an_error_in_the_second_pass_leaves_the_network_whole():
    net, calls = random_net(), []

    def loss(z, y):
        calls.append(z)
        if len(calls) == 2:
            raise RuntimeError("in the middle")
        return cross_entropy(z, y)

    theta = net.theta.copy()
    with pytest.raises(RuntimeError, match="in the middle"):
        SAM(0.5)(net, X, Y, loss)
    np.testing.assert_array_equal(net.theta, theta)
    assert not net.layers[2].replay


def test_an_error_in_the_second_pass_leaves_the_network_whole():
    law_an_error_in_the_second_pass_leaves_the_network_whole()


def test_it_costs_two_passes_and_changes_no_data():
    net, calls, (x, y) = mlp(8, 3), [], (X.copy(), Y.copy())
    SAM()(net, x, y, lambda z, y: (calls.append(1), cross_entropy(z, y))[1])
    assert len(calls) == 2
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_with_dropout_and_batch_normalization():
    """The library's own layers keep to the same rules."""
    from regularize.batch_norm import BatchNorm
    from regularize.dropout import Dropout

    nets = [
        Network(Dense(8, 16), BatchNorm(16), ReLU(), Dropout(0.5), Dense(16, 3), seeds=[0, 1])
        for _ in range(2)
    ]
    SAM(0.1)(nets[0], X, Y, cross_entropy)
    backpropagate(nets[1], X, Y, cross_entropy)
    np.testing.assert_array_equal(nets[0].layers[3].mask, nets[1].layers[3].mask)
    np.testing.assert_array_equal(nets[0].state, nets[1].state)
    assert (nets[0].grad != nets[1].grad).any()


# -- in training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", [random_net, lambda **options: mlp(8, 16, 3, **options)])
def test_a_member_is_the_network_trained_alone(make, dtype):
    """Radii x seeds, bit for bit."""
    rho, seeds = np.array([[0.0], [0.2]]), np.tile([3, 0, 8], (2, 1))

    def trained(seeds, rho):
        net = make(seeds=seeds, dtype=dtype)
        fit(net, X, Y, Adam(0.01), epochs=2, batch_size=BATCH, gradient=SAM(rho))
        return net.theta

    together = trained(seeds, rho)
    assert together.dtype == dtype
    for k, s in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[k, s], trained(seeds[k, s], float(rho[k, 0])))


def test_it_ends_where_the_gradient_is_smaller():
    """The length of the gradient is what SAM adds to the loss, to first order."""
    lengths = []
    for gradient in (backpropagate, SAM(0.2)):
        net = mlp(8, 16, 3, activation=Tanh, seeds=range(8))
        fit(net, X, Y, SGD(0.2), epochs=EPOCHS, batch_size=len(X), gradient=gradient)
        lengths.append(np.linalg.norm(gradient_at(net, net.theta), axis=-1))
    assert (lengths[1] < lengths[0]).all()


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, [0.1, -1], [], "0.1", None])
def test_rho_is_not_negative(bad):
    with refused("rho"):
        SAM(bad)


def law_radii_broadcast_to_the_members():
    net = mlp(8, 3, seeds=[0, 1, 2])
    for bad in ([0.1, 0.2], np.full((2, 3), 0.1)):
        with refused("SAM.rho", ValueError):
            SAM(bad)(net, X, Y, cross_entropy)


def test_radii_broadcast_to_the_members():
    law_radii_broadcast_to_the_members()


@pytest.mark.keras
@pytest.mark.parametrize("momentum", [0.0, MOMENTUM])
def test_200_steps_reach_the_weights_of_tensorflow(keras, momentum):
    """SAM as a Keras user writes it: a model with a train_step of its own, with two gradient tapes."""
    import tensorflow as tf

    class Sharp(keras.Model):
        def train_step(self, batch):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            variables = self.trainable_variables
            first = tape.gradient(loss, variables)
            moves = [RHO * g / tf.linalg.global_norm(first) for g in first]
            for variable, move in zip(variables, moves, strict=True):
                variable.assign_add(move)
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            second = tape.gradient(loss, variables)
            for variable, move in zip(variables, moves, strict=True):
                variable.assign_sub(move)
            self.optimizer.apply_gradients(zip(second, variables, strict=True))
            return {"loss": loss}

    def model(net):
        twin = to_keras(net)
        return Sharp(twin.inputs, twin.outputs)

    rate = RATE / 4 if momentum else RATE
    difference = steps_in_keras(
        lambda **options: mlp(8, 16, 3, activation=Tanh, **options), SGD(rate, momentum),
        keras.optimizers.SGD(rate, momentum), model=model, gradient=SAM(RHO),
    )  # fmt: skip
    assert difference <= 1e-12


# -- planted bugs --------------------------------------------------------------------------------------------

uphill = law_the_gradient_is_that_of_the_point_rho_uphill
quadratic = law_on_a_quadratic_it_is_the_closed_form
replay = law_the_second_pass_sees_the_masks_of_the_first


def sam(right, wrong, law):
    return Bug(SAM, "__call__", right, wrong, law)


RESTORE = "net.theta[...] = theta  #"
BUGS = {
    "it goes downhill": sam("net.theta += per_member", "net.theta -= per_member", uphill),
    "the step is not normalized": sam("(net.grad / np.where(norm > 0, norm, 1))", "net.grad", uphill),
    "the norm lacks its root": sam("np.sqrt(square)", "square", uphill),
    "the norm is taken over all members": sam(".sum(-1, keepdims=True)", ".sum()", uphill),
    "the norm is that of the largest entry": sam(
        "np.sqrt(square)", "abs(net.grad).max(-1, keepdims=True)",
        quadratic,
    ),
    "biases stay where they are": sam("theta) * (net.grad", "theta) * net.penalized * (net.grad", quadratic),
    "the weights stay uphill": sam(RESTORE, "pass  #", uphill),
    "the weights come back rounded, as if by subtraction": sam(
        "theta = net.theta.copy()", "theta = (net.theta + 0.3) - 0.3", uphill
    ),
    "a gradient of zero becomes NaN": sam(
        "np.where(norm > 0, norm, 1)", "norm", law_a_gradient_of_zero_is_no_division_by_zero
    ),
    "an epsilon shortens the step": sam("np.where(norm > 0, norm, 1)", "(norm + 1e-6)", quadratic),
    "the second pass draws a new mask": sam("with net.replay():", "if True:", replay),
    "a pass too many": sam("    norm =", "    backpropagate(net, x, y, loss)\n    norm =", replay),
    "an error leaves the weights uphill": sam(
        "finally:", "except ZeroDivisionError:\n        pass\n    else:",
        law_an_error_in_the_second_pass_leaves_the_network_whole,
    ),
    "the first gradient is kept, not the second": sam(
        RESTORE, "net.theta[...] = theta; backpropagate(net, x, y, loss)  #", uphill
    ),
    "all members have one rho": sam("per_member(self.rho, theta)", "np.max(self.rho)", uphill),
    "radii of other shapes pass": sam(
        'checks.broadcasts("SAM.rho", np.shape(self.rho), net.lead)', "pass",
        law_radii_broadcast_to_the_members,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
