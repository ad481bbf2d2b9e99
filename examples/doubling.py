"""A deep equilibrium layer learns to double: z = net(z + x), trained to give 2 x on x = 1 .. 10.

The search starts at z(0) = net(x) and follows z' = net(z + x) - z until it rests. The network, 1 -> 5 -> 1 and linear,
is the line a z + b, so that the equilibrium is (a x + b) / (1 - a): it doubles every x, seen in training or not, where
a is 2/3 and b is 0. Run with `python examples/doubling.py`; the figure is written to `examples/output/doubling.png`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import symdeq as sd

jax.config.update("jax_enable_x64", True)
OUTPUT = Path(__file__).parent / "output"

INPUTS = np.arange(1.0, 11.0)[:, None]
OUTSIDE = -5.0
FOLLOWED = np.array([[OUTSIDE], [1.0], [5.0], [10.0]])
TIMES = np.linspace(0.0, 100.0, 401)


class Shifted(eqx.Module):
    """The cell (z, x) -> net(z + x)."""

    net: eqx.nn.Sequential

    def __call__(self, z: jax.Array, x: jax.Array) -> jax.Array:
        return self.net(z + x)

    def line(self) -> tuple[float, float]:
        """Slope and intercept of the network, which is linear."""
        at_zero, at_one = self.net(jnp.zeros(1))[0], self.net(jnp.ones(1))[0]
        return float(at_one - at_zero), float(at_zero)


@dataclasses.dataclass(frozen=True)
class Run:
    """What `main` did.

    - `before`: the layer as it was drawn.
    - `training`: its `module` is the layer at the end.
    - `outside`: what it makes of x = -5.
    - `ways`: z at `TIMES` for each of `FOLLOWED`, shape (4, 401).
    """

    before: sd.DEQ
    training: sd.Training
    outside: float
    ways: np.ndarray


def layer(key: jax.Array) -> sd.DEQ:
    """The layer, with a network of 16 numbers; the search starts at the cell's own guess, net(x)."""
    first, second = jax.random.split(key)
    net = eqx.nn.Sequential((eqx.nn.Linear(1, 5, key=first), eqx.nn.Linear(5, 1, key=second)))
    # Steps more exact than the rest that is asked for: errors of 1e-4 of z = 20 would keep z from ever resting to 1e-4.
    return sd.SkipDEQ(Shifted(net), solver=dfx.Tsit5(), rtol=1e-5, atol=1e-4)


def loss(deq: sd.DEQ, inputs: jax.Array) -> jax.Array:
    """The mean square of what is missed."""
    return jnp.mean((jax.vmap(deq)(inputs) - 2 * inputs) ** 2)


@eqx.filter_jit
def equilibria(deq: sd.DEQ, inputs: Any) -> jax.Array:
    """What the layer makes of inputs, both of shape (inputs, 1)."""
    return jax.vmap(deq)(inputs)


@eqx.filter_jit
def trajectories(deq: sd.DEQ, inputs: Any) -> jax.Array:
    """The way of the search from net(x) for each input, shape (inputs, 401), at `TIMES`: beyond where a search ends."""

    exact = sd.SkipDEQ(deq.cell, solver=deq.solver, rtol=1e-6, atol=1e-9)
    return jax.vmap(lambda x: exact.trajectory(x, TIMES))(inputs)[..., 0]


def main(output: Path = OUTPUT, steps: int = 1000) -> Run:
    """Train, ask for an x that is far outside, follow the search, print how it went, and draw it."""
    before = layer(jax.random.key(0))
    training = sd.train(before, loss, INPUTS, steps=steps, optimiser=optax.adam(0.05), progress=False)
    print(training)

    after = training.module
    slope, intercept = after.cell.line()
    print(f"net(z) = {slope:.4f} z + {intercept:.4f}")
    outside = float(equilibria(after, np.array([[OUTSIDE]]))[0, 0])
    print(f"x = {OUTSIDE:g} leads to {outside:.4f}")
    ways = np.asarray(trajectories(after, FOLLOWED))
    late = ways[:, -len(TIMES) // 10 :]
    print(f"z(t) varies by {np.ptp(late, axis=1).max():.1e} over the last tenth of t = 0 .. {TIMES[-1]:g}")

    figure = draw(before, after)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "doubling.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'doubling.png'}")
    return Run(before=before, training=training, outside=outside, ways=ways)


def draw(before: sd.DEQ, after: sd.DEQ) -> Any:
    """The layer as a function of x, before and after, and the way of the search to its rest."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    xs = np.linspace(-10.0, 12.0, 45)
    for deq, style, label in ((before, "C1--", "before"), (after, "C0-", "after")):
        left.plot(xs, equilibria(deq, xs[:, None])[:, 0], style, label=label)
    left.plot(INPUTS, 2 * INPUTS, "ko", markersize=4, label="trained on")
    left.plot(OUTSIDE, equilibria(after, np.array([[OUTSIDE]]))[0, 0], "C3D", label="x = -5")
    left.set(title="the layer", xlabel="x", ylabel="equilibrium")
    for (x,), z in zip(FOLLOWED, trajectories(after, FOLLOWED), strict=True):
        right.plot(TIMES, z, color="C3" if x == OUTSIDE else "C0")
        right.annotate(f"x = {x:g}", (TIMES[-1], 2 * x), xytext=(0, 3), textcoords="offset points", ha="right")
    right.set(title="the search: z' = net(z + x) - z", xlabel="t", ylabel="z", ylim=(-12, 24))
    left.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
