"""Augmented images are what the equations say, each member draws for itself, and nothing else changes."""

from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Bug, check_noticed
from scipy import ndimage, stats
from sklearn.datasets import load_sample_image
from test_checks import refused

from regularize import augmentation, geometry
from regularize.augmentation import (
    Augmentation,
    Brightness,
    Color,
    Compose,
    Contrast,
    GaussianNoise,
    ImageAugmentation,
    Sometimes,
)
from regularize.geometry import Affine, Cutout, Flip, Rotate, Shift, Zoom
from regularize.network import mlp
from regularize.optimizers import SGD
from regularize.streams import Streams
from regularize.training import fit

SHAPE = (8, 8, 3)
EVERY = {
    "Affine": lambda a: Affine(SHAPE, degrees=90 * a, zoom=a, pixels=2 * a, fill=0.25),
    "Shift": lambda a: Shift(np.rint(4 * a), SHAPE),
    "Shift, fractional": lambda a: Shift(a, SHAPE, fractional=True),
    "Rotate": lambda a: Rotate(30 * a, SHAPE),
    "Zoom": lambda a: Zoom(a, SHAPE),
    "Flip": lambda a: Flip("horizontal", SHAPE, probability=a),
    "Brightness": lambda a: Brightness(a, limits=(0, 1)),
    "Contrast": lambda a: Contrast(a, SHAPE, limits=(0, 1)),
    "Color": lambda a: Color(a, SHAPE),
    "GaussianNoise": GaussianNoise,
    "Cutout": lambda a: Cutout(3, SHAPE, fill=0.5),
    "Compose": lambda a: Compose(Rotate(30 * a, SHAPE), GaussianNoise(a)),
    "Sometimes": lambda a: Sometimes(a, Color(a, SHAPE)),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
LEADS = [[4, 1, 4], [[3, 0, 1], [0, 2, 3]]]


@cache
def photographs():
    """40 patches of 8 x 8 pixels, as rows of values in 0 .. 1."""
    photo = load_sample_image("china.jpg") / 255
    rng = np.random.default_rng(0)
    corners = rng.integers((photo.shape[0] - 8, photo.shape[1] - 8), size=(40, 2))
    return np.stack([photo[i : i + 8, j : j + 8].ravel() for i, j in corners])


def batch(lead=(), n=20, dtype="float64"):
    rng = np.random.default_rng(0)
    rows = rng.integers(len(photographs()), size=(*lead, n))
    return photographs()[rows].astype(dtype), np.eye(3, dtype=dtype)[rows % 3]


def rows(images):
    """Images (..., height, width, channels) as rows."""
    return images.reshape(*images.shape[:-3], -1)


def noise(seeds=0):
    return Streams(seeds, "noise")


def alike(augment, images, seeds=0):
    """One call on images (n, height, width, channels), for augmentations that say which shape they want."""
    return augment(rows(images), np.zeros((len(images), 1)), noise(seeds))[0].reshape(images.shape)


# -- what all have in common ---------------------------------------------------------------------------------


def law_a_member_is_augmented_alone(make, seeds, dtype):
    """Two calls: the streams must advance alone, too."""
    seeds = np.array(seeds)
    together, augment = noise(seeds), make(0.5)
    batches = [batch(seeds.shape, dtype=dtype), batch(seeds.shape, n=7, dtype=dtype)]
    results = [augment(x, y, together)[0] for x, y in batches]
    for s in np.ndindex(seeds.shape):
        alone = noise(seeds[s])
        for (x, y), result in zip(batches, results, strict=True):
            np.testing.assert_array_equal(result[s], augment(x[s], y[s], alone)[0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seeds", LEADS, ids=["S", "L x S"])
@every
def test_a_member_is_augmented_alone(make, seeds, dtype):
    law_a_member_is_augmented_alone(make, seeds, dtype)


def law_a_strength_may_differ_between_members(make):
    """Settings x seeds in one call are as many calls with one setting each."""
    strengths = np.array([[0.25], [0.75]])
    seeds, (x, y) = np.array([[0, 1, 2]] * 2), batch((2, 3))
    together = make(strengths)(x, y, noise(seeds))[0]
    for s, strength in enumerate(strengths[:, 0]):
        np.testing.assert_array_equal(together[s], make(strength)(x[s], y[s], noise(seeds[s]))[0])


@every
def test_a_strength_may_differ_between_members(make):
    law_a_strength_may_differ_between_members(make)


@pytest.mark.parametrize("ends", [((0.0, [[1.0], [2.0]]),), (([[0.0], [1.0]], 2.0),)])
def test_one_end_of_a_range_may_differ_between_members(ends):
    seeds, (x, y) = np.array([[0, 1, 2]] * 2), batch((2, 3))
    together = Brightness(*ends)(x, y, noise(seeds))[0]
    low, high = np.broadcast_arrays(*(np.ravel(end) for end in ends[0]))
    for s in range(2):
        alone = Brightness((low[s], high[s]))(x[s], y[s], noise(seeds[s]))[0]
        np.testing.assert_array_equal(together[s], alone)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every
def test_only_the_result_is_new(make, dtype):
    (x, y), seeds = batch((2,), dtype=dtype), [0, 1]
    before = x.copy()
    new, targets = make(0.5)(x, y, noise(seeds))
    np.testing.assert_array_equal(x, before)
    assert targets is y
    assert not np.shares_memory(new, x)
    assert new.shape == x.shape
    assert new.dtype == dtype
    assert not np.array_equal(new, x)


@every
def test_both_precisions_see_the_same_changes(make):
    (x, y), (x32, y32) = batch(), batch(dtype="float32")
    np.testing.assert_allclose(make(0.5)(x, y, noise())[0], make(0.5)(x32, y32, noise())[0], atol=1e-5)


@every
def test_shared_data_are_data_that_every_member_has(make):
    """A shifted test set for every member, from one."""
    x, y = batch()
    shared, targets = make(0.5)(x, y, noise([0, 1]))
    np.testing.assert_array_equal(shared, make(0.5)(np.stack([x, x]), y, noise([0, 1]))[0])
    assert targets is y
    assert not np.array_equal(shared[0], shared[1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(EVERY) - {"Cutout"}))
def test_strength_zero_changes_not_one_bit(name, dtype):
    x, y = batch((2,), dtype=dtype)
    np.testing.assert_array_equal(EVERY[name](0.0)(x, y, noise([0, 1]))[0], x)


@every
def test_training_is_that_of_a_member_alone(make):
    x, y = batch()

    def trained(seeds):
        net = mlp(192, 4, 3, seeds=seeds, dtype="float32")
        fit(net, x, y, SGD(0.1), epochs=2, batch_size=8, augment=make(0.5))
        return net.theta

    np.testing.assert_array_equal(trained([3, 1, 3])[1], trained(1))


# -- geometry ------------------------------------------------------------------------------------------------


def law_resampling_is_that_of_scipy(channels=2, dtype="float64"):
    """With the draws made again, and the map written as a matrix: q = c + R^-1 (p - c - d) / m."""
    shape, n, fill = (6, 9, channels), 40, 0.3
    images = np.random.default_rng(0).random((n, *shape))
    augment = Affine(shape, degrees=(-20, 170), zoom=(0.5, 2.0), pixels=(-1.5, 3.0), fill=fill)
    ours = alike(augment, images.astype(dtype))
    u = noise().uniform((4, n)).astype(float)
    centre = np.array([2.5, 4.0])
    for k in range(n):
        turn, zoom = np.deg2rad(-20 + 190 * u[0, k]), 0.5 + 1.5 * u[1, k]
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / zoom
        offset = centre - matrix @ (centre - 1.5 + 4.5 * u[2:, k])
        for c in range(channels):
            theirs = ndimage.affine_transform(
                images[k, ..., c], matrix, offset, order=1, mode="grid-constant", cval=fill
            )
            np.testing.assert_allclose(ours[k, ..., c], theirs, atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("channels", [1, 2])
def test_resampling_is_that_of_scipy(channels, dtype):
    law_resampling_is_that_of_scipy(channels, dtype)


def test_scipy_stops_at_the_frame_by_default_and_we_do_not():
    """Mode "constant": a point half a pixel outside of the frame is all fill there, half fill here."""
    image = np.ones((4, 4, 1))
    ours = alike(Shift((0.5, 0.5), (4, 4), fractional=True), image[None])[0, ..., 0]
    theirs = ndimage.shift(image[..., 0], 0.5, order=1, mode="constant")
    np.testing.assert_allclose(ours[1:, 1:], theirs[1:, 1:])
    np.testing.assert_allclose(ours[0], [0.25, 0.5, 0.5, 0.5])
    assert not theirs[0].any()


def moved(image, down, right, fill):
    """The image (height, width, channels) moved by whole pixels, by cutting it out of a larger one."""
    h, w, _ = image.shape
    large = np.pad(image, [(h, h), (w, w), (0, 0)], constant_values=fill)
    return large[h - down : 2 * h - down, w - right : 2 * w - right]


def law_whole_shifts_are_exact_copies(limit=1, fill=0.25):
    """Each image is one of the (2 limit + 1)^2 shifted ones to the bit, and each of those is as frequent."""
    shape, n = (6, 7, 2), 900
    image = np.random.default_rng(0).random(shape)
    new = alike(Shift(limit, shape, fill=fill), np.stack([image] * n))
    steps = range(-limit, limit + 1)
    counts = [(new == moved(image, i, j, fill)).all((1, 2, 3)).sum() for i in steps for j in steps]
    assert sum(counts) == n
    assert stats.chisquare(counts).pvalue > 1e-3


def test_whole_shifts_are_exact_copies():
    law_whole_shifts_are_exact_copies()
    law_whole_shifts_are_exact_copies(limit=2, fill=0.0)


sizes = st.integers(1, 6)


@given(height=sizes, width=sizes, step=st.integers(-7, 7), fill=st.floats(-1, 1, width=32))
def test_images_of_any_size_are_shifted_by_any_number(height, width, step, fill):
    image = np.random.default_rng(0).random((1, height, width, 1)).astype(np.float32)
    new = alike(Shift((step, step), (height, width), fill=fill), image)
    wanted = moved(image[0], int(np.clip(step, -height, height)), int(np.clip(step, -width, width)), fill)
    np.testing.assert_array_equal(new[0], wanted)


def test_whole_shifts_keep_what_stays_in_the_frame():
    x = photographs()[:, :192].reshape(-1, *SHAPE).copy()
    x[:, [0, 1, -2, -1]] = x[:, :, [0, 1, -2, -1]] = 0
    new = alike(Shift(2, SHAPE), x)
    np.testing.assert_array_equal(np.sort(rows(new)), np.sort(rows(x)))


def test_shifts_by_half_a_pixel_keep_the_sum_of_what_stays_in_the_frame():
    x = photographs().reshape(-1, *SHAPE).copy()
    x[:, [0, -1]] = x[:, :, [0, -1]] = 0
    new = alike(Shift(1, SHAPE, fractional=True), x)
    np.testing.assert_allclose(new.sum((1, 2)), x.sum((1, 2)), rtol=1e-13)


def law_quarter_turns_are_exact():
    for size in (5, 8):
        images = np.random.default_rng(0).random((3, size, size, 2))
        for quarters in (-2, -1, 0, 1, 2, 3, 4):
            turned = alike(Rotate((90 * quarters, 90 * quarters), (size, size, 2)), images)
            np.testing.assert_array_equal(turned, np.rot90(images, quarters, axes=(1, 2)))


def test_quarter_turns_are_exact():
    law_quarter_turns_are_exact()


def test_half_turns_of_oblong_images_are_exact():
    images = np.random.default_rng(0).random((3, 4, 7, 1))
    np.testing.assert_array_equal(alike(Rotate((180, 180), (4, 7)), images), images[:, ::-1, ::-1])


def law_zoom_magnifies_about_the_centre():
    """A block of 3 x 3 pixels, three times as large, fills 7 x 7 (from centre to centre of its pixels)."""
    image = np.zeros((1, 9, 9, 1))
    image[:, 3:6, 3:6] = 1
    large = alike(Zoom((3.0, 3.0), (9, 9)), image)[0, ..., 0]
    np.testing.assert_allclose(large[1:8, 1:8], 1)
    assert large.max() == 1
    assert large[0].max() < 1
    small = alike(Zoom((0.5, 0.5), (9, 9)), image)[0, ..., 0]
    assert small.sum() == small[4, 4] == 1


def test_zoom_magnifies_about_the_centre():
    law_zoom_magnifies_about_the_centre()


def parameters(augment, size, n, seeds=8):
    """Angle, magnification and displacement, read off images whose pixels are their own coordinates."""
    ramp = np.indices((size, size)).transpose(1, 2, 0).ravel().astype(float)
    x, i = np.broadcast_to(ramp, (seeds, n, ramp.size)), size // 2
    q = augment(x, x, noise(range(seeds)))[0].reshape(-1, size, size, 2)
    row, column = q[:, i + 1, i, 0] - q[:, i, i, 0], q[:, i, i + 1, 0] - q[:, i, i, 0]
    angle, zoom = np.arctan2(column, row), 1 / np.hypot(row, column)
    c = (size - 1) / 2
    y, x = (q[:, i, i] - c).T * zoom
    down, right = i - c - np.cos(angle) * y + np.sin(angle) * x, i - c - np.sin(angle) * y - np.cos(angle) * x
    return np.rad2deg(angle), zoom, down, right


def law_draws_are_uniform_and_independent():
    augment = Affine((16, 16, 2), degrees=(-30, 20), zoom=0.25, pixels=2)
    drawn = parameters(augment, 16, 1000)
    for values, low, high in zip(drawn, (-30, 0.75, -2, -2), (20, 1.25, 2, 2), strict=True):
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
        assert values.min() > low - 1e-9
        assert values.max() < high + 1e-9
    correlation = np.corrcoef(drawn)
    assert np.abs(correlation - np.eye(4)).max() < 0.05  # between 8000 pairs: 4 standard errors


def test_draws_are_uniform_and_independent():
    law_draws_are_uniform_and_independent()


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: Rotate(15, (16, 16, 2)), (15, 0, 0)),
        (lambda: Zoom(0.25, (16, 16, 2)), (0, 0.25, 0)),
        (lambda: Shift(1.5, (16, 16, 2), fractional=True), (0, 0, 1.5)),
        (lambda: Affine((16, 16, 2)), (0, 0, 0)),
    ],
    ids=["Rotate", "Zoom", "Shift", "Affine"],
)
def test_each_kind_moves_what_its_name_says(make, wanted):
    angle, zoom, *moves = parameters(make(), 16, 100)
    for values, limit in zip((angle, zoom - 1, *moves), (*wanted, wanted[2]), strict=True):
        assert 0.95 * limit <= np.abs(values).max() <= limit + 1e-12


@pytest.mark.parametrize("augment", [Rotate(5, SHAPE), Affine(SHAPE, zoom=0.5, pixels=1), Shift(0, SHAPE)])
def test_arms_with_other_strengths_share_their_draws(augment):
    """Four numbers for each image, whatever is made of them."""
    streams = noise(), noise()
    augment(*batch(), streams[0])
    streams[1].uniform((4, 20))
    np.testing.assert_array_equal(*(stream.uniform((5,)) for stream in streams))


@pytest.mark.parametrize("fill", [None, 0.75])
def test_beyond_the_frame_lies_what_was_said_or_zero(fill):
    images, given = np.ones((1, 8, 8, 3)), {} if fill is None else {"fill": fill}
    for augment in (
        Affine(SHAPE, pixels=(9, 9), **given),
        Shift((9, 9), SHAPE, **given),
        Rotate((45, 45), SHAPE, **given),
        Zoom((0.5, 0.5), SHAPE, **given),
    ):
        assert (alike(augment, images)[0, 0, 0] == (fill or 0)).all()


def test_many_images_are_augmented_in_pieces_that_do_not_show():
    images = np.random.default_rng(0).random((300, 12, 12, 3))
    whole = alike(Rotate(40, (12, 12, 3)), images)
    u = noise().uniform((4, 300))[0].astype(float)
    for k in (0, 18, 19, 151, 299):
        fixed = Rotate((-40 + 80 * u[k], -40 + 80 * u[k]), (12, 12, 3))
        np.testing.assert_array_equal(whole[k], alike(fixed, images[k : k + 1])[0])


def test_an_image_may_be_larger_than_a_piece():
    images = np.random.default_rng(0).random((2, 100, 100, 1))
    np.testing.assert_array_equal(alike(Rotate((90, 90), (100, 100)), images), np.rot90(images, axes=(1, 2)))


# -- flips and holes -----------------------------------------------------------------------------------------


def law_a_flip_is_its_own_inverse_and_mirrors_the_right_axis(direction, axis):
    images = photographs().reshape(-1, *SHAPE)
    always = Flip(direction, SHAPE, probability=1.0)
    np.testing.assert_array_equal(alike(always, images), np.flip(images, axis))
    np.testing.assert_array_equal(alike(always, alike(always, images)), images)


def law_flips_have_their_probability(probability=None):
    augment = Flip("vertical", (4, 5), **({} if probability is None else {"probability": probability}))
    images = np.random.default_rng(0).random((2000, 4, 5, 1))
    new = alike(augment, images)
    same, mirrored = ((new == other).all((1, 2, 3)) for other in (images, images[:, ::-1]))
    assert (same ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), 2000, probability or 0.5).pvalue > 1e-3


@pytest.mark.parametrize(("direction", "axis"), [("horizontal", 2), ("vertical", 1)])
def test_a_flip_is_its_own_inverse_and_mirrors_the_right_axis(direction, axis):
    law_a_flip_is_its_own_inverse_and_mirrors_the_right_axis(direction, axis)


@pytest.mark.parametrize("probability", [None, 0.125, 0.75])
def test_flips_have_their_probability(probability):
    law_flips_have_their_probability(probability)


def law_a_hole_is_a_square_around_a_uniform_pixel(size, shape=(5, 7, 2)):
    """Every pixel of the image is the centre equally often; what lies outside of the frame is lost."""
    images = np.random.default_rng(0).random((3000, *shape))
    new = alike(Cutout(size, shape, fill=-1.0), images)
    hole = (new == -1).all(-1)
    np.testing.assert_array_equal(new[~hole], images[~hole])
    patterns = np.zeros((shape[0] * shape[1], *shape[:2]), bool)
    for k, (i, j) in enumerate(np.ndindex(shape[:2])):
        top, left = i - size // 2, j - size // 2
        patterns[k, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = True
    kinds, weights = np.unique(patterns, axis=0, return_counts=True)
    counts = np.array([(hole == kind).all((1, 2)).sum() for kind in kinds])
    assert counts.sum() == len(images)
    if len(kinds) > 1:
        assert stats.chisquare(counts, len(images) * weights / weights.sum()).pvalue > 1e-3
    area = patterns.sum((1, 2)).mean()  # at most size^2
    assert np.abs(hole.sum((1, 2)).mean() - area) <= 4 * hole.sum((1, 2)).std() / np.sqrt(len(images))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 14])
def test_a_hole_is_a_square_around_a_uniform_pixel(size):
    law_a_hole_is_a_square_around_a_uniform_pixel(size)


def test_a_probability_of_zero_is_never():
    """Not even where the uniform number is exactly 0."""

    class Zeros(Streams):
        def uniform(self, shape):
            return np.zeros(self.lead + shape, np.float32)

    x, y = batch()
    np.testing.assert_array_equal(Flip("vertical", SHAPE, probability=0.0)(x, y, Zeros(0, "noise"))[0], x)


def test_a_range_in_single_precision_is_drawn_from_in_double():
    x, y = batch()
    ends = np.float32(0.1), np.float32(0.3)
    for a, b in ((ends, (float(ends[0]), float(ends[1]))), ((0, 1), (0.0, 1.0))):
        np.testing.assert_array_equal(Brightness(a)(x, y, noise())[0], Brightness(b)(x, y, noise())[0])


def test_each_image_has_its_own_hole():
    new = alike(Cutout(3, (20, 20), fill=9.0), np.zeros((30, 20, 20, 1)))
    assert len(np.unique(rows(new), axis=0)) > 25


def test_holes_are_filled_with_zeros():
    assert (alike(Cutout(20, (5, 5)), np.ones((4, 5, 5, 1))) == 0).all()


# -- light and colour ----------------------------------------------------------------------------------------


def law_brightness_adds_one_uniform_number_to_each_image():
    x = photographs()[np.arange(2000) % 40]
    added = Brightness((-0.125, 0.375))(x, x, noise())[0] - x
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1], added.shape), atol=1e-15)
    assert stats.kstest(added[:, 0], stats.uniform(-0.125, 0.5).cdf).pvalue > 1e-3


def contrast_by_hand(image, factor):
    mean = np.array([image[..., c].mean() for c in range(3)])
    return (image - mean) * factor + mean


def color_by_hand(image, factor):
    grey = image @ [0.299, 0.587, 0.114]
    return grey[..., None] + factor * (image - grey[..., None])


def law_factors_are_uniform_and_do_what_they_say(make, by_hand):
    images = photographs()[np.arange(1000) % 40].reshape(-1, *SHAPE)
    new = alike(make(0.5, SHAPE), images)
    away = images - np.stack([by_hand(image, 0.0) for image in images])
    factors = (away * (new - images)).sum((1, 2, 3)) / (away**2).sum((1, 2, 3)) + 1
    wanted = np.stack([by_hand(image, f) for image, f in zip(images, factors, strict=True)])
    np.testing.assert_allclose(new, wanted, atol=1e-12)
    assert stats.kstest(factors, stats.uniform(0.5, 1.0).cdf).pvalue > 1e-3


def law_color_keeps_grey_and_luma():
    """Also in a grey image, of course, where nothing happens at all."""
    images = photographs().reshape(-1, *SHAPE)
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(alike(Color(1.0, SHAPE), images) @ luma, images @ luma, atol=1e-15)
    grey = np.repeat(images[..., :1], 3, axis=-1)
    np.testing.assert_allclose(alike(Color(1.0, SHAPE), grey), grey, atol=1e-15)


def law_limits_are_kept(make):
    images = photographs().reshape(-1, *SHAPE)
    free, kept = (alike(make(1.0, limits=limits), images) for limits in (None, (0.25, 0.5)))
    assert free.min() < 0.25
    assert free.max() > 0.5
    np.testing.assert_array_equal(kept, np.clip(free, 0.25, 0.5))


LIGHT = {
    "Brightness": Brightness,
    "Contrast": lambda a, **kw: Contrast(a, SHAPE, **kw),
    "Color": lambda a, **kw: Color(a, SHAPE, **kw),
}
contrast = partial(law_factors_are_uniform_and_do_what_they_say, Contrast, contrast_by_hand)
color = partial(law_factors_are_uniform_and_do_what_they_say, Color, color_by_hand)


def test_brightness_adds_one_uniform_number_to_each_image():
    law_brightness_adds_one_uniform_number_to_each_image()


@pytest.mark.parametrize("law", [contrast, color], ids=["Contrast", "Color"])
def test_factors_are_uniform_and_do_what_they_say(law):
    law()


def test_color_keeps_grey_and_luma():
    law_color_keeps_grey_and_luma()


@pytest.mark.parametrize("make", LIGHT.values(), ids=LIGHT)
def test_limits_are_kept(make):
    law_limits_are_kept(make)


def test_factor_zero_leaves_the_mean_or_grey():
    images = photographs().reshape(-1, *SHAPE)
    flat = alike(Contrast((0.0, 0.0), SHAPE), images)
    np.testing.assert_allclose(flat, np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape))
    grey = alike(Color((0.0, 0.0), SHAPE), images)
    np.testing.assert_array_equal(grey, np.repeat(grey[..., :1], 3, axis=-1))


def law_noise_is_standard_normal_times_std():
    x, y = batch((2,))
    new = GaussianNoise([0.5, 2.0])(x, y, noise([0, 1]))[0]
    z = (new - x) / np.array([0.5, 2.0])[:, None, None]
    np.testing.assert_allclose(z, noise([0, 1]).normal(x.shape[1:]), atol=1e-12)
    assert stats.kstest(z.ravel(), stats.norm.cdf).pvalue > 1e-3


def test_noise_is_standard_normal_times_std():
    law_noise_is_standard_normal_times_std()


# -- steps ---------------------------------------------------------------------------------------------------


def swap(x, y, noise):
    return x[..., ::-1, :], y[..., ::-1, :]


def law_steps_follow_each_other():
    x, y = batch((2,))
    steps = [Brightness(0.5), swap, Contrast(0.5, SHAPE)]
    stream, wanted = noise([0, 1]), (x, y)
    for step in steps:
        wanted = step(*wanted, stream)
    for ours, theirs in zip(Compose(*steps)(x, y, noise([0, 1])), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def law_some_examples_take_part(probability=0.25):
    """Those that do are changed with their targets."""
    x, y = batch(n=1001)
    y[500] = 9.0  # its own mirror image
    new_x, new_y = Sometimes(probability, swap)(x, y, noise())
    chosen = (new_x != x).any(-1)
    wanted = swap(x, y, None)
    np.testing.assert_array_equal(new_x, np.where(chosen[:, None], wanted[0], x))
    taken = noise().uniform((1001,)) < probability
    np.testing.assert_array_equal(new_y, np.where(taken[:, None], wanted[1], y))
    assert stats.binomtest(int(taken.sum()), 1001, probability).pvalue > 1e-3
    assert not (chosen & ~taken).any()


def test_steps_follow_each_other():
    law_steps_follow_each_other()


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_some_examples_take_part(probability):
    law_some_examples_take_part(probability)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [(8,), (8, 8, 3, 1), (0, 8), (8, -1), (8.0, 8), ("8", 8), 8, [8, 8], None])
def test_a_shape_is_height_width_and_perhaps_channels(bad):
    for make in (ImageAugmentation, Affine, partial(Flip, "vertical"), partial(Cutout, 1)):
        with refused("shape"):
            make(bad)


@pytest.mark.parametrize("bad", [(8, 8), (8, 8, 1), (8, 8, 4)])
def test_colour_takes_three_channels(bad):
    with refused("shape", ValueError):
        Color(0.5, bad)


STRENGTHS = {
    "degrees": lambda a: Rotate(a, SHAPE),
    "zoom": lambda a: Zoom(a, SHAPE),
    "pixels": lambda a: Shift(a, SHAPE),
    "amount": Brightness,
    "amount ": lambda a: Contrast(a, SHAPE),
    "amount  ": lambda a: Color(a, SHAPE),
    "std": GaussianNoise,
    "probability": lambda a: Flip("vertical", SHAPE, probability=a),
    "probability ": lambda a: Sometimes(a, swap),
    "size": lambda a: Cutout(a, SHAPE),
    "fill": lambda a: Shift(1, SHAPE, fill=a),
    "fill ": lambda a: Cutout(1, SHAPE, fill=a),
}


@pytest.mark.parametrize("bad", ["0.1", None, np.nan, np.inf, [1.0, np.nan], ["a"]])
@pytest.mark.parametrize("name", STRENGTHS)
def test_strengths_are_finite_numbers(name, bad):
    with refused(name.strip()):
        STRENGTHS[name](bad)


@pytest.mark.parametrize("bad", [(1.0,), (0.0, 1.0, 2.0), (2.0, 1.0), (np.nan, 1.0), (0.0, "1"), ()])
@pytest.mark.parametrize("name", ["degrees", "zoom", "pixels", "amount", "amount ", "amount  "])
def test_a_range_is_low_and_high(name, bad):
    with refused(name.strip()):
        STRENGTHS[name](bad)


@pytest.mark.parametrize("name", sorted(set(STRENGTHS) - {"fill", "fill "}))
def test_no_strength_is_negative(name):
    with refused(name.strip(), ValueError):
        STRENGTHS[name](-1)


@pytest.mark.parametrize("bad", [1.0, 2.0, (0.0, 1.0), (-1.0, 1.0)])
def test_a_magnification_is_positive(bad):
    with refused("zoom", ValueError):
        Zoom(bad, SHAPE)
    Zoom(0.875, SHAPE)


@pytest.mark.parametrize("make", [STRENGTHS["amount "], STRENGTHS["amount  "]])
def test_a_factor_is_not_negative(make):
    for bad in (1.125, (-0.125, 1.0)):
        with refused("amount", ValueError):
            make(bad)
    make(1.0)


@pytest.mark.parametrize("bad", [0.5, (0, 0.5), (-0.5, 1), [1, 1.5]])
def test_a_shift_is_by_whole_pixels_unless_it_is_fractional(bad):
    with refused("pixels", ValueError):
        Shift(bad, SHAPE)
    Shift(bad, SHAPE, fractional=True)
    Affine(SHAPE, pixels=bad)


@pytest.mark.parametrize("make", LIGHT.values(), ids=LIGHT)
@pytest.mark.parametrize("bad", [1.0, (0,), (0, 1, 2), (1, 0), (1, 1), (np.nan, 1), ("0", 1), [0, 1]])
def test_limits_are_two_numbers_in_order(make, bad):
    with refused("limits"):
        make(0.5, limits=bad)


def law_a_whole_shift_is_the_affine_one_without_its_arithmetic(shape=(6, 5, 3), pixels=3, dtype="float64"):
    x = np.random.default_rng(0).random((3, 20, int(np.prod(shape)))).astype(dtype)
    ways = Shift(pixels, shape, fill=0.5), Affine(shape, pixels=pixels, fractional=False, fill=0.5)
    moved, other = (way(x, x, Streams(range(3), "noise"))[0] for way in ways)
    np.testing.assert_array_equal(moved, other)
    assert moved.dtype == x.dtype


@pytest.mark.parametrize("shape", [(8, 8), (6, 5, 3)])
@pytest.mark.parametrize("pixels", [0, 1, 7, (-2, 1), np.arange(3)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_whole_shift_is_the_affine_one_without_its_arithmetic(shape, pixels, dtype):
    law_a_whole_shift_is_the_affine_one_without_its_arithmetic(shape, pixels, dtype)


@pytest.mark.parametrize("bad", ["diagonal", None, 1])
def test_a_direction_is_horizontal_or_vertical(bad):
    with refused("direction", ValueError):
        Flip(bad, SHAPE)


@pytest.mark.parametrize("bad", [None, 1, "flip", Brightness])
def test_steps_are_functions(bad):
    with refused("steps"):
        Compose(swap, bad)
    with refused("step"):
        Sometimes(0.5, bad)
    with refused("steps", ValueError):
        Compose()


@pytest.mark.parametrize(
    ("name", "x", "seeds"),
    [
        ("x: expected images of shape (8, 8, 3), got rows of 191 values", np.zeros((4, 191)), 0),
        ("x", np.zeros(192), 0),
        ("x", np.full((4, 192), np.nan), 0),
        ("x", np.zeros((0, 192)), 0),
        ("x", "images", 0),
        ("x's leading axes", np.zeros((3, 4, 192)), [0, 1]),
        ("x's leading axes", np.zeros((2, 4, 192)), 0),
    ],
)
def test_rows_are_images_of_that_shape(name, x, seeds):
    with refused(name):
        Rotate(5, SHAPE)(x, np.zeros((4, 2)), noise(seeds))


@pytest.mark.parametrize("name", sorted(set(STRENGTHS) - {"size", "fill", "fill "}))
def test_strengths_broadcast_to_the_ensemble(name):
    with refused(name.strip(), ValueError):
        STRENGTHS[name](np.ones(3) - 0.5 * (name != "pixels"))(*batch((2,)), noise([0, 1]))


@pytest.mark.parametrize("bad", [None, 0, np.random.default_rng(0)])
@every
def test_noise_is_streams(make, bad):
    with refused("noise", TypeError):
        make(0.5)(*batch(), bad)


def test_the_contract_must_be_filled_in():
    with pytest.raises(NotImplementedError):
        Augmentation()(*batch(), noise())
    with pytest.raises(NotImplementedError):
        ImageAugmentation(SHAPE)(*batch(), noise())


# -- Keras and PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.keras
def test_brightness_and_contrast_are_those_of_keras(keras):
    """Fixed, dyadic strengths: nothing is left to chance. Keras clips to its value range."""
    images = photographs().reshape(-1, *SHAPE)
    keras_layers = keras.layers
    theirs = keras_layers.RandomBrightness((0.25, 0.25), value_range=(0.0, 1.0), dtype="float64")
    ours = alike(Brightness((0.25, 0.25), limits=(0, 1)), images)
    np.testing.assert_allclose(ours, np.asarray(theirs(images.copy(), training=True)), atol=1e-15)
    contrast = keras_layers.RandomContrast((0.5, 0.5), value_range=(0.0, 1.0), dtype="float64")
    for factor in (0.5, 1.5):
        given = {"contrast_factor": np.full((len(images), 1, 1, 1), factor)}
        ours = alike(Contrast((factor, factor), SHAPE, limits=(0, 1)), images)
        theirs = np.asarray(contrast.transform_images(images, given))
        np.testing.assert_allclose(ours, theirs, atol=1e-14)


@pytest.mark.keras
def test_colour_is_that_of_keras_but_for_the_rounding_of_a_weight(keras):
    images = photographs().reshape(-1, *SHAPE)
    layer = keras.layers.RandomColorDegeneration((0.25, 0.25), value_range=(0.0, 1.0), dtype="float64")
    theirs = np.asarray(layer(images, training=True))
    np.testing.assert_allclose(alike(Color((0.75, 0.75), SHAPE, limits=(0, 1)), images), theirs, atol=1e-4)


@pytest.mark.keras
def test_keras_counts_turns_shares_of_the_size_and_shrinks(keras):
    """Its rotation by 1/24 is ours by 15 degrees, and so on. Its geometry knows float32 only."""
    keras.config.set_floatx("float32")
    images = photographs().reshape(-1, *SHAPE).astype("float32")
    common = {"fill_mode": "constant", "fill_value": 0.25}
    layers = keras.layers
    pairs = [
        (layers.RandomRotation((1 / 24, 1 / 24), **common), Rotate((15, 15), SHAPE, fill=0.25)),
        (layers.RandomZoom((0.25, 0.25), **common), Zoom((0.8, 0.8), SHAPE, fill=0.25)),
        (layers.RandomZoom((-0.2, -0.2), **common), Zoom((1.25, 1.25), SHAPE, fill=0.25)),
        (
            layers.RandomTranslation((0.1875, 0.1875), (0.1875, 0.1875), **common),
            Shift((1.5, 1.5), SHAPE, fractional=True, fill=0.25),
        ),
    ]
    for theirs, ours in pairs:
        keras_images = np.asarray(theirs(images, training=True))
        np.testing.assert_allclose(alike(ours, images), keras_images, atol=1e-5)


@pytest.mark.torch
def test_resampling_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    images = photographs().reshape(-1, *SHAPE)
    turn = np.deg2rad(25)
    theta = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]]) / 1.5
    grid = torch.nn.functional.affine_grid(
        torch.tensor(np.stack([theta] * len(images))), (len(images), 3, 8, 8), align_corners=False
    )
    theirs = torch.nn.functional.grid_sample(
        torch.tensor(images.transpose(0, 3, 1, 2)), grid, padding_mode="zeros", align_corners=False
    )
    ours = alike(Affine(SHAPE, degrees=(25, 25), zoom=(1.5, 1.5)), images)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), atol=1e-12)


# -- planted bugs --------------------------------------------------------------------------------------------

alone = partial(law_a_member_is_augmented_alone, EVERY["Affine"], [4, 1, 4], "float64")
arrays = partial(law_a_strength_may_differ_between_members, EVERY["Affine"])
horizontal = partial(law_a_flip_is_its_own_inverse_and_mirrors_the_right_axis, "horizontal", 2)
hole = law_a_hole_is_a_square_around_a_uniform_pixel

affine_shift = law_a_whole_shift_is_the_affine_one_without_its_arithmetic

BUGS = {
    # affine resampling
    "images turn clockwise": Bug(
        Affine, "change", "sindg(angle)", "sindg(-angle)", law_quarter_turns_are_exact
    ),
    "degrees are taken for radians": Bug(
        Affine, "change", "cosdg(angle) / zoom, sindg(angle)", "np.cos(angle) / zoom, np.sin(angle)",
        law_resampling_is_that_of_scipy,
    ),
    "the cosine of 90 degrees is not quite 0": Bug(
        Affine, "change", "cosdg(angle) / zoom, sindg(angle)",
        "np.cos(np.pi / 180 * angle) / zoom, np.sin(np.pi / 180 * angle)", law_quarter_turns_are_exact,
    ),
    "zoom shrinks": Bug(
        Affine, "change", "cosdg(angle) / zoom, sindg(angle) / zoom",
        "cosdg(angle) * zoom, sindg(angle) * zoom", law_zoom_magnifies_about_the_centre,
    ),
    "images turn about a pixel beside the centre": Bug(
        Affine, "change", "i = np.arange(height) - (height - 1) / 2", "i = np.arange(height) - height / 2",
        law_quarter_turns_are_exact,
    ),
    "images move to the other side": Bug(
        Affine, "change", "(width - 1) / 2 - right", "(width - 1) / 2 + right",
        law_resampling_is_that_of_scipy,
    ),
    "images move along the diagonal only": Bug(
        Affine, "change", "draw(u[..., k, :], noise)", "draw(u[..., min(k, 2), :], noise)",
        law_resampling_is_that_of_scipy,
    ),
    "whole shifts move along the diagonal only": Bug(
        Shift, "change", "for k in (2, 3)", "for k in (2, 2)", law_whole_shifts_are_exact_copies
    ),
    "whole shifts go the other way": Bug(
        Shift, "change", "reach - down", "reach + down", affine_shift
    ),
    "whole shifts draw other numbers": Bug(
        Shift, "change", "noise.uniform((4, images.shape[-4]))",
        "noise.uniform((5, images.shape[-4]))[..., 1:, :]", affine_shift,
    ),
    "oblong images have the centre of square ones": Bug(
        Affine, "change", "columns = ((width", "columns = ((height", law_resampling_is_that_of_scipy
    ),
    "all images of a batch change alike": Bug(
        Affine, "change", "u = noise.uniform((4, images.shape[-4]))",
        "u = np.repeat(noise.uniform((4, 1)), images.shape[-4], -1)", law_draws_are_uniform_and_independent,
    ),
    "all members change alike": Bug(
        Affine, "change", "u = noise.uniform((4, images.shape[-4]))",
        "u = noise.uniform((4, images.shape[-4])); u[:] = u[0]", alone,
    ),
    "all members have the strength of the first": Bug(
        augmentation.Range, "__call__", "low + (high - low) * u",
        "low.flat[0] + (high.flat[0] - low.flat[0]) * u", arrays,
    ),
    "the largest shift never comes": Bug(
        augmentation.Range, "__call__", "(high - low + 1)", "(high - low)", law_whole_shifts_are_exact_copies
    ),
    "shifts are cut off towards zero": Bug(
        augmentation.Range, "__call__", "low + np.floor((high - low + 1) * u)",
        "np.trunc(low - 0.5 + (high - low + 1) * u)", partial(law_whole_shifts_are_exact_copies, 2),
    ),
    "the frame repeats its border": Bug(
        geometry, "_bilinear", "np.clip(rows, -1, height, out=rows)",
        "np.clip(rows, 0, height - 1, out=rows)", law_resampling_is_that_of_scipy,
    ),
    "beyond the frame lies zero": Bug(
        geometry, "_bilinear", "width + 3, channels), fill,", "width + 3, channels), 0,",
        law_resampling_is_that_of_scipy,
    ),
    "images flow into their neighbours": Bug(
        geometry, "_bilinear", "np.clip(columns, -1, width", "np.clip(columns, -4, width",
        law_resampling_is_that_of_scipy,
    ),
    "rows and columns are weighted the wrong way round": Bug(
        geometry, "_bilinear", "down, right = rows[..., None], columns[..., None]",
        "right, down = rows[..., None], columns[..., None]", law_resampling_is_that_of_scipy,
    ),
    "the nearest pixel is copied": Bug(
        geometry, "_bilinear", "rows -= top", "rows[...] = 0", law_resampling_is_that_of_scipy
    ),
    "channels are taken for columns": Bug(
        geometry, "_bilinear", "pixels.take(at + channels)", "pixels.take(at + 1)",
        law_resampling_is_that_of_scipy,
    ),
    # flips
    "flips mirror the wrong axis": Bug(Flip, "change", '== "horizontal"', '!= "horizontal"', horizontal),
    "flips turn by 180 degrees": Bug(
        Flip, "change", "images[..., ::-1, :] if", "images[..., ::-1, ::-1, :] if", horizontal
    ),
    "flips swap colours": Bug(Flip, "change", "images[..., ::-1, :] if", "images[..., ::-1] if", horizontal),
    "flips happen with 1 - p": Bug(
        geometry, "chosen", "<", ">=", partial(law_flips_have_their_probability, 0.125)
    ),
    "the whole batch is flipped or not": Bug(
        geometry, "chosen", "noise.uniform((count,))", "np.repeat(noise.uniform((1,)), count, -1)",
        law_flips_have_their_probability,
    ),
    # light and colour
    "brightness changes each pixel by itself": Bug(
        Brightness, "transform", "(x.shape[-2], 1)", "x.shape[-2:]",
        law_brightness_adds_one_uniform_number_to_each_image,
    ),
    "brightness only adds": Bug(
        Brightness, "transform", "amount.astype", "np.abs(amount).astype",
        law_brightness_adds_one_uniform_number_to_each_image,
    ),
    "brightness multiplies": Bug(
        Brightness, "transform", "x + amount.astype(x.dtype)", "x * (1 + amount)",
        law_brightness_adds_one_uniform_number_to_each_image,
    ),
    "limits are forgotten": Bug(
        augmentation, "_clip", "limits is None", "True", partial(law_limits_are_kept, Brightness)
    ),
    "limits are 0 and 1 whatever was said": Bug(
        augmentation, "_clip", "*limits", "0, 1", partial(law_limits_are_kept, Brightness)
    ),
    "contrast is taken about the mean of the batch": Bug(
        Contrast, "change", "(-3, -2)", "(-4, -3, -2)", contrast
    ),
    "contrast is taken about the mean of all channels": Bug(
        Contrast, "change", "(-3, -2)", "(-3, -2, -1)", contrast
    ),
    "contrast is taken about zero": Bug(augmentation, "_blend", "(1 - factor) * other", "0", contrast),
    "contrast and grey change places": Bug(
        augmentation, "_blend", "new = factor * images", "factor = 1 - factor; new = factor * images",
        contrast,
    ),
    "grey is the mean of the channels": Bug(
        Color, "change", "0.299 * red + 0.587 * green + 0.114 * blue", "(red + green + blue) / 3",
        law_color_keeps_grey_and_luma,
    ),
    "red and blue are swapped": Bug(
        Color, "change", "red, green, blue =", "blue, green, red =", law_color_keeps_grey_and_luma
    ),
    "the weights of grey do not sum to 1": Bug(
        Color, "change", "0.299 *", "0.2989 *", law_color_keeps_grey_and_luma
    ),
    "each channel has its own factor": Bug(
        Color, "change", "(images.shape[-4], 1, 1, 1)", "(images.shape[-4], 1, 1, 3)", color
    ),
    # noise
    "std is taken for the variance": Bug(
        GaussianNoise, "transform", "std *", "std**0.5 *", law_noise_is_standard_normal_times_std
    ),
    "noise is uniform": Bug(
        GaussianNoise, "transform", "noise.normal(x.shape[-2:], x.dtype)", "noise.uniform(x.shape[-2:])",
        law_noise_is_standard_normal_times_std,
    ),
    "noise is shared by the batch": Bug(
        GaussianNoise, "transform", "noise.normal(x.shape[-2:], x.dtype)",
        "noise.normal(x.shape[-1:])[:, None]", law_noise_is_standard_normal_times_std,
    ),
    # cutout
    "holes lie inside of the frame": Bug(
        geometry, "box", "noise.integers(size, (count,)) - extent // 2",
        "noise.integers(size - extent + 1, (count,))", partial(hole, 3),
    ),
    "holes reach to both sides of the centre": Bug(
        geometry, "box", "start + extent", "start + 2 * extent", partial(hole, 2)
    ),
    "an odd hole lacks its last pixel": Bug(
        geometry, "box", "start + extent", "start + extent // 2 * 2", partial(hole, 3)
    ),
    "holes start at the random pixel": Bug(geometry, "box", " - extent // 2", "", partial(hole, 3)),
    "holes are bars": Bug(
        geometry, "box", "[..., :, None] & inside", "[..., :, None] | inside", partial(hole, 2)
    ),
    "holes lie on the diagonal": Bug(
        geometry, "box", "return inside(shape[0], height)[..., :, None] & inside(shape[1], width)",
        "a = inside(shape[0], height); return a[..., :, None] & a", partial(hole, 2, (5, 5, 2)),
    ),
    "holes are filled with 0": Bug(Cutout, "change", "self.fill", "0", partial(hole, 3)),
    # steps
    "steps run backwards": Bug(
        Compose, "transform", "in self.steps", "in self.steps[::-1]", law_steps_follow_each_other
    ),
    "only the inputs are handed on": Bug(
        Compose, "transform", "x, y = step(x, y, noise)", "x = step(x, y, noise)[0]",
        law_steps_follow_each_other,
    ),
    "targets of all examples change": Bug(
        Sometimes, "transform", "np.where(taking_part, new_y, y)", "new_y", law_some_examples_take_part
    ),
    "the others take part": Bug(
        Sometimes, "transform", "np.where(taking_part, new_x, x)", "np.where(taking_part, x, new_x)",
        law_some_examples_take_part,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed(bug, monkeypatch):
    check_noticed(bug, monkeypatch)
