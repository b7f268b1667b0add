/** The answer as text, with entries that light up with their boxes. */

const SIGNS = { added: "+", missing: "−", level: "→" };

/** answer: as the server gives it; truth: of a synthetic pair, or null. */
export function showAnswer(panel, answer, truth, colours, light) {
  const parts = [
    make("p", { className: answer.reason ? "text none" : "text" }, inSentences(answer.text)),
    answer.reason && make("p", {}, answer.reason),
    answer.confidence !== null && confidence(answer),
    answer.changes && part("Changes", changes(answer, colours, light)),
    !answer.reason && part("Findings by image", findings(answer, colours, light)),
    !answer.reason && answer.boxes === null && make("p", { className: "soft" }, `No boxes: ${answer.boxes_reason}.`),
    answer.warnings.length > 0 && part("Warnings", list("warnings", answer.warnings.map((text) => [text]))),
    truth && part("The truth of this synthetic pair", make("p", { className: "truth" }, inSentences(truth))),
    make("p", { className: "soft part" }, about(answer), make("br"), answer.notice),
  ];
  panel.replaceChildren(...parts.filter(Boolean));
  lightEntries(panel, light.label);
}

export function showWaiting(panel) {
  panel.replaceChildren(make("p", { className: "soft" }, "The model is reading the radiographs …"));
}

export function showProblem(panel, message) {
  panel.replaceChildren(make("p", { className: "problem" }, inWordsOfThePage(message)));
}

/** The names of the form's fields, as programs know them, as what stands on the page. */
function inWordsOfThePage(message) {
  const where = "below the question, under “The headers of the files are wrong”,";
  return message
    .replace("give trust_order", `say so ${where}`)
    .replace("or trust_identity", `or say so ${where}`);
}

function inSentences(text) {
  return text.replace(/(^|\. )([a-z])/g, (_, before, letter) => before + letter.toUpperCase());
}

export function lightEntries(panel, label) {
  for (const entry of panel.querySelectorAll("[data-label]")) {
    entry.classList.toggle("lit", entry.dataset.label === label);
  }
}

function confidence({ confidence: share, calibrated }) {
  const bar = make("div", { className: "share" });
  bar.style.width = `${100 * share}%`;
  const meaning = calibrated
    ? "calibrated: how often such answers were right on the validation split"
    : "the model's own, not calibrated";
  return make(
    "div",
    {},
    make("div", { className: "confidence" }, "Confidence ", make("b", {}, share.toFixed(2)),
      make("div", { className: "track" }, bar)),
    make("p", { className: "soft" }, meaning),
  );
}

function changes(answer, colours, light) {
  if (!answer.changes.length) return make("p", {}, "None.");
  return list("changes", answer.changes.map((change) => {
    const images = (answer.boxes ?? []).filter(({ kind, label }) => kind === "change" && label === change.finding);
    return [entry("change", change.finding, colours, light,
      make("span", { className: "sign", ariaHidden: "true" }, SIGNS[change.kind]),
      make("span", {},
        make("span", { className: "what" }, change.finding), " ",
        make("span", { className: "how" }, wording(change))),
      make("span", { className: "where" }, images.map(({ image }) => image).join(", ") || "no box"),
    )];
  }));
}

function wording({ kind, before, after }) {
  return { added: "new", missing: "no longer seen", level: `from ${before} to ${after}` }[kind];
}

function findings(answer, colours, light) {
  if (!answer.findings) return make("p", { className: "soft" }, `None: ${answer.findings_reason}.`);
  const rows = ["prior", "current"].filter((image) => image in answer.findings).flatMap((image) => {
    const names = answer.findings[image].map((name) =>
      entry("", name, colours, light, make("span", { className: "what" }, name)));
    return [make("dt", {}, image), make("dd", {}, ...(names.length ? names : ["no findings"]))];
  });
  return make("dl", { className: "findings" }, ...rows);
}

function about({ model, out_of_distribution: scores }) {
  const each = Object.entries(scores ?? {}).map(([image, score]) => `${image} ${score.toFixed(2)}`);
  const measured = each.length ? `. Out-of-distribution score (usual: below 1): ${each.join(", ")}` : "";
  return `Model “${model.name}”, version ${model.version}, diffvqa ${model.diffvqa}${measured}.`;
}

function entry(className, label, colours, light, ...children) {
  const button = make("button", { type: "button", className }, ...children);
  button.dataset.label = label;
  button.style.color = colours.get(label) ?? "";
  light.watch(button, label);
  return button;
}

function part(title, content) {
  return make("div", { className: "part" }, make("h2", {}, title), content);
}

function list(className, items) {
  return make("ul", { className }, ...items.map((children) => make("li", {}, ...children)));
}

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}
