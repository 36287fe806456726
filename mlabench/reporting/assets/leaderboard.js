"use strict";

// Filters: one ranking at a time, of the chosen families. All numbers are on the page; nothing is computed here.
(() => {
  const form = document.getElementById("filters");
  const views = [...document.querySelectorAll(".view")];
  const selects = [...form.querySelectorAll("select")];
  const boxes = [...form.querySelectorAll("input")];

  /** Each select offers what is left by those before it, and keeps its choice where it can. */
  function offer(wanted) {
    let left = views;
    for (const select of selects) {
      const names = [...new Set(left.map((view) => view.dataset[select.name]))];
      const chosen = names.includes(wanted[select.name]) ? wanted[select.name] : names[0];
      select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
      left = left.filter((view) => view.dataset[select.name] === chosen);
    }
    return left[0];
  }

  function show(wanted) {
    const chosen = offer(wanted);
    for (const view of views) view.hidden = view !== chosen;
    const families = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const rows = [...chosen.querySelectorAll("tr[data-family]")];
    for (const row of rows) row.hidden = !families.has(row.dataset.family);
    for (const group of chosen.querySelectorAll("svg g")) {
      const title = group.querySelector(":scope > title")?.textContent;
      if (boxes.some((box) => box.value === title)) group.style.display = families.has(title) ? "" : "none";
    }
    const shown = rows.filter((row) => !row.hidden).length;
    const text = `${shown} of ${rows.length} methods shown.`;
    form.querySelector("[role=status]").textContent = text;
    chosen.querySelector(".filtered").textContent = shown < rows.length ? text : "";
    return chosen;
  }

  /** A link to a ranking shows it, whatever was chosen. */
  function follow() {
    const target = views.find((view) => `#${view.id}` === location.hash);
    show(target ? target.dataset : {});
    if (target) document.getElementById("rankings").scrollIntoView();
  }

  form.addEventListener("change", () => {
    const chosen = show(Object.fromEntries(selects.map((select) => [select.name, select.value])));
    history.replaceState(null, "", `#${chosen.id}`);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", follow);
  form.hidden = false;
  follow();
})();
