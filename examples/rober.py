"""Robertson's reactions: three species, rates nine orders of magnitude apart, seventeen decades of time.

    A -> B            k1, slow
    B + B -> B + C    k2, very fast
    B + C -> A + C    k3, fast

H. H. Robertson, The solution of a set of reaction rate equations, in J. Walsh (ed.), Numerical Analysis: An
Introduction, Academic Press (1966) 178-182.
"""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

import symdeq as sd
from symdeq import D, Eq

jax.config.update("jax_enable_x64", True)
OUTPUT = Path(__file__).parent / "output"


def main(output: Path = OUTPUT) -> sd.Solution:
    """Solve to t = 1e11, print what was done and why, and draw it."""
    y1, y2, y3 = sd.states(y1=1.0, y2=0.0, y3=0.0)  # concentrations of A, B and C
    k1, k2, k3 = sd.parameters(k1=0.04, k2=3e7, k3=1e4)
    slow, very_fast, fast = k1 * y1, k2 * y2**2, k3 * y2 * y3
    equations = [Eq(D(y1), fast - slow), Eq(D(y2), slow - very_fast - fast), Eq(D(y3), very_fast)]
    model = sd.compile(sd.System(equations, name="rober"))
    print(model, end="\n\n")

    # y2 falls to 1e-13, and its absolute tolerance lies below that.
    sol = sd.solve(model, saveat=np.geomspace(1e-6, 1e11, 400), rtol=1e-6, atol=1e-14)
    print(sol.explain(), end="\n\n")
    print(f"y(1e11) = {', '.join(f'{sol[s][-1]:.8g}' for s in model.states)}")
    print(f"y1 + y2 + y3 = 1 to within {np.max(np.abs(sol[y1 + y2 + y3] - 1)):.0e}")

    draw(sol, [y1, 10_000 * y2, y3])
    output.mkdir(parents=True, exist_ok=True)
    plt.savefig(output / "rober.png", dpi=150)
    print(f"figure: {output / 'rober.png'}")
    return sol


def draw(sol: sd.Solution, curves: list) -> None:
    """The three species on a logarithmic axis, the middle one magnified, and where the solver changed over."""
    ax = sol.plot(curves, ax=plt.subplots(figsize=(7, 3.8), layout="constrained")[1])
    ax.legend().remove()
    labels = (("A", 3e-5, 0.94), ("10⁴ × B", 2e-3, 0.40), ("C", 1e8, 0.94))
    for line, (label, time, height) in zip(ax.lines, labels, strict=True):
        ax.text(time, height, label, color=line.get_color(), weight="bold", ha="center")
    assert sol.switch is not None
    change = float(sol.switch.first_switch)
    ax.axvline(change, color="0.6", linewidth=0.8, linestyle="--")
    ax.text(1.6 * change, 0.62, "from here on\nRosenbrock steps", color="0.4", fontsize="small")
    ax.set(xlabel="time [s]", ylabel="concentration", xlim=(1e-6, 1e11), ylim=(-0.02, 1.05))
    ax.set_title("Robertson's reactions")
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
