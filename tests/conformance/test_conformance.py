"""The corpus against our own program, a test for each case; tests/conformance/run compares with other proxies."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from kit.corpus import read  # noqa: E402
from kit.proxies import Oceanid  # noqa: E402
from kit.suite import Suite  # noqa: E402

CASES = read(HERE / "corpus")
GROUPS = {"request-target", "Host", "head grammar", "RFC 9931", "early data", "half-close", "timers", "answers", "auth",
          "guard", "policy", "TLS", "SOCKS5", "PROXY protocol", "forwarding", "smuggling"}


@pytest.fixture(scope="module")
def suite():
    with Suite(Oceanid(os.environ.get("OCEANID", str(HERE.parents[1] / "build/release/oceanid")))) as running:
        yield running


def test_the_corpus_is_whole():
    assert len(CASES) >= 150
    assert {case.group for case in CASES} == GROUPS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(suite, case):
    outcome, text = suite.judge(case)
    assert outcome == "passed", f"{text}\n{case.why}"
