// The settings a user can move, and their YAML. Names, defaults and presets come from nlft.core.

// name, label, least, most, step of the slider; the field beside it takes any number.
export const SLIDERS = [
  ["p0_correct", "p₀ correct", 0.05, 0.999, 0.001],
  ["p0_incorrect", "p₀ incorrect", 0, 0.5, 0.001],
  ["r0", "r₀", 0.1, 5, 0.01],
  ["c1", "c₁ (salient)", 0, 10, 0.05],
  ["c2", "c₂ (sub-salient)", 0, 3, 0.01],
  ["c3", "c₃ (irrelevant)", 0, 3, 0.01],
  ["cluster_threshold", "cluster threshold", 0, 1, 0.01],
  ["filter_threshold", "filter share", 0, 1, 0.005],
];

export const CHOICES = [
  ["cluster", "phrases by", ["similarity", "distance", "none"]],
  ["filter", "filter", ["drop", "mask", "off"]],
  ["incorrect_rest", "rest of an incorrect response", ["zero", "standard"]],
  ["incorrect_term", "loss of an error", ["literal", "unlikelihood"]],
  ["correct_weight", "weight of a correct response", ["threshold", "log_ratio"]],
];

export const NUMBERS = [
  ["ratio_threshold", "ratio threshold (empty: r₀)"],
  ["rest_exponent", "exponent of the rest"],
  ["likelihood", "likelihood term"],
  ["factor", "factor"],
  ["zero_probability", "zero probability becomes"],
  ["unlikelihood_floor", "unlikelihood floor"],
];

export const SWITCHES = [
  ["use_judge", "use the judge path"],
  ["mean_one", "divide scales by their mean"],
  ["float32_incorrect", "round incorrect responses to float32"],
];

export const ONES = ["salient", "sub_salient", "irrelevant", "error"];

// As SaliencySettings checks them.
const RANGES = {
  p0_correct: (x) => x > 0 && x < 1,
  p0_incorrect: (x) => x >= 0 && x < 1,
  r0: (x) => x > 0,
  ratio_threshold: (x) => x > 0,
  factor: (x) => x > 0,
  unlikelihood_floor: (x) => x > 0 && x < 1,
  zero_probability: (x) => x >= 0 && x < 1,
  cluster_threshold: () => true,
};

/** The number a field's text stands for; undefined where the setting cannot take it. */
export function parseNumber(name, text) {
  if (name === "ratio_threshold" && text.trim() === "") return null;
  const x = text.trim() === "" ? NaN : Number(text);
  const fits = RANGES[name] ?? ((value) => value >= 0);
  return Number.isFinite(x) && fits(x) ? x : undefined;
}

export function sameSettings(a, b) {
  return Object.keys(a).every((key) => JSON.stringify(a[key]) === JSON.stringify(b[key]));
}

/** The preset that has these settings, "file", or "custom". */
export function presetOf(settings, presets) {
  const found = Object.entries(presets).find(([, preset]) => sameSettings(settings, preset));
  return found ? found[0] : "custom";
}

/** A number as YAML 1.1 reads it: 1e-6 would be a string there, 1.0e-6 is not. */
function yamlScalar(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  const text = String(value);
  return typeof value === "number" && /^-?\d+e/.test(text) ? text.replace("e", ".0e") : text;
}

/** The settings as `nlft train --settings` reads them. */
export function toYaml(settings) {
  const lines = Object.entries(settings).map(([key, value]) => `${key}: ${yamlScalar(value)}`);
  return `# Saliency settings, from the saliency map: nlft train --settings settings.yaml\n${lines.join("\n")}\n`;
}

/** Hand the user a file. */
export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
