r"""Criteria: the prediction error estimated from one fit to all examples, without a validation part.

Ridge regression is linear in the targets: the fitted values are ``H y``, where with X centered

    X = U diag(s) V',        H = 1 1'/n + U diag(f) U',        f = s^2 / (s^2 + n lambda).

The leverage ``h_i``, the diagonal of H, says how far example i pulls the fit towards itself. Without it, its
residual ``r_i = y_i - (H y)_i`` would be ``r_i / (1 - h_i)``, and so nothing need be fitted n times:

    leave_one_out                   mean of (r_i / (1 - h_i))^2           (Allen 1974: PRESS, divided by n)
    generalized_cross_validation    mean of r_i^2 / (1 - trace(H) / n)^2  (Golub, Heath and Wahba 1979)

Both are in the units of y squared. The information criteria know the variance v of the noise instead. With
RSS the sum of squared residuals and df the degrees of freedom without the intercept,

    AIC = n log(2 pi v) + RSS / v + 2 df                                  (Akaike 1974)
    BIC = n log(2 pi v) + RSS / v + log(n) df                             (Schwarz 1978)

That is minus twice the log-likelihood (natural logarithms, no units) plus a price for each degree of freedom,
as in scikit-learn's ``LassoLarsIC``. v is the same for all models, by default that of least squares on all
features, so AIC ranks models as Mallows' Cp does (``regularize.paths.mallows_cp``). Other texts estimate v
anew for each model, with ``n log(RSS / n)`` for the first two terms: that is another criterion. Ridge has
``df = sum f``; the lasso's is estimated by its number of non-zeros (Zou, Hastie and Tibshirani 2007).

Data and grids of lambda are those of ``regularize.linear``: x ``lead + (n, p)``, y ``lead + (n,)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.linear import (
    LinearFit,
    centered,
    effective_degrees_of_freedom,
    least_squares,
    objective,
    ridge,
    shrinkage_factors,
)


def leave_one_out(x: ArrayLike, y: ArrayLike, lam: ArrayLike, *, intercept: bool = True) -> Any:
    """The mean squared error of leave-one-out cross-validation of ridge, exactly, for each lambda of a grid.

    It is that of the loop over n models, each ``ridge`` with the same lam on n - 1 examples. As lam stands
    beside a *mean*, those are penalized by ``(n - 1) lam``; scikit-learn's ``RidgeCV``, which keeps its alpha
    from fold to fold, agrees at ``alpha = (n - 1) lam``.

    Raises
    ------
    ValueError : a leverage is 1, as with lam = 0 and as many coefficients as examples. The fit then goes
        through
        the example whatever its target, and the formula cannot tell what it predicts without it.
    """
    n = checks.array("x", x, min_ndim=2).shape[-2]
    residual, leverage = _residuals(x, y, checks.nonnegative("lam", lam) * ((n - 1) / n), intercept)
    return ((residual / _below_one(leverage)) ** 2).mean(-1)


def generalized_cross_validation(
    x: ArrayLike, y: ArrayLike, lam: ArrayLike, *, intercept: bool = True
) -> Any:
    """``mean(r^2) / (1 - trace(H) / n)^2``: leave-one-out with the mean leverage in place of each.

    What scikit-learn's ``RidgeCV`` calls by this name is leave-one-out. Raises ValueError as that does.
    """
    residual, leverage = _residuals(x, y, lam, intercept)
    return (residual**2).mean(-1) / _below_one(leverage.mean(-1)) ** 2


def _residuals(x: ArrayLike, y: ArrayLike, lam: ArrayLike, intercept: bool) -> tuple[Array, Array]:
    """r and h of each model: broadcast(lam.shape, lead) + (n,)."""
    fitted = ridge(x, y, lam, intercept=intercept).predict(x)
    u = np.linalg.svd(centered(x, y, intercept=intercept).x, full_matrices=False)[0]
    f = shrinkage_factors(x, lam, intercept=intercept)
    return np.asarray(y) - fitted, intercept / u.shape[-2] + (u**2 @ f[..., None])[..., 0]


def _below_one(leverage: Array) -> Array:
    """1 - h, which must keep at least half of its digits."""
    rest = 1 - leverage
    if rest.min() < 1e-8:
        raise ValueError(f"lam: expected more, so that leverages stay below 1, got 1 - {rest.min():.1g}")
    return rest


def noise_variance(x: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> Any:
    """The residual variance of least squares, ``RSS / (n - rank of x - intercept)``: unbiased, shape lead.

    Raises ValueError where as many coefficients as examples leave no residual: it must come from elsewhere
    then.
    """
    data = centered(x, y, intercept=intercept)
    n = data.x.shape[-2]
    spare = n - np.linalg.matrix_rank(data.x) - intercept
    if np.min(spare) <= 0:
        raise ValueError(f"x: expected more examples than coefficients, got shape {data.x.shape}")
    return n * objective(x, y, least_squares(x, y, intercept=intercept), 0.0) / spare


def ridge_information(
    x: ArrayLike,
    y: ArrayLike,
    lam: ArrayLike,
    criterion: str = "aic",
    *,
    variance: ArrayLike | None = None,
    intercept: bool = True,
) -> Any:
    """AIC or BIC of each ridge model of a grid of lambdas, with its effective degrees of freedom.

    ``criterion`` is "aic" or "bic"; ``variance`` that of the noise, None for ``noise_variance``, with its
    errors.
    """
    fit = ridge(x, y, lam, intercept=intercept)
    df = effective_degrees_of_freedom(x, lam, intercept=intercept)
    return _information(x, y, fit, df, criterion, variance, intercept)


def lasso_information(
    x: ArrayLike,
    y: ArrayLike,
    fit: LinearFit,
    criterion: str = "aic",
    *,
    variance: ArrayLike | None = None,
    intercept: bool = True,
) -> Any:
    """AIC or BIC of each lasso model of ``fit``, such as ``path.at(lam)``, with its number of non-zeros.

    From knot to knot the non-zeros stay the same and RSS falls with l1, so the minimum lies at a knot.
    ``criterion`` and ``variance`` as for ridge; ``intercept`` says whether the models have one.
    """
    return _information(x, y, fit, (fit.coef != 0).sum(-1), criterion, variance, intercept)


def _information(
    x: ArrayLike,
    y: ArrayLike,
    fit: LinearFit,
    df: Array,
    criterion: str,
    variance: ArrayLike | None,
    intercept: bool,
) -> Any:
    n = checks.array("x", x, min_ndim=2).shape[-2]
    price = {"aic": 2.0, "bic": np.log(n)}[checks.choice("criterion", criterion, ("aic", "bic"))]
    v = noise_variance(x, y, intercept=intercept) if variance is None else variance
    v = checks.positive("variance", v)
    return n * (np.log(2 * np.pi * v) + objective(x, y, fit, 0.0) / v) + price * df
