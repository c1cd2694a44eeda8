"""
Makes dcached-protocol(7) in scdoc's form from PROTOCOL.md: protocol_page.py PROTOCOL.md > page.scd. It knows what
that file uses: headings, paragraphs, lists, tables, fenced blocks, **bold**, *emphasis* and `code`.
"""
import re
import sys

BEGINS = r"(```|\||#|- |\d+\. )"  # what ends a paragraph


def inline(text, cell=False):
    """One piece of text: code and bold become bold, emphasis becomes underlined, all else is as it stands."""
    text = re.sub(r"\[([^\]]+)\]\((?:[^)\s]+)\)", r"\1", text)
    out = []
    for piece in re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<![\w*])\*[^*\s][^*]*\*)", text):
        if piece.startswith("`"):
            out.append("*" + escape(piece[1:-1]) + "*")
        elif piece.startswith("**"):
            out.append("*" + escape(piece[2:-2]) + "*")
        elif piece.startswith("*") and len(piece) > 2:
            out.append("_" + escape(piece[1:-1]) + "_")
        else:
            out.append(escape(piece))
    text = "".join(out)
    # At the beginning of a line these would be a table, a list, a heading or a comment.
    return "\\" + text if not cell and re.match(r"[\[|\]#;.<>-]", text) else text


def escape(text):
    return re.sub(r"([\\*_~])", r"\\\1", text).replace("++", "+\\+")


def cells(row):
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def table(rows):
    """scdoc's tables: a sign for row or cell, then one for alignment, which later rows take over."""
    out = []
    for number, row in enumerate([rows[0]] + rows[2:]):
        for column, cell in enumerate(cells(row)):
            sign = ":" if column else "|" if number else "["
            if number:
                out.append(f"{sign}  {inline(cell, cell=True)}")
            else:
                out.append(f"{sign}[ *{escape(cell)}*" if cell else f"{sign}[ ")
    return out


def convert(markdown):
    lines = markdown.split("\n")
    out, i = [], 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("```"):
            end = next(j for j in range(i + 1, len(lines)) if lines[j].startswith("```"))
            out += ["", "```", *lines[i + 1:end], "```", ""]
            i = end
        elif line.startswith("|"):
            end = next(j for j in range(i, len(lines) + 1) if j == len(lines) or not lines[j].startswith("|"))
            out += ["", *table(lines[i:end]), ""]
            i = end - 1
        elif line.startswith("# "):
            pass  # the page has its own title
        elif line.startswith("## "):
            out += ["", "# " + escape(re.sub(r"^\d+\. |`", "", line[3:]).upper()), ""]
        elif line.startswith("### "):
            out += ["", "## " + escape(line[4:].replace("`", "")), ""]
        elif re.match(r"(- |\d+\. )", line):
            mark = "- " if line.startswith("-") else ". "
            text = [line.split(" ", 1)[1]]
            while i + 1 < len(lines) and lines[i + 1].startswith("  "):
                i += 1
                text.append(lines[i].strip())
            out.append(mark + inline(" ".join(text), cell=True))
        elif line.strip():
            text = [line]
            while i + 1 < len(lines) and lines[i + 1].strip() and not re.match(BEGINS, lines[i + 1]):
                i += 1
                text.append(lines[i])
            out += [inline(" ".join(text)), ""]
        i += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip("\n")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        body = convert(f.read())
    print("dcached-protocol(7)\n\n# NAME\n\ndcached-protocol - the socket protocol of dcached\n\n# DESCRIPTION\n")
    print(body)
    print("\n# SEE ALSO\n\n*dcached*(8), *dcached.conf*(5), *dcachectl*(1), *libdcache-client*(3)")


if __name__ == "__main__":
    main()
