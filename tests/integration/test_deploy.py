"""What the pod of deploy/ has to have, asked for by name. test_deploy_schema.py checks the form of the files."""
import os
import re
import subprocess

import pytest

from daemon import REPO, build_dir

yaml = pytest.importorskip("yaml")


def text(path):
    with open(os.path.join(REPO, path), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(name="objects")
def fixture_objects():
    return {o["kind"]: o for o in yaml.safe_load_all(text("deploy/sidecar.yaml"))}


@pytest.fixture(name="pod")
def fixture_pod(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(name="sidecar")
def fixture_sidecar(pod):
    return pod["initContainers"][0]


def test_the_daemon_is_a_native_sidecar_that_starts_whether_redis_is_there_or_not(sidecar):
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["exec"]["command"] == ["dcachectl", "ping"]
    assert sidecar["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_every_container_is_bare_of_rights_and_has_limits(pod):
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert pod["automountServiceAccountToken"] is False
    for container in pod["initContainers"] + pod["containers"]:
        context = container["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] >= 1000
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]


def test_socket_group_and_password_fit_together(pod, sidecar):
    env = {e["name"]: e.get("value") for e in sidecar["env"]}
    mounts = [{m["mountPath"]: m["name"] for m in c["volumeMounts"]} for c in (sidecar, pod["containers"][0])]
    folder = os.path.dirname(env["DCACHED_LISTEN_SOCKET"])
    assert mounts[0][folder] == mounts[1][folder]
    application = pod["containers"][0]
    assert [m.get("readOnly") for m in application["volumeMounts"] if m["name"] == "socket"] == [True]
    given = {e["name"]: e["value"] for e in application["env"]}
    assert given == {"DCACHED_SOCKET": env["DCACHED_LISTEN_SOCKET"],
                     "DCACHED_SERVER_UID": str(sidecar["securityContext"]["runAsUser"])}
    assert int(env["DCACHED_LISTEN_SOCKET_GROUP"]) == pod["securityContext"]["fsGroup"]
    assert env["DCACHED_LISTEN_SOCKET_MODE"] == "0660"
    secret = os.path.dirname(env["DCACHED_REDIS_PASSWORD_FILE"])
    assert secret in mounts[0] and secret not in mounts[1]
    pod_id = next(e for e in sidecar["env"] if e["name"] == "DCACHED_POD_ID")
    assert pod_id["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_selectors_volumes_and_ports_name_what_is_there(objects, pod, sidecar):
    spec = objects["Deployment"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    used = {m["name"] for c in pod["initContainers"] + pod["containers"] for m in c["volumeMounts"]}
    assert used == set(volumes)
    assert volumes["redis-password"]["secret"]["secretName"] == objects["Secret"]["metadata"]["name"]
    port = sidecar["ports"][0]
    assert sidecar["livenessProbe"]["httpGet"]["port"] == port["name"]
    assert f":{port['containerPort']}" in [e.get("value") for e in sidecar["env"]]


def test_dcached_takes_every_variable_of_the_manifest_and_warns_of_none(sidecar, folder):
    password = os.path.join(folder, "password")
    with open(password, "w", encoding="ascii") as f:
        f.write("secret\n")
    os.chmod(password, 0o600)
    given = {e["name"]: e.get("value", "shop-7d9f-x") for e in sidecar["env"]}
    given["DCACHED_REDIS_PASSWORD_FILE"] = password
    config = os.path.join(folder, "empty.conf")
    with open(config, "w", encoding="ascii") as f:
        f.write("")
    done = subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "-c", config, "--check-config"],
                          env={"PATH": os.environ["PATH"], **given}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_the_limit_of_memory_covers_the_budgets(sidecar):
    env = {e["name"]: e.get("value") for e in sidecar["env"]}
    cache = int(env["DCACHED_CACHE_MAX_MEMORY"].rstrip("M"))
    limit = int(sidecar["resources"]["limits"]["memory"].rstrip("Mi"))
    buffers, recorder, spare = 16, 2, 32
    assert limit >= cache + buffers + recorder + spare


def test_the_containerfile_keeps_to_the_rules_of_the_house():
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text("deploy/Containerfile"), flags=re.M)).splitlines()
    words = [line.split(None, 1) for line in lines if line.strip()]
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}
    assert {w[0] for w in words} <= known
    bases = [rest for word, rest in words if word == "FROM"]
    assert len(bases) == 2 and all(re.match(r"docker\.io/library/debian:\d+-slim\b", b) for b in bases)
    for word, rest in words:
        if word == "RUN" and "apt-get install" in rest:
            assert "apt-get update &&" in re.sub(r"\s+", " ", rest) and "--no-install-recommends" in rest
            assert rest.rstrip().endswith("rm -rf /var/lib/apt/lists/*")
    user = [rest for word, rest in words if word == "USER"]
    assert user and all(part.isdigit() and int(part) >= 1000 for part in user[-1].split(":"))
    assert words[-1][0] == "ENTRYPOINT" and words[-1][1].startswith("[")
    assert "Nothing here was built" in text("deploy/Containerfile")


def test_the_image_has_the_library_where_its_loader_looks():
    """Left to itself meson takes lib64 where there is no dpkg-dev; no loader of Debian looks there."""
    build, image = text("deploy/Containerfile").split("FROM ")[1:]
    assert "--prefix=/usr --libdir=lib " in build and "dpkg-dev" not in build
    assert "COPY --from=build /image/usr/lib /usr/lib\n" in image


def test_the_image_installs_what_the_programs_are_linked_to():
    packages = text("deploy/Containerfile").split("FROM ")[2]
    needed = subprocess.run(["readelf", "-d", os.path.join(build_dir(), "daemon", "dcached")], capture_output=True,
                            text=True, check=True).stdout
    homes = {"libhiredis": "libhiredis0.14", "libuv": "libuv1", "libmsgpackc": "libmsgpackc2",
             "libinih": "libinih1", "libmicrohttpd": "libmicrohttpd12"}
    for library in re.findall(r"NEEDED.*\[(lib\w+)", needed):
        assert library in ("libc", "libm", "libdl", "libpthread", "libasan", "libubsan", "libgcc_s") or \
            homes[library] in packages, library
