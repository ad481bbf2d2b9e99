"""Published systems with their settings, against values from independent solvers."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symdeq as sd
from symdeq import D, Eq
from tests import models


def test_row_1_lotka_volterra():
    model = models.lotka_volterra()
    sol = sd.solve(model, t1=10.0, saveat=np.linspace(0, 10, 20001), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sol.ys[-1], [1.0263448, 0.9096911], atol=2e-7, rtol=0)
    assert float(jnp.max(sol["x"])) == pytest.approx(6.90489, abs=1e-5)
    axes = sol.plot()
    assert [line.get_label() for line in axes.lines] == ["x", "y"]


@pytest.fixture(scope="module")
def from_parameters() -> sd.Model:
    b, d = sd.parameters(b=1.0, d=1.0)
    a, c = sd.parameters(a=1.5, c=3.0)
    x, y = sd.states(x=b, y=d)
    return sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="from_parameters"))


def test_row_2_initial_values_and_end_from_parameters(from_parameters):
    (d,) = [s for s in from_parameters.parameters if s.name == "d"]

    def end(value):
        sol = sd.solve(
            from_parameters.replace({d: value}),
            t1=10 * d,
            saveat=dfx.SaveAt(t1=True),
            rtol=1e-10,
            atol=1e-10,
            max_steps=4000,
        )
        return sol.ys[-1]

    sol = sd.solve(from_parameters, t1=10 * d)
    assert sol.ts[-1] == 10.0
    np.testing.assert_allclose(sol.ys[0], [1.0, 1.0])
    gradient = jax.jacrev(end)(1.0)
    h = 1e-4
    expected = (np.asarray(end(1 + h)) - np.asarray(end(1 - h))) / (2 * h)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_row_3_saved_times():
    model = models.lotka_volterra()
    even = sd.solve(model, t1=10.0, saveat=0.1)
    assert even.ts.shape == (101,)
    np.testing.assert_array_equal(even.ts[:3], [0.0, 0.1, 0.2])
    assert even.ts[-1] == 10.0
    uneven = np.sort(np.concatenate([np.geomspace(1e-3, 9.9, 30), [5.0, 5.0, 10.0]]))
    sol = sd.solve(model, t1=10.0, saveat=uneven)
    np.testing.assert_array_equal(sol.ts, uneven)
    fine = sd.solve(model, t1=10.0, saveat=dfx.SaveAt(dense=True), rtol=1e-10, atol=1e-10)
    for k in (0, 17, 32):
        np.testing.assert_allclose(sol.ys[k], fine.evaluate(uneven[k]), rtol=2e-5)


def test_row_8_robertson():
    model = models.rober()
    middle = sd.solve(model, t1=1e5, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(middle.ys[-1], [0.0178659, 7.27475e-8, 0.982134], rtol=2e-6)
    end = sd.solve(model, t1=1e11, rtol=1e-8, atol=1e-16)
    np.testing.assert_allclose(end.ys[-1], [2.08334e-8, 8.33336e-14, 0.99999998], rtol=2e-6)
    total = end[sum(model.states)]
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    structure = model.system.structure
    assert structure is not None
    [invariant] = structure.invariants
    assert str(invariant.expression) == "y1 + y2 + y3"
    axes = sd.solve(model, t1=1e11, saveat=np.geomspace(1e-5, 1e11, 60)).plot()
    assert all(axis.get_xscale() == "log" for axis in np.atleast_1d(axes))


def test_row_9_explicit_methods_fail_on_robertson_with_a_diagnosis():
    with pytest.raises(sd.SolveError) as caught:
        sd.solve(models.rober(), t1=1e11, solver=dfx.Tsit5())
    message = str(caught.value)
    for part in ("`rober`", "stiff", "t = ", "Tsit5", "max_steps = 4096", 'solver="auto"'):
        assert part in message
    failed = sd.solve(models.rober(), t1=1e11, solver=dfx.Tsit5(), throw=False)
    assert not failed.ok
    assert int(failed.stats["num_steps"]) == 4096


def test_row_10_the_implicit_method_is_found_without_being_asked_for():
    sol = sd.solve(models.rober(), t1=1e11)
    assert sol.ok
    assert int(sol.stats["num_steps"]) < 300
    assert sol.switch is not None
    assert int(sol.switch.implicit_steps) > int(sol.switch.explicit_steps)
    story = sol.explain()
    for part in ("Rodas5P (Rosenbrock)", "switched", "stability limited"):
        assert part in story


def test_row_11_symbolic_declaration_gives_all_derivatives():
    model = models.rober()
    y, p = jnp.array([0.7, 2e-5, 0.3]), model.values
    _, k2, k3 = p
    expected = np.array([
        [-p[0], k3 * y[2], k3 * y[1]],
        [p[0], -2 * k2 * y[1] - k3 * y[2], -k3 * y[1]],
        [0, 2 * k2 * y[1], 0],
    ])  # fmt: skip
    np.testing.assert_allclose(model.jac(0.0, y), expected, rtol=1e-14)
    np.testing.assert_allclose(model.rhs(0.0, y), jnp.array([-p[0] * y[0] + k3 * y[1] * y[2],
        p[0] * y[0] - k2 * y[1] ** 2 - k3 * y[1] * y[2], k2 * y[1] ** 2]), rtol=1e-13)  # fmt: skip
    structure = model.system.structure
    assert structure is not None
    assert len(structure.sparsity) == 7
    driven = models.driven()
    dfdt = driven.functions.dfdt(0.3, (jnp.asarray(0.5),), tuple(driven.values))[0]
    assert float(dfdt) == pytest.approx(-1000 * np.sin(0.3) - np.cos(0.3), rel=1e-13)


def test_row_22_exponential_growth():
    sol = sd.solve(models.growth(), t1=3.0, saveat=[0.0, 1.0, 3.0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sol["r"], 2.0 * np.exp(0.7 * np.array([0.0, 1.0, 3.0])), rtol=1e-8)


@pytest.mark.parametrize(
    ("model", "t1", "word"),
    [
        (models.lotka_volterra, 10.0, "Tsit5 (explicit) throughout"),
        (models.lorenz, 20.0, "Tsit5 (explicit) throughout"),
        (models.rober, 1e5, "switched to Rodas5P (Rosenbrock)"),
    ],
)
def test_the_method_that_runs_is_the_right_one_and_is_said(model, t1, word):
    assert word in sd.solve(model(), t1=t1).explain()
