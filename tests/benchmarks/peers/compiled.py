"""A JAX program, traced and compiled from nothing, with the seconds that took."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .base import Work


def forget() -> None:
    """Empty the caches of JAX, equinox, SymPy and symdeq, so that every first solution starts from nothing."""
    eqx.clear_caches()
    jax.clear_caches()
    for thing in gc.get_objects():
        module = getattr(thing, "__module__", None) if isinstance(thing, functools._lru_cache_wrapper) else None
        if isinstance(module, str) and module.split(".")[0] in ("symdeq", "sympy"):
            thing.cache_clear()
    gc.collect()


def first_solution(p: Any, declare: Callable[[], Callable[[Any], tuple[Any, Any]]]) -> Work:
    """Declare, trace, compile and run a program `parameters -> (states at the save points, steps)`.

    The parameters are those of one problem, or of many, as rows, where the program solves a batch.

    It is compiled ahead of its first call: the same program as `jax.jit` makes, called at the same cost, and kept when
    the caches are emptied.
    """
    p = jnp.asarray(p)
    forget()
    start = time.perf_counter()
    compiled = jax.jit(declare()).lower(p).compile()
    ys, steps = jax.block_until_ready(compiled(p))
    first = time.perf_counter() - start
    return Work(
        run=lambda: jax.block_until_ready(compiled(p)), result=np.asarray(ys), first=first, steps=int(np.sum(steps))
    )


def first_gradient(p: Any, declare: Callable[[], Callable[[Any], tuple[Any, Any]]]) -> Work:
    """The same for the gradient, in reverse mode, of the sum of squares of all saved states."""
    p = jnp.asarray(p)
    forget()
    start = time.perf_counter()
    program = declare()
    compiled = jax.jit(jax.grad(lambda p: jnp.sum(program(p)[0] ** 2))).lower(p).compile()
    result = jax.block_until_ready(compiled(p))
    first = time.perf_counter() - start
    return Work(run=lambda: jax.block_until_ready(compiled(p)), result=np.asarray(result), first=first)
