"""Solutions at the save points, and gradients of the loss, that share nothing with JAX: collocation of order 13.

They are computed once and kept under `.cache/benchmarks/`. For a gradient each parameter is moved by a ten-thousandth
either way; the central difference of the loss is then good to about 1e-7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.zoo import Problem
from tests.zoo.collocation import integrate

_CACHE = Path(__file__).resolve().parent.parent.parent / ".cache" / "benchmarks"
_TOLERANCE = 1e-11
_MOVE = 1e-4


def states(problem: Problem) -> np.ndarray:
    """The states at `problem.ts`, shape (times, states)."""
    return kept(problem, "states", lambda: _integrate(problem))


def gradient(problem: Problem) -> np.ndarray:
    """The gradient by the parameters of the sum of squares of all saved states, shape (parameters,)."""
    return kept(problem, "gradient", lambda: np.array([_slope(problem, i) for i in range(len(problem.params))]))


def error(problem: Problem, ys: np.ndarray, reference: np.ndarray) -> float:
    """The largest error of any state at any save point, in units of the tolerance atol + rtol |y|."""
    if not np.isfinite(ys).all():
        return float("inf")
    return float(np.max(np.abs(ys - reference) / (problem.atol + problem.rtol * np.abs(reference))))


def gradient_error(problem: Problem, value: np.ndarray, reference: np.ndarray) -> float:
    """The largest error of p ∂L/∂p, relative to the largest of these, so that parameters of every size count alike."""
    if not np.isfinite(value).all():
        return float("inf")
    p = np.array(problem.params)
    return float(np.max(np.abs(p * (value - reference))) / np.max(np.abs(p * reference)))


def _integrate(problem: Problem) -> np.ndarray:
    found = integrate(problem, problem.ts, tol=_TOLERANCE, floor=problem.atol)
    return np.array([found[t] for t in problem.ts], dtype=float)


def _slope(problem: Problem, i: int) -> float:
    def loss(factor: float) -> float:
        p = list(problem.params)
        p[i] *= factor
        return float(np.sum(_integrate(replace(problem, params=tuple(p))) ** 2))

    return (loss(1 + _MOVE) - loss(1 - _MOVE)) / (2 * _MOVE * problem.params[i])


def kept(problem: Problem, what: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """What was computed for a problem, from disk where it has been computed before."""
    key = repr((problem.y0, problem.params, problem.t0, problem.ts, problem.atol, problem.mass, _TOLERANCE, _MOVE))
    path = _CACHE / f"{problem.name}-{what}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    value = compute()
    _CACHE.mkdir(parents=True, exist_ok=True)
    np.save(path, value, allow_pickle=False)
    return value
