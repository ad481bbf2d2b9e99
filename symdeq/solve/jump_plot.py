"""The picture of simulated counts: a few paths as steps, the median, and ribbons of quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from symdeq._errors import ModelError
from symdeq.solve.ensemble_plot import ribbons
from symdeq.solve.plot import check_xscale, import_pyplot, is_logarithmic, label, stacked_axes

if TYPE_CHECKING:
    from symdeq.solve.jump_solution import JumpSolution

# The number of paths that quantiles need.
_ENOUGH = 20


def plot(
    solution: JumpSolution,
    quantities: Sequence[Any] | None = None,
    *,
    trajectories: int = 5,
    xscale: Literal["auto", "linear", "log"] = "auto",
    ax: Any = None,
) -> Any:
    """Draw a simulation; see `JumpSolution.plot`."""
    plt = import_pyplot()
    check_xscale(xscale)
    quantities = list(solution.model.states) if quantities is None else list(quantities)
    _check(solution, quantities, trajectories, ax)
    ts, good = np.asarray(solution.ts), np.flatnonzero(solution.ok)
    log = xscale == "log" or (xscale == "auto" and is_logarithmic(ts))
    keep = ts > 0 if log else np.full(len(ts), True)
    few = good[np.unique(np.linspace(0, len(good) - 1, min(trajectories, len(good))).round().astype(int))]
    axes = [ax] if ax is not None else stacked_axes(plt, len(quantities))
    for one, quantity in zip(axes, quantities, strict=True):
        values = np.asarray(solution[quantity])[:, keep]
        _draw(one, ts[keep], values[good], values[few])
        label(one, [quantity])
        if log:
            one.set_xscale("log")
    if len(good) < len(solution.ys):
        axes[0].set_title(f"without {len(solution.ys) - len(good)} that failed", color="firebrick", fontsize="small")
    if len(good) >= _ENOUGH:
        axes[0].legend(loc="best", fontsize="small")
    axes[-1].set_xlabel("t")
    return axes[0] if len(axes) == 1 else np.array(axes)


def _draw(ax: Any, ts: np.ndarray, values: np.ndarray, few: np.ndarray) -> None:
    if len(values) >= _ENOUGH:
        ribbons(ax, ts, values)
    for one in few:
        ax.step(ts, one, where="post", color="0.35", linewidth=0.6, alpha=0.8)


def _check(solution: JumpSolution, quantities: list[Any], trajectories: Any, ax: Any) -> None:
    if not quantities:
        raise ModelError("There is nothing to plot.", remedy="give at least one species or expression")
    if ax is not None and len(quantities) > 1:
        raise ModelError(
            f"{len(quantities)} quantities do not fit into one pair of axes.",
            remedy="give ax and one quantity, or leave ax out",
        )
    if isinstance(trajectories, bool) or not isinstance(trajectories, int | np.integer) or trajectories < 0:
        raise ModelError(f"trajectories must be a whole number from 0 on, not {trajectories!r}.", remedy="default is 5")
    if not np.any(solution.ok):
        raise ModelError("No path of this simulation succeeded.", remedy="print(solution.failure) says why")
