"""The dense solve against NumPy: every size class, pivots that need exchanging, bad scaling, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers.linear import factorise, linear_solver, substitute, substitute_transposed

SIZES = (1, 2, 3, 4, 8, 9, 20, 32, 33, 50)


def matrices(n):
    rng = np.random.default_rng(n)
    plain = rng.normal(size=(n, n))
    zero_diagonal = plain - np.diag(np.diag(plain)) + (n == 1)
    rows, columns = 10.0 ** rng.uniform(-8, 8, (n, 1)), 10.0 ** rng.uniform(-8, 8, (1, n))
    return {
        "plain": plain,
        "zero diagonal": zero_diagonal,
        "permutation": np.eye(n)[rng.permutation(n)],
        "tiny pivots": plain - np.diag(np.diag(plain)) + 1e-14 * np.eye(n) + (n == 1),
        "scaled": rows * plain * columns,
        "stiff": np.eye(n) / 1e-3 + plain * 10.0 ** rng.uniform(-6, 9, (n, 1)),
    }


def backward_error(w, x, b):
    return np.max(np.abs(w @ x - b)) / (np.max(np.sum(np.abs(w), 1)) * np.max(np.abs(x)) + np.max(np.abs(b)))


@pytest.mark.parametrize("n", SIZES)
def test_solves_as_numpy_does(n):
    b = np.random.default_rng(n + 1).normal(size=n)
    factor, solve, solve_transposed = jax.jit(factorise), jax.jit(substitute), jax.jit(substitute_transposed)
    for name, w in matrices(n).items():
        factors = factor(jnp.asarray(w))
        packed, permutation = (np.asarray(v) for v in factors)
        lower, upper = np.tril(packed, -1) + np.eye(n), np.triu(packed)
        np.testing.assert_allclose(
            lower @ upper, w[permutation], rtol=1e-10, atol=1e-13 * np.abs(w).max(), err_msg=name
        )
        assert np.abs(lower).max() <= 1 + 1e-12, name  # partial pivoting
        x, x_transposed = np.asarray(solve(factors, b)), np.asarray(solve_transposed(factors, b))
        assert backward_error(w, x, b) < 1e-14, name
        assert backward_error(w.T, x_transposed, b) < 1e-14, name
        if name in ("plain", "zero diagonal", "permutation"):
            np.testing.assert_allclose(x, np.linalg.solve(w, b), rtol=1e-9, err_msg=name)
            np.testing.assert_allclose(x_transposed, np.linalg.solve(w.T, b), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("n", [2, 6, 12, 40])
def test_derivatives_are_those_of_the_inverse(n):
    rng = np.random.default_rng(0)
    w, b, dw, db, ct = (rng.normal(size=s) for s in ((n, n), n, (n, n), n, n))
    x = np.linalg.solve(w, b)
    f = jax.jit(lambda w, b: linear_solver(w)(b))
    value, tangent = jax.jvp(f, (jnp.asarray(w), jnp.asarray(b)), (jnp.asarray(dw), jnp.asarray(db)))
    np.testing.assert_allclose(value, x, rtol=1e-9)
    np.testing.assert_allclose(tangent, np.linalg.solve(w, db - dw @ x), rtol=1e-8)
    w_bar, b_bar = jax.vjp(f, jnp.asarray(w), jnp.asarray(b))[1](jnp.asarray(ct))
    back = np.linalg.solve(w.T, ct)
    np.testing.assert_allclose(b_bar, back, rtol=1e-8)
    np.testing.assert_allclose(w_bar, -np.outer(back, x), rtol=1e-8)
    hessian = jax.jit(jax.jacfwd(jax.grad(lambda b, w: jnp.sum(f(w, b) ** 2))))(jnp.asarray(b), jnp.asarray(w))
    inverse = np.linalg.inv(w)
    np.testing.assert_allclose(hessian, 2 * inverse.T @ inverse, rtol=1e-6, atol=1e-8 * np.abs(hessian).max())


@pytest.mark.parametrize("n", [3, 7, 20])
def test_a_singular_matrix_gives_no_finite_solution(n):
    w = np.ones((n, n))
    assert not np.all(np.isfinite(linear_solver(jnp.asarray(w))(jnp.arange(1.0, n + 1))))


def test_batches_and_single_precision():
    rng = np.random.default_rng(3)
    w, b = rng.normal(size=(5, 6, 6)), rng.normal(size=(5, 6))
    x = jax.jit(jax.vmap(lambda w, b: linear_solver(w)(b)))(jnp.asarray(w), jnp.asarray(b))
    np.testing.assert_allclose(x, np.linalg.solve(w, b[..., None])[..., 0], rtol=1e-8)
    single = linear_solver(jnp.asarray(w[0], jnp.float32))(jnp.asarray(b[0], jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, np.linalg.solve(w[0], b[0]), rtol=1e-3)
