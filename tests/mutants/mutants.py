#!/usr/bin/python3
"""
Builds the mutants of table.py one after the other and lets the simulation hunt them.

A seed at which one is caught counts only if the same build without the mutant is clean there: the sources as they
are, or, where a mutant needs guards turned off, the sources with those guards off and nothing else. The sources as
they are have to be clean at all seeds.

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
MUTATED = os.path.join(WORK, "mutated")
STEPS = (100, 400, 1000, 2000, 10000)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def edited(edits, tree):
    """{path: text} of the files that the edits change, from what stands in `tree`."""
    texts = {}
    for path, old, new in edits:
        text = texts.get(path) or read(os.path.join(tree, path))
        if text.count(old) != 1:
            raise ValueError(f"{path} holds {text.count(old)} times:\n{old}")
        texts[path] = text.replace(old, new)
    return texts


def check():
    failures = 0
    for mutant in MUTANTS:
        try:
            edited(mutant.guards, ROOT)
            edited(mutant.guards + mutant.edits, ROOT)
        except ValueError as error:
            failures += 1
            print(f"{mutant.name}: {error}", file=sys.stderr)
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


def build(edits, hunter):
    """Builds the sources with these edits; the simulation's program becomes `hunter`."""
    texts = edited(edits, SOURCE)
    before = {path: read(os.path.join(SOURCE, path)) for path in texts}
    try:
        for path, text in texts.items():
            write(os.path.join(SOURCE, path), text)
        run = subprocess.run(["ninja", "-C", BUILD, HUNTER], capture_output=True, text=True)
        if run.returncode != 0:
            raise ValueError("does not build:\n" + run.stdout[-3000:])
        shutil.copy(os.path.join(BUILD, HUNTER), hunter)
    finally:
        for path, text in before.items():
            write(os.path.join(SOURCE, path), text)


def broken(hunter, start, count, jobs):
    """[(seed, promise)] that are broken, in order."""
    run = subprocess.run([hunter, "--seeds", str(start), str(count), "--jobs", str(jobs)],
                         capture_output=True, text=True, timeout=1800)
    if run.returncode < 0 and count == 1:
        return [(start, f"crash (signal {-run.returncode})")]
    if run.returncode < 0 or "ended by signal" in run.stdout:
        return [found for seed in range(start, start + count) for found in broken(hunter, seed, 1, 1)]
    return sorted((int(seed), promise) for seed, promise in
                  re.findall(r"^---- seed (\d+): (\S+) broken", run.stdout, re.M))


def steps(most):
    start = 1
    for step in STEPS:
        count = min(step, most) - start + 1
        if count > 0:
            yield start, count
            start += count


def hunt(hunter, control, most, jobs):
    """(seed, promise) of the first violation that `control` does not show there, too; or (most, None)."""
    for start, count in steps(most):
        for seed, promise in broken(hunter, start, count, jobs):
            if not broken(control, seed, 1, 1):
                return seed, promise
    return most, None


class Controls:
    """The builds without any mutant: one for each set of guards that are off."""

    def __init__(self):
        self.built = {}

    def of(self, guards):
        key = tuple(guards)
        if key not in self.built:
            self.built[key] = os.path.join(WORK, f"control-{len(self.built)}")
            build(guards, self.built[key])
        return self.built[key]


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
    controls = Controls()
    unclean = broken(controls.of([]), 1, options.seeds, options.jobs)
    if unclean:
        print("the sources as they are break promises: " + ", ".join(cell(u) for u in unclean), file=sys.stderr)
        return 1
    survivors, rows = [], []
    for mutant in chosen:
        begun = time.monotonic()
        build(mutant.guards + mutant.edits, MUTATED)
        result = hunt(MUTATED, controls.of(mutant.guards), options.seeds, options.jobs)
        if not result[1]:
            survivors.append(mutant.name)
        rows.append(f"| {mutant.name} | {mutant.breaks} | {mutant.without or '-'} | {cell(result)} |")
        print(f"{rows[-1]}  ({time.monotonic() - begun:.0f} s)", flush=True)
    print("\n| mutant | what it breaks | guard turned off | found by |\n|" + "---|" * 4)
    print("\n".join(rows))
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} mutants are caught", *survivors)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
