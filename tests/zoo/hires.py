"""High irradiance responses of photomorphogenesis: eight species, moderately stiff."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    y1, y2, y3, y4, y5, y6, y7, y8 = sd.states(y1=1.0, y2=0.0, y3=0.0, y4=0.0, y5=0.0, y6=0.0, y7=0.0, y8=0.0057)
    k1, k2, k3, k4, k5, k6 = sd.parameters(k1=1.71, k2=0.43, k3=8.32, k4=0.69, k5=0.035, k6=8.32)
    kp, km, ks, o = sd.parameters(kp=280.0, km=0.69, ks=0.69, o=0.0007)
    binding, release = kp * y6 * y8, (k2 + km + ks) * y7
    return sd.System(
        [
            Eq(D(y1), -k1 * y1 + k2 * y2 + k6 * y3 + o),
            Eq(D(y2), k1 * y1 - (k2 + k3) * y2),
            Eq(D(y3), -(k1 + k6) * y3 + k2 * y4 + k5 * y5),
            Eq(D(y4), k3 * y2 + k1 * y3 - (k2 + k4) * y4),
            Eq(D(y5), -(k1 + k5) * y5 + k2 * (y6 + y7)),
            Eq(D(y6), -binding + k4 * y4 + k1 * y5 - k2 * y6 + km * y7),
            Eq(D(y7), binding - release),
            Eq(D(y8), -binding + release),
        ],
        name="hires",
    )


def field(t, y, args):
    """By hand, for JAX."""
    k1, k2, k3, k4, k5, k6, kp, km, ks, o = args
    y1, y2, y3, y4, y5, y6, y7, y8 = y
    binding, release = kp * y6 * y8, (k2 + km + ks) * y7
    return jnp.array(
        [
            -k1 * y1 + k2 * y2 + k6 * y3 + o,
            k1 * y1 - (k2 + k3) * y2,
            -(k1 + k6) * y3 + k2 * y4 + k5 * y5,
            k3 * y2 + k1 * y3 - (k2 + k4) * y4,
            -(k1 + k5) * y5 + k2 * (y6 + y7),
            -binding + k4 * y4 + k1 * y5 - k2 * y6 + km * y7,
            binding - release,
            -binding + release,
        ]
    )


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    k1, k2, k3, k4, k5, k6, kp, km, ks, o = p
    y1, y2, y3, y4, y5, y6, y7, y8 = y
    binding, release = kp * y6 * y8, (k2 + km + ks) * y7
    return np.array(
        [
            -k1 * y1 + k2 * y2 + k6 * y3 + o,
            k1 * y1 - (k2 + k3) * y2,
            -(k1 + k6) * y3 + k2 * y4 + k5 * y5,
            k3 * y2 + k1 * y3 - (k2 + k4) * y4,
            -(k1 + k5) * y5 + k2 * (y6 + y7),
            -binding + k4 * y4 + k1 * y5 - k2 * y6 + km * y7,
            binding - release,
            -binding + release,
        ]
    )


def numpy_jac(t, y, p):
    """By hand, for NumPy."""
    k1, k2, k3, k4, k5, k6, kp, km, ks, _ = p
    b6, b8 = kp * y[7], kp * y[5]
    r7 = k2 + km + ks
    return np.array(
        [
            [-k1, k2, k6, 0.0, 0.0, 0.0, 0.0, 0.0],
            [k1, -(k2 + k3), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, -(k1 + k6), k2, k5, 0.0, 0.0, 0.0],
            [0.0, k3, k1, -(k2 + k4), 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, -(k1 + k5), k2, k2, 0.0],
            [0.0, 0.0, 0.0, k4, k1, -b6 - k2, km, -b8],
            [0.0, 0.0, 0.0, 0.0, 0.0, b6, -r7, b8],
            [0.0, 0.0, 0.0, 0.0, 0.0, -b6, r7, -b8],
        ]
    )


PROBLEM = Problem(
    name="hires",
    source=(
        "E. Schäfer (1975), A new approach to explain the high irradiance responses of photomorphogenesis on the basis "
        "of phytochrome, J. Math. Biology 2:41-56; named HIRES and with these values in E. Hairer and G. Wanner "
        "(1996), Solving Ordinary Differential Equations II, sec. IV.10. Reference: collocation.py; it agrees with F. "
        "Mazzia and C. Magherini (2008), Test Set for IVP Solvers, problem HIRES."
    ),
    states=("y1", "y2", "y3", "y4", "y5", "y6", "y7", "y8"),
    parameters=("k1", "k2", "k3", "k4", "k5", "k6", "kp", "km", "ks", "o"),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
    params=(1.71, 0.43, 8.32, 0.69, 0.035, 8.32, 280.0, 0.69, 0.69, 0.0007),
    t0=0.0,
    t1=321.8122,
    ts=evenly(0.0, 321.8122),
    reference={
        5.0: (
            0.03165167570456928,
            0.006481549531058166,
            0.004583451064747285,
            0.08974323273518034,
            0.16245145375265566,
            0.6850438961444316,
            0.005646700341920548,
            5.3299658079452435e-05,
        ),
        50.0: (
            0.005418869474919607,
            0.00105940357495107,
            0.0009726850857783723,
            0.009383039047961818,
            0.1633660073532491,
            0.6558748346438288,
            0.005644370380194899,
            5.562961980510146e-05,
        ),
        321.8122: (
            0.000737131257332574,
            0.0001442485726316199,
            5.8887297409677086e-05,
            0.0011756513432831627,
            0.0023863561988315463,
            0.006238968252743473,
            0.0028499983951859203,
            0.00285000160481408,
        ),
    },
    stiff=True,
)
