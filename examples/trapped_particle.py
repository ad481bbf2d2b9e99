"""A particle in a trap: stiffness, place and noise of the trap from many short tracks.

    python examples/trapped_particle.py

The position of a small particle in a trap follows dx = rate (place - x) dt + noise dW. Seen are 300 tracks of one
second, eight positions each, all from the same release. The tracks are drawn here from known constants by the exact
transition of the process, so that what the fit finds can be compared with the truth. The fit knows only the
equation: it makes the means and variances of an ensemble of paths those of the tracks, along the same 400 Brownian
paths in every step. For this process the likelihood is known too; its maximum is the best that any method can do.
"""

from __future__ import annotations

import pathlib
import sys
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import symdeq as sd
from symdeq import D, Eq

TRUTH = {"rate": 3.0, "place": 1.0, "noise": 0.5}
START = {"rate": 1.0, "place": 0.5, "noise": 1.0}
TIMES = np.linspace(0.125, 1.0, 8)
TRACKS, PATHS = 300, 400
OUTPUT = pathlib.Path(__file__).parent / "output"


class Result(NamedTuple):
    """The model with the constants that were found, estimates and standard errors by both methods, and the tracks."""

    model: sd.Model
    by_moments: dict[str, tuple[float, float]]
    by_likelihood: dict[str, tuple[float, float]]
    tracks: np.ndarray
    loss: float


def trap() -> sd.Model:
    """The equation, released at 0."""
    x = sd.state("x", 0.0)
    rate, place, noise = sd.parameters(**START)
    return sd.compile(sd.System([Eq(D(x), rate * (place - x) + noise * D(sd.brownian("W")))], name="trap"))


def observed(seed: int = 0) -> np.ndarray:
    """Tracks of the true constants, shape (tracks, times), by the exact transition of the process."""
    rng = np.random.default_rng(seed)
    rate, place, noise = TRUTH.values()
    decay = np.exp(-rate * TIMES[0])
    x, seen = np.zeros(TRACKS), []
    for _ in TIMES:
        spread = noise * np.sqrt((1 - decay**2) / (2 * rate))
        x = place + (x - place) * decay + spread * rng.standard_normal(TRACKS)
        seen.append(x)
    return np.stack(seen, axis=1)


def of_data(tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances at all times, shape (2 times,), and their standard errors, those of normal values."""
    means, variances = tracks.mean(axis=0), tracks.var(axis=0, ddof=1)
    errors = np.concatenate([np.sqrt(variances / len(tracks)), variances * np.sqrt(2 / (len(tracks) - 1))])
    return np.concatenate([means, variances]), errors


def of_model(model: sd.Model, logs: jax.Array, key: jax.Array) -> jax.Array:
    """Means and variances of an ensemble at all times, shape (2 times,), for logarithms of the constants."""
    model = model.replace(dict(zip(TRUTH, jnp.exp(logs), strict=True)))
    sol = sd.ensemble(model, {}, paths=PATHS, key=key, t1=1.0, saveat=TIMES, adjoint=diffrax.ForwardMode())
    found = sol.moments("x")
    return jnp.concatenate([found.mean, found.variance])


def by_moments(model: sd.Model, tracks: np.ndarray, seed: int = 1) -> tuple[dict[str, tuple[float, float]], float]:
    """The constants by which the model's moments are those of the tracks, and the mean square that is left, in standard
    errors of the tracks' moments.

    Least squares by Levenberg and Marquardt; the three derivatives go forward along the paths. Standard errors by the
    bootstrap: each sample of tracks moves the estimate by one step of Gauss and Newton. The model's own paths are as
    random as the tracks, which counts as well.
    """
    key = jax.random.key(seed)
    wanted, errors = of_data(tracks)

    @jax.jit
    def residual(logs: jax.Array) -> jax.Array:
        return (of_model(model, logs, key) - wanted) / errors

    slopes = jax.jit(jax.jacfwd(residual))
    logs, damping = jnp.log(jnp.array(list(START.values()))), 1.0
    left, jacobian = residual(logs), slopes(logs)
    for _ in range(40):
        curvature = jacobian.T @ jacobian
        step = -jnp.linalg.solve(curvature + damping * jnp.diag(jnp.diag(curvature)), jacobian.T @ left)
        tried = residual(logs + step)
        if jnp.sum(tried**2) < jnp.sum(left**2):
            logs, left, damping = logs + step, tried, damping / 5
            jacobian = slopes(logs)
        else:
            damping *= 5
        if jnp.max(jnp.abs(step)) < 1e-4:
            break
    rng = np.random.default_rng(seed)
    again = [of_data(tracks[rng.integers(0, len(tracks), len(tracks))])[0] for _ in range(200)]
    towards = np.linalg.pinv(np.asarray(jacobian))
    moved = (np.array(again) - wanted) / errors @ towards.T
    spread = np.std(moved, axis=0, ddof=1) * np.sqrt(1 + len(tracks) / PATHS)
    found = {n: (float(v), float(v * s)) for n, v, s in zip(TRUTH, np.exp(logs), spread, strict=True)}
    return found, float(jnp.mean(left**2))


def by_likelihood(tracks: np.ndarray) -> dict[str, tuple[float, float]]:
    """The maximum of the likelihood, in closed form: a regression of each position on the one before."""
    values = _likeliest(tracks)
    rng = np.random.default_rng(2)
    again = [_likeliest(tracks[rng.integers(0, len(tracks), len(tracks))]) for _ in range(200)]
    return {n: (float(v), float(s)) for n, v, s in zip(TRUTH, values, np.std(again, axis=0, ddof=1), strict=True)}


def _likeliest(tracks: np.ndarray) -> np.ndarray:
    before = np.concatenate([np.zeros((len(tracks), 1)), tracks[:, :-1]], axis=1).ravel()
    after, gap = tracks.ravel(), TIMES[0]
    slope, offset = np.polyfit(before, after, 1)
    rate = -np.log(slope) / gap
    left = np.mean((after - offset - slope * before) ** 2)
    return np.array([rate, offset / (1 - slope), np.sqrt(2 * rate * left / (1 - slope**2))])


def fit(seed: int = 0) -> Result:
    """Both fits of one set of tracks."""
    model, tracks = trap(), observed(seed)
    found, loss = by_moments(model, tracks)
    model = model.replace({name: value for name, (value, _) in found.items()})
    return Result(model=model, by_moments=found, by_likelihood=by_likelihood(tracks), tracks=tracks, loss=loss)


def draw(result: Result, output: pathlib.Path = OUTPUT) -> pathlib.Path:
    """The tracks on the ribbons of the fitted model, and the variances."""
    fine = np.linspace(0.02, 1.0, 50)
    sol = sd.ensemble(result.model, {}, paths=2000, key=jax.random.key(7), t1=1.0, saveat=fine)
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sol.plot(["x"], trajectories=0, ax=left)
    left.plot(TIMES, result.tracks[:40].T, ".", color="0.4", markersize=3)
    left.set(title="Tracks, and the fitted model")
    wanted, errors = of_data(result.tracks)
    right.errorbar(TIMES, wanted[8:], errors[8:], fmt="o", label="tracks")
    right.plot(fine, sol.moments("x").variance, label="fitted model")
    right.set(xlabel="t", ylabel="variance of x", ylim=(0, None), title="Spread")
    right.legend()
    output.mkdir(exist_ok=True)
    path = output / "trapped_particle.png"
    plt.savefig(path, dpi=120)
    plt.close()
    return path


def main() -> Result:
    """Fit, print and draw."""
    jax.config.update("jax_enable_x64", True)
    result = fit()
    print(f"mean square of what is left: {result.loss:.2f} squared standard errors")
    for name, truth in TRUTH.items():
        (value, error), (best, least) = result.by_moments[name], result.by_likelihood[name]
        print(f"{name:6} {value:.3f} ± {error:.3f}, by the likelihood {best:.3f} ± {least:.3f}   (truth {truth:g})")
    print(f"figure: {draw(result)}")
    return result


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
