"""A deep equilibrium with a skip, step by step: two epochs at fixed depth 5, then the equilibrium.

    image (8 x 8) -> convolution (8 x 4 x 4) -> z = tanh(conv z + conv x), from z = u0(x) -> dense (10)

The loss is the cross entropy and 0.01 times the mean square of z - u0, which draws the start to the equilibrium. Once
u0 is a convolution of its own, once the cell itself from zeros, which saves that convolution. Run with
`python examples/digits_deq_tutorial.py`; the figure is written to `examples/output/digits_deq_tutorial.png`. The images
are the 1,797 of 8 x 8 pixels that come with scikit-learn (E. Alpaydin, C. Kaynak, Optical recognition of handwritten
digits, UCI machine learning repository, 1998).
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
from sklearn.model_selection import train_test_split

import symdeq as sd

jax.config.update("jax_enable_x64", True)

OUTPUT = Path(__file__).parent / "output"
BATCH = 64
CHANNELS = 8
DEPTH = 5
WEIGHT = 0.01  # of the mean square of z - u0
NAMES = {False: "skip: u0 is a convolution of x", True: "reduced: u0 is the cell at zero"}


def convolution(key: Array) -> eqx.nn.Conv2d:
    """3 x 3, that keeps its shape (8, 4, 4)."""
    return eqx.nn.Conv2d(CHANNELS, CHANNELS, 3, padding="SAME", key=key, dtype=jnp.float32)


class Cell(eqx.Module):
    """(z, x) -> tanh(conv z + conv x)."""

    state: eqx.nn.Conv2d
    entry: eqx.nn.Conv2d

    def __init__(self, key: Array):
        first, second = jax.random.split(key)
        self.state, self.entry = convolution(first), convolution(second)

    def __call__(self, z: Array, x: Array) -> Array:
        return jnp.tanh(self.state(z) + self.entry(x))


class Classifier(eqx.Module):
    """From an image, shape (8, 8), to the logits of ten digits; `reduced` for a start without weights of its own."""

    first: eqx.nn.Conv2d
    deq: sd.DEQ
    last: eqx.nn.Linear

    def __init__(self, key: Array, *, reduced: bool):
        keys = jax.random.split(key, 4)
        self.first = eqx.nn.Conv2d(1, CHANNELS, 2, stride=2, key=keys[0], dtype=jnp.float32)
        self.deq = sd.SkipDEQ(Cell(keys[1]), init=None if reduced else convolution(keys[2]))
        self.last = eqx.nn.Linear(CHANNELS * 16, 10, key=keys[3], dtype=jnp.float32)

    def features(self, image: Array) -> Array:
        return jax.nn.relu(self.first(image[None]))

    def __call__(self, image: Array, depth: int | None = None) -> tuple[Array, sd.DEQInfo]:
        z, info = self.deq(self.features(image), depth=depth, return_info=True)
        return self.last(z.reshape(-1)), info


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (images, 8, 8), and labels: to train on, and a held-out quarter."""

    images: np.ndarray
    labels: np.ndarray
    held_images: np.ndarray
    held_labels: np.ndarray

    def batches(self, epochs: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and labels in an order that is new in each epoch."""
        random = np.random.default_rng(seed)
        for _ in range(epochs):
            order = random.permutation(len(self.labels))
            for rows in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
                yield self.images[rows], self.labels[rows]


@dataclass(frozen=True)
class Measured:
    """Over the held-out images.

    - `accuracy`: the share that is recognised.
    - `nfe`, `nfe_from_zeros`: evaluations of the cell, on average, from u0 and from zeros.
    - `distance`, `distance_from_zeros`: the root mean square of z - u0, and of z.
    """

    accuracy: float
    nfe: float
    nfe_from_zeros: float
    distance: float
    distance_from_zeros: float

    def __str__(self) -> str:
        return (
            f"recognised {self.accuracy:.3f}; {self.nfe:.1f} evaluations from u0, {self.nfe_from_zeros:.1f} from zeros;"
            f" z is {self.distance:.2f} from u0, {self.distance_from_zeros:.2f} from zeros"
        )


@dataclass(frozen=True)
class Run:
    """What one training did: measured after the epochs at fixed depth and at the end, and the losses of both."""

    pretrained: Measured
    trained: Measured
    losses: tuple[np.ndarray, np.ndarray]
    network: Classifier


def read() -> Digits:
    """The digits of scikit-learn; each is as frequent in both parts."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    images, held_images, labels, held_labels = (np.asarray(part) for part in split)
    return Digits(images=images, labels=labels, held_images=held_images, held_labels=held_labels)


def _loss(network: Classifier, batch: tuple[Array, Array], depth: int | None) -> Array:
    images, labels = batch
    logits, info = jax.vmap(lambda image: network(image, depth))(images)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return entropy + WEIGHT * jnp.mean((info.z_star - info.u0) ** 2)


def loss_at_depth(network: Classifier, batch: tuple[Array, Array]) -> Array:
    """The loss where the cell is applied five times."""
    return _loss(network, batch, DEPTH)


def loss(network: Classifier, batch: tuple[Array, Array]) -> Array:
    """The loss at the equilibrium."""
    return _loss(network, batch, None)


@eqx.filter_jit
def _found(network: Classifier, images: Any) -> tuple[Array, sd.DEQInfo, sd.DEQInfo]:
    def one(image: Array) -> tuple[Array, sd.DEQInfo, sd.DEQInfo]:
        logits, info = network(image)
        _, from_zeros = network.deq(network.features(image), z0=jnp.zeros_like(info.z_star), return_info=True)
        return logits, info, from_zeros

    return jax.vmap(one)(images)


def measure(network: Classifier, digits: Digits) -> Measured:
    """How the equilibria of held-out images are read, and what they cost."""
    logits, info, from_zeros = _found(network, digits.held_images)
    return Measured(
        accuracy=float(np.mean(np.argmax(logits, axis=-1) == digits.held_labels)),
        nfe=float(jnp.mean(info.nfe)),
        nfe_from_zeros=float(jnp.mean(from_zeros.nfe)),
        distance=float(jnp.sqrt(jnp.mean((info.z_star - info.u0) ** 2))),
        distance_from_zeros=float(jnp.sqrt(jnp.mean(info.z_star**2))),
    )


def trained(digits: Digits, *, reduced: bool, epochs: int) -> Run:
    """Two epochs at depth 5 and `epochs` at the equilibrium."""
    optimiser = optax.adam(3e-3)
    network = Classifier(jax.random.key(0), reduced=reduced)
    first = sd.train(network, loss_at_depth, batches=digits.batches(2, 0), optimiser=optimiser, progress=False)
    pretrained = measure(first.module, digits)
    second = sd.train(first.module, loss, batches=digits.batches(epochs, 1), optimiser=optimiser, progress=False)
    run = Run(pretrained, measure(second.module, digits), (first.losses, second.losses), second.module)
    print(f"{NAMES[reduced]}\n  after depth 5:        {pretrained}\n  after the equilibrium: {run.trained}")
    return run


def main(output: Path = OUTPUT, epochs: int = 8) -> dict[bool, Run]:
    """Train both, print what they read and what their searches cost, and draw; returns them by `reduced`."""
    digits = read()
    runs = {reduced: trained(digits, reduced=reduced, epochs=epochs) for reduced in (False, True)}
    figure = draw(runs)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "digits_deq_tutorial.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'digits_deq_tutorial.png'}")
    return runs


def draw(runs: dict[bool, Run]) -> Any:
    """The losses of both stages, and the evaluations that a search takes from each start."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for (reduced, run), color in zip(runs.items(), ("C0", "C1"), strict=True):
        left.semilogy(np.concatenate(run.losses), color=color, linewidth=1, label="reduced" if reduced else "skip")
        stages = (run.pretrained, run.trained)
        right.plot([0, 1], [s.nfe for s in stages], "o-", color=color, label=NAMES[reduced])
        right.plot([0, 1], [s.nfe_from_zeros for s in stages], "o--", color=color, label="  the same from zeros")
    left.axvline(len(runs[False].losses[0]), color="0.5", linewidth=1)
    left.set(title="training", xlabel="step", ylabel="loss")
    right.set(title="a search", ylabel="evaluations of the cell", xlim=(-0.3, 1.3), ylim=(0, 32))
    right.set_xticks([0, 1], ["after depth 5", "after the equilibrium"])
    left.legend(frameon=False)
    right.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


if __name__ == "__main__":
    main()
