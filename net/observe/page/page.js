// The page: takes the daemon's events, shows the latest, keeps five minutes of what is plotted.
// Everything that comes is set as text, never as markup.

import { Chart, format } from "./chart.js";

const SILENT_AFTER_MS = 3000;
const COLOURS = 8;
const RATE_MS = 2500; // rates are counted over so long

const $ = (id) => document.getElementById(id);
const charts = {
  engine: new Chart($("engine"), true),
  lag: new Chart($("lag"), true),
  gateway: new Chart($("gateway"), true),
  books: new Chart($("books"), false),
};
const colours = new Map();

let source = null;
let past = []; // the events of the last RATE_MS
let heardMs = 0;

function colour(venue) {
  if (!colours.has(venue)) colours.set(venue, colours.size % COLOURS);
  return colours.get(venue);
}

function shade(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function cell(text, kind = "") {
  const td = document.createElement("td");
  td.textContent = text;
  td.className = kind;
  return td;
}

function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells);
  return tr;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  const size = Math.abs(ms);
  if (size < 1000) return `${format(ms)} ms`;
  return size < 120000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min`;
}

// How often a second a counter of the events grew of late; null where that cannot be said yet.
function rate(count) {
  const first = past[0], last = past[past.length - 1];
  const grown = count(last) - count(first);
  return last.t > first.t && grown >= 0 ? (1000 * grown) / (last.t - first.t) : null;
}

function levels(side, rows, venues, own, deepest) {
  let depth = 0;
  const shown = rows.map(([place, price, amount]) => {
    depth += Number(amount);
    const venue = venues[place].name;
    const bar = document.createElement("div");
    bar.className = `bar v${colour(venue)}`;
    bar.style.width = `${(100 * depth) / deepest}%`;
    const last = document.createElement("td");
    last.append(bar);
    const tr = row(cell(venue, `venue v${colour(venue)}`), cell(amount, "number"), cell(price, "number price"), last);
    if (own.has(`${side} ${venue} ${Number(price)}`)) tr.className = "own";
    return tr;
  });
  return side === "sell" ? shown.reverse() : shown;
}

function sum(rows) {
  return rows.reduce((total, [, , amount]) => total + Number(amount), 0);
}

function showBook(now) {
  const book = now.book, middle = $("middle").firstElementChild;
  if (!book) {
    $("asks").replaceChildren();
    $("bids").replaceChildren();
    middle.textContent = "no book yet";
    return;
  }
  const isOurs = now.maker && now.maker.symbol === now.symbol;
  const own = new Set((isOurs ? now.maker.orders : []).map((o) => `${o.side} ${o.venue} ${Number(o.price)}`));
  const deepest = Math.max(sum(book.asks), sum(book.bids)) || 1;
  $("asks").replaceChildren(...levels("sell", book.asks, now.venues, own, deepest));
  $("bids").replaceChildren(...levels("buy", book.bids, now.venues, own, deepest));
  $("middle").className = book.crossed ? "crossed" : "";
  if (book.spread === null) {
    middle.textContent = "one side is empty";
    return;
  }
  const mid = (Number(book.bids[0][1]) + Number(book.asks[0][1])) / 2;
  const decimals = (book.spread.split(".")[1] || "").length;
  const bps = ((1e4 * Number(book.spread)) / mid).toFixed(2);
  middle.textContent = `${book.crossed ? "CROSSED  " : ""}spread ${book.spread} (${bps} bps)   mid ${mid.toFixed(decimals + 1)}`;
}

function showVenues(now) {
  $("venues").replaceChildren(
    ...now.venues.flatMap((venue, place) => {
      const frames = rate((event) => event.venues[place].frames);
      const tr = row(
        cell(venue.name, `venue v${colour(venue.name)}`),
        cell(venue.state + (venue.incomplete ? " (part)" : ""), venue.state),
        cell(duration(venue.lag_ms), "number"),
        cell(duration(venue.age_ms), "number"),
        cell(frames === null ? "-" : format(frames), "number"),
      );
      tr.title = venue.state === "LIVE" ? "" : venue.trouble;
      const checked = cell(`checked by: ${venue.checked_by}`, "checked");
      checked.colSpan = tr.cells.length;
      return [tr, row(checked)];
    }),
  );
}

function showMaker(maker, all) {
  $("maker").hidden = !maker;
  if (!maker) return;
  $("mode").textContent = `${maker.symbol}, ${maker.live ? "live" : "on paper"}`;
  const facts = [
    ["state", maker.risk_state + (maker.halt_reason ? `: ${maker.halt_reason}` : ""), maker.risk_state],
    ["fair price", maker.fair_price === null ? `none (${maker.fair_status})` : maker.fair_price.toFixed(4)],
    ["position", `${maker.position} of at most ${maker.position_max}`],
    ["open", `${maker.open_buy} to buy, ${maker.open_sell} to sell`],
    ["result today", maker.day_result === null ? "not valued yet" : maker.day_result],
    ["fills, this run", String(maker.fills)],
    ["fees of all runs, in the results", maker.fees],
    ...Object.entries(all).filter(([symbol]) => symbol !== maker.symbol),
  ];
  $("facts").replaceChildren(
    ...facts.flatMap(([name, text, kind]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = text;
      dd.className = kind || "";
      return [dt, dd];
    }),
  );
  $("entries").replaceChildren(
    ...Object.entries(maker.venues).map(([name, venue]) =>
      row(
        cell(name, `venue v${colour(name)}`),
        cell(venue.entry, venue.entry),
        cell(String(venue.orders), "number"),
        cell(String(venue.fills), "number"),
        cell(String(venue.fee_ppm / 100), "number"),
        cell(venue.rate ?? "-", "number"),
        cell(venue.trouble || "-"),
      ),
    ),
  );
  const orders = [...maker.orders].sort((a, b) => Number(b.price) - Number(a.price));
  $("orders").replaceChildren(
    ...orders.map((order) =>
      row(
        cell(order.venue, `venue v${colour(order.venue)}`),
        cell(`${order.side} ${order.level}`, order.side),
        cell(order.price, "number"),
        cell(order.amount, "number"),
        cell(order.filled, "number"),
        cell(order.state),
      ),
    ),
  );
}

// The median and the 99th percentile, as plotted; null where nothing came.
function percentiles(us, unit) {
  return us ? [us.p50 / unit, us.p99 / unit] : [null, null];
}

// A colour for the median, and a fainter one for the 99th percentile.
function shades(name) {
  return [shade(name), `${shade(name)}90`];
}

function plot(now) {
  const books = rate((event) => (event.book ? event.book.sequence : 0));
  charts.engine.add(now.t, percentiles(now.engine_us, 1));
  charts.lag.add(now.t, now.venues.flatMap((venue) => percentiles(venue.lag_us, 1000)));
  charts.gateway.add(now.t, [now.notice_us, now.write_us].flatMap((us) => percentiles(us, 1)));
  charts.books.add(now.t, [books]);
  charts.engine.draw(shades("--good"));
  charts.lag.draw(now.venues.flatMap((venue) => shades(`--v${colour(venue.name)}`)));
  charts.gateway.draw(["--good", "--warn"].flatMap(shades));
  charts.books.draw([shade("--good")]);
  $("rate").textContent = books === null ? "" : `${format(books)}/s`;
}

function showStatus(text, kind, notes) {
  $("status").textContent = text;
  $("status").className = kind;
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(
    ...notes.map((note) => {
      const li = document.createElement("li");
      li.textContent = note;
      return li;
    }),
  );
}

function showSymbols(now) {
  const select = $("symbol");
  if (select.options.length !== now.symbols.length) {
    select.replaceChildren(...now.symbols.map((symbol) => new Option(symbol, symbol)));
  }
  select.value = now.symbol;
}

function show(now) {
  heardMs = performance.now();
  document.body.classList.toggle("stopped", Boolean(now.health));
  $("name").textContent = now.name;
  document.title = `${now.symbol} - Pollux`;
  showSymbols(now);
  if (now.health) showStatus("not healthy", "bad", now.ready);
  else if (now.ready.length) showStatus("not ready", "warn", now.ready);
  else showStatus("ready", "good", now.remarks);
  $("sequence").textContent = now.book ? `#${now.book.sequence}` : "";
  showMaker(now.maker, now.makers);
  if (now.venues) {
    past.push(now);
    while (past[0].t < now.t - RATE_MS || past[0].venues.length !== now.venues.length) past.shift();
    showBook(now);
    showVenues(now);
    plot(now);
  }
}

function watch(symbol) {
  if (source) source.close();
  source = new EventSource(symbol ? `events?symbol=${encodeURIComponent(symbol)}` : "events");
  source.onmessage = (event) => show(JSON.parse(event.data));
}

// Too many viewers, or no such instrument any more: the browser itself gives up on such answers.
function lookAfter() {
  if (performance.now() - heardMs > SILENT_AFTER_MS) {
    document.body.classList.add("stopped");
    showStatus("no answer", "bad", ["The daemon does not answer; what is shown is old."]);
    if (source.readyState === EventSource.CLOSED) watch($("symbol").value);
  }
}

$("symbol").addEventListener("change", (event) => {
  past = [];
  Object.values(charts).forEach((chart) => chart.clear());
  watch(event.target.value);
});
setInterval(lookAfter, 1000);
watch("");
