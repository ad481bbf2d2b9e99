"""The fitted model at any times, with the uncertainty of the curve and of a new measurement."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from symdeq._errors import FitError, ModelError
from symdeq.fit.objective import Objective
from symdeq.fit.starts import REASON
from symdeq.fit.values import Named

if TYPE_CHECKING:
    from symdeq.fit.result import Fit


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """One column along the fitted solution; all of shape (times,).

    - `value`: the model.
    - `low`, `high`: pointwise confidence limits of the model.
    - `measurement_low`, `measurement_high`: limits between which a new measurement lies.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    measurement_low: np.ndarray
    measurement_high: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The fitted model at `times`; `prediction["hare"]` is the `Curve` of a column, with limits of `level`."""

    times: np.ndarray
    level: float
    curves: Named[Curve]

    def __getitem__(self, column: Any) -> Curve:
        return self.curves[column]


@eqx.filter_jit
def _along(objective: Objective, scaled: Any, times: Any) -> Any:
    return objective.predict_with_slope(scaled, times)


def predict(fit: Fit, times: Any, level: float) -> Prediction:
    """See `Fit.predict`."""
    objective = fit.objective
    dtype = objective.times.dtype
    asked = np.atleast_1d(np.asarray(times, dtype=float))
    _check_times(asked, float(objective.t0))
    order = np.argsort(asked, kind="stable")
    back = np.argsort(order, kind="stable")
    scaled, _, slope, failure = _along(objective, jnp.asarray(fit.scaled, dtype), jnp.asarray(asked[order], dtype))
    if int(failure):
        raise FitError(
            f"The fitted model could not be solved from t0 = {float(objective.t0):g} up to {asked.max():g}: "
            f"{REASON[int(failure)].value.partition(': ')[2]}.\n  remedy: end earlier, or fit with more max_steps"
        )
    middle, slope = np.asarray(scaled, dtype=float)[back], np.asarray(slope, dtype=float)[back]
    width = fit.uncertainty.quantile(level)
    curves: dict[str, Curve] = {}
    # Directions in which the measurements say nothing are left out: an infinite band shows nothing.
    covariance = np.where(np.isfinite(fit.uncertainty.covariance), fit.uncertainty.covariance, 0.0)
    for i, (column, kind) in enumerate(zip(fit.data.columns, objective.kinds, strict=True)):
        variance = np.einsum("tp,pq,tq->t", slope[:, i], covariance, slope[:, i])
        sure, new = (
            width * np.sqrt(np.maximum(variance, 0)),
            width * np.sqrt(np.maximum(variance, 0) + fit.uncertainty.sigma[i] ** 2),
        )
        m = middle[:, i]
        limits = (kind.from_scale(v) for v in (m, m - sure, m + sure, m - new, m + new))
        curves[column] = Curve(*limits)
    return Prediction(times=asked, level=level, curves=Named(curves))


def _check_times(times: np.ndarray, t0: float) -> None:
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all():
        raise ModelError("The times of a prediction must be finite numbers in one dimension, at least one.")
    if times.min() < t0:
        raise ModelError(f"The time {times.min():g} lies before t0 = {t0:g}, where the model starts.")
    if times.max() <= t0:
        raise ModelError(f"No time lies after t0 = {t0:g}.", remedy="give a later one as well")
