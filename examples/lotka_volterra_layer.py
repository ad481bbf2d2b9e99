"""A differential equation as a layer: train the four rates of Lotka-Volterra until both populations stay near 1.

    x' = alpha x - beta x y
    y' = -delta y + gamma x y

The layer takes the rates and returns both populations at 101 times. The loss is the sum of (x - 1)² over these times;
nothing is asked of y. Run with `python examples/lotka_volterra_layer.py`; the figure is written to
`examples/output/lotka_volterra_layer.png`.
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

START = (2.2, 1.0, 2.0, 0.4)  # alpha, beta, delta, gamma


@dataclasses.dataclass(frozen=True)
class Run:
    """What `main` did.

    - `layer`: from four rates to both populations, shape (101, 2).
    - `training`: its `module` are the rates at the end.
    - `recorded`: the rates and the populations at every step, shapes (steps, 4) and (steps, 101, 2).
    - `compilations`: of the training step.
    """

    layer: sd.ODELayer
    training: sd.Training
    recorded: tuple[np.ndarray, np.ndarray]
    compilations: int


def predator_and_prey() -> sd.ODELayer:
    """Four rates to both populations from 0 to 10, every 0.1."""
    x, y = sd.states(x=1.0, y=1.0)
    alpha, beta, delta, gamma = sd.parameters(alpha=2.2, beta=1.0, delta=2.0, gamma=0.4)
    prey = Eq(D(x), alpha * x - beta * x * y)
    predator = Eq(D(y), -delta * y + gamma * x * y)
    model = sd.compile(sd.System([prey, predator], name="lotka_volterra"))
    # A bound near the steps that are needed makes gradients faster.
    return sd.ODELayer(model, inputs=[alpha, beta, delta, gamma], outputs=[x, y], t1=10.0, saveat=0.1, max_steps=512)


def main(output: Path = OUTPUT, steps: int = 100) -> Run:
    """Train, print how it went, and draw the populations before and after."""
    layer = predator_and_prey()
    compilations = 0
    populations = eqx.filter_jit(layer)
    rates_seen, populations_seen = [], []

    def loss(rates: jax.Array) -> jax.Array:
        nonlocal compilations
        compilations += 1  # Python runs while a program is compiled, and never again
        return jnp.sum((layer(rates)[:, 0] - 1) ** 2)

    def record(step: int, value: float, rates: jax.Array) -> None:
        rates_seen.append(np.asarray(rates))
        populations_seen.append(np.asarray(populations(rates)))
        if step % 10 == 0:
            print(f"step {step:3d}  loss {value:10.4f}  rates {', '.join(f'{r:.3f}' for r in rates)}")

    optimiser = optax.adam(0.1)
    training = sd.train(jnp.array(START), loss, steps=steps, optimiser=optimiser, callback=record, progress=False)
    print(training)
    print(f"compilations of the training step: {compilations}")

    after = populations(training.module)
    draw(populations_seen[0], np.asarray(after), training)
    output.mkdir(parents=True, exist_ok=True)
    plt.savefig(output / "lotka_volterra_layer.png", dpi=110)
    plt.close()
    print(f"figure: {output / 'lotka_volterra_layer.png'}")
    return Run(layer, training, (np.array(rates_seen), np.array(populations_seen)), compilations)


def draw(before: np.ndarray, after: np.ndarray, training: sd.Training) -> Any:
    """Both populations before and after on one scale, and the loss."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    times = np.linspace(0.0, 10.0, len(before))
    for ax, populations, title in ((axes[0], before, "before"), (axes[1], after, "after")):
        ax.plot(times, populations, label=["prey x", "predator y"])
        ax.axhline(1.0, color="0.6", linewidth=0.8, linestyle="--")
        ax.set(title=title, xlabel="time", ylim=(0, 1.05 * np.max(before)))
    axes[0].set_ylabel("population")
    axes[1].legend(frameon=False)
    training.plot(axes[2])
    axes[2].set(title="loss", ylabel="Σ (x - 1)²")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
