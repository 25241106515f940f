// The page: reads its data, holds the state, and tells each part what to show.
import { allocate, lossTerms } from "./allocate.js";
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { computeAll, inSlices, roleChanges, summarise } from "./dataset.js";
import { inspect } from "./inspector.js";
import { ExampleList } from "./list.js";
import { wireLive } from "./live.js";
import { responseSvg, svgToPng } from "./picture.js";
import { cutMarks, depthOf, rolesOf } from "./roles.js";
import { download, presetOf, sameSettings, toYaml } from "./settings.js";
import { clipped, element, figure, percent, visible } from "./text.js";
import { TokenView } from "./tokens.js";
import { showChanges, showTotals } from "./totals.js";
import { similarities } from "./walk.js";

const MOST = 20_000; // characters shown of a question, an answer or a judgment
const $ = (selector) => document.querySelector(selector);

const data = JSON.parse($("#data").textContent);
const { presets, rows } = data;

const state = {
  index: 0,
  settings: { ...presets.file },
  compared: null, // settings to compare with
  pinned: null,
  facts: null,
  token: [0, 0],
  waiting: false, // for the inspector
};

const tokens = new TokenView($("#tokens"), (group) => showToken(group));
const cutTokens = new TokenView($("#cut-tokens"), (group) => showToken(group));
const chart = new Chart($("#chart"), (token) => {
  const index = tokens.groups.findIndex(([, last]) => token <= last);
  if (index >= 0) showToken(tokens.groups[index]);
});
const list = new ExampleList($("#filters"), $("#examples"), $("#count"), choose, {
  kinds: ({ verdict }, { excluded }) => [verdict.correct ? "right" : "wrong", ...(excluded ? ["excluded"] : [])],
  sign: ({ verdict }) => (verdict.correct ? ["right", "✓"] : ["wrong", "✗"]),
  out: (_, { excluded }) => excluded,
  note: ({ id }, { share, excluded }) =>
    `${visible(id).slice(0, 40)} · ${percent(share)} salient${excluded ? " · excluded" : ""}`,
  text: (row) => [row.id, row.question, row.reference, row.judgment ?? "", row.scores.pieces.join("")],
});
const controls = new Controls($("#settings"), $("#more-settings"), data.describe, (settings) => apply(settings));

/** All that the panels say of the example on screen. */
function factsOf(scores) {
  const { settings, compared } = state;
  const allocation = allocate(scores, settings);
  const terms = lossTerms(scores, allocation, settings);
  let similarity = null;
  return {
    scores,
    allocation,
    roles: rolesOf(allocation),
    before: compared ? rolesOf(allocate(scores, compared)) : null,
    terms,
    loss: allocation.excluded ? 0 : terms.reduce((sum, term) => sum + Math.abs(term), 0),
    similarity: () => (similarity ??= similarities(scores, allocation.salient, settings)),
  };
}

function choose(index) {
  state.index = index;
  const row = rows[index];
  $("#question").textContent = clipped(visible(row.question), MOST);
  $("#reference").textContent = clipped(visible(row.reference), MOST);
  $("#judgment").textContent = clipped(visible(row.judgment ?? ""), MOST);
  $("#judgment-box").hidden = !row.judgment;
  $("#judge-name").textContent = row.judge ? ` by ${visible(row.judge)}` : "";
  const { correct, reason, value } = row.verdict;
  $("#verdict").className = correct ? "verdict right" : "verdict wrong";
  $("#verdict").textContent = correct ? "✓ right" : "✗ wrong";
  $("#reason").textContent = visible(reason) + (value ? ` (${visible(value)})` : "");
  $("#row-name").textContent = clipped(visible(row.id), 80);
  $("#position").textContent = `${index + 1} / ${rows.length}`;
  $("#cut-box").hidden = row.scores.logp_judge === null || !$("#show-cut").checked;
  tokens.load(row.scores.pieces, row.scores.weights);
  cutTokens.load(row.scores.pieces);
  list.choose(index);
  paint();
  showToken(tokens.groups[0]);
}

/** Repaint the example on screen under the settings of now. */
function paint() {
  const facts = factsOf(rows[state.index].scores);
  state.facts = facts;
  const { allocation, roles, before } = facts;
  tokens.paint(roles, allocation.scale, { before, excluded: allocation.excluded });
  const marked = allocation.salient.reduce((sum, x) => sum + x, 0);
  const what = allocation.correct ? "salient" : "errors";
  $("#example-note").textContent =
    `${roles.length} tokens, ${marked} ${what} (${percent(marked / (roles.length || 1))})` +
    (allocation.excluded ? " — excluded by the filter" : "");
  if (before) {
    const changes = [...roleChanges(before, roles).values()].reduce((sum, x) => sum + x, 0);
    $("#example-note").textContent += `; ${changes} change role`;
  }
  paintCut();
  drawChart();
  inspectSoon();
}

/** The panel needs every walk's course, so it follows after the paint. */
function inspectSoon() {
  if (state.waiting) return;
  state.waiting = true;
  setTimeout(() => {
    state.waiting = false;
    if (state.token[1] < state.facts.roles.length) inspect($("#inspector"), state.facts, state.token);
  });
}

/** Figure 10: CUT's marks beside NLFT's, in the same response. */
function paintCut() {
  const { scores, allocation } = state.facts;
  if ($("#cut-box").hidden) return;
  const lambda = Number($("#lambda").value);
  const marks = cutMarks(scores, lambda);
  cutTokens.paint(marks.map((mark) => (mark ? 4 : 0)), marks);
  let both = 0;
  let ours = 0;
  let theirs = 0;
  marks.forEach((mark, t) => {
    both += mark & allocation.salient[t];
    theirs += mark;
    ours += allocation.salient[t];
  });
  $("#cut-note").textContent =
    `λ = ${figure(lambda)}: CUT marks ${theirs} of ${marks.length} tokens, NLFT ${ours}, both ${both}`;
}

function drawChart() {
  chart.draw(state.facts.scores, state.settings, $("#log-axis").checked);
  chart.mark(state.token[1]);
  $("#chart-labels").replaceChildren(
    ...chart.labels().map(([height, text]) => {
      const label = element("span", "", text);
      label.style.top = `${100 * height}%`;
      return label;
    }),
  );
}

function showToken(group) {
  if (!group || !state.facts) return;
  state.token = group;
  inspectSoon();
  chart.mark(group[1]);
}

/** New settings: the example at once, the whole set as soon as it is ready. */
function apply(settings) {
  state.settings = settings;
  const preset = presetOf(settings, presets);
  $("#preset").value = preset;
  $("#reset").disabled = sameSettings(settings, presets.file);
  paint();
  return refreshAll();
}

async function refreshAll() {
  document.body.dataset.busy = "true";
  const found = await computeAll(rows, state.settings, state.compared);
  if (!found) return; // newer settings took over
  showTotals($("#totals"), found.totals);
  $("#changes").hidden = state.compared === null;
  if (state.compared) showChanges($("#changes tbody"), found.totals.changes);
  list.load(rows, found.summaries);
  delete document.body.dataset.busy;
}

function compareWith(choice) {
  if (choice === "pinned" && state.pinned === null) state.pinned = { ...state.settings };
  const known = { none: null, pinned: state.pinned, ...presets };
  state.compared = known[choice];
  paint();
  return refreshAll();
}

async function savePicture(kind) {
  const { scores, roles, allocation } = state.facts;
  const spans = tokens.groups.map(([, last]) => ({
    piece: scores.pieces[last],
    role: roles[last],
    depth: depthOf(allocation.scale[last]),
  }));
  const name = rows[state.index].id.replace(/[^\w.-]+/g, "_").slice(0, 60) || "response";
  const svg = responseSvg(spans, rows[state.index].id);
  if (kind === "svg") download(`${name}.svg`, svg, "image/svg+xml");
  else download(`${name}.png`, await svgToPng(svg), "image/png");
}

/** Does this browser find what the file says? */
async function checkFile() {
  let different = 0;
  let total = 0;
  await inSlices(rows, ({ scores }) => {
    const { roles } = summarise(scores, { ...presets.file, ...scores.settings });
    const stored = rolesOf({ ...scores, correct: scores.logp_judge === null });
    total += roles.length;
    roles.forEach((role, t) => (different += role === stored[t] ? 0 : 1));
  });
  $("#check").textContent =
    different === 0
      ? `All ${total.toLocaleString("en")} roles recomputed here agree with the file.`
      : `${different} of ${total} roles recomputed here differ from the file.`;
}

/** What the list says until the set is recomputed: the file's own numbers. */
function storedSummary({ salient, excluded }) {
  return { share: salient.reduce((sum, x) => sum + x, 0) / (salient.length || 1), excluded, sum: 0 };
}

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const step = { j: 1, n: 1, k: -1, p: -1 }[event.key];
    if (step) list.step(step);
    else if (event.key === "t") tokens.select(tokens.current, true);
    else if (event.key === "/") {
      event.preventDefault();
      $("#filters [name=text]").focus();
    }
  });
}

function wire() {
  $("#next").addEventListener("click", () => list.step(1));
  $("#previous").addEventListener("click", () => list.step(-1));
  $("#preset").addEventListener("change", (event) => setAll(presets[event.target.value] ?? state.settings));
  $("#reset").addEventListener("click", () => setAll(presets.file));
  $("#compare").addEventListener("change", (event) => compareWith(event.target.value));
  $("#pin").addEventListener("click", () => {
    state.pinned = { ...state.settings };
    $("#compare").value = "pinned";
    compareWith("pinned");
  });
  $("#show-cut").addEventListener("change", () => choose(state.index));
  $("#lambda").addEventListener("input", paintCut);
  $("#log-axis").addEventListener("change", drawChart);
  $("#export-yaml").addEventListener("click", () => download("settings.yaml", toYaml(state.settings), "text/yaml"));
  $("#export-svg").addEventListener("click", () => savePicture("svg"));
  $("#export-png").addEventListener("click", () => savePicture("png"));
  $("#theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  wireKeys();
}

function setAll(settings) {
  controls.show(settings);
  return apply({ ...settings });
}

function start() {
  $("#model").textContent = visible(data.model);
  $("#source").textContent = visible(data.source);
  wire();
  if (data.live) {
    $("#live").hidden = false;
    wireLive($("#live form"), data.live, (row) => {
      rows.push(row);
      refreshAll().then(() => choose(rows.length - 1));
    });
  }
  controls.show(state.settings);
  list.load(rows, rows.map((row) => storedSummary(row.scores)));
  choose(0);
  apply(state.settings).then(checkFile);
}

start();
