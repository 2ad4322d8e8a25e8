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
from quaff.task import CallOptions, GivenOptions
from tests.matrix import ENGINE, known_as

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


def test_each_option_of_a_task_and_of_a_call_is_in_the_table_of_options() -> None:
    """With a word for where it may stand."""
    rows = [line.split("|") for line in (DOCS / "tasks.md").read_text().splitlines() if line.startswith("| `")]
    told = [{word for row in rows if row[where].strip() for word in re.findall(r"\w+", row[1])} for where in (2, 3)]
    assert set(GivenOptions.__annotations__) | {"batch"} <= told[0]
    assert set(CallOptions.__annotations__) - {"fair_key"} <= told[1]


def kinds() -> dict[str, type[quaff.QuaffError]]:
    """Each kind of error that the package has, wherever it is declared, by its code."""
    import quaff.store.faults  # the one that is not public

    found: dict[str, type[quaff.QuaffError]] = {}
    rest = [quaff.QuaffError]
    while rest:
        kind = rest.pop()
        if "code" in vars(kind):
            assert kind.code not in found, f"{kind.__name__} and {found[kind.code].__name__} have one code"
            found[kind.code] = kind
        rest += [each for each in kind.__subclasses__() if each.__module__.startswith("quaff.")]
    return found


def test_each_error_code_has_its_page_and_each_page_its_code(generated: ModuleType) -> None:
    """With the name of the class, which is in the table of all, too; what the class says of itself comes from it."""
    pages = {path.stem: path.read_text() for path in (DOCS / "errors").glob("*.md")}
    assert pages.keys() == kinds().keys() == generated.ERRORS.keys()
    table = (DOCS / "errors.md").read_text()
    for code, kind in kinds().items():
        assert pages[code].startswith(f"# {code}: {kind.__name__}\n\n<!-- made: error -->\n\n## Why it is\n\n")
        assert "\n## What to do next\n" in pages[code]
        assert f"(errors/{code}.md)" in table
        assert kind.__name__ in table or code == "QF021"
    queue_full = generated.error(DOCS / "errors" / "QF013.md")
    assert queue_full.startswith("`QueueFull`, a kind of `EnqueueError`, `QuaffError`.")
    assert queue_full.endswith("- `.retry_after`: seconds to wait before the next try.")


def examples() -> list[Path]:
    """The pages of errors that say what makes them."""
    return [path for path in sorted((DOCS / "errors").glob("*.md")) if "```python raises\n" in path.read_text()]


@pytest.mark.parametrize("page", examples(), ids=lambda page: page.stem)
def test_what_the_page_of_an_error_does_makes_it(
    page: Path, server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last line raises it, and its text ends in the code."""
    monkeypatch.setenv("REDIS_URL", known_as(ENGINE, server_url))  # which a URL in the code goes before
    monkeypatch.setenv("QUAFF_NAMESPACE", namespace)
    (code,) = re.findall(r"^```python raises\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    with pytest.raises(quaff.QuaffError) as raised:
        exec(compile(code, str(page), "exec"), {"__name__": "page"})
    assert raised.value.code == page.stem
    assert f"[{page.stem}]" in str(raised.value)


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
