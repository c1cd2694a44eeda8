"""A name service that fails makes no bad configuration: it may work when the daemon is started again."""
import os
import re
import subprocess

import pytest

from daemon import REPO, build_dir
from test_reload import lines, reload

CAUSE = 'user "app" cannot be looked up: Input/output error'


def failing_names():
    """The environment of a process for which no user can be looked up."""
    sanitizer = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": os.path.join(build_dir(), "tests", "integration", "failing_names.so"),
            "ASAN_OPTIONS": f"{sanitizer}:verify_asan_link_order=0"}


def run(folder, text, *args):
    path = os.path.join(folder, "dcached.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    return subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "-c", path, *args], capture_output=True,
                          text=True, check=False, timeout=30, env=failing_names())


def final_statuses():
    """Those after which systemd does not start the daemon again."""
    with open(os.path.join(REPO, "systemd", "dcached.service.in"), encoding="ascii") as f:
        return [int(x) for x in re.search(r"^RestartPreventExitStatus=(.*)$", f.read(), re.M)[1].split()]


@pytest.mark.parametrize("args", [(), ("--check-config",), ("--print-config",)])
def test_a_start_without_a_name_service_is_tried_again_by_systemd(folder, args):
    done = run(folder, "[access]\nread = app\n", *args)
    assert done.returncode == os.EX_OSERR and done.returncode not in final_statuses()
    assert re.fullmatch(rf"\S+\.conf:2: \[access\] read: {CAUSE}; .*\n", done.stderr) and not done.stdout


def test_a_start_that_is_wrong_in_something_else_too_is_not_tried_again(folder):
    done = run(folder, "[access]\nread = app\n[cache]\nmax_memory = much\n")
    assert done.returncode == os.EX_CONFIG and done.returncode in final_statuses()
    assert CAUSE in done.stderr and "max_memory" in done.stderr


def test_a_reload_without_a_name_service_changes_nothing_and_names_the_cause(redis, start_daemon):
    daemon = start_daemon(redis, env=failing_names(), config={"access": {"read": "0"}})
    line = reload(daemon, access={"read": "0 app"}, log={"level": "info"})
    assert "reload failed" in line and "errors=1" in line and "Input/output error" in line
    (said,) = lines(daemon, " error configuration ")
    assert re.search(r"\.conf:\d+: \[access\] read: ", said)
    assert CAUSE in daemon.status()["config_error"]
    line = reload(daemon, access={"read": "0"})
    assert 'changed=1 changes="log.level: debug -> info"' in line
    assert daemon.status()["config_error"] == ""
