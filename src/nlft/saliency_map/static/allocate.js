// Roles, scales and loss of one response, from its stored scores (nlft/core, equation by equation).
import { phrases } from "./walk.js";

const LOWEST = -1e4;

/** The threshold that r1 and r2 must exceed. */
export function leastRatio(settings) {
  return settings.ratio_threshold === null ? settings.r0 : settings.ratio_threshold;
}

/** Log-probabilities as the equations take them (nlft.core.saliency.prepare). */
export function prepare(logps, settings, correct, base = false) {
  const rounded = settings.float32_incorrect && !correct;
  const zero = settings.zero_probability;
  return Float64Array.from(logps, (logp) => {
    const exact = Math.exp(logp);
    const probability = rounded ? Math.fround(exact) : exact;
    if (base && zero > 0 && probability === 0) return Math.log(zero);
    if (rounded && probability !== 0) return Math.log(probability);
    return logp === -Infinity ? LOWEST : logp;
  });
}

/** The salient tokens of a correct response, or the errors of an incorrect one, as 0 and 1. */
function findSalient(paths, settings) {
  const { base, standard, judge } = paths;
  const least = Math.log(leastRatio(settings));
  if (judge === null) {
    if (settings.correct_weight === "log_ratio") {
      return Uint8Array.from(standard, (logp, t) => (logp - base[t] > least ? 1 : 0));
    }
    const threshold = Math.log(settings.p0_correct);
    return Uint8Array.from(standard, (logp) => (logp > threshold ? 1 : 0));
  }
  const threshold = settings.p0_incorrect > 0 ? Math.log(settings.p0_incorrect) : -Infinity;
  return Uint8Array.from(judge, (logp, t) =>
    logp - base[t] > least && logp - standard[t] > least && logp > threshold ? 1 : 0,
  );
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** Eq. 3. */
function scaleCorrect({ base, standard }, salient, cluster, settings) {
  const { p0_correct: p0, c1, c2, c3, ones } = settings;
  const logP0 = Math.log(p0);
  return Float64Array.from(standard, (logp, t) => {
    const role = salient[t] ? "salient" : cluster[t] ? "sub_salient" : "irrelevant";
    if (ones.includes(role)) return 1;
    if (settings.correct_weight === "log_ratio") return 2 * sigmoid(logp - base[t]);
    if (salient[t]) return 1 + Math.max((Math.exp(logp) - p0) / (1 - p0), 0) ** c1;
    return Math.exp((cluster[t] ? c2 : c3) * (logp - logP0));
  });
}

/** Eq. 4. */
function scaleIncorrect({ base, standard, judge }, salient, cluster, settings, masked) {
  const one = settings.ones.includes("error");
  const rest = settings.incorrect_rest === "standard" && !masked;
  return Float64Array.from(judge, (logp, t) => {
    if (salient[t]) return one ? 1 : 2 * sigmoid(Math.exp(logp - base[t]) - settings.r0);
    return rest && !cluster[t] ? Math.exp(settings.rest_exponent * standard[t]) : 0;
  });
}

function meanOne(scale, settings) {
  const mean = scale.reduce((sum, s) => sum + s, 0) / scale.length;
  return settings.mean_one && mean > 0 ? scale.map((s) => s / mean) : scale;
}

/** What each token of one response is, and its scale: {salient, cluster, scale, excluded, correct}. */
export function allocate(scores, settings) {
  const correct = scores.logp_judge === null;
  const n = scores.token_ids.length;
  if (!correct && !settings.use_judge) {
    const none = new Uint8Array(n);
    return { salient: none, cluster: none, scale: new Float64Array(n), excluded: true, correct };
  }
  const paths = {
    base: prepare(scores.logp_base, settings, correct, true),
    standard: prepare(scores.logp_standard, settings, correct),
    judge: correct ? null : prepare(scores.logp_judge, settings, correct),
  };
  const marks = correct ? null : scores.marks; // a person's word stands, whatever the thresholds say
  const salient = marks ? Uint8Array.from(marks) : findSalient(paths, settings);
  const cluster = phrases(scores, salient, settings);
  if (correct) {
    const scale = meanOne(scaleCorrect(paths, salient, cluster, settings), settings);
    return { salient, cluster, scale, excluded: false, correct };
  }
  const share = salient.reduce((sum, s) => sum + s, 0) / n;
  const masked = !marks && settings.filter !== "off" && share > settings.filter_threshold;
  const excluded = masked && settings.filter === "drop";
  const scale = excluded
    ? new Float64Array(n)
    : meanOne(scaleIncorrect(paths, salient, cluster, settings, masked), settings);
  return { salient, cluster, scale, excluded, correct, marks };
}

/** What each token adds to n times the weighted loss (eq. 5, as something to minimise), times the user's factor. */
export function lossTerms(scores, allocation, settings) {
  const { salient, scale, correct } = allocation;
  return prepare(scores.logp_base, settings, correct, true).map((logp, t) => {
    const weight = scores.weights ? scores.weights[t] : 1;
    if (correct || !salient[t]) return -weight * scale[t] * logp;
    if (settings.incorrect_term === "literal") return -weight * scale[t] * (1 - logp);
    return -weight * scale[t] * Math.log(Math.max(-Math.expm1(logp), settings.unlikelihood_floor));
  });
}
