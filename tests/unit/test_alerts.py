"""The alert rules of deploy/monitoring, by Prometheus's own tool; each has a test and is in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
NAMES = [rule["alert"] for rule in RULES]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool isn't installed (apt-get install prometheus)"
)


def promtool(*words, cwd: Path = MONITORING) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, timeout=300)


@needs_promtool
def test_the_rules_fire_when_they_should_and_only_then():
    done = promtool("test", "rules", "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("> 0.85", "> 0.7"),
        ("for: 30m", "for: 3h"),
    ],
)
def test_a_changed_rule_fails_its_test(tmp_path, rule, broken):
    rules = (MONITORING / "alerts.yml").read_text()
    assert rule in rules
    (tmp_path / "alerts.yml").write_text(rules.replace(rule, broken))
    shutil.copy(MONITORING / "alerts_test.yml", tmp_path)
    assert promtool("test", "rules", "alerts_test.yml", cwd=tmp_path).returncode == 1


@needs_promtool
def test_prometheus_accepts_the_configuration():
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_has_a_test_in_which_it_fires_and_one_in_which_it_does_not():
    cases = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    checks = [each for case in cases for each in case["alert_rule_test"]]
    fired = [each["alertname"] for each in checks if each.get("exp_alerts")]
    silent = [each["alertname"] for each in checks if not each.get("exp_alerts")]
    assert sorted(fired) == sorted(set(silent)) == sorted(NAMES)


def test_the_runbook_has_an_entry_for_each_rule_and_no_other():
    entries = re.findall(r"^### (Parlando\w+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert sorted(entries) == sorted(NAMES)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
