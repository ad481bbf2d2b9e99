"""Arenstorf's orbit: a satellite between Earth and Moon, in coordinates that turn with them, back after one period."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly

PERIOD = 17.0652165601579625588917206249


def build():
    """The model in symdeq's language."""
    import sympy

    import symdeq as sd
    from symdeq import D, Eq

    x, y, vx, vy = sd.states(x=0.994, y=0.0, vx=0.0, vy=-2.00158510637908252240537862224)
    μ = sd.parameter("mu", 0.012277471)
    earth = sympy.sqrt((x + μ) ** 2 + y**2) ** 3
    moon = sympy.sqrt((x - (1 - μ)) ** 2 + y**2) ** 3
    return sd.System(
        [
            Eq(D(x), vx),
            Eq(D(y), vy),
            Eq(D(vx), x + 2 * vy - (1 - μ) * (x + μ) / earth - μ * (x - (1 - μ)) / moon),
            Eq(D(vy), y - 2 * vx - (1 - μ) * y / earth - μ * y / moon),
        ],
        name="arenstorf",
    )


def field(t, y, args):
    """By hand, for JAX."""
    (μ,) = args
    x, y, vx, vy = y
    earth = jnp.sqrt((x + μ) ** 2 + y**2) ** 3
    moon = jnp.sqrt((x - (1 - μ)) ** 2 + y**2) ** 3
    return jnp.array(
        [
            vx,
            vy,
            x + 2 * vy - (1 - μ) * (x + μ) / earth - μ * (x - (1 - μ)) / moon,
            y - 2 * vx - (1 - μ) * y / earth - μ * y / moon,
        ]
    )


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    (μ,) = p
    x, y, vx, vy = y
    earth = np.sqrt((x + μ) ** 2 + y**2) ** 3
    moon = np.sqrt((x - (1 - μ)) ** 2 + y**2) ** 3
    return np.array(
        [
            vx,
            vy,
            x + 2 * vy - (1 - μ) * (x + μ) / earth - μ * (x - (1 - μ)) / moon,
            y - 2 * vx - (1 - μ) * y / earth - μ * y / moon,
        ]
    )


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    (μ,) = p
    x, y, _, _ = y
    from_earth, from_moon = x + μ, x - (1 - μ)
    r_earth, r_moon = np.sqrt(from_earth**2 + y**2), np.sqrt(from_moon**2 + y**2)
    pull = (1 - μ) / r_earth**3 + μ / r_moon**3
    tide_xx = 3 * (1 - μ) * from_earth**2 / r_earth**5 + 3 * μ * from_moon**2 / r_moon**5
    tide_xy = 3 * (1 - μ) * from_earth * y / r_earth**5 + 3 * μ * from_moon * y / r_moon**5
    tide_yy = 3 * (1 - μ) * y**2 / r_earth**5 + 3 * μ * y**2 / r_moon**5
    return np.array(
        [
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
            [1 - pull + tide_xx, tide_xy, 0.0, 2.0],
            [tide_xy, 1 - pull + tide_yy, -2.0, 0.0],
        ]
    )


PROBLEM = Problem(
    name="arenstorf",
    source=(
        "R. F. Arenstorf (1963), Periodic solutions of the restricted three body problem, Amer. J. Math. 85:27-35; "
        "initial values and period in E. Hairer, S. P. Nørsett and G. Wanner (1993), Solving Ordinary Differential "
        "Equations I, sec. II.0. Reference at the period: the initial values; elsewhere collocation.py, started from "
        "the published digits. A perturbation has grown by some 1e5 after one period."
    ),
    states=("x", "y", "vx", "vy"),
    parameters=("mu",),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(0.994, 0.0, 0.0, -2.00158510637908252240537862224),
    params=(0.012277471,),
    t0=0.0,
    t1=PERIOD,
    ts=evenly(0.0, PERIOD),
    reference={
        5.0: (
            0.022688783647977107,
            0.8665401401712473,
            -0.11773647864086441,
            -0.4217858041628777,
        ),
        10.0: (
            -0.8398071663389864,
            0.446831417098472,
            0.3737425356143938,
            -0.14966964466689517,
        ),
        17.065216560157964: (
            0.994,
            -1.7384588912741986e-16,
            -2.8048594805270277e-14,
            -2.0015851063790886,
        ),
        PERIOD: (0.994, 0.0, 0.0, -2.00158510637908252240537862224),
    },
    stiff=False,
)
