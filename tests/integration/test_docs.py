"""What the README and the guides say to do is done here, and what they show is what comes."""
import os
import re
import subprocess

import pytest

from daemon import REPO, build_dir
from docs_blocks import LANGUAGES, Page, blocks, differs

GUIDES = sorted(f"docs/{name}" for name in os.listdir(os.path.join(REPO, "docs")) if name.endswith(".md"))
# Commands of the README that are no matter of a moment; what runs them is named.
ELSEWHERE = {"./dev": "tests/demo and whoever called this"}
INSTALL = re.compile(r"^## Install\n.*?(?=^## )", re.M | re.S)  # tests/packages/test_readme.py


def text(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(name="env")
def fixture_env(folder):
    """The environment of a reader who has built the tree."""
    built = build_dir()
    library = os.path.join(os.environ.get("DCACHED_LIBRARY_BUILD", built))
    own = {k: v for k, v in os.environ.items() if not k.startswith("DCACHED_")}
    path = f"{built}/daemon:{built}/client/dcachectl:{os.environ['PATH']}"
    return {**own, "PATH": path, "LD_LIBRARY_PATH": f"{library}/client", "HOME": folder, "TMPDIR": folder,
            "LC_ALL": "C", "PKG_CONFIG_PATH": f"{library}/meson-uninstalled",
            "CPATH": os.path.join(REPO, "client", "include"), "LSAN_OPTIONS": "exitcode=0"}


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_does_what_it_says(guide, folder, env, redis, start_daemon):
    config = {"listen": {"socket_mode": "0660"}}  # the default
    first, second = start_daemon(redis, pod="pod-a", config=config), start_daemon(redis, pod="pod-b")
    page = Page(guide, text(guide), folder,
                {**env, "DCACHED_SOCKET": first.socket, "POD_B": second.socket, "REDIS": redis.socket})
    page.run()
    assert guide == "docs/README.md" or page.blocks, "a guide without anything to try"


def test_the_readme_can_be_followed_from_its_first_command_to_its_last(folder, env):
    page = Page("README.md", INSTALL.sub("", text("README.md")), folder, env)
    kept = []
    for block in page.blocks:
        commands = [line.removeprefix("$ ") for line in block.lines if block.language == "sh" or line[:2] == "$ "]
        heavy = [c for c in commands if c.split()[0] in ELSEWHERE]
        assert not heavy or heavy == commands, f"README.md:{block.line}: one block, both long and short commands"
        for command in heavy:
            if command.startswith("./dev"):
                check_dev(command)
        if not heavy:
            kept.append(block)
    page.blocks = kept
    os.symlink(build_dir(), os.path.join(folder, "build"))
    os.symlink(os.path.join(REPO, "client"), os.path.join(folder, "client"))
    assert page.run() >= 10


def check_dev(command):
    """./dev knows the command, whatever follows it."""
    listed = subprocess.run([os.path.join(REPO, "dev")], capture_output=True, text=True, check=True).stdout
    words = command.split("#")[0].split()
    assert re.search(rf"^\./dev {words[1]}\b", listed, re.M), command


def test_every_block_says_what_it_is():
    for path in GUIDES + ["README.md"]:
        for block in blocks(text(path)):
            assert block.language in LANGUAGES, f"{path}:{block.line}: {block.language or 'no language'}"


def test_every_guide_is_in_the_list():
    listed = re.findall(r"^\| \[([\w-]+\.md)\]", text("docs/README.md"), re.M)
    assert sorted(f"docs/{name}" for name in listed + ["README.md"]) == GUIDES


def test_every_reason_and_error_of_the_code_is_explained():
    reasons = re.findall(r"\bREASON_(\w+)[,/ ]",
                         re.search(r"enum core_reason \{(.*?)\};", text("daemon/core/core.h"), re.S)[1])
    reasons = [name for name in dict.fromkeys(reasons) if name not in ("NONE", "COUNT")]
    errors = re.findall(r"X\((\w+), \d+,", text("proto/rpc.h"))
    assert len(reasons) >= 13 and len(errors) >= 15
    first, second = text("docs/refusals.md").split("## Reasons")[1].split("## Errors of the protocol")
    assert re.findall(r"^\| ([A-Z_]+) \|", first, re.M) == reasons
    assert re.findall(r"^\| ([A-Z_]+) \|", second, re.M) == errors


def test_sizing_has_the_figures_of_the_benchmark():
    sizing, bench = text("docs/sizing.md"), text("tests/bench/README.md")
    figures = re.search(r"Memory: dcached (\d+) bytes \(record (\d+), floors (\d+)", bench)
    assert f"about {figures[1]} bytes more" in sizing
    assert f"(key + value + {figures[1]})" in sizing
    assert f"record {figures[2]}, floors {figures[3]}" in re.sub(r"\s+", " ", sizing)


def test_a_line_that_is_shown_stands_for_figures_and_ids_but_not_for_other_words():
    assert not differs(["accepted: version 7, seq 1795378624719441"], "accepted: version 7, seq 17\n")
    assert differs(["accepted: version 7, seq 1795378624719441"], "accepted: version 8, seq 1795378624719441\n")
    assert differs(["accepted: version 7, seq 1"], "stale: rejected, version 8 is stored\n")
    assert not differs(["a", "..."], "a\nb\nc\n")
    assert differs(["a"], "a\nb\n")
