"""What pages take from elsewhere: a comment `<!-- made: NAME -->` on a page is replaced by what NAME makes."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from quaff import errors
from quaff.cli import program
from quaff.config import SECONDS, Settings
from quaff.errors import QuaffError
from quaff.store.faults import NoAnswer

COMMENT = re.compile(r"<!-- made: (\w+) -->")
ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[([^\]]+)\]\(((?!\w+:|#)[^)#]+)(#[^)]*)?\)")
#: Each kind of error by its code; the last one is seen by those alone who read a worker's log.
ERRORS: dict[str, type[QuaffError]] = {
    kind.code: kind
    for kind in (*vars(errors).values(), NoAnswer)
    if isinstance(kind, type) and issubclass(kind, QuaffError)
}
PAGES = {"CONTRIBUTING.md": "project/contributing.md", "SECURITY.md": "project/reporting.md"}


def fill_in(docs: Path, docname: str, source: list[str]) -> None:
    """Fill in the comments of the page ``docname``, whose text is ``source[0]``, and mend links out of ``docs``."""
    page = docs / f"{docname}.md"
    text = COMMENT.sub(lambda match: MADE[match[1]](page), source[0])
    source[0] = LINK.sub(lambda match: _inside(docs, page, match), text)


def _inside(docs: Path, page: Path, link: re.Match[str]) -> str:
    """A link as it is, or, if it leads to a file of the repository that is no page, that file's name."""
    words, target, _ = link.groups()
    path = (page.parent / target).resolve()
    if path.is_relative_to(docs):
        return link[0]
    name = f"`{path.relative_to(ROOT)}`"
    return name if words.strip("`") == name.strip("`") else f"{words} ({name})"


def _from_root(name: str, page: Path) -> str:
    """A page of the repository's root, with its links as they are from ``page``."""

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        path = ROOT / "docs" / PAGES[target] if target in PAGES else ROOT / target
        return f"[{words}]({os.path.relpath(path, page.parent)}{anchor or ''})"

    return LINK.sub(link, (ROOT / name).read_text())


def commands(page: Path) -> str:
    """Each command, from Click."""
    group = program()
    return "\n".join(line for name in group.commands for line in _command(name, group.commands[name], ("quaff",)))


def _command(name: str, command: click.Command, above: tuple[str, ...]) -> Iterator[str]:
    path = (*above, name)
    context = click.Context(command, info_name=" ".join(path))
    yield f"{'#' * len(path)} {' '.join(path)}\n"
    if isinstance(command, click.Group):
        yield f"{_paragraphs(command.help)}\n"
        for inner in command.commands:
            yield from _command(inner, command.commands[inner], path)
        return
    yield f"```text\n{' '.join([' '.join(path), *command.collect_usage_pieces(context)])}\n```\n"
    yield f"{_paragraphs(command.help)}\n"
    records = [record for param in command.params if (record := param.get_help_record(context))]
    if records:
        yield "| option | |\n|---|---|"
        yield from (f"| `{_cell(option)}` | {_cell(text)} |" for option, text in records)
        yield ""


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").replace("\b", "").split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def settings(page: Path) -> str:
    """Each setting with its type, default and range, from the class that holds them."""
    lines = ["| setting | in the environment | type | default | from, to |", "|---|---|---|---|---|"]
    for name, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        if name in ("url_source", "seals"):
            continue
        least, most = SECONDS.get(name, ("", ""))
        kind = Settings.__annotations__[name]
        bounds = f"{least:g}, {most:g}" if name in SECONDS else ""
        shown = "" if default in ("", ()) or kind == "Spread" else f"`{default}`"
        lines.append(f"| `{name}` | `QUAFF_{name.upper()}` | `{kind}` | {shown} | {bounds} |")
    return "\n".join(lines)


def error(page: Path) -> str:
    """What the code says of the error that a page is named after: what it is, what it is a kind of, what it holds."""
    kind = ERRORS[page.stem]
    says, _, held = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    parents = [
        f"`{each.__name__}`"
        for each in kind.__mro__[1:]
        if each.__name__ not in ("object", "BaseException", "Exception")
    ]
    lines = [f"`{kind.__name__}`, a kind of {', '.join(parents)}." if parents else "", " ".join(says.split())]
    for name, text in re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", held, re.MULTILINE):
        lines.append(f"- `.{name}`: {' '.join(text.split())}")
    return "\n\n".join(lines).replace("``", "`").strip()


def others(page: Path) -> str:
    """The pages beside the first one that it does not name itself: new ones are there at once."""
    named = set(re.findall(r"^[\w./-]+$", page.read_text(), re.MULTILINE))
    return "\n".join(sorted({other.stem for other in page.parent.glob("*.md")} - named - {page.stem}))


MADE: dict[str, Callable[[Path], str]] = {
    "commands": commands,
    "settings": settings,
    "others": others,
    "error": error,
    "readme": lambda page: _from_root("README.md", page),
    "contributing": lambda page: _from_root("CONTRIBUTING.md", page),
    "changelog": lambda page: _from_root("CHANGELOG.md", page),
    "reporting": lambda page: _from_root("SECURITY.md", page),
}
