"""A gene and its repressor at rest: constants of binding and transcription from the response to an inducer.

    python examples/gene_induction.py

A repressor R keeps a gene silent until an inducer binds it: R + I <-> C, mRNA is made at a rate that R lowers, protein
follows mRNA. What is measured is protein at rest for twelve doses of the inducer, twice each. The measurements here are
made by the model with known constants and 8 % of noise, so that what the fit finds can be compared with the truth.
"""

from __future__ import annotations

import pathlib
import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optimistix as optx

import symdeq as sd
from symdeq import D, Eq

TRUTH = {"k_off": 20.0, "strength": 12.0, "half": 0.08, "leak": 0.01}
NOISE = 0.08
DOSES = np.repeat(np.geomspace(1.0, 3e3, 12), 2)
OUTPUT = pathlib.Path(__file__).parent / "output"


class Result(NamedTuple):
    """What the fit found: the layer with its constants, their values with standard errors, and the data."""

    layer: sd.DEQ
    estimates: dict[str, float]
    errors: dict[str, float]
    measured: np.ndarray


def circuit() -> sd.DEQ:
    """Protein at rest as a function of the dose and the constants."""
    r, c, m, p = sd.states(R=1.0, C=0.0, mRNA=0.0, protein=0.0)
    dose, k_on, decay, turnover = sd.parameters(dose=1.0, k_on=1.0, decay=5.0, turnover=0.7)
    k_off, strength, half, leak = sd.parameters(**TRUTH)
    binding = k_on * dose * r - k_off * c
    transcription = strength * (leak + 1 / (1 + (r / half) ** 2))
    system = sd.System(
        [
            Eq(D(r), -binding),
            Eq(D(c), binding),
            Eq(D(m), transcription - decay * m),
            Eq(D(p), 4.0 * m - turnover * p),
        ],
        name="gene_induction",
    )
    return sd.DEQ(sd.compile(system), inputs=[dose, k_off, strength, half, leak], outputs=[p])


def response(layer: sd.DEQ, constants: jax.Array, doses: jax.Array) -> jax.Array:
    """Protein at each dose, shape (doses,)."""
    return jax.vmap(lambda dose: layer(jnp.concatenate([dose[None], constants]))[0])(doses)


@eqx.filter_jit
def logarithms(layer: sd.DEQ, logs: jax.Array, doses: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The logarithm of protein, shape (doses,), and its slopes by the logarithms of the constants, (doses, 4)."""

    def protein(logs: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = jnp.log(response(layer, jnp.exp(logs), doses))
        return found, found

    slopes, found = jax.jacfwd(protein, has_aux=True)(logs)
    return found, slopes


def fit(seed: int = 0) -> Result:
    """The four constants from the doses and the protein, by least squares of logarithms."""
    layer = circuit()
    doses, truth = jnp.asarray(DOSES), jnp.log(jnp.array(list(TRUTH.values())))
    rng = np.random.default_rng(seed)
    measured = logarithms(layer, truth, doses)[0] + NOISE * rng.standard_normal(len(DOSES))

    def residual(logs: jax.Array, _: None) -> jax.Array:
        return (jnp.log(response(layer, jnp.exp(logs), doses)) - measured) / NOISE

    start = jnp.log(jnp.array([1.0, 1.0, 1.0, 0.1]))
    found = optx.least_squares(residual, optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8), start, max_steps=200)
    slope = logarithms(layer, found.value, doses)[1] / NOISE
    values, spread = np.exp(found.value), np.sqrt(np.diag(np.linalg.inv(slope.T @ slope)))
    return Result(
        layer=layer,
        estimates=dict(zip(TRUTH, map(float, values), strict=True)),
        errors=dict(zip(TRUTH, map(float, values * spread), strict=True)),
        measured=np.exp(measured),
    )


def draw(result: Result, output: pathlib.Path = OUTPUT) -> pathlib.Path:
    """The doses, the fit, and which constant decides where."""
    doses = jnp.geomspace(0.3, 1e4, 200)
    curve, slopes = logarithms(result.layer, jnp.log(jnp.array(list(result.estimates.values()))), doses)
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.loglog(DOSES, result.measured, "o", label="measured")
    left.loglog(doses, np.exp(curve), label="fit")
    left.set(xlabel="inducer", ylabel="protein at rest", title="A gene at rest")
    left.legend()
    for name, column in zip(TRUTH, slopes.T, strict=True):
        right.semilogx(doses, column, label=name)
    right.axhline(0, color="0.8", linewidth=1)
    right.set(xlabel="inducer", ylabel="d log protein / d log constant", title="What decides where")
    right.legend()
    output.mkdir(exist_ok=True)
    path = output / "gene_induction.png"
    plt.savefig(path, dpi=120)
    plt.close()
    return path


def main() -> Result:
    """Fit, print and draw."""
    jax.config.update("jax_enable_x64", True)
    result = fit()
    print(sd.steady_state(result.layer.cell.model))
    for name, value in result.estimates.items():
        print(f"{name:9} {value:8.4g} ± {result.errors[name]:.2g}   (truth {TRUTH[name]:g})")
    print(f"figure: {draw(result)}")
    return result


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
