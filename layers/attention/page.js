"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ALL = -1;  // the mean over the heads
// side: "queries" or "keys"; a token of the first looks at those of the second.
const state = { example: 0, layer: 0, head: ALL, pinned: null, pointed: null, theme: "auto" };
let shown = null;  // what draw() works on: the chosen map with its decoded weights

// --- weights --------------------------------------------------------------------------------------------------------

// Two base64 digits a weight, in 4095ths; "AA" and two more digits are that many zeros.
const DIGITS = new Uint8Array(128);
[..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].forEach(
    (c, i) => { DIGITS[c.charCodeAt(0)] = i; });

function decode(code, size) {
  const weights = new Float32Array(size);
  const number = (i) => DIGITS[code.charCodeAt(i)] * 64 + DIGITS[code.charCodeAt(i + 1)];
  for (let i = 0, n = 0; i < code.length; i += 2) {
    const level = number(i);
    if (level) weights[n++] = level / 4095;
    else n += number(i += 2);
  }
  return weights;
}

function mean(map, size) {
  const sum = new Float32Array(size);
  for (const code of map.heads) decode(code, size).forEach((w, i) => { sum[i] += w; });
  return sum.map((w) => w / map.heads.length);
}

function column(weights, s) {
  const out = new Float32Array(shown.T);
  for (let t = 0; t < shown.T; ++t) out[t] = weights[t * shown.S + s];
  return out;
}

// What each key gets from all queries together.
function received(weights) {
  const out = new Float32Array(shown.S);
  for (let i = 0; i < weights.length; ++i) out[i % shown.S] += weights[i] / shown.T;
  return out;
}

// What is shown at full strength: the largest weight, but where all keys get about the same none stands out.
const strongest = (weights, S) => weights.reduce((a, b) => Math.max(a, b), Math.min(3 / S, 1));

// --- text -----------------------------------------------------------------------------------------------------------

const VISIBLE = { "": "\u2205", " ": "\u2423", "\n": "\u23ce", "\t": "\u21e5", "\r": "\u240d" };
const visible = (token) => VISIBLE[token] ?? token.replace(/[\u0000-\u001f]/g, (c) => VISIBLE[c] ?? "\u00b7");
const percent = (w) => w >= 0.0995 ? Math.round(100 * w) + " %" : (100 * w).toFixed(1) + " %";
const shorten = (text, most) => [...text].length > most ? [...text].slice(0, most - 1).join("") + "\u2026" : text;

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// --- choosing -------------------------------------------------------------------------------------------------------

const example = () => data.examples[state.example];

function choose(change) {
  const moved = "example" in change && change.example !== state.example;
  Object.assign(state, change);
  const within = (i, n) => Math.min(Math.max(i, 0), n - 1);
  state.example = within(state.example, data.examples.length);
  state.layer = within(state.layer, example().maps.length);
  state.head = within(state.head + 1, example().maps[state.layer].heads.length + 1) - 1;
  if (moved) state.pinned = state.pointed = null;
  load();
}

function load() {
  const map = example().maps[state.layer];
  const queries = example().sequences[map.queries];
  const keys = example().sequences[map.keys];
  const T = queries.tokens.length, S = keys.tokens.length;
  shown = { map, queries, keys, T, S,
            weights: state.head === ALL ? mean(map, T * S) : decode(map.heads[state.head], T * S) };
  for (const choice of [state.pinned, state.pointed]) {
    if (choice && choice.index >= (choice.side === "queries" ? T : S)) state.pinned = state.pointed = null;
  }
  $("example").value = state.example;
  $("note").textContent = example().note;
  $("layer").replaceChildren(...example().maps.map((m, i) => element("option", { value: i, textContent: m.layer })));
  $("layer").value = state.layer;
  $("queries-title").replaceChildren(element("b", { textContent: queries.name }), " looks \u2026");
  $("keys-title").replaceChildren("\u2026 at ", element("b", { textContent: keys.name }));
  const head = state.head === ALL ? "mean of " + map.heads.length + " heads" : "head " + (state.head + 1);
  $("map-title").textContent = map.layer + ", " + head + ": rows look at columns";
  const focused = document.activeElement.closest(".token");
  const place = focused && [focused.parentElement, [...focused.parentElement.children].indexOf(focused)];
  fill($("queries"), queries.tokens);
  fill($("keys"), keys.tokens);
  fillHeads();
  draw();
  if (place) (place[0].children[place[1]] ?? place[0].lastChild).focus();
}

function fill(list, tokens) {
  list.classList.toggle("compact", tokens.length > 120);
  list.replaceChildren(...tokens.map((token, i) => {
    const chip = element("span", { className: "token", tabIndex: i ? -1 : 0, title: String(i + 1) }, visible(token),
                         element("small"));
    chip.setAttribute("role", "option");
    return chip;
  }));
}

function fillHeads() {
  const { map, T, S } = shown;
  const small = T * S * map.heads.length <= 4e6;
  const choices = [ALL, ...map.heads.keys()];
  $("heads").replaceChildren(...choices.map((head) => {
    const button = element("button", { type: "button", tabIndex: head === state.head ? 0 : -1 });
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", head === state.head);
    if (small) button.append(picture(head === ALL ? mean(map, T * S) : decode(map.heads[head], T * S), T, S));
    button.append(head === ALL ? "all" : String(head + 1));
    button.onclick = () => { choose({ head }); $("heads").children[head + 1].focus(); };
    return button;
  }));
}

// --- drawing --------------------------------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// One pixel a weight, relative to the largest.
function picture(weights, T, S) {
  const canvas = element("canvas", { width: S, height: T });
  const image = new ImageData(S, T);
  const rgb = colour("--ask").split(" ").map(Number);
  const most = strongest(weights, S);
  weights.forEach((w, i) => image.data.set([...rgb, 255 * Math.pow(w / most, 0.7)], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function draw() {
  const choice = state.pointed ?? state.pinned;
  const looks = choice?.side === "queries";
  const { weights, T, S } = shown;
  const answers = !choice ? received(weights)
                : looks ? weights.subarray(choice.index * S, (choice.index + 1) * S) : column(weights, choice.index);
  tint($("queries"), choice && !looks ? answers : null, looks ? choice.index : choice?.other);
  tint($("keys"), !choice || looks ? answers : null, looks ? choice.other : choice?.index);
  tell(choice, answers);
  drawMatrix(choice);
  remember();
}

function tint(list, weights, current) {
  const most = weights ? strongest(weights, shown.S) : 1;
  [...list.children].forEach((chip, i) => {
    const share = weights ? weights[i] / most : 0;
    chip.style.setProperty("--tint", share.toFixed(3));
    chip.classList.toggle("strong", share > 0.3);
    chip.classList.toggle("current", i === current);
    chip.setAttribute("aria-selected", i === current);
    chip.lastChild.textContent = weights && weights[i] >= 0.005 ? percent(weights[i]) : "";
  });
  // Of a long text the part that matters is to be seen.
  const chip = list.children[current ?? (weights ? weights.indexOf(weights.reduce((a, b) => Math.max(a, b))) : 0)];
  if (list.scrollHeight > list.clientHeight) scrollTo(list, chip);
}

function scrollTo(list, chip) {
  const above = chip.offsetTop - list.offsetTop, below = above + chip.offsetHeight;
  if (above < list.scrollTop || below > list.scrollTop + list.clientHeight) {
    list.scrollTop = above - list.clientHeight / 2;
  }
}

function tell(choice, answers) {
  const looks = !choice || choice.side === "queries";
  const others = looks ? shown.keys : shown.queries;
  const heading = element("p");
  if (choice) {
    const own = (looks ? shown.queries : shown.keys).tokens[choice.index];
    heading.append(element("b", { textContent: visible(own) }), element("small", { textContent: " " + (choice.index + 1) }),
                   looks ? " looks at" : " is looked at by");
  } else {
    heading.append("All of ", element("b", { textContent: shown.queries.name }), " together looks at");
  }
  const order = [...answers.keys()].sort((a, b) => answers[b] - answers[a]).slice(0, 8).filter((i) => answers[i] > 0);
  if (!order.length) heading.append(" nothing");
  const most = strongest(answers, shown.S);
  const rows = order.map((i) => {
    const bar = element("i");
    bar.style.width = 100 * answers[i] / most + "%";
    return element("tr", {}, element("td", {}, visible(others.tokens[i]),
                                             element("small", { textContent: " " + (i + 1) })),
                   element("td", { textContent: percent(answers[i]) }), element("td", {}, bar));
  });
  $("told").style.setProperty("--bar", looks ? "var(--ask)" : "var(--answer)");
  $("told").replaceChildren(heading, element("table", {}, element("tbody", {}, ...rows)));
}

const labelFont = (cell) => Math.min(Math.max(cell - 1, 9), 12) + "px system-ui, sans-serif";

function measure() {
  const { T, S, queries, keys } = shown;
  const room = Math.max($("map").clientWidth, 300);
  const context = $("matrix").getContext("2d");
  context.font = labelFont(12);
  const widest = (tokens) => Math.max(...tokens.map((t) => context.measureText(shorten(visible(t), 16)).width)) + 8;
  const labelled = room / (S + 9) >= 10 && T <= 400;
  const left = labelled ? widest(queries.tokens) : 0, top = labelled ? widest(keys.tokens) : 0;
  let cell = Math.min((room - left) / S, 760 / T, 34);
  cell = labelled ? Math.max(Math.floor(cell), 10) : Math.max(cell, 1);
  cell = Math.min(cell, 12000 / Math.max(T, S));
  return { left, top, cell, labelled };
}

function drawMatrix(choice) {
  const { weights, T, S, queries, keys } = shown;
  const place = shown.place = measure();
  const { left, top, cell, labelled } = place;
  shown.picture ??= picture(weights, T, S);
  const width = Math.ceil(left + S * cell) + 1, height = Math.ceil(top + T * cell) + 1;
  const sharp = width * height < 4e6 ? window.devicePixelRatio || 1 : 1;
  const canvas = $("matrix");
  Object.assign(canvas, { width: width * sharp, height: height * sharp });
  Object.assign(canvas.style, { width: width + "px", height: height + "px" });
  canvas.setAttribute("aria-label", `Matrix of ${T} by ${S} weights; the lists of tokens tell the same`);
  const c = canvas.getContext("2d");
  c.scale(sharp, sharp);
  c.imageSmoothingEnabled = false;
  c.fillStyle = colour("--cell");
  c.fillRect(left, top, S * cell, T * cell);
  c.drawImage(shown.picture, left, top, S * cell, T * cell);
  const query = choice?.side === "queries" ? choice.index : choice?.other;
  const key = choice?.side === "keys" ? choice.index : choice?.other;
  c.lineWidth = 2;
  c.strokeStyle = `rgb(${colour("--ask")})`;
  if (query !== undefined) c.strokeRect(left, top + query * cell, S * cell, Math.max(cell, 2));
  c.strokeStyle = `rgb(${colour("--answer")})`;
  if (key !== undefined) c.strokeRect(left + key * cell, top, Math.max(cell, 2), T * cell);
  if (!labelled) return;
  c.font = labelFont(cell);
  c.textBaseline = "middle";
  const label = (token, chosen, hue) => {
    c.fillStyle = chosen ? `rgb(${colour(hue)})` : colour("--text");
    return shorten(visible(token), 16);
  };
  c.textAlign = "right";
  queries.tokens.forEach((token, t) => c.fillText(label(token, t === query, "--ask"), left - 5, top + (t + 0.5) * cell));
  c.textAlign = "left";
  keys.tokens.forEach((token, s) => {
    c.save();
    c.translate(left + (s + 0.5) * cell, top - 4);
    c.rotate(-Math.PI / 2);
    c.fillText(label(token, s === key, "--answer"), 0, 0);
    c.restore();
  });
}

// --- pointing -------------------------------------------------------------------------------------------------------

function point(choice) {
  state.pointed = choice;
  draw();
}

function pin(choice) {
  const same = choice && state.pinned && choice.side === state.pinned.side && choice.index === state.pinned.index;
  state.pinned = same ? null : choice;
  draw();
}

for (const side of ["queries", "keys"]) {
  const list = $(side);
  const at = (event) => {
    const chip = event.target.closest(".token");
    return chip ? { side, index: [...list.children].indexOf(chip) } : null;
  };
  list.onpointerover = (event) => { const choice = at(event); if (choice) point(choice); };
  list.onpointerleave = () => point(null);
  list.onclick = (event) => { const choice = at(event); if (choice) pin(choice); };
  list.addEventListener("focusin", (event) => {
    const choice = at(event);
    if (!choice) return;
    for (const chip of list.children) chip.tabIndex = chip === event.target ? 0 : -1;
    point(choice);
  });
  list.addEventListener("focusout", () => point(null));
  list.onkeydown = (event) => {
    const choice = at(event);
    if (!choice) return;
    const other = $(side === "queries" ? "keys" : "queries");
    const step = { ArrowLeft: choice.index - 1, ArrowRight: choice.index + 1, Home: 0, End: list.children.length - 1 };
    if (event.key in step) list.children[step[event.key]]?.focus();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      other.children[Math.min(choice.index, other.children.length - 1)]?.focus();
    } else if (event.key === "Enter" || event.key === " ") pin(choice);
    else return;
    event.preventDefault();
  };
}

$("matrix").onpointermove = (event) => {
  const { left, top, cell } = shown.place;
  const s = Math.floor((event.offsetX - left) / cell), t = Math.floor((event.offsetY - top) / cell);
  point(s >= 0 && t >= 0 && s < shown.S && t < shown.T ? { side: "queries", index: t, other: s } : null);
};
$("matrix").onpointerleave = () => point(null);
$("matrix").onclick = () => pin(state.pointed);

$("example").onchange = (event) => choose({ example: Number(event.target.value) });
$("layer").onchange = (event) => choose({ layer: Number(event.target.value) });
$("previous").onclick = () => choose({ example: state.example - 1 });
$("next").onclick = () => choose({ example: state.example + 1 });
$("heads").onkeydown = (event) => {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  choose({ head: state.head + step });
  $("heads").children[state.head + 1].focus();
};
document.onkeydown = (event) => {
  if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const { example: e, layer } = state;
  const change = { n: { example: e + 1 }, p: { example: e - 1 }, "]": { layer: layer + 1 }, "[": { layer: layer - 1 },
                   0: { head: ALL } }[event.key];
  if (change) choose(change);
  else if (/^[1-9]$/.test(event.key)) choose({ head: Number(event.key) - 1 });
  else if (event.key === "Escape") {
    state.pinned = state.pointed = null;
    draw();
  }
};

// --- theme and address ----------------------------------------------------------------------------------------------

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  const dark = state.theme === "dark" || (state.theme === "auto" && prefersDark.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = "Theme: " + state.theme;
}
$("theme").onclick = () => {
  state.theme = { auto: "light", light: "dark", dark: "auto" }[state.theme];
  applyTheme();
  load();
};
prefersDark.onchange = () => { applyTheme(); load(); };
window.onresize = () => draw();

// The address tells what is chosen: page.html#example=2&layer=1&head=3&queries=5
function remember() {
  const parts = { example: state.example + 1, layer: state.layer + 1 };
  if (state.head !== ALL) parts.head = state.head + 1;
  if (state.pinned) parts[state.pinned.side] = state.pinned.index + 1;
  if (state.theme !== "auto") parts.theme = state.theme;
  try {
    history.replaceState(null, "", "#" + new URLSearchParams(parts));
  } catch {  // a frame that has no address of its own
  }
}

function recall() {
  const address = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (Number.parseInt(address.get(name), 10) || 1) - 1;
  if (["light", "dark"].includes(address.get("theme"))) state.theme = address.get("theme");
  Object.assign(state, { example: number("example"), layer: number("layer") });
  state.head = address.has("head") ? number("head") : ALL;
  for (const side of ["queries", "keys"]) {
    if (address.has(side)) state.pinned = { side, index: Math.max(number(side), 0) };
  }
}

data.examples.forEach((e, i) => $("example").append(
    element("option", { value: i, textContent: `${i + 1}: ${shorten(e.title, 70)}` })));
$("kept").textContent = data.kept ? `To keep this page small, only the ${data.kept} largest weights of a row are in it.`
                                  : "";
$("kept").hidden = !data.kept;
for (const id of ["previous", "next"]) $(id).hidden = data.examples.length < 2;
recall();
applyTheme();
choose({});
