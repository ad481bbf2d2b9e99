"""CVODE of SUNDIALS, called from C: the shared libraries that the optional package scikit-sundae carries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from ..peers.base import MissingTool
from .model import CModel

# Each needs those before it.
_LIBRARIES = ("core", "nvecserial", "sunmatrixdense", "sunmatrixband", "sunlinsoldense", "sunlinsolband", "cvode")
# From so many states on, a matrix whose bands are narrow is kept as bands.
_BANDED_FROM = 30
_HERE = Path(__file__).resolve().parent


def cvode(model: CModel, stiff: bool) -> tuple[str, tuple[Path, ...]]:
    """The program, and the libraries to load before it: BDF and Newton's method with the analytic Jacobian, or Adams.

    Raises `MissingTool` where the package is not installed.
    """
    libraries, index = _installed()
    defines = f"#define STIFF {int(stiff)}\n#define BANDED {int(_banded(model))}\ntypedef {index} sunindextype;"
    texts = [(_HERE / "prelude.c").read_text(), model.text, defines, (_HERE / "cvode.c").read_text()]
    return "\n".join(texts), libraries


def _banded(model: CModel) -> bool:
    return len(model.states) >= _BANDED_FROM and sum(model.bands) + 1 <= len(model.states) // 2


def _installed() -> tuple[tuple[Path, ...], str]:
    try:
        listed = files("scikit-sundae") or []
    except PackageNotFoundError:
        raise MissingTool("the package scikit-sundae is not installed: pip install 'symdeq[bench]'") from None
    found = {name: f for f in listed for name in _LIBRARIES if f.name.startswith(f"libsundials_{name}-")}
    if len(found) < len(_LIBRARIES):
        raise MissingTool("the package scikit-sundae carries no SUNDIALS libraries on this platform")
    # The width of its integers is a choice that SUNDIALS was built with, and the package records it.
    settings = next((str(f.locate()) for f in listed if f.name == "py_config.pxi"), None)
    wide = settings is not None and 'INT_TYPE = "int"' not in Path(settings).read_text()
    return tuple(Path(str(found[name].locate())) for name in _LIBRARIES), "long" if wide else "int"
