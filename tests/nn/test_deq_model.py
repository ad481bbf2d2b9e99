"""A symbolic model as an equilibrium layer, against the same model as an ODE layer and closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix as optx
import pytest

import symdeq as sd
from symdeq import D, Eq


def switch():
    """Two genes that repress each other, one of them driven: x' = a / (1 + y²) - x, y' = b / (1 + x²) - y."""
    x, y = sd.states(x=1.0, y=0.1)
    a, b = sd.parameters(a=2.0, b=1.0)
    equations = [Eq(D(x), a / (1 + y**2) - x), Eq(D(y), b / (1 + x**2) - y)]
    return sd.compile(sd.System(equations, name="switch")), (x, y, a, b)


@pytest.mark.parametrize(
    "solver", [None, optx.Newton(1e-9, 1e-9), sd.Broyden(atol=1e-10)], ids=["auto", "Newton", "Broyden"]
)
def test_the_same_model_by_root_finding_and_by_integration(solver):
    model, (x, y, a, b) = switch()
    layer = sd.ODELayer(model, inputs=[a, b], outputs=[x, x * y], t1=60.0, rtol=1e-10, atol=1e-12)
    deq = sd.DEQ(model, solver, inputs=[a, b], outputs=[x, x * y], max_steps=100)
    at = jnp.array([2.0, 1.0])
    np.testing.assert_allclose(deq(at), layer(at), rtol=1e-7)
    np.testing.assert_allclose(jax.jacrev(deq)(at), jax.jacrev(layer)(at), rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(deq)(at), jax.jacrev(deq)(at), rtol=1e-8)


def test_batches_records_and_warm_starts():
    model, _ = switch()
    deq = sd.DEQ(model, inputs=["a"], outputs=["x", "y"])
    values = jnp.linspace(1.0, 3.0, 5)[:, None]
    z, info = eqx.filter_jit(jax.vmap(lambda v: deq(v, return_info=True)))(values)
    assert z.shape == (5, 2)
    assert bool(jnp.all(info.ok))
    np.testing.assert_allclose(z[:, 0], values[:, 0] / (1 + z[:, 1] ** 2), rtol=1e-9)
    _, cold = deq(values[0], return_info=True)
    _, warm = deq(values[0] + 1e-3, z0=cold.z_star, return_info=True)
    assert int(warm.nfe) < int(cold.nfe)
    assert float(jnp.max(jnp.abs(warm.residual))) < 1e-9
    assert "switch" in repr(deq)
    assert warm.original.stable


def test_it_trains_a_parameter():
    """The b that makes x be 1.5 at rest for a = 2, in closed form: y = sqrt(a / x - 1), b = y (1 + x²)."""
    model, (x, _, a, b) = switch()
    deq = sd.DEQ(model, inputs=[a], outputs=[x])
    trained = sd.train(
        deq,
        lambda deq: jnp.sum((deq(jnp.array([2.0])) - 1.5) ** 2),
        steps=250,
        optimiser=optax.adam(0.05),
        progress=False,
    )
    expected = np.sqrt(2 / 1.5 - 1) * (1 + 1.5**2)
    assert float(trained.module.cell.model[b]) == pytest.approx(expected, rel=1e-3)


def test_the_door():
    model, (x, _, a, _) = switch()
    for build, part in (
        (lambda: sd.DEQ(model), "inputs=\\[k\\]"),
        (lambda: sd.DEQ(model, inputs=["q"], outputs=["x"]), "q"),
        (lambda: sd.DEQ(model, sd.Anderson(), inputs=[a], outputs=[x])(jnp.ones(1)), "finds no steady state"),
        (lambda: sd.DEQ(model, inputs=[a], outputs=[x], backward="phantom"), "backward"),
        (lambda: sd.DEQ(model, inputs=[a], outputs=[x], jacobian_regularization=True), "Jacobian"),
        (lambda: sd.DEQ(model, inputs=[a], outputs=[x])(jnp.ones(1), depth=3), "depth"),
        (lambda: sd.DEQ(model, inputs=[a], outputs=[x])(jnp.ones(2)), "shape"),
        (lambda: sd.DEQ(lambda z, x: z, inputs=[a]), "over a model"),
    ):
        with pytest.raises(sd.ModelError, match=part):
            build()
