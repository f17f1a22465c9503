// SPDX-License-Identifier: Apache-2.0
"use strict";

// Colours of Okabe and Ito, which people with any colour vision can tell apart; lines also differ in width and dash.
const COLOURS = {
  recorded: "#1b1f24", commands: "#0072b2", measured: "#8c959f", chunks: "rgba(230, 159, 0, 0.85)", worst: "#d55e00",
  seam: "#009e73", clamped: "#a40e26", hold: "#cc79a7",
};
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d00", "#6e7781"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const FONT = { family: "system-ui, 'Liberation Sans', Arial, sans-serif", size: 12, color: "#1b1f24" };
// Nothing leaves this page: without the button that sends a plot to plotly's servers.
const CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
const SMALL = Object.assign({}, CONFIG, { displayModeBar: false });
const ROW_PX = 150; // height of a joint's plot

const data = JSON.parse(document.getElementById("data").textContent);

function numbers(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}

// Column c of a matrix that is stored row by row.
function column(values, columns, c) {
  const rows = values.length / columns;
  const found = new Array(rows);
  for (let row = 0; row < rows; row++) {
    const value = values[row * columns + c];
    found[row] = Number.isNaN(value) ? null : value;
  }
  return found;
}

// Texts of the recording reach plotly as text: it would take tags in them for markup.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// As much of a joint's name as has room beside its plot.
function shortened(name) {
  return name.length > 20 ? name.slice(0, 8) + "…" + name.slice(-11) : name;
}

function axis(title, more) {
  return Object.assign({ title: { text: title }, zeroline: false, gridcolor: "#e3e7eb", linecolor: "#8c959f", ticks: "outside",
    automargin: true }, more);
}

function baseLayout(more) {
  return Object.assign({ font: FONT, paper_bgcolor: "#fff", plot_bgcolor: "#fff", margin: { l: 70, r: 15, t: 30, b: 45 },
    hoverlabel: { font: { size: 12 } } }, more);
}

function smallTitle(text) {
  return { text: text, font: { size: 13 }, x: 0, xanchor: "left", xref: "paper" };
}

// ---- joints over time --------------------------------------------------------------------------------------------

const decoded = new Map();

function stretchArrays(index) {
  if (!decoded.has(index)) {
    const stretch = data.stretches[index];
    const wide = (name) => numbers(stretch[name], Float32Array);
    decoded.set(index, {
      times: Array.from(wide("times")), commands: wide("commands"), recorded: wide("recorded"), measured: wide("measured"),
      clamped: numbers(stretch.clamped, Uint8Array), seams: Array.from(numbers(stretch.seams, Int32Array)),
      chunkTimes: column(wide("chunk_times"), 1, 0), chunkRows: wide("chunk_rows"),
      worstTimes: stretch.worst ? column(numbers(stretch.worst.times, Float32Array), 1, 0) : [],
      worstRows: stretch.worst ? numbers(stretch.worst.actions, Float32Array) : new Float32Array(0),
    });
  }
  return decoded.get(index);
}

function jointTraces(stretch, arrays, joint, yaxis) {
  const joints = stretch.joints.length;
  const of = (values) => column(values, joints, joint);
  const commands = of(arrays.commands);
  const commandTimes = arrays.times.map((time) => time + stretch.dt);
  const changed = [];
  for (let tick = 0; tick < commandTimes.length; tick++) if (arrays.clamped[tick * joints + joint]) changed.push(tick);
  const at = (ticks) => ({ x: ticks.map((tick) => commandTimes[tick]), y: ticks.map((tick) => commands[tick]) });
  const line = (name, x, y, style, more) => Object.assign({ type: "scatter", mode: "lines", name: name, x: x, y: y, yaxis: yaxis,
    line: style, legendgroup: name, showlegend: joint === 0, connectgaps: false, hovertemplate: "%{y:.4f}" }, more);
  const marks = (name, ticks, marker) => Object.assign(line(name, [], [], {}, { mode: "markers", marker: marker, hoverinfo: "skip",
    hovertemplate: null }), at(ticks));
  return [
    line("predicted chunks", arrays.chunkTimes, of(arrays.chunkRows), { color: COLOURS.chunks, width: 1 },
      { hoverinfo: "skip", hovertemplate: null }),
    line("measured position", arrays.times, of(arrays.measured), { color: COLOURS.measured, width: 1.5, dash: "dot" }),
    line("recorded command", commandTimes, of(arrays.recorded), { color: COLOURS.recorded, width: 2.2 }),
    line("command in the replay", commandTimes, commands, { color: COLOURS.commands, width: 1.8 }),
    line("chunk furthest off", arrays.worstTimes, of(arrays.worstRows), { color: COLOURS.worst, width: 2, dash: "dash" },
      { hoverinfo: "skip", hovertemplate: null }),
    marks("seam between chunks", arrays.seams, { color: COLOURS.seam, symbol: "line-ns-open", size: 9, line: { width: 1.5 } }),
    marks("changed by the gate", changed, { color: COLOURS.clamped, size: 3 }),
  ].filter((trace) => trace.x.length > 0 || joint === 0);
}

function holdDecoration(stretch) {
  const length = stretch.end - stretch.begin;
  const shapes = stretch.holds.map((hold) => ({ type: "rect", xref: "x", yref: "paper", x0: hold.begin, x1: hold.end, y0: 0, y1: 1,
    fillcolor: COLOURS.hold, opacity: 0.3, line: { width: 0 }, layer: "below" }));
  const annotations = stretch.holds.filter((hold) => hold.end - hold.begin > 0.04 * length).map((hold) => ({ xref: "x", yref: "paper",
    x: (hold.begin + hold.end) / 2, y: 0.98, yanchor: "top", showarrow: false, text: plain(hold.cause),
    font: { size: 11, color: "#8a3b68" } }));
  if (stretch.worst) {
    shapes.push({ type: "line", xref: "x", yref: "paper", x0: stretch.worst.at, x1: stretch.worst.at, y0: 0, y1: 1,
      line: { color: COLOURS.worst, width: 1, dash: "dot" } });
  }
  const strip = { type: "scatter", mode: "markers", name: "on hold", x: stretch.holds.map((hold) => (hold.begin + hold.end) / 2),
    y: stretch.holds.map(() => 1), yaxis: "y", marker: { color: COLOURS.hold, symbol: "square", size: 9 },
    text: stretch.holds.map((hold) => `${plain(hold.cause)}, ${(hold.end - hold.begin).toFixed(2)} s: ${plain(hold.detail)}`),
    hovertemplate: "%{text}<extra></extra>", visible: stretch.holds.length ? true : "legendonly" };
  return { shapes: shapes, annotations: annotations, strip: strip };
}

function drawStretch(index, range) {
  const stretch = data.stretches[index];
  const arrays = stretchArrays(index);
  const joints = stretch.joints.length;
  const holds = holdDecoration(stretch);
  const layout = baseLayout({
    height: ROW_PX * joints + 130, hovermode: "x unified", hoversubplots: "axis", legend: { orientation: "h", x: 0, y: 1.0,
      yanchor: "bottom", yref: "paper", traceorder: "normal" },
    margin: { l: 75, r: 15, t: 95, b: 45 }, shapes: holds.shapes, annotations: holds.annotations,
    xaxis: axis("time since the begin of the episode [s]", { range: range || [stretch.begin, stretch.end + stretch.dt], anchor: "y" + (joints + 1) }),
    // The strip of holds: their causes on hover.
    yaxis: { domain: [0.985, 1], range: [0.5, 1.5], visible: false, fixedrange: true },
  });
  const traces = stretch.holds.length ? [holds.strip] : [];
  const gap = 0.12 / joints;
  const height = (0.98 - gap * (joints - 1)) / joints;
  stretch.joints.forEach((name, joint) => {
    const top = 0.98 - joint * (height + gap);
    layout["yaxis" + (joint + 2)] = axis("", { title: { text: plain(shortened(name)), standoff: 12 }, domain: [Math.max(0, top - height), top], nticks: 5 });
    traces.push(...jointTraces(stretch, arrays, joint, "y" + (joint + 2)));
  });
  document.getElementById("stretch-note").textContent = stretch.note;
  document.getElementById("stretch").value = String(index);
  document.getElementById("previous").disabled = index === 0;
  document.getElementById("next").disabled = index === data.stretches.length - 1;
  return Plotly.react("joints", traces, layout, CONFIG);
}

function watchSelector() {
  const select = document.getElementById("stretch");
  const step = (by) => drawStretch(Math.min(data.stretches.length - 1, Math.max(0, Number(select.value) + by)));
  select.addEventListener("change", () => drawStretch(Number(select.value)));
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll("button[data-stretch]")) {
    button.addEventListener("click", () => {
      const stretch = data.stretches[Number(button.dataset.stretch)];
      const length = stretch.worst.seconds;
      drawStretch(Number(button.dataset.stretch), [stretch.worst.at - length, stretch.worst.at + 2 * length]);
      document.getElementById("over-time").scrollIntoView();
      select.focus({ preventScroll: true });
    });
  }
}

// ---- error by horizon --------------------------------------------------------------------------------------------

function drawHorizon() {
  const curves = data.horizon;
  const bands = [];
  const lines = curves.lines.map((each, index) => {
    const whole = index === 0;
    const colour = whole ? COLOURS.recorded : LINES[(index - 1) % LINES.length];
    if (each.low.some((value) => value !== null)) {
      const group = { type: "scatter", mode: "lines", x: curves.seconds, line: { width: 0 }, legendgroup: each.name, showlegend: false,
        hoverinfo: "skip", visible: whole ? true : "legendonly" };
      bands.push(Object.assign({}, group, { y: each.low }),
        Object.assign({}, group, { y: each.high, fill: "tonexty", fillcolor: colour + "2e" }));
    }
    return { type: "scatter", mode: "lines", name: plain(each.name), x: curves.seconds, y: each.mean, legendgroup: each.name,
      line: { color: colour, width: whole ? 3 : 1.6, dash: whole ? "solid" : DASHES[Math.floor((index - 1) / LINES.length) % DASHES.length] },
      hovertemplate: "%{y:.4g}" };
  });
  Plotly.newPlot("horizon", bands.concat(lines), baseLayout({ height: 380, hovermode: "x unified",
    xaxis: axis("time from the observation to the row [s]", { rangemode: "tozero" }),
    yaxis: axis("mean absolute error [rad, m]", { rangemode: "tozero" }) }), CONFIG);
}

// ---- the recording at other times and of other joints --------------------------------------------------------------

function drawAlignment() {
  const lag = data.alignment.lag;
  let best = lag.error.indexOf(null) === -1 ? 0 : lag.error.findIndex((value) => value !== null);
  lag.error.forEach((value, index) => { if (value !== null && value < lag.error[best]) best = index; });
  Plotly.newPlot("lag", [
    { type: "scatter", mode: "lines", x: lag.seconds, y: lag.error, line: { color: COLOURS.commands, width: 2 }, showlegend: false,
      hovertemplate: "%{x:.2f} s: %{y:.4g}<extra></extra>" },
    { type: "scatter", mode: "markers", x: [lag.seconds[best]], y: [lag.error[best]], showlegend: false, hoverinfo: "skip",
      marker: { color: COLOURS.worst, size: 9 } },
  ], baseLayout({ height: 320, title: smallTitle(`Shifted in time: best at ${lag.seconds[best].toFixed(2)} s`),
    shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: "#8c959f", width: 1, dash: "dot" } }],
    xaxis: axis("the policy lags behind the recording by [s]"), yaxis: axis("mean absolute error [rad, m]", { rangemode: "tozero" }) }), SMALL);

  const cross = data.alignment.cross;
  const names = cross.joints.map(plain);
  // Every column relative to its largest: joints move by different amounts, in different units.
  const largest = names.map((_, k) => Math.max(...cross.error.map((row) => row[k] ?? 0)));
  Plotly.newPlot("cross", [{ type: "heatmap", x: names, y: names, z: cross.error.map((row) => row.map((value, k) => (value === null ? null :
    value / (largest[k] || 1)))), colorscale: [[0, "#ffffff"], [1, "#0072b2"]], zmin: 0, zmax: 1, showscale: false, xgap: 2, ygap: 2,
    text: cross.error.map((row) => row.map((value) => (value === null ? "" : value.toPrecision(2)))),
    texttemplate: names.length <= 8 ? "%{text}" : "", hovertemplate: "predicted %{y}, recorded %{x}: %{text}<extra></extra>" }],
  baseLayout({ height: 320, title: smallTitle("As another joint: mean absolute error"),
    xaxis: axis("recorded joint", { showgrid: false }), yaxis: axis("predicted joint", { autorange: "reversed", showgrid: false }) }), SMALL);
}

// ---- histograms --------------------------------------------------------------------------------------------------

function drawHistograms() {
  for (const each of data.histograms) {
    Plotly.newPlot(each.id, [{ type: "bar", x: each.centres, y: each.counts, width: each.width, marker: { color: COLOURS.commands,
      line: { color: "#fff", width: each.centres.length > 30 ? 0 : 0.5 } }, hovertemplate: "%{x}: %{y}<extra></extra>" }],
    baseLayout({ height: 260, bargap: 0, title: smallTitle(each.title),
      margin: { l: 60, r: 10, t: 35, b: 45 }, xaxis: axis(each.unit, { range: [0, each.centres[each.centres.length - 1] + each.width] }), yaxis: axis("chunks") }), SMALL);
  }
}

// ---- tables ------------------------------------------------------------------------------------------------------

function sortTable(table, index, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const key = (row) => {
    const cell = row.cells[index];
    if (header.classList.contains("text")) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other);
  const rows = Array.from(body.rows, (row) => [key(row), row]);
  rows.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null); // what is missing stays at the end
    return ascending ? compare(one, other) : compare(other, one);
  });
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((header, index) => {
    header.querySelector("button").addEventListener("click", () => sortTable(table, index, header));
  });
}

if (data.stretches.length) {
  watchSelector();
  drawStretch(0);
}
if (data.horizon) drawHorizon();
if (data.alignment) drawAlignment();
drawHistograms();

// On paper plots get the width of a sheet, at once: the browser does not wait for a redraw that comes later.
const SHEET_PX = 700;
const plots = () => Array.from(document.querySelectorAll(".js-plotly-plot"));
window.addEventListener("beforeprint", () => {
  for (const plot of plots()) Plotly.relayout(plot, { width: plot.closest(".pair") ? SHEET_PX / 2 - 12 : SHEET_PX });
});
window.addEventListener("afterprint", () => {
  for (const plot of plots()) Plotly.relayout(plot, { width: null, autosize: true });
});
