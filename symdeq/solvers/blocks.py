"""LU of a dense matrix by blocks, without pivoting: products of matrices, and small inverses of the blocks on the
diagonal.

A call of LAPACK inside a loop takes as long or longer: its threads wait for those of XLA, and it keeps the compiler
from turning the loop into one function. Whoever calls checks the solution.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Measured from 64 to 268 unknowns: blocks of 16 and 48 take up to half as long again. One block while it is this small.
_BLOCK = 32
_ONE_BLOCK_UP_TO = 40


class Block(NamedTuple):
    """One block row and column of the factors: `[[D, upper], [left D, ...]]` with the inverse of D.

    `left` and `upper` are `None` in the last block.
    """

    inverse: Float[Array, "k k"]
    left: Float[Array, "m k"] | None
    upper: Float[Array, "k m"] | None


def factorise_by_blocks(matrix: Float[Array, "n n"]) -> tuple[Block, ...]:
    """The factors of a square matrix, shape (n, n)."""
    blocks = []
    while True:
        n = matrix.shape[0]
        if n <= _ONE_BLOCK_UP_TO:
            return (*blocks, Block(inverse(matrix), None, None))
        inverted, upper = inverse(matrix[:_BLOCK, :_BLOCK]), matrix[:_BLOCK, _BLOCK:]
        left = _product(matrix[_BLOCK:, :_BLOCK], inverted)
        matrix = matrix[_BLOCK:, _BLOCK:] - _product(left, upper)
        blocks.append(Block(inverted, left, upper))


def solve_by_blocks(blocks: tuple[Block, ...], b: Float[Array, " n"], transposed: bool = False) -> Float[Array, " n"]:
    """x with W x = b, or W^T x = b, from the factors of W; shape (n,)."""
    parts = []
    for block in blocks:
        size = block.inverse.shape[0]
        part, b = b[:size], b[size:]
        if transposed:
            part = _product(block.inverse.T, part)
        factor = block.upper.T if transposed and block.upper is not None else block.left
        if factor is not None:
            b = b - _product(factor, part)
        parts.append(part)
    x = parts.pop()
    if not transposed:
        x = _product(blocks[-1].inverse, x)
    for block, part in zip(reversed(blocks[:-1]), reversed(parts), strict=True):
        assert block.left is not None
        assert block.upper is not None
        if transposed:
            part = part - _product(block.left.T, x)
        else:
            part = _product(block.inverse, part - _product(block.upper, x))
        x = jnp.concatenate([part, x])
    return x


def inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of a small matrix, shape (n, n), by Gauss-Jordan elimination."""
    index = lax.iota(jnp.int32, matrix.shape[0])

    def sweep(k, a):
        row = lax.dynamic_index_in_dim(a, k, 0, keepdims=False)
        column = lax.dynamic_index_in_dim(a, k, 1, keepdims=False)
        row = jnp.where(index == k, 1, row) / row[k]
        a = jnp.where(index[None, :] == k, 0, a)
        a = lax.dynamic_update_index_in_dim(a, jnp.zeros_like(row), k, 0)
        return a - jnp.where(index == k, -1, column)[:, None] * row[None, :]

    return lax.fori_loop(0, matrix.shape[0], sweep, matrix)


def _product(a: Array, b: Array) -> Array:
    """In full precision on every device; a sum where XLA can fuse it."""
    if b.ndim == 1 and a.shape[0] <= _ONE_BLOCK_UP_TO and a.shape[1] <= _ONE_BLOCK_UP_TO:
        return jnp.sum(a * b[None, :], axis=1)
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)
