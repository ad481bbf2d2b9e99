"""The search for an equilibrium, one call of optimistix or of diffrax until the state rests, and its derivative."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, PyTree

from symdeq.solvers import GMRES, FirstStep

_MOST_STEPS = 32
_MOST_ODE_STEPS = 4096
# Up to so many numbers in z the backward pass solves with a dense LU, which is exact; beyond it with GMRES, as loosely
# as published implementations have it: a gradient needs no more digits than the equilibrium has.
_DENSE_UP_TO = 64
_LOOSE = GMRES(rtol=1e-3, max_steps=10, strict=False)


class Equilibrium(eqx.Module):
    """What is searched for: z with `cell(z, x) = z`, and how."""

    cell: Any
    x: PyTree
    solver: Any = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)

    def step(self, z: PyTree) -> PyTree:
        return self.cell(z, self.x)

    def residual(self, z: PyTree) -> PyTree:
        return jax.tree.map(jnp.subtract, self.step(z), z)

    @property
    def tolerances(self) -> tuple[float, float]:
        """Relative and absolute: the largest |residual| is at most atol + rtol * max|z|."""
        return tolerances(self.solver, self.atol)


def tolerances(solver: Any, atol: float | None) -> tuple[float, float]:
    """Relative and absolute tolerance of the residual: `atol` where it is given, else the solver's own, else 1e-3."""
    if atol is not None:
        return 0.0, atol
    if isinstance(solver, dfx.AbstractSolver) or not hasattr(solver, "atol"):
        return 0.0, 1e-3
    return float(solver.rtol), float(solver.atol)


def largest(tree: PyTree) -> Array:
    """The largest modulus of an entry; NaN if there is one."""
    parts = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(tree)]
    return jnp.max(jnp.stack(parts)) if parts else jnp.zeros(())


def settled(residual: PyTree, z: PyTree, tolerances: tuple[float, float]) -> Array:
    """Whether a residual is small enough."""
    rtol, atol = tolerances
    return largest(residual) <= (atol + rtol * largest(z) if rtol else atol)


def find(equilibrium: Equilibrium, start: PyTree) -> tuple[PyTree, Any]:
    """The equilibrium, and `(nfe, solution)`."""
    solver = equilibrium.solver
    if isinstance(solver, dfx.AbstractSolver):
        return _rested(equilibrium, start)
    if equilibrium.atol is not None and hasattr(solver, "atol"):
        solver = eqx.tree_at(lambda s: (s.rtol, s.atol), solver, (0.0, equilibrium.atol))
    search: Any = optx.root_find
    function = Equilibrium.residual
    if isinstance(solver, optx.AbstractFixedPointSolver):
        search, function = optx.fixed_point, Equilibrium.step
    found = search(
        lambda z, problem: function(problem, z),
        solver,
        start,
        equilibrium,
        max_steps=equilibrium.max_steps or _MOST_STEPS,
        throw=False,
    )
    nfe = found.stats.get("nfe", found.stats["num_steps"])
    # The state of some solvers holds programs, which cannot leave a function that is differentiated.
    solution = eqx.tree_at(lambda s: s.state, found, None, is_leaf=lambda leaf: leaf is None)
    return found.value, (nfe, solution)


def _rested(equilibrium: Equilibrium, start: PyTree) -> tuple[PyTree, Any]:
    """The end of z' = cell(z, x) - z, once it is within the tolerance everywhere."""

    def at_rest(t: Any, z: PyTree, problem: Equilibrium, **_: Any) -> Array:
        return settled(problem.residual(z), z, problem.tolerances)

    found = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, z, problem: problem.residual(z)),
        equilibrium.solver,
        0.0,
        jnp.inf,
        None,
        start,
        equilibrium,
        saveat=dfx.SaveAt(t1=True),
        stepsize_controller=FirstStep(dfx.PIDController(equilibrium.rtol, equilibrium.tolerances[1])),
        event=dfx.Event(at_rest),
        max_steps=equilibrium.max_steps or _MOST_ODE_STEPS,
        throw=False,
    )
    stages = len(getattr(getattr(equilibrium.solver, "tableau", None), "b_sol", ())) or 1
    return jax.tree.map(lambda leaf: leaf[0], found.ys), (found.stats["num_steps"] * (stages + 1), found)


def trajectory(equilibrium: Equilibrium, start: PyTree, ts: Any) -> PyTree:
    """z' = cell(z, x) - z from the start at t = 0, at times: each leaf with an axis of times in front."""
    solver = equilibrium.solver if isinstance(equilibrium.solver, dfx.AbstractSolver) else dfx.Tsit5()
    found = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, z, problem: problem.residual(z)),
        solver,
        0.0,
        ts[-1],
        None,
        start,
        equilibrium,
        saveat=dfx.SaveAt(ts=ts),
        stepsize_controller=FirstStep(dfx.PIDController(equilibrium.rtol, equilibrium.tolerances[1])),
        max_steps=equilibrium.max_steps or _MOST_ODE_STEPS,
        throw=False,
    )
    good = found.result == dfx.RESULTS.successful
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf) & good, leaf, jnp.nan), found.ys)


@eqx.filter_custom_jvp
def implicit(equilibrium: Equilibrium, start: PyTree, linear_solver: Any) -> tuple[PyTree, Any]:
    """What `find` finds, with the derivative of the equilibrium by the implicit function theorem.

    Where the search ended without one, that theorem has nothing to say, and what it would make of the end is wrong by
    any factor: the derivative is then that of the cell, applied to where the search ended.

    `linear_solver` of lineax solves with the Jacobian of the residual; `None` for a dense LU or GMRES, by size.
    """
    return jax.tree.map(jnp.asarray, find(equilibrium, start))


@implicit.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    equilibrium, start, linear_solver = primals
    z, rest = implicit(equilibrium, start, linear_solver)
    fixed = jax.tree.map(_is_none, tangents[0], is_leaf=_is_none)
    still, moving = eqx.partition(equilibrium, fixed, is_leaf=_is_none)
    residual, moved = jax.jvp(lambda part: eqx.combine(part, still).residual(z), (moving,), (tangents[0],))
    if linear_solver is None:
        small = sum(leaf.size for leaf in jax.tree.leaves(z)) <= _DENSE_UP_TO
        linear_solver = lx.LU() if small else _LOOSE
    operator = lx.JacobianLinearOperator(_residual, z, equilibrium)
    # Broyden's estimate of the inverse spares one vector in ten as a preconditioner, less than its own products take.
    solved = lx.linear_solve(operator, moved, linear_solver, throw=False).value
    good = settled(residual, z, equilibrium.tolerances)
    slope = jax.tree.map(lambda root, cell: jnp.where(good, -root, cell), solved, moved)
    return (z, rest), (slope, jax.tree.map(lambda _: None, rest))


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _residual(z: PyTree, equilibrium: Equilibrium) -> PyTree:
    return equilibrium.residual(z)
