"""Profile likelihood: the cost along one unknown with all others estimated anew.

Venzon and Moolgavkar, Applied Statistics 37 (1988) 87-94; for differential equations Raue et al., Bioinformatics 25 (2009) 1923-1929.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError
from symdeq.fit.estimate import search
from symdeq.solve.plot import import_pyplot

if TYPE_CHECKING:
    from symdeq.fit.result import Fit

# A walk aims at this many values from the estimate to the end of the interval, and goes on a little beyond it.
_VALUES = 6
_BEYOND = 1.3
_ITERATIONS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """The cost along one unknown.

    - `name`: of the unknown.
    - `values`: increasing, shape (points,); the estimate is among them.
    - `costs`: minus the log-likelihood, the other unknowns estimated anew, shape (points,).
    - `others`: those estimates, shape (points, p), in the order of `Fit.unknowns`; the column of the unknown itself holds `values`.
    - `level`, `threshold`: of the interval, and the cost at its ends.
    - `interval`: (low, high); where the measurements set no limit within what was tried, minus infinity (0 for a log-scaled unknown) or infinity,
        or the bound.
    """

    name: str
    values: np.ndarray
    costs: np.ndarray
    others: np.ndarray
    level: float
    threshold: float
    interval: tuple[float, float]
    log: bool

    def plot(self, ax: Any = None) -> Any:
        """Draw cost against value, with the threshold and the interval; returns the matplotlib axes."""
        ax = import_pyplot().subplots(layout="constrained")[1] if ax is None else ax
        ax.plot(self.values, self.costs, "o-", markersize=3)
        ax.axhline(self.threshold, color="gray", linestyle="--", linewidth=0.8, label=f"{100 * self.level:g} % threshold")
        inside = [end for end in self.interval if self.values[0] <= end <= self.values[-1]]
        for end in inside:
            ax.axvline(end, color="gray", linestyle=":", linewidth=0.8)
        if self.log:
            ax.set_xscale("log")
        ax.set_xlabel(self.name)
        ax.set_ylabel("minus log-likelihood")
        ax.legend(fontsize="small")
        return ax


def profile(fit: Fit, unknown: Any, level: float, points: int) -> Profile:
    """See `Fit.profile`."""
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise ModelError(f"points must be a whole number from 1 on, not {points!r}.")
    name = unknown if isinstance(unknown, str) else getattr(unknown, "name", unknown)
    fit.estimates[name]  # an error that names what there is
    i = fit.unknowns.index(name)
    coordinates = fit.objective.coordinates
    limit = fit.uncertainty.threshold(level, int(fit.data.counts[np.array(fit.objective.estimated)].sum()))
    best = float(fit.objective.cost(fit.point.differences))
    low, high = (_walk(fit, i, sign, best, limit, points) for sign in (-1, 1))
    middle = (fit.scaled, best)
    found = [*reversed(low), middle, *high]
    scaled, costs = np.stack([s for s, _ in found]), np.array([c for _, c in found])
    ends = [_crossing(i, sign, [middle, *walked], best + limit, coordinates.limits()) for sign, walked in ((-1, low), (1, high))]
    # Constants of the likelihood that do not depend on the unknowns.
    shift = fit.cost - best
    log = coordinates.log[i]
    return Profile(
        name=name,
        values=np.asarray(coordinates.values(scaled))[:, i],
        costs=costs + shift,
        others=np.asarray(coordinates.values(scaled)),
        level=level,
        threshold=fit.cost + limit,
        interval=(math.exp(ends[0]), math.exp(ends[1])) if log else (ends[0], ends[1]),
        log=log,
    )


def _walk(fit: Fit, i: int, sign: int, best: float, limit: float, points: int) -> list[tuple[np.ndarray, float]]:
    """Points away from the estimate in one direction, until the cost is beyond the limit; the step adapts to how fast it rises."""
    objective, dtype = fit.objective, fit.objective.times.dtype
    bound = objective.coordinates.limits()[(sign + 1) // 2][i]
    spread = math.sqrt(fit.uncertainty.covariance[i, i])
    size = 1.0 if objective.coordinates.log[i] else abs(fit.scaled[i]) or 1.0
    step = (spread if math.isfinite(spread) else 0.1 * size) * fit.uncertainty.quantile(0.95) / _VALUES
    step = min(step, size)
    objective = eqx.tree_at(lambda o: o.free, objective, objective.free.at[i].set(False))
    walked: list[tuple[np.ndarray, float]] = []
    now, cost = fit.scaled, best
    for _ in range(points):
        held = now[i] + sign * step
        last = sign * (held - bound) >= 0
        target = np.array(now)
        target[i] = bound if last else held
        here = eqx.tree_at(lambda o: o.held, objective, jnp.asarray(target, dtype))
        start = jnp.asarray(objective.coordinates.search(now)[None], dtype)
        found = search(here, start, jnp.asarray(_ITERATIONS))
        new = float(found.cost[0])
        if not math.isfinite(new):
            step /= 4
            if step < 1e-6 * size:
                break
            continue
        rise, now, cost = new - cost, np.asarray(found.point.scaled[0], dtype=float), new
        walked.append((now, cost))
        if last or cost > best + _BEYOND * limit:
            break
        step *= min(3.0, max(0.3, 2 * limit / _VALUES / max(rise, 1e-300)))
    return walked


def _crossing(i: int, sign: int, walked: list[tuple[np.ndarray, float]], threshold: float, limits: Any) -> float:
    """Where the cost crosses the threshold, on the scale of the unknown; linear in the root of the rise, as a parabola has it."""
    root = [math.copysign(math.sqrt(abs(c - walked[0][1])), c - walked[0][1]) for _, c in walked]
    aim = math.sqrt(threshold - walked[0][1])
    for k in range(1, len(walked)):
        if root[k] >= aim:
            part = (aim - root[k - 1]) / (root[k] - root[k - 1])
            return float(walked[k - 1][0][i] + part * (walked[k][0][i] - walked[k - 1][0][i]))
    return float(limits[(sign + 1) // 2][i])
