"""Peers that solve a problem for many sets of parameters at once."""

from __future__ import annotations

import abc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from tests.zoo import Problem

from .base import Flags, MissingTool, Work
from .c_peer import c_loop, in_order
from .compiled import first_solution, forget
from .diffrax_peer import Diffrax, RootFinder
from .symdeq_peer import Symdeq

_MAX_STEPS = 4096
# Members that a thread takes at a time.
_CHUNK = 100


@dataclass(frozen=True, kw_only=True)
class AbstractBatch(abc.ABC):
    """One way to solve many members.

    Arguments:
        name: as the tables print it
        flags: of the process that it works in
        members: how many it is asked for
    """

    name: str
    flags: Flags
    members: int

    @abc.abstractmethod
    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        """Prepare the solutions for each row of `params`; `Work.result` has the shape (members, times, states)."""


@final
@dataclass(frozen=True, kw_only=True)
class SymdeqEnsemble(AbstractBatch):
    """`sd.ensemble` as its users call it."""

    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        import symdeq as sd

        ensemble = getattr(sd, "ensemble", None)
        if ensemble is None:
            raise MissingTool("symdeq has no ensemble")
        forget()
        start = time.perf_counter()
        model = sd.compile(problem.build())
        values = dict(zip(problem.parameters, params.T, strict=True))
        where = {"t0": problem.t0, "t1": problem.t1, "saveat": jnp.asarray(problem.ts)}

        def run() -> Any:
            return ensemble(model, values, **where, rtol=problem.rtol, atol=problem.atol, throw=False)

        solution = run()
        ys = np.stack([np.asarray(solution[name]) for name in problem.states], axis=-1)
        return Work(run=lambda: np.asarray(run().ys), result=ys, first=time.perf_counter() - start)


@final
@dataclass(frozen=True, kw_only=True)
class SymdeqVmap(AbstractBatch):
    """`jax.vmap` around `sd.solve`."""

    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        single = Symdeq(name=self.name, flags=self.flags)
        return first_solution(params, lambda: jax.vmap(single.program(problem)))


@final
@dataclass(frozen=True, kw_only=True)
class SymdeqMap(AbstractBatch):
    """`jax.lax.map` around `sd.solve`: one member after the other, on one core, in one program."""

    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        single = Symdeq(name=self.name, flags=self.flags)

        def declare() -> Any:
            program = single.program(problem)
            return lambda ps: jax.lax.map(program, ps)

        return first_solution(params, declare)


@final
@dataclass(frozen=True, kw_only=True)
class DiffraxVmap(AbstractBatch):
    """`jax.vmap` around `diffrax.diffeqsolve` as its users write it."""

    root_finder: RootFinder = RootFinder.default

    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        single = Diffrax(name=self.name, flags=self.flags, root_finder=self.root_finder)
        return first_solution(params, lambda: jax.vmap(single.program(problem, _MAX_STEPS)))


@final
@dataclass(frozen=True, kw_only=True)
class CThreads(AbstractBatch):
    """The C loop, one member after the other, in threads that take the next members when they are done.

    Arguments:
        threads: how many
    """

    threads: int = 2

    def solve_all(self, problem: Problem, params: np.ndarray) -> Work:
        forget()
        start = time.perf_counter()
        library, model = c_loop(problem)
        y0, p = np.array(problem.y0), params[:, in_order(problem, model)]
        tolerances = (problem.rtol, problem.atol)
        solve, ys = library.many(problem.t0, problem.t1, y0, p, np.array(problem.ts), *tolerances)
        pool = ThreadPoolExecutor(self.threads)
        ends = [(k, min(k + _CHUNK, len(params))) for k in range(0, len(params), _CHUNK)]

        def run() -> int:
            return sum(pool.map(lambda chunk: solve(*chunk), ends))

        run()
        return Work(run=run, result=ys, first=time.perf_counter() - start)
