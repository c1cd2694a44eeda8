"""The section "Install" of the README, played in a machine from its first command to its last."""
import os
import re
import sys

from place import CLEAN, FOLDER, REPO
from test_packages import SYSTEM, written

sys.path.insert(0, os.path.join(REPO, "tests", "integration"))

# pylint: disable=wrong-import-position
from docs_blocks import blocks, differs


def section(title):
    with open(os.path.join(REPO, "README.md"), encoding="utf-8") as f:
        text = re.search(rf"^### {title}\n(.*?)(?=^##)", f.read(), re.M | re.S)[1]
    return blocks(text)


def play(machine, block):
    """Runs a block where the tree is; a package that is built already is not built again."""
    commands = block.commands() if block.language == "console" else [(line, None) for line in block.lines]
    for command, shown in commands:
        if command != "./dev package":
            said = machine.run(*CLEAN, "bash", "-c", f"cd {FOLDER}/dcached && {command}", timeout=300).stdout
            assert shown is None or not differs(shown, said), (command, said)


def test_packages_are_installed_used_and_purged_as_the_readme_says(clean):
    clean.run("ln", "-sfn", FOLDER, f"{FOLDER}/dcached/build-package")
    before = written(clean)
    install, look, purge = section("From packages")
    play(clean, install)
    play(clean, look)
    play(clean, purge)
    assert {path for path in written(clean) - before if not SYSTEM.match(path)} == set()


def test_the_source_is_installed_and_uninstalled_as_the_readme_says(clean):
    before = written(clean)
    install, remove = section("From source")
    play(clean, install)
    clean.wait_ready()
    assert clean.run("readlink", f"/proc/{clean.main_pid()}/exe").stdout == "/usr/local/sbin/dcached\n"
    assert clean.run("/usr/local/bin/dcachectl", "ping").returncode == 0
    play(clean, remove)
    left = {path for path in written(clean) - before if not SYSTEM.match(path)}
    assert {path for path in left if not os.path.isdir(clean.path(path))} == set()  # empty folders stay
    assert clean.run("pgrep", "-x", "dcached", check=False).stdout == ""
