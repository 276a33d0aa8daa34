// A difference of two rows that the reader chose, with its interval: seeds and items as crossed random effects, as in
// pkt_eval/report/stats/crossed.py, with a width also where hardly an item differs (stats/score.py). No test is made.
const MIN_CLUSTERS = 20, FEW = 10, NOTHING = 1e-9;

/** Log of the gamma function (Lanczos). */
function logGamma(x) {
  const g = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];
  const t = x + 5.5 - (x + 0.5) * Math.log(x + 5.5);
  return -t + Math.log(2.5066282746310005 * (1.000000000190015 + g.reduce((sum, c, i) => sum + c / (x + 1 + i), 0)) / x);
}

/** The regularised incomplete beta function, by its continued fraction (Lentz). */
function beta(x, a, b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
  let c = 1, d = 1 / (1 - ((a + b) * x) / (a + 1)), f = d;
  for (let m = 1; m < 300; m++) {
    for (const k of [(m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)), (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + k * d);
      c = 1 + k / c;
      f *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-14) break;
  }
  return (f / a) * Math.exp(a * Math.log(x) + b * Math.log(1 - x) + logGamma(a + b) - logGamma(a) - logGamma(b));
}

/** Where `low` to `high` meets a value of a falling function. */
function meet(falling, value, low, high) {
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (falling(middle) > value) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The t of `freedom` degrees that is exceeded with a chance of 2.5 %. */
function quantile(freedom) {
  return meet((t) => beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2, 0.025, 0, 1e4);
}

/** Every true difference that Tango's score test does not reject, for b items won and c lost of n. */
function scoreInterval(b, c, n) {
  const z = (b, c, theta) => {
    const linear = (2 * n - b + c) * theta - b - c;
    const lost = (Math.sqrt(linear ** 2 + 8 * n * c * theta * (1 - theta)) - linear) / (4 * n);
    return (b - c - n * theta) / Math.sqrt(n * (2 * lost + theta * (1 - theta)));
  };
  const lower = (b, c) => (c === n ? -1 : meet((theta) => z(b, c, theta), 1.959963984540054, -1 + 1e-12, (b - c) / n - 1e-12));
  return [lower(b, c), -lower(c, b)];
}

/** Mean of rows, and the parts of its variance: `weights` is 1/seeds of each row's side, `sides` their sizes. */
function crossed(table, sides, clusters) {
  const n = table[0].length, seeds = table.length;
  const means = table.map((row) => row.reduce((a, b) => a + b, 0) / n);
  const units = clusters ? Math.max(...clusters) + 1 : n;
  const sums = table.map((row, r) => {
    const sum = new Float64Array(units);
    row.forEach((value, i) => { sum[clusters ? clusters[i] : i] += value - means[r]; });
    return sum;
  });
  const scale = units / Math.max(units - 1, 1) / n ** 2;
  const covariance = sums.map((a) => sums.map((b) => scale * a.reduce((sum, value, i) => sum + value * b[i], 0)));
  const weights = sides.flatMap((size) => Array(size).fill(1 / size));
  let items = 0, spread = 0, lost = 0, start = 0, fewest = Infinity;
  for (let i = 0; i < seeds; i++) for (let j = 0; j < seeds; j++) items += weights[i] * weights[j] * covariance[i][j];
  for (const size of sides) {
    if (size > 1) {
      let ownPart = 0, whole = 0;
      for (let i = start; i < start + size; i++) {
        ownPart += covariance[i][i] / size;
        for (let j = start; j < start + size; j++) whole += covariance[i][j];
      }
      items -= (ownPart - (whole - size * ownPart) / (size * (size - 1))) / size;
      const here = means.slice(start, start + size), middle = here.reduce((a, b) => a + b, 0) / size;
      const between = here.reduce((sum, mean) => sum + (mean - middle) ** 2, 0) / (size - 1) / size;
      spread += between;
      lost += between ** 2 / (size - 1);
      fewest = Math.min(fewest, size);
    }
    start += size;
  }
  const several = sides.filter((size) => size > 1), least = Math.max(several.reduce((a, b) => a + b, 0) - several.length, 1);
  items = Math.max(items, 0);
  const value = means.reduce((sum, mean, r) => sum + weights[r] * mean, 0);
  return { value, items, spread, freedom: Math.max(units - 1, 1), seedsFreedom: lost > 0 ? spread ** 2 / lost : least, fewest, units };
}

function halfWidth({ items, spread, freedom, seedsFreedom, fewest }) {
  const variance = items + spread;
  if (!(variance > 0)) return 0;
  const share = spread / variance;
  const t = fewest <= 2 ? (1 - share) * quantile(freedom) + (share && share * quantile(seedsFreedom))
    : quantile(1 / ((1 - share) / freedom + share / seedsFreedom));
  return t * Math.sqrt(variance);
}

/**
 * `a - b` on the items that all their seeds answered; null where they cannot be compared.
 * @param index A sheet's.
 * @returns {value, low, high, count, won, lost}
 */
function compareRows(index, a, b) {
  const [ours, theirs] = [index.runs[a], index.runs[b]];
  if (!ours || !theirs || index.alike[a] !== index.alike[b]) return null;
  const places = index.docs.map((_, place) => place).filter((place) => [...ours, ...theirs].every((run) => run.scores[place] !== null));
  if (!places.length) return null;
  const taken = (runs) => runs.map((run) => places.map((place) => run.scores[place]));
  const [x, y] = [taken(ours), taken(theirs)];
  const seeds = (runs) => runs.map((run) => run.seed).join();
  const same = seeds(ours) === seeds(theirs) && ours.every((run) => run.seed !== null);
  const gaps = same ? x.map((row, r) => row.map((value, i) => value - y[r][i]))
    : x.flatMap((one) => y.map((other) => one.map((value, i) => value - other[i])));
  const names = [...new Set(places.map((place) => index.cluster[place]))];
  const clustered = names.length >= MIN_CLUSTERS && places.every((place) => index.clusters[index.cluster[place]]);
  const clusters = clustered ? places.map((place) => names.indexOf(index.cluster[place])) : null;
  const found = same ? crossed(gaps, [gaps.length], clusters) : crossed([...x, ...y.map((row) => row.map((value) => -value))], [x.length, y.length], clusters);
  const half = halfWidth(found);
  let low = Math.max(found.value - half, -1), high = Math.min(found.value + half, 1);
  const won = gaps.reduce((sum, row) => sum + row.reduce((part, gap) => part + Math.max(gap, 0), 0), 0) / gaps.length;
  const lost = gaps.reduce((sum, row) => sum + row.reduce((part, gap) => part + Math.max(-gap, 0), 0), 0) / gaps.length;
  const differing = places.filter((_, i) => gaps.some((row) => Math.abs(row[i]) > NOTHING)).length;
  if (differing < FEW) {
    const floor = scoreInterval(Math.round(won), Math.round(lost), places.length);
    [low, high] = [Math.min(low, floor[0]), Math.max(high, floor[1])];
  }
  return { value: found.value, low, high, count: places.length, won, lost };
}
