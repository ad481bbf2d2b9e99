"""The story of a solve, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from symdeq.solve.solution import Solution


def story(solution: Solution) -> str:
    """Which method ran when, and why."""
    model, method = solution.model, solution.method
    n = model.size
    head = (
        f"`{model.system.name}`: {n} {'state' if n == 1 else 'states'}, "
        f"t = {float(solution.t0):g} to {float(solution.t1):g}, {np.asarray(solution.y0).dtype}"
    )
    accepted, rejected = int(solution.stats["num_accepted_steps"]), int(solution.stats["num_rejected_steps"])
    atol = " to ".join(f"{v:g}" for v in sorted({float(np.min(solution.atol)), float(np.max(solution.atol))}))
    tolerances = f", rtol {float(solution.rtol):g}, atol {atol}" if method.adaptive else ""
    lines = [
        head,
        f"  method  {method.name}: {method.reason}",
        f"  steps   {accepted} accepted, {rejected} rejected{tolerances}",
    ]
    lines += [f"  course  {line}" for line in _course(solution)]
    lines.append("  result  successful" if solution.ok else f"  FAILED  {solution.failure}")
    return "\n".join(lines)


def _course(solution: Solution) -> list[str]:
    stats, method = solution.switch, solution.method
    if stats is None:
        return []
    explicit, implicit = method.name.split("/") if "/" in method.name else ("", method.name)
    taken, stiff = int(stats.explicit_steps), int(stats.implicit_steps)
    switches = int(stats.switches)
    if not explicit:
        return [f"{implicit} (Rosenbrock) throughout"]
    if switches == 0:
        name, kind = (implicit, "Rosenbrock") if stiff else (explicit, "explicit")
        why = "its steps gave no cause to go explicit" if stiff else "stability never limited the steps"
        return [f"{name} ({kind}) throughout: {why}"]
    first, last = float(stats.first_switch), float(stats.last_switch)
    count = "once" if switches == 1 else f"{switches} times"
    if np.isfinite(first):
        # An even number of changes ends in the mode that it began in.
        began_stiff = bool(stats.implicit) == (switches % 2 == 0)
        began = (
            f"began with {implicit} (Rosenbrock), left it and came back"
            if began_stiff
            else f"began with {explicit} (explicit)"
        )
        lines = [f"{began}; switched to {implicit} (Rosenbrock) at t = {first:.4g}, where stability limited the steps"]
    else:
        lines = [f"began with {implicit} (Rosenbrock); switched to {explicit} (explicit) at t = {last:.4g}"]
    lines.append(f"{taken} {explicit} steps and {stiff} {implicit} steps; switched {count}, last at t = {last:.4g}")
    return lines
