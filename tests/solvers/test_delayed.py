"""Delay equations: closed forms, references by the method of steps, derivatives, and what is refused."""

import math
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from symdeq._errors import ModelError
from symdeq.solvers import AutoSwitch, FirstStep, Rodas5P
from symdeq.solvers.breakpoints import Breakpoints, breakpoints
from symdeq.solvers.delay_term import DelayTerm
from symdeq.solvers.delayed import Delayed

SOLVERS = {"Tsit5": dfx.Tsit5(), "AutoSwitch": AutoSwitch(), "Rodas5P": Rodas5P()}


def by(*names):
    """Some of the solvers; all of them go through the first test."""
    return pytest.mark.parametrize("solver", [SOLVERS[name] for name in names], ids=names)


# The error allowed is 50 times the tolerance, as for every solve of this package.
ALLOWED = 50


def one(t, args):
    return jnp.asarray(1.0)


@eqx.filter_jit
def solve(
    term,
    y0,
    t1,
    *,
    t0=0.0,
    solver=SOLVERS["Tsit5"],
    tolerance=1e-6,
    times=None,
    args=None,
    ts=None,
    capacity=64,
    shortest=None,
    **more,
) -> Any:
    controller = FirstStep(dfx.PIDController(rtol=tolerance, atol=tolerance))
    if times is not None:
        controller = Breakpoints(controller, times, shortest)
    saveat = dfx.SaveAt(t1=True, solver_state=True) if ts is None else dfx.SaveAt(ts=jnp.asarray(ts))
    return dfx.diffeqsolve(
        term,
        Delayed(solver, capacity=capacity),
        t0,
        t1,
        None,
        y0,
        args=args,
        stepsize_controller=controller,
        throw=False,
        **{"saveat": saveat, "max_steps": 2048, **more},
    )


def by_steps(f, lags, history, y0, t1, piece):
    """The method of steps by SciPy; every sum of the lags is a multiple of `piece`, and no lag is shorter."""
    pieces = []

    def y(s):
        if s < 0:
            return history(s)
        return pieces[min(int(s / piece + 1e-9), len(pieces) - 1)](s)

    for i in range(round(t1 / piece)):
        start, middle = i * piece, (i + 0.5) * piece

        def past(s, lag, middle=middle):
            # Just at the end of a piece, on the side on which the whole of this piece looks.
            low = math.floor((middle - lag) / piece) * piece
            return y(np.clip(s - lag, low + 1e-13, low + piece - 1e-13))

        sol = solve_ivp(
            lambda s, v, past=past: f(s, v, [past(s, lag) for lag in lags]),
            (start, start + piece),
            y0,
            method="DOP853",
            rtol=1e-11,
            atol=1e-12,
            dense_output=True,
        )
        pieces.append(sol.sol)
        y0 = sol.y[:, -1]
    return lambda ts: np.stack([y(t) for t in ts])


def decay(t, y, past, args):
    return -past[0]


def decay_exactly(t, lag=1.0):
    """y' = -y(t - lag) with y = 1 up to 0: Σ (-1)^k (t - (k - 1) lag)^k / k! over the k with a positive base."""
    return sum(
        (-1) ** k * np.where(t > (k - 1) * lag, t - (k - 1) * lag, 0.0) ** k / math.factorial(k) if k else 1.0 + 0 * t
        for k in range(12)
    )


@by(*SOLVERS)
def test_a_linear_equation_is_solved_to_its_tolerance(solver):
    ts, times = np.linspace(0.0, 6.0, 61), breakpoints(0.0, [1.0], 5)

    @jax.jit
    def run(tolerance):
        sol = solve(
            DelayTerm(decay, (1.0,), one), jnp.asarray(1.0), 6.0, solver=solver, tolerance=tolerance, times=times, ts=ts
        )
        return sol.ys, sol.stats["num_rejected_steps"]

    for tolerance in (1e-4, 1e-8):
        ys, rejected = run(tolerance)
        off = np.abs(ys - decay_exactly(ts))
        assert off.max() < ALLOWED * tolerance
        assert off[ts <= 3].max() < 1e-13  # polynomials up to the third degree are exact between breakpoints
        assert rejected <= 2


def test_without_breakpoints_the_solver_finds_them():
    sol = solve(DelayTerm(decay, (1.0,), one), jnp.asarray(1.0), 6.0)
    assert abs(sol.ys[0] - decay_exactly(6.0)) < ALLOWED * 1e-6
    assert sol.stats["num_rejected_steps"] > 10


def mackey_glass(t, y, past, args):
    return 2 * past[0] / (1 + past[0] ** 9.65) - y


@by("Tsit5")
def test_mackey_glass(solver):
    ts = np.linspace(0.5, 20.0, 40)
    reference = by_steps(
        lambda t, y, past: 2 * past[0] / (1 + past[0] ** 9.65) - y, [2.0], lambda t: np.array([0.5]), [0.5], 20.0, 2.0
    )
    sol = solve(
        DelayTerm(mackey_glass, (2.0,), lambda t, args: jnp.asarray(0.5)),
        jnp.asarray(0.5),
        20.0,
        solver=solver,
        times=breakpoints(0.0, [2.0], 5),
        ts=ts,
    )
    assert np.abs(sol.ys - reference(ts)[:, 0]).max() < ALLOWED * 1e-6


@by("Tsit5", "Rodas5P")
def test_a_lag_that_depends_on_the_state(solver):
    # y' = y(t) y(ln y(t)) / t from t = 1 on, y = 1 before: Neves, ACM TOMS 1 (1975) 357-368.
    ts = np.linspace(1.0, 10.0, 50)
    exact = np.where(ts < np.e, ts, np.where(ts < np.e**2, np.exp(ts / np.e), (np.e / (3 - np.log(ts))) ** np.e))
    term = DelayTerm(lambda t, y, past, args: y * past[0] / t, (lambda t, y, args: t - jnp.log(y),), one)
    sol = solve(term, jnp.asarray(1.0), 10.0, t0=1.0, solver=solver, ts=ts)
    assert np.abs(sol.ys / exact - 1).max() < ALLOWED * 1e-6


@by("AutoSwitch")
def test_a_lag_that_depends_on_the_state_and_looks_at_a_kink(solver):
    # y' = y(y(t) - √2 + 1) / (2 √t), y = 1 up to t = 1: Feldstein and Neves, SIAM J. Numer. Anal. 21 (1984) 844-863.
    ts = np.linspace(1.0, 5.0, 41)
    exact = np.where(ts < 2, np.sqrt(ts), ts / 4 + 0.5 + (1 - np.sqrt(0.5)) * np.sqrt(ts))
    term = DelayTerm(
        lambda t, y, past, args: past[0] / (2 * jnp.sqrt(t)), (lambda t, y, args: t - y + jnp.sqrt(2.0) - 1,), one
    )
    sol = solve(term, jnp.asarray(1.0), 5.0, t0=1.0, solver=solver, ts=ts)
    assert np.abs(sol.ys - exact).max() < ALLOWED * 1e-6


@by("Tsit5")
def test_a_lag_that_vanishes_at_the_start(solver):
    # The pantograph equation y' = a y(t) + b y(q t), by its power series.
    a, b, q = -1.0, 0.5, 0.5
    ts = np.linspace(0.0, 4.0, 21)
    c = [1.0]
    for n in range(60):
        c.append((a + b * q**n) * c[-1] / (n + 1))
    term = DelayTerm(lambda t, y, past, args: a * y + b * past[0], (lambda t, y, args: (1 - q) * t,), one)
    sol = solve(term, jnp.asarray(1.0), 4.0, solver=solver, ts=ts)
    assert np.abs(sol.ys - np.polyval(c[::-1], ts)).max() < ALLOWED * 1e-6
    assert sol.stats["num_steps"] < 60


@by("Tsit5")
def test_two_lags_and_a_system(solver):
    ts = np.linspace(0.1, 5.0, 50)

    def f(t, y, past):
        return [-0.7 * past[0][0] + 0.4 * past[1][1], 0.5 * past[1][0] * np.cos(t) - y[1]]

    reference = by_steps(f, [0.3, 1.0], lambda t: np.array([np.cos(t), 1 + t]), [1.0, 1.0], 5.0, 0.1)

    def field(t, y, past, args):
        b = y[1]
        return -0.7 * past[0][0] + 0.4 * past[1][1], 0.5 * past[1][0] * jnp.cos(t) - b

    sol = solve(
        DelayTerm(field, (0.3, 1.0), lambda t, args: (jnp.cos(t), 1 + t)),
        (jnp.asarray(1.0), jnp.asarray(1.0)),
        5.0,
        solver=solver,
        times=breakpoints(0.0, [0.3, 1.0], 5),
        ts=ts,
    )
    assert np.abs(np.stack(sol.ys, axis=1) - reference(ts)).max() < ALLOWED * 1e-6


@by("Tsit5")
def test_steps_may_be_longer_than_the_lag(solver):
    # y' = -y(t - τ) has the solution exp(λ t) with λ = -exp(-λ τ), which its history makes the only one.
    lag = 0.01
    rate = float((lambertw(-lag) / lag).real)
    term = DelayTerm(decay, (lag,), lambda t, args: jnp.exp(rate * t))
    sol = solve(term, jnp.asarray(1.0), 4.0, solver=solver, times=jnp.zeros(0), shortest=lag)
    assert abs(sol.ys[0] - np.exp(4 * rate)) < ALLOWED * 1e-6
    assert sol.stats["num_steps"] < 40


def test_the_side_of_the_start_is_right_whatever_the_rounding():
    @jax.jit
    def run(t0):
        term = DelayTerm(decay, (0.3,), lambda t, args: jnp.asarray(0.0))
        sol = solve(term, jnp.asarray(1.0), t0 + 0.6, t0=t0, times=breakpoints(t0, [0.3], 5))
        return sol.ys[0], sol.stats["num_rejected_steps"]

    for t0 in (0.1, 1.0, 1e3):
        y, rejected = run(t0)
        assert abs(y - 0.7) < 1e-12
        assert rejected == 0


def test_time_may_run_backwards_where_the_lag_is_negative():
    sol = solve(
        DelayTerm(lambda t, y, past, args: past[0], (-1.0,), one),
        jnp.asarray(1.0),
        -3.0,
        times=breakpoints(0.0, [-1.0], 5),
    )
    assert abs(sol.ys[0] - decay_exactly(3.0)) < 1e-13


def test_values_that_are_no_longer_kept_end_the_solve():
    term, times = DelayTerm(decay, (1.0,), one), breakpoints(0.0, [1.0], 5)
    lost = solve(term, jnp.asarray(1.0), 8.0, tolerance=1e-10, times=times, capacity=3)
    assert lost.result == dfx.RESULTS.nonfinite
    assert lost.solver_state.lost
    assert np.isnan(lost.ys[0])
    assert lost.stats["num_steps"] < 20


def test_a_lag_that_becomes_negative_ends_the_solve():
    sol = solve(DelayTerm(decay, (lambda t, y, args: 1.0 - t,), one), jnp.asarray(1.0), 3.0)
    assert sol.result == dfx.RESULTS.nonfinite
    assert sol.solver_state.ahead
    assert np.isnan(sol.ys[0])


def rabbits(t, y, past, p):
    return jnp.stack([(p[0] - p[1] * y[1]) * past[0][0], (p[2] * y[0] - p[3]) * y[1]])


RABBITS = jnp.array([2.2, 1.0, 2.0, 0.4])


def rabbits_at(p, lag, level, ts, adjoint=None, tolerance=1e-9, **more):
    term = DelayTerm(rabbits, (lag,), lambda t, args: level * jnp.ones(2))
    more = {} if adjoint is None else {"adjoint": adjoint}
    sol = solve(
        term,
        jnp.ones(2),
        ts[-1],
        tolerance=tolerance,
        times=breakpoints(0.0, [lag], 5),
        args=p,
        ts=ts,
        max_steps=512,
        **more,
    )
    return sol.ys


def test_delayed_lotka_volterra():
    # Values of an independent solver.
    ts, traced = jnp.linspace(0.0, 10.0, 101), []

    @jax.jit
    def run(p, lag):
        traced.append(lag)
        return rabbits_at(p, lag, 1.0, ts)

    ys = run(RABBITS, 0.1)
    assert np.allclose(ys[10], [0.341780, 5.232535], atol=1e-6)
    assert np.allclose(ys[100], [1.213370, 3.415943], atol=1e-6)
    assert abs(((ys[:, 0] - 1) ** 2).sum() - 72.9436) < 1e-4
    run(RABBITS + 0.1, 0.3)
    assert len(traced) == 1


def test_derivatives_by_parameters_the_lag_and_the_history():
    ts = jnp.linspace(0.0, 2.0, 9)

    def loss(v, adjoint):
        return jnp.sum((rabbits_at(v[:4], v[4], v[5], ts, adjoint)[:, 0] - 1) ** 2)

    reverse = jax.jit(jax.grad(lambda v: loss(v, dfx.RecursiveCheckpointAdjoint())))
    forward = jax.jit(jax.jacfwd(lambda v: loss(v, dfx.ForwardMode())))
    plain = jax.jit(lambda v: loss(v, dfx.RecursiveCheckpointAdjoint()))
    h = 1e-4
    # A lag that spans some steps, and one that is shorter than all of them.
    for lag in (0.4, 0.02):
        v = jnp.concatenate([RABBITS, jnp.array([lag, 1.0])])
        # A difference of fourth order, so that what is left is the error of the solves.
        by_hand = [
            (8 * (plain(v + m) - plain(v - m)) - plain(v + 2 * m) + plain(v - 2 * m)) / (12 * h) for m in h * jnp.eye(6)
        ]
        gradient = reverse(v)
        assert np.allclose(gradient, forward(v), rtol=1e-8, atol=1e-10)
        assert np.allclose(gradient, by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@by("AutoSwitch", "Rodas5P")
def test_the_derivative_by_the_lag_of_a_solution_whose_slope_jumps(solver):
    # With y = 0.3 before 0 and y(0) = 1, y' jumps at the lag τ. On [τ, 2τ] y = 1 - 0.3 τ - (t - τ) + 0.15 (t - τ)².
    def end(lag):
        term = DelayTerm(decay, (lag,), lambda t, args: jnp.asarray(0.3))
        return solve(term, jnp.asarray(1.0), 1.5, solver=solver, times=breakpoints(0.0, [lag], 5), max_steps=64).ys[0]

    assert abs(jax.jit(jax.grad(end))(1.0) - (-0.3 + 1 - 0.3 * 0.5)) < 1e-8


def test_many_lags_at_once():
    lags = jnp.array([0.05, 0.7, 1.0])

    @jax.jit
    @jax.vmap
    def end(lag):
        term = DelayTerm(decay, (lag,), one)
        return solve(term, jnp.asarray(1.0), 3.0, times=breakpoints(0.0, [lag], 5), tolerance=1e-7).ys[0]

    def exact(lag):
        return sum((-1) ** k * max(3 - (k - 1) * lag, 0) ** k / math.factorial(k) for k in range(1, 62)) + 1

    assert np.abs(end(lags) - np.array([exact(float(v)) for v in lags])).max() < ALLOWED * 1e-7


def test_single_precision():
    f32 = jnp.float32
    term = DelayTerm(decay, (jnp.asarray(1.0, f32),), lambda t, args: jnp.ones((), f32))
    sol = solve(
        term,
        jnp.ones((), f32),
        f32(3.0),
        t0=f32(0.0),
        times=breakpoints(f32(0.0), [1.0], 5),
        tolerance=1e-4,
    )
    assert sol.ys.dtype == f32
    assert abs(sol.ys[0] - decay_exactly(3.0)) < 1e-5


def test_steps_a_little_longer_than_the_lag_are_cut_to_it():
    # y' = -y(t - τ) has the solution exp(λ t) with λ = -exp(-λ τ), here with a complex λ.
    lag = 0.5
    rate = complex(lambertw(-lag) / lag)
    term = DelayTerm(decay, (lag,), lambda t, args: jnp.exp(rate.real * t) * jnp.cos(rate.imag * t))
    steps = dfx.SaveAt(steps=True, t0=True)
    sol = solve(term, jnp.asarray(1.0), 8.0, times=jnp.zeros(0), shortest=lag, tolerance=1e-4, saveat=steps)
    ts = np.asarray(sol.ts)[np.isfinite(sol.ts)]
    lengths = np.diff(ts)[:-1]  # the last is cut by the end
    assert np.all((lengths < lag * 1.000001) | (lengths > 4 * lag))
    assert np.any(np.isclose(lengths, lag))
    exact = np.real(np.exp(rate * ts))
    assert np.abs(np.asarray(sol.ys)[: len(ts)] - exact).max() < ALLOWED * 1e-4


def test_breakpoints_are_the_sums_of_the_lags():
    assert np.allclose(breakpoints(2.0, [1.0, 0.25], 1), 2 + np.array([0.25, 0.5, 1.0, 1.25, 2.0]))
    assert breakpoints(0.0, [], 5).shape == (0,)


def test_what_cannot_be_right_is_refused():
    with pytest.raises(ModelError, match="no lags"):
        solve(dfx.ODETerm(lambda t, y, args: -y), jnp.asarray(1.0), 1.0)
    with pytest.raises(ModelError, match="capacity=0"):
        Delayed(dfx.Tsit5(), capacity=0)
