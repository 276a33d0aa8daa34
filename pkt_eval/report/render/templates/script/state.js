// The state of the page is its address: what is sorted, filtered, hidden, compared and read comes back from a link.
// `#row-id` alone, as a row's own link has it, is the state that opens that row.
let said = new URLSearchParams();
const restorers = [];

/** What stands behind the #; an address that was cut off in the middle of a character is taken as it is. */
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function readAddress() {
  const text = location.hash.slice(1);
  said = text.includes("=") ? new URLSearchParams(text) : new URLSearchParams(text ? { row: decoded(text) } : {});
}
readAddress();

/** Put a value into the address; one that is as at the start is left out. */
function say(name, value, usual = "") {
  if (value === usual || value === null) said.delete(name);
  else said.set(name, value);
  history.replaceState(null, "", `#${said}`);
}

/** A name in the address of something that each group has. */
const own = (name, number) => (number ? `${name}.${number}` : name);

/** A select, text or checkbox whose value is in the address, under `name`; `apply` is called when it changes. */
function remembered(control, name, apply) {
  const box = control.type === "checkbox";
  const get = () => (box ? String(control.checked) : control.value);
  const set = (value) => { if (box) control.checked = value === "true"; else control.value = value; };
  const usual = get();
  const restore = () => {
    set(said.get(name) ?? usual);
    if (!box && control.selectedIndex === -1) set(usual);  // a link to what this page has not
  };
  restorers.push(restore);
  restore();
  control.addEventListener(control.tagName === "INPUT" && !box ? "input" : "change", () => {
    say(name, get(), usual);
    apply();
  });
}

// Theme: the system's, unless one is chosen. It is the reader's, not the link's.
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
