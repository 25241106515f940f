// The list of examples: filters, sorting, and the row on screen.
import { element, visible } from "./text.js";

const PAGE = 300; // rows drawn at a time

const ORDERS = {
  file: (a, b) => a.index - b.index,
  "share-down": (a, b) => b.summary.share - a.summary.share || a.index - b.index,
  "share-up": (a, b) => a.summary.share - b.summary.share || a.index - b.index,
  "length-down": (a, b) => b.length - a.length || a.index - b.index,
  "weight-down": (a, b) => b.summary.sum - a.summary.sum || a.index - b.index,
};

export class ExampleList {
  /**
   * `form` holds the filters, `list` the rows; `onChoose(index)` hears of a choice. `looks` says of a row, with its
   * summary, its `kinds` (the filters it passes), its `sign` ([class, sign, spoken]), its `note`, whether it is `out`,
   * and the `text` to search.
   */
  constructor(form, list, count, onChoose, looks) {
    Object.assign(this, { form, list, count, onChoose, looks, entries: [], shown: [], current: 0, drawn: PAGE });
    form.addEventListener("input", () => {
      this.refresh(true);
      if (this.shown.length > 0) this.onChoose(this.shown[0].index); // what is on screen is in the list, and its first
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.index === "more") {
        this.drawn += PAGE;
        this.refresh(false);
      } else onChoose(Number(button.dataset.index));
    });
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const focused = event.target.closest("button");
      this.step(step, focused ? Number(focused.dataset.index) : this.current);
      list.querySelector("[aria-current]")?.focus();
    });
  }

  /** New rows, or new summaries of the same rows. */
  load(rows, summaries) {
    this.entries = rows.map((row, index) => ({
      index,
      row,
      summary: summaries[index],
      length: row.scores?.token_ids.length,
      text: null,
    }));
    this.refresh(false);
  }

  /** The next (1) or previous (-1) of the rows that pass the filters. */
  step(by, from = this.current) {
    const at = this.shown.findIndex((entry) => entry.index === from);
    const next = this.shown[at + by] ?? (at === -1 ? this.shown[0] : undefined);
    if (next) this.onChoose(next.index);
  }

  choose(index) {
    this.current = index;
    for (const button of this.list.querySelectorAll("[aria-current]")) this.#mark(button, false);
    const now = this.list.querySelector(`button[data-index="${index}"]`);
    if (now) {
      this.#mark(now, true);
      this.#reveal(now.parentElement);
    }
  }

  /** Scroll the list, never the page. */
  #reveal(item) {
    const { list } = this;
    const below = item.offsetTop + item.offsetHeight - list.clientHeight;
    list.scrollTop = Math.min(Math.max(list.scrollTop, below), item.offsetTop);
  }

  #mark(button, current) {
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = current ? 0 : -1;
  }

  #passes(entry, wanted) {
    const { row, summary } = entry;
    if (wanted.verdict !== "all" && !this.looks.kinds(row, summary).includes(wanted.verdict)) return false;
    if (summary && (100 * summary.share < wanted.least || 100 * summary.share > wanted.most)) return false;
    if (wanted.text === "") return true;
    entry.text ??= this.looks.text(row).join("\n").toLowerCase();
    return entry.text.includes(wanted.text);
  }

  refresh(fromStart) {
    if (fromStart) this.drawn = PAGE;
    const data = new FormData(this.form);
    const wanted = {
      verdict: data.get("verdict"),
      least: Number(data.get("least") || 0),
      most: Number(data.get("most") || 100),
      text: String(data.get("text")).toLowerCase(),
    };
    // A row that stops passing while it is on screen stays in the list until another filter is chosen.
    const held = !fromStart && this.shown.some((entry) => entry.index === this.current) ? this.current : null;
    this.shown = this.entries
      .filter((entry) => entry.index === held || this.#passes(entry, wanted))
      .sort(ORDERS[data.get("order")] ?? ORDERS.file);
    this.count.textContent = `${this.shown.length} of ${this.entries.length} examples`;
    const items = this.shown.slice(0, this.drawn).map((entry) => element("li", "", this.#button(entry)));
    if (this.shown.length > this.drawn) {
      const more = element("button", "more", `show ${this.shown.length - this.drawn} more`);
      more.type = "button";
      more.dataset.index = "more";
      items.push(element("li", "", more));
    }
    this.list.replaceChildren(...items);
    if (!this.list.querySelector("[tabindex='0']")) this.list.querySelector("button")?.setAttribute("tabindex", "0");
  }

  #button({ index, row, summary }) {
    const [name, mark, spoken] = this.looks.sign(row);
    const sign = element("span", `sign ${name}`, mark);
    sign.setAttribute("role", "img");
    sign.setAttribute("aria-label", spoken ?? name);
    const button = element(
      "button",
      this.looks.out(row, summary) ? "out" : "",
      sign,
      element("span", "name", visible(row.question).slice(0, 90)),
      element("span", "note", this.looks.note(row, summary)),
    );
    button.type = "button";
    button.dataset.index = index;
    this.#mark(button, index === this.current);
    return button;
  }
}
