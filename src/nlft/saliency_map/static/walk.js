// The walk of the clustering, on the sketch of the hidden states (nlft/core/cluster.py says it in Python).
//
// A phrase's interval depends on its start, the measure and the threshold only. So intervals are kept,
// and moving p0 or r0 merely unites others of them.

const HALVES = Float64Array.from({ length: 1000 }, (_, i) => 2 ** -i);

function bytesOf(base64) {
  const raw = atob(base64);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

/** The sketch in numbers: states (n x rank float64), band corrections (n x band + 1), each token's square. */
export function decodeSketch(sketch) {
  const { rank, steps, band } = sketch;
  sketch.decoded ??= { codes: new Int8Array(bytesOf(sketch.codes).buffer), corrections: floatsOf(sketch.corrections) };
  const { codes, corrections } = sketch.decoded;
  const states = new Float64Array(codes.length);
  for (let i = 0; i < codes.length; i += 1) states[i] = codes[i] * steps[i % rank];
  const n = corrections.length / (band + 1);
  const squares = new Float64Array(n);
  for (let t = 0; t < n; t += 1) {
    squares[t] = product(states, t * rank, states, t * rank, rank) + corrections[t * (band + 1)];
  }
  return { n, rank, band, states, corrections, squares };
}

function floatsOf(base64) {
  const view = new DataView(bytesOf(base64).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function product(a, fromA, b, fromB, rank) {
  let sum = 0;
  for (let k = 0; k < rank; k += 1) sum += a[fromA + k] * b[fromB + k];
  return sum;
}

/**
 * Walk left, then right, from token `start`; the centre is not reset in between.
 * `visit(token, similarity, joins)`, if given, hears of every neighbour looked at.
 * Returns [first, last] of the phrase.
 */
export function walkFrom(sketch, start, settings, visit) {
  const { n, rank, states, squares } = sketch;
  const similar = settings.cluster === "similarity";
  const threshold = settings.cluster_threshold;
  const centre = states.slice(start * rank, (start + 1) * rank);
  const walk = { first: start, last: start, start, joins: 0 };
  let square = squares[start];
  for (const step of [-1, 1]) {
    for (let at = start + step; at >= 0 && at < n; at += step) {
      const inner = product(centre, 0, states, at * rank, rank) + nearPart(sketch, walk, at);
      const length = Math.sqrt(Math.max(square, 0)) * Math.sqrt(squares[at]);
      const cosine = length > 0 ? inner / length : 0;
      const joins = (similar ? cosine : 1 - cosine) > threshold;
      if (visit) visit(at, cosine, joins);
      if (!joins) break;
      if (step < 0) walk.first = at;
      else walk.last = at;
      walk.joins += 1;
      square = (square + 2 * inner + squares[at]) / 4;
      for (let k = 0; k < rank; k += 1) centre[k] = (centre[k] + states[at * rank + k]) / 2;
    }
  }
  return [walk.first, walk.last];
}

/** What the corrections add to <centre, h_at>: those of the tokens of the walk within the band. */
function nearPart({ band, corrections }, { first, last, start, joins }, at) {
  const from = Math.max(first, at - band);
  const to = Math.min(last, at + band);
  let sum = 0;
  for (let t = from; t <= to; t += 1) {
    // The centre halves with every join: what joined as number j of m weighs 2^-(m - j + 1).
    const number = t < start ? start - t : t > start ? start - first + t - start : 1;
    const correction = t < at ? corrections[t * (band + 1) + at - t] : corrections[at * (band + 1) + t - at];
    const halvings = joins - number + 1;
    // Beyond the table a weight is below 1e-300: it adds nothing to a sum of float64.
    if (halvings < HALVES.length) sum += correction * HALVES[halvings];
  }
  return sum;
}

/** The intervals known so far for one response, one measure, one threshold. */
function intervalsFor(scores, settings) {
  const key = `${settings.cluster} ${settings.cluster_threshold}`;
  const kept = scores.intervals ?? (scores.intervals = new Map());
  let found = kept.get(key);
  if (found === undefined) {
    // Two settings are compared at a time; a slider's earlier positions need not be kept.
    if (kept.size >= 4) kept.delete(kept.keys().next().value);
    found = new Int32Array(2 * scores.token_ids.length).fill(-1);
    kept.set(key, found);
  }
  return found;
}

/** The tokens in the phrase of any salient token, salient ones included, as 0 and 1. */
export function phrases(scores, salient, settings) {
  const joined = Uint8Array.from(salient);
  const n = joined.length;
  let open = 0;
  for (let t = 0; t < n; t += 1) open += 1 - joined[t];
  if (settings.cluster === "none" || open === n) return joined;
  const intervals = intervalsFor(scores, settings);
  let sketch = null;
  for (let start = 0; start < n && open > 0; start += 1) {
    if (!salient[start]) continue;
    if (intervals[2 * start] < 0) {
      sketch ??= decodeSketch(scores.sketch);
      const [first, last] = walkFrom(sketch, start, settings);
      intervals[2 * start] = first;
      intervals[2 * start + 1] = last;
    }
    for (let t = intervals[2 * start]; t <= intervals[2 * start + 1]; t += 1) {
      open -= 1 - joined[t];
      joined[t] = 1;
    }
  }
  return joined;
}

/**
 * Each token's similarity to the centre of its phrase: where it joined, or, for a token that stayed
 * outside, where it was refused. Of several walks the nearest start counts. NaN where no walk came by.
 */
export function similarities(scores, salient, settings) {
  const n = salient.length;
  const found = new Float64Array(n).fill(NaN);
  if (settings.cluster === "none") return found;
  const sketch = decodeSketch(scores.sketch);
  const distance = new Float64Array(n).fill(Infinity);
  const joinedAt = new Uint8Array(n);
  for (let start = 0; start < n; start += 1) {
    if (!salient[start]) continue;
    walkFrom(sketch, start, settings, (at, cosine, joins) => {
      const steps = Math.abs(at - start);
      if (joins < joinedAt[at] || (joins === Boolean(joinedAt[at]) && steps >= distance[at])) return;
      found[at] = cosine;
      distance[at] = steps;
      joinedAt[at] = joins ? 1 : 0;
    });
  }
  return found;
}
