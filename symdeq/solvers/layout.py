"""Two ways to lay out one step: straight-line code over a few scalars, or a loop over the stages of an array.

A method is written once, over vectors (pytrees to which `+` and scaling apply leaf by leaf), a store of its stages, and
rows of coefficients; the layout decides what those are. Straight-line code skips zero coefficients and is fastest for a
state of few scalars. The loop emits the vector field and the solve once, so that its size does not grow with the
stages.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

# Straight-line code compiles in a time that grows with the number of unknowns; beyond this the loop is as fast.
_UNROLLED_UP_TO = 3


class AbstractLayout(abc.ABC):
    """How vectors and stages are held, and how a loop over the stages is written."""

    @abc.abstractmethod
    def vector(self, y: PyTree) -> Any:
        """The vector that holds a state."""

    @abc.abstractmethod
    def state(self, v: Any) -> PyTree:
        """The state that a vector holds."""

    @abc.abstractmethod
    def loop(self, stages: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
        """Apply `body(s, carry)` for s = 0 … stages - 1."""

    @abc.abstractmethod
    def empty(self, stages: int, like: Any) -> Any:
        """A store for as many vectors as there are stages."""

    @abc.abstractmethod
    def put(self, store: Any, s: Any, v: Any) -> Any:
        """The store with v as its stage s."""

    @abc.abstractmethod
    def row(self, table: np.ndarray, s: Any) -> Any:
        """Row s of a table of coefficients."""

    @abc.abstractmethod
    def combine(self, store: Any, rows: Any) -> tuple[Any, ...]:
        """For each row, of an array (rows, stages), the sum of row[m] times stage m; `None` for a row of zeros."""


@dataclasses.dataclass(frozen=True)
class Unrolled(AbstractLayout):
    """Vectors are tuples of scalars, a loop is repeated in the program text."""

    structure: Any

    def vector(self, y: PyTree) -> Any:
        return tuple(jax.tree.leaves(y))

    def state(self, v: Any) -> PyTree:
        return jax.tree.unflatten(self.structure, v)

    def loop(self, stages: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
        for s in range(stages):
            carry = body(s, carry)
        return carry

    def empty(self, stages: int, like: Any) -> Any:
        return ()

    def put(self, store: Any, s: Any, v: Any) -> Any:
        return (*store, v)

    def row(self, table: np.ndarray, s: Any) -> Any:
        return float(table[s]) if table.ndim == 1 else table[s]

    def combine(self, store: Any, rows: Any) -> tuple[Any, ...]:
        def one(row):
            terms = [(float(c), v) for c, v in zip(row, store, strict=False) if c != 0]
            if not terms:
                return None
            return tuple(sum(c * v[i] if c != 1 else v[i] for c, v in terms) for i in range(len(terms[0][1])))

        return tuple(one(row) for row in rows)


@dataclasses.dataclass(frozen=True)
class Rolled(AbstractLayout):
    """Vectors are arrays of shape (n,), stages an array of shape (stages, n), a loop is `lax.fori_loop`."""

    structure: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]

    def vector(self, y: PyTree) -> Any:
        leaves = jax.tree.leaves(y)
        if len(leaves) == 1:
            return jnp.reshape(leaves[0], -1)
        if all(leaf.shape == () for leaf in self.leaves):
            return jnp.stack([leaf.astype(self._dtype()) for leaf in leaves])
        return jnp.concatenate([jnp.reshape(leaf, -1).astype(self._dtype()) for leaf in leaves])

    def state(self, v: Any) -> PyTree:
        leaves, start = [], 0
        for leaf in self.leaves:
            part = v[start] if leaf.shape == () else v[start : start + leaf.size].reshape(leaf.shape)
            leaves.append(part.astype(leaf.dtype))
            start += leaf.size
        return jax.tree.unflatten(self.structure, leaves)

    def loop(self, stages: int, body: Callable[[Any, Any], Any], carry: Any) -> Any:
        return lax.fori_loop(0, stages, body, carry)

    def empty(self, stages: int, like: Any) -> Any:
        return jnp.zeros((stages, *like.shape), like.dtype)

    def put(self, store: Any, s: Any, v: Any) -> Any:
        return lax.dynamic_update_index_in_dim(store, v, s, 0)

    def row(self, table: np.ndarray, s: Any) -> Any:
        return lax.dynamic_index_in_dim(jnp.asarray(table, self._dtype()), s, 0, keepdims=False)

    def combine(self, store: Any, rows: Any) -> tuple[Any, ...]:
        # A sum and not a product of matrices: XLA fuses it into the loop, and no accelerator rounds it to half
        # precision.
        sums = jnp.sum(jnp.asarray(rows, store.dtype)[:, :, None] * store[None], axis=1)
        return tuple(sums[i] for i in range(sums.shape[0]))

    def _dtype(self) -> Any:
        return jnp.result_type(*(leaf.dtype for leaf in self.leaves))


def rolled_layout(y: PyTree) -> Rolled:
    """The loop over the stages, for any state."""
    leaves, structure = jax.tree.flatten(y)
    return Rolled(structure=structure, leaves=tuple(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in leaves))


def fastest_layout(y: PyTree) -> AbstractLayout:
    """Straight-line code for a state of few scalars of one dtype, the loop for every other."""
    leaves, structure = jax.tree.flatten(y)
    scalars = all(jnp.shape(v) == () for v in leaves) and len({jnp.result_type(v) for v in leaves}) == 1
    return Unrolled(structure=structure) if scalars and len(leaves) <= _UNROLLED_UP_TO else rolled_layout(y)
