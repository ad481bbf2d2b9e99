"""The shape of an expression: what is left of it when its symbols and coefficients are taken out.

`2*a*x1 - x1*x2` and `5*b*x7 - x7*x8` have one shape, with different leaves. The order of what may be exchanged, terms
and factors, follows their shapes and then their leaves, so that equal shapes are found whatever SymPy's own order is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

Leaf = sp.Symbol | sp.Number


@dataclass(frozen=True)
class Shape:
    """The shape of one expression: equal numbers for equal shapes, and the leaves in the order of the shape."""

    number: int
    leaves: tuple[Leaf, ...]


class Shapes:
    """Numbers shapes as they come.

    Arguments:

    - `rank`: the position of each symbol in the program, which orders what a shape leaves open.
    """

    def __init__(self, rank: Mapping[Any, int]):
        self._rank = rank
        self._numbers: dict[Any, int] = {}
        self._known: dict[sp.Basic, Shape] = {}

    def __call__(self, node: Any) -> Shape:
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = self._shape(node)
        return found

    def _shape(self, node: Any) -> Shape:
        if isinstance(node, sp.Symbol):
            return self._numbered("symbol", (node,))
        if isinstance(node, sp.Number) and node != -1:
            return self._numbered("number", (node,))
        if not node.args:
            return self._numbered(node, ())
        if isinstance(node, sp.Add | sp.Mul):
            parts = [self(a) for a in node.args]
            parts.sort(key=lambda part: (part.number, [self._order(leaf) for leaf in part.leaves]))
        else:
            parts = [self._fixed(a) for a in node.args]
        leaves = tuple(leaf for part in parts for leaf in part.leaves)
        return self._numbered((node.func, *(part.number for part in parts)), leaves)

    def _fixed(self, node: Any) -> Shape:
        """An exponent or another argument of a function: a number there belongs to the shape."""
        return self._numbered(("=", node), ()) if isinstance(node, sp.Number) else self(node)

    def _numbered(self, key: Any, leaves: tuple[Leaf, ...]) -> Shape:
        return Shape(self._numbers.setdefault(key, len(self._numbers)), leaves)

    def _order(self, leaf: Leaf) -> tuple[int, float]:
        return (0, float(leaf)) if isinstance(leaf, sp.Number) else (1 + self._rank[leaf], 0.0)

    def template(self, node: Any, slots: list[sp.Symbol]) -> sp.Expr:
        """The expression with its leaves replaced by `slots`, in the order of its shape."""
        remaining = iter(slots)

        def rebuilt(node: Any, fixed: bool = False) -> Any:
            if isinstance(node, sp.Symbol) or (isinstance(node, sp.Number) and node != -1 and not fixed):
                return next(remaining)
            if not node.args:
                return node
            if isinstance(node, sp.Add | sp.Mul):
                parts = sorted(
                    node.args, key=lambda a: (self(a).number, [self._order(leaf) for leaf in self(a).leaves])
                )
                return node.func(*(rebuilt(a) for a in parts))
            return node.func(*(rebuilt(a, fixed=True) for a in node.args))

        return rebuilt(node)
