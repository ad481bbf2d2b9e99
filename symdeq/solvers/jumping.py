"""States that jump at known times, by any solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from equinox.internal import unvmap_any  # a branch that no member of a batch needs is then not run
from jax import lax
from jaxtyping import Array, PyTree

from symdeq.solvers.wrapping import WrappedSolver


class Jumping(WrappedSolver):
    """Solves by another solver, and changes the state after each step that ends at one of the given times.

    Use it with the step size controller `Breakpoints` of the same times, which ends steps there. The dense output of a
    step goes up to the value just before a jump; what is saved at the end of the solve is the value after it.

    Arguments:

    - `solver`: any diffrax solver.
    - `times`: shape (jumps,), in any order, no two alike; those after the end never come.
    - `jump`: a function (k, t, y, args) -> y, the state after jump number k from the state just before it.
    """

    solver: dfx.AbstractSolver
    times: Array
    jump: Callable[..., PyTree]

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        y1, error, dense, state, result = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        here = self.times.astype(jnp.asarray(t1).dtype) == t1
        jumps = jnp.any(here)

        def after() -> PyTree:
            changed = self.jump(jnp.argmax(here), t1, y1, args)
            return jax.tree.map(lambda a, b: jnp.where(jumps, a, b), changed, y1)

        return lax.cond(unvmap_any(jumps), after, lambda: y1), error, dense, state, result
