"""Folds part the examples, scores are those of a plain loop, and choices follow their rules."""

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from planting import Bug, check_noticed
from sklearn.linear_model import Lasso, LassoCV, Ridge, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit, cross_val_score
from test_checks import refused

from regularize import validation
from regularize.exchange import from_book
from regularize.linear import ridge
from regularize.losses import squared_error
from regularize.network import mlp
from regularize.optimizers import SGD
from regularize.paths import lasso_path
from regularize.penalties import L2
from regularize.statistics import interval
from regularize.streams import Streams
from regularize.training import evaluate, fit
from regularize.validation import (
    Fold,
    best,
    cross_validate,
    k_folds,
    nested,
    one_standard_error,
    prediction_error,
    time_folds,
)


def problem(n=60, p=6, lead=(), seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*lead, n, p))
    return x, x[..., 0] - x[..., 1] + 2 + rng.standard_normal((*lead, n))


# -- folds ---------------------------------------------------------------------------------------------------


def law_every_example_is_validated_exactly_once(n=11, folds=3, seed=0, repeats=1):
    """And trained on in all other folds; the folds' sizes are those of scikit-learn's KFold."""
    found = k_folds(n, folds, seed, repeats=repeats)
    assert len(found) == folds * repeats
    for r in range(repeats):
        turn = found[r * folds : (r + 1) * folds]
        assert sorted(np.concatenate([fold.validation for fold in turn])) == list(range(n))
        assert [len(fold.validation) for fold in turn] == [len(v) for _, v in KFold(folds).split(range(n))]
    for fold in found:
        assert sorted([*fold.train, *fold.validation]) == list(range(n))
        assert (np.diff(fold.train) > 0).all()
        assert (np.diff(fold.validation) > 0).all()


@given(n=st.integers(2, 40), folds=st.integers(2, 40), seed=st.integers(0, 9), repeats=st.integers(1, 3))
@example(n=7, folds=7, seed=0, repeats=2)
def test_every_example_is_validated_exactly_once(n, folds, seed, repeats):
    law_every_example_is_validated_exactly_once(n, min(n, folds), seed, repeats)


def law_strata_are_dealt_evenly(labels=(0, 1, 0, 2, 0, 1, 0, 2, 0, 0, 2) * 4, folds=3, seed=0):
    """Counts of each label differ by at most one from fold to fold, and so do the sizes; and those of the
    labels are scikit-learn's."""
    labels = np.array(labels)
    found = k_folds(len(labels), folds, seed, stratify=labels)
    assert sorted(np.concatenate([fold.validation for fold in found])) == list(range(len(labels)))
    counts = np.array([[(labels[f.validation] == c).sum() for c in np.unique(labels)] for f in found])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(1)) <= 1


@given(labels=st.lists(st.integers(-2, 3), min_size=2, max_size=40), folds=st.integers(2, 6))
def test_strata_are_dealt_evenly(labels, folds):
    law_strata_are_dealt_evenly(labels, min(folds, len(labels)))


def test_strata_are_as_even_as_scikit_learns():
    labels = np.random.default_rng(0).integers(4, size=63)
    theirs = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    ours = k_folds(63, 5, stratify=labels)

    def table(folds):
        return sorted(tuple(np.bincount(labels[v], minlength=4)) for _, v in folds)

    sizes = np.array([table(theirs), table(ours)])
    np.testing.assert_array_equal(np.sort(sizes[0], axis=0), np.sort(sizes[1], axis=0))


def law_folds_are_random_and_belong_to_their_seed():
    def dealt(seed, **more):
        return [tuple(fold.validation) for fold in k_folds(40, 4, seed, **more)]

    assert dealt(3) == dealt(3)
    assert dealt(3) != dealt(4)
    assert dealt(0) == dealt(0, repeats=1) == [tuple(fold.validation) for fold in k_folds(40, 4)]
    assert len(set(dealt(3, repeats=3))) == 12  # no repeat is another one's copy
    assert dealt(3, repeats=3)[:4] == dealt(3)
    labels = np.arange(40) % 2
    assert dealt(3, stratify=labels) == dealt(3, stratify=labels)
    assert dealt(3, stratify=labels) != dealt(4, stratify=labels)


def test_folds_are_random_and_belong_to_their_seed():
    law_folds_are_random_and_belong_to_their_seed()


def test_examples_are_dealt_in_the_order_of_the_shuffling():
    """Equal labels, or none, must not reorder it: the outcome would depend on how a machine sorts."""
    order = Streams(5, "folds").permutation(300)
    for stratify in (None, np.full(300, 7)):
        for k, fold in enumerate(k_folds(300, 7, 5, stratify=stratify)):
            np.testing.assert_array_equal(fold.validation, np.sort(order[k::7]))


def law_neighbors_meet_as_often_as_chance_has_it():
    """Two examples share a fold with probability (n / k - 1) / (n - 1), wherever they stand."""
    together = np.zeros((6, 6))
    for seed in range(600):
        for fold in k_folds(6, 3, seed):
            together[np.ix_(fold.validation, fold.validation)] += 1
    share = together[np.triu_indices(6, 1)] / 600
    assert np.abs(share - 1 / 5).max() < 5 * np.sqrt(0.2 * 0.8 / 600)


def test_neighbors_meet_as_often_as_chance_has_it():
    law_neighbors_meet_as_often_as_chance_has_it()


def law_time_folds_are_those_of_scikit_learn(n=23, folds=3, gap=2):
    for ours, theirs in zip(time_folds(n, folds, gap=gap), TimeSeriesSplit(folds, gap=gap).split(range(n)),
                            strict=True):  # fmt: skip
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
        assert ours.train.max() + gap < ours.validation.min()


@given(n=st.integers(1, 30), folds=st.integers(2, 6), gap=st.integers(0, 5))
@example(n=3, folds=2, gap=0)
@example(n=4, folds=2, gap=1)
@example(n=4, folds=2, gap=2)
def test_time_folds_are_those_of_scikit_learn(n, folds, gap):
    try:
        list(TimeSeriesSplit(folds, gap=gap).split(range(n)))
    except ValueError:
        with refused("n", ValueError):
            time_folds(n, folds, gap=gap)
    else:
        law_time_folds_are_those_of_scikit_learn(n, folds, gap)


def test_one_block_of_time_can_be_validated_and_there_is_no_gap_unless_asked_for():
    (fold,) = time_folds(7, 1)
    assert fold.train.tolist() == [0, 1, 2, 3]
    assert fold.validation.tolist() == [4, 5, 6]


# -- scores --------------------------------------------------------------------------------------------------

LAM = np.geomspace(1e-3, 30, 25)


def ridge_score(x, y, lam=LAM):
    def score(train, valid):
        found = ridge(x[..., train, :], y[..., train], lam)
        return prediction_error(found, x[..., valid, :], y[..., valid])

    return score


def lasso_score(x, y, l1):
    def score(train, valid):
        return prediction_error(lasso_path(x[train], y[train]).at(l1), x[valid], y[valid])

    return score


def law_scores_are_those_of_cross_val_score():
    """On folds of unequal size, too: there alpha = n lam is another number in each fold."""
    x, y = problem(n=61)
    folds = k_folds(61, 4)
    scores = cross_validate(ridge_score(x, y), folds)
    assert scores.shape == (4, 25)
    for column, lam in enumerate(LAM):
        theirs = [
            -cross_val_score(
                Ridge(from_book("sklearn_ridge", lam, n=len(fold.train))), x, y, cv=[fold],
                scoring="neg_mean_squared_error",
            )[0]
            for fold in folds
        ]  # fmt: skip
        np.testing.assert_allclose(scores[:, column], theirs, rtol=1e-10)


def test_scores_are_those_of_cross_val_score():
    law_scores_are_those_of_cross_val_score()


def test_scores_of_the_lasso_are_those_of_cross_val_score():
    x, y = problem(n=61)
    folds, grid = k_folds(61, 4), np.geomspace(0.01, 2, 8)
    scores = cross_validate(lasso_score(x, y, grid), folds)
    for column, l1 in enumerate(grid):
        model = Lasso(from_book("sklearn_lasso", l1), tol=1e-14, max_iter=10**6)
        theirs = -cross_val_score(model, x, y, cv=folds, scoring="neg_mean_squared_error")
        np.testing.assert_allclose(scores[:, column], theirs, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_that_of_ridge_cv_and_lasso_cv(seed):
    """Folds of one size, so that one alpha is one lambda."""
    x, y = problem(n=60, seed=seed)
    folds = k_folds(60, 5, seed)
    chosen = LAM[best(cross_validate(ridge_score(x, y), folds))]
    theirs = RidgeCV(from_book("sklearn_ridge", LAM, n=48), cv=folds, scoring="neg_mean_squared_error")
    assert theirs.fit(x, y).alpha_ == pytest.approx(48 * chosen, rel=1e-14)
    grid = np.geomspace(0.01, 2, 20)
    chosen = grid[best(cross_validate(lasso_score(x, y, grid), folds))]
    theirs = LassoCV(alphas=from_book("sklearn_lasso", grid), cv=folds, tol=1e-10, max_iter=10**6)
    assert theirs.fit(x, y).alpha_ == pytest.approx(chosen / 2, rel=1e-14)


def test_a_seed_among_many_has_the_scores_and_the_choices_it_has_alone():
    x, y = problem(lead=(5,))
    folds, lam = k_folds(60, 5), LAM[:, None]
    together = cross_validate(ridge_score(x, y, lam), folds)
    assert together.shape == (5, 25, 5)
    for s in range(5):
        alone = cross_validate(ridge_score(x[s], y[s]), folds)
        np.testing.assert_allclose(together[..., s], alone, rtol=1e-12)
        for choose in (best, partial(one_standard_error, strength=LAM)):
            assert choose(together)[s] == choose(alone)
    assert len(set(best(together))) > 1
    found = ridge(x, y, lam)[best(together), np.arange(5)]
    assert found.coef.shape == (5, 6)


def test_networks_are_cross_validated_as_ensembles():
    x, y = problem(n=30, p=4)
    lam, seeds = np.array([0.0, 0.1, 1.0]), [3, 8]

    def score(train, valid):
        net = mlp(4, 5, 1, seeds=np.tile(seeds, (3, 1)))
        fit(net, x[train], y[train, None], SGD(0.05), epochs=3, batch_size=8, penalty=L2(lam[:, None]),
            loss=squared_error)  # fmt: skip
        return evaluate(net, x[valid], y[valid, None], squared_error).loss

    scores = cross_validate(score, k_folds(30, 3))
    assert scores.shape == (3, 3, 2)
    assert cross_validate(lambda train, valid: np.ones(2, np.float32), k_folds(4, 2)).dtype == np.float64
    assert best(scores).shape == one_standard_error(scores, lam).shape == (2,)


def test_leakage_shows():
    """Targets that are pure noise: features selected on all examples seem to predict them."""
    errors = {"honest": [], "leaking": []}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((40, 500)), rng.standard_normal(40)
        everyone = np.argsort(-np.abs(x.T @ y))[:5]

        def score(train, valid, leaking, x=x, y=y, everyone=everyone):
            columns = everyone if leaking else np.argsort(-np.abs(x[train].T @ y[train]))[:5]
            found = ridge(x[np.ix_(train, columns)], y[train], 0.1)
            return prediction_error(found, x[np.ix_(valid, columns)], y[valid]) / y.var()

        folds = k_folds(40, 5)
        errors["honest"].append(cross_validate(partial(score, leaking=False), folds).mean())
        errors["leaking"].append(cross_validate(partial(score, leaking=True), folds).mean())
    assert interval(errors["leaking"]).high < 0.8
    assert interval(errors["honest"]).low > 1


# -- choices -------------------------------------------------------------------------------------------------


def law_the_best_has_the_lowest_mean():
    scores = np.array([[3.0, 0.0, 2.0], [3.0, 5.0, 2.0], [3.0, 5.0, 2.0]])
    assert best(scores) == 2
    assert best(scores[:, ::-1]) == 0
    assert best(np.ones((2, 3))) == 0  # the first of equal ones
    assert best(scores[:1]) == 1
    members = np.stack([scores, scores[:, ::-1]], axis=-1)
    assert best(members).tolist() == [2, 0]
    assert best([[1, 0]]) == 1


def law_what_diverged_is_never_chosen(bad=np.nan):
    scores = np.array([[bad, 2.0, 3.0], [0.0, 2.0, 3.0]])
    assert best(scores) == 1
    assert one_standard_error(scores, [9.0, 1.0, 1.0]) == 1
    both = np.stack([scores, scores[:, ::-1]], axis=-1)
    assert best(both).tolist() == [1, 1]
    assert one_standard_error(both, [9.0, 1.0, 9.0]).tolist() == [1, 1]
    for choose in (best, lambda s: one_standard_error(s, [1.0])):
        with refused("scores", ValueError):
            choose(scores[:, :1])
    with refused("scores", ValueError):
        best(np.stack([scores, np.full((2, 3), bad)], axis=-1))  # the second member has nothing left


def law_one_standard_error_is_its_rule():
    """The best has mean 2 and standard error sd([1, 2, 3]) / sqrt(3) = 0.577: up to 2.577 all are as good."""
    spread = np.array([-1.0, 0.0, 1.0])[:, None]
    means = np.array([2.5, 2.0, 2.57, 2.58, 2.57, 2.5])
    scores = np.where(np.arange(6) == 1, means + spread, means + 0 * spread)
    strength = np.array([0.1, 0.2, 0.3, 0.4, 0.3, 0.15])
    assert one_standard_error(scores, strength) == 2  # the first of equally strong ones
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 3, 5, 1, 4]):  # strengths may stand in any order
        chosen = one_standard_error(scores[:, order], strength[order])
        assert strength[order][chosen] == 0.3
    assert one_standard_error(scores, -strength) == 0
    exact = np.array([[0.0, 1.5], [2.0, 2.5]])  # the standard error of the best is sd([0, 2]) / sqrt(2) = 1
    assert one_standard_error(exact, [1, 2]) == 1
    assert one_standard_error(exact + np.array([0, 1e-9]), [1, 2]) == 0
    both = np.stack([scores, scores + 5, scores[:, ::-1]], axis=-1)
    assert one_standard_error(both, strength).tolist() == [2, 2, 3]


@pytest.mark.parametrize(
    "law", [law_the_best_has_the_lowest_mean, law_what_diverged_is_never_chosen,
            partial(law_what_diverged_is_never_chosen, np.inf), law_one_standard_error_is_its_rule],
)  # fmt: skip
def test_choices_follow_their_rules(law):
    law()


@given(
    scores=st.lists(st.lists(st.floats(0, 9), min_size=4, max_size=4), min_size=2, max_size=6),
    strength=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
)
def test_the_rule_never_chooses_less_than_the_best_nor_worse_than_its_limit(scores, strength):
    scores = np.array(scores)
    means, lowest, chosen = scores.mean(0), best(scores), one_standard_error(scores, strength)
    error = scores[:, lowest].std(ddof=1) / np.sqrt(len(scores))
    assert strength[chosen] >= strength[lowest]
    assert means[chosen] <= means[lowest] + error + 1e-12
    assert all(strength[chosen] >= s for s, m in zip(strength, means, strict=True) if m <= means[lowest])


# -- nested --------------------------------------------------------------------------------------------------


def law_nested_scores_belong_to_choices_that_never_saw_them():
    x, y = problem(n=40)
    seen = []

    def score(train, valid):
        seen.append((set(train), set(valid)))
        return ridge_score(x, y)(train, valid)

    outer = k_folds(40, 4, seed=1)
    result = nested(score, outer, lambda train: k_folds(len(train), 3, seed=2))
    assert result.scores.shape == result.chosen.shape == (4,)
    for f, (train, valid) in enumerate(outer):
        within = seen[4 * f : 4 * f + 4]  # three inner folds, and the outer one
        for inner_train, inner_valid in within[:3]:
            assert inner_train | inner_valid == set(train)
        assert within[3] == (set(train), set(valid))
        inner = [Fold(train[a], train[b]) for a, b in k_folds(30, 3, seed=2)]
        chosen = best(cross_validate(ridge_score(x, y), inner))
        assert result.chosen[f] == chosen
        assert result.scores[f] == ridge_score(x, y)(train, valid)[chosen]


def test_nested_scores_belong_to_choices_that_never_saw_them():
    law_nested_scores_belong_to_choices_that_never_saw_them()


def test_nested_choices_are_made_member_by_member():
    x, y = problem(n=40, lead=(3,))
    inner = lambda train: k_folds(len(train), 3)  # noqa: E731
    choose = partial(one_standard_error, strength=LAM)
    together = nested(ridge_score(x, y, LAM[:, None]), k_folds(40, 4), inner, choose)
    for s in range(3):
        alone = nested(ridge_score(x[s], y[s]), k_folds(40, 4), inner, choose)
        np.testing.assert_array_equal(together.chosen[:, s], alone.chosen)
        np.testing.assert_allclose(together.scores[:, s], alone.scores, rtol=1e-12)


def test_the_winners_score_flatters_and_the_nested_one_does_not():
    """Fifty settings that guess: the one chosen seems better than chance, and is not (Varma, Simon 2006)."""
    flattered, honest = [], []
    for seed in range(60):
        noise = np.random.default_rng(seed).standard_normal((40, 50)) ** 2

        def score(train, valid, noise=noise):
            return noise[valid].mean(0)

        scores = cross_validate(score, k_folds(40, 5))
        flattered.append(scores.mean(0).min())
        honest.append(nested(score, k_folds(40, 5), lambda train: k_folds(len(train), 5)).scores.mean())
    assert np.mean(flattered) < 0.7
    assert np.mean(honest) == pytest.approx(1, abs=4 * np.std(honest) / np.sqrt(60))


# -- bad input -----------------------------------------------------------------------------------------------


def score_of(shape):
    return lambda train, valid: np.ones(shape)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("n", lambda: k_folds(0, 2)),
        ("n", lambda: k_folds(4.0, 2)),
        ("folds", lambda: k_folds(4, 1)),
        ("folds", lambda: k_folds(4, 5)),
        ("seed", lambda: k_folds(4, 2, -1)),
        ("seed", lambda: k_folds(4, 2, [0, 1])),
        ("repeats", lambda: k_folds(4, 2, repeats=0)),
        ("stratify", lambda: k_folds(4, 2, stratify=[0, 1, 0])),
        ("stratify", lambda: k_folds(4, 2, stratify=np.eye(4))),
        ("stratify", lambda: k_folds(4, 2, stratify=["a", "b", "a", "b"])),
        ("n", lambda: time_folds(0, 2)),
        ("folds", lambda: time_folds(9, 0)),
        ("gap", lambda: time_folds(9, 2, gap=-1)),
        ("score", lambda: cross_validate(3, k_folds(4, 2))),
        ("score", lambda: cross_validate(score_of(3), [])),
        ("score", lambda: cross_validate(lambda train, valid: np.ones(len(valid)), k_folds(5, 2))),
        ("y", lambda: prediction_error(ridge(*problem(), 0.1), problem()[0], "y")),
        ("x", lambda: prediction_error(ridge(*problem(), 0.1), np.ones((4, 5)), np.ones(4))),
        ("scores", lambda: best([1.0, 2.0])),
        ("scores", lambda: best(np.ones((0, 2)))),
        ("scores", lambda: best([["a", "b"]])),
        ("scores", lambda: best([[True, False]])),
        ("scores", lambda: one_standard_error([1.0, 2.0], [1, 2])),
        ("scores", lambda: one_standard_error([[1.0, 2.0]], [1, 2])),
        ("strength", lambda: one_standard_error(np.ones((3, 2)), [1, 2, 3])),
        ("strength", lambda: one_standard_error(np.ones((3, 2)), np.ones((2, 2)))),
        ("strength", lambda: one_standard_error(np.ones((3, 2)), [1, np.nan])),
    ],
)
def test_bad_input_is_refused(name, call):
    with refused(name):
        call()


def test_callers_arrays_stay_as_they_are():
    labels, scores, strength = np.arange(6) % 2, np.random.default_rng(0).random((3, 4)), np.arange(4.0)
    before = [a.copy() for a in (labels, scores, strength)]
    k_folds(6, 2, stratify=labels)
    best(scores)
    one_standard_error(scores, strength)
    for a, b in zip((labels, scores, strength), before, strict=True):
        np.testing.assert_array_equal(a, b)


# -- planted bugs --------------------------------------------------------------------------------------------


def here(name, right, wrong, law):
    """The laws call functions by their names in this module."""
    return Bug(sys.modules[__name__], name, right, wrong, law)


deal = partial(here, "k_folds")
BUGS = {
    "the rest of n / k is never validated": deal(
        "order[k::folds]", "order[k * (n // folds) : (k + 1) * (n // folds)]",
        law_every_example_is_validated_exactly_once,
    ),
    "validation examples are trained on": Bug(
        validation, "_fold", "np.delete(np.arange(n), validation)", "np.arange(n)",
        law_every_example_is_validated_exactly_once,
    ),
    "examples are not shuffled": deal(
        "stream.permutation(n)", "np.arange(n)", law_folds_are_random_and_belong_to_their_seed
    ),
    "every repeat is the same": deal(
        "stream.permutation(n)", 'Streams(seed, "folds").permutation(n)',
        law_folds_are_random_and_belong_to_their_seed,
    ),
    "labels are taken in the order before the shuffling": deal(
        "labels[order]", "labels", law_strata_are_dealt_evenly
    ),
    "labels are ignored": deal("labels[order]", "0 * labels", law_strata_are_dealt_evenly),
    "the future is trained on": here(
        "time_folds", "np.arange(start - gap)", "np.arange(start + gap)",
        law_time_folds_are_those_of_scikit_learn,
    ),
    "the gap is cut from the validation block": here(
        "time_folds", "np.arange(start - gap), np.arange(start,", "np.arange(start), np.arange(start + gap,",
        law_time_folds_are_those_of_scikit_learn,
    ),
    "the first blocks are validated, not the last": here(
        "time_folds", "range(n - folds * size, n, size)",
        "range(size, size * (folds + 1), size)",
        law_time_folds_are_those_of_scikit_learn,
    ),
    "scores are those of the training part": here(
        "cross_validate", "score(*fold)", "score(fold.train, fold.train)",
        law_scores_are_those_of_cross_val_score,
    ),
    "the highest score wins": here("best", "argmin", "argmax", law_the_best_has_the_lowest_mean),
    "the lowest single score wins": here(
        "best", "_means(_check_scores(scores))", "_check_scores(scores).min(0)",
        law_the_best_has_the_lowest_mean,
    ),
    "NaN is skipped in the mean": Bug(
        validation, "_means", "np.where(good, np.where(good, scores, 0).mean(0), np.inf)",
        "np.nanmean(scores, 0)", law_what_diverged_is_never_chosen,
    ),
    "NaN counts as the smallest": Bug(
        validation, "_means", "np.inf)", "np.nan)", law_what_diverged_is_never_chosen
    ),
    "the standard deviation in place of the standard error": here(
        "one_standard_error", " / np.sqrt(len(scores))", "", law_one_standard_error_is_its_rule
    ),
    "the standard deviation divides by the number of folds": here(
        "one_standard_error", "ddof=1", "ddof=0", law_one_standard_error_is_its_rule
    ),
    "the standard error is each setting's own": here(
        "one_standard_error", "np.take_along_axis(error, lowest, 0)", "error",
        law_one_standard_error_is_its_rule,
    ),
    "the weakest within one standard error": here(
        "one_standard_error", "order, -np.inf).argmax(0)", "order, np.inf).argmin(0)",
        law_one_standard_error_is_its_rule,
    ),
    "the last setting is taken for the strongest": here(
        "one_standard_error", "means <= limit, order,", "means <= limit, np.arange(len(order)),",
        law_one_standard_error_is_its_rule,
    ),
    "the choice is made on the outer validation part": here(
        "nested", "choose(cross_validate(score, folds))", "score(train, validation).argmin(0)",
        law_nested_scores_belong_to_choices_that_never_saw_them,
    ),
    "inner folds count from the start of all examples": here(
        "nested", "Fold(train[fold.train], train[fold.validation])", "Fold(fold.train, fold.validation)",
        law_nested_scores_belong_to_choices_that_never_saw_them,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
