"""A universal differential equation finds a missing term of Lotka-Volterra in the pelts of hare and lynx.

    hare' = alpha hare - eaten
    lynx' = -gamma lynx + gain eaten          eaten = hare exp(net(log hare, log lynx))

What the lynxes eat is left to a small network, which is trained together with the three rates. Lotka and Volterra say
that it is beta hare lynx; the network is not told. Data as in `examples/hudson_bay.py`. Run with
`python examples/missing_term.py`; the figure is written to `examples/output/missing_term.png`.

The method is that of C. Rackauckas et al., Universal differential equations for scientific machine learning,
arXiv:2001.04385 (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import sympy as sp
from jaxtyping import Array

import symdeq as sd
from symdeq import D, Eq

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
OUTPUT = HERE / "output"
YEARS = np.arange(21.0)  # since 1900
# Of the product hare lynx, with its 95 % interval, as examples/hudson_bay.py prints them: the value to find again.
BETA, BETA_INTERVAL = 0.027156, (0.020372, 0.036200)
# Of the penalty on the weights; `cross_validate` prefers this one.
PENALTY = 3e-3
SEGMENTS = 7
STEPS = (1000, 2000)  # over segments, and over the whole
OPTIMISERS = tuple(optax.adam(optax.cosine_decay_schedule(1e-2, steps)) for steps in STEPS)


def read(path: Path = HERE / "data" / "hudson_bay.csv") -> np.ndarray:
    """Logarithms of the pelts in thousands, shape (21, 2): hare, lynx."""
    return np.log(np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:])


class Rate(eqx.Module):
    """The logarithm of the rate at which one hare is eaten, from the logarithms of both populations.

    Its inputs are taken relative to `centre`, and its output relative to half a hare a year, so that the network
    itself deals in numbers of size 1.
    """

    mlp: eqx.nn.MLP
    centre: tuple[float, float] = eqx.field(static=True)

    def __call__(self, logs: Array) -> Array:
        return self.mlp(logs - jnp.array(self.centre)) + jnp.log(0.5)


class Product(eqx.Module):
    """The same as Lotka and Volterra have it, beta lynx: to compare with."""

    log_beta: Array

    def __call__(self, logs: Array) -> Array:
        return self.log_beta + logs[1:]


def simulated() -> np.ndarray:
    """Logarithms of what the equations of Lotka and Volterra give without noise, shape (21, 2)."""
    model = model_with(Product(jnp.log(jnp.array([BETA])))).replace(alpha=0.54, gamma=0.80, gain=0.87)
    return np.asarray(sd.solve(model.replace(log_hare=np.log(34.6), log_lynx=np.log(5.84)), saveat=YEARS).ys)


def model_with(rate: eqx.Module) -> sd.Model:
    """The equations for the logarithms of both populations, which are positive whatever the network says."""
    alpha = sd.parameter("alpha", 0.5, scale="log", description="growth of the hares")
    gamma = sd.parameter("gamma", 0.5, scale="log", description="starvation of the lynxes")
    gain = sd.parameter("gain", 1.0, scale="log", description="lynxes for a hare")
    log_hare, log_lynx = sd.states(log_hare=3.0, log_lynx=3.0)
    net = sd.Neural("net", rate, outputs=1)

    hare, lynx = sp.exp(log_hare), sp.exp(log_lynx)
    eaten = sp.exp(log_hare + net(log_hare, log_lynx)[0])
    equations = [Eq(D(log_hare), alpha - eaten / hare), Eq(D(log_lynx), -gamma + gain * eaten / lynx)]
    return sd.compile(sd.System(equations, name="hare_and_lynx", observed={"hare": hare, "lynx": lynx, "eaten": eaten}))


def network_model(seed: int = 0) -> sd.Model:
    """With a network of 33 weights."""
    mlp = eqx.nn.MLP(2, 1, 8, 1, activation=jnp.tanh, key=jax.random.key(seed))
    hare, lynx = read().mean(axis=0)
    return model_with(Rate(mlp, (float(hare), float(lynx))))


@dataclass(frozen=True)
class Found:
    """A trained model: its layer from the logarithms at the start to those at all times, and that start."""

    layer: Any
    start: Array

    @property
    def model(self) -> sd.Model:
        """The model with the trained parameters and network."""
        return self.layer.model

    def at(self, times: Any) -> sd.Solution:
        """The trajectory at some times in years since 1900."""
        return self.layer.solve(self.start, saveat=np.asarray(times, float))

    def exponents(self) -> np.ndarray:
        """p and q of the power law hare^p lynx^q that is nearest to the learned term along the trajectory."""
        sol = self.at(np.linspace(0, 20, 401))
        logs = np.column_stack([np.ones(401), sol["log_hare"], sol["log_lynx"]])
        return np.linalg.lstsq(logs, np.log(sol["eaten"]), rcond=None)[0][1:]

    def factors(self) -> np.ndarray:
        """The learned term over hare lynx along the trajectory, a constant if Lotka and Volterra are right."""
        sol = self.at(np.linspace(0, 20, 401))
        return np.asarray(sol["eaten"] / (sol["hare"] * sol["lynx"]))


def loss(shooting: Any, given: tuple[Any, Any, Any]) -> Array:
    """Squares of relative errors, gaps between segments, and a penalty on the weights of the network."""
    values, joint, penalty = given
    weights = [w for w in jax.tree.leaves(shooting.layer.model.networks) if eqx.is_array(w) and w.ndim == 2]
    squares = sum((jnp.sum(w**2) for w in weights), jnp.zeros(()))
    return shooting.loss(values, joint=joint, scale=np.ones(2)) + penalty * squares


def find(model: sd.Model, values: np.ndarray, penalty: float = PENALTY, steps: tuple[int, int] = STEPS) -> Found:
    """Train on logarithms of the populations, shape (21, 2); NaN is filled in to start with, and else left out.

    First over segments of three years, with gaps that weigh more and more; then over the trajectory as a whole.
    """
    states = ["log_hare", "log_lynx"]
    # Nothing here is stiff, and one method is compiled sooner than a switching pair.
    layer = sd.ODELayer(model, states, states, saveat=YEARS, solver=dfx.Tsit5(), max_steps=256)
    known = np.isfinite(values)
    guess = np.column_stack([np.interp(YEARS, YEARS[k], v[k]) for v, k in zip(values.T, known.T, strict=True)])
    for segments, count, optimiser in zip((SEGMENTS, 1), steps, OPTIMISERS, strict=True):
        shooting = sd.MultipleShooting(layer, YEARS, segments=segments, guess=guess)
        joints = np.geomspace(1, 100, count)
        batches = ((values, joint, penalty) for joint in joints)
        training = sd.train(shooting, loss, batches=batches, optimiser=optimiser, scaled=True, progress=False)
        layer, guess = training.module.layer, np.asarray(training.module.starts[0])
    return Found(layer, jnp.asarray(guess))


def cross_validate(model: sd.Model, values: np.ndarray, penalty: float) -> float:
    """The root mean square of the relative errors in years that were left out: each fifth in turn, five times."""
    errors = []
    for fold in range(5):
        left_out = np.arange(len(YEARS)) % 5 == fold
        found = find(model, np.where(left_out[:, None], np.nan, values), penalty)
        errors.append((found.layer(found.start) - values)[left_out])
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def main(output: Path = OUTPUT, penalties: tuple[float, ...] = (1e-3, 3e-3, 1e-2)) -> Found:
    """Find the term, say how near to the product it comes, and draw it."""
    values = read()
    found = find(network_model(), values)
    print(f"trained      {', '.join(f'{p} {float(found.model[p]):.3g}' for p in found.model.parameters)}")
    errors = np.sqrt(np.mean((found.layer(found.start) - values) ** 2, axis=0))
    print(f"errors       hare {errors[0]:.3f}, lynx {errors[1]:.3f} (root mean square of the logarithm)")
    print(f"learned      {described(found)}")
    print(
        f"the product  hare^1 lynx^1; beta {BETA:.4f}, 95 % interval {BETA_INTERVAL[0]:.4f} to {BETA_INTERVAL[1]:.4f}"
    )

    clean = find(network_model(), simulated(), penalty=1e-5)
    print(f"\nfrom data that the product made, without noise\nlearned      {described(clean)}")

    if penalties:
        product = model_with(Product(jnp.log(jnp.array([0.02]))))
        print(f"\nerror in years left out, with the product {cross_validate(product, values, 0.0):.3f}, with a network")
        for penalty in penalties:
            other = find(network_model(), values, penalty)
            error = cross_validate(network_model(), values, penalty)
            print(f"  penalty {penalty:<6g} {error:.3f}   {described(other)}")

    figure = draw(found)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "missing_term.png", dpi=110)
    plt.close(figure)
    print(f"figure: {output / 'missing_term.png'}")
    return found


def described(found: Found) -> str:
    """The power law nearest to the learned term, and the term over hare lynx."""
    (p, q), factors = found.exponents(), found.factors()
    mean = np.exp(np.mean(np.log(factors)))
    return (
        f"hare^{p:.2f} lynx^{q:.2f}; over hare lynx {mean:.4f} on average, {factors.min():.4f} to {factors.max():.4f}"
    )


def draw(found: Found) -> Any:
    """Data and trajectory, and the learned term against the product of both populations."""
    sol = found.at(np.linspace(0, 20, 401))
    figure, (animals, term) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    data = np.exp(read())
    for i, (name, label) in enumerate((("hare", "snowshoe hare"), ("lynx", "Canada lynx"))):
        (line,) = animals.plot(1900 + np.asarray(sol.ts), sol[name], label=label)
        animals.plot(1900 + YEARS, data[:, i], "o", color=line.get_color(), markersize=4)
    animals.set(xlabel="year", ylabel="pelts, thousands", xticks=range(1900, 1921, 5), ylim=(0, 95))
    animals.set_title("pelts and trajectory")
    animals.legend(frameon=False, loc="upper center", ncols=2)

    product = np.asarray(sol["hare"] * sol["lynx"])
    line = np.geomspace(product.min(), product.max())
    term.fill_between(line / 1000, *(b * line for b in BETA_INTERVAL), color="0.88", label="95 % interval of β")
    term.plot(line / 1000, BETA * line, color="0.4", linewidth=1.2, label="β × hare × lynx, fitted")
    points = term.scatter(product / 1000, sol["eaten"], c=sol["lynx"], s=7, zorder=3)
    plt.colorbar(points, ax=term, label="lynx, thousands")
    term.set(xlabel="hare × lynx, millions", ylabel="hares eaten, thousands a year", xscale="log", yscale="log")
    term.set(
        xticks=[0.1, 0.3, 1, 3], xticklabels=["0.1", "0.3", "1", "3"], yticks=[5, 10, 50], yticklabels=["5", "10", "50"]
    )
    term.minorticks_off()
    term.set_title("the term that the network learned")
    term.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
