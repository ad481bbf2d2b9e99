"""The structure that code generation and the choice of method go by: kind, sparsity, invariants, blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import sympy as sp
from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix

from symdeq._errors import UnsupportedError
from symdeq.model import Invariant, Lagged, LagKind, NoiseKind, Stage, State, Structure, System
from symdeq.model.algebra import multiplied_out
from symdeq.model.symbols import Time, replaced
from symdeq.passes.matching import ordered_blocks
from symdeq.passes.noise_kind import kind, matrix

# Invariants are looked for while there are at most this many terms, and while the digits of the coefficients times the
# equations are at most so many: exact elimination takes a second for 10 million.
_MOST_TERMS = 3000
_MOST_DIGITS = 10_000_000
# Invariants that rounding hides are looked for by a singular value decomposition of at most so many numbers.
_MOST_ROUNDED = 300_000
# What a sum of a few coefficients may be wrong by, as a part of them: less than any leak that a solver could see.
_ROUNDING = 2 * np.finfo(float).eps
_LARGEST_PART = 64


def analyse(system: System) -> System:
    """Fill `structure`; nothing else changes."""
    if system.stage >= Stage.ANALYSED:
        return system
    mass = tuple(0 if equation.lhs == 0 else 1 for equation in system.equations)
    reached = _reached(system)
    position: dict[sp.Basic, int] = {state: i for i, state in enumerate(system.states)}
    needs = [sorted(position[s] for s in symbols if s in position) for symbols in reached]
    structure = Structure(
        kind="ode" if all(mass) else "dae",
        mass=mass,
        sparsity=tuple((i, j) for i, row in enumerate(needs) for j in row),
        linear=_linear(system, position),
        autonomous=not any(isinstance(s, Time) for symbols in reached for s in symbols),
        invariants=_kept_by_noise(system, _invariants(system, mass)),
        noise=_noise(system, mass),
        lags=_lags(system, mass),
        blocks=tuple(map(tuple, ordered_blocks([[j for j in row if j != i] for i, row in enumerate(needs)]))),
    )
    return system.replace(structure=structure, stage=Stage.ANALYSED)


def _reached(system: System) -> list[frozenset[sp.Basic]]:
    """For each equation the states and, if it is among them, the time that it depends on, through the observed."""
    through: dict[sp.Basic, frozenset[sp.Basic]] = {state: frozenset({state}) for state in system.states}

    def reached(expression: sp.Expr) -> frozenset[sp.Basic]:
        symbols = expression.free_symbols
        times = frozenset(s for s in symbols if isinstance(s, Time))
        return times.union(*(through[s] for s in symbols if s in through))

    for equation in system.observed:
        through[equation.lhs] = reached(equation.rhs)
    return [reached(equation.rhs) for equation in system.equations]


def _linear(system: System, position: dict[sp.Basic, int]) -> frozenset[tuple[int, int]]:
    """Entries of the Jacobian that are constant in states and time, as far as the form shows it without observed."""
    observed = {e.lhs: e.rhs for e in system.observed}
    found = set()
    for i, equation in enumerate(system.equations):
        symbols = equation.rhs.free_symbols
        if observed.keys() & symbols:
            continue
        moving = frozenset(s for s in symbols if isinstance(s, State | Time | Lagged))
        constant = moving & position.keys() - _varying(equation.rhs, moving)
        found |= {(i, position[state]) for state in constant}
    return frozenset(found)


def _varying(expression: sp.Expr, moving: frozenset[sp.Basic]) -> set[sp.Basic]:
    """The symbols whose factor in an expression contains what moves, or that stand inside a function or a power."""
    inside = expression.free_symbols & moving
    if not inside or isinstance(expression, sp.Symbol):
        return set()
    parts = [part for part in expression.args if part.free_symbols & moving]
    if isinstance(expression, sp.Add) or (isinstance(expression, sp.Mul) and len(parts) == 1):
        return set().union(*(_varying(part, moving) for part in parts))  # pyright: ignore[reportArgumentType]
    return inside


def _noise(system: System, mass: tuple[int, ...]) -> NoiseKind:
    """The kind of noise of a system in its final form, which must be one that moves what is integrated."""
    if not (system.noise or system.jumps):
        return "none"
    kept = set(system.states)
    lost = [state for source in (*system.noise, *system.jumps) for state, _ in source.entries if state not in kept]
    if lost or not all(mass):
        names = ", ".join(f"`{s}`" for s in dict.fromkeys(lost)) or "a system with algebraic equations"
        raise UnsupportedError(
            f"System `{system.name}` has noise, and its equations determine {names} implicitly."
            if not lost
            else f"The equations of system `{system.name}` determine {names}, which noise moves.",
            remedy="solve the algebraic equations for their unknowns",
        )
    return kind(system)


def _lags(system: System, mass: tuple[int, ...]) -> tuple[LagKind, ...]:
    """What each lag depends on, through the observed quantities."""
    if not system.delays:
        return ()
    if not all(mass):
        raise UnsupportedError(
            f"System `{system.name}` has delays, and equations that determine unknowns only implicitly.",
            where="\n".join(e.located for e in system.equations if e.lhs == 0),
            remedy="solve them for their unknowns",
        )
    observed: dict[sp.Basic, sp.Expr] = {e.lhs: e.rhs for e in system.observed}
    kinds: list[LagKind] = []
    for lag in system.delays:
        expression = lag.expression
        while found := expression.free_symbols & observed.keys():
            expression = replaced(expression, {s: observed[s] for s in found})
        symbols = expression.free_symbols
        if any(isinstance(s, Lagged) for s in symbols):
            raise UnsupportedError(
                f"The lag {lag.expression} depends on delayed values.",
                where=", ".join(map(str, lag.lagged)),
                remedy="write a lag of the present states, of `t` and of parameters",
            )
        of_states = any(isinstance(s, State) for s in symbols)
        kinds.append("state" if of_states else "time" if any(isinstance(s, Time) for s in symbols) else "constant")
    return tuple(kinds)


def _kept_by_noise(system: System, invariants: tuple[Invariant, ...]) -> tuple[Invariant, ...]:
    """Those that noise does not change either."""
    if not (system.noise or system.jumps):
        return invariants
    columns = [*zip(*matrix(system), strict=True)]
    columns += [tuple(dict(jump.entries).get(state, sp.S.Zero) for state in system.states) for jump in system.jumps]
    return tuple(
        law
        for law in invariants
        if all(sp.expand(sum(c * v for c, v in zip(law.coefficients, column, strict=True))) == 0 for column in columns)
    )


def _invariants(system: System, mass: tuple[int, ...]) -> tuple[Invariant, ...]:
    """Constant combinations c with c·f = 0: the left null space of the coefficients of the distinct terms."""
    columns: dict[sp.Expr, int] = {}
    entries: dict[tuple[int, int], sp.Rational] = {}
    for i, equation in enumerate(system.equations):
        for term in sp.Add.make_args(multiplied_out(equation.rhs)):
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
    if width == 0 or any(state.shape for state in system.states):
        return ()
    if n * sum(v.p.bit_length() + v.q.bit_length() for v in entries.values()) > _MOST_DIGITS:
        return ()
    sparse: dict[int, dict] = {}
    for (i, j), value in entries.items():
        if value != 0:
            sparse.setdefault(j, {})[i] = QQ.from_sympy(value)
    null = DomainMatrix(sparse, (width, n), QQ).nullspace(divide_last=True).to_list()
    rows = [[Fraction(int(v.numerator), int(v.denominator)) for v in row] for row in null]
    return tuple(_invariant(system, row) for row in _with_rounded(rows, entries, (n, width)))


def _with_rounded(exact: list[list[Fraction]], entries: Mapping, shape: tuple[int, int]) -> list[list[Fraction]]:
    """All invariants where floating-point coefficients hide some: 0.1 x + 0.2 x is not 0.3 x.

    What vanishes but for rounding, with small whole numbers, is an invariant too. It counts where every combination
    that rounding cannot tell from zero has such numbers, and the exact ones are among them.
    """
    if shape[0] * shape[1] > _MOST_ROUNDED or all(value.q < 2**20 for value in entries.values()):
        return exact
    matrix = np.zeros(shape)
    for (i, j), value in entries.items():
        matrix[i, j] = float(value)
    matrix /= np.maximum(np.max(np.abs(matrix), axis=0, keepdims=True), np.finfo(float).tiny)
    left, sizes, _ = np.linalg.svd(matrix, full_matrices=True)
    count = shape[0] - int((sizes > 1e-12).sum())
    if count <= len(exact):
        return exact
    basis = _reduced(left[:, -count:].T)
    near = [[Fraction(v).limit_denominator(_LARGEST_PART) for v in row] for row in basis]
    found = np.array([[float(v) for v in row] for row in near])
    told = np.abs(found @ matrix) <= _ROUNDING * (np.abs(found) @ np.abs(matrix)) + np.finfo(float).tiny
    return near if told.all() else exact


def _reduced(basis: np.ndarray) -> np.ndarray:
    """The reduced echelon form of independent rows, by Gauss and Jordan with full pivoting."""
    basis = basis.copy()
    for k in range(len(basis)):
        rest = np.abs(basis[k:])
        i, j = np.unravel_index(np.argmax(rest), rest.shape)
        basis[[k, k + i]] = basis[[k + i, k]]
        basis[k] /= basis[k, j]
        others = np.arange(len(basis)) != k
        basis[others] -= basis[others, j][:, None] * basis[k]
    return basis


def _invariant(system: System, row: list[Fraction]) -> Invariant:
    """A combination with whole numbers that have no common factor, the first of them positive."""
    whole = [int(v * math.lcm(*(v.denominator for v in row))) for v in row]
    shared = math.gcd(*whole) * (-1 if next(v for v in whole if v != 0) < 0 else 1)
    coefficients = tuple(sp.Integer(v // shared) for v in whole)
    return Invariant(coefficients, sp.Add(*(v * s for v, s in zip(coefficients, system.states, strict=True))))
