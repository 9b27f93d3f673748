// A chart of up to five minutes: lines over time on a canvas, scaled to what they show.

const SECONDS = 300;
const SECONDS_MIN = 30;
const WIDEST_GAP_MS = 3000; // a line is broken where nothing was seen for longer

export class Chart {
  #canvas;
  #rows = [];

  constructor(canvas) {
    this.#canvas = canvas;
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
    const high = Math.max(...seen, 0), low = Math.min(...seen, 0);
    const span = high - low || 1, last = this.#rows[this.#rows.length - 1][0];
    const spanMs = Math.max(SECONDS_MIN * 1000, last - this.#rows[0][0]);
    const x = (t) => width * (1 - (last - t) / spanMs);
    const y = (v) => height - 4 - ((v - low) / span) * (height - 18);
    pen.font = "11px monospace";
    pen.fillStyle = "#8494a3";
    pen.fillText(`${format(high)}   of ${Math.round(spanMs / 1000)} s`, 2, 10);
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
