"""The structure that code generation and the choice of method go by: kind, sparsity, invariants, blocks."""

from __future__ import annotations

import sympy as sp
from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix

from symdeq.model import Invariant, Stage, State, Structure, System
from symdeq.model.symbols import Time
from symdeq.passes.matching import ordered_blocks

# Invariants are looked for while there are at most this many terms: the search is cubic in them.
_MOST_TERMS = 3000


def analyse(system: System) -> System:
    """Fill `structure`; nothing else changes."""
    if system.stage >= Stage.ANALYSED:
        return system
    mass = tuple(0 if equation.lhs == 0 else 1 for equation in system.equations)
    needs = _dependencies(system)
    sparsity = tuple((i, j) for i, row in enumerate(needs) for j in row)
    structure = Structure(
        kind="ode" if all(mass) else "dae",
        mass=mass,
        sparsity=sparsity,
        linear=_linear(system),
        autonomous=not any(isinstance(s, Time) for e in (*system.equations, *system.observed) for s in e.rhs.free_symbols),
        invariants=_invariants(system, mass),
        blocks=tuple(tuple(block) for block in ordered_blocks([[j for j in row if j != i] for i, row in enumerate(needs)])),
    )
    return system.replace(structure=structure, stage=Stage.ANALYSED)


def _dependencies(system: System) -> list[list[int]]:
    """For each equation the positions of the states that it depends on, through the observed."""
    position = {state: i for i, state in enumerate(system.states)}
    through: dict[sp.Basic, frozenset[int]] = {state: frozenset({i}) for state, i in position.items()}
    for equation in system.observed:
        through[equation.lhs] = frozenset().union(*(through.get(s, frozenset()) for s in equation.rhs.free_symbols))
    return [
        sorted(frozenset().union(*(through.get(s, frozenset()) for s in equation.rhs.free_symbols)))
        for equation in system.equations
    ]


def _linear(system: System) -> frozenset[tuple[int, int]]:
    """Entries of the Jacobian that depend on neither states nor time; entries through the observed are not looked at."""
    position = {state: i for i, state in enumerate(system.states)}
    through = {e.lhs for e in system.observed}
    found = set()
    for i, equation in enumerate(system.equations):
        constant: dict[State, bool] = {}
        opaque: set[sp.Basic] = set()
        for term in sp.Add.make_args(equation.rhs):
            moving = [s for s in term.free_symbols if isinstance(s, State | Time)]
            is_linear = len(moving) == 1 and isinstance(moving[0], State) and not sp.diff(term, moving[0]).free_symbols & set(moving)
            for symbol in moving:
                if symbol in through:
                    opaque |= {symbol}
                elif isinstance(symbol, State):
                    constant[symbol] = constant.get(symbol, True) and is_linear
        if not opaque:
            found |= {(i, position[state]) for state, is_constant in constant.items() if is_constant}
    return frozenset(found)


def _invariants(system: System, mass: tuple[int, ...]) -> tuple[Invariant, ...]:
    """Constant combinations c with c·f = 0 identically: the left null space of the matrix of coefficients of distinct terms."""
    columns: dict[sp.Expr, int] = {}
    entries: dict[tuple[int, int], sp.Rational] = {}
    for i, equation in enumerate(system.equations):
        for term in sp.Add.make_args(sp.expand(equation.rhs)):
            number, rest = term.as_coeff_Mul(rational=False)
            if not number.is_Rational and not number.is_Float:
                number, rest = sp.Integer(1), term
            if number == 0:
                continue
            j = columns.setdefault(rest, len(columns))
            entries[i, j] = entries.get((i, j), sp.Integer(0)) + sp.Rational(number)  # pyright: ignore[reportArgumentType]
        if len(columns) > _MOST_TERMS:
            return ()
    # An algebraic equation holds by itself and has no rate: a column of its own keeps it out of every combination.
    for i, differential in enumerate(mass):
        if not differential:
            entries[i, len(columns)] = sp.Integer(1)
            columns[sp.Symbol(f"_{i}")] = len(columns)
    n, width = len(system.equations), len(columns)
    if width == 0:
        return ()
    sparse: dict[int, dict] = {}
    for (i, j), value in entries.items():
        if value != 0:
            sparse.setdefault(j, {})[i] = QQ.from_sympy(value)
    null = DomainMatrix(sparse, (width, n), QQ).nullspace(divide_last=True).to_Matrix()
    found = []
    for k in range(null.rows):
        row = [sp.Rational(v) for v in null.row(k)]
        common = sp.ilcm(*(v.q for v in row)) if len(row) > 1 else row[0].q
        whole = [v * common for v in row]
        shared = sp.igcd(*(v.p for v in whole)) if len(whole) > 1 else abs(whole[0].p)
        whole = [v / shared for v in whole]
        if next(v for v in whole if v != 0) < 0:
            whole = [-v for v in whole]
        found.append(Invariant(tuple(whole), sp.Add(*(v * s for v, s in zip(whole, system.states, strict=True)))))  # pyright: ignore[reportArgumentType]
    return tuple(found)
