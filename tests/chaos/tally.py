"""What a run has to show: faults fired and their effects, violations, figures; and the tables made of them."""
import json
import re
import threading
import time
from collections import Counter

import faults


class Tally:
    def __init__(self):
        self._lock = threading.Lock()
        self.count, self.effect, self.troubled = Counter(), Counter(), Counter()
        self.violations, self.figures, self.checks = [], {}, []
        self.refusals = []  # why the run shows nothing although no promise was seen broken
        self.excused = Counter()
        self.load = Counter()
        self.reads = self.hits = 0
        self.begun = time.monotonic()
        self.where = ""

    def fired(self, number, effect):
        with self._lock:
            self.count[number] += 1
            self.effect[number] += bool(effect)

    def trouble(self, number, error):
        """It could not be made; that is neither fault nor effect."""
        with self._lock:
            self.troubled[f"{number}: {error!r}"[:160]] += 1

    def violation(self, promise, text):
        with self._lock:
            self.violations.append({"promise": promise, "where": self.where, "text": text})
        print(f"VIOLATION {promise} [{self.where}]: {text}", flush=True)

    def refuse(self, text):
        with self._lock:
            self.refusals.append({"where": self.where, "text": text})
        print(f"REFUSED [{self.where}]: {text}", flush=True)

    def figure(self, name, value):
        """The highest of each name is kept."""
        with self._lock:
            self.figures[name] = max(value, self.figures.get(name, value))

    def counted(self, name, value):
        """Adds up."""
        with self._lock:
            self.figures[name] = self.figures.get(name, 0) + value

    def lived(self, lives):
        """The counters of daemons, one per life."""
        for life in lives:
            self.reads += life["reads"]
            self.hits += life["hits"]

    def expect_hits(self):
        if self.hits * 2 <= self.reads:
            self.refuse(f"hits were {self.hits} of {self.reads} reads, not more than half")

    def loaded(self, totals):
        for one in totals:
            self.load.update({name: n for name, n in one.items() if isinstance(n, int)})

    def fired_json(self, before=None):
        before = before or (Counter(), Counter())
        return {n: {"count": self.count[n] - before[0][n], "effect": self.effect[n] - before[1][n]}
                for n in self.count if self.count[n] > before[0][n]}

    def snapshot(self):
        return Counter(self.count), Counter(self.effect)

    def checked(self, era, status, report, text):
        self.checks.append({"era": era.number, "topology": era.topology.name, "bound_ms": era.bound_ms,
                            "status": status, "report": report})
        self.excused.update(report.get("excused", {}))
        self.figure("share of the time in which the machine held a pod back, in the worst era",
                    report.get("stalled_share", 0))
        if status == 5:
            self.refuse("the machine held the pods back in " + f"{report['stalled_share']:.1%} of the time: "
                        f"AVAIL and CONV were not judged ({report['violations'].keys() or 'nothing'} came late)")
            return
        if status == 3 and re.fullmatch(r"hits were [^;]*", report.get("refused_to_pass", "")):
            return  # asked of the run as a whole: an era in which Redis forgets has little to hit
        if status != 0:
            meaning = {1: "violations", 2: "usage", 3: "refused to pass", 4: "unreadable"}.get(status, status)
            broken = [line for line in text.splitlines() if re.match(r"\w+ violated \d+ times", line)]
            refused = [line for line in text.splitlines() if line.startswith("refused to pass")]
            self.violation(" ".join(line.split()[0] for line in broken) or "chaos-check",
                           "\n".join([f"{meaning}:", *broken, *refused, "", text[:20000]]))

    def summary(self):
        return {"seconds": round(time.monotonic() - self.begun, 1), "faults": sum(self.count.values()),
                "with_effect": sum(self.effect.values()), "fired": self.fired_json(), "figures": self.figures,
                "load": self.load, "daemons": {"reads": self.reads, "hits": self.hits},
                "troubles": dict(self.troubled), "violations": self.violations,
                "refusals": self.refusals, "excused": self.excused, "checks": self.checks}

    def table(self):
        lines = ["| fault | what | endangers | injected | with effect |", "|---|---|---|---|---|"]
        for number in faults.NUMBERS:
            if self.count[number]:
                lines.append(f"| {number} | {faults.title(number)} | {faults.endangers(number)} | "
                             f"{self.count[number]:,} | {self.effect[number]:,} |")
        lines.append(f"| all | | | {sum(self.count.values()):,} | {sum(self.effect.values()):,} |")
        return "\n".join(lines)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.summary(), f, indent=1)
            f.write("\n")

    def report(self):
        lines = [self.table(), "", "load: " + ", ".join(f"{n} {value:,}" for n, value in self.load.items())]
        lines += [f"{name}: {value:.2f}" for name, value in sorted(self.figures.items())]
        lines += [f"not injected {count} times: {text}" for text, count in self.troubled.items()]
        lines += [f"excused by stalls of the machine: {n} {count}" for n, count in self.excused.items() if count]
        lines += [f"refused to pass: {one['text']} [{one['where']}]" for one in self.refusals]
        seconds = time.monotonic() - self.begun
        lines.append(f"{sum(self.count.values())} faults in {seconds:.0f} s, {len(self.violations)} violations")
        return "\n".join(lines)
