"""One block of equations for as many unknowns, made explicit as far as that is safe.

A single linear unknown is divided for, a small linear block is eliminated, and anything else is torn (Elmqvist & Otter,
Methods for tearing systems of equations, 1994): some unknowns stay, with residuals that determine them, and the others
follow explicitly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Equation, NetworkValue, Parameter, TimeDerivative, shape_of
from symdeq.model.algebra import linear_parts, multiplied_out
from symdeq.passes.matching import incidence, maximum_matching

# Linear blocks up to this size are eliminated symbolically; larger ones are torn.
LARGEST_ELIMINATED = 4
# Below this, relative to the largest entry, a number is taken for what rounding left of a zero.
_ROUNDING = 1e-12
_BRANCHED = (sp.Piecewise, sp.Heaviside, sp.floor, sp.ceiling, sp.sign, sp.Max, sp.Min, sp.Mod, sp.frac)


@dataclass(frozen=True)
class Solved:
    """A block in explicit form: `explicit` in order of evaluation, given `torn`, each with a residual `0 = rhs`."""

    explicit: tuple[Equation, ...] = ()
    torn: tuple[tuple[sp.Symbol, Equation], ...] = ()


def solve_block(equations: Sequence[Equation], symbols: Sequence[sp.Symbol]) -> Solved:
    """Solve equations for symbols; `equations[i]` was matched to `symbols[i]`.

    Raises `ModelError` for linear equations that are dependent.
    """
    if any(shape_of(symbol) for symbol in symbols):
        return _vector(equations, symbols)
    if len(symbols) == 1:
        value = explicit_value(equations[0], symbols[0])
        if value is not None:
            return Solved(explicit=(Equation(symbols[0], value, equations[0].origins),))
        return Solved(torn=((symbols[0], _residual(equations[0])),))
    matrix = _coefficients(equations, symbols)
    if matrix is not None:
        _check_independent(matrix, equations, symbols)
        if len(symbols) <= LARGEST_ELIMINATED and _may_divide(symbols, *(factor for row in matrix for factor in row)):
            return Solved(explicit=_eliminated(matrix, equations, symbols))
    return _torn(equations, symbols)


def _vector(equations: Sequence[Equation], symbols: Sequence[sp.Symbol]) -> Solved:
    """A vector that its equation gives explicitly."""
    value = explicit_value(equations[0], symbols[0]) if len(symbols) == 1 else None
    if value is None:
        raise UnsupportedError(
            f"The vector `{symbols[0]}` is determined by its equation only implicitly.",
            where="\n".join(e.located for e in equations),
            remedy="write the equation as D(h) = ... or h = ..., or the vector as single states",
        )
    return Solved(explicit=(Equation(symbols[0], value, equations[0].origins),))


def explicit_value(equation: Equation, symbol: sp.Symbol) -> sp.Expr | None:
    """The equation solved for a symbol, if it is linear in that with a factor safe to divide by, else `None`."""
    if equation.lhs == symbol and symbol not in equation.rhs.free_symbols:
        return equation.rhs
    parts = linear_parts(equation.lhs - equation.rhs, symbol)
    if parts is None or parts[0] == 0 or not _may_divide((symbol,), parts[0]):
        return None
    factor, rest = parts
    if factor.could_extract_minus_sign():
        factor, rest = -factor, -rest
    return -rest if factor == 1 else -rest / factor


def _may_divide(symbols: Sequence[sp.Symbol], *factors: sp.Expr) -> bool:
    """Whether a division is safe: by numbers and parameters, or by whatever the user multiplied derivatives with."""
    if all(isinstance(symbol, TimeDerivative) for symbol in symbols):
        return True
    return all(isinstance(s, Parameter) for factor in factors for s in factor.free_symbols)


def _residual(equation: Equation) -> Equation:
    if equation.lhs == 0:
        return equation
    return Equation(sp.Integer(0), equation.lhs - equation.rhs, equation.origins)


def _coefficients(equations: Sequence[Equation], symbols: Sequence[sp.Symbol]) -> list[list[sp.Expr]] | None:
    """The matrix of a block that is linear in all symbols together, else `None`."""
    inside = set(symbols)
    rows = []
    for equation in equations:
        row: list[sp.Expr] = []
        for symbol in symbols:
            parts = linear_parts(equation.lhs - equation.rhs, symbol)
            if parts is None or inside & parts[0].free_symbols:
                return None
            row.append(multiplied_out(parts[0]))
        rows.append(row)
    return rows


def _check_independent(
    matrix: list[list[sp.Expr]], equations: Sequence[Equation], symbols: Sequence[sp.Symbol]
) -> None:
    """Raise `ModelError` if the matrix is singular whatever the values in it, by its rank at a few points."""
    if any(factor.has(NetworkValue, *_BRANCHED) for row in matrix for factor in row):
        return
    names = sorted({s for row in matrix for factor in row for s in factor.free_symbols}, key=str)
    for seed in range(3):
        chance = random.Random(seed)
        point = {s: sp.Float(chance.uniform(0.5, 2.0)) for s in names}
        values = np.array([[complex(factor.xreplace(point)) for factor in row] for row in matrix])  # pyright: ignore
        if not np.isfinite(values).all():
            return
        values = values / np.abs(values).max(axis=1, keepdims=True)
        left, sizes, right = np.linalg.svd(values)
        if sizes[-1] > _ROUNDING * sizes[0]:
            return
    rows = [e for e, weight in zip(equations, np.abs(left[:, -1]), strict=True) if weight > 1e-8]  # pyright: ignore[reportPossiblyUnbound]
    which = [s for s, weight in zip(symbols, np.abs(right[-1]), strict=True) if weight > 1e-8]  # pyright: ignore[reportPossiblyUnbound]
    named = ", ".join(f"`{s}`" for s in sorted(which, key=str))
    raise ModelError(
        f"Equations are dependent: they determine {named} only up to a combination.",
        where="\n".join(e.located for e in rows),
        remedy="replace one of the equations by an independent one",
    )


def _eliminated(
    matrix: list[list[sp.Expr]], equations: Sequence[Equation], symbols: Sequence[sp.Symbol]
) -> tuple[Equation, ...]:
    """Gauss' elimination with numbers as pivots while there are any, then Cramer's rule.

    A pivot that is an expression may be zero although the determinant is not; Cramer's rule divides by the determinant
    only.
    """
    zero: dict[sp.Basic, sp.Basic] = {s: sp.Integer(0) for s in symbols}
    left = [([*row], (at := e.subs(zero)).rhs - at.lhs, e) for row, e in zip(matrix, equations, strict=True)]
    remaining = list(range(len(symbols)))
    scale = max((abs(float(a)) for row in matrix for a in row if a.is_number), default=1.0)
    substituted: list[Equation] = []
    while (pivot := _numeric_pivot([row for row, _, _ in left], remaining, scale)) is not None:
        k, j = pivot
        row, constant, equation = left.pop(k)
        remaining.remove(j)
        value = (constant - sp.Add(*(row[i] * symbols[i] for i in remaining))) / row[j]
        substituted.append(Equation(symbols[j], value, equation.origins))
        left = [
            (
                [multiplied_out(a - other[j] / row[j] * b) for a, b in zip(other, row, strict=True)],
                c - other[j] / row[j] * constant,
                e,
            )
            if other[j] != 0
            else (other, c, e)
            for other, c, e in left
        ]
    solved: list[Equation] = []
    if remaining:
        core = sp.Matrix([[row[j] for j in remaining] for row, _, _ in left])
        determinant = multiplied_out(core.det(method="berkowitz"))  # pyright: ignore[reportArgumentType]
        sign = -1 if determinant.could_extract_minus_sign() else 1
        determinant = sign * determinant
        values = core.adjugate(method="berkowitz") * sp.Matrix([c for _, c, _ in left])
        for j, value, (_, _, equation) in zip(remaining, values, left, strict=True):
            solved.append(Equation(symbols[j], sign * value / determinant, equation.origins))
    return (*solved, *reversed(substituted))


def _numeric_pivot(rows: list[list[sp.Expr]], columns: list[int], scale: float) -> tuple[int, int] | None:
    """The number that is largest in its row, in the row with fewest entries."""
    best: tuple[tuple[float, int], int, int] | None = None
    for k, row in enumerate(rows):
        size = {j: abs(float(row[j])) for j in columns if row[j].is_number}
        for j, value in size.items():
            if value > _ROUNDING * scale:
                rank = (value / max(size.values()), -sum(row[i] != 0 for i in columns))
                if best is None or rank > best[0]:
                    best = rank, k, j
    return None if best is None else best[1:]


def _torn(equations: Sequence[Equation], symbols: Sequence[sp.Symbol]) -> Solved:
    """Whatever one equation gives explicitly is taken; when none does, the unknown in most equations becomes known."""
    inside = [{s for s in symbols if s in e.occurring} for e in equations]  # what is still unknown in each
    left, unknown = dict.fromkeys(range(len(equations))), dict.fromkeys(symbols)
    explicit: list[Equation] = []
    torn: list[sp.Symbol] = []
    refused: set[int] = set()
    bent: set[sp.Symbol] = set()  # explicit unknowns that depend on others by a nonlinear rearrangement
    while unknown:
        known = None
        for i in left:
            if len(inside[i]) == 1 and i not in refused:
                (symbol,) = inside[i]
                value = _next_value(equations[i], symbol, symbols)
                bends = _bent_by(equations[i], symbol, symbols, value)
                if value is not None and not bends & bent:
                    known = symbol
                    if bends or value.free_symbols & bent:
                        bent.add(symbol)
                    explicit.append(Equation(symbol, value, equations[i].origins))
                    del left[i]
                    break
                refused.add(i)
        if known is None:
            known = max(unknown, key=lambda s: sum(s in inside[i] for i in left))
            torn.append(known)
        del unknown[known]
        for names in inside:
            names.discard(known)
    residuals = [equations[i] for i in left]
    match = maximum_matching(incidence(residuals, torn), len(torn))
    spare = [symbol for j, symbol in enumerate(torn) if j not in set(match)]
    return Solved(
        explicit=tuple(explicit),
        torn=tuple((torn[j] if j >= 0 else spare.pop(0), _residual(e)) for e, j in zip(residuals, match, strict=True)),
    )


def _bent_by(equation: Equation, symbol: sp.Symbol, block: Sequence[sp.Symbol], value: sp.Expr | None) -> set[sp.Basic]:
    """The unknowns of the block that a value depends on nonlinearly, where the equation was rearranged for it.

    One such step is harmless. A chain of them compounds its powers: `f + f**3 = g` solved for `g`, and so on for forty
    neighbours, has the power 3**40 of the first.
    """
    if value is None or equation.lhs == symbol:
        return set()
    others = {other for other in block if other in value.free_symbols}
    parts = {other: linear_parts(value, other) for other in others}
    return {other for other, part in parts.items() if part is None or part[0].free_symbols & others}


def _next_value(equation: Equation, symbol: sp.Symbol, block: Sequence[sp.Symbol]) -> sp.Expr | None:
    """The equation solved for a symbol, unless that would magnify what is wrong in the other unknowns of the block.

    A chain of equations solved each for its smallest unknown, such as a tridiagonal one from its first, loses all
    digits in a few steps.
    """
    value = explicit_value(equation, symbol)
    if value is None or equation.lhs == symbol:
        return value
    for other in block:
        if other != symbol and other in value.free_symbols:
            parts = linear_parts(multiplied_out(value), other)
            if parts is not None and parts[0].is_number and abs(complex(parts[0])) > 1 + _ROUNDING:
                return None
    return value
