"""symdeq's layers for flax nnx: `import symdeq.flax`; needs the extra `symdeq[flax]`."""

from symdeq._errors import MissingExtraError

try:
    from flax import nnx as _nnx  # noqa: F401
except ImportError:
    raise MissingExtraError("flax", "flax", "symdeq.flax") from None

from symdeq.nn.flax import NeuralODE as NeuralODE
from symdeq.nn.flax import ODELayer as ODELayer
