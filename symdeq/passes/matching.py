"""Which equation determines which unknown: matchings and the order of solving, by SciPy's graph algorithms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import numpy as np
import sympy as sp
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching, min_weight_full_bipartite_matching

from symdeq.model import Equation, System, TimeDerivative


def unknowns(system: System) -> tuple[sp.Symbol, ...]:
    """What the equations of a flat system determine: the derivative of a state where it occurs, else the state."""
    derived = {s.state for e in system.equations for s in e.occurring if isinstance(s, TimeDerivative)}
    return tuple(TimeDerivative(state=state, order=1) if state in derived else state for state in system.states)


def incidence(equations: Sequence[Equation], columns: Sequence[sp.Symbol]) -> list[list[int]]:
    """For each equation, the positions of the `columns` in it."""
    position = {symbol: j for j, symbol in enumerate(columns)}
    return [sorted(position[s] for s in equation.occurring if s in position) for equation in equations]


def maximum_matching(rows: Sequence[Sequence[int]], width: int) -> list[int]:
    """For each row the column matched to it, or -1; of largest size."""
    if not rows or width == 0:
        return [-1] * len(rows)
    matrix = _matrix(rows, width, lambda i, j: 1.0)
    return [int(j) for j in maximum_bipartite_matching(matrix, perm_type="column")]


def cheapest_matching(rows: Sequence[Sequence[int]], cost: Callable[[int, int], float]) -> list[int]:
    """For each row its column in the full matching of least total cost; the rows must have one."""
    matrix = _matrix(rows, len(rows), cost)
    row, column = min_weight_full_bipartite_matching(matrix)
    result = [0] * len(rows)
    for i, j in zip(row, column, strict=True):
        result[int(i)] = int(j)
    return result


def ordered_blocks(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strongly connected components of a graph in an order in which each needs only itself and earlier ones.

    `needs[i]` lists the nodes that node `i` needs.
    """
    size = len(needs)
    if size == 0:
        return []
    _, label = connected_components(_matrix(needs, size, lambda i, j: 1.0), directed=True, connection="strong")
    members: dict[int, list[int]] = {}
    for node in range(size):
        members.setdefault(int(label[node]), []).append(node)
    # Numbered by their smallest node, so that the order depends on nothing but the input.
    first = {key: nodes[0] for key, nodes in members.items()}
    graph: dict[int, set[int]] = {first[key]: set() for key in members}
    for node in range(size):
        own = first[int(label[node])]
        graph[own] |= {first[int(label[j])] for j in needs[node]} - {own}
    by_first = {first[key]: nodes for key, nodes in members.items()}
    sorter = TopologicalSorter({key: sorted(value) for key, value in sorted(graph.items())})
    return [by_first[key] for key in sorter.static_order()]


@dataclass(frozen=True)
class Part:
    """A part of a system whose numbers of equations and of unknowns differ, as positions."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def underdetermined(rows: Sequence[Sequence[int]], width: int) -> Part:
    """The unknowns that are not determined, and the fewer equations that they are in (Dulmage & Mendelsohn 1958)."""
    match = maximum_matching(rows, width)
    users: list[list[int]] = [[] for _ in range(width)]
    for i, row in enumerate(rows):
        for j in row:
            users[j].append(i)
    columns = sorted(set(range(width)) - set(match))
    found, reached = set(columns), set()
    while columns:
        fresh = [i for i in users[columns.pop()] if i not in reached]
        reached.update(fresh)
        columns += (after := [match[i] for i in fresh if match[i] not in found])
        found.update(after)
    return Part(rows=tuple(sorted(reached)), columns=tuple(sorted(found)))


def overdetermined(rows: Sequence[Sequence[int]], width: int) -> Part:
    """The equations that are too many for their unknowns, and those unknowns."""
    transposed: list[list[int]] = [[] for _ in range(width)]
    for i, row in enumerate(rows):
        for j in row:
            transposed[j].append(i)
    part = underdetermined(transposed, len(rows))
    return Part(rows=part.columns, columns=part.rows)


def _matrix(rows: Sequence[Sequence[int]], width: int, cost: Callable[[int, int], float]) -> csr_matrix:
    pairs = [(i, j) for i, row in enumerate(rows) for j in row]
    data = np.array([cost(i, j) for i, j in pairs], dtype=float)
    index = np.array(pairs, dtype=int).reshape(-1, 2)
    return csr_matrix((data, (index[:, 0], index[:, 1])), shape=(len(rows), width))
