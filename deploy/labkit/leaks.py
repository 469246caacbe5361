"""The leak counter: packets to the services from any source but the exits' addresses."""

from __future__ import annotations

import json

from labkit import plan
from labkit.rules import FAULT_TABLE, LEAK_TABLE
from labkit.state import State
from labkit.system import enter_net, run


def _tables(state: State) -> list[tuple[str, str]]:
    return [(state.namespace("internet"), LEAK_TABLE)] + [
        (state.namespace(provider), FAULT_TABLE) for provider in plan.PROVIDERS]


def _nft(namespace: str, *words: str) -> dict:
    text = run(["nft", "-j", *words], enter=lambda: enter_net(namespace))
    return json.loads(text) if text.strip() else {"nftables": []}


def count(state: State) -> int:
    total = 0
    for namespace, table in _tables(state):
        for item in _nft(namespace, "list", "counters", "table", "inet", table)["nftables"]:
            total += item.get("counter", {}).get("packets", 0)
    return total


def reset(state: State) -> None:
    for namespace, table in _tables(state):
        text = f"reset counters table inet {table}\n"
        text += "".join(f"flush set inet {table} leakers{family}\n" for family in (4, 6))
        run(["nft", "-f", "-"], stdin=text, enter=lambda: enter_net(namespace))


def sources(state: State) -> list[tuple[str, str, int]]:
    """(source, service, packets), most first."""
    found: dict[tuple[str, str], int] = {}
    names = {text: service.name for service in plan.counted_services() for text in (service.address4, service.address6)}
    for namespace, table in _tables(state):
        for family in (4, 6):
            for item in _nft(namespace, "list", "set", "inet", table, f"leakers{family}")["nftables"]:
                for element in item.get("set", {}).get("elem", []):
                    source, target = element["elem"]["val"]["concat"]
                    key = (source, f"{names.get(target, target)}.{plan.ZONE}")
                    found[key] = found.get(key, 0) + element["elem"]["counter"]["packets"]
    return [(*key, packets) for key, packets in sorted(found.items(), key=lambda item: -item[1])]
