r"""The exchange of lambda: what a penalty strength of any other source is in this book, and back.

The book minimizes ``J = l + lambda Omega``: l is the mean loss over the examples (a squared error is
summed over the outputs, without 1/2), ``Omega_1 = sum |w|``, ``Omega_2 = sum w^2``. Every other source
minimizes ``c l + s mu Omega``, with scales c and s of its own. Dividing by c moves no minimum, so

    lambda = (s / c) mu.

``CONVENTIONS`` lists c and s; ``to_book`` and ``from_book`` apply them to numbers or arrays:

    to_book("sklearn_ridge", 1.0, n=442)       # Ridge(alpha=1.0) on 442 examples is lambda = 1/442
    from_book("sklearn_lasso", 0.01)           # lambda = 0.01 is Lasso(alpha=0.005)

Weight decay that is *decoupled* from the gradient is no penalty (Loshchilov and Hutter 2019): no objective
is minimized. Only under SGD without momentum is each step that of a penalty, with lambda = wd / 2, so its
exchange has to be asked for with ``as_decay=True``. Momentum mu changes the path, and on full batches the
point where training comes to rest: it is the minimum for (1 - mu) wd / 2. Under Adam there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from regularize import checks


class Scale(NamedTuple):
    """The number ``factor * n^n * k^k * eta^eta``, kept as exponents so that it can be computed and printed.

    n examples; k outputs over which a squared error is *averaged* (else 1); eta the learning rate.
    """

    factor: float = 1.0
    n: int = 0
    k: int = 0
    eta: int = 0

    def __truediv__(self, other: Scale) -> Scale:
        return Scale(self.factor / other.factor, self.n - other.n, self.k - other.k, self.eta - other.eta)

    def latex(self, symbols: Mapping[str, int]) -> str:
        r"""The scale times further symbols with their powers (1, 0 or -1): ``\frac{\alpha}{2 n}``."""
        powers = {r"\eta": self.eta, "n": self.n, "k": self.k} | dict(symbols)
        number = Fraction(self.factor)
        top = [symbol for symbol, power in powers.items() if power > 0]
        bottom = [symbol for symbol, power in powers.items() if power < 0]
        if number.numerator != 1 or not top:
            top.insert(0, str(number.numerator))
        if number.denominator != 1:
            bottom.insert(0, str(number.denominator))
        return rf"\frac{{{' '.join(top)}}}{{{' '.join(bottom)}}}" if bottom else " ".join(top)


ONE, HALF = Scale(), Scale(0.5)
# No formula contains the character |, which would end a cell of a Markdown table.
OMEGA = {"L1": r"\sum_j \lvert w_j \rvert", "L2": r"\sum_j w_j^2"}


@dataclass(frozen=True)
class Convention:
    r"""One source, which minimizes ``data l + penalty_scale * strength * Omega``.

    name, tool : the key in ``CONVENTIONS``; where a reader meets it.
    penalty : "L1" or "L2". parameter, symbol : what the source calls the strength, in Python and in LaTeX.
    data, data_formula : the scale c, and the source's own way to write the data term.
    penalty_scale : the scale s.
    coupled : False for weight decay that acts beside the gradient and is no term of an objective.
    reciprocal : the strength is 1 / parameter (scikit-learn's C).
    adaptive : the decay belongs to an adaptive optimizer, under which it stands for no lambda at all.
    """

    name: str
    tool: str
    penalty: str
    parameter: str
    symbol: str
    data: Scale
    data_formula: str
    penalty_scale: Scale = ONE
    note: str = ""
    coupled: bool = True
    reciprocal: bool = False
    adaptive: bool = False

    def to_book(self, value: ArrayLike, **setting: Any) -> Any:
        """The book's lambda for this strength. Settings and errors are those of the function ``to_book``."""
        strength: Any = self._check(self.parameter, value)
        return self._rate(**setting) * (1 / strength if self.reciprocal else strength)

    def from_book(self, lam: ArrayLike, **setting: Any) -> Any:
        """The strength for the book's lambda. Settings and errors are those of the function ``to_book``."""
        lam = self._check("lam", lam)
        return self._rate(**setting) / lam if self.reciprocal else lam / self._rate(**setting)

    def _check(self, name: str, value: ArrayLike) -> Any:
        return (checks.positive if self.reciprocal else checks.nonnegative)(name, value)

    def _rate(
        self,
        *,
        n: int | None = None,
        averaged_outputs: int | None = None,
        learning_rate: ArrayLike | None = None,
        as_decay: bool = False,
    ) -> Any:
        """The rate of exchange s / c."""
        if not (self.coupled or as_decay):
            raise ValueError(
                f"{self.name}: decoupled weight decay is no penalty, except under SGD without momentum; "
                "expected as_decay=True, for the lambda whose plain SGD step shrinks the weights alike"
            )
        scale = self.penalty_scale / self.data
        if averaged_outputs is not None and not scale.k:
            raise ValueError(f"averaged_outputs: expected None, {self.name} averages over no outputs")
        given = {
            "n": (scale.n, n, checks.integer),
            "averaged_outputs": (
                scale.k,
                1 if averaged_outputs is None else averaged_outputs,
                checks.integer,
            ),
            "learning_rate": (scale.eta, learning_rate, checks.positive),
        }
        return scale.factor * math.prod(self._power(name, *rest) for name, rest in given.items())

    def _power(self, name: str, power: int, base: Any, check: Callable[[str, Any], Any]) -> Any:
        """``base ** power``; a base that the convention does not depend on may be missing."""
        if power and base is None:
            raise ValueError(f"{name}: {self.name} depends on it, expected a number > 0, got None")
        return 1.0 if base is None else check(name, base) ** power

    def penalty_formula(self, share: str = "") -> str:
        """The penalty as the source writes it; ``share`` multiplies the strength."""
        coefficient = self.penalty_scale.latex({self.symbol: not self.reciprocal, share: bool(share)})
        return f"{'' if coefficient == '1' else coefficient} {OMEGA[self.penalty]}".strip()

    @property
    def formula(self) -> str:
        """The objective in LaTeX, or the update where the decay is decoupled."""
        if self.coupled:
            return f"{self.data_formula} + {self.penalty_formula()}"
        shrink = (self.penalty_scale / Scale(0.5, eta=-1)).latex({self.symbol: 1}).replace(" ", r"\, ")
        return rf"w \leftarrow w - {shrink}\, w - \text{{(step on the loss)}}"

    def book_formula(self, share: str = "") -> str:
        r"""The book's lambda in LaTeX, such as ``\frac{\alpha}{n}``; ``share`` multiplies the strength."""
        strength = {self.symbol: -1 if self.reciprocal else 1, share: bool(share)}
        return (self.penalty_scale / self.data).latex(strength)

    def source_formula(self, lam: str = r"\lambda") -> str:
        r"""What to write in the source for the book's lambda, in LaTeX, such as ``n \lambda``."""
        if self.reciprocal:
            return (self.penalty_scale / self.data).latex({lam: -1})
        return (self.data / self.penalty_scale).latex({lam: 1})


@dataclass(frozen=True)
class MixedConvention:
    r"""An elastic net given by one strength and ``l1_ratio`` (rho), the share of it that L1 receives."""

    name: str
    tool: str
    l1: Convention
    l2: Convention
    note: str = ""

    @property
    def formula(self) -> str:
        """The objective in LaTeX."""
        return f"{self.l1.data_formula} + {self.l1.penalty_formula(RHO)} + {self.l2.penalty_formula(REST)}"

    def book_formula(self) -> str:
        """The book's two lambdas in LaTeX."""
        return rf"{self.l1.book_formula(RHO)} \text{{ (L1)}},\; {self.l2.book_formula(REST)} \text{{ (L2)}}"

    def source_formulas(self) -> tuple[str, str]:
        """The strength and ``l1_ratio`` for the book's two lambdas, in LaTeX."""
        if self.l1.reciprocal:
            first = (self.l1.data / self.l1.penalty_scale).latex({r"\lambda_1": 1})
            second = (self.l2.data / self.l2.penalty_scale).latex({r"\lambda_2": 1})
            return rf"1 / ({first} + {second})", rf"{first} {self.l1.symbol}"
        first, second = self.l1.source_formula(r"\lambda_1"), self.l2.source_formula(r"\lambda_2")
        return rf"{first} + {second}", rf"{first} / {self.l1.symbol}"

    def to_book(self, value: ArrayLike, l1_ratio: ArrayLike, **setting: Any) -> tuple[Any, Any]:
        """The book's ``(l1, l2)``."""
        share = checks.fraction("l1_ratio", l1_ratio)
        l1, l2 = self.l1.to_book(value, **setting), self.l2.to_book(value, **setting)
        return share * l1, (1 - share) * l2

    def from_book(self, l1: ArrayLike, l2: ArrayLike, **setting: Any) -> tuple[Any, Any]:
        """The strength and ``l1_ratio`` for the book's ``(l1, l2)``, of which one may be 0."""
        first, second = checks.nonnegative("l1", l1), checks.nonnegative("l2", l2)
        checks.positive("l1 + l2", first + second)  # without any penalty, l1_ratio is not defined
        unit = 1.0  # what one unit of strength is worth in the book, as L1 and as L2
        first = first / self.l1.to_book(unit, **setting)
        second = second / self.l2.to_book(unit, **setting)
        strength = first + second
        return (1 / strength if self.l1.reciprocal else strength), first / strength


RHO, REST = r"\rho", r"(1 - \rho)"
MEAN = (ONE, r"\bar{\ell}")
# Frameworks average a squared error over the outputs, where the book adds them up.
OUTPUT_MEAN = (Scale(k=-1), r"\frac{1}{k} \bar{\ell}")
HALF_MEAN = (HALF, r"\frac{1}{2 n} \sum_i (\hat{y}_i - y_i)^2")
SUM = (Scale(n=1), r"\sum_i (\hat{y}_i - y_i)^2")
C_SUM = (Scale(n=1), r"C \sum_i \ell_i")
J0 = (ONE, "J_0")

LAMBDA, ALPHA, C = ("lambda", r"\lambda'"), ("alpha", r"\alpha"), ("C", "C")
DECAY = ("weight_decay", r"\mathit{wd}")

MEAN_J0 = "The article does not say what $J_0$ is: taken as the mean loss. If it is the sum, multiply by $n$."
TARGETS = "The targets are -1 and 1, one column per class if there are more than two."
STRINGS = "The strings `l1` and `l2` mean a strength of 0.01, but `l1l2` means no penalty at all."
BIASES = "Acts on biases too, unless they are excluded."
PLAIN = (
    "Stands for this $\\lambda$ under SGD without momentum only. With momentum $\\mu$ training takes another "
    "path, and on full batches it comes to rest where $\\lambda = (1 - \\mu)\\, \\mathit{wd} / 2$ has its "
    "minimum ($\\mathit{wd}$: `weight_decay`). Under Adam it stands for no $\\lambda$. " + BIASES
)
STEP = "The intercept is not penalized. Under the learning rate `optimal`, `alpha` also sets the step size."
CLASSIFIER = (
    STEP + " This row is for the log loss and the hinge; `squared_error` is halved, as in `SGDRegressor`."
)
LOGISTIC = (
    "The solver `liblinear` also penalizes the intercept, the others do not. Two classes share one vector "
    "of weights: a softmax over two outputs has the same optimum at $2\\lambda$ (L2), at $\\lambda$ (L1). "
    "The argument `l1_ratio` needs scikit-learn 1.8 or newer; before, it is `penalty=`."
)

_ROWS = (
    Convention("F1", "F1, article D0, section 3.1", "L1", *LAMBDA, *HALF_MEAN, HALF),
    Convention("F2", "F2, article D0, section 3.2", "L2", *LAMBDA, *HALF_MEAN, HALF),
    Convention("F3", "F3, article D1, section 3.1.1", "L1", *LAMBDA, *HALF_MEAN, Scale(0.5, n=-1)),
    Convention("F4", "F4, article D1, section 3.1.2", "L2", *LAMBDA, *HALF_MEAN, Scale(0.5, n=-1)),
    Convention("F5", "F5, article D3, section 3.1", "L1", *LAMBDA, *MEAN),
    Convention("F6", "F6, article D3, section 3.1", "L2", *LAMBDA, *MEAN, HALF),
    Convention("F7", "F7, article D4, section 3.1", "L1", *LAMBDA, *J0, note=MEAN_J0),
    Convention("F8", "F8, article D4, section 3.1", "L2", *LAMBDA, *J0, note=MEAN_J0),
    Convention(
        *(
            "tf_l2_loss",
            "TensorFlow factor * tf.nn.l2_loss(W)",
            "L2",
            "factor",
            r"\mathit{factor}",
            *OUTPUT_MEAN,
            HALF,
        ),
        note="`tf.nn.l2_loss` is half the sum of squares; `tf.nn.l1_loss` does not exist.",
    ),
    Convention(
        *("keras_l1", "Keras L1(l1), L1L2(l1=...)", "L1", "l1", "l_1", *OUTPUT_MEAN),
        note=STRINGS,
    ),
    Convention(
        *("keras_l2", "Keras L2(l2), L1L2(l2=...)", "L2", "l2", "l_2", *OUTPUT_MEAN),
        note=STRINGS,
    ),
    Convention(
        *(
            "keras_weight_decay",
            "Keras weight_decay, under plain SGD",
            "L2",
            *DECAY,
            *OUTPUT_MEAN,
            HALF,
            PLAIN,
        ),
        coupled=False,
    ),
    Convention("torch_sgd", "PyTorch SGD(weight_decay)", "L2", *DECAY, *OUTPUT_MEAN, HALF, BIASES),
    Convention("torch_adam", "PyTorch Adam(weight_decay)", "L2", *DECAY, *OUTPUT_MEAN, HALF, BIASES),
    Convention(
        *("torch_adamw", "PyTorch AdamW(weight_decay)", "L2", *DECAY, *MEAN, HALF, BIASES),
        coupled=False,
        adaptive=True,
    ),
    Convention(
        *("decay_per_step", "Decay without the learning rate", "L2", "decay", r"\delta", *MEAN),
        penalty_scale=Scale(0.5, eta=-1),
        note="As Loshchilov and Hutter (2019) first write it. Under SGD without momentum only.",
        coupled=False,
    ),
    Convention("sklearn_ridge", "scikit-learn Ridge", "L2", *ALPHA, *SUM),
    Convention("sklearn_ridge_classifier", "scikit-learn RidgeClassifier", "L2", *ALPHA, *SUM, note=TARGETS),
    Convention("sklearn_lasso", "scikit-learn Lasso", "L1", *ALPHA, *HALF_MEAN),
    Convention("sklearn_sgd_regressor_l1", "SGDRegressor, L1", "L1", *ALPHA, *HALF_MEAN, note=STEP),
    Convention("sklearn_sgd_regressor_l2", "SGDRegressor, L2", "L2", *ALPHA, *HALF_MEAN, HALF, STEP),
    Convention("sklearn_sgd_classifier_l1", "SGDClassifier, L1", "L1", *ALPHA, *MEAN, note=CLASSIFIER),
    Convention("sklearn_sgd_classifier_l2", "SGDClassifier, L2", "L2", *ALPHA, *MEAN, HALF, CLASSIFIER),
    Convention(
        *("sklearn_logistic_l1", "LogisticRegression, `l1_ratio=1`", "L1", *C, *C_SUM),
        note=LOGISTIC,
        reciprocal=True,
    ),
    Convention(
        *("sklearn_logistic_l2", "LogisticRegression, `l1_ratio=0`", "L2", *C, *C_SUM, HALF),
        note=LOGISTIC,
        reciprocal=True,
    ),
)
CONVENTIONS: dict[str, Convention] = {row.name: row for row in _ROWS}

_RIDGE_PART = Convention("sklearn_elastic_net_l2", "ElasticNet, l1_ratio=0", "L2", *ALPHA, *HALF_MEAN, HALF)
_MIXED_ROWS = (
    MixedConvention(
        "sklearn_elastic_net", "scikit-learn ElasticNet", CONVENTIONS["sklearn_lasso"], _RIDGE_PART
    ),
    *(
        MixedConvention(
            f"sklearn_{key}", tool, CONVENTIONS[f"sklearn_{key}_l1"], CONVENTIONS[f"sklearn_{key}_l2"], note
        )
        for key, tool, note in (
            ("sgd_regressor", "SGDRegressor, elastic net", STEP),
            ("sgd_classifier", "SGDClassifier, elastic net", CLASSIFIER),
            ("logistic", "LogisticRegression, elastic net", LOGISTIC),
        )
    ),
)
MIXED_CONVENTIONS: dict[str, MixedConvention] = {row.name: row for row in _MIXED_ROWS}


def to_book(name: str, value: ArrayLike, **setting: Any) -> Any:
    """The book's lambda for a strength of another source.

    Parameters
    ----------
    name : a key of ``CONVENTIONS``.
    value : the strength there, a number >= 0 (C: > 0) or an array of them.
    n : the number of examples; needed where the rate depends on it.
    averaged_outputs : k, for a framework's squared error that is averaged over k outputs. Leave it out
        for a cross-entropy and for a single output.
    learning_rate : a number or an array; needed where the decay does not contain it.
    as_decay : True to exchange a decoupled weight decay as if it were taken under SGD without momentum.

    Raises
    ------
    ValueError : an unknown name (the nearest is suggested), a strength that is negative, NaN or infinite,
        a missing setting, a decoupled decay without ``as_decay``.
    TypeError : n or averaged_outputs is no integer.
    """
    return CONVENTIONS[checks.choice("name", name, CONVENTIONS)].to_book(value, **setting)


def from_book(name: str, lam: ArrayLike, **setting: Any) -> Any:
    """The strength of another source for the book's lambda: the inverse of ``to_book``."""
    return CONVENTIONS[checks.choice("name", name, CONVENTIONS)].from_book(lam, **setting)


def elastic_to_book(name: str, value: ArrayLike, l1_ratio: ArrayLike, **setting: Any) -> tuple[Any, Any]:
    """The book's ``(l1, l2)`` for a strength and ``l1_ratio``; name is a key of ``MIXED_CONVENTIONS``."""
    mixed = MIXED_CONVENTIONS[checks.choice("name", name, MIXED_CONVENTIONS)]
    return mixed.to_book(value, l1_ratio, **setting)


def elastic_from_book(name: str, l1: ArrayLike, l2: ArrayLike, **setting: Any) -> tuple[Any, Any]:
    """The strength and ``l1_ratio`` for the book's ``(l1, l2)``: the inverse of ``elastic_to_book``."""
    mixed = MIXED_CONVENTIONS[checks.choice("name", name, MIXED_CONVENTIONS)]
    return mixed.from_book(l1, l2, **setting)


class Row(NamedTuple):
    """One line of the table. ``formula`` (the source's own) and ``book`` (the book's lambda) are LaTeX."""

    name: str
    tool: str
    formula: str
    book: str
    note: str
    coupled: bool


def table() -> list[Row]:
    """Every convention: the articles, the tools, the elastic nets."""
    single = [Row(c.name, c.tool, c.formula, c.book_formula(), c.note, c.coupled) for c in _ROWS]
    return single + [Row(c.name, c.tool, c.formula, c.book_formula(), c.note, True) for c in _MIXED_ROWS]


GROUPS = ("frameworks", "scikit-learn", "articles")


def group_of(name: str) -> str:
    """The table that a convention stands in, one of ``GROUPS``."""
    return "scikit-learn" if name.startswith("sklearn_") else "articles" if name[0] == "F" else "frameworks"


def markdown_table(group: str, lam: float = 0.01, *, n: int = 100, learning_rate: float = 0.1) -> str:
    """The table of one of ``GROUPS`` in Markdown, with the notes as a list below it.

    The second column is what to write in the tool for the book's lambda, as a formula and as the number for
    ``lam`` (both lambdas of an elastic net) with k = 1. In the formulas, l-bar is the mean loss of the book,
    k the number of outputs over which a squared error is averaged (1 for a cross-entropy), rho ``l1_ratio``
    and eta the learning rate. Raises ValueError for an unknown group.
    """
    checks.choice("group", group, GROUPS)
    lines = ["| tool | for the λ of this book write | it minimizes |", "|---|---|---|"]
    notes: dict[str, dict[str, bool]] = {}
    for row in table():
        if group_of(row.name) == group:
            value = _to_write(row.name, lam, n=n, learning_rate=learning_rate)
            nothing = "" if row.coupled else "nothing; its step is "
            lines.append(f"| {row.tool} | {value} | {nothing}${row.formula}$ |")
            if row.note:  # a dict is a set that keeps its order
                notes.setdefault(row.note, {})[row.tool.partition(",")[0]] = True
    return "\n".join([*lines, "", *(f"* {', '.join(tools)}: {note}" for note, tools in notes.items())])


def _to_write(name: str, lam: float, **setting: Any) -> str:
    if name in MIXED_CONVENTIONS:
        mixed = MIXED_CONVENTIONS[name]
        numbers, formulas = elastic_from_book(name, lam, lam, **setting), mixed.source_formulas()
        parameters = mixed.l1.parameter, "l1_ratio"
        each = zip(parameters, formulas, numbers, strict=True)
        return "<br>".join(
            f"`{parameter}` $= {formula}$ = {number:.4g}" for parameter, formula, number in each
        )
    convention = CONVENTIONS[name]
    if convention.adaptive:
        return "none (a decay, no penalty)"
    number = convention.from_book(lam, as_decay=True, **setting)
    parameter = f"${convention.symbol}$" if group_of(name) == "articles" else f"`{convention.parameter}`"
    return f"{parameter} $= {convention.source_formula()}$ = {number:.4g}"
