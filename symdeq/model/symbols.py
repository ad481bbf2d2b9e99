"""The symbols of a model: states, parameters, time, and derivatives with respect to time.

All are real SymPy symbols, so every SymPy function accepts them. SymPy caches plain symbols by name and shares them;
ours are never cached, and two are equal only if name, kind and everything declared about them are equal, so a second
declaration of a name cannot leak into a model that uses the first.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import sympy as sp

from symdeq._errors import ModelError
from symdeq.model.blocks import Component, checked_index
from symdeq.model.values import number_or_expression

Scale = Literal["linear", "log"]
_SERIAL = itertools.count()
_DECLARED: weakref.WeakValueDictionary[tuple[type, str, str], ModelSymbol] = weakref.WeakValueDictionary()


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
