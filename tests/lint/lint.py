"""Applies every rule of rules.py to this tree (or to the one named). Exit 1 if one of them is broken."""
import os
import sys

import rules


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    tree = rules.Tree(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(here)))
    total = 0
    for rule in rules.RULES:
        found = rule(tree)
        total += len(found)
        print("\n".join(found) if found else f"{rule.__name__.replace('_', ' ')}: good", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
