"""The elimination by rounds against NumPy, on patterns of every structure that models have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers import ordering
from symdeq.solvers.elimination import Elimination
from symdeq.solvers.ordering import dense


def eliminate(n: int, sparsity: tuple) -> Elimination:
    plan = ordering.eliminate(n, sparsity)
    assert plan is not None
    return plan


def chain(n: int) -> set:
    return {(i, k) for i in range(n) for k in (i - 1, i, i + 1) if 0 <= k < n}


def pairs(n: int) -> set:
    """Two coupled chains, as of a reaction with diffusion."""
    return {(2 * i + a, 2 * k + a) for i, k in chain(n) for a in (0, 1)} | {(i, i ^ 1) for i in range(2 * n)}


def grid(n: int) -> set:
    line = chain(n)
    return {(n * i + a, n * k + a) for i, k in line for a in range(n)} | {
        (n * a + i, n * a + k) for i, k in line for a in range(n)
    }


def arrow(n: int) -> set:
    return {(i, i) for i in range(n)} | {(0, i) for i in range(n)} | {(i, 0) for i in range(n)}


def random(n: int, entries: int) -> set:
    return {(int(i), int(k)) for i, k in np.random.default_rng(n).integers(0, n, (entries, 2))}


PATTERNS = {
    "one": (1, {(0, 0)}),
    "empty": (3, set()),
    "diagonal": (7, {(i, i) for i in range(7)}),
    "chain": (40, chain(40)),
    "pairs": (64, pairs(32)),
    "grid": (100, grid(10)),
    "arrow": (30, arrow(30)),
    "full": (20, {(i, k) for i in range(20) for k in range(20)}),
    "triangle": (15, {(i, k) for i in range(15) for k in range(i)}),
    **{f"random {n}": (n, random(n, m)) for n, m in ((5, 8), (30, 90), (80, 200), (120, 500))},
}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("method", [eliminate, dense])
def test_solves_equal_those_of_numpy(name, method) -> None:
    n, pattern = PATTERNS[name]
    sparsity = tuple(sorted(pattern))
    numbers = np.random.default_rng(1)
    values = numbers.normal(size=len(sparsity))
    mass = np.ones(n, int)
    jacobian = np.zeros((n, n))
    for (i, k), value in zip(sparsity, values, strict=True):
        jacobian[i, k] = value
    shift = 1.0 + 2 * np.abs(jacobian).sum(axis=1).max(initial=0.0)
    w, b = shift * np.eye(n) - jacobian, numbers.normal(size=n)
    plan = method(n, sparsity)
    factors = plan.factorise(jnp.asarray(values), jnp.asarray(shift), mass)
    np.testing.assert_allclose(plan.solve(factors, jnp.asarray(b)), np.linalg.solve(w, b), rtol=1e-11, atol=1e-14)
    transposed = plan.solve_transposed(factors, jnp.asarray(b))
    np.testing.assert_allclose(transposed, np.linalg.solve(w.T, b), rtol=1e-11, atol=1e-14)


def test_rounds_grow_with_the_logarithm_of_a_chain() -> None:
    rounds = [len(eliminate(2 * n, tuple(sorted(pairs(n)))).rounds) for n in (32, 128, 512)]
    assert rounds[2] <= 20
    assert rounds[2] - rounds[1] <= rounds[1] - rounds[0] + 3


def test_fill_of_a_chain_is_linear_in_its_length() -> None:
    short, long = (eliminate(2 * n, tuple(sorted(pairs(n)))).operations for n in (128, 512))
    assert long < 4.4 * short


def test_an_arrow_takes_one_round_and_no_fill() -> None:
    plan = eliminate(30, tuple(sorted(arrow(30))))
    assert plan.size == 3 * 30 - 2
    assert len(plan.rounds) == 2


def test_a_full_matrix_is_left_to_the_dense_rest() -> None:
    n, pattern = PATTERNS["full"]
    assert eliminate(n, tuple(sorted(pattern))).rest == n


def test_constraints_need_pivots_off_the_diagonal() -> None:
    """[[1, 1], [1, 0]] with M = diag(1, 0): the dense elimination exchanges rows."""
    plan = dense(2, ((0, 1), (1, 0)))
    factors = plan.factorise(jnp.array([-1.0, -1.0]), jnp.asarray(0.0), np.array([1, 0]))
    np.testing.assert_allclose(plan.solve(factors, jnp.array([3.0, 2.0])), [2.0, 3.0])


def test_single_precision_stays() -> None:
    plan = eliminate(64, tuple(sorted(pairs(32))))
    values = jnp.full(len(pairs(32)), 0.1, jnp.float32)
    factors = plan.factorise(values, jnp.float32(4.0), np.ones(64, int))
    assert plan.solve(factors, jnp.ones(64, jnp.float32)).dtype == jnp.float32


def test_batches() -> None:
    sparsity = tuple(sorted(pairs(8)))
    plan = eliminate(16, sparsity)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(3, len(sparsity))))
    solve = lambda v: plan.solve(plan.factorise(v, jnp.asarray(9.0), np.ones(16, int)), jnp.ones(16))  # noqa: E731
    np.testing.assert_allclose(jax.vmap(solve)(values)[2], solve(values[2]), rtol=1e-12)
