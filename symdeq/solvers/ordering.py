"""In which order a pattern is eliminated, in which rounds, and the tables of positions that follow.

Sources: Saad, ILUM: a multi-elimination ILU preconditioner for general sparse matrices, SIAM J. Sci. Comput. 17 (1996)
830-847, for independent sets of pivots; Markowitz, Management Science 3 (1957) 255-269, for their choice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from symdeq.solvers.elimination import Elimination, Round

# A pivot joins a round while its Markowitz cost is at most this many times the least one, plus a little.
_SPREAD = 2.0
_SLACK = 4
_PART = 0.5
# What is left is eliminated as a dense matrix once this part of it is filled, and it is not tiny.
_DENSE_FROM = 0.5
_DENSE_AT_LEAST = 12
# An elimination of more operations, or with a larger dense rest, is given up. Measured on grids with two unknowns a
# point: one factorisation and eight solves take as long as iterative ones at 1.3e6 operations, twice as long at 3.7e6.
MOST_OPERATIONS = 2_000_000
MOST_DENSE = 1000

Position = tuple[int, int]


class _Piece(NamedTuple):
    """A pivot, the rows below it and the columns to its right, both sorted."""

    pivot: int
    below: Sequence[int]
    right: Sequence[int]


class _Order(NamedTuple):
    """The pivots in the order of elimination, the number of them in each round, and the unknowns of the dense rest."""

    pieces: list[_Piece]
    rounds: list[int]
    rest: list[int]


@functools.lru_cache(maxsize=64)
def eliminate(n: int, sparsity: tuple[Position, ...]) -> Elimination | None:
    """Work out the elimination of a pattern, or `None` where it has too many operations.

    Arguments:

    - `n`: the number of unknowns.
    - `sparsity`: positions (row, column) of the non-zeros of J; the diagonal counts as non-zero.
    """
    rows, columns = _neighbours(n, sparsity)
    order = _in_rounds(rows, columns, functools.partial(_eliminate, rows, columns), functools.partial(_filled, rows))
    return None if order is None or len(order.rest) > MOST_DENSE else _tables(n, sparsity, order)


@functools.lru_cache(maxsize=64)
def eliminate_incompletely(n: int, sparsity: tuple[Position, ...], fill: int) -> Elimination | None:
    """Work out an elimination that leaves updates out where they would fill, or `None` where even that has too many
    operations.

    Arguments:

    - `n`, `sparsity`: as of `eliminate`.
    - `fill`: the highest level of an entry that is kept. Non-zeros of J have the level 0, and an update the sum of the
        levels of the two entries that it multiplies, plus one (Saad, Iterative Methods for Sparse Linear Systems, 2003,
        section 10.3.3).
    """
    rows, columns = _neighbours(n, sparsity)
    levels = [dict.fromkeys(row, 0) for row in rows]
    order = _in_rounds(
        rows, columns, lambda piece: _eliminate_incompletely(rows, columns, levels, piece, fill), lambda left: False
    )
    return None if order is None else _tables(n, sparsity, order)


@functools.lru_cache(maxsize=64)
def dense(n: int, sparsity: tuple[Position, ...]) -> Elimination:
    """An elimination of nothing but a dense matrix with pivoting; arguments as of `eliminate`."""
    return _tables(n, sparsity, _Order([], [], list(range(n))))


def _in_rounds(
    rows: list[set[int]],
    columns: list[set[int]],
    update: Callable[[_Piece], None],
    filled: Callable[[set[int]], bool],
) -> _Order | None:
    """Rounds of pivots that do not touch each other, until nothing is left or what is left has filled up; `None` where
    that takes too many operations."""
    left = set(range(len(rows)))
    order, operations = _Order([], [], []), 0
    while left and not filled(left):
        chosen = _independent(rows, columns, left)
        for pivot in chosen:
            piece = _Piece(pivot, sorted(columns[pivot]), sorted(rows[pivot]))
            order.pieces.append(piece)
            operations += len(piece.below) * len(piece.right)
            if operations > MOST_OPERATIONS:
                return None
            update(piece)
        left.difference_update(chosen)
        order.rounds.append(len(chosen))
    order.rest.extend(sorted(left))
    return order


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


def _eliminate(rows: list[set[int]], columns: list[set[int]], piece: _Piece) -> None:
    pivot, below, right = piece.pivot, columns[piece.pivot], rows[piece.pivot]
    for i in below:
        rows[i].discard(pivot)
        rows[i] |= right
        rows[i].discard(i)
    for k in right:
        columns[k].discard(pivot)
        columns[k] |= below
        columns[k].discard(k)


def _eliminate_incompletely(
    rows: list[set[int]], columns: list[set[int]], levels: list[dict[int, int]], piece: _Piece, fill: int
) -> None:
    across = levels[piece.pivot]
    for i in piece.below:
        rows[i].discard(piece.pivot)
        down = levels[i][piece.pivot] + 1
        if down > fill:
            continue
        for k in piece.right:
            level = down + across[k]
            if i != k and level <= fill and level < levels[i].get(k, fill + 1):
                levels[i][k] = level
                rows[i].add(k)
                columns[k].add(i)
    for k in piece.right:
        columns[k].discard(piece.pivot)


class _Layout:
    """Where the entries are: round by round the pivots, what is below and what is to the right of them, and at last the
    dense rest, row by row."""

    def __init__(self, n: int, order: _Order):
        self.n, self.rest = n, len(order.rest)
        self.order = np.array([piece.pivot for piece in order.pieces] + order.rest, np.int32)
        self.place = np.empty(n, np.int32)
        self.place[self.order] = np.arange(n, dtype=np.int32)
        # Of each pivot the number of entries below it and to the right; of each round its pivots and its entries.
        self.below = np.array([len(piece.below) for piece in order.pieces], np.int64)
        self.right = np.array([len(piece.right) for piece in order.pieces], np.int64)
        self.begins = np.concatenate([[0], np.cumsum(order.rounds, dtype=np.int64)])
        keys, self.lower, self.upper, self.offsets = [], [], [], [0]
        for begin, end in zip(self.begins[:-1], self.begins[1:], strict=True):
            part, pivots = order.pieces[begin:end], self.order[begin:end].astype(np.int64)
            below, right = np.repeat(pivots, self.below[begin:end]), np.repeat(pivots, self.right[begin:end])
            lower = np.array([i for piece in part for i in piece.below], np.int64), below
            upper = right, np.array([k for piece in part for k in piece.right], np.int64)
            self.lower.append(lower)
            self.upper.append(upper)
            keys += [pivots * (n + 1), lower[0] * n + lower[1], upper[0] * n + upper[1]]
            self.offsets += list(self.offsets[-1] + np.cumsum([len(group) for group in keys[-3:]]))
        known = np.concatenate(keys) if keys else np.zeros(0, np.int64)
        self._sorting = np.argsort(known).astype(np.int32)
        self._sorted = known[self._sorting]
        self.sparse = len(known)
        self.size = self.sparse + self.rest**2

    def find(self, i: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Where the entries (i, k) are; -1 for those that are not stored."""
        first = self.n - self.rest
        row, column = self.place[i].astype(np.int64), self.place[k].astype(np.int64)
        dense = self.sparse + (row - first) * self.rest + (column - first)
        if not self.sparse:
            return dense.astype(np.int32)
        keys = i.astype(np.int64) * self.n + k
        near = np.minimum(np.searchsorted(self._sorted, keys), self.sparse - 1)
        found = np.where(self._sorted[near] == keys, self._sorting[near], -1)
        return np.where((row >= first) & (column >= first), dense, found).astype(np.int32)


def _tables(n: int, sparsity: Sequence[Position], order: _Order) -> Elimination:
    layout = _Layout(n, order)
    rounds = tuple(_round(layout, r) for r in range(len(order.rounds)))
    rows, columns = np.array(sparsity, np.int64).reshape(-1, 2).T
    return Elimination(
        n=n,
        order=layout.order,
        place=layout.place,
        size=layout.size,
        source=layout.find(rows, columns),
        diagonal=layout.find(np.arange(n), np.arange(n)),
        pivots=layout.find(layout.order[: n - layout.rest], layout.order[: n - layout.rest]),
        rounds=rounds,
        rest=layout.rest,
        operations=sum(len(r.target) + len(r.lower_row) for r in rounds),
    )


def _round(layout: _Layout, r: int) -> Round:
    part = slice(layout.begins[r], layout.begins[r + 1])
    (lower_row, lower_column), (upper_row, upper_column) = layout.lower[r], layout.upper[r]
    pivots, start, middle, end = layout.offsets[3 * r : 3 * r + 4]
    # Each entry below a pivot meets all entries to the right of it.
    below, right = layout.below[part], layout.right[part]
    meets = np.repeat(right, below)
    first = np.repeat(np.cumsum(right) - right, below)
    left = np.repeat(np.arange(len(meets)), meets)
    across = np.arange(len(left)) - np.repeat(np.cumsum(meets) - meets, meets) + np.repeat(first, meets)
    target = layout.find(lower_row[left], upper_column[across])
    kept = np.flatnonzero(target >= 0)
    kept = kept[np.argsort(target[kept], kind="stable")]
    return Round(
        lower=(int(start), int(middle)),
        lower_pivot=np.repeat(np.arange(pivots, start, dtype=np.int32), below),
        lower_row=layout.place[lower_row],
        lower_column=layout.place[lower_column],
        upper=(int(middle), int(end)),
        upper_row=layout.place[upper_row],
        upper_column=layout.place[upper_column],
        target=target[kept],
        left=left[kept].astype(np.int32),
        right=(middle + across[kept]).astype(np.int32),
    )
