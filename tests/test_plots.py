"""A plotting function draws the data on the axis that it was given, and returns the axis."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_checks import refused

from regularize import plots
from regularize.statistics import Interval, interval

RNG = np.random.default_rng(0)
X, VALUES = np.arange(4.0), RNG.standard_normal((4, 6))
INTERVALS = [Interval(0.2, 0.1, 20), Interval(-0.1, 0.3, 20)]
LAM, COEFS = np.array([10.0, 1.0, 0.1]), RNG.standard_normal((3, 2))
PIXELS = RNG.random((2, 9))
PLOTS = {
    "band": (plots.band, (X, VALUES)),
    "differences": (plots.differences, (["a", "b"], INTERVALS)),
    "coefficient_paths": (plots.coefficient_paths, (LAM, COEFS, ["p", "q"])),
}


@pytest.fixture(autouse=True)
def ax(monkeypatch):
    def show(*args, **kwargs):
        raise AssertionError("show was called")

    mpl.use("agg")
    monkeypatch.setattr(plt, "show", show)
    monkeypatch.setattr(mpl.figure.Figure, "show", show)
    with mpl.rc_context():
        plots.use_style()
        yield plt.subplots()[1]
    plt.close("all")


@pytest.mark.parametrize(("plot", "arguments"), PLOTS.values(), ids=PLOTS)
def test_a_plot_returns_its_axis_and_touches_no_other_and_no_data(ax, plot, arguments):
    figures, kept = plt.get_fignums(), [np.array(a, dtype=object, copy=True) for a in arguments]
    other = plt.figure(1).add_axes((0, 0, 1, 1))  # the current axis is not the one that was given
    assert plot(ax, *arguments) is ax
    assert ax.has_data()
    assert not other.has_data()
    assert plt.get_fignums() == figures
    assert all(np.array_equal(a, np.array(b, dtype=object)) for a, b in zip(kept, arguments, strict=True))


def test_a_band_is_the_mean_and_the_interval(ax):
    plots.band(ax, X, VALUES, label="loss", color="red")
    (line,), (shade,) = ax.lines, ax.collections
    np.testing.assert_allclose(line.get_xydata(), np.c_[X, VALUES.mean(1)])
    edges = shade.get_paths()[0].vertices
    rows = [interval(row) for row in VALUES]
    for x, row in zip(X, rows, strict=True):
        there = edges[edges[:, 0] == x, 1]
        np.testing.assert_allclose([there.min(), there.max()], [row.low, row.high])
    assert line.get_color() == "red"
    assert ax.get_legend_handles_labels()[1] == ["loss"]


def test_differences_stand_in_the_order_given_from_top_to_bottom(ax):
    plots.differences(ax, ["first", "second"], INTERVALS)
    points, _, (bars,) = ax.containers[0]
    rows = dict(zip((t.get_text() for t in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert rows["first"] > rows["second"]
    np.testing.assert_allclose(points.get_xydata(), [[0.2, rows["first"]], [-0.1, rows["second"]]])
    ends = [segment[:, 0] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[i.low, i.high] for i in INTERVALS])
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)  # no effect


def test_paths_are_drawn_on_a_logarithmic_axis_and_named_at_the_smallest_lambda(ax):
    plots.coefficient_paths(ax, LAM, COEFS, ["p", "q"])
    assert ax.get_xscale() == "log"
    for j in range(2):
        np.testing.assert_array_equal(ax.lines[j].get_xydata(), np.c_[LAM, COEFS[:, j]])
        assert ax.texts[j].xy == (0.1, COEFS[2, j])
    assert [t.get_text() for t in ax.texts] == ["p", "q"]
    assert not plots.coefficient_paths(plt.subplots()[1], LAM, COEFS).texts


def test_images_are_the_pixels():
    axes = plt.subplots(1, 2)[1]
    assert plots.images(axes, PIXELS, ["a", "b"]) is axes
    for ax, pixels, title in zip(axes, PIXELS, "ab", strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), pixels.reshape(3, 3))
        assert ax.get_title() == title
        assert not ax.axison


def test_series_differ_in_more_than_color(ax):
    lines = [ax.plot([0, 1])[0] for _ in range(7)]
    for look in ("get_color", "get_linestyle", "get_marker"):
        assert len({str(getattr(line, look)()) for line in lines}) >= (4 if look == "get_linestyle" else 7)
    assert [line.get_color() for line in lines] == plots.COLORS


def test_the_style_sets_what_it_says():
    with mpl.rc_context():
        mpl.rcdefaults()
        plots.use_style()
        assert mpl.rcParams["axes.grid"]
        assert not mpl.rcParams["axes.spines.top"]
        assert not mpl.rcParams["axes.spines.right"]
        assert mpl.rcParams["figure.figsize"] == [7.0, 3.6]
        assert mpl.rcParams["figure.constrained_layout.use"]


@pytest.mark.parametrize(
    ("name", "plot", "arguments"),
    [
        ("values", plots.band, (X, VALUES[:3])),
        ("values", plots.band, (X, VALUES[0])),
        ("values", plots.band, (X, VALUES[:, :1])),
        ("values", plots.band, (X, np.full((4, 6), np.nan))),
        ("x", plots.band, (VALUES, VALUES)),
        ("x", plots.band, (3.0, VALUES)),
        ("labels", plots.differences, (["a"], INTERVALS)),
        ("labels", plots.differences, ([], [])),
        ("coefs", plots.coefficient_paths, (LAM, COEFS[:2])),
        ("coefs", plots.coefficient_paths, (LAM, COEFS[:, 0])),
        ("coefs", plots.coefficient_paths, (LAM, np.full((3, 2), np.inf))),
        ("lam", plots.coefficient_paths, (0.1, COEFS)),
        ("lam", plots.coefficient_paths, ([1.0, 0.1, 0.0], COEFS)),
        ("names", plots.coefficient_paths, (LAM, COEFS, ["p", "q", "r"])),
        ("names", plots.coefficient_paths, (LAM, COEFS, ["p"])),
    ],
)
def test_wrong_shapes_are_refused_before_anything_is_drawn(ax, name, plot, arguments):
    with refused(name):
        plot(ax, *arguments)
    assert not ax.has_data()


@pytest.mark.parametrize(
    ("name", "pixels", "titles"),
    [
        ("pixels", PIXELS[:, :8], ()),
        ("pixels", PIXELS[:1], ()),
        ("pixels", PIXELS[0], ()),
        ("titles", PIXELS, ["a"]),
    ],
)
def test_images_of_wrong_shapes_are_refused(name, pixels, titles):
    with refused(name, ValueError):
        plots.images(plt.subplots(1, 2)[1], pixels, titles)


def test_names_stand_in_the_order_of_the_lines_and_do_not_overlap():
    _, ax = plt.subplots()
    ax.set_ylim(0, 10)
    plots.name_lines(ax, 1.0, [5.0, 5.0, 4.9, 0.0], ["a", "b", "c", "d"])
    height = {text.get_text(): text.xy[1] for text in ax.texts}
    assert height["d"] < height["c"] < height["a"] < height["b"]
    assert np.diff(sorted(height.values())).min() >= 0.45 - 1e-12


@pytest.mark.parametrize(
    ("heights", "names", "side", "named"),
    [
        ([1.0], ["a", "b"], "left", "heights"),
        ([np.nan], ["a"], "left", "heights"),
        ([1.0], ["a"], "up", "side"),
    ],
)
def test_names_that_do_not_fit_are_refused(heights, names, side, named):
    with pytest.raises(ValueError, match=f"{named}: expected"):
        plots.name_lines(plt.subplots()[1], 1.0, heights, names, side)
