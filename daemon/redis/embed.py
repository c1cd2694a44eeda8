"""Turns the Lua scripts into a C source: embed.py OUTPUT common.lua write.lua ..."""
import os
import sys


def main():
    output, common, *scripts = sys.argv[1:]
    with open(common, "rb") as f:
        prelude = f.read()
    arrays, table = [], []
    for path in scripts:
        name = os.path.splitext(os.path.basename(path))[0]
        with open(path, "rb") as f:
            text = prelude + f.read()
        # An array of bytes: C promises string literals of 4095 characters only.
        numbers = "\n".join("    " + ", ".join(map(str, text[i:i + 24])) + "," for i in range(0, len(text), 24))
        arrays.append(f"static const char {name}_text[] = {{\n{numbers}\n}};\n")
        table.append(f'    [LUA_{name.upper()}] = {{"{name}", {name}_text, sizeof({name}_text)}},')
    with open(output, "w", encoding="ascii") as f:
        f.write('#include "daemon/redis/script.h"\n\n' + "\n".join(arrays))
        f.write("\nconst struct script scripts[LUA_COUNT] = {\n" + "\n".join(table) + "\n};\n")


main()
