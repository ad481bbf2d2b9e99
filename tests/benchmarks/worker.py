"""The process of one peer: answers requests, one line of JSON each, on its standard input and output.

    python -m tests.benchmarks.worker NAME

Requests: {"do": "solve" | "gradient", "problem": name, "rtol": number or nothing} prepares and answers with the result;
{"do": "ensemble", "spread": kind} likewise, with the first few members;
{"do": "burst", "what": "solve" | "gradient", "seconds": s} runs what was prepared again and again for about s seconds
and answers with the mean time of a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .peers import BATCHES, PEERS, AbstractBatch, AbstractPeer, Flags, MissingTool, Work
from .problems import ensemble, named, spread
from .warm_up import DECAY

# Of an ensemble so many members travel, to be compared with the reference.
SHOWN = 8


def burst(run: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Mean microseconds of a run, and the number of runs, in about `seconds`; one at least, after one uncounted."""
    start = time.perf_counter()
    run()
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, int(seconds / once))
    start = time.perf_counter()
    for _ in range(count):
        run()
    return {"us": (time.perf_counter() - start) / count * 1e6, "count": count}


def keeping(
    prepare: Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Callable[[], Any]]]],
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers to requests: what `prepare` replies, whose runs are kept, and bursts of one of them."""
    kept: dict[str, Callable[[], Any]] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "burst":
            return burst(kept[request["what"]], request["seconds"])
        kept.clear()
        reply, runs = prepare(request)
        kept.update(runs)
        return reply

    return answer


def serve(ready: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Get ready, say so, then answer requests until the other end closes."""
    # Whatever a library prints goes to standard error, so that the answers stay alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer = ready()
    print(json.dumps({"flags": os.environ.get("XLA_FLAGS", "")}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # whatever a peer's library raises is that peer's result
            kind = "" if isinstance(error, MissingTool) else f"{type(error).__name__}: "
            reply = {"error": f"{kind}{error}".strip().splitlines()[0][:200]}
        print(json.dumps(reply), file=answers, flush=True)


def _ready(peer: AbstractPeer | AbstractBatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    if peer.flags is Flags.symdeq:
        import symdeq  # noqa: F401  # sets XLA's option, which has to come before the first computation
    elif "symdeq" in sys.modules:
        raise RuntimeError("symdeq was imported in the process of another peer")
    if peer.flags is Flags.option:
        import jax

        jax.config.update("jax_cpu_enable_async_dispatch", False)
    with contextlib.suppress(MissingTool):  # which each request will be answered with
        _warm_up(peer)  # what is imported and set up once in a process is part of no problem's time
    prepared: dict[str, Work] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "burst":
            return burst(prepared[request["what"]].run, request["seconds"])
        prepared.clear()
        work = _prepared(peer, request)
        if work is None:
            return {"offered": False}
        prepared[request["do"]] = work
        result = np.asarray(work.result, dtype=float)
        more = {}
        if request["do"] == "ensemble":
            more = {"failed": int(np.sum(~np.isfinite(result).all(axis=(1, 2)))), "members": len(result)}
            result = result[:SHOWN]
        return {"offered": True, "result": result.tolist(), "first": work.first, "steps": work.steps, **more}

    return answer


def _warm_up(peer: AbstractPeer | AbstractBatch) -> None:
    if isinstance(peer, AbstractBatch):
        peer.solve_all(DECAY, np.array([DECAY.params] * 4))
    else:
        peer.solve(DECAY)
        peer.gradient(DECAY)


def _prepared(peer: AbstractPeer | AbstractBatch, request: dict[str, Any]) -> Work | None:
    if isinstance(peer, AbstractBatch):
        kind = request["spread"]
        return peer.solve_all(ensemble(kind), spread(ensemble(kind), kind, peer.members))
    problem = named(request["problem"], request.get("rtol"))
    return {"solve": peer.solve, "gradient": peer.gradient}[request["do"]](problem)


if __name__ == "__main__":
    serve(lambda: _ready(PEERS.get(sys.argv[1]) or BATCHES[sys.argv[1]]))
