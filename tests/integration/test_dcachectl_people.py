"""dcachectl for people: wait, the live views and the completions."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from daemon import PATIENCE, REPO
from fake_daemon import Refusal
from test_dcachectl import DCACHECTL, STATS, STATUS, check_golden, ctl, environment

NOT_READY = {**STATUS, "ready": False, "writes_ok": False, "reason": "no usable connection to \x1b[31mRedis"}
NO_WRITES = {**STATUS, "writes_ok": False, "writes_text": "no right to write: NOPERM"}


# ---- wait -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("what, before", [("ready", NOT_READY), ("writes", NO_WRITES)])
def test_wait_returns_as_soon_as_what_it_waits_for_is_so(fake, what, before):
    fake.on("status", [lambda r: before, lambda r: before, lambda r: STATUS])
    run = ctl(fake, "wait", f"--for={what}")
    assert run.returncode == 0 and run.stdout.startswith("ready") and " after " in run.stdout, run
    assert len(fake.asked("status")) == 3
    assert json.loads(ctl(fake, "wait", "--for", what, "--json").stdout)["ready"] is True


@pytest.mark.parametrize("what, status, why", [("ready", NOT_READY, "Redis"), ("writes", NO_WRITES, "NOPERM"),
                                               ("writes", NOT_READY, "Redis")])
def test_wait_that_is_too_long_is_exit_8_and_says_what_was_missing(fake, what, status, why):
    fake.on("status", lambda r: status)
    begin = time.monotonic()
    run = ctl(fake, "wait", "--for", what, "--timeout", "400ms", "--json")
    assert 0.3 < time.monotonic() - begin < 3 * PATIENCE
    assert run.returncode == 8 and why in run.stderr and "\x1b" not in run.stderr
    assert json.loads(run.stdout)["error"] == "timeout" and why in json.loads(run.stdout)["text"]


def test_reads_that_are_served_are_enough_for_wait_unless_writes_are_asked_for(fake):
    fake.on("status", lambda r: NO_WRITES)
    assert ctl(fake, "wait").returncode == 0


def test_wait_waits_for_a_daemon_that_is_not_there_yet(redis, start_daemon, folder):
    path = os.path.join(folder, "late.sock")
    with subprocess.Popen([DCACHECTL, "-s", path, "wait", "--for", "writes", "--timeout", "20s"],
                          stdout=subprocess.PIPE, text=True, env=environment()) as wait:
        time.sleep(0.2)
        assert wait.poll() is None
        daemon = start_daemon(redis, ready=False, config={"listen": {"socket": path}})
        assert wait.wait(10 * PATIENCE) == 0 and daemon.status()["writes_ok"]


def test_wait_does_not_go_on_after_a_refusal(fake):
    def refuse(_request):
        raise Refusal(8)
    fake.on("status", refuse)
    assert ctl(fake, "wait").returncode == 7


# ---- live views -----------------------------------------------------------------------------------------------

TOP = {"sampled_every": 128, "hot_total": 200, "hot": [{"key": b"user:1", "count": 150, "error": 0},
                                                      {"key": b"\x1b[2J", "count": 50, "error": 2}],
       "rejected_total": 7, "rejected": [{"key": b"late\xff", "count": 7, "error": 0}]}


def grow(fake):
    """Counters that are 100 higher, or as high, at each look."""
    looks = [0]

    def stats(_request):
        looks[0] += 1
        return {**STATS, "reads": 1000 + 100 * looks[0], "hits": 900 + 90 * looks[0]}
    fake.on("stats", stats)
    fake.on("status", lambda r: STATUS)
    fake.on("top", lambda r: TOP)


def without_rates(text):
    return re.sub(r"\b[1-9][\d.]*/s", "N/s", text)


def test_top_shows_rates_and_keys(fake):
    grow(fake)
    run = ctl(fake, "top", "200ms", "--count", "2")
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.split("\n\n" + "pod-a: ")
    check_golden("top.txt", without_rates(first + "\n"))
    rate = float(re.search(r"reads +([\d.]+)/s", second).group(1))
    assert 100 / (2 * PATIENCE) < rate <= 500 and "hits 90.0 %" in second


def test_top_as_json_is_one_document_per_line(fake):
    grow(fake)
    lines = ctl(fake, "top", "100ms", "--count", "2", "--json").stdout.splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["added"]["reads"] == 100
    assert json.loads(lines[1])["top"]["rejected"] == [{"key_base64": "bGF0Zf8=", "count": 7, "error": 0}]


def test_watched_stats_show_what_is_added_each_second(fake):
    grow(fake)
    run = ctl(fake, "stats", "--watch", "200ms", "--count", "1")
    assert run.returncode == 0 and re.search(r"reads +reads +1200 +\d{3}/s\n", run.stdout), run.stdout
    assert re.search(r"misses +15 *\n", run.stdout)
    lines = ctl(fake, "stats", "--watch", "100ms", "--count", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["misses"] for line in lines] == [15, 15]


@pytest.mark.parametrize("args", [["100ms", "--count", "1"], ["--count", "1"]], ids=" ".join)
def test_an_interval_or_a_count_alone_watches_too(fake, args):
    grow(fake)
    run = ctl(fake, "stats", *args)
    assert run.returncode == 0 and re.search(r"reads +reads +1200 +\d+/s\n", run.stdout), run


@pytest.mark.parametrize("args", [["top"], ["stats", "--watch"]], ids=" ".join)
def test_a_live_view_ends_well_when_interrupted_and_badly_when_nobody_reads(fake, args):
    grow(fake)
    with subprocess.Popen([DCACHECTL, "-s", fake.socket, *args, "100ms"], stdout=subprocess.PIPE, text=True,
                          env=environment()) as live:
        live.stdout.readline()
        live.send_signal(signal.SIGINT)
        assert live.wait(5) == 0
    with subprocess.Popen([DCACHECTL, "-s", fake.socket, *args, "100ms"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=environment()) as live:
        live.stdout.readline()
        live.stdout.close()
        assert live.wait(5) == 1 and live.stderr.read() == ""


def test_q_ends_a_live_view_on_a_terminal_which_is_cleared_between_screens(fake):
    grow(fake)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(DCACHECTL, [DCACHECTL, "-s", fake.socket, "top", "100ms"],
                  environment(TERM="xterm", NO_COLOR="1"))
    seen = b""
    deadline = time.monotonic() + 10
    while seen.count(b"\x1b[2J") < 2 and time.monotonic() < deadline:
        if select.select([fd], [], [], 1)[0]:
            seen += os.read(fd, 4096)
    os.write(fd, b"q")
    status = os.waitpid(pid, 0)[1]
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0
    assert seen.replace(b"\x1b[H\x1b[2J", b"").count(b"\x1b") == 0 and b"\\x1b[2J" in seen


def test_the_hottest_key_of_a_real_daemon_is_named(redis, start_daemon):
    daemon = start_daemon(redis)
    with daemon.client() as client:
        client.set(b"hot", b"v")
        for i in range(3000):
            client.get(b"hot" if i % 3 else b"cold:%d" % (i % 7))
    answer = json.loads(ctl(daemon, "top", "100ms", "--count", "1", "--json").stdout)["top"]
    assert answer["hot"][0]["key"] == "hot" and answer["hot"][0]["count"] > answer["hot_total"] / 3
    assert 5 < answer["hot_total"] < 100


# ---- completion -----------------------------------------------------------------------------------------------

def script(shell):
    return ctl(None, "completion", shell).stdout


def complete_bash(*words):
    """What bash completes the last word to."""
    ask = 'source /dev/stdin <<< "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
          '$(complete -p dcachectl | sed "s/.*-F \\([^ ]*\\).*/\\1/"); printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "-c", ask, "bash", *words], capture_output=True, text=True, check=True,
                         env={**environment(), "SCRIPT": script("bash")})
    assert run.stderr == ""
    return run.stdout.split()


def complete_fish(folder, line):
    path = os.path.join(folder, "dcachectl.fish")
    with open(path, "w", encoding="utf-8") as f:
        f.write(script("fish"))
    run = subprocess.run(["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"],
                         capture_output=True, text=True, check=True, env=environment(HOME=folder))
    return [line.split("\t")[0] for line in run.stdout.splitlines()]


COMPLETIONS = [
    (("dcachectl", "st"), {"status", "stats"}), (("dcachectl", "get", "k", "--m"), {"--min-version"}),
    (("dcachectl", "--json", "wa"), {"wait", "watch"}), (("dcachectl", "wait", "--for", ""), {"ready", "writes"}),
    (("dcachectl", "completion", "z"), {"zsh"}), (("dcachectl", "set", "--re"), {"--retry"}),
    (("dcachectl", "log-level", "de"), {"debug"}), (("dcachectl", "get", "--ad"), {"--admin-socket"}),
    (("dcachectl", "--vers"), {"--version"}),
    (("dcachectl", "--timeout", "get", "do"), {"doctor"}),
    (("dcachectl", "--admin-socket", "get", "do"), {"doctor"}),
]


@pytest.mark.parametrize("words, wanted", COMPLETIONS, ids=str)
def test_bash_completes_verbs_options_and_their_arguments(words, wanted):
    assert set(complete_bash(*words)) == wanted


def test_bash_completes_an_argument_behind_an_equals_sign():
    assert complete_bash("dcachectl", "wait", "--for", "=", "w") == ["writes"]
    assert set(complete_bash("dcachectl", "wait", "--for", "=")) == {"ready", "writes"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_is_good_syntax(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    run = subprocess.run([shell, "-n"], input=script(shell), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
@pytest.mark.parametrize("words, wanted", COMPLETIONS[:9], ids=str)
def test_fish_completes_verbs_options_and_their_arguments(folder, words, wanted):
    assert wanted <= set(complete_fish(folder, " ".join(words)))


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_zsh_completes_verbs(folder):
    with open(os.path.join(folder, "_dcachectl"), "w", encoding="utf-8") as f:
        f.write(script("zsh"))
    ask = (f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -D -u; "
           "dcachectl() { echo \"ran:$1\" }; echo re''ady\n")
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(TERM="dumb", PS1="> ", HOME=folder))
    seen = b""

    def read_until(what):
        nonlocal seen
        deadline = time.monotonic() + 10 * PATIENCE
        while what not in seen and time.monotonic() < deadline:
            if select.select([fd], [], [], 1)[0]:
                seen += os.read(fd, 4096)
        assert what in seen, seen
    os.write(fd, ask.encode())
    read_until(b"\nready")
    os.write(fd, b"dcachectl insp\t\n")
    read_until(b"ran:inspect")
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# ---- the tables -----------------------------------------------------------------------------------------------

def read(*path):
    with open(os.path.join(REPO, *path), encoding="utf-8") as f:
        return f.read()


def verbs():
    return re.findall(r'^    \{"([a-z-]+)",', read("client", "dcachectl", "verbs.c"), re.M)


def test_help_manual_and_completions_have_all_verbs_and_options_of_the_table():
    table = read("client", "dcachectl", "verbs.c")
    manual = re.split(r"\n# ", read("client", "man", "dcachectl.1.scd"))
    section = next(part for part in manual if part.startswith("VERBS"))
    assert re.findall(r"^\*([a-z-]+)\*", section, re.M) == verbs() and len(verbs()) > 12
    shown = ctl(None, "--help").stdout.split("verbs:\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in shown.splitlines()] == verbs()
    for shell in ("bash", "zsh", "fish"):
        assert set(verbs()) <= set(re.findall(r"[a-z-]+", script(shell)))
    for name in re.findall(r"X\((\w+), (?:true|false)\)", read("client", "dcachectl", "ctl.h")):
        option = "--" + name.replace("_", "-")
        assert f"*{option}*" in section or f"*{option} " in section, option
        assert option in "".join(ctl(None, verb, "--help").stdout for verb in verbs()), option
        assert option in script("bash") and f"-l {option[2:]}" in script("fish"), option
    assert "FLAG_" in table


def globals_of_the_table():
    """[(letter or "", name, argument or "")] of the options of all verbs."""
    verbs_c = read("client", "dcachectl", "verbs.c")
    table = re.search(r"ctl_globals\[GLOBAL_COUNT\] = \{\n(.*?)\n\};", verbs_c, re.S)[1]
    rows = re.findall(r"\{(?:'(\w)'|0), \"([a-z-]+)\", (?:\"([A-Z]+)\"|NULL),", table)
    assert len(rows) == table.count("[GLOBAL_") >= 6
    return rows


def test_completions_help_and_manual_have_the_global_options_of_the_table(folder):
    manual = re.split(r"\n# ", read("client", "man", "dcachectl.1.scd"))
    section = next(part for part in manual if part.startswith("OPTIONS"))
    rows = globals_of_the_table()
    words = {f"--{name}" for _, name, _ in rows} | {f"-{letter}" for letter, _, _ in rows if letter}
    assert set(re.findall(r"\*(--?[a-zA-Z-]+)\*", "".join(re.findall(r"^\*-.*$", section, re.M)))) == words
    shown = ctl(None, "--help").stdout.split("options:\n")[1].split("\n\n")[0]
    assert set(re.findall(r"^  (?:(-\w), )?(--[a-z-]+)(?: ([A-Z]+))?", shown, re.M)) == \
        {(letter and f"-{letter}", f"--{name}", argument) for letter, name, argument in rows}
    assert set(complete_bash("dcachectl", "-")) == words
    assert set(complete_bash("dcachectl", "ping", "-")) == words - {"-V", "--version"}
    zsh = [set(line.split()[2:]) for line in script("zsh").splitlines() if line.startswith("        compadd -- ")]
    assert zsh == [words]
    for letter, name, argument in rows:
        (line,) = [x for x in script("fish").splitlines() if f" -l {name} " in x and "subcommand_from" not in x]
        assert (f" -s {letter} " in line) == bool(letter)
        assert (" -r -F " in line) == (argument == "PATH") and (" -x " in line) == (argument == "DUR")
        open(os.path.join(folder, "file-of-mine"), "w", encoding="ascii").close()
        for option in [f"--{name}"] + ([f"-{letter}"] if letter else []):
            path = os.path.join(folder, "file-of")
            assert complete_bash("dcachectl", option, path) == ([path + "-mine"] if argument == "PATH" else [])


def test_the_verbs_for_administration_stand_beside_the_option_of_their_socket():
    rows = re.findall(r'\{"([a-z-]+)", [^{}]*\}', read("client", "dcachectl", "verbs.c"))
    admin = [row for row in rows
             if re.search(rf'\{{"{row}", [^{{}}]*VERB_ADMIN', read("client", "dcachectl", "verbs.c"))]
    methods = re.findall(r"X\((\w+), admin\)", read("proto", "methods.h"))
    assert set(admin) == {method.replace("_", "-") for method in methods} and len(admin) >= 5
    shown = ctl(None, "--help").stdout.split("--admin-socket PATH")[1].split("(default")[0]
    manual = read("client", "man", "dcachectl.1.scd").split("*--admin-socket*")[1].split("Default:")[0]
    access = read("daemon", "man", "dcached.conf.5.scd").split("*admin* =\n")[1].split("\n\n")[0]
    assert set(admin) <= set(re.findall(r"[a-z-]+", shown)), shown
    assert set(admin) <= set(re.findall(r"\*([a-z-]+)\*", manual)), manual
    assert set(methods) <= set(re.findall(r"_([a-z_]+)_", access)), access


def test_the_protocol_names_all_methods_of_the_table():
    methods = re.findall(r"^    X\((\w+), \w+\)", read("proto", "methods.h"), re.M)
    assert set(methods) <= set(re.findall(r"^### (\w+)", read("proto", "PROTOCOL.md"), re.M)) and len(methods) > 16
