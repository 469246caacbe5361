"""Destinations that are too many for rules: exempted by a mark of our ruleset. The mark only opens; without it, and for
what left the list, everything takes the exit or is refused. Recorded plans on this kernel, without the gateway."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from plan_world import NODES, PORT, SERVICE, World

POD = "pod-styx-1"
UPLINK = NODES["styx"][1]
EXIT = NODES["tethys"][1]
LISTED, UNLISTED = SERVICE, "192.0.2.11"  # what the plan `long-bypass` exempts, and what it does not

# Asks, waits for a line on standard input, and asks again on the same connection.
ASK_TWICE = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as connection:
    connection.settimeout(3)
    connection.sendall(b"one\\n")
    answer = b""
    while b"one\\n" not in answer:
        answer += connection.recv(200)
    print("seen", answer.decode().split()[0], flush=True)
    sys.stdin.readline()
    try:
        connection.sendall(b"two\\n")
        answer = connection.recv(200)
        print("answered" if answer else "closed", flush=True)
    except TimeoutError:
        print("silence", flush=True)
    except OSError as error:
        print("refused", error.strerror, flush=True)
"""


@pytest.fixture(scope="module")
def shared():
    with World() as world:
        world.on("internet", "ip", "addr", "add", f"{UNLISTED}/32", "dev", "lo")
        yield world


@pytest.fixture
def world(shared):
    for node in NODES:
        shared.apply(node)
    shared.apply("styx", "long-bypass")
    shared.rp_filter(0)
    before = shared.counter("internet", "private", "leaks")
    yield shared
    shared.settle()
    assert shared.counter("internet", "private", "leaks") == before, "packets with a pod's source were on the wire"


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_what_is_listed_leaves_as_without_us_and_the_rest_by_the_exit(world, rp_filter, kind):
    world.rp_filter(rp_filter)
    assert world.seen(POD, kind, LISTED, wait=3) == UPLINK
    assert world.seen(POD, "tcp", UNLISTED, wait=3) == EXIT


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_without_our_ruleset_nothing_is_exempt(world, kind):
    world.on("styx", "nft", "flush", "ruleset")
    world.masquerade("styx")
    try:
        assert world.seen(POD, kind, LISTED, wait=1) != UPLINK
    finally:
        world.apply("styx", "long-bypass")


def test_an_element_that_is_added_opens_and_one_that_is_removed_closes(world):
    world.on("styx", "nft", "add", "element", "inet", "oceanid", "exempt4", "{", UNLISTED, "}")
    assert world.seen(POD, "tcp", UNLISTED, wait=3) == UPLINK
    world.on("styx", "nft", "delete", "element", "inet", "oceanid", "exempt4", "{", UNLISTED, "}")
    assert world.seen(POD, "tcp", UNLISTED, wait=3) == EXIT


@pytest.mark.parametrize("rp_filter", [0, 1])
def test_open_connections_of_what_is_removed_are_refused(world, rp_filter):
    world.rp_filter(rp_filter)
    before = world.leaks()
    client = subprocess.Popen(["ip", "netns", "exec", world.netns(POD), sys.executable, "-c", ASK_TWICE, LISTED, str(PORT)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline().split() == ["seen", UPLINK]
        world.on("styx", "nft", "delete", "element", "inet", "oceanid", "exempt4", "{", LISTED, "}")
        world.settle()
        used, carried = world.leaks(), world.wires.packets
        assert used > before, "the counter counts what leaves by the uplink"
        began = time.monotonic()
        answer, _ = client.communicate("\n", timeout=20)
        assert answer.startswith("refused"), answer
        assert time.monotonic() - began < 2.5, "at once, not by a timeout"
        world.settle()
        assert world.leaks() == used, "nothing more left by the uplink"
        assert world.wires.packets == carried, "nor went into a tunnel with the uplink's address"
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
        client.stdin.close()


def test_a_connection_that_stays_listed_goes_on(world):
    client = subprocess.Popen(["ip", "netns", "exec", world.netns(POD), sys.executable, "-c", ASK_TWICE, LISTED, str(PORT)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline().split() == ["seen", UPLINK]
        world.apply("styx", "long-bypass")  # the whole table anew
        answer, _ = client.communicate("\n", timeout=20)
        assert answer.strip() == "answered"
    finally:
        client.kill()
        client.wait()
