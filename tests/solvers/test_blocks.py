"""The dense LU by blocks against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers.blocks import factorise_by_blocks, inverse, solve_by_blocks


def matrix(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, n)) + n * np.eye(n)


@pytest.mark.parametrize("n", [1, 7, 40, 41, 64, 100])
def test_solves_equal_those_of_numpy(n: int) -> None:
    w, b = matrix(n), np.random.default_rng(0).normal(size=n)
    blocks = factorise_by_blocks(jnp.asarray(w))
    np.testing.assert_allclose(solve_by_blocks(blocks, jnp.asarray(b)), np.linalg.solve(w, b), rtol=1e-10, atol=1e-15)
    transposed = solve_by_blocks(blocks, jnp.asarray(b), transposed=True)
    np.testing.assert_allclose(transposed, np.linalg.solve(w.T, b), rtol=1e-10, atol=1e-15)


def test_the_inverse() -> None:
    np.testing.assert_allclose(inverse(jnp.asarray(matrix(20))) @ matrix(20), np.eye(20), atol=1e-12)


def test_a_zero_pivot_is_never_a_finite_answer() -> None:
    assert not np.isfinite(inverse(jnp.array([[0.0, 1.0], [1.0, 0.0]]))).all()
