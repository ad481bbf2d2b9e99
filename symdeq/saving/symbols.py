"""The symbols of a file: one table, in which each has all that was declared about it, and their order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import pairwise
from typing import Any

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import (
    Brownian,
    Guess,
    Mark,
    ModelSymbol,
    Network,
    Parameter,
    Poisson,
    Pulses,
    State,
    Time,
    TimeDerivative,
    WhiteNoise,
    mark,
    poisson,
    shape_of,
    t,
)
from symdeq.model.declare import check_initial_value, check_name
from symdeq.saving import expressions, plain
from symdeq.saving.fields import checked, damaged, field, line, listed, position

# Numbers of all states together: more than any solve has room for.
_LONGEST_STATE = 2**26
# What has a place of its own in the order of declaration.
_ORDERED = State | Parameter | Brownian | Poisson | Mark
_KINDS: dict[str, type[State] | type[Parameter]] = {"State": State, "Parameter": Parameter}


@dataclass(frozen=True)
class SymbolWriter:
    """The table while a file is written; whatever refers to a symbol asks for its position and thereby enters it."""

    positions: dict[ModelSymbol, int] = dataclass_field(default_factory=dict)
    entries: list[dict[str, Any]] = dataclass_field(default_factory=list)

    def position(self, symbol: ModelSymbol) -> int:
        """Where a symbol stands; what it is declared with stands before it."""
        if symbol not in self.positions:
            entry = self._entry(symbol)
            self.positions[symbol] = len(self.entries)
            self.entries.append(entry)
        return self.positions[symbol]

    def _entry(self, symbol: ModelSymbol) -> dict[str, Any]:
        if isinstance(symbol, TimeDerivative):
            return {"kind": "TimeDerivative", "state": self.position(symbol.state), "order": symbol.order}
        if isinstance(symbol, Time):
            return {"kind": "Time"}
        if isinstance(symbol, Brownian):
            return {"kind": "Brownian", "name": symbol.name}
        if isinstance(symbol, WhiteNoise):
            return {"kind": "WhiteNoise", "brownian": self.position(symbol.brownian)}
        if isinstance(symbol, Poisson):
            return {"kind": "Poisson", "name": symbol.name, "rate": self._expression(symbol.rate)}
        if isinstance(symbol, Pulses):
            return {"kind": "Pulses", "process": self.position(symbol.process)}
        if isinstance(symbol, Mark):
            process, distribution = self.position(symbol.process), symbol.distribution
            return {"kind": "Mark", "name": symbol.name, "process": process, "distribution": distribution}
        if _KINDS.get(type(symbol).__name__) is not type(symbol):
            raise UnsupportedError(f"`{symbol}` is a {type(symbol).__name__}, which cannot be saved.")
        facts = {
            name: plain.to_data(value, self._expression, of=f"the declaration of `{symbol}`")
            for name, value in symbol.facts
        }
        return {"kind": type(symbol).__name__, "name": symbol.name, **({"facts": facts} if facts else {})}

    def _expression(self, expression: sp.Basic) -> Any:
        return expressions.to_data(expression, self.position, _no_network)

    @property
    def order(self) -> list[int]:
        """The positions by order of declaration."""
        known = [s for s in self.positions if isinstance(s, _ORDERED)]
        return [self.positions[s] for s in sorted(known, key=lambda s: s.serial)]


def _no_network(network: Network) -> int:
    raise UnsupportedError(
        f"An initial value contains the network `{network}`.", remedy="use numbers and parameters only"
    )


def read_symbols(entries: Any, order: Any) -> tuple[ModelSymbol, ...]:
    """The symbols of a table, in its order, with their order of declaration restored.

    Where the same symbols are declared already, it is those; their order is touched only if it is another one.
    Raises `ModelError` for a table that cannot be right.
    """
    symbols: list[ModelSymbol] = []
    for entry in listed(entries, dict, "the symbols"):
        symbols.append(_symbol(entry, symbols))
    if sum(symbol.size for symbol in symbols if isinstance(symbol, State)) > _LONGEST_STATE:
        raise damaged(f"its states have more than {_LONGEST_STATE} numbers")
    places = [
        position(place, len(symbols), "a symbol in the order of declaration")
        for place in checked(order, list, "the order of declaration")
    ]
    declared = [symbols[place] for place in places]
    if len(set(places)) != len(places) or any(not isinstance(s, _ORDERED) for s in declared):
        raise damaged("the order of declaration is none")
    if any(a.serial > b.serial for a, b in pairwise(declared)):
        for symbol in declared:
            symbol.declared_now()
    return tuple(symbols)


def _symbol(entry: dict[str, Any], before: list[ModelSymbol]) -> ModelSymbol:
    kind = field(entry, "kind", str, "a symbol")
    if kind == "Time":
        return t
    if kind == "TimeDerivative":
        state = before[position(field(entry, "state", int, "a derivative"), len(before), "the state of a derivative")]
        order = field(entry, "order", int, "a derivative")
        if not isinstance(state, State) or not 1 <= order <= 1000:
            raise damaged(f"D({state}, {order}) is no derivative of a state")
        return TimeDerivative(state=state, order=order)
    if kind == "WhiteNoise":
        place = position(field(entry, "brownian", int, "a noise"), len(before), "the motion of a noise")
        motion = before[place]
        if not isinstance(motion, Brownian):
            raise damaged(f"`{motion}` is no Brownian motion")
        return WhiteNoise(brownian=motion)
    if kind == "Brownian":
        return Brownian(_name(field(entry, "name", str, "a symbol")))
    if kind in ("Poisson", "Pulses", "Mark"):
        return _of_jumps(kind, entry, before)
    if kind not in _KINDS:
        raise damaged(f"a symbol is of the unknown kind {kind[:40]!r}")
    name = _name(field(entry, "name", str, "a symbol"))
    tables = expressions.Tables(symbols=before)

    def expression(data: Any) -> sp.Basic:
        return expressions.from_data(data, tables)

    facts = {
        fact: plain.from_data(value, expression, of=f"`{fact}` of `{name}`")
        for fact, value in checked(entry.get("facts", {}), dict, f"the declaration of `{name}`").items()
    }
    for fact, value in facts.items():
        if not fact.isidentifier() or fact in ("cls", "name") or not _FACTS.get(fact, _is_anything)(value):
            raise damaged(f"`{name}` is declared with an impossible `{fact[:40]}`")
    check_initial(name, facts.get("initial"), facts.get("shape", ()))
    return _KINDS[kind](name, **facts)


def _of_jumps(kind: str, entry: dict[str, Any], before: list[ModelSymbol]) -> ModelSymbol:
    """A Poisson process, its derivative, or a mark of it."""
    if kind == "Poisson":
        rate = expressions.from_data(field(entry, "rate", object, "a process"), expressions.Tables(symbols=before))
        return poisson(_name(field(entry, "name", str, "a symbol")), rate)
    place = position(field(entry, "process", int, "a jump"), len(before), "the process of a jump")
    process = before[place]
    if not isinstance(process, Poisson):
        raise damaged(f"`{process}` is no Poisson process")
    if kind == "Pulses":
        return Pulses(process=process)
    name, distribution = (field(entry, part, str, "a mark") for part in ("name", "distribution"))
    return mark(_name(name), process, distribution)  # pyright: ignore[reportArgumentType]


def check_initial(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise `ModelError` for what is no initial value of a state of this shape."""
    if value is not None and not isinstance(value, sp.Expr | Guess):
        raise damaged(f"the initial value of `{name}` is none")
    if value is not None and shape_of(value.value if isinstance(value, Guess) else value) not in ((), shape):
        raise damaged(f"the initial value of `{name}` is a vector that does not fit the shape {shape}")
    check_initial_value(name, value)


def _name(name: str) -> str:
    """A name, of a part of a system perhaps: `part.x`."""
    line(name, "the name of a symbol")
    try:
        for part in name.split("."):
            check_name(part)
    except ModelError:
        raise damaged(f"{name[:40]!r} is the name of a symbol") from None
    return name


def _is_anything(value: Any) -> bool:
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str)


def _are_bounds(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(v, float) for v in value)
        and value[0] < value[1]
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value)


# What a fact must be, if it is one of those that symdeq reads; others are kept as they are.
_FACTS: dict[str, Callable[[Any], bool]] = {
    "value": _is_number,
    "bounds": _are_bounds,
    "scale": lambda value: value in ("linear", "log"),
    "unit": _is_line,
    "description": _is_line,
    "shape": _is_shape,
}
