"""A deep equilibrium beside explicit networks of as many parameters, on digits: what they read, and what memory.

The cell tanh(W z + U x + b) is searched for its equilibrium, or applied k times and differentiated step by step, or its
two matrices are two layers in a row. The memory that the gradient needs is what XLA says of the compiled program. Run
with `python examples/equilibrium_or_depth.py`; the figure is written to `examples/output/equilibrium_or_depth.png`. The
images are the 1,797 of 8 x 8 pixels that come with scikit-learn (E. Alpaydin, C. Kaynak, Optical recognition of
handwritten digits, UCI machine learning repository, 1998).
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
WIDTH = 64
COUNTS = (8, 16, 32, 64, 128)
PENALTY = 0.3  # times the mean square of the Jacobian of the cell, for each entry of z


class Cell(eqx.Module):
    """(z, x) -> tanh(W z + U x + b), b in two parts."""

    state: eqx.nn.Linear
    entry: eqx.nn.Linear

    def __init__(self, key: Array):
        first, second = jax.random.split(key)
        self.state = eqx.nn.Linear(WIDTH, WIDTH, key=first, dtype=jnp.float32)
        self.entry = eqx.nn.Linear(64, WIDTH, key=second, dtype=jnp.float32)

    def __call__(self, z: Array, x: Array) -> Array:
        return jnp.tanh(self.state(z) + self.entry(x))


class Classifier(eqx.Module):
    """From an image, shape (64,), to the logits of ten digits."""

    body: Any
    last: eqx.nn.Linear

    def __call__(self, image: Array) -> Array:
        return self.last(self.body(image))


def equilibrium(key: Array, steps: int = 32) -> Classifier:
    """The cell at its equilibrium, with so many steps of the search at most."""
    first, second = jax.random.split(key)
    deq = sd.DEQ(Cell(first), max_steps=steps, jacobian_regularization=True)
    return Classifier(deq, eqx.nn.Linear(WIDTH, 10, key=second, dtype=jnp.float32))


def unrolled(key: Array, depth: int = 8) -> Classifier:
    """The cell applied so often, and differentiated step by step."""
    first, second = jax.random.split(key)
    deq = sd.DEQ(Cell(first), max_steps=depth, backward="unrolled")
    return Classifier(deq, eqx.nn.Linear(WIDTH, 10, key=second, dtype=jnp.float32))


def plain(key: Array) -> Classifier:
    """Two hidden layers, with a matrix for each of the cell's."""
    first, second = jax.random.split(key)
    body = eqx.nn.MLP(64, WIDTH, WIDTH, 1, activation=jnp.tanh, final_activation=jnp.tanh, key=first, dtype=jnp.float32)
    return Classifier(body, eqx.nn.Linear(WIDTH, 10, key=second, dtype=jnp.float32))


NETWORKS = {"equilibrium": equilibrium, "unrolled, depth 8": unrolled, "two plain layers": plain}


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

    - `parameters`, `accuracy`: of each network.
    - `memory`: bytes for the gradient of a batch, by the number of iterations: of the equilibrium, and unrolled.
    """

    parameters: dict[str, int]
    accuracy: dict[str, float]
    memory: dict[str, np.ndarray]


def read() -> Digits:
    """The digits of scikit-learn; each is as frequent in both parts."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    images = (images / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    images, held_images, labels, held_labels = (np.asarray(part) for part in split)
    return Digits(images=images, labels=labels, held_images=held_images, held_labels=held_labels)


def loss(network: Classifier, batch: tuple[Array, Array, Array]) -> Array:
    """The cross entropy, over a batch."""
    images, labels, _ = batch
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network)(images), labels).mean()


def penalised(network: Classifier, batch: tuple[Array, Array, Array]) -> Array:
    """The cross entropy, and what keeps the cell of an equilibrium contracting."""
    images, labels, keys = batch
    z, info = jax.vmap(lambda image, key: network.body(image, key=key, return_info=True))(images, keys)
    entropy = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(network.last)(z), labels).mean()
    return entropy + PENALTY * info.jacobian_loss.mean()


@eqx.filter_jit
def predict(network: Classifier, images: Any) -> Array:
    """The digits that images show, by the network."""
    return jnp.argmax(jax.vmap(network)(images), axis=-1)


def parameters(network: Classifier) -> int:
    """How many numbers are trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array)))


def bytes_of_gradient(network: Classifier, batch: Any) -> int:
    """The memory beside arguments and results that the compiled gradient of the loss allocates."""
    arrays, rest = eqx.partition(network, eqx.is_array)
    gradient = jax.jit(jax.grad(lambda arrays, batch: loss(eqx.combine(arrays, rest), batch)))
    analysis = gradient.lower(arrays, batch).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes


def main(output: Path = OUTPUT, epochs: int = 20, counts: tuple[int, ...] = COUNTS) -> Run:
    """Train the three, measure the memory of gradients, print both, and draw."""
    digits, key = read(), jax.random.key(0)
    sizes, accuracy, memory = {}, {}, {}
    for name, build in NETWORKS.items():
        network, aim = build(key), penalised if build is equilibrium else loss
        training = sd.train(network, aim, batches=digits.batches(epochs), optimiser=optax.adam(3e-3), progress=False)
        sizes[name] = parameters(network)
        accuracy[name] = float(np.mean(predict(training.module, digits.held_images) == digits.held_labels))
        pace = 1e3 * np.median(training.seconds[1:])
        print(f"{name}: {sizes[name]} parameters, {accuracy[name]:.3f} recognised, {pace:.1f} ms a step")
    batch = next(digits.batches(1))
    for name, build in (("equilibrium", equilibrium), ("unrolled", unrolled)):
        memory[name] = np.array([bytes_of_gradient(build(key, count), batch) for count in counts])
        print(f"{name}: {', '.join(f'{b / 1e6:.2f}' for b in memory[name])} MB for {counts} iterations")

    figure = draw(counts, memory, accuracy)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "equilibrium_or_depth.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'equilibrium_or_depth.png'}")
    return Run(parameters=sizes, accuracy=accuracy, memory=memory)


def draw(counts: tuple[int, ...], memory: dict[str, np.ndarray], accuracy: dict[str, float]) -> Any:
    """Memory against iterations, and what each network reads."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, found in memory.items():
        left.plot(counts, found / 1e6, "o-", label=name)
    left.set(title="memory of the gradient", xlabel="iterations", ylabel="MB, batch of 64", ylim=(0, None))
    left.legend(frameon=False)
    right.barh(list(accuracy), list(accuracy.values()), height=0.5)
    for row, share in enumerate(accuracy.values()):
        right.annotate(
            f"{share:.3f}", (share, row), xytext=(-4, 0), textcoords="offset points", ha="right", va="center"
        )
    right.set(title="recognised, held out", xlim=(0, 1))
    right.invert_yaxis()
    return figure


if __name__ == "__main__":
    main()
