"""Rosenbrock23: Rosenbrock method of order 2 for stiff equations at loose tolerances, the method of MATLAB's ode23s.

Shampine and Reichelt, The MATLAB ODE Suite, SIAM J. Sci. Comput. 18 (1997) 1-22, section 3.1. There, with W = I - h d
J,

    W k1 = F0 + h d T,    W (k2 - k1) = F1 - k1,    W k3 = F2 - e32 (k2 - F1) - 2 (k1 - F0) + h d T,

F0 = f(t0, y0), F1 = f(t0 + h/2, y0 + h k1 / 2), y1 = y0 + h k2, F2 = f(t1, y1), T = df/dt, and h (k1 - 2 k2 + k3) / 6
estimates the error. Putting W k1 and W (k2 - k1) in place of F0 and F1 gives the classical form
k_i = f(y0 + h Σ α_ij k_j) + h J Σ γ_ij k_j + γ_i h T with the coefficients below, and u_i = h Σ γ_ij k_j that of
`rosenbrock.py`: A = α Γ⁻¹, C = 1/γ - Γ⁻¹, b Γ⁻¹ for the weights, and the row sums of Γ for D.
"""

import math
from typing import ClassVar

import numpy as np

from symdeq.solvers.rosenbrock import AbstractRosenbrock, RosenbrockTableau

_D = 1 / (2 + math.sqrt(2))
_E32 = 6 + math.sqrt(2)
_ALPHA = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0]])
_GAMMA = _D * np.array([[1.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [_E32 - 2, -_E32, 1.0]])
_INVERSE = np.linalg.inv(_GAMMA)


def _rows(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in matrix)


ROSENBROCK23 = RosenbrockTableau(
    order=2,
    error_order=3,
    gamma=_D,
    a=_rows(_ALPHA @ _INVERSE),
    c=_rows(np.tril(-_INVERSE, -1)),
    times=(0.0, 0.5, 1.0),
    d=tuple(float(v) for v in _GAMMA.sum(axis=1)),
    b=_rows(np.array([[0.0, 1.0, 0.0]]) @ _INVERSE)[0],
    b_error=_rows(np.array([[1.0, -2.0, 1.0]]) / 6 @ _INVERSE)[0],
    # y(θ) - (1 - θ) y0 - θ y1 of their interpolant is h θ (1 - θ) (k1 - k2) / (1 - 2 d).
    dense=_rows(np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]) / (1 - 2 * _D) @ _INVERSE),
)


class Rosenbrock23(AbstractRosenbrock):
    """Order 2, L-stable, with dense output of order 2; for tolerances looser than 1e-4 or so.

    A diffrax solver: `diffrax.diffeqsolve(diffrax.ODETerm(f), Rosenbrock23(), ...)`. Three stages with one
    factorisation. Source: Shampine and Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22, section 3.1.
    """

    tableau: ClassVar[RosenbrockTableau] = ROSENBROCK23
