// The three probabilities along the response, with the thresholds drawn in.
import { leastRatio } from "./allocate.js";
import { svgElement } from "./text.js";

const WIDTH = 1000;
const HEIGHT = 150;
const LEFT = 44;
const BOTTOM = 18;
const LOWEST = 1e-6; // of the logarithmic axis

export class Chart {
  /** `svg` is filled; `onPoint(token)` hears of the pointer. */
  constructor(svg, onPoint) {
    this.svg = svg;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * WIDTH;
      const token = Math.floor(((x - LEFT) / (WIDTH - LEFT)) * this.n);
      if (token >= 0 && token < this.n) onPoint(token);
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
  }

  draw(scores, settings, logarithmic) {
    this.n = scores.token_ids.length;
    this.logarithmic = logarithmic;
    const paths = [
      ["base", scores.logp_base],
      ["standard", scores.logp_standard],
      ["judge", scores.logp_judge],
    ].filter(([, logps]) => logps !== null);
    this.cursor = svgElement("rect", { class: "cursor", y: 0, height: HEIGHT - BOTTOM, x: -99, width: 1 });
    const lines = paths.map(([name, logps]) =>
      svgElement("path", { class: `line ${name}`, d: this.#steps((t) => Math.exp(logps[t])) }),
    );
    this.svg.replaceChildren(...this.#axis(), this.cursor, ...this.#thresholds(scores, settings), ...lines);
  }

  /** Mark one token. */
  mark(token) {
    if (!this.cursor) return;
    this.cursor.setAttribute("x", this.#x(token));
    this.cursor.setAttribute("width", Math.max(2, this.#x(token + 1) - this.#x(token)));
  }

  #x(token) {
    return LEFT + ((WIDTH - LEFT) * token) / this.n;
  }

  #y(p) {
    const share = this.logarithmic ? 1 - Math.log(Math.max(p, LOWEST)) / Math.log(LOWEST) : Math.min(p, 1);
    return 4 + (HEIGHT - BOTTOM - 4) * (1 - Math.min(share, 1));
  }

  #steps(value) {
    let path = "";
    for (let t = 0; t < this.n; t += 1) {
      const y = this.#y(value(t)).toFixed(1);
      path += `${t === 0 ? "M" : "L"}${this.#x(t).toFixed(1)} ${y}H${this.#x(t + 1).toFixed(1)}`;
    }
    return path;
  }

  #axis() {
    const ticks = this.logarithmic ? [1, 1e-2, 1e-4, 1e-6] : [0, 0.25, 0.5, 0.75, 1];
    return ticks.map((p) => {
      const y = this.#y(p);
      return svgElement("path", { class: "grid", d: `M${LEFT} ${y}H${WIDTH}` });
    });
  }

  /** Heights (0 to 1 of the box) and words for the labels, which are HTML so that they never stretch. */
  labels() {
    const ticks = this.logarithmic ? [1, 1e-2, 1e-4, 1e-6] : [0, 0.5, 1];
    return ticks.map((p) => [this.#y(p) / HEIGHT, this.logarithmic && p < 1 ? `1e${Math.log10(p)}` : String(p)]);
  }

  #thresholds(scores, settings) {
    const correct = scores.logp_judge === null;
    const level = correct ? settings.p0_correct : settings.p0_incorrect;
    const y = this.#y(level);
    const drawn = [svgElement("path", { class: "threshold", d: `M${LEFT} ${y}H${WIDTH}` })];
    if (!correct) {
      const ratio = leastRatio(settings);
      const needed = (t) => ratio * Math.exp(Math.max(scores.logp_base[t], scores.logp_standard[t]));
      drawn.push(svgElement("path", { class: "threshold ratio", d: this.#steps(needed) }));
    }
    return drawn;
  }
}
