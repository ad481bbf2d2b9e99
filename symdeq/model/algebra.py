"""Exact algebra on right-hand sides: products multiplied out within bounds, and the parts of what is linear."""

from __future__ import annotations

import math

import sympy as sp

# A product that would have more terms than this is left as it is.
MOST_TERMS = 2000


def term_count(expression: sp.Expr) -> int:
    """How many terms an expression has when it is multiplied out, before any cancel."""
    if isinstance(expression, sp.Add):
        return sum(term_count(part) for part in expression.args)  # pyright: ignore[reportArgumentType]
    if isinstance(expression, sp.Mul):
        return math.prod(term_count(part) for part in expression.args)  # pyright: ignore[reportArgumentType]
    if isinstance(expression, sp.Pow) and expression.exp.is_Integer and expression.exp.is_positive:
        inside = term_count(expression.base)
        return 1 if inside == 1 else math.comb(inside + int(expression.exp) - 1, inside - 1)
    return 1


def multiplied_out(expression: sp.Expr) -> sp.Expr:
    """The expression as a sum of products; itself where it is one already or would have too many terms."""
    count = term_count(expression)
    if count == len(sp.Add.make_args(expression)) or count > MOST_TERMS:
        return expression
    return sp.expand(expression, power_base=False, power_exp=False, log=False, basic=False)


def linear_parts(expression: sp.Expr, symbol: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """`(a, b)` with `expression = a*symbol + b`, neither containing the symbol; `None` where the form does not show it.

    Goes by the form alone: a derivative would not notice a symbol in the condition of a `Piecewise`, nor inside
    `floor`.
    """
    if symbol not in expression.free_symbols:
        return sp.Integer(0), expression
    if expression == symbol:
        return sp.Integer(1), sp.Integer(0)
    if isinstance(expression, sp.Add):
        factors, rest = [], []
        for term in expression.args:
            parts = linear_parts(term, symbol)  # pyright: ignore[reportArgumentType]
            if parts is None:
                return None
            factors.append(parts[0])
            rest.append(parts[1])
        return sp.Add(*factors), sp.Add(*rest)
    if isinstance(expression, sp.Mul):
        inside = [part for part in expression.args if symbol in part.free_symbols]
        if len(inside) != 1:
            return None
        parts = linear_parts(inside[0], symbol)  # pyright: ignore[reportArgumentType]
        outside = sp.Mul(*(part for part in expression.args if part is not inside[0]))
        return None if parts is None else (outside * parts[0], outside * parts[1])
    return None
