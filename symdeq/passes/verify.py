"""The rules of a `System` at each stage, checked between passes."""

from __future__ import annotations

import sympy as sp

from symdeq._errors import VerificationError
from symdeq.model import Lagged, Mark, ModelSymbol, Pulses, Stage, State, System, TimeDerivative, WhiteNoise
from symdeq.model.symbols import Time, symbols_in


def verify(system: System) -> None:
    """Raise `VerificationError` at the first broken rule; a declared system was checked when it was made."""
    if system.stage >= Stage.FLAT:
        _verify_flat(system)
    if system.stage >= Stage.TORN:
        _verify_torn(system)
    if system.stage >= Stage.ANALYSED:
        _verify_analysed(system)


def _demand(holds: bool, system: System, rule: str, *named: object) -> None:
    if not holds:  # only now are the names written out: that takes longer than all the checks
        raise VerificationError(f"{rule.format(*named)}\n{system}")


def _verify_flat(system: System) -> None:
    _demand(not system.subsystems, system, "a flat system has subsystems")
    symbols = (*system.states, *system.params, *system.observed_symbols)
    _demand(len({s.name for s in symbols}) == len(symbols), system, "a name stands for two symbols")
    starts = tuple(s for s, _ in system.initial if system.stage >= Stage.TORN or not isinstance(s, TimeDerivative))
    _demand(starts == system.states, system, "initial values are not in the order of the states")
    params = set(system.params)
    for symbol, value in system.initial:
        _demand(symbols_in(value) <= params, system, "the start of {} contains more than parameters", symbol)
    known: set[sp.Basic] = set(symbols)
    lagged = {symbol for lag in system.delays for symbol in lag.lagged}
    for equation in (*system.equations, *system.observed):
        for symbol in equation.symbols:
            _demand(isinstance(symbol, ModelSymbol), system, "{} is not declared", symbol)
            if isinstance(symbol, TimeDerivative):
                _demand(symbol.order == 1 and symbol.state in known, system, "{} is not of first order", symbol)
            elif isinstance(symbol, WhiteNoise | Pulses | Mark):
                _demand(system.stage < Stage.NOISE_SPLIT, system, "{} was not split off", symbol)
            elif isinstance(symbol, Lagged):
                _demand(symbol in lagged, system, "{} is in no slot of the history", symbol)
            else:
                _demand(isinstance(symbol, Time) or symbol in known, system, "{} is not among the symbols", symbol)


def _verify_torn(system: System) -> None:
    _demand(len(system.equations) == len(system.states), system, "there is not one equation a state")
    lagged = {symbol for lag in system.delays for symbol in lag.lagged}
    _demand({s.state for s in lagged} <= set(system.states), system, "a delayed state is not among the states")
    defined: set[sp.Basic] = {*system.states, *system.params, *lagged}
    for equation in system.observed:
        missing = {s for s in equation.rhs.free_symbols if not isinstance(s, Time)} - defined
        _demand(not missing, system, "{} uses {} before it is defined", equation, missing)
        defined.add(equation.lhs)
        _demand(isinstance(equation.lhs, State), system, "{} does not define a symbol", equation)
    for state, equation in zip(system.states, system.equations, strict=True):
        derivative = TimeDerivative(state=state, order=1)
        _demand(equation.lhs in (derivative, sp.S.Zero), system, "{} stands where {} should", equation, derivative)
        missing = {s for s in equation.rhs.free_symbols if not isinstance(s, Time)} - defined
        _demand(not missing, system, "{} uses {}, which is not defined", equation, missing)
        _demand(isinstance(state, State), system, "{} is not a state", state)


def _verify_analysed(system: System) -> None:
    structure, n = system.structure, len(system.states)
    if structure is None:
        raise VerificationError(f"an analysed system has no structure\n{system}")
    mass = tuple(0 if equation.lhs == 0 else 1 for equation in system.equations)
    _demand(structure.mass == mass, system, "the mass matrix does not fit the equations")
    _demand((structure.kind == "ode") == all(mass), system, "{} is not the kind of the system", structure.kind)
    entries = structure.sparsity
    _demand(list(entries) == sorted(set(entries)), system, "the non-zeros of the Jacobian are not in order")
    _demand(all(0 <= i < n and 0 <= j < n for i, j in entries), system, "a non-zero is outside the Jacobian")
    _demand(len(structure.lags) == len(system.delays), system, "there is not one kind a lag")
    _demand(structure.linear <= set(entries), system, "a linear entry is not a non-zero of the Jacobian")
    _demand(
        sorted(i for block in structure.blocks for i in block) == list(range(n)),
        system,
        "the blocks do not hold each state once",
    )
