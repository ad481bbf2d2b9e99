"""`Fit`: estimates, how well they are determined, and how they were found."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any

import numpy as np

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.fit.data import Measurements
from symdeq.fit.noise import AbstractNoise
from symdeq.fit.objective import Objective, Point
from symdeq.fit.predict import Prediction, predict
from symdeq.fit.profile import Profile, profile
from symdeq.fit.starts import Starts
from symdeq.fit.uncertainty import Uncertainty, combination, natural
from symdeq.fit.values import Named


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """What `fit` returns; `print(fit)` shows its summary.

    - `model`: the model with the estimates in place; ready for `symdeq.solve`.
    - `data`, `noise`: the measurements, and the noise of each column.
    - `starts`: where each start of the search led.
    - `cost`: minus the log-likelihood, natural logarithm, all constants included.
    - `t0`: the time of the initial values.
    - `uncertainty`: degrees of freedom and the information matrix's directions.
    - `objective`, `point`: the function that was minimised, and its value at the estimates.
    """

    model: Model
    data: Measurements
    noise: tuple[AbstractNoise, ...]
    starts: Starts
    cost: float
    t0: float
    uncertainty: Uncertainty
    objective: Objective
    point: Point

    @property
    def ok(self) -> bool:
        """Whether the best start converged."""
        return bool(self.starts.converged[self.starts.best])

    @property
    def unknowns(self) -> tuple[str, ...]:
        """The names of the unknowns, in the order of `covariance`."""
        return self.objective.coordinates.names

    @cached_property
    def scaled(self) -> np.ndarray:
        """The estimates on their scales (logarithms of log-scaled ones), shape (p,)."""
        return np.asarray(self.point.scaled, dtype=float)

    @cached_property
    def estimates(self) -> Named[float]:
        """Maximum-likelihood estimates, by symbol or name."""
        return self._named(np.array([float(self.model[name]) for name in self.unknowns]))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of the estimates, shape (p, p), from the Fisher information (delta method where log-scaled)."""
        return natural(self.objective, self.scaled, self.uncertainty.covariance)

    @cached_property
    def correlation(self) -> np.ndarray:
        """Correlation of the estimates, shape (p, p); NaN for unknowns that the measurements do not determine."""
        spread = np.sqrt(np.diag(self.covariance))
        spread[np.isinf(spread)] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(np.eye(len(spread), dtype=bool), 1.0, self.covariance / np.outer(spread, spread))

    @cached_property
    def stderr(self) -> Named[float]:
        """Standard errors, by symbol or name; infinite for unknowns that the measurements do not determine."""
        return self._named(np.sqrt(np.diag(self.covariance)))

    def interval(self, level: float = 0.95) -> Named[tuple[float, float]]:
        """Confidence intervals, by symbol or name.

        Arguments:

        - `level`: the probability that an interval covers the true value; default 0.95.

        Returns pairs (low, high) from Student's t distribution with `freedom` degrees of freedom (normal if all
        sigmas are known), symmetric on the scale of the unknown: those of log-scaled ones are positive. They end at
        the bounds.
        """
        _check_level(level)
        half = self.uncertainty.quantile(level) * np.sqrt(np.diag(self.uncertainty.covariance))
        low, high = self.objective.coordinates.limits()
        ends = [np.maximum(self.scaled - half, low), np.minimum(self.scaled + half, high)]
        pairs = zip(*(self.objective.coordinates.values(end) for end in ends), strict=True)
        return Named({name: (float(a), float(b)) for name, (a, b) in zip(self.unknowns, pairs, strict=True)})

    @property
    def log_likelihood(self) -> float:
        """The largest value of the logarithm of the likelihood."""
        return -self.cost

    @property
    def aic(self) -> float:
        """Akaike's information criterion; estimated sigmas count as parameters."""
        return 2 * (self._parameters + self.cost)

    @property
    def bic(self) -> float:
        """Schwarz's information criterion; estimated sigmas count as parameters."""
        return math.log(int(self.data.counts.sum())) * self._parameters + 2 * self.cost

    @property
    def freedom(self) -> float:
        """Degrees of freedom: measurements behind estimated sigmas less the unknowns they determine, or infinite."""
        return self.uncertainty.freedom

    @property
    def sigma(self) -> Named[float]:
        """Standard deviation of the noise of each column, as given or estimated.

        An estimate is the root of the sum of squared residuals over n - p', with p' the degrees of freedom that the
        unknowns take from this column's n measurements; for a single column n - p.
        """
        return Named(dict(zip(self.data.columns, map(float, self.uncertainty.sigma), strict=True)))

    @property
    def sigma_stderr(self) -> Named[float]:
        """Standard errors of the estimated `sigma`, sigma / sqrt(2 (n - p')); 0 for those that were given."""
        return Named(dict(zip(self.data.columns, map(float, self.uncertainty.sigma_stderr), strict=True)))

    @cached_property
    def residuals(self) -> Named[np.ndarray]:
        """Measurement less model on the scale of the noise, by column, in the rows of the data; NaN where missing."""
        table = np.full(self.data.values.shape, np.nan)
        table[self.data.rows] = -np.asarray(self.point.differences, dtype=float)
        table[~self.data.present] = np.nan
        return Named(dict(zip(self.data.columns, table.T, strict=True)))

    @property
    def gradient_norm(self) -> float:
        """How far the optimum is: the next Gauss-Newton step in standard errors, unknowns at a bound left out."""
        return self.uncertainty.offset

    @property
    def at_bound(self) -> tuple[str, ...]:
        """The unknowns that a bound holds; their standard errors and intervals are not to be trusted."""
        return tuple(name for name, held in zip(self.unknowns, self.uncertainty.at_bound, strict=True) if held)

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Combinations of unknowns along which the measurements do not change."""
        c = self.objective.coordinates
        return tuple(combination(c.names, c.log, direction) for direction in self.uncertainty.undetermined)

    def predict(self, times: Any, level: float = 0.95) -> Prediction:
        """The fitted model at any times from `t0` on.

        Arguments:

        - `times`: shape (times,), in any order.
        - `level`: of the limits; default 0.95.

        Returns a `Prediction`: by column the model, the limits of the model, and those of a new measurement, by the
        delta method on the scale of the noise.
        """
        _check_level(level)
        return predict(self, times, level)

    def profile(self, unknown: Any, *, level: float = 0.95, points: int = 40) -> Profile:
        """The profile likelihood of one unknown: the cost with this unknown held and all others estimated anew.

        Arguments:

        - `unknown`: a symbol or name.
        - `level`: of the interval; default 0.95.
        - `points`: the most values on either side of the estimate; default 40.

        Returns a `Profile` with values, costs, the interval (honest where the likelihood is not a parabola, and
        infinite where the measurements set no limit), and `plot()`.
        """
        _check_level(level)
        return profile(self, unknown, level, points)

    def plot(self, level: float = 0.95) -> Any:
        """Draw data against fit, a panel a column: curve, bands of model (dark) and measurements (light), residuals.

        Returns an array of matplotlib axes, shape (2, columns): fits above, residuals below. Raises
        `MissingExtraError` without matplotlib.
        """
        from symdeq.fit.plot import plot

        _check_level(level)
        return plot(self, level)

    def summary(self, level: float = 0.95) -> str:
        """The estimates with standard errors and intervals, the noise, and how the search went, as text."""
        from symdeq.fit.summary import summary

        _check_level(level)
        return summary(self, level)

    def __repr__(self) -> str:
        return self.summary()

    @property
    def _parameters(self) -> int:
        return len(self.unknowns) + sum(self.objective.estimated)

    def _named(self, values: np.ndarray) -> Named[float]:
        return Named(dict(zip(self.unknowns, map(float, values), strict=True)))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ModelError(f"The level of an interval must lie between 0 and 1, not {level!r}.", remedy="0.95 is usual")
