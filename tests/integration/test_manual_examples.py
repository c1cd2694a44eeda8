"""What the manual pages show as programs, commands and configuration is compiled, run and read."""
import os
import re
import subprocess

import pytest

from daemon import build_dir
from docs_blocks import blocks
from test_docs import fixture_env  # pylint: disable=unused-import
from test_manuals import PAGES, text

# What the fragments of section 3 leave to their reader.
AROUND = """
#include <dcache/client.h>
#include <poll.h>
#include <string.h>
void example(dcache *cache, dcache_result result, dcache_reading reading, dcache_written written, uint64_t version,
             const char *epoch, const char *text, size_t len, dcache_write_options options, int tries, int done);
void example(dcache *cache, dcache_result result, dcache_reading reading, dcache_written written, uint64_t version,
             const char *epoch, const char *text, size_t len, dcache_write_options options, int tries, int done)
{
    (void)cache, (void)result, (void)reading, (void)written, (void)version, (void)epoch, (void)text, (void)len;
    (void)options, (void)tries, (void)done;
%s
}
"""
C_BLOCKS = [pytest.param(path, block, id=f"{os.path.basename(path)}:{block.line}")
            for path in PAGES if path.endswith(".3.scd") for block in blocks(text(path))]


def shown(block):
    return "\n".join(block.lines).replace("\\\\", "\\")


def command_line(env, command, **more):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False,
                          env=env, **more)


@pytest.mark.parametrize("path, block", C_BLOCKS)
def test_c_that_a_page_shows_is_c(path, block, env, folder):
    code = shown(block)
    source = os.path.join(folder, "shown.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write(code if code.startswith("#include") else AROUND % code)
    done = command_line(env, f"cc -Wall -Wextra -Werror -c {source} -o {source}.o")
    assert done.returncode == 0, f"{path}:{block.line}\n{done.stderr}"


def test_the_program_of_the_library_s_page_reads(env, folder, redis, start_daemon):
    (program,) = blocks(text("client/man/libdcache-client.3.scd"))
    daemon = start_daemon(redis)
    with daemon.client() as client:
        client.set(b"user:1", b"somebody")
    with open(os.path.join(folder, "shown.c"), "w", encoding="utf-8") as f:
        f.write(shown(program))
    done = command_line({**env, "DCACHED_SOCKET": daemon.socket},
                        "cc shown.c $(pkg-config --cflags --libs libdcache-client) -o shown && ./shown",
                        cwd=folder)
    assert (done.returncode, done.stdout) == (0, "somebody"), done.stderr


def test_the_examples_of_dcachectl_run(env, folder, redis, start_daemon):
    daemon = start_daemon(redis)
    for name, content in [("user.json", '{"name": "somebody"}'), ("application", "#!/bin/sh\necho started\n")]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)
    os.chmod(os.path.join(folder, "application"), 0o755)
    with daemon.client() as client:
        client.set(b"user:1", b"before")
    page = text("client/man/dcachectl.1.scd")
    examples = re.search(r"^# EXAMPLES\n(.*?)^# ", page, re.M | re.S)[1]
    commands = [line.removesuffix("++") for line in re.findall(r"^\t\$ (.*)$", examples, re.M)]
    assert len(commands) >= 9
    env = {**env, "DCACHED_SOCKET": daemon.socket, "PATH": f"{folder}:{env['PATH']}"}
    said = {}
    for command in commands:
        done = command_line(env, command, cwd=folder)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said[command.split()[1]] = done.stdout
    assert said["wait"].endswith("started\n") and "somebody" in said["get"]


@pytest.mark.parametrize("page", ["daemon/man/dcached.conf.5.scd", "daemon/man/dcached-metrics.7.scd"])
def test_a_configuration_that_a_page_shows_is_good(page, env, folder):
    (block,) = blocks(text(page))
    config = os.path.join(folder, "dcached.conf")
    password = os.path.join(folder, "redis-password")
    with open(password, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("secret\n")
    with open(config, "w", encoding="utf-8") as f:
        f.write(shown(block).replace("/etc/dcached/redis-password", password) + "\n")
    done = command_line(env, f"{build_dir()}/daemon/dcached --config {config} --check-config")
    assert done.returncode == 0, done.stderr
