"""The steady state of a symbolic model as an equilibrium layer: what `DEQ` is over a `Model`."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.model import ModelSymbol
from symdeq.nn import door
from symdeq.solve import SteadyState
from symdeq.solve.steady import asked, settle


class RestCell(eqx.Module):
    """A model whose steady state is wanted: a vector goes in as parameters and initial values, values at rest come out.

    Arguments:

    - `model`: from `compile`, independent of t.
    - `inputs`, `outputs`: as in `ODELayer`.
    """

    model: Model
    inputs: tuple[ModelSymbol, ...] = eqx.field(static=True)
    outputs: tuple[Any, ...] = eqx.field(static=True)

    def __init__(self, model: Model, inputs: Any, outputs: Any):
        if inputs is None or outputs is None:
            raise ModelError(
                "A DEQ over a model needs to know what goes in and what comes out.",
                remedy="sd.DEQ(model, inputs=[k], outputs=[x])",
            )
        self.model = model
        self.inputs = door.checked_inputs(model, inputs)
        self.outputs = door.checked_outputs(model, outputs)
        asked(model)  # a model that has no steady state is refused here, and not at the first call

    def settled(self, x: Any, guess: Any, **settings: Any) -> SteadyState:
        """The steady state for one vector, searched for from `guess` where that is given."""
        return settle(asked(door.fed(self.model, self.inputs, x), guess=guess, **settings))

    def read(self, found: SteadyState) -> Array:
        """The outputs, shape (outputs,); NaN where there is no steady state."""
        columns = [jnp.ravel(found[output]) for output in self.outputs]
        return jnp.where(jnp.asarray(found.ok), jnp.concatenate(columns), jnp.nan)
