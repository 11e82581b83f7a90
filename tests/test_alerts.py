"""deploy/alerts.yaml: every rule uses existing metrics and fires only in its state."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from ruamel.yaml import YAML

from tests.conftest import temporary_folder
from tests.test_metrics import documented, samples_of

FILE = Path(__file__).parents[1] / "deploy" / "alerts.yaml"
PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
RULES = {rule["alert"]: rule for rule in YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]}
# a server without problems: the values of each series per minute (promtool's notation: start + step x times)
HEALTHY = {
    'up{job="movieserver"}': "1x30",
    'movieserver_requests_total{route="/collection/", status="200"}': "0+6000x30",
    'movieserver_requests_total{route="/collection/", status="500"}': "0x30",
    'movieserver_requests_total{route="/collection/", status="503"}': "0x30",
    'movieserver_requests_total{route="/movies/", status="503"}': "0+600x30",
    'movieserver_request_seconds_bucket{route="/collection/", le="0.25"}': "0+6000x30",
    'movieserver_request_seconds_bucket{route="/collection/", le="0.5"}': "0+6000x30",
    'movieserver_request_seconds_bucket{route="/collection/", le="+Inf"}': "0+6000x30",
    "movieserver_pool_size": "10x30",
    "movieserver_pool_in_use": "9x30",
    "movieserver_pool_waiting": "0x30",
    'movieserver_pool_timeouts_total{kind="place"}': "0x30",
    'movieserver_pool_timeouts_total{kind="statement"}': "0x30",
    "movieserver_counter_backlog": "0x30",
    'movieserver_upstream_breaker{state="open"}': "0x30",
    'movieserver_upstream_breaker{state="half_open"}': "1x30",
    "movieserver_upstream_tries_total": "0+60x30",
    'movieserver_upstream_failures_total{reason="timeout"}': "0+20x30",
    'movieserver_upstream_failures_total{reason="nonsense"}': "0x30",
    'movieserver_logins_total{result="success"}': "0+60x30",
    'movieserver_logins_total{result="refused"}': "0+6x30",
    'movieserver_logins_total{result="slowed"}': "0x30",
    'movieserver_logins_total{result="busy"}': "0x30",
    "movieserver_passwords_waiting": "50x30",
}
# the series that differ when only this alert fires
FIRING: dict[str, dict[str, str]] = {
    "MovieserverMachineDown": {'up{job="movieserver"}': "0x30"},
    "MovieserverAbsent": {"movieserver_pool_size": "_x30"},
    "MovieserverErrors": {'movieserver_requests_total{route="/collection/", status="503"}': "0+100x30"},
    "MovieserverUnexpectedError": {'movieserver_requests_total{route="/collection/", status="500"}': "0+1x30"},
    "MovieserverSlow": {'movieserver_request_seconds_bucket{route="/collection/", le="0.25"}': "0+5900x30"},
    "MovieserverPoolTimeouts": {'movieserver_pool_timeouts_total{kind="statement"}': "0+1x30"},
    "MovieserverPoolWaiting": {"movieserver_pool_waiting": "1x30"},
    "MovieserverPoolNearlyFull": {"movieserver_pool_in_use": "10x30"},
    "MovieserverCounterBacklog": {"movieserver_counter_backlog": "5x30"},
    "MovieserverThirdPartyDown": {'movieserver_upstream_breaker{state="open"}': "1x30"},
    "MovieserverThirdPartyFailing": {'movieserver_upstream_failures_total{reason="timeout"}': "0+40x30"},
    "MovieserverThirdPartyInvalidResponse": {'movieserver_upstream_failures_total{reason="nonsense"}': "0+1x30"},
    "MovieserverPasswordGuessing": {'movieserver_logins_total{result="slowed"}': "0+1x30"},
    "MovieserverLoginsRefusedForLoad": {'movieserver_logins_total{result="busy"}': "0+1x30"},
    "MovieserverPasswordQueue": {"movieserver_passwords_waiting": "51x30"},
}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_names_metrics_and_labels_that_exist(name: str) -> None:
    query = RULES[name]["expr"]
    promql_parser.parse(query)
    for metric, matchers in re.findall(r"(movieserver_\w+)(?:{([^}]*)})?", query):
        [(_, labels)] = [kind for known, kind in documented().items() if metric in samples_of({known: kind})]
        assert set(re.findall(r"(\w+)[!=]", matchers)) <= labels


@pytest.mark.parametrize("name", RULES)
def test_every_alert_describes_cause_and_remedy(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"} and all(rule["annotations"].values())


@with_promtool
def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(FILE))
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_each_alert_fires_only_in_its_state() -> None:
    assert set(FIRING) == set(RULES)
    tests = [evaluation(HEALTHY, None), *(evaluation(HEALTHY | change, name) for name, change in FIRING.items())]
    with temporary_folder() as folder:
        (folder / "test.yaml").write_text(json.dumps({"rule_files": [str(FILE)], "tests": tests}), encoding="utf-8")
        done = promtool("test", "rules", str(folder / "test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)


def evaluation(series: dict[str, str], firing: str | None) -> dict[str, Any]:
    """A test for promtool: after half an hour of `series`, only the alert `firing` fires."""
    expected = [{"eval_time": "30m", "alertname": name, "exp_alerts": []} for name in RULES if name != firing]
    expressions = [{"expr": f'count(ALERTS{{alertname="{firing}", alertstate="firing"}})', "eval_time": "30m",
                    "exp_samples": [{"labels": "{}", "value": 1}]}] if firing else []
    return {
        "interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expected, "promql_expr_test": expressions,
    }
