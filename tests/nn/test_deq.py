"""Deep equilibria: values in closed form, derivatives against unrolled iterations, every solver with every start."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

import symdeq as sd
from symdeq.nn.deq import DEQ
from symdeq.nn.multiscale import MultiScaleDEQ, MultiScaleNeuralODE, MultiScaleSkipDEQ, SkipDEQ
from symdeq.solvers import GMRES, Anderson, Broyden, FixedPoint, NewtonKrylov

KEY = jax.random.key(0)


class Cell(eqx.Module):
    """tanh(W z + U x + b), made to contract."""

    w: jax.Array
    u: jax.Array
    b: jax.Array

    def __init__(self, size: int, inputs: int, norm: float = 0.6, seed: int = 0):
        keys = jax.random.split(jax.random.key(seed), 3)
        w = jax.random.normal(keys[0], (size, size))
        self.w = norm * w / jnp.linalg.norm(w, 2)
        self.u = jax.random.normal(keys[1], (size, inputs)) / np.sqrt(inputs)
        self.b = 0.1 * jax.random.normal(keys[2], (size,))

    def __call__(self, z, x):
        return jnp.tanh(self.w @ z + self.u @ x + self.b)


SOLVERS = {
    "Anderson": Anderson(),
    "Broyden": Broyden(),
    "FixedPoint": FixedPoint(),
    "NewtonKrylov": NewtonKrylov(),
    "Newton": optx.Newton(rtol=1e-2, atol=1e-2),
    "Dogleg": optx.Dogleg(rtol=1e-2, atol=1e-2),
    "Tsit5": dfx.Tsit5(),
    "Dopri8": dfx.Dopri8(),
}


def test_row_28_a_scalar_equilibrium_and_its_derivatives():
    deq = DEQ(lambda z, p: p[0] * z + p[1], shape=(), atol=1e-12)
    a, b = 0.5, 1.5
    p = jnp.array([a, b])
    assert float(deq(p)) == pytest.approx(b / (1 - a), rel=1e-10)
    expected = [b / (1 - a) ** 2, 1 / (1 - a)]
    np.testing.assert_allclose(jax.grad(deq)(p), expected, rtol=1e-10)
    np.testing.assert_allclose(jax.jacfwd(deq)(p), expected, rtol=1e-10)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("init", ["plain", "skip", "skip-reg"])
@pytest.mark.parametrize("regularised", [False, True])
def test_row_42_every_solver_from_every_start(name, init, regularised):
    cell = Cell(4, 4)
    start = {"plain": None, "skip": eqx.nn.Linear(4, 4, key=KEY), "skip-reg": "skip-reg"}[init]
    deq = DEQ(cell, SOLVERS[name], start, atol=1e-3, jacobian_regularization=regularised)
    x = jnp.array([0.5, -1.0, 2.0, 0.1])

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def loss(deq):
        z, info = deq(x, key=KEY, return_info=True)
        return jnp.sum(z**2) + 0.1 * info.jacobian_loss, info

    (_, info), gradient = loss(deq)
    assert bool(info.ok)
    assert float(jnp.max(jnp.abs(cell(info.z_star, x) - info.z_star))) <= 1e-3
    assert int(info.nfe) > 0
    assert (float(info.jacobian_loss) > 0) == regularised
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(eqx.filter(gradient, eqx.is_array)))
    assert float(jnp.max(jnp.abs(gradient.cell.w))) > 0


def test_fixed_depth_counts_its_evaluations():
    z, info = DEQ(Cell(4, 4))(jnp.ones(4), depth=10, return_info=True)
    assert int(info.nfe) == 10
    assert bool(info.ok)
    cell, expected = Cell(4, 4), jnp.zeros(4)
    for _ in range(10):
        expected = cell(expected, jnp.ones(4))
    np.testing.assert_allclose(z, expected, rtol=1e-12)


TIGHT = ("Anderson", "Broyden", "FixedPoint", "NewtonKrylov", "Newton", "Dogleg", "Tsit5")


@pytest.mark.parametrize("name", TIGHT)
@pytest.mark.parametrize("linear", [None, GMRES(rtol=1e-12)], ids=["LU", "GMRES"])
def test_implicit_gradients_equal_those_of_200_unrolled_iterations(name, linear):
    cell, x = Cell(5, 3), jnp.array([0.5, -1.0, 2.0])

    def loss(deq, x):
        return jnp.sum(jnp.sin(deq(x)) ** 2)

    tight = {"rtol": 1e-11, "atol": 1e-11, "max_steps": 4000, "shape": (5,)}
    implicit = DEQ(cell, SOLVERS[name], linear_solver=linear, **tight)
    unrolled = DEQ(cell, FixedPoint(), backward="unrolled", shape=(5,), max_steps=200)
    found = eqx.filter_jit(eqx.filter_grad(loss))(implicit, x)
    expected = eqx.filter_jit(eqx.filter_grad(loss))(unrolled, x)
    for ours, theirs in zip(jax.tree.leaves(found.cell), jax.tree.leaves(expected.cell), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_the_phantom_gradient_points_the_same_way():
    cell, x = Cell(5, 3, norm=0.3), jnp.array([0.5, -1.0, 2.0])

    def loss(deq):
        return jnp.sum(deq(x) ** 2)

    vectors = [
        ravel_pytree(eqx.filter_grad(loss)(DEQ(cell, shape=(5,), backward=way)).cell)[0]
        for way in ("implicit", "phantom")
    ]
    cosine = jnp.dot(*vectors) / jnp.prod(jnp.array([jnp.linalg.norm(v) for v in vectors]))
    assert float(cosine) > 0.98


def test_row_32_the_jacobian_loss_is_unbiased():
    cell, x = Cell(6, 6), jnp.ones(6)
    deq = DEQ(cell, jacobian_regularization=True)
    keys = jax.random.split(KEY, 4000)
    losses = eqx.filter_jit(jax.vmap(lambda key: deq(x, key=key, return_info=True)[1].jacobian_loss))(keys)
    z = deq(x)
    expected = jnp.sum(jax.jacfwd(lambda z: cell(z, x))(z) ** 2) / 6
    assert float(jnp.mean(losses)) == pytest.approx(float(expected), rel=0.05)
    with pytest.raises(sd.ModelError, match="key="):
        deq(x, return_info=True)


def test_one_lane_that_fails_harms_no_other():
    deq = DEQ(lambda z, x: x * z + 1, shape=(), atol=1e-6)
    z, info = eqx.filter_jit(jax.vmap(lambda x: deq(x, return_info=True)))(jnp.array([0.5, jnp.nan, -0.5]))
    np.testing.assert_array_equal(info.ok, [True, False, True])
    np.testing.assert_allclose(z[np.array([0, 2])], [2.0, 1 / 1.5], rtol=1e-5)


def test_a_search_that_fails_warns():
    with pytest.warns(sd.SymdeqWarning, match="no equilibrium"):
        _, info = DEQ(lambda z, x: z + x, FixedPoint(), max_steps=5)(jnp.ones(2), return_info=True)
    assert not bool(info.ok)


def linear(key, inputs, outputs, activation=jnp.tanh):
    layer = eqx.nn.Linear(inputs, outputs, key=key)
    return eqx.nn.Sequential([layer, eqx.nn.Lambda(activation)])


class Joined(eqx.Module):
    first: Any
    second: Any

    def __call__(self, z, x):
        return self.first(z) + self.second(x)


def scales():
    sizes = (4, 3, 2, 1)
    keys = iter(jax.random.split(KEY, 32))
    half = lambda v: 0.3 * jnp.tanh(v)  # noqa: E731
    main: Any = [Joined(linear(next(keys), 4, 4, half), linear(next(keys), 4, 4, half))]
    main += [linear(next(keys), n, n, half) for n in sizes[1:]]
    mapping: Any = [
        [None if i == j else linear(next(keys), a, b, half) for j, b in enumerate(sizes)] for i, a in enumerate(sizes)
    ]
    return main, mapping, tuple((n,) for n in sizes)


@pytest.mark.parametrize(
    "solver", [Anderson(), optx.Newton(rtol=1e-4, atol=1e-4), dfx.Tsit5()], ids=["Anderson", "Newton", "Tsit5"]
)
@pytest.mark.parametrize("init", [None, "skip-reg", "skip"])
def test_rows_38_and_39_several_scales(solver, init):
    main, mapping, shapes = scales()
    if init == "skip":
        starts = [eqx.nn.Linear(4, n, key=KEY) for (n,) in shapes]
        deq = MultiScaleSkipDEQ(main, mapping, None, starts, solver, shapes)
    elif init == "skip-reg":
        deq = MultiScaleSkipDEQ(main, mapping, None, None, solver, shapes)
    else:
        deq = MultiScaleDEQ(main, mapping, None, solver, shapes)
    xs = jax.random.uniform(KEY, (12, 4))
    z, info = eqx.filter_jit(jax.vmap(lambda x: deq(x, return_info=True)))(xs)
    assert [part.shape for part in z] == [(12, 4), (12, 3), (12, 2), (12, 1)]
    assert bool(jnp.all(info.ok))


def test_row_40_a_neural_ode_on_several_scales_against_diffrax():
    main, mapping, shapes = scales()
    fuse = [eqx.nn.Lambda(jnp.sin) for _ in main]
    node = MultiScaleNeuralODE(main, mapping, fuse, None, shapes, rtol=1e-8, atol=1e-8)
    x = jnp.array([0.1, 0.5, -0.3, 1.0])
    found = node(x)

    def rate(t, z, args):
        values = [main[0](z[0], x), *(layer(part) for layer, part in zip(main[1:], z[1:], strict=True))]
        sums = [sum(v if mapping[j][i] is None else mapping[j][i](v) for j, v in enumerate(values)) for i in range(4)]
        return tuple(jnp.sin(s) - part for s, part in zip(sums, z, strict=True))

    expected = dfx.diffeqsolve(
        dfx.ODETerm(rate), dfx.Dopri5(), 0.0, 1.0, 0.01, tuple(jnp.zeros(s) for s in shapes),
        stepsize_controller=dfx.PIDController(1e-10, 1e-10),
    ).ys  # fmt: skip
    assert expected is not None
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[0], rtol=1e-6, atol=1e-8)


def test_a_backward_solve_that_misses_its_tolerance_still_gives_a_gradient():
    """An orthogonal cell of 100 entries takes GMRES more vectors than the ten that it has."""
    rotation = jnp.linalg.qr(jax.random.normal(KEY, (100, 100)))[0]
    deq = DEQ(lambda z, x: 0.99 * rotation @ z + x, optx.Newton(rtol=1e-8, atol=1e-8), atol=1e-6)
    gradient = eqx.filter_jit(jax.grad(lambda x: jnp.sum(deq(x) ** 2)))(jnp.ones(100))
    assert bool(jnp.all(jnp.isfinite(gradient)))
    assert float(jnp.linalg.norm(gradient)) > 0


def test_what_is_no_equilibrium_layer_is_refused():
    for build, part in (
        (lambda: DEQ(3.0), "a cell"),
        (lambda: DEQ(Cell(2, 2), "newton"), "does not find equilibria"),
        (lambda: DEQ(Cell(2, 2), init="skip"), "init must be"),
        (lambda: DEQ(Cell(2, 2), backward="exact"), "backward must be"),  # pyright: ignore[reportArgumentType]
        (lambda: DEQ(Cell(2, 2), rtol=-1.0), "rtol"),
        (lambda: DEQ(Cell(5, 3))(jnp.ones(3)), "init="),
        (lambda: DEQ(lambda z, x: z[:1])(jnp.ones(3)), "returns"),
        (lambda: DEQ(Cell(2, 2))(jnp.ones(2), depth=0), "depth"),
        (lambda: MultiScaleDEQ([Cell(2, 2)], [], None, None, [(2,)]), "mappings"),
    ):
        with pytest.raises(sd.ModelError) as caught:
            build()
        assert part in str(caught.value)


def test_a_lane_without_an_equilibrium_spoils_no_gradient_of_its_batch():
    """z = a z + x: for |a| < 1 the gradient of z by a is x / (1 - a)², for a > 1 a search of z = a z + x with few plain
    steps ends nowhere, and counts with the cell's own derivative, which is z."""
    deq = DEQ(lambda z, p: p[0] * z + p[1], FixedPoint(atol=1e-6), shape=(), max_steps=100)
    lanes = jnp.array([[0.5, 1.0], [1.5, 1.0], [-0.5, 2.0]])
    z, info = jax.vmap(lambda p: deq(p, return_info=True))(lanes)
    np.testing.assert_array_equal(info.ok, [True, False, True])
    slopes = jax.vmap(jax.grad(deq))(lanes)
    np.testing.assert_allclose(slopes[0], [4.0, 2.0], rtol=1e-5)
    np.testing.assert_allclose(slopes[1], [z[1], 1.0], rtol=1e-6)
    np.testing.assert_allclose(slopes[2], [2 / 1.5**2, 1 / 1.5], rtol=1e-5)


class Parallel(eqx.Module):
    """The sum of a layer of z and a layer of x."""

    of_z: eqx.nn.Linear
    of_x: eqx.nn.Linear

    def __call__(self, z, x):
        return self.of_z(z) + self.of_x(x)


def parallel(size: int = 2) -> Parallel:
    first, second = jax.random.split(jax.random.key(3))
    made = Parallel(
        eqx.nn.Linear(size, size, use_bias=False, key=first), eqx.nn.Linear(size, size, use_bias=False, key=second)
    )
    return eqx.tree_at(lambda c: c.of_z.weight, made, 0.5 * made.of_z.weight)


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_36_and_41_two_layers_without_bias_on_ones(name):
    cell = parallel()
    z = DEQ(cell, SOLVERS[name], atol=1e-6, max_steps=None if name in ("Tsit5", "Dopri8") else 200)(jnp.ones(2))
    expected = jnp.linalg.solve(jnp.eye(2) - cell.of_z.weight, cell.of_x.weight @ jnp.ones(2))
    assert z.shape == (2,)
    np.testing.assert_allclose(z, expected, atol=1e-5)


def test_rows_29_to_31_34_and_35_defaults_starts_and_the_record():
    cell, x = parallel(), jnp.ones(2)
    deq = DEQ(cell)
    assert (type(deq.solver), deq.tolerances) == (Anderson, (0.0, 1e-3))
    for start, expected in ((None, jnp.zeros(2)), ("skip-reg", cell(jnp.zeros(2), x)), (cell.of_x, cell.of_x(x))):
        z, info = DEQ(cell, init=start)(x, return_info=True)
        np.testing.assert_array_equal(info.u0, expected)
        np.testing.assert_array_equal(info.z_star, z)
        np.testing.assert_array_equal(info.residual, cell(z, x) - z)
        assert float(info.jacobian_loss) == 0.0
        assert int(info.nfe) == int(info.original.stats["num_steps"]) <= 32
    few = DEQ(cell, FixedPoint(), atol=1e-12, max_steps=3)
    with pytest.warns(sd.SymdeqWarning):
        assert int(few(x, return_info=True)[1].nfe) == 3  # what is asked of the solver reaches it
    # A loss may use the record: the distance of the start from the end.
    gradient = eqx.filter_grad(lambda d: jnp.sum((lambda i: (i.z_star - i.u0) ** 2)(d(x, return_info=True)[1])))(
        SkipDEQ(cell, eqx.nn.Linear(2, 2, key=KEY))
    )
    assert float(jnp.max(jnp.abs(gradient.init.weight))) > 0


@pytest.mark.parametrize(
    "linear", [None, GMRES(rtol=1e-3, max_steps=10), GMRES(rtol=1e-10, max_steps=40)], ids=["default", "loose", "tight"]
)
def test_row_37_the_linear_solver_of_the_derivative_is_a_choice(linear):
    """80 numbers, so that the default is GMRES; against dense matrices."""
    cell, x = Cell(80, 3), jnp.array([0.5, -1.0, 2.0])
    deq = DEQ(cell, shape=(80,), atol=1e-10, max_steps=200, linear_solver=linear)
    slope = jax.grad(lambda x: jnp.sum(deq(x) ** 2))(x)
    z = deq(x)
    by_z, by_x = jax.jacfwd(cell, argnums=(0, 1))(z, x)
    expected = 2 * z @ jnp.linalg.solve(jnp.eye(80) - by_z, by_x)
    np.testing.assert_allclose(slope, expected, rtol=1e-8 if linear is not None and linear.max_steps == 40 else 5e-3)


def test_memory_of_the_backward_pass_does_not_grow_with_the_steps():
    cell, x = Cell(30, 30), jnp.ones(30)

    def memory(steps: int) -> int:
        deq = DEQ(cell, FixedPoint(atol=1e-12), max_steps=steps)
        analysis = eqx.filter_jit(eqx.filter_grad(lambda d: jnp.sum(d(x)))).lower(deq).compile()
        return analysis.compiled.memory_analysis().temp_size_in_bytes

    assert memory(10) == memory(1000)


def test_the_trajectory_on_request():
    """z' = a z + x - z from 0 is x (1 - exp((a - 1) t)) / (1 - a)."""
    deq = DEQ(lambda z, x: 0.5 * z + x, dfx.Tsit5(), atol=1e-8)
    ts = jnp.linspace(0, 40, 9)
    way = deq.trajectory(jnp.array([1.0, -2.0]), ts)
    assert way.shape == (9, 2)
    expected = 2 * (1 - jnp.exp(-0.5 * ts))
    np.testing.assert_allclose(way, jnp.stack([expected, -2 * expected], axis=1), atol=1e-6)
    np.testing.assert_allclose(way[-1], deq(jnp.array([1.0, -2.0])), atol=1e-6)
    with pytest.raises(sd.ModelError, match="in order"):
        deq.trajectory(jnp.ones(2), jnp.array([1.0, 0.5]))
