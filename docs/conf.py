"""The site that `make docs` builds. Pages are plain Markdown, to be read anywhere; generated.py fills in the rest."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "Quaff"
author = "The Quaff authors"
project_copyright = author
release = version = version_of("quaff")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "console"  # blocks without a language are what one sees in a terminal

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# `-n` names each reference that leads nowhere. No inventory of other projects is fetched, so that the site builds
# without a network, and what is no public name of ours has no page.
nitpick_ignore_regex = [("py:.*", r"(?!quaff\.\w+$).*")]

html_theme = "furo"
html_title = f"Quaff {release}"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Comments such as `<!-- made: commands -->` become what they name, and the tree of errors stays as it is drawn."""
    from generated import fill_in

    app.connect("source-read", lambda app, docname, source: fill_in(DOCS, docname, source))
    app.connect("autodoc-process-docstring", as_drawn)


def as_drawn(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """The drawing at the top of quaff.errors."""
    if name == "quaff.errors":
        lines[:] = [lines[0], "", ".. code-block:: text", "", *(f"   {line}" for line in lines[1:])]
