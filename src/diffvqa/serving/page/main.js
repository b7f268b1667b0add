/** The page put together: which part changes when another one does. */

import { lightEntries, showAnswer, showProblem, showWaiting } from "./answer.js";
import { colourLabels } from "./colours.js";
import { Flicker } from "./flicker.js";
import { listen } from "./gestures.js";
import { listenToKeys } from "./keys.js";
import { Light } from "./light.js";
import { IMAGES, Pair } from "./pair.js";
import { Pane } from "./pane.js";
import { ask, exampleFiles, examples, health } from "./requests.js";
import { Slot } from "./slot.js";
import { Tone } from "./tone.js";
import { View } from "./view.js";

const find = (selector) => document.querySelector(selector);
const [view, tone, light, pair] = [new View(), new Tone(), new Light(), new Pair()];
const figures = Object.fromEntries([...document.querySelectorAll(".pane")].map((one) => [one.dataset.image, one]));
const panes = byName(Object.keys(figures), (image) => new Pane(figures[image], { view, tone, light }));
const slots = byName(IMAGES, (image) => new Slot(figures[image], (files) => takeFiles(image, files)));
const form = find("#ask");
const trusting = ["trust_order", "trust_identity"].map((name) => form[name]);
const panel = find("#answer");
let mode = "side";
let inFront = "current";
let answer = null;
let asked = 0;
let limit = Infinity;

for (const pane of Object.values(panes)) listen(pane, view, tone);

function byName(names, make) {
  return Object.fromEntries(names.map((name) => [name, make(name)]));
}

/** One file goes where it was put; of two the first is the prior. */
function takeFiles(image, files) {
  if (files.length > 1) IMAGES.forEach((name, number) => pair.take(name, files[number], limit));
  else if (files.length) pair.take(image, files[0], limit);
}

function show() {
  const boxes = answer?.boxes ?? [];
  const changes = (answer?.changes ?? []).map(({ finding }) => finding);
  const named = Object.values(answer?.findings ?? {}).flat();
  const colours = colourLabels([...changes, ...boxes.map(({ label }) => label), ...named]);
  const layer = (image) => {
    const { picture } = pair[image];
    const here = picture ? boxes.filter((found) => found.image === image) : [];
    return { picture, boxes: here.map((found) => ({ ...found, box: picture.upright(found.box) })) };
  };
  for (const image of IMAGES) panes[image].show([layer(image)], colours);
  panes.both.show(mode === "flicker" ? [layer(inFront)] : [layer("current"), layer("prior")], colours);
  find("#both-name").textContent =
    mode === "flicker" ? { prior: "Prior", current: "Current" }[inFront] : "Current minus prior, not aligned";
  find("#step").hidden = mode !== "flicker";
  find("#step").textContent = flicker.running ? "Stop" : "Step";
  return colours;
}

function setMode(name) {
  if (name !== "side" && !IMAGES.every((image) => pair[image].picture)) name = "side";
  mode = name;
  find(".panes").dataset.mode = mode;
  for (const button of document.querySelectorAll("[data-mode][aria-pressed]")) {
    button.setAttribute("aria-pressed", button.dataset.mode === mode);
  }
  if (mode === "flicker") flicker.start();
  else flicker.stop();
  show();
}

const flicker = new Flicker(() => {
  inFront = inFront === "prior" ? "current" : "prior";
  show();
});

pair.addEventListener("change", () => {
  for (const image of IMAGES) slots[image].show(pair[image]);
  const whole = IMAGES.every((image) => pair[image].picture);
  for (const name of ["difference", "flicker"]) find(`[data-mode="${name}"][aria-pressed]`).disabled = !whole;
  const submit = form.querySelector("[type=submit]");
  submit.disabled = !pair.current.file;
  submit.title = submit.disabled ? "Choose the current radiograph first" : "";
  forgetAnswer();
  for (const box of trusting) box.checked = false; // said of the headers of these files, not of the next patient's
  setMode(mode);
});

/** An answer is about the pictures that it was asked of. */
function forgetAnswer() {
  answer = null;
  asked += 1;
  light.set({ pointed: null, pinned: null });
  panel.replaceChildren();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!pair.current.file) return;
  form.question.blur(); // so that the next key is not written into it
  forgetAnswer();
  show();
  showWaiting(panel);
  const number = asked;
  const question = form.question.value.trim();
  const trusted = trusting.filter(({ checked }) => checked);
  try {
    const found = await ask(pair.files, {
      ...(question && { question }),
      ...Object.fromEntries(trusted.map(({ name }) => [name, "true"])),
    });
    if (number !== asked) return;
    answer = found;
    showAnswer(panel, answer, pair.truth, show(), light);
  } catch (error) {
    if (number === asked) showProblem(panel, error.message);
  }
});

light.addEventListener("change", () => lightEntries(panel, light.label));

const [level, width, invert, boxes] = ["#level", "#width", "#invert", "#boxes"].map(find);
level.addEventListener("input", () => tone.set({ level: Number(level.value) }));
width.addEventListener("input", () => tone.set({ width: Number(width.value) }));
tone.addEventListener("change", () => {
  level.value = tone.level;
  width.value = tone.width;
  invert.setAttribute("aria-pressed", tone.inverted);
});

const actions = {
  invert: () => tone.set({ inverted: !tone.inverted }),
  boxes: () => boxes.setAttribute("aria-pressed", !find(".panes").classList.toggle("no-boxes")),
  swap: () => pair.swap(),
  step: () => {
    if (mode !== "flicker") return;
    flicker.byHand();
    show();
  },
  closer: () => view.zoomBy(1.25),
  farther: () => view.zoomBy(1 / 1.25),
  reset: () => {
    view.reset();
    tone.reset();
  },
};
for (const [name, action] of Object.entries(actions)) find(`#${name}`).addEventListener("click", action);
for (const button of document.querySelectorAll("[data-mode][aria-pressed]")) {
  button.addEventListener("click", () => setMode(button.dataset.mode));
}

function toChange(step) {
  const entries = [...panel.querySelectorAll(".change")];
  const at = entries.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : entries.length - 1) : (at + step + entries.length) % entries.length;
  entries[next]?.focus({ focusVisible: true });
}

listenToKeys(
  {
    p: () => slots.prior.choose(),
    c: () => slots.current.choose(),
    s: actions.swap,
    q: () => form.question.focus(),
    j: () => toChange(1),
    k: () => toChange(-1),
    1: () => setMode("side"),
    2: () => setMode("difference"),
    3: () => setMode("flicker"),
    f: actions.step,
    "+": actions.closer,
    "=": actions.closer,
    "-": actions.farther,
    0: actions.reset,
    i: actions.invert,
    b: actions.boxes,
  },
  () => find("#keys-on").checked,
);

// A file dropped beside the panes must not take the page's place.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

const state = await health();
limit = state.limits.file_bytes;
find("#model").textContent = `Model “${state.model.name}”, version ${state.model.version}.`;
for (const { name, title, truth } of await examples()) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: title });
  button.addEventListener("click", async () => {
    try {
      await pair.takeBoth(await exampleFiles(name), truth);
    } catch (error) {
      showProblem(panel, error.message);
    }
  });
  find("#examples").append(button);
}
