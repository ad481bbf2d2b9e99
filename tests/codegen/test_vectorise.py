"""Array code against the scalar code of the same model, which has tests of its own, and against the zoo's hand-written
fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symdeq.codegen import emit, functions, host_functions, load, lower, verify
from symdeq.codegen.program import Group, Sums
from symdeq.codegen.shapes import Shapes
from symdeq.model import D, Eq, State, System, parameters, state, t
from symdeq.passes import run
from tests.codegen import models
from tests.codegen.test_properties import systems
from tests.zoo.brusselator_1d import brusselator_1d


def both(system: System, monkeypatch) -> tuple:
    """The functions of a system as scalar and as array code."""
    import sys

    lowering = sys.modules["symdeq.codegen.lower"]
    made = []
    for most in (10**9, -1):
        monkeypatch.setattr(lowering, "MOST_SCALAR_OPERATIONS", most)
        programs = lower(system)
        for program in programs.functions:
            verify(program)
        text = emit(programs)
        assert text == emit(lower(system))
        made.append(functions(load(text)))
    assert [made[0].generated.vectorised, made[1].generated.vectorised] == [False, True]
    return tuple(made)


def check_equal(system: System, point: tuple, monkeypatch) -> None:
    scalar, vector = both(system, monkeypatch)
    time, y, p = point
    v = jnp.linspace(-1.0, 1.0, len(y))

    def close(found, wanted) -> None:
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)

    wanted = np.asarray(scalar.rhs(*point))
    if not np.isfinite(wanted).all() or np.abs(wanted).max(initial=0.0) > 1e8:
        return
    close(vector.rhs(*point), wanted)
    close(vector.jac(*point), np.array(scalar.jac(*point)))
    close(vector.jac_params(*point), np.array(scalar.jac_params(*point)))
    close(vector.observed(*point), np.array(scalar.observed(*point)))
    close(vector.initial(p), scalar.initial(p))
    close(vector.matvec(vector.jac(*point), v), scalar.matvec(scalar.jac(*point), v))
    close(vector.jacobian_dense(*point), scalar.jacobian_dense(*point))
    close(vector.dense_params(vector.jac_params(*point)), scalar.dense_params(scalar.jac_params(*point)))
    if scalar.generated.dfdt is not None:
        close(vector.dfdt(*point), scalar.dfdt(*point))
    for model in (jax.jacfwd, jax.jacrev):
        derivatives = model(vector.rhs, (0, 1, 2))(*point)
        for found, reference in zip(derivatives, jax.jacfwd(scalar.rhs, (0, 1, 2))(*point), strict=True):
            close(found, reference)
    on_host = host_functions(vector.generated)
    if on_host is not None:
        close(on_host["rhs"](float(time), np.asarray(y), np.asarray(p)), wanted)
        close(on_host["jac"](float(time), np.asarray(y), np.asarray(p)), np.array(scalar.jac(*point)))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(systems(), st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6))
def test_random_systems(system, numbers: list[float]) -> None:
    time, *values = (round(v, 3) + np.copysign(0.3 + 0.0137 * i, v) for i, v in enumerate(numbers))
    with jax.disable_jit(), pytest.MonkeyPatch.context() as monkeypatch:
        check_equal(system, (jnp.float64(time), jnp.array(values[:3]), jnp.array(values[3:])), monkeypatch)


@pytest.mark.parametrize("build", [models.rober, models.lotka_volterra, models.driven, models.awkward])
def test_small_models(build, monkeypatch) -> None:
    system = build()
    n, m = len(system.states), len(system.params)
    check_equal(system, (jnp.float64(0.3), jnp.linspace(0.4, 1.1, n), jnp.linspace(0.5, 1.5, m)), monkeypatch)


def network(n: int, seed: int) -> System:
    """Random reactions: rates of a few shapes, equations of many lengths."""
    numbers = np.random.default_rng(seed)
    x = [state(f"x{i}", float(numbers.uniform(0.1, 1.0))) for i in range(n)]
    change = [sp.Integer(0)] * n
    rates = list(parameters(**{f"k{i}": float(numbers.uniform(0.1, 2.0)) for i in range(2 * n)}))
    for k in rates:
        left = list(numbers.integers(0, n, numbers.integers(1, 3)))
        right = list(numbers.integers(0, n, numbers.integers(1, 3)))
        rate = k * sp.Mul(*(x[i] for i in left))
        for i in left:
            change[i] -= rate
        for i in right:
            change[i] += rate
    return run(System([Eq(D(v), c + 0 * v) for v, c in zip(x, change, strict=True)], name="network"))


def test_a_network(monkeypatch) -> None:
    system = network(30, 0)
    numbers = np.random.default_rng(1)
    point = (jnp.float64(0.0), jnp.asarray(numbers.random(30)), jnp.asarray(numbers.random(len(system.params))))
    check_equal(system, point, monkeypatch)


def test_the_code_of_a_network_hardly_grows() -> None:
    lengths = [sum(len(p.body) for p in lower(network(n, 0)).functions) for n in (150, 300)]
    assert lengths[1] < 1.4 * lengths[0]


@pytest.mark.parametrize("n", [64, 100])
def test_a_line(n: int) -> None:
    problem = brusselator_1d(n)
    programs = lower(run(problem.build()))
    assert programs.vectorised
    model = functions(load(emit(programs)))
    order = [problem.states.index(name) for name in model.generated.states]
    y = np.random.default_rng(0).random(2 * n)
    own, p = jnp.asarray(y[order]), jnp.asarray(problem.params)
    np.testing.assert_allclose(model.rhs(0.0, own, p), problem.numpy_rhs(0.0, y, problem.params)[order], rtol=1e-10)
    expected = problem.numpy_jac(0.0, y, problem.params)[np.ix_(order, order)]
    np.testing.assert_allclose(model.jacobian_dense(0.0, own, p), expected, rtol=1e-10)


def test_the_code_of_a_line_does_not_grow() -> None:
    lengths = [[len(p.body) for p in lower(run(brusselator_1d(n).build())).functions] for n in (64, 128)]
    assert lengths[0] == lengths[1]


def test_forcing_and_observed_quantities(monkeypatch) -> None:
    """Chains of observed quantities are levels; time and single parameters are scalars in array code."""
    x = [state(f"x{i}", 0.1 * i) for i in range(12)]
    a, b = parameters(a=1.5, b=0.3)
    flux = [State(f"q{i}") for i in range(11)]
    observed = [Eq(q, a * (x[i + 1] - x[i]) ** 3 + sp.sin(t)) for i, q in enumerate(flux)]
    rates = [flux[0], *(flux[i] - flux[i - 1] for i in range(1, 11)), -flux[10] * b]
    system = run(System([Eq(D(v), r) for v, r in zip(x, rates, strict=True)], observed=observed, name="fluxes"))
    check_equal(system, (jnp.float64(0.4), jnp.linspace(0.1, 0.8, 12) ** 2, jnp.array([1.5, 0.3])), monkeypatch)


def test_single_precision_stays() -> None:
    model = functions(load(emit(lower(network(60, 2)))))
    assert model.generated.vectorised
    y, p = jnp.ones(60, jnp.float32), jnp.ones(120, jnp.float32)
    assert model.rhs(0.0, y, p).dtype == jnp.float32
    assert model.jac(0.0, y, p).dtype == jnp.float32


def test_statements_print_as_something_to_read() -> None:
    rhs = lower(run(brusselator_1d(64).build()))["rhs"]
    kinds = {type(line) for line in rhs.body}
    assert Group in kinds
    assert "and 63 more" in str(rhs)
    sums = next(line for line in lower(network(100, 0))["rhs"].body if isinstance(line, Sums))
    assert "more are sums" in str(sums)


def test_shapes_forget_names_and_order() -> None:
    a, b, c, d = sp.symbols("d c b a", real=True)
    shapes = Shapes({s: i for i, s in enumerate((a, b, c, d))})
    assert shapes(2 * a * b + c).number == shapes(5 * c * d + a).number
    assert shapes(a - b).number == shapes(d - c).number
    assert shapes(a**2).number != shapes(a**3).number
    assert shapes(a + b).number != shapes(a - b).number
    assert set(shapes(2 * a).leaves) == {2, a}
