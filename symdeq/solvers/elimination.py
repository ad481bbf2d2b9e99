"""Sparse LU by rounds: in each round all pivots that do not touch each other are eliminated at once, as array code.

The pattern is known when the program is built, so the order of elimination and the fill-in are worked out beforehand
and become tables of positions. A chain or a band takes about as many rounds as a cyclic reduction, a grid those of a
nested dissection, a bordered matrix one; what is left when the rest has filled up is a dense matrix with pivoting. The
length of the program grows with the number of rounds, not with that of the unknowns.

Sources: Saad, ILUM: a multi-elimination ILU preconditioner for general sparse matrices, SIAM J. Sci. Comput. 17 (1996)
830-847, for independent sets of pivots; Markowitz, Management Science 3 (1957) 255-269, for their choice.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq.solvers import linear

# A pivot joins a round while its Markowitz cost is at most this many times the least one, plus a little.
_SPREAD = 2.0
_SLACK = 4
_PART = 0.5
# What is left is eliminated as a dense matrix once this part of it is filled, and it is not tiny.
_DENSE_FROM = 0.5
_DENSE_AT_LEAST = 12
# An inverse costs more than factors and saves in every solve. Measured with eight solves: it wins up to 40 unknowns.
_INVERTED_UP_TO = 40

Position = tuple[int, int]


class Factors(NamedTuple):
    """L, D and U with unit diagonals, entries by round (`None` where a round has none), and the dense rest: its inverse,
    or its factors."""

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

    def factorise(self, values: Array, shift: Array, mass: np.ndarray) -> Factors:
        """Factors of `shift * M - J`; without pivoting outside of the dense rest.

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
            rest = linear.inverse(square) if self._inverts else linear.factorise(square)
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
    def _inverts(self) -> bool:
        """Whether the dense rest is inverted; a matrix without a sparse part is left to an LU with pivoting."""
        return bool(self.rounds) and self.rest <= _INVERTED_UP_TO

    def _divided(self, x: Array, factors: Factors, transposed: bool) -> Array:
        """The middle of a solve: the diagonal of the sparse part, and the dense rest."""
        if factors.rest is None:
            return x / factors.pivots
        sparse = self.n - self.rest
        tail = x[sparse:]
        if self._inverts:
            tail = jnp.sum(factors.rest.T * tail if transposed else factors.rest * tail, axis=1)
        else:
            tail = (linear.substitute_transposed if transposed else linear.substitute)(factors.rest, tail)
        return jnp.concatenate([x[:sparse] / factors.pivots, tail])


_SCATTER: dict[str, Any] = {"mode": "promise_in_bounds", "unique_indices": True}


def _take(values: Array, index: np.ndarray) -> Array:
    return jnp.take(values, index, mode="clip")


def _subtracted(x: Array, rows: np.ndarray, entries: Array | None, columns: np.ndarray) -> Array:
    """x minus the product of a sparse matrix by x."""
    if entries is None:
        return x
    return x.at[rows].add(-entries * _take(x, columns), mode="promise_in_bounds")


@functools.lru_cache(maxsize=64)
def eliminate(n: int, sparsity: tuple[Position, ...]) -> Elimination:
    """Work out the elimination of a pattern.

    Arguments:

    - `n`: the number of unknowns.
    - `sparsity`: positions (row, column) of the non-zeros of J; the diagonal counts as non-zero.
    """
    rows, columns = _neighbours(n, sparsity)
    left, sets = set(range(n)), []
    pieces: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []  # pivot, rows below, columns to the right
    while left and not _filled(rows, left):
        chosen = _independent(rows, columns, left)
        for pivot in chosen:
            below, right = tuple(sorted(columns[pivot])), tuple(sorted(rows[pivot]))
            pieces.append((pivot, below, right))
            _eliminate(rows, columns, pivot)
        left.difference_update(chosen)
        sets.append(len(chosen))
    return _tables(n, sparsity, pieces, sets, sorted(left))


@functools.lru_cache(maxsize=64)
def dense(n: int, sparsity: tuple[Position, ...]) -> Elimination:
    """The same with nothing but a dense matrix with pivoting; arguments as of `eliminate`."""
    return _tables(n, sparsity, [], [], list(range(n)))


def _neighbours(n: int, sparsity: Sequence[Position]) -> tuple[list[set[int]], list[set[int]]]:
    rows: list[set[int]] = [set() for _ in range(n)]
    columns: list[set[int]] = [set() for _ in range(n)]
    for i, k in sparsity:
        if i != k:
            rows[i].add(k)
            columns[k].add(i)
    return rows, columns


def _filled(rows: list[set[int]], left: set[int]) -> bool:
    m = len(left)
    return m >= _DENSE_AT_LEAST and m + sum(len(rows[i]) for i in left) >= _DENSE_FROM * m**2


def _independent(rows: list[set[int]], columns: list[set[int]], left: set[int]) -> list[int]:
    """Cheap pivots of which none is in a row or column of another."""
    cost = {i: len(rows[i]) * len(columns[i]) for i in left}
    ordered = sorted(cost.values())
    most = max(_SPREAD * ordered[0] + _SLACK, ordered[int(_PART * len(ordered))])
    chosen: list[int] = []
    taken: set[int] = set()
    for i in sorted((i for i in left if cost[i] <= most), key=lambda i: (cost[i], i)):
        if i not in taken:
            chosen.append(i)
            taken |= rows[i] | columns[i]
    return sorted(chosen)


def _eliminate(rows: list[set[int]], columns: list[set[int]], pivot: int) -> None:
    below, right = columns[pivot], rows[pivot]
    for i in below:
        rows[i].discard(pivot)
        rows[i] |= right
        rows[i].discard(i)
    for k in right:
        columns[k].discard(pivot)
        columns[k] |= below
        columns[k].discard(k)


def _tables(n: int, sparsity: Sequence[Position], pieces: list, sets: list[int], rest: list[int]) -> Elimination:
    order = np.array([pivot for pivot, _, _ in pieces] + rest, dtype=np.int32)
    place = np.empty(n, np.int32)
    place[order] = np.arange(n, dtype=np.int32)
    where: dict[Position, int] = {}
    layout, begin = [], 0
    for count in sets:
        part = pieces[begin : begin + count]
        spots = [[(p, p) for p, _, _ in part]]
        spots.append([(i, p) for p, below, _ in part for i in below])
        spots.append([(p, k) for p, _, right in part for k in right])
        offsets = []
        for group in spots:
            offsets.append(len(where))
            where.update({spot: len(where) + j for j, spot in enumerate(group)})
        layout.append((begin, count, offsets, len(where)))
        begin += count
    where.update({(i, k): len(where) + r * len(rest) + c for r, i in enumerate(rest) for c, k in enumerate(rest)})
    rounds = tuple(_round(pieces, place, where, *entry) for entry in layout)
    return Elimination(
        n=n,
        order=order,
        place=place,
        size=len(where),
        source=_table([where[spot] for spot in sparsity]),
        diagonal=_table([where[i, i] for i in range(n)]),
        pivots=_table([where[p, p] for p, _, _ in pieces]),
        rounds=rounds,
        rest=len(rest),
        operations=sum(len(r.target) + len(r.lower_row) for r in rounds),
    )


def _round(pieces: list, place: np.ndarray, where: dict, begin: int, count: int, offsets: list, end: int) -> Round:
    part = pieces[begin : begin + count]
    lower = [(i, p) for p, below, _ in part for i in below]
    upper = [(p, k) for p, _, right in part for k in right]
    updates = sorted(
        (where[i, k], where[i, p] - offsets[1], where[p, k]) for p, below, right in part for i in below for k in right
    )
    target, left, right = np.array(updates, np.int32).reshape(-1, 3).T
    return Round(
        lower=(offsets[1], offsets[2]),
        lower_pivot=_table([where[p, p] for _, p in lower]),
        lower_row=place[_table([i for i, _ in lower])],
        lower_column=place[_table([p for _, p in lower])],
        upper=(offsets[2], end),
        upper_row=place[_table([p for p, _ in upper])],
        upper_column=place[_table([k for _, k in upper])],
        target=np.ascontiguousarray(target),
        left=np.ascontiguousarray(left),
        right=np.ascontiguousarray(right),
    )


def _table(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
