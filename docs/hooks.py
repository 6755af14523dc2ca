"""What the documentation needs from outside its folder: the package as it is once installed, and the notebooks."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parent.parent
_NOTEBOOKS = sorted((_ROOT / "examples").glob("*.ipynb"))
_PACKAGE = tempfile.TemporaryDirectory(prefix="binn_prob-docs-")  # removed when the build ends


@event_priority(100)  # before mkdocstrings reads its paths
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings where the package is, and list the notebooks by their headings after the tour."""
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_package()]
    place = next(place for place, entry in enumerate(config.nav or []) if "Tour" in entry)
    config.nav.insert(place + 1, {"Notebooks": [{_title(path): f"notebooks/{path.name}"} for path in _NOTEBOOKS]})
    return config


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks of ``examples/``, as they are."""
    for path in _NOTEBOOKS:
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
    return files


@event_priority(-100)  # after mkdocs-jupyter has added it
def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Take out the script that loads MathJax from elsewhere: pages work without a network, and hold no TeX."""
    return re.sub(r"<script data-mkdocs-jupyter-mathjax=.*?</script>\n?", "", output, flags=re.DOTALL)


def _title(notebook: Path) -> str:
    """Return the heading of a notebook."""
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    return "".join(first["source"]).splitlines()[0].removeprefix("# ")


def _package() -> str:
    """Return a folder in which ``models/`` and ``inference/`` lie inside the package, as installation puts them."""
    package = Path(_PACKAGE.name) / "binn_prob"
    if not package.exists():
        for source, target in (("binn_prob", ""), ("models", "models"), ("inference", "inference")):
            shutil.copytree(_ROOT / source, package / target, copy_function=os.symlink)
    return _PACKAGE.name
