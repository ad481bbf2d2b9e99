"""Generated text on NumPy: for a look at a model at one point, which is not worth a compilation by XLA."""

from __future__ import annotations

from functools import cache
from typing import Any

from symdeq.codegen.helpers import HELPERS, ON_HOST
from symdeq.codegen.load import Generated

# The generated text imports nothing else, and NumPy and SciPy have the same functions under the same names.
_ON_HOST = {
    "import jax.numpy as jnp": "import numpy as jnp",
    "from jax.scipy import special": "from scipy import special",
}


@cache
def host_functions(generated: Generated) -> dict[str, Any] | None:
    """The functions of generated text on NumPy, by name; `None` where the text needs JAX itself or calls networks."""
    text = generated.text
    if generated.networks or generated.jac is None:
        return None
    for name, on_host in ON_HOST.items():
        text = text.replace(HELPERS[name], on_host)
    lines = text.splitlines()
    if "import jax" in lines:
        return None
    names: dict[str, Any] = {"__name__": "symdeq_on_host"}
    text = "\n".join(_ON_HOST.get(line, line) for line in lines)
    exec(compile(text, "<symdeq on NumPy>", "exec"), names)
    return names
