"""Dense linear solves inside a solver's step: LU with partial pivoting, without a LAPACK call where the matrix is
small.

A LAPACK call inside the loop keeps XLA's CPU compiler from turning the whole loop into one native function, which costs
more than the call itself. So up to `_ROLLED_UP_TO` unknowns the elimination is written out here: straight-line code for
the smallest matrices, loops for the others.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

_Factors = tuple[Float[Array, "n n"], Int[Array, " n"]]

# Measured on a CPU, factorisation and eight solves: straight-line code wins up to 3 unknowns (compile time grows fast
# beyond), unrolled substitution up to 8; LAPACK overtakes the loops at 20 to 30 unknowns.
_UNROLLED_FACTORS_UP_TO = 3
_UNROLLED_SUBSTITUTION_UP_TO = 8
_ROLLED_UP_TO = 32


def linear_solver(matrix: Float[Array, "n n"]) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """Factorise a square matrix once and return the function that solves with it.

    The derivative of a solve is another solve with the same factors, W dx = db - dW x, and in reverse mode one with the
    transposed factors: no derivative passes through the elimination.

    Arguments:

    - `matrix`: W, shape (n, n). A singular one gives infinities or NaN, never an error.

    Returns a function b -> x with W x = b, both of shape (n,), differentiable in W and b in both modes.
    """
    return functools.partial(solve, matrix, factorise(lax.stop_gradient(matrix)))


def solve(matrix: Float[Array, "n n"], factors: _Factors, b: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve W x = b with the factors of W; differentiable in W and b in both modes.

    Arguments:

    - `matrix`: W, shape (n, n).
    - `factors`: from `factorise`.
    - `b`: shape (n,).
    """
    return lax.custom_linear_solve(
        lambda x: jnp.sum(matrix * x[None, :], axis=1),
        b,
        solve=lambda _, r: substitute(factors, r),
        transpose_solve=lambda _, r: substitute_transposed(factors, r),
    )


def factorise(matrix: Float[Array, "n n"]) -> _Factors:
    """LU factors with partial pivoting: P W = L U, L below the diagonal (its ones not stored), U above.

    Arguments:

    - `matrix`: W, shape (n, n).

    Returns the packed factors, shape (n, n), and the permutation p with (P W)[i] = W[p[i]], shape (n,).
    """
    n = matrix.shape[0]
    if n <= _UNROLLED_FACTORS_UP_TO:
        return _factorise_unrolled(matrix)
    if n <= _ROLLED_UP_TO:
        return _factorise_rolled(matrix)
    packed, _, permutation = lax.linalg.lu(matrix)
    return packed, permutation


def substitute(factors: _Factors, b: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve W x = b from the factors of W."""
    packed, permutation = factors
    n, x = b.shape[0], b[permutation]
    if n <= _UNROLLED_SUBSTITUTION_UP_TO:
        rows = [x[i] for i in range(n)]
        for i in range(n):
            for j in range(i):
                rows[i] = rows[i] - packed[i, j] * rows[j]
        for i in reversed(range(n)):
            for j in range(i + 1, n):
                rows[i] = rows[i] - packed[i, j] * rows[j]
            # A division, not a stored reciprocal: XLA never duplicates it when it fuses, so the code stays small.
            rows[i] = rows[i] / packed[i, i]
        return jnp.stack(rows)
    if n <= _ROLLED_UP_TO:
        return _backward(packed, _forward(packed, x, unit=True), unit=False)
    x = lax.linalg.triangular_solve(packed, x[:, None], left_side=True, lower=True, unit_diagonal=True)
    return lax.linalg.triangular_solve(packed, x, left_side=True, lower=False)[:, 0]


def substitute_transposed(factors: _Factors, b: Float[Array, " n"]) -> Float[Array, " n"]:
    """Solve Wᵀ x = b from the factors of W: Uᵀ first, then Lᵀ, then the inverse permutation."""
    packed, permutation = factors
    n = b.shape[0]
    if n <= _ROLLED_UP_TO:
        x = _backward(packed.T, _forward(packed.T, b, unit=False), unit=True)
    else:
        x = lax.linalg.triangular_solve(packed.T, b[:, None], left_side=True, lower=True)
        x = lax.linalg.triangular_solve(packed.T, x, left_side=True, lower=False, unit_diagonal=True)[:, 0]
    return jnp.zeros_like(x).at[permutation].set(x, unique_indices=True)


def _factorise_unrolled(matrix: Float[Array, "n n"]) -> _Factors:
    n = matrix.shape[0]
    m = [[matrix[i, j] for j in range(n)] for i in range(n)]
    permutation = [jnp.asarray(i, jnp.int32) for i in range(n)]
    for k in range(n):
        for i in range(k + 1, n):
            larger = jnp.abs(m[i][k]) > jnp.abs(m[k][k])
            pairs = list(zip(m[k], m[i], strict=True))
            m[k] = [jnp.where(larger, low, high) for high, low in pairs]
            m[i] = [jnp.where(larger, high, low) for high, low in pairs]
            high, low = permutation[k], permutation[i]
            permutation[k], permutation[i] = jnp.where(larger, low, high), jnp.where(larger, high, low)
        for i in range(k + 1, n):
            m[i][k] = m[i][k] / m[k][k]
            for j in range(k + 1, n):
                m[i][j] = m[i][j] - m[i][k] * m[k][j]
    return jnp.stack([jnp.stack(row) for row in m]), jnp.stack(permutation)


def _factorise_rolled(matrix: Float[Array, "n n"]) -> _Factors:
    index = lax.iota(jnp.int32, matrix.shape[0])

    def eliminate(k, carry):
        packed, permutation = carry
        candidates = jnp.where(index >= k, jnp.abs(_column(packed, k)), -1.0)
        pivot = jnp.argmax(candidates).astype(jnp.int32)
        row = _row(packed, pivot)
        packed = lax.dynamic_update_index_in_dim(packed, _row(packed, k), pivot, 0)
        packed = lax.dynamic_update_index_in_dim(packed, row, k, 0)
        chosen, replaced = permutation[pivot], permutation[k]
        permutation = permutation.at[pivot].set(replaced).at[k].set(chosen)
        factor = jnp.where(index > k, _column(packed, k) / row[k], 0.0)
        packed = packed - factor[:, None] * jnp.where(index > k, row, 0.0)[None, :]
        packed = jnp.where((index[:, None] > k) & (index[None, :] == k), factor[:, None], packed)
        return packed, permutation

    return lax.fori_loop(0, matrix.shape[0], eliminate, (matrix, index))


def _forward(packed: Array, x: Array, *, unit: bool) -> Array:
    """Solve with the lower triangle of `packed`, column by column; `unit`: ones on the diagonal."""
    index = lax.iota(jnp.int32, x.shape[0])

    def step(k, x):
        column = _column(packed, k)
        value = x[k] if unit else x[k] / column[k]
        return jnp.where(index == k, value, x - jnp.where(index > k, column, 0.0) * value)

    return lax.fori_loop(0, x.shape[0], step, x)


def _backward(packed: Array, x: Array, *, unit: bool) -> Array:
    """Solve with the upper triangle of `packed`, column by column; `unit`: ones on the diagonal."""
    n = x.shape[0]
    index = lax.iota(jnp.int32, n)

    def step(i, x):
        k = n - 1 - i
        column = _column(packed, k)
        value = x[k] if unit else x[k] / column[k]
        return jnp.where(index == k, value, x - jnp.where(index < k, column, 0.0) * value)

    return lax.fori_loop(0, n, step, x)


def _row(matrix: Array, k) -> Array:
    return lax.dynamic_index_in_dim(matrix, k, 0, keepdims=False)


def _column(matrix: Array, k) -> Array:
    return lax.dynamic_index_in_dim(matrix, k, 1, keepdims=False)
