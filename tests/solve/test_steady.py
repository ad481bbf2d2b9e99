"""Steady states against closed forms, SciPy and long integrations; conservation laws, stability, derivatives."""

import math
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import symdeq as sd
from symdeq import D, Eq


def enzyme():
    """E + S <-> ES <-> E + P, both steps reversible: two conserved totals."""
    e, s, es, p = sd.states(E=1.0, S=10.0, ES=0.0, P=0.0)
    kf, kr, kc, kb = sd.parameters(kf=2.0, kr=1.0, kc=3.0, kb=0.5)
    binding, turning = kf * e * s - kr * es, kc * es - kb * e * p
    equations = [Eq(D(e), turning - binding), Eq(D(s), -binding), Eq(D(es), binding - turning), Eq(D(p), turning)]
    return sd.compile(sd.System(equations, name="enzyme"))


def enzyme_by_hand(kf=2.0, kr=1.0, kc=3.0, kb=0.5, total=10.0, enzymes=1.0):
    """At rest both steps are in balance: ES = kf E S / kr = kb E P / kc, one equation for E."""

    def excess(e):
        s = (enzymes - e) * kr / (kf * e)
        p = (enzymes - e) * kc / (kb * e)
        return s + p + (enzymes - e) - total

    e: Any = brentq(excess, 1e-9, enzymes, xtol=1e-15)
    return {"E": e, "S": (enzymes - e) * kr / (kf * e), "ES": enzymes - e, "P": (enzymes - e) * kc / (kb * e)}


@pytest.mark.parametrize(
    "solver",
    ["auto", optx.Newton(1e-8, 1e-8), optx.Dogleg(1e-8, 1e-8), dfx.Tsit5(), sd.Rodas5P()],
    ids=["auto", "Newton", "Dogleg", "Tsit5", "Rodas5P"],
)
def test_an_enzyme_comes_to_the_balance_that_its_totals_allow(solver):
    found = sd.steady_state(enzyme(), solver=solver)
    assert found.ok
    for name, value in enzyme_by_hand().items():
        assert float(found[name]) == pytest.approx(value, rel=1e-8)
    assert float(found["E"] + found["ES"]) == pytest.approx(1.0, abs=1e-12)
    assert float(found.residual) < 1e-10
    assert found.stable
    assert len(found.eigenvalues) == 2  # four states less two totals
    assert int(found.stats["nfe"]) > 0


def test_sensitivities_against_finite_differences_of_the_closed_form():
    found = sd.steady_state(enzyme())
    names, step = ["kf", "kr", "kc", "kb"], 1e-6
    values = {"kf": 2.0, "kr": 1.0, "kc": 3.0, "kb": 0.5}

    def slope(quantity, name):
        up, down = (enzyme_by_hand(**{**values, name: values[name] + sign * step})[quantity] for sign in (1, -1))
        return (up - down) / (2 * step)

    expected = np.array([[slope(quantity, name) for name in names] for quantity in ("P", "ES")])
    np.testing.assert_allclose(found.sensitivities(["P", "ES"], names), expected, rtol=1e-6, atol=1e-8)
    relative = found.sensitivities(["P"], names, relative=True)
    np.testing.assert_allclose(relative[0], expected[0] * list(values.values()) / float(found["P"]), rtol=1e-6)
    # More substrate: the total of the second law.
    up, down = (enzyme_by_hand(total=10.0 + sign * step)["P"] for sign in (1, -1))
    np.testing.assert_allclose(found.sensitivities(["P"], ["S"])[0, 0], (up - down) / (2 * step), rtol=1e-6)


def test_gradients_forward_reverse_and_twice():
    model = enzyme()

    def product(values):
        return sd.steady_state(model.replace(dict(zip(("kf", "kb"), values, strict=True))), throw=False)["P"]

    at = jnp.array([2.0, 0.5])
    forward, reverse = jax.jacfwd(product)(at), jax.grad(product)(at)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)
    np.testing.assert_allclose(reverse, sd.steady_state(model).sensitivities(["P"], ["kf", "kb"])[0], rtol=1e-9)
    second = jax.hessian(product)(at)
    step = 1e-5
    moved = (jax.grad(product)(at + jnp.array([step, 0.0])) - jax.grad(product)(at - jnp.array([step, 0.0]))) / (
        2 * step
    )
    np.testing.assert_allclose(second[0], moved, rtol=1e-5)


def test_which_of_two_rests_belongs_to_the_start():
    u = sd.state("u", 0.01)
    model = sd.compile(sd.System([Eq(D(u), u - u**3)], name="fork"))
    starts = jnp.array([[-2.0], [-0.01], [0.01], [3.0]])
    found = jax.vmap(lambda y0: sd.steady_state(model, y0=y0, throw=False))(starts)
    np.testing.assert_allclose(found.y[:, 0], [-1, -1, 1, 1], rtol=1e-9)
    assert bool(jnp.all(found.ok))
    unstable = sd.steady_state(model, y0={"u": 0.0})
    assert float(unstable[u]) == 0.0
    assert not unstable.stable
    np.testing.assert_allclose(unstable.eigenvalues, [1.0])


def test_an_oscillator_has_a_rest_that_its_equations_run_away_from():
    """Van der Pol's equation never comes to rest; its root is the origin, with eigenvalues of x² - mu x + 1."""
    x, v = sd.states(x=2.0, v=0.0)
    mu = sd.parameter("mu", 5.0)
    model = sd.compile(sd.System([Eq(D(x), v), Eq(D(v), mu * (1 - x**2) * v - x)], name="van_der_pol"))
    found = sd.steady_state(model)
    np.testing.assert_allclose(found.y, [0.0, 0.0], atol=1e-9)
    assert not bool(found.known.followed)
    np.testing.assert_allclose(found.eigenvalues.real, np.sort(np.roots([1, -5, 1]))[::-1], rtol=1e-8)
    assert "UNSTABLE" in str(found)
    assert "the equation was not followed" in str(found)


def test_lotka_volterra_rests_where_its_closed_form_says():
    x, y = sd.states(x=1.0, y=1.0)
    a, b, c, d = sd.parameters(a=1.5, b=1.0, c=3.0, d=1.0)
    model = sd.compile(sd.System([Eq(D(x), a * x - b * x * y), Eq(D(y), -c * y + d * x * y)], name="lotka_volterra"))
    found = sd.steady_state(model)
    np.testing.assert_allclose(found.y, [3.0, 1.5], rtol=1e-9)
    assert not found.stable
    assert "neutral" in str(found)
    np.testing.assert_allclose(found.sensitivities(), [[0, 0, 1, -3], [1, -1.5, 0, 0]], atol=1e-9)


def network_rates(y, k, reactions, zero):
    """The rates of reversible reactions of one or two molecules on either side."""
    out = [zero] * len(y)
    for (left, right), forward, back in zip(reactions, k[::2], k[1::2], strict=True):
        flux = forward * math.prod(y[i] for i in left) - back * math.prod(y[i] for i in right)
        for i in left:
            out[i] = out[i] - flux
        for i in right:
            out[i] = out[i] + flux
    return out


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_amounts_stay_amounts_where_newtons_method_would_make_them_negative(seed):
    """Random networks of reversible reactions, against a long integration with SciPy."""
    rng, n = np.random.default_rng(seed), 4
    start = np.where(rng.random(n) < 0.4, 0, 10 ** rng.uniform(-2, 1, n)) + np.eye(n)[0]
    reactions = [((i, (i + 1) % n), ((i + 2) % n, (i + 3) % n)) for i in range(3)]
    reactions += [((i,), ((i + 1) % n,)) for i in range(n)]
    values = 10 ** rng.uniform(-2, 2, 2 * len(reactions))
    states = [sd.state(f"s{i}", float(v)) for i, v in enumerate(start)]
    constants = [sd.parameter(f"k{i}", float(v)) for i, v in enumerate(values)]
    equations = [Eq(D(s), r) for s, r in zip(states, network_rates(states, constants, reactions, 0), strict=True)]
    found = sd.steady_state(sd.compile(sd.System(equations, name="network")))
    reference = solve_ivp(
        lambda t, y: network_rates(y, values, reactions, 0.0), (0, 1e4), start, method="LSODA", rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(found.y, reference.y[:, -1], rtol=1e-5, atol=1e-8)
    assert float(jnp.sum(found.y)) == pytest.approx(start.sum(), rel=1e-10)


def test_a_stiff_network_with_a_double_root():
    """Robertson's problem ends with everything in C; its Jacobian is singular there but for the conserved total."""
    a, b, c = sd.states(A=1.0, B=0.0, C=0.0)
    equations = [
        Eq(D(a), -0.04 * a + 1e4 * b * c),
        Eq(D(b), 0.04 * a - 1e4 * b * c - 3e7 * b**2),
        Eq(D(c), 3e7 * b**2),
    ]
    found = sd.steady_state(sd.compile(sd.System(equations, name="rober")))
    np.testing.assert_allclose(found.y, [0, 0, 1], atol=1e-9)
    assert bool(found.known.isolated)


def test_an_algebraic_equation_is_part_of_the_rest():
    x, z = sd.state("x", 1.0), sd.state("z", sd.guess(1.0))
    k = sd.parameter("k", 2.0)
    model = sd.compile(sd.System([Eq(D(x), k - z), Eq(z**3 + z, x)], name="dae"))
    found = sd.steady_state(model)
    np.testing.assert_allclose([found["x"], found["z"]], [10.0, 2.0], rtol=1e-8)
    np.testing.assert_allclose(found.eigenvalues, [-1 / 13], rtol=1e-8)
    np.testing.assert_allclose(found.sensitivities(["x"], ["k"]), [[13.0]], rtol=1e-8)


def test_a_guess_moves_the_search_and_not_the_totals():
    model = enzyme()
    cold, warm = sd.steady_state(model), sd.steady_state(model, guess=0.9 * sd.steady_state(model).y)
    np.testing.assert_allclose(warm.y, cold.y, rtol=1e-8)
    assert int(warm.stats["num_steps"]) < int(cold.stats["num_steps"])


def test_what_never_rests_says_so():
    u = sd.state("u", 0.0)
    model = sd.compile(sd.System([Eq(D(u), u**2 + 1)], name="blow_up"))
    with pytest.raises(sd.SolveError, match=r"No steady state of `blow_up`.*D\(u\)"):
        sd.steady_state(model)
    found = sd.steady_state(model, throw=False)
    assert not found.ok
    assert "FAILED" in str(found)
    jitted = eqx.filter_jit(lambda: sd.steady_state(model, throw=False))()
    assert not jitted.ok


LINES = {
    "line": lambda x, z: (-x * (1 + z**2), -x * z),
    "axes": lambda x, z: (-x * z**2, -z * x**2),
    "double": lambda x, z: (-(x**2) * (1 + z**2), -(x**2) * z),
    "circle": lambda x, z: (-(x**2 + z**2 - 1) * x, -(x**2 + z**2 - 1) * z),
}


@pytest.mark.parametrize("rates", LINES.values(), ids=LINES)
def test_a_continuum_of_rests_has_no_derivative(rates):
    """Every point of a line (x = 0; x = 0 or z = 0) or of a circle is at rest."""
    x, z = sd.states(x=1.0, z=0.5)
    found = sd.steady_state(sd.compile(sd.System(map(Eq, (D(x), D(z)), rates(x, z)), name="lines")))
    assert float(found.residual) < 1e-9
    assert not bool(found.known.isolated)
    assert "one of a continuum" in str(found)
    with pytest.raises(sd.ModelError, match="continuum"):
        found.sensitivities()


def test_the_derivative_of_a_continuum_is_nan_forward_and_reverse():
    x, z = sd.states(x=1.0, z=0.5)
    k = sd.parameter("k", 1.0)
    model = sd.compile(sd.System([Eq(D(x), -k * x * (1 + z**2)), Eq(D(z), -x * z)], name="line"))

    def end(value):
        return sd.steady_state(model.replace({k: value}), throw=False)["z"]

    assert math.isnan(jax.jacfwd(end)(1.0))
    assert math.isnan(jax.grad(end)(1.0))


@pytest.mark.parametrize("scale", [1e-12, 1.0])
def test_a_rest_of_its_own_has_one_whatever_its_scale(scale):
    """x' = k s - x / s, z' = 1e7 (x - z) - 1e-2 z: x = k s², z = 1e7 x / (1e7 + 1e-2)."""
    x, z = sd.states(x=scale, z=0.0)
    k = sd.parameter("k", 2.0)
    equations = [Eq(D(x), k * scale - x / scale), Eq(D(z), 1e7 * (x - z) - 1e-2 * z)]
    found = sd.steady_state(sd.compile(sd.System(equations, name="scaled")))
    assert bool(found.known.isolated)
    slopes = found.sensitivities()[:, 0]
    np.testing.assert_allclose(slopes, [scale**2, scale**2 / (1 + 1e-9)], rtol=1e-9)


def test_the_door():
    model = enzyme()
    x = sd.state("x", 1.0)
    driven = sd.compile(sd.System([Eq(D(x), sd.t - x)], name="driven"))
    for call, part in (
        (lambda: sd.steady_state(driven), "depends on t"),
        (lambda: sd.steady_state(model, solver="newton"), "finds no steady state"),
        (lambda: sd.steady_state(model, max_steps=0), "max_steps"),
        (lambda: sd.steady_state(model, rtol=-1.0), "rtol"),
        (lambda: sd.steady_state(model, y0={"Q": 1.0}), "Q"),
        (lambda: sd.steady_state("model"), "compiled model"),  # pyright: ignore[reportArgumentType]
        (lambda: sd.steady_state(model)["Q"], "Q"),
    ):
        with pytest.raises(sd.ModelError, match=part):
            call()


def test_it_prints_and_draws():
    import matplotlib.pyplot as plt

    found = sd.steady_state(enzyme())
    text = str(found)
    for part in ("Steady state of `enzyme`, 4 states", "kept    E + ES = 1", "stable", "by following the equation"):
        assert part in text
    left, right = found.plot()
    assert [label.get_text() for label in left.get_yticklabels()] == ["E", "S", "ES", "P"]
    assert len(right.lines[-1].get_xdata()) == 2
    plt.close("all")
