"""netd by itself, without the lab: what it survives, what it tells the service manager, how it ends."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

CONFIG = """state_dir: {folder}
run_dir: {folder}
proxy: {{ workers: 1, timeouts: {{ drain: 1s }}, listeners: [{listeners}] }}
"""


class Gateway:
    """A gateway in network and mount namespaces of its own (wireguard-go has a fixed folder), with a service manager's socket that we read."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.config = folder / "oceanid.yaml"
        self.log = open(folder / "log", "w")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(0.1)
        self.told = []
        self.write(3128)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["unshare", "-nm", "sh", "-c", "ip link set lo up; mkdir -p /run/wireguard; mount -t tmpfs none /run/wireguard; "
             f"exec {self.program} run -c {self.config}"],
            stderr=self.log, env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")})

    def write(self, *ports):
        self.config.write_text(CONFIG.format(
            folder=self.folder, listeners=", ".join(f'{{ bind: "127.0.0.1:{port}" }}' for port in ports)))

    def hear(self):
        """What has been said to the service manager so far."""
        while True:
            try:
                self.told.append(self.manager.recv(65536).decode())
            except TimeoutError:
                return self.told

    def wait(self, condition, seconds=10):
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.02)

    def ready(self, times=1):
        self.wait(lambda: sum("READY=1" in text for text in self.hear()) >= times)

    def ask(self, command, code=0):
        done = subprocess.run([self.program, command, "--socket", str(self.folder / "control.sock")],
                              text=True, capture_output=True, timeout=30)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def children(self, pid):
        return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]

    def connects(self, port):
        return subprocess.run(["nsenter", "-n", "-t", str(self.process.pid), "/usr/bin/python3", "-c",
                               f"import socket;socket.create_connection(('127.0.0.1',{port}),1)"],
                              stderr=subprocess.DEVNULL, timeout=10).returncode == 0

    def end(self):
        self.process.kill()
        self.process.wait()
        self.manager.close()
        self.log.close()


def inhabitants(network):
    """Processes in that network namespace, zombies aside."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/net") == network:
                out.append(pid)
        except OSError:
            pass
    return out


@pytest.fixture
def gateway(program, tmp_path):
    os.chmod(tmp_path, 0o755)
    made = Gateway(program, tmp_path)
    try:
        made.ready()
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("spoil, why", [
    (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    (lambda path: path.write_text(""), "the file is empty"),
    (lambda path: path.write_text("proxy: { listners: [] }\n"), "listeners"),
    (lambda path: path.unlink(), "No such file"),
], ids=["a folder", "empty", "wrong", "missing"])
def test_a_reload_that_fails_keeps_everything(gateway, spoil, why):
    before = gateway.config.read_text()
    spoil(gateway.config)
    os.kill(gateway.process.pid, signal.SIGHUP)
    gateway.ready(times=2)
    said = gateway.ask("reload", code=1)
    assert "refused, what runs goes on" in said and why in said
    assert gateway.connects(3128)
    if gateway.config.is_dir():
        gateway.config.rmdir()
    gateway.config.write_text(before)
    assert re.search(r"configuration \d+ is in force", gateway.ask("reload"))
    gateway.process.terminate()
    assert gateway.process.wait(10) == 0


def test_a_changed_file_is_followed_and_a_broken_one_is_not(gateway):
    gateway.write(3128, 3129)
    gateway.wait(lambda: gateway.connects(3129))
    gateway.config.write_text("proxy: { listners: [] }\n")
    gateway.wait(lambda: "listners" in gateway.ask("status"))
    assert gateway.connects(3128) and gateway.connects(3129)
    gateway.write(3128)
    gateway.hear()  # descriptors in messages that nobody has read keep their sockets open
    gateway.wait(lambda: not gateway.connects(3129))
    assert gateway.connects(3128) and "listners" not in gateway.ask("status")


def test_a_listener_that_goes_is_taken_back_from_the_service_manager(gateway):
    gateway.write(3128, 3129)
    gateway.ask("reload")
    gateway.ready(times=2)
    kept = [text for text in gateway.hear() if text.startswith("FDSTORE=1")]
    name = re.search("FDNAME=(.*)", [text for text in kept if b"3129".hex() in text][0])[1]
    gateway.write(3128)
    gateway.ask("reload")
    gateway.ready(times=3)
    assert f"FDSTOREREMOVE=1\nFDNAME={name}" in gateway.hear()
    assert not gateway.connects(3129) and gateway.connects(3128)


def test_an_upgrade_is_no_stop_for_the_service_manager(gateway):
    os.kill(gateway.process.pid, signal.SIGUSR2)
    gateway.ready(times=2)
    assert any(text.startswith("RELOADING=1") for text in gateway.hear())
    assert not any("STOPPING=1" in text for text in gateway.hear())  # systemd would kill us after TimeoutStopSec
    assert gateway.connects(3128)


def test_an_upgrade_that_could_not_start_is_not_begun(gateway):
    gateway.config.write_text("proxy: { listners: [] }\n")
    os.kill(gateway.process.pid, signal.SIGUSR2)
    gateway.wait(lambda: "upgrade refused" in (gateway.folder / "log").read_text())
    gateway.write(3128)
    assert re.search(r"configuration \d+ is in force", gateway.ask("reload"))
    assert gateway.connects(3128)


def test_without_its_launcher_and_its_worker_netd_ends_for_its_service_manager_to_start_again(gateway):
    launcher = gateway.children(gateway.process.pid)[0]
    worker = gateway.children(launcher)[0]
    os.kill(launcher, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    assert gateway.process.wait(10) == 1


def test_a_worker_without_netd_leaves_the_admin_port_to_its_successor(gateway):
    """Else a probe would meet the old worker's "not accepting" by chance until its last tunnel ends."""
    worker = gateway.children(gateway.children(gateway.process.pid)[0])[0]
    enter = ["nsenter", "-n", "-t", str(worker)]
    hold = subprocess.Popen([*enter, "/usr/bin/python3", "-c",
                             "import socket,sys\ns=socket.create_connection(('127.0.0.1',3128))\n"
                             "print('held',flush=True);sys.stdin.read()"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert hold.stdout.readline() == "held\n"
        probe = "import socket;socket.create_connection(('127.0.0.1',2000),1)"
        network = os.open(f"/proc/{worker}/ns/net", os.O_RDONLY)
        gateway.process.kill()
        gateway.process.wait()
        gateway.wait(lambda: "netd is gone" in (gateway.folder / "log").read_text())
        until = time.monotonic() + 0.7  # the worker itself lives on for timeouts.drain
        answers = []
        while time.monotonic() < until:
            answers.append(subprocess.run(["nsenter", f"--net=/proc/self/fd/{network}", "/usr/bin/python3", "-c", probe],
                                          stderr=subprocess.DEVNULL, pass_fds=[network]).returncode)
        assert answers and 0 not in answers[1:]
        os.close(network)
    finally:
        hold.kill()
        hold.communicate()



def test_silent_connections_keep_no_probe_from_the_admin_port(gateway):
    script = ("import socket,urllib.request\n"
              "crowd=[socket.create_connection(('127.0.0.1',2000),5) for _ in range(200)]\n"
              "print(urllib.request.urlopen('http://127.0.0.1:2000/livez',timeout=5).status)\n")
    answered = subprocess.run(["nsenter", "-n", "-t", str(gateway.process.pid), "/usr/bin/python3", "-c", script],
                              text=True, capture_output=True, timeout=30)
    assert answered.stdout == "200\n", answered.stderr


def test_tunnels_that_could_not_start_are_tried_again(gateway, tmp_path):
    """A private key that is not there yet (a mount that comes late) is no state to stay in."""
    keys = tmp_path / "keys"
    gateway.config.write_text(gateway.config.read_text() + "tunnel: { backend: userspace, address: [10.99.0.3], "
                              f"private_key_file: {keys}/private.key, peers: [{{ name: a, address: [10.99.0.1], "
                              f"public_key: \"{'B' * 42}A=\" }}] }}\n")
    gateway.process.terminate()
    assert gateway.process.wait(10) == 0
    gateway.start()
    gateway.ready(times=2)
    gateway.wait(lambda: "trying again" in (gateway.folder / "log").read_text())
    keys.mkdir(mode=0o700)
    fresh = subprocess.run([gateway.program, "keys", "new"], capture_output=True, text=True, check=True, timeout=10).stdout
    (keys / "new").write_text(fresh)
    (keys / "new").chmod(0o600)
    (keys / "new").rename(keys / "private.key")
    gateway.wait(lambda: "oc-hub" in gateway.ask("status"))
    network = os.readlink(f"/proc/{gateway.process.pid}/ns/net")
    gateway.ask("down")  # while wireguard-go is still starting
    assert gateway.process.wait(20) == 0
    gateway.wait(lambda: not inhabitants(network))


GUARD = """
ip link set lo up
ip link add uplink type veth peer name far; ip address add 192.0.2.5/24 dev uplink; ip link set uplink up; ip link set far up
ip link add cni0 type bridge; ip address add 10.42.1.1/24 dev cni0; ip link set cni0 up
ip route add default via 192.0.2.1
mount -t tmpfs none /run; mkdir -p /var/lib/oceanid; mount -t tmpfs none /var/lib/oceanid
cat > /run/o.yaml <<END
exits: [{ name: away, interface: uplink }]
routing: { sources: [10.42.1.0/24], interfaces: [cni0], bypass: [10.42.0.0/16] }
END
"$1" run -c /run/o.yaml & gateway=$!
for i in $(seq 100); do ls /var/lib/oceanid/*good* && break; sleep 0.1; done
kill -9 $gateway; wait $gateway
nft flush ruleset
echo 'routing: { sauces: [] }' > /run/o.yaml
"$1" guard -c /run/o.yaml || exit 1
nft list tables
"""


def test_a_configuration_that_is_broken_at_boot_does_not_open_what_was_closed(program):
    done = subprocess.run(["unshare", "-nm", "sh", "-c", GUARD, "sh", program], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "table inet oceanid" in done.stdout


EXITS = """
ip link set lo up
ip link add uplink type veth peer name far; ip address add 192.0.2.5/24 dev uplink; ip link set uplink up; ip link set far up
ip route add default via 192.0.2.1
printf 'exits: [{ name: away, interface: uplink }]\\nstate_dir: %s\\nrun_dir: %s\\n' "$2" "$2" > "$2/o.yaml"
$3 "$1" run -c "$2/o.yaml" & gateway=$!
for i in $(seq 100); do "$1" status --socket "$2/control.sock" 2>/dev/null | grep -q "since.*configuration 1" && break; sleep 0.1; done
sleep 1.5
"$1" status --socket "$2/control.sock"
ip route show table all
kill $gateway; wait $gateway
"""


@pytest.mark.parametrize("account", ["", "setpriv --reuid 65534 --regid 65534 --clear-groups"], ids=["root", "ordinary"])
def test_exits_alone_work_for_root_and_for_an_ordinary_user(program, account):
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own: nobody may not look in there
        os.chmod(folder, 0o777)
        shutil.copy(program, folder)
        done = subprocess.run(["unshare", "-n", "sh", "-c", EXITS, "sh", f"{folder}/{os.path.basename(program)}", folder, account],
                              text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traffic leaves by away." in done.stdout, done.stderr
    assert ("table 13129" in done.stdout) == (account == "")
    assert '"level":"error"' not in done.stderr
