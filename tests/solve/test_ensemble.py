"""Ensembles: each member as a single solve of it, whatever becomes of the others."""

import functools
import heapq
import importlib
import sys

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from jax import monitoring

import symdeq as sd
from symdeq import D, Eq
from symdeq.solve.batch import _Portions, on_all_cores
from symdeq.solve.lanes import _looked_at, in_lanes
from tests import models

TS = np.linspace(0.0, 2.0, 9)
_COMPILED = 0


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    global _COMPILED
    _COMPILED += event == "/jax/core/compile/backend_compile_duration"


monitoring.register_event_duration_secs_listener(_count)


def compilations(function) -> int:
    before = _COMPILED
    function()
    return _COMPILED - before


def test_every_member_is_the_single_solve_of_its_values():
    model, ts = models.rober(), np.geomspace(1e-3, 1e5, 20)
    k1, y2 = 0.04 * np.linspace(0.5, 1.5, 23), np.linspace(0, 1e-4, 23)
    sol = sd.ensemble(model, {"k1": k1, model.states[1]: y2}, t1=1e5, saveat=ts)
    assert sol.ys.shape == (23, 20, 3)
    assert sol.ok.all()
    for i in (0, 7, 22):
        single = sd.solve(model.replace({"k1": k1[i], "y2": y2[i]}), t1=1e5, saveat=ts)
        np.testing.assert_allclose(sol.ys[i], single.ys, rtol=1e-12)
        assert {k: int(v[i]) for k, v in sol.stats.items()} == {k: int(v) for k, v in single.stats.items()}
        assert sol.member(i).explain() == single.explain()
    np.testing.assert_array_equal(sol.ts, ts)


@pytest.mark.parametrize("members", [1, 2, 3, 1500])
def test_order_is_kept_for_any_number_of_members(members):
    alpha = np.random.default_rng(0).uniform(0.1, 1.0, members)
    sol = sd.ensemble(models.growth(), {"alpha": alpha}, t1=2.0, saveat=TS)
    assert sol["r"].shape == (members, 9)
    np.testing.assert_allclose(sol["r"], 2 * np.exp(alpha[:, None] * TS), rtol=1e-5)


def _double(shared, row):
    return {"sum": shared + jnp.sum(row), "row": 2 * row}


@pytest.mark.parametrize(("rows", "threads", "size"), [(1, 3, 8), (7, 3, 2**22), (101, 2, 2**19), (5000, 4, 8)])
def test_portions_hold_every_row_once(rows, threads, size):
    table = np.random.default_rng(1).normal(size=(rows, 3))
    told = []
    out = on_all_cores(_double, jnp.asarray(1.0), table, result_bytes=size, threads=threads, advance=told.append)
    np.testing.assert_array_equal(out["row"], 2 * table)
    np.testing.assert_allclose(out["sum"], 1 + table.sum(1), atol=1e-14)
    assert sum(told) == rows
    assert max(told) <= max(1, 4 * 2**20 // size)


def test_an_interrupt_ends_all_threads():
    def interrupt(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_all_cores(_double, jnp.asarray(1.0), np.ones((5000, 3)), result_bytes=8, threads=3, advance=interrupt)


def test_new_values_and_another_number_of_members_never_compile():
    model = models.lotka_volterra()

    def run(a, t1=2.0, rtol=1e-6):
        return sd.ensemble(model, {"a": a, "x": a}, t1=t1, saveat=TS[:-1] * t1 / 2, rtol=rtol)

    assert compilations(lambda: run(np.linspace(1, 2, 10))) > 0
    assert compilations(lambda: run(np.linspace(1, 3, 10))) == 0
    assert compilations(lambda: run(np.linspace(1, 3, 33), t1=3.0, rtol=1e-7)) == 0
    assert compilations(lambda: run(np.linspace(1, 3, 1), t1=1.0)) == 0


def explosion():
    x, k = sd.state("x", 1.0), sd.parameter("k", 0.1)
    return sd.compile(sd.System([Eq(D(x), k * x**2)], name="explosion"))


def test_failures_stay_alone_and_say_what_single_solves_say():
    model, k = explosion(), np.array([0.1, np.nan, 1.0, 0.2, np.inf])
    sol = sd.ensemble(model, {"k": k}, t1=2.0, saveat=TS, throw=False, max_steps=500)
    np.testing.assert_array_equal(sol.ok, [True, False, False, True, False])
    for i in (0, 3):
        np.testing.assert_allclose(sol["x"][i], 1 / (1 - k[i] * TS), rtol=1e-5)
    assert list(sol.failures) == [1, 2, 4]
    assert len(sol.failures) == 3
    single = sd.solve(model.replace(k=1.0), t1=2.0, saveat=TS, throw=False, max_steps=500)
    assert sol.failures[2] == single.failure
    assert "Parameter `k` of `explosion` has no finite value" in sol.failures[1]
    assert np.isnan(sol.ys[[1, 4]]).all()
    # A member without numbers costs no steps.
    assert int(sol.stats["num_steps"][1]) == 0
    assert "3 of 5 members failed" in str(sol)
    assert "member 2 (k = 1): `explosion` stopped at t = 1 of 2" in str(sol.failures)
    with pytest.raises(KeyError):
        sol.failures[0]


def test_throw_says_how_many_failed_and_why_the_first_did():
    with pytest.raises(sd.SolveError) as caught:
        sd.ensemble(explosion(), {"k": [0.1, 1.0, 2.0]}, t1=2.0, saveat=TS)
    text = str(caught.value)
    assert text.startswith("2 of 3 members of this ensemble failed; the first is member 1 (k = 1)")
    assert "`x` grows without bound" in text
    assert "throw=False" in text


def test_initial_values_that_are_not_numbers():
    sol = sd.ensemble(models.growth(), {"r": [1.0, np.nan]}, t1=2.0, saveat=TS, throw=False)
    assert sol.ok.tolist() == [True, False]
    assert "the initial value of `r` is not a number" in sol.failures[1]


def test_initial_values_of_states_and_derivatives():
    model = models.oscillator()
    x = model.states[0]
    start, speed = np.array([1.0, 2.0, 0.0]), np.array([0.0, 1.0, -1.0])
    sol = sd.ensemble(model, {x: start, D(x): speed}, t1=2.0, saveat=TS, rtol=1e-9, atol=1e-9)
    exact = start[:, None] * np.cos(2 * TS) + speed[:, None] * np.sin(2 * TS) / 2
    np.testing.assert_allclose(sol[x], exact, atol=1e-7)
    np.testing.assert_allclose(sol[D(x, 2)], -4 * exact, atol=1e-6)
    both = sd.ensemble(model, y0=np.stack([start, speed], 1), t1=2.0, saveat=TS, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(both.ys, sol.ys)


def test_initial_values_that_all_members_share():
    model, w = models.oscillator(), [1.0, 2.0]
    shared = sd.ensemble(model, {"w": w}, t1=2.0, saveat=TS, y0=[3.0, 0.0])
    by_name = sd.ensemble(model, {"w": w}, t1=2.0, saveat=TS, y0={"x": 3.0, D(model.states[0]): 0.0})
    np.testing.assert_array_equal(shared.ys, by_name.ys)
    np.testing.assert_allclose(shared["x"], 3 * np.cos(np.outer(w, TS)), atol=1e-4)


@pytest.fixture(scope="module")
def from_parameters() -> sd.Model:
    d = sd.parameter("d", 1.0)
    x = sd.state("x", 2 * d)
    return sd.compile(sd.System([Eq(D(x), -d * x)], name="from_parameters"))


def test_initial_values_and_ends_from_parameters(from_parameters):
    d, values = from_parameters.parameters[0], np.array([0.5, 1.0, 4.0])
    sol = sd.ensemble(from_parameters, {d: values}, t1=3 / d, saveat=dfx.SaveAt(t1=True), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sol.ts[:, 0], 3 / values)
    np.testing.assert_allclose(sol["x"][:, 0], 2 * values * np.exp(-3), rtol=1e-7)
    assert "t = 0 to 0.75..6" in str(sol)
    assert sol.to_pandas().index.get_level_values("t").tolist() == (3 / values).tolist()
    # Times that one member does not reach are a failure of that member.
    some = sd.ensemble(from_parameters, {d: values}, t1=3 / d, saveat=[0.5, 1.0], throw=False)
    assert some.ok.tolist() == [True, True, False]
    assert "not between t0 = 0 and t1 = 0.75" in some.failures[2]
    never = sd.ensemble(from_parameters, {d: [0.0, 1.0]}, t1=3 / d, saveat=[0.5], throw=False)
    assert never.ok.tolist() == [False, True]
    assert "its interval, t = 0 to inf, is not finite" in never.failures[0]


def test_times():
    model, alpha = models.growth(), np.array([0.5, 0.7])
    spaced = sd.ensemble(model, {"alpha": alpha}, t1=2.0, saveat=0.25)
    plain = sd.ensemble(model, {"alpha": alpha}, saveat=TS)
    np.testing.assert_array_equal(spaced.ys, plain.ys)
    back = sd.ensemble(model, {"alpha": alpha}, t0=2.0, t1=0.0, saveat=TS[::-1])
    np.testing.assert_allclose(back["r"], 2 * np.exp(alpha[:, None] * (TS[::-1] - 2)), rtol=1e-5)
    ends = sd.ensemble(model, {"alpha": alpha}, t1=2.0, saveat=dfx.SaveAt(t0=True, t1=True))
    np.testing.assert_array_equal(ends.ts, [[0.0, 2.0], [0.0, 2.0]])
    np.testing.assert_allclose(ends.ys[:, 1], plain.ys[:, -1], rtol=1e-6)


def test_algebraic_equations():
    model, k = models.algebraic(), np.array([0.5, 1.0, 2.0])
    sol = sd.ensemble(model, {"k": k}, t1=1.0, saveat=[0.5, 1.0], rtol=1e-8, atol=1e-10)
    z = sol["z"]
    np.testing.assert_allclose(z**3 + z, sol["x"] + 1, rtol=1e-7)
    single = sd.solve(model.replace(k=2.0), t1=1.0, saveat=[0.5, 1.0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sol.ys[2], single.ys, rtol=1e-12)


@pytest.mark.parametrize("solver", [dfx.Tsit5(), dfx.Kvaerno3(), sd.Rodas5P(), dfx.Euler()])
def test_any_diffrax_solver(solver):
    alpha = np.array([0.5, 0.7])
    sol = sd.ensemble(models.growth(), {"alpha": alpha}, t1=2.0, saveat=TS, solver=solver, max_steps=2000)
    assert sol.switch is None
    np.testing.assert_allclose(sol["r"], 2 * np.exp(alpha[:, None] * TS), rtol=2e-3)
    assert type(solver).__name__ in sol.explain()


def test_quantities():
    model = models.lotka_volterra()
    x, y = model.states
    a = np.linspace(1.0, 2.0, 4)
    sol = sd.ensemble(model, {"a": a}, t1=2.0, saveat=TS)
    single = sol.member(2)
    for quantity in (x, "y", x * y + model.parameters[0], D(x), sd.t * x):
        np.testing.assert_allclose(sol[quantity][2], single[quantity], rtol=1e-14)
    np.testing.assert_array_equal(sol["a"], np.repeat(a[:, None], 9, axis=1))
    np.testing.assert_array_equal(sol.members["a"], a)
    np.testing.assert_array_equal(sol.member(-1).ys, sol.ys[3])
    with pytest.raises(sd.ModelError, match="no symbol `z`"):
        sol["z"]
    with pytest.raises(sd.ModelError, match="numbered from 0 to 3"):
        sol.member(4)


def mean_of_members(a, b):
    model = models.lotka_volterra()
    sol = sd.ensemble(model, {"a": a, "b": b}, t1=2.0, saveat=TS, rtol=1e-8, atol=1e-8, max_steps=256)
    return jnp.mean(sol["x"]), sol.ok


def mean_of_solves(a, b):
    def one(a, b):
        model = models.lotka_volterra().replace(a=a, b=b)
        sol = sd.solve(model, t1=2.0, saveat=TS, rtol=1e-8, atol=1e-8, max_steps=256)
        return sol["x"], sol.ok

    x, ok = jax.vmap(one)(a, b)
    return jnp.mean(x), ok


def test_traced_ensembles_and_their_gradients():
    a, b = jnp.linspace(1.0, 2.0, 3), jnp.array([1.0, 0.5, 0.8])
    (value, ok), slopes = jax.jit(jax.value_and_grad(mean_of_members, argnums=(0, 1), has_aux=True))(a, b)
    (by_vmap, _), expected = jax.jit(jax.value_and_grad(mean_of_solves, argnums=(0, 1), has_aux=True))(a, b)
    assert ok.all()
    assert float(value) == pytest.approx(float(by_vmap), rel=1e-10)
    assert float(value) == pytest.approx(float(mean_of_members(a, b)[0]), rel=1e-10)
    for slope, other in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, other, rtol=1e-7)
    h = 1e-5
    central = (mean_of_members(a.at[1].add(h), b)[0] - mean_of_members(a.at[1].add(-h), b)[0]) / (2 * h)
    assert float(slopes[0][1]) == pytest.approx(float(central), rel=1e-4)


def test_vmap_of_solve_and_of_ensemble_agree_with_an_ensemble():
    model, a = models.lotka_volterra(), jnp.linspace(1.0, 2.0, 4)
    sol = sd.ensemble(model, {"a": a}, t1=2.0, saveat=TS)
    mapped = jax.vmap(lambda a: sd.solve(model.replace(a=a), t1=2.0, saveat=TS).ys)(a)
    np.testing.assert_allclose(mapped, sol.ys, rtol=1e-10)
    twice = jax.vmap(lambda a: sd.ensemble(model, {"a": a}, t1=2.0, saveat=TS))(a.reshape(2, 2))
    np.testing.assert_allclose(twice.ys.reshape(4, 9, 2), sol.ys, rtol=1e-10)
    assert "a batch of shape (2,)" in repr(twice)


@pytest.mark.parametrize("adjoint", ["forward", "reverse"])
def test_a_loss_that_leaves_out_the_failed_has_the_gradient_of_the_others(adjoint):
    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(k):
        sol = sd.ensemble(explosion(), {"k": k}, t1=2.0, saveat=TS[-1:], max_steps=500, rtol=1e-8, adjoint=adjoint)
        return jnp.sum(jnp.where(sol.ok[:, None], sol["x"], 0)), sol["x"]

    k = jnp.array([0.1, 1.0, 0.4])
    (value, x), slope = loss(k)
    alive = np.array([0.1, 0.4])
    assert np.isnan(x[1]).all()
    assert float(value) == pytest.approx(np.sum(1 / (1 - 2 * alive)), rel=1e-6)
    np.testing.assert_allclose(slope, np.insert(2 / (1 - 2 * alive) ** 2, 1, 0.0), rtol=1e-6)


def test_a_traced_failure_stays_alone():
    @jax.jit
    def run(k):
        sol = sd.ensemble(explosion(), {"k": k}, t1=2.0, saveat=TS, max_steps=500)
        assert "traced" in repr(sol)
        return sol

    sol = run(jnp.array([0.1, jnp.nan, 1.0]))
    assert sol.ok.tolist() == [True, False, False]
    assert "no finite value" in sol.failures[1]
    assert "grows without bound" in sol.failures[2]


def test_single_precision_in_threads():
    """`jax.enable_x64` holds for the thread that says so; the others must compute the same."""
    with jax.enable_x64(False):
        x, k = sd.state("x", 1.0), sd.parameter("k", 1.0)
        model = sd.compile(sd.System([Eq(D(x), -k * x)], name="single"))
        k = np.linspace(1.0, 2.0, 300)
        sol = sd.ensemble(model, {"k": k}, t1=2.0, saveat=TS)
        assert sol.ys.dtype == np.float32
        np.testing.assert_allclose(sol["x"], np.exp(-np.outer(k, TS)), atol=1e-4)
        w = sd.parameter("w", 1000.0)
        stiff = sd.compile(sd.System([Eq(D(x), -w * (x - sp.cos(sd.t)) - sp.sin(sd.t))], name="driven_single"))
        with pytest.warns(sd.SymdeqWarning, match="jax_enable_x64"):
            sd.ensemble(stiff, {w: [1.0, 1000.0]}, t1=2.0, saveat=[2.0])


def test_progress(capsys, monkeypatch):
    def run():
        sd.ensemble(models.growth(), {"alpha": np.linspace(0.1, 1, 40)}, t1=2.0, saveat=TS, progress=True)
        return capsys.readouterr()

    assert "40/40" in run().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "ensemble: 40 of 40 members" in run().out


def test_lanes_for_accelerators_give_the_same_in_any_number():
    model = models.driven()
    k = 10 ** np.random.default_rng(0).uniform(0, 4, 21)
    k[5] = np.nan
    family, rows = checked(model, {"k": k}, t1=2.0, saveat=TS, rtol=1e-8, atol=1e-8)
    told = []
    lanes = in_lanes(family, rows, lanes=8, advance=told.append)
    assert sum(told) == 21
    assert lanes.ok.tolist() == [i != 5 for i in range(21)]
    good = np.arange(21) != 5
    np.testing.assert_allclose(lanes.ys[good, :, 0], np.broadcast_to(np.cos(TS), (20, 9)), atol=1e-5)
    # Those that start stiff take the Rosenbrock method alone.
    assert lanes.switch is not None
    assert (lanes.switch.explicit_steps[k > 1e3] == 0).all()
    assert (lanes.switch.explicit_steps[k < 10] > 0).all()
    for start in (1, 8, 9):
        fewer = compilations(lambda start=start: in_lanes(family, rows[:start], lanes=8))
        assert fewer == 0
    tsit = in_lanes(checked(model, {"k": [1.0, 2.0]}, t1=2.0, saveat=TS, solver=dfx.Tsit5())[0], rows[:2], lanes=2)
    assert tsit.switch is None


def checked(model, values, **options):
    """What `ensemble` hands on."""
    settings = {"t0": 0.0, "y0": None, "rtol": None, "atol": None, "solver": "auto", "adjoint": "auto"}
    module = importlib.import_module("symdeq.solve.ensemble")
    family, members, _ = module._check(model, values, **{**settings, "max_steps": 4096, "key": None, **options})
    return family, members.rows


def test_sorted_lanes_waste_little_over_four_decades_of_stiffness():
    x, v = sd.states(x=2.0, v=0.0)
    mu = sd.parameter("mu", 10.0)
    model = sd.compile(sd.System([Eq(D(x), v), Eq(D(v), mu * (1 - x**2) * v - x)], name="van_der_pol"))
    values = 10 ** np.random.default_rng(1).uniform(0, 4, 512)
    sol = sd.ensemble(model, {mu: values}, t1=100.0, saveat=[100.0])
    family, rows = checked(model, {mu: values}, t1=100.0, saveat=[100.0])
    cost, _ = _looked_at(family, rows, 64)
    steps = sol.stats["num_steps"]

    def waste(order):
        batches = steps[order].reshape(-1, 64)
        return batches.max(1).sum() * 64 / steps.sum()

    assert waste(np.arange(512)) > 2
    assert waste(np.argsort(cost)) < 1.3


def test_picture():
    model = models.lotka_volterra()
    sol = sd.ensemble(model, {"a": np.linspace(1, 2, 30)}, t1=10.0, saveat=0.1)
    x, y = model.states
    axes = sol.plot()
    assert [ax.get_ylabel() for ax in axes] == ["x", "y"]
    ax = sol.plot([x * y], trajectories=3, xscale="log")
    assert ax.get_xscale() == "log"
    assert len(ax.lines) == 4
    median = ax.lines[0].get_data()[1]
    np.testing.assert_allclose(median, np.median(sol[x * y], axis=0)[1:])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["median", "5% to 95%", "25% to 75%"]
    failed = sd.ensemble(model, {"a": [1.0, np.nan]}, t1=1.0, saveat=0.1, throw=False)
    assert "without 1 that failed" in failed.plot([x]).get_title()


def test_table_and_story():
    model = models.lotka_volterra()
    sol = sd.ensemble(model, {"a": [1.0, 2.0]}, t1=2.0, saveat=TS)
    table = sol.to_pandas()
    assert table.index.names == ["member", "t"]
    assert list(table.columns) == ["x", "y"]
    np.testing.assert_array_equal(table.loc[1]["x"], sol["x"][1])
    assert list(sol.to_pandas(["a", "x"]).columns) == ["a", "x"]
    text = str(sol)
    assert text.startswith("`lotka_volterra`: 2 members, 2 states, 9 times, t = 0 to 2, float64")
    assert "varied  a from 1 to 2" in text
    assert "2 members Tsit5 (explicit) throughout" in text
    assert "all successful" in text


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
@pytest.mark.parametrize("threads", [2, 16])
def test_portions_keep_all_threads_busy_over_four_decades_of_cost(order, threads):
    """A simulation: rows of 10 µs to 100 ms, and 0.2 ms for a call."""
    costs = np.sort(10 ** np.random.default_rng(2).uniform(-5, -1, 2000))
    costs = {"rising": costs, "falling": costs[::-1], "mixed": np.random.default_rng(3).permutation(costs)}[order]
    portions = _Portions(len(costs), threads, 1024)
    portions.take_one()
    portions.took(1, costs[0] + 2e-4)
    free = [(0.0, i) for i in range(threads)]
    ends = []
    running: dict[int, tuple[int, float]] = {}
    while free:
        now, thread = heapq.heappop(free)
        if thread in running:
            portions.took(*running.pop(thread))
        portion = portions.take()
        if portion is None:
            ends.append(now)
            continue
        start, count = portion
        seconds = costs[start : start + count].sum() + 2e-4
        running[thread] = (count, seconds)
        heapq.heappush(free, (now + seconds, thread))
    assert max(ends) * threads / costs.sum() < 1.2
