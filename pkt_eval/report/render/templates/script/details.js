// Details of a row, made when they are opened: what is known of it, a line each, with a column for each benchmark.
function details({ row, group, number }) {
  const benchmarks = group.benchmarks.filter((name) => row.cells[name]);
  const line = (head, of) => h("tr", {}, h("th", { scope: "row" }, head), ...benchmarks.map((name) => h("td", {}, ...of(row.cells[name], name))));
  const lines = columns.map(({ head }, i) => line(head, (cell) => {
    const [text, interval, on, style] = cell.shown[i];
    return [h("span", { class: style }, text), on ? ` ${on}` : "", interval ? h("small", {}, interval) : ""];
  }));
  if (group.sheets.length) {
    lines.push(line("samples", (cell, name) => [group.sheets.includes(name) ? h("button", { type: "button", class: "link", click: () => read(number, row.id, name) },
      cell.wonAndLost ? `${cell.wonAndLost.join(" won, ")} lost` : "read") : ""]));
  }
  lines.push(line("results files", (cell) => cell.sources.flatMap((source, i) => [
    i ? ", " : "", h("a", { href: href(source.results) }, source.seed === null ? "run" : `seed ${source.seed}`)])));
  const made = h("pre", { tabindex: "0" });
  const opened = async (event) => {
    if (!event.currentTarget.open || made.textContent) return;
    try {
      made.textContent = JSON.stringify((await openBlock(`made-${number}`))[row.id], null, 1);
    } catch (error) {
      made.textContent = error.message;
    }
  };
  return h("div", { class: "inner" },
    row.title ? h("p", {}, `${row.title}. ${row.reference === "–" ? "" : row.reference}`) : null,
    h("div", { class: "facts-of" }, h("table", {},
      h("thead", {}, h("tr", {}, h("td"), ...benchmarks.map((name) => h("th", { scope: "col" }, ...breaking(name))))), h("tbody", {}, ...lines))),
    h("details", { toggle: opened }, h("summary", {}, "Provenance"), made));
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
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    toggle(unit, open);
    if (open || said.get("row") === unit.id) say("row", open ? unit.id : "");
  });
}
