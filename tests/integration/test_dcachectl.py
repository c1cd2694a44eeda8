"""dcachectl against a daemon that does what each test says: output to the letter, exit codes, the command line."""
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from daemon import build_dir
from fake_daemon import CUT, EPOCH, SECOND, SILENCE, Refusal

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
DCACHECTL = os.path.join(build_dir(), "client", "dcachectl", "dcachectl")
HOUR = 3600 * SECOND


def environment(**more):
    return {**{k: v for k, v in os.environ.items() if not k.startswith("DCACHED_")}, "TZ": "UTC", **more}


def ctl(fake, *args, text=True, **options):
    """Runs dcachectl to its end."""
    socket = ["-s", fake.socket] if fake else []
    return subprocess.run([DCACHECTL, *socket, *args], capture_output=True, text=text, timeout=20,
                          env=environment(), check=False, **options)


def check_golden(name, output):
    """What is printed is what the file says. GOLDEN_UPDATE=1 writes the files anew; look at the difference."""
    path = os.path.join(GOLDEN, name)
    if os.environ.get("GOLDEN_UPDATE"):
        with open(path, "w", encoding="utf-8") as f:
            f.write(output)
    with open(path, encoding="utf-8") as f:
        assert output == f.read()


def inspection(**changes):
    """Written 51 h ago: relative ages do not depend on when the test runs."""
    at = (time.time_ns() - 51 * HOUR - HOUR // 2)
    cached = {"version": 7, "seq": 4711, "timestamp": at, "bytes": 2048, "as_of_age_ms": 120,
              "expires_in_ms": None, "suspect": False, "local": False, "replaced": False, "tombstone": False}
    answer = {"key": b"user:1", "verdict": "fresh", "reason": None, "cached": cached,
              "floor": {"version": 7, "seq": 4711, "seen_age_ms": 5000},
              "redis": {"state": "value", "version": 7, "seq": 4711, "timestamp": at, "source": "pod-a",
                        "expires_in_ms": None, "text": ""},
              "bound_ms": 1000, "as_of_age_ms": 120, "generation": 3, "epoch": EPOCH}
    for path, value in changes.items():
        *way, last = path.split("__")
        target = answer
        for step in way:
            target = target[step]
        target[last] = value
    return answer


UNREACHABLE = {"state": "unreachable", "version": 0, "seq": 0, "timestamp": 0, "source": "", "expires_in_ms": None,
               "text": "no usable connection to Redis"}
INSPECTIONS = {
    "fresh": {},
    "behind": {"redis__version": 8, "redis__seq": 4712},
    "not_cached": {"cached": None, "verdict": "refused"},
    "unknown_key": {"key": b"no\x1b[31m\xff", "cached": None, "floor": None, "verdict": "refused",
                    "redis": {**UNREACHABLE, "state": "absent", "text": ""}},
    "suspect": {"cached__suspect": True, "verdict": "refused", "cached__as_of_age_ms": 4200,
                "reason": "the entry is of an older generation"},
    "partition": {"verdict": "refused", "cached__as_of_age_ms": 4200, "redis": UNREACHABLE,
                  "reason": "nothing newer than the bound could be obtained in time: check the link to Redis."},
    "stale": {"verdict": "stale", "cached__as_of_age_ms": 4200, "redis": UNREACHABLE},
    "deleted": {"cached__tombstone": True, "verdict": "absent", "redis__state": "tombstone",
                "redis__expires_in_ms": 86400000, "cached__expires_in_ms": 86399000},
    "local": {"cached__local": True, "verdict": "local", "redis__version": 6},
    "expired": {"redis": {**UNREACHABLE, "state": "absent", "text": ""}},
    "unreadable": {"redis": {**UNREACHABLE, "state": "unreadable", "text": "the header ends early"}},
    "restored": {"redis__version": 5, "redis__seq": 4000},
}


@pytest.mark.parametrize("name", INSPECTIONS)
def test_inspect_says_what_is_where_and_why(fake, name):
    fake.on("inspect", lambda request: inspection(**INSPECTIONS[name]))
    run = ctl(fake, "inspect", "user:1")
    assert run.returncode == 0, run.stderr
    check_golden(f"inspect_{name}.txt", run.stdout)
    assert json.loads(ctl(fake, "--json", "inspect", "user:1").stdout)["bound_ms"] == 1000


def test_inspect_as_json_has_the_names_of_the_protocol(fake):
    fake.on("inspect", lambda request: inspection(cached__timestamp=1, redis__timestamp=1))
    check_golden("inspect.json", ctl(fake, "--json", "inspect", "user:1").stdout)


STATUS = {"server": "dcached 0.1.0", "pod": "pod-a", "role": "writer", "ready": True, "reason": "",
          "writes_ok": True, "writes_text": "", "epoch": EPOCH, "epoch_why": "the store had none",
          "epoch_age_ms": 185000, "run": "a" * 40, "generation": 3, "last": 4711, "store_seq": 4711,
          "as_of_age_ms": 62, "bound_ms": 1000,
          "heartbeat_ms": 250,
          "round_trip_us": 104, "entries": 1000, "entries_bytes": 1234567, "floors": 1000, "floors_bytes": 98304,
          "waiting": 0, "writes_pending": 0, "redis_addr": "localhost:6379", "redis_data": "up",
          "redis_subscription": "up", "redis_version": "7.0.15", "redis_role": "master", "redis_replicas": 2,
          "redis_persistence_trouble": "", "redis_eviction": "noeviction", "redis_max_bytes": 1 << 30,
          "redis_used_bytes": 12345678, "min_replicas": 0, "memory_bytes": 64 << 20, "store_time_us": 0,
          "reads": 1000, "hits": 980, "refused": 5, "errors": 0, "gaps": 0, "stale_rejected": 56,
          "writes_indeterminate": 0, "bad_records": 0, "compared": 500, "inconsistencies": 0, "lost": 0,
          "redis_durability": "AOF, fsync everysec", "uptime_ms": 10980000, "connections": 3, "pid": 12}
STATUSES = {
    "healthy": ({}, 0),
    "not_ready": ({"ready": False, "reason": "no usable connection to Redis: connection refused",
                   "writes_ok": False, "writes_text": "no usable connection to Redis", "redis_data": "down",
                   "redis_subscription": "connecting", "redis_version": "", "redis_role": "",
                   "redis_durability": "", "as_of_age_ms": 7300000}, 6),
    "writes_not_yet": ({"writes_ok": False}, 0),
    "writes_fail": ({"writes_ok": False, "writes_text": "the user may not PUBLISH on the channel"}, 0),
    "disk_full": ({"redis_persistence_trouble": "the last write to the AOF failed", "redis_replicas": 1}, 0),
    "reader": ({"role": "reader", "writes_ok": False, "writes_text": "a reader pod does not write"}, 0),
}


@pytest.mark.parametrize("name", STATUSES)
def test_status_says_on_one_screen_whether_it_is_healthy(fake, name):
    changes, code = STATUSES[name]
    fake.on("status", lambda request: {**STATUS, **changes})
    run = ctl(fake, "status")
    check_golden(f"status_{name}.txt", run.stdout)
    assert run.returncode == code and len(run.stdout.split("\n")) < 24
    run = ctl(fake, "status", "--json")
    assert run.returncode == code and json.loads(run.stdout) == {**STATUS, **changes}


STATS = {"reads": 1000, "hits": 980, "misses": 15, "refused": 5, "errors": 0, "stale_served": 0,
         "version_checks": 123456, "accepted": 120000, "duplicates": 3400, "stale_rejected": 56, "writes": 10,
         "writes_accepted": 10, "messages": 120010, "gaps": 0, "heartbeats": 500, "fetches": 15, "evictions": 0,
         "connections": 3, "requests": 1234}


def test_stats_are_aligned_by_group(fake):
    fake.on("stats", lambda request: STATS)
    check_golden("stats.txt", ctl(fake, "stats").stdout)
    check_golden("stats.json", ctl(fake, "stats", "--json").stdout)


ENTRIES = [
    {"key": b"user:1", "cached_version": 7, "floor_version": 7, "seq": 4711, "age_ms": 120, "state": "fresh"},
    {"key": "straße".encode(), "cached_version": 1700000000000001, "floor_version": 1700000000000001, "seq": 4712,
     "age_ms": 1500, "state": "expired_lease"},
    {"key": b"esc\x1b[31m\n\xff\\", "cached_version": None, "floor_version": 12, "seq": 4713, "age_ms": 65000,
     "state": "floor"},
    {"key": "left\u202eright".encode(), "cached_version": 3, "floor_version": None, "seq": 1, "age_ms": 0,
     "state": "local"},
]


def test_versions_is_a_table_of_all_pages(fake):
    def page(request):
        cursor = request.params[1]
        return {"cursor": 0 if cursor else 77, "entries": ENTRIES[3:] if cursor else ENTRIES[:3]}
    fake.on("versions", page)
    check_golden("versions.txt", ctl(fake, "versions", "u").stdout)
    check_golden("versions.json", ctl(fake, "versions", "--json").stdout)
    assert [request.params for request in fake.asked("versions")][:2] == [[b"u", 0], [b"u", 77]]


# ---- get ------------------------------------------------------------------------------------------------------

def test_get_gives_raw_bytes_to_a_pipe(fake):
    fake.store[b"k"] = (b"\x00\x1b[31m\xff\n", 3)
    assert ctl(fake, "get", "k", text=False).stdout == b"\x00\x1b[31m\xff\n"


def on_terminal(*args, **env):
    """(output, exit code) of dcachectl on a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(DCACHECTL, [DCACHECTL, *args], environment(**env))
    output = b""
    while select.select([fd], [], [], 10)[0]:
        try:
            output += os.read(fd, 65536)
        except OSError:
            break
    os.close(fd)
    return output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_get_escapes_on_a_terminal(fake):
    fake.store[b"k"] = (b"\x00\x1b[31m\xff\xc2\x9b2J", 3)
    assert on_terminal("-s", fake.socket, "get", "k") == (b"\\x00\\x1b[31m\\xff\\u{9b}2J\r\n", 0)


def test_colour_is_for_terminals_without_no_color(fake):
    fake.on("status", lambda request: STATUS)
    assert b"\x1b[32mhealthy\x1b[0m" in on_terminal("-s", fake.socket, "status")[0]
    assert b"\x1b" not in on_terminal("-s", fake.socket, "status", NO_COLOR="1")[0]
    assert "\x1b" not in ctl(fake, "status").stdout


def test_get_as_json_names_what_it_knows(fake):
    fake.store[b"k"] = ("grüße\n".encode(), 3)
    answer = json.loads(ctl(fake, "get", "k", "--json").stdout)
    assert answer.pop("age_ms") < 1000
    assert answer == {"key": "k", "value": "grüße\n", "version": 3, "timestamp": 1700000000 * SECOND,
                      "source": "pod-f", "state": "fresh"}
    fake.store[b"k"] = (b"\xff\x00", 3)
    answer = json.loads(ctl(fake, "--json", "get", "k").stdout)
    assert answer["value_base64"] == "/wA=" and "value" not in answer


def test_get_passes_its_options_on(fake):
    ctl(fake, "get", "k", "--strong", "--min-version", "7", "--epoch=" + EPOCH, "--allow-stale", "2s")
    options = fake.asked("get")[0].params[1]
    options.pop("timeout_ms")
    assert options == {"strong": True, "min_version": 7, "epoch": EPOCH, "max_stale_ms": 2000}


def test_a_stale_value_is_told_on_stderr(fake):
    fake.on("get", lambda request: fake.reading(b"v", state=2, as_of=fake.now() - 5 * SECOND, age_ms=5000))
    run = ctl(fake, "get", "k", "--allow-stale", "1m")
    assert run.stdout == "v" and run.stderr.startswith("dcachectl: stale: proven current 5")


# ---- writes ---------------------------------------------------------------------------------------------------

def test_set_reads_standard_input(fake):
    subprocess.run([DCACHECTL, "-s", fake.socket, "set", "k", "-"], input=b"a\x00b" * 100000, check=True,
                   env=environment(), stdout=subprocess.DEVNULL)
    assert fake.store[b"k"][0] == b"a\x00b" * 100000


def test_set_passes_its_options_on_and_answers_in_json(fake):
    run = ctl(fake, "--json", "set", "k", "v", "--version", "9", "--ttl", "1m", "--invalidate")
    options = fake.asked("set")[0].params[2]
    assert (options["version"], options["ttl_ms"], options["invalidate"]) == (9, 60000, True)
    answer = json.loads(run.stdout)
    assert answer["write_id"] == options["write_id"].hex()
    assert (answer["outcome"], answer["version"], answer["seq"], answer["epoch"]) == ("accepted", 9, 4001, EPOCH)


def test_an_indeterminate_write_says_how_to_retry_it(fake):
    fake.on("set", [lambda request: CUT, fake.do_set])
    run = ctl(fake, "--timeout", "500ms", "set", "k", "v")
    assert run.returncode == 9
    write_id = run.stderr.strip().split(" ")[-1]
    assert ctl(fake, "set", "k", "v", "--retry", write_id).returncode == 0
    first, second = fake.asked("set")
    assert first.params[2]["write_id"] == second.params[2]["write_id"] == bytes.fromhex(write_id)
    assert second.params[2]["retry"] is True


# ---- exit codes -----------------------------------------------------------------------------------------------

def refuse(code):
    def handler(_request):
        raise Refusal(code, "the reason\x1b")
    return handler


EXITS = [  # exit, error name, args, handlers
    (0, None, ["ping"], {}),
    (0, None, ["set", "k", "new"], {}),
    (0, None, ["set", "k", "v", "--version", "5"], {}),
    (0, None, ["delete", "k"], {}),
    (0, None, ["clear", "--yes"], {}),
    (1, "store", ["get", "k"], {"get": refuse(10)}),
    (1, "corrupt", ["get", "k"], {"get": refuse(11)}),
    (1, "internal", ["stats"], {"stats": refuse(12)}),
    (1, "busy", ["set", "k", "v"], {"set": refuse(7)}),
    (1, "protocol", ["get", "k"], {"get": lambda request: "nonsense"}),
    (2, "invalid", ["get", "k"], {"get": refuse(3)}),
    (4, None, ["get", "nope"], {}),
    (5, None, ["set", "k", "v", "--version", "4"], {}),
    (5, None, ["set", "k", "other", "--version", "5"], {}),
    (6, "refused", ["get", "k"], {"get": refuse(5)}),
    (6, "unavailable", ["set", "k", "v"], {"set": refuse(15)}),
    (6, "min_version", ["get", "k", "--min-version", "9"], {"get": refuse(13)}),
    (6, None, ["status"], {"status": lambda request: {**STATUS, "ready": False, "reason": "no link"}}),
    (7, "permission", ["set", "k", "v"], {"set": refuse(8)}),
    (8, "timeout", ["--timeout", "200ms", "get", "k"], {"get": lambda request: SILENCE}),
    (8, "timeout", ["ping"], {"ping": refuse(9)}),
    (9, "indeterminate", ["--timeout", "500ms", "set", "k", "v"], {"set": lambda request: CUT}),
    (9, "indeterminate", ["delete", "k"], {"delete": refuse(6)}),
    (9, "indeterminate", ["--timeout", "500ms", "clear", "--yes"], {"clear": lambda request: SILENCE}),
]


@pytest.mark.parametrize("code, error, args, handlers", EXITS, ids=[f"{e[0]}-{' '.join(e[2])}" for e in EXITS])
def test_each_outcome_has_its_exit_code(fake, code, error, args, handlers):
    fake.store[b"k"] = (b"v", 5)
    for method, handler in handlers.items():
        fake.on(method, handler)
    run = ctl(fake, *args)
    assert run.returncode == code, run.stdout + run.stderr
    assert "\x1b" not in run.stderr and (error is None or run.stderr.startswith(f"dcachectl: {error}: "))
    answer = ctl(fake, "--json", *args)
    assert answer.returncode == code
    document = json.loads(answer.stdout)
    assert error is None or document["error"] == error and document["text"]


@pytest.mark.parametrize("args", [["ping"], ["get", "k"], ["set", "k", "v"], ["status"], ["watch"], ["verify"],
                                  ["trace", "k"]])
def test_no_daemon_is_exit_3_at_once(folder, args):
    begin = time.monotonic()
    run = subprocess.run([DCACHECTL, "-s", os.path.join(folder, "none"), "--timeout", "10s", *args],
                         capture_output=True, text=True, env=environment(), check=False)
    assert run.returncode == 3 and "is dcached running?" in run.stderr and time.monotonic() - begin < 5


def test_no_permission_to_connect_is_exit_7(fake):
    os.chmod(fake.socket, 0)
    os.chmod(os.path.dirname(fake.socket), 0o755)
    # Root may write everywhere, but for this right; it keeps the one to read, so the build may be anywhere.
    drop = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    run = subprocess.run([*drop, DCACHECTL, "-s", fake.socket, "ping"], capture_output=True, text=True,
                         env=environment(), check=False)
    assert run.returncode == 7 and "group" in run.stderr


def test_the_socket_comes_from_the_environment(fake):
    run = subprocess.run([DCACHECTL, "ping"], capture_output=True, text=True, check=False,
                         env=environment(DCACHED_SOCKET=fake.socket))
    assert (run.returncode, run.stdout) == (0, "pong\n")


# ---- command line ---------------------------------------------------------------------------------------------

WRONG_LINES = [
    [], ["bogus"], ["--bogus"], ["get"], ["get", ""], ["get", "a", "b"], ["set", "k"], ["set", "", "v"],
    ["get", "k", "--bogus"], ["get", "k", "-x"], ["get", "k", "--ttl", "1s"], ["get", "k", "--strong=1"],
    ["get", "k", "--min-version"], ["get", "k", "--min-version", "0"], ["get", "k", "--min-version", "-1"],
    ["get", "k", "--min-version", "9223372036854775808"], ["get", "k", "--min-version", "1.5"],
    ["get", "k", "--min-version", "0x10"], ["get", "k", "--min-version", " 1"], ["get", "k", "--epoch", EPOCH],
    ["get", "k", "--allow-stale", "5"], ["get", "k", "--allow-stale", "1d"], ["get", "k", "--allow-stale", "1e3s"],
    ["set", "k", "v", "--ttl", "-1s"], ["set", "k", "v", "--ttl", "99999999999999999999s"],
    ["set", "k", "v", "--retry", "abc"], ["set", "k", "-v"], ["clear"], ["delete"], ["delete", ""],
    ["wait", "--for", "rain"], ["wait", "--for"], ["wait", "ready"], ["doctor", "x"],
    ["stats", "--watch", "0"], ["stats", "--watch", "50ms"],
    ["stats", "--watch", "soon"], ["top", "--count", "0"], ["top", "x"],
    ["top", "--watch"], ["completion"], ["completion", "tcsh"],
    ["inspect", ""], ["trace"], ["trace", ""], ["trace", "k", "--last", "0"], ["trace", "k", "--last", "1001"],
    ["clients", "x"], ["log-level", "info", "x"], ["config", "x"], ["--admin-socket"], ["--json=1", "ping"],
    ["trace", "k", "--last", "x"], ["verify", "--wait", "10"], ["verify", "k"],
    ["--timeout", "0", "ping"], ["--timeout", "soon", "ping"], ["--timeout"], ["-s"],
    ["--socket=" + "x" * 108, "ping"], ["get", "--version"],
]


@pytest.mark.parametrize("args", WRONG_LINES, ids=" ".join)
def test_a_wrong_command_line_is_exit_2_with_a_hint(fake, args):
    run = ctl(fake, *args)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("dcachectl: ") and "Try 'dcachectl --help'." in run.stderr
    assert fake.requests == []


def test_after_two_dashes_everything_is_an_argument(fake):
    assert ctl(fake, "set", "--version", "3", "--", "--json", "-v").returncode == 0
    assert fake.store[b"--json"] == (b"-v", 3)
    assert ctl(fake, "--", "get", "--json").stdout == "-v"


def test_help_and_version_need_no_daemon():
    assert "usage: dcachectl" in ctl(None, "--help").stdout
    assert ctl(None, "-V").stdout == ctl(None, "--version").stdout == "dcachectl 0.1.0\n"
    verbs = "ping status wait doctor stats top get set delete clear inspect versions watch verify trace "\
            "clients log-level config"
    for verb in [*verbs.split(), "completion"]:
        run = ctl(None, verb, "--help")
        assert run.returncode == 0 and run.stdout.startswith(f"usage: dcachectl {verb}")
        assert f"  {verb}" in ctl(None, "--help").stdout


def test_a_huge_argument_is_an_error_and_not_a_crash(fake):
    huge = "x" * 130000
    run = ctl(fake, "get", huge)
    assert run.returncode in (1, 2, 4)
    assert ctl(fake, huge).returncode == 2 and len(ctl(fake, huge).stderr) < 1000
    assert ctl(fake, "set", "k", huge).returncode == 0


def test_a_mistaken_word_is_not_sent_raw_to_the_terminal(fake):
    assert "\x1b" not in ctl(fake, "\x1b[31m").stderr


def test_closed_standard_output_is_a_quiet_failure(fake):
    fake.on("stats", lambda request: STATS)
    read, write = os.pipe()
    os.close(read)
    for args in (["stats"], ["get", "k"], ["--help"], ["stats", "--json"]):
        fake.store[b"k"] = (b"v", 1)
        run = subprocess.run([DCACHECTL, "-s", fake.socket, *args], stdout=write, stderr=subprocess.PIPE,
                             env=environment(), check=False)
        assert (run.returncode, run.stderr) == (1, b"")
    os.close(write)
    with open("/dev/full", "w", encoding="ascii") as full:
        run = subprocess.run([DCACHECTL, "-s", fake.socket, "stats"], stdout=full, stderr=subprocess.PIPE,
                             env=environment(), check=False)
    assert run.returncode == 1 and b"No space left" in run.stderr


# ---- watch ----------------------------------------------------------------------------------------------------

def start_watch(fake, *args, stdout=subprocess.PIPE):
    watch = subprocess.Popen([DCACHECTL, "-s", fake.socket, "watch", *args], stdout=stdout, stderr=subprocess.PIPE,
                             text=True, env=environment())
    fake.wait("watch")
    return watch


def test_watch_prints_each_event_at_once_and_ends_well_when_interrupted(fake):
    watch = start_watch(fake, "user:")
    fake.event(1, {"kind": "update", "key": b"user:1\x1b", "version": 8, "seq": 4712, "source": "pod-b"})
    line = watch.stdout.readline()
    assert line[12:] == "  update     user:1\\x1b  version 8  seq 4712  from pod-b\n", line
    fake.event(1, {"kind": "rejected", "key": b"k", "version": 1, "current_version": 3, "seq": 9, "text": "late"})
    assert watch.stdout.readline()[12:] == "  rejected   k  version 1  below 3  seq 9  late\n"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(5) == 0


def test_watch_as_json_is_one_document_per_line(fake):
    watch = start_watch(fake, "--json")
    fake.event(1, {"kind": "update", "key": b"\xff", "version": 8})
    assert json.loads(watch.stdout.readline()) == {"kind": "update", "key_base64": "/w==", "version": 8}
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(5) == 0


def test_watch_goes_on_after_a_restart_and_says_so(fake):
    watch = start_watch(fake)
    fake.event(1, {"kind": "ready"})
    watch.stdout.readline()
    fake.cut()
    fake.wait("watch")
    assert "events may be missing" in watch.stderr.readline()
    fake.event(1, {"kind": "not_ready", "text": "no link"})
    assert watch.stdout.readline()[12:] == "  not_ready  no link\n"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(5) == 0


def test_watch_ends_when_nobody_reads_it(fake):
    watch = start_watch(fake)
    watch.stdout.close()
    assert watch.wait(5) == 1 and watch.stderr.read() == ""


def test_a_refused_watch_is_a_failure(fake):
    fake.on("watch", refuse(7))
    run = ctl(fake, "watch")
    assert run.returncode == 1 and run.stderr.startswith("dcachectl: busy")
