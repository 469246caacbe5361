"""What is measured, and one measurement: the load program's figures with the CPU of everybody."""

import dataclasses
import json
import subprocess

from .processes import TICKS, machine_ticks

SOURCES = ",".join(f"127.0.0.{last}" for last in range(2, 10))


class Failed(Exception):
    """The load program could not measure."""


@dataclasses.dataclass(frozen=True)
class Measure:
    key: str
    title: str
    unit: str
    arguments: tuple
    value: callable          # result of the load program -> the figure
    lower_is_better: bool = False
    detail: str = ""         # key of the result with p50/p99
    work: callable = None    # result -> units of work, for "per CPU second of the proxy"


MEASURES = (
    Measure("rate", "Tunnels set up, used once and closed (64 clients)", "tunnels/s",
            ("rate", "--tunnels", "64"), lambda r: r["per_second"], detail="whole", work=lambda r: r["tunnels"]),
    Measure("down1", "Bulk, 1 stream down", "Gbit/s",
            ("bulk", "--direction", "down"), lambda r: r["gbit_per_second"], work=lambda r: r["bytes"] * 8e-9),
    Measure("down4", "Bulk, 4 streams down", "Gbit/s",
            ("bulk", "--direction", "down", "--tunnels", "4"), lambda r: r["gbit_per_second"],
            work=lambda r: r["bytes"] * 8e-9),
    Measure("up4", "Bulk, 4 streams up", "Gbit/s",
            ("bulk", "--direction", "up", "--tunnels", "4"), lambda r: r["gbit_per_second"],
            work=lambda r: r["bytes"] * 8e-9),
    Measure("ping1", "64-byte ping-pong, 1 tunnel", "us p50",
            ("latency",), lambda r: r["round_trip"]["p50_us"], True, "round_trip", lambda r: r["pings"]),
    Measure("ping64", "64-byte ping-pong, 64 tunnels", "us p50",
            ("latency", "--tunnels", "64"), lambda r: r["round_trip"]["p50_us"], True, "round_trip",
            lambda r: r["pings"]),
    Measure("http1", "Small plain GETs on 1 kept connection", "requests/s",
            ("latency", "--http", "yes"), lambda r: r["per_second"], False, "round_trip", lambda r: r["pings"]),
    Measure("http64", "Small plain GETs on 64 kept connections", "requests/s",
            ("latency", "--tunnels", "64", "--http", "yes"), lambda r: r["per_second"], False, "round_trip",
            lambda r: r["pings"]),
    Measure("httpdown", "Bulk, 1 plain HTTP response", "Gbit/s",
            ("bulk", "--direction", "down", "--http", "yes"), lambda r: r["gbit_per_second"],
            work=lambda r: r["bytes"] * 8e-9),
)


class Bench:
    """The load program and its target, shared by all measurements of a run."""

    def __init__(self, workspace, load_program, copy=False):
        self.workspace = workspace
        self.load_program = load_program
        self.copy = copy
        self.target = workspace.start("target", [load_program, "target", "--ports", "16"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.targets = self.target.process.stdout.readline().strip()
        if not self.targets:
            raise Failed("the target did not start: " + self.target.log_tail())

    def first_target(self):
        return self.targets.split(",")[0]

    def _route(self, port):
        route = ["--targets", self.targets, "--sources", SOURCES]
        return route + (["--proxy", f"127.0.0.1:{port}"] if port else [])

    def _load(self, arguments):
        return self.workspace.start("load", [self.load_program, *arguments], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)

    def measure(self, measure, proxy, port, seconds):
        """One measurement as a flat dictionary."""
        arguments = [*measure.arguments, *self._route(port), "--window-ms", str(int(seconds * 1000))]
        if measure.arguments[0] == "bulk" and self.copy:
            arguments += ["--copy", "yes"]
        load = self._load(arguments)
        try:
            marks = {}
            result = None
            for line in load.process.stdout:
                message = json.loads(line)
                if message["event"] == "result":
                    result = message
                else:
                    marks[message["event"]] = self._clocks(load, proxy)
            if load.process.wait() != 0 or result is None or set(marks) != {"begin", "end"}:
                raise Failed(f"{measure.key}: {load.log_tail()}")
        finally:
            self.workspace.end(load)
        return self._sample(measure, result, marks)

    def _clocks(self, load, proxy):
        whole, idle = machine_ticks()
        return {
            "machine": whole, "idle": idle,
            "proxy": proxy.cpu_seconds() if proxy else 0.0,
            "ends": load.cpu_seconds() + self.target.cpu_seconds(),
        }

    @staticmethod
    def _sample(measure, result, marks):
        spent = {key: marks["end"][key] - marks["begin"][key] for key in marks["begin"]}
        ours = (spent["proxy"] + spent["ends"]) * TICKS
        others = max(0.0, spent["machine"] - spent["idle"] - ours) / max(1, spent["machine"])
        if not result.get(measure.detail or "seconds"):
            raise Failed(f"{measure.key}: nothing was completed; failures: {result['failures']}")
        return {
            "measure": measure.key, "unit": measure.unit, "value": measure.value(result),
            "p50_us": result[measure.detail]["p50_us"] if measure.detail else None,
            "p99_us": result[measure.detail]["p99_us"] if measure.detail else None,
            "proxy_cpu_s": round(spent["proxy"], 3), "ends_cpu_s": round(spent["ends"], 3),
            # Below three clock ticks the quotient would be noise.
            "work_per_proxy_cpu_s": measure.work(result) / spent["proxy"] if spent["proxy"] * TICKS >= 3 else None,
            "others_share": round(others, 3), "failures": result["failures"], "load": result,
        }

    def idle(self, proxy, port, steps):
        """Memory of a proxy at every step of open tunnels, then whether all of them still live."""
        points = [{"tunnels": 0, **_memory(proxy)}]
        load = self._load(["idle", *self._route(port), "--steps", ",".join(map(str, steps))])
        result = None
        try:
            for line in load.process.stdout:
                message = json.loads(line)
                if message["event"] == "result":
                    result = message
                    break
                points.append({"tunnels": message["open"], **_memory(proxy)})
                load.process.stdin.write("\n")
                load.process.stdin.flush()
            if result is None:
                raise Failed("idle: " + load.log_tail())
        finally:
            self.workspace.end(load)
        first, last = points[-2], points[-1]
        grown = last["tunnels"] - first["tunnels"]
        per_tunnel = {
            key: (last[f"{key}_bytes"] - first[f"{key}_bytes"]) / grown / 1024 if grown > 0 else None
            for key in ("rss", "pss")
        }
        return {"points": points, "opened": result["opened"], "alive": result["alive"], "wanted": steps[-1],
                "failures": result["failures"], "rss_kib_per_tunnel": per_tunnel["rss"],
                "pss_kib_per_tunnel": per_tunnel["pss"]}


def _memory(proxy):
    rss, pss, processes, files = proxy.memory() if proxy else (0, 0, 0, 0)
    return {"rss_bytes": rss, "pss_bytes": pss, "processes": processes, "files": files}
