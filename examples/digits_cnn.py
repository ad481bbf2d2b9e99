"""A neural differential equation inside a convolutional network, on handwritten digits.

    image (8 x 8) -> convolution 2 x 2 (16), relu, pool -> convolution 2 x 2 (8), relu, pool -> flatten (32)
        -> u' = net(u), u(0) the features -> dense (10)

The two convolutions see edges; the equation, one network that acts for a unit of time, moves their 32 features to where
a linear layer can tell the digits apart. Run with `python examples/digits_cnn.py`; the figure is written to
`examples/output/digits_cnn.png`. The same network in flax is `examples/digits_cnn_flax.py`. The images are the 1,797
of 8 x 8 pixels that come with scikit-learn (E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI
machine learning repository, 1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from jaxtyping import Array
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symdeq as sd

jax.config.update("jax_enable_x64", True)

OUTPUT = Path(__file__).parent / "output"
BATCH = 64
FEATURES = 32


class Classifier(eqx.Module):
    """From an image, shape (8, 8), to the logits of ten digits."""

    convolutions: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    pool: eqx.nn.MaxPool2d
    ode: sd.NeuralODE
    last: eqx.nn.Linear

    def __init__(self, key: Array):
        keys = jax.random.split(key, 4)
        self.convolutions = (
            eqx.nn.Conv2d(1, 16, 2, padding="SAME", key=keys[0]),
            eqx.nn.Conv2d(16, 8, 2, padding="SAME", key=keys[1]),
        )
        self.pool = eqx.nn.MaxPool2d(2, 2)
        net = eqx.nn.MLP(FEATURES, FEATURES, 32, 1, activation=jnp.tanh, key=keys[2])
        # In a batch a switching solver runs both of its methods; nothing here is stiff.
        self.ode = sd.NeuralODE(net, t1=1.0, rtol=1e-3, atol=1e-3, solver=dfx.Tsit5(), max_steps=64)
        self.last = eqx.nn.Linear(FEATURES, 10, key=keys[3])

    def features(self, image: Array) -> Array:
        """What the convolutions see in an image, shape (32,)."""
        z = image[None]
        for convolution in self.convolutions:
            z = self.pool(jax.nn.relu(convolution(z)))
        return z.reshape(-1)

    def __call__(self, image: Array) -> Array:
        return self.last(self.ode(self.features(image)))


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (images, 8, 8), and labels: to train on, and a held-out quarter."""

    images: np.ndarray
    labels: np.ndarray
    held_images: np.ndarray
    held_labels: np.ndarray

    def batches(self, epochs: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and labels in an order that is new in each epoch."""
        random = np.random.default_rng(0)
        for _ in range(epochs):
            order = random.permutation(len(self.labels))
            for rows in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
                yield self.images[rows], self.labels[rows]


def read() -> Digits:
    """The digits of scikit-learn; each is as frequent in both parts."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    split = train_test_split(images.reshape(-1, 8, 8) / 16, labels, test_size=0.25, random_state=0, stratify=labels)
    images, held_images, labels, held_labels = (np.asarray(part) for part in split)
    return Digits(images=images, labels=labels, held_images=held_images, held_labels=held_labels)


def loss(network: Classifier, batch: tuple[Array, Array]) -> Array:
    """The cross entropy, over a batch."""
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network)(images), labels).mean()


@eqx.filter_jit
def predict(network: Classifier, images: Any) -> Array:
    """The digits that images show, by the network."""
    return jnp.argmax(jax.vmap(network)(images), axis=-1)


def accuracy(network: Classifier, digits: Digits) -> float:
    """The share of held-out images that are recognised."""
    return float(np.mean(np.asarray(predict(network, digits.held_images)) == digits.held_labels))


def main(output: Path = OUTPUT, epochs: int = 40) -> tuple[sd.Training, list[float]]:
    """Train, say how many held-out images are recognised, and draw; returns that share after each epoch, too."""
    digits = read()
    shares: list[float] = []

    def record(step: int, value: float, network: Classifier) -> None:
        if step % (len(digits.labels) // BATCH) == 0:
            shares.append(accuracy(network, digits))

    training = sd.train(
        Classifier(jax.random.key(0)),
        loss,
        batches=digits.batches(epochs),
        optimiser=optax.adam(3e-3),
        callback=record,
        progress=False,
    )
    shares.append(accuracy(training.module, digits))
    print(training)
    print(f"recognised: {shares[-1]:.3f} of {len(digits.held_labels)} held-out images")

    figure = draw(training, shares, digits)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "digits_cnn.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'digits_cnn.png'}")
    return training, shares


def draw(training: sd.Training, shares: list[float], digits: Digits) -> Any:
    """The course of training, and where the equation moves the features, seen along the plane of most variation."""
    network = training.module
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    training.plot(axes[0])
    axes[0].plot([], color="C1", label="recognised, held out")
    axes[0].set(title="training", ylabel="cross entropy")
    axes[0].legend(frameon=False, loc="upper right")
    right = axes[0].twinx()
    right.plot(np.linspace(0, len(training.losses), len(shares)), shares, color="C1")
    right.set(ylim=(0, 1.25), yticks=[0, 0.5, 1])
    right.grid(False)

    images, labels = digits.held_images[:200], digits.held_labels[:200]
    before = np.asarray(jax.vmap(network.features)(images))
    after = np.asarray(jax.vmap(network.ode)(before))
    for ax, points, title in ((axes[1], before, "features, t = 0"), (axes[2], after, "features, t = 1")):
        centred = points - points.mean(axis=0)
        plane = np.linalg.svd(centred, full_matrices=False)[2][:2]
        for digit in range(10):
            x, y = (centred[labels == digit] @ plane.T).T
            ax.plot(x, y, "o", color=plt.get_cmap("tab10")(digit), markersize=3.5, label=str(digit))
        ax.set(title=title, xticks=[], yticks=[])
    axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", handletextpad=0)
    return figure


if __name__ == "__main__":
    main()
