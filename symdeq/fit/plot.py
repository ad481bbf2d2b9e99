"""Pictures of a fit: data against the fitted curve, and the residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symdeq.fit.predict import Curve
from symdeq.solve.plot import import_pyplot

if TYPE_CHECKING:
    from symdeq.fit.result import Fit

_POINTS = 400
# Columns beside each other in one row of panels.
_ACROSS = 3


def plot(fit: Fit, level: float) -> Any:
    """See `Fit.plot`."""
    plt = import_pyplot()
    columns = len(fit.data.columns)
    across = min(columns, _ACROSS)
    down = -(-columns // across)
    figure, grid = plt.subplots(
        2 * down,
        across,
        squeeze=False,
        sharex=True,
        height_ratios=[3, 1] * down,
        figsize=(1.5 + 4.5 * across, 0.5 + 3.8 * down),
        layout="constrained",
    )
    start, end = fit.t0, float(np.nanmax(fit.data.times))
    prediction = fit.predict(np.linspace(start, end, _POINTS), level)
    axes = np.empty((2, columns), dtype=object)
    for i, column in enumerate(fit.data.columns):
        axes[0, i], axes[1, i] = grid[2 * (i // across), i % across], grid[2 * (i // across) + 1, i % across]
        color = f"C{i % 10}"
        _draw_curve(axes[0, i], prediction.times, prediction[column], color, level)
        axes[0, i].plot(
            fit.data.times, fit.data.values[:, i], "o", color=color, markeredgecolor="white", markersize=5, label="data"
        )
        axes[0, i].set_title(column)
        axes[0, i].legend(loc="best", fontsize="x-small")
        _draw_residuals(axes[1, i], fit, i, color)
    for unused in range(columns, down * across):
        grid[2 * (unused // across), unused % across].set_axis_off()
        grid[2 * (unused // across) + 1, unused % across].set_axis_off()
    figure.align_ylabels()
    return axes


def _draw_curve(ax: Any, times: np.ndarray, curve: Curve, color: str, level: float) -> None:
    text = f"{100 * level:g} %"
    ax.fill_between(
        times,
        curve.measurement_low,
        curve.measurement_high,
        color=color,
        alpha=0.12,
        linewidth=0,
        label=f"{text} of measurements",
    )
    ax.fill_between(
        times, curve.low, curve.high, color=color, alpha=0.35, linewidth=0, label=f"{text} band of the model"
    )
    ax.plot(times, curve.value, color=color, label="fit")


def _draw_residuals(ax: Any, fit: Fit, i: int, color: str) -> None:
    column = fit.data.columns[i]
    standardised = fit.residuals[column] / fit.sigma[column]
    ax.axhline(0, color="gray", linewidth=0.8)
    ax.axhspan(-2, 2, color="gray", alpha=0.12, linewidth=0)
    ax.vlines(fit.data.times, 0, standardised, color=color, linewidth=1)
    ax.plot(fit.data.times, standardised, "o", color=color, markersize=3)
    reach = max(2.5, 1.1 * float(np.nanmax(np.abs(standardised))))
    ax.set_ylim(-reach, reach)
    ax.set_ylabel("residual / σ", fontsize="small")
    ax.set_xlabel(fit.data.time)
