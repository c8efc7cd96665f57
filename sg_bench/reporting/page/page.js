"use strict";
// Text from the ledger is inserted as text nodes only; no HTML is parsed.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }
  const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
  const shown = (value, unit) => {
    if (value === null || value === undefined) return "–";
    return `${((unit === "%" ? 100 : 1) * value).toFixed(2)} ${unit}`.trim();
  };
  const NAMES = { done: "done", failed: "failed", missing: "missing", pending: "not run" };

  // ---- the runs: parsed when the first cell is opened ----
  let parsed = null;
  const data = () => (parsed ??= JSON.parse(one("#data").textContent));

  // ---- sorting ----
  const table = one("#main");
  const body = one("tbody", table);
  const planned = [...body.rows];

  function order(column, direction) {
    if (direction === "none") return planned;
    const sign = direction === "ascending" ? 1 : -1;
    const value = (row) => {
      const cell = row.cells[column + 1];
      return column < 0 ? cell.textContent.trim() : "mean" in cell.dataset ? Number(cell.dataset.mean) : null;
    };
    // Incomplete cells have no rank: they come after those that have, and cells without a score come last.
    const group = (row) => (column < 0 || "first" in row.cells[column + 1].dataset ? 0 : value(row) === null ? 2 : 1);
    const compare = (a, b) => (column < 0 ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    return [...planned].sort((a, b) => group(a) - group(b) || (group(a) < 2 ? sign * compare(value(a), value(b)) : 0));
  }

  function divide(rows, column) {
    const rank = (row) => (column < 0 ? "" : row.cells[column + 1].dataset.first ?? "");
    rows.forEach((row, place) => {
      row.classList.toggle("tier", column >= 0 && place > 0 && rank(row) !== rank(rows[place - 1]));
    });
  }

  function sort(button) {
    const column = Number(button.dataset.column);
    const heading = button.closest("th");
    const turns = column < 0 ? ["ascending", "descending", "none"] : ["descending", "ascending", "none"];
    const next = turns[(turns.indexOf(heading.ariaSort) + 1) % 3];
    for (const other of all("th[aria-sort]", table)) other.ariaSort = "none";
    heading.ariaSort = next;
    const rows = order(column, next);
    divide(rows, next === "none" ? -1 : column);
    body.append(...rows);
    const name = column < 0 ? "method" : button.ariaLabel;
    const description = { ascending: column < 0 ? "from A to Z" : "lowest first", descending: column < 0 ? "from Z to A" : "best first" };
    one("#status").textContent = next === "none" ? "In the order of the suite" : `Sorted by ${name}, ${description[next]}`;
  }

  // ---- pictures ----
  function strip(runs, column) {
    const scored = runs.filter((run) => typeof run.metrics?.[column.metric] === "number");
    if (!scored.length) return null;
    const seeds = [...new Set(scored.map((run) => run.seeds[0]))];
    const [left, width, step] = [124, 440, 22];
    const height = seeds.length * step + 26;
    const span = column.high - column.low || 1;
    const x = (value) => left + (width * (value - column.low)) / span;
    const dots = scored.map((run) => {
      const score = run.metrics[column.metric];
      const y = 12 + step * seeds.indexOf(run.seeds[0]);
      return draw("circle", { cx: x(score).toFixed(1), cy: y, r: 4.5 },
        draw("title", {}, `seeds ${run.seeds.join(" / ")}: ${shown(score, column.unit)}`));
    });
    const lines = seeds.flatMap((seed, place) => {
      const y = 12 + step * place;
      const scores = scored.filter((run) => run.seeds[0] === seed).map((run) => run.metrics[column.metric]);
      const mean = x(scores.reduce((sum, score) => sum + score, 0) / scores.length).toFixed(1);
      return [
        draw("path", { class: "axis", d: `M${left} ${y}h${width}` }),
        draw("path", { class: "middle", d: `M${mean} ${y - 9}v18` }),
        draw("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, `pretraining ${seed}`),
      ];
    });
    const ends = [
      draw("text", { x: left, y: height - 4 }, shown(column.low, column.unit)),
      draw("text", { x: left + width, y: height - 4, "text-anchor": "end" }, shown(column.high, column.unit)),
    ];
    const description = `Scores of ${scored.length} runs between the column's lowest and highest`;
    return draw("svg", { class: "strip", viewBox: `0 0 ${left + width + 8} ${height}`, role: "img", "aria-label": description }, lines, dots, ends);
  }

  function line(curve, part, x, y) {
    let path = "";
    let pen = "M";
    curve[part].forEach((loss, place) => {
      if (loss === null) { pen = "M"; return; }
      path += `${pen}${x(curve.step[place]).toFixed(1)} ${y(loss).toFixed(1)}`;
      pen = "L";
    });
    return draw("path", { class: part, d: path });
  }

  function scales(curve, box) {
    const losses = [...curve.train, ...curve.validation].filter((loss) => loss !== null);
    if (!losses.length) return null;
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    const last = curve.step[curve.step.length - 1];
    const first = Math.min(curve.step[0], last - 1);
    return {
      low, high, first, last,
      x: (step) => box.left + (box.width * (step - first)) / (last - first),
      y: (loss) => box.top + box.height * (1 - (loss - low) / (high - low || 1)),
    };
  }

  function sparkline(curve) {
    const scale = curve && scales(curve, { left: 2, top: 2, width: 76, height: 18 });
    if (!scale) return make("span", { class: "spark" });
    return draw("svg", { class: "spark", viewBox: "0 0 80 22", "aria-hidden": "true" },
      line(curve, "train", scale.x, scale.y), line(curve, "validation", scale.x, scale.y));
  }

  function curves(curve) {
    const box = { left: 54, top: 10, width: 440, height: 120 };
    const scale = curve && scales(curve, box);
    if (!scale) return null;
    const floor = box.top + box.height;
    const label = (x, y, text, anchor) => draw("text", { x, y, "text-anchor": anchor }, text);
    const best = curve.best === null ? [] : [draw("path", { class: "kept", d: `M${scale.x(curve.best).toFixed(1)} ${box.top}V${floor}` })];
    const short = (loss) => String(Number(loss.toPrecision(3)));
    const picture = draw("svg", { class: "curves", viewBox: "0 0 502 152", role: "img",
      "aria-label": `Loss from step ${curve.step[0]} to ${scale.last}, between ${scale.low} and ${scale.high}` },
      draw("path", { class: "axis", d: `M${box.left} ${box.top}V${floor}H${box.left + box.width}` }), best,
      line(curve, "train", scale.x, scale.y), line(curve, "validation", scale.x, scale.y),
      label(box.left - 6, box.top + 5, short(scale.high), "end"), label(box.left - 6, floor + 3, short(scale.low), "end"),
      label(box.left, floor + 16, `step ${curve.step[0]}`), label(box.left + box.width, floor + 16, `${scale.last}`, "end"));
    const key = (name, text) => make("span", { class: `key ${name}` },
      draw("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, draw("path", { class: name, d: "M1 4h24" })), text);
    const thinned = curve.step.length < curve.epochs ? `${curve.step.length} of ${curve.epochs} epochs drawn` : "";
    return make("figure", {}, picture, make("figcaption", {}, key("validation", "validation loss"), key("train", "training loss"),
      curve.best === null ? null : key("kept", `weights kept, step ${curve.best}`), thinned));
  }

  // ---- provenance ----
  const pairs = (entries, kind = "facts") => make("dl", { class: kind }, entries.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const isBranch = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const leaf = (value) => make("code", {}, JSON.stringify(plain(value)));

  function plain(value) {
    if (Array.isArray(value)) return value.map(plain);
    if (!isBranch(value)) return value;
    return Object.fromEntries(Object.entries(data().branches[value.$]).map(([name, inner]) => [name, plain(inner)]));
  }

  function tree(number, open) {
    return make("ul", { class: "tree" }, Object.entries(data().branches[number]).map(([name, value]) => {
      if (!isBranch(value)) return make("li", {}, make("span", { class: "name" }, `${name}: `), leaf(value));
      return make("li", {}, make("details", { open }, make("summary", { class: "name" }, name), tree(value.$, open)));
    }));
  }

  function recipe(run) {
    if (run.recipe === undefined) return null;
    const holder = make("div", {}, tree(run.recipe, false));
    const expand = make("button", { type: "button", class: "plain" }, "Expand all");
    expand.addEventListener("click", () => {
      const open = all("details:not([open])", holder).length > 0;
      for (const branch of all("details", holder)) branch.open = open;
      expand.textContent = open ? "Collapse all" : "Expand all";
    });
    return section("Recipe", expand, holder);
  }

  const section = (title, ...children) => make("section", {}, make("h4", {}, title), ...children);
  const asText = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));

  function ran(run) {
    if (run.ran === undefined) return null;
    const facts = plain({ $: run.ran });
    const found = [];
    const { software, hardware, git, ...rest } = facts;
    if (software) found.push(["software", Object.entries(software).map(([name, version]) => `${name} ${version}`).join(" · ")]);
    if (hardware) found.push(["hardware", Object.entries(hardware).map(([name, value]) => `${name} ${value}`).join(" · ")]);
    found.push(["git commit", git ? make("code", {}, git.commit, git.changed ? " (with changes that were not committed)" : "") : "not a checkout"]);
    for (const [name, value] of Object.entries(rest)) found.push([name.replaceAll("_", " "), asText(value)]);
    for (const [name, value] of Object.entries(run.times ?? {})) found.push([name.replaceAll("_", " "), asText(value)]);
    return section("Where it ran", pairs(found));
  }

  function digests(run) {
    const found = [["cell", make("code", {}, run.key)]];
    const parts = run.recipe === undefined ? {} : data().branches[run.recipe];
    for (const [name, part] of Object.entries(parts)) {
      if (isBranch(part) && part.$ in data().keys) found.push([`${name} (key)`, make("code", {}, data().keys[part.$])]);
    }
    for (const [name, digest] of Object.entries(run.outputs === undefined ? {} : plain({ $: run.outputs }))) found.push([`${name} (SHA-256 of the output)`, make("code", {}, digest)]);
    return section("Keys and digests", pairs(found));
  }

  function metrics(run, column) {
    const names = Object.keys(run.metrics ?? {});
    if (!names.length) return null;
    const row = (name) => make("tr", { class: name === column.metric ? "this" : null },
      make("th", { scope: "row" }, name), make("td", {}, shown(run.metrics[name], data().units[name] ?? "%")), make("td", {}, make("code", {}, asText(run.metrics[name]))));
    const head = ["metric", "value", "as recorded"].map((name) => make("th", { scope: "col" }, name));
    return section("Metrics", make("table", { class: "metrics" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, names.map(row))));
  }

  function story(run, column) {
    const { counts, loaded } = run.data === undefined ? {} : plain({ $: run.data });
    const facts = Object.entries(counts ?? {}).map(([part, count]) => [`${part} cases`, asText(count)]);
    if (loaded) facts.push(["initialisation", loaded]);
    const why = run.error ? `${run.error.type ?? "Error"} (${run.error.kind}): ${run.error.message}` : run.why;
    return [
      why ? make("p", { class: "why" }, why) : null,
      run.state === "pending" ? make("p", { class: "why" }, "No record in the ledger yet.") : null,
      run.curve ? section("Curves", curves(run.curve)) : null,
      metrics(run, column),
      facts.length ? section("Data", pairs(facts)) : null,
      run.key ? digests(run) : null,
      ran(run),
      recipe(run),
      run.key && run.state !== "pending"
        ? make("p", {}, make("a", { href: `cells/${encodeURIComponent(run.key)}.json` }, "The complete record (JSON)"))
        : null,
    ];
  }

  function runDetails(run, column, open) {
    const score = run.metrics?.[column.metric];
    const heading = make("summary", {}, make("span", { class: "seeds" }, `seeds ${run.seeds.join(" / ")}`),
      make("span", { class: "value" }, run.state === "done" ? shown(score, column.unit) : ""), sparkline(run.curve),
      run.state === "done" ? make("code", {}, run.key.slice(0, 8)) : make("span", { class: `problem ${run.state}` }, NAMES[run.state]));
    const details = make("details", { class: "run" }, heading);
    const write = () => details.children.length === 1 && details.append(make("div", { class: "story" }, story(run, column)));
    details.addEventListener("toggle", () => details.open && write());
    if (open) { write(); details.open = true; }
    return details;
  }

  // ---- details of a cell ----
  const dialog = one("#detail");
  let opener = null;

  function unpacked(run) {
    if (!run.curve) return run;
    return { ...run, curve: { ...run.curve, ...data().branches[run.curve.steps] } };
  }

  function contents(place) {
    const { methods, columns, entries, runs } = data();
    const [row, number] = place.split("-").map(Number);
    const [method, column] = [methods[row], columns[number]];
    const found = runs[column.task][method].map(unpacked);
    const close = make("button", { type: "button", class: "plain close" }, "Close", make("kbd", {}, "Esc"));
    close.addEventListener("click", () => dialog.close());
    const picture = strip(found, column);
    return [
      make("header", {}, make("div", {}, make("p", { class: "kicker" }, column.metric ? `${column.task} · ${column.metric}` : column.task),
        make("h2", { id: "detail-title" }, method)), close),
      pairs(entries[place], "head"),
      picture ? make("figure", { class: "seeds" }, picture, make("figcaption", {},
        "All runs, on an axis from the lowest to the highest score of the column; lines are the means per pretraining.")) : null,
      make("h3", {}, found.length === 1 ? "1 run" : `${found.length} runs`),
      make("p", { class: "hint" }, "Seeds: pretraining / fine-tuning."),
      found.map((run) => runDetails(run, column, found.length === 1)),
    ];
  }

  function open(button) {
    opener = button;
    one("#detail-body").replaceChildren(...contents(button.dataset.place).flat().filter(Boolean));
    dialog.ariaLabel = one("#detail-title").textContent;
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
    one("#detail-body").replaceChildren();
    opener?.focus();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  // ---- keyboard: arrows move between the cells of the table ----
  function move(button, key) {
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let [row, column] = [button.closest("tr"), button.closest("td").cellIndex];
    for (;;) {
      column += across;
      if (down) row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
      const cell = row?.cells[column];
      if (!cell || column < 1) return;
      const next = one("button.cell", cell);
      if (next) { next.focus(); return; }
    }
  }

  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches(".sort")) sort(button);
    else if (button?.matches(".cell")) open(button);
  });
  table.addEventListener("keydown", (event) => {
    const button = event.target.closest("button.cell");
    if (button && event.key.startsWith("Arrow")) { event.preventDefault(); move(button, event.key); }
  });

  // ---- light and dark ----
  const THEMES = { "": "as the system", light: "light", dark: "dark" };
  const toggle = one("#theme");

  function stored(value) {
    try {
      if (value === undefined) return localStorage.getItem("sg-bench-theme") ?? "";
      localStorage.setItem("sg-bench-theme", value);
    } catch { /* no storage here: the choice lasts as long as the page */ }
    return value ?? "";
  }

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    toggle.textContent = `Theme: ${THEMES[theme]}`;
  }

  toggle.addEventListener("click", () => {
    const themes = Object.keys(THEMES);
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    stored(next);
    show(next);
  });
  const before = stored();
  show(before in THEMES ? before : "");
  toggle.hidden = false;
  document.documentElement.classList.add("scripted");

  const named = /^#cell-\d+-\d+$/.test(location.hash) ? document.getElementById(location.hash.slice(1)) : null;
  if (named) open(named);
})();
