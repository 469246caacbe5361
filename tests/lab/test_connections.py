"""Live tunnels: listed with their bytes, filtered, ended one by one."""
import json

# Opens N tunnels, sends a line through the first, prints "ready", then waits for the ends and prints how many came.
TUNNELS = r"""
import select, socket, sys
tunnels = []
for _ in range(int(sys.argv[1])):
    s = socket.create_connection(("egress-gateway.egress-system", 3128), 5)
    s.settimeout(10)
    s.sendall(b"CONNECT ip.example.test:443 HTTP/1.1\r\nHost: ip.example.test:443\r\n\r\n")
    assert s.recv(4096).startswith(b"HTTP/1.1 200")
    tunnels.append(s)
print("ready", flush=True)
sys.stdin.readline()
print(sum(bool(select.select([s], [], [], 0)[0]) for s in tunnels), flush=True)
"""


def listing(lab, *filters):
    return json.loads(lab.oceanid("styx", "connections", "list", "--json", *filters).stdout)


def test_listed_filtered_and_killed(lab):
    client = lab.popen("pod-styx-1", "/usr/bin/python3", "-c", TUNNELS, "3", stdin=-1)
    try:
        assert client.stdout.readline() == "ready\n"
        pod = lab.env()["LAB_POD_STYX_1_ADDRESS"]
        shown = listing(lab, "--source", pod)
        assert shown["matching"] == 3 and len(shown["connections"]) == 3
        one = shown["connections"][0]
        assert one["host"] == "ip.example.test" and one["port"] == 443 and one["exit"] == "tethys"
        assert one["source"].startswith(pod + ":") and one["address"].endswith(":443")
        assert listing(lab, "--source", "192.0.2.0/24")["matching"] == 0
        assert listing(lab, "--source", pod, "--host", "*.example.test", "--limit", "2")["matching"] == 3
        assert "ip.example.test:443" in lab.oceanid("styx", "connections").stdout

        assert "closed" in lab.oceanid("styx", "connections", "kill", one["id"]).stdout
        lab.wait_for(lambda: listing(lab, "--source", pod)["matching"] == 2, 5)
        again = lab.oceanid("styx", "connections", "kill", one["id"], check=False)
        assert again.returncode == 1 and "no open tunnel" in again.stderr
        output, errors = client.communicate("\n", timeout=10)
        assert output == "1\n", errors
    finally:
        client.kill()


def test_bad_filters_are_named(lab):
    bad = lab.oceanid("styx", "connections", "--source", "10.0.0.1/8", check=False)
    assert bad.returncode == 2 and "10.0.0.1/8" in bad.stderr
