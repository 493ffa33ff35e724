r"""Spectral normalization: a layer stretches no direction by more than sigma, its largest singular value.

A dense layer changes by at most ``||x W - x' W|| <= sigma(W) ||x - x'||``, and ReLU and tanh stretch nothing.
So the product of the sigmas bounds how far the outputs of the network can move when an input moves: its
Lipschitz constant. Two ways to hold sigma:

    SpectralDense    y = x W / sigma(W) + b        the layer divides, and its gradient knows
    SpectralNorm     W <- W min(1, limit / sigma)  a constraint after each step

The first is that of Miyato et al. (2018). Sigma comes from power iteration: with row vectors u (one entry
an output) and v (one an input) that are kept from step to step,

    v <- u W^T / ||u W^T||,    u <- v W / ||v W||,    sigma = v W u^T.

One round a step is the custom, since W changes little from step to step. The estimate is never too large:
the true norm of ``W / sigma`` is 1 or above, by some percent, and 20 where two singular values are close.

``keras.layers.SpectralNormalization`` is neither: in training, each call overwrites the kernel by
``W / sigma``, up or down, and the gradient knows nothing of it. PyTorch's
``torch.nn.utils.parametrizations.spectral_norm`` is SpectralDense; there, u and v start from noise and 15
rounds, and are updated in the other order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regularize import checks
from regularize.checks import Array
from regularize.initialization import Initializer, lecun_normal
from regularize.layers import Dense, transpose
from regularize.network import Network


class SpectralDense(Dense):
    """The dense layer with ``W / sigma(W)`` in the place of W: of spectral norm 1, whatever the weights.

    Backward holds u and v constant, which gives the exact gradient once they are the singular vectors:

        G = x^T g,    dW = (G - sum(G * W / sigma) v^T u) / sigma,    dx = g W^T / sigma

    They are states, and start as the singular vectors of the first W. Only training iterates. A kernel that
    is all zeros is left as it is.

    Parameters
    ----------
    n_in, n_out : the numbers of inputs and outputs.
    iterations : rounds of power iteration in each training pass.
    init : how W is drawn (see ``regularize.initialization``).

    Raises
    ------
    TypeError, ValueError : widths or iterations that are no positive integers, ``init`` that is no function.
    """

    u: Array
    v: Array

    def __init__(self, n_in: int, n_out: int, iterations: int = 1, init: Initializer = lecun_normal) -> None:
        super().__init__(n_in, n_out, init)
        self.iterations = checks.integer("iterations", iterations)
        self.states = {"u": (1, n_out), "v": (1, n_in)}

    def initialize(self, network: Network) -> None:
        super().initialize(network)
        self.u[...], self.v[...] = singular_vectors(self.W)

    def forward(self, x: Array, train: bool) -> Array:
        if train and not self.replay:
            self.u[...], self.v[...] = power_iteration(self.W, self.u, self.v, self.iterations)
        sigma = self.v @ self.W @ transpose(self.u)
        self.x, self.sigma = x, np.where(sigma == 0, 1, sigma)
        self.normalized = self.W / self.sigma
        return x @ self.normalized + self.b

    def backward(self, g: Array) -> Array:
        G = transpose(self.x) @ g
        along = (G * self.normalized).sum((-1, -2), keepdims=True)
        self.dW[...] = (G - along * (transpose(self.v) @ self.u)) / self.sigma
        np.sum(g, axis=-2, keepdims=True, out=self.db)
        return g @ transpose(self.normalized)


class SpectralNorm:
    """``fit(..., constrain=SpectralNorm(2.0))``: no kernel's largest singular value exceeds ``limit``.

    A kernel over the limit is scaled as a whole, which keeps its shape. (The nearest matrix within the limit
    would cut its large singular values alone.) A kernel within the limit keeps every bit.

    Parameters
    ----------
    limit : a number or an array that broadcasts to lead.
    iterations : None computes sigma exactly, at the cost of several training steps; a number of
        rounds of power iteration costs next to nothing, and holds the limit approximately. The vectors
        are remembered: use one object per training run.

    Raises
    ------
    TypeError, ValueError : a limit that is not positive, iterations that are no positive integer; when
        called, a limit that does not broadcast to lead.
    """

    def __init__(self, limit: ArrayLike = 1.0, iterations: int | None = None) -> None:
        self.limit = checks.positive("limit", limit)
        self.iterations = None if iterations is None else checks.integer("iterations", iterations)
        self.net: Network | None = None

    def __call__(self, net: Network) -> None:
        checks.broadcasts("SpectralNorm.limit", np.shape(self.limit), net.lead)
        limit = np.asarray(self.limit, net.dtype)[..., None, None]
        kernels = net.kernels()
        if self.iterations is None:
            sigmas = [largest_singular_value(W) for W in kernels]
        else:
            if self.net is not net:
                self.net, self.vectors = net, [singular_vectors(W) for W in kernels]
            pairs = zip(kernels, self.vectors, strict=True)
            self.vectors = [power_iteration(W, u, v, self.iterations) for W, (u, v) in pairs]
            sigmas = [v @ W @ transpose(u) for W, (u, v) in zip(kernels, self.vectors, strict=True)]
        for W, sigma in zip(kernels, sigmas, strict=True):
            W *= limit / np.maximum(sigma, limit)


def power_iteration(W: Array, u: Array, v: Array, iterations: int) -> tuple[Array, Array]:
    """``u: lead + (1, n_out)`` and ``v: lead + (1, n_in)`` after some rounds; they stay where W is 0."""
    for _ in range(iterations):
        v = _unit(u @ transpose(W), v)
        u = _unit(v @ W, u)
    return u, v


def singular_vectors(W: Array) -> tuple[Array, Array]:
    """The rows u and v of the largest singular value: ``v W = sigma u`` and ``u W^T = sigma v``."""
    left, _, right = np.linalg.svd(_finite(W), full_matrices=False)
    return right[..., :1, :], transpose(left[..., :, :1])


def largest_singular_value(W: Array) -> Array:
    """Sigma of each ``W: lead + (n_in, n_out)``, shape ``lead + (1, 1)``; 0 for a member that diverged."""
    return np.linalg.svd(_finite(W), compute_uv=False)[..., :1, None]


def _unit(row: Array, otherwise: Array) -> Array:
    length = np.sqrt((row * row).sum(-1, keepdims=True))
    return np.where(length > 0, row / np.where(length > 0, length, 1), otherwise)


def _finite(W: Array) -> Array:
    """Members with NaN or infinite weights become 0: the decomposition would fail for all the others, too."""
    return np.where(np.isfinite(W).all((-1, -2), keepdims=True), W, 0)
