"""The passes in their order: stages, the same bytes in every process, and large systems in little time."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from symdeq.model import D, Eq, Stage, System, parameter, state, states
from symdeq.passes import PIPELINE, run, verify
from symdeq.passes.pipeline import Pass

_ROOT = Path(__file__).parent.parent.parent


def network(count: int, reactions: int) -> System:
    """Random reactions A + B -> C + D with mass-action kinetics."""
    chance = random.Random(0)
    ys = [state(f"y{i}", 1.0) for i in range(count)]
    rhs: list = [0] * count
    for i in range(reactions):
        a, b, c, d = (chance.randrange(count) for _ in range(4))
        rate = parameter(f"k{i}", 1.0) * ys[a] * ys[b]
        for j, sign in ((a, -1), (b, -1), (c, 1), (d, 1)):
            rhs[j] += sign * rate
    return System([Eq(D(y), f) for y, f in zip(ys, rhs, strict=True)])


def test_each_pass_advances_the_stage_by_one() -> None:
    x = state("x", 1.0)
    system = System([Eq(D(x), -x)])
    for step, stage in zip(PIPELINE, list(Stage)[1:], strict=True):
        system = step(system)
        assert system.stage is stage


def test_trace_shows_the_system_after_each_pass() -> None:
    x, z = states(x=1.0, z=None)
    seen: list[tuple[str, System]] = []
    final = run(System([Eq(D(x), -z), Eq(z, x)]), trace=lambda name, system: seen.append((name, system)))
    assert [name for name, _ in seen] == [step.__name__ for step in PIPELINE]
    assert seen[-1][1] is final
    assert [s.stage for _, s in seen] == list(Stage)[1:]
    names: list[str] = []
    run(System([Eq(D(x), -x)]), simplified=False, trace=lambda name, _: names.append(name))
    assert len(names) == len(PIPELINE)


def test_a_run_may_start_at_any_stage() -> None:
    x, z = states(x=1.0, z=None)
    system = System([Eq(D(x), -z), Eq(z, x)])
    final = run(system)
    for step in PIPELINE:
        system = step(system)
        assert run(system) == final


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.__name__)
def test_passes_leave_what_is_done(step: Pass) -> None:
    x = state("x", 1.0)
    final = run(System([Eq(D(x), -x)]))
    assert step(final) is final
    verify(final)


_PROGRAM = """
import random
import sympy as sp
from symdeq.model import *
from symdeq.passes import run
from tests.passes.support import random_system
from tests.passes.test_pipeline import network

systems = [random_system(seed) for seed in range(6)] + [network(12, 30)]
p = parameter("p", 1.0)
zs = [state(f"z{i}", guess(0.5)) for i in range(5)]
x = state("x", p)
part = System([Eq(D(x, 2), -p * x - D(x))], initial={D(x): 0.0}, name="part")
u, v = states(u=1.0, v=1.0)
systems.append(System(
    [Eq(D(u) * p + D(v), part.x * (u + v) + zs[0]), Eq(D(u) - p * D(v), u * v + sp.sin(u) * v + sp.sin(u) * p),
     *(Eq(5 * z + sp.sin(zs[i - 1] * zs[i - 2]), u) for i, z in enumerate(zs))],
    subsystems=[part], observed={"e": D(u) * v + D(u) * p}))
for system in systems:
    final = run(system)
    print(system, final, final.structure, system.latex(), sep="\\n")
"""


def test_the_same_bytes_whatever_the_hash_seed() -> None:
    texts = set()
    for seed in ("0", "1", "42"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(_ROOT)}
        found = subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, cwd=_ROOT
        )
        texts.add(found.stdout)
    lines = [set(text.splitlines()) for text in texts]
    assert len(texts) == 1, lines[0] ^ lines[1]


def test_three_hundred_states_take_seconds() -> None:
    began = time.perf_counter()
    final = run(network(300, 900))
    assert len(final.states) == 300
    assert time.perf_counter() - began < 20  # 1.7 s on an idle machine
