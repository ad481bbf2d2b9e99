"""The rules of a `System` at each stage, checked between passes."""

from __future__ import annotations

import sympy as sp

from symdeq._errors import VerificationError
from symdeq.model import ModelSymbol, Stage, State, System, TimeDerivative
from symdeq.model.symbols import Time


def verify(system: System) -> None:
    """Raise `VerificationError` at the first rule that a system does not keep; a declared system was checked when made."""
    if system.stage >= Stage.FLAT:
        _verify_flat(system)
    if system.stage >= Stage.TORN:
        _verify_torn(system)
    if system.stage >= Stage.ANALYSED:
        _demand(system.structure is not None, system, "an analysed system has no structure")


def _demand(holds: bool, system: System, rule: str) -> None:
    if not holds:
        raise VerificationError(f"{rule}\n{system}")


def _verify_flat(system: System) -> None:
    _demand(not system.subsystems, system, "a flat system has subsystems")
    names = [s.name for s in (*system.states, *system.params, *(e.lhs for e in system.observed))]  # pyright: ignore[reportAttributeAccessIssue]
    _demand(len(set(names)) == len(names), system, "a name stands for two symbols")
    _demand(tuple(s for s, _ in system.initial) == system.states, system, "initial values are not in the order of the states")
    known: set[sp.Basic] = {*system.states, *system.params, *(e.lhs for e in system.observed)}
    for equation in (*system.equations, *system.observed):
        for symbol in equation.symbols:
            _demand(isinstance(symbol, ModelSymbol), system, f"{symbol} is not declared")
            if isinstance(symbol, TimeDerivative):
                _demand(symbol.order == 1 and symbol.state in known, system, f"{symbol} is not of first order")
            else:
                _demand(isinstance(symbol, Time) or symbol in known, system, f"{symbol} is not among the symbols")


def _verify_torn(system: System) -> None:
    _demand(len(system.equations) == len(system.states), system, "there is not one equation a state")
    defined: set[sp.Basic] = {*system.states, *system.params}
    for equation in system.observed:
        missing = {s for s in equation.rhs.free_symbols if not isinstance(s, Time)} - defined
        _demand(not missing, system, f"{equation} uses {missing} before it is defined")
        defined.add(equation.lhs)
    for state, equation in zip(system.states, system.equations, strict=True):
        derivative = TimeDerivative(state=state, order=1)
        _demand(equation.lhs in (derivative, sp.S.Zero), system, f"{equation} stands where {derivative} should")
        missing = {s for s in equation.rhs.free_symbols if not isinstance(s, Time)} - defined
        _demand(not missing, system, f"{equation} uses {missing}, which is not defined")
        _demand(isinstance(state, State), system, f"{state} is not a state")
