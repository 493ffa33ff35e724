"""Targets are mixed exactly as inputs are, by shares that have the distribution they should have."""

from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from parity import steps_in_keras
from planting import Bug, check_noticed
from scipy import stats
from test_checks import refused

from regularize import mixing
from regularize.augmentation import Compose, Sometimes
from regularize.losses import cross_entropy
from regularize.mixing import CutMix, LabelSmoothing, Mixup
from regularize.network import mlp
from regularize.optimizers import SGD
from regularize.streams import Streams
from regularize.training import fit, take

SHAPE = (4, 5, 3)
EVERY = {
    "Mixup": Mixup,
    "CutMix": lambda a: CutMix(a, SHAPE),
    "LabelSmoothing": LabelSmoothing,
    "Mixup of some": lambda a: Sometimes(0.5, Mixup(a)),
    "all": lambda a: Compose(CutMix(a, SHAPE), Mixup(a), LabelSmoothing(a)),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def noise(seeds=0):
    return Streams(seeds, "noise")


def batch(lead=(), n=9, dtype="float64"):
    """Images of one colour each, which is the target: red, green or blue."""
    y = np.eye(3)[np.random.default_rng(0).integers(3, size=(*lead, n))]
    return np.tile(y, 20).astype(dtype), y.astype(dtype)


# -- what all have in common ---------------------------------------------------------------------------------


def law_a_member_is_mixed_alone(make, seeds, dtype="float64"):
    seeds = np.array(seeds)
    together, augment = noise(seeds), make(0.5)
    batches = [batch(seeds.shape, dtype=dtype), batch(seeds.shape, n=4, dtype=dtype)]
    results = [augment(x, y, together) for x, y in batches]
    for s in np.ndindex(seeds.shape):
        alone = noise(seeds[s])
        for (x, y), result in zip(batches, results, strict=True):
            for mixed, wanted in zip(result, augment(x[s], y[s], alone), strict=True):
                np.testing.assert_array_equal(mixed[s], wanted)


def law_a_strength_may_differ_between_members(make):
    strengths, seeds, (x, y) = np.array([[0.25], [0.75]]), np.array([[0, 1, 2]] * 2), batch((2, 3))
    together = make(strengths)(x, y, noise(seeds))
    for s, strength in enumerate(strengths[:, 0]):
        for mixed, alone in zip(together, make(strength)(x[s], y[s], noise(seeds[s])), strict=True):
            np.testing.assert_array_equal(mixed[s], alone)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seeds", [[4, 1, 4], [[3, 0, 1], [0, 2, 3]]], ids=["S", "L x S"])
@every
def test_a_member_is_mixed_alone(make, seeds, dtype):
    law_a_member_is_mixed_alone(make, seeds, dtype)


@every
def test_a_strength_may_differ_between_members(make):
    law_a_strength_may_differ_between_members(make)


@every
def test_strength_zero_changes_not_one_bit(make):
    x, y = batch((2,))
    new_x, new_y = make(0.0)(x, y, noise([0, 1]))
    np.testing.assert_array_equal(new_x, x)
    np.testing.assert_array_equal(new_y, y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every
def test_only_the_result_is_new(make, dtype):
    x, y = batch((2,), dtype=dtype)
    before = x.copy(), y.copy()
    new_x, new_y = make(0.5)(x, y, noise([0, 1]))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert not np.shares_memory(new_y, y)
    assert new_x.dtype == new_y.dtype == dtype
    assert new_x.shape == x.shape
    assert new_y.shape == y.shape
    assert not np.array_equal(new_y, y)


@every
def test_both_precisions_are_mixed_alike(make):
    wide, narrow = (make(0.5)(*batch(dtype=dtype), noise()) for dtype in ("float64", "float32"))
    for a, b in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@every
def test_shared_data_are_data_that_every_member_has(make):
    x, y = batch()
    own = make(0.5)(np.stack([x, x]), np.stack([y, y]), noise([0, 1]))
    for data in ((x, y), (x[None], y[None])):
        for shared, wanted in zip(make(0.5)(*data, noise([0, 1])), own, strict=True):
            np.testing.assert_array_equal(shared, wanted)


@every
def test_training_is_that_of_a_member_alone(make):
    x, y = batch(n=20)

    def trained(seeds):
        net = mlp(60, 4, 3, seeds=seeds, dtype="float32")
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=8, augment=make(0.5))
        return net.theta

    np.testing.assert_array_equal(trained([3, 1, 3])[1], trained(1))


def law_targets_follow_their_inputs(make):
    """An image's mean colour is its target, before and after, and so is that of the batch."""
    x, y = batch((30,))
    new_x, new_y = make(0.5)(x, y, noise(range(30)))
    np.testing.assert_allclose(new_x.reshape(30, 9, 20, 3).mean(-2), new_y, atol=1e-15)
    np.testing.assert_allclose(new_y.sum(-1), 1, atol=1e-15)
    np.testing.assert_allclose(new_y.mean(-2), y.mean(-2), atol=1e-15)


@pytest.mark.parametrize("name", ["Mixup", "CutMix", "Mixup of some"])
def test_targets_follow_their_inputs(name):
    if name == "Mixup of some":  # then the mean of the batch does change
        x, y = batch((30,))
        new_x, new_y = EVERY[name](0.5)(x, y, noise(range(30)))
        np.testing.assert_allclose(new_x.reshape(30, 9, 20, 3).mean(-2), new_y, atol=1e-15)
    else:
        law_targets_follow_their_inputs(EVERY[name])


# -- mixup ---------------------------------------------------------------------------------------------------


def mixed_units(augment, size, members):
    """From a batch in which example i is the unit vector i: the shares, and who is whose partner."""
    units = np.eye(size)
    mixed = augment(units, units, noise(range(members)))[0]
    share = mixed[:, np.arange(size), np.arange(size)]
    partner = (mixed - share[..., None] * units).argmax(-1)
    alone = share == 1  # an example that is its own partner
    return np.where(alone, np.nan, share), np.where(alone, np.arange(size), partner)


def law_shares_have_the_beta_distribution(alpha, members=2000):
    """One share for a whole batch, another one for each member."""
    share, _ = mixed_units(Mixup(alpha), 5, members)
    share = share[~np.isnan(share).all(-1)]
    assert (np.nanmax(share, -1) - np.nanmin(share, -1)).max() < 1e-15
    assert stats.kstest(np.nanmean(share, -1), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def law_partners_are_random_permutations():
    """All 6 permutations of 3 examples are equally frequent, whatever the share."""
    _, partner = mixed_units(Mixup(1.0), 3, 3000)
    counts = [(partner == order).all(-1).sum() for order in permutations(range(3))]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.4, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha):
    law_shares_have_the_beta_distribution(alpha)


def test_partners_are_random_permutations():
    law_partners_are_random_permutations()


def law_mixup_is_its_formula(alpha=0.2):
    """With the draws made again, and the inverse of the distribution function by other code."""
    x, y = np.random.default_rng(0).random((2, 6, 4)), np.random.default_rng(1).random((2, 6, 2))
    stream = noise([0, 1])
    share = stats.beta.ppf(stream.uniform((1, 1)).astype(float), alpha, alpha)
    partner = stream.permutation(6)
    for mixed, a in zip(Mixup(alpha)(x, y, noise([0, 1])), (x, y), strict=True):
        np.testing.assert_allclose(mixed, share * a + (1 - share) * take(a, partner), rtol=1e-12)


def test_mixup_is_its_formula():
    law_mixup_is_its_formula()
    x, y = batch()
    for mixed, default in zip(Mixup(0.2)(x, y, noise()), Mixup()(x, y, noise()), strict=True):
        np.testing.assert_array_equal(mixed, default)


@given(alpha=st.floats(0, 1e6), seed=st.integers(0, 99))
@example(alpha=5e-324, seed=0)
def test_a_mixture_lies_between_its_parts_for_every_alpha(alpha, seed):
    mixed = Mixup(alpha)(np.eye(2), np.eye(2), noise(seed))[0]
    assert (mixed >= 0).all()
    assert (mixed <= 1).all()


def test_mixed_targets_are_a_mixed_loss():
    z, (x, y) = np.random.default_rng(0).standard_normal((9, 3)), batch()
    stream = noise()
    share, partner = stream.uniform((1, 1)).item(), stream.permutation(9)  # alpha = 1: uniform
    targets = Mixup(1.0)(x, y, noise())[1]
    parts = share * cross_entropy(z, y)[0] + (1 - share) * cross_entropy(z, y[partner])[0]
    np.testing.assert_allclose(cross_entropy(z, targets)[0], parts, rtol=1e-14)


# -- CutMix --------------------------------------------------------------------------------------------------


def law_cutmix_is_its_formula(alpha=1.0, members=200):
    """With the draws made again. Each image of a batch has the same rectangle."""
    shape = height, width, _ = 5, 8, 2
    x, y = np.random.default_rng(0).random((6, 80)), np.random.default_rng(1).random((6, 3))
    new_x, new_y = CutMix(alpha, shape)(x, y, noise(range(members)))
    for s in range(members):
        stream = noise(s)
        share = stats.beta.ppf(stream.uniform((1, 1)).astype(float), alpha, alpha).item()
        h, w = round(height * np.sqrt(1 - share)), round(width * np.sqrt(1 - share))
        i, j = stream.integers(height, (1,)).item(), stream.integers(width, (1,)).item()
        partner = stream.permutation(6)
        wanted, cut = x.reshape(6, *shape).copy(), np.zeros(shape[:2], bool)
        cut[max(i - h // 2, 0) : i - h // 2 + h, max(j - w // 2, 0) : j - w // 2 + w] = True
        wanted[:, cut] = x.reshape(6, *shape)[partner][:, cut]
        np.testing.assert_array_equal(new_x[s], wanted.reshape(6, -1))
        np.testing.assert_allclose(new_y[s], (~cut).mean() * y + cut.mean() * y[partner], atol=1e-15)


def test_cutmix_is_its_formula():
    law_cutmix_is_its_formula()
    law_cutmix_is_its_formula(alpha=0.25, members=20)


def test_a_rectangle_around_the_middle_has_the_area_that_was_drawn():
    """Where nothing is cut off, 1 - s of the pixels are replaced, but for the rounding to whole ones."""
    size, seeds = 40, range(600)  # half of the examples are their own partners, 1 of 6 rectangles is whole
    x = np.repeat([[0.0], [1.0]], size * size, axis=1)
    mixed = CutMix(1.0, (size, size))(x, np.eye(2), noise(seeds))[0][:, 0].reshape(-1, size, size)
    drawn = noise(seeds).uniform((1, 1)).ravel()
    inside = ~(mixed[:, [0, -1]].any((1, 2)) | mixed[:, :, [0, -1]].any((1, 2)))
    share = mixed.mean((1, 2))
    used = inside & (share > 0)
    assert abs(used.sum() - 600 / 12) < 4 * np.sqrt(600 / 12)
    np.testing.assert_allclose(share[used], 1 - drawn[used], atol=1 / size)


# -- label smoothing -----------------------------------------------------------------------------------------


def law_label_smoothing_is_its_formula():
    x, y = batch((2,))
    new_x, new_y = LabelSmoothing(0.25)(x, y, noise([0, 1]))
    np.testing.assert_array_equal(new_x, x)
    np.testing.assert_allclose(new_y, 0.75 * y + 0.25 / 3, atol=1e-15)
    np.testing.assert_allclose(new_y.sum(-1), 1, atol=1e-15)


def test_label_smoothing_is_its_formula():
    law_label_smoothing_is_its_formula()
    x, y = batch()
    np.testing.assert_array_equal(LabelSmoothing(0.1)(x, y, noise())[1], LabelSmoothing()(x, y, noise())[1])
    np.testing.assert_allclose(LabelSmoothing(1.0)(x, y, noise())[1], 1 / 3)


def test_the_loss_is_least_at_finite_logits():
    x, y = batch()
    targets = LabelSmoothing(0.25)(x, y, noise())[1]
    z = np.log(targets)
    assert np.abs(cross_entropy(z, targets)[1]).max() < 1e-15
    np.testing.assert_allclose((targets * y).sum(-1), 1 - 0.25 + 0.25 / 3)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["1", None, np.nan, np.inf, -0.1, [0.5, -1.0], []])
def test_strengths_are_in_their_range(bad):
    with refused("alpha"):
        Mixup(bad)
    with refused("alpha"):
        CutMix(bad, SHAPE)
    with refused("amount"):
        LabelSmoothing(bad)


def test_an_amount_of_smoothing_is_at_most_one():
    with refused("amount", ValueError):
        LabelSmoothing(1.125)


@pytest.mark.parametrize("bad", [(4,), None, (4, 5, 3, 1), (0, 5)])
def test_cutmix_needs_a_shape(bad):
    with refused("shape"):
        CutMix(1.0, bad)


@pytest.mark.parametrize("name", ["Mixup", "CutMix", "LabelSmoothing"])
@pytest.mark.parametrize(
    ("argument", "x", "y"),
    [
        ("y", np.zeros((4, 60)), np.zeros((3, 2))),
        ("y", np.zeros((4, 60)), np.zeros(4)),
        ("y", np.zeros((4, 60)), np.full((4, 2), np.nan)),
        ("y", np.zeros((4, 60)), "labels"),
        ("y's leading axes", np.zeros((4, 60)), np.zeros((2, 4, 2))),
        ("x's leading axes", np.zeros((2, 4, 60)), np.zeros((4, 2))),
    ],
)
def test_targets_are_rows_for_the_examples(name, argument, x, y):
    with refused(argument):
        EVERY[name](0.5)(x, y, noise())


def test_labels_of_one_class_cannot_be_smoothed_nor_images_of_another_size_be_cut():
    with refused("y: expected at least two classes", ValueError):
        LabelSmoothing(0.5)(np.zeros((4, 2)), np.zeros((4, 1)), noise())
    np.testing.assert_array_equal(LabelSmoothing(0.5)([[0.0]], [[1.0, 0.0]], noise())[1], [[0.75, 0.25]])
    with refused("x", ValueError):
        CutMix(0.5, SHAPE)(np.zeros((4, 61)), np.zeros((4, 2)), noise())


@pytest.mark.parametrize(
    ("name", "make"), [("alpha", Mixup), ("alpha", EVERY["CutMix"]), ("amount", LabelSmoothing)]
)
def test_strengths_broadcast_to_the_ensemble(name, make):
    with refused(name, ValueError):
        make(np.full(3, 0.5))(*batch((2,)), noise([0, 1]))


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.keras
def test_a_mixture_is_that_of_keras_which_draws_a_share_for_each_example(keras):
    layer, (x, y) = keras.layers.MixUp(alpha=0.25, dtype="float64"), batch()
    assert layer.get_random_transformation(x.reshape(9, *SHAPE))["mix_weight"].shape == (9,)
    stream = noise()
    share = stats.beta.ppf(stream.uniform((1, 1)).astype(float), 0.25, 0.25)
    given = {"mix_weight": np.repeat(share, 9), "permutation_order": stream.permutation(9)}
    new_x, new_y = Mixup(0.25)(x, y, noise())
    images = np.asarray(layer.transform_images(x.reshape(9, *SHAPE), given))
    np.testing.assert_allclose(new_x, images.reshape(9, -1), atol=1e-14)
    np.testing.assert_allclose(new_y, np.asarray(layer.transform_labels(y, given)), atol=1e-14)


@pytest.mark.keras
def test_label_smoothing_is_the_argument_of_the_loss_in_keras(keras):
    """200 steps, with the smoothing among the data here and in the loss there."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.125)
    difference = steps_in_keras(
        partial(mlp, 8, 5, 3), SGD(2**-5), keras.optimizers.SGD(2**-5), keras_loss=loss,
        augment=LabelSmoothing(0.125),
    )  # fmt: skip
    assert difference <= 1e-12


@pytest.mark.torch
def test_label_smoothing_is_the_argument_of_the_loss_in_pytorch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    z, (x, y) = np.random.default_rng(0).standard_normal((9, 3)), batch()
    theirs = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(y), label_smoothing=0.1)
    ours = cross_entropy(z, LabelSmoothing(0.1)(x, y, noise())[1])[0]
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-14)


# -- planted bugs --------------------------------------------------------------------------------------------

mixup_targets = partial(law_targets_follow_their_inputs, Mixup)
cutmix_targets = partial(law_targets_follow_their_inputs, EVERY["CutMix"])
beta = partial(law_shares_have_the_beta_distribution, 0.4)

BUGS = {
    # mixup
    "targets are not mixed": Bug(
        Mixup, "transform", "_mix(y, take(y, partner), share)", "y", mixup_targets
    ),
    "targets are mixed with other partners": Bug(
        Mixup, "transform", "take(y, partner)", "take(y, noise.permutation(x.shape[-2]))", mixup_targets
    ),
    "the larger part gets the smaller share of the target": Bug(
        Mixup, "transform", "_mix(y, take(y, partner), share)", "_mix(y, take(y, partner), 1 - share)",
        mixup_targets,
    ),
    "each example has its own share": Bug(
        mixing, "_share", "noise.uniform((1, 1))", "noise.uniform((5, 1))", beta
    ),
    "all members have the same share": Bug(
        mixing, "_share", "noise.uniform((1, 1))", "noise.uniform((1, 1))[:1]", beta
    ),
    "the share is uniform": Bug(mixing, "_share", "betaincinv(a, a,", "betaincinv(1, 1,", beta),
    "the share is from Beta(alpha, 1)": Bug(
        mixing, "_share", "betaincinv(a, a,", "betaincinv(a, 1,", beta
    ),
    "the share is a value of the distribution function": Bug(
        mixing, "_share", "betaincinv(", "__import__('scipy').special.betainc(", beta
    ),
    "alpha 0 mixes with everyone": Bug(
        mixing, "_share", "noise.uniform((1, 1))), 1.0", "noise.uniform((1, 1))), 0.0",
        partial(test_strength_zero_changes_not_one_bit, Mixup),
    ),
    "the partner is the neighbour": Bug(
        Mixup, "transform", "noise.permutation(x.shape[-2])",
        "np.roll(noise.permutation(x.shape[-2]) * 0 + np.arange(x.shape[-2]), 1, -1)",
        law_partners_are_random_permutations,
    ),
    "the second part is not shrunk": Bug(mixing, "_mix", "(1 - share) * b", "b", mixup_targets),
    "members share their partners": Bug(
        Mixup, "transform", "noise.permutation(x.shape[-2])",
        "(lambda p: 0 * p + p.reshape(-1, p.shape[-1])[0])(noise.permutation(x.shape[-2]))",
        partial(law_a_member_is_mixed_alone, Mixup, [4, 1, 4]),
    ),
    # CutMix
    "targets are mixed by the share that was drawn": Bug(
        CutMix, "transform", "share = 1 - inside.mean((-1, -2))[..., None]",
        "share = 1 - (height * width / np.prod(self.shape[:2]))[..., None]", cutmix_targets,
    ),
    "targets get the share of the rectangle": Bug(
        CutMix, "transform", "share = 1 - inside", "share = inside", cutmix_targets
    ),
    "the rectangle has the share that should stay": Bug(
        CutMix, "transform", "np.sqrt(1 - _share", "np.sqrt(_share", law_cutmix_is_its_formula
    ),
    "the sides have the share of the area": Bug(
        CutMix, "transform", "np.sqrt(1 - _share(self.alpha, noise)[..., 0])",
        "1 - _share(self.alpha, noise)[..., 0]", law_cutmix_is_its_formula,
    ),
    "sides are cut off, not rounded": Bug(
        CutMix, "transform", "np.rint(size * side)", "np.floor(size * side)", law_cutmix_is_its_formula
    ),
    "the rectangle is square": Bug(
        CutMix, "transform", "height, width, noise", "height, height, noise", law_cutmix_is_its_formula
    ),
    "the rectangle keeps the image and the rest is replaced": Bug(
        CutMix, "transform", "np.where(inside", "np.where(~inside", cutmix_targets
    ),
    "the rectangle starts at the random pixel": Bug(
        mixing, "box", " - extent // 2", "", law_cutmix_is_its_formula
    ),
    "targets of images go to others": Bug(
        CutMix, "transform", "_mix(y, take(y, partner), share)", "_mix(y, y[..., ::-1, :], share)",
        cutmix_targets,
    ),
    # label smoothing
    "amount is taken off and not handed out": Bug(
        LabelSmoothing, "transform", "1 / y.shape[-1]", "0", law_label_smoothing_is_its_formula
    ),
    "each class gets the whole amount": Bug(
        LabelSmoothing, "transform", "1 / y.shape[-1]", "1", law_label_smoothing_is_its_formula
    ),
    "the right class gets nothing of the amount": Bug(
        LabelSmoothing, "transform", "np.full_like(y, 1 / y.shape[-1])", "(1 - y) / (y.shape[-1] - 1)",
        law_label_smoothing_is_its_formula,
    ),
    "the amount is what stays": Bug(
        LabelSmoothing, "transform", "1 - per_member", "per_member", law_label_smoothing_is_its_formula
    ),
    "the amount is shared by the batch": Bug(
        LabelSmoothing, "transform", "1 / y.shape[-1]", "1 / y.shape[-2]", law_label_smoothing_is_its_formula
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
