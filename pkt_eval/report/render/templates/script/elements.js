// The page's behaviour. What models wrote is in here: text goes into the page as text only.
const { columns, comparisons, groups } = JSON.parse(document.getElementById("data").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const rows = new Map();
groups.forEach((group, number) => group.rows.forEach((row) => rows.set(row.id, { row, group, number })));

/** An element with attributes (functions become listeners) and children (strings become text). */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** A name that a narrow column breaks behind an underscore. */
const breaking = (name) => name.split("_").flatMap((part, i) => (i ? ["_", h("wbr"), part] : [part]));

/** The same of SVG. */
function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const option = (value, text) => h("option", { value }, text);

const signed = (share) => {
  const text = (100 * share).toFixed(1);
  if (Math.abs(text) === 0) return "0.0";
  return text > 0 ? `+${text}` : text.replace("-", "−");
};
const href = (path) => path.split("/").map(encodeURIComponent).join("/");
const grouped = (number) => number.toLocaleString("en");
