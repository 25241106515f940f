// Text from the data, made visible. It reaches the page as text nodes only.

// Controls, bidirectional marks and other characters that would hide or reorder their neighbours.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
// Joiners inside emoji and scripts that need them stay as they are.
const JOINERS = /(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])/;

function codePoint(character) {
  return `‹${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}›`;
}

/** `text` with every character one cannot see written as ‹its code point›; line breaks and tabs stay. */
export function visible(text) {
  return text
    .replace(/\r\n/g, "\n")
    .replace(LONE, codePoint)
    .replace(HIDDEN, (character, at, whole) =>
      JOINERS.test(whole.slice(at - 1, at + 2)) ? character : codePoint(character),
    );
}

/** The beginning of a long text, and how much was left out. */
export function clipped(text, most) {
  if (text.length <= most) return text;
  return `${text.slice(0, most)}… (${text.length.toLocaleString("en")} characters)`;
}

/** A number for reading: four significant digits, tiny ones with an exponent. */
export function figure(x) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text = size < 1e-4 || size >= 1e5 ? x.toExponential(2) : String(Number(x.toPrecision(4)));
  return text.replace("-", "−");
}

export function percent(share) {
  return `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
}

/** An element with a class and children; strings become text nodes. */
export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function svgElement(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
