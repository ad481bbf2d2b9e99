"""Published problems with reference values, one a file; solvers, compiler and benchmarks are tried on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import (
    arenstorf,
    brusselator,
    distillation,
    hires,
    linear_stiff,
    lorenz,
    lotka_volterra,
    orego,
    pollu,
    prothero_robinson,
    rigid_body,
    rober,
    van_der_pol,
)
from .brusselator_1d import brusselator_1d as brusselator_1d
from .mass_action import mass_action as mass_action
from .problem import Problem as Problem

PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        problem.name: problem
        for problem in (
            lotka_volterra.PROBLEM,
            brusselator.PROBLEM,
            van_der_pol.MILD,
            lorenz.PROBLEM,
            rigid_body.PROBLEM,
            arenstorf.PROBLEM,
            rober.PROBLEM,
            rober.LONG,
            hires.PROBLEM,
            pollu.PROBLEM,
            orego.PROBLEM,
            van_der_pol.PROBLEM,
            brusselator_1d(32),
            linear_stiff.PROBLEM,
            prothero_robinson.PROBLEM,
            rober.DAE,
            distillation.PROBLEM,
        )
    }
)


def select(*, stiff: bool | None = None, dae: bool | None = None) -> tuple[Problem, ...]:
    """The problems that are stiff (or not) and have algebraic states (or not); None takes both."""
    return tuple(
        problem
        for problem in PROBLEMS.values()
        if (stiff is None or problem.stiff == stiff) and (dae is None or (problem.mass is not None) == dae)
    )
