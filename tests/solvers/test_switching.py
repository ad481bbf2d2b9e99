"""When the switching solver changes its method, at all tolerances, and derivatives across the changes."""

import functools
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers import BOSH3, DOP853, RODAS5P, ROSENBROCK23, TSIT5, AutoSwitch, FirstStep
from tests.zoo import PROBLEMS

PAIRS = {
    "Bosh3, Rosenbrock23": AutoSwitch(BOSH3, ROSENBROCK23),
    "Tsit5, Rodas5P": AutoSwitch(TSIT5, RODAS5P),
    "DOP853, Rodas5P": AutoSwitch(DOP853, RODAS5P),
}
each = pytest.mark.parametrize("pair", PAIRS)
NONSTIFF = ("lotka_volterra", "lorenz", "arenstorf", "rigid_body", "brusselator", "van_der_pol_mild")


@functools.cache
def solver_of(name, field, t1, max_steps=8192):
    """A compiled solve of y' = field(t, y, args) from 0 to t1: (y0, args, rtol, atol) -> (end, statistics, success)."""

    def run(y0, args, rtol, atol):
        sol: Any = dfx.diffeqsolve(
            dfx.ODETerm(field),
            PAIRS[name],
            0.0,
            t1,
            None,
            y0,
            args=args,
            saveat=dfx.SaveAt(t1=True, solver_state=True),
            stepsize_controller=FirstStep(dfx.PIDController(rtol=rtol, atol=atol)),
            max_steps=max_steps,
            throw=False,
        )
        return sol.ys[-1], sol.solver_state.stats, sol.result == dfx.RESULTS.successful

    return jax.jit(run)


def decay(t, y, args):
    return -2e5 * y


@each
def test_a_fast_decay_from_far_away_is_caught(pair):
    rtol = 1e-2 if pair.startswith("Bosh3") else 1e-6
    end, stats, ok = solver_of(pair, decay, 24.0, 1024)(jnp.array([3e4]), None, rtol, 1e-9)
    assert bool(ok)
    assert abs(float(end[0])) < 1e-7
    assert int(stats.switches) == 1
    assert int(stats.explicit_steps) < 200


def growing(t, y, args):
    # The eigenvalue grows from -1 to -1e6; the solution is cos t throughout.
    return -(10.0 ** (0.6 * t)) * (y - jnp.cos(t)) - jnp.sin(t)


@each
def test_a_state_at_rest_at_zero_is_not_stiff(pair):
    end, stats, ok = solver_of(pair, decay, 24.0, 1024)(jnp.zeros(1), None, 1e-6, 1e-9)
    assert bool(ok)
    assert float(end[0]) == 0
    assert (int(stats.switches), int(stats.implicit_steps)) == (0, 0)


@each
def test_stiffness_that_grows_is_caught(pair):
    for rtol in (1e-2,) if pair.startswith("Bosh3") else (1e-3, 1e-6) if pair.startswith("Tsit5") else (1e-8, 1e-10):
        end, stats, ok = solver_of(pair, growing, 10.0)(jnp.array([1.0]), None, rtol, 1e-3 * rtol)
        assert bool(ok)
        np.testing.assert_allclose(end, np.cos(10.0), rtol=5 * rtol)
        assert int(stats.switches) == 1
        assert bool(stats.implicit)
        assert int(stats.explicit_steps) < 0.6 * int(stats.implicit_steps) + 60


@pytest.mark.parametrize("name", NONSTIFF)
def test_a_problem_that_is_not_stiff_never_switches(name):
    problem = PROBLEMS[name]
    y0 = jnp.array(problem.y0)
    for pair, tolerances in (("Tsit5, Rodas5P", range(3, 11)), ("DOP853, Rodas5P", range(7, 12))):
        run = solver_of(pair, problem.field, problem.t1)
        for digits in tolerances:
            _, stats, ok = run(y0, problem.params, 10.0**-digits, 1e-3 * 10.0**-digits)
            assert bool(ok)
            assert int(stats.switches) == int(stats.implicit_steps) == 0, (pair, digits)


def linear(t, y, stiffness):
    return jnp.stack([-stiffness * (y[0] - jnp.cos(t)) - jnp.sin(t), -y[1] * y[0]])


@each
def test_nothing_flaps_where_both_methods_cost_the_same(pair):
    # From not stiff to stiff, through eigenvalues at which an explicit and an implicit step get equally far.
    digits = (2,) if pair.startswith("Bosh3") else (3, 5, 7) if pair.startswith("Tsit5") else (8, 9)
    run = solver_of(pair, linear, 50.0)
    for d in digits:
        switches, steps = [], []
        for stiffness in np.logspace(0, 4, 17):
            _, stats, ok = run(jnp.array([1.0, 0.5]), stiffness, 10.0**-d, 10.0 ** -(d + 3))
            assert bool(ok)
            switches.append(int(stats.switches))
            steps.append(int(stats.explicit_steps))
        assert max(switches) <= 2
        assert switches[0] == 0
        assert switches[-1] == 1
        assert steps[-1] <= 16


def van_der_pol(t, y, mu):
    return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def relaxation(mu, y0, rtol, *, pair="Tsit5, Rodas5P", adjoint=None) -> Any:
    """Van der Pol's oscillator over a jump from one slow branch to the other; the end lies on the second one."""
    return dfx.diffeqsolve(
        dfx.ODETerm(van_der_pol),
        PAIRS[pair],
        0.0,
        60.0,
        None,
        y0,
        args=mu,
        saveat=dfx.SaveAt(t1=True, solver_state=True),
        stepsize_controller=FirstStep(dfx.PIDController(rtol=rtol, atol=1e-3 * rtol)),
        adjoint=dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        max_steps=8192,
        throw=False,
    )


@pytest.mark.parametrize(("pair", "rtol"), [("Tsit5, Rodas5P", 1e-7), ("DOP853, Rodas5P", 1e-9)])
def test_gradients_across_several_switches(pair, rtol):
    mu, y0 = jnp.asarray(50.0), jnp.array([2.0, 0.0])
    stats = relaxation(mu, y0, rtol, pair=pair).solver_state.stats
    assert int(stats.switches) >= 3

    def end(mu, a, rtol=rtol, adjoint=None):
        return relaxation(mu, jnp.stack([a, y0[1]]), rtol, pair=pair, adjoint=adjoint).ys[-1, 0]

    reverse = np.array(jax.jit(jax.grad(end, argnums=(0, 1)))(mu, y0[0]))
    forward = np.array(
        jax.jit(jax.jacfwd(lambda m, a: end(m, a, adjoint=dfx.ForwardMode()), argnums=(0, 1)))(mu, y0[0])
    )
    np.testing.assert_allclose(reverse, forward, rtol=1e-6)
    tight = jax.jit(lambda m, a: end(m, a, 1e-12))
    for i, h in enumerate((1e-3, 1e-5)):
        moved = [(float(mu) + s * (i == 0), float(y0[0]) + s * (i == 1)) for s in (h, -h)]
        up, down = (float(tight(*point)) for point in moved)
        np.testing.assert_allclose(reverse[i], (up - down) / (2 * h), rtol=1e-3)


def test_a_batch_equals_single_solves_where_they_switch():
    def end(mu):
        sol = relaxation(mu, jnp.array([2.0, 0.0]), 1e-6)
        return sol.ys[-1], sol.solver_state.stats.switches

    mus = jnp.array([1.0, 20.0, 80.0])
    ends, switches = jax.jit(jax.vmap(end))(mus)
    single = jax.jit(end)
    for i, mu in enumerate(mus):
        one, count = single(mu)
        np.testing.assert_allclose(ends[i], one, rtol=1e-7)
        assert int(switches[i]) == int(count)
    assert int(switches[0]) == 0
    assert int(switches[2]) >= 1
