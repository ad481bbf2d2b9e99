"""The published problems solved by symdeq, no solver named, and by each of its solvers, against reference values."""

import numpy as np
import pytest

import symdeq as sd
from symdeq.solvers import AbstractRosenbrock
from tests.zoo import PROBLEMS
from tests.zoo.problem import Problem

# Errors grow by a factor of a million along this orbit, which it is published for: a tolerance that leaves digits.
SENSITIVE = {"arenstorf": 1e-12}


def error_at_the_end(problem: Problem, solver: object, rtol: float) -> float:
    """Largest error of any state at t1, relative to its size with the absolute tolerance as floor."""
    model = sd.compile(problem.build())
    atol = problem.atol * rtol / problem.rtol
    sol = sd.solve(model, problem.t1, problem.t0, [problem.t1], rtol=rtol, atol=atol, solver=solver, max_steps=50_000)
    expected = np.array(problem.reference[problem.t1])
    found = np.array([float(sol[name][0]) for name in problem.states])
    return float(np.max(np.abs(found - expected) / (np.abs(expected) + atol / rtol)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_solver_that_symdeq_chooses(name):
    assert error_at_the_end(PROBLEMS[name], "auto", SENSITIVE.get(name, 1e-8)) < 2e-6


@pytest.mark.parametrize("name", ["rober", "hires", "orego", "van_der_pol", "lotka_volterra", "rigid_body"])
@pytest.mark.parametrize("solver", [sd.Rodas5P(), sd.Rosenbrock23()], ids=lambda s: type(s).__name__)
def test_each_rosenbrock_method(name, solver: AbstractRosenbrock):
    rtol, most = (1e-7, 1e-5) if isinstance(solver, sd.Rodas5P) else (1e-5, 5e-3)
    assert error_at_the_end(PROBLEMS[name], solver, rtol) < most
