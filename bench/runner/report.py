"""From samples to ratios, tables and JSON.

A ratio is taken within a round, where both sides met the same machine, and then the median over the
rounds is shown: a machine whose speed moves between rounds moves both sides of every quotient.
"""

import os
import platform
import statistics

from .measure import MEASURES

SCHEMA = "oceanid-bench/1"
BUSY = 1 / 3


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def paired_ratio(samples, measure, path, base, field="value"):
    """Median over the rounds of path/base."""
    def by_round(name):
        return {s["round"]: s[field] for s in samples
                if s["path"] == name and s["measure"] == measure and s[field]}
    ours, theirs = by_round(path), by_round(base)
    return median([ours[r] / theirs[r] for r in ours if r in theirs])


def _number(value, digits=None):
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f}"


def _table(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    def line(row):
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        return "  " + "  ".join(cells).rstrip()
    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, rows)])


def _measure_table(measure, samples, paths):
    base = [path for path in paths if path != "oceanid"]
    header = ["path", measure.unit, "min-max", *(f"x {b}" for b in base), "p50 us", "p99 us", "proxy CPU s",
              "work/CPU s", "others %", "failed"]
    rows = []
    for path in paths:
        mine = [s for s in samples if s["path"] == path and s["measure"] == measure.key]
        values = [s["value"] for s in mine]
        rows.append([
            path, _number(median(values)), f"{_number(min(values))}-{_number(max(values))}",
            *(_number(paired_ratio(samples, measure.key, path, b), 2) for b in base),
            _number(median([s["p50_us"] for s in mine])), _number(median([s["p99_us"] for s in mine])),
            _number(median([s["proxy_cpu_s"] for s in mine]), 2),
            _number(median([s["work_per_proxy_cpu_s"] for s in mine])),
            _number(100 * median([s["others_share"] for s in mine]), 0),
            str(sum(s["failures"]["count"] for s in mine))])
    note = " (lower is better)" if measure.lower_is_better else ""
    return f"{measure.title}{note}\n" + _table(header, rows)


def _idle_table(idle):
    header = ["path", "tunnels", "alive", "RSS at start MiB", "RSS at end MiB", "RSS KiB/tunnel", "PSS KiB/tunnel",
              "files", "processes"]
    rows = []
    for path, result in idle.items():
        first, last = result["points"][0], result["points"][-1]
        rows.append([path, str(result["opened"]), str(result["alive"]), _number(first["rss_bytes"] / 2**20, 1),
                     _number(last["rss_bytes"] / 2**20, 1), _number(result["rss_kib_per_tunnel"], 2),
                     _number(result["pss_kib_per_tunnel"], 2), str(last["files"]), str(last["processes"])])
    return "Memory of idle tunnels (per tunnel: growth over the last step)\n" + _table(header, rows)


def _measured(samples):
    """Those of a run with --only."""
    keys = {sample["measure"] for sample in samples}
    return [measure for measure in MEASURES if measure.key in keys]


def summary(samples, idle, paths):
    """{measure: {path: {"median", "x_<other path>", "cpu_x_<other path>"}}}, the figures worth keeping."""
    result = {}
    for measure in _measured(samples):
        rows = {}
        for path in paths:
            row = {"median": median([s["value"] for s in samples
                                     if s["path"] == path and s["measure"] == measure.key])}
            for base in paths:
                if base != path:
                    row[f"x_{base}"] = paired_ratio(samples, measure.key, path, base)
                    row[f"work_per_proxy_cpu_x_{base}"] = paired_ratio(
                        samples, measure.key, path, base, "work_per_proxy_cpu_s")
            rows[path] = row
        result[measure.key] = rows
    result["idle"] = {path: {"rss_kib_per_tunnel": r["rss_kib_per_tunnel"],
                             "pss_kib_per_tunnel": r["pss_kib_per_tunnel"]} for path, r in idle.items()}
    return result


def _verdict(figures, idle, paths):
    """oceanid against every other path, one line a measure."""
    others = [path for path in paths if path != "oceanid"]
    header = ["oceanid against", *others, *(f"{p}, per proxy CPU s" for p in others if p != "direct")]
    rows = []
    for measure in [m for m in MEASURES if m.key in figures]:
        row = figures[measure.key]["oceanid"]
        note = ", lower is better" if measure.lower_is_better else ""
        rows.append([f"{measure.key} ({measure.unit}{note})", *(_number(row[f"x_{p}"], 2) for p in others),
                     *(_number(row[f"work_per_proxy_cpu_x_{p}"], 2) for p in others if p != "direct")])
    if "oceanid" in idle:
        mine = idle["oceanid"]["pss_kib_per_tunnel"]
        ratios = []
        for path in others:
            theirs = idle.get(path, {}).get("pss_kib_per_tunnel")
            ratios.append(_number(mine / theirs, 2) if mine is not None and theirs else "-")
        rows.append(["idle PSS per tunnel (lower is better)", *ratios, *("-" for p in others if p != "direct")])
    return "Ratios: oceanid / other, paired within a round, median of the rounds\n" + _table(header, rows)


def text(samples, idle, paths):
    parts = [_measure_table(measure, samples, paths) for measure in _measured(samples)]
    if idle:
        parts.append(_idle_table(idle))
    if "oceanid" in paths:
        parts.append(_verdict(summary(samples, idle, paths), idle, paths))
    others = median([s["others_share"] for s in samples])
    if others > BUSY:
        parts.append(f"NOTE: {others:.0%} of the machine belonged to others during this run (median). Absolute "
                     "figures are low and latencies contain waiting; repeat it on a quiet machine.")
    return "\n\n".join(parts)


def machine():
    def first(path, key=None):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if key is None or line.startswith(key):
                        return line.split(":", 1)[-1].strip()
        except OSError:
            pass
        return None
    import resource
    return {"kernel": platform.release(), "cpu": first("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
            "memory": first("/proc/meminfo", "MemTotal"), "load": first("/proc/loadavg"),
            "files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            "congestion_control": first("/proc/sys/net/ipv4/tcp_congestion_control")}
