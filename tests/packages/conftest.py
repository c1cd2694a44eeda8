"""
Fixtures: `built` is a machine in which the Debian packages were built from a clean copy of this tree; `installed`
is one with them installed, and without them again afterwards; `fresh` is a Debian that never had dcached, with the
packages at hand. Where that cannot be done these tests are skipped, and say why.
"""
import os
import shutil
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "systemd"))

# pylint: disable=wrong-import-position
from machine import CannotBoot, Machine
from place import FOLDER, FRESH, PACKAGES, PUBLIC, REPO, install, shell


@pytest.fixture(scope="session")
def root():
    """A machine without dcached, in which services may start."""
    if os.geteuid() != 0:
        pytest.skip("booting a systemd needs root")
    try:
        machine = Machine(kept=[REPO])
    except (CannotBoot, FileNotFoundError) as error:
        pytest.skip(f"no systemd can be booted here: {error}")
    with machine:
        machine.remove("/usr/sbin/policy-rc.d")
        machine.remove("/var/lib/man-db/auto-update")
        machine.run("mkdir", "-p", FOLDER)
        machine.systemctl("start", "redis-server")
        yield machine


@pytest.fixture(scope="session")
def built(root):
    """The machine with the packages in FOLDER."""
    if not all(root.exists("/usr/bin/" + name) for name in ("dpkg-buildpackage", "dh", "lintian")):
        pytest.skip("debhelper, dpkg-dev or lintian is not installed: ./dev setup package")
    missing = shell(root, f"dpkg-checkbuilddeps -P nocheck {REPO}/debian/control", check=False)
    assert not missing, missing
    # The unit tests are run by themselves: ./dev test unit.
    root.said_by_build = shell(root, f"DEB_BUILD_OPTIONS='nocheck noautodbgsym' {REPO}/dev package {FOLDER}",
                               check=False, timeout=540)
    assert shell(root, "ls *.changes", check=False).count(".changes\n") == 1, root.said_by_build[-3000:]
    return root


@pytest.fixture
def clean(built):
    """The machine without dcached and with an empty Redis; purged afterwards."""
    shell(built, "redis-cli flushall")
    yield built
    shell(built, "dpkg --purge " + " ".join(PACKAGES))


@pytest.fixture
def installed(clean):
    """The machine with all packages installed and the daemon ready."""
    install(clean)
    return clean


@pytest.fixture
def fresh(built):
    """A machine over a fresh tree, with the packages in PUBLIC."""
    if not os.path.isdir(FRESH):
        pytest.skip(f"there is no {FRESH}: see {FRESH}.log, then ./dev test packages")
    with Machine(lower=FRESH) as machine:
        os.makedirs(machine.path(PUBLIC))
        for name in os.listdir(built.path(FOLDER)):
            if name.endswith(".deb"):
                shutil.copy(built.path(f"{FOLDER}/{name}"), machine.path(PUBLIC))
        yield machine
