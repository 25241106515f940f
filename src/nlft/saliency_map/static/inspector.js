// All that is known of the token (or the tokens of one character) under the pointer.
import { ROLES, ROLE_NAMES } from "./roles.js";
import { clipped, element, figure, percent, visible } from "./text.js";

const ROWS = [
  ["P base", (f, t) => figure(Math.exp(f.scores.logp_base[t]))],
  ["P standard", (f, t) => figure(Math.exp(f.scores.logp_standard[t]))],
  ["P judge", (f, t) => (f.scores.logp_judge ? figure(Math.exp(f.scores.logp_judge[t])) : "–")],
  ["r₁ = judge / base", (f, t) => ratio(f.scores.logp_judge, f.scores.logp_base, t)],
  ["r₂ = judge / standard", (f, t) => ratio(f.scores.logp_judge, f.scores.logp_standard, t)],
  ["similarity to centre", (f, t) => figure(f.similarity()[t])],
  ["role", (f, t) => ROLE_NAMES[ROLES[f.roles[t]]]],
  ["scale S", (f, t) => figure(f.allocation.scale[t])],
  ["weight in the data", (f, t) => (f.scores.weights ? figure(f.scores.weights[t]) : "–")],
  ["share of the loss", (f, t) => (f.loss > 0 ? percent(Math.abs(f.terms[t]) / f.loss) : "–")],
];

function ratio(above, below, t) {
  return above ? figure(Math.exp(above[t] - below[t])) : "–";
}

/** Fill `panel` for the tokens first..last; `facts` is what main.js knows of the example on screen. */
export function inspect(panel, facts, [first, last]) {
  const tokens = Array.from({ length: last - first + 1 }, (_, i) => first + i).slice(0, 6);
  const { scores } = facts;
  const text = clipped(visible(scores.pieces[last]), 60).replaceAll("\n", "↵").replaceAll(" ", "␣");
  const many = tokens.length > 1 ? `, ${last - first + 1} tokens that make one character` : "";
  panel.querySelector(".piece").textContent = text;
  panel.querySelector(".where").textContent = `token ${first + 1} of ${scores.pieces.length}${many}`;
  const cells = ROWS.map(([name, value]) =>
    element(
      "div",
      "fact",
      element("dt", "", name),
      ...tokens.map((t) => element("dd", name === "role" ? ROLES[facts.roles[t]] : "", value(facts, t))),
    ),
  );
  panel.querySelector("dl").replaceChildren(...cells);
}
