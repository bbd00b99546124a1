// The network as a graph: laid out by dagre, moved and scaled by d3-zoom, one stop of the tab key
// whose arrow keys walk from operator to operator.

const NODE = { width: 216, height: 34 };
// An edge over more operators than this is drawn, and not laid out: dagre's time grows with the
// length of edges, and networks of dense connections would take minutes.
const LONGEST_LAID_OUT = 16;

const graph = { places: [], selected: null, nodes: null, zoom: null, svg: null };

function laidOut() {
  const layout = new dagre.graphlib.Graph();
  layout.setGraph({ rankdir: "TB", nodesep: 18, ranksep: 26, ranker: "tight-tree" });
  layout.setDefaultEdgeLabel(() => ({}));
  const key = (index) => (index < 0 ? `input${-1 - index}` : String(index));
  const named = [...data.inputs.map((name, i) => ({ index: -1 - i, name })), ...operators.map((each, index) => ({ index, name: each.name }))];
  const used = new Set(operators.flatMap((each) => each.inputs));
  const nodes = named.filter((each) => each.index >= 0 || used.has(each.index));
  for (const each of nodes) layout.setNode(key(each.index), { ...NODE });
  const edges = operators.flatMap((operator, to) => [...new Set(operator.inputs)].map((from) => [from, to]));
  for (const [from, to] of edges) {
    const isLong = from >= 0 && to - from > LONGEST_LAID_OUT && operators[to].inputs.length > 1;
    if (!isLong) layout.setEdge(key(from), key(to));
  }
  dagre.layout(layout);
  const place = new Map(nodes.map((each) => [each.index, layout.node(key(each.index))]));
  return { nodes, edges, place };
}

/** Colour, and what a legend says of it: [function of an operator, legend entries]. */
function colouring(by) {
  const none = "#9aa0a6";
  if (by === "format") {
    return [(each) => formatColour(each.format), formats.map((format) => [formatColour(format), format])];
  }
  const isTime = by === "time";
  const value = isTime ? (each) => each.ms : harmOf;
  const values = operators.map(value).filter((each) => each !== null);
  if (!values.length) return [() => none, [[none, isTime ? "not measured" : "not measured: nothing was quantized here"]]];
  const [low, high] = d3.extent(values);
  const scale = isTime
    ? d3.scaleSequential([0, high || 1], d3.interpolateOrRd)
    : d3.scaleSequential([high, low === high ? high - 1 : low], d3.interpolateOrRd);
  const unit = isTime ? "ms" : "dB";
  const ends = isTime ? [0, high] : [high, low];
  const words = isTime ? ["", "most time"] : ["least harm", "most harm"];
  return [
    (each) => (value(each) === null ? none : scale(value(each))),
    [
      [scale(ends[0]), `${shown(ends[0], unit)} ${words[0]}`], [scale(ends[1]), `${shown(ends[1], unit)} ${words[1]}`],
      [none, isTime ? "no time of its own (part of another's kernel)" : "rounds nothing, or not measured"],
    ],
  ];
}

const harmOf = (each) => each.network_sqnr_db ?? each.sqnr_db;

/** Black or white, whichever is read better on a colour. */
function ink(colour) {
  const { r, g, b } = d3.rgb(colour);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

function recolour() {
  const by = document.querySelector("input[name=colour]:checked").value;
  const [colour, legend] = colouring(by);
  graph.nodes.each(function paint(node) {
    const fill = node.index < 0 ? "#d7dde5" : colour(operators[node.index]);
    d3.select(this).select("rect").attr("fill", fill);
    d3.select(this).selectAll("text").attr("fill", ink(fill));
  });
  byId("graph-legend").replaceChildren(...legend.map(([fill, text]) =>
    element("li", {}, element("span", { class: "swatch", style: `background:${fill}` }), text)));
}

function subtitle(operator) {
  const time = operator.ms === null ? "" : ` · ${shown(operator.ms, "ms")}`;
  return `${operator.format}${time}`;
}

function spoken(operator) {
  return `${operator.name}, ${operator.kind}, ${subtitle(operator)}`;
}

function drawGraph() {
  const { nodes, edges, place } = laidOut();
  graph.places = place;
  const svg = d3.select("#graph").append("svg").attr("role", "group").attr("aria-label", "Graph of operators");
  const layer = svg.append("g");
  const path = ([from, to]) => {
    const [a, b] = [place.get(from), place.get(to)];
    const [y1, y2] = [a.y + NODE.height / 2, b.y - NODE.height / 2];
    const bend = Math.min(60, Math.max(12, (y2 - y1) / 2));
    return `M${a.x},${y1}C${a.x},${y1 + bend} ${b.x},${y2 - bend} ${b.x},${y2}`;
  };
  layer.append("g").attr("class", "edges").attr("aria-hidden", "true").selectAll("path").data(edges).join("path").attr("d", path);
  graph.nodes = layer.append("g").selectAll("g").data(nodes).join("g")
    .attr("transform", (node) => `translate(${place.get(node.index).x - NODE.width / 2},${place.get(node.index).y - NODE.height / 2})`)
    .attr("class", "node").attr("role", "button").attr("tabindex", -1)
    .attr("aria-label", (node) => (node.index < 0 ? `input ${node.name}` : spoken(operators[node.index])));
  graph.nodes.append("rect").attr("width", NODE.width).attr("height", NODE.height).attr("rx", 5);
  graph.nodes.append("text").attr("x", 8).attr("y", 14).text((node) => shortened(node.name, 26));
  graph.nodes.append("text").attr("x", 8).attr("y", 28).attr("class", "small")
    .text((node) => (node.index < 0 ? "input" : `${shortened(operators[node.index].kind, 14)} · ${subtitle(operators[node.index])}`));
  graph.nodes.append("title").text((node) => node.name);
  graph.nodes.on("click", (event, node) => { select(node.index); if (node.index >= 0) showOperator(node.index); });
  graph.zoom = d3.zoom().scaleExtent([0.02, 3])
    .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.button))
    .on("zoom", (event) => layer.attr("transform", event.transform));
  svg.call(graph.zoom).on("dblclick.zoom", null);
  graph.svg = svg;
  svg.on("keydown", walk);
  select(nodes[0].index);
  home();
  recolour();
}

/** Mark a node and make it the one stop of the tab key. */
function select(index, focus = false) {
  graph.selected = index;
  graph.nodes.classed("selected", (node) => node.index === index).attr("tabindex", (node) => (node.index === index ? 0 : -1));
  d3.selectAll("#graph .edges path").classed("near", ([from, to]) => from === index || to === index);
  if (focus) graph.nodes.filter((node) => node.index === index).node().focus({ preventScroll: true });
}

function moveTo(index, scale = 1) {
  const { x, y } = graph.places.get(index);
  const box = byId("graph").getBoundingClientRect();
  graph.svg.call(graph.zoom.transform, d3.zoomIdentity.translate(box.width / 2, box.height / 2).scale(scale).translate(-x, -y));
}

function selectInGraph(index) {
  byId("graph").scrollIntoView({ block: "center" });
  select(index, true);
  moveTo(index);
}

/** The beginning of the network, at a size that can be read. */
function home() {
  const first = graph.nodes.datum().index;
  const { x } = graph.places.get(first);
  const box = byId("graph").getBoundingClientRect();
  graph.svg.call(graph.zoom.transform, d3.zoomIdentity.translate(box.width / 2 - x, 24));
}

function fit() {
  const box = byId("graph").getBoundingClientRect();
  const all = graph.svg.select("g").node().getBBox();
  const scale = Math.min(box.width / (all.width + 40), box.height / (all.height + 40), 1);
  graph.svg.call(graph.zoom.transform, d3.zoomIdentity
    .translate(box.width / 2, box.height / 2).scale(scale).translate(-(all.x + all.width / 2), -(all.y + all.height / 2)));
}

function walk(event) {
  const index = graph.selected;
  const below = index < 0 ? operators.findIndex((each) => each.inputs.includes(index)) : readers[index][0];
  const above = index < 0 ? undefined : operators[index].inputs[0];
  const beside = (step) => {
    const same = above === undefined || above < 0 ? [] : readers[above];
    return same[same.indexOf(index) + step];
  };
  const next = {
    ArrowDown: () => below, ArrowUp: () => above, ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
    Home: () => graph.nodes.datum().index, End: () => operators.length - 1,
  }[event.key];
  if (next) {
    event.preventDefault();
    const to = next();
    if (to !== undefined && graph.places.has(to)) { select(to, true); moveTo(to); }
  } else if ((event.key === "Enter" || event.key === " ") && index >= 0) {
    event.preventDefault();
    showOperator(index);
  } else if (event.key === "+" || event.key === "-") {
    graph.svg.call(graph.zoom.scaleBy, event.key === "+" ? 1.3 : 1 / 1.3);
  }
}

/** Go to the operators whose names hold a text, one after another. */
function findOperator(text) {
  const words = text.toLowerCase();
  const found = operators.flatMap((each, index) => (`${each.name} ${each.kind}`.toLowerCase().includes(words) ? [index] : []));
  const said = byId("graph-found");
  if (!words || !found.length) { said.textContent = words ? "none found" : ""; return; }
  const place = (found.indexOf(graph.selected) + 1) % found.length;
  select(found[place]);
  moveTo(found[place]);
  said.textContent = `${place + 1} of ${found.length}: ${operators[found[place]].name}`;
}

if (byId("graph") && operators.length) {
  // After the first paint: 500 operators take a second.
  setTimeout(() => {
    drawGraph();
    byId("graph").setAttribute("aria-busy", "false");
    for (const input of document.querySelectorAll("input[name=colour]")) input.addEventListener("change", recolour);
    byId("graph-in").addEventListener("click", () => graph.svg.call(graph.zoom.scaleBy, 1.4));
    byId("graph-out").addEventListener("click", () => graph.svg.call(graph.zoom.scaleBy, 1 / 1.4));
    byId("graph-fit").addEventListener("click", fit);
    byId("graph-home").addEventListener("click", home);
    byId("graph-search").addEventListener("submit", (event) => {
      event.preventDefault();
      findOperator(byId("graph-text").value.trim());
    });
  }, 0);
}
