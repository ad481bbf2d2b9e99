"""The chemical part of an air pollution model: 20 species, 25 reactions."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .problem import Problem, evenly

RATE_CONSTANTS = (
    0.35, 26.6, 12300.0, 0.00086, 0.00082, 15000.0, 0.00013, 24000.0, 16500.0, 9000.0, 0.022, 12000.0, 1.88,
    16300.0, 4800000.0, 0.00035, 0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12,
)  # fmt: skip

# Reaction j consumes the first species and produces the second, numbered from 1 as in the source.
REACTIONS = (
    ((1,), (2, 3)),
    ((2, 4), (1,)),
    ((5, 2), (6, 1)),
    ((7,), (5, 5, 8)),
    ((7,), (8,)),
    ((7, 6), (8, 5)),
    ((9,), (10, 5, 8)),
    ((9, 6), (11,)),
    ((11, 2), (10, 1, 12)),
    ((11, 1), (13,)),
    ((13,), (11, 1)),
    ((10, 2), (14, 1)),
    ((14,), (7, 5)),
    ((1, 6), (15,)),
    ((3,), (4,)),
    ((4,), (16,)),
    ((4,), (3,)),
    ((16,), (6, 6)),
    ((16,), (3,)),
    ((17, 6), (18, 5)),
    ((19,), (2,)),
    ((19,), (1, 3)),
    ((1, 4), (19,)),
    ((19, 1), (20,)),
    ((20,), (1, 19)),
)
INITIAL = {2: 0.2, 4: 0.04, 7: 0.1, 8: 0.3, 9: 0.01, 17: 0.007}


def _stoichiometry():
    matrix = np.zeros((20, 25))
    for j, (consumed, produced) in enumerate(REACTIONS):
        for i in consumed:
            matrix[i - 1, j] -= 1.0
        for i in produced:
            matrix[i - 1, j] += 1.0
    return matrix


STOICHIOMETRY = _stoichiometry()


def build():
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    y = {i: sd.state(f"y{i}", INITIAL.get(i, 0.0)) for i in range(1, 21)}
    k = [sd.parameter(f"k{j}", value) for j, value in enumerate(RATE_CONSTANTS, 1)]
    slopes: dict[int, Any] = dict.fromkeys(y, 0)
    for rate_constant, (consumed, produced) in zip(k, REACTIONS, strict=True):
        rate = rate_constant
        for i in consumed:
            rate = rate * y[i]
        for i in consumed:
            slopes[i] = slopes[i] - rate
        for i in produced:
            slopes[i] = slopes[i] + rate
    return sd.System([Eq(D(y[i]), slopes[i]) for i in y], name="pollu")


def _rates(y, k):
    """The 25 reaction rates."""
    return [
        k[0] * y[0],
        k[1] * y[1] * y[3],
        k[2] * y[4] * y[1],
        k[3] * y[6],
        k[4] * y[6],
        k[5] * y[6] * y[5],
        k[6] * y[8],
        k[7] * y[8] * y[5],
        k[8] * y[10] * y[1],
        k[9] * y[10] * y[0],
        k[10] * y[12],
        k[11] * y[9] * y[1],
        k[12] * y[13],
        k[13] * y[0] * y[5],
        k[14] * y[2],
        k[15] * y[3],
        k[16] * y[3],
        k[17] * y[15],
        k[18] * y[15],
        k[19] * y[16] * y[5],
        k[20] * y[18],
        k[21] * y[18],
        k[22] * y[0] * y[3],
        k[23] * y[18] * y[0],
        k[24] * y[19],
    ]


def _slopes(rates):
    """The 20 slopes, as printed in the source."""
    (
        r1,
        r2,
        r3,
        r4,
        r5,
        r6,
        r7,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        r16,
        r17,
        r18,
        r19,
        r20,
        r21,
        r22,
        r23,
        r24,
        r25,
    ) = rates
    return [
        -r1 - r10 - r14 - r23 - r24 + r2 + r3 + r9 + r11 + r12 + r22 + r25,
        -r2 - r3 - r9 - r12 + r1 + r21,
        -r15 + r1 + r17 + r19 + r22,
        -r2 - r16 - r17 - r23 + r15,
        -r3 + 2 * r4 + r6 + r7 + r13 + r20,
        -r6 - r8 - r14 - r20 + r3 + 2 * r18,
        -r4 - r5 - r6 + r13,
        r4 + r5 + r6 + r7,
        -r7 - r8,
        -r12 + r7 + r9,
        -r9 - r10 + r8 + r11,
        r9,
        -r11 + r10,
        -r13 + r12,
        r14,
        -r18 - r19 + r16,
        -r20,
        r20,
        -r21 - r22 - r24 + r23 + r25,
        -r25 + r24,
    ]


def field(t, y, args):
    """By hand, for JAX."""
    return jnp.stack(_slopes(_rates(y, args)))


def numpy_rhs(t, y, p):
    """By hand, for NumPy."""
    return np.array(_slopes(_rates(y, p)))


def numpy_jac(t, y, p):
    """By hand, for NumPy: the stoichiometric matrix times the derivatives of the rates."""
    rates = np.zeros((25, 20), dtype=np.asarray(y).dtype)
    for j, (consumed, _) in enumerate(REACTIONS):
        first = consumed[0] - 1
        if len(consumed) == 1:
            rates[j, first] = p[j]
        else:
            second = consumed[1] - 1
            rates[j, first] = p[j] * y[second]
            rates[j, second] = p[j] * y[first]
    return STOICHIOMETRY @ rates


PROBLEM = Problem(
    name="pollu",
    source=(
        "J. G. Verwer (1994), Gauss-Seidel iteration for stiff ODEs from chemical kinetics, SIAM J. Sci. Comput. "
        "15:1243. Reference: collocation.py; it agrees with F. Mazzia and C. Magherini (2008), Test Set for IVP "
        "Solvers, problem POLLU."
    ),
    states=tuple(f"y{i}" for i in range(1, 21)),
    parameters=tuple(f"k{j}" for j in range(1, 26)),
    build=build,
    field=field,
    numpy_rhs=numpy_rhs,
    numpy_jac=numpy_jac,
    y0=tuple(INITIAL.get(i, 0.0) for i in range(1, 21)),
    params=RATE_CONSTANTS,
    t0=0.0,
    t1=60.0,
    ts=evenly(0.0, 60.0),
    reference={
        1.0: (
            0.03732630429886385,
            0.16251325412678647,
            2.734438930611227e-09,
            0.0032994065756909437,
            3.1151619387247727e-07,
            2.6534918501662523e-07,
            0.09942310366621186,
            0.3006173127757484,
            0.009926994938315233,
            2.952960182660243e-08,
            2.099490115465178e-08,
            6.571492956826672e-05,
            5.9742964653865925e-06,
            2.785863950612213e-05,
            0.0001395946403207198,
            2.60029790923841e-18,
            0.006997397465743566,
            2.6025342564343062e-06,
            3.817195450774224e-07,
            7.245459009254925e-06,
        ),
        10.0: (
            0.04182315022055844,
            0.1564646331865284,
            3.063574587820955e-09,
            0.003504642709108011,
            2.874315071051327e-07,
            2.3614856610373728e-07,
            0.09511790540292624,
            0.3054168460573193,
            0.009388686630581362,
            2.6027076802091738e-08,
            1.8455864393120643e-08,
            0.0005358670099478226,
            6.284309219046804e-05,
            2.6259145457410806e-05,
            0.0016119664792476264,
            2.7620467196301843e-18,
            0.006977691971604447,
            2.2308028395553098e-05,
            7.781798636736399e-07,
            1.8314420805707467e-05,
        ),
        60.0: (
            0.056462554800227695,
            0.13424841304223387,
            4.139734331099427e-09,
            0.005523140207484359,
            2.018977262302196e-07,
            1.4645418634939657e-07,
            0.07784249118997964,
            0.3245075353396018,
            0.007494013383880406,
            1.6222931573015602e-08,
            1.1358638332570748e-08,
            0.00223050597572136,
            0.00020871628827986302,
            1.3969210168401579e-05,
            0.008964884856898295,
            4.352846369330103e-18,
            0.006899219696263405,
            0.0001007803037365946,
            1.7721465139699842e-06,
            5.6829432923163926e-05,
        ),
    },
    stiff=True,
)
