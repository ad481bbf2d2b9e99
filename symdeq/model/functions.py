"""The SymPy functions that an equation may contain: those that JAX has. Anything else is refused by name."""

from __future__ import annotations

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.functions.special.error_functions import Ei, erf, erfc, erfinv, expint
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or, Xor

from symdeq.model.blocks import Component, Network, NetworkOutputs, NetworkValue, Numbers
from symdeq.model.delayed import DelayedValue

ELEMENTARY: frozenset[type] = frozenset(
    {
        *(sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc, sp.sinc),
        *(sp.asin, sp.acos, sp.atan, sp.acot, sp.asec, sp.acsc, sp.atan2),
        *(sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech, sp.csch),
        *(sp.asinh, sp.acosh, sp.atanh, sp.acoth, sp.asech, sp.acsch),
        *(sp.exp, sp.log, sp.Pow, sp.Add, sp.Mul),
        *(sp.Abs, sp.sign, sp.Heaviside, sp.floor, sp.ceiling, sp.frac, sp.Mod, sp.Min, sp.Max, sp.Piecewise),
        ExprCondPair,
    }
)
SPECIAL: frozenset[type] = frozenset(
    {
        *(erf, erfc, erfinv, Ei, expint, sp.Si, sp.Ci, sp.fresnels, sp.fresnelc),
        *(
            sp.gamma,
            sp.loggamma,
            sp.factorial,
            sp.polygamma,
            sp.beta,
            sp.lowergamma,
            sp.uppergamma,
            sp.zeta,
            sp.besseli,
        ),
    }
)
BLOCKS: frozenset[type] = frozenset({NetworkValue, NetworkOutputs, Component, Numbers, DelayedValue})
CONDITIONS: frozenset[type] = frozenset({sp.Gt, sp.Ge, sp.Lt, sp.Le, sp.Eq, sp.Ne, And, Or, Not, Xor, sp.ITE})
SUPPORTED: frozenset[type] = ELEMENTARY | SPECIAL | CONDITIONS


def unsupported(expression: sp.Basic) -> list[str]:
    """What in `expression` has no equivalent in JAX, one phrase each; empty if everything has."""
    found: dict[str, None] = {}
    for node in sp.preorder_traversal(expression):
        if isinstance(node, sp.Symbol | BooleanTrue | BooleanFalse | Network | sp.Tuple):
            continue
        if isinstance(node, sp.Number | sp.NumberSymbol):
            if not node.is_finite:
                found[f"the value `{node}`"] = None
        elif node is sp.I:
            found["the imaginary unit `I`"] = None
        elif isinstance(node, sp.besseli) and node.args[0] not in (0, 1):
            found[f"`besseli` of order {node.args[0]} (orders 0 and 1 exist)"] = None
        elif isinstance(node, sp.polygamma | expint) and not node.args[0].is_Integer:
            found[f"`{type(node).__name__}` of the order {node.args[0]}, which is not a whole number"] = None
        elif type(node) not in SUPPORTED | BLOCKS:
            found[f"`{_name(node)}`"] = None
    return list(found)


def _name(node: sp.Basic) -> str:
    if isinstance(node, sp.core.function.AppliedUndef):
        return f"{node.func.__name__}(...)"
    return type(node).__name__
