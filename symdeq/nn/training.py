"""`Training`: what `train` returns; and the error that ends one whose loss or gradient is not finite."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from symdeq._errors import SymdeqError
from symdeq.solve.plot import import_pyplot


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Training:
    """What `train` returns; `print(training)` says how it went.

    - `module`: the module after the last step.
    - `losses`: the loss before each step, shape (steps,): `losses[0]` is that of the module as it was handed over.
    - `seconds`: how long each step took, shape (steps,); the first one compiles.
    - `ended`: why it ended, in words.
    """

    module: Any
    losses: np.ndarray
    seconds: np.ndarray
    ended: str

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss against the steps, on a logarithmic scale where all are positive.

        Arguments:

        - `ax`: the matplotlib axes to draw into; default new ones.

        Returns the axes. Raises `MissingExtraError` without matplotlib.
        """
        if ax is None:
            _, ax = import_pyplot().subplots(layout="constrained")
        ax.plot(np.arange(len(self.losses)), self.losses)
        if len(self.losses) and (self.losses > 0).all():
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_ylabel("loss")
        return ax

    def __str__(self) -> str:
        count = len(self.losses)
        if not count:
            return f"Training: no steps; {self.ended}"
        lowest = int(np.argmin(self.losses))
        later = self.seconds[1:]
        pace = f", then {1e3 * float(np.median(later)):.3g} ms a step" if len(later) else ""
        return (
            f"Training: {count} steps; {self.ended}\n"
            f"  loss:  {self.losses[0]:.6g} at first, {self.losses[-1]:.6g} at last, "
            f"lowest {self.losses[lowest]:.6g} at step {lowest}\n"
            f"  time:  {self.seconds.sum():.3g} s, the first step {self.seconds[0]:.3g} s{pace}"
        )

    __repr__ = __str__


class TrainingError(SymdeqError, RuntimeError):
    """A training whose loss or gradient was not finite; `training` holds the last good module and the losses."""

    def __init__(self, message: str, training: Training):
        self.training = training
        super().__init__(message)
