"""SciPy's `solve_ivp` with the field and the Jacobian written by hand for NumPy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.integrate

from tests.zoo import Problem

from .base import AbstractPeer, Work


@final
@dataclass(frozen=True, kw_only=True)
class SciPy(AbstractPeer):
    """One method of `solve_ivp`, with the analytic Jacobian where it takes one: by bands or sparse where that helps.

    Arguments:
        method: SciPy's name of it
        only_stiff: the problems that it is for: stiff ones, those that are not, or (None) both
    """

    method: str
    only_stiff: bool | None = None

    def fits(self, problem: Problem) -> bool:
        return problem.mass is None and self.only_stiff in (None, problem.stiff)

    def _call(self, problem: Problem, times: Any) -> Any:
        return scipy.integrate.solve_ivp(
            problem.numpy_rhs,
            (problem.t0, problem.t1),
            problem.y0,
            method=self.method,
            t_eval=times,
            args=(problem.params,),
            rtol=problem.rtol,
            atol=problem.atol,
            **self._jacobian(problem),
        )

    def _jacobian(self, problem: Problem) -> dict[str, Any]:
        if self.method == "DOP853":
            return {}
        if self.method == "LSODA" and problem.bands is not None:
            return {"jac": problem.numpy_jac_banded, "lband": problem.bands[0], "uband": problem.bands[1]}
        if self.method != "LSODA" and problem.numpy_jac_sparse is not None:
            return {"jac": problem.numpy_jac_sparse}
        return {"jac": problem.numpy_jac}

    def solve(self, problem: Problem) -> Work:
        start = time.perf_counter()
        solution = self._call(problem, problem.ts)
        first = time.perf_counter() - start
        states = solution.y.T if solution.success else np.full((len(problem.ts), len(problem.y0)), np.nan)
        # Only the accepted steps are to be had.
        steps = len(self._call(problem, None).t) - 1
        return Work(run=lambda: self._call(problem, problem.ts), result=states, first=first, steps=steps)

    def gradient(self, problem: Problem) -> None:
        return None
