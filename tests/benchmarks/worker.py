"""The process of one peer: answers requests, one line of JSON each, on its standard input and output.

    python -m tests.benchmarks.worker NAME

Requests: {"do": "solve" | "gradient", "problem": name} prepares and answers with the result; {"do": "burst", "what":
"solve" | "gradient", "seconds": s} runs what was prepared again and again for about s seconds and answers with the mean
time of a run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.zoo import PROBLEMS

from .peers import PEERS, AbstractPeer, Flags, Work
from .warm_up import DECAY


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
            reply = {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}
        print(json.dumps(reply), file=answers, flush=True)


def _ready(peer: AbstractPeer) -> Callable[[dict[str, Any]], dict[str, Any]]:
    if peer.flags is Flags.symdeq:
        import symdeq  # noqa: F401  # sets XLA's option, which has to come before the first computation
    elif "symdeq" in sys.modules:
        raise RuntimeError("symdeq was imported in the process of another peer")
    peer.solve(DECAY)  # what is imported and set up once in a process is part of no problem's time
    peer.gradient(DECAY)
    prepared: dict[str, Work] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "burst":
            return burst(prepared[request["what"]].run, request["seconds"])
        prepare = {"solve": peer.solve, "gradient": peer.gradient}[request["do"]]
        prepared.clear()
        work = prepare(PROBLEMS[request["problem"]])
        if work is None:
            return {"offered": False}
        prepared[request["do"]] = work
        result = np.asarray(work.result, dtype=float).tolist()
        return {"offered": True, "result": result, "first": work.first, "steps": work.steps}

    return answer


if __name__ == "__main__":
    serve(lambda: _ready(PEERS[sys.argv[1]]))
