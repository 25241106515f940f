// What a token can be, in the order of how much it matters to the eye.

export const ROLES = ["irrelevant", "sub_salient", "salient", "near_error", "error", "marked"];

export const ROLE_NAMES = {
  irrelevant: "irrelevant",
  sub_salient: "sub-salient",
  salient: "salient",
  near_error: "beside an error",
  error: "error",
  marked: "marked by a person",
};

/** The role of each token as an index into ROLES. */
export function rolesOf({ salient, cluster, correct, marks }) {
  const [high, low] = correct ? [2, 1] : [marks ? 5 : 4, 3];
  return Uint8Array.from(salient, (isSalient, t) => (isSalient ? high : cluster[t] ? low : 0));
}

/** CUT's marks in an incorrect response: P(judge) / P(base) > lambda (arXiv 2312.14591). */
export function cutMarks(scores, lambda) {
  const least = Math.log(lambda);
  return Uint8Array.from(scores.logp_base, (base, t) =>
    scores.logp_judge !== null && scores.logp_judge[t] - base > least ? 1 : 0,
  );
}

/** A scale as one of eleven depths of colour: 0 for nothing, 10 for 2 and more. */
export function depthOf(scale) {
  return scale > 0 ? Math.min(10, Math.max(1, Math.round(scale * 5))) : 0;
}
