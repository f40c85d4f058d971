"""The Kubernetes manifests: valid, and consistent with each other and with the service."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.deploy.exposed import DEPLOY, ROOT, promtool, unknown

FOLDER = DEPLOY / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / name).read_text()) for name in KUSTOMIZATION["resources"]
}
VERSIONS = ["1.32", "1.37"]  # the oldest and the newest that were looked at
POD: dict[str, Any] = MANIFESTS["deployment.yaml"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRONMENT = {variable["name"]: variable for variable in CONTAINER["env"]}
ADAPTER = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
LABELS = {"app.kubernetes.io/name": "rotulo"}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_every_file_is_applied_or_is_the_adapters() -> None:
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {*MANIFESTS, "kustomization.yaml", "prometheus-adapter.yaml"}


def test_all_select_the_pods_of_the_deployment() -> None:
    assert POD["metadata"]["labels"] == LABELS
    assert MANIFESTS["deployment.yaml"]["spec"]["selector"]["matchLabels"] == LABELS
    assert MANIFESTS["service.yaml"]["spec"]["selector"] == LABELS
    assert MANIFESTS["disruptions.yaml"]["spec"]["selector"]["matchLabels"] == LABELS
    assert MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"] == LABELS
    target = MANIFESTS["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "rotulo")
    assert "replicas" not in MANIFESTS["deployment.yaml"]["spec"]


def test_the_image_is_the_one_that_kustomize_names() -> None:
    assert CONTAINER["image"] in {image["name"] for image in KUSTOMIZATION["images"]}


def test_the_environment_is_settings_and_no_more_of_that_prefix_comes_from_the_cluster() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert ENVIRONMENT.keys() <= known
    # A Service named rotulo would put ROTULO_PORT=tcp://... and others into every pod.
    assert POD["spec"]["enableServiceLinks"] is False


def test_no_pod_starts_without_the_admin_token_that_all_share() -> None:
    reference = ENVIRONMENT["ROTULO_ADMIN_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "rotulo", "key": "admin-token"}
    assert "kubectl create secret generic rotulo --from-literal=admin-token=" in OPERATIONS


def test_the_scrape_of_the_pods_gives_what_alerts_and_autoscaler_need(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(scrape_configs:\n.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    (scrape,) = yaml.safe_load(text)["scrape_configs"]
    assert scrape["job_name"] == "rotulo"
    assert {"namespace", "pod"} <= {each.get("target_label") for each in scrape["relabel_configs"]}
    kept = [each["regex"] for each in scrape["relabel_configs"] if each.get("action") == "keep"]
    assert kept == [*LABELS.values(), *(port["name"] for port in CONTAINER["ports"])]
    file = tmp_path / "prometheus.yml"
    # Debian's promtool is built without Kubernetes.
    file.write_text(text.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: []"))
    done = subprocess.run([promtool(), "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pod_is_given_time_for_its_drain() -> None:
    grace = float(ENVIRONMENT["ROTULO_DRAIN_GRACE_SECONDS"]["value"])
    timeout = float(ENVIRONMENT["ROTULO_DRAIN_TIMEOUT_SECONDS"]["value"])
    assert POD["spec"]["terminationGracePeriodSeconds"] > grace + timeout
    ready = CONTAINER["readinessProbe"]
    assert grace > ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"]


def test_liveness_asks_for_life_and_readiness_for_readiness_at_the_port_that_the_service_finds() -> None:
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for probe in ("startupProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] == "/healthz"
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == 8000
    assert MANIFESTS["service.yaml"]["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_pod_can_do_no_more_than_it_must() -> None:
    security = POD["spec"]["securityContext"] | CONTAINER["securityContext"]
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert security["runAsNonRoot"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert "memory" in CONTAINER["resources"]["limits"]


def test_the_autoscaler_asks_for_what_the_adapter_offers_of_what_the_service_exposes(tmp_path: Path) -> None:
    asked = {each["pods"]["metric"]["name"] for each in MANIFESTS["autoscaler.yaml"]["spec"]["metrics"]}
    assert {rule["name"]["as"] for rule in ADAPTER} == asked
    queries = [
        rule["metricsQuery"].replace("<<.GroupBy>>", "instance").replace("<<.LabelMatchers>>", 'job="a"')
        for rule in ADAPTER
    ]
    assert unknown(queries, {}) == []
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
