"use strict";
// The gallery reads the results from the page, and shows them as cards; a dialog shows an image with all its answers.
// Texts are set as text. Only `html`, which was sanitized when the page was made, is set as HTML.
(() => {
const page = JSON.parse(document.getElementById("data").textContent);
const images = page.images;
const answers = images.flatMap((image) => image.answers.map((answer) => Object.assign(answer, { image })));
const $ = (id) => document.getElementById(id);
const grid = $("grid"), search = $("search"), viewer = $("viewer");
const FIRST_CARDS = 60, MORE_CARDS = 150, ALT_LENGTH = 1000;
const INKS = ["#ffb454", "#6ee7b7", "#7cc4ff", "#f9a8d4", "#fde047", "#c4b5fd", "#fca5a5", "#a3e635"];

// Elements

/** An element with properties and children; texts become text nodes, and null is left out. */
function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function drawing(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.5", "aria-hidden": "true" })) svg.setAttribute(key, value);
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const NO_PICTURE = "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M3 3l18 18";
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
/** The text in lower case and without accents. */
const fold = (text) => (/^[\x00-\x7f]*$/.test(text) ? text : text.normalize("NFKD").replace(/\p{M}/gu, "")).toLowerCase();
const shorten = (text, length) => (text.length > length ? text.slice(0, length) + "…" : text);

// Searching and filtering

const STATES = { ok: "OK", failed: "failed", incomplete: "incomplete" };

function getWords(answer) {
  if (!answer.words) {
    const parts = [answer.image.name, answer.text, answer.caption, answer.error && answer.error.message, answer.model, ...answer.tags];
    answer.words = fold(parts.filter(Boolean).join("\n"));
  }
  return answer.words;
}

/** Count the values of the answers, the most frequent first. */
function tally(read) {
  const counts = new Map();
  for (const answer of answers) for (const value of new Set(read(answer))) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

const FILTERS = [
  { name: "State", all: "All states", read: (answer) => [STATES[answer.state], answer.bad && "marked as bad", answer.corrected && "corrected"].filter(Boolean), always: true },
  { name: "Answer", all: "Any answer", read: (answer) => (answer.verdict ? [answer.verdict] : []) },
  { name: "Model", all: "All models", read: (answer) => (answer.model ? [answer.model] : []) },
  { name: "Prompt", all: "All prompts", read: (answer) => (answer.prompt === null ? [] : [page.prompts[answer.prompt]]), most: 50 },
  { name: "Tag", all: "All tags", read: (answer) => answer.tags, most: 500, single: true },
];
const ORDERS = [
  { name: "position", read: (answer) => answer.number },
  { name: "name", read: (answer) => answer.image.order },
  { name: "total time", read: (answer) => answer.total, down: true },
  { name: "tokens", read: (answer) => answer.tokens, down: true },
  { name: "time to first token", read: (answer) => answer.ttft, down: true },
  { name: "tokens per second", read: (answer) => answer.rate, down: true },
  { name: "cost", read: (answer) => answer.cost, down: true },
  { name: "probability", read: (answer) => answer.probability, down: true },
  { name: "date", read: (answer) => answer.created },
];

function fillFilter(filter) {
  const chosen = filter.select.value;
  const values = tally(filter.read).slice(0, filter.most);
  const options = values.map(([value, number]) => make("option", { value, textContent: `${shorten(value, 60)} (${number.toLocaleString("en")})` }));
  filter.select.replaceChildren(make("option", { value: "", textContent: filter.all }), ...options);
  filter.select.value = values.some(([value]) => value === chosen) ? chosen : "";
  filter.label.hidden = values.length < (filter.single ? 1 : 2) && !filter.always;
}

const orders = ORDERS.filter((order, i) => i < 2 || new Set(answers.map(order.read).filter((value) => value !== null)).size > 1);
const order = make("select", { id: "order" }, orders.map((item, i) => make("option", { value: i, textContent: item.name })));
const direction = make("button", { type: "button", id: "direction", className: "quiet", ariaLabel: "Reverse the order", textContent: "↓", ariaPressed: "false" });
for (const filter of FILTERS) {
  filter.select = make("select", { id: `filter-${filter.name.toLowerCase()}` });
  filter.label = make("label", {}, make("span", { className: "hidden", textContent: filter.name }), filter.select);
  fillFilter(filter);
  $("choices").append(filter.label);
}
$("choices").append(make("label", {}, make("span", { textContent: "Sort by" }), order), direction);

/** The images with an answer that matches, each with these answers, in the chosen order. */
function find() {
  const words = fold(search.value).split(/\s+/).filter(Boolean);
  const filters = FILTERS.filter((filter) => filter.select.value);
  const hits = [];
  for (const image of images) {
    const matching = image.answers.filter((answer) =>
      filters.every((filter) => filter.read(answer).includes(filter.select.value)) && words.every((word) => getWords(answer).includes(word)));
    if (matching.length) hits.push({ image, answers: matching });
  }
  const { read, down } = orders[order.value];
  const sign = (down ? -1 : 1) * (direction.ariaPressed === "true" ? -1 : 1);
  for (const hit of hits) {
    const values = hit.answers.map(read).filter((value) => value !== null);
    hit.value = values.length ? values.reduce((a, b) => (sign * (a < b ? -1 : 1) < 0 ? a : b)) : null;
  }
  return hits.sort((a, b) => (a.value === null) - (b.value === null) || (a.value === b.value ? 0 : sign * (a.value < b.value ? -1 : 1)));
}

// Cards

const cards = new Map();

function makePicture(image, alt, source, isLazy) {
  if (source) return make("img", { className: "picture", alt, loading: isLazy ? "lazy" : "eager", decoding: "async", src: source, draggable: false });
  const empty = make("span", { className: "picture empty", role: "img", ariaLabel: alt }, drawing(NO_PICTURE), make("span", { textContent: image.note || "no picture", ariaHidden: "true" }));
  return empty;
}

function describeAnswer(answer) {
  return answer.caption || (answer.error && answer.error.message) || "(no answer)";
}

function makeBadges(answer) {
  const badges = [];
  if (answer.state !== "ok") badges.push(make("span", { className: `badge ${answer.state}`, textContent: STATES[answer.state] }));
  if (answer.verdict) badges.push(make("span", { className: `badge ${answer.verdict}`, textContent: answer.probability === null ? answer.verdict : `${answer.verdict} ${answer.probability.toFixed(2)}` }));
  if (answer.corrected) badges.push(make("span", { className: "badge corrected", textContent: "corrected" }));
  if (answer.bad) badges.push(make("span", { className: "badge bad", textContent: "bad" }));
  return badges;
}

function makeCaption(answer, isNamed) {
  return make("p", { className: answer.state === "failed" ? "caption error" : "caption", dir: "auto", ariaHidden: "true" },
    isNamed ? make("b", { textContent: answer.label }) : null, shorten(describeAnswer(answer), 600));
}

function makeCard({ image, answers: matching }) {
  const several = matching.length > 1;
  const alt = shorten(matching.map((answer) => (several ? `${answer.label}: ` : "") + describeAnswer(answer)).join("\n"), ALT_LENGTH);
  const foot = make("p", { className: "foot" }, make("span", { className: "name", textContent: image.name, title: image.name }),
    several ? make("span", { className: "badge", textContent: count(matching.length, "answer") }) : makeBadges(matching[0]));
  const card = make("li", { className: several ? "card two" : "card" },
    make("button", { type: "button", className: "open" }, makePicture(image, alt, image.thumbnail, true)),
    make("div", { className: "body" }, matching.slice(0, 2).map((answer) => makeCaption(answer, several)), foot));
  card.image = image;
  return card;
}

function getCard(hit) {
  const key = `${hit.image.index}:${hit.answers.map((answer) => answer.number).join()}`;
  if (!cards.has(key)) cards.set(key, makeCard(hit));
  return cards.get(key);
}

let hits = [], shown = 0, pending = 0;
const later = window.requestIdleCallback || ((work) => setTimeout(work, 16));

function showMore(number) {
  const next = hits.slice(shown, shown + number);
  grid.append(...next.map(getCard));
  shown += next.length;
}

/** Show the images that match: the first cards at once, the others when the browser is idle. */
function show() {
  hits = find();
  shown = 0;
  grid.replaceChildren();
  showMore(FIRST_CARDS);
  const run = (pending += 1);
  const goOn = () => {
    if (run !== pending || shown >= hits.length) return;
    showMore(MORE_CARDS);
    later(goOn);
  };
  later(goOn);
  const total = hits.length === images.length ? "" : ` of ${images.length.toLocaleString("en")}`;
  $("count").textContent = hits.length === 1 && !total ? "1 image" : `${hits.length.toLocaleString("en")}${total} images`;
  $("none").hidden = hits.length > 0;
  for (const { select } of FILTERS) select.classList.toggle("set", select.value !== "");
}

function reset() {
  search.value = "";
  for (const { select } of FILTERS) select.value = "";
  show();
  search.focus();
}

// The viewer

let current = 0;

const keyName = (key) => key.replaceAll("_", " ");

/** A JSON value as lists, tables and texts. */
function showValue(value, depth = 0) {
  if (value === null || value === undefined || typeof value !== "object") return document.createTextNode(value === null || value === undefined ? "–" : String(value));
  if (depth > 5) return make("pre", { className: "raw", textContent: JSON.stringify(value, null, 2) });
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item === "number")) return document.createTextNode(value.join(", "));
    const isPlain = (item) => item === null || typeof item !== "object";
    if (value.every((item) => isPlain(item) && String(item).length < 40)) return make("ul", { className: "chips" }, value.map((item) => make("li", { dir: "auto", textContent: String(item) })));
    if (value.every((item) => item && typeof item === "object" && !Array.isArray(item))) {
      const columns = [...new Set(value.flatMap(Object.keys))];
      return make("table", { tabIndex: 0 }, make("thead", {}, make("tr", {}, columns.map((column) => make("th", { scope: "col", textContent: keyName(column) })))),
        make("tbody", {}, value.slice(0, 500).map((item) => make("tr", {}, columns.map((column) => make("td", { dir: "auto" }, showValue(item[column], depth + 1)))))));
    }
    if (value.every(Array.isArray)) return make("table", { tabIndex: 0 }, make("tbody", {}, value.slice(0, 500).map((row) => make("tr", {}, row.map((item) => make("td", { dir: "auto" }, showValue(item, depth + 1)))))));
    return make("ul", {}, value.slice(0, 500).map((item) => make("li", { dir: "auto" }, showValue(item, depth + 1))));
  }
  return make("dl", { className: "value" }, Object.entries(value).flatMap(([key, item]) => {
    const shownItem = showValue(item, depth + 1);
    const className = shownItem.nodeType === Node.TEXT_NODE ? "" : "wide";
    return [make("dt", { className, textContent: keyName(key) }), make("dd", { className, dir: "auto" }, shownItem)];
  }));
}

function makePairs(pairs) {
  return make("dl", { className: "pairs" }, pairs.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { dir: "auto", textContent: value })]));
}

const makeDetails = (name, ...content) => make("details", {}, make("summary", { textContent: name }), ...content);

function makeText(answer) {
  if (answer.data !== null && !answer.verdict) return make("div", { className: "text" }, showValue(answer.data));
  if (answer.verdict) return make("div", { className: "text" }, make("p", {}, makeBadges(answer)), answer.data.reason ? make("p", { className: "plain", dir: "auto", textContent: answer.data.reason }) : null);
  const text = make("div", { className: "text", dir: "auto" });
  if (answer.html !== null) text.innerHTML = answer.html;
  else text.append(make("p", { className: "plain", textContent: answer.text }));
  return answer.text ? text : null;
}

function makeProblem(answer) {
  if (!answer.error) return null;
  const lines = [answer.error.message, answer.error.status ? `HTTP ${answer.error.status}` : null].filter(Boolean).join(" · ");
  return make("p", { className: `problem ${answer.state}`, dir: "auto" }, lines, answer.error.hint ? make("small", { textContent: answer.error.hint }) : null);
}

function makeAnswer(answer, isNamed) {
  const id = `answer-${answer.number}`;
  return make("article", { className: "answer", "aria-labelledby": id },
    make("h3", { id }, isNamed ? answer.label : "Answer", answer.verdict ? null : makeBadges(answer)),
    makeProblem(answer), makeText(answer), page.editing ? makeEditor(answer) : null,
    makePairs(answer.facts),
    answer.prompt === null ? null : makeDetails("Prompt", make("p", { className: "plain", dir: "auto", textContent: page.prompts[answer.prompt] })),
    answer.original === null ? null : makeDetails("What the model wrote", make("p", { className: "plain", dir: "auto", textContent: answer.original })),
    answer.reasoning ? makeDetails("Reasoning", make("p", { className: "plain", dir: "auto", textContent: answer.reasoning })) : null,
    answer.metrics ? makeDetails("Metrics of the server", showValue(answer.metrics)) : null,
    answer.warnings.length ? makeDetails("Notes", make("ul", {}, answer.warnings.map((text) => make("li", { textContent: text })))) : null);
}

function makeBox([label, left, top, right, bottom]) {
  const kind = left === right && top === bottom ? "box point" : top < 0.05 ? "box low" : "box";
  const box = make("span", { className: kind, ariaHidden: "true" }, label ? make("span", { textContent: label }) : null);
  Object.assign(box.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%` });
  return box;
}

/** The picture at the largest size that fits, with the boxes of all answers over it. */
function makeStage(image) {
  const picture = makePicture(image, image.name, image.preview || image.thumbnail, false);
  picture.classList.remove("picture");
  const boxed = image.answers.filter((answer) => answer.boxes.length);
  const labels = [...new Set(boxed.flatMap((answer) => answer.boxes.map((box) => box[0])))];
  const shownImage = make("div", { className: "shown" }, picture);
  // The boxes of several answers have a color for each answer, those of one a color for each label.
  const toggles = boxed.map((answer, place) => {
    const setInk = (element, number) => element.style.setProperty("--ink", INKS[number % INKS.length]);
    const boxes = answer.boxes.map((box) => makeBox(box));
    boxes.forEach((box) => box.classList.toggle("other", place > 0));
    boxes.forEach((box, i) => setInk(box, boxed.length > 1 ? place : labels.indexOf(answer.boxes[i][0])));
    shownImage.append(...boxes);
    const swatch = boxed.length > 1 ? make("span", { className: "swatch" }) : null;
    if (swatch) setInk(swatch, place);
    const text = `${boxes.length === 1 ? "1 box" : `${boxes.length} boxes`}${boxed.length > 1 ? `: ${answer.label}` : ""}`;
    const toggle = make("button", { type: "button", className: "quiet", ariaPressed: "true" }, swatch, text);
    toggle.onclick = () => {
      toggle.ariaPressed = String(toggle.ariaPressed !== "true");
      for (const box of boxes) box.hidden = toggle.ariaPressed !== "true";
    };
    return toggle;
  });
  if (image.width) {
    const ratio = image.width / image.height;
    shownImage.style.aspectRatio = String(ratio);
    shownImage.style.width = `min(100cqw, var(--room) * ${ratio}, ${Math.max(image.width, 320)}px)`;
  }
  const link = image.link ? make("a", { href: image.link, target: "_blank", rel: "noopener noreferrer", textContent: "original" }) : null;
  return make("div", { className: "stage" }, make("div", { className: "frame" }, shownImage),
    make("p", { className: "facts-of-image" }, image.facts.map((fact) => make("span", { textContent: fact })), link, toggles));
}

function fillViewer() {
  const { image } = hits[current];
  const several = image.answers.length > 1;
  const button = (text, label, work, disabled) => make("button", { type: "button", className: "icon", ariaLabel: label, title: label, textContent: text, onclick: work, disabled });
  viewer.replaceChildren(
    make("div", { className: "head" }, make("h2", { id: "viewer-name", tabIndex: -1, textContent: image.name, title: image.name }),
      make("span", { className: "place", textContent: `${(current + 1).toLocaleString("en")} / ${hits.length.toLocaleString("en")}` }),
      button("‹", "Previous image", () => step(-1), current === 0),
      button("›", "Next image", () => step(1), current === hits.length - 1),
      button("✕", "Close", () => viewer.close(), false)),
    make("div", { className: ["view", "view", "view two"][image.answers.length] || "view many" }, makeStage(image),
      make("div", { className: "answers", tabIndex: 0, role: "region", ariaLabel: "Answers" }, image.answers.map((answer) => makeAnswer(answer, several)))));
  $("viewer-name").focus();
}

function openViewer(image) {
  current = hits.findIndex((hit) => hit.image === image);
  if (current < 0) return;
  viewer.showModal();
  fillViewer();
}

function step(by) {
  const next = current + by;
  if (next < 0 || next >= hits.length || !mayLeave()) return;
  current = next;
  fillViewer();
}

// Corrections

const editors = () => [...viewer.querySelectorAll(".edit")];

function mayLeave() {
  return !editors().some((form) => form.isChanged()) || window.confirm("Leave without saving the correction?");
}

function makeEditor(answer) {
  const isData = answer.data !== null;
  const text = make("textarea", { value: isData ? JSON.stringify(answer.data, null, 2) : answer.text, spellcheck: !isData, dir: "auto" });
  const before = text.value; // its line breaks may differ from those of the answer
  const bad = make("input", { type: "checkbox", checked: answer.bad });
  const status = make("output", { ariaLive: "polite" });
  const form = make("form", { className: "edit" }, make("label", {}, isData ? "Correction, as JSON" : "Correction", text),
    make("div", { className: "row" }, make("label", { className: "check" }, bad, "Mark as bad"), make("button", { type: "submit", className: "save", textContent: "Save" }), status));
  form.isChanged = () => text.value !== before || bad.checked !== answer.bad;
  text.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    status.className = "";
    status.textContent = "Saving…";
    try {
      const isUntouched = text.value === before && !answer.corrected;
      const correction = { number: answer.number, text: isUntouched ? null : text.value, bad: bad.checked };
      const response = await fetch("corrections", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(correction) });
      const reply = await response.json();
      if (!response.ok) throw new Error(reply.message);
      update(answer, reply);
    } catch (error) {
      status.className = "error";
      status.textContent = error instanceof TypeError || error instanceof SyntaxError ? "The server does not answer. Is qvision report --serve still running?" : error.message;
    }
  };
  return form;
}

/** Show an answer, and copies of it, as the server returned them with the correction. */
function update(answer, changes) {
  for (const [number, changed] of Object.entries(changes)) {
    const changedAnswer = Object.assign(answers[number], changed, { words: null });
    for (const [key, card] of cards) if (card.image === changedAnswer.image) cards.delete(key);
  }
  FILTERS.forEach(fillFilter);
  const heading = $(`answer-${answer.number}`);
  if (!heading) return;
  const article = makeAnswer(answer, answer.image.answers.length > 1);
  heading.closest("article").replaceWith(article);
  article.querySelector(".save").focus();
  setTimeout(() => { article.querySelector("output").textContent = "Saved"; });
}

viewer.addEventListener("cancel", (event) => {
  if (!mayLeave()) event.preventDefault();
});
viewer.addEventListener("close", () => {
  const { image } = hits[current];
  viewer.replaceChildren();
  show();
  while (shown < hits.length && ![...grid.children].some((card) => card.image === image)) showMore(MORE_CARDS);
  const card = [...grid.children].find((item) => item.image === image);
  if (card) card.querySelector("button").focus();
});
viewer.addEventListener("click", (event) => {
  if (event.target === viewer && mayLeave()) viewer.close();
});

// Mouse and keyboard

grid.addEventListener("click", (event) => {
  const card = event.target.closest(".card");
  if (card && !(event.target.closest(".body") && String(window.getSelection()))) openViewer(card.image);
});

/** Move the focus among the cards with the arrow keys. */
function moveFocus(key) {
  const list = [...grid.children];
  if (!list.length) return;
  const from = list.findIndex((card) => card.contains(document.activeElement));
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  if (from < 0 && (key === "ArrowUp" || key === "ArrowLeft")) return;
  let to = from < 0 ? 0 : from + steps[key];
  if (key === "Home") to = 0;
  if (key === "End") {
    showMore(hits.length);
    to = grid.children.length - 1;
  }
  if (to >= list.length && shown < hits.length) showMore(MORE_CARDS);
  const card = grid.children[to];
  if (card) {
    card.querySelector("button").focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const isTyping = target.matches("textarea, input[type=search], select");
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (viewer.open) {
    if (isTyping) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    }
    return;
  }
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (target === search && event.key === "Escape") {
    search.value = "";
    show();
    search.blur();
  } else if (target === search && (event.key === "Enter" || event.key === "ArrowDown")) {
    event.preventDefault();
    moveFocus("Home");
  } else if (!isTyping && (event.key.startsWith("Arrow") || ((event.key === "Home" || event.key === "End") && grid.contains(target)))) {
    if (!grid.contains(target) && event.key !== "ArrowDown" && event.key !== "ArrowRight") return;
    event.preventDefault();
    moveFocus(event.key);
  }
});

search.addEventListener("input", show);
order.addEventListener("change", show);
$("choices").addEventListener("change", (event) => event.target !== order && show());
direction.addEventListener("click", () => {
  direction.ariaPressed = String(direction.ariaPressed !== "true");
  direction.textContent = direction.ariaPressed === "true" ? "↑" : "↓";
  show();
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("reset").addEventListener("click", reset);
window.addEventListener("beforeprint", () => {
  showMore(hits.length);
  for (const picture of grid.querySelectorAll("img")) picture.loading = "eager";
});
window.addEventListener("beforeunload", (event) => {
  if (viewer.open && editors().some((form) => form.isChanged())) event.preventDefault();
});
images.forEach((image, index) => { image.index = index; });
if (!images.length) $("none").textContent = "There are no results.";
show();
let indexed = 0;
later(function prepareSearch() {
  answers.slice(indexed, (indexed += 300)).forEach(getWords);
  if (indexed < answers.length) later(prepareSearch);
});
})();
