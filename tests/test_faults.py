"""The tables of faults and of security have no holes and say what the tests say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import catalogue as rows
from tests.catalogue import Catalogue
from tests.faults import FAULTS
from tests.threats import THREATS

each_catalogue = pytest.mark.parametrize(("catalogue", "last"), [(FAULTS, 69), (THREATS, 27)], ids=["F", "S"])


@each_catalogue
def test_each_row_has_a_test_or_a_reason_why_not(catalogue: Catalogue, last: int) -> None:
    """And none has both."""
    cited, not_yet = set(catalogue.cited()), set(catalogue.not_yet)
    assert sorted(catalogue.titles()) == list(range(1, last + 1))
    assert set(catalogue.titles()) == cited | not_yet
    assert not cited & not_yet, "shown by now: no reason is needed any more"


@each_catalogue
def test_the_page_is_up_to_date(catalogue: Catalogue, last: int) -> None:
    """Otherwise: ``python -m tests.faults > docs/reference/faults.md``, or the same with ``threats``."""
    assert catalogue.path.read_text() == catalogue.page()


@each_catalogue
def test_a_row_is_run_by_its_id_with_a_point(catalogue: Catalogue, last: int) -> None:
    """Not those whose ids go on with another digit."""
    cited = catalogue.cited()
    longer = {test for number in range(10, 20) for test in cited[number]} - {*cited[1]}
    assert longer
    files = {test.partition("::")[0] for test in longer.union(cited[1])}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-n0"]
    words = ["-k", f"{catalogue.letter}1.", *sorted(files)]
    own = os.environ | {"ENGINE": ""}
    done = subprocess.run([*command, *words], cwd=rows.ROOT, capture_output=True, text=True, env=own)
    found = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert found == set(cited[1]), done.stdout + done.stderr


CITING = """
@pytest.mark.xfail(reason="it is not so yet")
def test_a():
    'F1'

@pytest.mark.parametrize("what", [pytest.param(1, marks=pytest.mark.xfail)])
def test_b(what):
    'F2'

class TestC:
    'F3'

    async def test_d(self):
        'F4'

    def look(self):
        'F5'
"""


def test_a_test_that_is_expected_to_fail_shows_no_row(tmp_path: Path) -> None:
    """Nor does a function that is no test; what is said of a class is said of each test in it."""
    path = tmp_path / "test_some.py"
    path.write_text(CITING)
    assert list(rows.tests_of(path)) == [("TestC::test_d", "F3 F4")]
