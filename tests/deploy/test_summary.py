"""The verdict of tests/run: what did not run is never green without a word."""
import pathlib
import subprocess

import pytest

SUMMARY = pathlib.Path(__file__).parents[1] / "summary.py"
GOOGLETEST = "[ RUN      ] Backend.Kernel\n/x/backend_test.cpp:12: Skipped\n{}\n[  SKIPPED ] Backend.Kernel (0 ms)\n"
PASSED = '<testcase classname="suite" name="good"/>'


@pytest.fixture
def verdict(tmp_path):
    def judge(cases, *options, machine=""):
        for name, text in (("unit", cases), ("vm", machine)):
            if text:
                (tmp_path / f"{name}.xml").write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
        return subprocess.run(["/usr/bin/python3", SUMMARY, "--results", tmp_path, *options], capture_output=True, text=True)
    return judge


def left_out(words, message="SKIP_REGULAR_EXPRESSION_MATCHED"):
    return (f'<testcase classname="tunnel.Backend.Kernel" name="tunnel.Backend.Kernel"><skipped message="{message}"/>'
            f"<system-out>{words}</system-out></testcase>")


def test_a_reason_is_printed_and_stays_green(verdict):
    found = verdict(PASSED + left_out(GOOGLETEST.format("this kernel has no WireGuard")))
    assert found.returncode == 0
    assert "not run here: tunnel.Backend.Kernel: this kernel has no WireGuard\n" in found.stdout
    assert found.stdout.endswith("tests/run: ALL GREEN\n1 passed, 0 failed, 1 skipped\n")


@pytest.mark.parametrize("words", [GOOGLETEST.format(""), ""])
def test_without_a_word_it_counts_as_failed(verdict, words):
    found = verdict(PASSED + left_out(words))
    assert found.returncode == 1
    assert "not run here: tunnel.Backend.Kernel: NO REASON GIVEN\n" in found.stdout
    assert found.stdout.endswith("tests/run: RED\n1 passed, 1 failed, 0 skipped\n")


def test_with_all_every_one_counts_as_failed_but_for_what_the_machine_ran(verdict):
    cases = PASSED + left_out(GOOGLETEST.format("this kernel has no WireGuard"))
    assert verdict(cases, "--strict").stdout.endswith("tests/run: RED\n1 passed, 1 failed, 0 skipped\n")
    found = verdict(cases, "--strict", machine='<testcase classname="Backend" name="Kernel"/>')
    assert found.stdout.endswith("tests/run: ALL GREEN\n2 passed, 0 failed, 0 skipped\n"), found.stdout


def test_a_failed_step_and_no_test_at_all_are_red(verdict):
    assert verdict(PASSED, "--failed-steps", "1").returncode == 1
    assert verdict("<properties/>").returncode == 1


def test_what_is_noted_as_not_run_is_printed_with_its_words(verdict):
    verdict(PASSED, "--not-run", "machine.all", "no virtual machine: <qemu> is missing")
    found = verdict(PASSED)
    assert "not run here: machine.all: no virtual machine: <qemu> is missing\n" in found.stdout
    assert found.stdout.endswith("tests/run: ALL GREEN\n1 passed, 0 failed, 1 skipped\n")
    assert verdict(PASSED, "--strict").returncode == 1


def test_what_was_begun_and_left_nothing_is_red(verdict):
    assert verdict(PASSED, "--expect=unit").returncode == 0
    missing = verdict(PASSED, "--expect=unit", "--expect=pytest")
    assert missing.returncode == 1
    assert "FAILED: pytest left no results" in missing.stdout
    assert verdict("<properties/>", "--expect=unit", machine=PASSED).returncode == 1
