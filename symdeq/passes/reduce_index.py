"""Structural index at most 1: a system that has it passes unchanged; a singular one is refused, naming the fault."""

from __future__ import annotations

from typing import NoReturn

import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Equation, Stage, System, TimeDerivative
from symdeq.passes.matching import Part, incidence, maximum_matching, overdetermined, underdetermined, unknowns

# A message names at most this many unknowns and equations.
_MOST_SHOWN = 12


def reduce_index(system: System) -> System:
    """Check that every unknown has an equation of its own, counting a derivative and its state as different.

    Raises `ModelError` for a structurally singular system, naming equations and unknowns, and `UnsupportedError` for
    one of higher index, naming the constraint.
    """
    if system.stage >= Stage.INDEX_REDUCED:
        return system
    equations = (*system.equations, *system.observed)
    columns = (*unknowns(system), *system.observed_symbols)
    match = maximum_matching(incidence(equations, columns), len(columns))
    if len(equations) != len(columns) or -1 in match:
        _refuse(system, equations, columns)
    return system.replace(stage=Stage.INDEX_REDUCED)


def _refuse(system: System, equations: tuple[Equation, ...], columns: tuple[sp.Symbol, ...]) -> NoReturn:
    # A derivative counts as its state here: what has no partner even then is singular whatever is differentiated.
    names = (*system.states, *system.observed_symbols)
    position: dict[sp.Basic, int] = {symbol: j for j, symbol in enumerate(names)}
    rows = [
        sorted({position[s] for symbol in e.occurring if (s := getattr(symbol, "state", symbol)) in position})
        for e in equations
    ]
    few, many = underdetermined(rows, len(names)), overdetermined(rows, len(names))
    count = f"{_counted(len(system.equations), 'equation')} for {_counted(len(system.states), 'unknown')}"
    if few.columns:
        lacking = len(few.columns) - len(few.rows)
        said = _counted(len(few.rows), "equation") if few.rows else "no equation"
        what = f"{said[0].upper() + said[1:]} cannot determine {_named(few, names)}: "
        what += f"{_counted(lacking, 'equation')} missing ({count} in all)."
        if many.rows:
            what += f" And there are too many, {_counted(len(many.rows), 'equation')}, for {_named(many, names)}."
        raise ModelError(
            what,
            where=_located(equations, (*few.rows, *many.rows)),
            remedy="add the missing equation, or declare what is known as a parameter",
        )
    if many.rows:
        spare = len(many.rows) - len(many.columns)
        raise ModelError(
            f"{_counted(len(many.rows), 'equation')} for {_named(many, names)}: "
            f"{_counted(spare, 'equation')} too many ({count} in all).",
            where=_located(equations, many.rows),
            remedy="remove one, or declare another unknown that it determines",
        )
    clash = overdetermined(incidence(equations, columns), len(columns))
    constraints = tuple(i for i in clash.rows if not any(isinstance(s, TimeDerivative) for s in equations[i].occurring))
    raise UnsupportedError(
        "The system has an index above 1: equations without derivatives constrain states that others integrate.",
        where=_located(equations, constraints or clash.rows),
        remedy="differentiate the constraint with respect to time by hand until a derivative of its own appears",
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _named(part: Part, names: tuple[sp.Symbol, ...]) -> str:
    shown = ", ".join(f"`{names[j]}`" for j in part.columns[:_MOST_SHOWN])
    more = len(part.columns) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _located(equations: tuple[Equation, ...], rows: tuple[int, ...]) -> str | None:
    lines = [equations[i].located for i in rows[:_MOST_SHOWN]]
    more = len(rows) - _MOST_SHOWN
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines) or None
