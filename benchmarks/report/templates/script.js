"use strict";

const table = document.getElementById("table");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const selects = Array.from(document.querySelectorAll("select[data-column]"));
const headings = Array.from(table.tHead.rows[0].cells);

function showRows() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const selected = selects.every(
      ({ value, dataset }) => value === "" || row.cells[dataset.column].textContent === value,
    );
    row.hidden = !selected || !words.every((word) => text.includes(word));
    count += !row.hidden;
  }
  document.getElementById("shown").textContent = `${count} of ${rows.length} rows`;
}

function sortBy(column) {
  const heading = headings[column];
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of headings) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => row.cells[column]?.dataset.value ?? "";
  const numeric = rows.every((row) => value(row) === "" || !isNaN(value(row)));
  rows.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = numeric ? a - b : a.localeCompare(b);
    return ascending ? order : -order;
  });
  body.append(...rows);
}

document.getElementById("filter").addEventListener("input", showRows);
for (const select of selects) select.addEventListener("change", showRows);
headings.forEach((heading, column) => {
  heading.addEventListener("click", () => sortBy(column));
});
showRows();

function draw(plot) {
  vegaEmbed(plot, JSON.parse(plot.dataset.chart), {
    renderer: "svg",
    tooltip: { theme: "custom" },
    actions: { export: true, source: false, compiled: false, editor: false },
  }).catch((error) => {
    plot.textContent = `This chart cannot be drawn: ${error.message}`;
  });
}

// What is folded away has no width to fill yet.
const folded = document.querySelector("#samples details");
for (const plot of document.querySelectorAll("[data-chart]")) {
  if (!folded.contains(plot)) draw(plot);
}
folded.addEventListener(
  "toggle",
  () => folded.querySelectorAll("[data-chart]").forEach(draw),
  { once: true },
);
