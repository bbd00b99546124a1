// The charts, by Observable Plot: SVG in the colours of the theme, with a tip under the pointer.

const chartStyle = { background: "none", color: "inherit", fontSize: "12px", overflow: "visible" };

/** Make marks answer clicks and the keyboard: `open` is called with the index of the datum. */
function clickable(chart, selector, names, open) {
  for (const [index, mark] of chart.querySelectorAll(selector).entries()) {
    const datum = d3.select(mark).datum() ?? index;
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", names[datum]);
    mark.addEventListener("click", () => open(datum));
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(datum); }
    });
  }
  return chart;
}

function frontChart(width) {
  const { unit, metric, goals } = data.front;
  const all = data.front.candidates;
  const found = all.filter((each) => each.p50_ms !== null && each.score !== null);
  const original = data.front.original;
  const line = found.filter((each) => each.on_front).sort((a, b) => a.p50_ms - b.p50_ms);
  const lowest = original && goals.max_drop !== null ? original.score - goals.max_drop : null;
  const points = original && original.p50_ms !== null && original.score !== null ? [original] : [];
  const chart = Plot.plot({
    width, height: Math.min(460, 220 + width / 4), style: chartStyle, marginLeft: 52, marginRight: 40, marginBottom: 40, marginTop: 30,
    ariaLabel: `${metric} against latency; the table below has the same figures`,
    x: { label: "p50 latency, ms →", grid: true, nice: true },
    y: { label: `↑ ${metric}${unit ? `, ${unit}` : ""}`, grid: true, nice: true },
    r: { range: [4, 18], label: "artifact" },
    color: { legend: true, domain: data.front.techniques, range: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c"] },
    marks: [
      goals.max_latency_ms === null ? null : Plot.ruleX([goals.max_latency_ms], { strokeDasharray: "4 4", ariaLabel: () => "latency asked for" }),
      lowest === null ? null : Plot.ruleY([lowest], { strokeDasharray: "4 4", ariaLabel: () => "accuracy asked for" }),
      Plot.ruleX(found, { x: "p50_ms", y1: "score_low", y2: "score_high", stroke: "technique", strokeOpacity: 0.45 }),
      Plot.line(line, { x: "p50_ms", y: "score", curve: "step-after", strokeOpacity: 0.5 }),
      Plot.dot(points, { x: "p50_ms", y: "score", symbol: "times", r: 6, stroke: "currentColor", strokeWidth: 2 }),
      Plot.text(points, { x: "p50_ms", y: "score", text: () => "original", dy: -14, fill: "currentColor" }),
      Plot.dot(found, {
        x: "p50_ms", y: "score", r: "artifact_bytes", fill: "technique", fillOpacity: (each) => (each.on_front ? 0.85 : 0.35),
        stroke: (each) => (each.name === data.front.chosen ? "currentColor" : "none"), strokeWidth: 2.5,
      }),
      Plot.tip(found, Plot.pointer({
        x: "p50_ms", y: "score",
        title: (each) => `${each.label || each.name}\n${shown(each.score, unit, 4)}, ${shown(each.p50_ms, "ms")}, ${bytes(each.artifact_bytes)}\nclick for the details`,
      })),
    ],
  });
  const names = found.map((each) => `${each.label || each.name}: ${shown(each.score, unit, 4)}, ${shown(each.p50_ms, "ms")}, ${bytes(each.artifact_bytes)}`);
  return clickable(chart, "circle", names, (index) => showCandidate(found[index]));
}

function timelineChart(width) {
  const timed = operators.map((operator, index) => ({ ...operator, index })).filter((each) => each.ms !== null);
  const chart = Plot.plot({
    width, height: 220, style: chartStyle, marginLeft: 52, marginBottom: 34,
    ariaLabel: "Time of each operator in the order they run; the table of operators has the same figures",
    x: { label: "operators, in the order that they run →", ticks: 8, domain: [-0.5, operators.length - 0.5] },
    y: { label: "↑ ms", grid: true },
    color: { legend: true, domain: formats, range: formats.map(formatColour) },
    marks: [
      Plot.rectY(timed, { x1: (each) => each.index - 0.45, x2: (each) => each.index + 0.45, y: "ms", fill: "format" }),
      Plot.ruleY([0]),
      Plot.tip(timed, Plot.pointerX({
        x: "index", y: "ms",
        title: (each) => `${shortened(each.name, 48)}\n${each.kind}, ${each.format}\n${shown(each.ms, "ms")}, ${shown(100 * each.share, "%")}`,
      })),
    ],
  });
  chart.addEventListener("click", () => { if (chart.value) showOperator(chart.value.index); });
  return chart;
}

// Runs that were disturbed take many times the median: the axis is logarithmic.
function latencyChart(width) {
  const marks = data.latencies.flatMap((each) => [
    { name: each.name, ms: each.p50_ms, text: "p50" }, { name: each.name, ms: each.p99_ms, text: "p99" },
  ]);
  const [low, high] = d3.extent(data.latencies.flatMap((each) => each.ms));
  const [first, last] = [Math.log(low), Math.log(high * 1.001)];
  const edges = d3.range(61).map((i) => first + (i * (last - first)) / 60);
  const bins = data.latencies.flatMap((each) =>
    d3.bin().domain([first, last]).thresholds(edges)(each.ms.map(Math.log))
      .filter((bin) => bin.length)
      .map((bin) => ({ name: each.name, x1: Math.exp(bin.x0), x2: Math.exp(bin.x1), runs: bin.length })));
  const names = data.latencies.map((each) => each.name);
  return Plot.plot({
    width, height: 250, style: chartStyle, marginLeft: 52, marginBottom: 36, marginTop: 38,
    ariaLabel: `How many runs took how long: ${marks.map((each) => `${each.name} ${each.text} ${shown(each.ms, "ms")}`).join(", ")}`,
    x: { type: "log", label: "ms of one inference →", tickFormat: (ms) => shown(ms), ticks: Math.min(12, width / 70) },
    y: { label: "↑ runs", grid: true },
    color: { legend: names.length > 1, domain: names, range: ["#0072b2", "#e69f00"] },
    marks: [
      Plot.rectY(bins, { x1: "x1", x2: "x2", y2: "runs", fill: "name", fillOpacity: 0.6 }),
      Plot.ruleX(marks, { x: "ms", stroke: "name", strokeDasharray: (each) => (each.text === "p99" ? "3 3" : null) }),
      ...names.map((name, index) => Plot.text(marks.filter((each) => each.name === name), {
        x: "ms", text: "text", frameAnchor: "top", dy: -12 - 12 * index, fill: "name", stroke: "var(--card)",
      })),
      Plot.ruleY([0]),
      Plot.tip(bins, Plot.pointerX({
        x: (bin) => Math.sqrt(bin.x1 * bin.x2), y: "runs",
        title: (bin) => `${bin.name}\n${bin.runs} runs of ${shown(bin.x1)} to ${shown(bin.x2, "ms")}`,
      })),
    ],
  });
}

function rooflineChart(width) {
  const points = data.kernels.filter((each) => each.rate && each.intensity);
  const intensities = points.map((each) => each.intensity);
  const [low, high] = [d3.min(intensities) / 2, d3.max(intensities) * 2];
  const roofs = data.roofs.flatMap((roof) => {
    const ridge = roof.rate / roof.bandwidth;
    const xs = [low, Math.min(Math.max(ridge, low), high), high];
    return xs.map((x) => ({ x, y: Math.min(roof.rate, x * roof.bandwidth), format: roof.format }));
  });
  const chart = Plot.plot({
    width, height: 340, style: chartStyle, marginLeft: 58, marginBottom: 40,
    ariaLabel: "Speed of each kernel against how much it computes for each byte; the table of kernels has the same figures",
    x: { type: "log", label: "multiply-accumulates for each byte read or written →", grid: true, tickFormat: (x) => shown(x), ticks: Math.min(10, width / 80) },
    y: { type: "log", label: "↑ billion multiply-accumulates a second", grid: true, tickFormat: (y) => shown(y), ticks: 6 },
    r: { range: [3, 14] },
    color: { legend: true, domain: formats, range: formats.map(formatColour) },
    marks: [
      Plot.line(roofs, { x: "x", y: "y", stroke: "format", strokeWidth: 2 }),
      Plot.dot(points, { x: "intensity", y: "rate", r: "ms", fill: "format", fillOpacity: 0.75, ariaLabel: "name" }),
      Plot.tip(points, Plot.pointer({
        x: "intensity", y: "rate",
        title: (each) => `${shortened(each.name, 48)}\n${shown(each.rate)} billion/s, ${shown(100 * each.of_roof, "%")} of its roof\n${shown(each.ms, "ms")} in ${each.calls} calls`,
      })),
    ],
  });
  return chart;
}

if (data.front) drawn("front-chart", frontChart);
if (operators.some((each) => each.ms !== null)) drawn("timeline-chart", timelineChart);
if (data.latencies.length) drawn("latency-chart", latencyChart);
if (data.kernels.some((each) => each.rate)) drawn("roofline-chart", rooflineChart);
