"""What `meson install` puts where: installed.txt is the list. A change on purpose writes it anew: listing.py."""
import os
import re
import subprocess

import pytest

from listing import golden, listing, stage
from place import HERE


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("staged"))
    stage(folder)
    return folder


def test_every_file_is_installed_where_the_list_says(staged):
    assert listing(staged, "/usr/local") == golden()


def test_nothing_that_is_installed_knows_where_it_was_built(staged):
    for parent, _, names in os.walk(staged):
        for path in (os.path.join(parent, name) for name in names):
            with open(path, "rb") as f:
                if f.read(4) != b"\x7fELF":
                    continue
            dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
            assert not re.search("RPATH|RUNPATH", dynamic), path


def test_the_unit_starts_the_daemon_that_was_installed(staged):
    units = [os.path.join(parent, name) for parent, _, names in os.walk(staged)
             for name in names if name.endswith(".service")]
    assert units
    for unit in units:
        with open(unit, encoding="utf-8") as f:
            program = re.search(r"^ExecStart=(\S+)", f.read(), re.M)[1]
        assert os.access(staged + program, os.X_OK), program


def test_a_program_is_built_with_what_pkg_config_says(staged, tmp_path):
    folder = next(parent for parent, _, names in os.walk(staged) if "libdcache-client.pc" in names)
    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=staged, PKG_CONFIG_PATH=folder)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libdcache-client"], env=env, check=True,
                           capture_output=True, text=True).stdout.split()
    source = os.path.join(HERE, "..", "..", "client", "examples", "plain_sync.c")
    subprocess.run(["cc", "-o", tmp_path / "program", source, *flags], check=True)
    needed = subprocess.run(["readelf", "-d", tmp_path / "program"], capture_output=True, text=True, check=True)
    assert "[libdcache-client.so.0]" in needed.stdout
