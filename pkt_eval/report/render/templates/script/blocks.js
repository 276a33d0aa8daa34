// What lies compressed in the page, opened when it is looked at.
const openedBlocks = new Map();

/** A promise of what a block holds. */
function openBlock(name) {
  if (!openedBlocks.has(name)) openedBlocks.set(name, inflate(document.getElementById(`block-${name}`)));
  return openedBlocks.get(name);
}

async function inflate(element) {
  if (!element) throw new Error("there are no samples");
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to open them: it has no DecompressionStream");
  const bytes = Uint8Array.fromBase64?.(element.textContent)
    ?? Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const sheetName = (number, benchmark) => `answers-${number}-${groups[number].benchmarks.indexOf(benchmark)}`;
