"""A C compiler, and what it makes, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..peers.base import MissingTool

_FLAGS = ("-std=gnu11", "-fPIC", "-shared", "-w")
# From so many characters on, the compiler is asked to be quick.
_LONG = 100_000


@dataclass(frozen=True)
class Library:
    """One compiled program: `integrate` and `integrate_many` of the C sources beside this file."""

    handle: Any

    def single(
        self, t0: float, t1: float, y0: np.ndarray, p: np.ndarray, ts: np.ndarray, rtol: float, atol: float
    ) -> tuple[Callable[[], int], np.ndarray, np.ndarray]:
        """A solve that writes its states, shape (times, states), and its counts, and returns 0 where it succeeded.

        The counts are steps tried, steps accepted, right-hand sides, Jacobians.
        """
        y0, p, ts = (np.ascontiguousarray(v, dtype=float) for v in (y0, p, ts))
        ys, counts = np.full((len(ts), len(y0)), np.nan), np.zeros(4, dtype=np.int64)
        numbers = (ctypes.c_double(t0), ctypes.c_double(t1), _at(y0), _at(p), ctypes.c_int(len(ts)), _at(ts), _at(ys))
        tolerances = (ctypes.c_double(rtol), ctypes.c_double(atol), ctypes.c_long(1_000_000), _at(counts))
        held = (y0, p, ts, ys, counts)  # the arrays live as long as the function that holds their addresses
        return functools.partial(_call, self.handle.integrate, (*numbers, *tolerances), held), ys, counts

    def many(
        self, t0: float, t1: float, y0: np.ndarray, ps: np.ndarray, ts: np.ndarray, rtol: float, atol: float
    ) -> tuple[Callable[[int, int], int], np.ndarray]:
        """Solves for rows first to last of `ps`, shape (members, parameters); states (members, times, states)."""
        y0, ps, ts = (np.ascontiguousarray(v, dtype=float) for v in (y0, ps, ts))
        ys = np.full((len(ps), len(ts), len(y0)), np.nan)

        def run(first: int, last: int) -> int:
            return self.handle.integrate_many(
                ctypes.c_double(t0), ctypes.c_double(t1), _at(y0), ctypes.c_int(first), ctypes.c_int(last), _at(ps),
                ctypes.c_int(ps.shape[1]), ctypes.c_int(len(ts)), _at(ts), _at(ys), ctypes.c_double(rtol),
                ctypes.c_double(atol), ctypes.c_long(1_000_000),
            )  # fmt: skip

        return run, ys


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _call(function: Any, arguments: tuple, held: tuple) -> int:
    return function(*arguments)


def build(text: str, needed: Sequence[Path] = ()) -> Library:
    """Compile C text and load it, after the shared libraries that it calls.

    Raises `MissingTool` where there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        raise MissingTool("no C compiler: install gcc")
    for path in needed:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    level = "-O3" if len(text) < _LONG else "-O1"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "program.c", Path(folder) / "program.so"
        source.write_text(text)
        flags = [
            level,
            "-march=native",
            "-fno-math-errno",
            "-fno-trapping-math",
            "-std=gnu11",
            "-fPIC",
            "-shared",
            "-w",
        ]
        made = subprocess.run(
            [compiler, *flags, "-o", str(target), str(source), "-lm"], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise RuntimeError(f"{compiler} failed: {made.stderr.strip()[:400]}")
        return Library(ctypes.CDLL(str(target)))
