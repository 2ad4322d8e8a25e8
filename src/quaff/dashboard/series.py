"""What was counted by the minute or hour, as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from quaff.dashboard import charts
from quaff.inspector import Bucket


def chart(buckets: Sequence[Bucket], label: str) -> Markup:
    """Succeeded and failed over time; a script may draw it anew, and tell the numbers under the pointer.

    Args:
        buckets: the oldest first.
        label: what is shown, in words.
    """
    good = [each.counts.succeeded for each in buckets]
    bad = [each.counts.failed + each.counts.retried for each in buckets]
    both = [one + other for one, other in zip(good, bad, strict=True)]
    data = {
        "names": ["attempts", "of them failed"],
        "data": [[int(each.at.timestamp()) for each in buckets], both, bad],
    }
    picture = charts.stacked(good, bad, [f"{each.at:%H:%M}" for each in buckets], label)
    return Markup('<div data-chart="{}">{}</div>').format(json.dumps(data, separators=(",", ":")), picture)
