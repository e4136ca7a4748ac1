const UNITS = { k: 1e3, M: 1e6, min: 60, h: 3600 };

function value(text) {
  if (text === "never") return Infinity;
  const found = /^(-?[\d.]+(?:e[+-]?\d+)?) ?([a-zA-Z]*)/.exec(text);
  return found ? parseFloat(found[1]) * (UNITS[found[2]] || 1) : -Infinity;
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") !== "descending";
  const text = (row) => row.cells[head.cellIndex].textContent.trim();
  const compare = (a, b) =>
    head.className === "number"
      ? Math.sign(value(text(a)) - value(text(b)) || 0)
      : -text(a).localeCompare(text(b));
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a, b)));
});
