"""Regularization You Can Run: the reference library behind the book.

Every module is one idea, and every array may carry leading *ensemble* axes:

    x, y     lead + (n, features)      n examples; or (n, features), shared by all members
    weights  lead + (n_in, n_out)      lead = () for one network, (S,) for S seeds,
    theta    lead + (P,)               (L, S) for L settings x S seeds

so the code that trains one network trains a whole experiment, and member s of an
ensemble is, bit for bit, the network trained alone with seed s.
"""

import os

# TensorFlow reads these once, when it is imported, and otherwise writes log lines into notebooks.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# More than one BLAS thread makes the small products of this book slower, not faster.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
