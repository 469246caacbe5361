"""Runs in a pod during test_chaos.py: requests of three kinds, each tried once more when it fails.

One line for each request that needed its retry or failed with it; for each line on standard input the sums, and when the
last attempt that succeeded began and the address that was seen.
"""
import json
import socket
import sys
import threading
import time

ECHO = ("192.0.2.12", 7844)
PROXY = ("egress-gateway.egress-system", 3128)
PATIENCE = 2.0  # twice what a switch may take
PAUSE = 0.1

counts = {kind: {"asked": 0, "retried": 0, "failed": 0, "slowest": 0.0, "good": [0, ""]} for kind in ("tcp", "udp", "connect")}
lock = threading.Lock()


def tcp(patience):
    with socket.create_connection(ECHO, patience) as stream:
        return stream.makefile("r").readline().strip()


def udp(patience):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience)
        sock.connect(ECHO)
        sock.send(b"x")
        return sock.recv(100).split()[0].decode()


def connect(patience):
    with socket.create_connection(PROXY, patience) as stream:
        host = f"{ECHO[0]}:{ECHO[1]}"
        stream.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        reader = stream.makefile("rb")
        if b" 200 " not in reader.readline():
            raise OSError("refused")
        while reader.readline().strip():
            pass
        return reader.readline().strip().decode()


def attempt(kind, ask, patience):
    """As a library does it: what is refused at once is not given up before half a second."""
    begun, began = time.monotonic(), time.time()
    try:
        if seen := ask(patience):
            with lock:
                counts[kind]["good"] = [began, seen]
            return True
    except OSError:
        pass
    time.sleep(max(0, 0.75 - (time.monotonic() - begun)))
    return False


def repeat(kind, ask):
    while True:
        begun = time.time()
        first = attempt(kind, ask, PATIENCE)
        good = first or attempt(kind, ask, 2 * PATIENCE)
        took = time.time() - begun
        with lock:
            count = counts[kind]
            count["asked"] += 1
            count["retried"] += not first
            count["failed"] += not good
            count["slowest"] = max(count["slowest"], round(took, 2))
            if not first:
                print(json.dumps({"kind": kind, "begun": begun, "took": round(took, 2), "good": good}), flush=True)
        time.sleep(PAUSE)


for kind, ask in (("tcp", tcp), ("udp", udp), ("connect", connect)):
    threading.Thread(target=repeat, args=(kind, ask), daemon=True).start()
for _ in sys.stdin:
    with lock:
        print(json.dumps({"counts": counts}), flush=True)
