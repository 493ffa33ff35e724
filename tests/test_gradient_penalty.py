"""The gradient of ``mean ||d loss / d x||^2``, taken without second derivatives, is the exact one to 1e-8."""

from functools import partial

import numpy as np
import pytest
from parity import BATCH, RATE, data, relative, steps_in_keras
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, seeds_of
from test_sam import Mask, Moving

from regularize import gradient_penalty, losses
from regularize.activations import LeakyReLU, ReLU, Tanh
from regularize.gradient_penalty import GradientPenalty
from regularize.keras_twin import cross_entropy_loss, squared_error_loss, to_keras
from regularize.layers import Dense, Layer
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.numerical import numerical_gradient, relative_error
from regularize.optimizers import SGD, Adam
from regularize.training import backpropagate, evaluate, fit

LAM = 2**-4
X, Y = data()
x, y = X[:6], 0.7 * Y[:6] + 0.1


def penalty_gradient(net, lam, x=x, y=y, loss=cross_entropy):
    """What the penalty adds to the plain gradient, for networks without random layers."""
    backpropagate(net, x, y, loss)
    plain = net.grad.copy()
    GradientPenalty(lam)(net, x, y, loss)
    return net.grad - plain


def value_in_training(net, lam, x, y, loss):
    """The penalty by its definition, under the masks of the last pass."""
    with net.replay():
        v = len(y) * backpropagate(net, x, y, loss)
    return np.asarray(lam) * (v * v).sum(-1).mean(-1)


# -- the gradient --------------------------------------------------------------------------------------------


def law_the_gradient_is_that_of_finite_differences(lead, loss_name="cross_entropy", make=None, lam=0.5, x=x):
    """Of the mean loss plus lam times the mean squared length of v, under the masks of the first pass."""
    loss = getattr(losses, loss_name)
    net = make(seeds=seeds_of(lead)) if make else mlp(8, 5, 4, 3, activation=Tanh, seeds=seeds_of(lead))
    net.theta += 0.1
    theta = net.theta.copy()
    GradientPenalty(lam)(net, x, y, loss)
    np.testing.assert_array_equal(net.theta, theta)
    ours = net.grad.copy()

    def objective():
        with net.replay():
            value = loss(net(x, train=True), y)[0]
        return value + value_in_training(net, lam, x, y, loss)

    expected = numerical_gradient(objective, net.theta, lead)
    assert relative_error(ours, expected) <= 1e-8
    return relative_error(ours, expected)


@pytest.mark.parametrize("loss_name", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("lead", LEADS)
def test_the_gradient_is_that_of_finite_differences(lead, loss_name):
    law_the_gradient_is_that_of_finite_differences(lead, loss_name)


def law_each_member_has_its_own_strength():
    law_the_gradient_is_that_of_finite_differences((2, 3), lam=[[0.1], [2.0]])
    law_the_gradient_is_that_of_finite_differences((2, 3), lam=[0.1, 0.0, 2.0])


def test_each_member_has_its_own_strength():
    law_each_member_has_its_own_strength()


def test_members_may_have_their_own_data():
    own = x + np.arange(6.0).reshape(2, 3, 1, 1)
    law_the_gradient_is_that_of_finite_differences((2, 3), x=own)


def relu_net(**options):
    return mlp(8, 7, 6, 3, **options)


def masked_net(**options):
    return Network(Dense(8, 6), Tanh(), Mask(), Moving(), Dense(6, 3), **options)


def normalized_net(**options):
    """Batch normalization mixes the examples: v_i is B dJ/dx_i."""
    from regularize.batch_norm import BatchNorm
    from regularize.dropout import Dropout

    return Network(Dense(8, 6), BatchNorm(6), Tanh(), Dropout(0.25), Dense(6, 3), **options)


@pytest.mark.parametrize("make", [relu_net, masked_net, normalized_net])
def test_the_gradient_through_other_layers_is_that_of_finite_differences(make):
    law_the_gradient_is_that_of_finite_differences((3,), make=make)


def linear(outputs, seeds=(0, 1)):
    net = Network(Dense(8, outputs), seeds=seeds)
    net.theta += 0.2
    return net, X[:9], np.random.default_rng(1).standard_normal((9, outputs))


def law_of_linear_regression_it_is_the_closed_form(outputs):
    """(4/B) sum ||W r_i||^2. With Q = R W' its gradient is 8/B times Q'R - X'QW for W, -sum QW for b."""
    net, x, y = linear(outputs)
    ours, W, B = penalty_gradient(net, 0.5, x, y, squared_error), net.layers[0].W, len(x)
    for s in range(2):
        R = y - net(x)[s]
        Q = R @ W[s].T
        np.testing.assert_allclose(
            GradientPenalty(0.5).value(net, x, y, squared_error)[s], 2 / B * (Q * Q).sum()
        )
        closed = 4 / B * np.concatenate([(Q.T @ R - x.T @ Q @ W[s]).ravel(), -(Q @ W[s]).sum(0)])
        assert relative_error(ours[s], closed) <= 1e-8


@pytest.mark.parametrize("outputs", [1, 3])
def test_of_linear_regression_it_is_the_closed_form(outputs):
    law_of_linear_regression_it_is_the_closed_form(outputs)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_the_step_follows_the_size_of_the_inputs(scale):
    """Inputs in other units, first weights to match: the same network, ``v / scale``, and the same digits."""
    nets = [mlp(8, 5, 3, activation=Tanh, seeds=[0, 1]) for _ in range(2)]
    nets[1].layers[0].W[...] /= scale
    ours = penalty_gradient(nets[0], 1.0)
    theirs = penalty_gradient(nets[1], 1.0, x * scale) * scale**2
    theirs[:, : 8 * 5] /= scale
    np.testing.assert_allclose(theirs, ours, rtol=1e-7, atol=1e-8 * np.abs(ours).max())


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4])
def test_the_step_follows_the_size_of_the_gradient(scale):
    def loss(z, y):
        value, g = cross_entropy(z, y)
        return scale * value, scale * g

    net = mlp(8, 5, 3, activation=Tanh, seeds=[0, 1])
    ours = penalty_gradient(net, 1.0)
    np.testing.assert_allclose(penalty_gradient(net, 1.0, loss=loss) / scale**2, ours, rtol=1e-6, atol=1e-9)


def law_in_float32_the_gradient_is_right_to_three_digits(activation):
    ours = []
    for dtype in ("float64", "float32"):
        net = mlp(8, 64, 32, 3, activation=activation, seeds=[0, 1], dtype=dtype)
        ours.append(penalty_gradient(net, 1.0, X.astype(dtype), Y.astype(dtype)))
    assert ours[1].dtype == np.float32
    assert relative(ours[1], ours[0]) < 1e-3


def test_in_float32_every_pass_is_one_of_float32():
    seen = []

    class Probe(Layer):
        def forward(self, x, train):
            seen.append(x.dtype)
            return x

        def backward(self, g):
            seen.append(g.dtype)
            return g

    net = Network(Probe(), Dense(8, 3), Probe(), seeds=[0, 1], dtype="float32")
    GradientPenalty([0.1, 0.2])(net, x.astype("f4"), y.astype("f4"), cross_entropy)
    assert seen == [np.float32] * 12


@pytest.mark.parametrize("activation", [Tanh, ReLU])
def test_in_float32_the_gradient_is_right_to_three_digits(activation):
    law_in_float32_the_gradient_is_right_to_three_digits(activation)


def law_a_unit_about_to_switch_brings_no_outlier(activation=ReLU):
    """Each unit in turn is brought to 1e-12 above its kink at one example: the gradient stays what it was."""
    net = mlp(8, 7, 3, activation=activation, seeds=[0, 1])
    hidden, kept = net.layers[0], net.theta.copy()
    for unit in range(7):
        gradients = []
        for distance in (1e-4, 1e-12):
            net.theta[...] = kept
            hidden.b[..., 0, unit] = distance - x[0] @ hidden.W[..., unit].T
            gradients.append(penalty_gradient(net, 1.0))
        np.testing.assert_allclose(gradients[1], gradients[0], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("activation", [ReLU, LeakyReLU])
def test_a_unit_about_to_switch_brings_no_outlier(activation):
    law_a_unit_about_to_switch_brings_no_outlier(activation)


# -- all passes are of one function --------------------------------------------------------------------------


def law_later_passes_see_the_masks_of_the_first():
    net, twin = masked_net(seeds=[3, 4]), masked_net(seeds=[3, 4])
    GradientPenalty(0.5)(net, x, y, cross_entropy)
    backpropagate(twin, x, y, cross_entropy)
    np.testing.assert_array_equal(net.layers[2].mask, twin.layers[2].mask)
    np.testing.assert_array_equal(net.state, twin.state)
    np.testing.assert_array_equal(net.noise.uniform((3,)), twin.noise.uniform((3,)))


def test_later_passes_see_the_masks_of_the_first():
    law_later_passes_see_the_masks_of_the_first()


def law_the_network_comes_back_as_it_was(calls_until_error=99):
    """Also after an error in a later pass: no replay, and every ReLU with the forward of its class."""
    net, calls = Network(Dense(8, 6), ReLU(), Mask(), Dense(6, 3)), []

    def loss(z, y):
        calls.append(z)
        if len(calls) == calls_until_error:
            raise RuntimeError("in the middle")
        return cross_entropy(z, y)

    theta, inputs = net.theta.copy(), x.copy()
    if calls_until_error > 3:
        GradientPenalty(0.5)(net, x, y, loss)
        assert len(calls) == 3  # what it costs
    else:
        with pytest.raises(RuntimeError, match="in the middle"):
            GradientPenalty(0.5)(net, x, y, loss)
    np.testing.assert_array_equal(net.theta, theta)
    np.testing.assert_array_equal(x, inputs)
    for layer in net.all_layers:
        assert not layer.replay
        assert "forward" not in vars(layer)


@pytest.mark.parametrize("calls_until_error", [2, 3, 99])
def test_the_network_comes_back_as_it_was(calls_until_error):
    law_the_network_comes_back_as_it_was(calls_until_error)


# -- special cases -------------------------------------------------------------------------------------------


def law_a_gradient_of_zero_is_no_division_by_zero():
    """A member at its minimum gets no pull, and does not disturb its neighbour; nor do inputs of zeros."""
    nets = [Network(Dense(8, 3), seeds=s) for s in ([0, 1], 1)]
    nets[0].theta[0] = 0
    zeros = np.zeros((6, 3))
    for net in nets:
        GradientPenalty(0.5)(net, x, zeros, squared_error)
    assert not nets[0].grad[0].any()
    np.testing.assert_array_equal(nets[0].grad[1], nets[1].grad)
    law_the_gradient_is_that_of_finite_differences((), x=np.zeros((6, 8)))


def test_a_gradient_of_zero_is_no_division_by_zero():
    law_a_gradient_of_zero_is_no_division_by_zero()


def test_strength_zero_gives_the_plain_gradient():
    net = masked_net(seeds=[0, 1])
    GradientPenalty(0.0)(net, x, y, cross_entropy)
    ours = net.grad.copy()
    with net.replay():
        backpropagate(net, x, y, cross_entropy)
    np.testing.assert_array_equal(ours, net.grad)


# -- the value, and what it means ----------------------------------------------------------------------------


def law_the_value_is_the_mean_squared_length_of_the_input_gradients():
    """By differences, example by example; in evaluation mode, for each member, with its strength."""
    lam, net = np.array([[0.5], [2.0]]), masked_net(seeds=seeds_of((2, 3)))
    net(x, train=True)
    state, noise = net.state.copy(), masked_net(seeds=seeds_of((2, 3))).noise
    value = GradientPenalty(lam).value(net, x, y, cross_entropy)
    own = np.broadcast_to(x, (2, 3, 6, 8)).copy()
    v = 6 * numerical_gradient(lambda: cross_entropy(net(own), y)[0], own, (2, 3))
    np.testing.assert_allclose(value, lam * (v * v).sum(-1).mean(-1), rtol=1e-8)
    np.testing.assert_array_equal(net.state, state)
    noise.uniform((6, 6))  # what the training pass drew; the value drew nothing
    np.testing.assert_array_equal(net.noise.uniform((3,)), noise.uniform((3,)))


def test_the_value_is_the_mean_squared_length_of_the_input_gradients():
    law_the_value_is_the_mean_squared_length_of_the_input_gradients()


def test_the_value_keeps_the_precision():
    net = mlp(8, 3, seeds=[0, 1], dtype="float32")
    assert GradientPenalty(0.1).value(net, x.astype("f4"), y.astype("f4"), cross_entropy).dtype == np.float32


def test_it_is_the_mean_squared_change_of_a_loss_under_noise():
    """With moment-matched noise: +-s sqrt(d) along each axis has covariance s^2 I. To first order in s."""
    net, s = mlp(8, 5, 3, activation=Tanh, seeds=[0, 1]), 1e-5

    def each(inputs):
        return np.stack([cross_entropy(net(inputs[i : i + 1]), y[i : i + 1])[0] for i in range(6)])

    steps = s * np.sqrt(8) * np.concatenate([np.eye(8), -np.eye(8)])
    change = np.mean([(each(x + step) - each(x)) ** 2 for step in steps], axis=(0, 1))
    np.testing.assert_allclose(change, GradientPenalty(s**2).value(net, x, y, cross_entropy), rtol=1e-3)


def test_on_a_linear_model_it_weighs_as_much_as_input_noise():
    """Noise adds s^2 ||w||^2 to the squared error, the penalty 4 lam MSE ||w||^2."""
    net, x, y = linear(outputs=1)
    lam, mse = 0.3, squared_error(net(x), y)[0]
    s = np.sqrt(4 * lam * mse)
    with_noise = 0
    for step in np.sqrt(8) * np.concatenate([np.eye(8), -np.eye(8)]):
        with_noise += squared_error(net(x + s[:, None, None] * step), y)[0] / 16
    penalty = GradientPenalty(lam).value(net, x, y, squared_error)
    np.testing.assert_allclose(with_noise - mse, penalty, rtol=1e-11)
    np.testing.assert_allclose(penalty, s**2 * (net.layers[0].W ** 2).sum((-1, -2)), rtol=1e-12)


def test_training_makes_the_loss_less_sensitive_to_the_inputs():
    values, read = [], GradientPenalty(1.0)
    for gradient in (backpropagate, GradientPenalty(0.3)):
        net = mlp(8, 16, 3, seeds=range(8))
        fit(net, X, Y, Adam(0.01), epochs=40, batch_size=BATCH, gradient=gradient)
        values.append(read.value(net, X, Y, cross_entropy))
        assert (evaluate(net, X, Y).accuracy > 0.7).all()
    assert (values[1] < 0.9 * values[0]).all()


# -- members and bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("make", [relu_net, masked_net])
def test_a_member_is_the_network_trained_alone(make, dtype):
    """Strengths x seeds, bit for bit."""
    lam, seeds = np.array([[0.0], [0.2]]), np.tile([3, 0, 8], (2, 1))

    def trained(seeds, lam):
        net = make(seeds=seeds, dtype=dtype)
        fit(net, X, Y, Adam(0.01), epochs=2, batch_size=BATCH, gradient=GradientPenalty(lam))
        return net.theta

    together = trained(seeds, lam)
    assert together.dtype == dtype
    for k, s in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[k, s], trained(seeds[k, s], float(lam[k, 0])))


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, [0.1, -1], [], "0.1", None])
def test_a_strength_is_not_negative(bad):
    with refused("lam"):
        GradientPenalty(bad)


def law_strengths_broadcast_to_the_members():
    net = mlp(8, 3, seeds=[0, 1, 2])
    for bad in ([0.1, 0.2], np.full((2, 3), 0.1)):
        with refused("GradientPenalty.lam", ValueError):
            GradientPenalty(bad)(net, x, y, cross_entropy)
        with refused("GradientPenalty.lam", ValueError):
            GradientPenalty(bad).value(net, x, y, cross_entropy)


def test_strengths_broadcast_to_the_members():
    law_strengths_broadcast_to_the_members()


# -- TensorFlow ----------------------------------------------------------------------------------------------


@pytest.mark.keras
@pytest.mark.parametrize("loss_name", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", [Tanh, ReLU])
def test_200_steps_reach_the_weights_of_tensorflow(keras, activation, loss_name):
    """Double backpropagation by nested gradient tapes. An error of 1e-9 a step may add up to 200 of them."""
    import tensorflow as tf

    class Smooth(keras.Model):
        def train_step(self, batch):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    loss = self.compute_loss(y=y, y_pred=self(x, training=True))
                v = tf.cast(tf.shape(x)[0], x.dtype) * inner.gradient(loss, x)
                penalty = tf.reduce_mean(tf.reduce_sum(v * v, axis=1))
                objective = loss + LAM * penalty
            gradients = outer.gradient(objective, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    def model(net):
        twin = to_keras(net)
        return Smooth(twin.inputs, twin.outputs)

    keras_losses = {"cross_entropy": cross_entropy_loss, "squared_error": partial(squared_error_loss, 3)}
    difference = steps_in_keras(
        lambda **options: mlp(8, 16, 3, activation=activation, **options), SGD(RATE / 2),
        keras.optimizers.SGD(RATE / 2), loss=getattr(losses, loss_name), keras_loss=keras_losses[loss_name](),
        model=model, gradient=GradientPenalty(LAM),
    )  # fmt: skip
    assert difference <= 1e-7


# -- planted bugs --------------------------------------------------------------------------------------------

differences = partial(law_the_gradient_is_that_of_finite_differences, (3,))
masks = law_later_passes_see_the_masks_of_the_first
value = law_the_value_is_the_mean_squared_length_of_the_input_gradients
zero = law_a_gradient_of_zero_is_no_division_by_zero
kink = law_a_unit_about_to_switch_brings_no_outlier
whole = law_the_network_comes_back_as_it_was


def penalty(right, wrong, law):
    return Bug(GradientPenalty, "__call__", right, wrong, law)


alone = partial(test_a_member_is_the_network_trained_alone, relu_net, "float64")


def step(right, wrong, law):
    return Bug(gradient_penalty, "_step", right, wrong, law)


H = "np.cbrt(np.finfo(v.dtype).eps)"
BUGS = {
    "v is the gradient of the mean": penalty("x.shape[-2] * back", "back", differences),
    "a factor 2 too many": penalty("/ e[..., 0]", "/ e[..., 0] * 2", differences),
    "a factor 2 too few": penalty("/ e[..., 0]", "/ e[..., 0] / 2", differences),
    "the gradient of the loss is lost": penalty("net.grad += plain", "pass", differences),
    "a one-sided difference": penalty("x - e * v", "x", differences),
    "the signs are exchanged": penalty("x - e * v", "x + 3 * e * v", differences),
    "the second pass draws new masks": penalty("with net.replay(), ", "with ", masks),
    "units switch between the passes": penalty(", _on_the_same_piece(net)", "", kink),
    "units switch between the passes, in float32": penalty(
        ", _on_the_same_piece(net)", "", partial(law_in_float32_the_gradient_is_right_to_three_digits, ReLU)
    ),
    "all members have one strength": penalty(
        "per_member(self.lam, plain)", "np.max(self.lam)", law_each_member_has_its_own_strength
    ),
    "strengths of other shapes pass": penalty(
        'checks.broadcasts("GradientPenalty.lam", np.shape(self.lam), net.lead)', "pass",
        law_strengths_broadcast_to_the_members,
    ),
    "the step is too small": step(H, "np.finfo(v.dtype).eps", differences),
    "the step is too large": step(H, "1e-2", differences),
    "the step is that of float64": step(
        "np.finfo(v.dtype)", "np.finfo(np.float64)",
        partial(law_in_float32_the_gradient_is_right_to_three_digits, Tanh),
    ),
    "a gradient of zero becomes NaN": step("np.where(longest > 0, longest, 1)", "longest", zero),
    "inputs of zero make no step": step("np.where(size > 0, size, 1)", "size", zero),
    "members share a step": step(".max(-2, keepdims=True)", ".max(keepdims=True)", alone),
    "leaky units switch between the passes": Bug(
        gradient_penalty, "_on_the_same_piece", "ReLU | LeakyReLU", "ReLU", partial(kink, LeakyReLU)
    ),
    "ReLUs stay frozen": Bug(
        gradient_penalty, "_on_the_same_piece", 'vars(layer).pop("forward", None)', "pass", whole
    ),
    "an error leaves ReLUs frozen": Bug(
        gradient_penalty, "_on_the_same_piece", "finally:",
        "except ZeroDivisionError:\n        pass\n    else:",
        partial(whole, 2),
    ),
    "the value lacks the strength": Bug(
        GradientPenalty, "value", "np.asarray(self.lam, v.dtype) *", "1.0 *", value
    ),
    "the value is a sum": Bug(GradientPenalty, "value", ".mean(-1)", ".sum(-1)", value),
    "the value is taken in training mode": Bug(
        GradientPenalty, "value", "net(x)", "net(x, train=True)", value
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
