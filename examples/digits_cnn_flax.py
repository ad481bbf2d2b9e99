"""The network of `examples/digits_cnn.py` in flax nnx: the same equation inside, trained by flax's own means.

Run with `python examples/digits_cnn_flax.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symdeq.flax as sdf

jax.config.update("jax_enable_x64", True)

FEATURES = 32


class Classifier(nnx.Module):
    """From images, shape (images, 8, 8), to the logits of ten digits, shape (images, 10)."""

    def __init__(self, rngs: nnx.Rngs):
        double = {"param_dtype": jnp.float64, "rngs": rngs}
        self.convolutions = nnx.List([nnx.Conv(1, 16, (2, 2), **double), nnx.Conv(16, 8, (2, 2), **double)])
        net = eqx.nn.MLP(FEATURES, FEATURES, 32, 1, activation=jnp.tanh, key=rngs())
        self.ode = sdf.NeuralODE(net, t1=1.0, rtol=1e-3, atol=1e-3, solver=dfx.Tsit5(), max_steps=64)
        self.last = nnx.Linear(FEATURES, 10, **double)

    def features(self, images: Array) -> Array:
        """What the convolutions see in images, shape (images, 32)."""
        z = images[..., None]
        for convolution in self.convolutions:
            z = nnx.max_pool(nnx.relu(convolution(z)), (2, 2), strides=(2, 2))
        return z.reshape(len(images), -1)

    def __call__(self, images: Array) -> Array:
        return self.last(jax.vmap(self.ode)(self.features(images)))


def loss(network: Classifier, images: Array, labels: Array) -> Array:
    """The cross entropy, over a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(network(images), labels).mean()


@nnx.jit
def step(network: Classifier, optimiser: nnx.Optimizer, images: Array, labels: Array) -> Array:
    """One step of the optimiser, and the loss before it."""
    value, gradient = nnx.value_and_grad(loss)(network, images, labels)
    optimiser.update(network, gradient)
    return value


def train(network: Classifier, batches: Iterable[tuple[Any, Any]]) -> list[float]:
    """A step for each batch, and the losses."""
    optimiser = nnx.Optimizer(network, optax.adam(3e-3), wrt=nnx.Param)
    return [float(step(network, optimiser, jnp.asarray(images), jnp.asarray(labels))) for images, labels in batches]


def main(epochs: int = 40) -> Classifier:
    """Train, and say how many held-out images are recognised."""
    images, labels = (jnp.asarray(part) for part in load_digits(return_X_y=True))
    chosen = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    images = images.reshape(-1, 8, 8) / 16
    trained, held = (jnp.asarray(rows) for rows in chosen)
    orders = (jax.random.permutation(jax.random.key(epoch), trained) for epoch in range(epochs))
    rows = (part for order in orders for part in order[: len(trained) // 64 * 64].reshape(-1, 64))
    network = Classifier(nnx.Rngs(0))
    losses = train(network, ((images[r], labels[r]) for r in rows))
    share = float(jnp.mean(jnp.argmax(network(images[held]), axis=-1) == labels[held]))
    print(f"loss {losses[0]:.3f} at first, {losses[-1]:.4f} at last")
    print(f"recognised: {share:.3f} of {len(held)} held-out images")
    return network


if __name__ == "__main__":
    main()
