"""Every member has its own random numbers: they depend on its seed and the purpose, and on nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import refused

from regularize import streams
from regularize.streams import Streams

DRAWS = {
    "normal": lambda s: s.normal((2, 3)),
    "uniform": lambda s: s.uniform((2, 3)),
    "permutation": lambda s: s.permutation(7),
    "integers": lambda s: s.integers(100, (4,)),
}
seed_lists = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def law_a_member_draws_as_if_alone(seeds, draw):
    """Unsorted and repeated seeds included; two draws, so that the streams must also advance alone."""
    seeds = np.asarray(seeds)
    together = Streams(seeds, "noise")
    first, second = draw(together), draw(together)
    assert first.shape[: seeds.ndim] == seeds.shape
    for index in np.ndindex(seeds.shape):
        alone = Streams(seeds[index], "noise")
        np.testing.assert_array_equal(first[index], draw(alone))
        np.testing.assert_array_equal(second[index], draw(alone))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@settings(max_examples=25)
@given(seeds=seed_lists)
def test_a_member_draws_as_if_alone(draw, seeds):
    law_a_member_draws_as_if_alone(seeds, draw)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_seeds_may_have_several_axes(draw):
    law_a_member_draws_as_if_alone([[3, 1, 3], [0, 1, 2]], draw)


def test_streams_differ_between_seeds_purposes_and_draws():
    streams_ = [Streams(seed, purpose) for seed in (0, 1) for purpose in streams.PURPOSES]
    rows = [s.normal((4,)) for s in streams_] + [s.normal((4,)) for s in streams_]
    assert len(np.unique(np.stack(rows), axis=0)) == len(rows)


def test_both_precisions_see_the_same_numbers():
    wide, narrow = (Streams([0, 1], "init").normal((50,), dtype) for dtype in ("float64", "float32"))
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(wide.astype(np.float32), narrow)


def law_numbers_have_their_distribution():
    s = Streams([4, 2], "data")
    z, u, k = s.normal((20_000,)), s.uniform((20_000,)), s.integers(5, (20_000,))
    assert np.abs(z.mean(-1)).max() < 0.04  # about 5 standard errors
    assert np.abs(z.var(-1) - 1).max() < 0.06
    assert u.min() >= 0
    assert u.max() < 1
    assert np.abs(u.mean(-1) - 0.5).max() < 0.012
    assert all(np.abs((k == i).mean(-1) - 0.2).max() < 0.015 for i in range(5))
    assert np.abs(np.corrcoef(z)[0, 1]) < 0.04  # members are independent of each other


def test_numbers_have_their_distribution():
    law_numbers_have_their_distribution()


@given(n=st.integers(1, 20))
@settings(max_examples=10)
def test_a_permutation_names_every_example_once(n):
    order = Streams([5, 0, 5], "order").permutation(n)
    np.testing.assert_array_equal(np.sort(order, axis=-1), np.tile(np.arange(n), (3, 1)))


def test_nothing_draws_from_the_global_generator():
    np.random.seed(0)  # noqa: NPY002 - it is the global generator that is under test
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = Streams([1, 2], "init").normal((3,))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(first, Streams([1, 2], "init").normal((3,)))


def test_the_numbers_of_the_book_never_change():
    """Every stored result rests on these streams: this is the one snapshot, of each purpose's first draws."""
    first = {"init": 1, "noise": 2, "order": 3, "data": 4, "labels": 5, "features": 6}
    assert streams.PURPOSES == {**first, "folds": 7, "search": 8}
    generator = np.random.Generator(np.random.SFC64([7, 3]))
    np.testing.assert_array_equal(Streams(7, "order").permutation(9), generator.permutation(9))


@pytest.mark.parametrize("seeds", [0.5, True, -1, "0", [], None])
def test_bad_seeds_are_refused(seeds):
    with refused("seeds"):
        Streams(seeds, "init")


def test_an_unknown_purpose_is_refused():
    with refused("purpose", ValueError):
        Streams(0, "inti")
