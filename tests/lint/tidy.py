"""clang-tidy over what the compile commands of a build folder name. usage: tidy.py BUILD"""
import concurrent.futures
import json
import os
import subprocess
import sys


def main():
    build = sys.argv[1]
    root = os.getcwd()
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        files = sorted({os.path.relpath(os.path.join(e["directory"], e["file"]), root) for e in json.load(f)})
    # Tests are checked by running them.
    files = [f for f in files if f.startswith(("proto/", "daemon/", "client/")) and f.endswith(".c")]

    def check(path):
        return subprocess.run(["clang-tidy", "-p", build, "--quiet", path], capture_output=True, text=True)

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in pool.map(check, files):
            if done.returncode:
                bad += 1
                print(done.stdout or done.stderr, flush=True)
    print(f"clang-tidy: {len(files)} files, {bad} with findings")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
