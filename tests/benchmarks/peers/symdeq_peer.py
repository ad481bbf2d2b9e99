"""symdeq with no solver named and with each of its methods, inside `jax.jit` and called as it stands."""

from __future__ import annotations

import dataclasses
import enum
import time
from dataclasses import dataclass
from typing import Any, final

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

from tests.zoo import Problem

from .base import AbstractPeer, Work
from .compiled import first_gradient, first_solution, forget

# Enough for every method and tolerance here; at ordinary tolerances symdeq's own bound holds.
_MAX_STEPS = 131_072


def _with_parameters(model: Any, problem: Problem, p: Any) -> Any:
    """The model with the parameters of an array, in the problem's order."""
    if tuple(k.name for k in model.parameters) == problem.parameters:
        return dataclasses.replace(model, values=p)
    return model.replace(dict(zip(problem.parameters, p, strict=True)))


def _in_order(solution: Any, problem: Problem) -> Any:
    """The states as the problem orders them; the compiler may have eliminated some of them."""
    names = [s.name for s in solution.model.states]
    if set(names) == set(problem.states):
        return solution.ys[:, np.array([names.index(name) for name in problem.states])]
    return jnp.stack([solution[name] for name in problem.states], axis=-1)


class Fixed(enum.Enum):
    """A method that a user may ask for by name."""

    rodas5p = "Rodas5P"
    rosenbrock23 = "Rosenbrock23"
    tsit5 = "Tsit5"

    def solver(self) -> Any:
        """The diffrax solver."""
        import symdeq as sd

        return dfx.Tsit5() if self is Fixed.tsit5 else getattr(sd, self.value)()


def _solve(model: Any, problem: Problem, solver: Any = "auto", max_steps: int | None = None) -> Any:
    import symdeq as sd

    more: dict[str, Any] = {} if max_steps is None else {"max_steps": max_steps}
    tolerances = {"rtol": problem.rtol, "atol": problem.atol}
    return sd.solve(model, problem.t1, problem.t0, jnp.asarray(problem.ts), solver=solver, **tolerances, **more)


@final
@dataclass(frozen=True, kw_only=True)
class Symdeq(AbstractPeer):
    """`sd.solve` under `jax.jit`, the parameters an argument.

    Arguments:
        method: the one to ask for; None leaves the choice to symdeq
    """

    method: Fixed | None = None

    def fits(self, problem: Problem) -> bool:
        return self.method is None or (problem.mass is None and problem.stiff == (self.method is not Fixed.tsit5))

    def program(self, problem: Problem) -> Any:
        """Compile the model, and return the function `parameters -> (states at the save points, steps)`."""
        import symdeq as sd

        model = sd.compile(problem.build())
        solver = self.method.solver() if self.method else "auto"
        max_steps = _MAX_STEPS if self.method or problem.rtol < 1e-7 else None

        def program(p: Any) -> tuple[Any, Any]:
            solution = _solve(_with_parameters(model, problem, p), problem, solver, max_steps)
            return _in_order(solution, problem), solution.stats["num_steps"]

        return program

    def solve(self, problem: Problem) -> Work:
        return first_solution(problem.params, lambda: self.program(problem))

    def gradient(self, problem: Problem) -> Work | None:
        if self.method is not None:
            return None
        return first_gradient(problem.params, lambda: self.program(problem))


@final
@dataclass(frozen=True, kw_only=True)
class SymdeqEager(AbstractPeer):
    """`sd.solve` without `jax.jit` around it: the same program, and the checks at the door in each call."""

    def fits(self, problem: Problem) -> bool:
        return True

    def solve(self, problem: Problem) -> Work:
        import symdeq as sd

        forget()
        start = time.perf_counter()
        model = sd.compile(problem.build())
        solution = jax.block_until_ready(_solve(model, problem))
        first = time.perf_counter() - start
        return Work(
            run=lambda: jax.block_until_ready(_solve(model, problem).ys),
            result=np.asarray(_in_order(solution, problem)),
            first=first,
            steps=int(solution.stats["num_steps"]),
        )

    def gradient(self, problem: Problem) -> None:
        return None
