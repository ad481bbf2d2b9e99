"""Equations with noise: moments and paths in closed form, orders of convergence, calculi, gradients, refusals."""

from typing import Any, Literal

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq.solve import sde

KEY = jax.random.key(1)
W1, W2 = sd.brownian("W1 W2")
x, y = sd.states(x=1.0, y=0.5)
a, s = sd.parameters(a=0.5, s=0.4)


def gbm(calculus: Literal["ito", "stratonovich"] = "ito"):
    return sd.compile(sd.System([Eq(D(x), a * x + s * x * D(W1))], name="gbm", calculus=calculus))


def structure_of(model) -> Any:
    return model.system.structure


def motion(key, t1=1.0, size=1) -> Any:
    """W(t1) of the path that a key stands for, as the methods with space-time areas see it."""
    tree: Any = dfx.VirtualBrownianTree(
        0.0, t1, tol=t1 * 2**-14, shape=(size,), key=key, levy_area=dfx.SpaceTimeLevyArea
    )
    return tree.evaluate(0.0, t1)


def test_geometric_brownian_motion_path_by_path_and_on_average():
    model, keys = gbm(), jax.random.split(KEY, 400)
    solve = jax.jit(
        jax.vmap(lambda k, tol: sd.solve(model, 1.0, saveat=[1.0], key=k, rtol=tol, atol=tol / 10).ys[-1, 0], (0, None))
    )
    exact = jnp.exp(0.5 - 0.4**2 / 2 + 0.4 * jax.vmap(motion)(keys)[:, 0])
    loose, tight = (jnp.mean(jnp.abs(solve(keys, tol) - exact)) for tol in (1e-2, 1e-4))
    assert float(loose) < 0.02
    assert float(tight) < float(loose) / 3
    found = solve(keys, 1e-3)
    spread = np.exp(0.5) * np.sqrt(np.exp(0.16) - 1)
    assert abs(float(jnp.mean(found)) - np.exp(0.5)) < 3 * spread / 20
    assert float(jnp.std(found)) == pytest.approx(spread, rel=0.2)


def test_ornstein_and_uhlenbecks_moments_at_several_times():
    model = sd.compile(sd.System([Eq(D(x), -2 * x + s * D(W1))], name="ou"))
    ts = jnp.array([0.25, 1.0, 2.0])
    keys = jax.random.split(KEY, 1000)
    found = jax.jit(jax.vmap(lambda k: sd.solve(model, 2.0, saveat=ts, key=k).ys[:, 0]))(keys)
    spread = 0.4 * np.sqrt((1 - np.exp(-4 * np.asarray(ts))) / 4)
    assert np.all(np.abs(np.mean(found, 0) - np.exp(-2 * np.asarray(ts))) < 3.5 * spread / np.sqrt(1000) + 2e-3)
    np.testing.assert_allclose(np.std(found, 0), spread, rtol=0.1)


def at_end(model, solver, steps, keys):
    """The states at t = 1 after equal steps, whose number may be traced."""

    def one(key):
        terms = sde.terms(model, solver, jnp.zeros(()), jnp.ones(()), key)
        start, saved = model.initial_state(), dfx.SaveAt(t1=True)
        found: Any = dfx.diffeqsolve(
            terms, solver, 0.0, 1.0, 1 / steps, start, model.args, saveat=saved, max_steps=1030
        )
        return found.ys[0]

    return jax.vmap(one)(keys)


def test_weak_order_of_convergence_of_eulers_method():
    """The mean of geometric Brownian motion, with the exact path taken off to lessen the noise of the estimate."""
    model, keys = gbm().replace(a=1.0), jax.random.split(KEY, 2000)

    def last(key) -> Any:
        tree: Any = dfx.VirtualBrownianTree(0.0, 1.0, tol=2**-14, shape=(1,), key=key)
        return tree.evaluate(0.0, 1.0)[0]

    exact = jnp.exp(1.0 - 0.4**2 / 2 + 0.4 * jax.vmap(last)(keys))
    end = jax.jit(lambda steps: at_end(model, dfx.Euler(), steps, keys)[:, 0])
    counts = np.array([8.0, 16.0, 32.0, 64.0])
    errors = [abs(float(jnp.mean(end(n) - exact))) for n in counts]
    assert -np.polyfit(np.log(counts), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.15)


def test_equal_keys_are_equal_paths_whatever_the_steps():
    model, ts = gbm(), jnp.linspace(0.1, 1.0, 10)
    paths = [sd.solve(model, 1.0, saveat=ts, key=KEY, rtol=tol, atol=tol).ys[:, 0] for tol in (1e-3, 1e-5)]
    np.testing.assert_allclose(*paths, rtol=3e-3)
    again = sd.solve(model, 1.0, saveat=ts, key=KEY, rtol=1e-3, atol=1e-3).ys[:, 0]
    np.testing.assert_array_equal(again, paths[0])
    other = sd.solve(model, 1.0, saveat=ts, key=jax.random.key(9), rtol=1e-3, atol=1e-3).ys[:, 0]
    assert float(jnp.max(jnp.abs(other - again))) > 0.05


def test_the_two_calculi_differ_by_the_exact_correction():
    """Stratonovich with drift a x is Itô with drift (a + s²/2) x."""
    tight = {"saveat": [1.0], "key": KEY, "rtol": 1e-4, "atol": 1e-5}
    by_stratonovich = sd.solve(gbm("stratonovich"), 1.0, **tight)[x][-1]
    by_ito = sd.solve(gbm().replace(a=0.5 + 0.4**2 / 2), 1.0, **tight)[x][-1]
    np.testing.assert_allclose(by_stratonovich, by_ito, rtol=1e-5)  # one equation, in other roundings and steps
    for solver in (dfx.HalfSolver(dfx.ItoMilstein()), dfx.HalfSolver(dfx.StratonovichMilstein())):
        np.testing.assert_allclose(
            sd.solve(gbm(), 1.0, **tight, solver=solver)[x][-1], sd.solve(gbm(), 1.0, **tight)[x][-1], rtol=5e-3
        )


def test_gradients_along_a_path_in_closed_form():
    model, w = gbm(), motion(KEY)[0]
    end = lambda a, s: sd.solve(model.replace(a=a, s=s), 1.0, saveat=[1.0], key=KEY, rtol=1e-4, atol=1e-5)[x][-1]  # noqa: E731
    exact = jnp.exp(0.5 - 0.4**2 / 2 + 0.4 * w)
    np.testing.assert_allclose(
        jax.grad(end, argnums=(0, 1))(0.5, 0.4), [exact, exact * (w - 0.4)], rtol=1e-2, atol=1e-3
    )


def test_correlated_noise():
    rho = sd.parameter("rho", 0.6)
    model = sd.compile(sd.System([Eq(D(x), D(W1)), Eq(D(y), rho * D(W1) + sp.sqrt(1 - rho**2) * D(W2))], name="pair"))
    ends = jax.jit(jax.vmap(lambda k: sd.solve(model, 1.0, saveat=[1.0], key=k).ys[-1]))(jax.random.split(KEY, 3000))
    np.testing.assert_allclose(np.cov(ends.T), [[1, 0.6], [0.6, 1]], atol=0.08)


def test_row_13_a_layer_with_noise_is_trained():
    """The Lotka-Volterra equations with diagonal noise of a tenth of the state, t = 0 to 5, tolerance 0.1; the loss is
    Σ (x - 1)², which is 1800.57 for the drift alone."""
    u, v = sd.states(u=1.0, v=1.0)
    p = sd.parameters(p1=2.2, p2=1.0, p3=2.0, p4=0.4)
    drift = [p[0] * u - p[1] * u * v, -p[2] * v + p[3] * u * v]
    system = sd.System([Eq(D(u), drift[0] + 0.1 * u * D(W1)), Eq(D(v), drift[1] + 0.1 * v * D(W2))], name="noisy")
    ts = jnp.linspace(0, 5, 51)
    layer = sd.ODELayer(sd.compile(system), [*p], [u], saveat=ts, rtol=1e-1, atol=1e-1)
    keys = jax.random.split(KEY, 100)
    start, optimiser = jnp.array([2.2, 1.0, 2.0, 0.4]), optax.adam(0.1)
    without = sd.compile(sd.System([Eq(D(u), drift[0]), Eq(D(v), drift[1])], name="drift"))
    assert float(jnp.sum((sd.solve(without, 5.0, saveat=ts)[u] - 1) ** 2)) == pytest.approx(1800.57, abs=0.01)

    def loss(values, key):
        return jnp.sum((layer(values, key=key) - 1) ** 2)

    @jax.jit
    def step(carry, key):
        values, state = carry
        value, slope = jax.value_and_grad(loss)(values, key)
        updates, state = optimiser.update(slope, state)
        return (optax.apply_updates(values, updates), state), value

    (trained, _), losses = jax.lax.scan(step, (start, optimiser.init(start)), keys)
    assert bool(jnp.all(jnp.isfinite(losses)))
    both = jax.jit(jax.vmap(loss, (None, 0)))
    assert float(jnp.mean(both(trained, keys[:20]))) < 0.5 * float(jnp.mean(both(start, keys[:20])))


def test_what_it_prints_and_which_method_it_takes():
    model = gbm()
    assert "noise       W1: diagonal, in the calculus of Itô" in str(model)
    assert "SPaRK: diagonal noise: strong order 1" in str(sd.solve(model, 1.0, key=KEY))
    additive = sd.compile(sd.System([Eq(D(x), -x + s * D(W1))], name="ou"))
    assert "ShARK in halved steps: additive noise: strong order 1.5" in str(sd.solve(additive, 1.0, key=KEY))


def test_totals_that_noise_changes_are_none():
    exchange = s * x * D(W1)
    kept = sd.compile(sd.System([Eq(D(x), -x + y + exchange), Eq(D(y), x - y - exchange)], name="kept"))
    assert [str(law.expression) for law in structure_of(kept).invariants] == ["x + y"]
    lost = sd.compile(sd.System([Eq(D(x), -x + y + exchange), Eq(D(y), x - y)], name="lost"))
    assert structure_of(lost).invariants == ()


def test_noise_inside_a_subsystem_and_through_computed_quantities():
    part = sd.System([Eq(D(x), -x + s * D(W1))], name="part")
    z = sd.state("z", 1.0)
    whole = sd.compile(sd.System([Eq(D(z), part.x - z)], name="whole", subsystems=[part]))
    assert [noise.brownian.name for noise in whole.system.noise] == ["part.W1"]
    q = sd.state("q")
    computed = sd.compile(sd.System([Eq(D(x), -x + q * D(W1)), Eq(q, s * x)], name="computed"))
    direct = sd.compile(sd.System([Eq(D(x), -x + s * x * D(W1))], name="direct"))
    ends = [sd.solve(m, 1.0, saveat=[1.0], key=KEY)["x"][-1] for m in (computed, direct)]
    np.testing.assert_allclose(*ends, rtol=1e-12)


def test_refusals():
    model = gbm()
    W = sd.brownian("W")
    for call, part in (
        (lambda: sd.solve(model, 1.0), "needs a key"),
        (lambda: sd.solve(model, -1.0, key=KEY), "forward in time"),
        (lambda: sd.solve(model, 1.0, key=KEY, saveat=dfx.SaveAt(dense=True)), "between its steps"),
        (lambda: sd.solve(model, 1.0, key=KEY, solver=dfx.ShARK()), "additive noise only"),
        (lambda: sd.solve(model, 1.0, key=KEY, solver=dfx.Tsit5()), "no equation with noise"),
        (lambda: sd.steady_state(model), "Brownian motions"),
        (lambda: sd.fit(model, {"time": [0.0, 1.0], "x": [1.0, 2.0]}), "Brownian motions"),
        (lambda: sd.compile(sd.System([Eq(D(x), -x + D(W) ** 2)])), "linearly"),
        (lambda: sd.compile(sd.System([Eq(D(x), -x + W)])), "itself stands"),
        (lambda: sd.compile(sd.System([Eq(D(x), -x), Eq(y, x + D(W))])), "how one state changes"),
        (lambda: sd.compile(sd.System([Eq(D(x), -x + D(W)), Eq(y, D(x))])), "cannot be used elsewhere"),
        (lambda: D(x * W), "chain rule"),
        (lambda: sd.System([Eq(D(x), -x)], calculus="malliavin"), "calculus must be"),  # pyright: ignore[reportArgumentType]
        (lambda: sd.brownian(""), "by their names"),
        (lambda: sd.solve(sd.compile(sd.System([Eq(D(x), -x)])), 1.0, key=KEY), "no noise"),
    ):
        with pytest.raises((sd.ModelError, sd.UnsupportedError), match=part):
            call()
    general = sd.compile(sd.System([Eq(D(x), D(W1)), Eq(D(y), x * D(W2))], name="general"))
    with pytest.raises(sd.UnsupportedError, match="commutative"):
        sd.solve(general, 1.0, key=KEY, solver=dfx.ItoMilstein())


def test_saved_and_loaded(tmp_path):
    model = gbm("stratonovich")
    sd.save(model.replace(s=0.3), tmp_path / "gbm.symdeq")
    loaded = sd.load(tmp_path / "gbm.symdeq")
    ends = [sd.solve(m, 1.0, saveat=[1.0], key=KEY)["x"][-1] for m in (loaded, model.replace(s=0.3))]
    assert float(ends[0]) == float(ends[1])
    assert loaded.system.calculus == "stratonovich"
