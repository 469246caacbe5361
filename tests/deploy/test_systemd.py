"""The systemd units: what they are allowed to do, and that systemd itself finds no fault."""

import os
import shutil
import subprocess

import pytest

UNITS = ["oceanid.service", "oceanid-guard.service"]


class Unit(dict):
    """{"Section.Key": [values]}: keys may repeat, which configparser cannot express by itself."""

    def __init__(self, path):
        super().__init__()
        section = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            line = line.strip()
            if line.startswith("["):
                section = line[1:-1]
            elif line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                self.setdefault(f"{section}.{key}", []).append(value)

    def one(self, key):
        assert len(self.get(key, [])) == 1, f"{key}: {self.get(key)}"
        return self[key][0]


@pytest.fixture(scope="module")
def folder(root):
    return root / "deploy/systemd"


@pytest.fixture(scope="module")
def service(folder):
    return Unit(folder / "oceanid.service")


def test_capabilities_are_exactly_those_of_the_design(service):
    assert sorted(service.one("Service.CapabilityBoundingSet").split()) == [
        "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]
    assert service.one("Service.NoNewPrivileges") == "yes"


def test_readiness_reload_and_restart(service):
    assert service.one("Service.Type") == "notify"
    assert service.one("Service.NotifyAccess") == "main"
    assert service.one("Service.ExecReload") == "/bin/kill -HUP $MAINPID"
    assert service.one("Service.Restart") == "on-failure"
    assert service.one("Unit.StartLimitIntervalSec") == "0"
    assert service.one("Service.FileDescriptorStoreMax") == "4096"
    assert service.one("Service.RuntimeDirectoryPreserve") == "restart"


def test_tunnels_outlive_a_restart(service):
    assert service.one("Service.KillMode") == "process"
    assert service.one("Service.RuntimeDirectory") == "oceanid"  # not wireguard: it would be removed on stop


def test_network_sysctls_are_writable_and_the_others_are_not(service):
    assert service.one("Service.ProtectSystem") == "strict"
    assert service.one("Service.ProtectKernelTunables") == "no"
    read_only = " ".join(service["Service.ReadOnlyPaths"]).split()
    assert {"-/proc/sys/kernel", "-/proc/sys/vm", "-/proc/sys/fs", "-/proc/sysrq-trigger", "-/sys"} <= set(read_only)
    for path in read_only:
        assert not "/proc/sys/net/".startswith(path.lstrip("-") + "/"), path


def test_only_the_tun_device_is_open(service):
    assert service.one("Service.DevicePolicy") == "closed"
    assert service.one("Service.DeviceAllow") == "/dev/net/tun rw"


def test_guard_comes_before_network_and_pods(folder):
    guard = Unit(folder / "oceanid-guard.service")
    assert guard.one("Service.Type") == "oneshot"
    assert guard.one("Service.ExecStart").split()[:2] == ["/usr/bin/oceanid", "guard"]
    assert guard.one("Unit.DefaultDependencies") == "no"
    assert {"network-pre.target", "k3s.service", "k3s-agent.service"} <= set(guard.one("Unit.Before").split())
    assert guard.one("Service.CapabilityBoundingSet") == "CAP_NET_ADMIN"


def test_systemd_finds_no_fault(folder, tmp_path):
    assert shutil.which("systemd-analyze"), "apt-get install --no-install-recommends systemd"
    program = tmp_path / "oceanid"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for name in UNITS:  # verify wants the program to exist; only its path is changed
        text = (folder / name).read_text(encoding="utf-8").replace("/usr/bin/oceanid", str(program))
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)],
                            capture_output=True, text=True, timeout=60, check=False,
                            env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
    ours = [line for line in result.stderr.splitlines() if "oceanid" in line]
    assert result.returncode == 0 and ours == [], result.stderr


@pytest.mark.parametrize("name, most", [("oceanid.service", 3.0), ("oceanid-guard.service", 2.6)])
def test_exposure_does_not_grow(folder, name, most):
    result = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={int(most * 10)}",
                             str(folder / name)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout.splitlines()[-1:]


def test_account_and_protocol_name(folder):
    words = [line.split() for line in (folder / "sysusers.d/oceanid.conf").read_text().splitlines()
             if line and not line.startswith("#")]
    assert [w[:2] for w in words] == [["u", "oceanid"]]
    result = subprocess.run(["systemd-sysusers", "--dry-run", str(folder / "sysusers.d/oceanid.conf")],
                            capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    numbers = [line.split() for line in (folder / "rt_protos.d/oceanid.conf").read_text().splitlines()
               if line and not line.startswith("#")]
    assert numbers == [["131", "oceanid"]]


def test_networkd_leaves_our_routes_alone(folder):
    settings = Unit(folder / "networkd.conf.d/oceanid.conf")
    assert settings == {f"Network.{key}": ["no"] for key in (
        "ManageForeignRoutes", "ManageForeignRoutingPolicyRules", "ManageForeignNextHops")}


def test_route_protocol_has_its_name(root, folder):
    number, name = (folder / "rt_protos.d/oceanid.conf").read_text(encoding="utf-8").splitlines()[-1].split()
    assert name == "oceanid"
    assert f"route_protocol =\n    {number};" in (root / "routing/core/model.hpp").read_text(encoding="utf-8")
    assert "rt_protos.d/oceanid.conf" in (root / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
