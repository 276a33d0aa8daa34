// Score against what a transfer cost, with the Pareto front: the students that no cheaper one equals.
const COSTS = {
  seconds: ["time of the transfer", (value) => (value < 90 ? `${value < 10 ? Number(value.toPrecision(2)) : value.toFixed(0)} s` : value < 5400 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`)],
  learnt_records: ["records learnt from", (value) => grouped(Math.round(value))],
  peak_bytes: ["peak memory", (value) => `${(value / 1e9).toFixed(1)} GB`],
  steps: ["optimiser steps", (value) => grouped(Math.round(value))],
};
const MEAN = "mean score";

/** Of points {cost, score}, those that are not beaten: no other is as cheap and better, or cheaper and as good. */
function pareto(points) {
  const sorted = [...points].sort((a, b) => a.cost - b.cost || b.score - a.score);
  const front = [];
  for (const point of sorted) if (!front.length || point.score > front.at(-1).score) front.push(point);
  return front;
}

function pointsOf(group, benchmark, cost) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return group.rows.flatMap((row) => {
    const cells = benchmark === MEAN ? Object.values(row.cells) : [row.cells[benchmark]];
    const score = benchmark === MEAN ? row.mean_score : row.cells[benchmark]?.score;
    if (score === undefined || score === null || !cells.every((cell) => cell?.budget[cost] !== undefined)) return [];
    return [{ row, score, cost: mean(cells.map((cell) => cell.budget[cost])) }];
  });
}

function scatter(place) {
  const number = Number(place.dataset.scatter);
  const group = groups[number];
  const costs = Object.keys(COSTS).filter((cost) => group.benchmarks.some((name) => pointsOf(group, name, cost).length > 1));
  if (!costs.length) return;
  const ofAll = group.rows.some((row) => row.mean_score !== null) ? [MEAN] : [];
  const benchmark = h("select", {}, ...[...ofAll, ...group.benchmarks].map((name) => option(name, name)));
  const cost = h("select", {}, ...costs.map((name) => option(name, COSTS[name][0])));
  const plot = h("div", { class: "plot" });
  const draw = () => {
    const points = pointsOf(group, benchmark.value, cost.value);
    plot.replaceChildren(points.length ? plotted(points, group, benchmark.value, cost.value) : h("p", { class: "hint" }, "No cost is recorded there."));
  };
  place.append(h("div", { class: "choose" }, h("label", {}, "Score", benchmark), h("label", {}, "Cost", cost)), h("figure", {}, plot));
  remembered(benchmark, own("scores", number), draw);
  remembered(cost, own("cost", number), draw);
  restorers.push(draw);
  draw();
  place.hidden = false;
}

function plotted(points, group, benchmark, cost) {
  const [width, height, left, right, top, bottom] = [900, 380, 46, 150, 20, 34];
  const vanilla = group.rows.find((row) => row.method === "vanilla" && (benchmark === MEAN ? row.mean_score !== null : row.cells[benchmark]));
  const base = vanilla && (benchmark === MEAN ? vanilla.mean_score : vanilla.cells[benchmark].score);
  const values = points.map((point) => point.cost), scores = [...points.map((point) => point.score), ...(vanilla ? [base] : [])];
  const log = Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;
  const on = log ? Math.log10 : (value) => value;
  const [from, to] = [Math.min(...values.map(on)), Math.max(...values.map(on))];
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const x = (value) => left + 14 + (to > from ? (on(value) - from) / (to - from) : 0.5) * (width - left - right - 28);
  const y = (score) => height - bottom - 12 - (high > low ? (score - low) / (high - low) : 0.5) * (height - bottom - top - 24);
  const front = pareto(points);
  const kept = new Set(front.map((point) => point.row.id));
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${benchmark} against ${COSTS[cost][0]}` });
  svg.append(s("line", { class: "grid", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }), s("line", { class: "grid", x1: left, x2: left, y1: top, y2: height - bottom }));
  for (const value of [...new Set([Math.min(...values), Math.max(...values)])]) {
    svg.append(s("text", { class: "tick", x: x(value), y: height - bottom + 16 }, COSTS[cost][1](value)));
  }
  svg.append(s("text", { class: "tick", x: (left + width - right) / 2, y: height - 4 }, `${COSTS[cost][0]}${log ? ", on a scale of logarithms" : ""}`));
  for (const score of new Set([low, high])) svg.append(s("text", { class: "tick", x: left - 22, y: y(score) + 4 }, (100 * score).toFixed(1)));
  if (vanilla) {
    svg.append(s("line", { class: "zero", "stroke-dasharray": "5 4", x1: left, x2: width - right, y1: y(base), y2: y(base) }),
      s("text", { class: "options", x: width - right + 6, y: y(base) + 3 }, "vanilla, at no cost"));
  }
  const steps = front.flatMap((point, i) => (i ? [`H${x(point.cost)}`, `V${y(point.score)}`] : [`M${x(point.cost)} ${y(point.score)}`]));
  svg.append(s("path", { class: "front", d: steps.join(" ") }));
  const taken = [];
  for (const point of [...points].sort((a, b) => kept.has(b.row.id) - kept.has(a.row.id))) {
    const sentence = `${point.row.label}: ${(100 * point.score).toFixed(1)} at ${COSTS[cost][1](point.cost)}${kept.has(point.row.id) ? ", on the front" : ""}`;
    const [cx, cy] = [x(point.cost), y(point.score)];
    const mark = s("g", { class: `point ${kept.has(point.row.id) ? "kept" : ""}`, role: "img", "aria-label": sentence }, s("title", {}, sentence), s("circle", { cx, cy, r: 5 }));
    // A name where there is room for it; the others are in the tooltips.
    const wide = 6.2 * point.row.label.length + 10;
    if (!taken.some(([tx, ty, tw]) => Math.abs(ty - cy) < 12 && cx < tx + tw && tx < cx + wide)) {
      taken.push([cx, cy, wide]);
      mark.append(s("text", { x: cx + 7, y: cy - 6 }, point.row.label));  // above the front, which goes on level
    }
    svg.append(mark);
  }
  return svg;
}

all("[data-scatter]").forEach(scatter);
