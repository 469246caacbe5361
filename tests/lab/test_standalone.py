"""Without configuration and without root: a plain CONNECT proxy, at once."""
import os
import socket
import subprocess
import time

import pytest


def connect(port, target):
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(5)
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(4096)
            if not part:
                break
            head += part
        return head.decode()


@pytest.fixture
def ordinary_user():
    import pwd
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def test_runs_at_once_and_ends_in_order(program, ordinary_user, tmp_path):
    """In a network namespace of its own, so that port 3128 is free and nothing else listens."""
    uid, gid = ordinary_user
    os.chmod(tmp_path, 0o755)
    runtime = tmp_path / "run"
    runtime.mkdir()
    os.chown(runtime, uid, gid)
    script = f"""
        ip link set lo up
        exec setpriv --reuid {uid} --regid {gid} --clear-groups env XDG_RUNTIME_DIR={runtime} XDG_STATE_HOME={runtime} {program} run
    """
    began = time.monotonic()
    gateway = subprocess.Popen(["unshare", "-n", "sh", "-c", script], stderr=subprocess.PIPE, text=True)
    enter = ["nsenter", "-n", "-t", str(gateway.pid)]
    probe = ("import socket,sys\n"
             "s=socket.create_connection(('127.0.0.1',3128),1);s.settimeout(5)\n"
             "s.sendall(b'CONNECT 127.0.0.1:443 HTTP/1.1\\r\\nHost: 127.0.0.1:443\\r\\n\\r\\n')\n"
             "print(s.recv(65536).decode())\n")
    try:
        while True:
            answer = subprocess.run([*enter, "/usr/bin/python3", "-c", probe], text=True, capture_output=True, timeout=20)
            if answer.returncode == 0:
                break
            assert time.monotonic() - began < 10, answer.stderr
            time.sleep(0.05)
        assert answer.stdout.startswith("HTTP/1.1 403 ")  # the guard: loopback is nobody's destination
        assert "destination_ip_prohibited" in answer.stdout
        gateway.terminate()
        assert gateway.wait(20) == 0
    finally:
        if gateway.poll() is None:
            gateway.kill()
        gateway.stderr.close()


@pytest.mark.parametrize("text, problem", [
    ("proxy: { listners: [] }\n", "listeners"),
    ("tunnel: { peers: [{ name: a }] }\n", "public_key"),
])
def test_a_wrong_configuration_is_refused_with_its_place(program, tmp_path, text, problem):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for command in ("check", "run"):
        result = subprocess.run([program, command, "-c", str(path)], text=True, capture_output=True, timeout=20)
        assert result.returncode == 2
        assert f"{path}:1:" in result.stderr and problem in result.stderr


@pytest.mark.parametrize("words", (["frobnicate"], [], ["status", "--nonsense"]))
def test_usage_errors_have_exit_code_2(program, words):
    assert subprocess.run([program, *words], capture_output=True, timeout=20).returncode == 2


def test_a_log_that_nobody_reads_stops_no_request(program, tmp_path):
    """Standard error is a full pipe: requests are answered all the same, and the end comes in order."""
    config = tmp_path / "oceanid.yaml"
    config.write_text(f"state_dir: {tmp_path}\nrun_dir: {tmp_path}\n")
    reader, writer = os.pipe()
    gateway = subprocess.Popen(["unshare", "-n", "sh", "-c", f"ip link set lo up; exec {program} run -c {config}"],
                               stderr=writer)
    os.close(writer)
    client = ("import socket\n"
              "for _ in range(3000):\n"
              " s=socket.create_connection(('127.0.0.1',3128),5);s.settimeout(5)\n"
              " s.sendall(b'CONNECT 127.0.0.1:443 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')\n"
              " assert s.recv(12)==b'HTTP/1.1 403';s.close()\n")
    try:
        began = time.monotonic()
        while subprocess.run(["nsenter", "-n", "-t", str(gateway.pid), "/usr/bin/python3", "-c",
                              "import socket;socket.create_connection(('127.0.0.1',3128),1)"],
                             stderr=subprocess.DEVNULL).returncode != 0:
            assert time.monotonic() - began < 10
            time.sleep(0.05)
        answered = subprocess.run(["nsenter", "-n", "-t", str(gateway.pid), "/usr/bin/python3", "-c", client],
                                  text=True, capture_output=True, timeout=120)
        assert answered.returncode == 0, answered.stderr
        gateway.terminate()
        assert gateway.wait(30) == 0
    finally:
        gateway.kill()
        gateway.wait()
        os.close(reader)


def test_drain_waits_until_the_end(program, tmp_path):
    config = tmp_path / "oceanid.yaml"
    config.write_text(f"state_dir: {tmp_path}\nrun_dir: {tmp_path}\n")
    gateway = subprocess.Popen(["unshare", "-n", "sh", "-c", f"ip link set lo up; exec {program} run -c {config}"],
                               stderr=subprocess.DEVNULL)
    try:
        ask = [program, "drain", "--socket", str(tmp_path / "control.sock")]
        began = time.monotonic()
        while (drained := subprocess.run(ask, text=True, capture_output=True, timeout=60)).returncode != 0:
            assert time.monotonic() - began < 10, drained.stderr
            time.sleep(0.05)
        assert drained.stdout.splitlines()[0].startswith("draining")
        assert drained.stdout.splitlines()[-1] == "drained"
        assert gateway.wait(5) == 0
    finally:
        gateway.kill()
        gateway.wait()
