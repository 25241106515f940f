// The coloured response as a picture: SVG written by hand, PNG from it.
import { ROLES, ROLE_NAMES } from "./roles.js";
import { clipped, visible } from "./text.js";

const SIZE = 15;
const LINE = 26;
const WIDTH = 900;
const MARGIN = 24;
const FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

function escapeXml(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (sign) => names[sign]);
}

/** Where each piece of text stands: [{x, y, width, text, index}], and the height of all. */
function layOut(spans) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${SIZE}px ${FONT}`;
  const placed = [];
  let x = MARGIN;
  let y = MARGIN;
  spans.forEach(({ piece }, index) => {
    const parts = clipped(visible(piece), 400).replaceAll("\t", "    ").split("\n");
    parts.forEach((part, i) => {
      if (i > 0) [x, y] = [MARGIN, y + LINE];
      for (const text of fitting(part, context)) {
        const { width } = context.measureText(text);
        if (x + width > WIDTH - MARGIN) [x, y] = [MARGIN, y + LINE];
        if (text !== "") placed.push({ x, y, width, text, index });
        x += width;
      }
    });
  });
  return { placed, height: y + LINE };
}

/** Cut what is wider than a line. */
function fitting(text, context) {
  const room = WIDTH - 2 * MARGIN;
  const pieces = [];
  let rest = text;
  while (context.measureText(rest).width > room) {
    let cut = Math.max(1, Math.floor((rest.length * room) / context.measureText(rest).width));
    while (cut > 1 && context.measureText(rest.slice(0, cut)).width > room) cut -= 1;
    pieces.push(rest.slice(0, cut));
    rest = rest.slice(cut);
  }
  return [...pieces, rest];
}

/** A colour of any syntax as one that every SVG reader knows: {colour, opacity}. */
function plainColour(css) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = css;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  return { colour: `rgb(${r},${g},${b})`, opacity: (a / 255).toFixed(3) };
}

/** The looks of a role and depth, read from the page itself so that picture and page never part. */
function looksOf(className) {
  const probe = document.createElement("span");
  probe.className = className;
  document.querySelector("#tokens").append(probe);
  const style = getComputedStyle(probe);
  const looks = {
    back: plainColour(style.backgroundColor),
    ink: plainColour(style.color).colour,
    line: plainColour(style.textDecorationColor).colour,
    style: style.textDecorationLine === "none" ? "none" : style.textDecorationStyle,
  };
  probe.remove();
  return looks;
}

function underline({ x, y, width }, { style, line }) {
  if (style === "none") return "";
  const at = y + LINE - 6;
  const dash = { dotted: "1.5 3", dashed: "5 3" }[style];
  const draw = (d, more = "") => `<path d="${d}" fill="none" stroke="${line}" stroke-width="1.6" ${more}/>`;
  if (style === "wavy") {
    let d = `M${x} ${at}`;
    for (let from = 0; from + 4 <= width; from += 4) d += `q1 -2.4 2 0t2 0`;
    return draw(d);
  }
  if (style === "double") return draw(`M${x} ${at - 1.4}h${width}M${x} ${at + 1.8}h${width}`);
  return draw(`M${x} ${at}h${width}`, dash ? `stroke-dasharray="${dash}"` : "");
}

/** An SVG of the response; `spans` are [{piece, role, depth}]. */
export function responseSvg(spans, title) {
  const { placed, height } = layOut(spans);
  const known = new Map();
  const looks = (className) => {
    if (!known.has(className)) known.set(className, looksOf(className));
    return known.get(className);
  };
  const page = getComputedStyle(document.querySelector("#tokens"));
  const words = placed.map((place) => {
    const { role, depth } = spans[place.index];
    const look = looks(`token ${ROLES[role]} d${depth}`);
    return box(place, look) + label(place.x, place.y, place.text, look) + underline(place, look);
  });
  const used = ROLES.filter((_, role) => spans.some((span) => span.role === role));
  const legend = used.map((role, i) => {
    const place = { x: MARGIN + i * 160, y: height + 10, width: 150 };
    const look = looks(`token ${role} d6`);
    return box(place, look) + label(place.x + 6, place.y, ROLE_NAMES[role], look) + underline(place, look);
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height + LINE + 30}" ` +
    `font-family="${escapeXml(FONT)}" font-size="${SIZE}"><title>${escapeXml(visible(title))}</title>` +
    `<rect width="100%" height="100%" fill="${plainColour(page.backgroundColor).colour}"/>` +
    `${words.join("")}${legend.join("")}</svg>`
  );
}

function box({ x, y, width }, { back }) {
  const { colour, opacity } = back;
  return `<rect x="${x}" y="${y}" width="${width}" height="${LINE - 4}" fill="${colour}" fill-opacity="${opacity}"/>`;
}

function label(x, y, text, { ink }) {
  return `<text x="${x}" y="${y + 16}" fill="${ink}" xml:space="preserve">${escapeXml(text)}</text>`;
}

/** The same picture as a PNG blob, at twice the size. */
export async function svgToPng(svg) {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * image.naturalWidth;
    canvas.height = 2 * image.naturalHeight;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large for a PNG"))), "image/png");
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}
