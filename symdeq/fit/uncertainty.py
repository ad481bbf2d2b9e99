"""How well the measurements determine the unknowns: the Fisher information at the optimum.

With A the derivatives of the differences with respect to the unknowns on their scales, each row divided by its sigma,
the information is F = A'A, the covariance of the estimates F^-1, and A F^-1 A' takes up nu_c' = trace of its block of
column c degrees of freedom of that column's n_c. An estimated sigma is sigma_c^2 = (sum of squared differences) /
(n_c - nu_c'), free of bias to first order; for a single column that is the familiar n - p. (Seber and Wild, Nonlinear
Regression, 1989, sections 2.1 and 5.1; Bates and Watts, Nonlinear Regression Analysis, 1988, section 2.4.)
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import stats

from symdeq.fit.objective import Objective, Point

# Derivatives that are parallel to within this part of their length say that the measurements cannot tell two unknowns
# apart.
_PARALLEL = {"float64": 1e-6, "float32": 1e-3}
# An unknown takes part in an undetermined combination if its share of that direction, a unit vector, is larger than
# this.
_SHARE = 1e-2
# Closer to a bound than this many standard errors, and pushed against it, is at the bound.
_AT_BOUND = 1e-2


@dataclasses.dataclass(frozen=True, eq=False)
class Uncertainty:
    """What the derivatives at one point say; p unknowns, on their scales.

    - `covariance`: shape (p, p); infinite where the measurements say nothing.
    - `sigma`, `sigma_stderr`: of each column; the standard error is 0 where sigma was given.
    - `freedom`: degrees of freedom behind the estimated sigmas; infinite if all were given.
    - `offset`: how far the next Gauss-Newton step would take the estimates, in standard errors; leaves out unknowns
        at a bound.
    - `at_bound`: which unknowns are held by a bound, shape (p,).
    - `undetermined`: directions in which the measurements say nothing, shape (directions, p).
    """

    covariance: np.ndarray
    sigma: np.ndarray
    sigma_stderr: np.ndarray
    freedom: float
    offset: float
    at_bound: np.ndarray
    undetermined: np.ndarray

    def quantile(self, level: float) -> float:
        """Half the width of an interval in standard errors: Student's t, or normal if all sigmas are known."""
        if math.isinf(self.freedom):
            return float(stats.norm.ppf((1 + level) / 2))
        return float(stats.t.ppf((1 + level) / 2, max(self.freedom, 1e-3)))

    def threshold(self, level: float, count: int) -> float:
        """By how much the cost may rise within a profile interval; `count` measurements are behind estimated sigmas.

        The logarithm of 1 + t^2 / freedom makes the interval that of Student's t where the model is linear.
        """
        if math.isinf(self.freedom):
            return self.quantile(level) ** 2 / 2
        return count / 2 * math.log1p(self.quantile(level) ** 2 / max(self.freedom, 1e-3))


def uncertainty(objective: Objective, point: Point) -> Uncertainty:
    """Judge a point; on the host."""
    free = np.asarray(objective.free)
    differences = np.asarray(point.differences, dtype=float)
    jacobian = np.asarray(point.jacobian, dtype=float) * free
    present, estimated = np.asarray(objective.present), np.array(objective.estimated)
    counts = present.sum(axis=0)
    likeliest = np.where(
        estimated,
        np.sqrt(np.asarray(objective.spread(point.differences), dtype=float)) * np.asarray(objective.size, dtype=float),
        np.asarray(objective.sigma, dtype=float),
    )
    weighted, residuals = (jacobian / likeliest[:, None])[present], (differences / likeliest)[present]
    at_bound = _at_bound(objective, np.asarray(point.scaled, dtype=float), weighted, residuals) & free
    tolerance = _PARALLEL[str(point.scaled.dtype)]
    basis, _, _ = _directions(weighted * ~at_bound, tolerance)
    offset = float(np.linalg.norm(basis.T @ residuals) / math.sqrt(max(basis.shape[1], 1)))

    basis, _, _ = _directions(weighted, tolerance)
    column_of = np.broadcast_to(np.arange(len(counts)), present.shape)[present]
    taken = np.bincount(column_of, weights=np.sum(basis**2, axis=1), minlength=len(counts))
    left = np.where(estimated, counts - taken, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        unbiased = likeliest * np.sqrt(counts / left)
        sigma = np.where(estimated & (left > 1e-3), unbiased, likeliest)
        sigma_stderr = np.where(estimated, np.where(left > 1e-3, sigma / np.sqrt(2 * left), np.inf), 0.0)
    _, covariance, undetermined = _directions((jacobian / sigma[:, None])[present], tolerance)
    # What was held fixed is neither uncertain nor undetermined.
    undetermined = (
        undetermined[np.abs(undetermined[:, free]).max(axis=1, initial=0) > _SHARE]
        if len(undetermined)
        else undetermined
    )
    unknown = np.abs(undetermined).max(axis=0, initial=0) > _SHARE
    covariance[unknown & free, unknown & free] = np.inf
    return Uncertainty(
        covariance=covariance,
        sigma=sigma,
        sigma_stderr=sigma_stderr,
        freedom=float(left[estimated].sum()) if estimated.any() else math.inf,
        offset=offset,
        at_bound=at_bound,
        undetermined=undetermined,
    )


def nothing_known(objective: Objective) -> Uncertainty:
    """For a point at which the model could not be solved."""
    p = len(objective.coordinates.names)
    return Uncertainty(
        covariance=np.diag(np.full(p, np.inf)),
        sigma=np.where(np.array(objective.estimated), np.nan, np.asarray(objective.sigma, dtype=float)),
        sigma_stderr=np.where(np.array(objective.estimated), np.inf, 0.0),
        freedom=math.nan if any(objective.estimated) else math.inf,
        offset=math.inf,
        at_bound=np.zeros(p, dtype=bool),
        undetermined=np.zeros((0, p)),
    )


def _directions(weighted: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An orthonormal basis of the columns' span, the covariance, and the directions in which nothing changes."""
    length = np.linalg.norm(weighted, axis=0)
    scale = np.where(length > 0, length, 1)
    left, values, right = np.linalg.svd(weighted / scale, full_matrices=False)
    kept = values > tolerance * max(values.max(initial=0), 1e-300)
    spread = right[kept] / values[kept, None] / scale
    # In the unknowns themselves, and of unit length again.
    lost = right[~kept] / scale
    lost = lost / np.maximum(np.linalg.norm(lost, axis=1, keepdims=True), 1e-300)
    return left[:, kept], spread.T @ spread, lost


def _at_bound(objective: Objective, scaled: np.ndarray, weighted: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    low, high = objective.coordinates.limits()
    gradient, length = weighted.T @ residuals, np.linalg.norm(weighted, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = _AT_BOUND / length
        width = np.where(np.isfinite(high - low), high - low, np.asarray(objective.coordinates.size, dtype=float))
        near = np.maximum(np.where(np.isfinite(near), np.minimum(near, 1e-3 * width), 0), 1e-9 * width)
    return ((scaled - low < near) & (gradient > 0)) | ((high - scaled < near) & (gradient < 0))


def combination(names: tuple[str, ...], log: tuple[bool, ...], direction: np.ndarray) -> str:
    """A direction in words: which unknowns may change together, unseen by the measurements."""
    size = np.abs(direction)
    largest = direction[np.argmax(size > 0.999 * size.max())]  # the first of equals, whatever the last digits say
    parts: list[str] = []
    for name, is_log, share in zip(names, log, direction / largest, strict=True):
        if abs(share * largest) > _SHARE:
            of = f"log {name}" if is_log else name
            sign = "-" if share < 0 else "+" if parts else ""
            factor = "" if math.isclose(abs(share), 1, rel_tol=1e-3) else f"{abs(share):.3g} "
            parts.append(f"{sign} {factor}{of}" if parts else f"{sign}{factor}{of}")
    return " ".join(parts)


def natural(objective: Objective, scaled: np.ndarray, covariance: np.ndarray) -> Any:
    """A covariance of values from one on the scales, by the delta method: d value / d log value = value."""
    slope = np.where(
        np.array(objective.coordinates.log, dtype=bool), np.exp(scaled * np.array(objective.coordinates.log)), 1.0
    )
    return slope[:, None] * covariance * slope
