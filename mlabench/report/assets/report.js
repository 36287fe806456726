"use strict";

(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // -- Charts: drawn when they come near the view, so that the page opens fast ---------------------

  /** Plotly lies in the page as text; it becomes a program when the first chart needs it. */
  function loadPlotly() {
    const text = document.getElementById("plotly");
    if (!text) return;
    const program = document.createElement("script");
    program.textContent = text.textContent;
    text.remove();
    document.head.append(program);
  }

  /** Colours are written "light|dark": takes the half that fits the screen. */
  function half(key, value) {
    const choose = (colour) => (typeof colour === "string" ? colour.split("|").at(dark.matches ? -1 : 0) : colour);
    if (key === "colorscale") return value.map(([place, colour]) => [place, choose(colour)]);
    return /color$/.test(key) ? choose(value) : value;
  }

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.drawn = false;
      this.hidden = new Set();
      for (const button of figure.querySelectorAll(".legend button")) {
        button.addEventListener("click", () => this.toggle(button));
      }
    }

    toggle(button) {
      const name = button.dataset.name;
      const show = this.hidden.delete(name);
      if (!show) this.hidden.add(name);
      button.setAttribute("aria-pressed", String(show));
      this.draw();
    }

    draw() {
      loadPlotly();
      this.drawn = true;
      const panels = JSON.parse(this.figure.querySelector("script").textContent, half);
      const touch = matchMedia("(pointer: coarse)").matches;
      this.figure.querySelectorAll(".plot").forEach((box, place) => {
        const { data, layout } = panels[place];
        const shown = data.map((trace) => ({ ...trace, visible: !this.hidden.has(trace.meta) }));
        // Swiping over a chart must scroll the page.
        layout.dragmode = touch ? false : "zoom";
        Plotly.react(box, shown, layout, { responsive: true, displayModeBar: false, displaylogo: false });
      });
    }
  }

  const charts = new Map([...document.querySelectorAll("figure.chart")].map((figure) => [figure, new Chart(figure)]));
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        charts.get(target).draw();
      }
    },
    { rootMargin: "400px" },
  );
  for (const figure of charts.keys()) observer.observe(figure);
  dark.addEventListener("change", () => {
    for (const chart of charts.values()) if (chart.drawn) chart.draw();
  });

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
