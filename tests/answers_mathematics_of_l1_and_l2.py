"""Readers' answers to the exercises of "The mathematics of L1 and L2": right ones, and each usual mistake."""

import numpy as np
from exercise import Exercise
from sklearn.linear_model import Lasso

from regularize.exercises import mathematics_of_l1_and_l2 as l1l2


def soft_threshold(z, t):
    return z - np.clip(z, -t, t)


def ridge(x, y, lam, scale=None, penalty=(1, 1, 1, 0)):
    """Least squares on n + p + 1 rows: the last ones say sqrt(n lam) w = 0, and leave the intercept alone."""
    n, p = x.shape
    scale = n * lam if scale is None else scale
    rows = np.sqrt(scale) * np.diag([*penalty[:p], penalty[-1]])
    a = np.vstack([np.column_stack([x, np.ones(n)]), rows])
    w = np.linalg.lstsq(a, np.concatenate([y, np.zeros(p + 1)]))[0]
    return w[:-1], w[-1]


def ridge_uncentered(x, y, lam):
    w = np.linalg.inv(x.T @ x / len(x) + lam * np.identity(x.shape[1])) @ (x.T @ y) / len(x)
    return w, y.mean()


def solve_lambda(x, freedom, df):
    """Halve an interval of log lambda until ``freedom(x, lam)``, which falls with lam, equals df."""
    low, high = -30.0, 30.0
    for _ in range(90):
        middle = (low + high) / 2
        low, high = (middle, high) if freedom(x, np.exp(middle)) > df else (low, middle)
    return np.exp(low)


def hat_trace(x, lam):
    return np.trace(x @ np.linalg.solve(x.T @ x + len(x) * lam * np.eye(x.shape[1]), x.T))


def centered_trace(x, lam):
    return hat_trace(x - x.mean(0), lam)


def unsquared(x, lam):
    s = np.sqrt(np.linalg.eigvalsh(np.cov(x.T, bias=True)) * len(x))
    return sum(s / (s + len(x) * lam))


def map_with(lam):
    """The lasso of scikit-learn, whose alpha is half of the book's lambda."""

    def answer(x, y, sigma, scale):
        alpha = lam(len(y), sigma, scale) / 2
        return Lasso(alpha, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y).coef_

    return answer


EXERCISES = [
    Exercise(
        l1l2.check_soft_threshold,
        soft_threshold,
        [
            ("hard threshold", lambda z, t: np.where(np.abs(z) < t, 0, z)),
            ("lost the sign", lambda z, t: np.abs(soft_threshold(z, t))),
            ("come out as 0", lambda z, t: [v - t if v > t else 0 for v in z]),
            ("subgradient step", lambda z, t: [v - t if v > 0 else v + t if v < 0 else 0 for v in z]),
            ("threshold is t/2", lambda z, t: soft_threshold(z, t / 2)),
        ],
    ),
    Exercise(
        l1l2.check_ridge,
        ridge,
        [
            ("The loss is a *mean*", lambda x, y, lam: ridge(x, y, lam, scale=lam)),
            ("twice too strong", lambda x, y, lam: ridge(x, y, 2 * lam)),
            ("penalized the intercept", lambda x, y, lam: ridge(x, y, lam, penalty=(1, 1, 1, 1))),
            ("did not center", ridge_uncentered),
            ("coefficients are right", lambda x, y, lam: (ridge(x, y, lam)[0], y.mean())),
        ],
    ),
    Exercise(
        l1l2.check_exchange,
        lambda lam, n: np.array([lam / (1 / n), lam * 0.5, lam + lam]),
        [
            ("*sum*", lambda lam, n: (lam, 0.5 * lam, lam + lam)),
            ("divided by n for Ridge", lambda lam, n: (lam / n, 0.5 * lam, lam + lam)),
            ("1/(2n)", lambda lam, n: (lam * n, lam, lam + lam)),
            ("doubled for Lasso", lambda lam, n: (lam * n, lam + lam, lam + lam)),
            ("weight_decay", lambda lam, n: (lam * n, 0.5 * lam, lam)),
        ],
    ),
    Exercise(
        l1l2.check_lambda_for,
        lambda x, df: solve_lambda(x, centered_trace, df),
        [
            (
                "that is n lambda",
                lambda x, df: solve_lambda(x, lambda x, a: centered_trace(x, a / len(x)), df),
            ),
            (
                "counted the intercept",
                lambda x, df: solve_lambda(x, lambda x, a: 1 + centered_trace(x, a), df),
            ),
            ("did not square", lambda x, df: solve_lambda(x, unsquared, df)),
            ("center x first", lambda x, df: solve_lambda(x, hat_trace, df)),
        ],
    ),
    Exercise(
        l1l2.check_laplace_map,
        map_with(lambda n, sigma, scale: 2 * sigma**2 / (n * scale)),
        [
            ("half of the right one", map_with(lambda n, sigma, scale: sigma**2 / (n * scale))),
            ("lacks the 1/n", map_with(lambda n, sigma, scale: 2 * sigma**2 / scale)),
            ("Gaussian prior", map_with(lambda n, sigma, scale: sigma**2 / (n * scale**2))),
            ("standard deviation", map_with(lambda n, sigma, scale: 2 * sigma / (n * scale))),
        ],
    ),
]
