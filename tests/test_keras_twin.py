"""Keras, and PyTorch where it is installed, compute the same losses, gradients and trained weights."""

import numpy as np
import pytest
from parity import (
    BATCH,
    BETA1,
    BETA2,
    EPOCHS,
    EPSILON,
    MOMENTUM,
    RATE,
    N,
    batches,
    data,
    relative,
    steps_in_keras,
)
from test_checks import refused

from regularize.activations import ReLU, Sigmoid, Tanh
from regularize.keras_twin import cross_entropy_loss, from_keras, squared_error_loss, to_keras
from regularize.layers import Dense, Layer
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.penalties import L1, L2, ElasticNet
from regularize.training import fit, predict

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
pytestmark = [pytest.mark.keras, pytest.mark.usefixtures("keras")]

WIDTHS = (8, 16, 3)
PENALTY = ElasticNet(2**-12, 2**-9)
LOSSES = {
    "cross_entropy": (cross_entropy, cross_entropy_loss),
    "squared_error": (squared_error, lambda: squared_error_loss(3)),
}
OPTIMIZERS = {
    "SGD": (lambda: SGD(RATE), lambda: keras.optimizers.SGD(RATE)),
    "momentum": (
        lambda: SGD(RATE / 4, momentum=MOMENTUM),
        lambda: keras.optimizers.SGD(RATE / 4, momentum=MOMENTUM),
    ),
    "Adam": (
        lambda: Adam(RATE / 4, BETA1, BETA2, EPSILON),
        lambda: keras.optimizers.Adam(RATE / 4, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON),
    ),
}


def three_layers(**options):
    return mlp(*WIDTHS, **options)


def law_200_steps_reach_the_weights_of_keras(optimizer, loss_name, penalty=PENALTY, dtype="float64"):
    """Returns the relative difference of all parameters; the caller sets the limit."""
    keras.config.set_floatx(dtype)
    (ours, theirs), (loss, keras_loss) = OPTIMIZERS[optimizer], LOSSES[loss_name]
    return steps_in_keras(
        three_layers, ours(), theirs(), loss=loss, keras_loss=keras_loss(), penalty=penalty, dtype=dtype
    )


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_200_steps_reach_the_weights_of_keras(optimizer, loss_name):
    assert law_200_steps_reach_the_weights_of_keras(optimizer, loss_name) <= 1e-12


def test_200_steps_in_float32_reach_the_weights_of_keras_within_rounding():
    """200 steps, each rounded to 24 bits (6e-8): 1e-5 leaves room for other processors."""
    assert law_200_steps_reach_the_weights_of_keras("Adam", "cross_entropy", dtype="float32") <= 1e-5


@pytest.mark.parametrize("activation", [ReLU, Tanh, Sigmoid])
@pytest.mark.parametrize("loss_name", LOSSES)
def test_outputs_losses_and_gradients_are_those_of_keras(loss_name, activation):
    (loss, keras_loss), (x, y) = LOSSES[loss_name], data()
    net = mlp(*WIDTHS, activation=activation, seeds=1)
    net.theta += 0.1  # biases too
    model = to_keras(net, penalty=PENALTY)
    with tf.GradientTape() as tape:
        outputs = model(x)
        value = tf.reduce_mean(keras_loss()(y, outputs)) + sum(model.losses)
    theirs = [np.ravel(g) for g in tape.gradient(value, model.trainable_variables)]
    z = net(x)
    ours, g = loss(z, y)
    net.backward(g)
    net.grad += PENALTY.gradient(net.theta, net.penalized)
    assert relative(z, outputs.numpy()) <= 1e-13
    assert relative(ours + PENALTY.value(net.theta, net.penalized), value.numpy()) <= 1e-13
    assert relative(net.grad, np.concatenate(theirs)) <= 1e-12


def test_relu_at_zero_is_that_of_keras():
    x = tf.Variable([[0.0, -1.0, 2.0]], dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(keras.activations.relu(x))
    layer = ReLU()
    layer.forward(x.numpy(), True)
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), tape.gradient(value, x).numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_goes_to_keras_and_comes_back(dtype):
    net = mlp(*WIDTHS, seeds=[[3, 1], [0, 2]], dtype=dtype)
    net.theta += 0.5
    x = data(dtype=dtype)[0]
    model = to_keras(net, member=(1, 0))
    np.testing.assert_allclose(
        model(x).numpy(), predict(net, x)[1, 0], rtol=1e-5 if dtype == "float32" else 1e-13
    )
    assert model.count_params() == net.theta.shape[-1]
    other = mlp(*WIDTHS, seeds=[7, 8], dtype=dtype)
    kept = other.theta[0].copy()
    from_keras(model, other, member=1)
    np.testing.assert_array_equal(other.theta[1], net.theta[1, 0])
    np.testing.assert_array_equal(other.theta[0], kept)


def test_the_twin_has_a_copy_of_the_weights():
    net = mlp(*WIDTHS)
    model = to_keras(net)
    net.theta[...] = 0
    assert all(np.any(kernel) for kernel in model.get_weights()[::2])


def test_keras_adds_the_penalty_to_its_loss_and_we_do_not():
    net, (x, y) = mlp(*WIDTHS), data()
    model = to_keras(net, penalty=PENALTY)
    model.compile(loss=cross_entropy_loss())
    theirs = model.evaluate(x, y, batch_size=N, verbose=0)
    penalty = PENALTY.value(net.theta, net.penalized)
    np.testing.assert_allclose(theirs, cross_entropy(net(x), y)[0] + penalty, rtol=1e-6)
    assert penalty > 0.01


class Odd(Layer):
    def forward(self, x, train):
        return x


@pytest.mark.parametrize("layers", [(Dense(4, 3), Odd()), (Odd(), Dense(4, 3)), (Odd(),)])
def test_a_layer_without_twin_is_refused(layers):
    with refused("to_keras", TypeError):
        to_keras(Network(*layers))


def test_an_activation_may_come_first():
    net, x = Network(Tanh(), Dense(4, 3)), np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_allclose(to_keras(net)(x).numpy(), net(x), rtol=1e-13)


@pytest.mark.parametrize(
    "member", [(), (0,), (0, 1, 0), 0, (2, 0), (0, 3), (0, -1), (0, 1.0), (slice(2), 0), "0"]
)
def test_member_picks_one_network(member):
    net, model = mlp(4, 3, seeds=np.zeros((2, 3), int)), to_keras(mlp(4, 3))
    for call in (lambda: to_keras(net, member=member), lambda: from_keras(model, net, member=member)):
        with refused("member"):
            call()


@pytest.mark.parametrize("penalty", [L1([0.1, 0.2]), L2([0.1])])
def test_a_twin_has_one_strength(penalty):
    with refused("penalty", ValueError):
        to_keras(mlp(4, 3), penalty=penalty)


@pytest.mark.parametrize("widths", [(4, 5), (4, 5, 2), (4, 6, 3), (4, 5, 3, 3)])
def test_a_model_of_another_shape_is_refused_and_nothing_is_copied(widths):
    net = mlp(4, 5, 3)
    theta = net.theta.copy()
    with refused("model", ValueError):
        from_keras(to_keras(mlp(*widths, seeds=1)), net)
    np.testing.assert_array_equal(net.theta, theta)


def test_a_model_with_other_layers_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    with refused("model", ValueError):
        from_keras(model, mlp(4, 3))
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    with refused("model", ValueError):
        from_keras(model, mlp(4, 3))


@pytest.mark.parametrize("outputs", [0, -1, 2.0, "3"])
def test_a_number_of_outputs_is_a_positive_integer(outputs):
    with refused("outputs"):
        squared_error_loss(outputs)


# -- a third opinion -----------------------------------------------------------------------------------------


def torch_twin(torch, net):
    layers = []
    for layer in net.layers:
        if isinstance(layer, Dense):
            layers.append(torch.nn.Linear(layer.n_in, layer.n_out, dtype=torch.float64))
            layers[-1].weight.data = torch.tensor(layer.W.T.copy())
            layers[-1].bias.data = torch.tensor(layer.b[0].copy())
        else:
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def law_200_steps_reach_the_weights_of_pytorch(optimizer):
    """PyTorch's weight_decay is 2 lambda; its epsilon, beside the corrected root, eps / sqrt(1 - b2^t)."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # with two, these small products take ten times as long
    lam, net, (x, y) = 2**-9, mlp(*WIDTHS, seeds=5), data()
    model = torch_twin(torch, net)
    kernels = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": kernels, "weight_decay": 2 * lam}, {"params": biases}]
    theirs = {
        "SGD": lambda: torch.optim.SGD(groups, RATE),
        "momentum": lambda: torch.optim.SGD(groups, RATE / 4, momentum=MOMENTUM),
        "Adam": lambda: torch.optim.Adam(groups, RATE / 4, betas=(BETA1, BETA2)),
    }[optimizer]()
    fit(net, x, y, OPTIMIZERS[optimizer][0](), epochs=EPOCHS, batch_size=BATCH, penalty=L2(lam))
    inputs, targets = torch.tensor(x), torch.tensor(y)
    for t, rows in enumerate(batches(seed=5), start=1):
        for group in theirs.param_groups:
            group["eps"] = EPSILON / np.sqrt(1 - BETA2**t)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        theirs.step()
    twin = mlp(*WIDTHS)
    dense = [layer for layer in twin.layers if isinstance(layer, Dense)]
    for layer, kernel, bias in zip(dense, kernels, biases, strict=True):
        layer.W[...], layer.b[...] = kernel.detach().numpy().T, bias.detach().numpy()
    return relative(net.theta, twin.theta)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_200_steps_reach_the_weights_of_pytorch(optimizer):
    assert law_200_steps_reach_the_weights_of_pytorch(optimizer) <= 1e-12
