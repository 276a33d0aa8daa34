// What differs between two answers: words that one has and the other has not, in order (longest common subsequence).
const MOST_WORDS = 1500;

/** Two lists of [text, whether only this side has it]. */
function diff(a, b) {
  const [x, y] = [a, b].map((text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? []);
  let start = 0, endX = x.length, endY = y.length;
  while (start < endX && start < endY && x[start] === y[start]) start++;
  while (endX > start && endY > start && x[endX - 1] === y[endY - 1]) { endX--; endY--; }
  const sides = [[], []];
  const put = (side, text, only) => {
    const last = sides[side].at(-1);
    if (last && last[1] === only) last[0] += text;
    else sides[side].push([text, only]);
  };
  const both = (text) => { put(0, text, false); put(1, text, false); };
  x.slice(0, start).forEach(both);
  const [p, q] = [x.slice(start, endX), y.slice(start, endY)];
  if (p.length > MOST_WORDS || q.length > MOST_WORDS) {  // too long to be matched: all of it differs
    put(0, p.join(""), true);
    put(1, q.join(""), true);
  } else {
    const width = q.length + 1, longest = new Uint16Array((p.length + 1) * width);
    for (let i = p.length - 1; i >= 0; i--) {
      for (let j = q.length - 1; j >= 0; j--) {
        longest[i * width + j] = p[i] === q[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
      }
    }
    let i = 0, j = 0;
    while (i < p.length || j < q.length) {
      if (i < p.length && j < q.length && p[i] === q[j]) { both(p[i++]); j++; }
      else if (j < q.length && (i === p.length || longest[i * width + j + 1] > longest[(i + 1) * width + j])) put(1, q[j++], true);
      else put(0, p[i++], true);
    }
  }
  x.slice(endX).forEach(both);
  return sides;
}
