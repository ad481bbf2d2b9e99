"""`NeuralODE` against hand-written diffrax and closed forms; rows 16, 18, 19 and 21 of the acceptance table."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import symdeq as sd
from symdeq import D, Eq
from symdeq.model import Neural
from symdeq.nn import MultipleShooting, NeuralODE, ODELayer, roughness, train

KEY = jax.random.key(0)
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
U0 = np.array([2.0, 0.0])


def tanh_network(inputs: Any = 2, outputs: Any = 2, width=50, dtype=None, key=KEY):
    return eqx.nn.MLP(inputs, outputs, width, 1, activation=jnp.tanh, key=key, dtype=dtype)


class Cubed(eqx.Module):
    """Row 19: u -> network(u**3)."""

    inner: eqx.nn.MLP
    in_size: int = eqx.field(static=True, default=2)

    def __call__(self, u):
        return self.inner(u**3)


def by_hand(network, u0, ts, rtol, atol) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(lambda t, u, net: net(u)), dfx.Tsit5(), 0.0, ts[-1], None, u0, network, saveat=dfx.SaveAt(ts=ts),
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol), max_steps=256,
    ).ys  # fmt: skip


@pytest.fixture(scope="module")
def spiral():
    """Row 18: u' = A^T u^3 from (2, 0), 30 points on 0..1.5."""
    u, v = sd.states(u=2.0, v=0.0)
    rates = A.T @ np.array([u**3, v**3])
    model = sd.compile(sd.System([Eq(D(u), rates[0]), Eq(D(v), rates[1])], name="spiral"))
    ts = np.linspace(0.0, 1.5, 30)
    return ts, sd.solve(model, saveat=ts, rtol=1e-10, atol=1e-12).ys


def test_row_16_one_constructor_in_single_precision():
    node = NeuralODE(tanh_network(dtype=jnp.float32), t1=25.0, saveat=0.1)
    values = node(U0)
    assert values.shape == (251, 2)
    assert values.dtype == jnp.float32
    exact = by_hand(tanh_network(dtype=jnp.float32), jnp.asarray(U0, jnp.float32), jnp.linspace(0, 25, 251), 1e-5, 1e-6)
    np.testing.assert_allclose(values, exact, atol=1e-2)
    assert str(node) == "NeuralODE of MLP: 2 -> 2, t = 0 to 25, 251 times"
    gradient = eqx.filter_grad(lambda node: jnp.sum(node(U0)))(node)
    assert gradient.network.layers[0].weight.dtype == jnp.float32


def test_row_18_spiral_data(spiral):
    _, values = spiral
    np.testing.assert_allclose(values[-1], [1.291992, 0.972586], atol=1e-6)


def test_row_19_loss_and_gradient_are_those_of_diffrax_by_hand(spiral):
    ts, values = spiral
    network = Cubed(tanh_network())
    node = NeuralODE(network, saveat=ts, rtol=1e-10, atol=1e-12, max_steps=256)
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda n: jnp.sum((n(U0) - values) ** 2)))(node)
    exact, expected = eqx.filter_jit(
        eqx.filter_value_and_grad(lambda n: jnp.sum((by_hand(n, jnp.asarray(U0), ts, 1e-10, 1e-12) - values) ** 2))
    )(network)
    assert float(value) == pytest.approx(float(exact), rel=1e-8)
    for found, wanted in zip(jax.tree.leaves(gradient.network), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * float(jnp.max(jnp.abs(wanted))))


def test_row_19_trains_with_one_compilation_and_from_another_start(spiral):
    ts, values = spiral
    node = NeuralODE(Cubed(tanh_network()), saveat=ts, rtol=1e-7, atol=1e-9, max_steps=512)
    traced = 0

    def loss(node, data):
        nonlocal traced
        traced += 1
        return jnp.sum((node(U0) - data) ** 2)

    training = train(node, loss, values, steps=150, optimiser=optax.adam(0.1), progress=False)
    assert traced == 1
    assert training.losses[-1] < training.losses[0] / 10
    assert training.module(np.array([1.5, 0.5])).shape == (30, 2)  # another start needs nothing new


def test_row_20_uneven_times():
    ts = np.array([0.0, 0.01, 0.5, 0.51, 3.0])
    values = NeuralODE(tanh_network(), saveat=ts, rtol=1e-10, atol=1e-10)(U0)
    np.testing.assert_allclose(
        values, by_hand(tanh_network(), jnp.asarray(U0), jnp.asarray(ts), 1e-10, 1e-10), atol=1e-8
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("t1", "steps"), [(1.0, 8), (4.0, 16), (0.25, 32)])
def test_row_21_euler_is_the_residual_network_to_the_last_bit(dtype, t1, steps):
    """With steps that are powers of two, whose sums are exact; a rounded time would change the last bits of a step."""
    network = tanh_network(dtype=dtype)
    node = NeuralODE(network, t1=t1, solver=dfx.Euler(), max_steps=steps)

    def block(y):
        return y + (t1 / steps) * network(y)

    u0 = jnp.asarray(U0, dtype)
    assert int(node.solve(u0).stats["num_steps"]) == steps
    # The stack as one loop, as the solver runs it. Layer by layer XLA may add up the products in another order.
    np.testing.assert_array_equal(
        node(u0), jax.jit(lambda y: jax.lax.fori_loop(0, steps, lambda _, y: block(y), y))(u0)
    )
    y = u0
    for _ in range(steps):
        y = block(y)
    np.testing.assert_allclose(node(u0), y, rtol=float(32 * jnp.finfo(dtype).eps))


def test_batches_and_a_linear_network_as_by_the_matrix_exponential():
    linear = eqx.nn.Linear(2, 2, use_bias=False, key=KEY)
    linear = eqx.tree_at(lambda layer: layer.weight, linear, jnp.asarray(A))
    node = NeuralODE(linear, t1=1.5, size=2, rtol=1e-10, atol=1e-10)
    u0s = jnp.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]])
    expected = u0s @ jax.scipy.linalg.expm(1.5 * A).T
    np.testing.assert_allclose(jax.jit(jax.vmap(node))(u0s), expected, rtol=1e-8, atol=1e-10)

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(node):
        return jnp.sum(jax.vmap(node)(u0s) ** 2)

    exact = jax.grad(lambda w: jnp.sum((u0s @ jax.scipy.linalg.expm(1.5 * w).T) ** 2))(jnp.asarray(A))
    np.testing.assert_allclose(slope(node).network.weight, exact, rtol=1e-6)


def test_time_is_the_last_input():
    class Driven(eqx.Module):
        """u' = k t u: u = u0 exp(k t^2 / 2)."""

        k: jax.Array
        in_size: int = eqx.field(static=True, default=3)

        def __call__(self, u):
            return self.k * u[-1] * u[:-1]

    node = NeuralODE(Driven(jnp.array(0.3)), t1=2.0, time=True, rtol=1e-10, atol=1e-10)
    assert node.in_size == node.out_size == 2
    np.testing.assert_allclose(node(U0), U0 * np.exp(0.6), rtol=1e-8)
    np.testing.assert_allclose(node(U0, t0=1.0), U0 * np.exp(0.45), rtol=1e-8)


def test_augmented_entries_start_at_zero_and_are_returned():
    network = tanh_network(5, 5)
    node = NeuralODE(network, t1=1.0, augment=3, rtol=1e-9, atol=1e-9)
    assert (node.in_size, node.out_size) == (2, 5)
    padded = jnp.concatenate([jnp.asarray(U0), jnp.zeros(3)])
    np.testing.assert_allclose(node(U0), by_hand(network, padded, jnp.array([0.5, 1.0]), 1e-9, 1e-9)[-1], atol=1e-7)


def test_the_density_of_a_linear_flow():
    """u' = A u carries the density by exp(-t1 tr A), whatever u; and for one network by the Jacobian of the flow."""
    linear = eqx.tree_at(lambda m: m.weight, eqx.nn.Linear(2, 2, use_bias=False, key=KEY), jnp.asarray(A))
    for trace in ("exact", "hutchinson"):
        node = NeuralODE(linear, t1=1.5, size=2, trace=trace, rtol=1e-10, atol=1e-10)
        *u, change = node(U0, key=jax.random.key(3))
        np.testing.assert_allclose(u, jax.scipy.linalg.expm(1.5 * A) @ U0, rtol=1e-8, atol=1e-9)
        if trace == "exact":
            assert float(change) == pytest.approx(-1.5 * np.trace(A), rel=1e-8)
    # A is antisymmetric apart from its diagonal, so that the probe does not matter either
    assert float(change) == pytest.approx(-1.5 * np.trace(A), rel=1e-8)


def test_the_density_of_a_nonlinear_flow_is_the_jacobian_of_its_map():
    network = tanh_network(3, 3, 16)
    settings = {"t1": 1.0, "rtol": 1e-9, "atol": 1e-9, "max_steps": 256}
    u0 = jnp.array([0.5, -1.0, 0.3])
    flow = jax.jacfwd(NeuralODE(network, adjoint=dfx.ForwardMode(), **settings))(u0)
    expected = -np.linalg.slogdet(flow)[1]
    exact = NeuralODE(network, trace="exact", **settings)
    assert float(exact(u0)[-1]) == pytest.approx(expected, abs=1e-7)
    estimate = NeuralODE(network, trace="hutchinson", **settings)
    keys = jax.random.split(KEY, 64)
    drawn = jax.jit(jax.vmap(lambda key: estimate(u0, key=key)[-1]))(keys)
    assert float(jnp.std(drawn)) > 0
    assert abs(float(jnp.mean(drawn)) - expected) < 4 * float(jnp.std(drawn)) / 8
    gradient = eqx.filter_jit(eqx.filter_grad(lambda node: node(u0, key=keys[0])[-1]))(estimate)
    assert float(jnp.abs(gradient.layer.model.networks[0].probe).max()) == 0
    by_weights = eqx.filter_jit(eqx.filter_grad(lambda node: node(u0)[-1]))(exact)
    assert float(jnp.abs(by_weights.network.layers[0].weight).max()) > 0
    with pytest.raises(sd.ModelError, match="needs a key"):
        estimate(u0)


def test_penalised_roughness_saves_steps(spiral):
    ts, values = spiral
    node = NeuralODE(tanh_network(), saveat=ts, rtol=1e-7, atol=1e-9, max_steps=256)

    def loss(node, weight):
        solution = node.solve(U0)
        return jnp.mean((node.read(solution) - values) ** 2) + weight * roughness(solution, 2)

    optimiser = optax.adam(0.02)
    steps = {}
    for weight in (0.0, 0.01):
        trained = train(node, loss, weight, steps=200, optimiser=optimiser, progress=False).module
        steps[weight] = int(trained.solve(U0).stats["num_steps"])
    assert steps[0.01] < steps[0.0]


def test_multiple_shooting_of_a_network(spiral):
    ts, values = spiral
    node = NeuralODE(Cubed(tanh_network()), saveat=ts, max_steps=128)
    shooting = MultipleShooting(node, ts, segments=5, guess=np.asarray(values))
    training = train(shooting, lambda s: s.loss(values), steps=60, optimiser=optax.adam(0.02), progress=False)
    assert training.losses[-1] < training.losses[0] / 5
    assert isinstance(training.module.layer, NeuralODE)


def test_a_network_in_part_of_an_equation_is_trained_with_the_parameters():
    """A universal differential equation: the missing term of Lotka-Volterra is learned from its trajectory."""
    x, y = sd.states(x=1.0, y=1.0)
    a, c = sd.parameters(a=1.5, c=3.0)
    net = Neural("net", tanh_network(2, 2, 8))
    model = sd.compile(sd.System([Eq(D(x), a * x - net(x, y)[0]), Eq(D(y), -c * y + net(x, y)[1])], name="universal"))
    ts = np.linspace(0.0, 1.0, 11)
    lv = sd.compile(sd.System([Eq(D(x), a * x - x * y), Eq(D(y), -c * y + x * y)], name="lv"))
    values = sd.solve(lv, saveat=ts).ys
    layer = ODELayer(model, inputs=[], outputs=[x, y], saveat=ts, max_steps=128)
    training = train(
        layer, lambda m: jnp.sum((m() - values) ** 2), steps=100, optimiser=optax.adam(0.02), progress=False
    )
    assert training.losses[-1] < training.losses[0] / 100


NOTHING: Any = "full"
WRONG: list[Any] = [
    (lambda: NeuralODE(3, t1=1.0), "needs a network"),
    (lambda: NeuralODE(jnp.tanh, t1=1.0), "size=2"),
    (lambda: NeuralODE(tanh_network(), t1=1.0, size=3), "takes 2 entries, but it will be called with 3"),
    (lambda: NeuralODE(tanh_network(3, 2), t1=1.0), r"returns shape \(2,\), and u has 3"),
    (lambda: NeuralODE(tanh_network("scalar", "scalar"), t1=1.0), "network of vectors"),
    (lambda: NeuralODE(tanh_network(), t1=1.0, augment=-1), "augment must be"),
    (lambda: NeuralODE(tanh_network(), t1=1.0, augment=2), "size must be"),
    (lambda: NeuralODE(tanh_network(), t1=1.0, trace=NOTHING), "trace must be"),
    (lambda: NeuralODE(tanh_network()), "needs t1"),
    (lambda: NeuralODE(tanh_network(), t1=1.0)(np.ones(3)), r"shape \(3,\); this NeuralODE takes \(2,\)"),
    (lambda: NeuralODE(tanh_network(), t1=1.0)("u0"), "vector of 2 numbers"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_right_is_refused(wrong, message):
    with pytest.raises(sd.ModelError, match=message):
        wrong()
