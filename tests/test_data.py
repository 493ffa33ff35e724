"""Laws of the data sets, of standardizing and of the splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from test_checks import refused

from regularize.data import Dataset, load, one_hot, published_diabetes, split, standardize

NAMES = ("digits", "diabetes", "breast_cancer", "wine")
DATA = {name: load(name) for name in NAMES}
DIGITS = DATA["digits"]


def toy(n=12, classes=3):
    """Example i has the feature i, so every row can be told from the others."""
    names = tuple("abcdefghij"[:classes])
    return Dataset(np.arange(n)[:, None], np.arange(n) % max(classes, 1), ("row",), names, "toy")


# Data sets


@pytest.mark.parametrize("name", NAMES)
def test_bundled_data_are_scikit_learns(name):
    raw, data = getattr(datasets, f"load_{name}")(), DATA[name]
    assert data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x * (16 if name == "digits" else 1), raw.data)
    np.testing.assert_array_equal(data.y, raw.target)
    assert len(data.feature_names) == data.x.shape[1]
    assert len(data) == len(data.y) == len(raw.data)
    assert data.name == name


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_classification_has_one_name_per_label(name):
    data = DATA[name]
    assert data.y.dtype.kind == "i"
    assert sorted(set(data.y)) == list(range(data.classes)) == list(range(len(data.target_names)))


def test_what_the_description_says():
    assert DIGITS.x.min() == 0
    assert DIGITS.x.max() == 1
    assert [np.bincount(DATA[name].y).tolist() for name in ("breast_cancer", "wine")] == [
        [212, 357],
        [59, 71, 48],
    ]
    assert DATA["breast_cancer"].target_names == ("malignant", "benign")
    diabetes = DATA["diabetes"]
    assert diabetes.classes == 0
    assert diabetes.y.dtype == np.float64
    np.testing.assert_allclose(diabetes.x.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose((diabetes.x**2).sum(0), 1)


def test_diabetes_names_belong_to_their_columns():
    """The unscaled columns tell: sex takes two values, tch is (nearly) tc / hdl, ltg is a logarithm."""
    raw = datasets.load_diabetes(scaled=False).data
    column = dict(zip(DATA["diabetes"].feature_names, raw.T, strict=True))
    assert len(set(column["sex"])) == 2
    distance = {k: np.abs(c - column["tc"] / column["hdl"]).mean() for k, c in column.items()}
    assert min(distance, key=distance.get) == "tch"
    assert column["ltg"].max() < np.log(1000)
    assert column["map"].mean() == pytest.approx(94.6, abs=0.1)
    assert column["ldl"].max() < column["tc"].max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((12, 2))}, r"x: .*shape \(\.\.\., any, 1\)"),
        ({"x": np.full((12, 1), np.nan)}, "x: .*NaN"),
        ({"y": np.zeros(11, int)}, "y: expected one target per example"),
        ({"y": np.full(12, 3)}, r"y: .*0\.\.2"),
        ({"target_names": ("only",)}, "target_names: expected none or at least 2"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(change, message):
    good = toy()
    fields = {k: getattr(good, k) for k in ("x", "y", "feature_names", "target_names", "name")}
    with pytest.raises(ValueError, match=message):
        Dataset(**(fields | change))


@given(st.text() | st.integers() | st.none())
@settings(deadline=None)
def test_unknown_names(name):
    if name not in NAMES:
        with pytest.raises(ValueError, match="name: expected one of 'digits'"):
            load(name)


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        load("digit")


# One-hot


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_one_hot_marks_the_label_and_nothing_else(lead):
    labels = np.random.default_rng(0).integers(5, size=(*lead, 7))
    y = one_hot(labels, 5)
    assert y.shape == (*lead, 7, 5)
    np.testing.assert_array_equal(y.argmax(-1), labels)
    np.testing.assert_array_equal(np.sort(y, -1), np.broadcast_to([0, 0, 0, 0, 1], y.shape))


@given(st.integers(2, 9), st.integers())
@settings(deadline=None)
def test_one_hot_refuses_labels_out_of_range(classes, label):
    if not 0 <= label < classes:
        with pytest.raises((ValueError, TypeError), match="labels: expected integer labels"):
            one_hot([0, label], classes)


@pytest.mark.parametrize("classes", [1, 0, -1])
def test_one_hot_needs_two_classes(classes):
    with pytest.raises(ValueError, match="classes: expected an integer >= 2"):
        one_hot([0], classes)


# Standardizing


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_standardized_training_part_has_mean_0_and_sd_1_in_each_member(lead):
    x = np.random.default_rng(0).normal(5, 3, (*lead, 20, 4))
    (z,) = standardize(x)
    np.testing.assert_allclose(z.mean(-2), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(-2), 1)


def test_other_parts_are_scaled_by_the_training_part_alone():
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 3, (2, 20, 4)), rng.normal(0, 1, (2, 9, 4))
    z_train, z_test = standardize(train, test)
    np.testing.assert_array_equal(z_train, standardize(train, 100 + test)[0])
    mean, sd = train.mean(-2, keepdims=True), train.std(-2, keepdims=True)
    np.testing.assert_allclose(z_test * sd + mean, test, atol=1e-12)


@given(st.floats(-1e100, 1e100), st.integers(1, 30))
@settings(deadline=None)
def test_a_constant_feature_becomes_exactly_0(value, n):
    train, test = standardize(np.full((n, 1), value), [[value]])
    assert (train == 0).all()
    assert (test == 0).all()


def test_a_feature_constant_in_training_is_only_centered_elsewhere():
    assert standardize(np.full((9, 1), 0.1), [[2.1]])[1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.zeros(3),), "train: expected at least 2 axes"),
        ((np.zeros((3, 2)), np.zeros((3, 3))), r"others\[0\]: expected shape"),
        (
            (np.zeros((4, 3, 2)), np.zeros((3, 3, 2))),
            r"others\[0\]: .*broadcasts to the ensemble axes \(4,\)",
        ),
        ((np.zeros((3, 2)), [[np.inf, 0]]), r"others\[0\]: expected finite"),
    ],
)
def test_standardize_refuses_what_does_not_match(arrays, message):
    with pytest.raises(ValueError, match=message):
        standardize(*arrays)


# Splits


def parts(s):
    return [part for part in (s.train, s.validation, s.test) if part is not None]


@pytest.mark.parametrize("seeds", [3, [0, 1, 2], [[4, 0], [2, 9], [4, 4]]])
@pytest.mark.parametrize("name", NAMES)
def test_shapes(name, seeds):
    data, lead = DATA[name], np.shape(seeds)
    s = split(data, seeds, train=50, validation=20, test=30)
    for part, n in zip((s.train, s.validation, s.test), (50, 20, 30), strict=True):
        assert part.x.shape == (*lead, n, data.x.shape[1])
        assert part.y.shape == (*lead, n, data.classes or 1)
        assert part.index.shape == (*lead, n)
        np.testing.assert_array_equal(part.x, data.x[part.index])
        if data.classes:
            np.testing.assert_array_equal(part.labels, data.y[part.index])
            np.testing.assert_array_equal(part.y, one_hot(part.labels, data.classes))
        else:
            assert part.labels is None
            np.testing.assert_array_equal(part.y[..., 0], data.y[part.index])


def test_without_validation_there_is_none():
    assert split(toy(), 0, train=6, test=6).validation is None


def test_float32_data_give_float32_parts():
    data = toy()
    s = split(
        Dataset(data.x.astype(np.float32), data.y, data.feature_names, data.target_names, "f"),
        [0, 1], train=6, test=3, standardize=True,
    )  # fmt: skip
    assert s.train.x.dtype == s.train.y.dtype == s.test.x.dtype == np.float32


@given(st.integers(2, 40), st.data())
@settings(deadline=None)
def test_parts_are_disjoint_and_all_examples_are_dealt(n, data):
    test = data.draw(st.integers(1, n - 1))
    validation = data.draw(st.integers(0, n - test - 1))
    s = split(toy(n), [0, 5], train=n - test - validation, validation=validation, test=test)
    index = np.concatenate([part.index for part in parts(s)], -1)
    np.testing.assert_array_equal(np.sort(index, -1), np.broadcast_to(np.arange(n), (2, n)))


OPTIONS = [
    {},
    {"label_noise": 0.3},
    {"label_noise": 0.3, "noise_kind": "random", "noisy_validation": False},
    {"standardize": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seeds", [[7, 3, 11], [[7, 3], [3, 0]]])
def test_a_member_is_bit_for_bit_the_split_of_its_seed_alone(seeds, options):
    sizes = {"train": 60, "validation": 30, "test": 40}
    together = split(DIGITS, seeds, **sizes, **options)
    for member, seed in np.ndenumerate(np.array(seeds)):
        alone = split(DIGITS, int(seed), **sizes, **options)
        for a, b in zip(parts(together), parts(alone), strict=True):
            for field in ("x", "y", "labels", "index"):
                assert getattr(a, field)[member].tobytes() == getattr(b, field).tobytes()


def test_different_seeds_give_different_splits():
    index = split(DIGITS, range(20), train=100, test=100).train.index
    assert len({tuple(row) for row in index}) == 20


def test_a_smaller_training_part_is_the_beginning_of_a_larger_one():
    big = split(DIGITS, [1, 2], train=500, validation=100, test=300)
    for n in (1, 50, 499):
        small = split(DIGITS, [1, 2], train=n, validation=100, test=300)
        np.testing.assert_array_equal(small.train.x, big.train.x[:, :n])
        np.testing.assert_array_equal(small.train.y, big.train.y[:, :n])
        np.testing.assert_array_equal(small.test.x, big.test.x)
        np.testing.assert_array_equal(small.validation.x, big.validation.x)


def test_standardized_split_uses_the_training_part_of_each_member():
    sizes = {"train": 60, "validation": 30, "test": 40}
    plain = split(DATA["wine"], [0, 1], **sizes)
    s = split(DATA["wine"], [0, 1], **sizes, standardize=True)
    expected = standardize(*(part.x for part in parts(plain)))
    for part, x in zip(parts(s), expected, strict=True):
        np.testing.assert_array_equal(part.x, x)
    np.testing.assert_allclose(s.train.x.mean(-2), 0, atol=1e-12)


def test_standardizing_undoes_the_published_scaling_of_diabetes():
    """So the scaling over all patients leaks nothing into a standardized split."""
    data, sizes = DATA["diabetes"], {"train": 100, "test": 100}
    raw = Dataset(datasets.load_diabetes(scaled=False).data, data.y, data.feature_names, (), "raw")
    a, b = (split(d, [0, 1], **sizes, standardize=True) for d in (data, raw))
    np.testing.assert_allclose(a.test.x, b.test.x, atol=1e-10)


# Label noise


def noisy(share, n=200, **options):
    return split(DIGITS, range(8), train=n, validation=100, test=300, label_noise=share, **options)


def wrong(part):
    return part.labels != DIGITS.y[part.index]


@given(st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_exactly_the_asked_share_of_labels_is_wrong(share):
    s = noisy(share)
    assert (wrong(s.train).sum(-1) == round(share * 200)).all()
    assert (wrong(s.validation).sum(-1) == round(share * 100)).all()
    assert not wrong(s.test).any()
    np.testing.assert_array_equal(s.train.y.argmax(-1), s.train.labels)


@pytest.mark.parametrize("kind", ["wrong", "random"])
def test_a_larger_share_replaces_the_same_labels_and_more(kind):
    before = noisy(0.0, noise_kind=kind).train.labels
    changed = np.zeros(before.shape, bool)
    for share in (0.1, 0.2, 0.5, 1.0):
        labels = noisy(share, noise_kind=kind).train.labels
        np.testing.assert_array_equal(labels[changed], before[changed])
        before, changed = labels, labels != noisy(0.0).train.labels


def test_noise_changes_labels_only():
    for a, b in zip(parts(noisy(0.4)), parts(noisy(0.0)), strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.index, b.index)


def test_noise_of_an_example_does_not_depend_on_the_sample_size():
    big, small = noisy(1.0, n=400).train.labels, noisy(1.0, n=100).train.labels
    np.testing.assert_array_equal(big[:, :100], small)


@pytest.mark.parametrize("seed", range(8))
def test_labels_go_wrong_in_one_order_whatever_the_sample_size(seed):
    """No two examples change their turn between a small sample and a large one."""
    small, big = (wrong(noisy(0.5, n=n).train)[seed, :101] for n in (101, 400))
    assert (small != big).any()  # another sample has another middle
    assert not ((small & ~big).any() and (big & ~small).any())


def test_every_seed_has_other_wrong_labels_all_over_the_data_set():
    train = split(DIGITS, range(40), train=1000, test=1, label_noise=0.5).train
    rows = train.index[wrong(train)]
    assert rows.mean() == pytest.approx(898, abs=4 * 1797 / np.sqrt(12 * rows.size))
    often = np.bincount(rows, minlength=1797) / np.bincount(train.index.ravel(), minlength=1797)
    assert often.std() == pytest.approx(
        0.5 / np.sqrt(40 * 1000 / 1797), rel=0.1
    )  # coin tosses; 0.5 if all agreed


def test_validation_labels_are_clean_on_request():
    s = noisy(0.5, noisy_validation=False)
    assert not wrong(s.validation).any()
    np.testing.assert_array_equal(s.train.labels, noisy(0.5).train.labels)


def chi_squared(counts):
    """Below 27.9 in 999 of 1000 draws of 10 equally likely classes."""
    return ((counts - counts.mean()) ** 2 / counts.mean()).sum()


def test_wrong_labels_are_uniform_over_the_other_classes():
    train = split(DIGITS, range(20), train=1000, test=1, label_noise=1.0).train
    step = (train.labels - DIGITS.y[train.index]) % 10
    counts = np.bincount(step.ravel(), minlength=10)
    assert counts[0] == 0
    assert chi_squared(counts[1:]) < 27.9


def test_random_labels_are_uniform_over_all_classes_and_tell_nothing():
    train = split(DIGITS, range(20), train=1000, test=1, label_noise=1.0, noise_kind="random").train
    step = (train.labels - DIGITS.y[train.index]) % 10
    assert chi_squared(np.bincount(step.ravel(), minlength=10)) < 27.9
    assert chi_squared(np.bincount(train.labels.ravel(), minlength=10)) < 27.9


def test_which_labels_are_wrong_does_not_depend_on_the_place():
    """Were the first ones of the part noisy, then every small batch at the beginning would be."""
    place = np.nonzero(wrong(noisy(0.2).train))[1]
    assert place.mean() == pytest.approx(99.5, abs=4 * 200 / np.sqrt(12 * place.size))


# Bad input


@given(st.integers(-5, 3000), st.integers(-5, 3000), st.integers(-5, 3000))
@settings(deadline=None)
def test_sizes_that_cannot_be_dealt_are_refused(train, validation, test):
    if train >= 1 and test >= 1 and validation >= 0 and train + validation + test <= 1797:
        return
    with pytest.raises(
        ValueError, match=r"^(train|validation|test|train . validation . test): expected"
    ) as e:
        split(DIGITS, 0, train=train, validation=validation, test=test)
    if min(train, test) >= 1 and validation >= 0:
        assert "at most 1797" in str(e.value)


def test_one_example_too_many():
    split(DIGITS, 0, train=1000, validation=100, test=697)
    with pytest.raises(ValueError, match=r"at most 1797, .*'digits' has, got 1000 \+ 100 \+ 698 = 1798"):
        split(DIGITS, 0, train=1000, validation=100, test=698)


@given(st.floats() | st.text() | st.none() | st.booleans() | st.lists(st.integers()))
@settings(deadline=None)
@pytest.mark.parametrize("which", ["train", "validation", "test"])
def test_sizes_that_are_no_integers_are_refused(which, size):
    with pytest.raises(TypeError, match=f"{which}: expected an integer"):
        split(DIGITS, 0, **({"train": 5, "validation": 5, "test": 5} | {which: size}))


@given(st.floats())
@settings(deadline=None)
def test_shares_outside_0_to_1_are_refused(share):
    if not 0 <= share <= 1:
        with pytest.raises(ValueError, match=r"label_noise: expected a fraction in \[0, 1\]"):
            split(DIGITS, 0, train=5, test=5, label_noise=share)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_noise": [0.1, 0.2]}, TypeError, "label_noise: expected one number"),
        ({"label_noise": "0.1"}, TypeError, "label_noise: expected a fraction"),
        ({"noise_kind": "rndom"}, ValueError, "noise_kind: .*did you mean 'random'"),
        ({"seeds": 0.5}, TypeError, "seeds: expected"),
        ({"seeds": -1}, ValueError, "seeds: expected"),
        (
            {"dataset": DATA["diabetes"], "label_noise": 0.1},
            ValueError,
            "label_noise: .*'diabetes' is a regression",
        ),
    ],
)
def test_split_refuses(options, error, message):
    good = {"dataset": DIGITS, "seeds": 0, "train": 5, "test": 5}
    with pytest.raises(error, match=message):
        split(**(good | options))


def test_published_diabetes_differs_from_the_stored_file_only_by_its_rounding():
    published, stored = published_diabetes(), load("diabetes")
    assert published.feature_names == stored.feature_names
    np.testing.assert_array_equal(published.y, stored.y)
    np.testing.assert_allclose((published.x**2).sum(0), 1)
    changed = np.abs(published.x - stored.x).max(0) > 1e-12
    assert {name for name, c in zip(stored.feature_names, changed, strict=True) if c} == {"map", "ltg"}
    assert np.abs(published.x - stored.x).max() < 2e-5


def test_a_part_unpacks_to_inputs_and_targets():
    part = split(load("wine"), [0, 1], train=20, test=10).train
    x, y = part
    assert x is part.x
    assert y is part.y


def test_what_is_loaded():
    """Called within a test: what runs while a test module is imported proves nothing about a later call."""
    digits = load("digits")
    assert (digits.name, digits.x.shape, digits.x.min(), digits.x.max()) == ("digits", (1797, 64), 0.0, 1.0)
    assert digits.target_names == tuple("0123456789")
    np.testing.assert_array_equal(16 * digits.x[0, :3], [0, 0, 5])
    diabetes = load("diabetes")
    assert (diabetes.name, diabetes.target_names, diabetes.x.shape) == ("diabetes", (), (442, 10))
    for name in ("breast_cancer", "wine"):
        assert load(name).name == name
        assert load(name).x.max() > 100  # as they come: the caller standardizes
    published = published_diabetes()
    assert (published.name, published.target_names) == ("diabetes", ())
    np.testing.assert_allclose(np.linalg.norm(published.x, axis=0), 1, rtol=1e-12)
    pressure = published.x[:, published.feature_names.index("map")]
    raw = diabetes.x[:, diabetes.feature_names.index("map")]
    assert np.abs(pressure - raw / np.linalg.norm(raw)).max() < 1e-3


def test_a_table_is_checked_column_by_column():
    good = {
        "x": np.zeros((3, 2)),
        "y": np.zeros(3),
        "feature_names": ("a", "b"),
        "target_names": (),
        "name": "t",
    }
    assert Dataset(**good).y.dtype == np.float64
    for name, bad in {"x": np.zeros((2, 3, 2)), "y": [0.0, np.nan, 1.0]}.items():
        with refused(name, ValueError):
            Dataset(**{**good, name: bad})
