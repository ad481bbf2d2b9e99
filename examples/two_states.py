"""Molecules that choose between two states: Schlögl's reactions as rate equation, Langevin equation and single jumps.

    python examples/two_states.py

2 X <-> 3 X and 0 <-> X make and use the same species. The rate equation has two stable states, at 86 and 567
molecules, and from 250 it always goes to the same one. Counted molecules go to either. Their distribution is compared
with the master equation, which for one species is a tridiagonal matrix and is solved exactly here. The reactions are F.
Schlögl's, Z. Phys. 253 (1972) 147-161; the constants are those of D. T. Gillespie, Markov Processes (1992).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import eigh_tridiagonal

import symdeq as sd

jax.config.update("jax_enable_x64", True)
OUTPUT = Path(__file__).parent / "output"

START = 250
TIMES = np.linspace(0.0, 4.0, 41)
LARGEST = 1000
CONSTANTS = {"up": 0.03, "down": 1e-4, "made": 200.0, "lost": 3.5}


@dataclasses.dataclass(frozen=True)
class Run:
    """What `main` found.

    - `rests`: molecules where the rate equation rests: low, in between, high.
    - `smooth`: the rate equation from the start at `TIMES`, shape (41,).
    - `jumps`: the simulated paths.
    - `continuous`: molecules at the end by the Langevin equation, shape (paths,).
    - `exact`: the probability of each number of molecules at the end, shape (1000,).
    """

    rests: np.ndarray
    smooth: np.ndarray
    jumps: sd.JumpSolution
    continuous: np.ndarray
    exact: np.ndarray

    def share_high(self, counts: Any) -> float:
        """The part of the counts beyond the state in between, which is unstable."""
        return float(np.mean(np.asarray(counts) > self.rests[1]))


def network() -> sd.ReactionNetwork:
    """The four reactions."""
    x = sd.state("X", START)
    up, down, made, lost = sd.parameters(**CONSTANTS)
    return sd.reactions(
        [
            sd.Reaction(up, {x: 2}, {x: 3}),
            sd.Reaction(down, {x: 3}, {x: 2}),
            sd.Reaction(made, products={x: 1}),
            sd.Reaction(lost, {x: 1}),
        ],
        name="schloegl",
    )


def resting(model: sd.Model) -> np.ndarray:
    """Where the rate equation rests: the roots of its cubic, shape (3,)."""
    up, down, made, lost = (CONSTANTS[name] for name in ("up", "down", "made", "lost"))
    roots = np.sort(np.roots([-down / 6, up / 2, -lost, made]).real)
    stable = [float(sd.steady_state(model.replace(X=start))["X"]) for start in (0.0, 600.0)]
    assert np.allclose(stable, roots[[0, 2]])
    return roots


def master_equation(t: float) -> np.ndarray:
    """The probability of 0 .. 999 molecules at time t, by the eigenvectors of the symmetrised generator."""
    n = np.arange(LARGEST, dtype=float)
    births = CONSTANTS["up"] * n * (n - 1) / 2 + CONSTANTS["made"]
    deaths = CONSTANTS["down"] * n * (n - 1) * (n - 2) / 6 + CONSTANTS["lost"] * n
    births[-1] = 0.0
    rates, modes = eigh_tridiagonal(-births - deaths, np.sqrt(births[:-1] * deaths[1:]))
    # Detailed balance: the scale that makes the generator symmetric is the root of the distribution at rest.
    log_scale = np.concatenate([[0.0], np.cumsum(np.log(births[:-1] / deaths[1:]))]) / 2
    weights = modes @ (np.exp(rates * t) * modes[START])
    return np.maximum(weights * np.exp(log_scale - log_scale[START]), 0.0)


def continuous_end(reactions: sd.ReactionNetwork, paths: int) -> np.ndarray:
    """Molecules at the end by the chemical Langevin equation, shape (paths,)."""
    model = sd.compile(reactions.langevin())
    run = jax.jit(jax.vmap(lambda key: sd.solve(model, saveat=TIMES[-1:], key=key).ys[-1, 0]))
    return np.asarray(run(jax.random.split(jax.random.key(1), paths)))


def main(output: Path = OUTPUT, paths: int = 2000) -> Run:
    """Find the rests, simulate, compare with the master equation, and draw."""
    reactions = network()
    print(reactions)
    model = sd.compile(reactions.ode())
    jumps = sd.simulate(reactions, saveat=TIMES, key=jax.random.key(0), paths=paths)
    print(jumps)
    run = Run(
        rests=resting(model),
        smooth=np.asarray(sd.solve(model, saveat=TIMES)["X"]),
        jumps=jumps,
        continuous=continuous_end(reactions, paths),
        exact=master_equation(TIMES[-1]),
    )
    print("the rate equation rests at", ", ".join(f"{rest:.1f}" for rest in run.rests))
    high = run.exact[int(run.rests[1]) + 1 :].sum()
    print(f"beyond {run.rests[1]:.0f} at t = {TIMES[-1]:g}: {high:.3f} by the master equation,")
    print(f"  {run.share_high(jumps['X'][:, -1]):.3f} of the simulated paths,")
    print(f"  {run.share_high(run.continuous):.3f} of the Langevin paths")

    figure = draw(run)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "two_states.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'two_states.png'}")
    return run


def draw(run: Run) -> Any:
    """A few paths with the rate equation, and the distribution at the end."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    counts = np.asarray(run.jumps["X"])
    for path in counts[:25]:
        left.step(TIMES, path, where="post", color="0.5", linewidth=0.6)
    left.plot(TIMES, run.smooth, color="C1", linewidth=2, label="rate equation")
    for rest, style in zip(run.rests, ("-", ":", "-"), strict=True):
        left.axhline(rest, color="C1", linewidth=0.8, linestyle=style)
    left.set(title="25 paths", xlabel="t", ylabel="molecules")
    left.legend(loc="upper left", fontsize="small")
    bins = np.arange(0, 801, 20)
    shown = {"bins": bins, "density": True, "orientation": "horizontal"}
    right.hist(counts[:, -1], **shown, color="C0", alpha=0.4, label="single jumps")
    right.hist(run.continuous, **shown, histtype="step", color="C2", label="Langevin")
    right.plot(run.exact[:801], np.arange(801), color="black", label="master equation")
    right.set(title=f"at t = {TIMES[-1]:g}", xlabel="probability")
    right.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
