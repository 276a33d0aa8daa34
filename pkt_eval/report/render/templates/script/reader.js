// The reader of all answers: two students side by side, each of any seed; filtered by who is right, searched, diffed.
const SHOWN = 50;
const readers = new Map();

function reader(place) {
  const number = Number(place.dataset.reader);
  const group = groups[number];
  const name = (short) => own(short, number);
  const benchmark = h("select", {}, ...group.sheets.map((each, i) => option(String(i), each)));
  const listed = group.rows.filter((row) => group.sheets.some((each) => row.cells[each]));
  const student = () => h("select", {}, ...listed.map((row) => option(row.id, row.label)));
  const judged = () => h("select", {}, option("", "right or wrong"), option("right", "right"), option("wrong", "wrong"));
  const sides = ["a", "b"].map((side) => ({ side, student: student(), seed: h("select", { "aria-label": `seed of student ${side.toUpperCase()}` }), judged: judged() }));
  const find = h("input", { type: "search", placeholder: "in questions and answers" });
  const mark = h("input", { type: "checkbox", checked: true });
  const output = h("output", { "aria-live": "polite" });
  const list = h("div", { class: "list" });
  sides[0].student.selectedIndex = Math.max(listed.findIndex((row) => !["vanilla", "teacher"].includes(row.method) && row.cells[group.sheets[0]]), 0);
  let asked = 0;  // a newer question makes an older one's answer void

  const chosen = () => group.sheets[Number(benchmark.value)] ?? group.sheets[0];
  const seeds = () => {
    for (const { student, seed } of sides) {
      const sources = rows.get(student.value)?.row.cells[chosen()]?.sources ?? [];
      const before = seed.value;
      seed.replaceChildren(...sources.map((source, i) => option(String(i), source.seed === null ? "the only run" : `seed ${source.seed}`)));
      seed.value = sources[Number(before)] ? before || "0" : "0";
      seed.hidden = sources.length < 2;
    }
  };
  const draw = async () => {
    const ticket = ++asked;
    const still = () => ticket === asked;
    const sheet = sheetName(number, chosen());
    try {
      output.textContent = "opening …";
      const index = await openBlock(sheet);
      if (!still()) return;
      const runs = sides.map(({ student, seed }) => index.runs[student.value]?.[Number(seed.value)]);
      const scores = (run, at) => run?.scores[at] ?? null;
      const right = (run, at) => (scores(run, at) === null ? null : scores(run, at) >= 0.5);
      const counts = [[0, 0], [0, 0]];
      const link = said.get(name("item"));
      let places = index.docs.map((_, at) => at).filter((at) => {
        const [x, y] = runs.map((run) => right(run, at));
        if (x === null && y === null) return false;
        if (x !== null && y !== null) counts[Number(x)][Number(y)]++;
        return index.links[at] === link || sides.every(({ judged }, i) => !judged.value || [x, y][i] === (judged.value === "right"));
      });
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length) {
        const found = [];
        for (const at of places) openBlock(`${sheet}-${Math.floor(at / index.part)}`).catch(() => {});  // all at once
        for (const at of places) {
          const part = await openBlock(`${sheet}-${Math.floor(at / index.part)}`);
          if (!still()) return;
          const texts = [part.prompts[at % index.part], part.targets[at % index.part], ...sides.flatMap((_, i) => answerOf(part, index, i, at) ?? [])];
          const text = texts.join("\n").toLowerCase();
          if (index.links[at] === link || words.every((word) => text.includes(word))) found.push(at);
        }
        places = found;
      }
      const compared = counts.flat().reduce((a, b) => a + b, 0);
      output.textContent = `${grouped(places.length)} of ${grouped(index.docs.length)} items` + (compared
        ? `; of ${grouped(compared)} in common both are right on ${counts[1][1]}, A alone on ${counts[1][0]}, B alone on ${counts[0][1]}, neither on ${counts[0][0]}` : "");
      list.replaceChildren();
      await more(sheet, index, places, 0, still);
      const at = index.links.indexOf(link);
      if (still() && link && places.includes(at)) reveal(sheet, index, places, at);
    } catch (error) {
      output.textContent = `The samples cannot be read: ${error.message}`;
    }
  };
  const answerOf = (part, index, i, at) => {
    const place = part.answers[sides[i].student.value]?.[Number(sides[i].seed.value)]?.[at % index.part];
    return place === undefined || place === null ? null : part.texts[place];
  };
  const more = async (sheet, index, places, from, still = () => true) => {
    for (const at of places.slice(from, from + SHOWN)) {
      const part = await openBlock(`${sheet}-${Math.floor(at / index.part)}`);
      if (!still()) return;
      list.append(entry(sheet, index, part, at));
    }
    if (places.length > from + SHOWN) {
      const next = h("button", { type: "button", class: "next", click: () => { next.remove(); more(sheet, index, places, from + SHOWN); } },
        `show ${Math.min(SHOWN, places.length - from - SHOWN)} more`);
      list.append(next);
    }
  };
  const reveal = async (sheet, index, places, at) => {
    let element = list.querySelector(`[data-link="${index.links[at]}"]`);
    if (!element) list.prepend(element = entry(sheet, index, await openBlock(`${sheet}-${Math.floor(at / index.part)}`), at));
    element.open = true;
    element.classList.add("found");
    element.scrollIntoView({ block: "nearest" });
  };
  const judgement = (index, row, seed, at) => {
    const score = index.runs[row]?.[seed]?.scores[at] ?? null;
    return score === null ? ["–", "", "not asked"] : score >= 0.5 ? ["✓", "right", "right"] : ["✗", "wrong", "wrong"];
  };
  const entry = (sheet, index, part, at) => {
    const inPart = at % index.part;
    const prompt = part.prompts[inPart];
    const marks = sides.map(({ student, seed }, i) => {
      const [sign, style, word] = judgement(index, student.value, Number(seed.value), at);
      return h("i", { class: `sign ${style}`, title: `${"AB"[i]}: ${word}` }, sign);
    });
    const opened = () => {
      if (!element.open) return;
      say(name("item"), index.links[at]);
      if (element.children.length > 1) return;
      const answers = sides.map((_, i) => answerOf(part, index, i, at));
      const marked = answers.every(Boolean) && mark.checked ? diff(answers[0][0], answers[1][0]) : answers.map((answer) => [[answer?.[0] ?? "", false]]);
      element.append(h("div", { class: "body" },
        text("Question", [[prompt, false]], ""),
        h("div", { class: "pair" }, ...sides.map(({ student, seed }, i) => {
          const label = `${"AB"[i]}: ${rows.get(student.value)?.row.label ?? ""}${seed.hidden ? "" : `, ${seed.selectedOptions[0]?.textContent}`}`;
          if (!answers[i]) return text(label, [["not asked", false]], "");
          return text(label, marked[i], judgement(index, student.value, Number(seed.value), at)[1], answers[i][1]);
        })),
        text("Reference", [[part.targets[inPart], false]], ""),
        everyone(index, part, at)));
    };
    const cluster = index.clusters[index.cluster[at]];
    const element = h("details", { class: "item", "data-link": index.links[at], toggle: opened },
      h("summary", {}, h("b", {}, `${index.docs[at]}`), ...marks, h("span", {}, glimpse(prompt, cluster)),
        h("a", { class: "permalink", href: "#", "aria-label": "Link to this item", click: (event) => {
          event.preventDefault();
          say(name("item"), index.links[at]);
          navigator.clipboard?.writeText(location.href).catch(() => {});
        } }, "#")));
    return element;
  };
  const text = (head, parts, style, verdict) => h("div", {}, h("h5", {}, head),
    h("pre", { class: style, tabindex: "0" }, ...(parts.some(([each]) => each) ? parts.map(([each, only]) => (only ? h("mark", {}, each) : each)) : ["(empty)"])),
    verdict ? h("p", { class: "verdict" }, verdict) : null);
  /** The answers of all students and seeds to an item. */
  const everyone = (index, part, at) => {
    const element = h("details", { class: "everyone", toggle: () => {
      if (!element.open || element.children.length > 1) return;
      element.append(...group.rows.filter((row) => part.answers[row.id]).flatMap((row) => part.answers[row.id].map((run, seed) => {
        const place = run[at % index.part];
        const number = index.runs[row.id][seed].seed;
        const label = `${row.label}${number === null ? "" : `, seed ${number}`}`;
        return place === null ? null : text(label, [[part.texts[place][0], false]], judgement(index, row.id, seed, at)[1], part.texts[place][1]);
      })).filter(Boolean));
    } }, h("summary", {}, "All students and seeds"));
    return element;
  };

  const controls = [["read", benchmark], ...sides.flatMap(({ side, student, seed, judged }) => [
    [side, student], [`seed-${side}`, seed], [`${side}-is`, judged]])];
  place.append(
    h("div", { class: "choose" }, h("label", {}, "Benchmark", benchmark), h("label", {}, "Search", find), h("label", { class: "check" }, mark, "mark what differs")),
    h("div", { class: "choose" }, ...sides.map(({ side, student, seed, judged }) => h("label", {}, `${side.toUpperCase()}`, student, seed, judged))),
    h("p", { class: "hint" }, output), h("div", { class: "side" }, list));
  let seen = false;
  const changed = () => { seeds(); if (seen) draw(); };
  const chosenAnew = () => { say(name("item"), ""); changed(); };
  seeds();
  for (const [key, control] of controls) remembered(control, name(key), chosenAnew);
  remembered(find, name("find"), chosenAnew);
  remembered(mark, name("marked"), changed);
  const restore = () => {
    seeds();
    for (const { side, seed } of sides) seed.value = said.get(name(`seed-${side}`)) ?? "0";
    if (seen) draw();
  };
  restorers.push(restore);
  restore();
  // Nothing is opened before it is come to.
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((each) => each.isIntersecting)) return;
    watcher.disconnect();
    seen = true;
    draw();
  }, { rootMargin: "300px" });
  watcher.observe(place);
  readers.set(number, (row, name) => {
    const vanilla = group.rows.find((each) => each.label === rows.get(row).row.cells[name].against)?.id;
    const values = [[benchmark, String(group.sheets.indexOf(name))], [sides[0].student, row], ...(vanilla ? [[sides[1].student, vanilla]] : [])];
    for (const [control, value] of values) {
      control.value = value;
      control.dispatchEvent(new Event("change"));
    }
    benchmark.focus();
  });
}

/** The line of a prompt that tells it from others: the last that is long enough, else the longest, without markup of the chat. */
function glimpse(prompt, cluster) {
  const lines = prompt.split("\n").map((line) => line.trim()).filter((line) => line && !/^<\|.*\|>$/.test(line));
  const told = lines.filter((line) => !/^(The following are|Complete the following|Answer the following)/.test(line));
  const long = told.filter((line) => line.length > 24);
  const longest = (told.length ? told : lines).reduce((best, line) => (line.length > best.length ? line : best), "");
  return `${cluster ? `${cluster.replaceAll("_", " ")}: ` : ""}${(long.at(-1) ?? longest).slice(0, 200)}`;
}

all("[data-reader]").forEach(reader);
function read(number, row, benchmark) {
  readers.get(number)(row, benchmark);
  document.getElementById(`samples-${number}`).scrollIntoView();
}
