"""Small pictures as inline SVG: they need no script, take the page's colours, and say in words what they show."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 120, 22
_WIDE, _HIGH = 720, 144


def spark(values: Sequence[float], label: str) -> Markup:
    """A line of bars as high as a line of text.

    Args:
        values: the oldest first.
        label: what they are, for who cannot see them.
    """
    most = max(values, default=0) or 1
    step = _WIDTH / max(1, len(values))
    bars = Markup("").join(
        Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            "good" if value else "soft",
            place * step,
            _HEIGHT - max(1, value / most * _HEIGHT),
            max(0.6, step - 1),
            max(1, value / most * _HEIGHT),
        )
        for place, value in enumerate(values)
    )
    words = f"{label}: now {values[-1]:g}, at most {max(values):g}" if values else f"{label}: nothing yet"
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>{}</svg>'
    ).format(_WIDTH, _HEIGHT, words, bars)


def stacked(good: Sequence[float], bad: Sequence[float], marks: Sequence[str], label: str) -> Markup:
    """Bars of two parts, one on the other, each with its numbers.

    Args:
        good, bad: as many of each; the oldest first.
        marks: what each bar is about, such as ``10:42``.
        label: of the whole.
    """
    most = max((one + other for one, other in zip(good, bad, strict=True)), default=0) or 1
    step = _WIDE / max(1, len(good))
    bars = []
    for place, (one, other, mark) in enumerate(zip(good, bad, marks, strict=True)):
        high, low = one / most * _HIGH, other / most * _HIGH
        bars.append(
            Markup(
                '<g><title>{}: {:g} succeeded, {:g} failed</title>'
                '<rect class="soft" x="{:.2f}" y="{}" width="{:.2f}" height="1"/>'
                '<rect class="good" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
                '<rect class="bad" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/></g>'
            ).format(
                mark, one, other,
                place * step, _HIGH - 1, step - 1,
                place * step, _HIGH - high, step - 1, high,
                place * step, _HIGH - high - low, step - 1, low,
            )
        )  # fmt: skip
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>{}</svg>'
    ).format(_WIDE, _HIGH, label, Markup("").join(bars))


def bar(count: float, most: float, label: str) -> Markup:
    """One bar that lies: its part of the longest one."""
    return Markup(
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"><title>{}</title>'
        '<rect class="good" width="{:.1f}" height="10"/></svg>'
    ).format(label, 100 * count / most if most else 0)


def timeline(spans: Sequence[tuple[float, float, str, str]], begin: float, end: float, label: str) -> Markup:
    """One row for each attempt, from when the job was sent until now or its end.

    Args:
        spans: start and end in seconds, the class that gives the colour, and words.
        begin, end: seconds, of the whole.
    """
    whole = max(end - begin, 1e-3)
    rows = Markup("").join(
        Markup(
            '<g><title>{}</title><rect class="soft" x="0" y="{}" width="{}" height="1"/>'
            '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="8" rx="2"/></g>'
        ).format(
            words,
            row * 14 + 6,
            _WIDE,
            kind,
            (start - begin) / whole * _WIDE,
            row * 14 + 2,
            max(3, (stop - start) / whole * _WIDE),
        )
        for row, (start, stop, kind, words) in enumerate(spans)
    )
    return Markup('<svg class="timeline" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>').format(
        _WIDE + 3, 14 * len(spans) + 4, label, rows
    )
