"""Sparse LU of `shift*I - J` as straight-line code: the fill-in and the order of elimination are known when the code
is generated.

No pivoting happens inside; whoever uses it checks the solution. Pivots divide and their reciprocals are never stored:
XLA copies cheap operations into all their users when it fuses, and a division keeps it from copying the whole
substitution.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from symdeq.codegen.program import Assignment, Program, without_dead

# Above this many divisions and multiply-subtracts, straight-line elimination costs too much to compile. Random patterns
# on two CPU cores: 135 operations compile in 0.5 s, 535 in 1.5 s, 998 in 4.8 s.
MOST_OPERATIONS = 500

Position = tuple[int, int]


@dataclass(frozen=True)
class Elimination:
    """An order of pivots on the diagonal, the pattern of L and U together, the operations of the factorisation."""

    order: tuple[int, ...]
    pattern: frozenset[Position]
    operations: int


def plan(n: int, sparsity: tuple[Position, ...], most: int = MOST_OPERATIONS) -> Elimination | None:
    """The elimination order of Markowitz: next the diagonal pivot with the fewest products of row and column counts.

    Arguments:

    - `n`: the number of rows.
    - `sparsity`: positions of non-zeros; the diagonal counts as non-zero.
    - `most`: give up, and return `None`, above this many operations.

    Source: Markowitz, The elimination form of the inverse and its application to linear programming, 1957.
    """
    rows: list[set[int]] = [{i} for i in range(n)]
    columns: list[set[int]] = [{i} for i in range(n)]
    for i, k in sparsity:
        rows[i].add(k)
        columns[k].add(i)
    left, order, operations = set(range(n)), [], 0
    pattern: set[Position] = set()
    while left:
        pivot = min(left, key=lambda i: ((len(rows[i]) - 1) * (len(columns[i]) - 1), len(rows[i]) + len(columns[i]), i))
        below, right = sorted(columns[pivot] - {pivot}), sorted(rows[pivot] - {pivot})
        operations += len(below) * (1 + len(right))
        if operations > most:
            return None
        pattern |= {(pivot, pivot), *((i, pivot) for i in below), *((pivot, k) for k in right)}
        for i in below:
            rows[i] |= set(right)
            rows[i].discard(pivot)
        for k in right:
            columns[k] |= set(below)
            columns[k].discard(pivot)
        left.remove(pivot)
        order.append(pivot)
    return Elimination(tuple(order), frozenset(pattern), operations)


def linear_programs(names: tuple[str, ...], sparsity: tuple[Position, ...], factorised: bool) -> tuple[Program, ...]:
    """`matvec`, and with `factorised` also `factorise`, `solve` and `solve_transposed` if the elimination is short
    enough.

    Arguments:

    - `names`: of the states, for readable names of entries.
    - `sparsity`: positions of the Jacobian's non-zeros, in the order in which they come in.
    """
    entries = {(i, k): _symbol(f"J({names[i]},{names[k]})") for i, k in sparsity}
    programs = [_matvec(names, entries)]
    elimination = plan(len(names), sparsity) if factorised else None
    if elimination is not None:
        factorise, factors = _factorise(names, entries, elimination)
        programs += [factorise, *(_solve(names, factors, elimination, transposed=side) for side in (False, True))]
    return tuple(programs)


def _symbol(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


def _matvec(names: tuple[str, ...], entries: dict[Position, sp.Symbol]) -> Program:
    x = tuple(_symbol(f"v({name})") for name in names)
    body, outputs = [], []
    for i, name in enumerate(names):
        row = sp.Add(*(entry * x[k] for (r, k), entry in entries.items() if r == i))
        outputs.append(_symbol(f"Jv({name})") if row != 0 else sp.Integer(0))
        if row != 0:
            body.append(Assignment(outputs[-1], row))
    return Program(
        name="matvec",
        summary="The Jacobian times a vector.",
        inputs=(("j", tuple(entries.values())), ("v", x)),
        body=tuple(body),
        outputs=tuple(outputs),
    )


def _factorise(
    names: tuple[str, ...], entries: dict[Position, sp.Symbol], elimination: Elimination
) -> tuple[Program, dict[Position, sp.Expr]]:
    """The program, and the factors by position, each an output of it with a sign.

    W = shift*I - J starts with the negative entries of J. Their signs are kept here and cost no operation.
    """
    shift = _symbol("shift")
    w: dict[Position, sp.Expr] = {position: -entry for position, entry in entries.items()}
    body: list[Assignment] = []
    version: dict[Position, int] = {}

    def assign(position: Position, letter: str, value: sp.Expr) -> sp.Symbol:
        version[position] = version.get(position, 0) + 1
        i, k = position
        target = _symbol(f"{letter}({names[i]},{names[k]}){version[position] if letter == 'W' else ''}")
        body.append(Assignment(target, value))
        return target

    for i in range(len(names)):
        w[i, i] = assign((i, i), "W", shift + w[i, i]) if (i, i) in w else shift
    done: set[int] = set()
    for pivot in elimination.order:
        done.add(pivot)
        below = [i for i, k in sorted(elimination.pattern) if k == pivot and i not in done]
        right = [k for i, k in sorted(elimination.pattern) if i == pivot and k not in done]
        for i in below:
            sign, symbol = w[i, pivot].as_coeff_Mul()
            w[i, pivot] = sign * assign((i, pivot), "L", symbol / w[pivot, pivot])
            for k in right:
                w[i, k] = assign((i, k), "W", w.get((i, k), sp.Integer(0)) - w[i, pivot] * w[pivot, k])
    positions = sorted(elimination.pattern)
    outputs = {position: w[position].as_coeff_Mul()[1] for position in positions}
    program = Program(
        name="factorise",
        summary="Factors of shift*I - J for `solve`; without pivoting.",
        inputs=(("j", tuple(entries.values())), ("shift", shift)),
        body=without_dead(tuple(body), tuple(outputs.values())),
        outputs=tuple(outputs.values()),
    )
    return program, {position: w[position] for position in positions}


def _solve(
    names: tuple[str, ...], factors: dict[Position, sp.Expr], elimination: Elimination, transposed: bool
) -> Program:
    """Substitution forward and back. L has the unit diagonal; transposed, the roles of L and U are exchanged."""
    order = elimination.order
    rank = {pivot: r for r, pivot in enumerate(order)}
    # The factors arrive as symbols of their own: one output may serve two positions.
    symbols = {p: _symbol(f"{'L' if rank[p[0]] > rank[p[1]] else 'U'}({names[p[0]]},{names[p[1]]})") for p in factors}
    entry = {p: factors[p].as_coeff_Mul()[0] * symbols[p] for p in factors}
    row: dict[int, list[tuple[int, sp.Expr]]] = {i: [] for i in order}
    for (i, k), value in entry.items():
        row[k if transposed else i].append((i if transposed else k, value))
    b = tuple(_symbol(f"b({name})") for name in names)
    x: dict[int, sp.Expr] = dict(enumerate(b))
    body: list[Assignment] = []

    def substitute(i: int, letter: str, taken: list[tuple[int, sp.Expr]], divided: bool) -> None:
        value = x[i] - sp.Add(*(v * x[k] for k, v in taken))
        if divided:
            value = value / symbols[i, i]
        if value != x[i]:
            x[i] = _symbol(f"{letter}({names[i]})")
            body.append(Assignment(x[i], value))  # pyright: ignore[reportArgumentType]

    for i in order:
        substitute(i, "z", [(k, v) for k, v in row[i] if rank[k] < rank[i]], divided=transposed)
    for i in reversed(order):
        substitute(i, "x", [(k, v) for k, v in row[i] if rank[k] > rank[i]], divided=not transposed)
    return Program(
        name="solve_transposed" if transposed else "solve",
        summary=f"x with (shift*I - J){'^T' if transposed else ''} x = b.",
        inputs=(("factors", tuple(symbols.values())), ("b", b)),
        body=tuple(body),
        outputs=tuple(x[i] for i in range(len(names))),
    )
