"""No subsystems, and first derivatives only: what is nested is renamed `part.x`, and D(x) below D(x, 2) is a state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import (
    D,
    Equation,
    Guess,
    Mark,
    ModelSymbol,
    Parameter,
    Pulses,
    Stage,
    State,
    System,
    TimeDerivative,
    WhiteNoise,
)
from symdeq.model.algebra import multiplied_out
from symdeq.model.checks import check_composed
from symdeq.model.symbols import like, replaced
from symdeq.model.system import collect, networks_of

_Initial = dict[ModelSymbol, sp.Expr | Guess | None]


def flatten(system: System) -> System:
    """Merge the subsystems and lower every derivative to first order; states are put in their final order.

    That order is: the system's own states as they were declared, each followed by the derivatives that became states,
    then those of each subsystem likewise.
    """
    if system.stage >= Stage.FLAT:
        return system
    merged = _checked(_merged(system), system)
    definitions: dict[sp.Basic, sp.Expr] = {e.lhs: e.rhs for e in merged.observed}
    equations = tuple(_without_derivatives_of(definitions, e) for e in merged.equations)
    observed = tuple(_without_derivatives_of(definitions, e) for e in merged.observed)
    lowering = _lowering(replace(merged, equations=equations, observed=observed))
    states = tuple(s for state in merged.states for s in (state, *lowering.added.get(state, ())))
    given = _lowered_initial(merged.initial, lowering)
    return system.replace(
        equations=(*lowering.equations, *(_without_cancelled(e.subs(lowering.replacements)) for e in equations)),
        observed=tuple(_without_cancelled(e.subs(lowering.replacements)) for e in observed),
        history=_lowered_history(merged.history, lowering),
        subsystems=(),
        states=states,
        params=merged.params,
        networks=networks_of(merged.equations, merged.observed, merged.history),
        initial=(
            *((state, given.get(state, state.initial)) for state in states),
            *((symbol, value) for symbol, value in given.items() if isinstance(symbol, TimeDerivative)),
        ),
        time_unit=merged.time_unit,
        stage=Stage.FLAT,
    )


@dataclass(frozen=True)
class _Merged:
    """A system and all below it, under their full names."""

    equations: tuple[Equation, ...]
    observed: tuple[Equation, ...]
    history: tuple[Equation, ...]
    initial: _Initial
    states: tuple[State, ...]
    params: tuple[Parameter, ...]
    time_unit: str | None


def _merged(system: System, prefix: str = "") -> _Merged:
    symbols: set[ModelSymbol] = {*system.states, *system.params, *dict(system.initial)}
    for equation in (*system.equations, *system.observed, *system.history):
        symbols |= {s for s in equation.symbols if isinstance(s, ModelSymbol)}
    renames: dict[sp.Basic, sp.Basic] = {}
    if prefix:
        kinds = State | Parameter | TimeDerivative | WhiteNoise | Pulses | Mark
        renames = {s: s.prefixed(prefix) for s in symbols if isinstance(s, kinds)}
        renames |= {p: p.prefixed(prefix) for p in _params_in(system)}
        renames |= {n: n.prefixed(prefix) for n in system.networks}
    result = _Merged(
        equations=tuple(e.subs(renames) for e in system.equations),
        observed=tuple(e.subs(renames) for e in system.observed),
        history=tuple(e.subs(renames) for e in system.history),
        initial={renames.get(s, s): replaced(value, renames) for s, value in system.initial},  # pyright: ignore[reportArgumentType]
        states=tuple(renames.get(s, s) for s in system.states),  # pyright: ignore[reportArgumentType]
        params=tuple(renames.get(s, s) for s in system.params),  # pyright: ignore[reportArgumentType]
        time_unit=system.time_unit,
    )
    for part in system.subsystems:
        if part.calculus != system.calculus:
            raise ModelError(
                f"The calculus of System `{system.name}` is {system.calculus!r}, "
                f"that of its subsystem `{part.name}` {part.calculus!r}.",
                remedy="write both in one: System(..., calculus=...)",
            )
        inner = _merged(part, f"{prefix}{part.name}.")
        if None not in (result.time_unit, inner.time_unit) and result.time_unit != inner.time_unit:
            raise ModelError(
                f"System `{system.name}` measures time in {result.time_unit!r}, "
                f"its subsystem `{part.name}` in {inner.time_unit!r}.",
                remedy="write both in one unit of time",
            )
        result = _Merged(
            equations=result.equations + inner.equations,
            observed=result.observed + inner.observed,
            history=_outermost(result.history + inner.history),
            initial={**inner.initial, **result.initial},  # what is said further out counts
            states=result.states + inner.states,
            params=result.params + inner.params,
            time_unit=result.time_unit or inner.time_unit,
        )
    return result


def _params_in(system: System) -> tuple[Parameter, ...]:
    """The parameters of a system's initial values; those of its subsystems are not among its own."""
    return collect(system.equations, system.observed, system.initial, system.history)[1]


def _outermost(history: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """Of several histories of one state the first, which was said furthest out."""
    return tuple({e.lhs: e for e in reversed(history)}[s] for s in dict.fromkeys(e.lhs for e in history))


def _checked(merged: _Merged, system: System) -> _Merged:
    """Checked like a newly written system, now that connections are in place; only what is used stays."""
    states, params = collect(merged.equations, merged.observed, tuple(merged.initial.items()), merged.history)
    known, used = set(merged.states), set(params)
    declared = set(merged.params)
    merged = replace(
        merged,
        states=(*merged.states, *(s for s in states if s not in known)),
        params=(*(p for p in merged.params if p in used), *(p for p in params if p not in declared)),
    )
    check_composed(
        system.replace(
            equations=merged.equations,
            observed=merged.observed,
            history=merged.history,
            initial=tuple(merged.initial.items()),
            states=merged.states,
            params=merged.params,
            subsystems=(),
            time_unit=merged.time_unit,
            stage=Stage.FLAT,
        )
    )
    return merged


def _without_derivatives_of(definitions: Mapping[sp.Basic, sp.Expr], equation: Equation) -> Equation:
    """The equation with the derivative of an observed quantity written out by the chain rule."""
    while found := {s for s in equation.symbols if isinstance(s, TimeDerivative) and s.state in definitions}:
        equation = equation.subs({s: D(definitions[s.state], s.order) for s in found})
    return equation


def _without_cancelled(equation: Equation) -> Equation:
    """The equation without symbols that it does not depend on: later passes go by what occurs in it."""
    if equation.occurring == equation.symbols:
        return equation
    if isinstance(equation.lhs, sp.Symbol):
        rhs = multiplied_out(equation.rhs)
        if rhs.free_symbols | {equation.lhs} == equation.occurring:
            return replace(equation, rhs=rhs)
    return replace(equation, lhs=equation.residual, rhs=sp.Integer(0))


@dataclass(frozen=True)
class _Lowering:
    added: dict[State, tuple[State, ...]]  # by state, those that stand for its derivatives
    equations: tuple[Equation, ...]  # D(x) = x_t
    replacements: dict[sp.Basic, sp.Basic]
    highest: dict[State, int]


def _lowering(merged: _Merged) -> _Lowering:
    highest: dict[State, int] = {}
    origins: dict[State, tuple] = {}
    for equation in merged.equations:
        for symbol in sorted(equation.symbols, key=str):
            if isinstance(symbol, TimeDerivative) and symbol.order > highest.get(symbol.state, 0):
                highest[symbol.state], origins[symbol.state] = symbol.order, equation.origins
    _check_observed_derivatives(merged, highest)
    taken = {s.name for s in (*merged.states, *merged.params, *(e.lhs for e in merged.observed))}  # pyright: ignore[reportAttributeAccessIssue]
    added: dict[State, tuple[State, ...]] = {}
    equations: list[Equation] = []
    replacements: dict[sp.Basic, sp.Basic] = {}
    for state, order in highest.items():
        below = state
        for k in range(1, order):
            name = f"{state.name}_{'t' * k}"
            while name in taken:
                name += "_"
            taken.add(name)
            new = like(state, name, f"the {_ordinal(k)} derivative of {state.name}")
            added[state] = (*added.get(state, ()), new)
            equations.append(Equation(TimeDerivative(state=below, order=1), new, origins[state]))
            replacements[TimeDerivative(state=state, order=k)] = new
            below = new
        if order > 1:
            replacements[TimeDerivative(state=state, order=order)] = TimeDerivative(state=below, order=1)
    return _Lowering(added=added, equations=tuple(equations), replacements=replacements, highest=highest)


def _check_observed_derivatives(merged: _Merged, highest: Mapping[State, int]) -> None:
    for equation in merged.observed:
        for symbol in sorted(equation.symbols, key=str):
            if isinstance(symbol, TimeDerivative) and symbol.order > highest.get(symbol.state, 0):
                order = highest.get(symbol.state, 0)
                has = (
                    f"no derivative of `{symbol.state}`"
                    if order == 0
                    else f"no higher one than `{TimeDerivative(state=symbol.state, order=order)}`"
                )
                raise UnsupportedError(
                    f"The observed quantity `{equation.lhs}` contains `{symbol}`, but the equations contain {has}.",
                    where=equation.located,
                    remedy=f"write out what `{symbol}` is, or look up sol[{symbol}] in the solution",
                )


def _lowered_initial(initial: _Initial, lowering: _Lowering) -> _Initial:
    """The initial values by state, and guesses for highest derivatives, which an equation may not be solvable for."""
    given: _Initial = {}
    for symbol, value in initial.items():
        highest = lowering.highest.get(symbol.state, 0) if isinstance(symbol, TimeDerivative) else math.inf
        order = symbol.order if isinstance(symbol, TimeDerivative) else 0
        if order > highest or (order == highest and not isinstance(value, Guess)):
            raise ModelError(
                f"`initial` gives a value for `{symbol}`, but the equations determine it.",
                where=f"{symbol}(t0) = {value.value if isinstance(value, Guess) else value}",
                remedy="remove it; values are for derivatives below the highest one in the equations, "
                "and sd.guess(v) for the highest one where they give it only implicitly",
            )
        given[lowering.replacements.get(symbol, symbol)] = value  # pyright: ignore[reportArgumentType]
    return given


def _lowered_history(history: tuple[Equation, ...], lowering: _Lowering) -> tuple[Equation, ...]:
    """The histories by state; those of derivatives follow from that of the state where they are not given."""
    given = {e.lhs: e for e in history}
    for symbol in [e.lhs for e in history if isinstance(e.lhs, State)]:
        for derivative in lowering.replacements:
            if isinstance(derivative, TimeDerivative) and derivative.state == symbol and derivative not in given:
                given[derivative] = Equation(derivative, D(given[symbol].rhs, derivative.order))
    kept = {lowering.replacements.get(symbol, symbol): e for symbol, e in given.items()}
    return tuple(Equation(s, e.rhs, e.origins) for s, e in kept.items() if isinstance(s, State))  # pyright: ignore


def _ordinal(k: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(k, f"{k}th")
