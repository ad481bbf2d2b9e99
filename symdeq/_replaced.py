"""New values at the door of a model: a number for a parameter, numbers for a state, a network of equal structure."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq._values import as_array, concrete


def new_value(value: Any, name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
    """A new value of a symbol; one number for all elements of a vector is right as well."""
    try:
        array = as_array(value, dtype)
    except (TypeError, ValueError):
        raise ModelError(f"The value of `{name}` must be a number, not {value!r}.", remedy="give a number") from None
    if array.shape not in ((), shape):
        raise ModelError(
            f"The value of `{name}` must be one number{f' or {shape[0]}' if shape else ''}, but has the shape "
            f"{array.shape}.",
            remedy="batches are jax.vmap(lambda v: sd.solve(model.replace({...: v}), ...))(values)",
        )
    if concrete(array) and not np.isfinite(array).all():
        raise ModelError(f"The value of `{name}` must be finite, not {value}.", remedy="give a finite number")
    return jnp.asarray(array)


def new_network(new: Any, old: Any, name: str) -> Any:
    """A network in place of another of the same structure, so that nothing compiles anew."""
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise ModelError(
            f"The network `{name}` is to be replaced by one of another structure.",
            remedy="compile the system with the other network; new weights go by eqx.tree_at or eqx.apply_updates",
        )
    return new
