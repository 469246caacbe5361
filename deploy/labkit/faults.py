"""Faults. Made at the provider in front of a node wherever possible, so that the product cannot see the rules."""

from __future__ import annotations

import ipaddress
import os
import signal

from labkit import gateway, network, plan, rules
from labkit.rules import FAULT_TABLE
from labkit.state import State
from labkit.system import LabError, batch, enter_net, run

USAGE = (
    "cut on|off NODE: nothing passes, in neither direction",
    "one-way on|off NODE: the node sends but receives nothing",
    "drop-udp on|off NODE: UDP is dropped, except the mesh's (Tailscale would go on over TCP)",
    "path-mtu on|off NODE BYTES [silent]: smaller path; silent: without ICMP errors",
    "loss on|off NODE PERCENT: random loss, both directions",
    "kill on|off NODE [netd|worker|transport|all]: SIGKILL; off starts oceanid again",
    "freeze on|off NODE: SIGSTOP; off lets it go on",
    "uplink-down on|off EXIT: eth0 loses its carrier",
    "nat-off on|off EXIT: every source NAT on the exit is gone",
    "wrong-nat on|off EXIT: its provider shows another address to the world",
    "moved on|off EXIT ADDRESS [alive]: its name has another address, and no UDP reaches the former ones (alive: it does)",
    "flush-nft on|off NODE: nft flush ruleset; off puts the neighbours' rules back",
    "purge-routes on|off NODE: oceanid's rules and routes are deleted; off does nothing",
    "networkd-purge on|off NODE: rules and routes of everybody but the kernel are deleted; off puts the neighbours' back",
    "flannel-flush on|off NODE: Flannel's masquerade chain is emptied; off fills it again",
    "kube-proxy-mode on|off NODE: kube-proxy changes from nftables to iptables mode; off: back",
    "link-gone on|off NODE eth0|cni0|tailscale0|flannel.1: the link is deleted (eth0: down); off makes it again",
    "node-port on|off NODE local|cluster POD: no fault: a Service of type NodePort with that externalTrafficPolicy",
)

# First of oceanid's rule preferences and tables, and how far they reach.
RULES = range(5100, 5191)
TABLES = range(13128, 13128 + 64)


def apply(state: State, words: list[str]) -> None:
    """`NAME on|off ARGS`, and `NAME ARGS on|off` as well."""
    name, rest = words[0], words[1:]
    switches = [word for word in rest if word in ("on", "off")]
    rest = [word for word in rest if word not in ("on", "off")]
    if name not in FAULTS or len(switches) != 1 or not rest:
        raise LabError("fault NAME on|off ARGS, one of:\n  " + "\n  ".join(USAGE))
    node = plan.NODES.get(rest[0])
    if node is None:
        raise LabError(f"{rest[0]} is no node: {' '.join(plan.NODES)}")
    on = switches[0] == "on"
    key = f"{name} {node.name}"
    if on and key in state.values["faults"] and name not in REPEATABLE:
        FAULTS[name](state, node, False, rest[1:])
    FAULTS[name](state, node, on, rest[1:])
    if on and name not in ("purge-routes", "networkd-purge"):  # which are events, not states
        state.values["faults"][key] = " ".join(rest[1:])
    else:
        state.values["faults"].pop(key, None)
    state.save()


def _nft(state: State, who: str, text: str, check: bool = True) -> str:
    return run(["nft", "-f", "-"], stdin=text, enter=lambda: enter_net(state.namespace(who)), check=check)


def _rewrite(state: State, node: plan.Node, name: str, wanted: dict[str, list[str]]) -> None:
    """Replaces the rules that carry the fault's name by `wanted` (chain -> rules), in one transaction."""
    import json
    inside = lambda: enter_net(state.namespace(node.provider))
    listing = json.loads(run(["nft", "-j", "list", "table", "inet", FAULT_TABLE], enter=inside))
    lines = []
    for item in listing["nftables"]:
        rule = item.get("rule")
        if rule and rule.get("comment") == name:
            lines.append(f"delete rule inet {FAULT_TABLE} {rule['chain']} handle {rule['handle']}")
    for chain, texts in wanted.items():
        lines += [f'add rule inet {FAULT_TABLE} {chain} {text} comment "{name}"' for text in texts]
    _nft(state, node.provider, "\n".join(lines) + "\n")


def cut(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    _rewrite(state, node, "cut", {"from_node": ["jump condemn"], "to_node": ["drop"]} if on else {})


def one_way(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    _rewrite(state, node, "one-way", {"to_node": ["drop"]} if on else {})


def drop_udp(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    # The mesh's VXLAN: destination port fixed, source port from a hash, and rewritten by the home router.
    match = f"meta l4proto udp udp dport != {plan.MESH_PORT}"
    wanted = {"from_node": [f"{match} jump condemn"], "to_node": [f"{match} drop"]}
    _rewrite(state, node, "drop-udp", wanted if on else {})


def loss(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    wanted = {}
    if on:
        share = round(_number("loss", arguments, 0, 100) * 100)
        match = f"numgen random mod 10000 < {share}" if share < 10000 else "meta length > 0"
        wanted = {"from_node": [f"{match} jump condemn"], "to_node": [f"{match} drop"]}
    _rewrite(state, node, "loss", wanted)


def path_mtu(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    """Route MTUs of the provider: the kernel then fragments or answers with ICMP exactly as a router does."""
    silent = "silent" in arguments
    mtu = round(_number("path-mtu", arguments, 576, 1500)) if on else 0
    lock = f" mtu lock {mtu}" if on else ""
    who = node.provider
    home = not node.uplink6
    upstream = plan.NAT_GATEWAY if home else f"192.0.2.{plan.TRANSFER4[who]}"
    four = [f"route replace default via {upstream} dev wan{lock}",
            f"route replace {plan.network_of(node.uplink4)} dev node proto kernel scope link src {node.gateway4}{lock}"]
    six = [] if home else [f"route replace default via fe80::1 dev wan metric 1024{lock}",
                           f"route replace {plan.network_of(node.uplink6)} dev node metric 1024{lock}"]
    errors = ["icmp type destination-unreachable icmp code frag-needed drop", "icmpv6 type packet-too-big drop"]
    silence = lambda: _rewrite(state, node, "path-mtu", {"errors": errors} if on and silent else {})
    namespace = state.namespace(who)
    if on:
        silence()  # first: under a transfer the new routes would have said a word before the rules are there
    batch(namespace, "\n".join(four) + "\n", "-4")
    if six and (mtu == 0 or mtu >= 1280):
        batch(namespace, "\n".join(six) + "\n", "-6")
    for one in () if on else plan.EVERYONE:
        # What the kernels have learned about the smaller path would outlive it by ten minutes; a server would even offer
        # new connections a smaller MSS (ipv4_default_advmss() looks at the path).
        for family in ("-4", "-6"):
            batch(state.namespace(one), "route flush cache\n", family)
    if not on:
        silence()


def kill(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    if not on:
        gateway.start(state, node.name)
        return
    what = arguments[0] if arguments else "netd"
    netd = _gateway(state, node)
    everybody = gateway.processes(state, node.name)
    victims = {"netd": [netd.pid], "worker": [pid for pid in everybody if _title(pid) == "worker"],
               "transport": [pid for pid in everybody if _title(pid) == "tls"], "all": everybody}
    if what not in victims:
        raise LabError("kill on NODE [netd|worker|transport|all]")
    if not victims[what]:
        raise LabError(f"no {what} runs on {node.name}")
    for pid in victims[what]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # the first ones' end has ended others
            pass
    if what in ("netd", "all"):
        netd.wait_gone(2)


def _title(pid: int) -> str:
    """Which of the gateway's processes this is, by the name it gives itself: oceanid-netd, oceanid-worker, …"""
    with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
        return comm.read().strip().removeprefix("oceanid-")


def _gateway(state: State, node: plan.Node):
    process = state.process(f"oceanid-{node.name}")
    if process is None or not process.alive():
        raise LabError(f"oceanid does not run on {node.name}")
    return process


def freeze(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    _gateway(state, node)
    for pid in gateway.processes(state, node.name):
        os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)


def uplink_down(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    _exit_only(node)
    # Its router would tell the services so in its own name, which nobody who counts strange sources could tell from a leak.
    silence = ["icmp type destination-unreachable drop", "icmpv6 type destination-unreachable drop"]
    _rewrite(state, node, "uplink-down", {"errors": silence} if on else {})
    batch(state.namespace(node.provider), f"link set node {'down' if on else 'up'}\n")
    if not on:
        # IPv6 loses the link-local address and the routes with the link; IPv4 gets its connected route back alone.
        batch(state.namespace(node.provider), "addr replace fe80::1/64 dev node nodad\n"
              f"route replace {plan.network_of(node.uplink6)} dev node metric 1024\n", "-6")
        if f"path-mtu {node.name}" in state.values["faults"]:
            path_mtu(state, node, True, state.values["faults"][f"path-mtu {node.name}"].split())


def wrong_nat(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    _exit_only(node)
    other = ipaddress.IPv4Address(node.address4) + 1
    disguise = f'meta nfproto ipv4 oifname "wan" ip saddr {node.address4} snat ip to {other}'
    # Afterwards nobody has that address: what is still under way to it would make the provider tell the services so.
    silence = f"icmp type destination-unreachable @th,192,32 {int(other)} drop"
    _rewrite(state, node, "wrong-nat", {"disguise": [disguise]} if on else {"errors": [silence]})
    # The provider must take the answers to that address itself.
    batch(state.namespace(node.provider), f"addr {'replace' if on else 'del'} {other}/32 dev wan\n", "-force")
    if not on:
        # Flows of the fault would keep the address for as long as they live. (It fails where there are none.)
        run(["conntrack", "-D", "--reply-dst", str(other)], enter=lambda: enter_net(state.namespace(node.provider)), check=False)


def moved(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    """The name servers say so from now on; what they said before is good for as long as it was promised."""
    import json
    _exit_only(node)
    former = state.values.pop("moved", {})
    if former:
        batch(state.namespace(node.name), f"addr del {former['address']} dev eth0\n", "-force")
    name, renamed = f"{node.name}.{plan.ZONE}", {}
    if on:
        address = ipaddress.IPv4Interface(f"{arguments[0]}/{node.uplink4.split('/')[1]}")
        batch(state.namespace(node.name), f"addr add {address} dev eth0\n")
        state.values["moved"] = {"address": str(address)}
        renamed = {name: {"A": [str(address.ip)], "AAAA": []}}
    with open(f"{state.folder}/dns-overrides.json.new", "w", encoding="ascii") as out:
        json.dump(renamed, out)
    os.replace(f"{state.folder}/dns-overrides.json.new", f"{state.folder}/dns-overrides.json")
    rules = [f"ip daddr {node.address4} meta l4proto udp drop", f"ip6 daddr {node.address6} meta l4proto udp drop"]
    _rewrite(state, node, "moved", {"to_node": rules} if on and "alive" not in arguments else {})


def nat_off(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    """Empties the NAT postrouting chains of Flannel and of oceanid on the exit itself."""
    import json
    _exit_only(node)
    if not on:
        for name, text in state.values.pop("nat_off", {}).get(node.name, []):
            _nft(state, node.name, f"flush chain {name}\n{text}", check=False)
        return
    saved = []
    inside = lambda: enter_net(state.namespace(node.name))
    listing = json.loads(run(["nft", "-j", "list", "chains"], enter=inside))
    for item in listing["nftables"]:
        chain = item.get("chain", {})
        ours = chain.get("table", "").startswith(("oceanid", "flannel"))
        if ours and chain.get("type") == "nat" and chain.get("hook") == "postrouting":
            name = f"{chain['family']} {chain['table']} {chain['name']}"
            saved.append((name, run(["nft", "list", "chain", *name.split()], enter=inside)))
            _nft(state, node.name, f"flush chain {name}\n")
    state.values.setdefault("nat_off", {})[node.name] = saved


def flush_nft(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    if on:
        _nft(state, node.name, "flush ruleset\n")
        return
    tables = _gone("flannel-ipv4", "kube-proxy", "tailscale")
    _nft(state, node.name, tables + rules.node_neighbours(node))


def _gone(*names: str) -> str:
    return "".join(f"add table ip {name}\ndelete table ip {name}\n" for name in names)


def flannel_flush(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    if on:
        _nft(state, node.name, "flush chain ip flannel-ipv4 postrtg\n")
    else:
        _nft(state, node.name, _gone("flannel-ipv4") + rules.flannel(node))


def kube_proxy_mode(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    """In two transactions, as a restarted kube-proxy does: it removes what the other mode left, then writes its own."""
    _nft(state, node.name, _gone("kube-proxy", "nat"))
    _nft(state, node.name, rules.kube_proxy_iptables(node) if on else rules.kube_proxy(node))


def node_port(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    text = _gone(rules.NODE_PORT_TABLE)
    if on:
        if len(arguments) != 2 or arguments[0] not in ("local", "cluster") or arguments[1] not in plan.PODS:
            raise LabError("node-port on NODE local|cluster POD")
        text += rules.node_port(plan.pod_address(arguments[1]), arguments[0] == "cluster")
    _nft(state, node.name, text)


def link_gone(state: State, node: plan.Node, on: bool, arguments: list[str]) -> None:
    link = arguments[0] if arguments else state.values["faults"].get(f"link-gone {node.name}", "")
    if link not in network.LINKS:
        raise LabError(f"link-gone on|off NODE {'|'.join(network.LINKS)}")
    namespace = state.namespace(node.name)
    if on:
        batch(namespace, network.without(link))
        return
    batch(namespace, network.again(node, link, state.values["options"]["pods_ipv6"]))
    if network.LINKS[link]:
        batch(namespace, network.forwarding_entries(node, network.LINKS[link]), program="bridge")


def networkd_purge(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    """What systemd-networkd does when it starts: rules and routes that are not in its configuration go, whoever made
    them; its own, here the defaults, and the kernel's stay."""
    namespace = state.namespace(node.name)
    if not on:
        for family in ("-4", "-6"):
            batch(namespace, network.mesh_rules(), "-force", family, check=False)
        batch(namespace, network.neighbours_routes(node))
        return
    inside = lambda: enter_net(namespace)
    for family in ("-4", "-6"):
        rules_there = run(["ip", family, "rule", "list"], enter=inside).splitlines()
        foreign = [line.split(":")[0] for line in rules_there if int(line.split(":")[0]) not in (0, 32766, 32767)]
        batch(namespace, "".join(f"rule del pref {preference}\n" for preference in foreign), "-force", family, check=False)
        lines = []
        for line in run(["ip", family, "route", "show", "table", "all"], enter=inside).splitlines():
            own = line.startswith("default") and "table" not in line
            if "proto kernel" not in line and not own and "table local" not in line:
                lines.append(f"route del {line.replace(' linkdown', '').replace(' pref medium', '')}\n")
        batch(namespace, "".join(lines), "-force", family, check=False)


def purge_routes(state: State, node: plan.Node, on: bool, _: list[str]) -> None:
    if not on:
        return
    namespace = state.namespace(node.name)
    inside = lambda: enter_net(namespace)
    for family in ("-4", "-6"):
        lines = []
        for line in run(["ip", family, "rule", "list"], enter=inside).splitlines():
            preference = int(line.split(":")[0])
            if preference in RULES:
                lines.append(f"rule del pref {preference}\n")
        present = run(["ip", family, "route", "show", "table", "all"], enter=inside)
        lines += [f"route flush table {table}\n" for table in TABLES if f"table {table} " in present]
        batch(namespace, "".join(lines), family)


def _exit_only(node: plan.Node) -> None:
    if not node.exit:
        raise LabError(f"{node.name} is no exit: {' '.join(plan.EXITS)}")


def _number(fault: str, arguments: list[str], low: float, high: float) -> float:
    try:
        value = float(arguments[0])
    except (IndexError, ValueError):
        value = -1
    if not low <= value <= high:
        raise LabError(f"{fault} wants a number from {low} to {high}")
    return value


FAULTS = {"cut": cut, "one-way": one_way, "drop-udp": drop_udp, "path-mtu": path_mtu, "loss": loss, "kill": kill,
          "freeze": freeze, "uplink-down": uplink_down, "nat-off": nat_off, "wrong-nat": wrong_nat, "moved": moved,
          "flush-nft": flush_nft, "purge-routes": purge_routes, "networkd-purge": networkd_purge,
          "flannel-flush": flannel_flush, "kube-proxy-mode": kube_proxy_mode, "link-gone": link_gone, "node-port": node_port}
# Doing these twice is meant: what they destroy grows again.
REPEATABLE = {"kill", "freeze", "flush-nft", "purge-routes", "networkd-purge", "flannel-flush", "link-gone"}
