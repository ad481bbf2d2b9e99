"""Hare and lynx: the Lotka-Volterra equations fitted to the pelts taken in by the Hudson's Bay Company, 1900 to 1920.

The counts, and the published fit to compare with, are described in examples/data/README.md. Run with
`python examples/hudson_bay.py`; the figure is written to `examples/output/hudson_bay.png`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import jax

import symdeq as sd
from symdeq import D, Eq

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
OUTPUT = HERE / "output"


def read(path: Path = HERE / "data" / "hudson_bay.csv") -> dict[str, list[float]]:
    """The columns year, hare and lynx; pelts in thousands."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def predator_and_prey() -> sd.Model:
    """hare' = (alpha - beta lynx) hare, lynx' = (-gamma + delta hare) lynx, per year; all unknowns are positive."""
    alpha = sd.parameter("alpha", 0.5, bounds=(0.05, 5), scale="log", description="growth of the hares")
    beta = sd.parameter("beta", 0.02, bounds=(0.002, 0.2), scale="log", description="hares caught, by lynx")
    gamma = sd.parameter("gamma", 0.5, bounds=(0.05, 5), scale="log", description="starvation of the lynxes")
    delta = sd.parameter("delta", 0.02, bounds=(0.002, 0.2), scale="log", description="growth of the lynxes, by hare")
    hare0 = sd.parameter("hare0", 30.0, bounds=(3, 300), scale="log", description="hares in 1900")
    lynx0 = sd.parameter("lynx0", 4.0, bounds=(0.4, 40), scale="log", description="lynxes in 1900")

    hare, lynx = sd.states(hare=hare0, lynx=lynx0)
    equations = [Eq(D(hare), (alpha - beta * lynx) * hare), Eq(D(lynx), (-gamma + delta * hare) * lynx)]
    return sd.compile(sd.System(equations, name="hare_and_lynx"))


def estimate(starts: int = 32) -> sd.Fit:
    """All six unknowns, from several starts: Lotka-Volterra has fits that are only locally the best."""
    return sd.fit(
        predator_and_prey(),
        read(),
        time="year",
        noise=sd.LogNormal(),
        starts=starts,
        key=jax.random.key(1900),
    )


def main(output: Path = OUTPUT) -> sd.Fit:
    """Fit, print the estimates with their intervals, and draw the data against the fit."""
    fit = estimate()
    print(fit)

    axes = fit.plot()
    for ax, animal in zip(axes[0], ("snowshoe hare", "Canada lynx"), strict=True):
        ax.set(title=animal, ylabel="pelts, thousands")
    for ax in axes[1]:
        ax.set(xlabel="year", xticks=range(1900, 1921, 5))

    output.mkdir(parents=True, exist_ok=True)
    axes[0, 0].figure.savefig(output / "hudson_bay.png", dpi=150)
    print(f"figure: {output / 'hudson_bay.png'}")
    return fit


if __name__ == "__main__":
    main()
