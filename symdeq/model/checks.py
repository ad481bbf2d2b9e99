"""What a declared system must fulfil before any pass sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.equations import Equation
from symdeq.model.functions import unsupported
from symdeq.model.symbols import TimeDerivative, Guess, ModelSymbol, Parameter, State, Time

if TYPE_CHECKING:
    from symdeq.model.system import System


def check_declared(system: System) -> None:
    """Raise `ModelError` at the first rule that a newly written system breaks."""
    if not system.equations and not system.subsystems:
        raise ModelError(f"System `{system.name}` has no equations.", remedy="pass a list of Eq(lhs, rhs)")
    _check_parts(system)
    for equation in (*system.equations, *system.observed):
        _check_declared_symbols(equation, system)
        _check_functions(equation)
    _check_names(system)
    _check_not_trivial(system.equations)
    _check_initial(system)
    if system.time_unit is not None or any(symbol.unit for symbol in (*system.states, *system.params)):
        from symdeq.model.units import check_units, parse_unit

        if system.time_unit is not None:
            parse_unit(system.time_unit, "t")
        check_units(system.equations, system.time_unit)


def _check_parts(system: System) -> None:
    if not isinstance(system.name, str) or not all(part.isidentifier() for part in system.name.split(".")):
        raise ModelError(f"{system.name!r} cannot be the name of a system.", remedy="use letters, digits and underscores")
    names = [part.name for part in system.subsystems]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(
                f"System `{system.name}` has two subsystems named `{name}`.", remedy="give each its own name: System(..., name=...)"
            )


def _check_declared_symbols(equation: Equation, system: System) -> None:
    for symbol in sorted(equation.symbols, key=str):
        if isinstance(symbol, ModelSymbol):
            continue
        known = {s.name for s in (*system.states, *system.params)} | {"t"}
        if symbol.name in known:
            raise ModelError(
                f"`{symbol}` is a plain SymPy symbol and not the declared `{symbol}`.",
                where=equation.located,
                remedy="use the symbol that sd.states, sd.parameters or `from symdeq import t` gave",
            )
        raise ModelError(
            f"`{symbol}` is not declared.",
            where=equation.located,
            remedy=f'declare it: {symbol} = sd.state("{symbol}", ...) or {symbol} = sd.parameter("{symbol}", ...)',
        )


def _check_functions(equation: Equation) -> None:
    for side in (equation.lhs, equation.rhs):
        for phrase in unsupported(side):
            raise UnsupportedError(
                f"An equation contains {phrase}, which has no equivalent in JAX.",
                where=equation.located,
                remedy="rewrite it by functions of symdeq.model.functions.SUPPORTED",
            )


def _check_names(system: System) -> None:
    seen: dict[str, ModelSymbol] = {}
    symbols: Iterable[ModelSymbol] = (*system.states, *system.params, *(e.lhs for e in system.observed))  # pyright: ignore[reportAssignmentType]
    for symbol in symbols:
        other = seen.setdefault(symbol.name, symbol)
        if other != symbol or (symbol in system.states and other is not symbol and other in system.params):
            users = [e for e in system.equations if {symbol, other} & _states_too(e)]
            raise ModelError(
                f"Two different symbols are named `{symbol.name}`: {_described(other)} and {_described(symbol)}.",
                where="\n".join(e.located for e in users) or None,
                remedy="declare it once, or give one of them another name",
            )
    for equation in system.observed:
        if any(equation.lhs == state for state in system.states):
            raise ModelError(
                f"The observed quantity `{equation.lhs}` is also an unknown of the equations.",
                where=equation.located,
                remedy="write it as an equation, or give it another name",
            )


def _states_too(equation: Equation) -> set[sp.Symbol]:
    return {s.state if isinstance(s, TimeDerivative) else s for s in equation.symbols}


def _described(symbol: ModelSymbol) -> str:
    if isinstance(symbol, Parameter):
        return f"a parameter with value {symbol.value:g}"
    initial = symbol.fact("initial")
    if isinstance(initial, Guess):
        return f"a state with guess {initial.value}"
    return "a state without initial value" if initial is None else f"a state with initial value {initial}"


def _check_not_trivial(equations: tuple[Equation, ...]) -> None:
    residuals: dict[sp.Expr, Equation] = {}
    for equation in equations:
        residual = equation.lhs - equation.rhs
        if residual == 0 or sp.expand(residual) == 0:
            raise ModelError(
                "An equation is trivially true.", where=equation.located, remedy="remove it, or correct one of its sides"
            )
        if not any(isinstance(symbol, State | TimeDerivative) for symbol in equation.symbols):
            symbols = ", ".join(sorted(f"`{s}`" for s in equation.symbols if not isinstance(s, Time)))
            raise ModelError(
                f"An equation contains no unknown, only {symbols or 'numbers and time'}.",
                where=equation.located,
                remedy="declare what it determines as a state",
            )
        for form in (residual, -residual):
            if form in residuals:
                raise ModelError(
                    "An equation stands twice.", where=f"{residuals[form].located}\n{equation.located}", remedy="remove one"
                )
        residuals[residual] = equation


def _check_initial(system: System) -> None:
    known = {symbol for equation in system.equations for symbol in _states_too(equation)}
    prefixes = tuple(f"{part.name}." for part in system.subsystems)
    for symbol, value in system.initial:
        state = symbol.state if isinstance(symbol, TimeDerivative) else symbol
        if state not in known and not (prefixes and state.name.startswith(prefixes)):
            raise ModelError(
                f"`initial` gives a value for `{symbol}`, but no equation contains `{state}`.",
                remedy="remove it, or use the state that the equations use",
            )
        expression = value.value if isinstance(value, Guess) else value
        for other in sorted(expression.free_symbols, key=str) if expression is not None else ():
            if not isinstance(other, Parameter):
                raise ModelError(
                    f"The initial value of `{symbol}` uses `{other}`, which is not a parameter.",
                    where=f"{symbol}(t0) = {expression}",
                    remedy="an initial value may contain numbers and parameters only",
                )
