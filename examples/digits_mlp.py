"""A differential equation inside a dense network: handwritten digits, recognised by the populations they lead to.

    image (64) -> dense (32), relu -> dense (6) -> Lotka-Volterra -> its logarithms at 8 times (16) -> dense (10)

Six numbers, all that the second layer says of an image, are the four rates and both first populations. Run with
`python examples/digits_mlp.py`; the figure is written to `examples/output/digits_mlp.png`. The images are the 1,797 of
8 x 8 pixels that come with scikit-learn (E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI machine
learning repository, 1998).
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
import sympy as sp
from jaxtyping import Array
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symdeq as sd
from symdeq import D, Eq

jax.config.update("jax_enable_x64", True)

OUTPUT = Path(__file__).parent / "output"
TIMES = np.linspace(0.25, 2.0, 8)
NOMINAL = (1.5, 1.0, 3.0, 1.0, 1.0, 1.0)  # the four rates, and both populations at the start
BATCH = 64


def populations() -> sd.ODELayer:
    """From four rates and two first populations to the logarithms of both, shape (8, 2)."""
    x, y = sd.states(x=1.0, y=1.0)
    a, b, c, d = sd.parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    model = sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="lotka_volterra"))
    # In a batch a switching solver runs both of its methods; nothing here is stiff.
    return sd.ODELayer(
        model,
        [a, b, c, d, x, y],
        [sp.log(x), sp.log(y)],
        saveat=TIMES,
        rtol=1e-4,
        atol=1e-6,
        solver=dfx.Tsit5(),
        max_steps=64,
    )


class Classifier(eqx.Module):
    """From an image, shape (64,), to the logits of ten digits."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear
    ode: sd.ODELayer
    last: eqx.nn.Linear

    def __init__(self, key: Array):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Linear(64, 32, key=keys[0])
        self.second = eqx.nn.Linear(32, 6, key=keys[1])
        self.ode = populations()
        self.last = eqx.nn.Linear(2 * len(TIMES), 10, key=keys[2])

    def values(self, image: Array) -> Array:
        """Rates and first populations, shape (6,): positive, and at most e times more or less than nominal."""
        hidden = jax.nn.relu(self.first(image))
        return jnp.array(NOMINAL) * jnp.exp(jnp.tanh(self.second(hidden)))

    def __call__(self, image: Array) -> Array:
        return self.last(self.ode(self.values(image)).reshape(-1))


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (images, 64), and labels: to train on, and a held-out quarter."""

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
    split = train_test_split(images / 16, labels, test_size=0.25, random_state=0, stratify=labels)
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


def main(output: Path = OUTPUT, epochs: int = 25) -> tuple[sd.Training, list[float]]:
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
        optimiser=optax.adam(1e-2),
        callback=record,
        progress=False,
    )
    shares.append(accuracy(training.module, digits))
    print(training)
    print(f"recognised: {shares[-1]:.3f} of {len(digits.held_labels)} held-out images")

    figure = draw(training, shares, digits)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "digits_mlp.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'digits_mlp.png'}")
    return training, shares


def draw(training: sd.Training, shares: list[float], digits: Digits) -> Any:
    """The course of training, the populations that digits lead to, and what was read."""
    network = training.module
    figure = plt.figure(figsize=(10, 3.6), layout="constrained")
    curve, plane, pictures = np.asarray(figure.subfigures(1, 3, width_ratios=(1, 1.25, 1)))

    ax = training.plot(curve.subplots())
    ax.plot([], color="C1", label="recognised, held out")
    ax.set(title="training", ylabel="cross entropy")
    ax.legend(frameon=False, loc="upper right")
    right = ax.twinx()
    right.plot(np.linspace(0, len(training.losses), len(shares)), shares, color="C1")
    right.set(ylim=(0, 1.25), yticks=[0, 0.5, 1])
    right.grid(False)

    ax = plane.subplots()
    times = np.linspace(0.0, 2.0, 41)
    values = jax.vmap(network.values)(digits.held_images)
    for digit in range(10):
        middle = jnp.median(values[digits.held_labels == digit], axis=0)
        sol = network.ode.solve(middle, saveat=times)
        x, y = np.asarray(sol["x"]), np.asarray(sol["y"])
        (line,) = ax.plot(x, y, color=plt.get_cmap("tab10")(digit), linewidth=1.5)
        ax.plot(x[0], y[0], "o", color=line.get_color(), markersize=4)
        ax.annotate(str(digit), (x[-1], y[-1]), color=line.get_color(), weight="bold")
    ax.set(title="a typical image of each digit", xlabel="x", ylabel="y", xscale="log", yscale="log")

    read = np.asarray(predict(network, digits.held_images))
    wrong = np.flatnonzero(read != digits.held_labels)[:4]
    chosen = [*np.flatnonzero(read == digits.held_labels)[: 16 - len(wrong)], *wrong]
    pictures.suptitle("read as (wrong in red)", fontsize="medium")
    for ax, i in zip(pictures.subplots(4, 4).flat, chosen, strict=True):
        ax.imshow(digits.held_images[i].reshape(8, 8), cmap="gray_r")
        ax.set_title(str(read[i]), fontsize="small", color="red" if i in wrong else "black", pad=2)
        ax.axis("off")
    return figure


if __name__ == "__main__":
    main()
