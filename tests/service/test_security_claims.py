"""SECURITY.md names a test for each claim; each of them is there."""

import re

import pytest

from harness import ROOT

NAMED = re.findall(r"`((?:src|tests)/[\w/.]+)(?:::(\w+))?`", (ROOT / "SECURITY.md").read_text())


def test_there_are_claims():
    assert len(NAMED) > 20


@pytest.mark.parametrize("file, name", NAMED, ids=lambda part: part)
def test_the_test_of_a_claim_is_there(file, name):
    text = (ROOT / file).read_text()
    if name:
        assert re.search(rf"^\s*(?:def|fn) {name}\(", text, re.MULTILINE), f"{file} has no test {name}"
