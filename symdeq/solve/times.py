"""Times to save at that were checked before the solve, so that the compiled program need not check them again.

diffrax checks that `SaveAt(ts=...)` is sorted and inside the interval by calls from the compiled program back into
Python. Such a program cannot be kept in JAX's persistent compilation cache, cannot be exported, and waits for the host
on a GPU. `CheckedTimes` wraps an array for which the checks have been made (`solve` makes them at the door, and for
traced times as a result value), answers diffrax's comparisons at once, and is the array in every other respect.
"""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array


class CheckedTimes(eqx.Module):
    """An increasing (or, integrating backwards, decreasing) array of times within the interval of integration."""

    values: Array

    @property
    def dtype(self):
        return self.values.dtype

    @property
    def shape(self):
        return self.values.shape

    def astype(self, dtype: Any) -> CheckedTimes:
        return CheckedTimes(self.values.astype(dtype))

    def __mul__(self, direction: Any) -> CheckedTimes:
        return CheckedTimes(self.values * direction)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        taken = self.values[index]
        return CheckedTimes(taken) if isinstance(index, slice) else taken

    def __lt__(self, other: Any) -> bool:
        return False

    def __gt__(self, other: Any) -> bool:
        return False


def save_at(ts: Array, fn: Any = None) -> dfx.SubSaveAt:
    """`SubSaveAt(ts=ts)` whose times are taken as checked."""
    plain = dfx.SubSaveAt(ts=jnp.zeros(1), **({} if fn is None else {"fn": fn}))
    return eqx.tree_at(lambda s: s.ts, plain, CheckedTimes(ts))
