"""A look at the Jacobian before the solve: it picks the mode to start in, and says why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from symdeq._host import is_finite, spectral_radius

# Up to this many states the eigenvalues are computed; beyond it the infinity norm bounds them.
_EIGENVALUES_UP_TO = 200
# An explicit method of order 5 is stable for steps up to about this over the spectral radius.
_STABLE = 3.3
# Decay times in the interval from which on a method for stiff problems is the right one, whatever the solution does.
_MANY_DECAY_TIMES = 2000.0
# Starting in the implicit mode pays where stability would cut the first steps by more than this.
_CLEARLY_STIFF = 20.0


@dataclass(frozen=True)
class Probe:
    """Time scales at the initial point, from the declared values.

    - `fastest`: 1 over the spectral radius of the Jacobian, infinite where that is zero.
    - `solution`: the time in which the solution itself changes by its own size.
    - `starts_stiff`: whether stability, and not accuracy, would limit an explicit method from the first step.
    - `states`: how many there are.
    - `surely_stiff`: whether a state decays so fast by itself that an explicit method would take thousands of steps.
    """

    fastest: float
    solution: float
    starts_stiff: bool
    states: int
    surely_stiff: bool = False

    def __str__(self) -> str:
        if not math.isfinite(self.fastest):
            return "nothing in the Jacobian limits the step"
        return f"fastest time scale {self.fastest:.2g}, the solution changes in {self.solution:.2g}"


def probe(jacobian: Any, slope: np.ndarray, y0: np.ndarray, duration: float, scale: float) -> Probe:
    """Judge a model at its initial point.

    Arguments:

    - `jacobian`, `slope`, `y0`: df/dy, shape (n, n), dense or sparse, f and y at the start, shape (n,).
    - `duration`: the length of the interval of integration; infinite if unknown.
    - `scale`: the size below which a state counts as zero, atol / rtol.

    Returns a `Probe`; where a value is not finite, one that starts explicitly.
    """
    if not (is_finite(jacobian) and np.isfinite(slope).all()):
        return Probe(math.inf, math.inf, False, len(y0))
    if len(y0) <= _EIGENVALUES_UP_TO:
        radius = spectral_radius(jacobian)
    else:
        radius = float(np.max(abs(jacobian).sum(axis=1), initial=0.0))
    fastest = math.inf if radius == 0 else 1 / radius
    with np.errstate(divide="ignore"):
        times = (np.abs(y0) + scale) / np.abs(slope)
    solution = min(float(np.min(times, initial=math.inf)), duration)
    decay = -float(np.min(jacobian.diagonal(), initial=0.0))
    lasting = math.isfinite(duration) and decay * duration > _MANY_DECAY_TIMES
    return Probe(fastest, solution, solution > _CLEARLY_STIFF * _STABLE * fastest, len(y0), lasting)
