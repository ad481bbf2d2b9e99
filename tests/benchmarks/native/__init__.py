"""C programs made at benchmark time: the model's equations by SymPy's C printer, a solver, and a compiler."""

from .library import Library as Library
from .library import build as build
from .loops import loop as loop
from .model import CModel as CModel
from .model import c_model as c_model
from .sundials import cvode as cvode
