"""No subsystems, and only first derivatives: what is nested is renamed `part.x`, and D(x, 2) becomes a state of its own."""

from __future__ import annotations

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model import Equation, Guess, ModelSymbol, Stage, State, System, TimeDerivative
from symdeq.model.system import collect


def flatten(system: System) -> System:
    """Merge the subsystems and lower every derivative to first order; states are put in their final order."""
    if system.stage >= Stage.FLAT:
        return system
    equations, observed, initial = _merged(system)
    merged = System(  # checked like any newly written system, now that connections are in place
        equations=equations,
        name=system.name,
        observed=observed,
        initial={symbol: value for symbol, value in initial if value is not None},  # pyright: ignore[reportArgumentType]
        time_unit=system.time_unit,
    )
    equations, given = _first_order(merged)
    states, params = collect(equations, observed, tuple(given.items()))
    states = tuple(s for s in states if all(s != e.lhs for e in observed))
    return system.replace(
        equations=equations,
        observed=observed,
        subsystems=(),
        states=states,
        params=params,
        initial=tuple((state, given.get(state, state.initial)) for state in states),
        stage=Stage.FLAT,
    )


def _merged(system: System, prefix: str = "") -> tuple[tuple[Equation, ...], tuple[Equation, ...], tuple]:
    """Equations, observed and initial values of a system and all below it, under their full names."""
    renames: dict[sp.Basic, sp.Basic] = {}
    if prefix:
        params = {s: s.renamed(prefix + s.name) for s in _all_symbols(system) if not isinstance(s, TimeDerivative)}
        renames.update({s: s.renamed(prefix + s.name, params) for s in params})
        for symbol in _all_symbols(system):
            if isinstance(symbol, TimeDerivative):
                state = symbol.state.renamed(prefix + symbol.state.name, params)
                renames[symbol] = TimeDerivative(state=state, order=symbol.order)  # pyright: ignore[reportArgumentType]
    equations = [equation.subs(renames) for equation in system.equations]
    observed = [equation.subs(renames) for equation in system.observed]
    initial = [(renames.get(symbol, symbol), _renamed(value, renames)) for symbol, value in system.initial]
    for part in system.subsystems:
        inner = _merged(part, f"{prefix}{part.name}.")
        equations, observed, initial = equations + list(inner[0]), observed + list(inner[1]), initial + list(inner[2])
    return tuple(equations), tuple(observed), tuple(initial)


def _all_symbols(system: System) -> list[ModelSymbol]:
    """Everything that is named in the equations of a system, whose own prefix is not yet on it."""
    found: dict[ModelSymbol, None] = dict.fromkeys((*system.states, *system.params))
    for equation in (*system.equations, *system.observed):
        found.update(dict.fromkeys(s for s in sorted(equation.symbols, key=str) if isinstance(s, ModelSymbol) and s.name != "t"))
    for symbol, _ in system.initial:
        found[symbol] = None
    return list(found)


def _renamed(value: sp.Expr | Guess | None, renames: dict[sp.Basic, sp.Basic]) -> sp.Expr | Guess | None:
    if isinstance(value, Guess):
        return Guess(value.value.xreplace(renames))
    return None if value is None else value.xreplace(renames)


def _first_order(system: System) -> tuple[tuple[Equation, ...], dict[ModelSymbol, sp.Expr | Guess | None]]:
    """Equations without higher derivatives, and the initial values by state."""
    order: dict[State, int] = {}
    origins: dict[State, tuple] = {}
    for equation in system.equations:
        for symbol in sorted(equation.symbols, key=str):
            if isinstance(symbol, TimeDerivative) and symbol.order > order.get(symbol.state, 0):
                order[symbol.state], origins[symbol.state] = symbol.order, equation.origins
    taken = {symbol.name for symbol in (*system.states, *system.params)}
    replacements: dict[sp.Basic, sp.Basic] = {}
    added: list[Equation] = []
    lowered: dict[TimeDerivative, State] = {}
    for state, highest in order.items():
        below = state
        for k in range(1, highest):
            name = f"{state.name}_{'t' * k}"
            while name in taken:
                name += "_"
            taken.add(name)
            new = State(name, description=f"the {_ordinal(k)} derivative of {state.name}")
            new.serial = state.serial  # follows its state, since sorting is stable
            derivative = TimeDerivative(state=state, order=k)
            first = TimeDerivative(state=below, order=1)
            added.append(Equation(first, new, origins[state]))
            replacements[derivative], lowered[derivative] = new, new
            below = new
        if highest > 1:
            replacements[TimeDerivative(state=state, order=highest)] = TimeDerivative(state=below, order=1)
    given: dict[ModelSymbol, sp.Expr | Guess | None] = {}
    for symbol, value in system.initial:
        if isinstance(symbol, TimeDerivative):
            if symbol not in lowered:
                raise ModelError(
                    f"`initial` gives a value for `{symbol}`, but the equations determine it.",
                    remedy=f"only derivatives below the highest one of `{symbol.state}` have initial values; use sd.guess in its place if needed",
                )
            symbol = lowered[symbol]  # noqa: PLW2901
        given[symbol] = value
    return (*added, *(equation.subs(replacements) for equation in system.equations)), given


def _ordinal(k: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(k, f"{k}th")
