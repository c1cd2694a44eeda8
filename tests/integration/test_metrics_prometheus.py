"""A real Prometheus scrapes a real daemon; alert rules and dashboard speak of what is there."""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from daemon import PATIENCE, REPO
from http_raw import scrape
from private_redis import free_port

RULES = os.path.join(REPO, "conf", "prometheus-alerts.yml")
DASHBOARD = os.path.join(REPO, "conf", "grafana-dashboard.json")
# Names that Prometheus itself or another exporter makes.
FOREIGN = {"up", "ALERTS"}


class Prometheus:
    """`job`: what else the job says."""

    def __init__(self, folder, target, **job):
        job.setdefault("static_configs", [{"targets": [target]}])
        self.port = free_port()
        self.log = os.path.join(folder, "prometheus.log")
        path = os.path.join(folder, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms",
                                  "evaluation_interval": "250ms"},
                       "rule_files": [RULES],
                       "scrape_configs": [{"job_name": "dcached", **job}]}, f)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def get(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """[(labels, value)]; urllib's HTTPError if the expression cannot be read."""
        return [(r["metric"], float(r["value"][1])) for r in self.get("query", query=expression)["result"]]

    def wait_for(self, condition, timeout=20):
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            try:
                value = condition()
                if value:
                    return value
            except OSError:
                pass
            with open(self.log, encoding="utf-8", errors="replace") as log:
                assert self.process.poll() is None and time.monotonic() < deadline, log.read()[-2000:]
            time.sleep(0.05)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def daemon(redis, start_daemon):
    daemon = start_daemon(redis, config={"metrics": {"listen": f"127.0.0.1:{free_port()}"}})
    with daemon.client() as client:
        client.set(b"k", b"v")
        for _ in range(10):
            client.get(b"k")
        for i in range(3):
            client.get(b"absent%d" % i)
    return daemon


@pytest.fixture
def prometheus(daemon, tmp_path):
    server = Prometheus(str(tmp_path), daemon.config["metrics"]["listen"])
    try:
        server.wait_for(lambda: server.query("dcached_build_info"))
        yield server
    finally:
        server.close()


def test_prometheus_scrapes_what_the_daemon_counted(prometheus, daemon):
    assert prometheus.query('dcached_lookups_total{result="hit"}')[0][1] == 10
    assert prometheus.query('dcached_lookups_total{result="miss"}')[0][1] == 3
    assert prometheus.query("dcached_ready")[0][1] == 1
    assert prometheus.query("up")[0][1] == 1
    assert prometheus.query("dcached_pod_info")[0][0]["pod"] == daemon.config["pod"]["id"]
    target = prometheus.get("targets")["activeTargets"][0]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.query("dcached_staleness_seconds_count")[0][1] == 10
    kinds = prometheus.get("metadata")
    for name, family in scrape(daemon).items():
        assert kinds[name][0]["type"] == family.kind and kinds[name][0]["help"] == family.help


def test_a_pod_without_redis_is_seen_by_prometheus_with_its_reason(prometheus, redis):
    assert not prometheus.query("dcached_not_ready == 1")
    redis.kill()
    labels, _ = prometheus.wait_for(lambda: prometheus.query("dcached_not_ready == 1"))[0]
    assert labels["reason"] == "no_link"
    assert prometheus.query("up")[0][1] == 1
    pending = prometheus.wait_for(lambda: prometheus.query('ALERTS{alertname="DcachedNotReady"}'))
    assert pending[0][0]["instance"] == labels["instance"]


def test_every_alert_fires_when_it_should_and_not_otherwise():
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "prometheus_alerts_test.yml")
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(RULES, encoding="utf-8") as rules, open(path, encoding="utf-8") as tests:
        tested = set(re.findall(r"alertname: (\w+)", tests.read()))
        assert set(re.findall(r"- alert: (\w+)", rules.read())) == tested


def panel_expressions():
    with open(DASHBOARD, encoding="utf-8") as f:
        dashboard = json.load(f)
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]


def concrete(expression):
    return (expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
            .replace("${datasource}", "prometheus"))


def names_in(expression):
    """Names of metrics: identifiers before a selector, or dcached_ and process_ ones."""
    return set(re.findall(r"\b(?:dcached|process)_\w+", expression))


def test_no_alert_and_no_panel_names_a_metric_that_is_not_there(prometheus):
    known = set(prometheus.get("label/__name__/values"))
    rules = prometheus.get("rules")["groups"][0]["rules"]
    assert len(rules) >= 8 and all(rule["health"] in ("ok", "unknown") for rule in rules)
    expressions = panel_expressions() + [(rule["name"], rule["query"]) for rule in rules]
    assert len(expressions) > 30
    for title, expression in expressions:
        assert names_in(expression) and names_in(expression) <= known | FOREIGN, (title, expression)


def test_every_panel_of_the_dashboard_can_be_drawn(prometheus):
    """Comparisons are left out: that nothing is wrong draws nothing."""
    prometheus.wait_for(lambda: prometheus.query("count_over_time(dcached_ready[1m]) > 3"))
    for title, expression in panel_expressions():
        plain = re.sub(r" (==|>) \d+$", "", concrete(expression))
        prometheus.query(concrete(expression))
        assert prometheus.query(plain), (title, plain)


def test_the_dashboards_panels_lie_beside_one_another():
    with open(DASHBOARD, encoding="utf-8") as f:
        panels = json.load(f)["panels"]
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_scrape_configuration_for_kubernetes_finds_the_sidecar_alone(daemon, tmp_path):
    """What Kubernetes would tell of the containers is given by hand: Debian's Prometheus cannot ask it."""
    yaml = pytest.importorskip("yaml")
    with open(os.path.join(REPO, "deploy", "prometheus-scrape.yml"), encoding="utf-8") as f:
        job = yaml.safe_load(f)["scrape_configs"][0]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}] and job.pop("job_name") == "dcached"
    target = daemon.config["metrics"]["listen"]
    ports = [("shop", "dcached", "metrics"), ("shop", "shop", "metrics"), ("other", "dcached", "http")]
    meta = "__meta_kubernetes_"
    found = [{"targets": [target], "labels": {meta + "namespace": "prod", meta + "pod_name": pod,
                                              meta + "pod_container_name": container,
                                              meta + "pod_container_port_name": port}}
             for pod, container, port in ports]
    server = Prometheus(str(tmp_path), target, static_configs=found, **job)
    try:
        server.wait_for(lambda: server.query("dcached_build_info"))
        assert [t["labels"]["instance"] for t in server.get("targets")["activeTargets"]] == ["prod/shop"]
    finally:
        server.close()


def test_promtool_and_prometheus_are_installed():
    assert shutil.which("promtool") and shutil.which("prometheus")
