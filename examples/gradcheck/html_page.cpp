#include "examples/gradcheck/html_page.h"

namespace attune::examples {

// A page that shows data which stands between head and tail as JSON. Needs no network and no other file.

// clang-format off
const char* const kHtmlHead = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gradients</title>
<style>
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1c2430; --soft: #5b6675; --line: #dfe3e9; --hover: #eef2f7; --code: #f0f2f5;
  --ok: #1a7f4b; --okb: #dcf3e6; --noise: #8a5a00; --noiseb: #fdeecb; --kink: #6941b8; --kinkb: #ece4fb;
  --wrong: #b3261e; --wrongb: #fbdeda; --none: #e3e7ec;
}
:root[data-theme="dark"] {
  --page: #12161c; --card: #1a2029; --ink: #e4e9f0; --soft: #98a4b3; --line: #2d3642; --hover: #222a35; --code: #141920;
  --ok: #6fd6a0; --okb: #173a29; --noise: #f0c25c; --noiseb: #40320f; --kink: #bda2f5; --kinkb: #33264f;
  --wrong: #ff8d82; --wrongb: #4c1f1b; --none: #2a323d;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1440px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: baseline; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; }
.facts { color: var(--soft); }
.bar { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; align-items: center; }
.bar input { flex: 1 1 220px; padding: 8px 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--card);
  color: inherit; font: inherit; }
button { padding: 8px 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: inherit;
  font: inherit; cursor: pointer; }
button[aria-pressed="true"] { border-color: currentColor; font-weight: 600; }
button:hover { background: var(--hover); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 8px 12px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
th button { all: unset; cursor: pointer; }
th button:focus-visible, tr.layer:focus-visible { outline: 2px solid var(--kink); outline-offset: 2px; }
th[aria-sort="ascending"] button::after { content: " \2191"; }
th[aria-sort="descending"] button::after { content: " \2193"; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.what { white-space: normal; color: var(--soft); min-width: 220px; }
tr.layer { cursor: pointer; }
tr.layer:hover { background: var(--hover); }
tr.layer td:nth-child(2) { font-weight: 600; }
tr.layer td:nth-child(2)::before { content: "\25B8"; display: inline-block; width: 1.1em; color: var(--soft); }
tr.layer[aria-expanded="true"] td:nth-child(2)::before { content: "\25BE"; }
.badge { display: inline-block; min-width: 62px; padding: 1px 9px; border-radius: 99px; text-align: center; font-size: 12px;
  font-weight: 700; letter-spacing: .03em; background: var(--okb); color: var(--ok); }
.NOISE { background: var(--noiseb); color: var(--noise); }
.KINK { background: var(--kinkb); color: var(--kink); }
.WRONG, .ERROR { background: var(--wrongb); color: var(--wrong); }
.cases { width: 0; min-width: 100%; padding: 6px 12px 14px 34px; background: var(--page); }
details { border: 1px solid var(--line); border-radius: 10px; background: var(--card); margin: 8px 0; overflow-x: auto; }
summary { padding: 7px 12px; cursor: pointer; white-space: nowrap; }
summary span { color: var(--soft); margin-left: 10px; font-size: 13px; }
details table { font-size: 13px; }
details td, details th { padding: 5px 10px; }
details tr:last-child td { border-bottom: 0; }
.program { border-width: 1px 0 0; border-radius: 0; margin: 0; }
.worst { font-size: 12px; color: var(--soft); white-space: normal; min-width: 230px; }
.note { color: var(--wrong); }
pre { margin: 0; padding: 12px; background: var(--code); overflow-x: auto; font: 12px/1.45 ui-monospace, monospace; }
canvas { image-rendering: pixelated; border: 1px solid var(--line); border-radius: 3px; display: block; }
.legend { display: flex; gap: 4px; align-items: center; color: var(--soft); font-size: 13px; flex-wrap: wrap; margin-top: 14px; }
.legend i { width: 16px; height: 12px; display: inline-block; border-radius: 2px; }
</style>
</head>
<body>
<main>
<header><h1>Gradients</h1><span id="verdict"></span><span class="facts" id="facts"></span></header>
<div class="bar">
<input id="search" type="search" placeholder="Layer &hellip;" aria-label="Filter layers by name">
<span id="filters" class="bar" style="margin:0" role="group" aria-label="Filter by verdict"></span>
<button id="theme" aria-label="Dark or light">&#9680; Theme</button>
</div>
<div class="card"><table id="layers"><thead><tr></tr></thead><tbody></tbody></table></div>
<p class="legend" id="legend"></p>
</main>
<script type="application/json" id="data">
)html";

const char* const kHtmlTail = R"html(</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const severity = ["OK", "NOISE", "KINK", "WRONG", "ERROR"];
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const badge = verdict => make("span", verdict, { class: "badge " + verdict });
const number = x => x === null ? "\u221e" : x === 0 ? "0" : x.toExponential(1);
const plain = x => x === null ? "not finite" : String(Number(x.toPrecision(6)));

// Heat: digit d means that the difference is at most 10^(d - 7) of the tolerance; 8 and 9 are beyond it.
const dark = () => document.documentElement.dataset.theme === "dark";
const colour = letter => {
  if (letter === ".") return dark() ? "#2a323d" : "#e3e7ec";
  const d = Number(letter);
  if (d >= 8) return d === 8 ? "#e0533d" : "#a3140b";
  const share = d / 7;
  return dark() ? `hsl(${165 - 110 * share} 60% ${22 + 33 * share}%)` : `hsl(${165 - 110 * share} 62% ${88 - 32 * share}%)`;
};
const drawHeat = canvas => {
  const { heat, columns } = canvas;
  const rows = Math.ceil(heat.length / columns);
  canvas.width = columns;
  canvas.height = rows;
  const cell = Math.max(2, Math.min(9, Math.floor(120 / Math.max(rows, columns))));
  canvas.style.width = columns * cell + "px";
  canvas.style.height = rows * cell + "px";
  const context = canvas.getContext("2d");
  for (let i = 0; i < heat.length; ++i) {
    context.fillStyle = colour(heat[i]);
    context.fillRect(i % columns, Math.floor(i / columns), 1, 1);
  }
};
const heatOf = gradient => {
  const cell = make("td");
  if (gradient.heat && /[0-9]/.test(gradient.heat)) {
    const canvas = make("canvas", undefined, { role: "img", "aria-label": "errors of the elements of " + gradient.name });
    canvas.heat = gradient.heat;
    canvas.columns = gradient.shape.length ? gradient.shape[gradient.shape.length - 1] : 1;
    drawHeat(canvas);
    cell.append(canvas);
  }
  return cell;
};

const gradientColumns = ["verdict", "gradient of", "shape", "errors", "elements", "failed", "zeros", "absolute", "relative",
                         "norm", "cosine", "worst element"];
const gradientRow = gradient => {
  const row = make("tr");
  const first = make("td");
  first.append(badge(gradient.verdict));
  row.append(first, make("td", gradient.name), make("td", "[" + gradient.shape.join(", ") + "]"), heatOf(gradient));
  for (const value of [gradient.checked, gradient.failed, gradient.zeros]) row.append(make("td", value, { class: "n" }));
  for (const value of [gradient.max_absolute, gradient.max_relative, gradient.relative_difference]) {
    row.append(make("td", number(value), { class: "n" }));
  }
  row.append(make("td", gradient.cosine === null ? "" : gradient.cosine.toFixed(6), { class: "n" }));
  const worst = gradient.worst;
  const text = worst.at ? `${worst.at}: analytic ${plain(worst.analytic)}, expected ${plain(worst.numeric)}` +
    (worst.numeric_error ? ` \u00b1 ${number(worst.numeric_error)}` : "") : "";
  const cell = make("td", text, { class: "worst" });
  if (gradient.note) cell.append(make("div", gradient.note, { class: "note" }));
  row.append(cell);
  return row;
};
const caseView = (result, place) => {
  const view = make("details");
  const extents = Object.entries(result.extents).map(([k, v]) => `${k}=${v}`).join(" ");
  const options = Object.entries(result.options).map(([k, v]) => `${k} ${v}`).join(", ");
  const head = make("summary");
  head.append(badge(result.verdict), make("span", extents));
  if (result.mask.length) head.append(make("span", "mask: " + result.mask.join(" & ")));
  if (options) head.append(make("span", options));
  head.append(make("span", "seed " + result.seed));
  view.append(head);
  const fill = () => {
    if (view.filled) return;
    view.filled = true;
    if (result.error) view.append(make("pre", result.error));
    if (result.gradients.length) {
      const table = make("table");
      const titles = make("tr");
      gradientColumns.forEach((title, i) => titles.append(make("th", title, i >= 4 && i <= 10 ? { class: "n" } : {})));
      table.append(titles, ...result.gradients.map(gradientRow));
      view.append(table);
    }
    if (result.code) {
      const program = make("details", undefined, { class: "program" });
      program.append(make("summary", "C++ that shows it"), make("pre", result.code));
      view.append(program);
    }
  };
  view.addEventListener("toggle", fill);
  view.open = place === 0 && result.verdict !== "OK";
  if (view.open) fill();
  return view;
};

const columns = [
  ["verdict", layer => severity.indexOf(layer.verdict), true], ["layer", layer => layer.name.toLowerCase(), false],
  ["what", layer => layer.what.toLowerCase(), false], ["cases", layer => layer.case_count, true],
  ["gradients", layer => layer.gradients, true], ["elements", layer => layer.elements, true],
  ["zeros", layer => layer.zeros, true], ["difference", layer => layer.relative_difference ?? Infinity, true],
  ["seconds", layer => layer.seconds, true]];
const state = { column: 0, descending: true, search: "", verdict: "" };
const body = document.querySelector("#layers tbody");
const open = new Set(data.layers.filter(layer => layer.verdict !== "OK").map(layer => layer.name));

const layerRows = layer => {
  const row = make("tr", undefined, { class: "layer", tabindex: "0", "aria-expanded": open.has(layer.name) });
  const first = make("td");
  first.append(badge(layer.verdict));
  row.append(first, make("td", layer.name), make("td", layer.what, { class: "what" }));
  for (const value of [layer.case_count, layer.gradients, layer.elements, layer.zeros]) {
    row.append(make("td", value.toLocaleString("en"), { class: "n" }));
  }
  row.append(make("td", number(layer.relative_difference), { class: "n" }),
             make("td", layer.seconds.toFixed(2), { class: "n" }));
  const toggle = () => {
    if (!open.delete(layer.name)) open.add(layer.name);
    show();
  };
  row.addEventListener("click", toggle);
  row.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); } });
  if (!open.has(layer.name)) return [row];
  const below = make("tr");
  const cell = make("td", undefined, { colspan: columns.length, style: "padding:0;white-space:normal" });
  const cases = make("div", undefined, { class: "cases" });
  const sorted = [...layer.cases].sort((a, b) => severity.indexOf(b.verdict) - severity.indexOf(a.verdict));
  cases.append(...sorted.map(caseView));
  const more = layer.case_count - layer.cases.length;
  if (more > 0) cases.append(make("div", `and ${more} more that are OK`, { class: "facts" }));
  cell.append(cases);
  below.append(cell);
  return [row, below];
};
const show = () => {
  const value = columns[state.column][1];
  const sign = state.descending ? -1 : 1;
  const layers = data.layers
    .filter(layer => layer.name.toLowerCase().includes(state.search) && (!state.verdict || layer.verdict === state.verdict))
    .map((layer, i) => [layer, i])
    .sort(([a, i], [b, j]) => value(a) < value(b) ? -sign : value(a) > value(b) ? sign : i - j);
  body.replaceChildren(...layers.flatMap(([layer]) => layerRows(layer)));
  document.querySelectorAll("#layers th").forEach((th, i) =>
    th.setAttribute("aria-sort", i !== state.column ? "none" : state.descending ? "descending" : "ascending"));
};
const legend = () => {
  const view = document.getElementById("legend");
  view.replaceChildren("error of an element / tolerance: ", "1e-7 ");
  for (let d = 0; d <= 9; ++d) view.append(make("i", undefined, { style: "background:" + colour(String(d)), title: "up to 1e" + (d - 7) }));
  view.append(" 100, ", make("i", undefined, { style: "background:" + colour(".") }), " not compared");
};

columns.forEach(([title, , numeric], i) => {
  const th = make("th", undefined, i >= 3 ? { class: "n" } : {});
  const button = make("button", title);
  button.addEventListener("click", () => {
    state.descending = state.column === i ? !state.descending : numeric;
    state.column = i;
    show();
  });
  th.append(button);
  document.querySelector("#layers thead tr").append(th);
});
const counts = verdict => data.layers.filter(layer => layer.verdict === verdict).length;
const filters = document.getElementById("filters");
for (const verdict of ["", ...severity.filter(counts)]) {
  const button = make("button", verdict ? `${verdict} ${counts(verdict)}` : `all ${data.layers.length}`,
                      { "aria-pressed": verdict === state.verdict });
  button.addEventListener("click", () => {
    state.verdict = verdict;
    for (const other of filters.children) other.setAttribute("aria-pressed", other === button);
    show();
  });
  filters.append(button);
}
document.getElementById("search").addEventListener("input", event => {
  state.search = event.target.value.trim().toLowerCase();
  show();
});
document.getElementById("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  document.querySelectorAll("canvas").forEach(drawHeat);
  legend();
});
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
const cases = data.layers.flatMap(layer => layer.cases);
const count = data.layers.reduce((sum, layer) => sum + layer.case_count, 0);
document.getElementById("verdict").append(badge(data.ok ? "OK" : severity[Math.max(...cases.map(c => severity.indexOf(c.verdict)))]));
document.getElementById("facts").textContent =
  `${data.layers.length} layers, ${count.toLocaleString("en")} cases, ${data.dtype} on ${data.device}, ` +
  `seed ${data.seed}, ${data.seconds.toFixed(1)} s \u00b7 ${data.processor} \u00b7 Attune ${data.version}`;
document.title = `Gradients: ${data.ok ? "OK" : "not OK"}`;
legend();
show();
</script>
</body>
</html>
)html";
// clang-format on

}  // namespace attune::examples
