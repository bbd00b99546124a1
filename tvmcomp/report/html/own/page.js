// What all parts of the page share: the data, small helpers, the theme, and the panel of details.

const data = JSON.parse(document.getElementById("data").textContent);

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a text is never read as HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A number as a person reads it: so many significant digits, no exponent. */
function shown(value, unit = "", digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Number(value).toLocaleString("en", { maximumSignificantDigits: digits });
  return unit ? `${text} ${unit}` : text;
}

function bytes(count) {
  if (count === null || count === undefined) return "–";
  return count >= 2 ** 20 ? shown(count / 2 ** 20, "MiB") : shown(count / 2 ** 10, "KiB");
}

function shortened(text, length) {
  if (text.length <= length) return text;
  const head = Math.ceil((length - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (length - 1 - head))}`;
}

// Colours of number formats: told apart by those who see no red or green, too (Okabe and Ito).
const FORMATS = new Map([
  ["int8", "#0072b2"], ["uint8", "#0072b2"], ["float16", "#009e73"], ["bfloat16", "#56b4e9"],
  ["float32", "#e69f00"],
]);
const OTHERS = ["#cc79a7", "#b2b200", "#d55e00", "#8c8c8c"];

const formats = [...new Set(data.operators.map((operator) => operator.format))].sort();
const otherFormats = formats.filter((format) => !FORMATS.has(format));
function formatColour(format) {
  return FORMATS.get(format) ?? OTHERS[otherFormats.indexOf(format) % OTHERS.length];
}

// The theme: the system's, until the reader chooses.
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  byId("theme").setAttribute("aria-pressed", String(!dark));
});

// The panel of details: a dialog that Escape closes, and that gives the focus back.
const panel = byId("details");
let before = null;

/** Show pairs of a name and a text, a node or a list of them; pairs without a value are left out. */
function showDetails(title, pairs) {
  if (!panel.open) before = document.activeElement;
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || value.length === 0) continue;
    const parts = Array.isArray(value) ? value : [value];
    list.append(element("dt", {}, name), element("dd", {}, ...parts));
  }
  byId("details-title").textContent = title;
  byId("details-body").replaceChildren(list);
  if (!panel.open) panel.show();
  byId("details-title").focus();
}

function closeDetails() {
  panel.close();
  if (before && document.contains(before)) before.focus();
}
byId("details-close").addEventListener("click", closeDetails);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel.open) closeDetails();
});

/** Draw into the element with this id now, and again where its width changes. */
function drawn(id, draw) {
  const place = byId(id);
  if (!place) return;
  let width = 0;
  const redraw = () => {
    const now = Math.floor(place.clientWidth);
    if (now === width || now === 0) return;
    width = now;
    place.replaceChildren(draw(Math.max(280, now)));
  };
  redraw();
  new ResizeObserver(redraw).observe(place);
}

// The clipboard of a page that was opened from a file, and what there is where it is refused.
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "hidden-copy", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const label = button.textContent;
  button.textContent = "Copied";
  byId("status").textContent = "Copied to the clipboard";
  setTimeout(() => { button.textContent = label; }, 1500);
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", () => copy(byId(button.dataset.copy).textContent, button));
}
