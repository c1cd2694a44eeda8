"""Every rule is seen to fail: a small good tree, and the one line that spoils it."""
import shutil

import pytest

import rules

GOOD = {
    "proto/slice.h": "#ifndef S_H\n#define S_H\n\n#include <stddef.h>\n\n#endif\n",
    "daemon/core/core.h": "#ifndef C_H\n#define C_H\n\n#include \"proto/slice.h\"\n\n#endif\n",
    "daemon/core/core.c": "#include \"daemon/core/core.h\"\n",
    "daemon/redis/redis.c": "#include <hiredis/hiredis.h>\n\n#include \"daemon/core/core.h\"\n",
    "daemon/net/server.c": "#include <uv.h>\n",
    "tests/unit/test_core.c": "static void lower_is_rejected(void **state)\n{\n    (void)state;\n}\n\n"
                              "const void *all = (void *)lower_is_rejected;\n",
    "tests/unit/meson.build": "test('core', 'test_core.c')\n",
    "tests/integration/test_a.py": "def test_a():\n    pass\n",
    "README.md": "See [the core](daemon/core/core.h) and <https://redis.io>.\n",
    ".clang-format": "BasedOnStyle: LLVM\nIndentWidth: 4\nBreakBeforeBraces: Linux\n"
                     "AllowShortFunctionsOnASingleLine: None\n",
}


@pytest.fixture
def grow(tmp_path):
    def plant(**changes):
        for path, text in {**GOOD, **{k.replace("__", "/"): v for k, v in changes.items()}}.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return rules.Tree(str(tmp_path))
    return plant


def spoilt(path, text):
    return {path: GOOD.get(path, "") + text}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_tree_passes(grow, rule):
    assert rule(grow()) == []


@pytest.mark.parametrize("path, line", [
    ("proto/slice.c", '#include "daemon/core/core.h"\n'),
    ("proto/slice.c", "#include <uv.h>\n"),
    ("proto/slice.c", "#include <sys/socket.h>\n"),
    ("daemon/core/core.c", "#include <uv.h>\n"),
    ("daemon/core/core.c", "#include <hiredis/read.h>\n"),
    ("daemon/core/core.c", "#include <msgpack.h>\n"),
    ("daemon/core/core.c", "#include <sys/socket.h>\n"),
    ("daemon/core/core.c", "#include <time.h>\n"),
    ("daemon/core/core.c", '#include "daemon/net/server.c"\n'),
    ("daemon/core/core.c", '#include "server.h"\n'),
    ("daemon/net/server.c", '#include "daemon/redis/redis.c"\n'),
    ("daemon/net/server.c", '#include "daemon/core/core.h"\n'),
    ("daemon/net/server.c", "#include <hiredis/hiredis.h>\n"),
    ("daemon/redis/redis.c", '#include "daemon/net/server.c"\n'),
    ("daemon/ops/get.c", '#include "daemon/redis/redis.c"\n'),
    ("daemon/ops/get.c", "#include <uv.h>\n"),
    ("client/client.c", '#include "daemon/core/core.h"\n'),
    ("daemon/host/config.c", "#include <dcache/client.h>\n"),
])
def test_a_wrong_include_is_found(grow, path, line):
    assert len(rules.include_directions(grow(**spoilt(path, line)))) == 1


def test_the_hook_header_is_open_to_the_host(grow):
    assert rules.include_directions(grow(**{"daemon/host/hook.c": "#include <dcache/hook.h>\n"})) == []


@pytest.mark.parametrize("call", ["printf(\"x\")", "clock_gettime(0, 0)", "time(NULL)", "rand()", "fprintf(f)"])
def test_a_core_that_does_io_is_found(grow, call):
    assert len(rules.core_is_pure(grow(**spoilt("daemon/core/core.c", f"x = {call};\n")))) == 1


def test_a_core_may_build_texts(grow):
    text = "snprintf(a, b); x->time(); core_time();\n"
    assert rules.core_is_pure(grow(**spoilt("daemon/core/core.c", text))) == []


def test_long_lines_and_long_files_are_found(grow):
    assert rules.lengths(grow(**spoilt("proto/a.c", "x" * 115 + "\n"))) == []
    assert len(rules.lengths(grow(**spoilt("proto/a.c", "x" * 116 + "\n")))) == 1
    assert rules.lengths(grow(**spoilt("proto/a.c", "x;\n" * 500))) == []
    assert len(rules.lengths(grow(**spoilt("proto/a.c", "x;\n" * 501)))) == 1


def test_long_lines_of_prose_are_found(grow):
    assert rules.lengths(grow(**spoilt("proto/a.md", f"{'x' * 120}\n|{'x' * 130}\n```\n{'x' * 130}\n```\n"))) == []
    assert len(rules.lengths(grow(**spoilt("proto/a.md", "x" * 121 + "\n")))) == 1


@pytest.mark.parametrize("text", ["x; \n", "\tx;\n", "/* TO" + "DO */\n", "x;"])
def test_unclean_text_is_found(grow, text):
    assert len(rules.clean_text(grow(**spoilt("proto/a.c", text)))) == 1


def test_a_header_without_guard_is_found(grow):
    assert len(rules.header_guards(grow(**{"proto/a.h": "#ifndef A_H\n#define B_H\n#endif\n"}))) == 1


def test_a_dead_link_is_found(grow):
    assert len(rules.links(grow(**spoilt("README.md", "[gone](docs/gone.md#part)\n")))) == 1


@pytest.mark.parametrize("path, text", [
    ("tests/unit/test_other.c", "int x;\n"),
    ("tests/fuzz/fuzz_scan.c", "int x;\n"),
    ("tests/unit/test_core.c", "static void forgotten(void **state)\n"),
    ("tests/integration/helpers.py", "def test_hidden():\n    pass\n"),
])
def test_a_test_that_never_runs_is_found(grow, path, text):
    assert len(rules.registration(grow(**spoilt(path, text)))) == 1


def test_a_test_hidden_by_its_namesake_is_found(grow):
    assert len(rules.namesakes(grow(**spoilt("tests/integration/test_a.py", "def test_a():\n    pass\n")))) == 1


@pytest.mark.skipif(not shutil.which("clang-format"), reason="no clang-format")
def test_another_format_is_found(grow, capsys):
    found = rules.formatting(grow(**spoilt("daemon/core/core.c", "int  x;\n")))
    assert len(found) == 1 or "not checked" in capsys.readouterr().out


def test_what_was_built_is_left_alone(grow):
    assert rules.clean_text(grow(**{"build/a.c": "x; \n", "build-asan/a.c": "x; \n"})) == []
