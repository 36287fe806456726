"use strict";

(() => {
  // -- Tables: sorted by a click on a heading, within each group of rows ---------------------------

  const collator = new Intl.Collator("en", { numeric: true });

  function key(row, column) {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  }

  /** Numbers before words; cells without either last, whatever the direction. */
  function compare(a, b, sign) {
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    if (typeof a === "string" && typeof b === "string") return sign * collator.compare(a, b);
    return typeof a === "number" ? -1 : 1;
  }

  function sort(table, order, column, direction) {
    const sign = direction === "descending" ? -1 : 1;
    for (const [body, rows] of order) {
      const sorted = [...rows];
      if (direction !== "none") sorted.sort((a, b) => compare(key(a, column), key(b, column), sign));
      body.append(...sorted);
    }
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      head.setAttribute("aria-sort", place === column ? direction : "none");
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const order = [...table.tBodies].map((body) => [body, [...body.rows]]);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      // The best number first, the alphabet from its beginning; the third click restores the order.
      const turns = head.classList.contains("number") ? ["descending", "ascending"] : ["ascending", "descending"];
      button.addEventListener("click", () => {
        const next = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1] ?? "none";
        sort(table, order, column, next);
      });
    });
  }

  // -- Print: everything that is folded away ---------------------------------------------------------

  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const details of unfolded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of unfolded) details.open = false;
  });
})();
