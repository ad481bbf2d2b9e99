"""Units of measurement: read from text, and checked through the equations wherever they are declared.

A unit is a scale factor and powers of base dimensions. A symbol without a unit fits everything, and so does whatever is
computed from it; so units can be declared for a part of a model, and no false alarm is raised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import sympy as sp
import sympy.physics.units as sympy_units
from sympy.physics.units.systems.si import SI, dimsys_SI

from symdeq._errors import ModelError
from symdeq.model.blocks import Component, NetworkValue
from symdeq.model.delayed import DelayedValue
from symdeq.model.equations import Equation
from symdeq.model.symbols import ModelSymbol, Time, TimeDerivative

_FACTOR = re.compile(r"\s*(?:(?P<name>[^\W\d]\w*)|(?P<one>1))\s*(?:(?:\*\*|\^)\s*(?P<power>-?\d+))?\s*")
# Names that SymPy lacks or spells otherwise.
_OTHER_NAMES = {
    "M": ("mol/L", 1),
    "Hz": ("1/s", 1),
    "min": ("minute", 1),
    "L": ("liter", 1),
    "h": ("hour", 1),
    "d": ("day", 1),
}
_PREFIXES = {"n": sp.Rational(1, 10**9), "u": sp.Rational(1, 10**6), "m": sp.Rational(1, 1000), "k": sp.Integer(1000)}


@dataclass(frozen=True)
class Unit:
    """A scale factor to SI units, and the powers of SI's base dimensions."""

    factor: sp.Expr
    powers: tuple[tuple[str, sp.Expr], ...]
    text: str

    def fits(self, other: Unit) -> bool:
        return self.powers == other.powers and (
            self.factor == other.factor or sp.simplify(self.factor - other.factor) == 0
        )

    def __pow__(self, power: sp.Expr) -> Unit:
        powers = tuple((name, value * power) for name, value in self.powers if value * power != 0)
        base = self.text if self.text.isidentifier() else f"({self.text})"
        return Unit(self.factor**power, powers, self.text if power == 1 else f"{base}**{power}")

    def __mul__(self, other: Unit) -> Unit:
        powers = dict(self.powers)
        for name, value in other.powers:
            powers[name] = powers.get(name, sp.Integer(0)) + value
        kept = tuple(sorted((name, value) for name, value in powers.items() if value != 0))
        texts = [text for text in (self.text, other.text) if text != "1"]
        return Unit(self.factor * other.factor, kept, "*".join(texts) or "1")


ONE = Unit(sp.Integer(1), (), "1")


@cache
def parse_unit(text: str, owner: str = "") -> Unit:
    """Read a unit such as `"mol/L"`, `"1/s"` or `"kg*m**2/s^2"`: names joined by `*` and `/`, each with a whole power.

    Arguments:

    - `text`: the unit; names are SymPy's (`m`, `meter`, `s`, `mol`, `liter`, `day`, ...), `M` for mol/L.
    - `owner`: the symbol that it is declared for, named in the error.

    Raises `ModelError` for a name that is no unit.
    """
    result, position, sign = ONE, 0, 1
    while True:
        match = _FACTOR.match(text, position)
        if match is None:
            raise ModelError(
                f"The unit {text!r} of `{owner}` cannot be read.", remedy='write it as "mol/L" or "kg*m**2/s**2"'
            )
        factor = ONE if match["one"] else _named(match["name"], text, owner)
        result = result * factor ** sp.Integer(sign * int(match["power"] or 1))
        position = match.end()
        if position == len(text):
            return Unit(result.factor, result.powers, text.strip())
        if text[position] not in "*/":
            raise ModelError(f"The unit {text!r} of `{owner}` cannot be read.", remedy="join names by * and / only")
        sign = 1 if text[position] == "*" else -1
        position += 1


def _named(name: str, text: str, owner: str) -> Unit:
    if name in _OTHER_NAMES:
        spelled, factor = _OTHER_NAMES[name]
        unit = parse_unit(spelled) if spelled != name else ONE
        return Unit(unit.factor * factor, unit.powers, name)
    found = getattr(sympy_units, name, None)
    if not isinstance(found, sympy_units.Quantity):
        if len(name) > 1 and name[0] in _PREFIXES and _is_unit(name[1:]):
            unit = _named(name[1:], text, owner)
            return Unit(unit.factor * _PREFIXES[name[0]], unit.powers, name)
        raise ModelError(
            f"`{name}` in the unit {text!r} of `{owner}` is not a unit.", remedy="use SymPy's names of units"
        )
    factor, dimension = SI._collect_factor_and_dimension(found)
    powers = dimsys_SI.get_dimensional_dependencies(dimension)
    return Unit(factor, tuple(sorted((str(base.name), sp.sympify(power)) for base, power in powers.items())), name)


def _is_unit(name: str) -> bool:
    return name in _OTHER_NAMES or isinstance(getattr(sympy_units, name, None), sympy_units.Quantity)


def check_units(equations: tuple[Equation, ...], time_unit: str | None) -> None:
    """Raise `ModelError` at the first equation whose declared units do not agree."""
    for equation in equations:
        if not any(_declares_unit(symbol) for symbol in equation.symbols):
            continue
        lhs = _unit_of(equation.lhs, equation, time_unit)
        rhs = _unit_of(equation.rhs, equation, time_unit)
        if lhs is not None and rhs is not None and not lhs.fits(rhs) and 0 not in (equation.lhs, equation.rhs):
            raise _mismatch(f"The sides of an equation have different units: {lhs.text} and {rhs.text}.", equation)


def _declares_unit(symbol: sp.Symbol) -> bool:
    if isinstance(symbol, TimeDerivative):
        return symbol.state.unit is not None
    return isinstance(symbol, ModelSymbol) and symbol.unit is not None


def _mismatch(what: str, equation: Equation) -> ModelError:
    return ModelError(
        what, where=equation.located, remedy="correct the equation, or a unit; a symbol without a unit is not checked"
    )


def _unit_of(expression: sp.Basic, equation: Equation, time_unit: str | None) -> Unit | None:
    """The unit of an expression; `None` where something without a declared unit is in it."""
    recurse = partial(_unit_of, equation=equation, time_unit=time_unit)
    if isinstance(expression, TimeDerivative):
        if expression.state.unit is None or time_unit is None:
            return None
        return parse_unit(expression.state.unit) * parse_unit(time_unit) ** sp.Integer(-expression.order)
    if isinstance(expression, Time):
        return None if time_unit is None else parse_unit(time_unit)
    if isinstance(expression, ModelSymbol):
        return None if expression.unit is None else parse_unit(expression.unit)
    if isinstance(expression, sp.Number | sp.NumberSymbol):
        return ONE
    if isinstance(expression, sp.Mul):
        return _product([recurse(part) for part in expression.args])
    if isinstance(expression, sp.Pow):
        base, exponent = recurse(expression.base), expression.exp
        if base is None:
            return None
        if exponent.is_number:
            return base ** sp.nsimplify(exponent, rational=True)  # m**1.0 is m
        return _agree([base, ONE], expression, equation)
    if isinstance(expression, sp.Add | sp.Min | sp.Max | sp.Abs | sp.Mod | sp.Rel):
        parts = [part for part in expression.args if not (part.is_number and part == 0)]
        unit = _agree([recurse(part) for part in parts], expression, equation)
        return ONE if isinstance(expression, sp.Rel) else unit
    if isinstance(expression, sp.Piecewise):
        branches: Any = expression.args
        for _, condition in branches:
            recurse(condition)
        return _agree([recurse(value) for value, _ in branches if value != 0], expression, equation)
    if isinstance(expression, sp.sign | sp.atan2 | sp.Heaviside):
        for part in expression.args:
            recurse(part)
        return ONE
    if isinstance(expression, NetworkValue):  # which may take and give anything
        return None
    if isinstance(expression, DelayedValue):
        lag = None if expression.lag.is_number else recurse(expression.lag)
        if lag is not None and time_unit is not None and not lag.fits(parse_unit(time_unit)):
            raise _mismatch(f"The lag in `{expression}` has the unit {lag.text}, and time {time_unit}.", equation)
        return recurse(expression.value)
    if isinstance(expression, Component):
        return recurse(expression.vector)
    if expression.args:  # every other function takes and gives pure numbers
        return _agree([ONE, *(recurse(part) for part in expression.args)], expression, equation)
    return None


def _product(units: list[Unit | None]) -> Unit | None:
    result = ONE
    for unit in units:
        if unit is None:
            return None
        result = result * unit
    return result


def _agree(units: list[Unit | None], expression: sp.Basic, equation: Equation) -> Unit | None:
    known = [unit for unit in units if unit is not None]
    for unit in known[1:]:
        if not unit.fits(known[0]):
            raise _mismatch(f"Different units meet in `{expression}`: {known[0].text} and {unit.text}.", equation)
    return known[0] if len(known) == len(units) and known else None
