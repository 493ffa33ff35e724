"""The largest singular value is held: by a layer that divides by it, or by a constraint after each step."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import BATCH, EPOCHS, RATE, batches, data, relative
from planting import Bug, check_noticed
from test_checks import refused
from test_layers import LEADS, inputs, law_gradients_are_those_of_finite_differences, seeds_of

from regularize import spectral
from regularize.activations import ReLU
from regularize.initialization import he_normal
from regularize.layers import Dense, transpose
from regularize.losses import cross_entropy, squared_error
from regularize.network import Network, mlp
from regularize.optimizers import SGD, Adam
from regularize.penalties import L2
from regularize.spectral import (
    SpectralDense,
    SpectralNorm,
    largest_singular_value,
    power_iteration,
    singular_vectors,
)
from regularize.streams import Streams
from regularize.training import backpropagate, fit, predict

X, Y = data()


def sigma(W):
    """From another routine than the library's: the root of the largest eigenvalue of W^T W."""
    return np.sqrt(np.linalg.eigvalsh(transpose(W) @ W)[..., -1])


def replaying():
    layer = SpectralDense(4, 3)
    layer.replay = True
    return layer


def converged():
    return SpectralDense(4, 3, iterations=500)


# -- the layer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("make", [replaying, converged])
def test_gradients_are_those_of_finite_differences(make, lead):
    """With u and v held; and in full, once they are the singular vectors."""
    law_gradients_are_those_of_finite_differences(make, lead)


def law_the_layer_is_dense_with_a_kernel_of_norm_one(dtype="float64"):
    layer = SpectralDense(4, 3, iterations=500)
    net, x = Network(layer, seeds=seeds_of((2, 3)), dtype=dtype), inputs(()).astype(dtype)
    layer.W *= 7
    layer.b[...] = 0.5
    z = net(x, train=True)
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    normalized = layer.W / sigma(layer.W)[..., None, None]
    np.testing.assert_allclose(z, x @ normalized + 0.5, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(sigma(layer.normalized), 1, rtol=tolerance)
    np.testing.assert_array_equal(net(x), z)  # evaluation sees the same function
    assert z.dtype == net.backward(z).dtype == layer.normalized.dtype == dtype


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_layer_is_dense_with_a_kernel_of_norm_one(dtype):
    law_the_layer_is_dense_with_a_kernel_of_norm_one(dtype)


def test_scaling_the_kernel_changes_nothing():
    net, x = Network(SpectralDense(4, 3)), inputs(())
    z, W = net(x, train=True), net.layers[0].W
    net.backward(z - 1)
    assert np.abs(net.layers[0].dW).max() > 0.1
    assert abs((W * net.layers[0].dW).sum()) < 1e-13  # so the gradient is orthogonal to W
    W *= 100
    np.testing.assert_allclose(net(x, train=True), z, rtol=1e-12)


def law_only_training_iterates():
    """Evaluation and replay leave u and v alone, but see the new W."""
    net, x = Network(SpectralDense(4, 3), seeds=[0, 1]), inputs(())
    (layer,) = net.layers
    layer.W += np.random.default_rng(0).standard_normal(layer.W.shape)
    before, W = net.state.copy(), layer.W
    estimate = layer.v @ W @ transpose(layer.u)
    z = net(x)
    np.testing.assert_allclose(z, x @ (W / estimate), rtol=1e-12)
    np.testing.assert_array_equal(net.state, before)
    with net.replay():
        np.testing.assert_array_equal(net(x, train=True), z)
    np.testing.assert_array_equal(net.state, before)
    net(x, train=True)
    assert (net.state != before).any()


def test_only_training_iterates():
    law_only_training_iterates()


def law_one_round_is_the_algorithm_of_the_paper():
    """Miyato et al., algorithm 1: v from u, u from v, and sigma. Both start as singular vectors."""
    layer = SpectralDense(4, 3, init=he_normal)
    Network(layer, seeds=4)
    np.testing.assert_array_equal(layer.W, he_normal(Streams(4, "init"), (4, 3)))
    np.testing.assert_allclose(layer.v @ layer.W @ layer.u.T, sigma(layer.W), rtol=1e-14)
    layer.u[...] = np.array([[3.0, 4.0, 12.0]]) / 13
    W, u = layer.W, layer.u.copy()
    v = u @ W.T / np.linalg.norm(u @ W.T)
    u = v @ W / np.linalg.norm(v @ W)
    layer.forward(inputs(()), True)
    np.testing.assert_allclose(layer.v, v, rtol=1e-13)
    np.testing.assert_allclose(layer.u, u, rtol=1e-13)
    np.testing.assert_allclose(layer.sigma, np.linalg.norm(v @ W), rtol=1e-13)


def test_one_round_is_the_algorithm_of_the_paper():
    law_one_round_is_the_algorithm_of_the_paper()


def test_rounds_add_up_and_the_default_is_one():
    rounds = ({}, {"iterations": 1}, {"iterations": 3})
    nets = [Network(SpectralDense(6, 5, **options), seeds=[0, 1]) for options in rounds]
    for net in nets:
        net.layers[0].W += 1 + np.arange(5)
    for net, times in zip(nets, (3, 3, 1), strict=True):
        for _ in range(times):
            net(inputs((), features=6), train=True)
    np.testing.assert_array_equal(nets[0].state, nets[1].state)
    np.testing.assert_array_equal(nets[0].state, nets[2].state)


def trained(layers, *, seeds=5, dtype="float64", optimizer=None, epochs=EPOCHS, **seams):
    net = Network(*layers, seeds=seeds, dtype=dtype)
    fit(net, X, Y, optimizer or SGD(2 * RATE), epochs=epochs, batch_size=BATCH, **seams)
    return net


def spectral_net(rounds=1):
    return SpectralDense(8, 16, rounds), ReLU(), SpectralDense(16, 3, rounds)


def test_one_round_a_step_follows_the_kernel():
    """From below: after 200 steps the norm is some percent above 1; more rounds bring it nearer."""
    excess = []
    for rounds in (1, 30):
        net = trained(spectral_net(rounds), seeds=range(8), optimizer=Adam(0.01))
        kernels = [layer.W / (layer.v @ layer.W @ transpose(layer.u)) for layer in net.layers[::2]]
        excess.append(np.concatenate([sigma(W) for W in kernels]) - 1)
        assert excess[-1].min() > -1e-12
    assert np.median(excess[0]) < 0.1
    assert excess[0].max() < 0.3
    assert excess[1].max() < 0.05


def test_a_kernel_of_zeros_stays_finite_and_can_leave():
    layer = SpectralDense(4, 3, init=lambda stream, shape: np.zeros(shape))
    net, x = Network(layer, seeds=[0, 1]), inputs(())
    y = np.ones((5, 3))
    np.testing.assert_array_equal(net(x, train=True), np.zeros((2, 5, 3)))
    assert (layer.sigma == 1).all()  # the gradient of a plain dense layer
    fit(net, x, y, SGD(0.1), epochs=20, batch_size=5, loss=squared_error)
    np.testing.assert_allclose(sigma(layer.W / layer.sigma), 1, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_member_is_the_network_trained_alone(dtype):
    seeds = np.tile([3, 0, 8], (2, 1))
    options = {"dtype": dtype, "epochs": 3}
    together = trained(spectral_net(), seeds=seeds, penalty=L2([[0.0], [0.1]]), **options)
    assert together.theta.dtype == together.state.dtype == dtype
    for k, s in np.ndindex(2, 3):
        alone = trained(spectral_net(), seeds=seeds[k, s], penalty=L2([0.0, 0.1][k]), **options)
        np.testing.assert_array_equal(together.theta[k, s], alone.theta)
        np.testing.assert_array_equal(together.state[k, s], alone.state)
        np.testing.assert_array_equal(predict(together, X)[k, s], predict(alone, X))


def test_a_member_that_diverged_disturbs_no_other():
    nets = [Network(*spectral_net(), seeds=[0, 1]) for _ in range(2)]
    nets[0].theta[1, 3] = np.nan
    for net in nets:
        backpropagate(net, X[:4], Y[:4], cross_entropy)
    np.testing.assert_array_equal(nets[0].grad[0], nets[1].grad[0])
    assert np.isnan(nets[0].grad[1]).any()


def test_a_penalty_acts_on_the_kernel_alone():
    net = Network(SpectralDense(4, 3))
    np.testing.assert_array_equal(net.penalized, [1] * 12 + [0] * 3)


# -- the constraint ------------------------------------------------------------------------------------------


@st.composite
def kernels(draw):
    n_in, n_out = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return draw(st.sampled_from([0.0, 0.1, 1.0, 30.0])) * rng.standard_normal((n_in, n_out))


def constrained(constraint, W, lead=()):
    net = Network(Dense(*W.shape[-2:]), seeds=seeds_of(lead), dtype=W.dtype)
    net.layers[0].b[...] = 10
    net.layers[0].W[...] = W
    constraint(net)
    assert (net.layers[0].b == 10).all()
    return net.layers[0].W.copy()


def law_no_singular_value_exceeds_the_limit(W, limit, constraint=SpectralNorm):
    """A kernel over the limit ends on it, as a multiple of itself; one within keeps every bit."""
    P, before = constrained(constraint(limit), W), sigma(W)
    if before <= limit:
        np.testing.assert_array_equal(P, W)
    else:
        np.testing.assert_allclose(P, W * (limit / before), rtol=1e-12)
        np.testing.assert_allclose(sigma(P), limit, rtol=1e-12)
    np.testing.assert_allclose(constrained(constraint(limit), P), P, rtol=1e-14)


@given(W=kernels(), limit=st.sampled_from([0.5, 1.0, 3.0]))
def test_no_singular_value_exceeds_the_limit(W, limit):
    law_no_singular_value_exceeds_the_limit(W, limit)
    law_no_singular_value_exceeds_the_limit(W, limit, partial(SpectralNorm, iterations=1))  # starts exact


def test_the_default_limit_is_one_and_sigma_is_exact():
    W = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(constrained(SpectralNorm(), W), W / 2, rtol=1e-15)
    assert SpectralNorm().iterations is None


def test_the_nearest_matrix_would_cut_the_large_singular_values_alone():
    W = np.random.default_rng(0).standard_normal((5, 4))
    U, s, V = np.linalg.svd(W, full_matrices=False)
    nearest = (U * np.minimum(s, 1)) @ V
    assert np.linalg.norm(W - nearest) < 0.9 * np.linalg.norm(W - constrained(SpectralNorm(1.0), W))


def law_each_member_has_its_own_limit(iterations):
    W = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    limit = np.array([[0.5], [2.0]])
    P = constrained(SpectralNorm(limit, iterations), W, (2, 3))
    np.testing.assert_allclose(sigma(P), np.minimum(sigma(W), limit), rtol=1e-13)
    for k, s in np.ndindex(2, 3):
        np.testing.assert_array_equal(P[k, s], constrained(SpectralNorm(limit[k, 0], iterations), W[k, s]))


@pytest.mark.parametrize("iterations", [None, 1])
def test_each_member_has_its_own_limit(iterations):
    law_each_member_has_its_own_limit(iterations)


def law_the_product_of_the_limits_bounds_the_network(iterations=None, slack=1e-12):
    """||f(x) - f(x')|| <= product of the limits times ||x - x'||, after a training that wants more."""
    limits = np.array([[0.5], [1.5]])
    net = mlp(8, 16, 16, 3, seeds=np.tile([0, 1, 2], (2, 1)))
    fit(net, X, Y, SGD(0.1, momentum=0.9), epochs=EPOCHS, batch_size=BATCH,
        constrain=SpectralNorm(limits, iterations))  # fmt: skip
    for W in net.kernels():
        assert (sigma(W) <= limits * (1 + slack)).all()
        assert (sigma(W) > 0.9 * limits).all()
    far = np.linalg.norm(net(X) - net(X[::-1]), axis=-1)
    assert (far <= limits[..., None] ** 3 * np.linalg.norm(X - X[::-1], axis=-1) * (1 + slack)).all()


def test_the_product_of_the_limits_bounds_the_network():
    law_the_product_of_the_limits_bounds_the_network()
    law_the_product_of_the_limits_bounds_the_network(1, 0.15)


@pytest.mark.parametrize("iterations", [None, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_constrained_member_is_the_network_trained_alone(dtype, iterations):
    def run(seeds):
        net = mlp(8, 7, 3, seeds=seeds, dtype=dtype)
        constraint = SpectralNorm(0.5, iterations)
        fit(net, X, Y, SGD(RATE), epochs=2, batch_size=16, constrain=constraint)
        return net.theta

    together = run([3, 0, 8])
    assert together.dtype == dtype
    for s, seed in enumerate([3, 0, 8]):
        np.testing.assert_array_equal(together[s], run(seed))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("iterations", [None, 1])
@np.errstate(invalid="ignore")
def test_a_diverged_kernel_disturbs_no_other(iterations, bad):
    W = np.random.default_rng(0).standard_normal((2, 5, 4))
    spoilt = W.copy()
    spoilt[1, 0, 2] = bad
    assert largest_singular_value(spoilt)[1] == 0
    P = constrained(SpectralNorm(0.5, iterations), spoilt, (2,))
    np.testing.assert_array_equal(P[0], constrained(SpectralNorm(0.5, iterations), W[0]))
    assert not np.isfinite(P[1]).all()


def law_vectors_are_remembered_for_one_network_only():
    """Between calls they follow W by one round; another network starts with its own singular vectors."""
    constraint, rng = SpectralNorm(1e-3, iterations=1), np.random.default_rng(0)
    net = Network(Dense(4, 3))
    constraint(net)
    u, v = singular_vectors(net.layers[0].W)
    net.layers[0].W[...] = W = rng.standard_normal((4, 3))
    constraint(net)
    u, v = power_iteration(W, u, v, 1)
    np.testing.assert_allclose(net.layers[0].W, 1e-3 * W / (v @ W @ u.T), rtol=1e-10)
    other = Network(Dense(6, 5), Dense(5, 2), seeds=[0, 1])
    constraint(other)
    for W in other.kernels():
        np.testing.assert_allclose(sigma(W), 1e-3, rtol=1e-12)


def test_vectors_are_remembered_for_one_network_only():
    law_vectors_are_remembered_for_one_network_only()


# -- the functions behind both -------------------------------------------------------------------------------


@given(W=kernels())
def test_singular_values_and_vectors_are_those_of_the_definition(W):
    s = largest_singular_value(W)
    assert s.shape == (1, 1)
    np.testing.assert_allclose(s[0, 0], np.linalg.norm(W, 2), rtol=1e-12, atol=1e-300)
    u, v = singular_vectors(W)
    assert (u.shape, v.shape) == ((1, W.shape[1]), (1, W.shape[0]))
    np.testing.assert_allclose(v @ W, s * u, rtol=1e-10, atol=1e-12 * s[0, 0])
    np.testing.assert_allclose(u @ W.T, s * v, rtol=1e-10, atol=1e-12 * s[0, 0])


@given(W=kernels(), rounds=st.integers(0, 4))
def test_power_iteration_never_overshoots_and_never_turns_back(W, rounds):
    u, v = np.ones((1, W.shape[1])) / np.sqrt(W.shape[1]), np.zeros((1, W.shape[0]))
    u, v = power_iteration(W, u, v, rounds)
    estimate = (v @ W @ u.T).item()
    assert estimate <= np.linalg.norm(W, 2) * (1 + 1e-12)
    further = power_iteration(W, u, v, 1)
    assert (further[1] @ W @ further[0].T).item() >= estimate * (1 - 1e-12)


def test_vectors_stay_where_the_kernel_is_zero():
    u, v = np.array([[0.6, 0.8]]), np.array([[0.0, 1.0, 0.0]])
    for ours, kept in zip(power_iteration(np.zeros((3, 2)), u, v, 3), (u, v), strict=True):
        np.testing.assert_array_equal(ours, kept)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "1"])
def test_iterations_are_a_positive_integer(bad):
    with refused("iterations"):
        SpectralDense(4, 3, bad)
    with refused("iterations"):
        SpectralNorm(1.0, bad)
    with refused("n_in"):
        SpectralDense(bad, 3)
    with refused("n_out"):
        SpectralDense(3, bad)
    with refused("init"):
        SpectralDense(4, 3, init=bad)


@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, [1.0, 0.0], [], "2", None])
def test_a_limit_is_positive(bad):
    with refused("limit"):
        SpectralNorm(bad)


def law_limits_broadcast_to_the_members():
    net = mlp(4, 3, seeds=[0, 1, 2])
    for bad in ([0.1, 0.2], np.full((2, 3), 0.1)):
        with refused("SpectralNorm.limit", ValueError):
            SpectralNorm(bad)(net)


def test_limits_broadcast_to_the_members():
    law_limits_broadcast_to_the_members()


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.torch
def test_200_steps_reach_the_weights_of_pytorch():
    """With ``dim=1`` PyTorch updates the two vectors in the order of the paper; the same u has to go in."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    net = Network(*spectral_net(), seeds=5)
    ours = net.layers[::2]
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).double()
    theirs = [model[0], model[2]]
    for a, b in zip(ours, theirs, strict=True):
        b.weight.data, b.bias.data = torch.tensor(a.W.T.copy()), torch.tensor(a.b[0].copy())
        torch.nn.utils.parametrizations.spectral_norm(b, dim=1)
        rng = np.random.default_rng(0)
        a.u[...] = rng.standard_normal(a.u.shape)
        a.u /= np.linalg.norm(a.u)
        b.parametrizations.weight[0]._v = torch.tensor(a.u[0].copy())
    optimizer = torch.optim.SGD(model.parameters(), 2 * RATE)
    x, y = torch.tensor(X), torch.tensor(Y)
    for rows in batches(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    start = net.theta.copy()
    fit(net, X, Y, SGD(2 * RATE), epochs=EPOCHS, batch_size=BATCH)
    assert relative(net.theta, start) > 0.05
    for a, b in zip(ours, theirs, strict=True):
        vectors = b.parametrizations.weight[0]
        assert relative(a.W, b.parametrizations.weight.original.detach().numpy().T) <= 1e-12
        assert relative(a.b[0], b.bias.detach().numpy()) <= 1e-12
        assert relative(a.u[0], vectors._v.numpy()) <= 1e-12
        assert relative(a.v[0], vectors._u.numpy()) <= 1e-12
    model.eval()
    assert relative(predict(net, X), model(x).detach().numpy()) <= 1e-12


@pytest.mark.keras
def test_what_the_layer_of_keras_really_does(keras):
    """It overwrites the kernel by W / sigma before each pass, up or down, and is plain Dense otherwise."""
    net = mlp(8, 16, 3, seeds=5)
    ours, spectral = net.layers[::2], keras.layers.SpectralNormalization
    wrapped = [spectral(keras.layers.Dense(a.n_out, dtype="float64"), dtype="float64") for a in ours]
    model = keras.Sequential([keras.Input((8,)), wrapped[0], keras.layers.ReLU(), wrapped[1]])
    vectors = [layer.vector_u.numpy().copy() for layer in wrapped]
    for a, b in zip(ours, wrapped, strict=True):
        b.layer.set_weights([a.W, a.b[0]])
    model.compile(keras.optimizers.SGD(RATE), keras.losses.CategoricalCrossentropy(from_logits=True))
    for rows in batches(5):
        model.train_on_batch(X[rows], Y[rows])

    def overwrite_and_backpropagate(net, x, y, loss):
        for k, W in enumerate(net.kernels()):
            vectors[k], v = power_iteration(W, vectors[k], np.zeros((1, len(W))), 1)
            W /= v @ W @ vectors[k].T
        backpropagate(net, x, y, loss)

    fit(net, X, Y, SGD(RATE), epochs=EPOCHS, batch_size=BATCH, gradient=overwrite_and_backpropagate)
    for a, b, u in zip(ours, wrapped, vectors, strict=True):
        kernel, bias = b.layer.get_weights()
        assert relative(a.W, kernel) <= 1e-12
        assert relative(a.b[0], bias) <= 1e-12
        assert relative(u, b.vector_u.numpy()) <= 1e-12
    small = keras.layers.SpectralNormalization(keras.layers.Dense(3, use_bias=False, dtype="float64"))
    small.build((None, 8))
    small.kernel.assign(1e-3 * np.eye(8, 3))
    small(X, training=False)
    np.testing.assert_array_equal(small.kernel.numpy(), 1e-3 * np.eye(8, 3))
    for _ in range(50):
        small(X, training=True)
    np.testing.assert_allclose(sigma(small.kernel.numpy()), 1, rtol=1e-6)  # stretched from 0.001 to 1


# -- planted bugs --------------------------------------------------------------------------------------------

once = law_only_training_iterates
norm_one = law_the_layer_is_dense_with_a_kernel_of_norm_one
held = partial(law_gradients_are_those_of_finite_differences, replaying, (3,))
paper = law_one_round_is_the_algorithm_of_the_paper
BIG = 3 * np.random.default_rng(0).standard_normal((5, 4))


def law_limits():
    law_no_singular_value_exceeds_the_limit(BIG, 0.5)
    law_no_singular_value_exceeds_the_limit(BIG / 100, 0.5)


def layer(name, right, wrong, law):
    return Bug(SpectralDense, name, right, wrong, law)


def constraint(right, wrong, law):
    return Bug(SpectralNorm, "__call__", right, wrong, law)


BUGS = {
    "the kernel is not divided": layer("forward", "self.W / self.sigma", "self.W", norm_one),
    "the whole output is divided, with its bias": layer(
        "forward", "x @ self.normalized + self.b", "(x @ self.W + self.b) / self.sigma", norm_one
    ),
    "evaluation iterates": layer("forward", "train and not self.replay", "not self.replay", once),
    "replay iterates": layer("forward", "train and not self.replay", "train", once),
    "evaluation uses the sigma of training": layer(
        "forward", "sigma = self.v @ self.W @ transpose(self.u)",
        "sigma = self.v @ self.W @ transpose(self.u) if train else np.ones((1, 1))", once,
    ),
    "u and v are forgotten": layer(
        "forward", "self.u[...], self.v[...] = power", "self.u, self.v = power", once
    ),
    "backward forgets that sigma depends on W": layer("backward", "G - along", "G - 0 * along", held),
    "backward forgets to divide": layer("backward", "/ self.sigma", "", held),
    "backward's correction is divided once more": layer(
        "backward", "G - along", "G - along / self.sigma", held
    ),
    "backward goes through the raw kernel": layer(
        "backward", "transpose(self.normalized)", "transpose(self.W)", held
    ),
    "members share the correction": layer("backward", ".sum((-1, -2), keepdims=True)", ".sum()", held),
    "u is updated first": Bug(
        spectral, "power_iteration", "v = _unit(u @ transpose(W), v)\n        u = _unit(v @ W, u)",
        "u = _unit(v @ W, u)\n        v = _unit(u @ transpose(W), v)", paper,
    ),
    "vectors are not normalized": Bug(spectral, "_unit", "row / np", "row / 1 ** np", paper),
    "vectors are divided by their squared length": Bug(spectral, "_unit", "np.sqrt(", "(", paper),
    "a kernel of zeros becomes NaN": Bug(
        spectral, "_unit", "return np.where(length > 0, row / np.where(length > 0, length, 1), otherwise)",
        "return row / length", test_vectors_stay_where_the_kernel_is_zero,
    ),
    "sigma is the Frobenius norm": Bug(
        spectral, "largest_singular_value", "np.linalg.svd(_finite(W), compute_uv=False)[..., :1, None]",
        "np.linalg.norm(W, axis=(-1, -2), keepdims=True)", law_limits,
    ),
    "sigma is the smallest singular value": Bug(
        spectral, "largest_singular_value", ":1, None", "-1:, None", law_limits
    ),
    "small kernels are stretched": constraint("np.maximum(sigma, limit)", "sigma", law_limits),
    "a copy is scaled": constraint("W *= limit", "W = W * limit", law_limits),
    "a diverged member stops all": Bug(
        spectral, "_finite", "np.where(np.isfinite(W).all((-1, -2), keepdims=True), W, 0)", "W",
        lambda: _unless_it_raises(partial(test_a_diverged_kernel_disturbs_no_other, None, np.nan)),
    ),
    "all members have one limit": constraint(
        "np.asarray(self.limit, net.dtype)", "np.min(self.limit)",
        partial(law_each_member_has_its_own_limit, None),
    ),
    "vectors start anew at each step": constraint(
        "self.net is not net", "True", law_vectors_are_remembered_for_one_network_only
    ),
    "vectors never move": constraint(
        "self.vectors = [power_iteration(W, u, v, self.iterations) for W, (u, v) in pairs]", "pairs = pairs",
        law_vectors_are_remembered_for_one_network_only,
    ),
    "limits of other shapes pass": constraint(
        'checks.broadcasts("SpectralNorm.limit", np.shape(self.limit), net.lead)', "pass",
        law_limits_broadcast_to_the_members,
    ),
}  # fmt: skip


def _unless_it_raises(law):
    try:
        law()
    except np.linalg.LinAlgError as error:
        raise AssertionError("one member stopped all") from error


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
