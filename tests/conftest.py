"""Settings of the whole test run; JAX reads its part from the environment when it is first imported.

Environment variables rather than `jax.config`, so that programs which tests start see the same settings.
"""

import gc
import importlib
import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

_CHECKOUT = Path(__file__).resolve().parent.parent

if "jax" in sys.modules:
    raise RuntimeError(
        "JAX was imported before tests/conftest.py could set it up. Something that pytest loads earlier (a plugin, -p) "
        "imports it: load that later."
    )

os.environ["JAX_ENABLE_X64"] = "1"
# Compilation is most of a test run's time. Everything is kept, however quickly it was compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CHECKOUT / ".cache" / "jax"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ.setdefault("MPLBACKEND", "Agg")
# The test workers share the cores: threads of their own would only get in each other's way. Read when NumPy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tracing makes millions of objects that live on, and Python looks through them again and again for what it could
# collect: with its own settings a sixth of the time of tests/solve/test_dde.py alone.
gc.set_threshold(200_000, 50, 100)

# Annotated functions of the inner rooms check their arguments, shapes included. The outer rooms check what users hand
# them in words of their own, which are tested; and `Eq` looks at its caller's frame, where a checker must not stand.
importlib.import_module("tests.typechecking")  # the hook takes what is in sys.modules
install_import_hook(["symdeq.passes", "symdeq.codegen", "symdeq.solvers"], "tests.typechecking.check")


# A compiled program takes some dozen mappings of memory, of which Linux grants a process 65,530; beyond them XLA's
# compiler crashes. A worker goes through thousands of programs.
_MOST_MAPPINGS = 30_000
_MAPPINGS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _programs_are_let_go():
    """Forget compiled programs after a module of tests, once there are many."""
    yield
    if _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > _MOST_MAPPINGS:
        import equinox as eqx
        import jax

        eqx.clear_caches()
        jax.clear_caches()
        gc.collect()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew, for a diff")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))
