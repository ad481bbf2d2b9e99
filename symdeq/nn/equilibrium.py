"""The search for an equilibrium: one call of optimistix, or of diffrax until the state rests."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, PyTree

from symdeq.solvers import FirstStep

_MOST_STEPS = 32
_MOST_ODE_STEPS = 4096


class Equilibrium(eqx.Module):
    """What is searched for: z with `cell(z, x) = z`, and how."""

    cell: Any
    x: PyTree
    solver: Any = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)

    def step(self, z: PyTree) -> PyTree:
        return self.cell(z, self.x)

    def residual(self, z: PyTree) -> PyTree:
        return jax.tree.map(jnp.subtract, self.step(z), z)


def largest(tree: PyTree) -> Array:
    """The largest modulus of an entry; NaN if there is one."""
    parts = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(tree)]
    return jnp.max(jnp.stack(parts)) if parts else jnp.zeros(())


def find(inputs: Any) -> tuple[PyTree, Any]:
    """The equilibrium, and `(nfe, solution)`. `inputs` are an `Equilibrium` and where the search starts."""
    equilibrium, start = inputs
    if isinstance(equilibrium.solver, dfx.AbstractSolver):
        return _rested(equilibrium, start)
    steps = equilibrium.max_steps or _MOST_STEPS
    search: Any = optx.root_find
    function = Equilibrium.residual
    if isinstance(equilibrium.solver, optx.AbstractFixedPointSolver):
        search, function = optx.fixed_point, Equilibrium.step
    found = search(
        lambda z, problem: function(problem, z), equilibrium.solver, start, equilibrium, max_steps=steps, throw=False
    )
    nfe = found.stats.get("nfe", found.stats["num_steps"])
    # The state of some solvers holds programs, which cannot leave a function that is differentiated.
    return found.value, (nfe, eqx.tree_at(lambda s: s.state, found, None, is_leaf=lambda leaf: leaf is None))


def _rested(equilibrium: Equilibrium, start: PyTree) -> tuple[PyTree, Any]:
    """The end of z' = cell(z, x) - z, once it is within the tolerance everywhere."""

    def at_rest(t: Any, z: PyTree, problem: Equilibrium, **_: Any) -> Array:
        return largest(problem.residual(z)) <= problem.atol + problem.rtol * largest(z)

    found = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, z, problem: problem.residual(z)),
        equilibrium.solver,
        0.0,
        jnp.inf,
        None,
        start,
        equilibrium,
        saveat=dfx.SaveAt(t1=True),
        stepsize_controller=FirstStep(dfx.PIDController(equilibrium.rtol, equilibrium.atol)),
        event=dfx.Event(at_rest),
        max_steps=equilibrium.max_steps or _MOST_ODE_STEPS,
        throw=False,
    )
    stages = len(getattr(getattr(equilibrium.solver, "tableau", None), "b_sol", ())) or 1
    return jax.tree.map(lambda leaf: leaf[0], found.ys), (found.stats["num_steps"] * (stages + 1), found)
