"""Simple distillation of benzene and toluene: an index-1 DAE whose boiling point has no explicit formula."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly

LOG10 = float(np.log(10.0))


def build():
    """The model in symdeq's language; x benzene in the liquid, y in the vapour, T the boiling point in °C."""
    import symdeq as sd
    from symdeq import D, Eq

    x, y, T = sd.states(x=0.6, y=sd.guess(0.8), T=sd.guess(90.0))
    Ab, Bb, Cb = sd.parameters(Ab=6.87987, Bb=1196.76, Cb=219.161)
    At, Bt, Ct = sd.parameters(At=6.95087, Bt=1342.31, Ct=219.187)
    P = sd.parameter("P", 759.81)
    benzene, toluene = 10 ** (Ab - Bb / (T + Cb)), 10 ** (At - Bt / (T + Ct))
    return sd.System(
        [Eq(D(x), x - y), Eq(P * y, benzene * x), Eq(P, benzene * x + toluene * (1 - x))],
        name="distillation",
    )


def field(t, y, args):
    """By hand, for JAX, as right-hand side of M y'."""
    Ab, Bb, Cb, At, Bt, Ct, P = args
    x, y, T = y
    benzene, toluene = 10.0 ** (Ab - Bb / (T + Cb)), 10.0 ** (At - Bt / (T + Ct))
    return jnp.array([x - y, benzene * x - P * y, benzene * x + toluene * (1 - x) - P])


def numpy_rhs(t, y, p):
    """By hand, for NumPy, as right-hand side of M y'."""
    Ab, Bb, Cb, At, Bt, Ct, P = p
    x, y, T = y
    benzene, toluene = 10.0 ** (Ab - Bb / (T + Cb)), 10.0 ** (At - Bt / (T + Ct))
    return np.array([x - y, benzene * x - P * y, benzene * x + toluene * (1 - x) - P])


def numpy_jac(t, y, p):
    """By hand, for NumPy, as Jacobian of the right-hand side of M y'."""
    Ab, Bb, Cb, At, Bt, Ct, P = p
    x, y, T = y
    benzene, toluene = 10.0 ** (Ab - Bb / (T + Cb)), 10.0 ** (At - Bt / (T + Ct))
    benzene_T, toluene_T = benzene * LOG10 * Bb / (T + Cb) ** 2, toluene * LOG10 * Bt / (T + Ct) ** 2
    return np.array(
        [
            [1.0, -1.0, 0.0],
            [benzene, -P, benzene_T * x],
            [benzene - toluene, 0.0, benzene_T * x + toluene_T * (1 - x)],
        ]
    )


PROBLEM = Problem(
    name="distillation",
    source=(
        "M. F. Doherty and J. D. Perkins (1978), On the dynamics of distillation processes I, Chem. Eng. Sci. "
        "33:281-301, in warped time; the mixture and its Antoine constants (mmHg, °C) as in J. K. Scott and P. I. "
        "Barton (2013), Interval bounds on the solutions of semi-explicit index-one DAEs II, Numer. Math. 125:27-60. "
        "Reference: collocation.py; it agrees with Rayleigh's quadrature of dx/(x − y)."
    ),
    states=("x", "y", "T"),
    parameters=("Ab", "Bb", "Cb", "At", "Bt", "Ct", "P"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(0.6, 0.7904335202315859, 89.32595654987928),
    params=(6.87987, 1196.76, 219.161, 6.95087, 1342.31, 219.187, 759.81),
    t0=0.0,
    t1=6.0,
    ts=evenly(0.0, 6.0),
    reference={
        1.0: (
            0.3888699365619156,
            0.6103408409716161,
            95.49456219052985,
        ),
        3.0: (
            0.0651193443301921,
            0.1414994795665307,
            107.63330055805217,
        ),
        6.0: (
            0.0013244884258973122,
            0.003100351129622785,
            110.54290883924124,
        ),
    },
    mass=(1.0, 0.0, 0.0),
    stiff=False,
)
