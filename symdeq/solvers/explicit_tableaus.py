"""The explicit methods of diffrax that a switching solver may start with."""

import functools

import diffrax as dfx
import numpy as np

from symdeq.solvers.explicit import ExplicitTableau

_Rows = tuple[tuple[float, ...], ...]


def _rows(values: np.ndarray) -> _Rows:
    return tuple(tuple(float(v) for v in row) for row in values)


def _lower(method: dfx.ButcherTableau) -> _Rows:
    """The whole matrix A, the first stage's empty row included."""
    stages = len(method.b_sol)
    return _rows(np.array([np.pad(np.asarray(row), (0, stages - len(row))) for row in ([], *method.a_lower)]))


def quartic(method: dfx.ButcherTableau, weights: np.ndarray) -> _Rows:
    """The coefficients of `StepInterpolation` that equal y0 + h Σ b_i(θ) k_i.

    Arguments:

    - `weights`: shape (S, 5), the coefficients of 1, θ, …, θ⁴ in b_i(θ), with b_i(0) = 0 and b_i(1) = b_i.

    b_i(θ) - θ b_i vanishes at both ends, and the coefficients of θ, θ², θ³ in θ (1 - θ) (q0 + q1 θ + q2 θ²) are q0,
    q1 - q0, q2 - q1.
    """
    return _rows(np.cumsum([weights[:, 1] - np.asarray(method.b_sol), weights[:, 2], weights[:, 3]], axis=0))


def hermite(method: dfx.ButcherTableau) -> _Rows:
    """The coefficients of `StepInterpolation` that give the cubic through the values and slopes at both ends."""
    b, unit = np.asarray(method.b_sol), np.eye(len(method.b_sol))
    return _rows(np.array([unit[0] - b, 2 * b - unit[0] - unit[-1], 0 * b]))


def _polynomial(scale: float, *factors: tuple[float, ...]) -> np.ndarray:
    """The five coefficients, lowest first, of a product of polynomials that are given by theirs."""
    product = functools.reduce(np.polynomial.polynomial.polymul, (np.array(factor) for factor in factors))
    return np.pad(scale * product, (0, 5 - len(product)))


# The free interpolant of order 4: Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column
# simplifying assumption, Computers & Mathematics with Applications 62 (2011) 770-775, section 3.
TSIT5_WEIGHTS = np.stack(
    [
        _polynomial(
            -1.0530884977290216, (0, 1), (-1.3299890189751412, 1), (0.7139816917074209, -1.4364028541716351, 1)
        ),
        _polynomial(0.1017, (0, 0, 1), (1.2949852507374631, -2.1966568338249754, 1)),
        _polynomial(2.490627285651252793, (0, 0, 1), (1.57803468208092486, -2.38535645472061657, 1)),
        _polynomial(-16.54810288924490272, (0, 0, 1), (-1.21712927295533244, 1), (-0.61620406037800089, 1)),
        _polynomial(47.37952196281928122, (0, 0, 1), (-1.203071208372362603, 1), (-0.658047292653547382, 1)),
        _polynomial(-34.87065786149660974, (0, 0, 1), (-1.2, 1), (-0.666666666666666667, 1)),
        _polynomial(2.5, (0, 0, 1), (-1, 1), (-0.6, 1)),
    ]
)


def _tableau(method: dfx.ButcherTableau, order: int, dense: _Rows, stability: float) -> ExplicitTableau:
    return ExplicitTableau(
        order=order,
        error_order=order,
        a=_lower(method),
        times=(0.0, *(float(c) for c in method.c)),
        end=len(method.c),
        b_error=tuple(float(v) for v in np.asarray(method.b_error)),
        dense=dense,
        stability=stability,
    )


TSIT5 = _tableau(dfx.Tsit5.tableau, 5, quartic(dfx.Tsit5.tableau, TSIT5_WEIGHTS), 3.51)
# Bogacki and Shampine, A 3(2) pair of Runge-Kutta formulas, Applied Mathematics Letters 2 (1989) 321-325.
BOSH3 = _tableau(dfx.Bosh3.tableau, 3, hermite(dfx.Bosh3.tableau), 2.51)
