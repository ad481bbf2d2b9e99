"""The equilibrium layer on handwritten digits that all peers train, in NumPy: data, weights, and an exact gradient.

    image (64) -> dense (100) -> z = tanh(W2 tanh(W1 (z + x) + b1) + b2), 100 -> 500 -> 100 -> dense (10)

The images are the 1,797 of 8 x 8 pixels that come with scikit-learn. The loss is the mean cross-entropy of a batch.
"""

from __future__ import annotations

import numpy as np

BATCH = 64
BATCHES = 1797 // BATCH  # the last five images are left out
STATE, HIDDEN = 100, 500
NAMES = ("enter", "enter_bias", "w1", "b1", "w2", "b2", "leave", "leave_bias")
MAX_STEPS = 32
RATE = 3e-4
# Spectral radius of W2 W1: the cell contracts, but not fast.
RADIUS = 0.5

Weights = dict[str, np.ndarray]


def weights() -> Weights:
    """The weights at the start, float32."""
    draw = np.random.default_rng(0)

    def dense(outputs: int, inputs: int) -> np.ndarray:
        return draw.uniform(-1, 1, (outputs, inputs)) / np.sqrt(inputs)

    w1, w2 = dense(HIDDEN, STATE), dense(STATE, HIDDEN)
    scale = np.sqrt(RADIUS / np.max(np.abs(np.linalg.eigvals(w2 @ w1))))
    values = (
        dense(STATE, 64),
        np.zeros(STATE),
        scale * w1,
        draw.uniform(-0.1, 0.1, HIDDEN),
        scale * w2,
        draw.uniform(-0.1, 0.1, STATE),
        dense(10, STATE),
        np.zeros(10),
    )
    return {name: value.astype(np.float32) for name, value in zip(NAMES, values, strict=True)}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Batches of images, shape (28, 64, 64), from -1 to 1, and their digits, shape (28, 64)."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(images))[: BATCH * BATCHES]
    images = (images[order] / 8 - 1).astype(np.float32)
    return images.reshape(BATCHES, BATCH, 64), digits[order].reshape(BATCHES, BATCH).astype(np.int32)


def residual(weights: Weights, images: np.ndarray, z: np.ndarray) -> float:
    """The largest entry of |cell(z, x) - z|, in float64."""
    p = _double(weights)
    return float(np.max(np.abs(_cell(p, z.astype(np.float64), _entered(p, images))[1] - z)))


def exact(weights: Weights, images: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, Weights]:
    """Equilibria, shape (n, 100), and the gradient of the loss by all weights: float64, Newton's method with dense
    matrices to 1e-12, and a dense solve for the derivative."""
    p = _double(weights)
    x = _entered(p, images)
    z = np.zeros_like(x)
    for _ in range(100):  # which brings it to where Newton's method converges
        z = 0.5 * (z + _cell(p, z, x)[1])
    for _ in range(50):
        hidden, out = _cell(p, z, x)
        if np.max(np.abs(out - z)) < 1e-12:
            break
        z = z + np.linalg.solve(np.eye(STATE) - _jacobians(p, hidden, out), (out - z)[..., None])[..., 0]
    else:
        raise RuntimeError("Newton's method found no equilibrium")
    hidden, out = _cell(p, z, x)
    logits = z @ p["leave"].T + p["leave_bias"]
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = chances / chances.sum(axis=1, keepdims=True)
    error[np.arange(len(digits)), digits] -= 1
    error /= len(digits)

    transposed = np.swapaxes(np.eye(STATE) - _jacobians(p, hidden, out), 1, 2)
    u = np.linalg.solve(transposed, (error @ p["leave"])[..., None])[..., 0]
    outer = u * (1 - out**2)
    inner = (outer @ p["w2"]) * (1 - hidden**2)
    entering = inner @ p["w1"]
    gradient = {
        "enter": entering.T @ images,
        "enter_bias": entering.sum(0),
        "w1": inner.T @ (z + x),
        "b1": inner.sum(0),
        "w2": outer.T @ hidden,
        "b2": outer.sum(0),
        "leave": error.T @ z,
        "leave_bias": error.sum(0),
    }
    return z, gradient


def error(found: Weights, reference: Weights) -> float:
    """The difference of two gradients as a part of the second, in the 2-norm."""
    difference, size = (
        np.sqrt(sum(np.sum(np.square(np.float64(value))) for value in values))
        for values in ([found[name] - reference[name] for name in NAMES], reference.values())
    )
    return float(difference / size)


def _double(weights: Weights) -> Weights:
    return {name: value.astype(np.float64) for name, value in weights.items()}


def _entered(p: Weights, images: np.ndarray) -> np.ndarray:
    return images.astype(np.float64) @ p["enter"].T + p["enter_bias"]


def _cell(p: Weights, z: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.tanh((z + x) @ p["w1"].T + p["b1"])
    return hidden, np.tanh(hidden @ p["w2"].T + p["b2"])


def _jacobians(p: Weights, hidden: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Of the cell by z, shape (n, 100, 100)."""
    return (1 - out**2)[:, :, None] * np.matmul(p["w2"][None] * (1 - hidden**2)[:, None, :], p["w1"])
