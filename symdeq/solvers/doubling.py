"""An error estimate for methods that have none: a step, and the same step in two halves along the same path."""

from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
from diffrax._solution import update_result
from jax import lax
from jaxtyping import PyTree

from symdeq.solvers.wrapping import WrappedSolver


class Doubling(WrappedSolver, dfx.AbstractAdaptiveSolver):
    """A solver of stochastic equations with an error estimate, for steps by the error.

    The two halves of a step are the solution, what they differ by from the whole step is the error. As
    `diffrax.HalfSolver`, except that what is saved at the end of a step is the solution too, and not the whole step.

    Arguments:

    - `solver`: a diffrax solver; one whose own error estimate, if it has any, is not to be used.
    """

    solver: dfx.AbstractSolver
    interpolation_cls: ClassVar = dfx.LocalLinearInterpolation  # pyright: ignore[reportAssignmentType]

    def error_order(self, terms: Any) -> Any:
        return dfx.AbstractAdaptiveSolver.error_order(self, terms)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        middle = t0 + 0.5 * (t1 - t0)

        def one(carry: Any, given: Any) -> Any:
            """The first half, the second, and the whole, which starts again: in a loop, so that it compiles once."""
            i, start, stop = given
            again = lambda last, first: jax.tree.map(lambda a, b: jnp.where(i == 2, b, a), last, first)  # noqa: E731
            *kept, result = carry
            y, state = again(tuple(kept), (y0, solver_state))
            y, _, _, state, found = self.solver.step(terms, start, stop, y, args, state, made_jump & (i != 1))
            return (*again((y, state), tuple(kept)), update_result(result, found)), y

        ends = (jnp.arange(3), jnp.stack([t0, middle, t0]), jnp.stack([middle, t1, t1]))
        (y1, after, result), ys = lax.scan(one, (y0, solver_state, dfx.RESULTS.successful), ends)
        error = jax.tree.map(lambda y1, y: jnp.abs(y1 - y[2]), y1, ys)
        return y1, error, {"y0": y0, "y1": y1}, after, result
