"""What a declared system must fulfil before any pass sees it."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import networks_in, shape_of
from symdeq.model.declare import check_initial_value
from symdeq.model.delays import check_delays
from symdeq.model.equations import Equation, shown
from symdeq.model.functions import unsupported
from symdeq.model.noise import Brownian, WhiteNoise
from symdeq.model.poisson import Mark, Poisson, Pulses
from symdeq.model.symbols import Guess, ModelSymbol, Parameter, State, Time, TimeDerivative

if TYPE_CHECKING:
    from symdeq.model.system import System


def check_declared(system: System) -> None:
    """Raise `ModelError` at the first rule that a newly written system breaks."""
    if not system.equations and not system.subsystems:
        raise ModelError(f"System `{system.name}` has no equations.", remedy="pass a list of Eq(lhs, rhs)")
    _check_parts(system)
    for equation in (*system.equations, *system.observed):
        _check_declared_symbols(equation, system)
        _check_noise(equation, system)
        _check_functions(equation)
    for equation in system.history:
        _check_functions(equation)
    check_shapes(system)
    _check_not_trivial(system.equations)
    check_composed(system)


def check_composed(system: System) -> None:
    """The rules that parts may break together although each keeps them by itself."""
    _check_observed(system)
    _check_names(system)
    _check_not_twice(system.equations)
    _check_initial(system)
    check_delays(system)
    if system.time_unit is not None or any(symbol.unit for symbol in (*system.states, *system.params)):
        from symdeq.model.units import check_units, parse_unit

        if system.time_unit is not None:
            if not isinstance(system.time_unit, str):
                raise ModelError(f"The unit of time must be text, not {system.time_unit!r}.", remedy='write it as "s"')
            parse_unit(system.time_unit, "t")
        check_units((*system.equations, *system.observed), system.time_unit)


def _check_parts(system: System) -> None:
    if not isinstance(system.name, str) or not all(part.isidentifier() for part in system.name.split(".")):
        raise ModelError(
            f"{system.name!r} cannot be the name of a system.",
            remedy="use letters, digits and underscores, starting with a letter",
        )
    names = [part.name for part in system.subsystems]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(
                f"System `{system.name}` has two subsystems named `{name}`.",
                remedy="give each its own name: System(..., name=...)",
            )
    prefixes = tuple(f"{name}." for name in names)
    for equation in (*system.equations, *system.observed):
        for symbol in sorted(_states_too(equation), key=str):
            if "." in symbol.name and not symbol.name.startswith(prefixes):
                part = symbol.name.rpartition(".")[0]
                raise ModelError(
                    f"`{symbol}` belongs to the subsystem `{part}`, which System `{system.name}` does not have.",
                    where=equation.located,
                    remedy=f"add it: System(..., subsystems=[{part}])",
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


def _check_noise(equation: Equation, system: System) -> None:
    for symbol in sorted(equation.symbols, key=str):
        if isinstance(symbol, Brownian):
            raise ModelError(
                f"The Brownian motion `{symbol}` itself stands in an equation.",
                where=equation.located,
                remedy=f"noise is D({symbol}); a state W with D(W) = D({symbol}) is the motion itself",
            )
        if isinstance(symbol, Poisson):
            raise ModelError(
                f"The Poisson process `{symbol}` itself stands in an equation.",
                where=equation.located,
                remedy=f"jumps are D({symbol}); a state N with D(N) = D({symbol}) counts them",
            )
        if isinstance(symbol, WhiteNoise | Pulses | Mark):
            source = symbol.brownian if isinstance(symbol, WhiteNoise) else symbol.process
            if equation in system.observed:
                raise ModelError(
                    f"An observed quantity contains noise, `{symbol}`.", where=equation.located, remedy="leave it out"
                )
            if isinstance(symbol, Mark) and Pulses(process=symbol.process) not in equation.symbols:
                raise ModelError(
                    f"The mark `{symbol}` stands in an equation without D({source}), whose jumps draw it.",
                    where=equation.located,
                    remedy=f"write it into the coefficient of D({source})",
                )
            if source.name in {s.name for s in (*system.states, *system.params)}:
                raise ModelError(
                    f"{'A Brownian motion' if isinstance(symbol, WhiteNoise) else 'A Poisson process'} and another "
                    f"symbol are both named `{source.name}`.",
                    where=equation.located,
                    remedy="give one of them another name",
                )


def check_shapes(system: System) -> None:
    """Raise `ModelError` where vectors of different lengths meet, or a vector stands for a number."""
    for equation in (*system.equations, *system.observed, *system.history):
        try:
            left, right = shape_of(equation.lhs), shape_of(equation.rhs)
        except ModelError as error:
            raise ModelError(error.what, where=equation.located, remedy=error.remedy) from None
        number = left == () and isinstance(equation.lhs, State | TimeDerivative)
        if (0,) in (left, right) or left == right or (() in (left, right) and not (number and right)):
            continue
        sides = [f"a vector of {shape[0]}" if shape else "a number" for shape in (left, right)]
        raise ModelError(
            f"The left side of an equation is {sides[0]}, its right side {sides[1]}.",
            where=equation.located,
            remedy="index the vector, h[0], or declare the state with that shape",
        )


def _check_functions(equation: Equation) -> None:
    for side in (equation.lhs, equation.rhs):
        for phrase in unsupported(side):
            raise UnsupportedError(
                f"An equation contains {phrase}, which has no equivalent in JAX.",
                where=equation.located,
                remedy=_instead(side),
            )


def _instead(expression: sp.Expr) -> str:
    """What to write in place of something unsupported."""
    if expression.has(sp.Derivative):
        return "write derivatives with respect to time as D(x), higher ones as D(x, 2)"
    if unknown := sorted(expression.atoms(AppliedUndef), key=str):
        name = unknown[0].func.__name__
        return f'declare it as a state, {name} = sd.state("{name}", ...), and write {name} in place of {unknown[0]}'
    if expression.has(sp.I):
        return "write the real and the imaginary part as two states"
    return "rewrite it by functions of symdeq.model.functions.SUPPORTED"


def _check_observed(system: System) -> None:
    defined: dict[sp.Basic, Equation] = {}
    for equation in system.observed:
        if not isinstance(equation.lhs, State):
            raise ModelError(
                "The left side of an observed quantity must be a symbol.",
                where=equation.located,
                remedy='write observed={"name": expression}, or move it to the equations',
            )
        if equation.lhs in defined:
            raise ModelError(
                f"The observed quantity `{equation.lhs}` is defined twice.",
                where=f"{defined[equation.lhs].located}\n{equation.located}",
                remedy="remove one, or give it another name",
            )
        defined[equation.lhs] = equation
    needs = {name: {s for s in _states_too(e, e.rhs) if s in defined} for name, e in defined.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        names = error.args[1]
        raise ModelError(
            f"Observed quantities are defined by each other: {' -> '.join(f'`{s}`' for s in names)}.",
            where="\n".join(defined[s].located for s in dict.fromkeys(names)),
            remedy="write them as equations, which are solved together",
        ) from None


def _check_names(system: System) -> None:
    seen: dict[str, ModelSymbol] = {}
    symbols: Iterable[ModelSymbol] = (*system.states, *system.params, *(e.lhs for e in system.observed))  # pyright: ignore[reportAssignmentType]
    _check_networks(system, {s.name for s in symbols})
    for symbol in symbols:
        other = seen.setdefault(symbol.name, symbol)
        if other != symbol:
            users = [e for e in (*system.equations, *system.observed) if {symbol, other} & _states_too(e)]
            raise ModelError(
                f"Two different symbols are named `{symbol.name}`: {_described(other)} and {_described(symbol)}.",
                where="\n".join(e.located for e in users) or None,
                remedy="declare it once, or give one of them another name",
            )


def _check_networks(system: System, taken: set[str]) -> None:
    written = (*system.equations, *system.observed, *system.history)
    networks = networks_in(*(side for e in written for side in (e.lhs, e.rhs)))
    for i, network in enumerate(networks):
        other = networks[i - 1]
        if i and other.name == network.name:
            raise ModelError(
                f"Two different networks are named `{network.name}`.",
                where="\n".join(e.located for e in written if {network, other} & set(networks_in(e.lhs, e.rhs))),
                remedy="declare it once, or give one of them another name",
            )
        if network.name in taken:
            raise ModelError(
                f"A network and a symbol are both named `{network.name}`.", remedy="give one of them another name"
            )


def _states_too(equation: Equation, side: sp.Expr | None = None) -> set[sp.Symbol]:
    """The symbols of an equation, or of one side, with the state in place of its derivatives."""
    symbols = equation.symbols if side is None else side.free_symbols
    return {s.state if isinstance(s, TimeDerivative) else s for s in symbols}  # pyright: ignore[reportReturnType]


def _described(symbol: ModelSymbol) -> str:
    kind = "a parameter" if isinstance(symbol, Parameter) else "a state"
    facts = [f"{field} {_shown(value)}" for field, value in symbol.facts]
    return f"{kind} with {', '.join(facts)}" if facts else f"{kind} without a value"


def _shown(value: object) -> str:
    value = value.value if isinstance(value, Guess) else value
    return shown(value) if isinstance(value, sp.Basic) else str(value)


def _check_not_trivial(equations: tuple[Equation, ...]) -> None:
    for equation in equations:
        if not any(isinstance(symbol, State | TimeDerivative) for symbol in equation.symbols):
            if equation.lhs == equation.rhs:
                raise _trivial(equation)
            symbols = ", ".join(sorted(f"`{s}`" for s in equation.symbols if not isinstance(s, Time)))
            raise ModelError(
                f"An equation contains no unknown, only {symbols or 'numbers and time'}.",
                where=equation.located,
                remedy="declare what it determines as a state",
            )
        if equation.residual == 0:
            raise _trivial(equation)
        if not any(isinstance(symbol, State | TimeDerivative) for symbol in equation.occurring):
            raise ModelError(
                f"All unknowns cancel in an equation; what remains is 0 = {shown(-equation.residual)}.",
                where=equation.located,
                remedy="correct one of its sides",
            )


def _trivial(equation: Equation) -> ModelError:
    return ModelError(
        "An equation is trivially true.", where=equation.located, remedy="remove it, or correct one of its sides"
    )


def _check_not_twice(equations: tuple[Equation, ...]) -> None:
    seen: dict[frozenset[sp.Symbol], list[Equation]] = {}
    for equation in equations:
        others = seen.setdefault(equation.occurring, [])
        for other in others:
            if other.residual in (equation.residual, -equation.residual):
                raise ModelError(
                    "An equation stands twice.", where=f"{other.located}\n{equation.located}", remedy="remove one"
                )
        others.append(equation)


def _check_initial(system: System) -> None:
    known = {symbol for equation in system.equations for symbol in _states_too(equation)}
    prefixes = tuple(f"{part.name}." for part in system.subsystems)
    defined = {equation.lhs: equation for equation in system.observed}
    for symbol, value in system.initial:
        state = symbol.state if isinstance(symbol, TimeDerivative) else symbol
        if state in defined:
            raise ModelError(
                f"`initial` gives a value for `{symbol}`, which is an observed quantity.",
                where=defined[state].located,
                remedy="remove it: an observed quantity follows from its definition",
            )
        if state not in known and not (prefixes and state.name.startswith(prefixes)):
            raise ModelError(
                f"`initial` gives a value for `{symbol}`, but no equation contains `{state}`.",
                remedy="remove it, or use the state that the equations use",
            )
        check_initial_value(str(symbol), value)
