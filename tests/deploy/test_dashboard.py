"""The Grafana dashboard: whole, and every query about a metric that exists."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.exposed import DEPLOY, everything, exposed, promtool, queried, series, unknown

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "rotulo.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
SCHEMA = 42  # of Grafana 12 and 13


def test_every_query_reads_what_the_service_exposes() -> None:
    assert len(EXPRESSIONS) > 20
    annotations = [each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each]
    assert unknown([*EXPRESSIONS, *annotations], {}) == []


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    shown = set[str]().union(*(queried(expression).names for expression in EXPRESSIONS))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {name for name in exposed(everything()) if name.startswith("rotulo_")}
    assert ours <= stems | shown


def test_every_query_is_narrowed_to_the_chosen_instances_and_by_model_where_it_has_one() -> None:
    known = series(exposed(everything()))
    for expression in EXPRESSIONS:
        selectors = re.findall(r"((?:rotulo|process)_\w+)\{([^}]*)\}", expression)
        assert selectors
        for name, matchers in selectors:
            assert 'job=~"$job",instance=~"$instance"' in matchers, expression
            per_model = "model" in known[name] and "Engine busy" not in _title(expression)
            assert ('model=~"$model"' in matchers) == per_model, expression


def _title(expression: str) -> str:
    return " ".join(
        panel["title"] for panel in PANELS for target in panel["targets"] if target["expr"] == expression
    )


def test_variables_choose_the_data_source_the_instances_and_the_models() -> None:
    assert list(VARIABLES) == ["datasource", "job", "instance", "model"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used - {"__rate_interval", "__all"} <= VARIABLES.keys()
    queries = [
        re.sub(r"^label_values\((.*), \w+\)$", r"\1", VARIABLES[name]["definition"])
        for name in ("job", "instance", "model")
    ]
    assert unknown(queries, {}) == []
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"], panel["title"]


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert DASHBOARD["schemaVersion"] == SCHEMA
    assert max(Counter(panel["id"] for panel in DASHBOARD["panels"]).values()) == 1
    cells: Counter[tuple[int, int]] = Counter()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        assert 0 <= x <= x + w <= 24
        cells.update((column, line) for column in range(x, x + w) for line in range(y, y + h))
    assert max(cells.values()) == 1


def test_promtool_can_parse_every_query(tmp_path: Path) -> None:
    plain = [re.sub(r"\$__rate_interval", "5m", expression) for expression in EXPRESSIONS]
    rules = [{"record": f"query:{number}", "expr": each} for number, each in enumerate(plain)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(plain)} rules found" in done.stdout
