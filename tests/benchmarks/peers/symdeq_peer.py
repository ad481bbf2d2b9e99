"""symdeq with no solver named, inside `jax.jit` and called as it stands."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from tests.zoo import Problem

from .base import AbstractPeer, Work
from .compiled import first_gradient, first_solution, forget


def _in_order(solution: Any, problem: Problem) -> Any:
    """The states as the problem orders them; the compiler may have eliminated some of them."""
    if tuple(s.name for s in solution.model.states) == problem.states:
        return solution.ys
    return jnp.stack([solution[name] for name in problem.states], axis=-1)


def _solve(model: Any, problem: Problem) -> Any:
    import symdeq as sd

    return sd.solve(model, problem.t1, problem.t0, jnp.asarray(problem.ts), rtol=problem.rtol, atol=problem.atol)


@final
@dataclass(frozen=True, kw_only=True)
class Symdeq(AbstractPeer):
    """`sd.solve` under `jax.jit`, the parameters an argument."""

    def fits(self, problem: Problem) -> bool:
        return True

    def _program(self, problem: Problem) -> Any:
        import symdeq as sd

        model = sd.compile(problem.build())

        def program(p: Any) -> tuple[Any, Any]:
            solution = _solve(model.replace(dict(zip(problem.parameters, p, strict=True))), problem)
            return _in_order(solution, problem), solution.stats["num_steps"]

        return program

    def solve(self, problem: Problem) -> Work:
        return first_solution(problem, lambda: self._program(problem))

    def gradient(self, problem: Problem) -> Work:
        return first_gradient(problem, lambda: self._program(problem))


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
