#!/usr/bin/python3
"""Adds up the JUnit files of a test run and prints the verdict; the last line is the runner's summary.

A test that could not run is printed with its reason; one that gives none counts as failed. With --strict (tests/run --all) each of
them counts as failed, unless the virtual machine of tests/vm ran it (vm*.xml); it is counted there.
"""
import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def cases(path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        suite, name = case.get("classname", ""), case.get("name", "")
        name = name if suite == name else f"{suite}.{name}".strip(".")  # CTest says it twice
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        skipped = case.find("skipped")
        if failure is not None or case.get("status") == "fail":
            yield name, "failed", (failure.get("message") or "") if failure is not None else ""
        elif skipped is not None or case.get("status") in ("notrun", "disabled"):
            reason = (skipped.get("message") or skipped.text or "") if skipped is not None else ""
            if reason.startswith("SKIP_") or not reason:  # CTest says how it knew; the test said why
                reason = said_by(case.findtext("system-out") or "")
            yield name, "skipped", reason
        else:
            yield name, "passed", ""


def said_by(output):
    """The words of GTEST_SKIP() << "..."; GoogleTest's own lines around them are no reason, nor is another program's silence."""
    _, skipped, behind = output.partition(": Skipped\n")
    return behind.partition("[  SKIPPED ]")[0].strip() if skipped else output.strip()[-300:]


def plain(name):
    """The name that GoogleTest gives a case, without what CTest puts around it."""
    return name.split("  # ")[0].removeprefix("tunnel.")


def note_not_run(results, name, reason):
    suite = ElementTree.Element("testsuite", name=name)
    case = ElementTree.SubElement(suite, "testcase", name=name)
    ElementTree.SubElement(case, "skipped", message=reason)
    ElementTree.ElementTree(suite).write(results / f"{name}.xml")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--results", required=True, type=pathlib.Path)
    options.add_argument("--failed-steps", type=int, default=0)
    options.add_argument("--strict", action="store_true")
    options.add_argument("--expect", action="append", default=[], metavar="NAME", help="a file without which it is red")
    options.add_argument("--not-run", nargs=2, metavar=("NAME", "REASON"), help="notes a test that cannot run here, no more")
    options = options.parse_args()
    if options.not_run:
        note_not_run(options.results, *options.not_run)
        return 0

    count = {"passed": 0, "failed": options.failed_steps, "skipped": 0}
    files = sorted(options.results.glob("*.xml"))
    machine = options.results.glob("vm*.xml")
    in_machine = {name for path in machine for name, outcome, _ in cases(path) if outcome == "passed"}
    elsewhere = set()
    for path in files:
        for name, outcome, reason in cases(path):
            if outcome == "skipped" and plain(name) in in_machine:
                elsewhere.add(plain(name))
                continue
            if outcome == "skipped":
                print(f"not run here: {name}: {' '.join(reason.split()) or 'NO REASON GIVEN'}")
                if options.strict or not reason.strip():
                    outcome = "failed"
            elif outcome == "failed":
                print(f"FAILED: {name}")
            count[outcome] += 1
    for name in options.expect:
        path = options.results / f"{name}.xml"
        if not path.exists() or not any(cases(path)):
            print(f"FAILED: {name} left no results: it ended before its tests did")
            count["failed"] += 1
    if elsewhere:
        print(f"{len(elsewhere)} test(s) that this kernel cannot run ran in the virtual machine's")
    if not files or count["passed"] == 0:
        print("no test was executed")
        count["failed"] += 1
    if options.failed_steps:
        print(f"{options.failed_steps} step(s) failed before or beside the tests, see above")
    print("tests/run: ALL GREEN" if count["failed"] == 0 else "tests/run: RED")
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 0 if count["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
