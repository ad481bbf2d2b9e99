"""XLA's option for small loops: set where it can be, left alone where the user decided, and warned of when late."""

import os
import subprocess
import sys

import pytest

from symdeq import _xla

PROGRAM = "import symdeq, os; print(symdeq._xla.TUNING.name); print(os.environ.get('XLA_FLAGS', ''))"


def run(program: str, **environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "SYMDEQ_XLA_TUNING")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()


def test_set_on_import():
    name, flags = run(PROGRAM)
    assert name == "active"
    assert _xla._KEY in flags


DISPATCH = "import symdeq, jax; print(jax.config.read('jax_cpu_enable_async_dispatch'))"


def test_small_programs_run_in_the_calling_thread():
    assert run(DISPATCH) == ["False"]
    assert run(DISPATCH, SYMDEQ_XLA_TUNING="0") == ["True"]
    assert run(DISPATCH, JAX_CPU_ENABLE_ASYNC_DISPATCH="1") == ["True"]


def test_switched_off():
    assert run(PROGRAM, SYMDEQ_XLA_TUNING="0")[0] == "disabled"


def test_users_own_value_stays():
    own = f"{_xla._FLAG}{_xla._KEY}=12345"
    assert run(PROGRAM, XLA_FLAGS=own) == ["user", own]


def test_too_late_is_said_once():
    program = (
        "import warnings, jax.numpy as jnp; jnp.zeros(1)\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import symdeq\n"
        "    print(symdeq._xla.TUNING.name)\n"
        "    print(sum(issubclass(w.category, symdeq.SymdeqWarning) for w in caught))"
    )
    assert run(program) == ["too_late", "1"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", f"{_xla._FLAG}{_xla._KEY}={_xla._THRESHOLD}"),
        ("--xla_foo=1", f"--xla_foo=1 {_xla._FLAG}{_xla._KEY}={_xla._THRESHOLD}"),
        (f"{_xla._FLAG}other=2", f"{_xla._FLAG}other=2,{_xla._KEY}={_xla._THRESHOLD}"),
    ],
)
def test_keys_are_merged(flags, expected):
    assert _xla._with_option(flags) == expected
