"""Anderson acceleration against SciPy's, against GMRES, and where it has to be safeguarded."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy import optimize

from symdeq._errors import ModelError
from symdeq.solvers.anderson import Anderson, least_squares

from .equilibria import assert_bratus, assert_solves_radiative_transfer, bratu, cell, fixed, largest, linear, successful


def iterates(g, solver: Anderson, z0, count: int) -> np.ndarray:
    """What `optimistix` would step through, shape (count + 1, n)."""

    def fn(z, args):
        return g(z), None

    struct = jax.eval_shape(lambda: z0)
    state = solver.init(fn, z0, None, {}, struct, None, frozenset())
    step = jax.jit(lambda z, s: solver.step(fn, z, None, {}, s, frozenset())[:2])
    found = [z0]
    for _ in range(count):
        z, state = step(found[-1], state)
        found.append(z)
    return np.array(found)


@pytest.mark.parametrize("memory", [1, 3, 5])
@pytest.mark.parametrize("damping", [1.0, 0.6])
def test_iterates_equal_those_of_scipy(memory, damping) -> None:
    g = cell(20, 0.9)
    expected: list = []
    optimize.anderson(
        lambda z: np.asarray(g(z)) - z,
        np.zeros(20),
        alpha=damping,
        M=memory,
        w0=0,
        line_search=None,
        iter=9,
        maxiter=20,
        callback=lambda z, f: expected.append(z.copy()),
    )
    solver = Anderson(memory=memory, damping=damping, least_angle=0.0, restart=math.inf)
    found = iterates(g, solver, jnp.zeros(20), 9)
    np.testing.assert_allclose(found[1:], expected[:9], rtol=0, atol=1e-9)


def test_on_a_linear_function_it_is_gmres() -> None:
    """z_(k+1) = g(x_k), with x_k of GMRES on (1 - A) x = b: Walker and Ni (2011), theorem 2.2."""
    n = 8
    a, b = linear(n)
    matrix, found = np.eye(n) - a, iterates(lambda z: a @ z + b, Anderson(memory=n, restart=math.inf), jnp.zeros(n), n)
    for k in range(1, n):
        krylov = np.stack([np.linalg.matrix_power(matrix, i) @ b for i in range(k)], axis=1)
        x = krylov @ np.linalg.lstsq(matrix @ krylov, b, rcond=None)[0]
        np.testing.assert_allclose(found[k + 1], a @ x + b, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n", [1, 4, 10])
def test_a_linear_function_takes_its_dimension_and_two(n) -> None:
    """One evaluation for each direction, one more than directions for the differences, and one to see the end."""
    a, b = linear(n)
    sol = fixed(lambda z: a @ z + b, Anderson(atol=1e-10, memory=n), jnp.zeros(n))
    assert successful(sol)
    assert int(sol.stats["nfe"]) <= n + 2
    np.testing.assert_allclose(sol.value, np.linalg.solve(np.eye(n) - a, b), atol=1e-9)


def test_functions_that_expand() -> None:
    """Plain iteration runs away at once; the differences find the fixed point."""
    sol = fixed(lambda z: -3 * z + 1, Anderson(atol=1e-12), jnp.zeros(3))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, 0.25, atol=1e-12)
    assert int(sol.stats["nfe"]) == 3


@pytest.mark.parametrize("albedo", [0.5, 0.9, 1.0])
def test_radiative_transfer(albedo) -> None:
    """At ω = 1 the Jacobian is singular, and plain iteration does not get there in thousands of steps."""
    assert_solves_radiative_transfer(Anderson(atol=1e-11), albedo, 15 if albedo < 1 else 45)


def test_a_boundary_value_problem() -> None:
    f, exact = bratu(20)
    assert_bratus(fixed(lambda u: u + f(u), Anderson(atol=1e-12, memory=10), jnp.zeros(20)), f, exact)


@pytest.mark.parametrize("seed", range(3))
def test_fewer_evaluations_than_plain_iteration_and_scipy(seed) -> None:
    g = cell(100, 1.2, seed=seed)
    sol = fixed(g, Anderson(atol=1e-8), jnp.zeros(100))
    assert successful(sol)
    z, plain = jnp.zeros(100), 0
    while largest(g(z) - z) > 1e-8 and plain < 400:
        z, plain = g(z), plain + 1
    assert int(sol.stats["nfe"]) < 0.8 * plain
    calls = []
    optimize.anderson(
        lambda v: calls.append(0) or np.asarray(g(v)) - v, np.zeros(100), f_tol=1e-8, alpha=1, M=5, line_search=None
    )
    assert int(sol.stats["nfe"]) <= len(calls) + 1


def test_a_step_that_fails_is_taken_back() -> None:
    """The first step leads to -1, which has no root."""
    sol = fixed(lambda z: 2 - 3 * jnp.sqrt(z), Anderson(atol=1e-10), jnp.array([1.0, 1.0]))
    assert successful(sol)
    np.testing.assert_allclose(sol.value, (np.sqrt(17) - 3) ** 2 / 4, rtol=1e-9)


def test_no_fixed_point_is_divergence() -> None:
    sol = fixed(lambda z: z * z + 1, Anderson(), jnp.zeros(2))
    assert bool(sol.result == optx.RESULTS.nonlinear_divergence)
    assert int(sol.stats["nfe"]) < 128
    # The least residual that there is is 3/4, that of the first guess 1.
    assert np.all(sol.value**2 + 1 - sol.value < 0.9)


def test_least_squares_of_dependent_columns() -> None:
    """The newer of two parallel columns takes all; zeros take nothing."""
    numbers = np.random.default_rng(0)
    columns = numbers.normal(size=(4, 9))
    columns[2] = 3 * columns[0] - 2 * columns[1]
    columns[3] = 0
    r = numbers.normal(size=9)
    gamma = least_squares(jnp.asarray(columns), jnp.asarray(r), 1e-3)
    expected = np.linalg.lstsq(columns[:2].T, r, rcond=None)[0]
    np.testing.assert_allclose(gamma, [*expected, 0, 0], atol=1e-10)


@pytest.mark.parametrize("parallel", [1e-2, 1e-3, 1e-4])
def test_least_squares_in_single_precision(parallel) -> None:
    """Where normal equations in single precision have lost the small angle."""
    numbers = np.random.default_rng(0)
    first, other, r = numbers.normal(size=(3, 50))
    columns = np.stack([first, first + parallel * other]).astype(np.float32)
    gamma = least_squares(jnp.asarray(columns), jnp.asarray(r, jnp.float32), 1e-6)
    assert gamma.dtype == jnp.float32
    found = np.linalg.norm(r - columns.T.astype(float) @ np.asarray(gamma, float))
    exact = np.linalg.lstsq(columns.T.astype(float), r, rcond=None)[1]
    np.testing.assert_allclose(found, np.sqrt(exact[0]), rtol=1e-5)


def test_settings_out_of_range_are_refused() -> None:
    cases: list[dict[str, Any]] = [
        {"memory": 0},
        {"memory": 2.5},
        {"damping": 0.0},
        {"restart": 1.0},
        {"least_angle": 1.0},
    ]
    for settings in cases:
        with pytest.raises((ModelError, TypeError), match=next(iter(settings))):
            Anderson(**settings)
