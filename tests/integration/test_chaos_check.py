"""The history checker has teeth: a good history passes, each that differs in one line is called by its name."""
import json
import os
import subprocess

import pytest
from daemon import build_dir

# Pods 0 .. 6, D = 1 s, H = 250 ms. The form is that of tests/chaos/text.h.
GOOD = """
meta epoch=00000000000000e1 cleared=0
commit key=1 n=1:1 v=10 seq=1010 at=95
commit key=1 n=1:2 v=11 seq=1020 at=205
commit key=2 n=1:10 v=5 seq=1030 at=301
commit key=2 n=1:11 v=6 seq=1040 at=311 tombstone=1
commit key=3 n=1:20 v=7 seq=1050 at=321
commit key=4 n=1:30 v=1 seq=1060 at=331
commit key=5 n=1:40 v=900 seq=1070 at=341
gone_all
gone_noted loss=2100
meta epoch=00000000000000e2 cleared=0
commit key=6 n=1:50 v=9 seq=2010 at=2310
commit key=7 n=1:60 v=3 seq=2020 at=2321

invoked t=90 pod=0 key=1 n=1:1 v=10
answered t=100 i=90 pod=0 key=1 n=1:1 out=accepted v=10 seq=1010 epoch=00000000000000e1
get t=110 i=105 pod=0 key=1 out=value n=1:1 v=10 asof=80
invoked t=200 pod=0 key=1 n=1:2 v=11
get t=207 i=195 pod=1 key=1 out=value n=1:2 v=11 asof=150             # committed, not yet acknowledged
answered t=210 i=200 pod=0 key=1 n=1:2 out=accepted v=11 seq=1020 epoch=00000000000000e1
get t=212 i=201 pod=1 key=1 out=value n=1:1 v=10 asof=150             # invoked before the other returned
get t=220 i=215 pod=0 key=1 out=value n=1:2 v=11 asof=150             # RYW
get t=230 i=225 pod=2 key=1 out=value n=1:1 v=10 asof=205             # another pod may be behind by D
get t=240 i=235 pod=1 key=1 out=value n=1:2 v=11 asof=150             # MONO
invoked t=300 pod=0 key=2 n=1:10 v=5
answered t=305 i=300 pod=0 key=2 n=1:10 out=accepted v=5 seq=1030 epoch=00000000000000e1
invoked t=310 pod=0 key=2 n=1:11 v=6 op=delete
answered t=312 i=310 pod=0 key=2 n=1:11 out=accepted v=6 seq=1040 op=delete epoch=00000000000000e1
get t=314 i=313 pod=0 key=2 out=absent v=6 asof=306                   # NORES
invoked t=320 pod=0 key=3 n=1:20 v=7
invoked t=320.5 pod=1 key=3 n=2:1 v=7
invoked t=320.6 pod=1 key=3 n=2:2 v=7
answered t=322 i=320 pod=0 key=3 n=1:20 out=accepted v=7 seq=1050 epoch=00000000000000e1
answered t=323 i=320.5 pod=1 key=3 n=2:1 out=conflict v=7             # UNIQ
answered t=324 i=320.6 pod=1 key=3 n=2:2 out=indeterminate
invoked t=330 pod=0 key=4 n=1:30 v=1
answered t=332 i=330 pod=0 key=4 n=1:30 out=accepted v=1 seq=1060 epoch=00000000000000e1  # ACKDUR
invoked t=340 pod=0 key=5 n=1:40
answered t=345 i=340 pod=0 key=5 n=1:40 out=indeterminate
invoked t=350 pod=0 key=5 n=1:41
answered t=351 i=350 pod=0 key=5 n=1:41 out=timeout                   # INDET
get t=700 i=690 pod=2 key=1 out=value n=1:2 v=11 asof=650             # GAP0
strong t=800 i=795 pod=4 key=1 out=value n=1:2 v=11 asof=796          # STRONG
max_stale t=900 i=895 pod=4 key=1 out=stale n=1:2 v=11 asof=600
get t=1300 i=1290 pod=3 key=1 out=value n=1:2 v=11 asof=1250          # BOUND
get t=1310 i=1290 pod=3 key=1 out=value n=1:2 v=11 asof=300.5 check=1300
phase t=1400 kind=faults
get t=1500 i=1490 pod=0 key=1 out=refused                             # AVAIL
phase t=1900 kind=healed at=1900
phase t=2101 kind=loss at=2100 arg=22100                              # begun; its end is not known
get t=2240 i=2230 pod=5 key=3 out=value n=1:20 v=7 asof=2000          # the first hit is due at 2250
phase t=2299 kind=emptied at=2100 arg=2200
get t=2300 i=2290 pod=6 key=4 out=absent v=0 asof=2280                # LOSSVIS
invoked t=2305 pod=0 key=6 n=1:50 v=9
answered t=2311 i=2305 pod=0 key=6 n=1:50 out=accepted v=9 seq=2010 epoch=00000000000000e2
invoked t=2320 pod=0 key=7 n=1:60 v=3
answered t=2330 i=2320 pod=0 key=7 n=1:60 out=indeterminate
phase t=5000 kind=converge
converge t=5010 i=5000 pod=0 key=7 out=value n=1:60 v=3 asof=4990
converge t=5020 i=5000 pod=1 key=7 out=value n=1:60 v=3 asof=4990     # CONV
""".strip().split("\n")

# What differs: (names of the promises that are violated, beginning of the one line, what stands there instead).
# "" removes the line; a text that begins with + is added behind it.
OLD = "out=value n=1:1 v=10"
BAD = {
    "mono": ("MONO", "get t=240", f"get t=240 i=235 pod=1 key=1 {OLD} asof=150"),
    "mono_of_the_store": ("MONO", "commit key=1 n=1:2", "+commit key=1 n=0:0 v=9 seq=1025 at=206"),
    "ryw": ("RYW", "get t=220", f"get t=220 i=215 pod=0 key=1 {OLD} asof=150"),
    "ryw_absent": ("GAP0 MONO RYW", "get t=220", "get t=220 i=215 pod=0 key=1 out=absent v=0 asof=150"),
    "bound": ("BOUND", "get t=1300", f"get t=1300 i=1290 pod=3 key=1 {OLD} asof=1250"),
    "bound_of_the_proof": ("BOUND", "get t=1310",
                           "get t=1310 i=1290 pod=3 key=1 out=value n=1:2 v=11 asof=299 check=1300"),
    "bound_of_the_call": ("BOUND", "max_stale",
                          "max_stale t=900 i=895 pod=4 key=1 out=stale n=1:2 v=11 asof=600 flags=2"),
    "nores": ("NORES", "get t=314", "get t=314 i=313 pod=0 key=2 out=value n=1:10 v=5 asof=306"),
    "nores_in_the_store": ("NORES", "commit key=2 n=1:11", "+commit key=2 n=0:0 v=5 seq=1045 at=312"),
    "nogarb": ("NOGARB", "get t=110", "get t=110 i=105 pod=0 key=1 out=value n=1:1 v=10 asof=80 flags=1"),
    "nogarb_version": ("NOGARB", "get t=110", "get t=110 i=105 pod=0 key=1 out=value n=1:1 v=12 asof=80"),
    "nogarb_of_nobody": ("NOGARB", "get t=110", "get t=110 i=105 pod=0 key=1 out=value n=7:7 v=10 asof=80"),
    "nogarb_of_another_key": ("NOGARB", "get t=2240",
                              "get t=2240 i=2230 pod=5 key=3 out=value n=1:30 v=1 asof=2000"),
    "nogarb_rejected": ("NOGARB", "get t=2240", "get t=2240 i=2230 pod=5 key=3 out=value n=2:1 v=7 asof=2000"),
    "nogarb_never_committed": ("NOGARB", "get t=2240",
                               "get t=2240 i=2230 pod=5 key=3 out=value n=2:2 v=7 asof=2000"),
    "nogarb_local": ("NOGARB", "get t=110", "get t=110 i=105 pod=0 key=1 out=local n=1:1 v=10 asof=80"),
    "nogarb_tombstone": ("NOGARB", "get t=314", "get t=314 i=313 pod=0 key=2 out=absent v=8 asof=306"),
    "uniq": ("UNIQ", "commit key=3", "+commit key=3 n=2:2 v=7 seq=1055 at=323"),
    "ackdur": ("ACKDUR", "commit key=4", ""),
    "indet_twice": ("INDET", "commit key=5", "+commit key=5 n=1:40 v=901 seq=1075 at=342"),
    "indet_not_done": ("INDET", "commit key=5", "+commit key=5 n=1:41 v=901 seq=1075 at=352"),
    "indet_another_seq": ("INDET", "answered t=332", "answered t=332 i=330 pod=0 key=4 n=1:30 out=accepted v=1 "
                          "seq=1065 epoch=00000000000000e1"),
    "lossvis": ("LOSSVIS", "get t=2300", "get t=2300 i=2290 pod=6 key=4 out=value n=1:30 v=1 asof=2280"),
    "lossvis_same_epoch": ("INDET LOSSVIS", "answered t=2311", "answered t=2311 i=2305 pod=0 key=6 n=1:50 "
                           "out=accepted v=9 seq=2010 epoch=00000000000000e1"),
    "gap0": ("GAP0", "get t=700", f"get t=700 i=690 pod=2 key=1 {OLD} asof=650"),
    "gap0_seq": ("GAP0", "commit key=5", "commit key=5 n=1:40 v=900 seq=1050 at=341"),
    "strong": ("STRONG", "strong", f"strong t=800 i=795 pod=4 key=1 {OLD} asof=150"),
    "conv": ("CONV", "converge t=5020", "converge t=5020 i=5000 pod=1 key=7 out=absent v=0 asof=4990"),
    "conv_no_answer": ("CONV", "converge t=5020", "converge t=5020 i=5000 pod=1 key=7 out=timeout"),
    "avail": ("AVAIL", "phase t=1400", ""),
    "avail_timeout": ("AVAIL", "get t=700", "get t=700 i=690 pod=2 key=1 out=timeout"),
    "avail_busy": ("AVAIL", "get t=700", "get t=700 i=690 pod=2 key=1 out=busy"),
    "avail_unreachable": ("AVAIL", "get t=700", "get t=700 i=690 pod=2 key=1 out=unreachable"),
    "avail_error": ("AVAIL", "get t=700", "get t=700 i=690 pod=2 key=1 out=error"),
    "avail_first_hit": ("AVAIL", "get t=2240", "get t=2260 i=2230 pod=5 key=3 out=value n=1:20 v=7 asof=2000"),
    "min_version": ("MINVERSION", "get t=110",
                    "get t=110 i=105 pod=0 key=1 out=value n=1:1 v=10 asof=80 flags=4"),
}
STATS = [{"pod": 0, "reads": 100, "hits": 80, "misses": 15, "refused": 4, "errors": 1},
         {"pod": 1, "reads": 10, "hits": 4, "misses": 6, "refused": 0, "errors": 0}]


def check(folder, lines, *options):
    """Exit status and report of chaos-check."""
    path, report = os.path.join(folder, "history"), os.path.join(folder, "report")
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    program = os.path.join(build_dir(), "tests/chaos/chaos-check")
    done = subprocess.run([program, "--text", path, "--report", report, *options], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode in (0, 1, 3, 5), done
    with open(report, encoding="utf-8") as f:
        return done.returncode, json.load(f), done.stdout


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as f:
        json.dump(content, f)
    return path


def changed(begin, instead):
    at = [n for n, line in enumerate(GOOD) if line.startswith(begin)]
    assert len(at) == 1, f"{begin} is not one line"
    if instead.startswith("+"):
        return GOOD[:at[0] + 1] + [instead[1:]] + GOOD[at[0] + 1:]
    return GOOD[:at[0]] + ([instead] if instead else []) + GOOD[at[0] + 1:]


def test_a_flush_demands_nothing_of_reads_before_it(folder):
    later = ["gone_all", "meta epoch=00000000000000e3 cleared=0"]
    at = GOOD.index("")
    status, report, text = check(folder, GOOD[:at] + later + GOOD[at:])
    assert (status, report["violations"]) == (0, {}), text


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("end", ["gone_all", "gone key=4"])
def test_what_ended_while_the_clock_of_the_store_was_wrong_is_known_to_have_ended(folder, hours, end):
    """The commits before it are dated an hour off; reads find nothing afterwards, and a value only before."""
    offset = hours * 3_600_000
    commits = ["meta epoch=00000000000000e1 cleared=0",
               f"commit key=4 n=1:1 v=1 seq=1010 at={4_000_095 + offset}",
               f"commit key=5 n=1:2 v=1 seq=1020 at={4_000_205 + offset}", end,
               "commit key=5 n=1:3 v=2 seq=1030 at=4000305", ""]
    history = [f"invoked t={4_000_000 + t} pod=0 key={key} n=1:{n} v={v}" for t, key, n, v in
               [(90, 4, 1, 1), (200, 5, 2, 1), (300, 5, 3, 2)]] + [
               "answered t=4000100 i=4000090 pod=0 key=4 n=1:1 out=accepted v=1 seq=1010 epoch=00000000000000e1",
               "get t=4000110 i=4000105 pod=0 key=4 out=value n=1:1 v=1 asof=4000104"]
    gone = "get t=4001500 i=4001490 pod=0 key=4 out=absent v=0 asof=4001480"
    _, report, text = check(folder, with_lines(commits + history + [gone], []))
    assert report["violations"] == {}, text
    early = "get t=4000150 i=4000140 pod=0 key=4 out=absent v=0 asof=4000130"  # before the last commit before it
    _, report, text = check(folder, with_lines(commits + history + [early], []))
    assert sorted(report["violations"]) == ["GAP0", "MONO", "RYW"], text


def test_a_good_history_passes(folder):
    status, report, _ = check(folder, GOOD)
    assert (status, report["violations"], report["verdict"]) == (0, {}, "passed")
    assert report["checked_reads"] == 16 and report["unjudged_reads"] == 0
    assert report["first_hit"]["count"] == 1


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_history_with_one_bad_line_is_called_by_name(folder, case):
    promises, begin, instead = BAD[case]
    status, report, text = check(folder, changed(begin, instead))
    assert status == 1 and report["verdict"] == "violated"
    assert sorted(report["violations"]) == promises.split(), text
    assert all(v["proof"][0].strip() for v in report["violations"].values())


@pytest.mark.parametrize("end", ["gone key=5", "gone_all"])
def test_a_retry_may_commit_again_once_the_history_of_its_key_has_ended(folder, end):
    again = "commit key=5 n=1:40 v=901 seq=1075 at=342"
    status, report, text = check(folder, changed("commit key=5", f"+{end}\n{again}"))
    assert (status, report["violations"]) == (0, {}), text


@pytest.mark.parametrize("end", ["gone key=1", "gone_all"])
def test_a_write_that_is_committed_again_does_not_supersede_itself(folder, end):
    epoch = "epoch=00000000000000e1"
    lines = [f"meta {epoch} cleared=0", "commit key=1 n=1:1 v=4 seq=10 at=95", end,
             "commit key=1 n=1:1 v=4 seq=20 at=205", "",
             "invoked t=90 pod=0 key=1 n=1:1 v=4", "answered t=100 i=90 pod=0 key=1 n=1:1 out=indeterminate",
             "invoked t=200 pod=0 key=1 n=1:1 v=4",
             f"answered t=210 i=200 pod=0 key=1 n=1:1 out=accepted v=4 seq=20 {epoch} retry=1",
             "get t=300 i=290 pod=1 key=1 out=value n=1:1 v=4 asof=280"]
    _, report, text = check(folder, lines)
    assert (report["violations"], report["staleness"]["count"]) == ({}, 0), text


def test_true_stats_pass(folder):
    status, report, _ = check(folder, GOOD, "--stats", write(folder, "stats", STATS))
    assert status == 0 and report["stats"] == {"lives": 2, "reads": 110, "hits": 84}


@pytest.mark.parametrize("name", ["reads", "hits", "misses", "refused", "errors"])
def test_stats_that_do_not_add_up_break_truth(folder, name):
    stats = [STATS[0], dict(STATS[1], **{name: STATS[1][name] + 1})]
    status, report, _ = check(folder, GOOD, "--stats", write(folder, "stats", stats))
    assert status == 1 and list(report["violations"]) == ["TRUTH"]


def test_a_missing_stat_breaks_truth(folder):
    stats = [{k: v for k, v in STATS[0].items() if k != "errors"}]
    status, report, _ = check(folder, GOOD, "--stats", write(folder, "stats", stats))
    assert status == 1 and list(report["violations"]) == ["TRUTH"]


@pytest.mark.parametrize("fired, why", [
    ({"F1": {"count": 2, "effect": 7}, "F7": {"count": 1, "effect": 1}}, ""),
    ({"F1": {"count": 2, "effect": 7}, "F7": {"count": 0, "effect": 1}}, "F7 did not fire"),
    ({"F1": {"count": 2, "effect": 0}, "F7": {"count": 1, "effect": 1}}, "F1 had no effect"),
    ({"F7": {"count": 1, "effect": 1}}, "F1 did not fire"),
])
def test_a_run_without_its_faults_is_refused(folder, fired, why):
    status, report, _ = check(folder, GOOD, "--fired", write(folder, "fired", fired), "--require", "F1,F7")
    assert (status, report["refused_to_pass"]) == (3 if why else 0, why)


def test_a_run_with_few_hits_is_refused(folder):
    half = [{"pod": 0, "reads": 10, "hits": 5, "misses": 5, "refused": 0, "errors": 0}]
    status, report, _ = check(folder, GOOD, "--stats", write(folder, "stats", half))
    assert status == 3 and "hits were 5 of 10" in report["refused_to_pass"]


def test_a_run_with_few_reads_is_refused(folder):
    assert check(folder, GOOD, "--min-reads", "17")[0] == 3
    assert check(folder, GOOD, "--min-reads", "16")[0] == 0


def stalled(of, ms, *at, pod=0):
    """Ticks: so long held back, each time until then."""
    return [f"tick t={t} of={of} pod={pod} stall={ms}" for t in at]


def with_lines(lines, more):
    """Ticks at their time."""
    head = lines.index("")
    timed = [line for line in lines[head + 1:] if line] + more
    return lines[:head + 1] + sorted(timed, key=lambda line: float(line.split("t=")[1].split(" ")[0]))


LATE_HIT = changed("get t=2240", BAD["avail_first_hit"][2])           # 10 ms late, healed at 1900
REFUSED = changed("get t=700", "get t=700 i=690 pod=2 key=1 out=refused")
UNANSWERED = changed("converge t=5020", BAD["conv_no_answer"][2])     # asked 100 ms after 2 s + D


@pytest.mark.parametrize("lines, ticks, promises", [
    (LATE_HIT, stalled("pod", 10, 2000, pod=5), ""),
    (LATE_HIT, stalled("redis", 5, 2000, 2100), ""),
    (LATE_HIT, stalled("machine", 10, 2000), ""),
    (LATE_HIT, stalled("pod", 9, 2000, pod=5), "AVAIL"),              # less than it was late
    (LATE_HIT, stalled("pod", 200, 2000, pod=4), "AVAIL"),            # another pod
    (LATE_HIT, stalled("pod", 200, 1890, 2500, pod=5), "AVAIL"),      # before healing, and after the hit
    (LATE_HIT, stalled("own", 10, 2000), ""),                         # the caller would have asked earlier
    (LATE_HIT, stalled("own", 9, 2000), "AVAIL"),
    (LATE_HIT, stalled("own", 200, 1890, 2500), "AVAIL"),             # before healing, and after the hit
    (REFUSED, stalled("pod", 500, 600, pod=2), ""),
    (REFUSED, stalled("pod", 500, 720, pod=2), "AVAIL"),              # 20 ms of it after the answer
    (REFUSED, stalled("pod", 499, 600, pod=2), "AVAIL"),
    (REFUSED, stalled("own", 600, 700), "AVAIL"),                     # all but 10 ms before the call
    (UNANSWERED, stalled("pod", 100, 3000, pod=1), ""),
    (UNANSWERED, stalled("pod", 99, 3000, pod=1), "CONV"),
    (changed("get t=1300", BAD["bound"][2]), stalled("pod", 900, 1200, pod=3), "BOUND"),
    (changed("get t=240", BAD["mono"][2]), stalled("machine", 200, 239), "MONO"),
    (changed("get t=700", BAD["gap0"][2]), stalled("machine", 600, 690), "GAP0"),
    (changed("get t=2300", BAD["lossvis"][2]), stalled("machine", 600, 2290), "LOSSVIS"),
])
def test_only_what_comes_too_late_is_excused_and_only_by_what_the_machine_took(folder, lines, ticks, promises):
    status, report, text = check(folder, with_lines(lines, ticks))
    assert sorted(report["violations"]) == promises.split(), text
    assert status == (1 if promises else 0)
    assert sum(report["excused"].values()) == (0 if promises else 1)


def looked_at(share):
    """The monitor sees pod 2 held back for so much of the first second."""
    return [tick for n in range(100) for tick in
            stalled("pod", 10 if n < share * 100 else 0.001, 100 + 10 * n, pod=2) +
            stalled("machine", 0, 100 + 10 * n)]


def test_a_run_on_a_machine_that_stands_still_is_neither_passed_nor_called_violated(folder):
    status, report, _ = check(folder, with_lines(GOOD, looked_at(0.9)))
    assert (status, report["verdict"]) == (5, "the machine was too slow")
    assert report["stalled_share"] > 0.1
    late = with_lines(LATE_HIT, looked_at(0.9))
    assert check(folder, late)[0] == 5
    assert check(folder, with_lines(changed("get t=240", BAD["mono"][2]), looked_at(0.9)))[0] == 1
    status, report, _ = check(folder, with_lines(GOOD, looked_at(0.2)))
    assert status == 0 and report["looks"] == 300 and report["stalled_share"] == 0


def test_a_violation_outweighs_a_refusal_to_pass(folder):
    lines = changed("get t=240", BAD["mono"][2])
    assert check(folder, lines, "--min-reads", "1000")[0] == 1


@pytest.mark.parametrize("epoch, out, promises", [
    ("e2", "duplicate", ""),                                          # found stored after the flush's new epoch
    ("e2", "accepted", "INDET"),
    ("e0", "duplicate", "INDET"),                                     # an epoch from before the commit
    ("e9", "duplicate", "INDET"),                                     # an epoch that never was
])
def test_a_duplicate_may_be_found_in_a_later_epoch_than_it_was_committed_in(folder, epoch, out, promises):
    lines = ["meta epoch=00000000000000e0 cleared=0", "meta epoch=00000000000000e1 cleared=0",
             "commit key=1 n=1:1 v=1 seq=1010 at=95", "meta epoch=00000000000000e2 cleared=0", "",
             "invoked t=90 pod=0 key=1 n=1:1 v=1",
             "answered t=100 i=90 pod=0 key=1 n=1:1 out=indeterminate",
             "invoked t=110 pod=0 key=1 n=1:1 v=1",
             f"answered t=120 i=110 pod=0 key=1 n=1:1 out={out} v=1 seq=1010 epoch=00000000000000{epoch} retry=1",
             "get t=130 i=125 pod=0 key=1 out=value n=1:1 v=1 asof=120"]
    _, report, text = check(folder, lines)
    assert sorted(report["violations"]) == promises.split(), text


def ended(epoch):
    return f"epoch=00000000000000{epoch}"


BETWEEN = ["invoked t=2150 pod=0 key=6 n=1:50 v=9",                    # before the first was over
           f"answered t=2305 i=2150 pod=0 key=6 n=1:50 out=accepted v=9 seq=2010 {ended('e2')}",
           "phase t=2101 kind=loss at=2100 arg=22100", "phase t=2299 kind=emptied at=2100 arg=2200",
           "get t=2320 i=2310 pod=1 key=6 out=value n=1:50 v=9 asof=2308",
           "phase t=2401 kind=loss at=2400 arg=22400", "phase t=2411 kind=emptied at=2400 arg=2410"]


@pytest.mark.parametrize("read, promises", [
    ("get t=2430 i=2420 pod=1 key=6 out=absent v=0 asof=2415", ""),
    ("get t=2430 i=2420 pod=1 key=6 out=value n=1:50 v=9 asof=2405", ""),                     # not over yet
    ("get t=2430 i=2420 pod=1 key=6 out=value n=1:50 v=9 asof=2415", "LOSSVIS"),
])
def test_each_of_two_flushes_demands_what_lies_behind_it(folder, read, promises):
    """No write is asked for between them: what tells them apart is the note behind each."""
    lines = [f"meta {ended('e1')} cleared=0", "gone_all", "gone_noted loss=2100", f"meta {ended('e2')} cleared=0",
             "commit key=6 n=1:50 v=9 seq=2010 at=2304", "gone_all", "gone_noted loss=2400",
             f"meta {ended('e3')} cleared=0", ""]
    _, report, text = check(folder, with_lines(lines + BETWEEN + [read], []))
    assert sorted(report["violations"]) == promises.split(), text


def test_a_flush_whose_note_is_missing_is_refused(folder):
    status, report, _ = check(folder, changed("gone_noted", ""))
    assert status == 3 and "the note of a flush" in report["refused_to_pass"]


CLEAR = ["invoked t=90 pod=0 key=1 n=1:1 v=1",
         f"answered t=100 i=90 pod=0 key=1 n=1:1 out=accepted v=1 seq=1010 {ended('e1')}",
         "invoked t=200 pod=0 key=0 n=1:2 op=clear"]
CLEARED = f"answered t=210 i=200 pod=0 key=0 n=1:2 out=accepted op=clear seq=1010 {ended('e2')}"
STILL_THERE = "get t=250 i=240 pod=1 key=1 out=value n=1:1 v=1 asof=230"


@pytest.mark.parametrize("how, history, promises", [
    (f"cleared {ended('e2')} seq=1010", [CLEARED, "get t=250 i=240 pod=1 key=1 out=absent v=0 asof=230"], ""),
    (f"cleared {ended('e2')} seq=1010", [CLEARED, STILL_THERE], "GAP0"),
    (f"cleared {ended('e2')} seq=1010", [CLEARED.replace("accepted", "indeterminate"), STILL_THERE], ""),
    (f"cleared {ended('e2')} seq=1010", [CLEARED, "phase t=225 kind=kept at=220 arg=224", STILL_THERE], ""),
    (f"cleared {ended('e2')} seq=1009", [CLEARED, STILL_THERE], "ACKDUR"),                  # a record is left
    (f"meta {ended('e2')} cleared=0", [CLEARED, STILL_THERE], "ACKDUR"),                    # an epoch alone
    ("", [CLEARED.replace("e2", "e1"), STILL_THERE], "ACKDUR"),                             # nothing at all
])
def test_a_clear_that_was_acknowledged_was_done(folder, how, history, promises):
    lines = [f"meta {ended('e1')} cleared=0", "commit key=1 n=1:1 v=1 seq=1010 at=95", how]
    _, report, text = check(folder, with_lines([line for line in lines if line] + [""] + CLEAR + history, []))
    assert sorted(report["violations"]) == promises.split(), text


def written(number, version, begin, end, epoch="e1"):
    return [f"invoked t={begin} pod=0 key=1 n=1:{number} v={version}",
            f"answered t={end} i={begin} pod=0 key=1 n=1:{number} out=accepted v={version} seq={1000 + number} "
            f"epoch=00000000000000{epoch}"]


@pytest.mark.parametrize("again", ["1:1", "1:3"])
def test_a_tombstone_that_comes_again_in_another_life_of_its_key_binds_no_read_before_it(folder, again):
    """The same delete, retried once the key had expired; or another one of the same version."""
    epoch = "epoch=00000000000000e1"
    retry = " retry=1" if again == "1:1" else ""
    lines = [f"meta {epoch} cleared=0", "commit key=1 n=1:1 v=4 seq=10 at=95 tombstone=1", "gone key=1",
             "commit key=1 n=1:2 v=5 seq=20 at=205 expires=1", "gone key=1",
             f"commit key=1 n={again} v=4 seq=30 at=405 tombstone=1", "",
             "invoked t=90 pod=0 key=1 n=1:1 v=4 op=delete",
             "answered t=100 i=90 pod=0 key=1 n=1:1 out=indeterminate op=delete",
             "get t=110 i=105 pod=1 key=1 out=absent v=4 asof=104",
             "invoked t=200 pod=0 key=1 n=1:2 v=5 ttl=100",
             f"answered t=210 i=200 pod=0 key=1 n=1:2 out=accepted v=5 seq=20 {epoch}",
             "get t=220 i=215 pod=1 key=1 out=value n=1:2 v=5 asof=214",
             f"invoked t=400 pod=0 key=1 n={again} v=4 op=delete",
             f"answered t=410 i=400 pod=0 key=1 n={again} out=accepted v=4 seq=30 op=delete {epoch}{retry}"]
    _, report, text = check(folder, lines)
    assert report["violations"] == {}, text


@pytest.mark.parametrize("first, promises", [("indeterminate", ""), ("timeout", "NOGARB")])
def test_a_first_attempt_that_a_loss_took_away_had_a_version_of_its_own(folder, first, promises):
    lines = ["", "invoked t=100 pod=0 key=1 n=1:1",
             f"answered t=110 i=100 pod=0 key=1 n=1:1 out={first}",
             "get t=120 i=115 pod=1 key=1 out=value n=1:1 v=7 asof=114",
             "phase t=201 kind=loss at=150 arg=200",
             "invoked t=210 pod=0 key=1 n=1:1",
             "answered t=220 i=210 pod=0 key=1 n=1:1 out=accepted v=9 seq=9 epoch=00000000000000e2 retry=1",
             "get t=230 i=225 pod=1 key=1 out=value n=1:1 v=7 asof=114",
             "get t=240 i=235 pod=0 key=1 out=value n=1:1 v=9 asof=230"]
    _, report, text = check(folder, lines, "--truth", "acks")
    assert ("NOGARB" in report["violations"]) == bool(promises), text


OLDER = "get t=2500 i=2490 pod=0 key=1 out=value n=1:1 v=1 asof=2400"


@pytest.mark.parametrize("known, promises", [
    (written(2, 2, 1900, 1910), ""),                                  # before the loss: it may be gone
    (written(2, 2, 1900, 2150), ""),                                  # answered after it, stored before
    (["invoked t=1900 pod=1 key=1 n=1:2 v=2",
      "answered t=1910 i=1900 pod=1 key=1 n=1:2 out=accepted v=2 seq=1002 epoch=00000000000000e1",
      "get t=2200 i=2190 pod=0 key=1 out=value n=1:2 v=2 asof=1990"], ""),            # by a lease of before
    (["invoked t=1900 pod=1 key=1 n=1:2 v=2",
      "answered t=1910 i=1900 pod=1 key=1 n=1:2 out=accepted v=2 seq=1002 epoch=00000000000000e1",
      "get t=2200 i=2190 pod=0 key=1 out=value n=1:2 v=2 asof=2150"], "MONO"),        # it had survived
    (written(2, 2, 2110, 2120), "GAP0 LOSSVIS RYW"),                  # stored after the loss, within D of it
    (written(2, 2, 2110, 2120, "e2"), "GAP0 RYW"),                    # in the epoch that a loss begins
    (written(2, 2, 2110, 2120, "e2") + ["strong t=2480 i=2470 pod=1 key=1 out=value n=1:1 v=1 asof=2470"],
     "GAP0 RYW STRONG"),
    (written(2, 2, 2050, 2120, "e2"), ""),                            # which began before the loss was over
])
def test_what_was_stored_after_a_loss_is_demanded_and_what_it_took_is_not(folder, known, promises):
    lines = ["", *written(1, 1, 100, 110), "phase t=2101 kind=loss at=2000 arg=2100", *known, OLDER]
    _, report, text = check(folder, with_lines(lines, []), "--truth", "acks")
    assert sorted(report["violations"]) == promises.split(), text


def test_what_is_acknowledged_late_is_not_newer_than_what_another_epoch_holds(folder):
    """Epochs have no order: only what was asked for after the other was answered is known to be the later one."""
    newer = written(2, 2, 200, 210, "e2")
    pass_ = ["phase t=5000 kind=converge", "converge t=5020 i=5010 pod=0 key=1 out=value n=1:2 v=2 asof=5000"]
    for begin, promises in ((100, []), (215, ["CONV"])):
        _, report, text = check(folder, with_lines(["", *written(1, 1, begin, 250), *newer, *pass_], []),
                                "--truth", "acks")
        assert sorted(report["violations"]) == promises, text


def test_a_loss_that_kept_every_record_takes_back_no_demand(folder):
    lines = ["", *written(1, 1, 100, 110), *written(2, 2, 1900, 1910), "phase t=2101 kind=kept at=2000 arg=2100"]
    _, report, text = check(folder, with_lines([*lines, OLDER], []), "--truth", "acks")
    assert sorted(report["violations"]) == ["GAP0", "RYW"], text
    late = written(3, 3, 2110, 2120)
    _, report, text = check(folder, with_lines([*lines, *late], []), "--truth", "acks")
    assert sorted(report["violations"]) == ["LOSSVIS"], text


def test_without_an_append_only_file_positions_come_from_acknowledgements(folder):
    history = [line for line in GOOD if not line.startswith(("meta", "commit", "gone"))]
    status, report, text = check(folder, history, "--truth", "acks")
    assert status == 0 and report["unjudged_reads"] > 0, text
    bad = [BAD["ryw"][2] if line.startswith("get t=220") else line for line in history]
    status, report, text = check(folder, bad, "--truth", "acks")
    assert status == 1 and list(report["violations"]) == ["RYW"], text
