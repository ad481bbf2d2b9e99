"""Handwritten digits by a deep equilibrium: where the features of an image come to rest tells what it shows.

    image (64) -> dense (100) -> z = cell(z + x), 100 -> 500 tanh -> 100 -> dense (10)

The equilibrium is found to 0.1, and trained on with a penalty on the Jacobian of the cell, without which the cell
ceases to contract. Run with `python examples/digits_equilibrium.py`; the figure is written to
`examples/output/digits_equilibrium.png`. The images are the 1,797 of 8 x 8 pixels that come with scikit-learn
(E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI machine learning repository, 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jaxtyping import Array
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_score
from sklearn.model_selection import train_test_split

import symdeq as sd

jax.config.update("jax_enable_x64", True)

OUTPUT = Path(__file__).parent / "output"
BATCH = 64
TOLERANCE = 0.1
PENALTY = 0.5  # times the mean square of the Jacobian, for each entry of z


class Cell(eqx.Module):
    """(z, x) -> what two layers make of z + x, both of shape (100,)."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear

    def __init__(self, key: Array):
        keys = jax.random.split(key)
        self.first = eqx.nn.Linear(100, 500, key=keys[0], dtype=jnp.float32)
        self.second = eqx.nn.Linear(500, 100, key=keys[1], dtype=jnp.float32)

    def __call__(self, z: Array, x: Array) -> Array:
        return self.second(jnp.tanh(self.first(z + x)))


class Classifier(eqx.Module):
    """From an image, shape (64,), to the logits of ten digits."""

    first: eqx.nn.Linear
    deq: sd.DEQ
    last: eqx.nn.Linear

    def __init__(self, key: Array, solver: Any = None):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Linear(64, 100, key=keys[0], dtype=jnp.float32)
        self.deq = sd.DEQ(Cell(keys[1]), solver, rtol=TOLERANCE, atol=TOLERANCE, jacobian_regularization=True)
        self.last = eqx.nn.Linear(100, 10, key=keys[2], dtype=jnp.float32)

    def __call__(self, image: Array, key: Array) -> tuple[Array, sd.DEQInfo]:
        z, info = self.deq(self.first(image), key=key, return_info=True)
        return self.last(z), info


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (images, 64), and labels: to train on, and a held-out quarter."""

    images: np.ndarray
    labels: np.ndarray
    held_images: np.ndarray
    held_labels: np.ndarray

    def batches(self, epochs: int) -> Iterator[tuple[np.ndarray, np.ndarray, Array]]:
        """Images and labels in an order that is new in each epoch, and a key for each image."""
        random, key = np.random.default_rng(0), jax.random.key(1)
        for _ in range(epochs):
            order = random.permutation(len(self.labels))
            for rows in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
                key, now = jax.random.split(key)
                yield self.images[rows], self.labels[rows], jax.random.split(now, BATCH)


@dataclass(frozen=True)
class Run:
    """What `main` did.

    - `accuracy`: the share of held-out images that are recognised.
    - `separation`: the mean silhouette of the classes, from -1 to 1, in pixels and in features z.
    - `evaluations`: of the cell for an image, on average.
    """

    training: sd.Training
    accuracy: float
    separation: tuple[float, float]
    evaluations: float


def read() -> Digits:
    """The digits of scikit-learn; each is as frequent in both parts."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    images = (images / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    images, held_images, labels, held_labels = (np.asarray(part) for part in split)
    return Digits(images=images, labels=labels, held_images=held_images, held_labels=held_labels)


def loss(network: Classifier, batch: tuple[Array, Array, Array]) -> Array:
    """The cross entropy over a batch, and the penalty that keeps the cell contracting."""
    images, labels, keys = batch
    logits, info = jax.vmap(network)(images, keys)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return entropy + PENALTY * info.jacobian_loss.mean()


@eqx.filter_jit
def found(network: Classifier, images: Any) -> tuple[Array, sd.DEQInfo]:
    """Logits and equilibria of images."""
    return jax.vmap(network)(images, jax.random.split(jax.random.key(0), len(images)))


def main(output: Path = OUTPUT, epochs: int = 20) -> Run:
    """Train, say how many held-out images are recognised and how far the classes are apart, and draw."""
    digits = read()
    training = sd.train(
        Classifier(jax.random.key(0)),
        loss,
        batches=digits.batches(epochs),
        optimiser=optax.adam(3e-3),
        progress=False,
    )
    print(training)
    logits, info = found(training.module, digits.held_images)
    accuracy = float(np.mean(np.argmax(logits, axis=-1) == digits.held_labels))
    print(f"recognised: {accuracy:.3f} of {len(digits.held_labels)} held-out images")
    print(f"at rest to {TOLERANCE}: {np.mean(info.ok):.3f}, after {np.mean(info.nfe):.1f} evaluations on average")
    features = np.asarray(info.z_star)
    separation = tuple(float(silhouette_score(x, digits.held_labels)) for x in (digits.held_images, features))
    print(f"silhouette of the classes: {separation[0]:.2f} in pixels, {separation[1]:.2f} at the equilibrium")

    figure = draw(training, features, digits)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "digits_equilibrium.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'digits_equilibrium.png'}")
    pixels, rest = separation
    return Run(training=training, accuracy=accuracy, separation=(pixels, rest), evaluations=float(np.mean(info.nfe)))


def plane(points: np.ndarray) -> np.ndarray:
    """Points along their two directions of most variation, shape (points, 2)."""
    centred = points - points.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def draw(training: sd.Training, features: np.ndarray, digits: Digits) -> Any:
    """The course of training, and held-out images in the plane of most variation: pixels, and features."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    training.plot(axes[0])
    axes[0].set(title="training", ylabel="cross entropy and penalty")
    for ax, points, title in ((axes[1], digits.held_images, "pixels"), (axes[2], features, "equilibria z*")):
        flat = plane(points)
        for digit in range(10):
            x, y = flat[digits.held_labels == digit].T
            ax.plot(x, y, "o", color=plt.get_cmap("tab10")(digit), markersize=3, label=str(digit))
        ax.set(title=title, xticks=[], yticks=[])
    axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", handletextpad=0)
    return figure


if __name__ == "__main__":
    main()
