"""Nicholson's blowflies: how long a fly takes to grow up, learned from counts of adults.

    python examples/blowflies.py

Adults lay eggs, which are adults a lag later: N' = P N(t - tau) exp(-N(t - tau)/N0) - d N, W. S. C. Gurney,
S. P. Blythe and R. M. Nisbet, Nicholson's blowflies revisited, Nature 287 (1980) 17-21. Counts every four days are made
by the model with known constants and 10 % of noise, so that what the fit finds can be compared with the truth. The lag
is a parameter like every other: the solution is differentiated by it.
"""

from __future__ import annotations

import pathlib
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import symdeq as sd
from symdeq import D, Eq

TRUTH = {"births": 6.5, "crowding": 0.4, "deaths": 0.16, "lag": 14.0}
NOISE = 0.1
DAYS = np.arange(4.0, 161.0, 4.0)
OUTPUT = pathlib.Path(__file__).parent / "output"


def flies() -> sd.Model:
    """The model; adults in thousands, and half a thousand of them until the start."""
    n = sd.state("N", 0.5)
    births = sd.parameter("births", 3.0, bounds=(1.0, 30.0), scale="log")
    crowding = sd.parameter("crowding", 1.0, bounds=(0.1, 5.0), scale="log")
    deaths = sd.parameter("deaths", 0.3, bounds=(0.05, 1.0), scale="log")
    lag = sd.parameter("lag", 10.0, bounds=(5.0, 25.0))
    parents = sd.delay(n, lag)
    equation = Eq(D(n), births * parents * sp.exp(-parents / crowding) - deaths * n)
    return sd.compile(sd.System([equation], name="blowflies", history={n: 0.5}))


def counts(model: sd.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Counts of adults by day, made with the true constants and noise."""
    exact = np.asarray(sd.solve(model.replace(TRUTH), saveat=DAYS)["N"])
    noise = np.random.default_rng(seed).standard_normal(len(DAYS))
    return {"day": DAYS, "adults": exact * np.exp(NOISE * noise)}


def fit(starts: int = 8, progress: bool = False) -> sd.Fit:
    """The four constants from the counts."""
    model = flies()
    return sd.fit(
        model,
        counts(model),
        time="day",
        t0=0.0,
        observe={"adults": model.states[0]},
        noise=sd.LogNormal(),
        starts=starts,
        key=jax.random.key(0),
        progress=progress,
    )


def draw(found: sd.Fit, output: pathlib.Path = OUTPUT) -> pathlib.Path:
    """The counts and the fitted cycles; and how well a lag does, with the other constants fitted to it."""
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    data = counts(flies())
    days = np.linspace(0.0, DAYS[-1], 400)
    left.plot(data["day"], data["adults"], "o", label="counted")
    left.plot(days, sd.solve(found.model, saveat=days)["N"], label="fit")
    left.set(xlabel="day", ylabel="adults (thousands)", title="Blowflies")
    left.legend()
    lags = np.linspace(11.0, 17.0, 121)
    errors = np.log(sd.ensemble(found.model, {"lag": lags}, t0=0.0, saveat=DAYS)["N"]) - np.log(data["adults"])
    right.plot(lags, np.sqrt(np.mean(errors**2, axis=1)))
    right.axvline(TRUTH["lag"], color="0.6", linewidth=1, label="truth")
    right.set(xlabel="lag (days)", ylabel="error of the logarithm", title="The lag alone")
    right.legend()
    output.mkdir(exist_ok=True)
    path = output / "blowflies.png"
    plt.savefig(path, dpi=120)
    plt.close()
    return path


def main() -> sd.Fit:
    """Fit, print and draw."""
    jax.config.update("jax_enable_x64", True)
    found = fit(progress=True)
    print(found.summary())
    print("truth: " + ", ".join(f"{name} {value:g}" for name, value in TRUTH.items()))
    print(f"figure: {draw(found)}")
    return found


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
