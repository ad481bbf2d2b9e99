"""`SteadyState`: values at rest, any quantity of the model from them, sensitivities, and stability."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array
from numpy.typing import NDArray
from scipy.linalg import null_space

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.solve.rest import Known, Rest, attached, conserved

# An eigenvalue this small beside the largest is zero to rounding.
_ZERO = 1e-9


class SteadyState(eqx.Module):
    """What `steady_state` returns; a PyTree, so that it may leave a jitted or vmapped function.

    - `y`: the state, shape (states,), in the order of `model.states`.
    - `rates`: the right-hand sides there, shape (states,).
    """

    y: Array
    rates: Array
    found: Array
    rest: Rest
    known: Known

    @property
    def model(self) -> Model:
        """The model with the values that it was found for."""
        return self.rest.model

    @property
    def is_traced(self) -> bool:
        return isinstance(self.y, Tracer)

    @property
    def ok(self) -> Any:
        """Whether a steady state was found: a `bool`; an array in `jax.jit`, and from `jax.vmap`."""
        return self.found if isinstance(self.found, Tracer) or self.found.ndim else bool(self.found)

    @property
    def stats(self) -> dict[str, Array]:
        """`num_steps` of the search and `nfe`, its evaluations of the right-hand sides."""
        return {"num_steps": self.known.num_steps, "nfe": self.known.nfe}

    @property
    def residual(self) -> Array:
        """The largest modulus of a rate of change."""
        return jnp.max(jnp.abs(self.rates), axis=-1, initial=0.0)

    def __getitem__(self, quantity: Any) -> Array:
        """The value of a quantity at rest, a scalar, or shape (n,) for a vector.

        Arguments:

        - `quantity`: as in `solution[...]`: a symbol, a name, or any expression of them.

        Raises `ModelError` for a symbol that the model does not have.
        """
        return self.model.evaluate([quantity], jnp.zeros(1, self.y.dtype), self.y[..., None, :])[0][..., 0]

    def sensitivities(
        self,
        quantities: Sequence[Any] | None = None,
        parameters: Sequence[Any] | None = None,
        *,
        relative: bool = False,
    ) -> Array:
        """The derivatives of quantities at rest by parameters, shape (quantities, parameters).

        Arguments:

        - `quantities`: symbols, names or expressions; default all states.
        - `parameters`: parameters, or states whose initial values decide a conserved total; default all parameters.
        - `relative`: d log(quantity) / d log(parameter) instead, the response coefficients of control analysis; default
            `False`.

        Raises `ModelError` for what the model does not have, and outside `jax.jit` where the state is one of a
        continuum and has no derivative.
        """
        model = self.model
        quantities = list(model.states) if quantities is None else list(quantities)
        parameters = list(model.parameters) if parameters is None else list(parameters)
        for name in parameters:
            if model.position(name)[0] not in ("parameter", "state"):
                raise ModelError(f"`{name}` is neither a parameter nor an initial value.")
        if not self.is_traced and not bool(np.all(self.known.isolated)):
            raise ModelError(
                "The steady state is one of a continuum, and has no derivative.",
                remedy="fix what the equations leave open by an equation of its own",
            )
        now = jnp.stack([_value(model, name) for name in parameters])
        return _sensitivities(self, tuple(quantities), tuple(parameters), now, relative)

    @property
    def eigenvalues(self) -> NDArray[np.complex128]:
        """The eigenvalues of the equation linearised at rest, by falling real part, complex, in 1 / time.

        As many as the state has directions in which it can move: algebraic equations are solved for their unknowns,
        and conserved totals stay as they are. Not inside `jax.jit` or on batches.
        """
        self._check_single("eigenvalues")
        rest = self.rest
        j = np.asarray(_jacobian(rest, self.y))
        mass = np.array(rest.model.generated.mass, dtype=bool)
        own, other = np.flatnonzero(mass), np.flatnonzero(~mass)
        reduced = j[np.ix_(own, own)]
        if other.size:
            inner = np.linalg.lstsq(j[np.ix_(other, other)], j[np.ix_(other, own)], rcond=None)[0]
            reduced = reduced - j[np.ix_(own, other)] @ inner
        _, laws = conserved(rest.model.compiled)
        free = null_space(laws[:, own]) if len(laws) else np.eye(len(own))
        values = np.linalg.eigvals(free.T @ reduced @ free).astype(np.complex128)
        return values[np.argsort(-values.real, kind="stable")]

    @property
    def stable(self) -> bool:
        """Whether small deviations die out: all eigenvalues have negative real parts."""
        values = self.eigenvalues
        return bool(np.all(values.real < -_ZERO * np.max(np.abs(values), initial=0.0)))

    @property
    def failure(self) -> str:
        """Why no steady state was found; `""` if one was. Not inside `jax.jit`."""
        from symdeq.solve.steady_report import failure

        return failure(self)

    def plot(self, quantities: Sequence[Any] | None = None) -> Any:
        """Draw the values at rest beside the start, and the eigenvalues in the complex plane.

        Arguments:

        - `quantities`: states or expressions; default all states.

        Returns the two matplotlib axes. Raises `MissingExtraError` without matplotlib.
        """
        from symdeq.solve.steady_report import plot

        self._check_single("plot")
        return plot(self, quantities)

    def __repr__(self) -> str:
        from symdeq.solve.steady_report import report

        name = self.model.system.name
        if self.is_traced:
            return f"SteadyState of `{name}` (traced)"
        if self.y.ndim > 1:
            return f"SteadyStates of `{name}`: a batch of shape {self.y.shape[:-1]}"
        return report(self)

    __str__ = __repr__

    def _check_single(self, what: str) -> None:
        if self.is_traced or self.y.ndim > 1:
            raise ModelError(
                f"{what} of a steady state needs a single one, outside of jax.jit.",
                remedy="take one of a batch: jax.tree.map(lambda leaf: leaf[i], found)",
            )


@eqx.filter_jit
def _jacobian(rest: Rest, y: Array) -> Array:
    return rest.model.functions.jacobian_dense(jnp.zeros((), y.dtype), y, rest.model.args)


@eqx.filter_jit
def _sensitivities(found: SteadyState, quantities: Any, parameters: Any, now: Array, relative: bool) -> Array:
    rest = found.rest

    def values(v: Array) -> Array:
        changes = dict(zip(parameters, v, strict=True))
        model = rest.model.replace(changes)
        y = attached(dataclasses.replace(rest, model=model), found.y, found.known.isolated)
        return jnp.stack([q[0] for q in model.evaluate(quantities, jnp.zeros(1, y.dtype), y[None])])

    slopes = jax.jacfwd(values)(now)
    return slopes * now / values(now)[:, None] if relative else slopes


def _value(model: Model, name: Any) -> Array:
    kind, i = model.position(name)
    return model.values[i] if kind == "parameter" else model.initial_state()[model.place(i)]
