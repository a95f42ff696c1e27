"use strict";

const table = document.getElementById("table");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const headings = Array.from(table.tHead.rows[0].cells);

function showRows() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
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
headings.forEach((heading, column) => {
  heading.addEventListener("click", () => sortBy(column));
});
showRows();

for (const plot of document.querySelectorAll("[data-chart]")) {
  vegaEmbed(plot, JSON.parse(plot.dataset.chart), {
    renderer: "svg",
    tooltip: { theme: "custom" },
    actions: { export: true, source: false, compiled: false, editor: false },
  }).catch((error) => {
    plot.textContent = `This chart cannot be drawn: ${error.message}`;
  });
}
