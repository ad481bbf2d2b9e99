"""Every code block of the documentation and of docstrings runs, and prints what the page says."""

import ast
import importlib
import re

import matplotlib.pyplot as plt
import pytest

from tests.docs import pages, reference

_IMAGE = re.compile(r"!\[[^]]*\]\((?P<path>[^)\s]+)")
_LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#\s]+)")


def _has_test(page):
    """Whether a page is that of an example with tests of its own, which train the same networks again."""
    return page.parent.name == "examples" and (pages.ROOT / "tests" / "examples" / f"test_{page.stem}.py").exists()


_MARKED = [pytest.param(p, marks=pytest.mark.slow) if _has_test(p) else p for p in pages.PAGES]


@pytest.mark.parametrize("page", _MARKED, ids=lambda p: str(p.relative_to(pages.ROOT)))
def test_page(page, tmp_path):
    try:
        plt.style.use(pages.STYLE)
        for output in pages.run(page.read_text(), page.stem.lower(), tmp_path):
            if output.shown is not None and not pages.agree(output.shown.text, output.printed):
                pytest.fail(
                    f"{page.name} shows\n\n{output.shown.text}\nwhere this is printed:\n\n{output.printed}\n"
                    "If that is right, `python -m tests.docs` writes it into the page."
                )
        for image in _IMAGE.finditer(page.read_text()):
            drawn = tmp_path / image["path"].rpartition("/")[2]
            by_benchmark = "figures/" in image["path"] and (page.parent / image["path"]).exists()
            assert drawn.exists() or by_benchmark, f"no code of {page.name} draws {image['path']}"
    finally:
        plt.close("all")
        plt.rcdefaults()


@pytest.mark.parametrize("page", [p for p in pages.PAGES if _has_test(p)], ids=lambda p: p.stem)
def test_page_of_an_example_uses_what_is_there(page):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for node in (n for block in blocks for n in ast.walk(ast.parse(block)) if isinstance(n, ast.ImportFrom)):
        if node.module and node.module.startswith(("examples", "symdeq")):
            module = importlib.import_module(node.module)
            assert [n.name for n in node.names if not hasattr(module, n.name)] == []


def test_docstrings(tmp_path):
    for module in sorted((pages.ROOT / "symdeq").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                assert ">>>" not in text, f"{module}: examples in docstrings are fenced blocks"
                for output in pages.run(text, module.stem, tmp_path):
                    assert output.shown is None or pages.agree(output.shown.text, output.printed), module


@pytest.mark.parametrize("page", [*pages.PAGES, *pages.PLANS], ids=lambda p: str(p.relative_to(pages.ROOT)))
def test_links_lead_somewhere(page):
    for link in _LINK.finditer(page.read_text()):
        assert (page.parent / link["path"]).exists(), f"{page.name} links to {link['path']}"


def test_reference_is_up_to_date():
    assert (pages.ROOT / "docs" / "reference.md").read_text() == reference.page(), "run `python -m tests.docs`"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("y1 = 1.0", "y1 = 1.0004", True),
        ("y1 = 1.0", "y1 = 1.3", False),
        ("y1 = 1.00000", "y1 = 1.01", False),
        ("y1 = 1.0", "y2 = 1.0", False),
        ("shape (41, 2)", "shape (42, 2)", False),
        ("  steps   98 accepted", "  steps   102 accepted", True),
        ("  steps   98 accepted", "  steps   980 accepted", False),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("a\n...\nc", "a\nb", False),
        ("a", "a\nb", False),
        ("[1.  2.5]", "[1.   2.5]", True),
    ],
)
def test_comparison(shown, printed, same):
    assert pages.agree(shown, printed) is same
