"""The functions that solvers call: both layouts, derivatives, single precision, one compilation for one text."""

import linecache
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from symdeq.codegen import Functions, emit, functions, load, lower
from symdeq.model import parameters, states
from tests.codegen import models
from tests.codegen.support import reference, substituted

_POINTS = {
    "lotka_volterra": (0.0, [0.7, 1.3], [1.5, 1.0, 3.0, 1.0]),
    "rober": (0.0, [0.9, 3e-5, 0.1], [0.04, 3e7, 1e4]),
    "driven": (0.4, [1.2, 0.1], [0.2, 0.3, 0.5]),
}


def _model(name: str) -> tuple[Functions, tuple]:
    t, y, p = _POINTS[name]
    return functions(load(emit(lower(getattr(models, name)())))), (jnp.float64(t), jnp.array(y), jnp.array(p))


def _scalars(point: tuple) -> tuple:
    t, y, p = point
    return t, tuple(y), tuple(p)


@pytest.mark.parametrize("name", _POINTS)
def test_values_against_sympy(name: str) -> None:
    model, point = _model(name)
    system = getattr(models, name)()
    full = substituted(system)
    wanted = reference(system, full, *_POINTS[name])
    np.testing.assert_allclose(model.rhs(*point), wanted, rtol=1e-13)
    np.testing.assert_allclose(model.rhs(*_scalars(point)), wanted, rtol=1e-13)
    jacobian = reference(system, [sp.diff(f, s) for f in full for s in system.states], *_POINTS[name])
    np.testing.assert_allclose(model.jacobian_dense(*point).ravel(), jacobian, rtol=1e-13)
    by_params = reference(system, [sp.diff(f, s) for f in full for s in system.params], *_POINTS[name])
    np.testing.assert_allclose(model.dense_params(model.jac_params(*point)).ravel(), by_params, rtol=1e-13)
    for value in model.rhs(*_scalars(point)):
        assert value.shape == ()
        assert value.dtype == jnp.float64


@pytest.mark.parametrize("name", _POINTS)
def test_derivatives_in_both_modes_against_a_plain_version(name: str) -> None:
    model, point = _model(name)
    plain = lambda t, y, p: jnp.stack([jnp.asarray(v, y.dtype) for v in model.generated.rhs(t, y, p)])  # noqa: E731
    for mode in (jax.jacfwd, jax.jacrev):
        for i in range(3):
            wanted = jax.jacfwd(plain, i)(*point)
            np.testing.assert_allclose(jax.jit(mode(model.rhs, i))(*point), wanted, rtol=1e-12)
    for i in (1, 2):
        wanted = jnp.stack([jnp.stack(row) for row in jax.jacfwd(model.rhs, i)(*_scalars(point))])
        np.testing.assert_allclose(wanted, jax.jacfwd(plain, i)(*point), rtol=1e-12)
    second = jax.jacfwd(jax.jacrev(plain, 1), 2)(*point)
    np.testing.assert_allclose(jax.jacrev(jax.jacfwd(model.rhs, 1), 2)(*point), second, rtol=1e-11)
    np.testing.assert_allclose(jax.jacfwd(jax.jacrev(model.rhs, 1), 2)(*point), second, rtol=1e-11)


def test_only_what_is_differentiated_is_computed() -> None:
    """A tangent in one parameter needs neither the Jacobian nor the other parameters."""
    model, (t, y, p) = _model("lotka_volterra")
    tangent = lambda a: jax.jvp(lambda a: model.rhs(t, tuple(y), (a, *p[1:])), (a,), (1.0,))[1]  # noqa: E731
    done = [equation.primitive.name for equation in jax.make_jaxpr(tangent)(p[0]).eqns]
    assert done.count("mul") <= 2, done  # d(dx/dt)/da = x and d(dx/dt)/db = -x*y; the Jacobian would add four more


def test_batches_and_single_precision() -> None:
    model, (t, y, p) = _model("driven")
    ys = y + jnp.linspace(0.0, 1.0, 5)[:, None]
    batched = jax.vmap(model.rhs, (None, 0, None))(t, ys, p)
    np.testing.assert_allclose(batched, [model.rhs(t, row, p) for row in ys], rtol=1e-14)
    gradients = jax.vmap(jax.grad(lambda row: model.rhs(t, row, p)[0]))(ys)
    np.testing.assert_allclose(gradients[0], model.jacobian_dense(t, y, p)[0], rtol=1e-13)
    single = model.rhs(0.4, y.astype(jnp.float32), p.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, model.rhs(t, y, p), rtol=1e-5)
    y32 = tuple(y.astype(jnp.float32))
    for value in (*model.rhs(t, y32, p), *model.jac(t, y32, p), *model.dfdt(t, y32, p), *model.observed(t, y32, p)):
        assert value.dtype == jnp.float32
    assert jax.jacfwd(model.rhs, 1)(jnp.float32(0.4), y.astype(jnp.float32), p.astype(jnp.float32)).dtype == jnp.float32


def test_plain_numbers_are_accepted() -> None:
    model, (_, _, p) = _model("lotka_volterra")
    np.testing.assert_allclose(model.rhs(0, (1, 2), (1, 1, 3, 1)), (-1.0, -4.0))
    assert jax.jit(model.rhs)(0, (1, 2), (1, 1, 3, 1))[0].dtype == jnp.float64
    np.testing.assert_allclose(model.initial(p), (1.0, 1.0))


def test_constant_rates_have_the_shape_and_type_of_the_state() -> None:
    x, y = states(x=1.0, y=1.0)
    model = functions(load(emit(lower(models.analysed({x: sp.Integer(1), y: sp.Integer(0)})))))
    value = model.rhs(0.0, (jnp.float32(1.0), jnp.float32(1.0)), ())
    assert [(v.shape, v.dtype) for v in value] == [((), jnp.float32)] * 2
    np.testing.assert_allclose(jax.jacfwd(model.rhs, 1)(0.0, jnp.ones(2), jnp.ones(0)), np.zeros((2, 2)))
    assert model.jacobian_dense(0.0, jnp.ones(2), ()).shape == (2, 2)


def test_dense_jacobian_of_a_larger_model() -> None:
    model = functions(load(emit(lower(models.chain(12)))))
    y, p = jnp.linspace(0.1, 1.0, 12), jnp.array([1.5])
    np.testing.assert_allclose(
        model.jacobian_dense(0.0, y, p), jax.jacfwd(lambda v: jnp.stack(model.generated.rhs(0.0, v, p)))(y), rtol=1e-14
    )


@pytest.mark.parametrize("layout", [tuple, jnp.stack])
def test_solver_and_its_derivatives(layout) -> None:
    model = functions(load(emit(lower(models.chain(5)))))
    assert model.has_sparse_lu
    y, p, b = jnp.linspace(0.1, 1.0, 5), jnp.array([1.5]), jnp.arange(1.0, 6.0)

    def generated(y, p, shift, b):
        j = model.jac(0.0, y, p)
        x = model.solve(model.factors(j, shift), j, shift, layout(list(b)))
        return jnp.stack(x) if isinstance(x, tuple) else x

    def dense(y, p, shift, b):
        return jnp.linalg.solve(shift * jnp.eye(5) - model.jacobian_dense(0.0, y, p), b)

    point = (y, p, jnp.float64(7.0), b)
    np.testing.assert_allclose(jax.jit(generated)(*point), dense(*point), rtol=1e-13)
    for i in range(4):
        wanted = jax.jacfwd(dense, i)(*point)
        np.testing.assert_allclose(jax.jacfwd(generated, i)(*point), wanted, rtol=1e-11)
        np.testing.assert_allclose(jax.jacrev(generated, i)(*point), wanted, rtol=1e-11)
    batched = jax.vmap(generated, (None, None, None, 0))(y, p, 7.0, jnp.stack([b, 2 * b]))
    np.testing.assert_allclose(batched[1], 2 * dense(*point), rtol=1e-13)
    hessian = jax.jacfwd(jax.jacrev(lambda y: generated(y, p, 7.0, b).sum()))(y)
    np.testing.assert_allclose(hessian, jax.hessian(lambda y: dense(y, p, 7.0, b).sum())(y), rtol=1e-9, atol=1e-12)


def test_solver_keeps_single_precision() -> None:
    model = functions(load(emit(lower(models.chain(3)))))
    j = tuple(v.astype(jnp.float32) for v in model.jac(0.0, jnp.ones(3), jnp.ones(1)))
    shift = jnp.float32(5.0)
    x = model.solve(model.factors(j, shift), j, shift, jnp.ones(3, jnp.float32))
    assert x.dtype == jnp.float32


def test_no_factorisation_with_a_mass_matrix() -> None:
    model = functions(load(emit(lower(models.awkward()))))
    assert not model.has_sparse_lu


def test_equal_text_is_one_object_and_compiles_once() -> None:
    first, second = (functions(load(emit(lower(models.rober())))) for _ in range(2))
    assert first is second
    assert hash(first) == hash(second)
    assert first != functions(load(emit(lower(models.lotka_volterra()))))
    traces = []

    def call(model, y):
        traces.append(1)
        return model.rhs(0.0, y, (0.04, 3e7, 1e4))

    compiled = jax.jit(call, static_argnums=0)
    compiled(first, jnp.ones(3))
    compiled(second, jnp.zeros(3))
    assert len(traces) == 1


def test_tracebacks_show_generated_lines() -> None:
    generated = load(emit(lower(models.lotka_volterra())))
    try:
        generated.rhs(0.0, (1.0, "two"), (1.0, 1.0, 1.0, 1.0))
    except TypeError as error:
        text = "".join(traceback.format_exception(error))
        assert "dx_dt = a * x - b * x * y" in text
        assert "<symdeq " in text
    else:
        pytest.fail("a text was multiplied")
    assert any(name.startswith("<symdeq ") for name in linecache.cache)


def test_parameters_left_alone_have_no_tangent() -> None:
    (x,) = states(x=1.0)
    (a,) = parameters(a=2.0)
    model = functions(load(emit(lower(models.analysed({x: -(x**2)}, params=(a,))))))
    assert float(jax.grad(lambda p: model.rhs(0.0, jnp.ones(1), p)[0])(jnp.array([2.0]))[0]) == 0.0
