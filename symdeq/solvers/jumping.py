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

# So many jumps may come at once, or so near that the numbers do not tell them apart.
_TOGETHER = 4


class Jumping(WrappedSolver):
    """Solves by another solver, and changes the state after each step that ends at one of the given times.

    Use it with the step size controller `Breakpoints` of the same times and `same=0`, which ends steps there. The dense
    output of a step goes up to the value just before a jump; what is saved at the end of the solve is the value after
    it. Jumps at equal times follow each other in their order; more than four at once make the state NaN.

    Arguments:

    - `solver`: any diffrax solver.
    - `times`: shape (jumps,), in any order; those after the end never come.
    - `jump`: a function (k, t, y, args) -> y, the state after jump number k from the state just before it.
    """

    solver: dfx.AbstractSolver
    times: Array
    jump: Callable[..., PyTree]

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        y1, error, dense, state, result = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        times = self.times.astype(jnp.asarray(t1).dtype)
        due = (times > t0) & (times <= t1)
        count = jnp.sum(due)

        def after() -> PyTree:
            def one(carry: tuple[PyTree, Array], i: Array) -> tuple[tuple[PyTree, Array], None]:
                def apply() -> tuple[PyTree, Array]:
                    y, left = carry
                    k = jnp.argmin(jnp.where(left, times, jnp.inf))
                    changed = jax.tree.map(
                        lambda new, old: jnp.where(i < count, jnp.asarray(new, old.dtype), old),
                        self.jump(k, t1, y, args),
                        y,
                    )
                    return changed, left.at[k].set(False)

                return lax.cond(unvmap_any(i < count), apply, lambda: carry), None

            (y, _), _ = lax.scan(one, (y1, due), jnp.arange(_TOGETHER))
            return jax.tree.map(lambda v: jnp.where(count > _TOGETHER, jnp.nan, v), y)

        return lax.cond(unvmap_any(count > 0), after, lambda: y1), error, dense, state, result
