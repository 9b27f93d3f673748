"""Volatility and the models against their formulas, written down a second time without kernels.

What is feared most: a volatility where nothing was seen, a lean to the wrong side, and a spread
that shrinks where it should grow.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.compiling.atomics import Words
from engine.compiling.jit import BOUNDS_CHECKED, JIT_OFF
from engine.maker import quote_layout as Q
from engine.maker.model import ModelSpec, read_variance, run_model
from engine.maker.quotes import QuoteSpec
from tests.engine.maker.quoting import RULES, Market, away, compute_quotes

EXAMPLES = settings(max_examples=60 if JIT_OFF else 150 if BOUNDS_CHECKED else 500)
S = 10**9
LOTS = 10**8
SPEC = ModelSpec(widen=1.0, half_life_ns=60 * S, sample_ns=S, horizon_ns=60 * S)
PAPER = ModelSpec(
    Q.AVELLANEDA_STOIKOV, horizon_ns=60 * S, risk_aversion=1e-3, fill_decay=0.05, price_unit=0.01
)
"""Prices in cents."""
QUOTES = QuoteSpec(lots=LOTS, position_lots_max=100 * LOTS, first=1_000, step=500, edge_ppm_min=100)
Path = list[tuple[int, float]]
"""Steps: ns since the last one, the mid then; NaN for none."""


def run(
    spec: ModelSpec, path: Path, fair: float = math.nan, position: int = 0
) -> tuple[Words, Words, bool]:
    """The model after a path, and what it gives the quotes at its end."""
    words, quotes = spec.words(), QUOTES.words()
    now_ns, is_ready = 10**15, 0
    for elapsed_ns, mid in path:
        now_ns += elapsed_ns
        is_ready = run_model(words, quotes, 0, mid, fair, position, now_ns)
    return words, quotes, bool(is_ready)


def with_variance(spec: ModelSpec, relative: float) -> Words:
    """A model that has seen this variance a second for an hour."""
    words = spec.words()
    floats = words.view(np.float64)
    floats[Q.MODEL_TIME_S], floats[Q.MODEL_SQUARES] = 3_600.0, 3_600.0 * relative
    return words


def leaned(
    spec: ModelSpec, relative: float, fair: float, position: int, rules: QuoteSpec = QUOTES
) -> tuple[int, int, int]:
    """What the model writes for a fair price: whether it leans, how far, how much wider."""
    quotes = rules.words()
    model = with_variance(spec, relative)
    assert run_model(model, quotes, 0, math.nan, fair, position, 1) == 1
    places = (Q.QUOTE_IS_LEANING, Q.QUOTE_LEAN_PPM, Q.QUOTE_WIDER_PPM)
    return (int(quotes[places[0]]), int(quotes[places[1]]), int(quotes[places[2]]))


# --- volatility ----------------------------------------------------------------------------------


def oracle_variance(spec: ModelSpec, path: Path) -> float:
    """All returns with the weights that they have at the end, added up at once."""
    taken: list[tuple[int, float, float]] = []
    now_ns, end_ns, last = 0, 0, None
    for elapsed_ns, mid in path:
        now_ns += elapsed_ns
        if math.isnan(mid):
            last = None
        elif last is None:
            last = (now_ns, mid)
            end_ns = now_ns
        elif now_ns - last[0] >= max(spec.sample_ns, 1):
            taken.append((now_ns, (now_ns - last[0]) / S, mid / last[1] - 1))
            last = (now_ns, mid)
            end_ns = now_ns
    weights = [2.0 ** (-(end_ns - at) / spec.half_life_ns) for at, _, _ in taken]
    seen_s: float = sum(w * dt for w, (_, dt, _) in zip(weights, taken, strict=True))
    if seen_s * S < spec.half_life_ns / 2:
        return math.nan
    squares: float = sum(w * r * r for w, (_, _, r) in zip(weights, taken, strict=True))
    return squares / seen_s


steps = st.tuples(
    st.integers(0, 20 * S) | st.integers(0, 2 * S),
    st.floats(90.0, 110.0) | st.just(math.nan),
)


@given(
    path=st.lists(steps, max_size=40),
    half_life_s=st.integers(1, 40),
    sample_ns=st.sampled_from([0, S // 2, 3 * S]),
)
@EXAMPLES
def test_the_variance_is_the_weighted_mean_of_squared_returns(
    path: Path, half_life_s: int, sample_ns: int
) -> None:
    spec = replace(SPEC, half_life_ns=half_life_s * S, sample_ns=sample_ns)
    words, _, is_ready = run(spec, path, fair=100.0)
    wanted, found = oracle_variance(spec, path), read_variance(words)
    seen_s = float(words.view(np.float64)[Q.MODEL_TIME_S])
    assume(abs(seen_s / half_life_s - 0.5) > 1e-9)
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-18, nan_ok=True)
    assert not path or is_ready != math.isnan(found)


def test_it_finds_the_variance_of_a_random_walk() -> None:
    rng = np.random.default_rng(7)
    per_second = 1e-8  # a basis point a second
    mids = 50_000 * np.exp(np.cumsum(rng.normal(0, math.sqrt(per_second), 20_000)))
    words, _, _ = run(replace(SPEC, half_life_ns=2_000 * S), [(S, float(mid)) for mid in mids])
    assert read_variance(words) == pytest.approx(per_second, rel=0.1)


def test_a_bounce_from_book_to_book_is_no_risk() -> None:
    """A mid that hops by a tick ten times a second, and is where it was after each second."""
    path = [(S // 10, 100.0 + (number % 10 == 5)) for number in range(2_000)]
    assert read_variance(run(SPEC, path)[0]) == 0.0
    assert read_variance(run(replace(SPEC, sample_ns=0), path)[0]) > 1e-5


def test_nothing_is_known_before_half_a_half_life_nor_over_a_gap() -> None:
    path: Path = [(S, 100.0), *((S, 100.0 + number % 2) for number in range(29))]
    words, _, is_ready = run(SPEC, path, fair=100.0)
    assert math.isnan(read_variance(words)) and not is_ready
    gap: Path = [(S, math.nan), (1_000 * S, 200.0)]
    words, _, is_ready = run(SPEC, path + gap, fair=100.0)
    assert math.isnan(read_variance(words)) and not is_ready, "no return over the gap"
    enough: Path = [*path, (20 * S, 100.0)]
    words, _, is_ready = run(SPEC, enough, fair=100.0)
    assert read_variance(words) > 0.0 and is_ready
    before = read_variance(words)
    words, _, is_ready = run(SPEC, [*enough, (S, math.nan), (10 * S, 100.0)], fair=100.0)
    assert read_variance(words) == pytest.approx(before) and is_ready, "a short gap fades little"
    words, _, is_ready = run(SPEC, [*enough, (S, math.nan), (300 * S, 100.0)], fair=100.0)
    assert math.isnan(read_variance(words)) and not is_ready, "a long one fades all"


@pytest.mark.parametrize("spec", [replace(SPEC, widen=0.0), ModelSpec()])
def test_what_needs_no_volatility_does_not_wait_for_it(spec: ModelSpec) -> None:
    _, quotes, is_ready = run(spec, [(S, 100.0)], fair=100.0, position=5 * LOTS)
    assert is_ready and not quotes[Q.QUOTE_IS_LEANING : Q.QUOTE_WIDER_PPM + 1].any()


# --- the models ----------------------------------------------------------------------------------

variances = st.floats(1e-14, 1e-6)
prices = st.floats(1e4, 1e8)
positions = st.integers(-50 * LOTS, 50 * LOTS)


@given(relative=variances, fair=prices, widen=st.floats(0.01, 20), horizon_s=st.integers(1, 3_600))
@EXAMPLES
def test_the_linear_model_widens_by_standard_deviations(
    relative: float, fair: float, widen: float, horizon_s: int
) -> None:
    spec = replace(SPEC, widen=widen, horizon_ns=horizon_s * S)
    is_leaning, _, wider = leaned(spec, relative, fair, 9 * LOTS)
    wanted = widen * math.sqrt(relative * horizon_s) * Q.PPM
    assert is_leaning == 0
    assert wider == Q.PPM or wanted * (1 - 1e-9) <= wider <= wanted * (1 + 1e-9) + 1
    assert (wider == Q.PPM) == (wanted > Q.PPM - 1) or abs(wanted - Q.PPM) < 2


@given(
    relative=variances,
    fair=prices,
    position=positions,
    aversion=st.floats(1e-8, 1e2),
    decay=st.floats(1e-6, 1e2),
    target=st.integers(-3 * LOTS, 3 * LOTS),
)
@EXAMPLES
def test_the_paper_is_followed(
    relative: float, fair: float, position: int, aversion: float, decay: float, target: int
) -> None:
    """Equations (29) and (30), in money, with the variance of the price."""
    spec = replace(PAPER, risk_aversion=aversion, fill_decay=decay)
    rules = replace(QUOTES, target_lots=target)
    price = fair * spec.price_unit
    variance = relative * price**2
    reservation = price - (position - target) / LOTS * aversion * variance * 60
    half = aversion * variance * 60 / 2 + math.log1p(aversion / decay) / aversion
    is_leaning, lean, wider = leaned(spec, relative, fair, position, rules)
    assert is_leaning == 1
    wanted = (reservation / price - 1) * Q.PPM
    if abs(wanted) < 100_000 - 1:
        error = 1e-6 * abs(wanted) + 1e-3
        assert abs(lean) <= abs(wanted) + error and abs(lean - wanted) <= 1 + error
        assert lean * wanted >= 0
    else:
        assert abs(lean) >= 100_000 - 1 and lean * wanted > 0
    first = wider + rules.first
    wide = half / price * Q.PPM
    if wide < Q.PPM - 1:
        floor = max(wide, float(rules.edge_ppm_min))
        assert floor * (1 - 1e-9) <= first <= floor * (1 + 1e-9) + 1
    else:
        assert first == Q.PPM


@given(relative=variances, fair=prices, position=positions)
@EXAMPLES
def test_long_leans_down_short_up_and_as_far(relative: float, fair: float, position: int) -> None:
    _, lean, wider = leaned(PAPER, relative, fair, position)
    _, mirrored, as_wide = leaned(PAPER, relative, fair, -position)
    assert lean == -mirrored and wider == as_wide, "the spread knows no position"
    assert lean <= 0 if position > 0 else lean >= 0
    _, further, _ = leaned(PAPER, relative, fair, 2 * position)
    assert abs(further) >= abs(lean)


@given(relative=variances, fair=prices, factor=st.floats(1.0, 10.0))
@EXAMPLES
def test_more_volatility_never_narrows(relative: float, fair: float, factor: float) -> None:
    for spec in (SPEC, PAPER):
        narrow = leaned(spec, relative, fair, 0)[2]
        assert leaned(spec, relative * factor, fair, 0)[2] >= narrow


def test_examples_computed_by_hand() -> None:
    """100,000.00, a basis point a second: 100 dollars^2 a second, 6,000 in a minute; two too many.

    Leans by 2 * 0.001 * 6,000 = 12 dollars; half the spread is 3 + 1000 ln(1.02) = 22.80 dollars.
    """
    assert leaned(PAPER, 1e-8, 1e7, 2 * LOTS) == (1, -120, 229 - 1_000)
    # No risk: the spread is that of fills alone, 19.80 dollars.
    assert leaned(PAPER, 0.0, 1e7, 2 * LOTS) == (1, 0, 199 - 1_000)
    # Two standard deviations of a minute: 2 * sqrt(60) bps.
    assert leaned(replace(SPEC, widen=2.0), 1e-8, 1e7, 2 * LOTS) == (0, 0, 1_550)


def test_the_edge_after_fees_is_the_least_half_spread() -> None:
    rules = replace(QUOTES, edge_ppm_min=1_100, first=1_100)
    assert leaned(PAPER, 1e-8, 1e7, 0, rules)[2] == 0
    assert leaned(replace(PAPER, fill_decay=0.005), 1e-8, 1e7, 0, rules)[2] == 1_854 - 1_100


# --- the quotes with it --------------------------------------------------------------------------


@given(
    fair=st.floats(1e3, 1e7),
    lean=st.integers(-100_000, 100_000),
    wider=st.integers(-2_000, 50_000),
    unit=st.integers(0, 1),
    levels=st.integers(1, 4),
)
@EXAMPLES
def test_quotes_lean_and_widen_exactly(
    fair: float, lean: int, wider: int, unit: int, levels: int
) -> None:
    rules = replace(RULES, unit=unit, first=2_000, step=30, levels=levels, edge_ppm_min=1)
    words = rules.words()
    words[Q.QUOTE_BEST_BID], words[Q.QUOTE_BEST_ASK] = 1, 2**40
    words[Q.QUOTE_IS_LEANING], words[Q.QUOTE_LEAN_PPM] = 1, lean
    words[Q.QUOTE_WIDER_PPM] = wider
    compute_quotes(words, 0, fair)
    rows = words[Q.QUOTE_WANTED_AT :].reshape(2, Q.LEVELS_MAX, Q.ROW_WORDS)
    exact = Fraction(fair)
    for is_asks in (False, True):
        out = 1 if is_asks else -1
        nearer = max if is_asks else min
        limit = away(is_asks, exact * (Q.PPM + out) / Q.PPM)
        for level in range(levels):
            distance = rules.first + level * rules.step
            ppm = Q.PPM + lean + out * (wider + (distance if unit == Q.IN_PPM else 0))
            target = away(is_asks, exact * ppm / Q.PPM) + out * (distance if unit else 0)
            target = nearer(target, limit)
            price = int(rows[int(is_asks), level, Q.ROW_PRICE])
            if price:
                assert price == target
                limit = target + out
            else:
                assert target <= 0 or (is_asks and target > 2 * exact)
    first = words.copy()
    put = Q.QUOTE_RESTING_AT
    first[put : put + Q.SLOTS * Q.ROW_WORDS] = words[Q.QUOTE_WANTED_AT :]
    compute_quotes(first, 0, fair)
    assert (first[Q.QUOTE_WANTED_AT :] == words[Q.QUOTE_WANTED_AT :]).all(), "they come to rest"


def test_a_position_is_worked_off_by_the_papers_lean() -> None:
    """At 10 base currency long the bid moves away, and the ask comes as near as the edge."""
    market = Market(1e7, 9_000_000, 11_000_000)
    found = []
    for position in (0, 10 * LOTS):
        words = QUOTES.words()
        words[Q.QUOTE_BEST_BID], words[Q.QUOTE_BEST_ASK] = market.best_bid, market.best_ask
        words[Q.QUOTE_TOUCH], words[Q.QUOTE_POSITION_LOTS] = Q.FREE, position
        model = with_variance(PAPER, 1e-8)
        run_model(model, words, 0, math.nan, market.fair, position, 1)
        compute_quotes(words, 0, market.fair)
        rows = words[Q.QUOTE_WANTED_AT :].reshape(2, Q.LEVELS_MAX, Q.ROW_WORDS)
        found.append((int(rows[0, 0, 0]), int(rows[1, 0, 0])))
    (flat_bid, flat_ask), (bid, ask) = found
    assert (flat_bid, flat_ask) == (9_997_710, 10_002_290)
    assert (bid, ask) == (9_991_710, 10_001_000), "600 ppm down, the ask to the edge"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": 2}, "kind"),
        ({"half_life_ns": 0}, "half_life_ns"),
        ({"sample_ns": -1}, "sample_ns"),
        ({"horizon_ns": 0}, "horizon_ns"),
        ({"widen": -1.0}, "widen"),
        ({"widen": math.nan}, "widen"),
        ({"widen": math.inf}, "widen"),
        ({"kind": Q.AVELLANEDA_STOIKOV}, "risk_aversion"),
        ({"kind": Q.AVELLANEDA_STOIKOV, "risk_aversion": 1.0}, "fill_decay"),
        ({"price_unit": 0.0}, "price_unit"),
    ],
)
def test_a_model_that_cannot_be_is_refused(changes: dict[str, float], word: str) -> None:
    with pytest.raises(Q.SpecError, match=word):
        replace(ModelSpec(), **changes).words()  # type: ignore[arg-type]
