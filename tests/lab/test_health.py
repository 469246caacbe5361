"""What broke, in one sentence: every fault of an exit moves the traffic and is named by what the probes found."""
import re
import time

import pytest

from conftest import EXIT_ADDRESS

CONFIG = "/etc/oceanid/oceanid.yaml"
HEALTH = ('health: { damping: off, hold: 2s, target_interval: 1s, targets: [ { tls: "www.example.test:443" }, '
          '{ dns: "www.example.test" }, { postgres: "db.example.test:5432" } ], '
          'exit_ip: { url: "https://ip.example.test/", interval: 1s } }')

# A firewall of the exit's own that lets nothing out of the tunnels; what an enabled UFW does.
BLOCK = 'table inet labtest { chain f { type filter hook forward priority 0; iifname "oc-hub" oifname "eth0" drop; }; }'


@pytest.fixture(scope="module")
def probing(whole_lab):
    """styx looks beyond its exits, too."""
    lab = whole_lab
    before = lab.exec("styx", "cat", CONFIG).stdout
    text = re.sub(r"(?m)^health:.*$", HEALTH, before)
    assert text != before
    try:
        lab.exec("styx", "tee", CONFIG, input=text)
        lab.oceanid("styx", "reload")
        lab.wait_for(lambda: (found := lab.status("styx"))["targets"] and all(one["known"] for one in found["targets"]))
        yield lab
    finally:
        lab.exec("styx", "tee", CONFIG, input=before)
        lab.oceanid("styx", "reload")


@pytest.fixture
def healthy(probing):
    """Both exits are in order before and after, and no packet has left with a wrong source."""
    lab = probing
    in_order = lambda: [one["code"] for one in lab.status("styx")["exits"]] == ["ok", "ok"] and carries("tethys")
    carries = lambda name: any(one["current"] and one["name"] == name for one in lab.status("styx")["exits"])
    lab.wait_for(in_order, 60)
    lab.reset_leaks()
    yield lab
    lab.wait_for(lambda: carries("tethys"), 60)
    assert lab.leaks() == 0, lab.run("status").stdout


def readyz(lab):
    return lab.exec("styx", "curl", "-sS", "-w", "%{http_code}", "http://127.0.0.1:2000/readyz").stdout


def metrics(lab):
    return lab.exec("styx", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout


def exit_of(lab, name):
    return next(one for one in lab.status("styx")["exits"] if one["name"] == name)


def test_targets_and_addresses_are_shown(healthy):
    # An exit that lost two echoes before is in order, and watched for some seconds more.
    status = healthy.wait_for(lambda: (found := healthy.status("styx"))["diagnosis_code"] == "ok" and found, 30)
    seen = {(one["exit"], one["target"]): one for one in status["targets"]}
    assert all(one["good"] for one in seen.values()), seen
    assert seen["tethys", "exit_ip"]["seen"] == EXIT_ADDRESS["tethys"]
    assert seen["meliae", "exit_ip"]["seen"] == EXIT_ADDRESS["meliae"]
    assert seen["meliae", "tls www.example.test:443"]["certificate_days"] > 0
    assert status["diagnosis"] == "Traffic leaves by tethys."
    for line in ('oceanid_probe_success{exit="tethys",target="dns www.example.test"} 1', 'oceanid_diagnosis{code="ok"} 1'):
        healthy.wait_for(lambda: line in metrics(healthy), 3)  # the page is told once a second


def switched_on(lab, arguments):
    name, *rest = arguments
    if name == "block":
        lab.exec("tethys", "nft", BLOCK)
    else:
        lab.fault(name, "on", "tethys", *rest)


def switched_off(lab, arguments):
    if arguments[0] == "block":
        lab.exec("tethys", "nft", "delete", "table", "inet", "labtest", check=False)
    else:
        lab.fault(arguments[0], "off", "tethys")


FAULTS = {
    "killed": (("kill", "all"), {"tunnel_silent"}, r"no echo through the tunnel for [0-9.]+ s"),
    "frozen": (("freeze",), {"tunnel_silent"}, r"no echo through the tunnel for [0-9.]+ s"),
    "uplink-dead": (("uplink-down",), {"tunnel_silent"}, r"no echo through the tunnel for [0-9.]+ s"),
    "cut": (("cut",), {"tunnel_silent"}, r"no echo through the tunnel for [0-9.]+ s"),
    # The peer hears nothing any more and says so; its packets still arrive.
    "one-way": (("one-way",), {"one_way", "tunnel_silent"}, r"our packets do not reach tethys, while its packets reach us"),
    "nothing-beyond": (("block",), {"no_internet"}, r"tunnel fine, exit cannot reach the internet \(0 of 2 targets answer; "),
    "wrong-address": (("wrong-nat",), {"wrong_address"}, r"exit leaves with 203\.0\.113\.11, expected 203\.0\.113\.10"),
}


# What the gateway asks through an exit, used or not, is seen with the address that the exit has.
PROBES = re.compile(r"tethys 203\.0\.113\.11 > (192\.0\.2\.(10|11|130) 6( reset)?|192\.0\.2\.53 17)")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_moves_the_traffic_and_is_named(healthy, capture, busy, name):
    lab = healthy
    arguments, codes, phrase = FAULTS[name]
    switched_on(lab, arguments)
    try:
        lab.wait_for(lambda: not exit_of(lab, "tethys")["usable"] and exit_of(lab, "meliae")["current"], 30)
        lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=3) == EXIT_ADDRESS["meliae"], 20)
        found = lab.wait_for(lambda: (one := exit_of(lab, "tethys"))["code"] in codes and re.search(phrase, one["reason"])
                             and one, 10)
        assert found["state"] == "down"
        status = lab.status("styx")
        assert status["diagnosis_code"] == "standby"
        assert re.search(r"Traffic leaves by meliae; tethys is down \(" + phrase, status["diagnosis"]), status["diagnosis"]
        assert any(re.search("tethys is down: ", event["text"]) for event in status["events"])
        body = lab.wait_for(lambda: "tethys is down" in (text := readyz(lab)) and text, 3)  # told once a second
        assert body.startswith("ready\n") and body.endswith("200")
        for line in (f'oceanid_exit_diagnosis{{exit="tethys",code="{found["code"]}"}} 1',
                     'oceanid_exit_state{exit="tethys",state="down"} 1'):
            lab.wait_for(lambda: line in metrics(lab), 3)
        if name == "wrong-address":
            # The provider's doing, beyond the exit: what went there until it was found came out under the strange address.
            capture.reset()
        lab.wait_for(lambda: EXIT_ADDRESS["meliae"] in busy().get("tcp", {}))
        strange = {key for key in capture.wrong() if not PROBES.fullmatch(key)}
        assert not strange, strange
    finally:
        switched_off(lab, arguments)
    if name == "wrong-address":
        lab.wait_for(lambda: exit_of(lab, "tethys")["code"] == "ok", 60)
        lab.reset_leaks()


def test_a_service_that_fails_everywhere_is_nobodys_fault(healthy):
    """The database is gone: both exits stay as they are, and the sentence says what does not work."""
    lab = healthy
    block = 'table inet labtest { chain i { type filter hook prerouting priority -300; tcp dport 5432 drop; }; }'
    lab.exec("internet", "nft", block)
    try:
        found = lab.wait_for(lambda: (one := lab.status("styx"))["diagnosis_code"] == "target_failing" and one, 30)
        assert "postgres db.example.test:5432 does not work" in found["diagnosis"]
        assert all(one["usable"] for one in found["exits"]) and found["exits"][0]["current"]
    finally:
        lab.exec("internet", "nft", "delete", "table", "inet", "labtest")
    lab.wait_for(lambda: lab.status("styx")["diagnosis_code"] == "ok", 20)


def test_when_all_exits_are_gone_nothing_leaves_and_readiness_stays(healthy):
    lab = healthy
    for node in ("tethys", "meliae"):
        lab.fault("cut", "on", node)
    try:
        found = lab.wait_for(lambda: (one := lab.status("styx"))["diagnosis_code"] in ("no_exit", "underlay_down") and one, 20)
        assert "nothing leaves" in found["diagnosis"]
        answer = lab.wait_for(lambda: "nothing leaves" in (text := readyz(lab)) and text, 3)
        assert answer.endswith("200")
        assert lab.seen_as("pod-styx-1", check=False, patience=2) == ""
    finally:
        for node in ("tethys", "meliae"):
            lab.fault("cut", "off", node)
    begun = time.monotonic()
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == EXIT_ADDRESS["tethys"], 60)
    print(f"back after {time.monotonic() - begun:.1f} s")
