"""Settings that all tests share."""

import os
from pathlib import Path

import matplotlib
import pytest
from hypothesis import settings

matplotlib.use("Agg")  # not through MPLBACKEND, which the kernels of the notebooks would inherit

# Two busy cores make any deadline fail now and then. On a server the examples are the same in every run.
settings.register_profile("book", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("book")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def keras():
    """Keras in float64: it computes its losses in one global precision, whatever the model's."""
    keras = pytest.importorskip("keras")
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # that of layers without a dtype, once it was asked for
    yield keras
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)
