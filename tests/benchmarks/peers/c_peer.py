"""Compiled C: a loop of the same methods as symdeq's, and CVODE, both around the model's equations as C."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from tests.zoo import Problem

from .base import AbstractPeer, Work
from .compiled import forget

if TYPE_CHECKING:
    from .. import native


def c_loop(problem: Problem) -> tuple[native.Library, native.CModel]:
    """Tsit5, or Rodas5P where the problem is stiff, compiled for this problem."""
    from .. import native  # which takes SymPy along, that other peers' processes do without

    model = native.c_model(problem.build(), problem.states)
    return native.build(native.loop(model, problem.stiff)), model


def cvode(problem: Problem) -> tuple[native.Library, native.CModel]:
    """CVODE's Adams methods, or BDF where the problem is stiff, compiled for this problem."""
    from .. import native

    model = native.c_model(problem.build(), problem.states)
    return native.build(*native.cvode(model, problem.stiff)), model


def in_order(problem: Problem, model: native.CModel) -> list[int]:
    """Where each of the model's parameters is among the problem's."""
    return [problem.parameters.index(name) for name in model.parameters]


def _work(problem: Problem, make: Callable[[Problem], tuple[native.Library, native.CModel]]) -> Work:
    forget()
    start = time.perf_counter()
    library, model = make(problem)
    y0, p, ts = np.array(problem.y0), np.array(problem.params)[in_order(problem, model)], np.array(problem.ts)
    run, ys, counts = library.single(problem.t0, problem.t1, y0, p, ts, problem.rtol, problem.atol)
    failed = run()
    first = time.perf_counter() - start
    states = np.full_like(ys, np.nan) if failed else ys.copy()
    return Work(run=run, result=states, first=first, steps=int(counts[0]))


@final
@dataclass(frozen=True, kw_only=True)
class CLoop(AbstractPeer):
    """Straight-line C for the equations, the method's coefficients written in, the controller's rule of diffrax.

    Arguments:
        most_states: above so many it does not take part, unless the Jacobian is banded: its elimination by bands
            would be a dense one
    """

    most_states: int = 200

    def fits(self, problem: Problem) -> bool:
        banded = problem.bands is not None
        return problem.mass is None and (banded or not problem.stiff or len(problem.states) <= self.most_states)

    def solve(self, problem: Problem) -> Work:
        return _work(problem, c_loop)

    def gradient(self, problem: Problem) -> None:
        return None


@final
@dataclass(frozen=True, kw_only=True)
class CVode(AbstractPeer):
    """CVODE with right-hand side and Jacobian in C; dense LU, or its banded one for large banded systems."""

    def fits(self, problem: Problem) -> bool:
        return problem.mass is None

    def solve(self, problem: Problem) -> Work:
        return _work(problem, cvode)

    def gradient(self, problem: Problem) -> None:
        return None
