"""Two options for the CPU that make a small solve cost what it costs in C.

XLA compiles a small `while` loop into one native function, and runs a larger one operation by operation. What counts as
small is a number of bytes touched in an iteration, by default a few hundred, which most solves exceed. The option has
to be in `XLA_FLAGS` before the first computation of the process. `docs/decisions/002-xla-option.md` has the
measurements behind the value.

JAX hands a program of more than about a thousand operations to another thread, which takes longer to wake up than many
a solve takes. In the calling thread it runs at once: `docs/decisions/010-calling-thread.md`.
"""

from __future__ import annotations

import os
import warnings
from enum import Enum

from symdeq._errors import SymdeqWarning

_KEY = "xla_cpu_small_while_loop_byte_threshold"
_DISPATCH = "jax_cpu_enable_async_dispatch"
_FLAG = "--xla_backend_extra_options="
_SWITCH = "SYMDEQ_XLA_TUNING"
_COST = "3 to 10 times slower"
# Chosen by benchmark: all solves are native at it, and no loop that XLA would divide among threads is.
_THRESHOLD = 500_000


class Tuning(Enum):
    """What became of the option; the value is the sentence that `print(model)` shows."""

    active = "XLA's option for small loops is set: CPU solves run as one native loop"
    user = "XLA's option for small loops was set by the environment before symdeq was imported"
    disabled = f"XLA's option for small loops is off ({_SWITCH}=0): CPU solves run {_COST}"
    too_late = (
        f"XLA's option for small loops came too late (JAX computed before symdeq was imported): CPU solves run {_COST}"
    )


def _backend_is_running() -> bool:
    from jax._src import xla_bridge  # the only place that tells; guarded, because it is not public

    return bool(getattr(xla_bridge, "backends_are_initialized", lambda: False)())


def tune() -> Tuning:
    """Set the option where that is possible and wanted, and say what became of it; warns when it came too late."""
    flags = os.environ.get("XLA_FLAGS", "")
    if _KEY in flags:
        return Tuning.user
    if os.environ.get(_SWITCH, "").lower() in ("0", "off", "false", "no"):
        return Tuning.disabled
    if _backend_is_running():
        warnings.warn(
            f"{Tuning.too_late.value}.\n"
            f"  remedy: import symdeq before the first JAX computation, or set {_SWITCH}=0 to accept it",
            SymdeqWarning,
            stacklevel=3,
        )
        return Tuning.too_late
    os.environ["XLA_FLAGS"] = _with_option(flags)
    _run_in_calling_thread()
    return Tuning.active


def _run_in_calling_thread() -> None:
    """Small programs on the CPU run where they are called, unless the environment says otherwise."""
    import jax

    if _DISPATCH.upper() not in os.environ:
        jax.config.update(_DISPATCH, False)


def _with_option(flags: str) -> str:
    """`flags` with the option in it; keys that the user gave to the same flag stay."""
    option = f"{_KEY}={_THRESHOLD}"
    parts = flags.split()
    for i, part in enumerate(parts):
        if part.startswith(_FLAG):
            parts[i] = f"{part},{option}"
            return " ".join(parts)
    return " ".join([*parts, _FLAG + option])


TUNING = tune()
