"""What comes out of a solve: quantities, tables, pictures, stories."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq, t
from tests import models

TS = np.linspace(0.0, 2.0, 9)


def test_every_kind_of_quantity():
    model = models.oscillator()
    sol = sd.solve(model, t1=2.0, saveat=TS, rtol=1e-10, atol=1e-10)
    x, w = model.states[0], model.parameters[0]
    exact = np.cos(2 * TS) + np.sin(2 * TS) / 4
    slope = -2 * np.sin(2 * TS) + np.cos(2 * TS) / 2
    np.testing.assert_allclose(sol[x], exact, atol=1e-8)
    np.testing.assert_allclose(sol["x"], exact, atol=1e-8)
    np.testing.assert_allclose(sol[D(x)], slope, atol=1e-8)
    np.testing.assert_allclose(sol[D(x, 2)], -4 * exact, atol=1e-7)
    np.testing.assert_allclose(sol[D(x, 3)], -4 * slope, atol=1e-7)
    np.testing.assert_allclose(sol[sp.sin(x) * w + t], 2 * np.sin(exact) + TS, atol=1e-7)
    np.testing.assert_array_equal(sol[w], np.full(9, 2.0))
    np.testing.assert_array_equal(sol["t"], TS)


def test_quantities_that_the_compiler_eliminated():
    y1, y2, y3 = sd.states(y1=1.0, y2=0.0, y3=None)
    doubled = sd.state("doubled")
    system = sd.System(
        [Eq(D(y1), -y1 + y3 / 2), Eq(D(y2), y1 / 2), Eq(y1 + y2 + y3, 1), Eq(doubled, 2 * y3)],
        observed={"total": y1 + y2 + y3},
    )
    model = sd.compile(system)
    assert [s.name for s in model.states] == ["y1", "y2"]
    sol = sd.solve(model, t1=2.0, saveat=TS)
    np.testing.assert_allclose(sol[y3], 1 - sol[y1] - sol[y2], rtol=1e-12)
    np.testing.assert_allclose(sol[doubled], 2 * sol[y3], rtol=1e-12)
    np.testing.assert_allclose(sol["total"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(sol[D(y3)], sol[y1 - y3 / 2 - y1 / 2], atol=1e-12)


def test_quantities_inside_jit():
    model = models.lotka_volterra()
    x, y = model.states
    a = model.parameters[0]

    @jax.jit
    def product(value):
        sol = sd.solve(model.replace({a: value}), t1=2.0, saveat=TS)
        return sol[x * y + a], sol.ok

    values, ok = product(1.5)
    sol = sd.solve(model, t1=2.0, saveat=TS)
    np.testing.assert_allclose(values, sol["x"] * sol["y"] + 1.5, rtol=1e-12)
    assert ok


def test_default_is_the_solvers_own_steps():
    sol = sd.solve(models.growth(), t1=2.0)
    assert sol.ts[0] == 0.0
    assert sol.ts[-1] == 2.0
    assert len(sol.ts) == int(sol.stats["num_accepted_steps"]) + 1
    assert np.isfinite(sol.ys).all()
    np.testing.assert_allclose(sol["r"], 2 * np.exp(0.7 * np.asarray(sol.ts)), rtol=1e-5)


def test_backwards_in_time():
    model = models.growth()
    ts = np.linspace(2.0, 0.0, 5)
    sol = sd.solve(model, t0=2.0, t1=0.0, saveat=ts, y0=[2 * np.exp(1.4)], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(sol.ts, ts)
    np.testing.assert_allclose(sol["r"], 2 * np.exp(0.7 * ts), rtol=1e-7)


@pytest.mark.parametrize("solver", [dfx.Kvaerno5(), dfx.Dopri8(), sd.Rodas5P(), sd.Rosenbrock23(), sd.AutoSwitch()])
def test_any_diffrax_solver(solver):
    sol = sd.solve(models.growth(), t1=2.0, saveat=[2.0], solver=solver)
    assert float(sol["r"][0]) == pytest.approx(2 * np.exp(1.4), rel=1e-4)
    assert type(solver).__name__ in sol.explain()


def test_a_method_without_error_estimate_takes_equal_steps():
    sol = sd.solve(models.growth(), t1=2.0, solver=dfx.Euler(), max_steps=100)
    np.testing.assert_allclose(sol["r"], 2 * (1 + 0.7 * 0.02) ** np.arange(101), rtol=1e-10)


def test_diffrax_saveat_with_a_function_of_its_own_and_several_parts():
    model = models.lotka_volterra()
    total = dfx.SubSaveAt(ts=jnp.asarray(TS), fn=lambda t, y, args: y[0] + y[1] + args[0])
    sol = sd.solve(model, t1=2.0, saveat=dfx.SaveAt(subs=[total, dfx.SubSaveAt(t1=True)]))
    plain = sd.solve(model, t1=2.0, saveat=TS)
    np.testing.assert_allclose(sol.ys[0], plain["x"] + plain["y"] + 1.5, rtol=1e-12)
    np.testing.assert_allclose(sol.ys[1][0], plain.ys[-1], rtol=1e-12)
    with pytest.raises(sd.ModelError, match="array of times"):
        sol["x"]


def test_tolerances_a_state():
    model = models.lotka_volterra()
    loose = sd.solve(model, t1=2.0, atol=np.array([1e-3, 1e-3]), rtol=1e-9)
    tight = sd.solve(model, t1=2.0, atol=np.array([1e-9, 1e-9]), rtol=1e-9)
    assert int(loose.stats["num_steps"]) < int(tight.stats["num_steps"])
    mixed = sd.solve(model, t1=2.0, atol=np.array([1e-3, 1e-9]), rtol=1e-9)
    assert "atol 1e-09 to 0.001" in mixed.explain()


def test_a_switching_solver_of_ones_own_starts_as_it_says():
    sol = sd.solve(models.growth(), t1=0.5, solver=sd.AutoSwitch(start_implicit=True))
    assert sol.switch is not None
    assert int(sol.switch.implicit_steps) > 0
    assert int(sol.switch.explicit_steps) == 0
    assert "AutoSwitch was asked for" in sol.explain()
    assert "Rodas5P (Rosenbrock) throughout" in sol.explain()
    assert "Tsit5 (explicit) throughout" in sd.solve(models.growth(), t1=0.5, solver=sd.AutoSwitch()).explain()


def test_table():
    sol = sd.solve(models.lotka_volterra(), t1=2.0, saveat=TS)
    table = sol.to_pandas()
    assert list(table.columns) == ["x", "y"]
    assert table.index.name == "t"
    np.testing.assert_array_equal(table["x"], sol["x"])
    assert list(sol.to_pandas(["x", sol.model.states[0] ** 2]).columns) == ["x", "x**2"]


def test_pictures():
    model = models.lotka_volterra()
    sol = sd.solve(model, t1=10.0)
    x, y = model.states
    line = sol.plot([x]).lines[0]
    fine, _ = line.get_data()
    tight = sd.solve(model, t1=10.0, saveat=fine, rtol=1e-10, atol=1e-10)
    # Between the steps the curve is the cubic through values and slopes, and not a chord.
    np.testing.assert_allclose(line.get_data()[1], tight["x"], atol=0.03)
    plane = sol.plot([y], against=x)
    assert plane.get_xlabel() == "x"
    assert plane.get_ylabel() == "y"
    assert sol.plot(xscale="log").get_xscale() == "log"
    with pytest.raises(sd.ModelError, match="xscale"):
        sol.plot(xscale="loglog")  # pyright: ignore


def test_prints():
    text = repr(sd.solve(models.lotka_volterra(), t1=2.0))
    assert text.startswith("`lotka_volterra`: 2 states, t = 0 to 2, float64")
    assert "successful" in text
    batch = jax.vmap(lambda a: sd.solve(models.lotka_volterra().replace(a=a), t1=2.0, saveat=TS))(jnp.ones(3))
    assert "a batch of shape (3,)" in repr(batch)


def test_float32_and_its_warning():
    with jax.enable_x64(False):
        x, k = sd.state("x", 1.0), sd.parameter("k", 1000.0)
        model = sd.compile(sd.System([Eq(D(x), -k * (x - sp.cos(t)) - sp.sin(t))], name="driven_single"))
        with pytest.warns(sd.SymdeqWarning, match="jax_enable_x64"):
            sol = sd.solve(model, t1=2.0, saveat=[2.0])
        assert sol.ys.dtype == jnp.float32
        assert float(sol["x"][0]) == pytest.approx(np.cos(2.0), abs=1e-4)
