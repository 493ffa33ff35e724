"""What is spent is what is said, the best that was seen is found, and who diverges never wins."""

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Bug, broken, check_noticed
from scipy import stats
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import HalvingGridSearchCV, ParameterGrid
from test_checks import refused

from regularize import search as module
from regularize.linear import objective, ridge
from regularize.network import mlp
from regularize.optimizers import SGD
from regularize.penalties import L2
from regularize.search import Search, draw, grid, log_uniform, one_of, search, successive_halving, uniform
from regularize.training import evaluate, fit


class Counter:
    """An objective whose losses are the settings ``loss``, and which notes what it was asked to do."""

    def __init__(self, noise=lambda loss, budget: loss):
        self.asked, self.noise = [], noise

    def __call__(self, settings, budget):
        self.asked.append((budget, settings["loss"].tolist()))
        return self.noise(settings["loss"], budget)


# -- settings ------------------------------------------------------------------------------------------------


def law_a_grid_has_every_combination_once():
    settings = grid(lam=[0.1, 0.2, 0.3], width=[8, 16], rate=[0.5])
    rows = list(zip(*settings.values(), strict=True))
    assert rows == [(lam, width, 0.5) for lam in (0.1, 0.2, 0.3) for width in (8, 16)]
    theirs = ParameterGrid({"lam": [0.1, 0.2, 0.3], "width": [8, 16], "rate": [0.5]})
    assert set(rows) == {(t["lam"], t["width"], t["rate"]) for t in theirs}
    assert settings["width"].dtype.kind == "i"
    assert grid(activation=["relu", "tanh"])["activation"].tolist() == ["relu", "tanh"]


def space():
    return {"lam": log_uniform(1e-4, 10), "rate": uniform(-1, 3), "width": one_of([8, 16, 64])}


def law_draws_have_their_distributions():
    """Kolmogorov and Smirnov's test, and counts; 3000 trials."""
    settings = draw(3000, 7, **space())
    assert list(settings) == ["lam", "rate", "width"]
    log = (np.log10(settings["lam"]) + 4) / 5
    even = (settings["rate"] + 1) / 4
    for u in (log, even):
        assert 0 <= u.min() < 0.01
        assert 0.99 < u.max() <= 1
        assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(log, even)[0, 1]) < 4 / np.sqrt(3000)
    values, counts = np.unique(settings["width"], return_counts=True)
    assert values.tolist() == [8, 16, 64]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert all(column.dtype == np.float64 for column in (settings["lam"], settings["rate"]))


def law_draws_belong_to_their_seed_and_longer_searches_begin_with_shorter_ones():
    long, short, other, first = (
        draw(30, 3, **space()),
        draw(8, 3, **space()),
        draw(8, 4, **space()),
        draw(8, **space()),
    )
    for name in long:
        np.testing.assert_array_equal(long[name][:8], short[name])
        np.testing.assert_array_equal(first[name], draw(8, 0, **space())[name])
    assert not np.isin(other["lam"], short["lam"]).any()


def test_a_range_of_one_value_is_that_value():
    settings = draw(5, a=uniform(2, 2), b=log_uniform(3, 3), c=one_of(["x"]))
    assert settings["a"].tolist() == [2] * 5
    np.testing.assert_allclose(settings["b"], 3, rtol=1e-15)
    assert settings["c"].tolist() == ["x"] * 5


# -- grid and random search ----------------------------------------------------------------------------------


def law_every_trial_gets_the_same_budget_and_the_best_is_found():
    score = Counter()
    found = search(score, {"loss": [0.5, 0.2, 0.9, 0.2], "name": ["a", "b", "c", "d"]}, 7)
    assert score.asked == [(7, [0.5, 0.2, 0.9, 0.2])]
    assert found.spent == 28
    assert found.best == 1  # the first of equal ones
    assert found.best_settings == {"loss": 0.2, "name": "b"}
    assert found.scores.tolist() == [0.5, 0.2, 0.9, 0.2]
    (rung,) = found.rungs
    assert (rung.budget, rung.trials.tolist(), rung.scores.tolist()) == (
        7,
        [0, 1, 2, 3],
        [0.5, 0.2, 0.9, 0.2],
    )


def law_what_diverged_is_never_best():
    for bad in (np.nan, np.inf, -np.inf):
        found = search(Counter(), {"loss": [bad, 3.0, bad, 2.0]}, 1)
        assert found.best == 3
        assert found.scores.tolist() == [np.inf, 3, np.inf, 2]
        halved = successive_halving(Counter(), {"loss": [bad, 3.0, bad, 2.0, bad, bad]}, 1, eta=2)
        assert halved.best == 3
        assert [rung.trials.tolist() for rung in halved.rungs] == [[0, 1, 2, 3, 4, 5], [1, 3], [3]]
        lost = successive_halving(Counter(), {"loss": [bad] * 6}, 1)
        assert len(lost.rungs) == 1
        for nothing in (search(Counter(), {"loss": [bad, bad]}, 1), lost):
            with refused("score", ValueError):
                _ = nothing.best


def test_over_seeds_the_mean_counts_and_one_that_diverges_counts_for_all():
    scores = np.array([[1.0, 5.0], [2.0, 3.0], [0.0, np.nan]])
    for shape in [(3, 2), (3, 1, 2)]:
        found = search(lambda settings, budget, s=shape: scores.reshape(s), {"lam": [1, 2, 3]}, 1)
        assert found.scores.tolist() == [3, 2.5, np.inf]
        assert found.best == 1
    found = search(lambda settings, budget: np.full((3, 2), 0.1, np.float32), {"lam": [1, 2, 3]}, 1)
    assert found.scores.dtype == np.float64


def test_grid_and_random_search_spend_the_same():
    for settings in (grid(a=[1, 2, 3], b=[1, 2, 3]), draw(9, a=uniform(1, 3), b=uniform(1, 3))):
        assert search(lambda s, b: s["a"] + s["b"], settings, 5).spent == 45


def test_the_best_of_t_random_trials_is_as_good_as_theory_says():
    """The smallest of T uniform losses has mean 1 / (T + 1); it is below 0.05 with chance 1 - .95^T."""
    for trials in (1, 4, 19):
        best = np.array([
            search(lambda s, b: s["u"], draw(trials, seed, u=uniform(0, 1)), 1).scores.min()
            for seed in range(400)
        ])  # fmt: skip
        assert best.mean() == pytest.approx(1 / (trials + 1), abs=4 * best.std() / 20)
        chance = 1 - 0.95**trials
        assert (best < 0.05).mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 400))


def test_where_one_of_two_hyper_parameters_matters_random_search_beats_a_grid_of_equal_budget():
    """Bergstra and Bengio's picture: nine trials are three values on a grid, and nine at random."""
    gained = []
    for seed in range(1000):
        optimum = np.random.default_rng(seed).random()

        def loss(settings, budget, optimum=optimum):
            return np.abs(settings["a"] - optimum)

        thirds = [1 / 6, 1 / 2, 5 / 6]
        by_grid = search(loss, grid(a=thirds, b=thirds), 1)
        by_chance = search(loss, draw(9, seed, a=uniform(0, 1), b=uniform(0, 1)), 1)
        assert by_grid.spent == by_chance.spent
        gained.append(by_grid.scores.min() - by_chance.scores.min())
    assert np.mean(gained) > 4 * np.std(gained) / np.sqrt(1000)


# -- successive halving --------------------------------------------------------------------------------------


def law_halving_keeps_the_best_share_and_multiplies_their_budget(trials=27, budget=4, eta=3):
    losses = np.random.default_rng(trials).permutation(trials) / trials
    score = Counter()
    found = successive_halving(score, {"loss": losses}, budget, eta=eta)
    sizes = [trials // eta**k for k in range(trials) if trials // eta**k]
    assert [len(asked) for _, asked in score.asked] == sizes
    assert [b for b, _ in score.asked] == [budget * eta**k for k in range(len(sizes))]
    assert (
        found.spent == sum(n * budget * eta**k for k, n in enumerate(sizes)) <= len(sizes) * trials * budget
    )
    for rung, n in zip(found.rungs, sizes, strict=True):
        assert sorted(losses[rung.trials]) == sorted(losses)[:n]
        assert (np.diff(rung.trials) > 0).all()
        np.testing.assert_array_equal(rung.scores, losses[rung.trials])
    assert found.best == losses.argmin()
    np.testing.assert_array_equal(found.scores, losses)


@given(trials=st.integers(1, 70), budget=st.integers(1, 5), eta=st.integers(2, 5))
def test_halving_keeps_the_best_share_and_multiplies_their_budget(trials, budget, eta):
    law_halving_keeps_the_best_share_and_multiplies_their_budget(trials, budget, eta)


def test_the_example_of_the_documentation():
    found = successive_halving(Counter(), {"loss": np.arange(27.0)}, 4)
    assert [(len(rung.trials), rung.budget) for rung in found.rungs] == [(27, 4), (9, 12), (3, 36), (1, 108)]
    assert found.spent == 432 == 4 * 108


def law_of_equal_trials_the_first_go_on():
    found = successive_halving(Counter(), {"loss": np.zeros(8)}, 1, eta=2)
    assert [rung.trials.tolist() for rung in found.rungs] == [list(range(8)), [0, 1, 2, 3], [0, 1], [0]]
    assert found.best == 0
    many = successive_halving(Counter(), {"loss": np.zeros(200)}, 1, eta=2)
    assert many.rungs[1].trials.tolist() == list(range(100))
    mixed = successive_halving(Counter(), {"loss": [2.0, 1.0, 1.0, 0.0, 1.0]}, 1, eta=2)
    assert [rung.trials.tolist() for rung in mixed.rungs] == [[0, 1, 2, 3, 4], [1, 3], [3]]


def law_the_best_is_of_those_that_went_furthest():
    """Trial 2 leads early and is beaten later; a loss after less training is not compared with others."""
    table = {1: [3, 2, 0.1, 9, 9], 2: [9, 0.5, 0.6, 9, 9], 4: [9, 0.7, 9, 9, 9]}

    def run():
        score = lambda settings, budget: np.array(table[budget])[settings["trial"]]  # noqa: E731
        return successive_halving(score, {"trial": np.arange(5)}, 1, eta=2)

    found = run()
    assert [rung.trials.tolist() for rung in found.rungs] == [[0, 1, 2, 3, 4], [1, 2], [1]]
    assert found.best == 1
    assert found.scores.tolist() == [3, 0.7, 0.6, 9, 9]
    table[4][1] = np.nan  # the finalist diverges: then the best of the others that went furthest
    assert run().best == 2
    assert run().scores.tolist() == [3, np.inf, 0.6, 9, 9]


def test_trials_and_budgets_are_those_of_scikit_learn():
    """Its resource is the number of examples here; the smallest error of rank r is alpha = r."""
    x = np.random.default_rng(0).standard_normal((200, 3))
    halving = HalvingGridSearchCV(
        Ridge(), {"alpha": np.arange(1.0, 19)}, factor=3, min_resources=20, max_resources=180, cv=2,
        scoring=lambda model, x, y: -model.alpha,
    )  # fmt: skip
    halving.fit(x, x[:, 0])
    ours = successive_halving(Counter(), {"loss": np.arange(1.0, 19)}, 20)
    assert [len(rung.trials) for rung in ours.rungs] == halving.n_candidates_
    assert [rung.budget for rung in ours.rungs] == halving.n_resources_
    assert ours.best_settings["loss"] == halving.best_params_["alpha"] == 1


def test_with_early_scores_that_tell_nothing_halving_is_no_better_than_chance():
    """The first rung keeps 8 of 24 at random, so the best trial goes on with chance 1/3."""
    kept = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = successive_halving(
            Counter(lambda loss, budget, rng=rng: rng.random(len(loss)) if budget == 1 else loss),
            {"loss": np.arange(24.0)}, 1,
        )  # fmt: skip
        kept.append(found.best == 0)
    assert np.mean(kept) == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 300))


# -- models --------------------------------------------------------------------------------------------------


def test_ridge_is_searched_in_one_call():
    rng = np.random.default_rng(0)
    x, x_val = rng.standard_normal((2, 40, 10))
    y, y_val = (a[:, 0] + rng.standard_normal(40) for a in (x, x_val))

    def score(settings, budget):
        return objective(x_val, y_val, ridge(x, y, settings["lam"]), 0.0)

    found = search(score, grid(lam=np.geomspace(1e-3, 1e2, 40)), 1)
    assert found.scores.argmin() == found.best
    assert 0 < found.best < 39


def test_networks_are_searched_as_ensembles_and_one_that_diverges_loses():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4))
    y, seeds, trained = np.eye(2)[(x[:, 0] > 0).astype(int)], [3, 8], []

    def score(settings, budget):
        lam, rate = settings["lam"][:, None], settings["rate"][:, None]
        net = mlp(4, 6, 2, seeds=np.tile(seeds, (len(lam), 1)))
        fit(net, x[:24], y[:24], SGD(rate), epochs=budget, batch_size=8, penalty=L2(lam), diverged="keep")
        trained.append((len(lam), budget))
        return evaluate(net, x[24:], y[24:]).loss

    settings = grid(lam=[1e-3, 1e-2, 1e60], rate=[0.1, 0.4, 0.8])
    found = successive_halving(score, settings, 3)
    assert trained == [(9, 3), (3, 9), (1, 27)]
    assert np.isinf(found.scores).tolist() == [False] * 6 + [True] * 3
    assert found.best_settings["lam"] < 1
    alone = successive_halving(score, {name: values[[0, 1, 2]] for name, values in settings.items()}, 3)
    assert alone.rungs[0].scores.tolist() == found.rungs[0].scores[:3].tolist()


# -- laws, bad input -----------------------------------------------------------------------------------------

LAWS = [
    law_a_grid_has_every_combination_once,
    law_draws_have_their_distributions,
    law_draws_belong_to_their_seed_and_longer_searches_begin_with_shorter_ones,
    law_every_trial_gets_the_same_budget_and_the_best_is_found,
    law_what_diverged_is_never_best,
    law_of_equal_trials_the_first_go_on,
    law_the_best_is_of_those_that_went_furthest,
]


@pytest.mark.parametrize("law", LAWS)
def test_searches_obey_their_laws(law):
    law()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("lam", lambda: grid(lam=[])),
        ("lam", lambda: grid(lam=0.1)),
        ("lam", lambda: grid(lam=np.eye(2))),
        ("trials", lambda: draw(0, lam=uniform(0, 1))),
        ("trials", lambda: draw(2.0, lam=uniform(0, 1))),
        ("seed", lambda: draw(2, -1, lam=uniform(0, 1))),
        ("seed", lambda: draw(2, [0, 1], lam=uniform(0, 1))),
        ("lam", lambda: draw(2, lam=[0, 1])),
        ("low", lambda: uniform(np.nan, 1)),
        ("high", lambda: uniform(1, 0.5)),
        ("high", lambda: uniform(0, np.inf)),
        ("low", lambda: log_uniform(0, 1)),
        ("high", lambda: log_uniform(1, 0.5)),
        ("high", lambda: log_uniform(1, [2, 3])),
        ("values", lambda: one_of([])),
        ("values", lambda: one_of(3)),
        ("settings", lambda: search(Counter(), {"loss": [1, 2], "b": [1]}, 1)),
        ("settings", lambda: search(Counter(), {}, 1)),
        ("settings", lambda: successive_halving(Counter(), {}, 1)),
        ("loss", lambda: search(Counter(), {"loss": 1.0}, 1)),
        ("budget", lambda: search(Counter(), {"loss": [1, 2]}, 0)),
        ("budget", lambda: search(Counter(), {"loss": [1, 2]}, 1.5)),
        ("budget", lambda: successive_halving(Counter(), {"loss": [1, 2]}, 0)),
        ("eta", lambda: successive_halving(Counter(), {"loss": [1, 2]}, 1, 1)),
        ("eta", lambda: successive_halving(Counter(), {"loss": [1, 2]}, 1, 2.5)),
        ("score", lambda: search(None, {"loss": [1, 2]}, 1)),
        ("score", lambda: search(Counter, {"loss": [1, 2]}, 1)),
        ("score", lambda: search(lambda s, b: 1.0, {"loss": [1, 2]}, 1)),
        ("score", lambda: search(lambda s, b: [1.0, 2.0, 3.0], {"loss": [1, 2]}, 1)),
        ("score", lambda: search(lambda s, b: np.ones((2, 0)), {"loss": [1, 2]}, 1)),
        ("score", lambda: search(lambda s, b: np.ones((1, 2)), {"loss": [1, 2]}, 1)),
    ],
)
def test_bad_input_is_refused(name, call):
    with refused(name):
        call()


def test_callers_settings_stay_as_they_are():
    losses = np.array([3.0, 1.0, 2.0])
    settings = {"loss": losses}
    found = successive_halving(Counter(), settings, 1)
    assert losses.tolist() == [3, 1, 2]
    assert list(settings) == ["loss"]
    found.scores[...] = 0
    assert found.scores.tolist() == [3, 1, 2]


# -- planted bugs --------------------------------------------------------------------------------------------


def here(name, right, wrong, law):
    """The laws call functions by their names in this module."""
    return Bug(sys.modules[__name__], name, right, wrong, law)


def run(right, wrong, law):
    return Bug(module, "_run", right, wrong, law)


class OfSearch:
    """The functions behind the properties of ``Search``, where bugs can be planted."""

    spent, scores, best = (vars(Search)[name].fget for name in ("spent", "scores", "best"))


def of_search(name, right, wrong, law):
    return Bug(OfSearch, name, right, wrong, law)


halving = partial(here, "successive_halving")
share = law_halving_keeps_the_best_share_and_multiplies_their_budget
one_rung = law_every_trial_gets_the_same_budget_and_the_best_is_found
diverged = law_what_diverged_is_never_best
furthest = law_the_best_is_of_those_that_went_furthest
distributions = law_draws_have_their_distributions
BUGS = {
    "the grid pairs its values": here(
        "grid", "axis.ravel()", "axis.ravel()[:: len(axis) + 1]", law_a_grid_has_every_combination_once
    ),
    "the first name varies fastest": here(
        "grid", 'indexing="ij"', 'indexing="xy"', law_a_grid_has_every_combination_once
    ),
    "all names share one draw": here("draw", "u[:, j]", "u[:, 0]", distributions),
    "a longer search begins anew": here(
        "draw", "(trials, len(space))).astype(np.float64)", "(len(space), trials)).astype(np.float64).T",
        law_draws_belong_to_their_seed_and_longer_searches_begin_with_shorter_ones,
    ),
    "the seed is ignored": here(
        "draw", "Streams(seed,", "Streams(0,",
        law_draws_belong_to_their_seed_and_longer_searches_begin_with_shorter_ones,
    ),
    "draws keep float32": here("draw", ".astype(np.float64)", "", distributions),
    "logarithmic draws are uniform": Bug(
        sys.modules[__name__], "log_uniform", "low * (high / low) ** u", "low + (high - low) * u",
        lambda: law_log_draws(),
    ),
    "the last value is never drawn": here(
        "one_of", "u * len(choices)", "u * (len(choices) - 1)", lambda: law_each_value_is_drawn()
    ),
    "NaN is the smallest": run(
        "np.where(np.isfinite(means), means, np.inf)", "np.where(np.isfinite(means), means, -np.inf)",
        diverged,
    ),
    "NaN stays NaN": run("np.where(np.isfinite(means), means, np.inf)", "means", diverged),
    "seeds that diverged are left out of the mean": run(
        ".mean(1)", ".max(1)",
        test_over_seeds_the_mean_counts_and_one_that_diverges_counts_for_all,
    ),
    "the largest score goes on": halving(
        "np.argsort(rungs[-1].scores,", "np.argsort(-rungs[-1].scores,", share
    ),
    "survivors are counted among themselves": halving(
        "going[order[", "np.arange(len(going))[order[", share
    ),
    "the budget stays the same": halving("budget * eta ** len(rungs)", "budget", share),
    "the budget grows by addition": halving("eta ** len(rungs))", "(1 + len(rungs)))", share),
    "one too many goes on": halving(
        "_count(trials) // eta ** len(rungs)]", "(_count(trials) + 1) // eta ** len(rungs)]",
        partial(share, 20, 1, 3),
    ),
    "diverged trials go on": halving(
        "np.isfinite(rungs[-1].scores).sum()", "len(going)", diverged
    ),
    "ties go to the last": halving(
        'np.argsort(rungs[-1].scores, kind="stable")', "np.lexsort((-going, rungs[-1].scores))",
        law_of_equal_trials_the_first_go_on,
    ),
    "only the last rung is paid": of_search(
        "spent", "for rung in self.rungs", "for rung in self.rungs[-1:]", share,
    ),
    "the best ever seen wins, after however little training": of_search(
        "best", "reversed(self.rungs)", "self.rungs", furthest
    ),
    "the winner is counted among the finalists": of_search(
        "best", "int(rung.trials[last.argmin()])", "int(last.argmin())",
        furthest,
    ),
    "a trial keeps its first score": of_search(
        "scores", "in self.rungs:", "in self.rungs[:1]:", furthest
    ),
}  # fmt: skip


def law_log_draws():
    lam = draw(300, 7, lam=log_uniform(1e-4, 10))["lam"]
    assert np.median(lam) < 0.2


def law_each_value_is_drawn():
    assert set(draw(100, 7, width=one_of([8, 16, 64]))["width"]) == {8, 16, 64}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    if bug.owner is not OfSearch:
        return check_noticed(bug, monkeypatch)
    bug.law()
    monkeypatch.setattr(Search, bug.name, broken(bug))
    with pytest.raises(AssertionError):
        bug.law()
