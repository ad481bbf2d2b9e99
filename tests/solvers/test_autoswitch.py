"""The switching solver: what it chooses, that it counts right, and that it lives under every transformation."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symdeq.solvers import BOSH3, ROSENBROCK23, AutoSwitch, MassTerm, Rodas5P

from .problems import (
    ROBER_AT_1E5,
    ROBER_K,
    SparseTerm,
    driven,
    driven_exactly,
    lotka_volterra,
    rober,
    solve,
    stacked,
    table,
)

PAIRS = {"Tsit5, Rodas5P": (AutoSwitch(), 1e-6), "Bosh3, Rosenbrock23": (AutoSwitch(BOSH3, ROSENBROCK23), 1e-3)}
each = pytest.mark.parametrize("pair", PAIRS)
LV_AT_10 = np.array([1.0263448, 0.9096911])  # parameters (1.5, 1, 3, 1), from (1, 1)
SAVE = dfx.SaveAt(t1=True, solver_state=True)


def scalars(*values):
    return tuple(jnp.asarray(v, float) for v in values)


def counted(sol):
    stats = sol.solver_state.stats
    assert int(stats.explicit_steps) + int(stats.implicit_steps) == int(sol.stats["num_accepted_steps"])
    return stats


@each
@pytest.mark.parametrize("layout", ["scalars", "array"])
def test_rober_switches_once(pair, layout):
    solver, tolerance = PAIRS[pair]
    f, y0 = rober, scalars(1, 0, 0)
    if layout == "array":
        f, y0 = stacked(rober), jnp.stack(y0)
    sol = solve(f, solver, y0, 1e5, args=ROBER_K, tolerance=tolerance, saveat=SAVE)
    stats = counted(sol)
    np.testing.assert_allclose(table(sol.ys)[:, -1], ROBER_AT_1E5, rtol=10 * tolerance)
    assert int(stats.switches) == 1
    assert bool(stats.implicit)
    assert 8 <= int(stats.explicit_steps) < 40
    assert 0 < float(stats.first_switch) == float(stats.last_switch) < 0.1


@each
def test_lotka_volterra_never_switches(pair):
    solver, tolerance = PAIRS[pair]
    sol = solve(
        lotka_volterra, solver, scalars(1, 1), 10.0, args=(1.5, 1.0, 3.0, 1.0), tolerance=tolerance, saveat=SAVE
    )
    stats = counted(sol)
    assert int(stats.implicit_steps) == int(stats.switches) == 0
    assert np.isinf(float(stats.first_switch))
    assert np.isinf(float(stats.last_switch))
    np.testing.assert_allclose(table(sol.ys)[:, -1], LV_AT_10, rtol=300 * tolerance)


def test_explicit_steps_are_those_of_tsit5():
    # Not a bit for bit copy: the sums are taken in another order.
    ts = jnp.linspace(0.3, 10, 30)
    settings = {"args": (1.5, 1.0, 3.0, 1.0), "tolerance": 1e-6, "ts": ts}
    ours, theirs = (solve(lotka_volterra, s, scalars(1, 1), 10.0, **settings) for s in (AutoSwitch(), dfx.Tsit5()))
    assert ours.stats["num_steps"] == theirs.stats["num_steps"]
    np.testing.assert_allclose(table(ours.ys), table(theirs.ys), rtol=1e-9)


def test_it_switches_both_ways():
    # The eigenvalue is -1 before t = 5, -1e5 between 5 and 10, and -1 again; the solution is cos t throughout.
    def f(t, y, args):
        fast = jnp.where((t > 5) & (t < 10), 1e5, 1.0)
        return (-fast * (y[0] - jnp.cos(t)) - jnp.sin(t),)

    sol = solve(f, AutoSwitch(), scalars(1), 100.0, tolerance=1e-6, saveat=SAVE)
    stats = counted(sol)
    assert int(stats.switches) == 2
    assert 5 < float(stats.first_switch) < 5.1
    assert 10 < float(stats.last_switch) < 30
    assert not bool(stats.implicit)
    np.testing.assert_allclose(sol.ys[0][-1], np.cos(100.0), rtol=1e-4)


def test_the_mode_to_start_in_may_be_traced():
    traces = []

    @jax.jit
    def run(implicit):
        traces.append(1)
        return solve(
            rober,
            AutoSwitch(start_implicit=implicit),
            scalars(1, 0, 0),
            2e-3,
            args=ROBER_K,
            tolerance=1e-6,
            saveat=SAVE,
        )

    explicit, implicit = counted(run(False)), counted(run(True))
    assert int(explicit.implicit_steps) == int(explicit.switches) == 0
    assert int(implicit.explicit_steps) == int(implicit.switches) == 0
    assert len(traces) == 1
    same = solve(rober, Rodas5P(), scalars(1, 0, 0), 2e-3, args=ROBER_K, tolerance=1e-6)
    np.testing.assert_allclose(table(run(True).ys), table(same.ys), rtol=1e-12)


def test_new_values_never_recompile():
    traces = []

    @jax.jit
    def run(y0, k, t1):
        traces.append(1)
        return solve(rober, AutoSwitch(), (y0, 0.0 * y0, 0.0 * y0), t1, args=k, tolerance=1e-6).ys

    for scale in (1.0, 0.5, 2.0):
        run(jnp.asarray(scale), tuple(jnp.asarray(scale * v) for v in ROBER_K), jnp.asarray(10.0 * scale))
    assert len(traces) == 1


def test_a_rhs_that_depends_on_time_and_time_that_runs_backwards():
    ts = np.linspace(0.05, 2, 21)
    sol = solve(driven, AutoSwitch(), scalars(*driven_exactly(0.0)), 2.0, tolerance=1e-8, ts=jnp.asarray(ts))
    np.testing.assert_allclose(table(sol.ys), driven_exactly(ts), rtol=1e-6)
    ts = ts[::-1] - 0.05
    sol = solve(
        driven, AutoSwitch(), scalars(*driven_exactly(2.0)), 0.0, t0=2.0, dt0=-1e-4, tolerance=1e-8, ts=jnp.asarray(ts)
    )
    np.testing.assert_allclose(table(sol.ys), driven_exactly(ts), rtol=1e-6)


def test_gradients_across_a_switch():
    def end(k, tolerance=1e-8, adjoint=None):
        more = {} if adjoint is None else {"adjoint": adjoint}
        sol = solve(
            SparseTerm(), AutoSwitch(), scalars(1, 0, 0), 1e3, args=(k[0], k[1], k[2]), tolerance=tolerance, **more
        )
        return sol.ys[-1][-1]

    k = jnp.array(ROBER_K)
    reverse = np.asarray(jax.jit(jax.grad(end))(k) * k)
    forward = np.asarray(jax.jit(jax.jacfwd(lambda k: end(k, adjoint=dfx.ForwardMode())))(k) * k)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9)
    tight = jax.jit(lambda k: end(k, 1e-11))
    for i in range(3):
        up, down = (float(tight(k.at[i].multiply(np.exp(s)))) for s in (1e-3, -1e-3))
        np.testing.assert_allclose(reverse[i], (up - down) / 2e-3, rtol=1e-4)


def test_a_batch_equals_a_loop():
    def end(k):
        sol = solve(
            SparseTerm(),
            AutoSwitch(),
            scalars(1, 0, 0),
            10.0,
            args=(0.04, 3e7 * k, 1e4 * k),
            tolerance=1e-6,
            saveat=SAVE,
        )
        return sol.ys, sol.solver_state.stats

    ks = jnp.array([1e-6, 1e-3, 1.0])  # from not stiff to stiff
    ys, stats = jax.jit(jax.vmap(end))(ks)
    single = jax.jit(end)
    for i, k in enumerate(ks):
        one_ys, one_stats = single(k)
        np.testing.assert_allclose(table(ys)[:, i], table(one_ys), rtol=1e-9)
        np.testing.assert_array_equal(stats.explicit_steps[i], one_stats.explicit_steps)
        np.testing.assert_array_equal(stats.switches[i], one_stats.switches)
    assert int(stats.switches[0]) == 0
    assert int(stats.switches[2]) == 1


def test_a_mass_matrix_leaves_only_the_rosenbrock_method():
    def f(t, y, args):
        a, b, c = y
        da, db, _ = rober(t, y, ROBER_K)
        return (da, db, a + b + c - 1)

    sol = solve(MassTerm(f, np.diag([1.0, 1.0, 0.0])), AutoSwitch(), scalars(1, 0, 0), 1e5, tolerance=1e-6, saveat=SAVE)
    stats = counted(sol)
    assert int(stats.explicit_steps) == int(stats.switches) == 0
    assert bool(stats.implicit)
    np.testing.assert_allclose(table(sol.ys)[:, -1], ROBER_AT_1E5, rtol=5e-6)


def test_an_overflow_in_the_explicit_method_leaves_the_gradient_alone():
    def end(a):
        sol = solve(
            lambda t, y, a: (-a * jnp.exp(3 * y[0]),), AutoSwitch(), scalars(10), 1.0, args=a, dt0=1.0, tolerance=1e-6
        )
        return sol.ys[0][-1], sol.stats["num_rejected_steps"]

    (value, rejected), gradient = jax.jit(jax.value_and_grad(end, has_aux=True))(jnp.asarray(1.0))
    assert rejected > 10
    np.testing.assert_allclose(value, -np.log(3 + np.exp(-30)) / 3, rtol=1e-5)
    np.testing.assert_allclose(gradient, -1 / 3, rtol=1e-5)


def test_one_solve_goes_on_where_another_stopped():
    first = solve(rober, AutoSwitch(), scalars(1, 0, 0), 1.0, args=ROBER_K, tolerance=1e-6, saveat=SAVE)
    more = {"saveat": SAVE, "solver_state": first.solver_state}
    y1 = tuple(v[-1] for v in first.ys)
    second = solve(rober, AutoSwitch(), y1, 1e5, t0=1.0, args=ROBER_K, tolerance=1e-6, **more)
    assert int(second.solver_state.stats.switches) == 1
    assert int(second.solver_state.stats.explicit_steps) == int(first.solver_state.stats.explicit_steps)
    np.testing.assert_allclose(table(second.ys)[:, -1], ROBER_AT_1E5, rtol=5e-6)
