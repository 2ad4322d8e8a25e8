"""What the site takes from the code is all there; `make docs` builds it, with each warning an error."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import quaff
from quaff.cli import program
from quaff.config import Settings

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """docs/generated.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("generated", DOCS / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_name_is_in_the_reference() -> None:
    """Those of quaff.errors come from the module as a whole."""
    page = (DOCS / "reference" / "api.rst").read_text()
    named = set(re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", page, re.MULTILINE))
    assert set(quaff.__all__) - set(vars(quaff.errors)) <= named
    assert ".. automodule:: quaff.errors" in page


def test_each_command_is_in_the_reference(generated: ModuleType) -> None:
    """With its options, as Click has them."""
    page = generated.commands(DOCS / "reference" / "commands.md")
    assert {f"## quaff {name}" for name in program().commands} <= set(page.splitlines())
    assert "### quaff jobs retry" in page
    assert "| `--max-memory SIZE` | Replace a process that has more, such as 512M. |" in page


def test_each_setting_is_in_the_reference_with_its_default(generated: ModuleType) -> None:
    page = generated.settings(DOCS / "reference" / "settings.md")
    assert re.findall(r"^\| `(\w+)`", page, re.MULTILINE) == [
        name for name in Settings.__struct_fields__ if name not in ("url_source", "seals")
    ]
    assert "| `lease` | `QUAFF_LEASE` | `float` | `30` | 1, 86400 |" in page


def test_a_page_that_nobody_put_in_order_is_on_the_site_at_once(generated: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "index.md"
    page.write_text("```{toctree}\ntasks\n<!-- made: others -->\n```\n")
    for name in ("tasks", "new", "another"):
        (tmp_path / f"{name}.md").touch()
    source = [page.read_text()]
    generated.fill_in(tmp_path, "index", source)
    assert source == ["```{toctree}\ntasks\nanother\nnew\n```\n"]


def test_a_link_that_leads_out_of_the_docs_becomes_the_name_of_the_file(generated: ModuleType) -> None:
    """The site has no page for it; on a code host the link works."""
    source = ["[the unit](../../contrib/Containerfile) [tasks](../tasks.md#retries) [here](#there) [x](https://a.b/c)"]
    generated.fill_in(DOCS, "tutorial/deploy", source)
    assert source == [
        "the unit (`contrib/Containerfile`) [tasks](../tasks.md#retries) [here](#there) [x](https://a.b/c)"
    ]


def test_the_readme_is_the_first_page_with_links_that_work_there(generated: ModuleType) -> None:
    source = ["<!-- made: readme -->"]
    generated.fill_in(DOCS, "index", source)
    links = re.findall(r"\]\(((?!\w+:|#)[^)#]+)", source[0])
    assert "tasks.md" in links
    assert [link for link in links if not (DOCS / link).exists()] == []
