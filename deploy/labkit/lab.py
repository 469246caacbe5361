"""Building a lab and taking it down."""

from __future__ import annotations

import os
import shutil
import sys
import time

from labkit import gateway, holders, network, plan, postgres, rules
from labkit.state import Lock, State, make_mount_points, remove_mount_points
from labkit.system import (NETNS_DIR, LabError, Namespaces, Process, batch, end_all, enter_net, processes_in,
                           processes_of_sessions, reap, run, say, spawn, wait_until)

DEPLOY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("ip", "bridge", "nft", "openssl", "git", "wg")


class Progress:
    def __init__(self) -> None:
        self.started = time.monotonic()

    def step(self, text: str) -> None:
        say(f"  {time.monotonic() - self.started:5.1f}s  {text}")


def up(state: State, oceanid: str | None, rp_filter: int, ipv6: str | None, wait_seconds: float) -> None:
    """`ipv6`: None, `pods` (pods have addresses, the gateway knows nothing of them), or a value of routing.ipv6."""
    if state.exists():
        how = "is up already" if state.values.get("complete") else "was left half built"
        raise LabError(f"a lab named {state.prefix} {how}: deploy/lab --name {state.prefix} down")
    for program in PROGRAMS:
        if shutil.which(program) is None:
            raise LabError(f"{program} is missing: run deploy/install-packages lab")
    progress = Progress()
    with Lock():
        make_mount_points()
        state.create()
    pods_ipv6 = ipv6 is not None
    state.values["options"] = {"oceanid": oceanid, "rp_filter": rp_filter, "pods_ipv6": pods_ipv6,
                               "ipv6": None if ipv6 == "pods" else ipv6}
    state.save()
    _certificates(state)
    initdb = postgres.begin_initdb(f"{state.folder}/postgres")
    state.remember("initdb", initdb)
    _namespaces(state, rp_filter, pods_ipv6)
    progress.step(f"{len(plan.EVERYONE)} namespaces, links, addresses, routes, mesh, Flannel")
    _repository(state)
    _services(state)
    progress.step("services: DNS, www, ip, echo")
    _database(state, initdb)
    progress.step("database")
    keys = gateway.make_keys()
    gateway.install(state, keys)
    if oceanid:
        for node in plan.NODES:
            gateway.start(state, node)
        progress.step("oceanid started on every node")
        gateway.await_ready(state, wait_seconds, lambda node: progress.step(f"{node} has a proven way out"))
    state.values["complete"] = True
    state.save()
    progress.step(f"lab {state.prefix} is up{'' if oceanid else ' (without oceanid)'}")


def down(state: State) -> bool:
    """Removes everything this prefix has on the machine, also after an `up` that failed half-way."""
    with Lock():
        found = state.exists() or bool(_namespaces_of(state.prefix))
        database = state.process("postgres")
        if database is not None:
            postgres.stop(database)
        _end_processes(state)
        names = _namespaces_of(state.prefix)
        if names:
            run(["ip", "-batch", "-"], stdin="".join(f"netns del {name}\n" for name in names))
        state.remove()
        remove_mount_points(state.prefix)
    return found


def _namespaces_of(prefix: str) -> list[str]:
    wanted = [f"{prefix}-{who}" for who in plan.EVERYONE]
    return [name for name in wanted if os.path.exists(f"{NETNS_DIR}/{name}")]


def _end_processes(state: State) -> None:
    recorded = [Process(*record) for kind in ("holders", "processes") for record in state.values[kind].values()]
    alive = [process for process in recorded if process.alive()]
    files = [f"{NETNS_DIR}/{name}" for name in _namespaces_of(state.prefix)] + [f"/proc/{process.pid}/ns/mnt" for process in alive]
    sessions = {process.pid for process in alive}
    with Namespaces(files) as namespaces:
        end_all(lambda: set(processes_in(namespaces.numbers)) | set(processes_of_sessions(sessions)))


def _certificates(state: State) -> None:
    """A CA of this lab's own and one certificate for all of example.test."""
    folder = f"{state.folder}/tls"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    run(["openssl", "req", "-x509", *curve, "-subj", "/CN=Oceanid lab CA", "-keyout", f"{folder}/ca.key",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", state.ca])
    run(["openssl", "req", *curve[:-2], "-subj", f"/CN=*.{plan.ZONE}", "-keyout", f"{folder}/server.key",
         "-out", f"{folder}/server.csr"])
    addresses = [text for one in plan.counted_services() for text in (one.address4, one.address6)]
    names = ",".join([f"DNS:{plan.ZONE}", f"DNS:*.{plan.ZONE}", *(f"IP:{address}" for address in addresses)])
    with open(f"{folder}/server.ext", "w", encoding="ascii") as out:
        out.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    run(["openssl", "x509", "-req", "-in", f"{folder}/server.csr", "-CA", state.ca, "-CAkey", f"{folder}/ca.key",
         "-days", "30", "-extfile", f"{folder}/server.ext", "-out", f"{folder}/server.crt"])


def _namespaces(state: State, rp_filter: int, pods_ipv6: bool) -> None:
    run(["ip", "-batch", "-"], stdin=network.create(state.namespace))
    with open(state.ca, encoding="ascii") as text:
        ca_pem = text.read()
    waiting = []
    for who in plan.EVERYONE:
        values = holders.sysctls(who, rp_filter, pods_ipv6)
        process, ready = holders.start(who, state.namespace(who), ca_pem, state.ca, values)
        state.values["holders"][who] = process.record()
        waiting.append(ready)
    state.save()
    for ready in waiting:
        holders.await_ready(ready)
    for who in plan.EVERYONE:
        namespace = state.namespace(who)
        batch(namespace, network.inside(who, pods_ipv6))
        if who in plan.NODES:
            for family in ("-4", "-6"):
                batch(namespace, network.mesh_rules(), family)
            batch(namespace, network.forwarding_entries(plan.NODES[who]), program="bridge")
            switches = "/proc/sys/net/bridge/bridge-nf-call-iptables /proc/sys/net/bridge/bridge-nf-call-ip6tables"
            run(["/bin/sh", "-c", f"echo 1 | tee {switches}"], enter=lambda: enter_net(namespace))
        if text := rules.for_role(who):
            run(["nft", "-f", "-"], stdin=text, enter=lambda: enter_net(namespace))


def _repository(state: State) -> None:
    """A small git repository that pods clone over HTTPS."""
    folder = f"{state.folder}/repo"
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1",
                   "GIT_AUTHOR_NAME": "lab", "GIT_AUTHOR_EMAIL": "lab@example.test", "GIT_COMMITTER_NAME": "lab",
                   "GIT_COMMITTER_EMAIL": "lab@example.test"}
    bare = f"{folder}/repo.git"
    run(["git", "init", "-q", "--bare", "-b", "main", bare], environment=environment)
    stream = "".join(
        f"commit refs/heads/main\ncommitter lab <lab@example.test> {1700000000 + number} +0000\n"
        f"data 9\nnumber {number}\nM 100644 inline file{number}\ndata 8\nlab {number:03d}\n\n"
        for number in range(10, 60))
    run(["git", "-C", bare, "fast-import", "--quiet"], stdin=stream, environment=environment)
    run(["git", "-C", bare, "update-server-info"], environment=environment)


def _services(state: State) -> None:
    tls = [f"{state.folder}/tls/server.crt", f"{state.folder}/tls/server.key", f"{state.folder}/repo"]
    both = lambda service: [service.address4, service.address6]
    commands = {
        "dns": ["dns", *both(plan.SERVICES["dns"]), *both(plan.INFRASTRUCTURE_DNS)],
        "www": ["web", "www", *tls, *both(plan.SERVICES["www"])],
        "ip": ["web", "ip", *tls, *both(plan.SERVICES["ip"])],
        "echo": ["echo", str(plan.ECHO_PORT), *both(plan.SERVICES["edge"])],
    }
    for name, (module, *arguments) in commands.items():
        _start_service(state, name, "internet", module, arguments)
    for node in plan.EXITS.values():
        _start_service(state, f"metadata-{node.name}", node.provider, "web", ["metadata", *tls, plan.METADATA])
    ports = {plan.SERVICES["dns"].address4: 53, plan.SERVICES["www"].address4: 443,
             plan.SERVICES["ip"].address4: 443, plan.SERVICES["edge"].address4: plan.ECHO_PORT}
    for address, port in ports.items():
        _await_listening(state, address, port)


def _start_service(state: State, name: str, who: str, module: str, arguments: list[str]) -> None:
    namespace = state.namespace(who)
    argv = [sys.executable, "-m", f"labkit.services.{module}", *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": DEPLOY, "PYTHONDONTWRITEBYTECODE": "1",
                   "LAB_DNS_OVERRIDES": f"{state.folder}/dns-overrides.json"}
    process = spawn(argv, state.log(name), enter=lambda: enter_net(namespace), environment=environment)
    state.remember(name, process)


def _await_listening(state: State, address: str, port: int) -> None:
    wanted = f"{''.join(f'{int(part):02X}' for part in reversed(address.split('.')))}:{port:04X}"

    def listening() -> bool:
        reap()
        pid = state.holder("internet")
        with open(f"/proc/{pid}/net/tcp", encoding="ascii") as lines:
            return any(line.split()[1] == wanted and line.split()[3] == "0A" for line in lines)
    if not wait_until(listening, 20):
        raise LabError(f"the service on {address}:{port} did not start: see {state.folder}/log")


def _database(state: State, initdb: Process) -> None:
    folder, log = f"{state.folder}/postgres", state.log("postgres")
    tls = f"{state.folder}/tls/server"
    process, password = postgres.start(folder, f"{tls}.crt", f"{tls}.key", state.namespace("database"), log, initdb)
    state.values["password"] = password
    state.values["processes"].pop("initdb")
    state.remember("postgres", process)
    postgres.await_ready(folder, process, log)
