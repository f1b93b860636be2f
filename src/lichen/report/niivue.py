"""NiiVue, a viewer for volumes, taken from the installed package ipyniivue and made part of a page.

ipyniivue brings NiiVue as one JavaScript module with the interface of an anywidget: an object with ``initialize`` and
``render``. No code of theirs is in lichen. Seen with ipyniivue 2.4.4: it opens from disk, loads nothing from anywhere
and needs nothing of a Content-Security-Policy beyond its own hash and pictures as data URIs.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from lichen.errors import DependencyError
from lichen.report.scripts import Inline, as_inline

GLOBAL = "lichenNiivue"
"""Where ``review_niivue.js`` finds the object that the module exports."""
_EXPORT = re.compile(r"export\s*\{\s*([\w$]+) as default\s*\};?\s*$")
_FIX = "pip install 'lichen[viewer]'"


def niivue_script() -> Inline:
    """The module, which names its object ``GLOBAL`` instead of exporting it.

    Raises:
        DependencyError: ipyniivue is not installed, or brings something else than a module of that kind.
    """
    found = find_spec("ipyniivue")  # finds the package and runs nothing of it
    if found is None or not found.submodule_search_locations:
        raise DependencyError("the 3D viewer needs the package ipyniivue, which is not installed", fix=_FIX)
    path = Path(found.submodule_search_locations[0]) / "static" / "widget.js"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unknown() from error
    export = _EXPORT.search(text)
    # either would end the element that the script stands in, or change how it is read
    if export is None or "</script" in text.lower() or "<!--" in text:
        raise _unknown()
    return as_inline(f"{_licence()}{text[: export.start()]}\nglobalThis.{GLOBAL} = {export[1]};\n")


def _licence() -> str:
    """Theirs, as a comment; it asks to stand wherever the code does."""
    try:
        package = distribution("ipyniivue")
    except PackageNotFoundError:
        return ""
    text = package.read_text("licenses/LICENSE") or package.read_text("LICENSE") or ""
    return f"/*! ipyniivue {package.version}\n{text.replace('*/', '* /').replace('<', '(')}*/\n"


def _unknown() -> DependencyError:
    return DependencyError("the installed ipyniivue is of a version that lichen cannot put into a page", fix=_FIX)
