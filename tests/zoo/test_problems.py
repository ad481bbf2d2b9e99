"""Each problem is told three times, in symdeq, JAX and NumPy; all three must tell the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from tests.zoo import PROBLEMS, brusselator_1d, select
from tests.zoo.problem import SAVE_POINTS

every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))


def _points(problem, count=3):
    """Times and states around the solution, never zero in any component."""
    rng = np.random.default_rng(0)
    visited = np.array([problem.y0, *problem.reference.values()])
    size = np.abs(visited).max(axis=0) + 1e-3
    for _ in range(count):
        time = float(rng.uniform(problem.t0, min(problem.t1, 10.0)))
        yield time, np.asarray(problem.y0) + size * rng.uniform(0.01, 0.1, len(problem.y0))


@every_problem
def test_record(problem):
    """Lengths, times, reference values and names fit together."""
    assert problem.name in PROBLEMS
    assert len(problem.states) == len(set(problem.states)) == len(problem.y0)
    assert len(problem.parameters) == len(set(problem.parameters)) == len(problem.params)
    assert len(problem.ts) == SAVE_POINTS
    assert problem.t0 < problem.ts[0]
    assert problem.ts[-1] == problem.t1
    assert all(a < b for a, b in zip(problem.ts, problem.ts[1:], strict=False))
    assert problem.t1 in problem.reference
    assert all(len(state) == len(problem.y0) for state in problem.reference.values())
    assert problem.mass is None or len(problem.mass) == len(problem.y0)


@every_problem
def test_closed_form(problem):
    """A closed form starts at the initial values and solves the equations."""
    if problem.exact is None:
        assert problem.reference
        return
    np.testing.assert_allclose(problem.exact(problem.t0), problem.y0, rtol=1e-15)
    h = 1e-4 * (problem.t1 - problem.t0)
    for time in np.linspace(problem.t0 + 100 * h, problem.t1 - 100 * h, 5):
        around = [np.array(problem.exact(time + k * h)) for k in (-2, -1, 1, 2)]
        slope = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * h)
        # A stiff right-hand side magnifies the last digit of the closed form.
        magnified = 1e-15 * np.abs(problem.numpy_jac(time, around[0], problem.params)).max()
        rhs = problem.numpy_rhs(time, np.array(problem.exact(time)), problem.params)
        np.testing.assert_allclose(slope, rhs, rtol=1e-8, atol=1e-8 + magnified)


@every_problem
def test_jax_and_numpy_agree(problem):
    """The two right-hand sides agree, and the Jacobian is that of both."""
    for time, state in _points(problem):
        args = tuple(map(jnp.asarray, problem.params))
        rhs, jac = problem.numpy_rhs(time, state, problem.params), problem.numpy_jac(time, state, problem.params)
        np.testing.assert_allclose(
            problem.field(time, jnp.asarray(state), args), rhs, rtol=1e-11, atol=1e-13 * np.abs(rhs).max()
        )
        expected = jax.jacfwd(lambda y, time=time, args=args: problem.field(time, y, args))(jnp.asarray(state))
        np.testing.assert_allclose(jac, expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@every_problem
def test_model_agrees(problem):
    """The symbolic equations, evaluated by SymPy alone, are those of the right-hand side by hand."""
    system = problem.build()
    states = {symbol.name: symbol for symbol in system.states}
    params = {symbol.name: symbol for symbol in system.params}
    assert set(states) == set(problem.states)
    assert set(params) == set(problem.parameters)
    assert tuple(params[name].value for name in problem.parameters) == problem.params
    mass = problem.mass or (1.0,) * len(problem.y0)
    for time, state in _points(problem, count=1):
        slopes = problem.numpy_rhs(time, state, problem.params)
        values = {sd.t: time}
        values |= {states[name]: value for name, value in zip(problem.states, state, strict=True)}
        values |= {params[name]: value for name, value in zip(problem.parameters, problem.params, strict=True)}
        values |= {sd.D(states[name]): slope for name, slope, m in zip(problem.states, slopes, mass, strict=True) if m}
        residuals = [float((equation.lhs - equation.rhs).subs(values)) for equation in system.equations]
        # A differential equation is satisfied by the slope; an algebraic one has the same residual up to its sign.
        expected = np.abs(np.where(np.array(mass) == 1, 0.0, slopes))
        np.testing.assert_allclose(np.abs(residuals), expected, rtol=1e-10, atol=1e-12 * np.abs(slopes).max())


def test_select():
    """Kinds of problem are disjoint and cover everything."""
    assert {p.name for p in select()} == set(PROBLEMS)
    assert {p.name for p in select(dae=True)} == {"rober_dae", "distillation"}
    assert {p.name for p in select(stiff=True)} | {p.name for p in select(stiff=False)} == set(PROBLEMS)


def test_brusselator_1d_of_any_size():
    """The size is free; symmetry of the initial values is kept by the equations."""
    problem = brusselator_1d(5)
    assert len(problem.y0) == 10
    slopes = problem.numpy_rhs(0.0, np.array(problem.y0), problem.params).reshape(-1, 2)
    np.testing.assert_allclose(
        problem.field(0.0, jnp.array(problem.y0), problem.params).reshape(-1, 2), slopes, rtol=1e-14
    )
    assert len(problem.build().equations) == 10
    y = np.array(problem.y0) + 0.1 * np.arange(10)
    dense = problem.numpy_jac(0.0, y, problem.params)
    assert problem.numpy_jac_sparse is not None
    np.testing.assert_array_equal(problem.numpy_jac_sparse(0.0, y, problem.params).toarray(), dense)
