"""The symbols of a model: states, parameters, time, and derivatives with respect to time.

All are real SymPy symbols, so every SymPy function accepts them. SymPy caches plain symbols by name and shares them;
ours are never cached, and two are equal only if name, kind and everything declared about them are equal, so a second
declaration of a name cannot leak into a model that uses the first.
"""

from __future__ import annotations

import itertools
import keyword
import math
import numbers
import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.blocks import Component, Numbers, checked_index
from symdeq.model.functions import unsupported
from symdeq.model.values import finite, number_or_expression

Scale = Literal["linear", "log"]
_SERIAL = itertools.count()
_DECLARED: weakref.WeakValueDictionary[tuple[type, str, str], ModelSymbol] = weakref.WeakValueDictionary()
_NAME = re.compile(r"[^\W\d]\w*\Z")


@dataclass(frozen=True)
class Guess:
    """A starting value for an unknown that the equations determine; made by `guess`."""

    value: sp.Expr


def guess(value: Any) -> Guess:
    """Mark an initial value as a guess: where the search for a consistent value starts, not a given.

    Arguments:

    - `value`: a number, or an expression in parameters.

    Returns a `Guess`, to stand where an initial value stands: `sd.states(z=sd.guess(0.5))`.
    """
    return Guess(number_or_expression(value, "a guess"))


class ModelSymbol(sp.Symbol):
    """A real SymPy symbol, equal to another if everything declared about it is equal; equal ones are one object."""

    __slots__ = ("__weakref__", "_declared", "facts", "serial")

    # Counts up with every declaration: states and parameters of a model are put in this order. Not part of equality.
    serial: int

    # What was declared beside the name, as (field, value) pairs; values are immutable.
    facts: tuple[tuple[str, Any], ...]
    # The same as text: SymPy orders symbols by comparing hashable contents, so they must be of one comparable type.
    _declared: str

    def __new__(cls, name: str, **facts: Any) -> Self:
        given = tuple(sorted(facts.items()))
        declared = "; ".join(f"{field}={_full_text(value)}" for field, value in given)
        # SymPy caches expressions and may return one that was built of symbols declared earlier. If those were equal
        # without being the same object, the order of declaration, and with it the state vector, would depend on what
        # had been built before.
        known = _DECLARED.get((cls, name, declared))
        if known is not None:
            return known  # pyright: ignore[reportReturnType]
        self = sp.Symbol.__xnew__(cls, name, real=True)
        self.facts = given
        self._declared = declared
        self.serial = next(_SERIAL)
        _DECLARED[cls, name, declared] = self
        return self

    def _hashable_content(self):
        return (*super()._hashable_content(), self._declared)

    def __getnewargs_ex__(self):
        return (self.name,), dict(self.facts)

    def __getstate__(self):
        return None

    def declared_now(self) -> Self:
        """The symbol, moved to the end of the order of declaration."""
        self.serial = next(_SERIAL)
        return self

    def fact(self, field: str) -> Any:
        """One declared property, or `None`."""
        return dict(self.facts).get(field)

    def prefixed(self, prefix: str) -> Self:
        """The same symbol as a part of something larger: `prefix` before its name and those in its initial value."""
        inner = {
            s: s.prefixed(prefix) for _, value in self.facts for s in symbols_in(value) if isinstance(s, ModelSymbol)
        }
        facts = {field: replaced(value, inner) for field, value in self.facts}
        return type(self)(prefix + self.name, **facts)  # pyright: ignore[reportReturnType]

    @property
    def description(self) -> str:
        return self.fact("description") or ""

    @property
    def unit(self) -> str | None:
        return self.fact("unit")


class State(ModelSymbol):
    """An unknown function of time. Whether it is differential or algebraic, the compiler finds out."""

    __slots__ = ()

    _iterable = False  # for SymPy, although vectors can be indexed and unpacked

    @property
    def initial(self) -> sp.Expr | Guess | None:
        """The initial value as declared: an expression (for a vector perhaps a tuple), a `Guess`, or `None`."""
        return self.fact("initial")

    @property
    def shape(self) -> tuple[int, ...]:
        """`()` for a number, `(n,)` for a vector."""
        return self.fact("shape") or ()

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    # Unpacking goes by this as well: SymPy takes whatever has an `__iter__` for a sequence.
    def __getitem__(self, index: Any) -> Component:
        if not self.shape:
            raise ModelError(
                f"`{self.name}` is one number and has no parts.",
                remedy=f'declare a vector: sd.state("{self.name}", ..., shape=(n,))',
            )
        return Component(self, checked_index(index, self.size, self.name))


def like(state: State, name: str, description: str) -> State:
    """A new state of the same shape."""
    facts = {"shape": state.shape} if state.shape else {}
    return State(name, description=description, **facts)  # pyright: ignore[reportReturnType]


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
    def shape(self) -> tuple[int, ...]:
        return self.state.shape

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
        raise ModelError(
            f"The order of a derivative must be a whole number from 1 on, not {order!r}.",
            remedy="D(x) is the first derivative, D(x, 2) the second",
        )
    result = number_or_expression(expression, "the argument of D")
    for _ in range(int(order)):
        result = total_derivative(result)
    return result


def total_derivative(expression: sp.Expr) -> sp.Expr:
    """The first derivative with respect to time, by the chain rule: what `D` applies once an order."""
    if isinstance(expression, State):
        return TimeDerivative(state=expression, order=1)
    if isinstance(expression, TimeDerivative):
        return TimeDerivative(state=expression.state, order=expression.order + 1)
    from symdeq.model.noise import Brownian, WhiteNoise  # which is made of these symbols

    if isinstance(expression, Brownian):
        return WhiteNoise(brownian=expression)
    _check_no_noise(expression, (Brownian, WhiteNoise))
    # One number of a vector is a variable of its own: its derivative is that number of the vector's derivative.
    numbers = {part: sp.Dummy(real=True) for part in sorted(expression.atoms(Component), key=str)}
    expression = replaced(expression, numbers)
    back = {dummy: part for part, dummy in numbers.items()}
    rates = {dummy: Component(total_derivative(part.vector), part.index) for part, dummy in numbers.items()}
    parts = [sp.diff(expression, t), *(sp.diff(expression, dummy) * rate for dummy, rate in rates.items())]
    for symbol in sorted(expression.free_symbols, key=lambda s: s.name):  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(symbol, State | TimeDerivative):
            parts.append(sp.diff(expression, symbol) * total_derivative(symbol))
        elif not isinstance(symbol, Parameter | Time) and symbol not in back:
            raise ModelError(
                f"`{symbol}` is not declared, so D({expression}) cannot be formed.",
                remedy=f'declare it: {symbol} = sd.state("{symbol}", ...) or sd.parameter("{symbol}", ...)',
            )
    return replaced(sp.Add(*parts), back)


def _check_no_noise(expression: sp.Expr, kinds: tuple[type, ...]) -> None:
    for symbol in sorted(expression.free_symbols, key=str):
        if isinstance(symbol, kinds):
            raise ModelError(
                f"D({expression}) has no meaning with the Brownian motion in it: the chain rule does not hold.",
                remedy="write D(W) of a motion alone, times its coefficient",
            )


def state(name: str, initial: Any = None, *, shape: Any = (), unit: str | None = None, description: str = "") -> State:
    """Declare one unknown function of time.

    Arguments:

    - `name`: letters, digits and underscores; it is how results, prints and errors name it.
    - `initial`: the value at `t0`: a number, an expression in parameters, `sd.guess(v)` where the equations determine
        it, or `None` (default) where the equations determine it or `y0=` will give it. For a vector one value for
        all its elements, or a sequence of numbers.
    - `shape`: `()` (default) for a number, `(n,)` for a vector of n, which stays whole: operations and functions act on
        it element by element, networks are called with it, and `h[0]` is one of its numbers.
    - `unit`: such as `"mol/L"`, or `None` (default): unchecked.
    - `description`: one line of what it is.

    Returns a `State`, a SymPy symbol. Raises `ModelError` for a bad name, value or unit.
    """
    check_name(name)
    shape = _checked_shape(name, shape)
    if initial is not None and not isinstance(initial, Guess):
        initial = initial_value(initial, f"the initial value of `{name}`", shape)
    check_initial_value(name, initial)
    facts = _given(
        initial=initial, shape=shape or None, unit=_checked_unit(name, unit), description=description or None
    )
    return State(name, **facts).declared_now()  # pyright: ignore[reportReturnType]


def states(**initial: Any) -> tuple[State, ...]:
    """Declare several states: `x, y = sd.states(x=1.0, y=a/2)`; see `state` for what an initial value may be.

    Returns the states in the order written, always as a tuple.
    """
    return tuple(state(name, value) for name, value in initial.items())


def parameter(
    name: str,
    value: Any = None,
    *,
    bounds: Any = None,
    scale: Scale = "linear",
    unit: str | None = None,
    description: str = "",
) -> Parameter:
    """Declare one constant.

    Arguments:

    - `name`: as in `state`.
    - `value`: the default value, a finite number; `None` (default) if it must be given by `model.replace` before
        solving.
    - `bounds`: a pair, lowest and highest value in a fit; `None` at either end, or as a whole (default), is unbounded.
        Solving does not enforce them; a default value outside them is an error.
    - `scale`: `"linear"` (default) or `"log"`: the coordinate in which a fit searches; `"log"` needs positive values.
    - `unit`, `description`: as in `state`.

    Returns a `Parameter`, a SymPy symbol. Raises `ModelError` for a value outside its bounds, a log scale that reaches
    zero, or a bad unit.
    """
    check_name(name)
    number = None if value is None else finite(value, f"the value of parameter `{name}`")
    if scale not in ("linear", "log"):
        raise ModelError(f'The scale of parameter `{name}` must be "linear" or "log", not {scale!r}.')
    limits = None if bounds is None else _checked_bounds(name, number, bounds)
    if scale == "log" and not _fits_log_scale(number, limits):
        raise ModelError(
            f"Parameter `{name}` has a logarithmic scale but a value or bounds that are not positive.",
            remedy='give a positive value and bounds, or scale="linear"',
        )
    facts = _given(
        value=number,
        bounds=limits,
        scale=None if scale == "linear" else scale,
        unit=_checked_unit(name, unit),
        description=description or None,
    )
    return Parameter(name, **facts).declared_now()  # pyright: ignore[reportReturnType]


def parameters(**values: Any) -> tuple[Parameter, ...]:
    """Declare several parameters: `a, b = sd.parameters(a=1.5, b=1.0)`; returns a tuple in that order."""
    return tuple(parameter(name, value) for name, value in values.items())


def _given(**facts: Any) -> dict[str, Any]:
    return {field: value for field, value in facts.items() if value is not None}


def replaced(value: Any, replacements: Mapping[Any, Any]) -> Any:
    """A declared value with symbols exchanged: an expression, a guess of one, or anything else as it is."""
    if isinstance(value, Guess):
        return Guess(value.value.xreplace(replacements))  # pyright: ignore[reportArgumentType]
    return value.xreplace(replacements) if isinstance(value, sp.Basic) else value


def symbols_in(value: Any) -> set[sp.Basic]:
    """The symbols in a declared value; none in one that is no expression."""
    if isinstance(value, Guess):
        value = value.value
    return value.free_symbols if isinstance(value, sp.Basic) else set()


def _full_text(value: Any) -> str:
    """A declared value as text that is equal for equal values only: all digits, all that symbols are declared with."""
    if isinstance(value, Guess):
        return f"guess({_full_text(value.value)})"
    if isinstance(value, ModelSymbol):
        return f"{type(value).__name__} {value.name} [{value._declared}]"
    if isinstance(value, sp.Basic):
        symbols = sorted(value.free_symbols, key=lambda s: s.sort_key())  # pyright: ignore[reportAttributeAccessIssue]
        return " ".join([sp.srepr(value), *(_full_text(s) for s in symbols if isinstance(s, ModelSymbol))])
    return repr(value)


def initial_value(value: Any, role: str, shape: tuple[int, ...]) -> sp.Expr:
    """An initial value as an expression, or for a vector as a tuple of numbers."""
    if not shape or isinstance(value, sp.Expr) or not hasattr(value, "__len__") or isinstance(value, str):
        return number_or_expression(value, role)
    if len(value) != shape[0]:
        raise ModelError(
            f"{role[0].upper()}{role[1:]} has {len(value)} elements, but the shape is {shape}.",
            remedy=f"give {shape[0]} numbers, or one for all",
        )
    return Numbers(*(sp.Float(finite(v, f"element {i} of {role}")) for i, v in enumerate(value)))


def _checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, numbers.Integral) and not isinstance(shape, bool) else shape
    is_sizes = isinstance(sizes, tuple | list) and all(
        isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) > 0 for n in sizes
    )
    if not is_sizes or len(sizes) > 1:
        raise ModelError(
            f"The shape of `{name}` must be () or (n,), not {shape!r}.",
            remedy="a state is a number or a vector; reshape matrices into vectors",
        )
    return tuple(int(n) for n in sizes)


def check_name(name: str) -> None:
    """Raise `ModelError` unless a symbol may be named so."""
    if not isinstance(name, str) or not _NAME.match(name) or keyword.iskeyword(name):
        raise ModelError(
            f"{name!r} cannot be the name of a symbol.",
            remedy="use letters, digits and underscores, starting with a letter, and no Python keyword",
        )
    if name == "t":
        raise ModelError("`t` is the name of time.", remedy="use `from symdeq import t`, or another name")


def check_initial_value(name: str, value: sp.Expr | Guess | None) -> None:
    """Raise `ModelError` for an initial value that is more than numbers, parameters and functions that JAX has."""
    if value is None:
        return
    expression = value.value if isinstance(value, Guess) else value
    where = f"{name}(t0) = {expression}"
    for symbol in sorted(expression.free_symbols, key=str):
        if not isinstance(symbol, Parameter):
            raise ModelError(
                f"The initial value of `{name}` uses `{symbol}`, which is not a parameter.",
                where=where,
                remedy="an initial value may contain numbers and parameters only",
            )
    for phrase in unsupported(expression):
        raise UnsupportedError(
            f"The initial value of `{name}` contains {phrase}, which has no equivalent in JAX.",
            where=where,
            remedy="rewrite it by functions of symdeq.model.functions.SUPPORTED",
        )


def _checked_bounds(name: str, value: float | None, bounds: Any) -> tuple[float, float]:
    if isinstance(bounds, str) or not hasattr(bounds, "__len__") or len(bounds) != 2:
        raise ModelError(f"The bounds of parameter `{name}` must be a pair (low, high), not {bounds!r}.")
    low, high = (_bound(name, bound, otherwise) for bound, otherwise in zip(bounds, (-math.inf, math.inf), strict=True))
    if not low < high:
        raise ModelError(f"The bounds of parameter `{name}` are empty: {low} is not below {high}.")
    if value is not None and not low <= value <= high:
        raise ModelError(
            f"Parameter `{name}` has the value {value:g}, outside its bounds {low:g} to {high:g}.",
            remedy="widen the bounds or change the value",
        )
    return low, high


def _fits_log_scale(value: float | None, limits: tuple[float, float] | None) -> bool:
    low, high = limits or (0.0, math.inf)
    return (value is None or value > 0) and high > 0 and (low >= 0 or math.isinf(low))


def _bound(name: str, bound: Any, otherwise: float) -> float:
    if bound is None or (isinstance(bound, float) and math.isinf(bound)):
        return otherwise if bound is None else bound
    return finite(bound, f"a bound of parameter `{name}`")


def _checked_unit(name: str, unit: Any) -> str | None:
    if unit is not None:
        from symdeq.model.units import (
            parse_unit,
        )  # here, because most models have no units and SymPy's are slow to import

        if not isinstance(unit, str):
            raise ModelError(f"The unit of `{name}` must be text, not {unit!r}.", remedy='write it as "mol/L"')
        parse_unit(unit, name)
    return unit
