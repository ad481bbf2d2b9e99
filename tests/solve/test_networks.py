"""Networks and vectors in models: values against SciPy and diffrax by hand, derivatives, and what is refused."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import sympy as sp

import symdeq as sd
from symdeq import D, Eq, t


def mlp(inputs: int, outputs: int, seed: int = 0) -> eqx.nn.MLP:
    return eqx.nn.MLP(inputs, outputs, 8, 2, activation=jnp.tanh, key=jax.random.key(seed))


def mixed() -> sd.Model:
    """Known growth and decay, and a network for the rest."""
    x, y = sd.states(x=1.0, y=0.5)
    a, b = sd.parameters(a=0.5, b=1.0)
    net = sd.Neural("net", mlp(2, 2))
    u = net(x, y**2)
    return sd.compile(sd.System([Eq(D(x), a * x + u[0]), Eq(D(y), -b * y + u[1] * x)], observed={"twice": 2 * u[0]}))


def vectors() -> sd.Model:
    h = sd.state("h", [1.0, 2.0, 3.0], shape=(3,))
    x, (a,) = sd.state("x", 0.5), sd.parameters(a=0.5)
    net = sd.Neural("net", mlp(3, 3))
    return sd.compile(
        sd.System([Eq(D(h), net(h) - a * h * x), Eq(D(x), h[0] - x)], observed={"twice": 2 * h, "sum": h[1] + x})
    )


def reference(rhs, y0, t1):
    return scipy.integrate.solve_ivp(rhs, (0.0, t1), y0, rtol=1e-10, atol=1e-12).y[:, -1]


def test_a_network_beside_equations_against_scipy():
    model = mixed()
    net = eqx.filter_jit(model["net"])

    def rhs(time, y):
        u = np.asarray(net(jnp.array([y[0], y[1] ** 2])))
        return [0.5 * y[0] + u[0], -y[1] + u[1] * y[0]]

    sol = sd.solve(model, t1=2.0, saveat=[1.0, 2.0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(sol.ys[-1], reference(rhs, [1.0, 0.5], 2.0), rtol=1e-7)
    at_end = net(jnp.array([sol.ys[-1, 0], sol.ys[-1, 1] ** 2]))
    np.testing.assert_allclose(sol["twice"][-1], 2 * at_end[0], rtol=1e-12)


def test_a_block_is_evaluated_once_and_its_jacobian_is_that_of_jax():
    model = mixed()
    assert model.source.count("network_outputs(net, ") == 3  # in rhs, jac and observed
    rhs = model.source[model.source.index("def rhs") : model.source.index("def jac")]
    assert rhs.count("network_outputs(") == 1
    y = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(model.jac(0.0, y), jax.jacfwd(lambda y: model.rhs(0.0, y))(y), rtol=1e-12)


def test_several_blocks_one_inside_another_and_one_inside_an_algebraic_equation():
    x, z = sd.states(x=1.0, z=sd.guess(0.5))
    inner, outer = sd.Neural("inner", mlp(1, 2, 1)), sd.Neural("outer", mlp(3, 1, 2))
    whole = outer(inner(x), t)[0]
    model = sd.compile(sd.System([Eq(D(x), -z + whole), Eq(0, z + z**3 - x - inner(x)[1] / 4)]))
    net1, net2 = model["inner"], model["outer"]
    sol = sd.solve(model, t1=1.0, saveat=[1.0], rtol=1e-9, atol=1e-11)

    def rhs(time, y):
        first = np.asarray(net1(jnp.array([y[0]])))
        root: Any = scipy.optimize.brentq(lambda z: z + z**3 - y[0] - first[1] / 4, -5, 5, xtol=1e-14)
        return [-root + float(net2(jnp.array([*first, time]))[0])]

    np.testing.assert_allclose(sol["x"][-1], reference(rhs, [1.0], 1.0)[0], rtol=1e-7)
    y = jnp.array([0.3, 0.2])
    np.testing.assert_allclose(model.jac(0.4, y), jax.jacfwd(lambda y: model.rhs(0.4, y))(y), rtol=1e-12)


def test_a_stiff_model_with_a_network_switches():
    x, y = sd.states(x=1.0, y=1.0)
    (k,) = sd.parameters(k=1e5)
    net = sd.Neural("net", mlp(1, 1))
    model = sd.compile(sd.System([Eq(D(x), -k * (x - sp.cos(y))), Eq(D(y), net(x)[0])]))
    sol = sd.solve(model, t1=2.0, saveat=[2.0])
    net1 = eqx.filter_jit(model["net"])
    expected = scipy.integrate.solve_ivp(
        lambda t, y: [-1e5 * (y[0] - np.cos(y[1])), float(net1(jnp.array([y[0]]))[0])],
        (0.0, 2.0), [1.0, 1.0], "Radau", rtol=1e-9, atol=1e-11,
    ).y[:, -1]  # fmt: skip
    assert int(sol.stats["num_steps"]) < 200
    np.testing.assert_allclose(sol.ys[-1], expected, rtol=1e-5)


def test_vectors_stay_whole_and_agree_with_scipy():
    model = vectors()
    net = eqx.filter_jit(model["net"])

    def rhs(time, y):
        return [*(np.asarray(net(jnp.asarray(y[:3]))) - 0.5 * y[:3] * y[3]), y[0] - y[3]]

    expected = reference(rhs, [1.0, 2.0, 3.0, 0.5], 2.0)
    for solver in ("auto", sd.Rodas5P()):
        sol = sd.solve(model, t1=2.0, saveat=[1.0, 2.0], rtol=1e-8, atol=1e-10, solver=solver)
        np.testing.assert_allclose(sol.ys[-1], expected, rtol=1e-6)
    assert sol["h"].shape == (2, 3)
    np.testing.assert_allclose(sol["twice"], 2 * sol.ys[:, :3])
    np.testing.assert_allclose(sol["sum"], sol.ys[:, 1] + sol.ys[:, 3])
    assert list(sol.to_pandas().columns)[:4] == ["h[0]", "h[1]", "h[2]", "x"]
    moved = sd.solve(model.replace({"h": np.ones(3)}), t1=2.0, saveat=[2.0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(moved.ys[-1], reference(rhs, [1.0, 1.0, 1.0, 0.5], 2.0), rtol=1e-6)


@pytest.mark.parametrize("make", [mixed, vectors])
def test_gradients_of_weights_equal_those_of_diffrax_by_hand(make):
    model = make()
    n = model.size
    ts = jnp.linspace(0.1, 1.0, 5)
    settings: Any = {"rtol": 1e-10, "atol": 1e-12}

    def by_hand(t, y, args):
        p, net = args
        if make is mixed:
            u = net(jnp.stack([y[0], y[1] ** 2]))
            return jnp.stack([p[0] * y[0] + u[0], -p[1] * y[1] + u[1] * y[0]])
        return jnp.concatenate([net(y[:3]) - p[0] * y[:3] * y[3], jnp.stack([y[0] - y[3]])])

    def loss(model):
        return jnp.sum(sd.solve(model, t1=1.0, saveat=ts, max_steps=256, **settings).ys ** 2)

    def loss_by_hand(args):
        ys = dfx.diffeqsolve(
            dfx.ODETerm(by_hand), dfx.Tsit5(), 0.0, 1.0, 0.01, model.initial_state(), args,
            saveat=dfx.SaveAt(ts=ts), stepsize_controller=dfx.PIDController(**settings), max_steps=256,
        ).ys  # fmt: skip
        assert ys is not None
        return jnp.sum(ys**2)

    found = eqx.filter_jit(eqx.filter_grad(loss))(model)
    values, net = eqx.filter_jit(eqx.filter_grad(loss_by_hand))((model.values, model["net"]))
    np.testing.assert_allclose(found.values, values, rtol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(found.networks), jax.tree.leaves(net), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    assert n == len(model.labels)


def test_new_weights_never_compile_anew():
    model = mixed()
    count = 0

    @eqx.filter_jit
    def end(model):
        nonlocal count
        count += 1
        return sd.solve(model, t1=1.0, saveat=[1.0], throw=False).ys

    ends = [end(mixed().replace({"net": mlp(2, 2, seed)})) for seed in range(3)]
    assert count == 1
    assert len({float(e[0, 0]) for e in ends}) == 3
    assert model.compiled == mixed().compiled


def test_subsystems_have_networks_of_their_own():
    x, (a,) = sd.state("x", 1.0), sd.parameters(a=1.0)
    net = sd.Neural("net", mlp(1, 1))
    part = [sd.System([Eq(D(x), -a * x + net(x)[0])], name=name) for name in ("one", "two")]
    y = sd.state("y", 0.0)
    model = sd.compile(sd.System([Eq(D(y), part[0].x - part[1].x)], subsystems=part))
    assert [str(n) for n in model.system.networks] == ["one.net", "two.net"]
    changed = model.replace({"two.net": mlp(1, 1, 5)})
    same, other = (sd.solve(m, t1=1.0, saveat=[1.0]) for m in (model, changed))
    assert float(same["y"][-1]) == pytest.approx(0.0, abs=1e-12)
    assert float(same["one.x"][-1]) == pytest.approx(float(other["one.x"][-1]), rel=1e-5)
    assert abs(float(other["y"][-1])) > 1e-3


def assert_refused(build, *parts):
    with pytest.raises(sd.ModelError) as caught:
        build()
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_bad_networks_are_refused_at_the_door():
    x, y = sd.states(x=1.0, y=1.0)
    net = sd.Neural("net", mlp(2, 2))
    assert_refused(lambda: sd.compile(sd.System([Eq(D(x), net(x)[0])])), "`net`", "1 inputs", "test_networks.py")
    assert_refused(lambda: sd.Neural("net", lambda v: jnp.stack([v, v]))(x)[-1], "indexed by -1")
    unknown = sd.Neural("free", lambda v: v[:1])
    assert_refused(lambda: sd.compile(sd.System([Eq(D(x), unknown(x, y)[1]), Eq(D(y), x)])), "`free`", "1 outputs")
    assert_refused(lambda: net(x, y)[2], "2 numbers")
    assert_refused(lambda: list(unknown(x, y)), "outputs=2")
    assert_refused(lambda: sd.Neural("net", 3.0), "cannot be called")
    assert_refused(lambda: net(), "without inputs")
    assert_refused(lambda: sd.System([Eq(D(x), net(x, y)), Eq(D(y), x)]), "a number", "a vector of 2")
    twin = sd.Neural("net", mlp(2, 2))
    assert_refused(lambda: sd.System([Eq(D(x), net(x, y)[0]), Eq(D(y), twin(x, y)[0])]), "Two different networks")
    assert_refused(lambda: sd.System([Eq(D(x), sd.Neural("x", mlp(1, 1))(x)[0])]), "both named `x`")
    model = mixed()
    assert_refused(lambda: model.replace({"net": eqx.nn.MLP(2, 2, 8, 3, key=jax.random.key(0))}), "another structure")


def test_bad_vectors_are_refused_at_the_door():
    assert_refused(lambda: sd.state("h", [1.0, 2.0], shape=3), "2 elements", "(3,)")
    assert_refused(lambda: sd.state("h", 0.0, shape=(2, 2)), "(n,)")
    h, g, x = sd.state("h", 0.0, shape=3), sd.state("g", 0.0, shape=2), sd.state("x", 0.0)
    assert_refused(lambda: sd.System([Eq(D(h), h + g), Eq(D(g), -g)]), "2 and 3", "test_networks.py")
    assert_refused(lambda: sd.System([Eq(D(x), h), Eq(D(h), -h)]), "a number", "a vector of 3")
    assert_refused(lambda: h[3], "3 numbers")
    assert_refused(lambda: x[0], "one number")
    assert_refused(lambda: sd.compile(sd.System([Eq(0, h + h**3 - x), Eq(D(x), -x)])), "`h`", "implicitly")


def test_time_and_parameters_enter_a_network_and_scalars_are_scalars():
    x, (a,) = sd.state("x", 1.0), sd.parameters(a=0.3)
    scalar = sd.Neural("scalar", eqx.nn.MLP("scalar", "scalar", 4, 1, key=jax.random.key(3)))
    model = sd.compile(sd.System([Eq(D(x), scalar(a * t)[0])]))
    net = model["scalar"]
    expected = 1 + scipy.integrate.quad(lambda s: float(net(jnp.asarray(0.3 * s))), 0, 2)[0]
    sol = sd.solve(model, t1=2.0, saveat=[2.0], rtol=1e-9, atol=1e-11)
    assert float(sol["x"][-1]) == pytest.approx(expected, rel=1e-6)


def test_derivatives_of_an_expression_with_a_network():
    x = sd.state("x", 1.0)
    net = sd.Neural("net", mlp(1, 1))
    model = sd.compile(sd.System([Eq(D(x), net(x)[0])]))
    sol = sd.solve(model, t1=1.0, saveat=[1.0], rtol=1e-9, atol=1e-11)
    net1 = model["net"]
    value = lambda x: net1(x[None])[0]  # noqa: E731
    end = sol.ys[-1, 0]
    assert float(sol[D(x, 2)][-1]) == pytest.approx(float(jax.grad(value)(end) * value(end)), rel=1e-9)


def test_printing_names_networks_and_vectors():
    assert "networks    net" in str(mixed())
    assert "h (3 numbers)" in str(vectors())
    assert "net(x, y**2)[0]" in str(mixed().system)


def test_ensembles_of_models_with_networks_and_vectors():
    rates = np.linspace(0.1, 0.9, 5)
    for make, name in ((mixed, "x"), (vectors, "h")):
        model = make()
        found = sd.ensemble(model, {"a": rates}, t1=1.0, saveat=[0.5, 1.0])
        single = sd.solve(model.replace(a=rates[3]), t1=1.0, saveat=[0.5, 1.0])
        np.testing.assert_allclose(found[name][3], single[name], rtol=1e-9)
        np.testing.assert_allclose(found["twice"][3], single["twice"], rtol=1e-9)
    with pytest.raises(sd.UnsupportedError, match="`h` is a vector"):
        sd.ensemble(vectors(), {"h": np.ones(5)}, t1=1.0)


def test_the_derivative_of_one_number_of_a_vector():
    h, x = sd.state("h", [1.0, 2.0], shape=2), sd.state("x", 1.0)
    (a,) = sd.parameters(a=2.0)
    model = sd.compile(sd.System([Eq(D(h), -a * h * x), Eq(D(x), h[1] - x)]))
    sol = sd.solve(model, 1.0, saveat=[0.5, 1.0])
    assert str(D(h[0] * x)) == "x*D(h)[0] + D(x)*h[0]"
    np.testing.assert_allclose(sol[D(h[0])], -2 * sol["h"][:, 0] * sol["x"], rtol=1e-12)
    np.testing.assert_allclose(sol[D(h)], -2 * sol["h"] * sol["x"][:, None], rtol=1e-12)
    np.testing.assert_allclose(sol[D(h[0] ** 2)], 2 * sol["h"][:, 0] * sol[D(h[0])], rtol=1e-12)
    with pytest.raises(sd.UnsupportedError, match="`D\\(h\\)` is determined by its equation only implicitly"):
        sd.compile(sd.System([Eq(D(h[0]) + D(h[1]), x), Eq(D(x), -x)]))
