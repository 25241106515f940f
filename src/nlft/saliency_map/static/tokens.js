// A response as text: one element a character-complete group of tokens, coloured by role and scale.
import { ROLES, ROLE_NAMES, depthOf } from "./roles.js";
import { clipped, element, figure, visible } from "./text.js";

const LONGEST = 2000; // characters shown of one token

/** Tokens whose piece is empty belong to the next that has text: [[first, last], ...]. */
export function groupsOf(pieces) {
  const groups = [];
  let first = 0;
  pieces.forEach((piece, t) => {
    if (piece === "" && t < pieces.length - 1) return;
    groups.push([first, t]);
    first = t + 1;
  });
  return groups;
}

function content(piece) {
  const text = clipped(visible(piece), LONGEST);
  if (!text.includes("\n")) return [text || "∅"];
  // A faint sign shows to which token a line break belongs.
  return text
    .split(/(\n)/)
    .filter((part) => part !== "")
    .flatMap((part) => (part === "\n" ? [element("i", "break", "↵"), "\n"] : [part]));
}

export class TokenView {
  /** `container` is a listbox; `onPoint(token)` hears of hover, focus and tap. */
  constructor(container, onPoint) {
    this.container = container;
    this.onPoint = onPoint;
    this.spans = [];
    this.groups = [];
    this.current = 0;
    this.painted = { roles: [], scale: [] };
    container.addEventListener("pointerover", (event) => this.#pointed(event, false));
    container.addEventListener("click", (event) => this.#pointed(event, true));
    container.addEventListener("focusin", (event) => this.#pointed(event, false));
    container.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show another response. */
  load(pieces, weights = null) {
    this.weights = weights;
    this.groups = groupsOf(pieces);
    this.spans = this.groups.map(([, last], index) => {
      const span = element("span", "token", ...content(pieces[last]));
      span.setAttribute("role", "option");
      span.tabIndex = index === 0 ? 0 : -1;
      span.setAttribute("aria-selected", index === 0 ? "true" : "false");
      span.dataset.group = index;
      return span;
    });
    this.current = 0;
    this.painted = { roles: new Uint8Array(pieces.length), scale: new Float64Array(pieces.length) };
    this.container.replaceChildren(...this.spans);
  }

  /** Colour by role and scale; `before` (roles under other settings) marks what differs. */
  paint(roles, scale, { before = null, excluded = false } = {}) {
    this.container.classList.toggle("excluded", excluded);
    this.groups.forEach(([first, last], index) => {
      let role = 0;
      let most = 0;
      let changed = false;
      for (let t = first; t <= last; t += 1) {
        role = Math.max(role, roles[t]);
        most = Math.max(most, scale[t]);
        changed ||= before !== null && before[t] !== roles[t];
      }
      const depth = depthOf(most);
      const weighed = this.weights && this.weights[last] !== 1;
      const more = (changed ? " changed" : "") + (weighed ? " weighed" : "");
      const name = `token ${ROLES[role]} d${depth}${more}`;
      const span = this.spans[index];
      if (span.looks === name) return;
      span.looks = name;
      span.className = name;
    });
    this.painted = { roles, scale };
    if (this.spans.length > 0) this.#describe(this.current);
  }

  /** What colour says, said in words; for the current group only, since words for all would cost a repaint. */
  #describe(index) {
    const [, last] = this.groups[index];
    const weight = this.weights ? `, weight ${figure(this.weights[last])}` : "";
    const words = `${ROLE_NAMES[ROLES[this.painted.roles[last]]]}, scale ${figure(this.painted.scale[last])}${weight}`;
    this.spans[index].setAttribute("aria-description", words);
  }

  /** Make a group the current one, and focus it if the keyboard asked. */
  select(index, focus) {
    if (index < 0 || index >= this.spans.length) return;
    const old = this.spans[this.current];
    old.tabIndex = -1;
    old.setAttribute("aria-selected", "false");
    this.current = index;
    const now = this.spans[index];
    now.tabIndex = 0;
    now.setAttribute("aria-selected", "true");
    this.#describe(index);
    if (focus) now.focus();
  }

  #pointed(event, chosen) {
    const span = event.target.closest(".token");
    if (!span) return;
    const index = Number(span.dataset.group);
    if (event.type !== "pointerover") this.select(index, chosen && document.activeElement !== span);
    this.onPoint(this.groups[index], event.type);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const salient = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    let to = null;
    if (target) to = this.current + target;
    else if (salient) to = this.#nextMarked(salient);
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = this.spans.length - 1;
    if (to === null) return;
    event.preventDefault();
    this.select(to, true);
  }

  /** The next group that is salient or an error. */
  #nextMarked(step) {
    for (let at = this.current + step; at >= 0 && at < this.spans.length; at += step) {
      const { classList } = this.spans[at];
      if (["salient", "error", "marked"].some((role) => classList.contains(role))) return at;
    }
    return this.current;
  }
}
