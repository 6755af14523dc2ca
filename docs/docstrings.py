"""What docstrings write as reStructuredText, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod|obj):`(~?)([\w.]+)`")
_TABLE = re.compile(r"^(=+ +=[= ]*)$.*^\1$", re.DOTALL | re.MULTILINE)


class Markdown(griffe.Extension):
    """Turns roles into links, where the page that they lead to exists, and tables into text as it stands."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is None:
            return
        scope = obj.path if obj.is_module or obj.is_class else obj.path.rpartition(".")[0]
        text = _TABLE.sub(r"```text\n\g<0>\n```", obj.docstring.value)
        text = re.sub(r"(?<=\S)::$", ":", text, flags=re.MULTILINE)
        obj.docstring.value = _ROLE.sub(lambda role: _link(*role.groups(), scope), text)


def _link(short: str, target: str, scope: str) -> str:
    """Return a link to an object by its path, or by its name in a module or class."""
    path = target if target.startswith("binn_prob") else f"{scope}.{target}"
    shown = target.rpartition(".")[2] if short else target
    return f'<autoref identifier="{path}" optional>`{shown}`</autoref>'
