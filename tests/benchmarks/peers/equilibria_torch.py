"""Equilibrium layers in PyTorch: torchdeq, on whole batches, in one thread or two, as is faster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import digits

# torchdeq solves the backward equation by the solver of the search. 1e-3 of the result is what GMRES is asked for.
_IMPLICIT = {"ift": True, "b_stop_mode": "rel", "b_tol": 1e-3, "b_max_iter": digits.MAX_STEPS}
SETTINGS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "torchdeq Anderson": {"f_solver": "anderson", "b_solver": "anderson", **_IMPLICIT},
        "torchdeq Broyden": {"f_solver": "broyden", "b_solver": "broyden", **_IMPLICIT},
        "torchdeq fixed point": {"f_solver": "fixed_point_iter", "b_solver": "fixed_point_iter", **_IMPLICIT},
        "torchdeq as it comes": {},
    }
)


def prepared(peer: str, tolerance: float) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """What a peer found for the first batch, and what it can run: the search, the gradient, an epoch by Adam."""
    torch: Any = import_module("torch")
    torchdeq: Any = import_module("torchdeq")
    images, labels = (torch.from_numpy(part) for part in digits.data())
    labels = labels.long()
    start = digits.weights()
    linear, tanh, cross_entropy = torch.nn.functional.linear, torch.tanh, torch.nn.functional.cross_entropy
    evaluations = [0]

    began = time.perf_counter()
    deq = torchdeq.get_deq(f_max_iter=digits.MAX_STEPS, f_tol=tolerance, f_stop_mode="abs", **SETTINGS[peer])
    p = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in start.items()}

    def equilibria(images: Any) -> Any:
        x = linear(images, p["enter"], p["enter_bias"])

        def cell(z: Any) -> Any:
            evaluations[0] += 1
            return tanh(linear(tanh(linear(z + x, p["w1"], p["b1"])), p["w2"], p["b2"]))

        return deq(cell, torch.zeros_like(x))[0][-1]

    def loss(images: Any, labels: Any) -> Any:
        return cross_entropy(linear(equilibria(images), p["leave"], p["leave_bias"]), labels)

    def gradient() -> Any:
        for value in p.values():
            value.grad = None
        value = loss(images[0], labels[0])
        value.backward()
        return value

    torch.set_num_threads(2)
    gradient()
    first = time.perf_counter() - began
    threads = _faster(torch, gradient)
    torch.set_num_threads(threads)
    slopes = {name: value.grad.numpy().copy() for name, value in p.items()}

    def forward() -> Any:
        with torch.no_grad():
            return equilibria(images[0])

    deq.eval()
    evaluations[0] = 0
    z = forward()
    searched = evaluations[0]
    deq.train()

    saved: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gradient()
    memory = sum(saved.values()) - sum(value.untyped_storage().nbytes() for value in p.values())

    def epoch() -> float:
        with torch.no_grad():
            for name, value in p.items():
                value.copy_(torch.from_numpy(start[name]))
        optimiser = torch.optim.Adam(p.values(), lr=digits.RATE)
        values = []
        for batch in zip(images, labels, strict=True):
            optimiser.zero_grad()
            value = loss(*batch)
            value.backward()
            optimiser.step()
            values.append(value.detach())
        with torch.no_grad():
            for name, value in p.items():
                value.copy_(torch.from_numpy(start[name]))
        return float(np.mean([float(value) for value in values[-5:]]))

    answer = {
        "first": first,
        "z": z.numpy(),
        "gradient": slopes,
        "evaluations": searched,
        "memory": memory,
        "threads": threads,
    }
    return answer, {"forward": forward, "gradient": gradient, "epoch": epoch}


def _faster(torch: Any, run: Callable[[], Any]) -> int:
    """One thread or two: the lesser median of runs that take turns. On a busy machine two wait for each other."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(9):
        for threads, seconds in taken.items():
            torch.set_num_threads(threads)
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    return min(taken, key=lambda threads: statistics.median(taken[threads]))
