// The table of scores: sorting, filtering, hiding columns, and comparing with a row of the reader's choice.
const measures = new Map();

/** Every header is a button; what has no value comes last either way. */
function sort(table, header, direction) {
  const { key } = header.dataset;
  const measure = measures.get(table.id) ?? "score";
  const value = (unit) => {
    const cell = unit.rows[0].cells[header.cellIndex];
    if (key === "label") return cell.dataset.label.toLowerCase();
    const text = cell.dataset[measure] ?? cell.dataset.value;
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

/** Sort as the address says. */
function sortAsSaid(table) {
  const [key, direction] = (said.get(table.dataset.state) ?? "").split(":");
  const header = all("thead th", table).find((each) => each.dataset.key === key);
  if (header) return sort(table, header, direction === "up" ? "ascending" : "descending");
  if (all("thead th", table).every((other) => other.getAttribute("aria-sort") === "none")) return;
  table.append(...table.unsorted);
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
}

for (const table of all("table.sortable")) {
  table.unsorted = [...table.tBodies];
  for (const header of table.tHead.rows[0].cells) {
    const button = h("button", { type: "button" }, ...header.childNodes);
    button.addEventListener("click", () => {
      const first = ["label", "mean_rank"].includes(header.dataset.key) ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = header.getAttribute("aria-sort") === first ? other : first;
      say(table.dataset.state, `${header.dataset.key}:${direction === "ascending" ? "up" : "down"}`);
      sort(table, header, direction);
    });
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
  }
}

function controlled(controls) {
  const table = document.getElementById(controls.dataset.controls);
  const number = Number(controls.dataset.number);
  const of = (name) => controls.querySelector(`[data-${name}]`);
  const [text, way, than, measure, base, count] = ["filter", "way", "than", "measure", "base", "count"].map(of);
  const columnsOf = [...table.tHead.rows[0].cells].slice(1);

  const filter = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = than.value ? [than.value] : comparisons.map(({ id }) => id);
    const passes = (difference) => difference?.significant && (way.value !== "better" || difference.value > 0) && (way.value !== "worse" || difference.value < 0);
    let shown = 0;
    for (const unit of table.tBodies) {
      const { row } = rows.get(unit.dataset.row);
      const named = `${row.label} ${row.paradigm} ${row.title}`.toLowerCase();
      const significant = !way.value || Object.values(row.cells).some((cell) => asked.some((name) => passes(cell.differences[name])));
      unit.hidden = !(words.every((word) => named.includes(word)) && significant);
      shown += !unit.hidden;
    }
    than.disabled = !way.value;
    count.textContent = `${shown} of ${table.tBodies.length} students`;
  };
  const order = () => {
    measures.set(table.id, measure.value);
    sortAsSaid(table);
  };

  // Columns that are hidden.
  const hidden = () => new Set((said.get(own("hide", number)) ?? "").split(",").filter(Boolean));
  const boxes = columnsOf.map((header) => h("input", { type: "checkbox", change: (event) => {
    const now = hidden();
    if (event.target.checked) now.delete(header.dataset.key);
    else now.add(header.dataset.key);
    say(own("hide", number), [...now].join());
    hide();
  } }));
  const hide = () => {
    const now = hidden();
    columnsOf.forEach((header, i) => {
      const gone = now.has(header.dataset.key);
      boxes[i].checked = !gone;
      header.hidden = gone;
      for (const unit of table.tBodies) unit.rows[0].cells[header.cellIndex].hidden = gone;
    });
  };
  of("columns").append(...columnsOf.map((header, i) => h("label", {}, boxes[i], ` ${header.textContent}`)));

  // A baseline of one's own.
  base.append(...groups[number].rows.map((row) => option(row.id, row.label)));
  const compare = async () => {
    const chosen = base.value;
    all(".delta.own", table).forEach((old) => old.remove());
    all("td", table).forEach((cell) => delete cell.dataset.own);
    table.classList.toggle("own", chosen !== "");
    of("chosen").hidden = !chosen;
    of("own").hidden = !chosen;
    if (!chosen) {
      if (measure.value === "own") measure.value = "score";
      return order();
    }
    const { label } = rows.get(chosen).row;
    for (const benchmark of groups[number].sheets) {
      const index = await openBlock(sheetName(number, benchmark));
      if (base.value !== chosen) return undefined;  // another one was chosen meanwhile
      const place = groups[number].benchmarks.indexOf(benchmark) + 1;
      for (const unit of table.tBodies) {
        const found = unit.dataset.row === chosen ? null : compareRows(index, unit.dataset.row, chosen);
        const cell = unit.rows[0].cells[place];
        if (!found) continue;
        cell.dataset.own = found.value;
        const ends = `[${signed(found.low)}, ${signed(found.high)}]`;
        cell.querySelector(".deltas").append(h("span", {
          class: `delta own ${found.low > 0 || found.high < 0 ? "apart" : ""}`,
          title: `${signed(found.value)} points against ${label}, ${ends}, on ${grouped(found.count)} items; uncorrected`,
        }, signed(found.value), h("small", {}, ` ${ends}`)));
      }
    }
    return order();
  };

  remembered(text, own("q", number), filter);
  remembered(way, own("significant", number), filter);
  remembered(than, own("than", number), filter);
  remembered(base, own("base", number), compare);
  remembered(measure, own("by", number), order);
  const apply = () => { filter(); hide(); order(); compare().catch((error) => { count.textContent = error.message; }); };
  restorers.push(apply);
  apply();
  controls.hidden = false;
}
all("[data-controls]").forEach(controlled);
for (const table of all("table.heatmap")) {
  restorers.push(() => sortAsSaid(table));
  sortAsSaid(table);
}
