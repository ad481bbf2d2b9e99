"""Problems by name, so that a process can be asked for them: those of the zoo, families of any size, variants."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from tests.zoo import PROBLEMS, Problem, brusselator_1d, mass_action
from tests.zoo.problem import evenly

_FAMILIES = {"brusselator_1d": brusselator_1d, "mass_action": mass_action}


@functools.cache
def named(name: str, rtol: float | None = None) -> Problem:
    """A problem of the zoo, or `FAMILY_SIZE`; with `rtol`, the absolute tolerance moves in proportion."""
    problem = PROBLEMS.get(name)
    if problem is None:
        family, _, size = name.rpartition("_")
        if family not in _FAMILIES or not size.isdigit():
            raise KeyError(f"no problem is called {name!r}")
        problem = _FAMILIES[family](int(size))
    return problem if rtol is None else replace(problem, rtol=rtol, atol=problem.atol * (rtol / problem.rtol))


SPREADS = ("near", "wide")


def ensemble(kind: str) -> Problem:
    """The problem whose parameters are spread: Robertson's, or van der Pol's, whose cost moves with its stiffness."""
    if kind == "near":
        return PROBLEMS["rober"]
    return replace(PROBLEMS["van_der_pol"], name="van_der_pol_100", t1=100.0, ts=evenly(0.0, 100.0), reference={})


def spread(problem: Problem, kind: str, members: int) -> np.ndarray:
    """Parameters of an ensemble, shape (members, parameters): the first members are the same for every size.

    `near`: each parameter moved by up to half of itself either way. `wide`: down by up to four decades.
    """
    rng, base = np.random.default_rng(0), np.array(problem.params)
    if kind == "near":
        return base * rng.uniform(0.5, 1.5, (members, len(base)))
    return base * 10.0 ** rng.uniform(-4.0, 0.0, (members, len(base)))
