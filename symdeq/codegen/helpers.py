"""Small functions that a generated module defines for itself: right in value and derivative where JAX has none."""

from __future__ import annotations

from collections.abc import Mapping

HELPERS: Mapping[str, str] = {
    "arccot": '''\
def arccot(x):
    """The inverse cotangent with values in (-pi/2, pi/2], pi/2 at 0."""
    return jnp.where(x < 0, -1.0, 1.0) * jnp.arctan2(1.0, jnp.abs(x))''',
    "sinc": '''\
def sinc(x):
    """sin(x) / x, 1 at 0."""
    apart = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 1.0 - x**2 / 6, jnp.sin(apart) / apart)''',
    "sinc_derivative": '''\
def sinc_derivative(x):
    """The derivative of sin(x) / x, by its series where the formula cancels."""
    near = jnp.abs(x) < 0.5
    apart, square = jnp.where(near, 1.0, x), jnp.where(near, x, 0.0) ** 2
    terms = 1 - square / 10 * (1 - square / 28 * (1 - square / 54 * (1 - square / 88 * (1 - square / 130))))
    return jnp.where(near, -x / 3 * terms, (jnp.cos(apart) - jnp.sin(apart) / apart) / apart)''',
    "half_power": '''\
def half_power(x, whole):
    """x to the power of a whole number from 1 on and a half; so is its derivative at 0."""
    apart = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 0.0, x**whole * jnp.sqrt(apart))''',
    "log_or_zero": '''\
def log_or_zero(x):
    """log(x), 0 at 0."""
    return jnp.log(jnp.where(x == 0, 1.0, x))''',
    "i1_derivative": '''\
def i1_derivative(x):
    """The derivative of the modified Bessel function of order one, 1/2 at 0."""
    near = jnp.abs(x) < 1e-3
    apart = jnp.where(near, 1.0, x)
    return jnp.where(near, 0.5 + 3 * x**2 / 16, special.i0(apart) - special.i1(apart) / apart)''',
    "zeta_derivative": '''\
def zeta_derivative(s, q):
    """The derivative of the Hurwitz zeta function with respect to its first argument."""
    s = jnp.asarray(s, jnp.result_type(s, float))
    return jax.jvp(lambda order: special.zeta(order, q), (s,), (jnp.ones_like(s),))[1]''',
    "network_outputs": '''\
def network_outputs(network, *inputs):
    """All outputs of a network at inputs strung together, shape (outputs,)."""
    dtype = jnp.result_type(*inputs)
    return jnp.ravel(network(jnp.concatenate([jnp.ravel(jnp.asarray(x, dtype)) for x in inputs])))''',
    "network_slopes": '''\
def network_slopes(network, order, *inputs):
    """The derivatives of the outputs of a network by its inputs, shape (outputs, inputs), and (..., inputs) beyond."""
    dtype = jnp.result_type(*inputs)
    derivative = lambda x: jnp.ravel(network(x))
    for _ in range(order):
        derivative = jax.jacfwd(derivative)
    return derivative(jnp.concatenate([jnp.ravel(jnp.asarray(x, dtype)) for x in inputs]))''',
    "strung": '''\
def strung(*parts):
    """An array of values and how many numbers each is."""
    return jnp.concatenate([jnp.broadcast_to(jnp.asarray(value), (size,)) for value, size in parts])''',
    "row_sums": '''\
def row_sums(values, rows, count):
    """The sums of the values of each row."""
    return jnp.zeros(count, values.dtype).at[rows].add(values, mode="promise_in_bounds")''',
}

# The same on NumPy, where the text of a helper is not enough.
ON_HOST: Mapping[str, str] = {
    "row_sums": '''\
def row_sums(values, rows, count):
    """The sums of the values of each row."""
    return jnp.bincount(rows, values, count)''',
}
