"""Simulated reactions: one network as rate equations, Langevin equations and jumps; values, failures, pictures."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import symdeq as sd
from symdeq import D
from symdeq.solve.jumps import _compiled_run

KEY = jax.random.key(0)
X, A, B = sd.states(X=0, A=60, B=0)
k, g, there, back = sd.parameters(k=20.0, g=1.0, there=0.02, back=0.5)


def birth_death():
    return sd.reactions([sd.Reaction(k, products={X: 1}), sd.Reaction(g, {X: 1})], name="birth_death")


def dimers():
    return sd.reactions([sd.Reaction(there, {A: 2}, {B: 1}), sd.Reaction(back, {B: 1}, {A: 2})], name="dimers")


def test_a_solution_has_every_quantity_of_the_network() -> None:
    sol = sd.simulate(dimers(), t1=2.0, key=KEY, paths=300)
    assert sol.ys.shape == (300, 101, 2)
    assert sol.ok.shape == (300,)
    assert sol.ok.all()
    np.testing.assert_allclose(sol.ts, np.linspace(0, 2, 101))
    a, b = np.asarray(sol[A]), np.asarray(sol["B"])
    np.testing.assert_array_equal(sol[A + 2 * B], 60)
    np.testing.assert_array_equal(sol.ys, np.stack([a, b], axis=-1))
    np.testing.assert_array_equal(sol.y_end, sol.ys[:, -1])
    np.testing.assert_allclose(sol[D(B)], 0.02 * a**2 / 2 - 0.5 * b, rtol=1e-12)
    np.testing.assert_array_equal(sol[there], np.full((300, 101), 0.02))
    assert (np.asarray(sol.stats["num_jumps"]) >= b[:, -1]).all()
    lines = str(sol).splitlines()
    assert lines[0] == "`dimers`: 300 paths, 2 species, 101 times, t = 0 to 2, counts in float64"
    assert lines[-1] == "  result  all successful"


def test_rate_equations_are_the_mean_change_by_the_rate_laws() -> None:
    model = sd.compile(dimers().ode())
    a, b = 31.0, 12.0
    forward, backward = 0.02 * a**2 / 2, 0.5 * b
    np.testing.assert_allclose(model.rhs(0.0, [a, b]), [2 * (backward - forward), forward - backward], rtol=1e-14)


def test_langevin_equations_have_the_mean_and_variance_of_the_jumps() -> None:
    # Of dX = (k - g X) dt + sqrt(k) dW1 - sqrt(g X) dW2 from k / g the mean stays, and the variance is
    # k / g (1 - exp(-2 g t)), that of the jumps as well.
    model = sd.compile(birth_death().langevin()).replace({k: 400.0, X: 400.0})
    end = jnp.array([1.0])
    run = jax.jit(jax.vmap(lambda key: sd.solve(model, saveat=end, key=key, rtol=1e-2)[X][0]))
    continuous = np.asarray(run(jax.random.split(KEY, 500)))
    jumps = np.asarray(sd.simulate(birth_death(), saveat=end, key=KEY, paths=2000, values={k: 400, X: 400})[X][:, 0])
    variance = 400 * (1 - np.exp(-2))
    for found in (continuous, jumps):
        assert abs(found.mean() - 400) < 4 * np.sqrt(variance / len(found))
        assert abs(found.var() / variance - 1) < 4 * np.sqrt(2 / len(found))


def test_values_and_keys_may_be_traced() -> None:
    network, ts = birth_death(), np.array([0.0, 5.0])

    @jax.jit
    def counts(rate, start, key):
        return sd.simulate(network, saveat=ts, key=key, paths=200, values={k: rate, X: start})[X]

    rates = jnp.array([5.0, 20.0])
    found = jax.vmap(counts, in_axes=(0, 0, None))(rates, jnp.array([7.0, 0.0]), KEY)
    np.testing.assert_array_equal(found[:, :, 0], [[7.0] * 200, [0.0] * 200])
    alone = sd.simulate(network, saveat=ts, key=KEY, paths=200, values={"k": 20.0})
    np.testing.assert_array_equal(found[1], alone[X])
    mean = np.array([5 + 2 * np.exp(-5), 20 * (1 - np.exp(-5))])
    assert (np.abs(np.mean(found[:, :, 1], axis=1) - mean) < 4 * np.sqrt(mean / 200)).all()
    over_keys = jax.vmap(lambda key: sd.simulate(network, saveat=ts, key=key, paths=3))(jax.random.split(KEY, 4))
    assert over_keys.ys.shape == (4, 3, 2, 1)
    assert "a batch of shape (4,)" in str(over_keys)


def test_new_values_never_recompile() -> None:
    network = birth_death()
    sd.simulate(network, t1=1.0, key=KEY, paths=7)
    before = _compiled_run._cached._cache_size()  # pyright: ignore
    for i in range(3):
        sd.simulate(network, t1=2.0 + i, key=jax.random.key(i), paths=7, values={k: 3.0 + i, g: 0.5, X: i})
    assert _compiled_run._cached._cache_size() == before  # pyright: ignore


def test_counts_have_no_derivatives() -> None:
    def mean(rate):
        return jnp.mean(sd.simulate(birth_death(), t1=1.0, key=KEY, values={k: rate}).ys)

    for differentiate in (jax.grad, jax.jacfwd):
        with pytest.raises(sd.UnsupportedError, match="no derivatives"):
            differentiate(mean)(20.0)


def test_rates_of_their_own_and_initial_values_by_parameters() -> None:
    total, v, K = sd.parameters(total=9.0, v=2.0, K=3.0)
    S, P = sd.state("S", total), sd.state("P", 0)
    network = sd.reactions([sd.Reaction(v * S / (K + S), {S: 1}, {P: 1}, mass_action=False)])
    sol = sd.simulate(network, t1=100.0, key=KEY, paths=2000, values={total: 4.0})
    np.testing.assert_array_equal(sol.stats["num_jumps"], 4)
    np.testing.assert_array_equal(sol[P][:, -1], 4)
    at_four = np.asarray(sd.simulate(network, t1=0.5, key=KEY, paths=2000, values={total: 4.0})[S][:, -1] == 4)
    stays = np.exp(-0.5 * 2 * 4 / 7)
    assert abs(at_four.mean() - stays) < 4 * np.sqrt(stays * (1 - stays) / 2000)


def test_failures_say_what_when_and_what_to_do() -> None:
    with pytest.raises(sd.SolveError, match=r"5 of 5 paths failed; path 0 of `birth_death` stopped at t = .* after 9"):
        sd.simulate(birth_death(), t1=10.0, key=KEY, paths=5, max_jumps=9)
    sol = sd.simulate(birth_death(), t1=10.0, key=KEY, paths=40, max_jumps=380, throw=False)
    assert 0 < sol.ok.sum() < 40
    assert set(sol.failures) == set(np.flatnonzero(~sol.ok))
    assert np.isnan(sol.ys[~sol.ok, -1]).all()
    assert np.isfinite(sol.ys[sol.ok]).all()
    assert "raise max_jumps above 380" in str(sol)
    pairs = sd.reactions([sd.Reaction(g, {X: 2}, mass_action=False, name="pair")])
    with pytest.raises(
        sd.SolveError, match=r"too few molecules(.|\n)*X = 1\n(.|\n)*pair: 2 X -> 0(.|\n)*test_jumps\.py"
    ):
        sd.simulate(pairs, t1=100.0, key=KEY, values={X: 3})
    growing = sd.reactions([sd.Reaction(g - X, products={X: 1}, mass_action=False)])
    with pytest.raises(sd.SolveError, match=r"negative or not finite(.|\n)*R1: 0 -> X"):
        sd.simulate(growing, t1=100.0, key=KEY, values={X: 3})
    traced = jax.jit(lambda x, ts: sd.simulate(birth_death(), saveat=ts, key=KEY, values={X: x}).ok)
    for x, ts, ok in ((1.0, [1.0, 2.0], True), (1.5, [1.0, 2.0], False), (1.0, [2.0, 1.0], False)):
        assert traced(x, jnp.array(ts)).all() == ok


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": None}, "needs a key"),
        ({"key": 0}, "is not one key"),
        ({"key": jax.random.split(KEY, 2)}, r"is not one key(.|\n)*jax\.vmap"),
        ({"t1": None}, "needs t1"),
        ({"t1": "late"}, "t1 must be a number"),
        ({"t1": X}, "`X`, which is not a parameter"),
        ({"t1": float("inf")}, "one finite time"),
        ({"t1": 0.0}, "is empty"),
        ({"saveat": [0.0, 2.0]}, "outside the interval"),
        ({"saveat": [1.0, 0.5]}, "sort them"),
        ({"paths": 0}, "paths must be a whole number"),
        ({"max_jumps": 1.5}, "max_jumps must be a whole number"),
        ({"values": {X: 1.5}}, r"`X` starts at 1\.5(.|\n)*whole numbers"),
        ({"values": {X: -1}}, "`X` starts at -1"),
        ({"values": {"Y": 1}}, "no symbol `Y`"),
    ],
)
def test_arguments_that_cannot_be_right(given, said) -> None:
    with pytest.raises(sd.ModelError, match=said):
        sd.simulate(birth_death(), **{"t1": 1.0, "key": KEY, **given})


def test_networks_that_cannot_be_simulated() -> None:
    with pytest.raises(sd.ModelError, match="needs a network of reactions, not System"):
        sd.simulate(birth_death().ode(), t1=1.0, key=KEY)  # pyright: ignore[reportArgumentType]
    Y = sd.state("Y")
    with pytest.raises(sd.ModelError, match=r"`Y` of `reactions` has no count at the start(.|\n)*values="):
        sd.simulate(sd.reactions([sd.Reaction(1.0, {Y: 1})]), t1=1.0, key=KEY)
    with pytest.raises(sd.UnsupportedError, match="depends on `t`"):
        sd.simulate(sd.reactions([sd.Reaction(sd.t, {X: 1})]), t1=1.0, key=KEY)


def test_pictures() -> None:
    try:
        axes = sd.simulate(dimers(), t1=2.0, key=KEY, paths=30).plot()
        assert [ax.get_ylabel() for ax in axes] == ["A", "B"]
        assert [len(ax.lines) for ax in axes] == [6, 6]  # the median and five paths
        assert [len(ax.collections) for ax in axes] == [2, 2]
        one = sd.simulate(dimers(), t1=2.0, key=KEY, paths=3).plot([A + B])
        assert (len(one.lines), len(one.collections)) == (3, 0)
        with pytest.raises(sd.ModelError, match="2 quantities do not fit"):
            sd.simulate(dimers(), t1=2.0, key=KEY, paths=3).plot(ax=one)
    finally:
        plt.close("all")
