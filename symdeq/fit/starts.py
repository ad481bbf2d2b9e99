"""The record of a multi-start search: where each start led, and why some led nowhere."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from symdeq._errors import MissingExtraError
from symdeq.fit import objective as codes

if TYPE_CHECKING:
    import pandas as pd

# Two ends whose log-likelihoods differ by less than this are the same optimum.
SAME = 1e-2


class Outcome(Enum):
    """What became of a start; the value is the sentence that the table shows."""

    converged = "converged"
    slow = "had not converged when its iterations were used up"
    stalled = "stopped where no step improves the fit, without having converged"
    nonpositive = "ended where the model predicts a value of zero or below for a column with log-normal errors"
    max_steps = "could not be solved from there: max_steps was reached"
    not_finite = "could not be solved from there: a value is not finite"
    inconsistent = "could not be solved from there: no consistent initial values were found"
    derivative = "could be solved from there, but not differentiated: a derivative is not finite"


# By the code that the program returns.
REASON = {
    codes.MAX_STEPS: Outcome.max_steps,
    codes.NOT_FINITE: Outcome.not_finite,
    codes.START: Outcome.inconsistent,
    codes.DERIVATIVE: Outcome.derivative,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Starts:
    """A row a start; start 0 is the model's own values.

    - `names`: of the unknowns.
    - `begin`, `end`: their values there, shape (starts, unknowns).
    - `costs`: minus the log-likelihood at the end, shape (starts,); infinite where the model could not be solved.
    - `iterations`: Levenberg-Marquardt steps, shape (starts,).
    - `outcomes`: of each start.
    """

    names: tuple[str, ...]
    begin: np.ndarray
    end: np.ndarray
    costs: np.ndarray
    iterations: np.ndarray
    outcomes: tuple[Outcome, ...]

    def __len__(self) -> int:
        return len(self.costs)

    @property
    def converged(self) -> np.ndarray:
        """Which starts converged, to whatever optimum, shape (starts,)."""
        return np.array([outcome is Outcome.converged for outcome in self.outcomes])

    @property
    def failed(self) -> np.ndarray:
        """Which starts the model could not be solved from, shape (starts,)."""
        return ~np.isfinite(self.costs)

    @property
    def best(self) -> int:
        """The converged start of lowest cost; if none converged, the start of lowest cost."""
        costs = np.where(self.converged, self.costs, np.inf) if self.converged.any() else self.costs
        return int(np.argmin(costs))

    @property
    def promising(self) -> np.ndarray:
        """Which starts did not converge and yet got below the best that did, by more than 0.01, shape (starts,)."""
        return ~self.converged & (self.costs < self.costs[self.best] - SAME)

    @property
    def agreeing(self) -> np.ndarray:
        """Which converged starts reached the lowest cost, within 0.01, shape (starts,)."""
        return self.converged & (self.costs < self.costs[self.best] + SAME)

    def to_pandas(self) -> pd.DataFrame:
        """A table with a row a start: outcome, cost, iterations, and the unknowns at the end."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "fit", "to_pandas") from None
        columns: dict[str, Any] = {
            "outcome": [o.name for o in self.outcomes],
            "cost": self.costs,
            "iterations": self.iterations,
        }
        return pd.DataFrame({**columns, **dict(zip(self.names, self.end.T, strict=True))})

    def __str__(self) -> str:
        lines = [f"{'start':>5}  {'cost':>12}  {'iterations':>10}  outcome"]
        for i in np.argsort(self.costs, kind="stable"):
            mark = " (the best)" if self.agreeing[i] else ""
            lines.append(f"{i:>5}  {self.costs[i]:>12.6g}  {self.iterations[i]:>10}  {self.outcomes[i].value}{mark}")
        return "\n".join(lines)

    __repr__ = __str__


def outcome(failure: int, converged: bool, reaches: bool, used_up: bool) -> Outcome:
    """What became of a start, from what the program reports about it."""
    if failure:
        return REASON[failure]
    if not reaches:
        return Outcome.nonpositive
    if converged:
        return Outcome.converged
    return Outcome.slow if used_up else Outcome.stalled
