"""Every lag a slot of the history: `delay(x*y, tau)` becomes `x(t - tau)*y(t - tau)`, symbols that are looked up."""

from __future__ import annotations

from dataclasses import replace

from symdeq._errors import UnsupportedError
from symdeq.model import Equation, Stage, System
from symdeq.passes.earlier import resolved, slots


def lower_delays(system: System) -> System:
    """Write delays out by single states, and list the lags; the identity for a system without delays.

    Raises `UnsupportedError` for a system with noise, and for a delayed value that is delayed again by a lag of states.
    """
    if system.stage >= Stage.DELAYS_LOWERED:
        return system
    equations = tuple(map(_lowered, system.equations))
    observed = tuple(map(_lowered, system.observed))
    delays = slots((*equations, *observed), {})
    if delays and (system.noise or system.jumps):
        named = ", ".join(f"`{symbol}`" for lag in delays for symbol in lag.lagged)
        raise UnsupportedError(
            f"System `{system.name}` has noise and delays, {named}: a stochastic delay equation, which is not solved.",
            remedy="leave out one of them",
        )
    return system.replace(equations=equations, observed=observed, delays=delays, stage=Stage.DELAYS_LOWERED)


def _lowered(equation: Equation) -> Equation:
    lhs, rhs = resolved(equation.lhs), resolved(equation.rhs)
    return equation if (lhs, rhs) == (equation.lhs, equation.rhs) else replace(equation, lhs=lhs, rhs=rhs)
