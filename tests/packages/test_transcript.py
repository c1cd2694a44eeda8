"""The first hour of an operator (transcript.md) on a fresh Debian; what came is kept in build/transcript.txt."""
import os
import sys

from place import CLEAN, HERE, PUBLIC, REPO

sys.path.insert(0, os.path.join(REPO, "tests", "integration"))

# pylint: disable=wrong-import-position
from docs_blocks import blocks, differs

KEPT = os.path.join(REPO, "build", "transcript.txt")


def commands():
    with open(os.path.join(HERE, "transcript.md"), encoding="utf-8") as f:
        return [command for block in blocks(f.read()) for command in block.commands()]


def test_an_operator_installs_starts_uses_and_sees_redis_go_and_come_back(fresh):
    with open(KEPT, "w", encoding="utf-8") as kept:
        for command, shown in commands():
            said = fresh.run(*CLEAN, "bash", "-c", f"exec 2>&1; cd {PUBLIC}; {command}", timeout=120).stdout
            kept.write(f"$ {command}\n{said}")
            kept.flush()
            assert not differs(shown, said), differs(shown, said)
