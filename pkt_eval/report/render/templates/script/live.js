// A page that `pkt-eval view` serves loads itself anew when there is a newer one: at the same address, and so in the same
// state, at the same height, with what was open. It waits while somebody types or marks text.
const live = document.getElementById("live");
const PLACE = "pkt-eval-place";
const PAUSE = 3000;  // after the last key or click
const OPENED = ".legend, .columns";
let touched = 0;

for (const sign of ["keydown", "pointerdown"]) addEventListener(sign, () => { touched = Date.now(); });
const busy = () => Date.now() - touched < PAUSE || !(getSelection()?.isCollapsed ?? true);

function leave() {
  const rows = all(".board .more[aria-expanded=true]").map((button) => button.closest("tbody").id);
  const focus = document.activeElement?.matches("input, select") ? all("input, select").indexOf(document.activeElement) : -1;
  const opened = all(OPENED).map((each) => each.open);
  try { sessionStorage.setItem(PLACE, JSON.stringify({ y: scrollY, rows, focus, opened })); } catch { /* a page without storage */ }
  location.reload();
}

/** Back to where the reader was. What is drawn when it is come to grows the page, so that it takes some tries. */
function comeBack() {
  let place = null;
  try {
    place = JSON.parse(sessionStorage.getItem(PLACE));
    sessionStorage.removeItem(PLACE);
  } catch { /* a page without storage */ }
  if (!place) return;
  history.scrollRestoration = "manual";
  for (const id of place.rows) {
    const unit = document.getElementById(id);
    if (unit?.querySelector(".more")) toggle(unit, true);
  }
  all(OPENED).forEach((each, i) => { each.open = place.opened[i] ?? false; });
  if (place.focus >= 0) all("input, select")[place.focus]?.focus({ preventScroll: true });
  const until = Date.now() + 2000;
  let moved = false;
  for (const sign of ["wheel", "touchmove", "keydown", "mousedown"]) addEventListener(sign, () => { moved = true; }, { once: true, passive: true });
  const hold = () => {
    if (moved || Date.now() > until) return;
    if (Math.abs(scrollY - place.y) > 1) scrollTo({ top: place.y, behavior: "instant" });
    requestAnimationFrame(hold);
  };
  hold();
}

async function look() {
  try {
    const answer = await fetch("version", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    live.textContent = "live";
    if (await answer.text() !== live.dataset.version && !busy()) return leave();
  } catch {
    live.textContent = "no longer live: the server has ended";
  }
  return later();
}
const later = () => setTimeout(look, 1000 * Number(live.dataset.every) + 100);
comeBack();
later();
