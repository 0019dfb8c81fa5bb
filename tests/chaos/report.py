"""The figures as text and as a page, and the sum of several parts."""

import html
from statistics import median

from tests.chaos import figures
from tests.chaos.failovers import WITHOUT_CLAIMS
from tests.chaos.run import ZOMBIES

DEATHS = 8  # a median over fewer deaths says more about the phases of the monitors than about the protocol


def add(parts):
    """Several results as one: counts add up, worst values stay the worst."""
    total = {}
    for part in parts:
        for name, value in part.items():
            total[name] = _sum(name, total.get(name), value)
    return total


def _sum(name, left, right):
    if left is None:
        return right
    if name in ("latest_act", "worst", "worst_after", "healed", "sweep_late", "slack"):
        return max(left, right if right is not None else 0.0)
    if name == "overlapping_pairs":
        return sorted(map(list, {tuple(p) for p in left} | {tuple(p) for p in right}))
    if isinstance(left, dict):
        return {
            key: _sum(key, left.get(key), right[key]) if key in right else left[key] for key in left | right
        }
    return left + right if right is not None else left


def rows(result):
    """(what, value, bar, fine or None) for each figure."""
    recovery, control = result["recovery"], result["control"]
    clean, took = recovery["undisturbed"], control["judged"]
    lateness, swept = result["lateness"]["worst"], recovery.get("sweep_late", 0.0)
    late = lateness + result.get("slack", 0.0)
    refused, cpu = result["zombies_refused"], result["worker_cpu"]
    return [
        ("seeds", ", ".join(map(str, result["seed"])), "", None),
        ("faults", sum(result["faults"].values()), "", None),
        *((f"  {kind}", n, "", None) for kind, n in sorted(result["faults"].items())),
        *(("  left out", reason, "", None) for reason in sorted(set(result.get("left_out", ())))),
        ("pairs of kinds at work at once", len(result["overlapping_pairs"]), "", None),
        ("seconds", f"{result['seconds']:.0f}", "", None),
        ("tasks / runs / acts", f"{result['tasks']} / {result['runs']} / {result['acts']}", "", None),
        ("moves in the audit (renewals counted)", result["moves"], "", None),
        ("runs ended by", _list(result["endings"]), "", None),
        ("states at rest", _list(result["states"]), "", None),
        ("worker processes, by exit code", _list(result["exits"]), "", None),
        ("tasks lost", result["lost"], "0", result["lost"] == 0),
        ("  taken by FLUSHALL / DEL of the test", f"{result['flushed']} / {result['deleted']}", "", None),
        ("acts of overlapping runs", result["overlaps"], "0", result["overlaps"] == 0),
        ("zombie writes accepted", result["zombies_accepted"], "0", result["zombies_accepted"] == 0),
        ("zombie writes refused", refused, f"> {ZOMBIES} in all", True if refused > ZOMBIES else None),
        ("  of workers that came back", _list(result["zombies_natural"]), "", None),
        ("  made by the test from old run ids", _list(result["zombies_made"]), "", None),
        ("latest act after the last acknowledged renewal", f"{result['latest_act']:.3f} s",
         f"{figures.K + 0.25:g} s", result["latest_act"] <= figures.K + 0.25),
        ("dead runs / requeues by monitors", f"{recovery['dead_runs']} / {recovery['requeues']}", "one each",
         None),
        ("recovery undisturbed: deaths / runs", f"{recovery.get('deaths', 0)} / {len(clean)}", "", None),
        ("  median", _seconds(median(clean) if clean else None),
         f"{figures.MEDIAN:g} s + {late + swept:.2f} s",
         median(clean) <= figures.MEDIAN + late + swept if recovery.get("deaths", 0) >= DEATHS else None),
        ("  worst", _seconds(max(clean, default=None)), f"{figures.RECOVERY:g} s + {late:.2f} s",
         max(clean) <= figures.RECOVERY + late if clean else None),
        ("  T in sweeps is longer than T by", f"{swept:.2f} s", "", None),
        ("recovery, all, after the last disturbance: worst", _seconds(recovery["worst_after"]),
         f"{figures.RECOVERY:g} s + pause after crashes", None),
        ("control messages sent / judged", f"{control['sent']} / {len(took)}", "", None),
        ("  median", _seconds(median(took) if took else None), "", None),
        ("  worst", _seconds(max(took, default=None)), f"{figures.CONTROL:g} s + {late:.2f} s", None),
        ("processes that lived through the second half", result["growth"]["processes"], "", None),
        ("  their fds (before, after)", _sums(result["growth"]["fds"]), "+2 %", None),
        ("  their greenlets beside the runs", _sums(result["growth"]["greenlets"]), "+2 %", None),
        ("  Redis: connections, keys of pytask",
         f"{_sums(result['growth'].get('connections', []))}, {_sums(result['growth'].get('keys', []))}",
         "+2 %", None),
        *_unclean(result.get("unclean") or {}),
        *_failovers(result.get("failovers") or {}, late),
        *_policies(result.get("policies") or {}, late),
        ("the machine's own lateness: worst", f"{lateness:.3f} s", "", None),
        ("  sleeps more than 100 ms late", result["lateness"]["over_100_ms"], "", None),
        ("CPU of the workers", f"{cpu:.0f} s, {cpu / max(1, result['seconds']):.2f} cores", "", None),
        ("seconds to rest after the last fault", result["healed"], "", None),
        ("violations", len(result["violations"]), "0", not result["violations"]),
    ]  # fmt: skip


def _unclean(found):
    if not found:
        return []
    return [
        ("lives as PID 1 / acts in them / stopped for longer than K",
         f"{found['init_lives']} / {found['init_acts']} / {found['init_stopped']}", "", None),
        ("tasks over a size limit, by their fate", _list(found["limits"]), "", None),
        ("lone tasks / kills of their workers / killed four times",
         f"{found['lone_tasks']} / {found['lone_kills']} / {found['lone_whole']}", "", None),
    ]  # fmt: skip


def _policies(found, late):
    if not found:
        return []
    pairs = found.get("delayed_late", [])
    rows = [(name, n, "", None) for name, n in found.items() if name != "delayed_late"]
    typical, worst = median(pairs[::2]) if pairs else None, max(pairs[1::2], default=None)
    return [*rows, ("delayed tasks, undisturbed: late by (median, worst)",
                    f"{_seconds(typical)}, {_seconds(worst)}", f"machine: {late:.2f} s", None)]  # fmt: skip


def _failovers(found, late):
    if not found:
        return []
    gaps = found["gaps"]
    return [
        ("failovers", _list(found["kinds"]), "", None),
        ("  seconds without claims: median", _seconds(median(gaps) if gaps else None), "", None),
        ("  worst", _seconds(max(gaps, default=None)), f"{WITHOUT_CLAIMS:g} s + {late:.2f} s",
         max(gaps) <= WITHOUT_CLAIMS + late if gaps else None),
        ("  entries of the audit that Redis lost", found["entries_lost"], "", None),
        ("  claims lost / of runs that acted / put back",
         f"{found['claims_lost']} / {found['claims_lost_that_acted']} / {found['put_back']}", "", None),
        ("  pushes lost by Redis", found["pushes_lost"], "", None),
        ("  late writes of runs that Redis had made current again",
         found.get("writes_of_runs_made_current_again", 0), "", None),
    ]  # fmt: skip


def _seconds(value):
    return "none" if value is None else f"{value:.2f} s"


def _list(counts):
    return ", ".join(f"{k}: {n}" for k, n in sorted(counts.items())) or "none"


def _sums(pairs):
    return f"{sum(a for a, _ in pairs)} -> {sum(b for _, b in pairs)}"


def fine(result):
    """Whether every bar holds; a run in which no zombie was refused proves nothing and is not fine."""
    return result["zombies_refused"] > 0 and all(row[3] is not False for row in rows(result))


def text(result):
    lines = [
        f"{what:<52} {value!s:<46} {bar:<24}{'' if good is None else 'ok' if good else 'FAILED'}".rstrip()
        for what, value, bar, good in rows(result)
    ]
    shown = [f"{rule}: {words}" for rule, words in result["violations"][:40]]
    return "\n".join([*lines, *shown])


def page(result):
    """One self-contained HTML page."""
    cells = "".join(
        f"<tr class={'none' if good is None else 'ok' if good else 'bad'}>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in (what, value, bar))
        + "</tr>"
        for what, value, bar, good in rows(result)
    )
    broken = "".join(
        f"<li>{html.escape(rule)}: {html.escape(words)}</li>" for rule, words in result["violations"]
    )
    style = "body{font:14px sans-serif}"
    style += "td{padding:2px 12px;border-bottom:1px solid #ddd}.ok{color:#060}.bad{color:#b00}"
    return (
        f"<!doctype html><meta charset=utf-8><title>pytask under chaos</title><style>{style}</style>"
        f"<h1>pytask under chaos</h1><table>{cells}</table>"
        f"<h2>Violations</h2><ul>{broken or '<li>none</li>'}</ul>"
    )
