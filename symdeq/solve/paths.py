"""The random paths of an ensemble: one a member, by its number, whatever the number of members."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.solve.sde import is_random, sources

# Numbers of members travel among the values of a row, and single precision counts so far.
_MOST = 2**24


def check_paths(model: Model, paths: Any, key: Any) -> int | None:
    """`paths=` and `key=` of `ensemble`: the number of paths, `None` where the values tell it; or `ModelError`."""
    name = model.system.name
    if not is_random(model):
        for what, value in (("key", key), ("paths", paths)):
            if value is not None:
                raise ModelError(
                    f"`{name}` has no noise and no random jumps, so {what}= has no use.", remedy=f"leave {what}= out"
                )
        return None
    if key is None:
        raise ModelError(
            f"`{name}` has {sources(model)}, and needs a key to draw the paths of its members.",
            remedy="sd.ensemble(model, ..., key=jax.random.key(0))",
        )
    if not _is_one_key(key):
        raise ModelError(
            f"key= is no random key, but {key!r}.",
            remedy="give one, jax.random.key(0): member i gets jax.random.fold_in(key, i)",
        )
    if paths is None:
        return None
    if isinstance(paths, bool) or not isinstance(paths, int | np.integer) or not 0 < paths <= _MOST:
        raise ModelError(
            f"paths must be a whole number from 1 to {_MOST:,}, not {paths!r}.", remedy="paths=1000, one a member"
        )
    return int(paths)


def _is_one_key(key: Any) -> bool:
    if not isinstance(key, jax.Array | np.ndarray):
        return False
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return key.ndim == 0
    return key.ndim == 1 and key.dtype == np.uint32


def numbered(rows: Any) -> Any:
    """Rows of values, shape (members, columns), with the member's number behind: shape (members, columns + 1)."""
    count = rows.shape[0]
    if count > _MOST:
        raise ModelError(
            f"{count:,} members with noise are more than {_MOST:,}.",
            remedy="solve them in parts, each with its own key",
        )
    stack = np.concatenate if isinstance(rows, np.ndarray) else jnp.concatenate
    return stack([rows, np.arange(count, dtype=rows.dtype)[:, None]], axis=1)


def path_key(key: Any, row: Array) -> Any:
    """The key of one member, given its row with the number behind."""
    return jax.random.fold_in(key, row[-1].astype(jnp.uint32))
