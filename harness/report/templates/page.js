"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

for (const table of all("table.sortable")) {
  const heads = all("thead th", table);
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.filter((other) => other.hasAttribute("aria-sort")).forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort;
      const rows = [...body.rows];
      const numeric = rows.every((row) => key(row) !== "" && !Number.isNaN(Number(key(row))));
      const compare = numeric ? (a, b) => Number(key(a)) - Number(key(b)) : (a, b) => key(a).localeCompare(key(b));
      rows.sort((a, b) => (up ? compare(a, b) : compare(b, a)));
      body.append(...rows);
    });
  });
}

for (const input of all("[data-filter]")) {
  const id = input.dataset.filter;
  const rows = [...document.getElementById(id).tBodies[0].rows];
  const state = document.querySelector(`[data-state="${id}"]`);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, number) => {
      const fits = (!state.value || row.dataset.state === state.value) && words.every((word) => texts[number].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    document.querySelector(`[data-count="${id}"]`).textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
    document.querySelector(`[data-empty="${id}"]`).hidden = shown !== 0;
  };
  input.addEventListener("input", apply);
  state.addEventListener("change", apply);
  apply(); // a browser keeps what was typed when the page is loaded again
}

for (const list of all("[role=tablist]")) {
  const tabs = all("[role=tab]", list);
  const choose = (tab) => {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
  };
  tabs.forEach((tab, number) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(number + step + tabs.length) % tabs.length];
      next.focus();
      choose(next);
    });
  });
}

const boxes = all("[data-comments]");
for (const box of boxes) {
  box.addEventListener("change", () => {
    boxes.forEach((other) => { other.checked = box.checked; });
    all(".answer").forEach((answer) => answer.classList.toggle("bare", !box.checked));
  });
}

const copied = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* not allowed here: the old way below */ }
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
};

for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const lines = all("span", document.getElementById(button.dataset.copy));
    const bare = button.closest(".answer").classList.contains("bare");
    const text = lines.filter((line) => !bare || !line.classList.contains("comment")).map((line) => line.textContent).join("");
    button.textContent = (await copied(text)) ? "Copied" : "Not allowed";
    button.addEventListener("blur", () => { button.textContent = "Copy"; }, { once: true });
  });
}
