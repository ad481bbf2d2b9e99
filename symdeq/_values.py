"""Numbers from outside: NumPy arrays while their values are known and can be looked at, else traced arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def concrete(*values: Any) -> bool:
    """Whether the values are known now, and not only when a traced program runs."""
    return not any(isinstance(value, Tracer) for value in values)


def as_array(value: Any, dtype: Any) -> Any:
    """A number or numbers as an array of a type: a NumPy array where they are known, inside `jax.jit` too.

    Raises `TypeError` or `ValueError` for what is no number; text is none, whatever it says.
    """
    if concrete(value) and not (isinstance(value, list | tuple) and not concrete(*value)):
        found = np.asarray(value)
        if found.dtype.kind not in "fiu":
            raise TypeError(f"{value!r} is not a real number")
        return found.astype(dtype)
    return jnp.asarray(value, dtype)
