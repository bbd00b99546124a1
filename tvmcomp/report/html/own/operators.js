// What is known of one operator or candidate, for the panel of details and for the tips of charts.

const operators = data.operators;
const readers = operators.map(() => []);
for (const [index, operator] of operators.entries()) {
  for (const source of operator.inputs) if (source >= 0) readers[source].push(index);
}

/** A button that shows an operator's details. */
function operatorLink(index) {
  if (index < 0) return element("span", {}, `input ${data.inputs[-1 - index] ?? ""} `);
  const name = operators[index].name;
  return element("button", { type: "button", class: "link", onclick: () => showOperator(index) }, name);
}

function recordText(record) {
  if (!record) return null;
  return `${record.id.slice(0, 12)}: ${shown(record.seconds * 1e3, "ms")} on ${record.date}, ${record.reason}`;
}

function timeText(operator) {
  if (operator.within !== null) {
    return ["none of its own: computed within ", operatorLink(operator.within)];
  }
  if (operator.ms === null) return null;
  return `${shown(operator.ms, "ms")}, ${shown(100 * operator.share, "%")} of the time of all kernels`;
}

function showOperator(index) {
  const operator = operators[index];
  showDetails(operator.name, [
    ["Kind", operator.kind],
    ["Computes in", operator.format + (operator.was && operator.was !== operator.format ? ` (before: ${operator.was})` : "")],
    ["Why", operator.why],
    ["Time", timeText(operator)],
    ["Kernel", operator.kernel],
    ["Multiply-accumulates", operator.macs ? operator.macs.toLocaleString("en") : null],
    ["Harm: outputs, this alone in integers", operator.network_sqnr_db === null ? null : `${operator.network_sqnr_db.toFixed(1)} dB`],
    ["Its own result against float", operator.sqnr_db === null ? null : `${operator.sqnr_db.toFixed(1)} dB`],
    ["Tuning record", recordText(operator.record)],
    ["Reads", operator.inputs.map(operatorLink)],
    ["Read by", readers[index].map(operatorLink)],
    ["", [element("button", { type: "button", onclick: () => selectInGraph(index) }, "Show in the graph")]],
  ]);
}

function showCandidate(candidate) {
  const unit = data.front.unit;
  const interval = candidate.score_low === null ? "" :
    ` (95% confidence ${shown(candidate.score_low)} to ${shown(candidate.score_high)})`;
  showDetails(candidate.label || candidate.name, [
    ["Name", candidate.name],
    [data.front.metric, candidate.score === null ? null : shown(candidate.score, unit, 4) + interval],
    ["Lost against the original", candidate.drop === null ? null :
      `${shown(candidate.drop, "points")} (95% confidence ${shown(candidate.drop_low)} to ${shown(candidate.drop_high)})`],
    ["Latency, p50", candidate.p50_ms === null ? null : shown(candidate.p50_ms, "ms")],
    ["Latency, p99", candidate.p99_ms === null ? null : shown(candidate.p99_ms, "ms")],
    ["Latency that was predicted", candidate.predicted_ms === null ? null : shown(candidate.predicted_ms, "ms")],
    ["Artifact", candidate.artifact_bytes === null ? null : bytes(candidate.artifact_bytes)],
    ["Peak memory", candidate.peak_memory_bytes === null ? null : bytes(candidate.peak_memory_bytes)],
    ["On the front", candidate.on_front ? "yes: none is faster and as accurate" : "no"],
    ...candidate.decisions,
    ["Note", candidate.note],
    ["File", candidate.artifact],
  ]);
}

for (const button of document.querySelectorAll("button[data-operator]")) {
  button.addEventListener("click", () => showOperator(Number(button.dataset.operator)));
}
for (const button of document.querySelectorAll("button[data-candidate]")) {
  button.addEventListener("click", () => showCandidate(data.front.candidates[Number(button.dataset.candidate)]));
}
