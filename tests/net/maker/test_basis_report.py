"""What an operator hears of venues that quote in different currencies: once, with the basis."""

from __future__ import annotations

from dataclasses import replace

from engine.maker import fair_codes
from engine.maker import quote_layout as Q
from net.maker.basis_report import BasisReport
from net.maker.risk_report import TELL_EVERY_NS
from net.maker.scaled_settings import MakerRules
from tests.net.maker.test_rules import rules_of

VENUES = ("binance", "bitstamp")
BEGUN = "venues quote in different currencies: prices are compared as they are"
NONE = "no fair price: the basis between currencies is above crossed_bps_max"


class Host:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, object]]] = []

    def wall_ns(self) -> int:
        return 0

    def note_maker(self, level: str, what: str, **facts: object) -> None:
        self.told.append((level, what, facts))


def report_of(rules: MakerRules) -> tuple[BasisReport, Host]:
    host = Host()
    report = BasisReport(rules, VENUES, FAIR, host)
    FAIR[Q.FAIR_STATUS] = fair_codes.AVAILABLE
    return report, host


FAIR = rules_of().fair.words()


def test_currencies_are_told_once_and_a_basis_until_it_has_been_away_for_a_minute() -> None:
    rules = rules_of()
    assert rules.currencies == ("USDT", "USD") and rules.fair.currencies == (0, 1)
    report, host = report_of(rules)
    currencies = {"binance": "USDT", "bitstamp": "USD"}
    for now_ns in (1, 2):
        report.look(now_ns)
    assert host.told == [("info", BEGUN, currencies)]
    FAIR[Q.FAIR_STATUS], FAIR[Q.FAIR_CROSSED_PPM] = fair_codes.BASIS, 1_234
    for now_ns in (3, 4, TELL_EVERY_NS + 3):
        report.look(now_ns)
    ((level, text, facts),) = host.told[1:]
    assert (level, text, facts["basis_bps"]) == ("error", NONE, 12.34)
    assert "crossed_bps_max" in str(facts["remedy"]) and facts["binance"] == "USDT"
    FAIR[Q.FAIR_STATUS] = fair_codes.AVAILABLE
    report.look(TELL_EVERY_NS + 4)
    FAIR[Q.FAIR_STATUS] = fair_codes.BASIS
    report.look(2 * TELL_EVERY_NS + 2)
    assert len(host.told) == 2, "not again within a minute"
    report.look(2 * TELL_EVERY_NS + 3)
    report.look(3 * TELL_EVERY_NS + 3)
    assert len(host.told) == 3


def test_one_currency_or_one_weight_is_no_news() -> None:
    one = replace(rules_of(), currencies=("USD", "USD"))
    unweighted = rules_of()
    fair = replace(unweighted.fair, weights_mille=(1000, 0))
    for rules in (one, replace(unweighted, fair=fair)):
        report, host = report_of(rules)
        report.look(1)
        assert host.told == []
