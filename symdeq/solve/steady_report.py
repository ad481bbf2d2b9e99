"""A steady state for people: a table, a picture, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from symdeq.solve.steady_solution import SteadyState

_MOST_LINES = 20
_MOST_RATES = 3
# Values further apart than this are drawn on a logarithmic axis.
_LARGEST_RATIO = 300.0


def report(found: SteadyState) -> str:
    """Values, conserved totals, stability, and how it was found."""
    model = found.model
    n = model.size
    lines = [f"Steady state of `{model.system.name}`, {n} {'state' if n == 1 else 'states'}"]
    if not found.ok:
        return "\n".join([*lines, f"  FAILED  {found.failure}"])
    wide = max((len(label) for label in model.labels[:_MOST_LINES]), default=0)
    values = zip(model.labels[:_MOST_LINES], np.asarray(found.y), strict=False)
    lines += [f"  {label:{wide}}  {value:.6g}" for label, value in values]
    if n > _MOST_LINES:
        lines.append(f"  ... and {n - _MOST_LINES} more")
    structure = model.system.structure
    assert structure is not None
    for law in structure.invariants[:6]:
        lines.append(f"  kept    {law.expression} = {float(found[law.expression]):.6g}")
    lines.append(f"  rates   at most {float(found.residual):.2g}")
    lines.append(f"  {_stability(found)}")
    known = found.known
    way = (
        "by following the equation to its rest" if bool(known.followed) else "as a root; the equation was not followed"
    )
    lines.append(f"  found   in {int(known.num_steps)} steps, {way}")
    return "\n".join(lines)


def _stability(found: SteadyState) -> str:
    if not bool(found.known.isolated):
        return "stable  one of a continuum of steady states"
    values = found.eigenvalues
    if not len(values):
        return "stable  nothing can move"
    slowest = values[0]
    rate = f"{slowest.real:.4g}" + (f" ± {abs(slowest.imag):.4g}i" if slowest.imag else "")
    size = 1e-9 * np.max(np.abs(values))
    word = "stable" if slowest.real < -size else "UNSTABLE" if slowest.real > size else "neutral"
    return f"{word:<7} the eigenvalue of the largest real part is {rate}"


def failure(found: SteadyState) -> str:
    """The explanation of a search that failed, and `""` for one that did not."""
    if found.ok:
        return ""
    model = found.model
    name, y, rates = model.system.name, np.asarray(found.y), np.asarray(found.rates)
    start = np.asarray(found.rest.y0)
    bad = [label for label, v in zip(model.labels, start, strict=True) if not np.isfinite(v)]
    if bad:
        return f"`{name}` has no steady state from here: the initial value of `{bad[0]}` is not a number."
    undefined = [label for label, v in zip(model.labels, rates, strict=True) if not np.isfinite(v)]
    if undefined:
        said = ", ".join(f"`{label}`" for label in undefined[:6])
        return (
            f"No steady state of `{name}` was found: the derivative of {said} is not finite.\n"
            "  remedy: look at its equation for a logarithm, root or division outside its domain"
        )
    order = np.argsort(-np.abs(rates))[:_MOST_RATES]
    moving = ", ".join(f"D({model.labels[i]}) = {rates[i]:.3g} at {model.labels[i]} = {y[i]:.4g}" for i in order)
    return (
        f"No steady state of `{name}` was found in {int(found.known.num_steps)} steps, which ended with {moving}.\n"
        "  remedy: start nearer to one by y0=, or give more max_steps; the equations may have none, as where something "
        "grows without bound"
    )


def plot(found: SteadyState, quantities: Sequence[Any] | None = None) -> Any:
    """Draw values and eigenvalues; see `SteadyState.plot`."""
    from symdeq.solve.plot import import_pyplot

    plt = import_pyplot()
    model = found.model
    chosen = list(model.states) if quantities is None else list(quantities)
    columns = model.columns(chosen, np.zeros(2), np.stack([np.asarray(found.rest.y0), np.asarray(found.y)]))
    names = [name for name, _ in columns]
    start, end = np.array([values for _, values in columns]).reshape(-1, 2).T
    _, (left, right) = plt.subplots(
        1, 2, figsize=(9, max(3.0, 0.3 * len(names) + 1)), layout="constrained", width_ratios=(3, 2)
    )
    places = np.arange(len(names))[::-1]
    left.hlines(places, start, end, color="0.8", zorder=1)
    left.plot(start, places, "o", color="0.6", markersize=5, label="start")
    left.plot(end, places, "o", label="at rest")
    left.set_yticks(places, names)
    sizes = np.abs(np.concatenate([start, end]))
    sizes = sizes[sizes > 0]
    if sizes.size and sizes.max() > _LARGEST_RATIO * sizes.min():
        left.set_xscale("symlog", linthresh=max(float(sizes.min()), 1e-6 * float(sizes.max())))
    left.set_title(f"{model.system.name}: steady state")
    left.legend(loc="best")
    values = found.eigenvalues
    right.axvline(0, color="0.6", linewidth=1)
    right.axhline(0, color="0.9", linewidth=1)
    right.plot(values.real, values.imag, "x", color="C3" if (values.real >= 0).any() else "C2")
    right.set_xlabel("real part, 1 / time")
    right.set_ylabel("imaginary part")
    right.set_title("stable" if found.stable else "unstable")
    return np.array([left, right])
