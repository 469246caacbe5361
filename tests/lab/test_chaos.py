"""Half an hour of random faults under mixed load (`--long`; OCEANID_CHAOS_MINUTES, OCEANID_CHAOS_SEED).

One exit at a time is broken, sometimes with something on a worker node beside it, so that there is always a way out. What
must hold: nothing leaks, 99.9 % of the requests succeed with one retry, after each fault the gateways have chosen an exit
that works within five seconds, after the last one every tunnel answers, and memory stays where it was.
"""
import collections
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import threading
import time

import pytest

from conftest import EXIT_ADDRESS

CONFIG = "/etc/oceanid/oceanid.yaml"
WORKERS = ("styx", "calypso")
HEALTH = ('health: { damping: off, hold: 2s, target_interval: 1s, target_timeout: 1s, targets: '
          '[ { tls: "www.example.test:443" }, { dns: "www.example.test" } ] }')
BLOCK = 'table inet labchaos { chain f { type filter hook forward priority 0; iifname "oc-hub" oifname "eth0" drop; }; }'
CONVERGES = 5.0
MEMORY = 1.5  # times what it was after the first faults

# On an exit; True: its gateways must leave it.
EXIT_FAULTS = {"killed": (("kill", "all"), True), "frozen": (("freeze",), True), "cut": (("cut",), True),
               "one-way": (("one-way",), True), "drop-udp": (("drop-udp",), True), "uplink-dead": (("uplink-down",), True),
               "nothing-beyond": (None, True), "nat-off": (("nat-off",), False), "netd-killed": (("kill", "netd"), True),
               "loss": (("loss", "3"), False), "worker-killed": (("kill", "worker"), False)}
# On a worker node.
NODE_FAULTS = {"worker-killed": ("kill", "worker"), "rules-gone": ("purge-routes",), "flannel-flush": ("flannel-flush",)}

pytestmark = pytest.mark.long


class Load:
    def __init__(self, lab, pod):
        script = (pathlib.Path(__file__).parent / "chaos_load.py").read_text()
        self.pod, self.retries, self.counts = pod, [], {}
        self.process = lab.popen(pod, "/usr/bin/python3", "-c", script, stdin=subprocess.PIPE)
        self.told = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            found = json.loads(line)
            if "counts" in found:
                self.counts = found["counts"]
                self.told.set()
            else:
                self.retries.append(found)

    def report(self):
        self.told.clear()
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        assert self.told.wait(10), f"the load in {self.pod} has ended"
        return self.counts

    def close(self):
        self.process.terminate()
        self.process.wait()


def switch(lab, node, name, on):
    words = EXIT_FAULTS[name][0]
    if words is None:
        lab.exec(node, "nft", *([BLOCK] if on else ["delete", "table", "inet", "labchaos"]))
    elif on:
        lab.fault(words[0], "on", node, *words[1:])
    else:
        lab.fault(words[0], "off", node)


def converged(lab, loads, without):
    """Seconds until every kind of request of every pod has succeeded that began from now on, and not by a broken exit."""
    begun = time.time()
    broken = EXIT_ADDRESS.get(without)
    good = lambda: all(one["good"][0] > begun and one["good"][1] != broken for load in loads for one in load.report().values())
    lab.wait_for(good, 30, 0.05)
    return time.time() - begun


def memory(lab, node):
    """KiB of the gateway's and WireGuard's processes."""
    total = 0
    for comm in ("oceanid-netd", "oceanid-worker", "oceanid-launch", "wireguard-go"):
        for pid in lab.pids(node, comm):
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total


def tunnels_answer(lab):
    for node in EXIT_ADDRESS:
        for tunnel in lab.status(node)["tunnels"]:
            if not tunnel["present"] or False in (tunnel["answers"], tunnel["hears_us"]):
                return False
    return True


@pytest.fixture
def probing(whole_lab):
    """The worker nodes look beyond their exits, and return to them soon."""
    lab = whole_lab
    before = {node: lab.exec(node, "cat", CONFIG).stdout for node in WORKERS}
    for node, text in before.items():
        lab.exec(node, "tee", CONFIG, input=re.sub(r"(?m)^health:.*$", HEALTH, text))
        lab.oceanid(node, "reload")
    lab.wait_for(lambda: all(one["known"] for node in WORKERS for one in lab.status(node)["targets"]), 20)
    try:
        yield lab
    finally:
        for node, text in before.items():
            lab.exec(node, "tee", CONFIG, input=text)
            lab.oceanid(node, "reload", check=False)


def one_fault(lab, loads, dice, log):
    node = dice.choice(("tethys", "tethys", "meliae"))
    name = dice.choice(list(EXIT_FAULTS))
    beside = (dice.choice(WORKERS), dice.choice(list(NODE_FAULTS))) if dice.random() < 0.25 else None
    entry = {"at": time.time(), "exit": node, "fault": name, "beside": beside}
    begun = time.monotonic()
    try:
        switch(lab, node, name, True)
        if beside:
            lab.fault(NODE_FAULTS[beside[1]][0], "on", beside[0], *NODE_FAULTS[beside[1]][1:])
        entry["converged"] = round(converged(lab, loads, node if EXIT_FAULTS[name][1] else None), 2)
        time.sleep(dice.uniform(0, 4))
    finally:
        switch(lab, node, name, False)
        if beside and NODE_FAULTS[beside[1]][0] == "flannel-flush":
            lab.fault("flannel-flush", "off", beside[0])
    lab.wait_for(lambda: all(one["usable"] for worker in WORKERS for one in lab.status(worker)["exits"]), 60)
    entry["restored"] = round(time.monotonic() - begun, 2)
    log.append(entry)
    print(json.dumps(entry), flush=True)
    time.sleep(dice.uniform(0.5, 4))


def test_random_faults_under_load(probing):
    lab = probing
    minutes = float(os.environ.get("OCEANID_CHAOS_MINUTES", "30"))
    seed = int(os.environ.get("OCEANID_CHAOS_SEED", str(int(time.time()))))
    dice = random.Random(seed)
    lab.healthy()
    lab.reset_leaks()
    log, sizes, at_first = [], [], None
    loads = [Load(lab, f"pod-{node}-1") for node in WORKERS]
    end = time.monotonic() + minutes * 60
    try:
        while time.monotonic() < end:
            one_fault(lab, loads, dice, log)
            if len(log) >= 5:  # everything has been in use
                sizes.append({node: memory(lab, node) for node in WORKERS})
                at_first = at_first or sizes[0]
        last = converged(lab, loads, None)
        lab.wait_for(lambda: tunnels_answer(lab), 30)
        time.sleep(2)
        counts = {load.pod: load.report() for load in loads}
    finally:
        for load in loads:
            load.close()
    asked = sum(one["asked"] for kinds in counts.values() for one in kinds.values())
    failed = sum(one["failed"] for kinds in counts.values() for one in kinds.values())
    times = [entry["converged"] for entry in log]
    report = {"seed": seed, "minutes": minutes, "faults": len(log), "asked": asked, "failed": failed,
              "retried": sum(one["retried"] for kinds in counts.values() for one in kinds.values()), "requests": counts,
              "converged": {"median": statistics.median(times), "longest": max(times), "last": round(last, 2)},
              "by_fault": dict(collections.Counter(entry["fault"] for entry in log)), "leaks": lab.leaks(),
              "memory_kib": {"first": at_first, "last": sizes[-1] if sizes else None},
              "failures": [one for load in loads for one in load.retries if not one["good"]], "log": log}
    print(json.dumps({key: value for key, value in report.items() if key != "log"}, indent=1))
    if path := os.environ.get("OCEANID_CHAOS_REPORT"):
        pathlib.Path(path).write_text(json.dumps(report, indent=1))
    assert report["leaks"] == 0, lab.run("status").stdout
    assert failed <= asked * 0.001, report["failures"]
    # No exit is left for 3 % of loss, which a UDP request may meet in both of its tries (2 and 4 s).
    late = [entry for entry in log if entry["converged"] > CONVERGES + (6 if entry["fault"] == "loss" else 0)]
    assert not late, late
    assert last < CONVERGES
    for node in WORKERS if sizes else ():
        assert sizes[-1][node] < at_first[node] * MEMORY, (node, sizes)
