"""Reference values against published ones, closed forms, and integrators that share nothing with the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

from tests.zoo import PROBLEMS, Problem, lotka_volterra
from tests.zoo.collocation import EXTENDED, integrate

# F. Mazzia and C. Magherini (2008), Test Set for Initial Value Problem Solvers: the reference solutions at the end.
# The last two: 32-digit arithmetic, published with the Brusselator of D. Pedroso's russell_ode; and E. Hairer,
# S. P. Nørsett and G. Wanner (1993), Solving Ordinary Differential Equations I, sec. II.0: the orbit closes.
PUBLISHED = {
    "hires": (
        0.7371312573325668e-3,
        0.1442485726316185e-3,
        0.5888729740967575e-4,
        0.1175651343283149e-2,
        0.2386356198831331e-2,
        0.6238968252742796e-2,
        0.2849998395185769e-2,
        0.2850001604814231e-2,
    ),
    "pollu": (
        0.5646255480022769e-1,
        0.1342484130422339,
        0.4139734331099427e-8,
        0.5523140207484359e-2,
        0.2018977262302196e-6,
        0.1464541863493966e-6,
        0.7784249118997964e-1,
        0.3245075353396018,
        0.7494013383880406e-2,
        0.1622293157301561e-7,
        0.1135863833257075e-7,
        0.2230505975721359e-2,
        0.2087162882798630e-3,
        0.1396921016840158e-4,
        0.8964884856898295e-2,
        0.4352846369330103e-17,
        0.6899219696263405e-2,
        0.1007803037365946e-3,
        0.1772146513969984e-5,
        0.5682943292316392e-4,
    ),
    "orego": (0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
    "van_der_pol": (0.1706167732170469e1, -0.8928097010248125e-3),
    "rober_long": (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
    "brusselator": (0.4986370712683478, 4.596780349452011),
    "arenstorf": (0.994, 0.0, 0.0, -2.00158510637908252240537862224),
}

# Where the tightest tolerance would ask more than the arithmetic has: the slow slopes of ROBER at 1e11 are differences
# of rates a thousand million times larger; an algebraic state that starts at zero has no relative accuracy there.
TOLERANCE = {"rober_long": 1e-12, "rober_dae": 1e-11}
FLOOR = {"rober": 1e-18, "rober_long": 1e-20, "pollu": 1e-24, "rober_dae": 1e-9}
# The published initial values have more digits than a double: their rounding has grown to 2e-11 when the orbit closes.
REPRODUCED = {"arenstorf": 1e-10}

every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))


def _assert_close(problem: Problem, states, rtol: float) -> None:
    """Relative closeness; components that are zero in exact arithmetic are measured against the largest one."""
    for time, expected in problem.reference.items():
        scale = np.where(np.array(expected) == 0, np.max(np.abs(expected)), np.abs(expected))
        error = np.max(np.abs(np.asarray(states[time], dtype=float) - expected) / scale)
        assert error < rtol, f"{problem.name} at t = {time}: relative error {error:.2e}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(name):
    """The digits that others have published."""
    problem = PROBLEMS[name]
    np.testing.assert_allclose(problem.reference[problem.t1], PUBLISHED[name], rtol=1e-12, atol=0)


def test_the_invariant_of_lotka_volterra():
    """γx − δ ln x + βy − α ln y is constant; its level through y = α/β gives the largest x."""
    problem = PROBLEMS["lotka_volterra"]
    α, β, δ, γ = problem.params

    def invariant(x, y):
        return γ * x - δ * np.log(x) + β * y - α * np.log(y)

    level = invariant(*problem.y0)
    assert invariant(lotka_volterra.MAX_X, α / β) == pytest.approx(level, rel=1e-14)
    for state in problem.reference.values():
        assert invariant(*state) == pytest.approx(level, rel=1e-14)


def test_the_sum_of_rober():
    """The species of ROBER add up to one."""
    for name in ("rober", "rober_long", "rober_dae"):
        for state in PROBLEMS[name].reference.values():
            assert sum(state) == pytest.approx(1.0, rel=1e-15)


def test_rayleigh_quadrature_of_the_distillation():
    """The liquid reaches x after the time ∫ dx / (y − x) from x to its initial value, with y from the boiling point."""
    problem = PROBLEMS["distillation"]
    Ab, Bb, Cb, At, Bt, Ct, P = problem.params

    def boiling(x):
        def excess(T):
            return 10 ** (Ab - Bb / (T + Cb)) * x + 10 ** (At - Bt / (T + Ct)) * (1 - x) - P

        T = scipy.optimize.root_scalar(excess, bracket=(50.0, 150.0), xtol=1e-13, rtol=1e-15).root
        return 10 ** (Ab - Bb / (T + Cb)) * x / P, T

    np.testing.assert_allclose(boiling(problem.y0[0]), problem.y0[1:], rtol=1e-13)
    for time, (x, y, T) in problem.reference.items():
        np.testing.assert_allclose((y, T), boiling(x), rtol=1e-13)
        elapsed, _ = scipy.integrate.quad(lambda s: 1 / (boiling(s)[0] - s), x, problem.y0[0], epsabs=0, epsrel=1e-12)
        assert elapsed == pytest.approx(time, rel=1e-11)


@pytest.mark.slow
@pytest.mark.skipif(not EXTENDED, reason="no 80-bit arithmetic on this machine")
@every_problem
def test_collocation(problem):
    """What is in the files is what tests/zoo/collocation.py computes."""
    states = integrate(
        problem,
        sorted(problem.reference),
        tol=TOLERANCE.get(problem.name, 1e-13),
        floor=FLOOR.get(problem.name, 1e-12),
    )
    _assert_close(problem, states, rtol=REPRODUCED.get(problem.name, 1e-12))


def _without_algebra(problem: Problem) -> tuple[Problem, list[int]]:
    """The differential states alone, their algebra solved inside the right-hand side; and where they stand."""
    kept = [i for i, m in enumerate(problem.mass or ()) if m]
    free = [i for i, m in enumerate(problem.mass or ()) if not m]
    guess = np.array(problem.y0)

    def complete(t, x, p):
        y = guess.copy()
        y[kept] = x
        for _ in range(50):
            change = np.linalg.solve(problem.numpy_jac(t, y, p)[np.ix_(free, free)], problem.numpy_rhs(t, y, p)[free])
            y[free] -= change
            if np.all(np.abs(change) <= 1e-14 * np.abs(y[free]) + 1e-18):
                break
        return y

    def rhs(t, x, p):
        return problem.numpy_rhs(t, complete(t, x, p), p)[kept]

    def jac(t, x, p):
        full = problem.numpy_jac(t, complete(t, x, p), p)
        eliminated = np.linalg.solve(full[np.ix_(free, free)], full[np.ix_(free, kept)])
        return full[np.ix_(kept, kept)] - full[np.ix_(kept, free)] @ eliminated

    reduced = replace(
        problem,
        y0=tuple(problem.y0[i] for i in kept),
        numpy_rhs=rhs,
        numpy_jac=jac,
        mass=None,
        reference={time: tuple(state[i] for i in kept) for time, state in problem.reference.items()},
    )
    return reduced, kept


@pytest.mark.slow
@every_problem
def test_scipy(problem):
    """SciPy's Radau and DOP853, near the limit of double precision."""
    if problem.mass is not None:
        problem, _ = _without_algebra(problem)
    floor = FLOOR.get(problem.name, 1e-12) if problem.name != "rober_dae" else 1e-18
    if problem.stiff:
        method = {"method": "Radau", "jac": problem.numpy_jac, "rtol": 1e-11, "atol": 1e-3 * floor}
    else:
        method = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-15}
    times = sorted(problem.reference)
    solution = scipy.integrate.solve_ivp(
        problem.numpy_rhs, (problem.t0, times[-1]), problem.y0, t_eval=times, args=(problem.params,), **method
    )
    assert solution.success, solution.message
    _assert_close(problem, dict(zip(times, solution.y.T, strict=True)), rtol=1e-8)
