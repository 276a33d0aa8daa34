// The page's behaviour: sorting, filtering, details and flips. Text goes into the page as text only: what models wrote
// is in here.
"use strict";
(() => {
  const { board, texts, flips/*, others*/ } = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const rows = new Map();
  board.groups.forEach((group, number) => group.rows.forEach((row) => rows.set(row.id, { row, group, number })));

  /** An element with attributes (functions become listeners) and children (strings become text). */
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  const signed = (share) => {
    const text = (100 * share).toFixed(1);
    if (Math.abs(text) === 0) return "0.0";
    return text > 0 ? `+${text}` : text.replace("-", "−");
  };
  const percent = (share) => (100 * share).toFixed(1);
  const href = (path) => path.split("/").map(encodeURIComponent).join("/");

  // Theme: the system's, unless one is chosen.
  const theme = document.getElementById("theme");
  const store = {
    get: () => { try { return localStorage.getItem("pkt-eval-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("pkt-eval-theme", value); } catch { /* a page without storage */ } },
  };
  function setTheme(name) {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.querySelector("span").textContent = name;
  }
  const themes = ["auto", "light", "dark"];
  setTheme(themes.includes(store.get()) ? store.get() : "auto");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(theme.querySelector("span").textContent) + 1) % 3];
    setTheme(next);
    store.set(next);
  });

  // Sorting: every header is a button; what has no value comes last either way.
  const measures = new Map();
  function sort(table, header, direction) {
    const key = header.dataset.key;
    const measure = measures.get(table.id) ?? "score";
    const value = (unit) => {
      const line = unit.rows[0];
      if (key === "label") return line.cells[0].dataset.label.toLowerCase();
      const text = line.cells[Number(key) + 1].dataset[measure];
      return text === undefined || text === "" ? null : Number(text);
    };
    const units = [...table.tBodies].map((unit, place) => ({ unit, place, value: value(unit) }));
    units.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
      return (direction === "ascending" ? order : -order) || a.place - b.place;
    });
    table.append(...units.map(({ unit }) => unit));
    for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", direction);
  }
  for (const table of all("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = h("button", { type: "button" }, ...header.childNodes);
      button.addEventListener("click", () => {
        const first = header.dataset.key === "label" ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        sort(table, header, header.getAttribute("aria-sort") === first ? other : first);
      });
      header.replaceChildren(button);
      header.setAttribute("aria-sort", "none");
    }
  }

  // Filtering.
  for (const controls of all("[data-controls]")) {
    const table = document.getElementById(controls.dataset.controls);
    const [text, only, measure, count] = ["filter", "significant", "measure", "count"]
      .map((name) => controls.querySelector(`[data-${name}]`));
    const apply = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const unit of table.tBodies) {
        const { row } = rows.get(unit.dataset.row);
        const said = `${row.label} ${row.paradigm} ${row.title}`.toLowerCase();
        const significant = Object.values(row.cells).some((cell) => /*comparisons*/.some((name) => cell[name]?.significant));
        unit.hidden = !(words.every((word) => said.includes(word)) && (significant || !only.checked));
        shown += !unit.hidden;
      }
      count.textContent = `${shown} of ${table.tBodies.length} students`;
    };
    text.addEventListener("input", apply);
    only.addEventListener("change", apply);
    measure.addEventListener("change", () => {
      measures.set(table.id, measure.value);
      const sorted = table.querySelector("th[aria-sort$='ending']:not([data-key='label'])");
      if (sorted) sort(table, sorted, sorted.getAttribute("aria-sort"));
    });
    apply();
    controls.hidden = false;
  }

  // Details of a row: made when they are opened.
  const difference = (d, cell) => {
    if (!d) return h("td", {}, "");
    const style = d.significant ? (d.value > 0 ? "gain" : "loss") : "";
    return h("td", {}, h("span", { class: style }, signed(d.value)), d.count < cell.count ? ` on ${d.count.toLocaleString("en")}` : "",
      h("small", {}, `[${signed(d.low)}, ${signed(d.high)}], p ${d.adjusted < 0.001 ? "< 0.001" : `= ${d.adjusted.toFixed(3)}`}`));
  };
  const duration = (s) => (s < 90 ? `${s.toFixed(0)} s` : s < 5400 ? `${(s / 60).toFixed(0)} min` : `${(s / 3600).toFixed(1)} h`);
  const budget = ({ learnt_records: records, steps, seconds, peak_bytes: bytes }) => [
    records === undefined ? null : `${records.toLocaleString("en")} records`,
    steps === undefined ? null : `${steps.toLocaleString("en")} steps`,
    seconds === undefined ? null : duration(seconds),
    bytes === undefined ? null : `${(bytes / 1e9).toFixed(1)} GB`,
  ].filter(Boolean).join(", ");
  function details({ row, group, number }) {
    const heads = ["benchmark", /*heads*/,
      "budget", "won / lost", "records"];
    const lines = group.benchmarks.filter((name) => row.cells[name]).map((name) => {
      const cell = row.cells[name];
      const ends = cell.low === null ? "" : `[${percent(cell.low)}, ${percent(cell.high)}]`;
      const shares = cell.gap?.map((share) => String(Math.round(100 * share)).replace("-", "−"));
      const flip = flips[row.id]?.[name];
      const sources = cell.sources.flatMap((source, i) => [
        i ? ", " : "", h("a", { href: href(source.results) }, source.seed === null ? "run" : `seed ${source.seed}`),
      ]);
      return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, percent(cell.score), h("small", {}, ends)),
        h("td", {}, cell.count.toLocaleString("en")), difference(cell.vanilla, cell), difference(cell.lora, cell), 
        h("td", {}, ...(shares ? [`${shares[0]} %`, h("small", {}, `[${shares[1]}, ${shares[2]}]`)] : [])),
        h("td", {}, cell.sources.length + (cell.spread === null ? "" : ` ± ${percent(cell.spread)}`)),
        h("td", {}, cell.vanilla?.detectable ? percent(cell.vanilla.detectable) : ""), /*cells*/h("td", { class: "wrap" }, budget(cell.budget)),
        h("td", {}, flip ? h("button", { type: "button", class: "link", click: () => read(number, row.id, name) },
          `${flip.won} / ${flip.lost}`) : ""),
        h("td", { class: "wrap" }, ...sources));
    });
    const made = Object.fromEntries(group.benchmarks.filter((name) => row.cells[name]).map((name) => [name, row.cells[name].sources]));
    return h("div", { class: "inner" },
      row.title ? h("p", {}, `${row.title}. ${row.reference === "–" ? "" : row.reference}`) : null,
      h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, ...lines)),
      h("details", {}, h("summary", {}, "Provenance"), h("pre", { tabindex: "0" }, JSON.stringify(made, null, 1))));
  }
  function toggle(unit, open) {
    const button = unit.querySelector(".more");
    if (open && unit.rows.length === 1) {
      const cell = h("td", { class: "detail", colspan: unit.rows[0].cells.length });
      cell.append(details(rows.get(unit.dataset.row)));
      unit.append(h("tr", {}, cell));
    }
    if (unit.rows[1]) unit.rows[1].hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  }
  for (const button of all(".more")) {
    const unit = button.closest("tbody");
    button.hidden = false;
    button.setAttribute("aria-label", `Details of ${rows.get(unit.dataset.row).row.label}`);
    button.addEventListener("click", () => toggle(unit, button.getAttribute("aria-expanded") !== "true"));
  }

  // Items won and lost.
  const readers = new Map();
  for (const place of all("[data-flips]")) {
    const number = Number(place.dataset.flips);
    const group = board.groups[number];
    const students = group.rows.filter((row) => flips[row.id]);
    const benchmarks = group.benchmarks.filter((name) => students.some((row) => flips[row.id][name]));
    const option = (value, text) => h("option", { value }, text);
    const student = h("select", {}, ...students.map((row) => option(row.id, row.label)));
    const benchmark = h("select", {}, ...benchmarks.map((name) => option(name, name)));
    const said = h("output", { "aria-live": "polite" });
    const sides = h("div", { class: "sides" });
    const draw = () => {
      const cell = flips[student.value][benchmark.value];
      sides.replaceChildren();
      said.textContent = cell ? `${cell.count.toLocaleString("en")} items in common${cell.of > 1 ? `, seed ${cell.seed}, one of ${cell.of}` : ""}`
        : "not compared";
      if (!cell) return;
      const { row } = rows.get(student.value);
      const names = [row.cells[benchmark.value].vanilla.against, row.label];
      for (const won of [true, false]) {
        const items = cell.items.filter((item) => item.won === won);
        const total = won ? cell.won : cell.lost;
        sides.append(h("section", { class: `side ${won ? "won" : "lost"}` },
          h("h4", {}, `${won ? "Won" : "Lost"}: ${total}`),
          h("div", { class: "list" }, ...items.map((item) => flipped(item, names))),
          items.length < total ? h("p", {}, `The first ${items.length} of ${total}; the samples files have all.`) : null,
          total ? null : h("p", {}, "none")));
      }
    };
    student.addEventListener("change", draw);
    benchmark.addEventListener("change", draw);
    place.append(h("div", { class: "choose" }, h("label", {}, "Student", student), h("label", {}, "Benchmark", benchmark), said), sides);
    readers.set(number, (id, name) => { student.value = id; benchmark.value = name; draw(); student.focus(); });
    draw();
  }
  function read(number, id, name) {
    readers.get(number)(id, name);
    document.getElementById(`flips-${number}`).scrollIntoView();
  }
  function flipped(item, [before, after]) {
    const prompt = texts[item.prompt];
    const opened = (event) => {
      const element = event.currentTarget;
      if (!element.open || element.children.length > 1) return;
      const part = (head, text, style, verdict) => h("div", {}, h("h5", {}, head), h("pre", { class: style, tabindex: "0" }, text || "(empty)"),
        verdict ? h("p", { class: "verdict" }, verdict) : null);
      element.append(h("div", { class: "body" },
        part("Prompt", prompt, ""),
        part(before, item.before, item.won ? "wrong" : "right", item.before_verdict),
        part(after, item.after, item.won ? "right" : "wrong", item.after_verdict),
        part("Reference", texts[item.target], "")));
    };
    return h("details", { class: "flip", toggle: opened },
      h("summary", {}, h("b", {}, `${item.doc}`), h("span", {}, glimpse(prompt, item.cluster))));
  }
  /** The line of a prompt that tells it from others: the last that is long enough, without markup of the chat. */
  function glimpse(prompt, cluster) {
    const lines = prompt.split("\n").map((line) => line.trim()).filter((line) => line && !/^<\|.*\|>$/.test(line));
    const long = lines.filter((line) => line.length > 24 && !/^(The following are|Complete the following|Answer the following)/.test(line));
    return `${cluster ? `${cluster.replaceAll("_", " ")}: ` : ""}${(long.at(-1) ?? lines.at(-1) ?? "").slice(0, 200)}`;
  }

  // Permalinks: #row opens and marks it.
  function follow() {
    const unit = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    all(".unit.found").forEach((other) => other.classList.remove("found"));
    if (!unit?.classList.contains("unit")) return;
    unit.hidden = false;
    unit.classList.add("found");
    toggle(unit, true);
    unit.scrollIntoView({ block: "center" });
  }
  addEventListener("hashchange", follow);
  follow();
})();
