"""Sparse LU by rounds: in each round all pivots that do not touch each other are eliminated at once, as array code.

The pattern is known when the program is built, so the order of elimination and the fill-in are worked out beforehand
and become tables of positions. A chain or a band takes about as many rounds as a cyclic reduction, a grid those of a
nested dissection, a bordered matrix one; what is left when the rest has filled up is a dense matrix. The
length of the program grows with the number of rounds, not with that of the unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq.solvers import linear
from symdeq.solvers.blocks import factorise_by_blocks, solve_by_blocks


class Factors(NamedTuple):
    """L, D and U with unit diagonals, entries by round (`None` where a round has none), and the factors of the dense
    rest."""

    lower: tuple[Array | None, ...]
    upper: tuple[Array | None, ...]
    pivots: Array
    rest: Any


@dataclass(frozen=True, eq=False)
class Round:
    """One round of elimination, as positions.

    - `lower`: the range of the entries below its pivots; `lower_pivot`, `lower_row`, `lower_column`: for each its
        pivot's entry, and its row and column as places in the order of elimination.
    - `upper`, `upper_row`, `upper_column`: likewise those to the right of the pivots.
    - `target`, `left`, `right`: the updates entry[target] -= (entry[lower] / pivot)[left] * entry[right].
    """

    lower: tuple[int, int]
    lower_pivot: np.ndarray
    lower_row: np.ndarray
    lower_column: np.ndarray
    upper: tuple[int, int]
    upper_row: np.ndarray
    upper_column: np.ndarray
    target: np.ndarray
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, eq=False)
class Elimination:
    """The elimination of every matrix `shift * M - J` of one pattern.

    - `n`: the number of unknowns; `order`: the unknowns in the order of elimination, `place` its inverse.
    - `size`: the number of stored entries; `source`: where in the entries each non-zero of J goes; `diagonal`: where
        the diagonal is, by unknown.
    - `pivots`: where the pivots of the rounds are, in the order of elimination.
    - `rounds`; `rest`: the number of unknowns of the dense rest, whose entries come last.
    - `operations`: multiply-subtracts of the sparse part.
    """

    n: int
    order: np.ndarray
    place: np.ndarray
    size: int
    source: np.ndarray
    diagonal: np.ndarray
    pivots: np.ndarray
    rounds: tuple[Round, ...]
    rest: int
    operations: int

    def __str__(self) -> str:
        if not self.rounds:
            return "dense LU with pivoting"
        rest = f" with a dense rest of {self.rest}" if self.rest else ""
        return f"LU in {len(self.rounds)} rounds{rest}"

    def factorise(self, values: Array, shift: Array, mass: np.ndarray) -> Factors:
        """Factors of `shift * M - J`; without pivoting if there is a sparse part.

        Arguments:

        - `values`: the non-zeros of J in the order of the pattern, shape (nonzeros,).
        - `shift`: a scalar.
        - `mass`: the diagonal of M, shape (n,).
        """
        entries = jnp.zeros(self.size, values.dtype).at[self.source].set(-values, **_SCATTER)
        entries = entries.at[self.diagonal].add(shift * jnp.asarray(mass, values.dtype), **_SCATTER)
        lower = []
        for part in self.rounds:
            # Divided by the pivots and not multiplied by reciprocals, which XLA would compute over and over; and kept
            # apart, since XLA would compute what is written back into the entries in every one of their readers.
            low, high = part.lower
            lower.append(entries[low:high] / _take(entries, part.lower_pivot) if high > low else None)
            if len(part.target):
                update = _take(lower[-1], part.left) * _take(entries, part.right)
                entries = entries.at[part.target].add(-update, mode="promise_in_bounds")
        rest = None
        if self.rest:
            square = entries[self.size - self.rest**2 :].reshape(self.rest, self.rest)
            rest = linear.factorise(square) if self._pivots else factorise_by_blocks(square)
        pivots = _take(entries, self.pivots)
        upper = tuple(
            _take(entries, np.arange(*part.upper)) / _take(pivots, part.upper_row) if part.upper_row.size else None
            for part in self.rounds
        )
        return Factors(tuple(lower), upper, pivots, rest)

    def solve(self, factors: Factors, b: Array) -> Array:
        """x with (shift M - J) x = b, both of shape (n,)."""
        x = _take(b, self.order)
        for part, lower in zip(self.rounds, factors.lower, strict=True):
            x = _subtracted(x, part.lower_row, lower, part.lower_column)
        x = self._divided(x, factors, transposed=False)
        for part, upper in reversed(tuple(zip(self.rounds, factors.upper, strict=True))):
            x = _subtracted(x, part.upper_row, upper, part.upper_column)
        return _take(x, self.place)

    def solve_transposed(self, factors: Factors, b: Array) -> Array:
        """x with (shift M - J)^T x = b, both of shape (n,)."""
        x = _take(b, self.order)
        for part, upper in zip(self.rounds, factors.upper, strict=True):
            x = _subtracted(x, part.upper_column, upper, part.upper_row)
        x = self._divided(x, factors, transposed=True)
        for part, lower in reversed(tuple(zip(self.rounds, factors.lower, strict=True))):
            x = _subtracted(x, part.lower_column, lower, part.lower_row)
        return _take(x, self.place)

    @property
    def _pivots(self) -> bool:
        """Whether rows are exchanged: only without a sparse part, since the check of the solution finds the rest."""
        return not self.rounds

    def _divided(self, x: Array, factors: Factors, transposed: bool) -> Array:
        """The middle of a solve: the diagonal of the sparse part, and the dense rest."""
        if factors.rest is None:
            return x / factors.pivots
        sparse = self.n - self.rest
        tail = x[sparse:]
        if self._pivots:
            tail = (linear.substitute_transposed if transposed else linear.substitute)(factors.rest, tail)
        else:
            tail = solve_by_blocks(factors.rest, tail, transposed)
        return jnp.concatenate([x[:sparse] / factors.pivots, tail])


_SCATTER: dict[str, Any] = {"mode": "promise_in_bounds", "unique_indices": True}


def _take(values: Array, index: np.ndarray) -> Array:
    return jnp.take(values, index, mode="clip")


def _subtracted(x: Array, rows: np.ndarray, entries: Array | None, columns: np.ndarray) -> Array:
    """x minus the product of a sparse matrix by x."""
    if entries is None:
        return x
    return x.at[rows].add(-entries * _take(x, columns), mode="promise_in_bounds")
