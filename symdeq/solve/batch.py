"""Many independent computations by one compiled program, on all cores of a CPU: one after the other in each thread.

A solve is a loop that XLA compiles into one native function (`symdeq/_xla.py`), and ends when it is done. Mapped by
`jax.vmap` it would last as long as the slowest of its batch, and leave that function; so on a CPU members are solved
one by one. The threads take portions of them from one queue, so that none waits for another, whatever a member costs.
`docs/decisions/008-ensembles.md` has the measurements.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# The results of a portion take at most so much memory in a thread, where one member does not take more.
_PORTION_BYTES = 4 * 2**20
_MOST_MEMBERS = 1024
# Shorter portions cost more than they balance (a call of a program takes some 0.2 ms); longer ones show no progress.
_SHORTEST, _LONGEST = 2e-3, 50e-3


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(
    one: Callable[[Any, Any], Any],
    shared: Any,
    rows: np.ndarray,
    *,
    result_bytes: int,
    threads: int | None = None,
    advance: Callable[[int], Any] = lambda count: None,
) -> Any:
    """Apply a function to every row, and gather the results on the host.

    Arguments:

    - `one`: a function (shared, row) -> PyTree of arrays, hashable: other values of `shared` and `rows`, and another
        number of rows, never compile it anew.
    - `shared`: a PyTree, the same for all rows.
    - `rows`: shape (rows, columns).
    - `result_bytes`: the size of one result, about; it bounds the memory that a thread uses besides the results.
    - `threads`: default one for each core.
    - `advance`: called, in the calling thread, with the number of rows that were just finished.

    Returns the PyTree of NumPy arrays with a leading axis of rows. The results do not depend on the number of threads.
    """
    capacity = max(1, min(_MOST_MEMBERS, _PORTION_BYTES // max(result_bytes, 1)))
    threads = min(cores() if threads is None else threads, len(rows))
    blank = np.zeros((capacity, rows.shape[1]), rows.dtype)
    # Compiled here and not by its first call, because threads do not inherit settings such as `jax.enable_x64`.
    program = _portion.lower(one, shared, blank, np.int32(0)).compile()
    x64 = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

    def computed(start: int, count: int) -> Any:
        padded = blank.copy()
        padded[:count] = rows[start : start + count]
        with jax.enable_x64(x64):
            return jax.tree.map(np.asarray, program(one, shared, padded, np.int32(count)))

    portions = _Portions(len(rows), threads, capacity)
    # The first row tells the shape of the results, and what a row costs.
    began = time.perf_counter()
    first, structure = jax.tree.flatten(computed(0, portions.take_one()))
    portions.took(1, time.perf_counter() - began)
    results = [np.empty((len(rows), *leaf.shape[1:]), leaf.dtype) for leaf in first]
    _put(results, first, 0, 1)
    advance(1)

    def work() -> Any:
        while portion := portions.take():
            start, count = portion
            began = time.perf_counter()
            _put(results, jax.tree.leaves(computed(start, count)), start, count)
            portions.took(count, time.perf_counter() - began)
            yield count

    if threads == 1:
        for count in work():
            advance(count)
    else:
        _in_threads(threads, work, advance, portions.close)
    return jax.tree.unflatten(structure, results)


@eqx.filter_jit
def _portion(one: Callable[[Any, Any], Any], shared: Any, rows: Any, count: Any) -> Any:
    """The results for the first `count` rows; what is behind them is zero."""
    kinds = jax.eval_shape(lambda row: one(shared, row), rows[0])
    empty = jax.tree.map(lambda kind: jnp.zeros((rows.shape[0], *kind.shape), kind.dtype), kinds)

    def put(i: Any, results: Any) -> Any:
        row = lax.dynamic_index_in_dim(rows, i, 0, keepdims=False)
        return jax.tree.map(
            lambda results, result: lax.dynamic_update_index_in_dim(results, result, i, 0), results, one(shared, row)
        )

    return lax.fori_loop(0, count, put, empty)


def _put(results: list[np.ndarray], portion: list[np.ndarray], start: int, count: int) -> None:
    for whole, part in zip(results, portion, strict=True):
        whole[start : start + count] = part[:count]


def _in_threads(threads: int, work: Callable[[], Any], advance: Callable[[int], Any], close: Callable[[], Any]) -> None:
    """Run `work` in each thread; pass on what it yields, and what it raises."""
    finished: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for count in work():
                finished.put(count)
        finally:
            close()
            finished.put(None)

    with ThreadPoolExecutor(threads, thread_name_prefix="symdeq") as pool:
        running = [pool.submit(run) for _ in range(threads)]
        try:
            left = threads
            while left:
                count = finished.get()
                if count is None:
                    left -= 1
                else:
                    advance(count)
        finally:
            close()  # so that an interrupt waits for one portion at most
        for one in running:
            one.result()


class _Portions:
    """Hands out rows in order: so many at a time that they take neither too short nor too long, fewer towards the end,
    so that all threads end together."""

    def __init__(self, total: int, threads: int, capacity: int):
        self._total, self._threads, self._capacity = total, threads, capacity
        self._next, self._members, self._seconds = 0, 0, 0.0
        self._lock = threading.Lock()

    def take(self) -> tuple[int, int] | None:
        """Where the next portion starts, and how many rows it has; `None` when there are no more."""
        with self._lock:
            left = self._total - self._next
            if left <= 0:
                return None
            each = max(self._seconds / self._members, 1e-9)
            share = left // (2 * self._threads)
            # Short ones are worth their call only while there is as much for the other threads.
            long_enough = min(int(_SHORTEST / each), -(-left // self._threads))
            count = max(1, long_enough, min(share, int(_LONGEST / each)))
            count = min(count, self._capacity)
            self._next += count
            return self._next - count, count

    def take_one(self) -> int:
        """The first portion, of one row: what a row costs is not known yet."""
        self._next = 1
        return 1

    def took(self, count: int, seconds: float) -> None:
        """Learn from a portion what a row costs."""
        with self._lock:
            # What was measured last counts most: the first portion is mostly the cost of a call.
            self._members, self._seconds = self._members // 2 + count, self._seconds / 2 + seconds

    def close(self) -> None:
        """Hand out no more."""
        with self._lock:
            self._next = self._total
