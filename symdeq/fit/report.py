"""What a fit says when no start converged, and what it warns of."""

from __future__ import annotations

import warnings

import jax.numpy as jnp

from symdeq._errors import SymdeqWarning
from symdeq.fit.objective import Objective
from symdeq.fit.result import Fit
from symdeq.fit.starts import Outcome, Starts
from symdeq.solve import solve


def why_none(objective: Objective, record: Starts) -> str:
    """What happened to starts none of which converged; where none could be solved, the first solve's account."""
    name = objective.model.system.name
    counted = {o: record.outcomes.count(o) for o in record.outcomes}
    lines = [f"No start of the fit of `{name}` converged."]
    lines += [
        f"  {count} of {len(record)}: {o.value}" for o, count in sorted(counted.items(), key=lambda item: -item[1])
    ]
    if record.failed.all():
        values = record.begin[0]
        tried, settings = objective.model_at(jnp.asarray(values, objective.times.dtype)), objective.settings
        solution = solve(
            tried,
            objective.times[-1],
            objective.t0,
            saveat=objective.times,
            rtol=settings.rtol,
            atol=settings.atol,
            solver=settings.solver,
            max_steps=settings.max_steps,
            throw=False,
        )
        account = solution.failure or "the solve succeeds, but its derivatives or a logarithm of its values do not."
        lines += ["  from the model's own values:", *(f"    {line}" for line in account.splitlines())]
        remedy = "start where the model can be solved (model.replace, bounds), use more starts, or raise max_steps="
    elif Outcome.slow in counted:
        remedy = "raise iterations=, start nearer (model.replace), or more starts="
    else:
        remedy = "start nearer (model.replace), give bounds, or use more starts="
    return "\n".join([*lines, f"  remedy: {remedy}"])


def warn(fit: Fit) -> None:
    """Warn of estimates at a bound, and of unknowns that the measurements do not determine."""
    if fit.at_bound:
        warnings.warn(
            f"The fit of `{fit.model.system.name}` holds {', '.join(f'`{name}`' for name in fit.at_bound)} at a bound; "
            "standard errors and intervals there are not to be trusted."
            "\n  remedy: widen the bounds, or fix the unknown by model.replace and leave it out of unknowns",
            SymdeqWarning,
            stacklevel=3,
        )
    if fit.undetermined:
        warnings.warn(
            f"The measurements do not determine all unknowns of `{fit.model.system.name}`: they do not change along "
            f"{'; '.join(fit.undetermined)}. The standard errors of those unknowns are infinite."
            "\n  remedy: fix one of them by model.replace and leave it out of unknowns, or measure more",
            SymdeqWarning,
            stacklevel=3,
        )
