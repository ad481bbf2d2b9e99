"""Delay equations by `sd.solve`: published numbers, closed forms, SciPy by the method of steps, derivatives."""

import math

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy as sp
from scipy.special import lambertw

import symdeq as sd
from symdeq import D, Eq, t
from symdeq._errors import ModelError, SolveError, UnsupportedError
from tests.solvers.test_delayed import ALLOWED, by_steps, decay_exactly

TS = np.linspace(0.0, 10.0, 101)


@pytest.fixture(scope="module")
def rabbits():
    x, y = sd.states(x=1.0, y=1.0)
    a, b, d, g, tau = sd.parameters(alpha=2.2, beta=1.0, delta=2.0, gamma=0.4, tau=0.1)
    equations = [Eq(D(x), (a - b * y) * sd.delay(x, tau)), Eq(D(y), (d * x - g) * y)]
    return sd.compile(sd.System(equations, name="rabbits", history={x: 1.0}))


def feedback(lag=1.0, history=None, **values):
    """y' = -k y(t - tau)."""
    y = sd.state("y", values.pop("y", 1.0))
    k, tau = sd.parameters(k=1.0, tau=lag)
    history = {} if history is None else {y: history}
    return sd.compile(sd.System([Eq(D(y), -k * sd.delay(y, tau))], name="feedback", history=history, **values))


def test_row_12_delayed_lotka_volterra_has_its_published_values(rabbits):
    sol = sd.solve(rabbits, saveat=TS, rtol=1e-10, atol=1e-12)
    assert np.allclose(sol.ys[10], (0.341780, 5.232535), atol=6e-7)
    assert np.allclose(sol.ys[-1], (1.213370, 3.415943), atol=6e-7)
    assert float(jnp.sum((sol["x"] - 1) ** 2)) == pytest.approx(72.9436, abs=5e-5)


def test_row_12_delayed_lotka_volterra_is_trained(rabbits):
    a, b, d, g, _ = rabbits.parameters

    def loss(p):
        sol = sd.solve(rabbits.replace({a: p[0], b: p[1], d: p[2], g: p[3]}), saveat=TS, solver=dfx.Tsit5())
        return jnp.sum((sol["x"] - 1) ** 2)

    optimiser = optax.adam(0.1)

    @jax.jit
    def step(p, state):
        value, slope = jax.value_and_grad(loss)(p)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(p, change), state, value

    p = jnp.array([2.2, 1.0, 2.0, 0.4])
    state, losses = optimiser.init(p), []
    for _ in range(100):
        p, state, value = step(p, state)
        losses.append(float(value))
    assert losses[0] == pytest.approx(72.94, abs=0.01)
    assert losses[-1] < 0.02 * losses[0]


def test_a_history_is_the_initial_value_unless_it_is_given():
    ts = np.linspace(0.0, 4.0, 9)
    sol = sd.solve(feedback(), saveat=ts)
    assert np.allclose(sol["y"], decay_exactly(ts), atol=ALLOWED * 1e-6)
    assert sol.method.name == "Tsit5/Rodas5P"
    # The initial value may be replaced, and the history goes with it.
    doubled = sd.solve(feedback().replace(y=2.0), saveat=ts)
    assert np.allclose(doubled["y"], 2 * decay_exactly(ts), atol=ALLOWED * 2e-6)


def test_an_eigenfunction_as_the_history_goes_on():
    # y' = -y(t - 1/2) has solutions exp(s t) with s = W(-1/2)/(1/2), here of the complex s with the largest real part.
    s = complex(lambertw(-0.5, 0) / 0.5)
    ts = np.linspace(2.0, 6.0, 9)
    model = feedback(0.5, history=sp.exp(s.real * t) * sp.cos(s.imag * t), y=None)
    sol = sd.solve(model, t0=2.0, saveat=ts, rtol=1e-8, atol=1e-10)
    assert np.allclose(sol["y"], np.exp(s.real * ts) * np.cos(s.imag * ts), atol=ALLOWED * 1e-8)
    assert sol.y0 == pytest.approx(math.exp(2 * s.real) * math.cos(2 * s.imag))


def test_a_history_of_data_and_its_derivative():
    past = np.linspace(-1.0, 0.0, 41)
    model = feedback(history=(past, np.cos(past)), y=None)
    # Over the first interval y' = -cos(t - 1): y = 1 - sin(1) - sin(t - 1), and data are as good as their spacing^3.
    ts = np.linspace(0.0, 1.0, 6)
    exact = 1 - math.sin(1) - np.sin(ts - 1)
    assert np.allclose(sd.solve(model, saveat=ts, solver=dfx.Tsit5())["y"], exact, atol=2e-6)

    def end(model):
        return sd.solve(model, t1=1.0, saveat=[1.0], solver=dfx.Tsit5(), adjoint=dfx.ForwardMode())["y"][-1]

    # y(1) = y(0) - the integral of the history: to add s^2 to the data adds -1/3.
    added = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else None, model)
    added = eqx.tree_at(lambda m: m.networks[0].values, added, jnp.asarray(past**2))
    _, slope = eqx.filter_jit(lambda m, a: eqx.filter_jvp(end, (m,), (a,)))(model, added)
    assert float(slope) == pytest.approx(-1 / 3, abs=1e-4)
    with pytest.raises(ModelError, match=r"history of `y` is not finite at t = -2, where `y\(t - tau\)` needs it"):
        sd.solve(model.replace(tau=2.0), t1=1.0)


def test_lags_of_time_and_of_states():
    # The pantograph y' = -y(t/2): y = Σ (-1)^k 2^(-k(k-1)/2) t^k / k!.
    y = sd.state("y", 1.0)
    model = sd.compile(sd.System([Eq(D(y), -sd.delay(y, t / 2))], name="pantograph"))
    ts = np.linspace(0.0, 4.0, 9)
    exact = sum((-1) ** k * 2.0 ** (-k * (k - 1) / 2) * ts**k / math.factorial(k) for k in range(25))
    assert np.allclose(sd.solve(model, saveat=ts)["y"], exact, atol=ALLOWED * 1e-6)


def test_a_lag_of_the_state():
    # y' = y(y(t)), y = 1/2 before 2 and y(2) = 1 (C. A. H. Paul, 1994): y = t/2, then 2 exp(t/2 - 2) from t = 4 on.
    y = sd.state("y", 1.0)
    model = sd.compile(sd.System([Eq(D(y), sd.delay(y, t - y))], name="echo", history={y: 0.5}))
    ts = np.array([2.5, 3.0, 4.0, 4.5, 5.0, 5.3])
    exact = np.where(ts < 4, ts / 2, 2 * np.exp(ts / 2 - 2))
    sol = sd.solve(model, t0=2.0, saveat=ts, solver=dfx.Tsit5())
    assert np.allclose(sol["y"], exact, atol=ALLOWED * 1e-6)
    stiff = sd.solve(model, t0=2.0, saveat=ts, solver=sd.Rodas5P())
    assert np.allclose(stiff["y"], exact, atol=ALLOWED * 1e-6)


def test_several_lags_in_a_system_of_second_order():
    x, u = sd.states(x=1.0, u=0.5)
    equations = [
        Eq(D(x, 2), -x - 0.4 * sd.delay(D(x), 0.5) + sd.delay(u, 0.25)),
        Eq(D(u), -u * sd.delay(x, 0.75)),
    ]
    model = sd.compile(sd.System(equations, name="loop", initial={D(x): 0.0}, history={x: 1.0, u: 0.5}))
    ts = np.linspace(0.0, 3.0, 7)

    def f(s, v, past):
        # states x, u, x' by SciPy; lags 0.25, 0.5, 0.75
        return [v[2], -v[1] * past[2][0], -v[0] - 0.4 * past[1][2] + past[0][1]]

    start = [1.0, 0.5, 0.0]
    exact = by_steps(f, (0.25, 0.5, 0.75), lambda s: np.array(start), start, 3.0, 0.25)(ts)
    sol = sd.solve(model, saveat=ts)
    found = np.stack([sol[x], sol[u], sol[D(x)]], axis=-1)
    assert np.allclose(found, exact, atol=ALLOWED * 1e-6)


def test_a_stiff_equation_is_solved_implicitly():
    # z follows y(t - 1) within 1e-5: y' = -z is y' = -y(t - 1) but for that.
    y, z = sd.states(y=1.0, z=1.0)
    model = sd.compile(sd.System([Eq(D(y), -z), Eq(D(z), 1e5 * (sd.delay(y, 1) - z))], name="follower"))
    ts = np.linspace(0.0, 4.0, 5)
    sol = sd.solve(model, saveat=ts)
    assert sol.method.name == "Rodas5P"
    assert int(sol.stats["num_steps"]) < 100
    assert np.allclose(sol["y"], decay_exactly(ts), atol=1e-4)


# Backwards is tested with every kind of lag in tests/solvers/test_delayed.py.
@pytest.mark.parametrize("adjoint", ["forward", pytest.param("reverse", marks=pytest.mark.slow)])
def test_derivatives_against_differences(rabbits, adjoint):
    def loss(v, adjoint=adjoint):
        *p, start = v
        model = rabbits.replace({**dict(zip(rabbits.parameters, p, strict=True)), "x": start})
        sol = sd.solve(
            model, saveat=jnp.linspace(0.0, 2.0, 5), rtol=1e-9, atol=1e-10, solver=dfx.Tsit5(), adjoint=adjoint
        )
        return jnp.sum(sol.ys**2)

    v, h = jnp.array([2.2, 1.0, 2.0, 0.4, 0.1, 1.1]), 1e-5
    value = jax.jit(loss)
    differences = [float(value(v.at[i].add(h)) - value(v.at[i].add(-h))) / (2 * h) for i in range(len(v))]
    slope = jax.jit(jax.jacfwd(loss) if adjoint == "forward" else jax.grad(loss))(v)
    assert np.allclose(slope, differences, rtol=2e-5)


def test_a_layer_learns_its_lag(rabbits):
    x, tau = rabbits.states[0], rabbits.parameters[4]
    layer = sd.ODELayer(
        rabbits, inputs=[tau], outputs=[x], saveat=np.linspace(0.5, 3.0, 6), solver=dfx.Tsit5(), adjoint="forward"
    )
    target = layer(jnp.array([0.1]))

    @jax.jit
    def gauss_newton(lag):
        off, slope = layer(lag) - target, jax.jacfwd(layer)(lag)[..., 0]
        return lag - jnp.sum(off * slope) / jnp.sum(slope**2)

    lag = jnp.array([0.2])
    for _ in range(8):
        lag = gauss_newton(lag)
    assert float(lag[0]) == pytest.approx(0.1, abs=1e-5)


def test_delayed_values_of_a_dense_solution(rabbits):
    x, tau = rabbits.states[0], rabbits.parameters[4]
    saveat = dfx.SaveAt(ts=jnp.asarray(TS[:21]), dense=True)
    sol = sd.solve(rabbits, t1=2.0, saveat=saveat, solver=dfx.Tsit5(), rtol=1e-9, atol=1e-9)
    earlier = np.concatenate([[1.0], sol["x"][:-1]])
    assert np.allclose(sol[sd.delay(x, tau)], earlier, atol=1e-7)
    assert np.allclose(sol[D(x)], (2.2 - sol["y"]) * earlier, atol=1e-6)
    with pytest.raises(ModelError, match=r"`x\(t - 2\)` is not among the delayed values of `rabbits`: `x\(t - tau\)`"):
        sol[sd.delay(x, 2)]
    plain = sd.solve(rabbits, t1=2.0, saveat=TS[:21], solver=dfx.Tsit5())
    with pytest.raises(ModelError, match="saved at single times only"):
        plain[D(x)]


def test_more_steps_are_kept_where_they_are_needed():
    # Some 300 steps within the lag: the 64 that are kept at first are too few.
    x, y = sd.states(x=0.0, y=1.0)
    model = sd.compile(sd.System([Eq(D(x), sp.cos(100 * t)), Eq(D(y), -sd.delay(y, 2.0))], name="busy"))
    solver = dfx.Tsit5()
    sol = sd.solve(model, saveat=[3.0], rtol=1e-8, atol=1e-8, solver=solver)
    assert sol.ok
    assert float(sol["y"][0]) == pytest.approx(float(decay_exactly(np.array(3.0), 2.0)), abs=ALLOWED * 1e-8)
    short = sd.Delayed(solver, capacity=64)
    inside = jax.jit(lambda: sd.solve(model, saveat=jnp.array([3.0]), rtol=1e-8, atol=1e-8, solver=short))()
    assert not inside.ok
    assert "reaches back over more steps than are kept" in inside.failure
    assert "sd.Delayed(solver, capacity=1024)" in inside.failure


def test_a_lag_that_becomes_negative_is_told():
    y = sd.state("y", 1.0)
    model = sd.compile(sd.System([Eq(D(y), -sd.delay(y, 1 - t))], name="early"))
    with pytest.raises(SolveError, match="a lag became negative there, and asks for the future"):
        sd.solve(model, t1=2.0, solver=dfx.Tsit5())


def test_members_of_an_ensemble_have_their_own_lags(rabbits):
    lags = np.array([0.05, 0.1, 0.3])
    ts = np.linspace(0.0, 2.0, 5)
    all_of_them = sd.ensemble(rabbits, {"tau": lags}, saveat=ts, solver=dfx.Tsit5())
    for i, lag in enumerate(lags):
        alone = sd.solve(rabbits.replace(tau=lag), saveat=ts, solver=dfx.Tsit5())
        assert np.allclose(all_of_them.ys[i], alone.ys, rtol=1e-9)


def test_members_whose_lag_spans_many_steps_get_room_for_them():
    y = sd.state("y", 1.0)
    tau, w = sd.parameters(tau=0.5, w=1.0)
    shaken = sd.compile(
        sd.System([Eq(D(y), -y + sd.delay(y, tau) / 2 + sp.sin(w * t))], name="shaken", history={y: 1.0})
    )
    values = {"tau": np.array([0.5, 6.0, 0.3]), "w": np.array([1.0, 30.0, 2.0])}
    found = sd.ensemble(shaken, values, saveat=[12.0], solver=dfx.Tsit5())
    assert found.ok.all()
    for i in range(3):
        alone = sd.solve(shaken.replace({k: v[i] for k, v in values.items()}), saveat=[12.0], solver=dfx.Tsit5())
        assert np.allclose(found.ys[i], alone.ys, rtol=1e-9)


def test_vectors_and_networks_with_delays():
    h, y = sd.state("h", [1.0, 2.0], shape=(2,)), sd.state("y", 1.0)
    net = sd.Neural("net", lambda v: -v, outputs=2)
    model = sd.compile(sd.System([Eq(D(h), net(sd.delay(h, 1))), Eq(D(y), -sd.delay(h, 1)[1])], name="mixed"))
    ts = np.linspace(0.0, 3.0, 4)
    sol = sd.solve(model, saveat=ts)
    exact = decay_exactly(ts)
    assert np.allclose(sol[h], np.stack([exact, 2 * exact], axis=-1), atol=ALLOWED * 1e-6)
    assert np.allclose(sol[y], 2 * exact - 1, atol=ALLOWED * 1e-6)


def test_many_equations_with_delays_are_vectorised():
    n = 120
    ys = [sd.state(f"y{i}", 1.0 + i / n) for i in range(n)]
    equations = [
        Eq(D(v), sp.sin(sd.delay(ys[i - 1], 0.5)) - v**3 + ys[(i + 1) % n] * sp.exp(-v)) for i, v in enumerate(ys)
    ]
    model = sd.compile(sd.System(equations, name="ring"))
    assert model.generated.vectorised
    y0 = np.asarray(model.initial_state())
    # Up to the lag this is an ordinary equation with constants in it.
    from scipy.integrate import solve_ivp

    def f(s, y):
        return np.sin(np.roll(y0, 1)) - y**3 + np.roll(y, -1) * np.exp(-y)

    exact = solve_ivp(f, (0.0, 0.5), y0, method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
    sol = sd.solve(model, t1=0.5, saveat=[0.5], solver=dfx.Tsit5())
    assert np.allclose(sol.ys[-1], exact, atol=ALLOWED * 1e-6)


def test_a_saved_model_solves_alike(tmp_path):
    past = np.linspace(-1.0, 0.0, 11)
    model = feedback(history=(past, past**2), y=2.0).replace(tau=0.75)
    sd.save(model, tmp_path / "model.symdeq")
    again = sd.load(tmp_path / "model.symdeq")
    assert again.source == model.source
    assert np.array_equal(again.networks[0].values, past**2)
    ts = np.linspace(0.0, 2.0, 5)
    assert np.array_equal(sd.solve(again, saveat=ts).ys, sd.solve(model, saveat=ts).ys)


def test_what_cannot_be_solved_is_refused_by_name(rabbits):
    with pytest.raises(ModelError, match="An equation with delays runs forward in time"):
        sd.solve(rabbits, t1=-1.0)
    with pytest.raises(ModelError, match=r"The lag tau of `x\(t - tau\)` is -0.1 at t = 0"):
        sd.solve(rabbits.replace(tau=-0.1), t1=1.0)
    with pytest.raises(UnsupportedError, match="BacksolveAdjoint runs `rabbits` backwards"):
        sd.solve(rabbits, saveat=TS, adjoint="backsolve")
    with pytest.raises(UnsupportedError, match="BDF keeps its own past steps"):
        sd.solve(rabbits, saveat=TS, solver=sd.BDF())
    with pytest.raises(UnsupportedError, match=r"has delays, `x\(t - tau\)`, which steady_state does not know"):
        sd.steady_state(rabbits)
    with pytest.raises(ModelError, match="`y` of `feedback` has no initial value"):
        sd.solve(feedback(y=None), t1=1.0)


def test_the_solvers_own_steps_come_with_what_lies_between(rabbits):
    x, tau = rabbits.states[0], rabbits.parameters[4]
    sol = sd.solve(rabbits, t1=1.0, solver=dfx.Tsit5())
    tight = sd.solve(rabbits, saveat=np.linspace(0.0, 1.0, 101), rtol=1e-10, atol=1e-12, solver=dfx.Tsit5())
    line = sol.plot([x]).lines[0]
    assert len(line.get_xdata()) > 5 * len(sol.ts)
    assert np.allclose(np.interp(tight.ts, *line.get_data()), tight[x], atol=2e-3)
    drawn = sol.plot([sd.delay(x, tau)]).lines[0]
    assert np.allclose(np.interp(0.55, *drawn.get_data()), tight[x][45], atol=2e-3)
    assert "x(t - tau)" not in sol.to_pandas()
