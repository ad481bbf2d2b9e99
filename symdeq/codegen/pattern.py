"""A fixed pattern of non-zeros, and what is computed with the values at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Up to this many rows and columns a dense matrix is put together entry by entry.
_FEW = 8


class Pattern:
    """Positions of the non-zeros of a matrix of shape (height, width), row by row.

    Values at them are a sequence of scalars or an array of shape (nonzeros,).
    """

    def __init__(self, positions: Sequence[tuple[int, int]], height: int, width: int):
        table = np.array(positions, np.int32).reshape(-1, 2)
        self.rows, self.columns = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
        self.shape = height, width

    def times(self, values: Any, x: jax.Array) -> jax.Array:
        """The matrix times a vector of shape (width,), shape (height,)."""
        return self.row_sums(self._array(values) * jnp.take(x, self.columns, mode="clip"))

    def row_sums(self, values: Any) -> jax.Array:
        """The sum of the values in each row, shape (height,)."""
        values = self._array(values)
        return jnp.zeros(self.shape[0], values.dtype).at[self.rows].add(values, mode="promise_in_bounds")

    def dense(self, values: Any) -> jax.Array:
        """The matrix, shape (height, width)."""
        height, width = self.shape
        if isinstance(values, tuple | list) and max(height, width) <= _FEW and values:
            known = dict(zip(zip(self.rows, self.columns, strict=True), values, strict=True))
            zero = jnp.zeros((), jnp.result_type(*values))
            pairs = [(i, k) for i in range(height) for k in range(width)]
            return jnp.stack([jnp.asarray(known.get(pair, zero)) for pair in pairs]).reshape(height, width)
        values = self._array(values)
        zeros = jnp.zeros(self.shape, values.dtype)
        return zeros.at[self.rows, self.columns].set(values, mode="promise_in_bounds", unique_indices=True)

    def _array(self, values: Any) -> jax.Array:
        if isinstance(values, tuple | list):
            return jnp.stack([jnp.asarray(v) for v in values]) if values else jnp.zeros(0)
        return values
