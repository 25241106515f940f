// Totals over the data set, and what changed against the settings compared with.
import { BINS, effectiveTokens } from "./dataset.js";
import { ROLES, ROLE_NAMES } from "./roles.js";
import { element, percent, svgElement } from "./text.js";

const whole = (x) => Math.round(x).toLocaleString("en");

export function showTotals(panel, totals) {
  const facts = [
    ["examples", whole(totals.rows)],
    ["excluded", `${whole(totals.excluded)} (${percent(totals.excluded / (totals.rows || 1))})`],
    ["tokens", whole(totals.tokens)],
    ["with a scale above 0", `${whole(totals.trained)} (${percent(totals.trained / (totals.tokens || 1))})`],
    ["effective number of trained tokens", whole(effectiveTokens(totals))],
  ];
  panel.querySelector(".facts").replaceChildren(
    ...facts.map(([name, value]) => element("div", "fact", element("dt", "", name), element("dd", "", value))),
  );
  panel.querySelector(".roles").replaceChildren(
    ...ROLES.toReversed().map((role) => {
      const count = totals.counts[ROLES.indexOf(role)];
      const swatch = element("span", `token ${role} d5`, ROLE_NAMES[role]);
      const cells = [whole(count), percent(count / (totals.tokens || 1))].map((text) => element("td", "", text));
      return element("tr", "", element("th", "", swatch), ...cells);
    }),
  );
  drawHistogram(panel.querySelector("svg"), totals.histogram);
}

function drawHistogram(svg, histogram) {
  const most = Math.max(1, ...histogram);
  svg.setAttribute("viewBox", "0 0 200 60");
  svg.setAttribute("preserveAspectRatio", "none");
  const bars = histogram.map((count, bin) => {
    const height = (56 * count) / most;
    const width = 200 / BINS;
    const place = { x: bin * width + 0.5, y: 60 - height, width: width - 1, height };
    const bar = svgElement("rect", { class: "column", ...place });
    const from = (2 * bin) / BINS;
    const range = `${from.toFixed(1)} to ${(from + 2 / BINS).toFixed(1)}`;
    bar.append(svgElement("title", {}, `${range}: ${whole(count)} tokens`));
    return bar;
  });
  svg.replaceChildren(...bars, svgElement("path", { class: "grid", d: "M100 0V60" }));
  const above = histogram.slice(BINS / 2).reduce((sum, x) => sum + x, 0);
  svg.setAttribute("aria-label", `Histogram of scales from 0 to 2: ${whole(above)} tokens at 1 or more`);
}

/** Fill a table with how many tokens went from which role to which. */
export function showChanges(body, changes) {
  const sorted = [...changes].sort((a, b) => b[1] - a[1]);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  body.replaceChildren(
    element("tr", "", element("th", "", "all"), element("td", "", whole(total))),
    ...sorted.map(([key, count]) => {
      const [from, to] = key.split(" ").map((role) => ROLE_NAMES[role]);
      return element("tr", "", element("th", "", `${from} → ${to}`), element("td", "", whole(count)));
    }),
  );
  return total;
}
