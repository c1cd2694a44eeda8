#!/usr/bin/python3
"""
Builds the mutants of table.py one after the other and lets the simulation hunt them.

    mutants.py                      all of them; a table at the end; exit status 1 if one survives
    mutants.py NAME...              these
    mutants.py --check              only: does every edit still apply, exactly once?
    mutants.py --seeds N            the most seeds for each (2000)

Works on a copy of the sources in build-mutants/, so the tree stays as it is.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

from table import MUTANTS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = os.path.join(ROOT, "build-mutants")
SOURCE, BUILD = os.path.join(WORK, "source"), os.path.join(WORK, "build")
HUNTER = "tests/sim/sim"
STEPS = (100, 400, 1000, 2000, 10000)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def edited(mutant, tree):
    """{path: text} of the files the mutant changes, from what stands in `tree`."""
    texts = {}
    for path, old, new in mutant.edits:
        text = texts.get(path) or read(os.path.join(tree, path))
        if text.count(old) != 1:
            raise ValueError(f"{mutant.name}: {path} holds {text.count(old)} times:\n{old}")
        texts[path] = text.replace(old, new)
    return texts


def check():
    failures = 0
    for mutant in MUTANTS:
        try:
            edited(mutant, ROOT)
        except ValueError as error:
            failures += 1
            print(error, file=sys.stderr)
    print(f"mutants: {len(MUTANTS)}, {failures} of them do not apply")
    return failures


def copy_sources():
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                           check=True, capture_output=True).stdout.decode().split("\0")
    os.makedirs(SOURCE, exist_ok=True)
    for name in filter(None, files):
        source, target = os.path.join(ROOT, name), os.path.join(SOURCE, name)
        if not os.path.exists(source):
            continue
        if os.path.exists(target) and read_bytes(source) == read_bytes(target):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        subprocess.run(["meson", "setup", BUILD, SOURCE, "-Dbuildtype=debugoptimized",
                        "-Dwerror=false"], check=True,
                       stdout=subprocess.DEVNULL)


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def build():
    run = subprocess.run(["ninja", "-C", BUILD, HUNTER], capture_output=True, text=True)
    if run.returncode != 0:
        raise ValueError("does not build:\n" + run.stdout[-3000:])


def hunt(most, jobs):
    """(seeds until the first violation, promise), or (most, None)."""
    start = 1
    for step in STEPS:
        count = min(step, most) - start + 1
        if count <= 0:
            break
        run = subprocess.run([os.path.join(BUILD, HUNTER), "--seeds", str(start), str(count), "--jobs", str(jobs)],
                             capture_output=True, text=True, timeout=1800)
        found = [(int(seed), promise) for seed, promise in
                 re.findall(r"^---- seed (\d+): (\S+) broken", run.stdout, re.M)]
        if found:
            return min(found)
        if run.returncode < 0:
            return start, f"crash (signal {-run.returncode})"
        start += count
    return most, None


def try_one(mutant, most, jobs):
    texts = edited(mutant, SOURCE)
    before = {path: read(os.path.join(SOURCE, path)) for path in texts}
    try:
        for path, text in texts.items():
            write(os.path.join(SOURCE, path), text)
        build()
        return hunt(most, jobs)
    finally:
        for path, text in before.items():
            write(os.path.join(SOURCE, path), text)


def cell(result):
    seeds, promise = result
    return f"{promise}, seed {seeds}" if promise else f"- ({seeds})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.check:
        return 1 if check() else 0
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error("no mutant named " + ", ".join(sorted(unknown)))
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]

    copy_sources()
    build()
    survivors, rows = [], []
    for mutant in chosen:
        begun = time.monotonic()
        result = try_one(mutant, options.seeds, options.jobs)
        if not result[1]:
            survivors.append(mutant.name)
        rows.append(f"| {mutant.name} | {mutant.breaks} | {mutant.without or '-'} | {cell(result)} |")
        print(f"{rows[-1]}  ({time.monotonic() - begun:.0f} s)", flush=True)
    build()
    print("\n| mutant | what it breaks | guard turned off | found by |\n|" + "---|" * 4)
    print("\n".join(rows))
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} mutants are caught", *survivors)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
