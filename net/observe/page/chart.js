// A chart of up to five minutes: lines over time on a canvas, scaled to what they show. Latencies are
// drawn by their logarithm: beside one late book the others would be a flat line.

const SECONDS = 300;
const SECONDS_MIN = 30;
const LEAST = 0.1; // what a logarithm is drawn of at least
const WIDEST_GAP_MS = 3000; // a line is broken where nothing was seen for longer

export class Chart {
  #canvas;
  #rows = [];
  #scale;
  #isLogarithmic;

  constructor(canvas, isLogarithmic) {
    this.#canvas = canvas;
    this.#scale = isLogarithmic ? (v) => Math.log10(Math.max(v, LEAST)) : (v) => v;
    this.#isLogarithmic = isLogarithmic;
  }

  clear() {
    this.#rows = [];
  }

  // `values`: one number a line, null where there is none.
  add(tMs, values) {
    this.#rows.push([tMs, values]);
    while (this.#rows[0][0] < tMs - SECONDS * 1000) this.#rows.shift();
  }

  draw(colours) {
    const canvas = this.#canvas, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio; // also empties it
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const seen = this.#rows.flatMap(([, values]) => values).filter((v) => v !== null);
    if (!seen.length) return;
    const high = Math.max(...seen), low = Math.min(...seen);
    const zero = this.#isLogarithmic ? [] : [0];
    const top = Math.max(this.#scale(high), ...zero), bottom = Math.min(this.#scale(low), ...zero);
    const span = top - bottom || 1, last = this.#rows[this.#rows.length - 1][0];
    const spanMs = Math.max(SECONDS_MIN * 1000, last - this.#rows[0][0]);
    const x = (t) => width * (1 - (last - t) / spanMs);
    const y = (v) => height - 4 - ((this.#scale(v) - bottom) / span) * (height - 18);
    pen.lineCap = "round"; // a lone value is a dot
    pen.font = "11px monospace";
    pen.fillStyle = "#8494a3";
    const range = this.#isLogarithmic ? `${format(low)} to ${format(high)}` : format(high);
    pen.fillText(`${range}   of ${Math.round(spanMs / 1000)} s`, 2, 10);
    colours.forEach((colour, line) => {
      pen.strokeStyle = colour;
      pen.lineWidth = 1.5;
      pen.beginPath();
      let before = null;
      for (const [t, values] of this.#rows) {
        const v = values[line];
        if (v === null || v === undefined) continue;
        if (before === null || t - before > WIDEST_GAP_MS) pen.moveTo(x(t), y(v));
        pen.lineTo(x(t), y(v));
        before = t;
      }
      pen.stroke();
    });
  }
}

export function format(number) {
  const size = Math.abs(number);
  return number.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
