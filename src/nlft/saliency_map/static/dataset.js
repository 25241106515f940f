// The whole set under given settings: a summary a row, and the totals, in slices that keep the page alive.
import { allocate } from "./allocate.js";
import { ROLES, rolesOf } from "./roles.js";

export const BINS = 20; // of the histogram of scales, from 0 to 2
const SLICE_MS = 12;

/** One row under some settings, in numbers. */
export function summarise(scores, settings) {
  const allocation = allocate(scores, settings);
  const roles = rolesOf(allocation);
  const counts = new Array(ROLES.length).fill(0);
  const histogram = new Array(BINS).fill(0);
  let sum = 0;
  let squares = 0;
  let trained = 0;
  for (let t = 0; t < roles.length; t += 1) {
    counts[roles[t]] += 1;
    const scale = allocation.scale[t];
    sum += scale;
    squares += scale * scale;
    if (scale > 0) {
      trained += 1;
      histogram[Math.min(BINS - 1, Math.floor((scale / 2) * BINS))] += 1;
    }
  }
  const share = (counts[2] + counts[4] + counts[5]) / (roles.length || 1);
  return { counts, histogram, sum, squares, trained, share, excluded: allocation.excluded, roles };
}

/** How often each role became another, as {"from to": count}. */
export function roleChanges(before, after, into = new Map()) {
  for (let t = 0; t < before.length; t += 1) {
    if (before[t] === after[t]) continue;
    const key = `${ROLES[before[t]]} ${ROLES[after[t]]}`;
    into.set(key, (into.get(key) ?? 0) + 1);
  }
  return into;
}

export function emptyTotals() {
  return {
    rows: 0,
    excluded: 0,
    tokens: 0,
    trained: 0,
    sum: 0,
    squares: 0,
    counts: new Array(ROLES.length).fill(0),
    histogram: new Array(BINS).fill(0),
    changes: new Map(),
  };
}

function add(totals, summary, roles, before) {
  totals.rows += 1;
  totals.excluded += summary.excluded ? 1 : 0;
  totals.tokens += roles.length;
  totals.trained += summary.trained;
  totals.sum += summary.sum;
  totals.squares += summary.squares;
  summary.counts.forEach((count, role) => (totals.counts[role] += count));
  summary.histogram.forEach((count, bin) => (totals.histogram[bin] += count));
  if (before) roleChanges(before, roles, totals.changes);
}

/** Kish's effective number: how many equally weighted tokens would count as much, (sum S)^2 / sum S^2. */
export function effectiveTokens(totals) {
  return totals.squares > 0 ? totals.sum ** 2 / totals.squares : 0;
}

/** Give the browser a turn: a message event comes sooner than any timer. */
const turn = () =>
  new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });

/** Visit every row, giving the browser a turn every few milliseconds; stops when `going()` is false. */
export async function inSlices(rows, visit, going = () => true) {
  let since = performance.now();
  for (const row of rows) {
    visit(row);
    if (performance.now() - since <= SLICE_MS) continue;
    await turn();
    if (!going()) return false;
    since = performance.now();
  }
  return true;
}

let running = 0;

/**
 * Summarise all rows under `settings` (and under `other`, to count what changed). Starting anew stops
 * the run before. Resolves to {totals, summaries}, or to null if another run took over.
 */
export async function computeAll(rows, settings, other) {
  running += 1;
  const mine = running;
  await turn(); // the example on screen is painted first
  const totals = emptyTotals();
  const summaries = [];
  const visit = ({ scores }) => {
    const { roles, ...summary } = summarise(scores, settings);
    add(totals, summary, roles, other ? summarise(scores, other).roles : null);
    summaries.push(summary);
  };
  return (await inSlices(rows, visit, () => mine === running)) ? { totals, summaries } : null;
}
