"""Expressions at an earlier time, and the slots of the history that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import DelayedValue, Equation, Lag, Lagged, Parameter, State, System, delayed_in, t
from symdeq.model.symbols import Time


def resolved(expression: sp.Expr) -> sp.Expr:
    """The expression with every delayed value written out by single states at single earlier times."""
    while found := delayed_in(expression):
        innermost = [node for node in found if not node.value.has(DelayedValue)]
        expression = expression.xreplace({node: earlier(node.value, node.lag) for node in innermost})  # pyright: ignore
    return expression


def earlier(expression: sp.Expr, lag: sp.Expr) -> sp.Expr:
    """An expression of states, times and delayed states as it was a lag ago."""
    moved: dict[sp.Basic, sp.Basic] = {}
    for symbol in expression.free_symbols:
        if isinstance(symbol, Lagged):
            moved[symbol] = Lagged(state=symbol.state, lag=lag + _earlier_lag(symbol, lag))
        elif isinstance(symbol, Time):
            moved[symbol] = t - lag
        elif isinstance(symbol, State):
            moved[symbol] = Lagged(state=symbol, lag=lag)
    return expression.xreplace(moved)  # pyright: ignore[reportReturnType]


def _earlier_lag(symbol: Lagged, lag: sp.Expr) -> sp.Expr:
    if any(not isinstance(s, Parameter | Time) for s in symbol.lag.free_symbols):
        raise UnsupportedError(
            f"`{symbol}` is delayed again, by {lag}, and its own lag depends on states.",
            remedy="delay only once by a lag that depends on states",
        )
    return symbol.lag.xreplace({t: t - lag})  # pyright: ignore[reportReturnType]


def slots(equations: Iterable[Equation], lags: Mapping[sp.Expr, sp.Expr]) -> tuple[Lag, ...]:
    """The slots that equations need, in the order of their text.

    Arguments:

    - `lags`: what has to be computed for a lag that was written otherwise.
    """
    found: dict[sp.Expr, set[Lagged]] = {}
    for equation in equations:
        for symbol in equation.symbols:
            if isinstance(symbol, Lagged):
                found.setdefault(symbol.lag, set()).add(symbol)
    return tuple(
        Lag(lags.get(lag, lag), tuple(sorted(found[lag], key=lambda s: s.name))) for lag in sorted(found, key=str)
    )


def without_eliminated(system: System, rename: Mapping[sp.Basic, sp.Basic]) -> System:
    """A system whose delayed values are all of states that are left: the others follow from the observed quantities.

    Arguments:

    - `rename`: what replaced symbols that equations no longer contain.
    """
    if not system.delays:
        return system
    lags: dict[sp.Expr, Any] = {s.lag: lag.expression.xreplace(rename) for lag in system.delays for s in lag.lagged}
    states, given = set(system.states), {e.lhs: e for e in system.observed}
    histories = {e.lhs: e for e in system.history}
    known: dict[Lagged, sp.Expr] = {}
    _check_no_recurrence(system, states)

    def found(symbol: Lagged) -> sp.Expr:
        if symbol not in known:
            if symbol.state in histories:
                raise ModelError(
                    f"`history` gives values for `{symbol.state}`, which follows from other states.",
                    where=given[symbol.state].located,
                    remedy="give the history of the states that it is computed from",
                )
            known[symbol] = written(earlier(given[symbol.state].rhs, lags[symbol.lag]))
        return known[symbol]

    def written(expression: sp.Expr) -> sp.Expr:
        lost = {s: found(s) for s in expression.free_symbols if isinstance(s, Lagged) and s.state not in states}
        return expression.xreplace(lost) if lost else expression  # pyright: ignore[reportReturnType]

    equations = tuple(replace(e, rhs=written(e.rhs)) for e in system.equations)
    observed = tuple(replace(e, rhs=written(e.rhs)) for e in system.observed)
    return system.replace(
        equations=equations,
        observed=observed,
        history=tuple(e for e in system.history if e.lhs in states),
        delays=slots((*equations, *observed), lags),
    )


def _check_no_recurrence(system: System, states: set[State]) -> None:
    """Unknowns without a derivative that follow from their own past have no equation of motion."""
    needs: dict[State, set[State]] = {}
    for equation in system.observed:
        symbols = {s.state if isinstance(s, Lagged) else s for s in equation.rhs.free_symbols}
        needs[equation.lhs] = {s for s in symbols if isinstance(s, State) and s not in states}  # pyright: ignore
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle = list(dict.fromkeys(error.args[1]))
        raise UnsupportedError(
            f"{', '.join(f'`{s}`' for s in cycle)} of system `{system.name}` follows from its own past without a "
            "derivative: a difference equation.",
            where="\n".join(e.located for e in system.observed if e.lhs in cycle),
            remedy="write an equation for its derivative",
        ) from None
