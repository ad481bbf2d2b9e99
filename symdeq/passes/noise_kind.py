"""What kind of noise a system has, which decides on the methods that are right for it, and Itô's correction."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from symdeq.model import NetworkValue, NoiseKind, System
from symdeq.model.algebra import multiplied_out

# Brackets of so many pairs of motions are looked at; beyond, noise that is not additive or diagonal counts as general.
_MOST_PAIRS = 200


def matrix(system: System) -> list[list[sp.Expr]]:
    """The coefficients of the Brownian motions: a row a state, a column a motion; computed quantities written out."""
    definitions: dict[sp.Basic, sp.Basic] = {}
    for equation in system.observed:
        definitions[equation.lhs] = equation.rhs.xreplace(definitions)
    rows = {state: i for i, state in enumerate(system.states)}
    found = [[sp.S.Zero for _ in system.noise] for _ in system.states]
    for j, noise in enumerate(system.noise):
        for state, value in noise.entries:
            found[rows[state]][j] = value.xreplace(definitions)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return found  # pyright: ignore[reportReturnType]


def kind(system: System) -> NoiseKind:
    """From the least to the most general: none, additive, diagonal, commutative, general."""
    if not system.noise:
        return "none"
    g, states = matrix(system), system.states
    touched = [{s for s in value.free_symbols if s in set(states)} for row in g for value in row]
    if not any(touched):
        return "additive"
    columns = list(zip(*g, strict=True))
    if all(sum(v != 0 for v in line) <= 1 for line in (*g, *columns)) and all(
        not (value.free_symbols & set(states)) - {state} for state, row in zip(states, g, strict=True) for value in row
    ):
        return "diagonal"
    if any(value.has(NetworkValue) for row in g for value in row):
        return "general"
    return "commutative" if _commutes(columns, states) else "general"


def _commutes(columns: Sequence[Sequence[sp.Expr]], states: Sequence[sp.Symbol]) -> bool:
    """Whether (dg_k/dy) g_j = (dg_j/dy) g_k for all pairs, as far as multiplying out shows it."""
    pairs = [(a, b) for i, a in enumerate(columns) for b in columns[:i]]
    if len(pairs) > _MOST_PAIRS:
        return False
    return all(
        _vanishes(sum((sp.diff(y, s) * v - sp.diff(x, s) * w for s, v, w in zip(states, a, b, strict=True)), sp.S.Zero))
        for a, b in pairs
        for x, y in zip(a, b, strict=True)
    )


def _vanishes(expression: sp.Expr) -> bool:
    return expression == 0 or multiplied_out(expression) == 0 or sp.cancel(expression) == 0


def correction(system: System) -> tuple[sp.Expr, ...] | None:
    """½ Σ (dg_j/dy) g_j, a row a state: Itô's drift less this is Stratonovich's; `None` where a network stands in g."""
    g, states = matrix(system), system.states
    if any(value.has(NetworkValue) for row in g for value in row):
        return None
    return tuple(
        sum(
            (sp.diff(value, s) * g[k][j] / 2 for j, value in enumerate(row) for k, s in enumerate(states)),
            sp.S.Zero,
        )
        for row in g
    )
