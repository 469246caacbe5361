"""The lab as a fixture: brought up once for the session, handed to each test healthy, taken down at the end.

Black box: tests drive the real program through pods, faults and its command line, and look at what arrives in the
internet. Traffic stays inside the lab's own namespaces.
"""
import functools
import os
import pathlib
import shlex
import subprocess
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROXY = "http://egress-gateway.egress-system:3128"
NODES = ("tethys", "meliae", "styx", "calypso")
EXIT_ADDRESS = {"tethys": "203.0.113.10", "meliae": "203.0.113.20", "styx": "203.0.113.10", "calypso": "203.0.113.10"}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long matrices too")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: runs with --long only")
    config.addinivalue_line("markers", "flowtable: needs a kernel with nftables' flowtables; tests/vm runs it elsewhere")
    config.addinivalue_line("markers", "kernel_wireguard: needs the kernel's WireGuard; tests/vm runs it elsewhere")
    config.addinivalue_line("markers", "no_flowtable: shows what a kernel without them does")


@functools.cache
def has_flowtables():
    text = ("table inet t {\nflowtable f { hook ingress priority 0; devices = { lo }; }\n"
            "chain c { type filter hook forward priority 10; flow add @f; }\n}\n")
    return subprocess.run(["unshare", "-n", "nft", "-c", "-f", "-"], input=text, text=True, capture_output=True).returncode == 0


@functools.cache
def has_kernel_wireguard():
    return subprocess.run(["unshare", "-n", "ip", "link", "add", "wg0", "type", "wireguard"], capture_output=True).returncode == 0


def pytest_runtest_setup(item):
    if item.get_closest_marker("kernel_wireguard") and not has_kernel_wireguard():
        pytest.skip("this kernel has no WireGuard; the virtual machine of tests/run does")
    if item.get_closest_marker("flowtable") and not has_flowtables():
        pytest.skip("this kernel has no flowtables; the virtual machine of tests/run does")


def pytest_collection_modifyitems(config, items):
    """Unlike a skipped test, which is something that this machine cannot do, these are left out by choice."""
    leave_out = set() if config.getoption("--long") else {"long"}
    if any(item.get_closest_marker("no_flowtable") for item in items) and has_flowtables():
        leave_out.add("no_flowtable")
    left_out = lambda item: any(item.get_closest_marker(marker) for marker in leave_out)
    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What each program of the lab said last goes below the report of a test that failed: the lab is gone when it is read."""
    report = (yield).get_result()
    if report.failed:
        for name in {value.name for value in getattr(item, "funcargs", {}).values() if isinstance(value, Lab)}:
            report.sections.append((f"end of the logs of lab {name}", last_words(name)))


def last_words(name, lines=12):
    out = []
    for path in sorted(pathlib.Path(f"/run/oceanid-lab/{name}/log").glob("*.log")):
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            end = log.read().decode(errors="replace").splitlines()[-lines:]
        out += [f"-- {path.name}", *end] if end else []
    return "\n".join(out)


class Lab:
    def __init__(self, name, program):
        self.name = name
        self.program = program

    def run(self, *words, check=True, timeout=60, **options):
        result = subprocess.run([str(REPOSITORY / "deploy/lab"), "--name", self.name, *words], text=True,
                                capture_output=True, timeout=timeout, **options)
        if check and result.returncode != 0:
            raise AssertionError(f"deploy/lab {shlex.join(words)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def env(self):
        values = {}
        for line in self.run("env").stdout.splitlines():
            name, _, value = line.partition("=")
            values[name] = " ".join(shlex.split(value))
        return values

    def up(self, *options):
        """Without options: as the last time."""
        self.options = options or getattr(self, "options", ())
        options = self.options
        self.run("down")
        self.run("up", "--oceanid", self.program, "--wait", "90", *options, timeout=180)

    def down(self):
        self.run("down", timeout=120)

    def exec(self, who, *words, check=True, timeout=60, **options):
        return self.run("exec", who, *words, check=check, timeout=timeout, **options)

    def popen(self, who, *words, **options):
        return subprocess.Popen([str(REPOSITORY / "deploy/lab"), "--name", self.name, "exec", who, *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def curl(self, pod, url, *options, proxy=None, check=True, patience=10):
        via = ["-x", proxy] if proxy else []
        return self.exec(pod, "curl", "-sS", "-m", str(patience), *via, *options, url, check=check)

    def seen_as(self, pod, proxy=None, check=True, patience=10):
        """The address that the world sees, or an empty string."""
        return self.curl(pod, "https://ip.example.test/", proxy=proxy, check=check, patience=patience).stdout.strip()

    def oceanid(self, node, *words, check=True):
        return self.exec(node, self.program, *words, "-c", "/etc/oceanid/oceanid.yaml", check=check)

    def status(self, node):
        import json
        return json.loads(self.oceanid(node, "status", "--json").stdout)

    def fault(self, *words):
        self.run("fault", *words)

    def leaks(self):
        return int(self.run("leaks").stdout)

    def reset_leaks(self):
        self.run("leaks", "--reset")

    def wait_for(self, what, seconds=20, every=0.2):
        """Polls `what` until it is true; its last value is the message when it never is."""
        end = time.monotonic() + seconds
        while True:
            value = what()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {value!r}")
            time.sleep(every)

    def healthy(self, seconds=30):
        """Every node has its preferred exit and pods are routed by it."""
        # All four at once first: after most tests nothing is broken, and this is done after every test.
        asked = {node: self.popen(f"pod-{node}-1", "curl", "-sS", "-m", "2", "https://ip.example.test/") for node in NODES}
        answers = {node: process.communicate()[0].strip() for node, process in asked.items()}
        for node in (node for node in NODES if answers[node] != EXIT_ADDRESS[node]):
            self.wait_for(lambda node=node: self.seen_as(f"pod-{node}-1", check=False, patience=2) == EXIT_ADDRESS[node],
                          seconds)

    def pids(self, node, comm):
        """Processes of the node's network namespace that call themselves `comm`."""
        found = []
        listing = subprocess.run(["ip", "netns", "pids", self.env()[f"LAB_{node.upper()}_NETNS"]], text=True,
                                 capture_output=True, check=True).stdout
        for pid in listing.split():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == comm:
                    found.append(int(pid))
            except OSError:
                continue
        return found


@pytest.fixture(scope="session")
def program():
    path = os.environ.get("OCEANID", str(REPOSITORY / "build/release/oceanid"))
    assert os.access(path, os.X_OK), f"{path} is missing: build it, or name another with OCEANID="
    return path


@pytest.fixture(scope="session")
def whole_lab(program):
    # Another name: beside a lab that runs, as each of pytest-xdist's workers has one.
    lab = Lab(os.environ.get("OCEANID_LAB", "octest") + os.environ.get("PYTEST_XDIST_WORKER", ""), program)
    try:
        lab.up()
        lab.healthy()
        if wanted := os.environ.get("OCEANID_BACKEND"):  # what this run is about, and no test of it would notice
            found = {one["backend"] for node in NODES for one in lab.status(node)["tunnels"]}
            assert found == {wanted}, f"tunnels are {found}, and OCEANID_BACKEND says {wanted}"
        yield lab
    finally:
        lab.down()


@pytest.fixture
def lab(whole_lab):
    """The session's lab, healthy, with its leak counter at zero; a test that leaves it broken gets it rebuilt."""
    whole_lab.reset_leaks()
    yield whole_lab
    try:
        whole_lab.healthy(25)
    except AssertionError:
        whole_lab.up()


@pytest.fixture
def capture(lab):
    """The second observer in the internet (see matrix.py), for one test: it sees each packet, apart from nftables."""
    from matrix import Capture
    capture = Capture(lab)
    yield capture
    capture.close()


@pytest.fixture
def busy(lab):
    """pod-styx-1 makes flows of every kind all the time; waits until each has been tried, from the call on."""
    from matrix import KINDS, Worker
    traffic = Worker(lab, "pod-styx-1", "traffic")

    def tried():
        traffic.say("reset")
        return lab.wait_for(lambda: all((found := traffic.report()).get("tried", {}).get(kind, 0) > 1 for kind in KINDS) and found)
    yield tried
    traffic.close()


@pytest.fixture(scope="module")
def witness(whole_lab):
    """Traffic on every node and two observers in the internet, for all tests of one file (see matrix.py)."""
    from matrix import Witness
    witness = Witness(whole_lab)
    try:
        witness.carried()
        yield witness
    finally:
        witness.close()
    try:
        whole_lab.healthy()
    except AssertionError:
        whole_lab.up()
