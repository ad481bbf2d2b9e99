"""`python -m tests.docs [page.md ...]`: write into the pages what their code prints now, and the reference anew.

Figures that are not there yet are drawn by the code of the page that shows them; delete one to have it drawn again.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib.pyplot as plt

from tests.docs import pages, reference


def main(chosen: list[str]) -> None:
    """Rewrite the pages whose names are given, or all."""
    (pages.ROOT / "docs" / "reference.md").write_text(reference.page())
    for page in pages.PAGES:
        if chosen and page.name not in chosen:
            continue
        text, changes = page.read_text(), []
        plt.style.use(pages.STYLE)
        with tempfile.TemporaryDirectory() as folder:
            for output in pages.run(text, page.stem.lower(), Path(folder)):
                if output.shown is not None and not pages.agree(output.shown.text, output.printed):
                    changes.append(output)
            for image in Path(folder).glob("*.png"):
                target = pages.ROOT / "docs" / "images" / image.name
                if not target.exists():
                    shutil.copy(image, target)
        for output in reversed(changes):
            assert output.shown is not None
            text = text[: output.shown.start] + output.printed.strip("\n") + "\n" + text[output.shown.end :]
            print(f"{page.name}: {output.block.text.strip().splitlines()[-1]}")
        page.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
