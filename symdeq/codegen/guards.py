"""Branches of a `Piecewise` made safe to evaluate, and to differentiate, where they are not taken.

All branches are evaluated, and the result is selected. A branch that is singular where it is not taken would give the
right value and a wrong derivative: zero times infinity. So such a branch gets its inputs through a guard, `x` where
the branch is taken and a harmless number elsewhere, which is an assignment of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair

from symdeq._errors import UnsupportedError
from symdeq.codegen.derivatives import INTERNAL, Differentiator
from symdeq.codegen.program import Assignment, Call

# Finite, with finite derivatives, at every finite argument. Everything else is guarded; exp and its like because they
# overflow.
_TOTAL: frozenset[type] = frozenset(
    {
        *(sp.Add, sp.Mul, sp.sin, sp.cos, sp.tanh, sp.atan, sp.asinh, sp.erf, sp.erfc, sp.sinc, sp.Abs, sp.sign),
        *(sp.Heaviside, sp.floor, sp.ceiling, sp.frac, sp.Min, sp.Max, sp.Si, sp.fresnels, sp.fresnelc),
        *(sp.Piecewise, ExprCondPair),
    }
)
_CANDIDATES = (1.0, 0.5, 2.0, -1.0, -0.5, -2.0, 3.0, 0.25, 10.0, -10.0, 0.1, 100.0, -100.0, 1000.0, 0.01, -1000.0)
_MOST_TRIALS = 400
# What SymPy raises where an expression has no real value.
_NOT_A_NUMBER = (TypeError, ValueError, OverflowError, ZeroDivisionError)


def _arguments_at_risk(node: sp.Basic) -> tuple[sp.Basic, ...]:
    """The arguments of this one operation that can make it, or its derivative, infinite or undefined."""
    if isinstance(node, sp.Pow):
        if node.exp.is_Integer and node.exp.is_nonnegative:
            return ()
        return (node.base,) if node.exp.is_number else node.args
    if isinstance(node, sp.Mod):
        return () if node.args[1].is_number and node.args[1] != 0 else node.args
    if not node.args or isinstance(node, sp.logic.boolalg.Boolean) or type(node) in _TOTAL:
        return ()
    return () if type(node) in INTERNAL else node.args


def _symbols_at_risk(expression: sp.Basic) -> set[sp.Basic]:
    return {s for node in sp.preorder_traversal(expression) for a in _arguments_at_risk(node) for s in a.free_symbols}


class _Guards:
    """The assignments written so far, and what is known of each intermediate quantity."""

    def __init__(self) -> None:
        self.body: list[Assignment | Call] = []
        self.sources: dict[sp.Basic, sp.Basic] = {}
        self._definitions: dict[sp.Basic, sp.Expr] = {}
        # Intermediate quantities that can be singular, with the inputs at fault.
        self._at_risk: dict[sp.Basic, frozenset[sp.Basic]] = {}
        self._written: dict[sp.Basic, sp.Symbol] = {}
        self._count = itertools.count(1)

    def define(self, line: Assignment | Call) -> None:
        if isinstance(line, Call):  # what a network gives is taken for finite everywhere
            self.body.append(line)
            return
        self._definitions[line.target] = line.expression  # pyright: ignore[reportArgumentType]
        self.body.append(Assignment(line.target, self.rewrite(line.expression), line.comment))
        if risk := self._risk(line.expression):
            self._at_risk[line.target] = risk

    def _risk(self, expression: sp.Basic) -> frozenset[sp.Basic]:
        """What has to be guarded in an expression, through the intermediate quantities that are singular themselves."""
        found = _symbols_at_risk(expression)
        for symbol in expression.free_symbols:
            found |= self._at_risk.get(symbol, frozenset())
        return frozenset(found - self._at_risk.keys())

    def rewrite(self, node: sp.Basic) -> sp.Basic:
        if not node.has(sp.Piecewise):
            return node
        if isinstance(node, sp.Piecewise):
            return self._piecewise(node)
        return node.func(*(self.rewrite(a) for a in node.args))

    def _piecewise(self, node: Any) -> sp.Basic:
        branches: list[tuple[sp.Basic, sp.Basic]] = []
        earlier: list[Any] = []
        for value, condition in node.args:
            condition = self.rewrite(condition)
            if risk := sorted(self._risk(value), key=str):
                value = self._guarded(value, risk, earlier, condition)
            branches.append((self.rewrite(value), condition))
            earlier.append(condition)
        return sp.Piecewise(*branches, evaluate=False)

    def _guarded(self, value: sp.Basic, risk: list[sp.Basic], earlier: list[Any], condition: Any) -> sp.Basic:
        harmless = self._harmless(value, risk, earlier, condition)
        if harmless is None:
            return value  # nowhere finite: the user's formula, unchanged
        swap: dict[sp.Basic, sp.Basic] = {}
        for symbol in risk:
            number = sp.Float(harmless[symbol])
            pairs: list[tuple[sp.Basic, sp.Basic]] = [(number, sp.Or(*earlier))] if earlier else []
            pairs += [(symbol, sp.true)] if condition == sp.true else [(symbol, condition), (number, sp.true)]
            if pairs[0][1] == sp.true:  # taken everywhere, or nowhere
                return value
            swap[symbol] = self._guard(symbol, sp.Piecewise(*pairs, evaluate=False))
        return self._replaced(value, swap, {})

    def _guard(self, symbol: sp.Basic, choice: sp.Basic) -> sp.Symbol:
        if (known := self._written.get(choice)) is None:
            known = sp.Symbol(f"{symbol}_safe{next(self._count)}", real=True)
            self._written[choice] = known
            self.sources[known] = symbol
            self.body.append(Assignment(known, choice))
        return known

    def _replaced(self, value: sp.Basic, swap: dict, copies: dict) -> sp.Basic:
        """`value` with guarded symbols, and copies of singular intermediate quantities made of guarded symbols."""
        for symbol in sorted(value.free_symbols & self._at_risk.keys(), key=str):
            if symbol in copies:
                continue
            inner = self._replaced(self._definitions[symbol], swap, copies)
            copy = sp.Symbol(f"{symbol}_safe{next(self._count)}", real=True)
            copies[symbol] = copy
            # What it is made of is guarded, so it is as safe as its own branches are.
            self._definitions[copy] = inner  # pyright: ignore[reportArgumentType]
            self.body.append(Assignment(copy, self.rewrite(inner)))
        return value.xreplace({**swap, **copies})

    def _harmless(
        self, value: sp.Basic, risk: list[sp.Basic], earlier: list[Any], condition: Any
    ) -> dict[sp.Basic, float] | None:
        """Numbers for the symbols at which the branch and its derivatives are finite; if found, where it is taken."""
        whole = value
        while inner := whole.free_symbols & self._at_risk.keys():
            whole = whole.xreplace({s: self._definitions[s] for s in inner})
        others = sorted(whole.free_symbols.union(*(c.free_symbols for c in (*earlier, condition))) - set(risk), key=str)
        fixed = {s: sp.Float(0.7 + 0.1 * (i % 7)) for i, s in enumerate(others)}
        slopes = []
        for symbol in risk:
            try:
                slopes.append(Differentiator(lambda s, v=symbol: sp.Integer(int(s == v)))(whole))
            except UnsupportedError:  # raised with its equation where the derivative is needed
                continue
        taken = sp.And(condition, *(sp.Not(c) for c in earlier))
        fallback = None
        for numbers in _trials(len(risk)):
            point = {**fixed, **{s: sp.Float(v) for s, v in zip(risk, numbers, strict=True)}}
            if all(_finite(e, point) for e in (whole, *slopes)):
                chosen = dict(zip(risk, numbers, strict=True))
                if _holds(taken, point):
                    return chosen
                fallback = fallback or chosen
        return fallback


def _trials(count: int) -> Iterator[tuple[float, ...]]:
    """Equal numbers first, then all kinds of different ones, in an order that never changes."""
    yield from ((v,) * count for v in _CANDIDATES)
    if count > 1:
        for shift in range(_MOST_TRIALS):
            yield tuple(_CANDIDATES[(shift * (2 * k + 1) + k) % len(_CANDIDATES)] * (1 + k / 8) for k in range(count))


def _finite(expression: sp.Basic, point: Mapping[Any, Any]) -> bool:
    try:
        number = complex(sp.N(expression.xreplace(point)))  # pyright: ignore[reportArgumentType]
    except _NOT_A_NUMBER:
        return False
    return number.imag == 0 and abs(number) < 1e30


def _holds(condition: sp.Basic, point: Mapping[Any, Any]) -> bool:
    try:
        return condition.xreplace(point) == sp.true
    except _NOT_A_NUMBER:
        return False


def guard(body: Iterable[Assignment | Call]) -> tuple[tuple[Assignment | Call, ...], Mapping[sp.Basic, sp.Basic]]:
    """Straight-line code with every singular branch of a `Piecewise` guarded.

    Arguments:

    - `body`: assignments in order; the right-hand sides may contain `Piecewise`.

    Returns the body with the guards as assignments before their first use, and `{guarded symbol: what it equals where
    it matters}`.
    """
    guards = _Guards()
    for line in body:
        guards.define(line)
    return tuple(guards.body), guards.sources
