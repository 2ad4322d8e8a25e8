"""What somebody may put anywhere, and how it must not come out again."""

from __future__ import annotations

from html.parser import HTMLParser

#: By kind. A million characters are more than any page or line has room for.
WORDS = {
    "markup": "<x-hostile a='1'>\"&{{7*7}}{% raw %}</td></main></textarea></title><script>x</script><!--",
    "escapes": "\x1b[31m\x1b[2J\x1b]0;title\x07\x1b]8;;http://e\x1b\\\x9b1m\x90q\x9c",
    "lines": "a\nb\rc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i\tj",
    "directions": "\u202eb\u2066c\u200bd\u200fe\ufefff\U000e0041",
    "nothing": "a\x00b\x08\x7fc",
    "long": "L" * 1_000_000,
}
_VOID = frozenset("area base br col embed hr img input link meta source track wbr path rect".split())


class Page(HTMLParser):
    """A page as a browser would have it.

    Attributes:
        names: of its elements.
        open: those that were not closed; ``wrong``: what was closed and not open, in this order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in _VOID:
            self.wrong.append(tag)


def whole(text: str) -> None:
    """A page with nothing in it that we did not put there."""
    page = Page(text)
    assert (page.open, page.wrong, page.handlers) == ([], [], [])
    assert page.names.count("script") == page.names.count("html")
    assert not {"x-hostile", "iframe", "object"} & set(page.names)
    assert "49" + WORDS["markup"][15:22] not in text
    assert not any(each in text for each in ("\x00", "\x1b", "\x9b"))


def quiet(text: str, most: int) -> None:
    """Lines that do nothing to a terminal, and not too many."""
    assert len(text) <= most, len(text)
    for line in text.split("\n"):
        assert line.isprintable(), repr(line[:300])
