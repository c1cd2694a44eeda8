"""
What Kubernetes itself would say of deploy/sidecar.yaml, and a linter of the Containerfile, without a network. The
checkers are those of deploy/tools, from npm: kubernetes-types is Kubernetes' schema as types of TypeScript, and
its compiler refuses a field that is not there, one that is missing and one of another type.
"""
import copy
import json
import os
import re
import subprocess

import pytest

from daemon import REPO

yaml = pytest.importorskip("yaml")

TOOLS = os.path.join(REPO, "build-deploy", "node_modules")
pytestmark = pytest.mark.skipif(not os.path.isdir(os.path.join(TOOLS, ".bin")),
                                reason="no checkers in build-deploy: ./dev setup deploy gets them from npm")


def objects():
    """With the probe that stands in a comment."""
    with open(os.path.join(REPO, "deploy", "sidecar.yaml"), encoding="utf-8") as f:
        probe = r"^( +)# ( *(?:readinessProbe|httpGet|path|port|periodSeconds):)"
        text, probes = re.subn(probe, r"\1\2", f.read(), flags=re.M)
    assert probes == 5
    return list(yaml.safe_load_all(text))


def tool(name, *words, folder):
    """(exit status, what it said)"""
    done = subprocess.run([os.path.join(TOOLS, ".bin", name), *words], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def checked(manifests, folder):
    """What is wrong with each of the manifests: [[text, ...], ...]. The compiler takes seconds, so all at once."""
    lines = []
    for number, manifest in enumerate(manifests):
        group, _, version = manifest["apiVersion"].rpartition("/")
        home = f"kubernetes-types/{group.split('.')[0] or 'core'}/{version}"
        lines.append(f'import type {{ {manifest["kind"]} as T{number} }} from "{home}"; '
                     f"export const o{number}: T{number} = {json.dumps(manifest)};")
    os.symlink(TOOLS, os.path.join(folder, "node_modules"))
    with open(os.path.join(folder, "manifests.ts"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    with open(os.path.join(folder, "tsconfig.json"), "w", encoding="utf-8") as f:
        json.dump({"compilerOptions": {"strict": True, "noEmit": True, "types": [], "lib": ["es2020"],
                                       "module": "preserve", "skipLibCheck": True}, "files": ["manifests.ts"]}, f)
    status, said = tool("tsc", folder=folder)
    found = [[text for line, text in re.findall(r"^manifests\.ts\((\d+),.*?error TS\d+: (.*)", said, re.M)
              if int(line) == number + 1] for number in range(len(manifests))]
    assert (status == 0) == (said == "") and bool(said) == any(found), said
    return found


# Container or volume, field, value that it gets, what the finding names.
WRONG = [
    ("initContainers", "securityContext", {"runAsUSer": 1}, "runAsUSer"),
    ("initContainers", "restartPolcy", "Always", "restartPolcy"),
    ("initContainers", "livenessProbe", {"httpGet": {"path": "/livez"}}, "port"),
    ("initContainers", "ports", [{"containerPort": "9464"}], "number"),
    ("containers", "volumeMounts", [{"name": "socket", "mountPath": "/x", "readonly": True}], "readonly"),
    ("volumes", "emptyDir", {"medum": "Memory"}, "medum"),
]


def test_the_manifests_fit_the_schema_of_kubernetes_and_a_wrong_field_does_not(folder):
    manifests = objects()
    assert [m["kind"] for m in manifests] == ["Secret", "Deployment", "NetworkPolicy"]
    for where, name, value, _ in WRONG:
        manifests.append(copy.deepcopy(manifests[1]))
        manifests[-1]["spec"]["template"]["spec"][where][0][name] = value
    found = checked(manifests, folder)
    assert found[:3] == [[], [], []]
    for (*_, wrong), texts in zip(WRONG, found[3:]):
        assert len(texts) == 1 and wrong in texts[0], (wrong, texts)


def containerfile():
    with open(os.path.join(REPO, "deploy", "Containerfile"), encoding="utf-8") as f:
        return f.read()


def linted(text, folder):
    with open(os.path.join(folder, "Containerfile"), "w", encoding="utf-8") as f:
        f.write(text)
    return tool("dockerfile-utils", "lint", "Containerfile", folder=folder)


def test_the_containerfile_has_no_finding_of_the_linter(folder):
    assert linted(containerfile(), folder) == (0, "")


@pytest.mark.parametrize("right, wrong, finding", [
    ("ENTRYPOINT [", "ENTRYPIONT [", "Unknown instruction: ENTRYPIONT"),
    ("COPY --from=build /image/usr/lib", "COPY --form=build /image/usr/lib", "Unknown flag: form"),
    ("COPY . .", "COPY . sources file", "destination must be a directory"),
    ("USER 10001:10001", "USER", "no arguments"),
])
def test_a_wrong_line_of_the_containerfile_is_found(folder, right, wrong, finding):
    assert containerfile().count(right) == 1
    status, said = linted(containerfile().replace(right, wrong), folder)
    assert status == 1 and finding in said


def test_every_checker_has_one_exact_version_with_its_checksum():
    with open(os.path.join(REPO, "deploy", "tools", "package.json"), encoding="utf-8") as f:
        wanted = json.load(f)["devDependencies"]
    with open(os.path.join(REPO, "deploy", "tools", "package-lock.json"), encoding="utf-8") as f:
        locked = json.load(f)["packages"]
    assert locked.pop("")["devDependencies"] == wanted
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert all(package["integrity"].startswith("sha512-") for package in locked.values())
