"""`Neural`: a network, declared once, called inside equations."""

from __future__ import annotations

import numbers
from typing import Any

from symdeq._errors import ModelError
from symdeq.model.blocks import SERIAL, Network, NetworkOutputs
from symdeq.model.declare import check_name
from symdeq.model.values import number_or_expression


class Neural:
    """A network as a block in equations: `net(x, y)[0]` stands for a number wherever one may stand.

    Arguments:

    - `name`: as of a state; the name of the network in `model.networks` and in errors.
    - `module`: any `eqx.Module`, or another PyTree that can be called, with one array of shape (inputs,); it returns an
        array of shape (outputs,), or of shape (). Its arrays are values of the compiled model, differentiated and
        replaced as parameters are. A module with `in_size="scalar"` (as `eqx.nn.MLP` has) is called with a scalar.
    - `outputs`: how many numbers it returns; default: its `out_size` if it has one, else found out by `compile`. Needed
        only to unpack: `u, v = net(x, y)`.

    Called with states, parameters, `t`, other blocks, and expressions of them, it gives all outputs together, which is
    a vector; indexed, one of them. A call that stands twice is evaluated once.
    """

    def __init__(self, name: str, module: Any, *, outputs: int | None = None):
        check_name(name)
        if not callable(module):
            raise ModelError(
                f"The network `{name}` cannot be called: {module!r}.",
                remedy="give an eqx.Module with a __call__, or a function",
            )
        if outputs is None:
            size = getattr(module, "out_size", None)
            outputs = 1 if size == "scalar" else size if isinstance(size, int) else 0
        elif isinstance(outputs, bool) or not isinstance(outputs, numbers.Integral) or outputs < 1:
            raise ModelError(f"The outputs of the network `{name}` must be a whole number from 1 on, not {outputs!r}.")
        self.name, self.module = name, module
        self.symbol = Network(name, int(outputs), next(SERIAL), module)

    def __call__(self, *inputs: Any) -> NetworkOutputs:
        if not inputs:
            raise ModelError(f"The network `{self.name}` is called without inputs.", remedy=f"{self.name}(x, y)[0]")
        given = [number_or_expression(value, f"input {i} of `{self.name}`") for i, value in enumerate(inputs)]
        return NetworkOutputs(self.symbol, -1, (), *given)  # pyright: ignore[reportReturnType]

    def __getitem__(self, index: Any) -> None:
        raise ModelError(
            f"The network `{self.name}` is indexed but not called.", remedy=f"{self.name}(x, y)[{index!r}]"
        )

    def __repr__(self) -> str:
        return f"Neural({self.name!r}, {type(self.module).__name__})"
