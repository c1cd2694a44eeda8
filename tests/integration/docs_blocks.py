"""The fenced blocks of a page in Markdown, and a shell that plays them as a reader would: one after the other."""
import os
import re
import signal
import subprocess

LANGUAGES = {"console", "sh", "c", "ini", "text"}


class Block:
    """One fenced block: `language`, `lines`, and `line`, the number of its first one."""

    def __init__(self, language, line, lines):
        self.language, self.line, self.lines = language, line, lines

    def commands(self):
        """[(command, [line shown, ...]), ...] of a console block: a command begins with "$ "."""
        found = []
        for line in self.lines:
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
        return found


def blocks(text):
    found, inside = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside = Block(line[3:].strip(), number + 1, [])
            else:
                found.append(inside)
                inside = None
        elif inside is not None:
            inside.lines.append(line)
    assert inside is None, "a block is left open"
    return found


def pattern(shown):
    """
    What a line that is shown stands for: figures, ids and paths differ from run to run, "..." is anything, and
    columns are as wide as what is in them.
    """
    out = []
    for piece in re.split(r"(\.\.\.|\b[0-9a-f]{32}\b|/tmp/[\w/.-]+|\d+(?:\.\d+)?|\s+)", shown):
        if piece == "...":
            out.append(".*")
        elif re.fullmatch(r"[0-9a-f]{32}", piece):
            out.append("[0-9a-f]{32}")
        elif piece.startswith("/tmp/"):
            out.append(r"/\S+")
        elif re.fullmatch(r"\d+(\.\d+)?", piece):
            # Small numbers are versions, counts and exit statuses, as shown; long and broken ones are not.
            out.append(re.escape(piece) if len(piece) <= 3 and "." not in piece else r"\d+(?:\.\d+)?")
        elif piece.isspace():
            out.append(r"\s+")
        else:
            out.append(re.escape(piece))
    return "".join(out)


def differs(shown, came):
    """None, or what of `shown` did not come. A line "..." stands for any number of lines."""
    parts = [r"(?:.*\n)*?" if line.strip() == "..." else pattern(line) + r"\s*?\n"
             for line in shown if line.strip()]
    came = "".join(line + "\n" for line in came.splitlines() if line.strip())
    return None if re.fullmatch("".join(parts), came) else f"shown:\n{chr(10).join(shown)}\ncame:\n{came}"


class Page:
    """Plays the blocks of one page in one shell, in `folder`."""

    def __init__(self, name, text, folder, env):
        self.name, self.blocks, self.folder, self.env = name, blocks(text), folder, env

    def script(self):
        """One shell for the whole page; each command's output stands between two marks."""
        out, expected = [], []
        for block in self.blocks:
            if block.language == "c":
                self.add(out, expected, block, self.save(block), None)
            elif block.language == "ini":
                path = os.path.join(self.folder, f"block-{block.line}.conf")
                with open(path, "w", encoding="utf-8") as f:
                    f.write("\n".join(block.lines) + "\n")
                self.add(out, expected, block, f"dcached --config {path} --check-config", ["ok"])
            elif block.language == "sh":
                self.add(out, expected, block, "\n".join(block.lines), None)
            elif block.language == "console":
                for command, shown in block.commands():
                    self.add(out, expected, block, command, shown)
        return "\n".join(out) + "\n", expected

    @staticmethod
    def add(out, expected, block, command, shown):
        out.append(f"printf '\\001%d\\n' {len(expected)}\n{command}\nprintf '\\002%d\\n' $?")
        expected.append((block, command, shown))

    def save(self, block):
        """The command that puts a program where the reader is: its first line names the file."""
        match = re.match(r"/\* ([\w.]+\.[ch]): ", block.lines[0])
        assert match, f"{self.name}:{block.line}: the first line of a program names its file"
        return "\n".join([f"cat > {match[1]} <<'END OF FILE'", *block.lines, "END OF FILE"])

    def run(self, timeout=100):
        """The number of commands that ran; asserts that each did what is shown."""
        script, expected = self.script()
        log = os.path.join(self.folder, ".output")
        with open(log, "wb") as output:
            # Not an interactive shell: the script comes from a file, so that no command eats the rest of it.
            path = os.path.join(self.folder, ".page.sh")
            with open(path, "w", encoding="utf-8") as f:
                f.write(script)
            shell = subprocess.Popen(["bash", path], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                shell.wait(timeout)
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)  # what the page left running
                except ProcessLookupError:
                    pass
                shell.wait()
        with open(log, encoding="utf-8", errors="replace") as f:
            came = f.read()
        for number, (block, command, shown) in enumerate(expected):
            where = f"{self.name}:{block.line}: {command}\n"
            match = re.search(rf"\x01{number}\n(.*?)\x02(\d+)\n", came, re.S)
            assert match, f"{where}did not end; all that came:\n{came}"
            if shown is None:
                assert match[2] == "0", f"{where}exit {match[2]}\n{match[1]}"
            else:
                assert not differs(shown, match[1]), where + differs(shown, match[1])
        return len(expected)
