"""How the reference values were computed: a slow, plain and very accurate integrator, independent of JAX.

Radau IIA collocation with seven stages (order 13, stiffly accurate, so index-1 algebra needs nothing special; E. Hairer
and G. Wanner (1996), Solving Ordinary Differential Equations II, sec. IV.5 and IV.8), in 80-bit arithmetic where the
machine has it. Newton's matrix is double, its residual is not: the iteration repairs what the factors lack. A step's
error is taken to be its difference from two half steps; the integration goes on from these, whose error is some 2^13
times smaller. The values in the problems' files were computed with tol=1e-15.
"""

from __future__ import annotations

from collections.abc import Iterable

import mpmath
import numpy as np
import scipy.linalg

from .problem import Problem

REAL = np.longdouble
STAGES = 7
ORDER = 2 * STAGES - 1
# Without 80-bit arithmetic, references cannot be reproduced to all their digits.
EXTENDED = bool(np.finfo(REAL).eps < 1e-18)


def _tableau() -> tuple[np.ndarray, np.ndarray]:
    """Nodes c, the zeros of P_s(2x − 1) − P_{s−1}(2x − 1), and weights A = V C V⁻¹ of the collocation polynomial."""
    with mpmath.workdps(50):
        # 1 is a zero of the difference; mpmath orders coefficients from the highest power.
        top, below = _shifted_legendre(STAGES), [mpmath.mpf(0), *_shifted_legendre(STAGES - 1)]
        zeros = mpmath.polyroots([p - q for p, q in zip(top, below, strict=True)], maxsteps=500, extraprec=300)
        nodes = sorted(mpmath.re(zero) for zero in zeros)
        powers = mpmath.matrix([[c**k for k in range(STAGES)] for c in nodes])
        integrals = mpmath.matrix([[c ** (k + 1) / (k + 1) for k in range(STAGES)] for c in nodes])
        weights = integrals * powers**-1
        c = np.array([REAL(mpmath.nstr(node, 30)) for node in nodes])
        a = np.array([[REAL(mpmath.nstr(weights[i, j], 30)) for j in range(STAGES)] for i in range(STAGES)])
    return c, a


def _shifted_legendre(n: int) -> list:
    """Coefficients of P_n(2x − 1), from the highest power."""
    return [(-1) ** (n - k) * mpmath.binomial(n, k) * mpmath.binomial(n + k, k) for k in range(n, -1, -1)]


C, A = _tableau()


def _step(problem: Problem, mass: np.ndarray, t, y: np.ndarray, h, scale: np.ndarray) -> np.ndarray | None:
    """One step of length h from (t, y); None where Newton's iteration does not converge."""
    jac = problem.numpy_jac(float(t), y.astype(float), problem.params)
    matrix = np.kron(np.eye(STAGES), np.diag(mass)) - np.kron(float(h) * A.astype(float), jac)
    factors = scipy.linalg.lu_factor(matrix)
    z = np.zeros((STAGES, len(y)), dtype=REAL)
    last = np.inf
    rounding = 30 * np.finfo(REAL).eps
    for iteration in range(60):
        slopes = np.array(
            [problem.numpy_rhs(t + C[i] * h, y + z[i], problem.params) for i in range(STAGES)], dtype=REAL
        )
        residual = h * (A @ slopes) - mass * z
        change = scipy.linalg.lu_solve(factors, residual.astype(float).ravel()).reshape(z.shape)
        z = z + change
        size = float(np.max(np.abs(change) / scale))
        stalled = iteration > 3 and size > 0.8 * last
        if size < rounding or (stalled and size < 300 * rounding):
            return y + z[-1]
        if not np.isfinite(size) or stalled:
            return None
        last = size
    return None


def integrate(
    problem: Problem, times: Iterable[float], tol: float, floor: float = 1e-14, max_steps: int = 20_000
) -> dict[float, np.ndarray]:
    """States at `times`.

    Arguments:
        problem: any problem of the zoo, with or without algebraic states
        times: ascending, later than `problem.t0`
        tol: largest relative difference between a step and its two halves; the result is more accurate by some 2^13
        floor: absolute size below which a component counts as zero
        max_steps: bound on the number of attempted steps

    Returns:
        time -> state, an array of `REAL`

    Raises:
        RuntimeError: `max_steps` attempts did not reach the last time
    """
    mass = np.array(problem.mass or (1.0,) * len(problem.y0), dtype=float)
    y, t = np.array(problem.y0, dtype=REAL), REAL(problem.t0)
    h = REAL(problem.t1 - problem.t0) * REAL(1e-10)
    states: dict[float, np.ndarray] = {}
    attempts = 0
    for time in times:
        target = REAL(time)
        while t < target:
            attempts += 1
            if attempts > max_steps:
                raise RuntimeError(
                    f"{problem.name}: {max_steps} steps reached only t = {t} of {time}; raise tol or floor"
                )
            final = t + 1.01 * h >= target
            step = target - t if final else h
            scale = np.abs(y) + floor
            whole = _step(problem, mass, t, y, step, scale)
            half = None if whole is None else _step(problem, mass, t, y, step / 2, scale)
            new = None if half is None else _step(problem, mass, t + step / 2, half, step / 2, scale)
            if whole is None or new is None:
                h = step / 3
                continue
            error = float(np.max(np.abs(whole - new) / (np.maximum(np.abs(y), np.abs(new)) + floor)))
            factor = min(4.0, max(0.2, 0.8 * (tol / max(error, 1e-25)) ** (1 / ORDER)))
            if error > tol:
                h = step * min(factor, 0.7)
                continue
            t, y = (target if final else t + step), new
            # A step cut short by a save point says nothing against the longer one.
            h = max(h, step * factor) if final else step * factor
        states[time] = y.copy()
    return states
