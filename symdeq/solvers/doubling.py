"""An error estimate for methods that have none: a step, and the same step in two halves along the same path."""

from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
from diffrax._solution import update_result
from jaxtyping import PyTree


class Doubling(dfx.AbstractAdaptiveSolver, dfx.AbstractWrappedSolver):
    """A solver of stochastic equations with an error estimate, for steps by the error.

    The two halves of a step are the solution, what they differ by from the whole step is the error. As
    `diffrax.HalfSolver`, except that what is saved at the end of a step is the solution too, and not the whole step.

    Arguments:

    - `solver`: a diffrax solver; one whose own error estimate, if it has any, is not to be used.
    """

    solver: dfx.AbstractSolver
    interpolation_cls: ClassVar = dfx.LocalLinearInterpolation

    @property
    def term_structure(self) -> Any:
        return self.solver.term_structure

    @property
    def term_compatible_contr_kwargs(self) -> Any:
        return self.solver.term_compatible_contr_kwargs

    def order(self, terms: Any) -> Any:
        return self.solver.order(terms)

    def strong_order(self, terms: Any) -> Any:
        return self.solver.strong_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> Any:
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: Any, made_jump: Any) -> Any:
        middle = t0 + 0.5 * (t1 - t0)
        y_half, _, _, between, first = self.solver.step(terms, t0, middle, y0, args, solver_state, made_jump)
        y1, _, _, after, second = self.solver.step(terms, middle, t1, y_half, args, between, False)
        whole, _, _, _, third = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        error = jax.tree.map(lambda a, b: jnp.abs(a - b), y1, whole)
        return y1, error, {"y0": y0, "y1": y1}, after, update_result(first, update_result(second, third))

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> Any:
        return self.solver.func(terms, t0, y0, args)
