"""Every rate of exchange is held to the tool itself, in both directions.

The book's objective J is written out here once more, and so is every document's. Strengths pass through
``exchange`` in the direction under test; what they mean is then judged by the tool and by J alone.
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)

from regularize import exchange
from regularize.exchange import (
    CONVENTIONS,
    MIXED_CONVENTIONS,
    Convention,
    Scale,
    elastic_from_book,
    elastic_to_book,
    from_book,
    to_book,
)

# What each convention depends on, given to all of them.
SETTING = {"n": 50, "learning_rate": 0.25, "as_decay": True}


# --- the book's objective ---------------------------------------------------------------------------------


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def squared_gradient(w, b, x, y):
    """Of the book's mean squared error, (1/n) sum_i sum_k (prediction - target)^2, in w and b."""
    g = 2 * (x @ w + b - y) / len(x)
    return x.T @ g, g.sum(0)


def logistic_gradient(w, b, x, y):
    """Of the mean log loss, for labels 0 and 1."""
    g = (1 / (1 + np.exp(-(x @ w + b))) - y) / len(x)
    return x.T @ g, g.sum(0)


def cross_entropy_gradient(w, b, x, y):
    """Of the mean softmax cross-entropy, for one-hot y."""
    g = (softmax(x @ w + b) - y) / len(x)
    return x.T @ g, g.sum(0)


def kkt_gap(g, w, l1=0.0, l2=0.0):
    """How far 0 is from the subdifferential of J in w; 0 exactly at a minimum. g: gradient of the loss."""
    g = g + 2 * l2 * w
    return np.abs(np.where(w != 0, g + l1 * np.sign(w), np.maximum(np.abs(g) - l1, 0))).max()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    w = np.array([2.0, -1.0, 0.5, 0.0, 0.0])
    y = x @ w + 1 + rng.normal(size=60)
    label = (y > 1).astype(float)
    return SimpleNamespace(x=x, y=y, y2=np.stack([y, x[:, 1] + rng.normal(size=60)], 1), label=label, n=60)


@pytest.fixture(params=["to_book", "from_book"])
def exchanged(request):
    """``exchanged(name, value)`` is (the tool's strength, the book's lambda), one computed from the other."""

    def pair(name, value, **setting):
        if request.param == "to_book":
            return value, to_book(name, value, **setting)
        return from_book(name, value, **setting), value

    return pair


@pytest.fixture(params=["to_book", "from_book"])
def elastic(request):
    """``elastic(name, a, b)`` is ((strength, l1_ratio), (l1, l2)), one pair computed from the other."""

    def pair(name, a, b, **setting):
        if request.param == "to_book":
            return (a, b), elastic_to_book(name, a, b, **setting)
        return elastic_from_book(name, a, b, **setting), (a, b)

    return pair


# --- scikit-learn: the tool's solution minimizes the book's J, intercept unpenalized ------------------------


@pytest.mark.parametrize("outputs", [1, 2])
def test_ridge(data, exchanged, outputs):
    y = data.y[:, None] if outputs == 1 else data.y2
    alpha, lam = exchanged("sklearn_ridge", 3.0, n=data.n)
    fit = Ridge(alpha=alpha).fit(data.x, y)
    x, t = data.x - data.x.mean(0), y - y.mean(0)
    closed_form = np.linalg.solve(x.T @ x / data.n + lam * np.eye(5), x.T @ t / data.n)
    w = fit.coef_.reshape(outputs, 5).T
    np.testing.assert_allclose(w, closed_form, rtol=1e-12)
    g, g_b = squared_gradient(w, fit.intercept_, data.x, y)
    assert kkt_gap(g, w, l2=lam) < 1e-12
    assert np.abs(g_b).max() < 1e-12


@pytest.mark.parametrize("classes", [2, 3])
def test_ridge_classifier(data, exchanged, classes):
    label = np.digitize(data.y, [1] if classes == 2 else [0, 2])
    targets = 2.0 * (label[:, None] == ([1] if classes == 2 else [0, 1, 2])) - 1
    alpha, lam = exchanged("sklearn_ridge_classifier", 3.0, n=data.n)
    fit = RidgeClassifier(alpha=alpha).fit(data.x, label)
    w = fit.coef_.reshape(-1, 5).T
    g, g_b = squared_gradient(w, fit.intercept_, data.x, targets)
    assert kkt_gap(g, w, l2=lam) < 1e-12
    assert np.abs(g_b).max() < 1e-12


@pytest.mark.parametrize("outputs", [1, 2])
def test_lasso(data, exchanged, outputs):
    y = data.y[:, None] if outputs == 1 else data.y2
    alpha, lam = exchanged("sklearn_lasso", 0.25)
    fit = Lasso(alpha=alpha, tol=1e-14, max_iter=100_000).fit(data.x, y)
    w = fit.coef_.reshape(outputs, 5).T
    g, g_b = squared_gradient(w, fit.intercept_, data.x, y)
    assert kkt_gap(g, w, l1=lam) < 1e-10
    assert np.abs(g_b).max() < 1e-10
    assert (w == 0).any()
    assert (w != 0).any()


def test_elastic_net(data, elastic):
    (alpha, l1_ratio), (l1, l2) = elastic("sklearn_elastic_net", 0.5, 0.25)
    fit = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=100_000).fit(data.x, data.y)
    g, g_b = squared_gradient(fit.coef_, fit.intercept_, data.x, data.y)
    assert kkt_gap(g, fit.coef_, l1, l2) < 1e-10
    assert abs(g_b) < 1e-10


def test_logistic_l2(data, exchanged):
    strength, lam = exchanged("sklearn_logistic_l2", 0.25, n=data.n)
    fit = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12).fit(data.x, data.label)
    g, g_b = logistic_gradient(fit.coef_[0], fit.intercept_, data.x, data.label)
    assert kkt_gap(g, fit.coef_[0], l2=lam) < 1e-10
    assert abs(g_b) < 1e-10


def test_logistic_l2_multiclass(data, exchanged):
    label = np.digitize(data.y, [0, 2])
    strength, lam = exchanged("sklearn_logistic_l2", 0.25, n=data.n)
    fit = LogisticRegression(C=strength, tol=1e-12, solver="newton-cholesky").fit(data.x, label)
    g, g_b = cross_entropy_gradient(fit.coef_.T, fit.intercept_, data.x, np.eye(3)[label])
    assert kkt_gap(g, fit.coef_.T, l2=lam) < 1e-10
    assert np.abs(g_b).max() < 1e-10


def test_logistic_l1(data, exchanged):
    strength, lam = exchanged("sklearn_logistic_l1", 0.125, n=data.n)
    fit = LogisticRegression(C=strength, l1_ratio=1, solver="saga", tol=1e-10, max_iter=20_000)
    fit.fit(data.x, data.label)
    g, g_b = logistic_gradient(fit.coef_[0], fit.intercept_, data.x, data.label)
    assert kkt_gap(g, fit.coef_[0], l1=lam) < 1e-8
    assert abs(g_b) < 1e-8
    assert (fit.coef_ == 0).any()


def test_logistic_elastic_net(data, elastic):
    (strength, l1_ratio), (l1, l2) = elastic("sklearn_logistic", 0.125, 0.25, n=data.n)
    fit = LogisticRegression(C=strength, l1_ratio=l1_ratio, solver="saga", tol=1e-10, max_iter=20_000)
    fit.fit(data.x, data.label)
    g, g_b = logistic_gradient(fit.coef_[0], fit.intercept_, data.x, data.label)
    assert kkt_gap(g, fit.coef_[0], l1, l2) < 1e-8
    assert abs(g_b) < 1e-8


def test_liblinear_penalizes_the_intercept_at_the_same_lambda(data):
    """The note of LogisticRegression: with liblinear even the intercept feels 2 lambda b."""
    label = (data.y > -1).astype(float)  # not balanced: the intercept matters
    lam = to_book("sklearn_logistic_l2", 0.25, n=data.n)
    fit = LogisticRegression(C=0.25, solver="liblinear", tol=1e-12, max_iter=10_000).fit(data.x, label)
    g, g_b = logistic_gradient(fit.coef_[0], fit.intercept_, data.x, label)
    assert kkt_gap(g, fit.coef_[0], l2=lam) < 1e-8
    assert abs(g_b + 2 * lam * fit.intercept_[0]) < 1e-8
    assert abs(g_b) > 1e-3


@pytest.mark.parametrize(("penalty", "factor"), [("l1", 1), ("l2", 2)])
def test_a_softmax_over_two_classes_has_the_same_optimum(data, penalty, factor):
    """The note of LogisticRegression: at 2 lambda under L2 and at lambda under L1."""
    lam = to_book(f"sklearn_logistic_{penalty}", 0.25, n=data.n)
    fit = LogisticRegression(C=0.25, l1_ratio=float(penalty == "l1"), solver="saga", tol=1e-10, max_iter=9999)
    w, b = fit.fit(data.x, data.label).coef_[0], fit.intercept_[0]
    w, b = np.stack([-w / 2, w / 2], 1), np.array([-b / 2, b / 2])
    g, g_b = cross_entropy_gradient(w, b, data.x, np.eye(2)[data.label.astype(int)])
    assert kkt_gap(g, w, **{penalty: factor * lam}) < 1e-8
    assert np.abs(g_b).max() < 1e-8


# scikit-learn's SGD is compared step by step, not where it ends: its last weights still move with the step
# size, but an epoch of single examples without shuffling is a fixed sequence that can be written down. Its
# L1 is the cumulative penalty of Tsuruoka et al. (2009): as long as no weight crosses 0, a plain subgradient.


def sgd_epoch(tool, x, y, eta, **parameters):
    fit = tool(max_iter=1, tol=None, shuffle=False, learning_rate="constant", eta0=eta, **parameters)
    start = np.array([1.5, -1.0, 0.75, 0.5, -0.5])
    fit.fit(
        x, y, coef_init=start.copy() if tool is SGDRegressor else start[None].copy(), intercept_init=[0.5]
    )
    return start, 0.5, fit.coef_.ravel(), fit.intercept_[0]


def book_epoch(w, b, x, y, gradient, rate, l1=0.0, l2=0.0):
    """Gradient descent on the book's J, one example after another."""
    for i in range(len(x)):
        g, g_b = gradient(w, b, x[i : i + 1], y[i : i + 1])
        w, b = w - rate * (g + l1 * np.sign(w) + 2 * l2 * w), b - rate * g_b
    return w, b


SGD_TOOLS = {
    # The tool's squared error carries 1/2, so its steps are those of the book at half its rate.
    "sgd_regressor": (SGDRegressor, {}, squared_gradient, 0.5),
    "sgd_classifier": (SGDClassifier, {"loss": "log_loss"}, logistic_gradient, 1.0),
}


@pytest.mark.parametrize("tool", SGD_TOOLS)
@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_sgd_estimators(data, exchanged, tool, penalty):
    estimator, options, gradient, share = SGD_TOOLS[tool]
    alpha, lam = exchanged(f"sklearn_{tool}_{penalty}", 0.03)
    y = data.y if tool == "sgd_regressor" else data.label
    w, b, *after = sgd_epoch(estimator, data.x, y, 0.01, penalty=penalty, alpha=alpha, **options)
    expected_w, expected_b = book_epoch(w, b, data.x, y, gradient, share * 0.01, **{penalty: lam})
    assert (np.sign(expected_w) == np.sign(w)).all()  # no weight crossed 0
    np.testing.assert_allclose(after[0], expected_w, rtol=1e-12)
    np.testing.assert_allclose(after[1], expected_b, rtol=1e-12)
    unpenalized, _ = book_epoch(w, b, data.x, y, gradient, share * 0.01)
    assert np.abs(unpenalized - expected_w).max() > 1e-3  # the penalty is visible


@pytest.mark.parametrize("tool", SGD_TOOLS)
def test_sgd_elastic_net(data, elastic, tool):
    estimator, options, gradient, share = SGD_TOOLS[tool]
    (alpha, l1_ratio), (l1, l2) = elastic(f"sklearn_{tool}", 0.03, 0.125)
    y = data.y if tool == "sgd_regressor" else data.label
    options = options | {"penalty": "elasticnet", "alpha": alpha, "l1_ratio": l1_ratio}
    w, b, *after = sgd_epoch(estimator, data.x, y, 0.01, **options)
    expected_w, expected_b = book_epoch(w, b, data.x, y, gradient, share * 0.01, l1, l2)
    assert (np.sign(expected_w) == np.sign(w)).all()
    np.testing.assert_allclose(after[0], expected_w, rtol=1e-12)
    np.testing.assert_allclose(after[1], expected_b, rtol=1e-12)
    for first, second in ((l1, 0), (0, l2)):  # both parts are visible
        assert (
            np.abs(book_epoch(w, b, data.x, y, gradient, share * 0.01, first, second)[0] - after[0]).max()
            > 1e-3
        )


# --- the documents' formulas, each written literally --------------------------------------------------------


def log_loss(z, y):
    return np.logaddexp(0, z) - y * z


def documents(data):
    """F1..F8 as functions (w, lambda) -> J, and the loss per example that their data term averages."""
    x, y, m = data.x, data.y - data.y.mean(), data.n
    label = data.label

    def squared(w):
        return (x @ w - y) ** 2

    def general(w):
        return log_loss(x @ w, label)

    return {
        "F1": (squared, lambda w, lam: 1 / (2 * m) * squared(w).sum() + lam / 2 * np.abs(w).sum()),
        "F2": (squared, lambda w, lam: 1 / (2 * m) * squared(w).sum() + lam / 2 * (w**2).sum()),
        "F3": (squared, lambda w, lam: 1 / (2 * m) * squared(w).sum() + lam / (2 * m) * np.abs(w).sum()),
        "F4": (squared, lambda w, lam: 1 / (2 * m) * squared(w).sum() + lam / (2 * m) * (w**2).sum()),
        "F5": (general, lambda w, lam: 1 / m * general(w).sum() + lam * np.linalg.norm(w, 1)),
        "F6": (general, lambda w, lam: 1 / m * general(w).sum() + lam / 2 * np.linalg.norm(w, 2) ** 2),
        "F7": (general, lambda w, lam: general(w).mean() + lam * np.abs(w).sum()),
        "F8": (general, lambda w, lam: general(w).mean() + lam * (w**2).sum()),
    }


def omega(name, w):
    return np.abs(w).sum() if CONVENTIONS[name].penalty == "L1" else (w**2).sum()


@pytest.mark.parametrize("name", ["F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8"])
def test_documents(data, exchanged, name):
    """The document's J is a multiple of the book's J for every w: the two have the same minimum."""
    mu, lam = exchanged(name, 0.75, n=data.n)
    loss, literal = documents(data)[name]
    w = np.random.default_rng(1).normal(size=(20, 5))
    theirs = np.array([literal(row, mu) for row in w])
    ours = np.array([loss(row).mean() + lam * omega(name, row) for row in w])
    np.testing.assert_allclose(theirs / ours, theirs[0] / ours[0], rtol=1e-12)


def minimum(objective, sweeps=40):
    """Minimize one coordinate after another: the kinks of ``|w_j|`` are separable and cannot trap it."""
    w = np.zeros(5)
    for _ in range(sweeps):
        for j in range(5):

            def along(value, j=j):
                return objective(np.where(np.arange(5) == j, value, w))

            w[j] = minimize_scalar(along, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x
    return w


@pytest.mark.parametrize(
    ("name", "mu"),
    [("F1", 0.5), ("F2", 0.5), ("F3", 20), ("F4", 20), ("F5", 0.1), ("F6", 0.1), ("F7", 0.1), ("F8", 0.1)],
)
def test_minimum_of_the_documents(data, name, mu):
    """The documents' own J, minimized as it is written, is solved by scikit-learn at the exchanged lambda."""
    found = minimum(lambda w: documents(data)[name][1](w, mu))
    lam, y = to_book(name, mu, n=data.n), data.y - data.y.mean()
    kind = CONVENTIONS[name].penalty.lower()
    if name in ("F1", "F3"):
        tool = Lasso(from_book("sklearn_lasso", lam), fit_intercept=False, tol=1e-14).fit(data.x, y)
    elif name in ("F2", "F4"):
        alpha = from_book("sklearn_ridge", lam, n=data.n)
        tool = Ridge(alpha, fit_intercept=False).fit(data.x, y)
    else:
        strength = from_book(f"sklearn_logistic_{kind}", lam, n=data.n)
        tool = LogisticRegression(
            C=strength,
            l1_ratio=float(kind == "l1"),
            fit_intercept=False,
            solver="saga",
            tol=1e-9,
            max_iter=9999,
        ).fit(data.x, data.label)
    np.testing.assert_allclose(found, tool.coef_.ravel(), atol=1e-4)


def test_the_best_strength_moves_with_the_convention():
    """One optimum on held-out data, four ways to write it: 1, n, 1/2 and 2n times the book's lambda."""
    rng = np.random.default_rng(2)
    n, w = 100, np.full(20, 0.15)
    x, test = rng.normal(size=(n, 20)), rng.normal(size=(1000, 20))
    y = x @ w + rng.normal(size=n)

    def best(data_scale, penalty_scale):
        """The strength in ``data_scale * mean + penalty_scale * strength * sum w^2`` that predicts best."""

        def risk(log_strength):
            shrink = penalty_scale * np.exp(log_strength) * np.eye(20)
            fit = np.linalg.solve(data_scale * x.T @ x / n + shrink, data_scale * x.T @ y / n)
            return ((test @ (fit - w)) ** 2).mean()

        return np.exp(minimize_scalar(risk, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}).x)

    book, ridge, half_mean, half_sum = best(1, 1), best(n, 1), best(0.5, 1), best(n, 0.5)
    assert 1e-2 < book < 10
    np.testing.assert_allclose([ridge / book, half_mean / book, half_sum / book], [100, 0.5, 200], rtol=1e-4)
    np.testing.assert_allclose(ridge, from_book("sklearn_ridge", book, n=n), rtol=1e-4)
    np.testing.assert_allclose(best(0.5, 0.5), from_book("F2", book), rtol=1e-4)
    np.testing.assert_allclose(best(0.5, 0.5 / n), from_book("F4", book, n=n), rtol=1e-4)
    np.testing.assert_allclose(best(1, 0.5), from_book("F6", book), rtol=1e-4)
    np.testing.assert_allclose(1 / half_sum, from_book("sklearn_logistic_l2", book, n=n), rtol=1e-4)
    mine = Convention("mine", "my own objective", "L2", "mu", r"\mu", Scale(0.5), "half the mean")
    np.testing.assert_allclose(half_mean, mine.from_book(book), rtol=1e-4)


# --- optimizers written by hand, in the book's J ------------------------------------------------------------

STEPS, RATE = 6, 0.125  # dyadic: Keras rounds Python numbers to float32


def problem():
    """A small quadratic loss with gradient ``h (w - target)``, and a first w. All numbers are dyadic."""
    h, target = np.array([1.0, 0.5, 2.0, 0.25]), np.array([1.0, -0.5, 0.25, 2.0])
    return lambda w: h * (w - target), np.array([2.0, -1.5, 0.5, -1.0])


class Adam:
    """The direction of Adam. The sources differ in where epsilon stands: ``corrected`` is PyTorch's place."""

    def __init__(self, corrected, beta1=0.875, beta2=0.96875, epsilon=2.0**-20):
        self.m = self.v = 0.0
        self.t, self.corrected = 0, corrected
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def __call__(self, g):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        first, second = 1 - self.beta1**self.t, 1 - self.beta2**self.t
        if self.corrected:
            return self.m / first / (np.sqrt(self.v / second) + self.epsilon)
        return np.sqrt(second) / first * self.m / (np.sqrt(self.v) + self.epsilon)


class Momentum:
    def __init__(self, momentum):
        self.momentum, self.velocity = momentum, 0.0

    def __call__(self, g):
        self.velocity = self.momentum * self.velocity + g
        return self.velocity


def penalized(direction, lam):
    """Descent on the book's J = loss + lam sum w^2: the penalty is in the gradient."""
    gradient, w = problem()
    for _ in range(STEPS):
        w = w - RATE * direction(gradient(w) + 2 * lam * w)
    return w


def decayed(direction, lam):
    """Descent on the loss alone, with the weights shrunk beside it by ``RATE * 2 lam``."""
    gradient, w = problem()
    for _ in range(STEPS):
        w = w - RATE * 2 * lam * w - RATE * direction(gradient(w))
    return w


def ridge_optimum(data, lam):
    """Centered x and y (2 outputs), and the minimum of the book's J with L2."""
    x, y = data.x - data.x.mean(0), data.y2 - data.y2.mean(0)
    return x, y, np.linalg.solve(x.T @ x / data.n + lam * np.eye(5), x.T @ y / data.n)


# --- PyTorch ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def torch_steps(torch, optimizer, **options):
    gradient, w = problem()
    w = torch.nn.Parameter(torch.tensor(w))
    tool = getattr(torch.optim, optimizer)([w], lr=RATE, **options)
    for _ in range(STEPS):
        w.grad = torch.tensor(gradient(w.detach().numpy()))
        tool.step()
    return w.detach().numpy()


TORCH_ADAM = {"betas": (0.875, 0.96875), "eps": 2.0**-20}


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_torch_sgd_is_l2_with_and_without_momentum(torch, exchanged, momentum):
    decay, lam = exchanged("torch_sgd", 0.25)
    found = torch_steps(torch, "SGD", momentum=momentum, weight_decay=decay)
    np.testing.assert_allclose(found, penalized(Momentum(momentum), lam), rtol=1e-14)
    if momentum:
        assert np.abs(found - decayed(Momentum(momentum), lam)).max() > 1e-2


def test_torch_adam_is_l2(torch, exchanged):
    decay, lam = exchanged("torch_adam", 0.25)
    found = torch_steps(torch, "Adam", weight_decay=decay, **TORCH_ADAM)
    np.testing.assert_allclose(found, penalized(Adam(corrected=True), lam), rtol=1e-13)
    assert np.abs(found - decayed(Adam(corrected=True), lam)).max() > 1e-2


def test_torch_adamw_is_decoupled(torch, exchanged):
    decay, lam = exchanged("torch_adamw", 0.25, as_decay=True)
    found = torch_steps(torch, "AdamW", weight_decay=decay, **TORCH_ADAM)
    np.testing.assert_allclose(found, decayed(Adam(corrected=True), lam), rtol=1e-13)
    assert np.abs(found - penalized(Adam(corrected=True), lam)).max() > 1e-2


@pytest.mark.parametrize(("name", "optimizer"), [("torch_sgd", "SGD"), ("torch_adam", "Adam")])
def test_torch_mse_averages_over_outputs(torch, data, exchanged, name, optimizer):
    """The optimum of the book's J is where the tool stands still, with nn.MSELoss over k = 2 outputs."""
    decay, lam = exchanged(name, 0.25, averaged_outputs=2)
    x, y, optimum = ridge_optimum(data, lam)
    w = torch.nn.Parameter(torch.tensor(optimum))
    torch.nn.MSELoss()(torch.tensor(x) @ w, torch.tensor(y)).backward()
    options = {"eps": 1.0} if optimizer == "Adam" else {}  # Adam would blow up the rounding error of g = 0
    getattr(torch.optim, optimizer)([w], lr=1.0, weight_decay=decay, **options).step()
    np.testing.assert_allclose(w.detach().numpy(), optimum, atol=1e-13)


def test_torch_decays_biases_too(torch):
    layer = torch.nn.Linear(2, 2).double()
    before = layer.bias.detach().numpy().copy()
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    torch.optim.SGD(layer.parameters(), lr=0.5, weight_decay=0.5).step()
    np.testing.assert_allclose(layer.bias.detach().numpy(), 0.75 * before, rtol=1e-15)


# --- Keras and TensorFlow -----------------------------------------------------------------------------------


def keras_steps(keras, optimizer):
    gradient, w = problem()
    w = keras.Variable(w)
    for _ in range(STEPS):
        optimizer.apply([keras.ops.convert_to_tensor(gradient(w.numpy()))], [w])
    return w.numpy()


def keras_adam(keras, name, decay):
    adam = getattr(keras.optimizers, name)
    return adam(RATE, beta_1=0.875, beta_2=0.96875, epsilon=2.0**-20, weight_decay=decay)


def test_keras_weight_decay_is_l2_under_plain_sgd(keras, exchanged):
    decay, lam = exchanged("keras_weight_decay", 0.25, as_decay=True)
    found = keras_steps(keras, keras.optimizers.SGD(RATE, weight_decay=decay))
    np.testing.assert_allclose(found, penalized(Momentum(0.0), lam), rtol=1e-14)


def test_keras_weight_decay_under_plain_sgd_with_an_averaged_mse(keras, data, exchanged):
    """The optimum of the book's J is where plain SGD stands still, with 'mse' over k = 2 outputs."""
    decay, lam = exchanged("keras_weight_decay", 0.25, averaged_outputs=2, as_decay=True)
    x, y, optimum = ridge_optimum(data, lam)
    loss = keras.losses.MeanSquaredError()
    _, gradient = tape_gradient(lambda v: loss(y, x @ v), optimum)
    w = keras.Variable(optimum)
    keras.optimizers.SGD(0.5, weight_decay=decay).apply([keras.ops.convert_to_tensor(gradient)], [w])
    np.testing.assert_allclose(w.numpy(), optimum, atol=1e-13)


def test_where_decay_with_momentum_comes_to_rest(data):
    """The note of keras_weight_decay: at the minimum of another lambda, (1 - momentum) wd / 2."""
    decay, momentum, x, y = 0.5, 0.75, data.x - data.x.mean(0), data.y - data.y.mean()
    w, velocity = np.zeros(5), np.zeros(5)
    for _ in range(2000):
        g, _ = squared_gradient(w, 0, x, y)
        w = (1 - 0.05 * decay) * w
        velocity = momentum * velocity - 0.05 * g
        w = w + velocity
    lam = to_book("keras_weight_decay", decay, as_decay=True)
    g, _ = squared_gradient(w, 0, x, y)
    assert kkt_gap(g, w, l2=(1 - momentum) * lam) < 1e-12
    assert kkt_gap(g, w, l2=lam) > 0.1


def test_keras_weight_decay_is_not_l2_with_momentum(keras, exchanged):
    decay, lam = exchanged("keras_weight_decay", 0.25, as_decay=True)
    found = keras_steps(keras, keras.optimizers.SGD(RATE, momentum=0.5, weight_decay=decay))
    np.testing.assert_allclose(found, decayed(Momentum(0.5), lam), rtol=1e-14)
    assert np.abs(found - penalized(Momentum(0.5), lam)).max() > 1e-2


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
def test_keras_weight_decay_is_not_l2_with_adam(keras, exchanged, optimizer):
    decay, lam = exchanged("keras_weight_decay", 0.25, as_decay=True)
    found = keras_steps(keras, keras_adam(keras, optimizer, decay))
    np.testing.assert_allclose(found, decayed(Adam(corrected=False), lam), rtol=1e-13)
    assert np.abs(found - penalized(Adam(corrected=False), lam)).max() > 1e-2


@pytest.mark.parametrize("optimizer", ["RMSprop", "Adagrad", "Nadam", "Lion", "Ftrl", "Adadelta", "Adamax"])
def test_keras_weight_decay_is_decoupled_in_every_optimizer(keras, exchanged, optimizer):
    """One step of the tool with decay is the shrunk weight plus the step that it takes without."""
    decay, lam = exchanged("keras_weight_decay", 0.25, as_decay=True)
    tool = getattr(keras.optimizers, optimizer)
    start, g = np.array([2.0, -1.5]), np.array([0.5, 0.25])
    after = []
    for first, d in ((start, decay), (start - RATE * 2 * lam * start, None)):
        w = keras.Variable(first)
        tool(RATE, weight_decay=d).apply([keras.ops.convert_to_tensor(g)], [w])
        after.append(w.numpy())
    np.testing.assert_allclose(after[0], after[1], rtol=1e-14)
    assert np.abs(after[0] - start).max() > 1e-2


def test_keras_decays_biases_too_unless_they_are_excluded(keras):
    found = []
    for exclude in (False, True):
        layer = keras.layers.Dense(2, bias_initializer="ones")
        layer.build((None, 3))
        optimizer = keras.optimizers.SGD(0.5, weight_decay=0.5)
        if exclude:
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        zeros = [keras.ops.zeros_like(v) for v in layer.trainable_variables]
        optimizer.apply(zeros, layer.trainable_variables)
        found.append(layer.bias.numpy().tolist())
    assert found == [[0.75, 0.75], [1.0, 1.0]]


def dyadic_data():
    rng = np.random.default_rng(3)
    return [rng.integers(-8, 9, shape) / 4 for shape in ((16, 4), (16, 3), (4, 3))]  # x, y, w


def tape_gradient(objective, w):
    import tensorflow as tf

    w = tf.Variable(w)
    with tf.GradientTape() as tape:
        value = objective(w)
    return float(value), tape.gradient(value, w).numpy()


@pytest.mark.parametrize(("name", "tool"), [("keras_l1", "L1"), ("keras_l2", "L2")])
def test_keras_regularizers(keras, exchanged, name, tool):
    """Value and gradient of the tool's penalty beside the book's, at one lambda; L1L2 is the two of them."""
    strength, lam = exchanged(name, 0.0625)
    _, _, w = dyadic_data()
    value, gradient = (np.abs(w).sum(), np.sign(w)) if tool == "L1" else ((w**2).sum(), 2 * w)
    regularizers = keras.regularizers
    for regularizer in (getattr(regularizers, tool)(strength), regularizers.L1L2(**{tool.lower(): strength})):
        found = tape_gradient(regularizer, w)
        assert found[0] == lam * value
        assert (found[1] == lam * gradient).all()


def test_keras_penalties_by_name(keras):
    """The notes of keras_l1 and keras_l2: 1/100, but nothing for the two together."""
    assert float(keras.regularizers.get("l1").l1) == pytest.approx(0.01)
    assert float(keras.regularizers.get("l2").l2) == pytest.approx(0.01)
    assert keras.regularizers.get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}


@pytest.mark.parametrize(("name", "tool"), [("keras_l1", "L1"), ("keras_l2", "L2")])
def test_keras_mse_averages_over_outputs(keras, exchanged, name, tool):
    """What ``evaluate`` reports under 'mse' is J at k times the lambda, divided by k: here k = 3."""
    strength, lam = exchanged(name, 0.75, averaged_outputs=3)
    x, y, w = dyadic_data()
    layer = keras.layers.Dense(3, kernel_regularizer=getattr(keras.regularizers, tool)(strength))
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.set_weights([w, np.ones(3)])
    model.compile(loss="mse")
    penalty = np.abs(w).sum() if tool == "L1" else (w**2).sum()
    book = ((x @ w + 1 - y) ** 2).sum(1).mean() + lam * penalty
    assert model.evaluate(x, y, verbose=0, batch_size=16) == pytest.approx(
        book / 3, rel=1e-6
    )  # rounds to float32


def test_keras_cross_entropy_does_not_average_over_outputs(keras, exchanged):
    strength, lam = exchanged("keras_l2", 0.0625)
    x, _, w = dyadic_data()
    label = np.arange(16) % 3
    layer = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(strength), use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.set_weights([w])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    book = -np.log(softmax(x @ w)[np.arange(16), label]).mean() + lam * (w**2).sum()
    assert model.evaluate(x, label, verbose=0, batch_size=16) == pytest.approx(book, rel=1e-6)


def test_tf_l2_loss(keras, exchanged):
    """The program of D0: reduce_mean over examples and outputs, plus a factor times tf.nn.l2_loss."""
    import tensorflow as tf

    factor, lam = exchanged("tf_l2_loss", 0.75, averaged_outputs=3)
    x, y, w = dyadic_data()

    def objective(v):
        return tf.reduce_mean(tf.square(y - tf.matmul(x, v))) + factor * tf.nn.l2_loss(v)

    value, gradient = tape_gradient(objective, w)
    assert value == pytest.approx((((x @ w - y) ** 2).sum(1).mean() + lam * (w**2).sum()) / 3, rel=1e-14)
    book_gradient = squared_gradient(w, 0, x, y)[0] + 2 * lam * w
    np.testing.assert_allclose(gradient, book_gradient / 3, rtol=1e-13, atol=1e-14)
    assert not hasattr(tf.nn, "l1_loss")


def test_decay_without_the_learning_rate(exchanged):
    decay, lam = exchanged("decay_per_step", 0.0625, learning_rate=RATE, as_decay=True)
    gradient, w = problem()
    for _ in range(STEPS):
        w = (1 - decay) * w - RATE * gradient(w)
    np.testing.assert_allclose(w, penalized(Momentum(0.0), lam), rtol=1e-14)


# --- the functions ------------------------------------------------------------------------------------------

strengths = st.floats(1e-6, 1e6)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CONVENTIONS)), st.lists(strengths, min_size=1, max_size=4), st.integers(1, 10**6)
)
def test_round_trip(name, values, n):
    values, setting = np.array(values), SETTING | {"n": n}
    np.testing.assert_allclose(
        from_book(name, to_book(name, values, **setting), **setting), values, rtol=1e-14
    )
    np.testing.assert_allclose(
        to_book(name, from_book(name, values, **setting), **setting), values, rtol=1e-14
    )
    assert to_book(name, values, **setting)[0] == to_book(name, values[0], **setting)


@settings(deadline=None)
@given(st.sampled_from(sorted(MIXED_CONVENTIONS)), strengths, st.floats(0, 1))
def test_elastic_round_trip(name, value, l1_ratio):
    l1, l2 = elastic_to_book(name, value, l1_ratio, n=50)
    np.testing.assert_allclose(
        elastic_from_book(name, l1, l2, n=50), (value, l1_ratio), rtol=1e-12, atol=1e-12
    )


def test_elastic_arrays_and_ends():
    l1, l2 = elastic_to_book("sklearn_elastic_net", np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    assert l1.tolist() == [0.0, 4.0]
    assert l2.tolist() == [1.0, 0.0]
    assert elastic_from_book("sklearn_elastic_net", 4.0, 0.0) == (2.0, 1.0)


def test_no_penalty_is_no_penalty():
    for name, convention in CONVENTIONS.items():
        if not convention.reciprocal:
            assert to_book(name, 0, **SETTING) == from_book(name, 0, **SETTING) == 0


def latex_value(text, symbols):
    r"""The value of a formula made of numbers, symbols, products and ``\frac``."""
    for symbol, value in sorted(symbols.items(), key=lambda item: -len(item[0])):
        text = text.replace(symbol, f" {value!r} ")
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r" ((\1) / (\2)) ", text)
    return eval(re.sub(r"(?<=[\d.)])\s+(?=[\d(])", " * ", text.strip()))


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_the_printed_formula_is_the_computed_one(name):
    convention = CONVENTIONS[name]
    symbols = {convention.symbol: 0.3, "n": 50, "k": 1, r"\eta": 0.25}
    assert latex_value(convention.book_formula(), symbols) == pytest.approx(to_book(name, 0.3, **SETTING))
    if convention.data.k:
        setting = SETTING | {"averaged_outputs": 4}
        symbols["k"] = 4
        assert latex_value(convention.book_formula(), symbols) == pytest.approx(to_book(name, 0.3, **setting))


@pytest.mark.parametrize("name", sorted(MIXED_CONVENTIONS))
def test_the_printed_formulas_of_the_elastic_nets(name):
    convention = MIXED_CONVENTIONS[name]
    symbols = {convention.l1.symbol: 0.3, r"(1 - \rho)": 0.8, r"\rho": 0.2, "n": 50}
    l1, l2 = re.fullmatch(
        r"(.*) \\text{ \(L1\)},\\; (.*) \\text{ \(L2\)}", convention.book_formula()
    ).groups()
    expected = elastic_to_book(name, 0.3, 0.2, n=50)
    assert [latex_value(text, symbols) for text in (l1, l2)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("F3", r"\frac{1}{2 n} \sum_i (\hat{y}_i - y_i)^2 + \frac{\lambda'}{2 n} \sum_j \lvert w_j \rvert"),
        ("F8", r"J_0 + \lambda' \sum_j w_j^2"),
        ("sklearn_logistic_l1", r"C \sum_i \ell_i + \sum_j \lvert w_j \rvert"),
        ("sklearn_logistic_l2", r"C \sum_i \ell_i + \frac{1}{2} \sum_j w_j^2"),
        ("keras_weight_decay", r"w \leftarrow w - \eta\, \mathit{wd}\, w - \text{(step on the loss)}"),
        ("decay_per_step", r"w \leftarrow w - \delta\, w - \text{(step on the loss)}"),
    ],
)
def test_objectives_in_print(name, literal):
    assert CONVENTIONS[name].formula == literal


def tables():
    """Every line of the three tables, and every note below them."""
    texts = [
        exchange.markdown_table(g, 0.25, n=50, learning_rate=0.25).split("\n\n") for g in exchange.GROUPS
    ]
    lines = [line for text in texts for line in text[0].splitlines()[2:]]
    return lines, [note for text in texts for note in text[1].splitlines()]


def test_the_tables_have_every_convention_once_and_its_example_converts_back():
    rows = {row.tool: row for row in exchange.table()}
    assert [row.name for row in rows.values()] == [*CONVENTIONS, *MIXED_CONVENTIONS]
    lines, _ = tables()
    assert sorted(line.split(" | ")[0][2:] for line in lines) == sorted(rows)
    for line in lines:
        assert line.count("|") == 4
        tool, write, minimizes = line.strip("| ").split(" | ")
        row = rows[tool]
        assert minimizes == ("" if row.coupled else "nothing; its step is ") + f"${row.formula}$"
        shown = [float(number) for number in re.findall(r"= ([\d.e+-]+)(?:<br>|$)", write)]
        if row.name == "torch_adamw":
            assert write == "none (a decay, no penalty)"
        elif row.name in CONVENTIONS:
            assert to_book(row.name, shown[0], **SETTING) == pytest.approx(0.25, rel=1e-3)
        else:
            assert elastic_to_book(row.name, *shown, n=50) == pytest.approx((0.25, 0.25), rel=1e-3)


def test_every_note_stands_once_below_the_table_of_its_tools():
    _, notes = tables()
    assert sorted(note.partition(": ")[2] for note in notes) == sorted(
        {row.note for row in exchange.table()} - {""}
    )
    assert any(note.startswith("* SGDRegressor: The intercept") for note in notes)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_what_to_write_is_printed_as_it_is_computed(name):
    symbols = {r"\lambda": 0.3, "n": 50, "k": 1, r"\eta": 0.25}
    printed = latex_value(CONVENTIONS[name].source_formula(), symbols)
    assert printed == pytest.approx(from_book(name, 0.3, **SETTING))


@pytest.mark.parametrize("name", sorted(MIXED_CONVENTIONS))
def test_what_to_write_for_an_elastic_net_is_printed_as_it_is_computed(name):
    symbols = {r"\lambda_1": 0.3, r"\lambda_2": 0.7, "n": 50}
    strength, l1_ratio = elastic_from_book(name, 0.3, 0.7, n=50)
    first, second = MIXED_CONVENTIONS[name].source_formulas()
    assert latex_value(first, symbols) == pytest.approx(strength)
    assert latex_value(second, symbols | {r"\alpha": strength, "C": strength}) == pytest.approx(l1_ratio)


def test_unknown_table():
    with pytest.raises(ValueError, match=r"group: expected one of .*got 'sklearn'"):
        exchange.markdown_table("sklearn")


# --- bad input ----------------------------------------------------------------------------------------------

bad_numbers = st.sampled_from([-1.0, -1e-300, np.nan, np.inf, -np.inf])


@settings(deadline=None)
@given(st.sampled_from(sorted(CONVENTIONS)), bad_numbers, st.booleans())
def test_bad_strengths(name, bad, as_array):
    bad = np.array([1.0, bad]) if as_array else bad
    with pytest.raises(ValueError, match=rf"{CONVENTIONS[name].parameter}: expected a finite number"):
        to_book(name, bad, **SETTING)
    with pytest.raises(ValueError, match="lam: expected a finite number"):
        from_book(name, bad, **SETTING)


@pytest.mark.parametrize("bad", ["1", None, [[1], [1, 2]], 1j])
def test_strengths_that_are_no_numbers(bad):
    with pytest.raises(TypeError, match="alpha: expected a finite number"):
        to_book("sklearn_lasso", bad)


def test_the_reciprocal_of_nothing():
    with pytest.raises(ValueError, match="C: expected a finite number > 0, got 0"):
        to_book("sklearn_logistic_l2", 0, n=10)
    with pytest.raises(ValueError, match="lam: expected a finite number > 0, got 0"):
        from_book("sklearn_logistic_l2", 0.0, n=10)


@pytest.mark.parametrize(
    ("function", "arguments", "wrong", "near"),
    [
        (to_book, (1.0,), "sklearn_rigde", "sklearn_ridge"),
        (from_book, (1.0,), "keras_l3", "keras_l"),
        (elastic_to_book, (1.0, 0.5), "sklearn_elasticnet", "sklearn_elastic_net"),
        (elastic_from_book, (1.0, 0.5), "sklearn_logistics", "sklearn_logistic"),
    ],
)
def test_unknown_names_suggest_the_nearest(function, arguments, wrong, near):
    with pytest.raises(ValueError, match=f"name: expected one of .*got '{wrong}'; did you mean '{near}"):
        function(wrong, *arguments)


@settings(deadline=None)
@given(st.text(max_size=12).filter(lambda text: text not in CONVENTIONS))
def test_any_unknown_name(name):
    with pytest.raises(ValueError, match="name: expected one of"):
        to_book(name, 1.0)


def depending_on(quantity):
    return [
        c.name
        for c in CONVENTIONS.values()
        if getattr(c.data, quantity) != getattr(c.penalty_scale, quantity)
    ]


def test_what_depends_on_what():
    """The dependence itself, by numbers: doubling n, k or the rate changes exactly these conventions."""
    ridge = {"sklearn_ridge", "sklearn_ridge_classifier"}
    assert set(depending_on("n")) == {"F3", "F4", "sklearn_logistic_l1", "sklearn_logistic_l2"} | ridge
    averaging = {"tf_l2_loss", "keras_l1", "keras_l2", "keras_weight_decay", "torch_sgd", "torch_adam"}
    assert set(depending_on("k")) == averaging
    assert depending_on("eta") == ["decay_per_step"]
    for name in CONVENTIONS:
        for quantity, key in (("n", "n"), ("eta", "learning_rate")):
            moved = to_book(name, 1.0, **(SETTING | {key: 2 * SETTING[key]})) != to_book(name, 1.0, **SETTING)
            assert moved == (name in depending_on(quantity))


@pytest.mark.parametrize("name", depending_on("n"))
def test_missing_n(name):
    with pytest.raises(ValueError, match=f"n: {name} depends on it"):
        to_book(name, 1.0)
    with pytest.raises(ValueError, match=f"n: {name} depends on it"):
        from_book(name, 1.0)


def test_n_is_not_asked_for_where_it_does_not_matter():
    for name in CONVENTIONS:
        if name not in depending_on("n"):
            assert to_book(name, 1.0, learning_rate=0.25, as_decay=True) == to_book(name, 1.0, **SETTING)


@settings(deadline=None)
@given(st.sampled_from(sorted(CONVENTIONS)), st.sampled_from([2.5, 100.0, "100", True, np.array([1, 2])]))
def test_n_that_is_no_integer(name, bad):
    with pytest.raises(TypeError, match="n: expected an integer >= 1"):
        to_book(name, 1.0, **(SETTING | {"n": bad}))


@settings(deadline=None)
@given(st.integers(max_value=0))
def test_n_below_one(bad):
    with pytest.raises(ValueError, match="n: expected an integer >= 1"):
        from_book("sklearn_ridge", 1.0, n=bad)


def test_a_decay_per_step_for_several_learning_rates():
    rates = np.array([0.125, 0.25])
    assert to_book("decay_per_step", 0.5, learning_rate=rates, as_decay=True).tolist() == [2.0, 1.0]


def test_missing_and_bad_learning_rates():
    with pytest.raises(ValueError, match="learning_rate: decay_per_step depends on it"):
        to_book("decay_per_step", 0.1, as_decay=True)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="learning_rate: expected a finite number > 0"):
            to_book("decay_per_step", 0.1, learning_rate=bad, as_decay=True)


def test_outputs_where_none_are_averaged():
    for name, convention in CONVENTIONS.items():
        if not convention.data.k:
            with pytest.raises(ValueError, match=f"averaged_outputs: expected None, {name} averages over no"):
                to_book(name, 1.0, averaged_outputs=3, **SETTING)
    with pytest.raises(TypeError, match="averaged_outputs: expected an integer"):
        to_book("keras_l2", 1.0, averaged_outputs=2.0)


@pytest.mark.parametrize("name", ["keras_weight_decay", "torch_adamw", "decay_per_step"])
def test_decoupled_decay_is_not_exchanged_by_accident(name):
    with pytest.raises(ValueError, match=f"{name}: decoupled weight decay is no penalty"):
        to_book(name, 0.01, learning_rate=0.1)
    with pytest.raises(ValueError, match="expected as_decay=True"):
        from_book(name, 0.01, learning_rate=0.1)
    assert not CONVENTIONS[name].coupled


@settings(deadline=None)
@given(bad_numbers)
def test_bad_elastic_nets(bad):
    with pytest.raises(ValueError, match="alpha: expected"):
        elastic_to_book("sklearn_elastic_net", bad, 0.5)
    with pytest.raises(ValueError, match="l1_ratio: expected a fraction"):
        elastic_to_book("sklearn_elastic_net", 1.0, bad)
    with pytest.raises(ValueError, match="l1: expected"):
        elastic_from_book("sklearn_elastic_net", bad, 0.5)
    with pytest.raises(ValueError, match="l2: expected"):
        elastic_from_book("sklearn_elastic_net", 0.5, bad)


def test_elastic_net_of_nothing_or_without_n():
    with pytest.raises(ValueError, match=r"l1 \+ l2: expected a finite number > 0"):
        elastic_from_book("sklearn_elastic_net", 0.0, 0.0)
    with pytest.raises(ValueError, match="n: sklearn_logistic_l1 depends on it"):
        elastic_to_book("sklearn_logistic", 1.0, 0.5)
