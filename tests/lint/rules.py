"""
The rules of the house that a program can check. A rule is a function of a Tree; it gives back findings, each a
"path:line: what is wrong". test_rules.py shows every rule failing once.
"""
import os
import re
import shutil
import subprocess

LINES_MAX = 500
COLUMNS_MAX = 115
PROSE_COLUMNS_MAX = 120
FORMAT_MAJOR = 14  # clang-format's output changes between versions; the tree is kept as this one writes it

# Who may include what. The longest folder that holds a file decides. Own headers are given by where they begin.
STANDARD = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h", "stdbool.h", "stddef.h",
            "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h"}
LIBRARIES = {"hiredis": "hiredis/", "libuv": "uv.h", "msgpack-c": "msgpack", "inih": "ini.h",
             "libmicrohttpd": "microhttpd.h"}
LAYERS = {
    # folder: (headers it may include, libraries, nothing else but standard headers)
    "proto": (["proto/"], ["msgpack-c"], True),
    "daemon/core": (["daemon/core/", "proto/slice.h", "sys/mman.h"], [], True),
    "daemon/ops": (["daemon/ops/", "daemon/core/", "proto/"], [], False),
    "daemon/net": (["daemon/net/", "proto/"], ["libuv"], False),
    "daemon/redis": (["daemon/redis/", "daemon/core/", "proto/"], ["libuv", "hiredis"], False),
    "daemon/host": (["daemon/host/", "daemon/core/", "daemon/daemon.h", "proto/",
                     "client/include/dcache/hook.h", "dcache/hook.h"], ["libuv", "inih"], False),
    "daemon/metrics": (["daemon/metrics/", "daemon/core/", "daemon/net/connection.h", "daemon/ops/ops.h",
                        "daemon/redis/redis.h", "proto/"], ["libuv", "libmicrohttpd"], False),
    "daemon": (["daemon/", "proto/"], ["libuv"], False),
    "client/dcachectl": (["client/dcachectl/", "client/include/", "dcache/", "proto/"], ["msgpack-c"], False),
    "client/examples": (["dcache/"], ["libuv"], False),
    "client": (["client/", "dcache/", "proto/"], ["msgpack-c"], False),
}
# The core reads no clock, draws no random number and writes no log.
CORE_FORBIDS = re.compile(r"(?<![\w.>])(printf|fprintf|puts|perror|time|clock_gettime|gettimeofday|rand|random|"
                          r"getrandom|syslog)\s*\(")


class Tree:
    """The files of a repository, whatever has been built in it."""

    def __init__(self, root):
        self.root = root
        self.paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if not f.startswith(("build", "__pycache__"))
                                and (not f.startswith(".") or f == ".ci"))
            self.paths += [os.path.relpath(os.path.join(folder, n), root) for n in sorted(names)]

    def files(self, *endings, under=""):
        return [p for p in self.paths if p.endswith(endings or ("",)) and p.startswith(under)]

    def text(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
            return f.read()

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), 1)


def include_directions(tree):
    found = []
    for path in tree.files(".c", ".h"):
        layer = next((f for f in sorted(LAYERS, key=len, reverse=True) if path.startswith(f + "/")), None)
        if not layer:
            continue
        own, libraries, only_standard = LAYERS[layer]
        foreign = [begin for name, begin in LIBRARIES.items() if name not in libraries]
        for number, line in tree.lines(path):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            if not match:
                continue
            header = match[2]
            ours = os.path.exists(os.path.join(tree.root, header)) or header.startswith("dcache/")
            if match[1] == '"' and not ours and not header.startswith(tuple(LIBRARIES.values())):
                found.append(f'{path}:{number}: "{header}" is not rooted at the top of the tree')
            elif ours and not header.startswith(tuple(own)):
                found.append(f"{path}:{number}: {layer} may not include {header}")
            elif not ours and header.startswith(tuple(foreign)):
                found.append(f"{path}:{number}: {layer} may not include {header}")
            elif not ours and only_standard and header not in STANDARD and header not in own and \
                    not header.startswith(tuple(LIBRARIES[name] for name in libraries)):
                found.append(f"{path}:{number}: {layer} may not include <{header}>")
    return found


def core_is_pure(tree):
    return [f"{path}:{number}: the core may not call {match[1]}"
            for path in tree.files(".c", ".h", under="daemon/core/")
            for number, line in tree.lines(path)
            for match in [CORE_FORBIDS.search(line)] if match and not line.lstrip().startswith(("*", "/*"))]


def lengths(tree):
    found = []
    for path in tree.files(".c", ".h", ".py", "meson.build") + [p for p in ("dev",) if p in tree.paths]:
        count = 0
        for count, line in tree.lines(path):
            if len(line) > COLUMNS_MAX:
                found.append(f"{path}:{count}: {len(line)} characters, at most {COLUMNS_MAX}")
        if count > LINES_MAX + 1:
            found.append(f"{path}:{count}: {count} lines, at most {LINES_MAX}")
    for path in tree.files(".md", ".scd"):
        fenced = False
        for number, line in tree.lines(path):
            fenced ^= line.startswith("```")
            name = path.endswith(".scd") and number == 5  # what whatis shows stands on one line
            if len(line) > PROSE_COLUMNS_MAX and not fenced and not name and line[:1] not in "|[#*":
                found.append(f"{path}:{number}: {len(line)} characters, at most {PROSE_COLUMNS_MAX}")
    return found


def clean_text(tree):
    found = []
    left_open = re.compile(r"\b(%s)\b" % "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")))
    for path in tree.files(".c", ".h", ".py", ".md", ".scd", ".build", ".service", ".conf"):
        text = tree.text(path)
        for number, line in tree.lines(path):
            if line != line.rstrip():
                found.append(f"{path}:{number}: white space at the end of the line")
            if "\t" in line and not path.endswith(".scd"):  # scdoc indents by tabs
                found.append(f"{path}:{number}: a tab")
            if left_open.search(line):
                found.append(f"{path}:{number}: something is left open")
        if text and not text.endswith("\n"):
            found.append(f"{path}:1: no newline at the end of the file")
    return found


def header_guards(tree):
    return [f"{path}:1: no include guard" for path in tree.files(".h")
            if not re.search(r"#ifndef (\w+)\n#define \1\b", tree.text(path))]


def links(tree):
    found = []
    for path in tree.files(".md"):
        for number, line in tree.lines(path):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target) or target.startswith("#"):
                    continue
                file = os.path.normpath(os.path.join(os.path.dirname(path), target.split("#")[0]))
                if not os.path.exists(os.path.join(tree.root, file)):
                    found.append(f"{path}:{number}: there is no {file}")
    return found


def registration(tree):
    """A test that is not built is not run; nor is one that pytest does not find."""
    found = []
    for path in tree.files(".c", under="tests/"):
        folder, name = os.path.split(path)
        build = os.path.join(folder, "meson.build")
        text = tree.text(build) if build in tree.paths else ""
        stem = name[:-2]
        short = re.sub(r"^(test|fuzz)_", "", stem)
        if not re.search(r"'(%s|%s|%s)'" % (re.escape(name), re.escape(stem), re.escape(short)), text):
            found.append(f"{path}:1: not named in {build}")
    for path in tree.files(".c", under="tests/unit/test_"):
        tests = re.findall(r"^static void (\w+)\(void \*\*", tree.text(path), re.M)
        found += [f"{path}:1: {name} is never run" for name in tests
                  if len(re.findall(r"\b%s\b" % name, tree.text(path))) < 2]
    for path in tree.files(".py", under="tests/"):
        if re.search(r"^def test_", tree.text(path), re.M) and not os.path.basename(path).startswith("test_"):
            found.append(f"{path}:1: has tests, but pytest looks only into test_*.py")
    return found


def namesakes(tree):
    """Two tests of one name in one Python file: the first would never run."""
    found = []
    for path in tree.files(".py", under="tests/"):
        names = re.findall(r"^def (test_\w+)", tree.text(path), re.M)
        found += [f"{path}:1: {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    return found


def formatting(tree):
    tool = shutil.which(f"clang-format-{FORMAT_MAJOR}") or shutil.which("clang-format")
    version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout if tool else ""
    if f"version {FORMAT_MAJOR}." not in version:
        print(f"formatting: not checked, this is not clang-format {FORMAT_MAJOR}")
        return []
    files = tree.files(".c", ".h")
    if not files:
        return []
    done = subprocess.run([tool, "--dry-run", "--Werror", *files], cwd=tree.root, capture_output=True, text=True)
    first = {}
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: error:", done.stderr, re.M):
        first.setdefault(path, f"{path}:{line}: not as clang-format writes it; ./dev fmt")
    return list(first.values())


RULES = [include_directions, core_is_pure, lengths, clean_text, header_guards, links, registration, namesakes,
         formatting]
