"""Pictures of a solution: against time (linear or logarithmic), or one quantity against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from symdeq.solve.solution import Solution

# Curves whose largest values lie further apart than this get axes of their own.
_LARGEST_RATIO = 300.0
# Saved times that span more than this factor, and grow as they go, are drawn on a logarithmic axis.
_LOGARITHMIC_SPAN = 1e3
_POINTS_BETWEEN = 12


def import_pyplot() -> Any:
    """matplotlib.pyplot, or an error that names the extra."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "A plot") from None
    return plt


def plot(
    solution: Solution,
    quantities: Sequence[Any] | None = None,
    *,
    against: Any = None,
    xscale: Literal["auto", "linear", "log"] = "auto",
    ax: Any = None,
) -> Any:
    """Draw a solution; see `Solution.plot`."""
    plt = import_pyplot()
    check_xscale(xscale)
    quantities = list(solution.model.states) if quantities is None else list(quantities)
    if not quantities:
        raise ModelError("There is nothing to plot.", remedy="give at least one state or expression")
    ts, curves = _curves(solution, [*quantities, *([] if against is None else [against])])
    quantities, columns = [name for name, _ in curves], [values for _, values in curves]
    if against is not None:
        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        quantities.pop()
        x = columns.pop()
        for quantity, column in zip(quantities, columns, strict=True):
            ax.plot(x, column, label=str(quantity))
            ax.plot(x[:1], column[:1], "o", color=ax.lines[-1].get_color(), markersize=4)
        ax.set_xlabel(str(against))
        _labelled(ax, quantities, solution)
        return ax
    log = xscale == "log" or (xscale == "auto" and is_logarithmic(np.asarray(solution.ts)))
    if log:
        keep = ts > 0
        ts, columns = ts[keep], [column[keep] for column in columns]
    groups = [list(range(len(columns)))] if ax is not None else _groups(columns)
    axes = [ax] if ax is not None else stacked_axes(plt, len(groups))
    for one, group in zip(axes, groups, strict=True):
        for i in group:
            one.plot(ts, columns[i], label=str(quantities[i]))
        if log:
            one.set_xscale("log")
        _labelled(one, [quantities[i] for i in group], solution)
    axes[-1].set_xlabel("t")
    return axes[0] if len(axes) == 1 else np.array(axes)


def check_xscale(xscale: Any) -> None:
    """Raise `ModelError` for what is no scale of the time axis."""
    if xscale not in ("auto", "linear", "log"):
        raise ModelError(f'xscale must be "auto", "linear" or "log", not {xscale!r}.', remedy="use one of them")


def stacked_axes(plt: Any, count: int) -> list[Any]:
    """New axes, one above the other, with a common time axis."""
    figure, axes = plt.subplots(count, 1, sharex=True, squeeze=False, layout="constrained")
    figure.set_figheight(2.4 + 1.6 * count)
    return list(axes[:, 0])


def label(ax: Any, quantities: list[Any]) -> None:
    """Name what is drawn: on the axis with its unit, or in a legend."""
    if len(quantities) == 1:
        unit = getattr(quantities[0], "unit", None)
        ax.set_ylabel(f"{quantities[0]} [{unit}]" if unit else str(quantities[0]))
    elif len(quantities) <= 12:
        ax.legend(loc="best", fontsize="small")


def _labelled(ax: Any, quantities: list[Any], solution: Solution) -> None:
    label(ax, quantities)
    if not solution.ok:
        ax.set_title("failed", color="firebrick", fontsize="small")


def is_logarithmic(ts: np.ndarray) -> bool:
    """Whether times were meant for a logarithmic axis."""
    positive = ts[ts > 0]
    if len(positive) < 4 or positive[-1] / positive[0] < _LOGARITHMIC_SPAN:
        return False
    # Half of the points in less than a tenth of the interval: they were meant for a logarithmic axis.
    return bool(np.median(positive) < 0.1 * positive[-1])


def _groups(columns: list[np.ndarray]) -> list[list[int]]:
    """Curves of comparable size together."""
    size = [float(np.nanmax(np.abs(c))) if np.isfinite(c).any() else 0.0 for c in columns]
    groups: list[list[int]] = []
    for i in range(len(columns)):
        for group in groups:
            sizes = [size[j] for j in group if size[j] > 0] or [size[i]]
            if size[i] == 0 or max(*sizes, size[i]) <= _LARGEST_RATIO * min(*sizes, size[i]):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _curves(solution: Solution, quantities: list[Any]) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """Times and values; between the steps of the solver the states follow the cubic that fits values and slopes."""
    ts, ys = np.asarray(solution.ts, dtype=float), np.asarray(solution.ys, dtype=float)
    system = solution.model.system
    # Between two points of a random path there is no curve.
    if solution.at_steps and len(ts) > 1 and not (system.noise or system.jumps):
        if solution.is_dense:
            ts = _finer(ts[np.isfinite(ys).all(1)])
            ys = np.asarray(jax.vmap(solution.evaluate)(jnp.asarray(ts, solution.ys.dtype)), dtype=float)
        elif not system.delays:
            slopes = np.asarray(solution.model.slopes(solution.ts, solution.ys), dtype=float)
            ts, ys = _refined(ts, ys, slopes)
    return ts, solution.model.columns(quantities, ts, ys, lambda: solution.past(ts, ys))


def _finer(ts: np.ndarray) -> np.ndarray:
    """Times with a fixed number of points in each step."""
    ts = ts[np.concatenate([[True], np.diff(ts) != 0])]
    inside = np.linspace(0, 1, _POINTS_BETWEEN, endpoint=False)
    return np.append((ts[:-1, None] + inside * np.diff(ts)[:, None]).ravel(), ts[-1])


def _refined(ts: np.ndarray, ys: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubic Hermite interpolation with a fixed number of points in each step."""
    from scipy.interpolate import CubicHermiteSpline

    keep = np.concatenate([[True], np.diff(ts) != 0]) & np.isfinite(ys).all(1) & np.isfinite(slopes).all(1)
    ts, ys, slopes = ts[keep], ys[keep], slopes[keep]
    if len(ts) < 2:
        return ts, ys
    sign = 1.0 if ts[-1] > ts[0] else -1.0
    spline = CubicHermiteSpline(sign * ts, ys, sign * slopes)
    fine = _finer(ts)
    return fine, spline(sign * fine)
