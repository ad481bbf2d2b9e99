"""Poisson processes: moments in closed form, single paths, derivatives along a path, and what is refused."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from symdeq._errors import ModelError, SymdeqWarning, UnsupportedError
from symdeq.solve import poisson

TS = np.array([1.0, 2.0])
PATHS = 2000


def shots(rate=3.0, size=1.0):
    """c' = -c + size dN."""
    c = sd.state("c", 0.0)
    lam, a = sd.parameters(lam=rate, a=size)
    n = sd.poisson("N", lam)
    return sd.compile(sd.System([Eq(D(c), -c + a * D(n))], name="shots"))


def merton():
    x = sd.state("x", 1.0)
    mu, s, m, d = sd.parameters(mu=0.1, s=0.2, m=-0.1, d=0.15)
    w, n = sd.brownian("W"), sd.poisson("N", 3.0)
    z = sd.mark("z", n)
    return sd.compile(sd.System([Eq(D(x), mu * x + s * x * D(w) + x * (sp.exp(m + d * z) - 1) * D(n))], name="merton"))


def assert_moments(values, mean, variance):
    """Whether a sample has these moments, within 4 standard errors; its fourth moment tells that of the variance."""
    count = values.shape[0]
    spread = np.mean((values - values.mean(0)) ** 4, axis=0) - values.var(0) ** 2
    assert np.all(np.abs(values.mean(0) - mean) < 4 * np.sqrt(variance / count))
    assert np.all(np.abs(values.var(0) - variance) < 4 * np.sqrt(spread / count))


def test_shot_noise_has_its_moments():
    # Campbell's theorem: mean and variance are the rate times the integrals of the pulse and of its square.
    paths = sd.ensemble(shots(), {}, paths=PATHS, saveat=TS, key=jax.random.key(0), solver=dfx.Tsit5())
    assert paths.ok.all()
    assert_moments(np.asarray(paths["c"]), 3 * (1 - np.exp(-TS)), 1.5 * (1 - np.exp(-2 * TS)))


def test_jump_diffusion_has_its_moments():
    # R. C. Merton, J. Financial Economics 3 (1976) 125-144: the logarithm is a sum of independent parts.
    paths = sd.ensemble(merton(), {}, paths=PATHS, saveat=TS, key=jax.random.key(1))
    logs = np.log(np.asarray(paths["x"]))
    # Steps by the error make a bias far below the spread of so many paths.
    assert_moments(logs, (0.1 - 0.02 + 3 * -0.1) * TS, (0.04 + 3 * (0.15**2 + 0.1**2)) * TS)


def test_a_path_is_the_sum_of_its_pulses():
    model, key = shots(), jax.random.key(3)
    t0, t1 = jnp.zeros(()), jnp.asarray(4.0)
    draws = poisson.draw(model, t0, t1, jnp.zeros(1), key, poisson.room(model, t0, t1, jnp.zeros(1), 4096))
    times = np.asarray(draws.times[0])
    times = times[times < 4.0]
    ts = np.linspace(0.1, 4.0, 14)
    exact = [np.sum(np.where(times < s, np.exp(times - s), 0.0)) for s in ts]
    sol = sd.solve(model, t1=4.0, saveat=ts, key=key)
    assert np.allclose(sol["c"], exact, atol=5e-5)
    ends = sd.solve(model, t1=4.0, saveat=ts, key=key, rtol=1e-9, atol=1e-9, solver=dfx.Tsit5())
    assert np.allclose(ends["c"], exact, atol=5e-8)


@pytest.mark.parametrize(
    ("distribution", "mean", "square"), [("normal", 0.0, 1.0), ("uniform", 0.5, 1 / 3), ("exponential", 1.0, 2.0)]
)
def test_marks_have_their_distributions(distribution, mean, square):
    # A compound process has the mean and the variance of the rate times the moments of its jumps.
    x = sd.state("x", 0.0)
    n = sd.poisson("N", 5.0)
    model = sd.compile(sd.System([Eq(D(x), sd.mark("z", n, distribution) * D(n))], name="compound"))
    t1 = jnp.ones(())
    draws = jax.vmap(lambda key: poisson.draw(model, 0 * t1, t1, jnp.zeros(1), key, 32))(
        jax.random.split(jax.random.key(2), 4000)
    )
    assert bool(draws.enough.all())
    sums = np.sum(np.where(draws.times < 1, draws.marks[..., 0], 0), axis=(1, 2))
    assert_moments(sums, 5 * mean, 5 * square)


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1e-12])
def test_no_jump_is_lost_whatever_the_unit_and_the_precision(unit, doubled):
    with jax.enable_x64(doubled):
        x, n = sd.state("x", 0.0), sd.poisson("N", 500 / unit)
        model, key = sd.compile(sd.System([Eq(D(x), D(n))])), jax.random.key(5)
        start, t0, t1 = jnp.zeros(1), jnp.zeros(()), jnp.asarray(unit)
        draws = poisson.draw(model, t0, t1, start, key, poisson.room(model, t0, t1, start, 4096))
        sol = sd.solve(model, unit, saveat=dfx.SaveAt(t1=True), key=key)
        assert sol.ys.dtype == (np.float64 if doubled else np.float32)
        assert float(sol.ys[0, 0]) == int(np.sum(np.asarray(draws.times) < unit)) > 400


def test_a_key_stands_for_one_path_whatever_the_room():
    x, lam = sd.state("x", 0.0), sd.parameter("lam", 3.0)
    n, m = sd.poisson("N", lam), sd.poisson("M", 2 * lam)
    model = sd.compile(sd.System([Eq(D(x), -x + sd.mark("z", n) * D(n) + sd.mark("w", m, "uniform") * D(m))]))
    rates, key = np.array([3.0, 0.5, 300.0]), jax.random.key(11)
    together = sd.ensemble(model, {"lam": rates}, saveat=TS, key=key, max_steps=20000)
    assert together.ok.all()
    for i, rate in enumerate(rates):
        own, one = model.replace(lam=rate), jax.random.fold_in(key, i)
        np.testing.assert_allclose(together.ys[i], sd.solve(own, saveat=TS, key=one, max_steps=20000).ys, rtol=1e-9)
    traced = jax.jit(lambda key: sd.solve(model, saveat=TS, key=key).ys)(jax.random.fold_in(key, 0))
    np.testing.assert_allclose(traced, together.ys[0], rtol=1e-9)


def test_two_processes_and_a_size_that_depends_on_the_state():
    # Each jump of N halves x, each of M doubles it: x is a power of two of their difference.
    x, up, down = sd.states(x=1.0, up=0.0, down=0.0)
    n, m = sd.poisson("N", 2.0), sd.poisson("M", 3.0)
    equations = [Eq(D(x), -x / 2 * D(n) + x * D(m)), Eq(D(up), D(m)), Eq(D(down), D(n))]
    model = sd.compile(sd.System(equations, name="doubling"))
    sol = sd.solve(model, saveat=np.linspace(0.5, 3.0, 6), key=jax.random.key(5), solver=dfx.Tsit5())
    assert np.allclose(sol["x"], 2.0 ** np.asarray(sol["up"] - sol["down"]))
    assert float(sol["up"][-1]) > 2
    assert "M at the rate 3" in str(model.system)


def test_the_derivative_along_a_path():
    model, key = shots(rate=4.0), jax.random.key(7)
    fixed = sd.compile(sd.System([Eq(D(c := sd.state("c", 0.0)), -c + D(sd.poisson("N", 4.0)))], name="fixed"))

    def end(a, model=model):
        return sd.solve(model.replace(a=a), t1=2.0, saveat=[2.0], key=key, solver=dfx.Tsit5())["c"][-1]

    with pytest.warns(SymdeqWarning, match=r"leave out how the rates of its jumps depend on `lam`"):
        slope = jax.grad(end)(1.0)
    assert float(slope) == pytest.approx(float(end(1.0)), rel=1e-9)  # c is linear in the size
    assert float(sd.solve(fixed, saveat=[2.0], key=key, solver=dfx.Tsit5())["c"][-1]) == pytest.approx(float(end(1.0)))


def test_more_jumps_than_there_is_room_for_are_told():
    model = shots()

    @jax.jit
    def solved(rate):
        return sd.solve(model.replace(lam=rate), t1=100.0, saveat=[100.0], key=jax.random.key(0), solver=dfx.Tsit5())

    assert solved(0.5).ok
    crowded = solved(30.0)
    assert not crowded.ok
    assert "`N` jumps more often than there was room for" in crowded.failure
    assert sd.solve(model.replace(lam=30.0), t1=100.0, saveat=[100.0], key=jax.random.key(0), solver=dfx.Tsit5()).ok


def test_a_saved_model_jumps_alike(tmp_path):
    model = merton()
    sd.save(model, tmp_path / "merton.symdeq")
    again = sd.load(tmp_path / "merton.symdeq")
    first, second = (sd.solve(each, saveat=TS, key=jax.random.key(1)) for each in (model, again))
    assert np.array_equal(first.ys, second.ys)


def test_parts_of_a_system_bring_their_processes_along():
    c = sd.state("c", 0.0)
    lam = sd.parameter("lam", 3.0)
    n = sd.poisson("N", lam)
    part = sd.System([Eq(D(c), -c + sd.mark("z", n) * D(n))], name="part")
    x = sd.state("x", 0.0)
    model = sd.compile(sd.System([Eq(D(x), part.c - x)], name="whole", subsystems=[part]))
    [jump] = model.system.jumps
    assert (str(jump.rate), str(jump.process), [str(m) for m in jump.marks]) == ("part.lam", "part.N", ["part.z"])


def test_what_cannot_be_right_is_refused_by_name():
    x = sd.state("x", 1.0)
    lam = sd.parameter("lam", 1.0)
    n, other = sd.poisson("N", lam), sd.poisson("M", 1.0)
    z = sd.mark("z", n)
    with pytest.raises(UnsupportedError, match="The rate of the Poisson process `N` contains `x`"):
        sd.poisson("N", x)
    with pytest.raises(ModelError, match="The rate of the Poisson process `N` is -1"):
        sd.poisson("N", -1)
    with pytest.raises(ModelError, match="distribution 'gamma'"):
        sd.mark("z", n, "gamma")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelError, match="which is no Poisson process"):
        sd.mark("z", x)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelError, match="The Poisson process `N` itself stands in an equation"):
        sd.System([Eq(D(x), n)])
    with pytest.raises(ModelError, match=r"mark `z` stands in an equation without D\(N\)"):
        sd.System([Eq(D(x), -x + z)])
    with pytest.raises(ModelError, match=r"mark `z` stands outside of the coefficient of D\(N\)"):
        sd.compile(sd.System([Eq(D(x), z * D(other) + D(n))]))
    with pytest.raises(ModelError, match=r"`D\(N\)` does not stand linearly"):
        sd.compile(sd.System([Eq(D(x), D(n) ** 2)]))
    with pytest.raises(UnsupportedError, match="noise and delays"):
        sd.compile(sd.System([Eq(D(x), -sd.delay(x, 1) + D(n))]))
    model = shots()
    with pytest.raises(ModelError, match="`shots` has Poisson processes, and needs a key"):
        sd.solve(model, t1=1.0)
    with pytest.raises(UnsupportedError, match="steps of Euler are all alike"):
        sd.solve(model, t1=1.0, key=jax.random.key(0), solver=dfx.Euler())
    with pytest.raises(UnsupportedError, match="has Poisson processes, which steady_state does not know"):
        sd.steady_state(model)
