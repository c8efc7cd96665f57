"use strict";
// Text from the ledger is inserted as text nodes only; no HTML is parsed.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const STATES = { done: "done", failed: "failed", missing: "missing", pending: "not run" };

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  let parsed = null; // when it is first needed
  const data = () => (parsed ??= JSON.parse(one("#data").textContent));

  // ---- sorting: incomplete cells come last; the third time, the order of the suite ----
  const planned = new Map(all("table.main").map((table) => [table, [...table.tBodies[0].rows]]));

  function sort(button) {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const turns = column ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    const next = turns[(turns.indexOf(heading.ariaSort) + 1) % 3];
    for (const other of all("th[aria-sort]", table)) other.ariaSort = "none";
    heading.ariaSort = next;
    const sign = next === "ascending" ? 1 : -1;
    const group = ({ dataset }) => ("value" in dataset ? Number("incomplete" in dataset) : 2);
    const compare = (a, b) => {
      if (!column) return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
      return group(a) - group(b) || sign * (Number(a.dataset.value ?? 0) - Number(b.dataset.value ?? 0));
    };
    const rows = [...planned.get(table)];
    if (next !== "none") rows.sort((a, b) => compare(a.cells[column], b.cells[column]));
    table.tBodies[0].append(...rows);
    one("#status").textContent = next === "none" ? "In the order of the suite" : `Sorted by ${button.textContent.trim()}, ${next}`;
  }

  // ---- filters: what has a method or a metric that does not match is hidden ----
  function filter() {
    const wanted = { method: one("#filter-method").value.trim().toLowerCase(), metric: one("#filter-metric").value.trim().toLowerCase() };
    const names = { method: data().methods, metric: data().columns.map(({ task, metric }) => `${task} ${metric}`) };
    const matches = (kind, number) => number === undefined || names[kind][number].toLowerCase().includes(wanted[kind]);
    for (const element of all("[data-method], [data-metric]")) {
      element.hidden = !(matches("method", element.dataset.method) && matches("metric", element.dataset.metric));
    }
    for (const table of planned.keys()) table.hidden = !all("tbody tr", table).some((row) => all("td", row).some((cell) => !cell.hidden) && !row.hidden);
    const count = (kind) => names[kind].filter((_, number) => matches(kind, number)).length;
    one("#status").textContent = `${count("method")} methods and ${count("metric")} metrics are shown`;
  }
  for (const input of all(".filters input")) input.addEventListener("input", filter);
  one(".filters").hidden = false;

  // ---- provenance ----
  const isBranch = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const branch = (value) => data().branches[value.$];

  function plain(value) {
    if (Array.isArray(value)) return value.map(plain);
    if (!isBranch(value)) return value;
    return Object.fromEntries(Object.entries(branch(value)).map(([name, inner]) => [name, plain(inner)]));
  }

  function tree(number, depth = 0) {
    return make("ul", { class: "tree" }, Object.entries(data().branches[number]).map(([name, value]) => {
      if (!isBranch(value)) return make("li", {}, make("span", { class: "name" }, `${name}: `), make("code", {}, typeof value === "string" ? value : JSON.stringify(plain(value))));
      const open = depth === 0 && name !== "recipe" ? "" : null;
      return make("li", {}, make("details", { open }, make("summary", { class: "name" }, name), tree(value.$, depth + 1)));
    }));
  }

  const shown = (score, column) => (typeof score === "number" ? `${(column.scale * score).toFixed(2)} ${column.unit}`.trim() : "–");

  function story(run) {
    const why = run.state === "pending" ? "No record in the ledger yet." : run.why;
    return make("div", { class: "story" }, why ? make("p", { class: "reason" }, why) : null,
      run.record === undefined ? null : tree(run.record),
      run.record === undefined ? null : make("p", {}, make("a", { href: `cells/${encodeURIComponent(run.key)}.json` }, "The complete record (JSON, in the folder of the report)")));
  }

  function details(run, column, open) {
    const element = make("details", { class: "run" }, make("summary", {}, make("span", {}, `seeds ${run.seeds.join(" / ")}`),
      make("span", { class: "value" }, run.state === "done" ? shown(run.scores[column.metric], column) : ""),
      run.state === "done" ? make("code", {}, run.key.slice(0, 8)) : make("span", { class: `problem ${run.state}` }, STATES[run.state])));
    const write = () => element.children.length === 1 && element.append(story(run));
    element.addEventListener("toggle", () => element.open && write());
    if (open) { write(); element.open = true; }
    return element;
  }

  const dialog = one("#detail");
  let opener = null;

  function open(button) {
    opener = button;
    const place = button.id.slice("cell-".length);
    const [row, number] = place.split("-").map(Number);
    const { methods, columns, cells, runs } = data();
    const column = columns[number];
    const found = runs[column.task][methods[row]];
    const close = make("button", { type: "button", class: "plain" }, "Close", make("kbd", {}, "Esc"));
    close.addEventListener("click", () => dialog.close());
    one("#detail-body").replaceChildren(
      make("div", { class: "head" }, make("div", {}, make("p", { class: "kicker" }, `${column.task} ${column.metric}`), make("h2", { id: "detail-title" }, methods[row])), close),
      make("dl", { class: "facts" }, cells[place].map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text)))),
      make("h3", {}, found.length === 1 ? "1 run" : `${found.length} runs`),
      make("p", { class: "hint" }, "Seeds: pretraining / fine-tuning. Open a run for its scores, keys, software and recipe."),
      ...found.map((run) => details(run, column, found.length === 1)));
    dialog.showModal();
    dialog.scrollTop = 0;
    remember(`#${button.id}`);
  }

  // The address then names the opened cell, so that it can be passed on.
  function remember(hash) {
    try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { /* not allowed here */ }
  }

  dialog.addEventListener("close", () => {
    remember("");
    opener?.focus();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  // ---- keyboard: arrows move between the cells of a table ----
  function move(button, key) {
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let [row, column] = [button.closest("tr"), button.closest("td").cellIndex];
    do {
      column += across;
      if (down) row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
    } while (row?.hidden || row?.cells[column]?.hidden);
    one("button.cell", row?.cells[column] ?? document.createElement("td"))?.focus();
  }

  for (const table of planned.keys()) {
    table.addEventListener("click", (event) => {
      const place = event.target.closest("td, th");
      const button = place && one("button", place);
      if (button?.matches(".sort")) sort(button);
      else if (button?.matches(".cell")) open(button);
    });
    table.addEventListener("keydown", (event) => {
      const button = event.target.closest("button.cell");
      if (button && event.key.startsWith("Arrow")) { event.preventDefault(); move(button, event.key); }
    });
  }

  // ---- light and dark ----
  const THEMES = { "": "as the system", light: "light", dark: "dark" };
  const toggle = one("#theme");

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    toggle.textContent = `Theme: ${THEMES[theme]}`;
  }

  toggle.addEventListener("click", () => {
    const themes = Object.keys(THEMES);
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    try { localStorage.setItem("sg-bench-theme", next); } catch { /* no storage here: it lasts as long as the page */ }
    show(next);
  });
  let stored = "";
  try { stored = localStorage.getItem("sg-bench-theme") ?? ""; } catch { /* no storage here */ }
  show(stored in THEMES ? stored : "");
  toggle.hidden = false;

  const named = /^#cell-\d+-\d+$/.test(location.hash) ? document.getElementById(location.hash.slice(1)) : null;
  if (named) open(named);
})();
