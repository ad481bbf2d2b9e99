"""Right-hand sides of the same value and never more operations; `compile(system, simplify=False)` leaves it out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from symdeq.model import Equation, Stage, System

# A sum of more terms is left alone: grouping is quadratic in them.
_MOST_TERMS = 200
# So are systems of more equations: factors taken out here and there hide the terms that equations share, by which the
# code of a large model stays short.
_MOST_EQUATIONS = 50


def simplify(system: System) -> System:
    """Take shared factors out of sums wherever that saves operations; nothing is expanded or cancelled.

    Systems of more than 50 equations stay as they are.
    """
    if system.stage >= Stage.SIMPLIFIED:
        return system
    if len(system.equations) > _MOST_EQUATIONS:
        return system.replace(stage=Stage.SIMPLIFIED)
    return system.replace(
        equations=tuple(map(_simplified, system.equations)),
        observed=tuple(map(_simplified, system.observed)),
        stage=Stage.SIMPLIFIED,
    )


def _simplified(equation: Equation) -> Equation:
    return replace(equation, rhs=cheapest(equation.rhs))


def cheapest(expression: Any) -> Any:
    """An equal form of an expression with shared factors taken out of its sums; itself where that saves nothing."""
    if (
        isinstance(expression, Boolean) or not expression.args
    ):  # rounding must not move the place where a condition changes
        return expression
    parts = [cheapest(part) for part in expression.args]
    if any(new is not old for new, old in zip(parts, expression.args, strict=True)):
        rebuilt = expression.func(*parts)
        if sp.count_ops(rebuilt) <= sp.count_ops(expression):
            expression = rebuilt
    if not isinstance(expression, sp.Add) or len(expression.args) > _MOST_TERMS:
        return expression
    grouped = _grouped(expression)
    return grouped if grouped is not expression and sp.count_ops(grouped) < sp.count_ops(expression) else expression


def _grouped(expression: sp.Expr) -> sp.Expr:
    """Terms collected by the factor that most of them share, repeatedly: `a*x - b*x*y + c*z` is `x*(a - b*y) + c*z`."""
    if not isinstance(expression, sp.Add):
        return expression
    terms = expression.args
    users: dict[sp.Expr, list[int]] = {}
    for i, term in enumerate(terms):
        for factor in sp.Mul.make_args(term):  # pyright: ignore
            if not factor.is_number:
                users.setdefault(_unit_power(factor), []).append(i)
    factor = max(users, key=lambda f: len(users[f]), default=None)  # the first of equals: SymPy's order is canonical
    if factor is None or len(users[factor]) < 2:
        return expression
    chosen = set(users[factor])
    inside = sp.Add(*(term / factor for i, term in enumerate(terms) if i in chosen))  # pyright: ignore
    outside = sp.Add(*(term for i, term in enumerate(terms) if i not in chosen))  # pyright: ignore
    return sp.Mul(factor, _grouped(inside)) + _grouped(outside)


def _unit_power(factor: sp.Expr) -> sp.Expr:
    """`x` for a whole positive power of `x`, `1/x` for a negative one, and anything else as it is.

    Only then is the quotient of two powers as harmless as they are: `x**m + x**n` has no safe common factor.
    """
    base, exponent = factor.as_base_exp()
    if exponent.is_Integer and base != 1:
        return base if exponent > 0 else 1 / base
    return factor
