"""
What a program that was linked with libdcache-client.so.0 relies on: names, and what structs and enums look like.
libdcache-client.abi is what abidw wrote of it; a change on purpose writes it anew: tests/packages/abi.sh
"""
import os
import platform
import re
import shutil
import subprocess

import pytest

from place import BUILD, HERE, REPO

LIBRARY = os.path.join(BUILD, "client", "libdcache-client.so.0")
REFERENCE = os.path.join(HERE, "libdcache-client.abi")


def read(*path):
    with open(os.path.join(REPO, *path), encoding="utf-8") as f:
        return f.read()


def exported():
    names = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True,
                           check=True).stdout
    return set(re.findall(r" T (\w+)@@DCACHE_0$", names, re.M))


def test_the_library_exports_what_its_header_declares_and_nothing_else():
    header = re.sub(r"/\*.*?\*/", "", read("client", "include", "dcache", "client.h"), flags=re.S)
    assert exported() == set(re.findall(r"\b(dcache_\w+)\(", header))


def test_the_symbols_file_of_the_package_names_every_exported_function():
    symbols = read("debian", "libdcache-client0.symbols")
    assert exported() == set(re.findall(r"^ (dcache_\w+)@DCACHE_0 ", symbols, re.M))


def test_programs_that_are_linked_with_the_library_go_on_working():
    if not shutil.which("abidiff"):
        pytest.skip("there is no abidiff: ./dev setup package")
    if platform.machine() != "x86_64":
        pytest.skip(f"the record is of x86_64, not of {platform.machine()}")
    # Functions may be added; nothing that is there may change.
    done = subprocess.run(["abidiff", "--exported-interfaces-only", "--no-added-syms", REFERENCE, LIBRARY],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
