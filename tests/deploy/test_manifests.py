"""Manifests: Kubernetes takes them, and they say what the server and the image say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from gatehouse_server.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = sorted((KUBERNETES / "overlays").iterdir())


def resources(folder: Path) -> Iterator[dict[str, Any]]:
    """All resources of a kustomization, those of its bases included. Files that none names are an error."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            yield from resources(path)
        else:
            yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))
    named = {*kustomization["resources"], "kustomization.yaml"}
    assert {path.name for path in folder.glob("*.yaml")} <= named


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_kubernetes_takes_every_resource(overlay: Path) -> None:
    """Each agrees with the schema of its kind, nothing unknown in it; kinds of operators are the exception."""
    kinds = []
    for resource in resources(overlay):
        kinds.append(resource["kind"])
        if resource["apiVersion"].startswith("monitoring.coreos.com/"):
            _check_pod_monitor(resource)
        else:
            kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    assert {"Service", "ServiceAccount", "PodDisruptionBudget", "PodMonitor"} < set(kinds)


def test_a_wrong_resource_is_found() -> None:
    """The check can fail: a misspelt key of a probe, say."""
    deployment = next(r for r in resources(KUBERNETES / "overlays" / "redis") if r["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["livenessProbe"]["periodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="periodSecond"):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


def _check_pod_monitor(monitor: dict[str, Any]) -> None:
    """The Prometheus operator's schema is not at hand: what is used of it, by its documentation."""
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["kind"] == "PodMonitor"
    assert set(monitor["spec"]) <= {"jobLabel", "selector", "podMetricsEndpoints"}
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        assert set(endpoint) <= {"port", "path", "interval"}


def _workload(overlay: Path) -> dict[str, Any]:
    (found,) = (r for r in resources(overlay) if r["kind"] in ("Deployment", "StatefulSet"))
    return found


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_what_is_set_is_a_setting(overlay: Path) -> None:
    """Environment variables and flags are those of the server; ports are those it listens on."""
    workload = _workload(overlay)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        assert variable["name"].removeprefix("GATEHOUSE_").lower() in Settings.model_fields
    for flag in container["args"][::2]:
        assert flag.removeprefix("--").replace("-", "_") in Settings.model_fields
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    defaults = Settings.model_fields
    assert ports == {"grpc": defaults["port"].default, "http": defaults["http_port"].default}
    selected = workload["spec"]["selector"]["matchLabels"].items()
    assert selected <= workload["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_there_is_time_to_leave(overlay: Path) -> None:
    """Kubernetes waits longer than the delay, the grace period and what the page for operators adds to them take."""
    pod = _workload(overlay)["spec"]["template"]["spec"]
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    delay = int(environment["GATEHOUSE_DRAIN_DELAY_SECONDS"])
    grace = Settings.model_fields["drain_grace_seconds"].default
    assert delay
    assert pod["terminationGracePeriodSeconds"] >= delay + grace + 30


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_the_service_does_not_set_the_port(overlay: Path) -> None:
    """Kubernetes tells pods of a service named `gatehouse` by GATEHOUSE_PORT, an address, unless it is told not to."""
    services = {each["metadata"]["name"] for each in resources(overlay) if each["kind"] == "Service"}
    assert "gatehouse" in services
    assert _workload(overlay)["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_only_what_a_restart_mends_restarts(overlay: Path) -> None:
    """Start-up and liveness ask whether it lives, readiness whether it should get work."""
    (container,) = _workload(overlay)["spec"]["template"]["spec"]["containers"]
    asked = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_compose_names_files_that_are_there() -> None:
    """Mounted files exist, settings are settings, and Prometheus scrapes the port that the image opens."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
    for name in services["gatehouse"]["environment"]:
        assert name.removeprefix("GATEHOUSE_").lower() in Settings.model_fields
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scraped["scrape_configs"]
    assert job["job_name"] == "gatehouse"
    assert job["static_configs"][0]["targets"] == ["gatehouse:8080"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    provider = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/gatehouse.yaml").read_text(encoding="utf-8")
    )
    assert any(path.startswith(provider["providers"][0]["options"]["path"] + "/") for path in mounted)


def test_prometheus_takes_its_configuration() -> None:
    """`promtool check config` of what the composition mounts."""
    outcome = subprocess.run(
        ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_images_are_pinned() -> None:
    """A composition of today is the same tomorrow."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    images = re.findall(r"image: (\S+)", text)
    assert images
    assert all(re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image) for image in images)
