// The page on which a person corrects rows: one key or click, one change, on disk before it is called saved.
import { ExampleList } from "./list.js";
import { clipped, element, visible } from "./text.js";
import { WordView } from "./words.js";

const MOST = 20_000; // characters shown of a question or an answer
const $ = (selector) => document.querySelector(selector);

const data = JSON.parse($("#data").textContent);
const { rows } = data;
const state = { index: 0, waiting: 0 };
const now = () => rows[state.index];

const words = new WordView($("#words"));
const rewrite = $("#rewrite textarea");
const judgment = $("#judge textarea");

/** Which of the filters a row passes. */
function kindsOf(row) {
  const verdict = { true: "right", false: "wrong" }[row.correct] ?? "open";
  return [verdict, ...(row.edited ? ["edited"] : []), ...(row.skip ? ["skipped"] : [])];
}

const list = new ExampleList($("#filters"), $("#examples"), $("#count"), choose, {
  kinds: kindsOf,
  sign: (row) => ({ right: ["right", "✓"], wrong: ["wrong", "✗"], open: ["open", "?", "no verdict"] })[kindsOf(row)[0]],
  out: (row) => row.skip,
  note: (row) => [visible(row.id).slice(0, 40), ...kindsOf(row).slice(1)].join(" · "),
  text: (row) => [row.id, row.question, row.reference, row.judgment ?? "", row.response],
});

function choose(index) {
  if (index !== state.index && !leaveTexts()) return;
  state.index = index;
  say("");
  list.choose(index);
  show();
}

/** The row on screen, as it is now. */
function show({ keep = false } = {}) {
  const row = now();
  $("#question").textContent = clipped(visible(row.question), MOST);
  $("#reference").textContent = clipped(visible(row.reference), MOST);
  $("#row-name").textContent = clipped(visible(row.id), 80);
  $("#position").textContent = `${state.index + 1} / ${rows.length}`;
  const [looks, sign, spoken] = { true: ["right", "✓ right"], false: ["wrong", "✗ wrong"] }[row.correct] ?? ["", "no verdict yet"];
  $("#verdict").className = `verdict ${looks}`;
  $("#verdict").textContent = (spoken ?? sign) + (row.skip ? " · skipped" : "");
  $("#reason").textContent = visible(row.reason);
  $("#judge-name").textContent = row.judge && row.judgment ? ` by ${visible(row.judge)}` : "";
  $("#judge").hidden = row.correct !== false;
  if (document.activeElement !== judgment || judgment.value === judgment.saved) fill(judgment, row.judgment ?? "");
  const count = row.marks.length;
  $("#marks-note").textContent = row.correct === false ? `${count} ${count === 1 ? "mark" : "marks"} of wrong words` : "";
  $("[data-does=mark]").disabled = row.correct !== false;
  $("[data-does=undo]").disabled = !row.undo;
  $("[data-does=skip]").firstChild.data = row.skip ? "take back in " : "skip ";
  words.load(row.response, row.marks, { keep });
}

function fill(field, text) {
  field.value = text;
  field.saved = field.value; // as the field holds it: line ends may differ from the row's
  field.refused = false;
}

function say(text, trouble = "") {
  $("#saved").textContent = text;
  $("#trouble").textContent = trouble;
}

/** Save what was typed as a judgment; false where a new response is still being written. */
function leaveTexts() {
  if (!$("#rewrite").hidden && rewrite.value !== rewrite.saved) {
    say("", "save or cancel the new response first");
    rewrite.focus();
    return false;
  }
  if (judgment.refused && judgment.value !== judgment.saved) {
    say("", "save the judgment again (Ctrl+Enter), or leave it as it was (Esc)");
    judgment.focus();
    return false;
  }
  closeRewrite();
  saveJudgment();
  return true;
}

let queue = Promise.resolve();

/**
 * Send a change once all before it are answered; `make(row)` says which, from the row as it is by then. Resolves to
 * whether it is on disk.
 */
function send(make, index = state.index) {
  state.waiting += 1;
  const done = queue.then(async () => {
    const row = rows[index];
    const asked = make(row);
    if (asked === null) return false;
    say("saving…");
    try {
      const answer = await fetch("edit", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id: row.id, version: row.version, ...asked }),
      });
      const found = await answer.json();
      if (answer.ok || found.row) update(index, answer.ok ? found : found.row);
      if (!answer.ok) throw new Error(found.error);
      say(`saved in ${visible(data.edits)}; ${rows.filter((each) => each.edited).length} of ${rows.length} rows edited`);
      return true;
    } catch (error) {
      const silent = "not saved: nlft does not answer; is `nlft view` still running?";
      say("", error instanceof TypeError ? silent : error.message);
      return false;
    }
  });
  queue = done.finally(() => (state.waiting -= 1));
  return done;
}

function update(index, row) {
  rows[index] = row;
  list.load(rows, []);
  if (index !== state.index) return;
  const within = $("#words").contains(document.activeElement);
  show({ keep: true });
  if (within) words.focus();
}

const change = (changes) => send(() => ({ change: changes }));

const actions = {
  right: () => change({ correct: true }),
  wrong: () => change({ correct: false }),
  mark: () => {
    if (now().correct !== false) return say("", "only a wrong response has wrong words: call it wrong first (w)");
    const { anchor, current } = words;
    return send((row) => {
      [words.anchor, words.current] = [anchor, current];
      const signs = [...row.response];
      const marks = words.toggled().map(([start, end]) => ({ start, end, text: signs.slice(start, end).join("") }));
      return { change: { marks } };
    });
  },
  judge: () => {
    if (now().correct !== false) return say("", "only a wrong response has a judgment: call it wrong first (w)");
    return judgment.focus();
  },
  rewrite: () => {
    $("#rewrite").hidden = false;
    fill(rewrite, now().response);
    rewrite.focus();
  },
  skip: () => send((row) => ({ change: { skip: !row.skip } })),
  undo: () => send((row) => (row.undo ? { undo: true } : null)),
};

/** Words that could not be saved stay in the field, or are told where the field is gone. */
async function saveJudgment() {
  const typed = judgment.value;
  const { index } = state;
  if (typed === judgment.saved) return;
  judgment.saved = typed;
  judgment.refused = false;
  if ((await change({ judgment: typed })) || index !== state.index) return;
  if ($("#judge").hidden) $("#trouble").append(` Your words: “${visible(typed)}”`);
  else {
    [judgment.saved, judgment.value] = [judgment.value === typed ? null : judgment.value, typed];
    judgment.refused = true;
    $("#trouble").append(" Your words are still in the field; saving them again replaces what is there.");
  }
}

function closeRewrite() {
  $("#rewrite").hidden = true;
  rewrite.saved = rewrite.value;
}

/** Ctrl+Enter saves a text, Escape leaves it as it was; both go back to the words. */
function wireText(field, save, leave) {
  const form = field.closest("form");
  const done = (act) => {
    act();
    words.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    done(save);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) done(save);
    else if (event.key === "Escape") done(leave);
    else return;
    event.preventDefault();
  });
  form.querySelector("button[type=button]")?.addEventListener("click", () => done(leave));
}

function wireKeys() {
  const keys = { r: "right", w: "wrong", m: "mark", e: "judge", E: "rewrite", s: "skip", u: "undo" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const step = { j: 1, n: 1, k: -1, p: -1 }[event.key];
    if (step) {
      list.step(step);
      if (!document.activeElement.closest("textarea")) words.focus(); // where a text is unsaved, it has the focus
    } else if (event.key === "/") $("#filters [name=text]").focus();
    else if (keys[event.key]) actions[keys[event.key]]();
    else return;
    event.preventDefault();
  });
}

function start() {
  $("#source").textContent = visible(data.source);
  $("#edits").textContent = visible(data.edits);
  $("#next").addEventListener("click", () => list.step(1));
  $("#previous").addEventListener("click", () => list.step(-1));
  $(".tools").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) actions[button.dataset.does]();
  });
  $("#theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  wireText(judgment, saveJudgment, () => fill(judgment, now().judgment ?? ""));
  judgment.addEventListener("change", () => judgment.refused || saveJudgment());
  wireText(
    rewrite,
    () => {
      if (rewrite.value === rewrite.saved) closeRewrite();
      else change({ response: rewrite.value }).then((saved) => saved && closeRewrite());
    },
    () => {
      rewrite.value = rewrite.saved;
      closeRewrite();
    },
  );
  wireKeys();
  addEventListener("beforeunload", (event) => {
    const typed = !$("#rewrite").hidden && rewrite.value !== rewrite.saved;
    if (typed || state.waiting > 0 || judgment.value !== judgment.saved) event.preventDefault();
  });
  list.load(rows, []);
  choose(0);
  words.focus();
}

start();
