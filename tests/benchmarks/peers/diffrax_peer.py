"""diffrax as its users write it: Tsit5, or Kvaerno5 for what is stiff."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from tests.zoo import Problem

from .base import AbstractPeer, Flags, Work
from .compiled import first_gradient, first_solution

# diffrax's default, and what a user tries next.
_MAX_STEPS = (4096, 131_072)
# More parameters than a user would name one by one stay an array.
_FEW = 64


class RootFinder(enum.Enum):
    """How Kvaerno5 solves its stages."""

    default = "chord steps with the factors of the step's start"
    newton = "Newton's method"


@final
@dataclass(frozen=True, kw_only=True)
class Diffrax(AbstractPeer):
    """`diffrax.diffeqsolve` around the problem's hand-written field, the state an array.

    `throw=False`, so that it pays for no host callback; everything else is diffrax's default.
    """

    root_finder: RootFinder = RootFinder.default

    def fits(self, problem: Problem) -> bool:
        return problem.mass is None and (problem.stiff or self.root_finder is RootFinder.default)

    def _solver(self, problem: Problem) -> dfx.AbstractSolver:
        if not problem.stiff:
            return dfx.Tsit5()
        if self.root_finder is RootFinder.newton:
            return dfx.Kvaerno5(root_finder=dfx.with_stepsize_controller_tols(optx.Newton)())
        return dfx.Kvaerno5()

    def program(self, problem: Problem, max_steps: int) -> Any:
        """The function `parameters -> (states at the save points, steps)`."""

        def program(p: Any) -> tuple[Any, Any]:
            solution = dfx.diffeqsolve(
                dfx.ODETerm(problem.field),
                self._solver(problem),
                problem.t0,
                problem.t1,
                None,
                jnp.asarray(problem.y0),
                args=tuple(p) if len(problem.params) <= _FEW else p,
                saveat=dfx.SaveAt(ts=jnp.asarray(problem.ts)),
                stepsize_controller=dfx.PIDController(rtol=problem.rtol, atol=problem.atol),
                max_steps=max_steps,
                throw=False,
            )
            return solution.ys, solution.stats["num_steps"]

        return program

    def _sufficient(self, problem: Problem, prepare: Callable[[Any, Callable[[], Any]], Work]) -> Work:
        """With the default bound on the number of steps, and with a larger one if that was not enough."""
        for max_steps in _MAX_STEPS:
            work = prepare(problem.params, lambda max_steps=max_steps: self.program(problem, max_steps))
            if np.isfinite(work.result).all():
                return work
        return work

    def solve(self, problem: Problem) -> Work:
        return self._sufficient(problem, first_solution)

    def gradient(self, problem: Problem) -> Work | None:
        # The option's effect shows in the solve; for a stiff problem this gradient takes longest of all to compile.
        if self.flags is Flags.option and problem.stiff:
            return None
        return self._sufficient(problem, first_gradient)
