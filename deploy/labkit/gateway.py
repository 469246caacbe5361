"""oceanid on the lab's nodes: configuration, start, readiness, end."""

from __future__ import annotations

import base64
import http.client
import json
import os
import resource
import shutil
import signal
import time

from labkit import plan
from labkit.state import State
from labkit.system import LabError, Process, enter_holder, end_all, reap, run, spawn, wait_until

CONFIG = "/etc/oceanid/oceanid.yaml"
KEY = "/var/lib/oceanid/private.key"
ADMIN_PORT = 2000


def make_keys() -> dict[str, tuple[str, str]]:
    """Node name -> (private, public)."""
    keys = {}
    for name in plan.NODES:
        private = run(["wg", "genkey"]).strip()
        keys[name] = (private, run(["wg", "pubkey"], stdin=private + "\n").strip())
        if len(base64.b64decode(keys[name][1])) != 32:
            raise LabError(f"wg pubkey gave an unusable key for {name}")
    return keys


def configuration(node: plan.Node, public_keys: dict[str, str], ipv6: str | None = None) -> str:
    """oceanid.yaml of one node, by its role. With `ipv6` (block, exit or ignore) the tunnels, the
    exits and the pods have both families."""
    peers = plan.EXITS.values() if not node.exit else plan.NODES.values()
    parts = [f"node: {node.name}", "log: { level: info, format: json, access: true }",
             _proxy(), _forwards(), _tunnel(node, public_keys, [peer for peer in peers if peer.name != node.name], ipv6),
             _exits(node, ipv6)]
    if node.exit:
        parts.append(_serve_exit(node, ipv6))
    parts.append("health: { damping: off }")  # what fails again and again does so on purpose here
    parts.append(_routing(node, ipv6))
    return "\n".join(parts) + "\n"


def _list(four: str, six: str | None, ipv6: str | None) -> str:
    return f'[{four}, "{six}"]' if ipv6 and six else f"[{four}]"


def _proxy() -> str:
    servers = [plan.SERVICES["dns"].address4]
    ranges = ", ".join(f'"{prefix}"' for prefix in plan.DOCUMENTATION)
    return (f'proxy:\n  listeners:\n    - {{ bind: "[::]:{plan.PROXY_PORT}" }}\n'
            f"  connect_ports: [443, 5432, 6432, 8443, {plan.ECHO_PORT}]\n"
            f"  guard: {{ allow: [{ranges}] }}\n  dns: {{ servers: [{', '.join(servers)}] }}")


def _forwards() -> str:
    return (f'forwards:\n  - {{ name: warehouse, bind: "[::]:{plan.WAREHOUSE_PORT}", '
            f'to: ["db.{plan.ZONE}:{plan.DATABASE_PORT}"], probe: postgres }}')


def _tunnel(node: plan.Node, public_keys: dict[str, str], peers: list[plan.Node], ipv6: str | None) -> str:
    listen = plan.TUNNEL_PORT if node.exit else "null"
    lines = ["tunnel:", f"  listen: {listen}", f"  address: {_list(node.tunnel4, node.tunnel6, ipv6)}", "  peers:"]
    for peer in peers:
        lines += [f"    - name: {peer.name}", f'      public_key: "{public_keys[peer.name]}"',
                  f"      address: {_list(peer.tunnel4, peer.tunnel6, ipv6)}",
                  f"      networks: {_list(peer.pod_cidr, peer.pod_cidr6, ipv6)}"]
        if peer.exit:
            lines.append(f"      endpoint: {peer.name}.{plan.ZONE}:{plan.TUNNEL_PORT}")
    return "\n".join(lines)


def _exits(node: plan.Node, ipv6: str | None) -> str:
    lines = ["exits:"]
    ordered = sorted(plan.EXITS.values(), key=lambda exit_node: exit_node.name != node.name)
    for exit_node in ordered:
        way = "self: true" if exit_node.name == node.name else f"peer: {exit_node.name}"
        seen = _list(exit_node.address4, exit_node.address6, ipv6)
        lines.append(f"  - {{ name: {exit_node.name}, {way}, address: {seen} }}")
    return "\n".join(lines)


def _serve_exit(node: plan.Node, ipv6: str | None) -> str:
    # The lab's world lives in special-purpose ranges, which an exit refuses unless told: exactly the services' ones.
    clients = f"{plan.POD_RANGE}, {plan.TUNNEL_RANGE}" + (f', "{plan.POD_RANGE6}", "{plan.TUNNEL_RANGE6}"' if ipv6 else "")
    allow = "192.0.2.0/24" + (', "2001:db8:2::/64", "2001:db8:db::/64"' if ipv6 else "")
    return (f"serve_exit:\n  uplink: eth0\n  address: {_list(node.address4, node.address6, ipv6)}\n"
            f"  clients: [{clients}]\n  allow: [{allow}]")


def _routing(node: plan.Node, ipv6: str | None) -> str:
    bypass = ", ".join((plan.POD_RANGE, plan.SERVICE_RANGE, plan.MESH_RANGE)) + (f', "{plan.POD_RANGE6}"' if ipv6 else "")
    text = f"routing:\n  sources: {_list(node.pod_cidr, node.pod_cidr6, ipv6)}\n  interfaces: [cni0]\n  bypass: [{bypass}]"
    return text + (f"\n  ipv6: {ipv6}" if ipv6 else "")


def install(state: State, keys: dict[str, tuple[str, str]]) -> None:
    """Writes every node's private files through its holder's root."""
    public = {name: pair[1] for name, pair in keys.items()}
    for name, node in plan.NODES.items():
        root = f"/proc/{state.holder(name)}/root"
        _write(root + CONFIG, configuration(node, public, state.values["options"]["ipv6"]), 0o644)
        _write(root + KEY, keys[name][0] + "\n", 0o600)
    state.values["public_keys"] = public
    state.save()


def _write(path: str, text: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="ascii") as out:
        out.write(text)
    os.chmod(path, mode)


def start(state: State, node: str) -> Process:
    running = state.process(f"oceanid-{node}")
    if running is not None and running.alive():
        return running
    program = state.values["options"].get("oceanid")
    if not program:
        raise LabError("this lab was brought up with --no-gateway")
    holder = state.holder(node)
    folder = _bring_program(state, holder, program)
    kept = ("PATH", "LANG", "ASAN_OPTIONS", "TSAN_OPTIONS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    process = spawn([f"{folder}/oceanid", "run", "-c", CONFIG], state.log(f"oceanid-{node}"),
                    enter=lambda: _enter_node(holder), environment=environment | {"LD_LIBRARY_PATH": folder})
    state.remember(f"oceanid-{node}", process)
    return process


def _bring_program(state: State, holder: int, program: str) -> str:
    """Copies the program and the libraries built with it into the node: the worker's account must be able to read
    them, and a repository below /root is nobody else's to read."""
    folder = f"{state.folder}/bin"
    target = f"/proc/{holder}/root{folder}"
    os.makedirs(target, exist_ok=True)
    built = [program]
    for line in run(["ldd", program], check=False).splitlines():
        path = line.partition("=> ")[2].partition(" (")[0].strip()
        if path and not path.startswith(("/lib", "/usr")):
            built.append(path)
    for path in built:
        name = "oceanid" if path == program else os.path.basename(path)
        shutil.copy2(path, f"{target}/{name}.new")
        os.chmod(f"{target}/{name}.new", 0o755)
        os.replace(f"{target}/{name}.new", f"{target}/{name}")
    return folder


def _enter_node(holder: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # a few thousand tunnels need it
    enter_holder(holder)


def ask(state: State, node: str, path: str) -> tuple[int, str]:
    """GET on the node's admin endpoint; (0, reason) when there is no answer."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = "0 no answer"
        try:
            enter_holder(state.holder(node))
            connection = http.client.HTTPConnection("127.0.0.1", ADMIN_PORT, timeout=2)
            connection.request("GET", path)
            response = connection.getresponse()
            answer = f"{response.status} {response.read().decode(errors='replace')}"
        except BaseException as error:  # the child ends here, whatever happens
            answer = f"0 {error}"
        os.write(writer, answer.encode()[:60000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        status, _, body = pipe.read().decode(errors="replace").partition(" ")
    os.waitpid(pid, 0)
    return int(status or 0), body


def unusable(state: State, node: str) -> str:
    """Why the gateway on a node does not carry traffic yet; empty when it does, with every exit it has."""
    code, body = ask(state, node, "/readyz")
    if code != 200:
        return f"/readyz: {code or ''} {body.strip()}"
    code, body = ask(state, node, "/api/v1/status")
    try:
        status = json.loads(body)
    except ValueError:
        return f"/api/v1/status: {code or ''} {body.strip()[:200]}"
    exits = status.get("exits", [])
    down = [f"exit {one['name']} is {one['state']}: {one.get('reason', '')}" for one in exits if not one["usable"]]
    if down or not any(one.get("current") for one in exits):
        return "; ".join(down) or "no exit is current"
    if status.get("routing", {}).get("in_force") is False:
        return f"routing is not in force: {status['routing'].get('error', '')}"
    return ""


def await_ready(state: State, seconds: float, progress) -> None:
    """Every node accepts connections, and every exit is proven from it."""
    end = time.monotonic() + seconds
    for node in plan.NODES:
        process = state.process(f"oceanid-{node}")
        reason = "nothing yet"

        def usable() -> bool:
            nonlocal reason
            reap()
            if not process.alive():
                return True
            reason = unusable(state, node)
            return not reason
        if not wait_until(usable, max(0.5, end - time.monotonic()), 0.1) or not process.alive():
            what = f"is not ready: {reason}" if process.alive() else "has ended"
            raise LabError(f"oceanid on {node} {what}\n{tail(state, node)}\nsee {state.log(f'oceanid-{node}')}")
        progress(node)


def tail(state: State, node: str, lines: int = 5) -> str:
    try:
        with open(state.log(f"oceanid-{node}"), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:]).rstrip()
    except OSError:
        return ""


def processes(state: State, node: str) -> list[int]:
    """Everybody in the node's network namespace who runs oceanid."""
    net = os.stat(f"/proc/{state.holder(node)}/ns/net").st_ino
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{entry}/ns/net").st_ino != net:
                continue
            if os.path.basename(os.readlink(f"/proc/{entry}/exe")).removesuffix(" (deleted)") == "oceanid":
                found.append(int(entry))
        except OSError:
            continue
    return found


def stop(state: State, node: str, seconds: float = 10) -> None:
    process = state.process(f"oceanid-{node}")
    if process is not None:
        process.send(signal.SIGCONT)
        process.send(signal.SIGTERM)
        process.wait_gone(seconds)
    end_all(lambda: processes(state, node))
