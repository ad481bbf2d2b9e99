"""The symbols of a model: states, parameters, time, and derivatives with respect to time.

All are real SymPy symbols, so every SymPy function accepts them. SymPy caches plain symbols by name and shares them; ours
are never cached, and two are equal only if name, kind and everything declared about them are equal, so a second declaration of
a name cannot leak into a model that uses the first.
"""

from __future__ import annotations

import itertools
import keyword
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sympy as sp

from symdeq._errors import ModelError

Scale = Literal["linear", "log"]
_SERIAL = itertools.count()
_NAME = re.compile(r"[^\W\d]\w*\Z")


@dataclass(frozen=True)
class Guess:
    """A starting value for an unknown that the equations determine; made by `guess`."""

    value: sp.Expr


def guess(value: float | sp.Expr) -> Guess:
    """Mark an initial value as a guess: where the search for a consistent value starts, not a given.

    Arguments:

    - `value`: a number, or an expression in parameters.

    Returns a `Guess`, to stand where an initial value stands: `sd.states(z=sd.guess(0.5))`.
    """
    return Guess(_number_or_expression(value, "a guess"))


class ModelSymbol(sp.Symbol):
    """A real SymPy symbol that is equal to another only if everything declared about it is equal."""

    __slots__ = ("_declared", "facts", "serial")

    # Counts up as symbols are made: states and parameters of a model are put in this order. Not part of equality.
    serial: int

    # What was declared beside the name, as (field, value) pairs; values are immutable.
    facts: tuple[tuple[str, Any], ...]
    # The same as text: SymPy orders symbols by comparing hashable contents, so they must be of one comparable type.
    _declared: str

    def __new__(cls, name: str, **facts: Any) -> ModelSymbol:
        self = sp.Symbol.__xnew__(cls, name, real=True)
        self.facts = tuple(sorted(facts.items()))
        self._declared = repr(self.facts)
        self.serial = next(_SERIAL)
        return self

    def _hashable_content(self):
        return (*super()._hashable_content(), self._declared)

    def __getnewargs_ex__(self):
        return (self.name,), dict(self.facts)

    def __getstate__(self):
        return None

    def fact(self, field: str) -> Any:
        """One declared property, or `None`."""
        return dict(self.facts).get(field)

    def renamed(self, name: str, replacements: Mapping[sp.Basic, sp.Basic] = {}) -> ModelSymbol:  # noqa: B006
        """The same symbol under another name, with `replacements` made in an initial value that is an expression."""
        facts = {field: _replaced(value, replacements) for field, value in self.facts}
        symbol = type(self)(name, **facts)
        symbol.serial = self.serial
        return symbol

    @property
    def description(self) -> str:
        return self.fact("description") or ""

    @property
    def unit(self) -> str | None:
        return self.fact("unit")


class State(ModelSymbol):
    """An unknown function of time. Whether it is differential or algebraic, the compiler finds out."""

    __slots__ = ()

    @property
    def initial(self) -> sp.Expr | Guess | None:
        """The initial value as declared: an expression, a `Guess`, or `None`."""
        return self.fact("initial")


class Parameter(ModelSymbol):
    """A constant with a default value that may be replaced, fitted or differentiated."""

    __slots__ = ()

    @property
    def value(self) -> float:
        value = self.fact("value")
        return math.nan if value is None else value

    @property
    def bounds(self) -> tuple[float, float]:
        return self.fact("bounds") or (-math.inf, math.inf)

    @property
    def scale(self) -> Scale:
        return self.fact("scale") or "linear"


class Time(ModelSymbol):
    """The independent variable."""

    __slots__ = ()


class TimeDerivative(ModelSymbol):
    """The derivative of one state with respect to time, of some order; made by `D`."""

    __slots__ = ()

    def __new__(cls, name: str | None = None, *, state: State, order: int) -> TimeDerivative:
        del name  # follows from the state; accepted so that all symbols are rebuilt alike
        text = f"D({state.name})" if order == 1 else f"D({state.name}, {order})"
        return super().__new__(cls, text, state=state, order=order)  # pyright: ignore[reportReturnType]

    @property
    def state(self) -> State:
        return self.fact("state")

    @property
    def order(self) -> int:
        return self.fact("order")


t = Time("t")


def D(expression: Any, order: int = 1) -> sp.Expr:
    """The derivative with respect to time.

    Arguments:

    - `expression`: a state, a derivative, or any expression of states, parameters and `t`; a product or a function is
        differentiated by the chain rule.
    - `order`: how many times, at least 1; default 1.

    Returns a SymPy expression. `D(D(x))` is `D(x, 2)`; the derivative of a parameter is 0, that of `t` is 1.
    """
    if isinstance(order, bool) or not isinstance(order, numbers.Integral) or order < 1:
        raise ModelError(f"The order of a derivative must be a whole number from 1 on, not {order!r}.")
    result = _number_or_expression(expression, "the argument of D")
    for _ in range(int(order)):
        result = total_derivative(result)
    return result


def total_derivative(expression: sp.Expr) -> sp.Expr:
    if isinstance(expression, State):
        return TimeDerivative(state=expression, order=1)
    if isinstance(expression, TimeDerivative):
        return TimeDerivative(state=expression.state, order=expression.order + 1)
    parts = [sp.diff(expression, t)]
    for symbol in sorted(expression.free_symbols, key=lambda s: s.name):  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(symbol, State | TimeDerivative):
            parts.append(sp.diff(expression, symbol) * total_derivative(symbol))
        elif not isinstance(symbol, Parameter | Time):
            raise ModelError(
                f"`{symbol}` is not declared, so D({expression}) cannot be formed.",
                remedy=f'declare it: {symbol} = sd.state("{symbol}", ...) or sd.parameter("{symbol}", ...)',
            )
    return sp.Add(*parts)


def state(name: str, initial: Any = None, *, unit: str | None = None, description: str = "") -> State:
    """Declare one unknown function of time.

    Arguments:

    - `name`: letters, digits and underscores; it is how results, prints and errors name it.
    - `initial`: the value at `t0`: a number, an expression in parameters, `sd.guess(v)` where the equations determine it,
        or `None` (default) where the equations determine it or `y0=` will give it.
    - `unit`: such as `"mol/L"`, or `None` (default): unchecked.
    - `description`: one line of what it is.

    Returns a `State`, a SymPy symbol. Raises `ModelError` for a bad name, value or unit.
    """
    _check_name(name)
    if initial is not None and not isinstance(initial, Guess):
        initial = _number_or_expression(initial, f"the initial value of `{name}`")
        _check_initial(name, initial)
    return State(name, **_given(initial=initial, unit=_checked_unit(name, unit), description=description or None))


def states(**initial: Any) -> tuple[State, ...]:
    """Declare several states: `x, y = sd.states(x=1.0, y=a/2)`; see `state` for what an initial value may be.

    Returns the states in the order written, always as a tuple.
    """
    return tuple(state(name, value) for name, value in initial.items())


def parameter(
    name: str,
    value: float | None = None,
    *,
    bounds: tuple[float | None, float | None] | None = None,
    scale: Scale = "linear",
    unit: str | None = None,
    description: str = "",
) -> Parameter:
    """Declare one constant.

    Arguments:

    - `name`: as in `state`.
    - `value`: the default value, a finite number; `None` (default) if it must be given by `model.replace` before solving.
    - `bounds`: lowest and highest value in a fit; `None` at either end, or as a whole (default), is unbounded. Solving does not
        enforce them; a default value outside them is an error.
    - `scale`: `"linear"` (default) or `"log"`: the coordinate in which a fit searches; `"log"` needs positive values.
    - `unit`, `description`: as in `state`.

    Returns a `Parameter`, a SymPy symbol. Raises `ModelError` for a value outside its bounds, a log scale that reaches zero, or a bad unit.
    """
    _check_name(name)
    number = None if value is None else _finite(value, f"the value of parameter `{name}`")
    if scale not in ("linear", "log"):
        raise ModelError(f'The scale of parameter `{name}` must be "linear" or "log", not {scale!r}.')
    limits = None if bounds is None else _checked_bounds(name, number, bounds)
    if scale == "log" and ((number is not None and number <= 0) or (limits is not None and limits[1] <= 0)):
        raise ModelError(
            f"Parameter `{name}` has a logarithmic scale but a value or bounds that are not positive.",
            remedy='give a positive value and bounds, or scale="linear"',
        )
    return Parameter(
        name,
        **_given(
            value=number,
            bounds=limits,
            scale=None if scale == "linear" else scale,
            unit=_checked_unit(name, unit),
            description=description or None,
        ),
    )


def parameters(**values: float | None) -> tuple[Parameter, ...]:
    """Declare several parameters: `a, b = sd.parameters(a=1.5, b=1.0)`; returns them in the order written, always as a tuple."""
    return tuple(parameter(name, value) for name, value in values.items())


def _given(**facts: Any) -> dict[str, Any]:
    return {field: value for field, value in facts.items() if value is not None}


def _replaced(value: Any, replacements: Mapping[sp.Basic, sp.Basic]) -> Any:
    if isinstance(value, Guess):
        return Guess(value.value.xreplace(replacements))
    if isinstance(value, sp.Basic):
        return value.xreplace(replacements)
    return value


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not _NAME.match(name) or keyword.iskeyword(name):
        raise ModelError(
            f"{name!r} cannot be the name of a symbol.",
            remedy="use letters, digits and underscores, starting with a letter, and no Python keyword",
        )
    if name == "t":
        raise ModelError("`t` is the name of time.", remedy="use `from symdeq import t`, or another name")


def _number_or_expression(value: Any, role: str) -> sp.Expr:
    if isinstance(value, sp.Expr):
        if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
            raise ModelError(f"{role[0].upper() + role[1:]} is not finite: {value}.")
        return value
    return sp.Float(number) if not (number := _finite(value, role)).is_integer() else sp.Integer(int(number))


def _finite(value: Any, role: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real | sp.Number):
        if not (hasattr(value, "ndim") and value.ndim == 0):
            raise ModelError(f"{role[0].upper() + role[1:]} must be a number, not {value!r}.")
    number = float(value)  # pyright: ignore[reportArgumentType]
    if not math.isfinite(number):
        raise ModelError(f"{role[0].upper() + role[1:]} must be finite, not {number}.")
    return number


def _check_initial(name: str, initial: sp.Expr) -> None:
    for symbol in sorted(initial.free_symbols, key=str):
        if not isinstance(symbol, Parameter):
            raise ModelError(
                f"The initial value of `{name}` uses `{symbol}`, which is not a parameter.",
                where=f"{name}(t0) = {initial}",
                remedy="an initial value may contain numbers and parameters only",
            )


def _checked_bounds(name: str, value: float | None, bounds: Any) -> tuple[float, float]:
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ModelError(f"The bounds of parameter `{name}` must be a pair (low, high), not {bounds!r}.") from None
    low = -math.inf if low is None else float(low)
    high = math.inf if high is None else float(high)
    if not low < high:
        raise ModelError(f"The bounds of parameter `{name}` are empty: {low} is not below {high}.")
    if value is not None and not low <= value <= high:
        raise ModelError(
            f"Parameter `{name}` has the value {value:g}, outside its bounds {low:g} to {high:g}.",
            remedy="widen the bounds or change the value",
        )
    return low, high


def _checked_unit(name: str, unit: str | None) -> str | None:
    if unit is not None:
        from symdeq.model.units import parse_unit  # here, because most models have no units and SymPy's are slow to import

        parse_unit(unit, name)
    return unit
