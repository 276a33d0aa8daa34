// Links to a row: #row-id opens and marks it. When the address changes, the page becomes what it says.
function follow() {
  const unit = document.getElementById(said.get("row") ?? "");
  all(".unit.found").forEach((other) => other.classList.remove("found"));
  if (!unit?.classList.contains("unit")) return;
  unit.hidden = false;
  unit.classList.add("found");
  toggle(unit, true);
  unit.scrollIntoView({ block: "center" });
}
for (const link of all(".board .permalink")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    say("row", link.closest("tbody").id);
    follow();
  });
}
addEventListener("hashchange", () => {
  const text = location.hash.slice(1);
  if (text && !text.includes("=") && !rows.has(decoded(text))) return;  // to a place in the page, which changes no state
  readAddress();
  restorers.forEach((restore) => restore());
  follow();
});
follow();
if ([...said.keys()].some((key) => key.split(".")[0] === "item")) {
  const number = [...said.keys()].map((key) => key.match(/^item(?:\.(\d+))?$/)).find(Boolean)?.[1] ?? "0";
  document.getElementById(`samples-${number}`)?.scrollIntoView();
}
