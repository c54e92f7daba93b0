// A table with thousands of rows: only those in view are drawn. Search, sort, groups that fold, arrow keys, multiple choice.

const ROW = 26, AROUND = 8;

function value(text) {
  if (text === "lossless") return Infinity;
  if (text === "overflow") return -Infinity;
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function visible(model, state) {
  const wanted = state.search.toLowerCase();
  let rows = model.get("rows").filter(row => !wanted || row.cells.some(cell => cell.toLowerCase().includes(wanted)));
  if (state.sort !== null) {
    const sign = state.down ? -1 : 1;
    return [...rows].sort((a, b) => sign * compare(value(a.cells[state.sort]), value(b.cells[state.sort])))
      .map(row => ({ ...row, kind: "row" }));
  }
  if (!rows.some(row => row.group) || wanted) return rows.map(row => ({ ...row, kind: "row" }));
  const folded = new Set(model.get("folded"));
  const counts = new Map();
  rows.forEach(row => counts.set(row.group, (counts.get(row.group) ?? 0) + 1));
  const found = [];
  let last = null;
  for (const row of rows) {
    if (row.group !== last) {
      last = row.group;
      if (last) found.push({ kind: "group", id: last, count: counts.get(last), folded: folded.has(last) });
    }
    if (!row.group || !folded.has(row.group)) found.push({ ...row, kind: "row" });
  }
  return found;
}

function render({ model, el }) {
  const state = { search: "", sort: null, down: false, anchor: null };
  let rows = [];
  const lines = new Map(); // row -> its element, of those in the page
  el.classList.add("qnb-grid");
  const search = element("input", { type: "search", placeholder: "Search layers", className: "qnb-grid-search" });
  search.setAttribute("aria-label", "Search layers");
  const said = element("span", { className: "qnb-grid-count" });
  said.setAttribute("role", "status");
  const head = element("tr");
  const body = element("tbody");
  const [above, below] = [0, 1].map(() => element("tr", { className: "qnb-grid-space" }, element("td")));
  [above, below].forEach(space => space.setAttribute("aria-hidden", "true"));
  const table = element("table", {}, element("thead", {}, head), body);
  table.tabIndex = 0;
  table.setAttribute("role", "treegrid");
  table.setAttribute("aria-multiselectable", "true");
  body.append(above, below);
  const frame = element("div", { className: "qnb-grid-frame" }, table);
  el.append(element("div", { className: "qnb-grid-tools" }, search, said), frame);

  const columns = () => {
    head.replaceChildren(...model.get("columns").map((column, index) => {
      const up = state.sort === index ? (state.down ? " ▼" : " ▲") : "";
      const button = element("button", { type: "button", textContent: column.name + up, onclick: () => sort(index) });
      const cell = element("th", { scope: "col", className: column.align === "right" ? "qnb-right" : "" }, button);
      cell.setAttribute("aria-sort", state.sort !== index ? "none" : state.down ? "descending" : "ascending");
      return cell;
    }));
    search.hidden = !model.get("searchable");
    table.setAttribute("aria-label", model.get("label"));
    frame.style.maxHeight = `${model.get("height")}px`;
  };
  const sort = index => {
    // ascending, descending, and back to the order of the graph
    if (state.sort !== index) [state.sort, state.down] = [index, false];
    else if (!state.down) state.down = true;
    else [state.sort, state.down] = [null, false];
    columns();
    fill();
  };
  const draw = () => {
    const start = Math.max(0, Math.floor(frame.scrollTop / ROW) - AROUND);
    const end = Math.min(rows.length, start + Math.ceil(model.get("height") / ROW) + 2 * AROUND);
    const wanted = rows.slice(start, end), chosen = new Set(model.get("selected"));
    // What stays in view keeps its element: a click that goes down on one and up on another is none.
    const stay = new Set(wanted);
    for (const [row, made] of lines) if (!stay.has(row)) { made.remove(); lines.delete(row); }
    let before = above;
    wanted.forEach((row, i) => {
      if (!lines.has(row)) lines.set(row, line(row, start + i));
      const made = lines.get(row);
      if (made.parentNode !== body) before.after(made);
      if (row.kind === "row") made.setAttribute("aria-selected", String(chosen.has(row.id)));
      before = made;
    });
    above.style.height = `${start * ROW}px`;
    below.style.height = `${(rows.length - end) * ROW}px`;
    const at = rows.findIndex(row => row.id === model.get("selected")[0]);
    if (at >= 0) table.setAttribute("aria-activedescendant", `${model.get("label")}-${at}`.replace(/\W+/g, "-"));
    el.dataset.drawn = String(Number(el.dataset.drawn ?? 0) + 1);
  };
  const line = (row, index) => {
    const made = element("tr", { id: `${model.get("label")}-${index}`.replace(/\W+/g, "-") });
    made.setAttribute("aria-rowindex", index + 2);
    if (row.kind === "group") {
      made.className = "qnb-grid-group";
      made.setAttribute("aria-expanded", String(!row.folded));
      made.append(element("td", { colSpan: model.get("columns").length, textContent: `${row.folded ? "▸" : "▾"} ${row.id} (${row.count})` }));
      made.onclick = () => fold(row.id);
      return made;
    }
    row.cells.forEach((cell, i) => {
      const right = model.get("columns")[i]?.align === "right";
      made.append(element("td", { textContent: cell, title: cell, className: right ? "qnb-right" : "" }));
    });
    made.onclick = event => choose(index, event.ctrlKey || event.metaKey, event.shiftKey);
    return made;
  };
  const fill = () => {
    rows = visible(model, state);
    const all = model.get("rows").length; // what is folded counts too
    const count = rows.reduce((sum, row) => sum + (row.kind === "row" ? 1 : row.folded ? row.count : 0), 0);
    said.textContent = !model.get("searchable") ? "" : all === 0 ? model.get("empty") : count === all ? `${all} layers` : `${count} of ${all} layers`;
    table.setAttribute("aria-rowcount", rows.length + 1);
    draw();
  };
  const fold = group => {
    const folded = model.get("folded");
    model.set("folded", folded.includes(group) ? folded.filter(name => name !== group) : [...folded, group]);
    model.save_changes();
  };
  const choose = (index, more, range) => {
    const row = rows[index];
    if (!row || row.kind === "group") return;
    const before = model.get("selected");
    let selected = [row.id];
    if (range && before.length) {
      const from = rows.findIndex(other => other.id === before[0]);
      const between = rows.slice(Math.min(from, index), Math.max(from, index) + 1).filter(other => other.kind === "row");
      selected = [before[0], ...between.map(other => other.id).filter(id => id !== before[0])];
    } else if (more) {
      selected = before.includes(row.id) ? before.filter(id => id !== row.id) : [...before, row.id];
    }
    model.set("selected", selected);
    model.save_changes();
    reveal(index);
  };
  const reveal = index => {
    const top = index * ROW, room = frame.clientHeight - 2 * ROW;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top > frame.scrollTop + room) frame.scrollTop = top - room;
    draw();
  };
  const keys = event => {
    const last = model.get("selected").at(-1);
    const at = rows.findIndex(row => row.id === (event.shiftKey ? last : model.get("selected")[0]));
    const page = Math.max(1, Math.floor(frame.clientHeight / ROW) - 2);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 };
    if (event.key in steps) {
      const down = ["ArrowDown", "PageDown", "Home"].includes(event.key);
      let to = Math.min(rows.length - 1, Math.max(0, steps[event.key]));
      while (rows[to]?.kind === "group" && rows[to + (down ? 1 : -1)]) to += down ? 1 : -1;
      choose(to, false, event.shiftKey);
    } else if (["ArrowLeft", "ArrowRight"].includes(event.key) && rows[at]?.group) {
      if (model.get("folded").includes(rows[at].group) === (event.key === "ArrowRight")) fold(rows[at].group);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const follow = () => {
    const at = rows.findIndex(row => row.id === model.get("selected")[0]);
    if (at >= 0) reveal(at);
    else draw();
  };
  search.oninput = () => { state.search = search.value; frame.scrollTop = 0; fill(); };
  search.onkeydown = event => event.stopPropagation(); // the notebook has keys of its own
  frame.onscroll = draw;
  table.onkeydown = keys;
  const all = () => { columns(); fill(); };
  model.on("change:rows change:columns change:label", all);
  model.on("change:folded", fill);
  model.on("change:selected", follow);
  all();
  return () => {
    model.off("change:rows change:columns change:label", all);
    model.off("change:folded", fill);
    model.off("change:selected", follow);
  };
}

export default { render };
