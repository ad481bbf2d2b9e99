"""A declared system as data: equations, subsystems and all, with the lines where the user wrote them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import sympy as sp

from symdeq._errors import UnsupportedError
from symdeq.model import Equation, ModelSymbol, Network, Origin, Parameter, Stage, State, System, TimeDerivative
from symdeq.saving import expressions, plain
from symdeq.saving.expressions import Tables
from symdeq.saving.fields import as_line, checked, damaged, field, line, listed, position
from symdeq.saving.symbols import SymbolWriter, check_initial

# What is saved of a system, and what follows from that.
_SAVED = {"equations", "name", "subsystems", "observed", "initial", "time_unit", "calculus", "states", "params"} | {
    "history"
}
_FOLLOWS = {"networks", "stage", "structure"}


@dataclass(frozen=True)
class NetworkTable:
    """The networks that a model calls, each by its name in the compiled model: `part.net` in a subsystem."""

    names: list[str]
    outputs: list[int]

    def position(self, network: Network, prefix: str) -> int:
        """Where a network stands, which is called `network` in the subsystem `prefix`."""
        name = prefix + network.name
        if name not in self.names:
            self.names.append(name)
            self.outputs.append(network.outputs)
        return self.names.index(name)


def to_data(system: System, symbols: SymbolWriter, networks: NetworkTable, prefix: str = "") -> dict[str, Any]:
    """A system as data; its symbols and networks enter their tables.

    Raises `UnsupportedError` for what a file cannot hold.
    """
    _check_complete(system)

    def network(called: Network) -> int:
        return networks.position(called, prefix)

    def expression(value: sp.Basic) -> Any:
        return expressions.to_data(value, symbols.position, network)

    def equation(written: Equation) -> list[Any]:
        origins = [[_file_name(o.file), o.line, as_line(o.text)] for o in written.origins]
        return [expression(written.lhs), expression(written.rhs), origins]

    return {
        "name": system.name,
        "time_unit": system.time_unit,
        **({} if system.calculus == "ito" else {"calculus": system.calculus}),
        **({"history": [equation(e) for e in system.history]} if system.history else {}),
        "states": [symbols.position(s) for s in system.states],
        "params": [symbols.position(p) for p in system.params],
        "equations": [equation(e) for e in system.equations],
        "observed": [equation(e) for e in system.observed],
        "initial": [[symbols.position(s), plain.to_data(v, expression)] for s, v in system.initial],
        "subsystems": [to_data(part, symbols, networks, f"{prefix}{part.name}.") for part in system.subsystems],
    }


def _check_complete(system: System) -> None:
    if system.stage is not Stage.DECLARED:
        raise UnsupportedError(
            f"The model was compiled from a system that passes had worked on (stage {system.stage.name.lower()}).",
            remedy="compile the system as it was declared, and save that model",
        )
    for each in dataclasses.fields(system):
        if each.name not in _SAVED | _FOLLOWS and getattr(system, each.name) != each.default:
            raise UnsupportedError(f"The system `{system.name}` has `{each.name}`, which cannot be saved.")


def _file_name(file: str) -> str:
    """Without folders, as generated code shows it."""
    return as_line(PurePath(file).name or file)


def read_system(data: Any, tables: Tables) -> System:
    """The system of `to_data`.

    Raises `ModelError` for data that it does not give, and for systems that cannot be right.
    """
    of = "a system"

    def expression(value: Any) -> Any:
        return expressions.from_data(value, tables)

    def equation(written: Any) -> Equation:
        if len(checked(written, list, "an equation")) != 3:
            raise damaged("an equation has not three parts")
        lhs, rhs, origins = written
        return Equation(expression(lhs), expression(rhs), tuple(map(_origin, listed(origins, list, "origins"))))

    def symbol(place: Any, kind: Any) -> ModelSymbol:
        found = tables.symbols[position(place, len(tables.symbols), "a symbol of a system")]
        if not isinstance(found, kind):
            raise damaged(f"`{found}` stands where such a symbol cannot")
        return found

    def initial(pair: list[Any]) -> tuple[ModelSymbol, Any]:
        if len(pair) != 2:
            raise damaged("an initial value has not two parts")
        found: Any = symbol(pair[0], State | TimeDerivative)
        value = plain.from_data(pair[1], expression)
        check_initial(found.name, value, found.shape)
        return found, value

    calculus: Any = checked(checked(data, dict, of).get("calculus", "ito"), str, "the calculus of a system")
    system = System(
        tuple(map(equation, field(data, "equations", list, of))),
        name=line(field(data, "name", str, of), "the name of a system"),
        subsystems=tuple(read_system(part, tables) for part in field(data, "subsystems", list, of)),
        observed=tuple(map(equation, field(data, "observed", list, of))),
        initial=tuple(map(initial, listed(field(data, "initial", list, of), list, "initial values"))),
        time_unit=field(data, "time_unit", (str, type(None)), of),
        history=tuple(map(equation, checked(data.get("history", []), list, "a history"))),
        calculus=calculus,
    )
    states: Any = tuple(symbol(place, State) for place in field(data, "states", list, of))
    params: Any = tuple(symbol(place, Parameter) for place in field(data, "params", list, of))
    if (set(states), set(params)) != (set(system.states), set(system.params)):
        raise damaged(f"the equations of `{system.name}` have other symbols than it lists")
    # The order of declaration gives these, unless a symbol was declared again after the system was written.
    return (
        system if (states, params) == (system.states, system.params) else system.replace(states=states, params=params)
    )


def _origin(data: list[Any]) -> Origin:
    if len(data) != 3:
        raise damaged("the origin of an equation has not three parts")
    file, number, text = data
    return Origin(
        file=line(file, "a file"), line=checked(number, int, "a line"), text=line(text, "the text of an equation")
    )
