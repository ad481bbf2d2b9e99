"""Broyden's method against SciPy's, its estimate of the inverse against the Jacobian, and its line search."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest
from scipy import optimize

from symdeq._errors import ModelError
from symdeq.solvers.broyden import Broyden, InverseEstimate
from symdeq.solvers.gmres import gmres

from .equilibria import (
    assert_bratus,
    assert_solves_radiative_transfer,
    bratu,
    cell,
    fixed,
    largest,
    linear,
    rooted,
    successful,
)


def iterates(f, solver: Broyden, z0, count: int) -> tuple[np.ndarray, InverseEstimate]:
    """What `optimistix` would step through, shape (count + 1, n), and the last estimate."""

    def fn(z, args):
        return f(z), None

    struct = jax.eval_shape(lambda: z0)
    state = solver.init(fn, z0, None, {}, struct, None, frozenset())
    step = jax.jit(lambda z, s: solver.step(fn, z, None, {}, s, frozenset())[:2])
    found = [z0]
    for _ in range(count):
        z, state = step(found[-1], state)
        found.append(z)
    return np.array(found), state.inverse


@pytest.mark.parametrize("memory", [4, 30])
def test_iterates_equal_those_of_scipy(memory) -> None:
    """With full memory and with one that is emptied where it is full."""
    g = cell(20, 0.9)

    def f(z):
        return g(z) - z

    expected: list = []
    optimize.broyden1(
        lambda z: np.asarray(f(z)),
        np.zeros(20),
        alpha=1.0,
        max_rank=memory,
        reduction_method="restart",
        line_search=None,
        iter=12,
        maxiter=20,
        callback=lambda z, f: expected.append(z.copy()),
    )
    found, _ = iterates(f, Broyden(memory=memory, line_search=False), jnp.zeros(20), 12)
    # SciPy empties its memory before the update that would follow the one that fills it.
    count = 12 if memory == 30 else memory
    np.testing.assert_allclose(found[1 : count + 1], expected[:count], rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [1, 5, 10])
def test_a_linear_function_takes_twice_its_dimension(n) -> None:
    """Gay, Some convergence properties of Broyden's method, SIAM J. Numer. Anal. 16 (1979) 623-630."""
    a, b = linear(n)
    sol = fixed(lambda z: a @ z + b, Broyden(atol=1e-9), jnp.zeros(n))
    assert successful(sol)
    assert int(sol.stats["nfe"]) <= 2 * n + 2
    np.testing.assert_allclose(sol.value, np.linalg.solve(np.eye(n) - a, b), atol=1e-8)


def test_the_order_of_convergence_is_that_of_a_secant() -> None:
    """(1 + √5) / 2 for one unknown, where Broyden's method is the secant method."""
    found, _ = iterates(lambda z: jnp.cos(z) - z, Broyden(), jnp.array([0.5]), 7)
    errors = np.abs(found[:, 0] - 0.7390851332151607)
    orders = np.log(errors[4:6] / errors[3:5]) / np.log(errors[3:5] / errors[2:4])
    np.testing.assert_allclose(orders, (1 + np.sqrt(5)) / 2, atol=0.25)


def test_the_estimate_meets_the_secant_equation() -> None:
    f, _ = bratu(12)
    found, inverse = iterates(f, Broyden(), jnp.zeros(12), 6)
    s, y = found[5] - found[4], np.asarray(f(found[5]) - f(found[4]))
    np.testing.assert_allclose(inverse.apply(jnp.asarray(y)), s, atol=1e-12)


def test_the_estimate_and_its_transpose() -> None:
    g = cell(10, 0.9)
    sol = fixed(g, Broyden(atol=1e-10), jnp.zeros(10))
    inverse = sol.state.inverse
    h = np.stack([inverse.apply(e) for e in jnp.eye(10)], axis=1)
    transposed = np.stack([inverse.apply_transposed(e) for e in jnp.eye(10)], axis=1)
    np.testing.assert_allclose(h.T, transposed, atol=1e-13)
    jacobian = jax.jacfwd(g)(sol.value) - np.eye(10)
    assert np.linalg.norm(h @ jacobian - np.eye(10), 2) < np.linalg.norm(-jacobian - np.eye(10), 2)


def test_the_estimate_makes_the_backward_solve_shorter() -> None:
    g = cell(60, 0.9)
    sol = fixed(g, Broyden(atol=1e-8), jnp.zeros(60))
    pull = jax.vjp(lambda z: g(z) - z, sol.value)[1]
    b = jnp.asarray(np.random.default_rng(0).normal(size=60))
    plain, helped = (
        gmres(lambda w: pull(w)[0], precondition, b, rtol=1e-8, restart=60, turns=1)
        for precondition in (lambda w: -w, sol.state.inverse.apply_transposed)
    )
    assert int(helped.iterations) < int(plain.iterations)
    np.testing.assert_allclose(helped.x, plain.x, atol=1e-6)


def test_the_estimate_keeps_the_structure() -> None:
    estimate = InverseEstimate(scale=jnp.asarray(-1.0), u=jnp.ones((2, 3)), v=jnp.ones((2, 3)))
    found = estimate.apply({"a": jnp.ones(()), "b": jnp.ones((2, 1))})
    np.testing.assert_allclose(found["a"], 5)
    np.testing.assert_allclose(found["b"], [[5], [5]])


@pytest.mark.parametrize("albedo", [0.5, 0.9, 1.0])
def test_radiative_transfer(albedo) -> None:
    assert_solves_radiative_transfer(Broyden(atol=1e-11), albedo, 12 if albedo < 1 else 35)


def test_a_boundary_value_problem() -> None:
    f, exact = bratu(20)
    assert_bratus(rooted(f, Broyden(atol=1e-12), jnp.zeros(20)), f, exact)


def test_the_first_estimate() -> None:
    """Of the other sign and of another size, as a right-hand side may need."""
    sol = rooted(lambda z: 50 * (z - 2) + (z - 2) ** 3, Broyden(atol=1e-10, scale=0.02), jnp.zeros(3))
    assert successful(sol)
    assert int(sol.stats["nfe"]) <= 8
    np.testing.assert_allclose(sol.value, 2, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_cells_that_expand(seed) -> None:
    """Where plain iteration never settles."""
    g = cell(50, 2.0, seed=seed)
    sol = fixed(g, Broyden(atol=1e-8), jnp.zeros(50))
    assert successful(sol)
    assert largest(g(sol.value) - sol.value) <= 1e-8


def test_steps_to_where_the_function_is_not_defined_are_shortened() -> None:
    for line_search in (True, False):
        solver = Broyden(atol=1e-10, line_search=line_search)
        sol = fixed(lambda z: 2 - 3 * jnp.sqrt(z), solver, jnp.array([1.0, 1.0]))
        assert successful(sol)
        np.testing.assert_allclose(sol.value, (np.sqrt(17) - 3) ** 2 / 4, rtol=1e-9)


def test_the_line_search_rejects_a_residual_that_has_grown_too_much() -> None:
    """The first step leads to a residual of 140."""

    def f(z):
        return 1 - jnp.exp(10 * (z - 1))

    start = jnp.array([0.5, 0.6])
    held, free = (rooted(f, Broyden(atol=1e-10, line_search=held), start) for held in (True, False))
    assert successful(held)
    assert int(held.stats["nfe"]) <= 60
    np.testing.assert_allclose(held.value, 1, atol=1e-9)
    assert int(held.state.accepted) < int(held.stats["nfe"]) - 1
    assert int(free.state.accepted) == int(free.stats["nfe"]) - 1


def test_nothing_helps_a_function_without_root() -> None:
    """A function that is defined nowhere but at the first guess."""
    sol = rooted(lambda z: jnp.where(z == 1, 1.0, jnp.nan), Broyden(), jnp.ones(2))
    assert bool(sol.result == optx.RESULTS.nonlinear_divergence)
    np.testing.assert_allclose(sol.value, 1)
    assert int(sol.stats["nfe"]) < 40


def test_as_a_preconditioner_of_lineax() -> None:
    """The estimate is two functions, which lineax takes as an operator."""
    g = cell(8, 0.9)
    sol = fixed(g, Broyden(atol=1e-10), jnp.zeros(8))
    struct = jax.eval_shape(lambda: sol.value)
    operator = lx.FunctionLinearOperator(sol.state.inverse.apply, struct)
    transposed = lx.FunctionLinearOperator(sol.state.inverse.apply_transposed, struct)
    np.testing.assert_allclose(operator.T.as_matrix(), transposed.as_matrix(), atol=1e-13)


def test_settings_out_of_range_are_refused() -> None:
    cases: list[dict[str, Any]] = [{"memory": 0}, {"memory": True}, {"scale": 0.0}, {"scale": float("nan")}]
    for settings in cases:
        with pytest.raises((ModelError, TypeError), match=next(iter(settings))):
            Broyden(**settings)
