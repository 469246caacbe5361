"""The worker dies under load: routing is untouched, nobody is refused, and it is back within a second."""
import os
import signal
import time

from conftest import PROXY

# Opens a connection to the proxy every 5 ms for a while and asks it for something; prints the worst case.
HAMMER = r"""
import socket, sys, threading, time
refused = failed = ok = 0
slowest = 0.0
lock = threading.Lock()
def one():
    global refused, failed, ok, slowest
    began = time.monotonic()
    try:
        s = socket.create_connection(("10.42.1.1", 3128), 5)
    except ConnectionRefusedError:
        with lock: refused += 1
        return
    except OSError:
        with lock: failed += 1
        return
    try:
        s.settimeout(10)
        s.sendall(b"CONNECT ip.example.test:443 HTTP/1.1\r\nHost: ip.example.test:443\r\n\r\n")
        if s.recv(64).startswith(b"HTTP/1.1 200"):
            with lock:
                ok += 1
                slowest = max(slowest, time.monotonic() - began)
    except OSError:
        pass
    finally:
        s.close()
threads = []
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    t = threading.Thread(target=one); t.start(); threads.append(t)
    time.sleep(0.005)
for t in threads: t.join()
print(refused, failed, ok, round(slowest, 3))
"""


def test_sigkill_under_load_refuses_nobody(lab):
    ping = lab.popen("pod-styx-2", "ping", "-i", "0.05", "-c", "60", "192.0.2.10")
    hammer = lab.popen("pod-styx-1", "/usr/bin/python3", "-c", HAMMER, "3")
    time.sleep(1)
    before = lab.pids("styx", "oceanid-worker")
    assert len(before) == 1
    os.kill(before[0], signal.SIGKILL)
    lab.wait_for(lambda: lab.curl("pod-styx-2", "https://ip.example.test/", proxy=PROXY, check=False).returncode == 0, 5, 0.02)
    out, errors = hammer.communicate(timeout=60)
    refused, failed, ok, slowest = out.split()
    assert (refused, failed) == ("0", "0"), out + errors
    assert int(ok) > 100 and float(slowest) < 1.5, out  # those that came just then waited for the next worker
    assert " 0% packet loss" in ping.communicate(timeout=30)[0]  # routing never noticed
    after = lab.pids("styx", "oceanid-worker")
    assert len(after) == 1 and after != before
    assert lab.status("styx")["worker_restarts"] >= 1
    assert lab.leaks() == 0


def test_privileges(lab):
    """What the kernel says about each process, not what the program says about itself."""
    def fields(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    net_admin, net_raw, setgid, setuid, setpcap = (1 << bit for bit in (12, 13, 6, 7, 8))
    for node in ("tethys", "styx"):
        worker = fields(lab.pids(node, "oceanid-worker")[0])
        assert {worker[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd")} == {"0" * 16}
        assert worker["NoNewPrivs"] == "1" and worker["Seccomp"] == "2"
        assert "0" not in worker["Uid"].split()
        netd = fields(lab.pids(node, "oceanid-netd")[0])
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(netd[name], 16) == net_admin | net_raw, (node, name)
        launcher = fields(lab.pids(node, "oceanid-launch")[0])
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(launcher[name], 16) == setgid | setuid | setpcap, (node, name)


def test_sigterm_drains(lab):
    """An open download finishes; new connections go to nobody; the exit code is 0."""
    download = lab.popen("pod-styx-1", "curl", "-sS", "-m", "30", "--limit-rate", "4M", "-o", "/dev/null", "-w", "%{size_download}",
                         "-x", PROXY, "https://www.example.test/bytes/12000000")
    time.sleep(1)
    os.kill(lab.pids("styx", "oceanid-netd")[0], signal.SIGTERM)
    out, errors = download.communicate(timeout=40)
    assert out == "12000000", errors
    lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"), 10)
    try_again = lab.curl("pod-styx-1", "https://ip.example.test/", proxy=PROXY, check=False, patience=3)
    assert try_again.returncode != 0
    lab.run("gateway", "start", "styx")
    lab.healthy()
    assert lab.leaks() == 0


def test_netd_killed_is_taken_over_with_its_tunnels(lab):
    pids = lab.pids("styx", "wireguard-go")
    os.kill(lab.pids("styx", "oceanid-netd")[0], signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"), 5)
    lab.run("gateway", "start", "styx")
    lab.healthy()
    assert lab.pids("styx", "wireguard-go") == pids  # adopted, never interrupted
    assert lab.leaks() == 0


def test_upgrade_keeps_listeners_and_tunnels(lab):
    tunnels = lab.pids("styx", "wireguard-go")
    netd = lab.pids("styx", "oceanid-netd")[0]
    worker = lab.pids("styx", "oceanid-worker")
    download = lab.popen("pod-styx-1", "curl", "-sS", "-m", "30", "--limit-rate", "4M", "-o", "/dev/null", "-w", "%{size_download}",
                         "-x", PROXY, "https://www.example.test/bytes/12000000")
    time.sleep(0.5)
    os.kill(netd, signal.SIGUSR2)
    lab.wait_for(lambda: [pid for pid in lab.pids("styx", "oceanid-worker") if pid not in worker], 10)
    assert lab.seen_as("pod-styx-2", proxy=PROXY) == "203.0.113.10"
    assert download.communicate(timeout=40)[0] == "12000000"
    assert lab.pids("styx", "oceanid-netd") == [netd]  # the same process, another life
    assert lab.pids("styx", "wireguard-go") == tunnels
    lab.healthy()
    assert lab.leaks() == 0


def test_an_upgrade_takes_nothing_from_routed_pods(lab):
    """Neither the way out nor the path's MTU, for no moment: a pod's first packet then would be answered "unreachable"."""
    watch = lab.popen("styx", "timeout", "6", "ip", "monitor", "route", "link")
    ping = lab.popen("pod-styx-2", "ping", "-i", "0.01", "-c", "400", "192.0.2.10")
    time.sleep(1)
    netd = lab.pids("styx", "oceanid-netd")[0]
    worker = lab.pids("styx", "oceanid-worker")
    os.kill(netd, signal.SIGUSR2)
    lab.wait_for(lambda: [pid for pid in lab.pids("styx", "oceanid-worker") if pid not in worker], 10)
    assert " 0% packet loss" in ping.communicate(timeout=30)[0]
    changes = watch.communicate(timeout=30)[0].splitlines()
    assert not [line for line in changes if "default dev oc-" in line or " oc-" in line and " mtu " in line], changes
    lab.healthy()
    assert lab.leaks() == 0
