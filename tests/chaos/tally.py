"""What a run has to show: faults fired and their effects, violations, figures; and the tables made of them."""
import json
import re
import threading
import time
from collections import Counter, namedtuple

import faults

# faults and reads of the run; `each` kind's effects, `long` instead for those that last long; of each `variant`
# of a kind; values of D.
Required = namedtuple("Required", "faults reads each long variant bounds_ms")
AT_ALL = Required(1, 1, 1, 1, 0, ())
FULL = Required(10_000, 100_000_000, 100, 10, 1, (250, 1000))

# How a run ends; for an era the checker says it by the same numbers.
PASSED, VIOLATED, REFUSED, NOT_JUDGED = 0, 1, 3, 5

# Of so many eras the times may be left unjudged because the machine was too slow; more, and the run is. Picked.
UNJUDGED_SHARE_MAX = 0.1


QUANTILES = (("p50_ms", .5), ("p99_ms", .99), ("p9999_ms", .9999))


class Distribution:
    """Of times that the reports of several eras have under one name, and of how many checked reads."""

    def __init__(self, name):
        self.name, self.reads, self.max_ms, self._buckets = name, 0, 0.0, Counter()

    def add(self, report):
        self.reads += report.get("checked_reads", 0)
        self.max_ms = max(self.max_ms, report.get(self.name, {}).get("max_ms", 0))
        for edge_ns, count in report.get(self.name + "_buckets", []):
            self._buckets[edge_ns] += count

    def count(self):
        return sum(self._buckets.values())

    def quantile_ms(self, share):
        """At least this share is at or below it."""
        seen, whole = 0, self.count()
        for edge_ns, count in sorted(self._buckets.items()):
            seen += count
            if seen >= share * whole:
                return min(edge_ns / 1e6, self.max_ms)
        return self.max_ms

    def row(self):
        return " | ".join(f"{ms:.3f} ms" for ms in [*(self.quantile_ms(s) for _, s in QUANTILES), self.max_ms])

    def summary(self):
        return {"checked_reads": self.reads, "count": self.count(), "max_ms": self.max_ms,
                **{name: self.quantile_ms(share) for name, share in QUANTILES}}


class Tally:
    def __init__(self, required=AT_ALL):
        self.required = required
        self._lock = threading.Lock()
        self.count, self.effect, self.troubled = Counter(), Counter(), Counter()
        self.violations, self.figures, self.checks = [], {}, []
        self.refusals = []  # why the run shows nothing although no promise was seen broken
        self.unjudged = []  # eras in which the machine was too slow: what fired and was read there does not count
        self.excused = Counter()
        # By D in ms: the age of proofs at the library's check; for how long values had been superseded when they
        # were handed over, of those that had; the first hit of each pod after healing.
        self.ages, self.staleness, self.first_hits = {}, {}, {}
        self.load = Counter()
        self.reads = self.hits = 0
        self.begun = time.monotonic()
        self.where = ""

    def fired(self, name, effect):
        """name: number and variant."""
        with self._lock:
            self.count[name] += 1
            self.effect[name] += bool(effect)

    def trouble(self, name, error):
        """It could not be made; that is neither fault nor effect."""
        with self._lock:
            self.troubled[f"{name}: {error!r}"[:400]] += 1

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

    def loaded(self, totals):
        for one in totals:
            self.load.update({name: n for name, n in one.items() if isinstance(n, int)})

    def fired_json(self, before=None):
        """By number, since the snapshot."""
        count, effect = before or (Counter(), Counter())
        return {n: {"count": of(self.count, n) - of(count, n), "effect": of(self.effect, n) - of(effect, n)}
                for n in faults.NUMBERS if of(self.count, n) > of(count, n)}

    def snapshot(self):
        return Counter(self.count), Counter(self.effect)

    # ---- eras ---------------------------------------------------------------------------------------------

    def checked(self, era, status, report, text, before):
        """What the checker said of an era; before: the snapshot at its beginning."""
        self.checks.append({"era": era.number, "topology": era.topology.name, "bound_ms": era.bound_ms,
                            "status": status, "report": report})
        self.excused.update(report.get("excused", {}))
        self.counted("clears acknowledged and judged", report.get("clears", 0))
        self.figure("share of the time in which the machine held a pod back, in the worst era",
                    report.get("stalled_share", 0))
        if status == NOT_JUDGED:
            self._not_judged(report, before)
            return
        self._times(self.ages, "age", era, report)
        self._times(self.first_hits, "first_hit", era, report)
        if not era.topology.clocks:  # commits are dated by the store's clock, which jumps there
            self._times(self.staleness, "staleness", era, report)
            self._expect_current(era, report)
        if status == REFUSED and re.fullmatch(r"hits were [^;]*", report.get("refused_to_pass", "")):
            return  # asked of the run as a whole: an era in which Redis forgets has little to hit
        if status != PASSED:
            self._broken(status, text)

    def _expect_current(self, era, report):
        """What is proven reflects every commit, whether anybody was told of it or not."""
        behind_ms = report.get("staleness", {}).get("max_ms", 0)
        if behind_ms > era.bound_ms:
            self.violation("BOUND", f"a value was read as fresh {behind_ms} ms after a newer one was committed")

    @staticmethod
    def _times(by_bound, name, era, report):
        by_bound.setdefault(era.bound_ms, Distribution(name)).add(report)

    def _not_judged(self, report, before):
        late = ", ".join(report["violations"]) or "nothing"
        text = f"held back in {report['stalled_share']:.1%} of the time; {late} came late"
        self.unjudged.append({"where": self.where, "text": text})
        self.count, self.effect = before
        print(f"NOT JUDGED [{self.where}]: {text}", flush=True)

    def _broken(self, status, text):
        meaning = {1: "violations", 2: "usage", 3: "refused to pass", 4: "unreadable"}.get(status, status)
        broken = [line for line in text.splitlines() if re.match(r"\w+ violated \d+ times", line)]
        refused = [line for line in text.splitlines() if line.startswith("refused to pass")]
        said = "\n".join([f"{meaning}:", *broken, *refused, "", text[:20000]])
        if status == VIOLATED:
            self.violation(" ".join(line.split()[0] for line in broken) or "chaos-check", said)
        else:
            self.refuse(said)

    # ---- what it shows ------------------------------------------------------------------------------------

    def needed(self, number):
        return self.required.long if faults.lasts_long(number) else self.required.each

    def checked_reads(self):
        return sum(age.reads for age in self.ages.values())

    def expect_shown(self, kinds):
        """Refuses a run that shows less than is required of it."""
        required, self.where = self.required, "the whole run"
        for kind in faults.NUMBERS:
            effect = of(self.effect, kind)
            if kind in kinds and effect < self.needed(kind):
                self.refuse(f"{kind} had an effect {effect} times, not {self.needed(kind)}")
            for name in faults.variants(kind) if kind in kinds and effect else ():
                if self.effect[name] < required.variant:
                    self.refuse(f"{name} had an effect {self.effect[name]} times, not {required.variant}")
        if sum(self.effect.values()) < required.faults:
            self.refuse(f"{sum(self.effect.values()):,} faults with effect, not {required.faults:,}")
        if self.checked_reads() < required.reads:
            self.refuse(f"{self.checked_reads():,} checked reads, not {required.reads:,}")
        for bound_ms in required.bounds_ms:
            if bound_ms not in self.ages:
                self.refuse(f"D = {bound_ms} ms was not tried")
        if self.hits * 2 <= self.reads:
            self.refuse(f"hits were {self.hits} of {self.reads} reads, not more than half")
        if len(self.unjudged) > UNJUDGED_SHARE_MAX * len(self.checks):
            self.refuse(f"not judged: the machine was too slow in {len(self.unjudged)} of {len(self.checks)} eras")

    def status(self):
        """Exit status of the run. What is missing where eras were not judged is the machine's."""
        if self.violations:
            return VIOLATED
        return PASSED if not self.refusals else NOT_JUDGED if self.unjudged else REFUSED

    def verdict(self):
        return {PASSED: "passed: no promise was broken, and all that was required was shown",
                VIOLATED: "violated",
                REFUSED: "refused to pass: no promise was seen broken, but less was shown than required",
                NOT_JUDGED: "not judged: the machine was too slow; no promise was seen broken"}[self.status()]

    def summary(self):
        return {"verdict": self.verdict(), "seconds": round(time.monotonic() - self.begun, 1),
                "required": self.required._asdict(),
                "faults": sum(self.count.values()), "with_effect": sum(self.effect.values()),
                "fired": self.fired_json(),
                "variants": {name: {"count": n, "effect": self.effect[name]} for name, n in self.count.items()},
                "checked_reads": self.checked_reads(),
                "age_at_the_library": _summaries(self.ages), "staleness": _summaries(self.staleness),
                "first_hit_after_healing": _summaries(self.first_hits),
                "figures": self.figures, "load": self.load, "daemons": {"reads": self.reads, "hits": self.hits},
                "troubles": dict(self.troubled), "violations": self.violations, "refusals": self.refusals,
                "not_judged": self.unjudged, "excused": self.excused, "checks": self.checks}

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.summary(), f, indent=1)
            f.write("\n")

    def fault_table(self):
        lines = ["| fault | what | endangers | fired | with effect | required | verdict |",
                 "|---|---|---|---|---|---|---|"]
        for number in faults.NUMBERS:
            count, effect = of(self.count, number), of(self.effect, number)
            if count or self.required is FULL:
                needed = self.needed(number)
                lines.append(f"| {number} | {faults.title(number)} | {faults.endangers(number)} | "
                             f"{count:,} | {effect:,} | "
                             f"{needed}{' (lasts long)' if faults.lasts_long(number) else ''} | "
                             f"{_reached(effect, needed)} |")
        total = sum(self.effect.values())
        lines.append(f"| all | | | {sum(self.count.values()):,} | {total:,} | {self.required.faults:,} | "
                     f"{_reached(total, self.required.faults)} |")
        return lines

    def variant_table(self):
        """Of the kinds that have several."""
        lines = ["| variant | fired | with effect | required | verdict |", "|---|---|---|---|---|"]
        needed = self.required.variant
        for number in faults.NUMBERS:
            names = faults.variants(number)
            for name in names if len(names) > 1 else ():
                if self.count[name] or self.required is FULL:
                    lines.append(f"| {name} | {self.count[name]:,} | {self.effect[name]:,} | {needed} | "
                                 f"{_reached(self.effect[name], needed)} |")
        return lines

    def read_table(self):
        lines = ["| D | checked reads | required | age of the proof at the library's check: p50 | p99 | p99.99 | "
                 "max | verdict |", "|---|---|---|---|---|---|---|---|"]
        for bound_ms, age in sorted(self.ages.items()):
            lines.append(f"| {bound_ms} ms | {age.reads:,} | | {age.row()} | "
                         f"{'<= D' if age.max_ms <= bound_ms else 'ABOVE D'} |")
        lines.append(f"| all | {self.checked_reads():,} | {self.required.reads:,} | | | | | "
                     f"{_reached(self.checked_reads(), self.required.reads)} |")
        return lines

    def times_table(self):
        lines = ["| D | what | of how many | p50 | p99 | p99.99 | max |", "|---|---|---|---|---|---|---|"]
        for what, by_bound in (("values read after a newer commit: since that", self.staleness),
                               ("first hit of a pod after healing", self.first_hits)):
            lines += [f"| {bound_ms} ms | {what} | {one.count():,} | {one.row()} |"
                      for bound_ms, one in sorted(by_bound.items())]
        return lines

    def report(self):
        lines = [*self.fault_table(), "", *self.variant_table(), "", *self.read_table(), "",
                 *self.times_table(), ""]
        lines.append("load: " + ", ".join(f"{n} {value:,}" for n, value in self.load.items()))
        lines.append(f"hits {self.hits:,} of {self.reads:,} reads of the daemons")
        lines += [f"{name}: {value:.2f}" for name, value in sorted(self.figures.items())]
        lines += [f"not injected {count} times: {text}" for text, count in self.troubled.items()]
        lines += [f"excused by stalls of the machine: {n} {count}" for n, count in self.excused.items() if count]
        lines += [f"not judged: {one['text']} [{one['where']}]" for one in self.unjudged]
        lines += [f"refused to pass: {one['text']} [{one['where']}]" for one in self.refusals]
        seconds = time.monotonic() - self.begun
        lines.append(f"{sum(self.count.values()):,} faults and {self.checked_reads():,} checked reads in "
                     f"{seconds:.0f} s, {len(self.violations)} violations")
        lines.append(f"verdict: {self.verdict()}")
        return "\n".join(lines)


def _summaries(by_bound):
    return {f"D={bound_ms} ms": one.summary() for bound_ms, one in sorted(by_bound.items())}


def of(counter, number):
    """All variants of a number."""
    return sum(n for name, n in counter.items() if name.split()[0] == number)


def _reached(value, needed):
    return "reached" if value >= needed else "MISSED"
