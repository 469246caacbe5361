"""Command line of deploy/lab."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys

from labkit import faults, gateway, lab, leaks, plan
from labkit.state import State
from labkit.system import LabError, enter_holder, reap, say

REPOSITORY = os.path.dirname(lab.DEPLOY)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="deploy/lab", description="The reference cluster out of network namespaces.")
    top.add_argument("--name", default="oc", metavar="PREFIX", help="several labs at once (default: oc)")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build the lab")
    up.add_argument("--no-gateway", action="store_true", help="without oceanid")
    up.add_argument("--oceanid", metavar="PATH", help="program (default: $OCEANID or build/release/oceanid)")
    up.add_argument("--rp-filter", type=int, choices=(0, 1, 2), default=2, help="on the nodes (default: 2, as systemd)")
    up.add_argument("--pods-ipv6", action="store_true", help="pods also have IPv6 addresses (fd42::/16)")
    up.add_argument("--ipv6", choices=("block", "exit", "ignore"),
                    help="both families everywhere: pods, tunnels, exits; the value of routing.ipv6")
    up.add_argument("--wait", type=float, default=30, metavar="SECONDS", help="for the gateways (default: 30)")
    commands.add_parser("down", help="remove every trace")
    status = commands.add_parser("status", help="what runs, and the leak counter")
    status.set_defaults(short=False)
    commands.add_parser("env", help="addresses, names, credentials as shell variables")
    execute = commands.add_parser("exec", help="run a command at WHO")
    execute.add_argument("who", metavar="WHO", help=" ".join(plan.EVERYONE))
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    fault = commands.add_parser("fault", help="; ".join(faults.USAGE))
    fault.add_argument("words", nargs="+", metavar="NAME on|off [ARGS]")
    leak = commands.add_parser("leaks", help="print the leak counter")
    leak.add_argument("--reset", action="store_true")
    run = commands.add_parser("gateway", help="start, stop or restart oceanid on a node")
    run.add_argument("action", choices=("start", "stop", "restart"))
    run.add_argument("node", choices=list(plan.NODES))
    return top


def main() -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    arguments = parser().parse_args()
    if os.geteuid() != 0:
        say("deploy/lab needs root: network namespaces are the kernel's")
        return 1
    try:
        if not plan.valid_prefix(arguments.name):
            raise LabError("--name: a letter, then at most 11 letters and digits, all lower case")
        return dispatch(arguments, State(arguments.name))
    except LabError as error:
        say(f"deploy/lab: {error}")
        return 1


def dispatch(arguments: argparse.Namespace, state: State) -> int:
    if arguments.command == "up":
        program = None if arguments.no_gateway else find_program(arguments.oceanid)
        lab.up(state, program, arguments.rp_filter, arguments.ipv6 or ("pods" if arguments.pods_ipv6 else None),
               arguments.wait)
        say(f"try: deploy/lab{of(state)} status | env | exec pod-styx-1 curl https://ip.{plan.ZONE}/ | down")
        return 0
    if arguments.command == "down":
        say(f"lab {state.prefix} is {'gone' if lab.down(state) else 'not up: nothing to remove'}")
        return 0
    state.require()
    if arguments.command == "exec":
        return execute(state, arguments.who, arguments.words)
    if arguments.command == "env":
        for name, value in environment(state).items():
            print(f"{name}={shlex.quote(value)}")
    elif arguments.command == "status":
        status(state)
    elif arguments.command == "leaks":
        if arguments.reset:
            leaks.reset(state)
        print(leaks.count(state))
    elif arguments.command == "fault":
        faults.apply(state, arguments.words)
    elif arguments.command == "gateway":
        if arguments.action in ("stop", "restart"):
            gateway.stop(state, arguments.node)
        if arguments.action in ("start", "restart"):
            gateway.start(state, arguments.node)
    reap()
    return 0


def of(state: State) -> str:
    return "" if state.prefix == "oc" else f" --name {state.prefix}"


def find_program(given: str | None) -> str:
    program = given or os.environ.get("OCEANID") or f"{REPOSITORY}/build/release/oceanid"
    if not os.access(program, os.X_OK):
        raise LabError(f"{program} is no program: build it (cmake --preset release && cmake --build --preset release), "
                       "name another with --oceanid, or use --no-gateway")
    return os.path.realpath(program)


def pod_environment(state: State) -> dict[str, str]:
    """What makes ordinary clients trust the lab's CA and find the database's password."""
    return {name: state.ca for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
                                        "NODE_EXTRA_CA_CERTS", "PGSSLROOTCERT")}


def execute(state: State, who: str, words: list[str]) -> int:
    if words and words[0] == "--":
        words = words[1:]
    if not words:
        raise LabError("exec WHO CMD…: which command?")
    here = os.getcwd()
    enter_holder(state.holder(who))
    if os.path.isdir(here):
        os.chdir(here)
    values = dict(os.environ) | pod_environment(state)
    values |= {"LAB_WHO": who, "PGPASSWORD": state.values.get("password", "")}
    values.setdefault("TERM", "dumb")
    try:
        os.execvpe(words[0], words, values)
    except OSError as error:
        say(f"deploy/lab: {words[0]}: {error.strerror}")
        return 127


def environment(state: State) -> dict[str, str]:
    values = {"LAB_NAME": state.prefix, "LAB_STATE": state.folder, "LAB_CA": state.ca,
              "LAB_OCEANID": state.values["options"].get("oceanid") or ""}
    for node in plan.NODES.values():
        upper = node.name.upper()
        values |= {f"LAB_{upper}_NETNS": state.namespace(node.name), f"LAB_{upper}_ADDRESS": node.address4,
                   f"LAB_{upper}_ADDRESS6": node.address6 or "", f"LAB_{upper}_SEEN": node.seen4,
                   f"LAB_{upper}_MESH": node.mesh4, f"LAB_{upper}_TUNNEL": node.tunnel4,
                   f"LAB_{upper}_PODS": node.pod_cidr, f"LAB_{upper}_POD_GATEWAY": node.pod_gateway}
    for pod in plan.PODS:
        values[f"LAB_{pod.upper().replace('-', '_')}_ADDRESS"] = plan.pod_address(pod)
    for service in plan.counted_services():
        upper = service.name.upper()
        values |= {f"LAB_{upper}_HOST": f"{service.name}.{plan.ZONE}", f"LAB_{upper}_ADDRESS": service.address4,
                   f"LAB_{upper}_ADDRESS6": service.address6}
    values |= {
        "LAB_EXIT_ADDRESSES": " ".join(node.address4 for node in plan.EXITS.values()),
        "LAB_EXIT_ADDRESSES6": " ".join(node.address6 for node in plan.EXITS.values()),
        "LAB_INFRA_DNS_ADDRESS": plan.INFRASTRUCTURE_DNS.address4, "LAB_METADATA_ADDRESS": plan.METADATA,
        "LAB_PROXY": f"http://egress-gateway.egress-system:{plan.PROXY_PORT}",
        "LAB_GATEWAY_SERVICE": plan.GATEWAY_SERVICE, "LAB_ECHO_PORT": str(plan.ECHO_PORT),
        "LAB_DB_PORT": str(plan.DATABASE_PORT), "LAB_DB_NAME": "warehouse", "LAB_DB_USER": "warehouse",
        "LAB_DB_PASSWORD": state.values.get("password", ""),
        "LAB_DB_FORWARD": f"host=egress-gateway.egress-system port={plan.WAREHOUSE_PORT} dbname=warehouse "
                          "user=warehouse sslmode=require",
    }
    return values


def status(state: State) -> None:
    options = state.values["options"]
    half = "" if state.values.get("complete") else " (half built: its `up` failed)"
    print(f"lab {state.prefix}: {state.folder}{half}")
    for name in sorted(state.values["processes"]):
        process = state.process(name)
        print(f"  {name:<18} {'running, pid ' + str(process.pid) if process.alive() else 'ENDED'}")
    if not options.get("oceanid"):
        print("  oceanid            not part of this lab (--no-gateway)")
    else:
        for node in plan.NODES:
            print(f"  gateway on {node:<8} {gateway.unusable(state, node) or 'carries traffic, every exit proven'}")
    for name, detail in sorted(state.values["faults"].items()):
        print(f"  fault on           {name} {detail}".rstrip())
    print(f"leaks: {leaks.count(state)}")
    for source, target, packets in leaks.sources(state):
        print(f"  {packets} packets from {source} to {target}")


if __name__ == "__main__":
    sys.exit(main())
