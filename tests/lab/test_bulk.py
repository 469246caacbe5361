"""Much data through one tunnel, and many tunnels at once."""
import hashlib

import pytest

from conftest import PROXY

SIZE = 2 << 30

MANY = r"""
import resource, selectors, socket, sys
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
count = int(sys.argv[1])
sockets = []
for index in range(count):
    s = socket.create_connection(("10.42.1.1", 3128), 30)
    s.settimeout(30)
    s.sendall(b"CONNECT edge.example.test:7844 HTTP/1.1\r\nHost: edge.example.test:7844\r\n\r\n")
    sockets.append(s)
ready = 0
rests = []
for s in sockets:
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(4096)
        if not part: break
        data += part
    ready += data.startswith(b"HTTP/1.1 200")
    rests.append(data.partition(b"\r\n\r\n")[2])
answered = 0
for index, s in enumerate(sockets):
    s.sendall(b"tunnel %d\n" % index)
for index, s in enumerate(sockets):
    data = rests[index]  # the address first, then the echo
    while data.count(b"\n") < 2:
        part = s.recv(4096)
        if not part: break
        data += part
    answered += data == b"203.0.113.10\ntunnel %d\n" % index
print(ready, answered)
"""


@pytest.mark.long
def test_two_gibibytes_through_one_tunnel_arrive_intact(lab):
    expected = lab.curl("pod-styx-1", f"https://www.example.test/sha256/{SIZE}", proxy=PROXY, patience=300).stdout.split()[0]
    process = lab.popen("pod-styx-1", "bash", "-c",
                        f"curl -sS -m 600 -x {PROXY} https://www.example.test/bytes/{SIZE} | sha256sum")
    out, errors = process.communicate(timeout=600)
    assert out.split()[0] == expected, errors
    assert len(expected) == hashlib.sha256().digest_size * 2


def test_two_thousand_tunnels_at_once(lab):
    allowed = lab.exec("pod-styx-1", "/usr/bin/python3", "-c", MANY, "2000", timeout=300)
    assert allowed.stdout.split() == ["2000", "2000"], allowed.stderr
    assert lab.leaks() == 0
