"""Strong orders of convergence: many paths as tables, the same for all step sizes, and errors at the end."""

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from symdeq.solve import sde


class Table(dfx.AbstractBrownianPath):
    """A Brownian motion on an even grid over [0, 1]: W and its integral at the grid's points, shape (points, m).

    Increments, and the space-time areas over them, are exact between any two of the points.
    """

    w: Array
    integral: Array
    levy_area: Any = eqx.field(static=True)
    t0: ClassVar = 0.0
    t1: ClassVar = 1.0

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        cells = self.w.shape[0] - 1
        i, j = (jnp.round(t * cells).astype(int) for t in (t0, t1))
        h, w = t1 - t0, self.w[j] - self.w[i]
        if not use_levy:
            return w
        area = (self.integral[j] - self.integral[i]) / h - self.w[i] - w / 2
        return dfx.SpaceTimeLevyArea(dt=h, W=w, H=area)


def table(key: Any, cells: int, motions: int, levy_area: Any = dfx.SpaceTimeLevyArea) -> Table:
    """A path; over a cell of length h, W is N(0, h) and the area N(0, h / 12), independent of it."""
    h, keys = 1 / cells, jax.random.split(key)
    steps, areas = (
        jax.random.normal(k, (cells, motions)) * jnp.sqrt(v) for k, v in zip(keys, (h, h / 12), strict=True)
    )
    w = jnp.concatenate([jnp.zeros((1, motions)), jnp.cumsum(steps, axis=0)])
    integral = jnp.cumsum(h * (w[:-1] + steps / 2 + areas), axis=0)
    return Table(w=w, integral=jnp.concatenate([jnp.zeros((1, motions)), integral]), levy_area=levy_area)


def ends(model: Any, solver: Any, path: Table, steps: Any) -> Array:
    """The state at t = 1 along a path, by equal steps, whose number may be traced."""
    terms = sde.terms(model, solver, jnp.zeros(()), jnp.ones(()), jax.random.key(0))
    drift, diffusion = terms.terms
    terms = dfx.MultiTerm(drift, dfx.ControlTerm(diffusion.vector_field, path))
    p, y0 = model.args, model.initial_state()
    state = solver.init(terms, jnp.zeros(()), 1.0 / steps, y0, p)

    def step(i: Any, carry: Any) -> Any:
        y, state = carry
        y, _, _, state, _ = solver.step(terms, i / steps, (i + 1) / steps, y, p, state, False)
        return y, state

    return lax.fori_loop(0, steps, step, (y0, state))[0]


def orders(model: Any, solvers: Any, *, reference: Any, counts: Any, cells: int, paths: int) -> list[tuple[Any, Any]]:
    """For each solver the slope of log(error) over log(step) and its standard error, from root mean squares over paths.

    Arguments:

    - `reference`: the solver whose end after `cells` steps counts as exact, on the same paths.
    - `counts`: numbers of steps, which divide `cells`.
    """
    motions = len(model.system.noise)
    keys = jax.random.split(jax.random.key(0), paths)

    @jax.jit
    def squares(keys: Any) -> Any:
        path = jax.vmap(lambda key: table(key, cells, motions))(keys)
        known = jax.vmap(lambda p: ends(model, reference, p, cells))(path)

        def along(solver: Any, n: Any) -> Any:
            return jax.vmap(lambda p, k: jnp.sum((ends(model, solver, p, n) - k) ** 2))(path, known)

        return [lax.map(lambda n, s=s: along(s, n), jnp.asarray(counts)) for s in solvers]

    return [_slope(np.asarray(found), counts) for found in squares(keys)]


def _slope(found: np.ndarray, counts: Any) -> tuple[Any, Any]:
    """By groups of paths that are left out in turn, the jackknife."""

    def slope(part: np.ndarray) -> Any:
        return -np.polyfit(np.log(counts), np.log(part.mean(axis=1)) / 2, 1)[0]

    groups = np.array_split(found, 20, axis=1)
    without = [slope(np.concatenate([*groups[:i], *groups[i + 1 :]], axis=1)) for i in range(len(groups))]
    return slope(found), np.sqrt((len(groups) - 1) * np.var(without))
