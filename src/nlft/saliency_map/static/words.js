// A response as words to step over, to select and to mark; places are in characters, as Python counts them.
import { clipped, element, visible } from "./text.js";

const LONGEST = 2000; // characters shown of one word

/** The words, signs and spaces of a text: [{text, start, end, space}], in code points. */
export function segmentsOf(text) {
  let at = 0;
  return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)].map(({ segment }) => {
    const start = at;
    at += [...segment].length;
    return { text: segment, start, end: at, space: segment.trim() === "" };
  });
}

/** Each marked run of segments as [start, end]; the space between two marked words is part of the run. */
export function runsOf(segments, marked) {
  const runs = [];
  let last = -2;
  segments.forEach((segment, index) => {
    if (segment.space || !marked[index]) return;
    const joined = last >= 0 && segments.slice(last + 1, index).every((each) => each.space) && bridged(marked, last, index);
    if (joined) runs.at(-1)[1] = segment.end;
    else runs.push([segment.start, segment.end]);
    last = index;
  });
  return runs;
}

function bridged(marked, from, to) {
  for (let index = from + 1; index < to; index += 1) if (!marked[index]) return false;
  return true;
}

export class WordView {
  constructor(container) {
    Object.assign(this, { container, segments: [], spans: [], marked: [], anchor: 0, current: 0 });
    // Selecting with the mouse: from the word it goes down on to the one it is dragged to, or is clicked on with Shift.
    container.addEventListener("pointerdown", (event) => this.#pointed(event, event.shiftKey));
    container.addEventListener("pointerover", (event) => event.buttons & 1 && this.#pointed(event, true));
    container.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show another text, or the same with other marks ([[start, end], ...]); the same text keeps the place. */
  load(text, marks, { keep = false } = {}) {
    this.segments = segmentsOf(text);
    this.marked = this.segments.map(({ start, end }) => marks.some(([from, to]) => start < to && end > from));
    let word = 0;
    this.spans = [];
    const nodes = this.segments.map((segment, index) => {
      const shown = clipped(visible(segment.text), LONGEST);
      if (segment.space) return this.marked[index] ? element("span", "marked", shown) : shown;
      const span = element("span", this.marked[index] ? "word marked" : "word", shown);
      span.setAttribute("role", "option");
      span.dataset.word = word;
      if (this.marked[index]) span.setAttribute("aria-description", "marked as wrong");
      span.segment = index;
      this.spans.push(span);
      word += 1;
      return span;
    });
    this.container.replaceChildren(...nodes);
    const [anchor, current] = keep ? [this.anchor, this.current] : [0, 0];
    this.anchor = this.current = 0;
    if (this.spans.length > 0) this.#show(Math.min(anchor, word - 1), Math.min(current, word - 1), false);
  }

  /** The marks after those of the selected words are set, or, where all of them have one, removed: [[start, end], ...]. */
  toggled() {
    const [first, last] = [this.anchor, this.current].sort((a, b) => a - b).map((word) => this.spans[word].segment);
    const marked = [...this.marked];
    const chosen = this.segments.map((_, index) => index).slice(first, last + 1);
    const all = chosen.every((index) => marked[index] || this.segments[index].space);
    for (const index of chosen) marked[index] = !all;
    return runsOf(this.segments, marked);
  }

  /** Make a word the current one; `extend` selects all from the one before. */
  select(word, extend = false, focus = true) {
    if (word < 0 || word >= this.spans.length) return;
    this.#show(extend ? this.anchor : word, word, focus);
  }

  focus() {
    this.spans[this.current]?.focus();
  }

  #show(anchor, current, focus) {
    [this.anchor, this.current] = [anchor, current];
    const [first, last] = [Math.min(anchor, current), Math.max(anchor, current)];
    this.spans.forEach((span, word) => {
      span.tabIndex = word === current ? 0 : -1;
      span.setAttribute("aria-selected", word >= first && word <= last ? "true" : "false");
    });
    if (focus) this.focus();
  }

  #pointed(event, extend) {
    const span = event.target.closest(".word");
    if (span) this.select(Number(span.dataset.word), extend);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const marked = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    let to = null;
    if (step) to = this.current + step;
    else if (marked) to = this.#nextMarked(marked);
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = this.spans.length - 1;
    if (to === null) return;
    event.preventDefault();
    this.select(to, event.shiftKey);
  }

  #nextMarked(step) {
    for (let at = this.current + step; at >= 0 && at < this.spans.length; at += step) {
      if (this.spans[at].classList.contains("marked")) return at;
    }
    return this.current;
  }
}
