"""Last: what was installed goes again."""
import os
import subprocess

import pytest

from machine import REPO, CannotBoot, Machine

# What a machine writes by itself, and this tree with its builds.
NOISE = ("/var/log", "/var/lib/redis", "/var/lib/systemd", "/var/cache", "/var/tmp", "/root", REPO)


def added_files(machine):
    """Paths that the real root file system does not have."""
    found = subprocess.run(["find", ".", "-not", "-type", "c"], cwd=machine.path("/mnt"), capture_output=True,
                           text=True, check=True).stdout.split("\n")
    paths = {p[1:] for p in found if p and not p[1:].startswith(NOISE) and not os.path.lexists(p[1:])}
    return {p for p in paths if "__pycache__" not in p}


def test_after_uninstalling_nothing_is_left():
    try:
        machine = Machine(kept=[REPO])
    except (CannotBoot, FileNotFoundError) as error:
        pytest.skip(f"no systemd can be booted here: {error}")
    with machine:
        before = added_files(machine)
        machine.install()
        machine.systemctl("enable", "dcached.service")
        machine.systemctl("start", "redis-server", "dcached")
        machine.wait_ready()
        installed = added_files(machine) - before
        assert {"/usr/sbin/dcached", "/usr/bin/dcachectl", "/usr/include/dcache/client.h"} <= installed
        assert any(p.endswith("sockets.target.wants/dcached.socket") for p in installed)

        machine.systemctl("disable", "--now", "dcached.service", "dcached.socket")
        machine.systemctl("clean", "--what=runtime", "dcached.service")
        machine.uninstall()
        assert added_files(machine) - before == set()
        assert not machine.exists("/run/dcached") and not machine.exists("/run/credentials/dcached.service")
        assert machine.show("dcached.service", "LoadState") == "not-found"
        assert not machine.run("pgrep", "-x", "dcached", check=False).stdout
