"""The picture of an ensemble: median, ribbons of quantiles, and a few of the members, against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from symdeq._errors import ModelError
from symdeq.solve.plot import check_xscale, import_pyplot, is_logarithmic, label, stacked_axes

if TYPE_CHECKING:
    from symdeq.solve.ensemble_solution import EnsembleSolution

# Lower and upper quantile of each ribbon, and how dark it is.
_RIBBONS = ((0.05, 0.95, 0.18), (0.25, 0.75, 0.35))


def plot(
    solution: EnsembleSolution,
    quantities: Sequence[Any] | None = None,
    *,
    trajectories: int = 5,
    xscale: Literal["auto", "linear", "log"] = "auto",
    ax: Any = None,
) -> Any:
    """Draw an ensemble; see `EnsembleSolution.plot`."""
    plt = import_pyplot()
    check_xscale(xscale)
    quantities = list(solution.model.states) if quantities is None else list(quantities)
    _check(solution, quantities, trajectories, ax)
    ts, good = np.asarray(solution.ts), np.flatnonzero(solution.ok)
    log = xscale == "log" or (xscale == "auto" and is_logarithmic(ts))
    keep = ts > 0 if log else np.full(len(ts), True)
    few = good[np.unique(np.linspace(0, len(good) - 1, min(trajectories, len(good))).round().astype(int))]
    axes = [ax] if ax is not None else stacked_axes(plt, len(quantities))
    for one, quantity, values in zip(axes, quantities, solution.evaluate(quantities), strict=True):
        _draw(one, ts[keep], values[good][:, keep], values[few][:, keep])
        label(one, [quantity])
        if log:
            one.set_xscale("log")
    failed = solution.members.count - len(good)
    if failed:
        axes[0].set_title(f"without {failed} that failed", color="firebrick", fontsize="small")
    axes[0].legend(loc="best", fontsize="small")
    axes[-1].set_xlabel("t")
    return axes[0] if len(axes) == 1 else np.array(axes)


def _draw(ax: Any, ts: np.ndarray, values: np.ndarray, few: np.ndarray) -> None:
    ribbons(ax, ts, values)
    for one in few:
        ax.plot(ts, one, color="0.35", linewidth=0.6, alpha=0.8)


def _check(solution: EnsembleSolution, quantities: list[Any], trajectories: Any, ax: Any) -> None:
    if not quantities:
        raise ModelError("There is nothing to plot.", remedy="give at least one state or expression")
    if ax is not None and len(quantities) > 1:
        raise ModelError(
            f"{len(quantities)} quantities of an ensemble do not fit into one pair of axes.",
            remedy="give ax and one quantity, or leave ax out",
        )
    if isinstance(trajectories, bool) or not isinstance(trajectories, int | np.integer) or trajectories < 0:
        raise ModelError(f"trajectories must be a whole number from 0 on, not {trajectories!r}.", remedy="default is 5")
    if solution.times is None:
        raise ModelError(
            "The members of this ensemble were saved at times of their own.",
            remedy="plot what you look up in the solution, or solve with saveat an array of times",
        )
    if not solution.ok.any():
        raise ModelError("No member of this ensemble succeeded.", remedy="print(solution.failures) says why")


def ribbons(ax: Any, ts: np.ndarray, values: np.ndarray) -> None:
    """The median of curves, shape (curves, times), and the quantiles around it."""
    (median,) = ax.plot(ts, np.median(values, axis=0), label="median")
    for low, high, alpha in _RIBBONS:
        lower, upper = np.quantile(values, [low, high], axis=0)
        shown = {"color": median.get_color(), "alpha": alpha, "linewidth": 0}
        ax.fill_between(ts, lower, upper, label=f"{low:.0%} to {high:.0%}", **shown)
