"""The alert rules: valid, tested by promtool, about metrics that exist, each with a paragraph to read."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.exposed import DEPLOY, ROOT, promtool, unknown

PROMETHEUS = DEPLOY / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: frozenset({"job"}) for rule in RULES if "record" in rule}


def test_every_rule_reads_what_the_service_exposes() -> None:
    also = {**RECORDED, "up": frozenset[str]()}
    assert unknown([rule["expr"] for rule in RULES], also) == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_happened_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"].endswith(".")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)\n\n\S", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}


def test_every_alert_is_tested() -> None:
    assert ALERTS.keys() <= set(
        re.findall(r'alertname="(\w+)"', (PROMETHEUS / "alerts_test.yml").read_text())
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [promtool(), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
