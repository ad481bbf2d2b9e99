"""What `print(fit)` says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symdeq.fit.result import Fit


def summary(fit: Fit, level: float) -> str:
    """See `Fit.summary`."""
    counts = ", ".join(f"{n} of `{c}`" for c, n in zip(fit.data.columns, fit.data.counts, strict=True))
    kinds = " and ".join(dict.fromkeys(noise.name for noise in fit.noise))
    lines = [
        f"Fit of `{fit.model.system.name}`: {len(fit.unknowns)} unknowns, measurements: {counts}; {kinds} errors",
        f"  search          {_search(fit)}",
        f"  log-likelihood  {fit.log_likelihood:.6g} (AIC {fit.aic:.6g}, BIC {fit.bic:.6g})",
        "",
        *_table(fit, level),
        "",
        *_noise(fit),
    ]
    if fit.at_bound:
        lines += [
            "",
            f"  at a bound: {', '.join(fit.at_bound)}; their standard errors and intervals are not to be trusted",
        ]
    lines += ["", "  not determined by the measurements:"] * bool(fit.undetermined)
    lines += [f"    {c} = any value, the rest adapting" if " " not in c else f"    along {c}" for c in fit.undetermined]
    return "\n".join(lines)


def _search(fit: Fit) -> str:
    starts, best = fit.starts, fit.starts.best
    if not fit.ok:
        return f"NOT converged: the best start {starts.outcomes[best].value}"
    if len(starts) == 1:
        return f"converged after {starts.iterations[best]} iterations"
    text = f"{starts.agreeing.sum()} of {len(starts)} starts reached the best fit"
    others = int((starts.converged & ~starts.agreeing).sum())
    text += f", {others} converged elsewhere" * (others > 0)
    lost = len(starts) - int(starts.converged.sum()) - int(starts.failed.sum())
    text += f", {lost} did not converge" * (lost > 0)
    text += f", {starts.failed.sum()} could not be solved" * bool(starts.failed.any())
    beyond = "; one that did not converge got further: raise iterations or look at fit.starts"
    return text + beyond * bool(starts.promising.any())


def _table(fit: Fit, level: float) -> list[str]:
    intervals = fit.interval(level)
    width = max(len("unknown"), *map(len, fit.unknowns))
    lines = [f"  {'unknown':<{width}}  {'estimate':>11}  {'std. error':>11}  {f'{100 * level:g} % interval':>26}"]
    for name in fit.unknowns:
        low, high = intervals[name]
        note = "  at a bound" if name in fit.at_bound else ""
        numbers = f"{fit.estimates[name]:>11.5g}  {_short(fit.stderr[name]):>11}  {low:>11.5g} to {high:>11.5g}"
        lines.append(f"  {name:<{width}}  {numbers}{note}")
    freedom = (
        "normal, as every sigma is known"
        if math.isinf(fit.freedom)
        else f"Student's t, {fit.freedom:.4g} degrees of freedom"
    )
    return [*lines, f"  (intervals: {freedom})"]


def _noise(fit: Fit) -> list[str]:
    width = max(len("noise"), *map(len, fit.data.columns))
    lines = [f"  {'noise':<{width}}  {'sigma':>11}  {'std. error':>11}"]
    for column, noise in zip(fit.data.columns, fit.noise, strict=True):
        error = "given" if noise.sigma is not None else _short(fit.sigma_stderr[column])
        unit = "of the logarithm" if noise.name == "log-normal" else ""
        lines.append(f"  {column:<{width}}  {fit.sigma[column]:>11.5g}  {error:>11}  {unit}".rstrip())
    return lines


def _short(value: float) -> str:
    return "unknown" if math.isinf(value) else f"{value:.3g}"
