"""The text of three models, byte for byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from symdeq.codegen import emit, lower
from tests.codegen import models

_GOLDEN = Path(__file__).resolve().parent.parent / "golden"
_ROOT = Path(__file__).parent.parent.parent
_NAMES = ("lotka_volterra", "rober", "driven")


@pytest.mark.parametrize("name", _NAMES)
def test_text_is_the_golden_one(name: str, update_golden: bool) -> None:
    text = emit(lower(getattr(models, name)()))
    file = _GOLDEN / f"{name}.py"
    if update_golden:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_text_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import json; from tests.codegen import models; from symdeq.codegen import emit, lower; "
        f"print(json.dumps([emit(lower(getattr(models, name)())) for name in {(*_NAMES, 'awkward')!r}]))"
    )
    texts = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(_ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=_ROOT
        )
        texts.append(json.loads(run.stdout))
    assert texts[0] == texts[1]
    assert texts[0][0] == (_GOLDEN / "lotka_volterra.py").read_text(encoding="utf-8")


def test_text_runs_with_jax_alone(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "class Refused:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('symdeq', 'sympy', 'equinox', 'diffrax'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refused())\n"
        "import driven\n"
        "print(driven.rhs(0.5, (1.2, 0.1), (0.2, 0.3, 0.5))[0], driven.STATES)\n"
    )
    (tmp_path / "driven.py").write_text((_GOLDEN / "driven.py").read_text(encoding="utf-8"), encoding="utf-8")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    value, names = run.stdout.split(" ", 1)
    assert float(value) == pytest.approx(0.2 * (1 + 0.8414709848078965) - 0.3 * 0.7**0.5, rel=1e-12)
    assert names.strip() == "('level', 'total')"
