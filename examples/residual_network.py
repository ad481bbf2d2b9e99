"""A residual network is Euler's method: with steps of 1, y' = network(y) becomes y + network(y), layer after layer.

A classifier of two moons is trained as a neural ODE with ten steps of Euler's method, then run as a stack of ten
residual layers, which gives the same numbers to the last bit. Run with `python examples/residual_network.py`; the
figure is written to `examples/output/residual_network.png`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import symdeq as sd

jax.config.update("jax_enable_x64", True)
OUTPUT = Path(__file__).parent / "output"

DEPTH = 10


class ResidualNetwork(eqx.Module):
    """`DEPTH` layers y -> y + block(y), all of the same weights; returns the activations at every depth.

    They run as a loop, as a solver's steps do: compiled one by one, XLA may add up a layer's products in another order.
    """

    block: eqx.nn.MLP

    def __call__(self, y: jax.Array) -> jax.Array:
        """From shape (2,) to shape (DEPTH + 1, 2): the input, and what comes out of each layer."""

        def layer(y: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            y = y + self.block(y)
            return y, y

        _, outputs = jax.lax.scan(layer, y, length=DEPTH)
        return jnp.concatenate([y[None], outputs])


class Classifier(eqx.Module):
    """A neural ODE that moves points, and a straight line between the two classes."""

    flow: sd.NeuralODE
    line: eqx.nn.Linear

    def __call__(self, point: jax.Array) -> jax.Array:
        """The logarithm of the odds for the second class."""
        return self.line(self.flow(point))[0]


@dataclasses.dataclass(frozen=True)
class Run:
    """What `main` did.

    - `points`, `labels`: shapes (points, 2) and (points,); those that are not trained with come last.
    - `training`: its `module` is the `Classifier` at the end.
    - `accuracy`: on the points that were not trained with; and with an accurate solution in place of Euler's steps.
    - `activations`: by precision, those of the solver and those of the stack, shapes (points, DEPTH + 1, 2).
    """

    points: np.ndarray
    labels: np.ndarray
    training: sd.Training
    accuracy: tuple[float, float]
    activations: dict[str, tuple[np.ndarray, np.ndarray]]


def two_moons(count: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Points on two half circles that reach into each other, with noise, and which of the two each is on."""
    which, where, noise = jax.random.split(key, 3)
    labels = jax.random.bernoulli(which, shape=(count,))
    angle = jax.random.uniform(where, (count,), maxval=jnp.pi)
    upper = jnp.stack([jnp.cos(angle) - 0.5, jnp.sin(angle) - 0.25], axis=1)
    points = jnp.where(labels[:, None], -upper, upper) + 0.1 * jax.random.normal(noise, (count, 2))
    return np.asarray(points), np.asarray(labels, float)


def euler(block: eqx.nn.MLP) -> sd.NeuralODE:
    """y' = block(y) from 0 to DEPTH, by steps of 1."""
    return sd.NeuralODE(block, t1=float(DEPTH), solver=diffrax.Euler(), max_steps=DEPTH)


def in_precision(block: eqx.nn.MLP, precision: str) -> eqx.nn.MLP:
    """The same weights, rounded."""
    return jax.tree.map(lambda leaf: leaf.astype(precision) if eqx.is_array(leaf) else leaf, block)


@eqx.filter_jit
def by_solver(flow: sd.NeuralODE, point: jax.Array) -> jax.Array:
    """The activations of a neural ODE at its own steps, shape (DEPTH + 1, 2)."""
    everything = sd.solve(flow.layer.fed(point), t1=flow.layer.t1, solver=flow.layer.solver, max_steps=DEPTH)
    return everything.ys[: DEPTH + 1]


@eqx.filter_jit
def by_stack(block: eqx.nn.MLP, point: jax.Array) -> jax.Array:
    """The activations of the residual network of the same weights."""
    return ResidualNetwork(block)(point)


@eqx.filter_jit
def mapped(function: Any, points: Any) -> jax.Array:
    """A function of one point, of many."""
    return jax.vmap(function)(jnp.asarray(points))


def loss(classifier: Classifier, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The cross-entropy of the labels, per point."""
    points, labels = data
    odds = jax.vmap(classifier)(points)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(odds, labels))


def main(output: Path = OUTPUT, steps: int = 300) -> Run:
    """Train, compare solver and stack bit by bit in both precisions, print, and draw."""
    points, labels = two_moons(400, jax.random.key(0))
    block, line = jax.random.split(jax.random.key(1))
    classifier = Classifier(
        flow=euler(eqx.nn.MLP(2, 2, 16, 1, activation=jnp.tanh, key=block)),
        line=eqx.nn.Linear(2, 1, key=line),
    )
    data = (points[:300], labels[:300])
    training = sd.train(classifier, loss, data, steps=steps, optimiser=optax.adam(0.01), progress=False)
    print(training)
    trained = training.module
    accurate = eqx.tree_at(lambda c: c.flow, trained, sd.NeuralODE(trained.flow.network, t1=float(DEPTH)))
    right, solved = (float(jnp.mean((mapped(c, points[300:]) > 0) == labels[300:])) for c in (trained, accurate))
    print(f"accuracy on 100 other points: {right:.2f}; by an accurate solution of the same equation: {solved:.2f}")

    activations = {}
    for precision in ("float32", "float64"):
        weights = in_precision(trained.flow.network, precision)
        flow, some = euler(weights), jnp.asarray(points[300:], precision)
        solver = np.stack([by_solver(flow, point) for point in some])
        stack = np.stack([by_stack(weights, point) for point in some])
        activations[precision] = (solver, stack)
        print(f"{precision}: {np.sum(solver != stack)} of {solver.size} activations differ")

    draw(points, labels, trained, activations["float64"][0])
    output.mkdir(parents=True, exist_ok=True)
    plt.savefig(output / "residual_network.png", dpi=90)
    plt.close()
    print(f"figure: {output / 'residual_network.png'}")
    return Run(points, labels, training, (right, solved), activations)


def draw(points: np.ndarray, labels: np.ndarray, classifier: Classifier, activations: np.ndarray) -> Any:
    """The points and how they are told apart, the activations against the depth, and where the points end."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
    colors = np.where(labels > 0, "C1", "C0")
    grid = np.meshgrid(np.linspace(-2, 2, 60), np.linspace(-1.6, 1.6, 60))
    odds = mapped(classifier, np.stack(grid, axis=-1).reshape(-1, 2)).reshape(60, 60)
    axes[0].contourf(*grid, odds > 0, levels=[-0.5, 0.5, 1.5], colors=["C0", "C1"], alpha=0.15)
    axes[0].scatter(*points.T, s=6, c=colors)
    axes[0].set(title="points", xlabel="$y_1$", ylabel="$y_2$")
    shown = range(0, len(activations), 3)
    for i in shown:
        axes[1].plot(activations[i, :, 0], color=colors[len(points) - len(activations) + i], linewidth=0.8, alpha=0.7)
    axes[1].set(title="activations", xlabel="depth, or time", ylabel="$y_1$", xticks=range(0, DEPTH + 1, 2))
    axes[2].scatter(*mapped(classifier.flow, points).T, s=6, c=colors)
    axes[2].set(title=f"after {DEPTH} layers", xlabel="$y_1$", ylabel="$y_2$")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
