"""Right-hand sides of the same value and never more operations. May be switched off: `compile(system, simplify=False)`."""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from symdeq.model import Equation, Stage, System

# Above this many operations an expression is left alone: factoring is more than linear in them.
_LARGEST = 400


def simplify(system: System) -> System:
    """Factor what all terms share and merge powers, wherever that saves operations. Nothing is expanded or cancelled."""
    if system.stage >= Stage.SIMPLIFIED:
        return system
    return system.replace(
        equations=tuple(map(_simplified, system.equations)),
        observed=tuple(map(_simplified, system.observed)),
        stage=Stage.SIMPLIFIED,
    )


def _simplified(equation: Equation) -> Equation:
    return replace(equation, rhs=cheapest(equation.rhs))


def cheapest(expression: sp.Expr) -> sp.Expr:
    """The cheapest of a few equal forms of an expression; itself when none is cheaper."""
    best, cost = expression, sp.count_ops(expression)
    if cost < 2 or cost > _LARGEST:
        return expression
    for rewrite in (sp.factor_terms, _grouped):
        candidate = rewrite(best)
        if (other := sp.count_ops(candidate)) < cost:
            best, cost = candidate, other
    return best


def _grouped(expression: sp.Expr) -> sp.Expr:
    """Terms collected by the factor that most of them share, again and again: `a*x - b*x*y + c*z` is `x*(a - b*y) + c*z`."""
    if not isinstance(expression, sp.Add):
        return expression
    terms = list(expression.args)
    counts: dict[sp.Basic, list[sp.Basic]] = {}
    for term in terms:
        for factor in sp.Mul.make_args(term):
            if not factor.is_number:
                counts.setdefault(factor, []).append(term)
    if not counts:
        return expression
    factor, users = max(counts.items(), key=lambda item: (len(item[1]), sp.count_ops(item[0]), str(item[0])))
    if len(users) < 2:
        return expression
    inside = sp.Add(*(term / factor for term in users))
    outside = sp.Add(*(term for term in terms if term not in users))
    return sp.Mul(factor, _grouped(inside), evaluate=True) + _grouped(outside)
