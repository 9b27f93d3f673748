"""What an operator is handed: configurations that parse, and alarms about what really is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from net.config.schema import load_config
from net.daemon.service_reports import EXTENSION_S, PERIOD_S, PERIODS_IN_WATCHDOG
from net.feed.specs import instrument_specs
from net.gateway.counters import GatewayCounters
from net.maker.build import plain_market
from net.maker.scaled_settings import make_rules
from net.observe.stat.read import ENGINE_SILENT_AFTER_NS
from net.process.signals import END_LIMIT_S
from tests.net.gateway.maker_engine import MakerEngine
from tests.net.observe.page.test_page import NAME, Served
from tests.tuning.test_plan import topology
from tuning.plan import REALTIME_PRIORITY_MAX, make_layout, service_text

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "tuning" / "packaging"
ADDED_LABELS = {"job", "instance"}
"""Prometheus itself adds these to whatever it scrapes."""

Samples = dict[str, list[dict[str, str]]]
"""By name: the labels of each sample."""


@pytest.fixture(scope="module")
def samples() -> Iterator[Samples]:
    """The real page of a daemon with two live venues, a gateway's counters and a market maker."""
    served, maker = Served(), MakerEngine(NAME)
    served.start()
    counters = GatewayCounters(NAME, now_ns=served.desk.engine.meters.reader().start_ns)
    status, text, _ = served.ask("/metrics")
    counters.close()
    served.page.close()
    maker.close()
    assert status == 200
    found: Samples = {"up": [{}]}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    yield found


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression of the dashboard and of the alarms, with the text that shows its labels."""
    dashboard = json.loads((PACKAGING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for rule in (PACKAGING / "alerts.yaml").read_text().split("- alert: ")[1:]:
        found = re.search(r"expr: (.*)", rule), re.search(r"summary: (.*)", rule)
        assert found[0] and found[1], rule
        yield found[0][1], found[1][1]


def faults(samples: Samples, expression: str, text: str) -> list[str]:
    """What an expression asks for that the page has not."""
    bad, labels = [], set(ADDED_LABELS)
    for name, chosen in re.findall(
        r"\b((?:pollux|process)_[a-z_]+|up\b)(?:\{([^}]*)\})?", expression
    ):
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', chosen))
        given = samples.get(name, [])
        labels |= {label for each in given for label in each}
        mine = {key: value for key, value in wanted.items() if key not in ADDED_LABELS}
        if not any(mine.items() <= each.items() for each in given):
            bad.append(f"{name}{mine or ''}")
    shown = re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", text)
    return bad + [f"label {label} of {expression}" for label in shown if label not in labels]


def test_every_metric_and_label_that_is_looked_at_exists(samples: Samples) -> None:
    checked = list(expressions())
    assert len(checked) > 40
    assert [fault for each in checked for fault in faults(samples, *each)] == []


def test_the_check_of_names_can_fail(samples: Samples) -> None:
    assert faults(samples, "rate(pollux_frame_total[1m]) > 0", "") == ["pollux_frame_total"]
    assert faults(samples, 'pollux_maker_risk_state{state="HALT"} == 1', "") != []
    assert faults(samples, "pollux_ready == 0", "{{ $labels.venue }}") != []


def test_names_follow_the_conventions(samples: Samples) -> None:
    """https://prometheus.io/docs/practices/naming/: no unit but a base unit."""
    for name in samples:
        assert not re.search(r"_(ms|us|ns|millis|kb|kib|mb|percent)(_|$)", name), name
    for name in [name for name in samples if "timestamp" in name]:
        assert name.endswith("_timestamp_seconds") or name == "process_start_time_seconds", name


def test_the_guide_has_a_line_for_each_alarm() -> None:
    alarms = re.findall(r"- alert: (\w+)", (PACKAGING / "alerts.yaml").read_text())
    guide = (PACKAGING / "README.md").read_text()
    assert re.findall(r"^\| `(Pollux\w+)` \|", guide, re.MULTILINE) == alarms


@pytest.mark.parametrize(
    ("name", "instruments", "orders"), [("one", 1, ""), ("several", 3, ""), ("paper", 1, "paper")]
)
def test_the_example_configurations_parse(name: str, instruments: int, orders: str) -> None:
    config = load_config(PACKAGING / f"{name}.toml")
    assert len(config.instrument) == instruments
    assert "".join(maker.orders for maker in config.maker) == orders
    assert config.metrics.listen == "127.0.0.1:9102", "what the guide and the Dockerfile say"


def test_the_unit_and_the_image_name_what_there_is() -> None:
    unit, image = (PACKAGING / "pollux.service").read_text(), (PACKAGING / "Dockerfile").read_text()
    assert "/.venv/bin/pollux serve --config " in unit and '"serve", "--config"' in image
    for source in re.findall(r"^COPY (\S+)", image, re.MULTILINE):
        assert (ROOT / source).exists(), source
    for path in re.findall(r"/opt/pollux/(tuning\S+)", unit):
        assert (ROOT / path).exists(), path


def unit_settings() -> dict[str, list[str]]:
    """The unit's settings, each with its values; comments left out."""
    found: dict[str, list[str]] = {}
    for line in (PACKAGING / "pollux.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_keeps_what_the_guide_promises() -> None:
    """Issue 13, point 12."""
    unit, guide = unit_settings(), (PACKAGING / "README.md").read_text()
    promised = re.findall(r"^\| `(\w+)=([^`]*)` \|", guide, re.MULTILINE)
    assert len(promised) >= 14
    assert [f"{name}={value}" for name, value in promised if unit.get(name) != [value]] == []
    told = {name for name, _ in promised}
    pattern = re.compile("Limit|Kill|Watchdog|Timeout|Runtime|Ambient")
    notable = [name for name in unit if pattern.match(name)]
    assert [name for name in notable if name not in told] == []


@pytest.mark.parametrize("path", sorted(PACKAGING.glob("*.toml")), ids=lambda path: path.name)
def test_each_configuration_to_start_from_is_right(path: Path) -> None:
    """As far as no venue is asked: the rules of its market makers are made too."""
    config = load_config(path)
    ticks = {(each.name, each.symbol): "0.01" for one in config.instrument for each in one.venue}
    specs = {spec.symbol: spec for spec in instrument_specs(config, ticks)}
    for maker in config.maker:
        spec = specs[config.quoted_instrument(maker).symbol]
        markets = tuple(plain_market(feed.symbol, feed.tick_size) for feed in spec.feeds)
        assert all(make_rules(maker, spec, markets).is_quoted)
    assert len(config.maker) == {"paper.toml": 1, "makers.toml": 2}.get(path.name, 0)


def test_the_numbers_of_the_unit_fit_those_of_the_program() -> None:
    unit, config = unit_settings(), load_config(PACKAGING / "several.toml")
    assert int(unit["TimeoutStopSec"][0]) > END_LIMIT_S + 1, "else systemd kills what is ending"
    watchdog_s = float(unit["WatchdogSec"][0])
    assert watchdog_s * 1e9 > 2 * ENGINE_SILENT_AFTER_NS
    assert watchdog_s > PERIODS_IN_WATCHDOG * PERIOD_S
    assert EXTENSION_S > 10 * PERIOD_S
    assert int(unit["LimitNOFILE"][0]) >= 8 * config.gateway.connections_max
    assert int(unit["LimitRTPRIO"][0]) == REALTIME_PRIORITY_MAX
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"]
    drop_in = service_text(make_layout(topology(8, 2, 1), 1)).splitlines()[1:]
    for name, value in (line.split("=", 1) for line in drop_in):
        if name != "CPUAffinity":
            assert unit[name] == [value], "what `pollux tune plan` says is the same"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_the_unit_is_hardened() -> None:
    judge = ["systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager"]
    unit = PACKAGING / "pollux.service"
    done = subprocess.run([*judge, unit], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
