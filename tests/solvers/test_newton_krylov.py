"""Inexact Newton against SciPy's, exact solutions, its forcing terms and its line search."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
from scipy import optimize

from symdeq._errors import ModelError
from symdeq.solvers.newton_krylov import NewtonKrylov

from .equilibria import (
    assert_solves_radiative_transfer,
    bratu,
    cell,
    chandrasekhar,
    fixed,
    largest,
    linear,
    rooted,
    successful,
)


def effort(sol: optx.Solution) -> int:
    """Evaluations, and products with the Jacobian, which cost as much."""
    return int(sol.stats["nfe"]) + int(sol.stats["products"])


@pytest.mark.parametrize("albedo", [0.5, 0.9, 1.0])
def test_radiative_transfer(albedo) -> None:
    """At ω = 1 the Jacobian is singular at the solution, and the error only halves with each step."""
    assert_solves_radiative_transfer(NewtonKrylov(atol=1e-11), albedo, 9 if albedo < 1 else 30)


def problems():
    f, _ = bratu(60, 3.0)
    yield pytest.param(f, jnp.zeros(60), id="Bratu")
    for name, g, n in (("cell", cell(100, 0.9), 100), ("radiative transfer", chandrasekhar(0.99)[0], 60)):
        yield pytest.param(lambda z, g=g: g(z) - z, jnp.ones(n), id=name)


@pytest.mark.parametrize(("f", "z0"), list(problems()))
def test_no_more_evaluations_than_scipy(f, z0) -> None:
    calls = []
    expected = optimize.newton_krylov(
        lambda z: calls.append(0) or np.asarray(f(z)), np.asarray(z0), f_tol=1e-9, method="gmres"
    )
    sol = rooted(f, NewtonKrylov(atol=1e-9), z0)
    assert successful(sol)
    np.testing.assert_allclose(sol.value, expected, atol=1e-5)
    assert effort(sol) <= len(calls)


def test_the_order_of_convergence_is_above_one() -> None:
    """With the forcing terms of Eisenstat and Walker the residual falls the faster the smaller it is."""
    f, _ = bratu(40, 3.0)
    sizes = [
        largest(f(rooted(f, NewtonKrylov(atol=1e-14, krylov=40), jnp.zeros(40), max_steps=k).value))
        for k in range(4, 9)
    ]
    falls = [b / a for a, b in itertools.pairwise(sizes) if b > 1e-13]
    assert len(falls) >= 3
    assert all(b < a for a, b in itertools.pairwise(falls))
    assert falls[-1] < 1e-2


def test_a_linear_function_takes_a_basis() -> None:
    a, b = linear(12)
    sol = fixed(lambda z: a @ z + b, NewtonKrylov(atol=1e-10), jnp.zeros(12))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, np.linalg.solve(np.eye(12) - a, b), atol=1e-9)
    assert effort(sol) <= 3 * 12


def test_a_boundary_value_problem() -> None:
    f, exact = bratu(60, 3.0)
    sol = rooted(f, NewtonKrylov(atol=1e-12), jnp.zeros(60))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, exact, atol=2e-4)


def test_a_short_basis_goes_on_with_the_next_jacobian() -> None:
    f, _ = bratu(20)
    sol = rooted(f, NewtonKrylov(atol=1e-10, krylov=5), jnp.zeros(20))
    assert successful(sol)
    np.testing.assert_allclose(
        sol.value, optimize.root(lambda u: np.asarray(f(u)), np.zeros(20), tol=1e-13).x, atol=1e-7
    )


def test_a_preconditioner_makes_the_bases_shorter() -> None:
    f, _ = bratu(60, 3.0)
    inverse = lx.MatrixLinearOperator(jnp.linalg.inv(jax.jacfwd(f)(jnp.zeros(60))))
    solver = NewtonKrylov(atol=1e-10)
    plain = rooted(f, solver, jnp.zeros(60))
    helped = rooted(f, solver, jnp.zeros(60), options={"preconditioner": inverse})
    assert successful(helped)
    assert int(helped.stats["products"]) < 0.3 * int(plain.stats["products"])
    np.testing.assert_allclose(helped.value, plain.value, atol=1e-7)


@pytest.mark.parametrize("line_search", [True, False])
def test_the_line_search(line_search) -> None:
    """On arctan from 10, full steps of Newton's method run away: Kelley (1995), section 8.1."""
    sol = rooted(jnp.arctan, NewtonKrylov(atol=1e-10, line_search=line_search), jnp.array([10.0, 20.0]))
    assert successful(sol) == line_search
    if line_search:
        np.testing.assert_allclose(sol.value, 0, atol=1e-9)
        assert int(sol.stats["nfe"]) <= 20
    else:
        # The best iterate is the first.
        np.testing.assert_allclose(sol.value, [10, 20])


def test_steps_to_where_the_function_is_not_defined_are_shortened() -> None:
    sol = rooted(lambda z: 2 - 3 * jnp.log(z), NewtonKrylov(atol=1e-10), jnp.array([10.0, 20.0]))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, np.exp(2 / 3), rtol=1e-9)


def test_no_root_and_a_singular_jacobian_are_divergence() -> None:
    no_root = rooted(lambda z: z * z + 1, NewtonKrylov(), jnp.array([2.0]))
    assert bool(no_root.result == optx.RESULTS.nonlinear_divergence)
    np.testing.assert_allclose(no_root.value**2 + 1, 1, atol=1e-2)
    singular = rooted(lambda z: z * z - 1, NewtonKrylov(), jnp.array([0.0]))
    assert bool(singular.result == optx.RESULTS.nonlinear_divergence)
    np.testing.assert_allclose(singular.value, 0)


def test_cells_of_many_unknowns() -> None:
    g = cell(400, 0.95)
    sol = fixed(g, NewtonKrylov(atol=1e-10), jnp.zeros(400))
    assert successful(sol)
    assert effort(sol) <= 60
    assert largest(g(sol.value) - sol.value) <= 1e-10


def test_settings_out_of_range_are_refused() -> None:
    cases: list[dict[str, Any]] = [{"krylov": 0}, {"krylov": True}, {"rtol": -1.0}]
    for settings in cases:
        with pytest.raises((ModelError, TypeError), match=next(iter(settings))):
            NewtonKrylov(**settings)
