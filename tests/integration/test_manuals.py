"""The manual pages say what the code has, and render without a warning."""
import os
import re
import shutil
import subprocess

import pytest

from daemon import REPO, build_dir

PAGES = [os.path.join(folder, name) for folder in ("client/man", "daemon/man")
         for name in sorted(os.listdir(os.path.join(REPO, folder))) if name.endswith(".scd")]


def text(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


def library_pages():
    return {os.path.basename(p).split(".")[0]: text(p) for p in PAGES if p.endswith(".3.scd")}


def plain(page):
    """Of a page in scdoc's form, without what marks bold and underline."""
    return re.sub(r"(?<!\w)_|_(?!\w)|[*\\]", "", page)


def header():
    return re.sub(r"/\*.*?\*/", "", text("client/include/dcache/client.h"), flags=re.S)


def protocol_page():
    paths = [os.path.join(REPO, p) for p in ("client/man/protocol_page.py", "proto/PROTOCOL.md")]
    return subprocess.run(["/usr/bin/python3", *paths], check=True, capture_output=True, text=True).stdout


def rendered(scd):
    """(text, warnings) of a page, as wide as a common terminal."""
    roff = subprocess.run(["scdoc"], input=scd, capture_output=True, text=True)
    assert roff.returncode == 0, roff.stderr
    done = subprocess.run(["groff", "-t", "-man", "-Tutf8", "-ww", "-P-c"], input=roff.stdout, capture_output=True,
                          text=True)
    # A word in a column of a table that is longer than the column: groff 1.23 says so.
    warnings = [line for line in done.stderr.splitlines(True) if not line.endswith(": cannot adjust line\n")]
    return re.sub(".\b", "", done.stdout), "".join(warnings)


needs_renderer = pytest.mark.skipif(not (shutil.which("scdoc") and shutil.which("groff")),
                                    reason="scdoc and groff render pages")


@needs_renderer
@pytest.mark.parametrize("path", PAGES)
def test_a_page_renders_without_warning(path):
    shown, warnings = rendered(text(path))
    assert warnings == ""
    assert "NAME" in shown and "DESCRIPTION" in shown


@needs_renderer
def test_the_page_of_the_protocol_renders_without_warning_and_leaves_no_markup():
    shown, warnings = rendered(protocol_page())
    assert warnings == ""
    assert not re.search(r"`|\*\*|\|---", shown)
    assert max(map(len, shown.splitlines())) <= 110


@needs_renderer
def test_the_page_of_the_protocol_has_every_word_of_protocol_md():
    shown = re.sub(r"[^\w]", "", rendered(protocol_page())[0])
    for line in text("proto/PROTOCOL.md").splitlines():
        if line.startswith("|") or line.startswith("# "):
            continue  # cells are broken into columns, and the page has a title of its own
        words = re.sub(r"^#+ (\d+\. )?|^\d+\. ", "", line)
        words = words.upper() if line.startswith("## ") else words
        assert re.sub(r"\]\([^)]*\)|[^\w]", "", words) in shown.replace("‐", ""), line


def test_protocol_md_has_every_method_error_and_limit_of_the_code():
    page, methods, rpc = text("proto/PROTOCOL.md"), text("proto/methods.h"), text("proto/rpc.h")
    table = re.search(r"#define PROTO_METHODS\(X\)(.*?)\n\n", methods, re.S)[1]
    methods_and_classes = re.findall(r"X\((\w+), (\w+)\)", table)
    assert len(methods_and_classes) >= 16
    assert re.findall(r"^### (\w+) \((\w+)\)$", page.split("## 5.")[0], re.M) == methods_and_classes
    errors = re.findall(r"X\((\w+), (\d+),", rpc)
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.M)
    assert [(name, code) for code, name in rows] == errors
    limits = page.split("## 8. Limits")[1]
    for name in ("PROTO_WATCHES_MAX", "PROTO_VERSIONS_MAX", "PROTO_TRACE_MAX"):
        value = re.search(rf"#define {name}\s+(\d+)", methods)[1]
        assert re.search(rf"\| {value} \|", limits), name


def test_every_function_of_the_library_has_a_page_that_shows_its_very_declaration():
    pages = library_pages()
    declared = re.findall(r"^(?:[\w ]+?)[ *](dcache_\w+)\([^;]*\);", header(), re.M)
    assert len(declared) >= 20
    aliases = text("client/man/meson.build")
    for name in declared:
        home = [page for page, body in pages.items()
                if re.search(rf"^# NAME\n\n[^\n]*\b{name}\b[^\n]* - ", body, re.M)]
        assert len(home) == 1, f"{name} is named by {home}"
        assert name == home[0] or f"'{name}'" in aliases, f"man {name} finds nothing"
        declaration = re.search(rf"^[\w ]+?[ *]{name}\([^;]*\);", header(), re.M)[0]
        shown = re.sub(r"\s+", "", pages[home[0]])
        assert re.sub(r"\s+", "", declaration) in shown, f"{name} is declared otherwise"


def test_every_result_option_and_member_of_the_library_is_explained():
    pages = {name: plain(body) for name, body in library_pages().items()}
    enum = re.search(r"typedef enum dcache_result \{(.*?)\} dcache_result;", header(), re.S)[1]
    results = re.findall(r"\b(DCACHE_\w+)", enum)
    assert len(results) >= 23
    for name in results:
        assert re.search(rf"^{name}$", pages["dcache_errors"], re.M), name
    homes = {"dcache_options": "dcache_open", "dcache_read_options": "dcache_get", "dcache_reading": "dcache_get",
             "dcache_write_options": "dcache_set", "dcache_written": "dcache_set", "dcache_key": "dcache_get",
             "dcache_item": "dcache_set"}
    structs = dict((name, body) for body, name in
                   re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", header(), re.S))
    assert set(structs) == set(homes)
    for struct, page in homes.items():
        for line in structs[struct].split(";")[:-1]:
            for member in re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", line.strip()):
                assert re.search(rf"\b{member}\b", pages[page]), f"{page} does not name {struct}.{member}"


# What somebody on one of these pages looks for next: each names the others.
HUB = ("dcachectl(1)", "dcached(8)", "dcached.conf(5)", "dcached-protocol(7)", "libdcache-client(3)")


def titles():
    """{"dcached(8)": text of the page} of all pages there are."""
    bodies = [text(path) for path in PAGES] + [protocol_page()]
    return {body.split("\n", 1)[0].strip(): body for body in bodies}


def named_in(body):
    return {f"{name}({number})" for name, number in re.findall(r"\*([\w.-]+)\*\((\d)\)", body)}


def test_every_page_of_ours_that_a_page_names_is_there():
    pages = titles()
    aliases = {f"{name}(3)" for name in re.findall(r"'(dcache_\w+)'", text("client/man/meson.build"))}
    named = {name for body in pages.values() for name in named_in(body)
             if name.startswith(("dcache", "libdcache"))}
    assert len(named) >= 10 and named <= set(pages) | aliases, named - set(pages) - aliases
    for path in PAGES:
        assert os.path.basename(path) == "{}.{}.scd".format(*re.match(r"(.+)\((\d)\)", text(path)).groups())


def test_the_see_also_of_every_page_leads_on_and_of_the_main_pages_to_one_another():
    pages = titles()
    also = {title: named_in(body.split("# SEE ALSO\n")[1]) for title, body in pages.items()}
    assert set(HUB) <= set(pages)
    for title, names in also.items():
        assert title not in names and names, title
        if title in HUB:
            assert set(HUB) - {title} <= names, title
    assert set(pages) == set(HUB).union(*(also[title] for title in HUB)), "a page that none of these leads to"


def test_every_verb_of_dcachectl_stands_in_its_manual():
    binary = os.path.join(build_dir(), "client", "dcachectl", "dcachectl")
    shown = subprocess.run([binary, "--help"], capture_output=True, text=True).stdout
    verbs = re.findall(r"^  ([a-z][a-z-]*)\b", shown.split("Verbs")[-1] if "Verbs" in shown else shown, re.M)
    assert len(verbs) >= 12, shown
    page = text("client/man/dcachectl.1.scd")
    for verb in verbs:
        assert re.search(rf"^\*{verb}\*", page, re.M), verb
