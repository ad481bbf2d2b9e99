"""Which method solves a model, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffrax as dfx

from symdeq._errors import ModelError, UnsupportedError
from symdeq.solve.stiffness import Probe
from symdeq.solvers import (
    BDF,
    BOSH3,
    DOP853,
    RODAS5P,
    ROSENBROCK23,
    TSIT5,
    AbstractRosenbrock,
    AutoSwitch,
    ExplicitTableau,
    Rodas5P,
    Rosenbrock23,
    RosenbrockMilstein,
    RosenbrockTableau,
)

# Measured in docs/decisions/006-switching.md. At relative tolerances from _LOOSE on, methods of low order take a third
# fewer operations; down to _TIGHT, an explicit method of order 8 takes fewer than one of order 5, unless its sums over
# sixteen stages cost more than the equations do.
_LOOSE = 1e-2
_TIGHT = 1e-8
_FEW_STATES = 50
# Where so much of a factorisation is dense, it is most of a Rosenbrock step (docs/decisions/007-bdf.md).
_MANY_DENSE = 128
_MODERATE = 1e-5
_NAMES: dict[Any, str] = {
    TSIT5: "Tsit5",
    BOSH3: "Bosh3",
    DOP853: "DOP853",
    RODAS5P: "Rodas5P",
    ROSENBROCK23: "Rosenbrock23",
}

_SOLVERS: dict[RosenbrockTableau, dfx.AbstractSolver] = {RODAS5P: Rodas5P(), ROSENBROCK23: Rosenbrock23()}


@dataclass(frozen=True)
class Method:
    """A solver and the reason for it; hashable by value.

    - `solver`: the diffrax solver.
    - `reason`: a sentence.
    - `name`: of the solver, or of the pair.
    - `start_implicit`: the mode that a switching solver starts in.
    """

    solver: dfx.AbstractSolver
    reason: str
    name: str
    start_implicit: bool = False

    @property
    def switches(self) -> bool:
        return isinstance(self.solver, AutoSwitch)

    @property
    def explicit_only(self) -> bool:
        implicit = AbstractRosenbrock | AutoSwitch | RosenbrockMilstein | dfx.AbstractImplicitSolver
        return not isinstance(self.solver, implicit)

    @property
    def adaptive(self) -> bool:
        return isinstance(self.solver, dfx.AbstractAdaptiveSolver)


def choose(
    solver: Any,
    *,
    kind: str,
    rtol: float | None,
    probe: Probe,
    dense: int = 0,
    linear: bool = False,
    whole: bool = False,
) -> Method:
    """The method for a model.

    Arguments:

    - `solver`: `"auto"`, or any diffrax solver.
    - `kind`: `"ode"` or `"dae"`.
    - `rtol`: the relative tolerance; `None` where it is traced.
    - `probe`: the time scales at the start, and the number of states.
    - `dense`: the unknowns of each factorisation that are left to a dense one.
    - `whole`: whether there are vectors among the states, so that the Jacobian is JAX's and dense.
    - `linear`: whether the Jacobian is constant, so that the time scales at the start are those of the whole solve.

    Returns a `Method`. Raises `ModelError` for what is no solver, and `UnsupportedError` for a solver that cannot hold
    algebraic equations.
    """
    if isinstance(solver, dfx.AbstractSolver):
        if kind == "dae" and not isinstance(solver, AbstractRosenbrock | AutoSwitch | BDF):
            raise UnsupportedError(
                f"{type(solver).__name__} cannot solve a model with algebraic equations.",
                remedy='use solver="auto", sd.Rodas5P(), sd.Rosenbrock23() or sd.BDF()',
            )
        return _asked_for(solver)
    if solver != "auto":
        raise ModelError(
            f"solver={solver!r} is not a solver.",
            remedy='use "auto", or a diffrax solver such as diffrax.Tsit5() or sd.Rodas5P()',
        )
    if whole:
        return _explicit(rtol)
    if dense >= _MANY_DENSE and rtol is not None and rtol <= _MODERATE and probe.surely_stiff:
        reason = f"{dense} unknowns of each factorisation are dense, which a multistep method computes seldom; {probe}"
        return Method(BDF(), reason, "BDF")
    explicit, implicit, why = _pair(rtol, kind, probe.states)
    if kind == "dae":
        reason = f"algebraic equations need a method for stiff problems; {why}"
        return Method(AutoSwitch(explicit, implicit), reason, _NAMES[implicit], start_implicit=True)
    if linear and probe.starts_stiff and probe.surely_stiff:
        reason = (
            f"{why}; the equations are linear with constant coefficients, so they stay as stiff as they start: {probe}"
        )
        return Method(_SOLVERS[implicit], reason, _NAMES[implicit])
    judged = "stiff from the start" if probe.starts_stiff else "not stiff at the start"
    return Method(
        AutoSwitch(explicit, implicit),
        f"{why}; by the declared values {judged} ({probe}); it changes over as the steps demand",
        f"{_NAMES[explicit]}/{_NAMES[implicit]}",
        start_implicit=probe.starts_stiff,
    )


def _pair(rtol: float | None, kind: str, states: int) -> tuple[ExplicitTableau, RosenbrockTableau, str]:
    """The explicit and the Rosenbrock method for a relative tolerance, `None` where it is traced, and why."""
    if rtol is None:
        return TSIT5, RODAS5P, "order 5 serves a tolerance that is not known yet"
    if rtol >= _LOOSE:
        return BOSH3, ROSENBROCK23, f"rtol = {rtol:g} asks for low order"
    if rtol <= _TIGHT and kind == "ode" and states <= _FEW_STATES:
        return DOP853, RODAS5P, f"rtol = {rtol:g} asks for high order"
    return TSIT5, RODAS5P, "the tolerance asks for order 5"


def _explicit(rtol: float | None) -> Method:
    """For vectors, which networks act on: seldom stiff, and mapped over in batches, where both of a pair would run."""
    solver, order = dfx.Tsit5(), "the tolerance asks for order 5"
    if rtol is not None and rtol >= _LOOSE:
        solver, order = dfx.Bosh3(), f"rtol = {rtol:g} asks for low order"
    elif rtol is not None and rtol <= _TIGHT:
        solver, order = dfx.Dopri8(), f"rtol = {rtol:g} asks for high order"
    reason = f"{order}; vectors are taken for not stiff: otherwise ask for sd.AutoSwitch() or sd.Rodas5P()"
    return Method(solver, reason, type(solver).__name__)


def _asked_for(solver: dfx.AbstractSolver) -> Method:
    name = type(solver).__name__
    if not isinstance(solver, AutoSwitch):
        return Method(solver, "it was asked for", name)
    pair = f"{_NAMES.get(solver.explicit, 'explicit')}/{_NAMES.get(solver.implicit, 'Rosenbrock')}"
    start = bool(solver.start_implicit)
    # The mode to start in is handed over beside the solver, so that it never makes a new program.
    return Method(AutoSwitch(solver.explicit, solver.implicit), f"{name} was asked for", pair, start_implicit=start)
