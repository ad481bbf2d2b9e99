"""How a step holds its vectors and its stages: the state as one array, the stages as another, in a loop over them.

A method is written once, over arrays of shape (n,) and rows of coefficients. The loop emits the vector field and the
solve once, so that the size of the program does not grow with the stages.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

# A reduction over the stages in one operation is the shorter program, and as fast up to about so many unknowns; beyond,
# XLA's loops over it run five times as long as those over a sum that is written out.
_REDUCED_UP_TO = 100


@dataclasses.dataclass(frozen=True)
class Layout:
    """A state of any structure as an array of shape (n,), and stages as an array of shape (stages, n)."""

    structure: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]

    @property
    def dtype(self) -> Any:
        return jnp.result_type(*(leaf.dtype for leaf in self.leaves))

    def vector(self, y: PyTree) -> Array:
        """The array that holds a state."""
        leaves = jax.tree.leaves(y)
        if len(leaves) == 1:
            return jnp.reshape(leaves[0], -1)
        if all(leaf.shape == () for leaf in self.leaves):
            return jnp.stack([leaf.astype(self.dtype) for leaf in leaves])
        return jnp.concatenate([jnp.reshape(leaf, -1).astype(self.dtype) for leaf in leaves])

    def state(self, v: Array) -> PyTree:
        """The state that an array holds."""
        leaves, start = [], 0
        for leaf in self.leaves:
            part = v[start] if leaf.shape == () else v[start : start + leaf.size].reshape(leaf.shape)
            leaves.append(part.astype(leaf.dtype))
            start += leaf.size
        return jax.tree.unflatten(self.structure, leaves)

    def row(self, table: np.ndarray, s: Any) -> Array:
        """Row s of a table of coefficients."""
        return lax.dynamic_index_in_dim(jnp.asarray(table, self.dtype), s, 0, keepdims=False)


def layout_of(y: PyTree) -> Layout:
    """The layout of states of the structure, shapes and types of `y`."""
    leaves, structure = jax.tree.flatten(y)
    return Layout(structure=structure, leaves=tuple(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in leaves))


def loop(stages: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """Apply `body(s, carry)` for s = 0 … stages - 1."""
    return lax.fori_loop(0, stages, body, carry)


def put(store: Array, s: Any, v: Array) -> Array:
    """The stages with v as stage s."""
    return lax.dynamic_update_index_in_dim(store, v, s, 0)


def combine(store: Array, rows: Any) -> tuple[Array, ...]:
    """For each row, of an array (rows, stages), the sum of row[m] times stage m."""
    # A sum and not a product of matrices: XLA fuses it into the loop, and no accelerator rounds it to half precision.
    rows = jnp.asarray(rows, store.dtype)
    if store.shape[1] > _REDUCED_UP_TO:
        return tuple(sum(row[m] * store[m] for m in range(1, len(store))) + row[0] * store[0] for row in rows)
    sums = jnp.sum(rows[:, :, None] * store[None], axis=1)
    return tuple(sums[i] for i in range(sums.shape[0]))
