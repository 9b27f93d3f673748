"""The table of options: every key of the schema once, each with its meaning."""

from __future__ import annotations

import re

from net.config.schema import Config
from net.config.table import options_table

ROW = re.compile(r"\| (?:`(?P<section>\[.*\])`)? ?\| `(?P<key>\w+)` \| \S.* \| \S.* \| \S.* \|")


def rows() -> list[tuple[str, str]]:
    """(section, key) of every row, the section filled in."""
    found, section = [], ""
    for line in options_table().splitlines()[2:]:
        match = ROW.fullmatch(line)
        assert match is not None, line
        section = match["section"] or section
        found.append((section, match["key"]))
    return found


def test_every_option_has_one_row_with_a_meaning() -> None:
    found = rows()
    assert len(found) == len(set(found))
    for option in (
        ("[[instrument]]", "depth"),
        ("[[instrument.venue]]", "tick_size"),
        ("[venue.NAME]", "ca_file"),
        ("[venue.binance]", "snapshot_depth"),
        ("[engine]", "stale_after_ms"),
        ("[gateway]", "request_bytes_max"),
        ("[makers]", "kill_file"),
        ("[maker.risk]", "daily_loss_max"),
        ("[maker.venue.NAME]", "self_trade_mode"),
    ):
        assert option in found, option


def test_every_section_that_is_read_is_in_the_table() -> None:
    sections = {re.split(r"[.\]]", section.lstrip("["))[0] for section, _ in rows()}
    assert sections == set(Config.model_fields)


def test_defaults_and_limits_are_those_of_the_schema() -> None:
    table = options_table()
    assert "| | `depth` | `10` | 1 to 50 |" in table
    assert "| `stream_interval_ms` | `100` | `100`, `1000` |" in table
    assert "| `listen` | `127.0.0.1:9102` | text |" in table
    assert "| | `placement` | `process` | `process`, `thread` |" in table
    assert "| `symbol` | required | text |" in table
