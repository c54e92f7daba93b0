// A Plotly figure: draws, marks what is selected, and says what was clicked or which arrow key was pressed.
// Plotly itself comes once for all charts of a page, from the library widget or, where that did not arrive, on request.

const WAIT_MS = 4000;

function shared() {
  if (!globalThis.qnbPlotly) {
    let resolve;
    const ready = new Promise(done => { resolve = done; });
    globalThis.qnbPlotly = { ready, resolve };
  }
  return globalThis.qnbPlotly;
}

async function evaluate(bytes) {
  // As a module: there, neither a page's AMD loader nor its globals are touched.
  const head = "const module = { exports: {} }, exports = module.exports, define = undefined;\n";
  const url = URL.createObjectURL(new Blob([head, bytes, "\nexport default module.exports;"], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function provide(bytes) {
  const plotly = shared();
  if (!plotly.loading) {
    plotly.loading = evaluate(bytes).then(plotly.resolve);
  }
  return plotly.ready;
}

function library(model) {
  const plotly = shared();
  const timer = setTimeout(() => model.send({ kind: "library" }), WAIT_MS);
  plotly.ready.then(() => clearTimeout(timer));
  return plotly.ready;
}

function initialize({ model }) {
  const bytes = model.get("library");
  if (bytes && bytes.byteLength) {
    provide(bytes);
  }
  model.on("msg:custom", (message, buffers) => {
    if (message.kind === "library") {
      provide(buffers[0]);
    }
  });
}

function titleSize(figure, width) {
  // Plotly cuts a title that is wider than its chart; this one gets smaller letters.
  const letters = figure.layout.title?.text?.length ?? 0;
  return width > 100 && letters ? Math.max(10, Math.min(14, (width - 75) / (0.6 * letters))) : 14;
}

function drawn(figure, places, width) {
  const title = { ...figure.layout.title };
  title.font = { ...title.font, size: titleSize(figure, width) };
  return { ...figure.layout, title, shapes: shapes(figure, places) };
}

function shapes(figure, places) {
  // One band per selected place, behind the bars. Numbers are places on a category axis.
  const bands = places.map(x => ({
    type: "rect", xref: "x", yref: "paper", x0: x - 0.5, x1: x + 0.5, y0: 0, y1: 1, layer: "below",
    fillcolor: "rgba(0,114,178,0.20)", line: { width: 1, color: "rgba(0,114,178,0.9)" },
  }));
  return [...(figure.layout.shapes ?? []), ...bands];
}

function render({ model, el }) {
  if (!model.get("show")) {
    return undefined;
  }
  el.classList.add("qnb-plot");
  el.setAttribute("role", "figure");
  const chart = document.createElement("div");
  const waiting = document.createElement("div");
  waiting.className = "qnb-plot-wait";
  waiting.textContent = "Drawing…";
  el.append(waiting, chart);
  let plotly = null;

  const name = () => {
    el.setAttribute("aria-label", model.get("alt"));
    el.tabIndex = model.get("focusable") ? 0 : -1;
  };
  const draw = async () => {
    plotly = await library(model);
    waiting.remove();
    const figure = model.get("figure");
    if (!figure.layout) {
      return;
    }
    chart.style.minHeight = `${figure.layout.height ?? 360}px`;
    await plotly.react(chart, figure.data, drawn(figure, model.get("marks"), el.clientWidth), {
      responsive: true, displaylogo: false, displayModeBar: false,
    });
    if (!chart.qnbListens) {
      chart.qnbListens = true;
      chart.on("plotly_click", event => {
        const point = event.points[0];
        const keys = event.event ?? {};
        model.send({ kind: "click", place: point.pointNumber, curve: point.curveNumber, text: String(point.text ?? ""),
          more: Boolean(keys.ctrlKey || keys.metaKey || keys.shiftKey) });
      });
    }
    el.dataset.drawn = String(Number(el.dataset.drawn ?? 0) + 1);
  };
  const mark = () => {
    if (plotly && chart.qnbListens) {
      plotly.relayout(chart, { shapes: shapes(model.get("figure"), model.get("marks")) });
    }
  };
  const keys = event => {
    if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key) && model.get("focusable")) {
      event.preventDefault();
      event.stopPropagation();
      model.send({ kind: "key", key: event.key });
    }
  };
  el.addEventListener("keydown", keys);
  model.on("change:figure", draw);
  model.on("change:marks", mark);
  model.on("change:alt change:focusable", name);
  const fit = () => {
    if (plotly && chart.qnbListens && chart.offsetWidth) {
      plotly.relayout(chart, { "title.font.size": titleSize(model.get("figure"), el.clientWidth) });
      plotly.Plots.resize(chart);
    }
  };
  const resize = new ResizeObserver(fit);
  resize.observe(el);
  name();
  draw();
  return () => {
    resize.disconnect();
    model.off("change:figure", draw);
    model.off("change:marks", mark);
    model.off("change:alt change:focusable", name);
    if (plotly) {
      plotly.purge(chart);
    }
  };
}

export default { initialize, render };
