// Tables: sorted by a click on a head, searched by a text, copied as CSV.

/** What a cell is sorted and copied by: its data-value, or what it shows. */
function cellValue(row, index) {
  const cell = row.cells[index];
  return cell.dataset.value ?? cell.textContent.trim();
}

/** Numbers before texts, both before what is missing. */
function compared(first, second) {
  if (first === "" || second === "") return (first === "") - (second === "");
  const [a, b] = [Number(first), Number(second)];
  const numbers = Number(!Number.isNaN(a)) + Number(!Number.isNaN(b));
  if (numbers === 2) return a - b;
  if (numbers === 1) return Number.isNaN(a) ? 1 : -1;
  return first.localeCompare(second, "en", { numeric: true });
}

function sortTable(table, index, down) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const order = (a, b) => {
    const [first, second] = [cellValue(a, index), cellValue(b, index)];
    const missing = first === "" || second === "";
    return (down && !missing ? -1 : 1) * compared(first, second);
  };
  rows.sort(order);
  body.append(...rows);
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[index].setAttribute("aria-sort", down ? "descending" : "ascending");
}

function csvOf(table) {
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  // A spreadsheet would run a text that begins like a formula.
  const harmless = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows]
    .filter((row) => !row.hidden)
    .map((row) => heads.map((_, index) => cellValue(row, index)));
  return [heads, ...rows].map((row) => row.map((text) => quoted(harmless(text))).join(",")).join("\r\n");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
    const numeric = head.classList.contains("number");
    const button = element("button", { type: "button", class: "sort" }, head.textContent.trim());
    button.addEventListener("click", () => {
      const sorted = head.getAttribute("aria-sort");
      sortTable(table, index, sorted ? sorted === "ascending" : numeric);
    });
    head.replaceChildren(button);
  }
}

for (const button of document.querySelectorAll("button[data-csv]")) {
  button.addEventListener("click", () => copy(csvOf(byId(button.dataset.csv)), button));
}

for (const input of document.querySelectorAll("input[data-filter]")) {
  const table = byId(input.dataset.filter);
  const count = byId(`${input.dataset.filter}-count`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += row.hidden ? 0 : 1;
    }
    count.textContent = `${left} of ${table.tBodies[0].rows.length}`;
  });
}
