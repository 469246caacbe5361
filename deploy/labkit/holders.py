"""One quiet process per namespace: it holds the private mounts that `exec` joins."""

from __future__ import annotations

import os

from labkit import plan
from labkit.system import (CLONE_NEWNET, MS_BIND, LabError, Process, mount, mounts_below, setns, unmount,
                           unshare_mounts)

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Private places of a node: mount points that must exist on the machine itself for as long as a lab is up.
NODE_FOLDERS = ("/var/lib/oceanid", "/etc/oceanid")
NODE_FILES = ("/etc/resolv.conf", "/etc/hosts")


def is_node(who: str) -> bool:
    return who in plan.NODES


def resolv_conf(who: str) -> str:
    server = plan.SERVICES["dns"] if who in plan.PODS else plan.INFRASTRUCTURE_DNS
    # Fast failure for a person who looks at a broken path; `ndots` as in a pod would only multiply the questions.
    return f"nameserver {server.address4}\noptions timeout:2 attempts:2\n"


def hosts(who: str) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", f"127.0.1.1 {who}"]
    if who in plan.PODS:
        names = "egress-gateway.egress-system egress-gateway.egress-system.svc.cluster.local"
        lines.append(f"{plan.GATEWAY_SERVICE} {names}")
    return "\n".join(lines) + "\n"


def sysctls(who: str, rp_filter: int, pods_ipv6: bool) -> dict[str, str]:
    values = {
        "net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/all/accept_ra": "0", "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv6/conf/all/disable_ipv6": "0", "net/ipv6/conf/default/disable_ipv6": "0",
        # An interface that loses its link must get its addresses back with it, as on a real router.
        "net/ipv6/conf/all/keep_addr_on_down": "1", "net/ipv6/conf/default/keep_addr_on_down": "1",
        "net/ipv4/ping_group_range": "0 2147483647",
    }
    if who in plan.PODS:
        values["net/ipv6/conf/default/disable_ipv6"] = "0" if pods_ipv6 else "1"
        return values
    values |= {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
               "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0"}
    if is_node(who):
        values |= {"net/ipv4/conf/all/rp_filter": str(rp_filter), "net/ipv4/conf/default/rp_filter": str(rp_filter)}
    return values


def write_sysctls(values: dict[str, str]) -> None:
    """In the network namespace of the caller. /proc/sys/net always shows the reader's own."""
    for name, value in values.items():
        path = f"/proc/sys/{name}"
        try:
            with open(path, "w", encoding="ascii") as out:
                out.write(value)
        except OSError as error:
            with open(path, encoding="ascii") as current:
                if current.read().split() == value.split():
                    continue
            raise LabError(f"cannot set {name.replace('/', '.')}={value}: {error.strerror} (is /proc/sys read-only?)")


def start(who: str, namespace: str, ca_pem: str, ca_path: str, values: dict[str, str]) -> tuple[Process, int]:
    """Forks the holder; returns it and a descriptor on which b"ok" or an error text arrives."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Process(pid), reader
    try:
        os.setsid()
        setns(f"/run/netns/{namespace}", CLONE_NEWNET)
        _private_mounts(who, ca_pem, ca_path)
        write_sysctls(values)
        os.write(writer, b"ok")
        _become_quiet(writer)
        os.execv("/bin/sleep", [f"lab-holder-{namespace}", "infinity"])
    except BaseException as error:  # a forked child must never run the parent's code further
        os.write(writer, f"{who}: {error}".encode())
    os._exit(1)


def await_ready(reader: int) -> None:
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    if answer != b"ok":
        raise LabError(answer.decode() or "a namespace holder ended at once")


def _become_quiet(keep_until_exec: int) -> None:
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.set_inheritable(keep_until_exec, False)
    os.closerange(3, keep_until_exec)
    os.closerange(keep_until_exec + 1, 256)


def _private_mounts(who: str, ca_pem: str, ca_path: str) -> None:
    unshare_mounts()
    try:
        mount("sysfs", "/sys", "sysfs")
    except OSError:
        pass  # a container may forbid it; then /sys/class/net shows the outer namespace, which nothing here needs
    resolv = os.path.realpath("/etc/resolv.conf")
    # Copies of other labs' mounts below /run would keep their namespaces alive after their `down`.
    for point in mounts_below("/run"):
        try:
            unmount(point)
        except OSError:
            pass
    mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    if os.path.realpath("/var/run") != "/run":
        mount("tmpfs", "/var/run", "tmpfs", 0, "mode=755")
    for folder in ("/run/lock", "/run/netns", "/run/wireguard", "/var/run/wireguard", "/run/oceanid"):
        os.makedirs(folder, exist_ok=True)
    if is_node(who):
        for folder in NODE_FOLDERS:
            mount("tmpfs", folder, "tmpfs", 0, "mode=755")
    _write(ca_path, ca_pem)
    _cover("/etc/hosts", hosts(who), who)
    if resolv.startswith("/run/"):
        _write(resolv, resolv_conf(who))
    else:
        _cover(resolv, resolv_conf(who), who)
    if os.path.exists(CA_BUNDLE):
        with open(CA_BUNDLE, encoding="ascii", errors="replace") as bundle:
            _cover(CA_BUNDLE, bundle.read() + ca_pem, who)


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii", errors="replace") as out:
        out.write(text)


def _cover(path: str, text: str, who: str) -> None:
    """A file of our own over the machine's."""
    private = f"/run/lab/{who}{path}"
    _write(private, text)
    mount(private, path, None, MS_BIND)
