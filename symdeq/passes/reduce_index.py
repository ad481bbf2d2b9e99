"""Structural index at most 1: a system that has it passes unchanged; a singular one is refused by naming what is wrong."""

from __future__ import annotations

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import Equation, Stage, System, TimeDerivative
from symdeq.passes.matching import incidence, maximum_matching, state_of, unknowns, unmatched


def reduce_index(system: System) -> System:
    """Check that every unknown is determined by an equation of its own, counting a derivative and its state as different.

    Raises `ModelError` for a structurally singular system, naming equations and unknowns, and `UnsupportedError` for one of higher
    index, naming the constraint.
    """
    if system.stage >= Stage.INDEX_REDUCED:
        return system
    equations = _with_observed(system)
    columns = unknowns(system) + tuple(e.lhs for e in system.observed)
    match = maximum_matching(incidence(equations, columns), len(columns))
    if len(equations) != len(columns) or -1 in match:
        _refuse(system, equations)
    return system.replace(stage=Stage.INDEX_REDUCED)


def _with_observed(system: System) -> tuple[Equation, ...]:
    return (*system.equations, *system.observed)


def _refuse(system: System, equations: tuple[Equation, ...]) -> None:
    # A derivative counts as its state here: what still has no partner is singular whatever is differentiated.
    merged = tuple(
        e.subs({s: s.state for s in e.symbols if isinstance(s, TimeDerivative)}) if e not in system.observed else e
        for e in equations
    )
    states = (*system.states, *(e.lhs for e in system.observed))
    spare, missing = unmatched(merged, states)
    located = {id(m): e for m, e in zip(merged, equations, strict=True)}
    names = ", ".join(f"`{s}`" for s in missing)
    if missing:
        count = f"{len(system.equations)} equations for {len(system.states)} unknowns"
        raise ModelError(
            f"No equation is left to determine {names}: {count}.",
            where="\n".join(e.located for e in system.equations if set(missing) & {state_of(s) for s in e.symbols}) or None,
            remedy="add the missing equation, or declare the symbol as a parameter",
        )
    if spare:
        clash = "\n".join(located[id(e)].located for e in spare)
        raise ModelError(
            f"There is an equation too many: {len(system.equations)} equations for the {len(system.states)} unknowns "
            f"{', '.join(f'`{s}`' for s in system.states[:12])}{', ...' if len(system.states) > 12 else ''}.",
            where=clash,
            remedy="remove it, or declare another unknown that it determines",
        )
    constraints = [e for e in system.equations if not any(isinstance(s, TimeDerivative) for s in e.symbols)]
    raise UnsupportedError(
        "The system has an index above 1: an equation without derivatives constrains states that other equations integrate.",
        where="\n".join(e.located for e in constraints),
        remedy="differentiate the constraint with respect to time by hand until a derivative of its own appears",
    )
