"""Pods leave through one exit address: by proxy, by forward, by route; on every node."""
import pytest

from conftest import EXIT_ADDRESS, NODES, PROXY

PSQL = "host=egress-gateway.egress-system port=5432 dbname=warehouse user=warehouse sslmode=require connect_timeout=10"
UDP_ECHO = "exec 3<>/dev/udp/edge.example.test/7844; for try in 1 2 3; do echo hello >&3; timeout 3 head -n1 <&3 && break; done"  # a datagram may be lost
# Over TCP the address is a line of its own, before the echo.
TCP_ECHO = "exec 3<>/dev/tcp/edge.example.test/7844; echo hello >&3; timeout 5 head -n2 <&3 | tr '\\n' ' '"


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("number", (1, 2))
def test_a_pod_with_https_proxy_is_seen_as_the_exit(lab, node, number):
    assert lab.seen_as(f"pod-{node}-{number}", proxy=PROXY) == EXIT_ADDRESS[node]
    assert lab.leaks() == 0


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("number", (1, 2))
def test_a_pod_without_a_proxy_is_routed_to_the_exit(lab, node, number):
    assert lab.seen_as(f"pod-{node}-{number}") == EXIT_ADDRESS[node]
    assert lab.leaks() == 0


@pytest.mark.parametrize("node", NODES)
def test_the_database_sees_the_exit_through_the_forward(lab, node):
    seen = lab.exec(f"pod-{node}-1", "psql", PSQL, "-Atc", "select inet_client_addr()").stdout.strip()
    assert seen == EXIT_ADDRESS[node]


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("echo", (UDP_ECHO, TCP_ECHO), ids=("udp", "tcp"))
def test_a_vendor_tunnel_on_7844_is_seen_as_the_exit(lab, node, echo):
    assert lab.exec(f"pod-{node}-1", "bash", "-c", echo).stdout.strip() == f"{EXIT_ADDRESS[node]} hello"
    assert lab.leaks() == 0


def test_pods_of_one_node_and_of_two_reach_each_other_directly(lab):
    env = lab.env()
    for source, target in (("pod-styx-1", "POD_STYX_2"), ("pod-styx-1", "POD_TETHYS_1"), ("pod-calypso-1", "POD_MELIAE_2"),
                           ("pod-tethys-1", "POD_MELIAE_1")):
        lab.exec(source, "ping", "-c", "1", "-W", "3", env[f"LAB_{target}_ADDRESS"])


def test_status_names_the_exit_and_the_tunnels(lab):
    status = lab.status("styx")
    assert status["format"] == 1
    assert [exit["name"] for exit in status["exits"]] == ["tethys", "meliae"]
    # A machine that is busy with something else makes round trips long: that is degraded, and usable.
    assert all(exit["state"] in ("up", "degraded", "suspect") and exit["usable"] for exit in status["exits"])
    assert status["exits"][0]["current"] and not status["exits"][1]["current"]
    assert {tunnel["device"] for tunnel in status["tunnels"]} == {"oc-tethys", "oc-meliae"}
    assert status["diagnosis"].startswith("Traffic leaves by tethys")
    said = lab.oceanid("styx", "status").stdout
    assert "Traffic leaves by tethys" in said
    if status["tunnels"][0]["backend"] == "userspace":
        installed = lab.exec("styx", "wireguard-go", "--version").stdout.splitlines()[0].split()[1].lstrip("v")
        # The processes are asked when they have started.
        lab.wait_for(lambda: {tunnel["version"] for tunnel in lab.status("styx")["tunnels"]} == {installed})
        assert f"wireguard-go {installed}\n" in lab.oceanid("styx", "status").stdout


def test_the_admin_endpoint_answers(lab):
    def get(path):
        return lab.exec("styx", "curl", "-sS", "-w", "\n%{http_code}", f"http://127.0.0.1:2000{path}").stdout.rsplit("\n", 1)
    assert get("/livez")[1] == "200"
    assert get("/readyz")[1] == "200"
    body, code = get("/ready")
    assert code == "200" and '"readyConnections":2' in body
    metrics = get("/metrics")[0]
    for line in ('oceanid_exit_current{exit="tethys"} 1', 'oceanid_exit_state{exit="meliae",state="down"} 0',
                 "oceanid_proxy_tunnels_open"):
        assert line in metrics, line
    # floor16(1500 - 60) over IPv4, floor16(1500 - 80) over IPv6
    assert any(f'oceanid_tunnel_mtu_bytes{{peer="tethys"}} {mtu}' in metrics for mtu in (1440, 1408))
    assert get("/nothing")[1] == "404"
