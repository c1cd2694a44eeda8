"""dcachectl verify and trace against a daemon that does what each test says: output to the letter, exit codes."""
import datetime
import json
import re
import time

import pytest

from test_dcachectl import STATUS, UNREACHABLE, check_golden, ctl, inspection, on_terminal


DIFFERENT = [
    {"key": b"a\x1b", "cached_version": 3, "cached_seq": 30, "redis_version": 4, "redis_seq": 31,
     "differs_ms": 2400000},
    {"key": b"b", "cached_version": 3, "cached_seq": 30, "redis_version": 0, "redis_seq": 0, "differs_ms": None},
    {"key": b"on its way", "cached_version": 3, "cached_seq": 30, "redis_version": 5, "redis_seq": 32,
     "differs_ms": 7},
]
LOOKS = {  # what `inspect` says at the second look, and at the third
    b"a\x1b": [{"cached__seq": 30, "redis__seq": 33, "redis__version": 6}] * 2,
    b"b": [{"cached__seq": 30, "redis": {**UNREACHABLE, "state": "absent"}}, {"cached": None}],
    b"on its way": [{"cached__seq": 32, "redis__seq": 32}],
}


def verifies(fake, different, bound_ms=50, healed=0):
    """The daemon of a pod in which these entries differ at the first look, and then what LOOKS says."""
    looks = {key: list(answers) for key, answers in LOOKS.items()}
    counters = [0]
    fake.on("verify", lambda request: {"cursor": 0 if request.params[0] else 9, "checked": 100, "unknown": 1,
                                       "different": different if request.params[0] else []})
    fake.on("status", lambda request: {**STATUS, "bound_ms": bound_ms})
    fake.on("inspect", lambda request: inspection(**looks[request.params[0]].pop(0)))
    fake.on("stats", lambda request: {"verify_differs_bound": counters.pop() if counters else healed})


def test_verify_looks_again_after_the_bound_and_fails_if_a_difference_remains(fake):
    verifies(fake, DIFFERENT)
    begin = time.monotonic()
    run = ctl(fake, "verify")
    assert run.returncode == 1, run.stderr
    # To the letter but for the milliseconds that passed between the looks.
    check_golden("verify.txt", re.sub(r"at least \d+ ms", "at least N ms", run.stdout))
    assert 0.05 <= time.monotonic() - begin < 5 and run.stderr == ""
    verifies(fake, DIFFERENT)
    run = ctl(fake, "verify", "--json")
    document = json.loads(run.stdout)
    assert run.returncode == 1
    assert [document[name] for name in ("checked", "unknown", "remain", "inconsistent_per_million")] == [
        200, 2, 2, 10000]
    assert [entry["remains"] for entry in document["different"]] == [True, True, False]


def test_verify_waits_for_the_bound_before_it_looks_again(fake):
    verifies(fake, DIFFERENT[2:], bound_ms=700)
    begin = time.monotonic()
    assert ctl(fake, "verify").returncode == 0
    assert time.monotonic() - begin >= 0.7


def test_verify_looks_once_more_if_it_is_told_to_wait(fake):
    verifies(fake, DIFFERENT)
    run = ctl(fake, "verify", "--wait", "60ms")
    assert run.returncode == 1 and run.stdout.split("\n")[1].endswith(", then settled")
    assert len(fake.asked("inspect")) == 5


def test_verify_without_a_difference_looks_once(fake):
    fake.on("stats", lambda request: {})
    fake.on("verify", lambda request: {"cursor": 0, "checked": 5, "unknown": 0, "different": []})
    run = ctl(fake, "verify")
    assert (run.returncode, run.stdout) == (0, "5 entries compared, 0 differed, 0 still after the bound "
                                               "(0 per million), 0 could not be compared\n")
    assert fake.asked("inspect") == []


def test_verify_tells_what_the_sampler_dropped_meanwhile(fake):
    verifies(fake, [], healed=2)
    run = ctl(fake, "verify")
    assert run.returncode == 1 and run.stdout.startswith("2 more found and dropped by the daemon's sampler")


def test_verify_that_could_compare_nothing_is_exit_6(fake):
    fake.on("stats", lambda request: {})
    fake.on("verify", lambda request: {"cursor": 0, "checked": 0, "unknown": 3, "different": []})
    assert ctl(fake, "verify").returncode == 6


def test_verify_shows_progress_on_a_terminal_that_waits(fake):
    verifies(fake, DIFFERENT[2:], bound_ms=1500)
    output, code = on_terminal("-s", fake.socket, "verify")
    assert code == 0 and b"waiting to look again" in output and output.rstrip().endswith(b"could not be compared")


def test_verify_shows_how_far_it_is_on_a_terminal(fake):
    """Pages go on until the first figure has been shown."""
    shown_after_s = 1.2
    begin = time.monotonic()
    verifies(fake, [])
    fake.on("verify", lambda request: {"cursor": 9 if time.monotonic() - begin < shown_after_s else 0,
                                       "checked": 100, "unknown": 0, "different": []})
    output, code = on_terminal("-s", fake.socket, "verify")
    assert code == 0 and re.search(rb"\r\d+00 entries compared\x1b\[K", output), output


# ---- trace ----------------------------------------------------------------------------------------------------

def event(ago_us, kind, text, detail="", **more):
    return {"ago_us": ago_us, "kind": kind, "detail": detail, "text": text, "all_keys": False, "version": 0,
            "seq": 0, "source": "", "age_ms": 0, **more}


TRACE = {"recorder": True, "overwritten": True, "reach_ms": 200_000, "events": [
    event(65_000_000, "generation", "new generation", all_keys=True, version=4),
    event(1_500_000, "fill", "entered the cache", "fetch", version=6, seq=4700, source="pod-a\x1b[31m",
          age_ms=86_400_000),
    event(1_200_000, "receive", "message received", "applied", version=7, seq=4711, source="pod-b", age_ms=3),
    event(900_000, "reject", "stale data rejected", "message", version=6, seq=4700, source="pod-a",
          current_version=7),
    event(800_000, "gap", "messages missing", all_keys=True, seq=4720, other_seq=4711),
    event(600_000, "refuse", "read refused", "lease", repeats=3210, age_ms=400),
    event(70, "inconsistent", "still differs after the bound: dropped", "newer", version=7, seq=4711,
          current_version=8),
]}


def test_trace_is_told_oldest_first_with_what_is_missing(fake):
    fake.on("trace", lambda request: TRACE)
    now = time.time()
    run = ctl(fake, "trace", "user:1", "--last", "50")
    assert run.returncode == 0, run.stderr
    assert fake.asked("trace")[0].params == [b"user:1", 50]
    lines = run.stdout.split("\n")
    # The wall clock of each line is that of the event.
    for line, entry in zip(lines[1:], TRACE["events"]):
        at = datetime.datetime.strptime(line[:23] + " +0000", "%Y-%m-%d %H:%M:%S.%f %z").timestamp()
        assert -0.1 < at - (now - entry["ago_us"] / 1e6) < 5
    check_golden("trace.txt", "\n".join(line[23:] if n < 8 else line for n, line in enumerate(lines)))


def test_trace_as_json_is_what_the_daemon_said(fake):
    fake.on("trace", lambda request: TRACE)
    assert json.loads(ctl(fake, "trace", "user:1", "--json").stdout) == TRACE
    assert fake.asked("trace")[0].params == [b"user:1"]


@pytest.mark.parametrize("answer, text", [
    ({"recorder": True, "overwritten": False}, "the recorder holds everything since the daemon's start"),
    ({"recorder": False, "overwritten": False}, "this daemon records nothing: [trace] events = 0"),
])
def test_trace_without_an_event_says_so(fake, answer, text):
    fake.on("trace", lambda request: {"events": [], "reach_ms": None, **answer})
    assert ctl(fake, "trace", "k").stdout == f"no event of this key is recorded\n{text}\n"
