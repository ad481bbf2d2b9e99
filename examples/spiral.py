"""A neural ODE learns a spiral from thirty points: u' = network(u) for u' = Aᵀu³, A = [[-0.1, 2], [-2, -0.1]].

The network takes u³ through 50 hidden tanh to two numbers. Run with `python examples/spiral.py`; the figure is written
to `examples/output/spiral.png`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import symdeq as sd
from symdeq import D, Eq

jax.config.update("jax_enable_x64", True)
OUTPUT = Path(__file__).parent / "output"

START = (2.0, 0.0)
TIMES = np.linspace(0.0, 1.5, 30)
# Starts that are not in the data: beside the way that they take, and inside it, where there are none.
BESIDE, INSIDE = (0.0, 1.8), (1.6, 0.0)
AHEAD = np.linspace(0.0, 1.2, 25)


@dataclasses.dataclass(frozen=True)
class Run:
    """What `main` did.

    - `data`: shape (30, 2).
    - `before`: the neural ODE as it was drawn.
    - `training`: its `module` is the neural ODE at the end.
    - `errors`: by new start, the distance from the exact solution, shape (25,).
    """

    data: np.ndarray
    before: sd.NeuralODE
    training: sd.Training
    errors: dict[tuple[float, float], np.ndarray]


def exact(start: tuple[float, float], times: np.ndarray) -> np.ndarray:
    """The solution of the equation itself, shape (times, 2)."""
    u, v = sd.states(u=start[0], v=start[1])
    equations = [Eq(D(u), -0.1 * u**3 - 2 * v**3), Eq(D(v), 2 * u**3 - 0.1 * v**3)]
    model = sd.compile(sd.System(equations, name="spiral"))
    return np.asarray(sd.solve(model, saveat=times, rtol=1e-10, atol=1e-12).ys)


def cubed(u: jax.Array) -> jax.Array:
    """What the network is fed: the exact system is linear in it."""
    return u**3


def neural_ode(key: jax.Array, rtol: float = 1e-7, atol: float = 1e-9) -> sd.NeuralODE:
    """u' = network(u) from 0 to 1.5, with the states at `TIMES`."""
    first, second = jax.random.split(key)
    layers = (
        eqx.nn.Lambda(cubed),
        eqx.nn.Linear(2, 50, key=first),
        eqx.nn.Lambda(jnp.tanh),
        eqx.nn.Linear(50, 2, key=second),
    )
    return sd.NeuralODE(eqx.nn.Sequential(layers), saveat=TIMES, size=2, rtol=rtol, atol=atol, max_steps=1024)


def loss(node: sd.NeuralODE, data: jax.Array) -> jax.Array:
    """The sum of squares of what is missed."""
    return jnp.sum((node(jnp.array(START)) - data) ** 2)


def main(output: Path = OUTPUT, steps: int = 1000) -> Run:
    """Make the data, train, ask for new starts, print how it went, and draw it."""
    data = exact(START, TIMES)
    print(f"u(1.5) = ({data[-1, 0]:.6f}, {data[-1, 1]:.6f})")

    before = neural_ode(jax.random.key(0))
    training = sd.train(before, loss, data, steps=steps, optimiser=optax.adam(0.1), progress=False)
    print(training)

    after, errors = training.module, {}
    for start, where in ((BESIDE, "beside"), (INSIDE, "inside")):
        found = after(jnp.array(start), saveat=AHEAD)
        errors[start] = np.linalg.norm(found - exact(start, AHEAD), axis=1)
        print(f"from {start}, {where} the data: off by {errors[start].mean():.2f} on average, to t = {AHEAD[-1]}")

    draw(data, before, after)
    output.mkdir(parents=True, exist_ok=True)
    plt.savefig(output / "spiral.png", dpi=110)
    plt.close()
    print(f"figure: {output / 'spiral.png'}")
    return Run(data, before, training, errors)


def draw(data: np.ndarray, before: sd.NeuralODE, after: sd.NeuralODE) -> Any:
    """Data and neural ODE, before and after training, and its way from a start beside the data."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained", sharex=True, sharey=True)
    learned = {"marker": "o", "facecolors": "none", "edgecolors": "C1", "s": 28, "label": "neural ODE"}
    for ax, node, title in ((axes[0], before, "before"), (axes[1], after, "after")):
        ax.scatter(*data.T, s=10, color="C0", label="data")
        ax.scatter(*node(jnp.array(START)).T, **learned)
        ax.set(title=title, xlabel="$u_1$")
    axes[0].set_ylabel("$u_2$")
    axes[2].plot(*data.T, color="0.8", linewidth=1, label="way of the data", zorder=0)
    axes[2].scatter(*exact(BESIDE, AHEAD).T, s=10, color="C0", label="exact")
    axes[2].scatter(*after(jnp.array(BESIDE), saveat=AHEAD).T, **learned)
    axes[2].set(title="from a new start", xlabel="$u_1$")
    for ax in axes:
        ax.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
        ax.legend(loc="center", frameon=False, fontsize="small")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
