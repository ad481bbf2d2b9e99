"""Why a solve failed, in full sentences: what happened, where, which state, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import diffrax as dfx
import numpy as np

if TYPE_CHECKING:
    from symdeq.solve.solution import Solution


def sentence(solution: Solution) -> str:
    """The explanation of a failed solution, and `""` for one that succeeded."""
    if solution.ok:
        return ""
    name, reached = solution.model.system.name, float(solution.t_end)
    t0, t1 = float(solution.t0), float(solution.t1)
    values = np.asarray(solution.model.values)
    unset = [p.name for p, finite in zip(solution.model.parameters, np.isfinite(values), strict=True) if not finite]
    if unset:
        shown = ", ".join(f"`{name}`" for name in unset[:6])
        return _said(f"Parameter {shown} of `{name}` has no finite value.", "give it a finite number")
    if not np.isfinite([t0, t1]).all():
        return _said(
            f"`{name}` was not solved: its interval, t = {t0:g} to {t1:g}, is not finite.", "give finite times"
        )
    if solution.model.system.noise and t1 <= t0:
        return _said(
            f"`{name}` was not solved: t = {t0:g} to {t1:g}, and an equation with noise runs forward in time.",
            "give t1 above t0",
        )
    if not bool(solution.times_ok):
        return _said(
            f"`{name}` was not solved: saveat is not in order, or not between t0 = {t0:g} and t1 = {t1:g}.",
            "sort them, and keep them inside the interval",
        )
    missing = _named(solution, ~np.isfinite(np.asarray(solution.y0)))
    if missing:
        return _said(
            f"`{name}` was not solved: the initial value of {missing} is not a number.",
            "give it one: in sd.state, by model.replace, or by y0=",
        )
    if not bool(solution.start_ok):
        system = solution.model.system
        algebraic = [(s, e) for s, e in zip(system.states, system.equations, strict=True) if e.lhs == 0]
        unknowns = ", ".join(f"`{s}`" for s, _ in algebraic)
        return _said(
            f"`{name}` was not solved: no values of {unknowns} were found at t = {t0:g} that fulfil the algebraic "
            "equations.\n" + "\n".join(f"  where:   {e.located}" for _, e in algebraic),
            "give better starting values with sd.guess(...), and look whether these equations have a solution",
        )
    if solution.drawn is not None and not bool(solution.drawn):
        processes = ", ".join(f"`{jump.process}`" for jump in solution.model.system.jumps)
        return _said(
            f"`{name}` was not solved: {processes} jumps more often than there was room for, or its rate is no number.",
            "solve over a shorter interval, with a lower rate, or with more max_steps, since each jump takes a step; "
            "where the rate is traced, as inside jax.jit, there is room for 256 jumps",
        )
    if solution.result == dfx.RESULTS.successful:
        lost = _named(solution, ~np.isfinite(np.asarray(solution.y_end)))
        if lost:
            return _said(
                f"`{name}` reached t = {reached:g} with {lost} not finite.",
                "look at the equation of that state for a logarithm, root or division outside its domain",
            )
        return ""
    if solution.lookups is not None and bool(solution.lookups.lost | solution.lookups.ahead):
        return _lookup(solution, name, reached, t1)
    slopes = _slopes(solution)
    undefined = _named(solution, ~np.isfinite(slopes))
    if undefined:
        return _said(
            f"`{name}` stopped at t = {reached:.6g} of {t1:g}: the derivative of {undefined} is not finite there.\n"
            f"  state:   {_values(solution)}",
            "look at its equation for a logarithm, root or division outside its domain",
        )
    if solution.result == dfx.RESULTS.max_steps_reached:
        return _steps(solution, name, reached, t0, t1, slopes)
    return _said(
        f"`{name}` stopped at t = {reached:.6g} of {t1:g}: {_text(solution)}\n  state:   {_values(solution)}",
        "loosen rtol and atol, or try another solver",
    )


def _lookup(solution: Solution, name: str, reached: float, t1: float) -> str:
    """Why the past could not be looked up."""
    lags = ", ".join(str(lag.expression) for lag in solution.model.system.delays)
    if bool(solution.lookups is not None and solution.lookups.ahead):
        return _said(
            f"`{name}` stopped at t = {reached:.6g} of {t1:g}: a lag became negative there, and asks for the future.\n"
            f"  lags:    {lags}\n  state:   {_values(solution)}",
            "correct the lag, or keep it above zero by sp.Max(lag, 0)",
        )
    return _said(
        f"`{name}` stopped at t = {reached:.6g} of {t1:g}: a lag reaches back over more steps than are kept.\n"
        f"  lags:    {lags}",
        "keep more: solver=sd.Delayed(solver, capacity=1024)",
    )


def _steps(solution: Solution, name: str, reached: float, t0: float, t1: float, slopes: np.ndarray) -> str:
    steps = int(solution.stats["num_steps"])
    head = f"`{name}` stopped at t = {reached:.6g} of {t1:g} after max_steps = {steps} steps"
    y = np.abs(np.asarray(solution.y_end, dtype=float))
    tiny = 1e4 * np.finfo(np.asarray(solution.y_end).dtype).eps * max(abs(reached), abs(t1 - t0) * 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        sudden = y / np.abs(slopes) < 1e3 * tiny
    sudden &= y > 0
    if sudden.any():
        growing = (np.asarray(solution.y_end) * slopes * np.sign(t1 - t0) > 0)[sudden].all()
        what = "grows without bound there" if growing else "changes there faster than the time can be resolved"
        return _said(
            f"{head}: {_named(solution, sudden)} {what} (a singularity of the solution).\n"
            f"  state:   {_values(solution)}",
            f"end before it, with t1 below {reached:.6g}, or check the signs and the domain of that equation",
        )
    fastest = solution.model.fastest_time_scale(reached, solution.y_end)
    mean = abs(reached - t0) / max(steps, 1)
    if solution.method.explicit_only and fastest < 0.1 * abs(t1 - reached) and mean < 30 * fastest:
        left = abs(t1 - reached) / fastest
        return _said(
            f"{head}: the problem is stiff there.\n"
            f"  why:     its fastest time scale is {fastest:.2g}, and the explicit {solution.method.name} may not "
            f"step much beyond it, whatever the accuracy; {left:.1e} such steps are left",
            "use solver=sd.RosenbrockMilstein()"
            if solution.model.system.noise
            else 'use solver="auto" or sd.Rodas5P()',
        )
    remedy = "raise max_steps, or loosen rtol and atol"
    if solution.method.explicit_only and not solution.model.system.noise:
        remedy += '; if it is stiff, use solver="auto"'
    return _said(
        f"{head}: {abs(reached - t0) / abs(t1 - t0):.1%} of the interval is done.\n  state:   {_values(solution)}",
        remedy,
    )


def _said(what: str, remedy: str) -> str:
    return f"{what}\n  remedy:  {remedy}"


def _text(solution: Solution) -> str:
    return str(dfx.RESULTS[solution.result]).strip()


def _slopes(solution: Solution) -> np.ndarray:
    ts, ys = np.asarray(solution.t_end)[None], np.asarray(solution.y_end)[None]
    return np.asarray(solution.model.slopes(ts, ys), dtype=float)[0]


def _named(solution: Solution, mask: np.ndarray) -> str:
    names = [f"`{name}`" for name, chosen in zip(solution.model.labels, mask, strict=True) if chosen]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _values(solution: Solution) -> str:
    pairs = [
        f"{name} = {float(v):.6g}" for name, v in zip(solution.model.labels, np.asarray(solution.y_end), strict=True)
    ]
    return ", ".join(pairs[:8]) + (", ..." if len(pairs) > 8 else "")
