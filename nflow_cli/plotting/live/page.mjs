// The page: what is shown, and what a hand, a key or the clock changes.

import { LogTarget, logBase, meanOf } from "./density.mjs";
import { Flow, Way } from "./flow.mjs";
import { Cloud, mapOf } from "./maps.mjs";
import { coloursOf, evaluated, paint, peakOf, pushed, Window } from "./raster.mjs";
import { RecordedDensity, RecordedWay } from "./recorded.mjs";

const PIXELS = 240; // of a density that is computed, each way
const SECONDS = 10; // of a play from the base to the fit
const PARTS = 8; // of a map, on the way of a point
const LINES = 15; // of the lattice that are drawn, each way
const ORANGE = "#d55e00";
const SPIKE = 2.5; // times the peak of the trained flow, above which a density is cut
const KEY_STEP = 0.01; // of the window's side, by which a key moves a handle

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const numbers = (text) => new Float32Array(bytesOf(text).buffer);
const { recorded } = data;
const pixels = recorded ? recorded.pixels : PIXELS;
const window_ = new Window(data.window, pixels);
const colours = coloursOf(bytesOf(data.colours));
const axis = Float64Array.from(numbers(data.axis));
const [drawX, drawY] = columnsOf(numbers(data.draws));
const [latticeX, latticeY] = latticeOf(axis);
const latticeBase = logBase(data.base, latticeX, latticeY);
const drawBase = logBase(data.base, drawX, drawY);
const flow = recorded ? null : new Flow(data.maps.map(mapOf));
const lattice = flow ? flow.way(latticeX, latticeY) : recordedWay(recorded.lattice);
const draws = flow ? flow.way(drawX, drawY) : recordedWay(recorded.draws);
const fillDensity = flow ? fillPushed : fillRecorded();
const stops = recorded ? recorded.moments : [...data.names.keys(), data.names.length];
const target = data.target ? new LogTarget(...targetGrid(data.target)) : null;
const points = data.points ? testPoints(data.points) : null;
const length = data.names.length;
const trainedScores = flow ? scoresAt(length) : null;
const state = { moment: length, isPlaying: false, point: 0, anchor: null, hand: null, dirty: true };

// What the data describes.

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function columnsOf(pairs) {
  const n = pairs.length / 2;
  const column = (first) => Float64Array.from({ length: n }, (_, i) => pairs[2 * i + first]);
  return [column(0), column(1)];
}

function latticeOf(nodes) {
  const n = nodes.length;
  const x = Float64Array.from({ length: n * n }, (_, i) => nodes[i % n]);
  const y = Float64Array.from({ length: n * n }, (_, i) => nodes[Math.floor(i / n)]);
  return [x, y];
}

/** Stages of 16-bit numbers, spread over the range of each coordinate and log-determinant. */
function recordedWay({ ranges, stages }) {
  const words = new Uint16Array(bytesOf(stages).buffer);
  const n = words.length / ranges.length / 3;
  const clouds = ranges.map((ofStage, stage) => {
    const values = ofStage.map(([low, high], part) => {
      const start = (3 * stage + part) * n;
      const place = words.subarray(start, start + n);
      return Float64Array.from(place, (word) => low + ((high - low) * word) / 65535);
    });
    return new Cloud(...values);
  });
  return new RecordedWay(recorded.moments, clouds);
}

function fillPushed(moment, values) {
  pushed(lattice.at(moment), latticeBase, window_, values);
}

function fillRecorded() {
  const density = new RecordedDensity(recorded.moments, bytesOf(recorded.parts), recorded.peaks);
  return (moment, values) => density.fill(moment, values);
}

function targetGrid({ x, y, log_p: logP }) {
  return [numbers(x), numbers(y), numbers(logP)];
}

function testPoints({ points: pairs, offset }) {
  const [x, y] = columnsOf(numbers(pairs));
  return { x, y, offset: numbers(offset) };
}

// Scores.

/** log q − log p at each draw, or log q at each test point, at a moment. */
function scoresAt(moment) {
  if (points) {
    const base = flow.inverse(points.x, points.y, moment);
    const logQ0 = logBase(data.base, base.x, base.y);
    return logQ0.map((value, i) => value + base.logDet[i] + points.offset[i]);
  }
  const images = draws.at(moment);
  const logP = target.atAll(images);
  return drawBase.map((value, i) => value - images.logDet[i] - logP[i]);
}

function scoreText(values) {
  const { mean, error, n } = meanOf(values);
  if (n < 2 || n < data.least_share * values.length) {
    return `not known: log p is known at ${n} of ${values.length} draws`;
  }
  return `${withError(mean, error)} nats, of ${n.toLocaleString("en")} ${points ? "points" : "draws"}`;
}

function withError(mean, error) {
  const digits = error > 0 ? Math.min(Math.max(0, 1 - Math.floor(Math.log10(error))), 12) : 4;
  return signed(`${mean.toFixed(digits)} ± ${error.toFixed(digits)}`);
}

function signed(text) {
  return text.replaceAll("-", "−");
}

function fixed(value) {
  return signed(value.toFixed(4).replace(/^-(0\.0*)$/, "$1"));
}

function shortly(value) {
  if (Array.isArray(value)) return `(${value.map(shortly).join(", ")})`;
  return signed(String(Number(value.toPrecision(4))));
}

function fillRows(id, rows) {
  element(id).replaceChildren(
    ...rows.map(([name, text, style]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      const cell = document.createElement("td");
      head.scope = "row";
      head.textContent = name;
      cell.textContent = text;
      if (style) row.className = style;
      row.append(head, cell);
      return row;
    }),
  );
}

function showScores() {
  const rows = [];
  if (flow) {
    const after = scoresAt(length);
    if (state.moment < length) {
      rows.push([`${data.score.name}, ${stageText()}`, scoreText(scoresAt(state.moment))]);
    }
    rows.push([`${data.score.name}, all ${length} maps`, scoreText(after)]);
    if (!flow.isTrained) {
      const change = meanOf(after.map((value, i) => value - trainedScores[i]));
      rows.push(["as trained", scoreText(trainedScores)]);
      rows.push(["change, on the same ones", `${withError(change.mean, change.error)} nats`]);
    }
  }
  rows.push(["the run's own score", data.score.text]);
  fillRows("scores", rows);
}

function stageText() {
  if (state.moment === 0) return "the base";
  if (state.moment === length) return `the fit: all ${length} maps`;
  const whole = Math.floor(state.moment);
  return state.moment === whole
    ? `after ${whole} of ${length}`
    : `in map ${whole + 1} of ${length}`;
}

// Pictures.

const flowPainter = painterOf(element("flow"));
const targetPainter = painterOf(element("target"));
const trainedPeak = peakAt(length);

function painterOf(canvas) {
  const buffer = new OffscreenCanvas(pixels, pixels);
  return {
    canvas,
    buffer,
    context: canvas.getContext("2d"),
    image: new ImageData(pixels, pixels),
    values: new Float64Array(pixels * pixels),
  };
}

/** Fit a canvas to its place, and draw densities on it up to a top; how they are drawn, in words. */
function drawDensity(painter, topOf = (peak) => peak) {
  const { canvas, buffer, context, image, values } = painter;
  const size = Math.round(canvas.clientWidth * devicePixelRatio);
  if (canvas.width !== size) {
    canvas.width = size;
    canvas.height = size;
  }
  const peak = peakOf(values);
  const top = topOf(peak);
  paint(values, top, colours, image);
  buffer.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(buffer, 0, 0, size, size);
  const scale = shortly(Math.exp(top));
  return top < peak
    ? `by ${scale}, below its peak of ${shortly(Math.exp(peak))}`
    : `by its peak, ${scale}`;
}

/** The peak, unless it is a spike beside that of the trained flow, which would leave all else dark. */
function topOf(peak) {
  return peak > trainedPeak + Math.log(SPIKE) ? trainedPeak + Math.log(SPIKE / 2) : peak;
}

function peakAt(moment) {
  fillDensity(moment, flowPainter.values);
  return peakOf(flowPainter.values);
}

function toCanvas(canvas, x, y) {
  return window_.toPixel(x, y, canvas.width);
}

function drawDots({ canvas, context }, { x, y }, radius, style) {
  const size = radius * devicePixelRatio;
  context.fillStyle = style;
  for (let i = 0; i < x.length; i++) {
    const [column, row] = toCanvas(canvas, x[i], y[i]);
    context.fillRect(column - size, row - size, 2 * size, 2 * size);
  }
}

function drawLine({ canvas, context }, xs, ys, style, width = 1, dash = []) {
  context.strokeStyle = style;
  context.lineWidth = width * devicePixelRatio;
  context.setLineDash(dash.map((part) => part * devicePixelRatio));
  context.beginPath();
  for (let i = 0; i < xs.length; i++) context.lineTo(...toCanvas(canvas, xs[i], ys[i]));
  context.stroke();
  context.setLineDash([]);
}

function drawGridLines(painter, { x, y }) {
  const n = axis.length;
  for (let first = 0; first < n; first += Math.round(n / LINES)) {
    const along = Array.from({ length: n }, (_, k) => first * n + k);
    const across = Array.from({ length: n }, (_, k) => k * n + first);
    for (const places of [along, across]) {
      const xs = places.map((place) => x[place]);
      const ys = places.map((place) => y[place]);
      drawLine(painter, xs, ys, "rgb(255 255 255 / 35%)", 0.7);
    }
  }
}

function drawAxes({ canvas, context }) {
  const scale = devicePixelRatio;
  context.fillStyle = "rgb(255 255 255 / 85%)";
  context.font = `${11 * scale}px system-ui, sans-serif`;
  for (const value of ticksOf(window_.left, window_.right)) {
    const [column] = toCanvas(canvas, value, window_.bottom);
    context.fillRect(column, canvas.height - 4 * scale, scale, 4 * scale);
    context.fillText(shortly(value), column + 3 * scale, canvas.height - 4 * scale);
  }
  for (const value of ticksOf(window_.bottom, window_.top)) {
    const [, row] = toCanvas(canvas, window_.left, value);
    context.fillRect(0, row, 4 * scale, scale);
    context.fillText(shortly(value), 6 * scale, row - 3 * scale);
  }
}

function ticksOf(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step + 0.2);
  const last = Math.floor(high / step - 0.2);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step);
}

function drawTarget() {
  if (target) {
    evaluated((x, y) => target.at(x, y), window_, targetPainter.values);
  } else {
    targetPainter.values.fill(-Infinity);
  }
  const scale = drawDensity(targetPainter);
  if (points) drawDots(targetPainter, points, 1, "rgb(255 255 255 / 70%)");
  drawAxes(targetPainter);
  const what = points
    ? `${points.x.length.toLocaleString("en")} test points.`
    : `Target p ${scale}.`;
  element("target-caption").textContent = `${what} ${data.note}`;
}

function drawFlow() {
  fillDensity(state.moment, flowPainter.values);
  const scale = drawDensity(flowPainter, topOf);
  const isOverlaid = element("overlay").checked;
  if (isOverlaid) {
    drawGridLines(flowPainter, lattice.at(state.moment));
    drawDots(flowPainter, draws.at(state.moment), 0.7, "rgb(255 255 255 / 40%)");
  }
  drawWay();
  drawMap();
  drawAxes(flowPainter);
  const overlay = `, with ${drawX.length.toLocaleString("en")} draws and the grid of the base`;
  element("flow-caption").textContent = `Density ${scale}${isOverlaid ? overlay : ""}.`;
}

// A map in the hand.

/** Number of the map at work, from 0. */
function numberInHand() {
  return Math.max(0, Math.ceil(state.moment) - 1);
}

function mapInHand() {
  return flow?.maps[numberInHand()];
}

/** The place of the handles of a planar map, on its crease and if possible in the window. */
function anchorOf(map) {
  state.anchor ??= map.nearestOfCrease(window_.centre);
  return state.anchor;
}

/** Length of the arrow of w: logarithmic, as |w| spans decades. */
function lengthOfW(norm) {
  return (window_.side / 10) * Math.log1p(norm);
}

function normOfW(arrow) {
  return Math.expm1((arrow * 10) / window_.side);
}

/** Handles of a map: label, sign, place, and the map when it is moved there. */
function handlesOf(map) {
  if (map?.kind === "planar") return planarHandles(map, anchorOf(map));
  if (map?.kind === "radial") return radialHandles(map);
  return [];
}

function planarHandles(map, [x, y]) {
  const norm = Math.hypot(...map.w) || 1;
  const arrow = lengthOfW(norm) / norm;
  const creaseThrough = (w, place) => -(w[0] * place[0] + w[1] * place[1]);
  return [
    {
      label: "crease w·z + b = 0",
      sign: "b",
      place: [x, y],
      moved(place) {
        state.anchor = place;
        return map.changed({ b: creaseThrough(map.w, place) });
      },
    },
    {
      label: "direction and size of w",
      sign: "w",
      place: [x + arrow * map.w[0], y + arrow * map.w[1]],
      moved(place) {
        const away = [place[0] - x, place[1] - y];
        const size = Math.hypot(...away) || 1;
        const w = away.map((part) => (part / size) * normOfW(size));
        return map.changed({ w, b: creaseThrough(w, [x, y]) });
      },
    },
    {
      label: "û, the way of points beyond the crease",
      sign: "û",
      place: [x + map.u[0], y + map.u[1]],
      moved: (place) => map.changed({ u: [place[0] - x, place[1] - y] }),
    },
  ];
}

function radialHandles(map) {
  const [x, y] = map.c;
  const distance = (place) => Math.hypot(place[0] - x, place[1] - y);
  return [
    { label: "centre c", sign: "c", place: [x, y], moved: (place) => map.changed({ c: place }) },
    {
      label: "radius α",
      sign: "α",
      place: [x + map.alpha, y],
      moved: (place) => map.changed({ alpha: distance(place) }),
    },
    {
      label: "radius α + β̂",
      sign: "β",
      place: [x, y + map.margin],
      moved: (place) => map.changed({ margin: distance(place) }),
    },
  ];
}

function drawMap() {
  const map = mapInHand();
  if (map?.kind === "planar") drawPlanar(map);
  if (map?.kind === "radial") drawRadial(map);
}

function drawPlanar(map) {
  const [x, y] = anchorOf(map);
  const norm = Math.hypot(...map.w) || 1;
  const far = (2 * window_.side) / norm;
  const [along, up] = [-map.w[1] * far, map.w[0] * far];
  drawLine(flowPainter, [x - along, x + along], [y - up, y + up], ORANGE, 2, [6, 4]);
  drawArrow([x, y], [x + map.u[0], y + map.u[1]]);
}

function drawRadial(map) {
  for (const [radius, dash] of [
    [map.alpha, []],
    [map.margin, [6, 4]],
  ]) {
    const turns = Array.from({ length: 97 }, (_, i) => (i * Math.PI) / 48);
    const xs = turns.map((turn) => map.c[0] + radius * Math.cos(turn));
    const ys = turns.map((turn) => map.c[1] + radius * Math.sin(turn));
    drawLine(flowPainter, xs, ys, ORANGE, 2, dash);
  }
}

function drawArrow(start, end) {
  const [x, y] = end;
  const turn = Math.atan2(y - start[1], x - start[0]);
  const size = window_.side / 40;
  const barb = (side) => [
    x - size * Math.cos(turn + side * 0.45),
    y - size * Math.sin(turn + side * 0.45),
  ];
  const [left, right] = [barb(1), barb(-1)];
  drawLine(flowPainter, [start[0], x], [start[1], y], ORANGE, 2);
  drawLine(flowPainter, [left[0], x, right[0]], [left[1], y, right[1]], ORANGE, 2);
}

function showHandles() {
  const handles = handlesOf(mapInHand());
  const plot = element("flow-plot");
  const buttons = [...plot.querySelectorAll(".handle")];
  if (buttons.length !== handles.length) {
    for (const button of buttons) button.remove();
    plot.append(...handles.map((_, place) => handleButton(place)));
  }
  plot.querySelectorAll(".handle").forEach((button, i) => {
    const handle = handles[i];
    const [column, row] = window_.toPixel(...handle.place, 100).map((part) => inside(part));
    button.style.left = `${column}%`;
    button.style.top = `${row}%`;
    button.textContent = handle.sign;
    button.setAttribute("aria-label", handle.label);
    button.title = handle.label;
  });
}

function inside(percent) {
  return Math.min(Math.max(percent, 2), 98);
}

function handleButton(place) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "handle";
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    state.hand = { start: handlesOf(mapInHand())[place].place, x: event.clientX, y: event.clientY };
    flow.begin();
  });
  button.addEventListener("pointermove", (event) => {
    if (!state.hand) return;
    const { start, x, y } = state.hand;
    const scale = window_.side / element("flow").clientWidth;
    const right = ((event.clientX - x) * scale * (window_.right - window_.left)) / window_.side;
    const up = ((y - event.clientY) * scale * (window_.top - window_.bottom)) / window_.side;
    moveHandle(place, [start[0] + right, start[1] + up]);
  });
  button.addEventListener("lostpointercapture", () => {
    state.hand = null;
  });
  button.addEventListener("keydown", (event) => {
    const step = KEY_STEP * window_.side * (event.shiftKey ? 0.1 : 1);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!way[event.key]) return;
    event.preventDefault();
    flow.begin();
    const start = handlesOf(mapInHand())[place].place;
    moveHandle(place, [start[0] + step * way[event.key][0], start[1] + step * way[event.key][1]]);
  });
  return button;
}

function moveHandle(place, to) {
  flow.replace(numberInHand(), handlesOf(mapInHand())[place].moved(to));
  show();
}

function showMap() {
  const map = mapInHand();
  element("map-name").textContent =
    `Map ${numberInHand() + 1} of ${length}: ${data.names[numberInHand()]}`;
  element("undo").hidden = !flow;
  element("reset").hidden = !flow;
  element("undo").disabled = !flow?.history.length;
  element("reset").disabled = !flow || flow.isTrained;
  const isEdited = handlesOf(map).length > 0;
  element("map-help").textContent = isEdited
    ? "Drag a handle in the picture, or focus it and use the arrow keys: this map and all that follow change."
    : "Shown, not changed: planar and radial maps have handles.";
  const facts = map ? Object.entries(map.numbers) : [];
  element("map-formula").textContent = map
    ? [map.formula, ...facts.map(([name, value]) => `${name} = ${shortly(value)}`)].join(",  ")
    : "As recorded, on straight lines between the recorded moments.";
  element("map-bound").textContent = map?.isBound
    ? `The bound is reached: ${map.kind === "planar" ? "1 + w·û" : "α and α + β̂"} must be positive, or the map folds the plane.`
    : "";
}

// A point's way.

/** The stage of one draw at moments, by itself. */
function wayOfPoint(i) {
  if (!flow) {
    return (moment) => {
      const images = draws.at(moment);
      return { x: images.x[i], y: images.y[i], logDet: images.logDet[i] };
    };
  }
  const way = new Way(flow, new Cloud(drawX.slice(i, i + 1), drawY.slice(i, i + 1)));
  return (moment) => {
    const cloud = way.at(moment);
    return { x: cloud.x[0], y: cloud.y[0], logDet: cloud.logDet[0] };
  };
}

function drawWay() {
  const at = wayOfPoint(state.point);
  const path = Array.from({ length: length * PARTS + 1 }, (_, i) => at(i / PARTS));
  const now = at(state.moment);
  const column = (name, stages) => stages.map((stage) => stage[name]);
  drawLine(flowPainter, column("x", path), column("y", path), "#fff", 1.6);
  const stops = path.filter((_, i) => i % PARTS === 0);
  drawDots(flowPainter, { x: column("x", stops), y: column("y", stops) }, 2, "#fff");
  drawDots(flowPainter, { x: [now.x], y: [now.y] }, 4, "#e69f00");
}

function showWay() {
  const i = state.point;
  const at = wayOfPoint(i);
  const end = at(length);
  const logQ = drawBase[i] - end.logDet;
  const logP = target ? target.at(end.x, end.y) : Number.NaN;
  const place = (stage) => shortly([stage.x, stage.y]);
  const rows = [
    ["log q(x)", `${fixed(drawBase[i])} − (${fixed(end.logDet)}) = ${fixed(logQ)}`],
    ["base", `z₀ = ${place(at(0))},  log q₀ = ${fixed(drawBase[i])}`],
  ];
  if (Number.isFinite(logP)) {
    rows.splice(1, 0, ["log p(x)", `${fixed(logP)},  log q − log p = ${fixed(logQ - logP)}`]);
  }
  for (let stop = 1; stop < stops.length; stop++) {
    const [before, after] = [stops[stop - 1], stops[stop]];
    const stage = at(after);
    const isNow = state.moment > before && state.moment <= after;
    const change = stage.logDet - at(before).logDet;
    const maps = after - before > 1 ? `${before + 1} to ${after}` : `${after}`;
    const text = `z = ${place(stage)},  log|det| = ${fixed(change)}`;
    rows.push([`${maps}: ${data.names[after - 1]}`, text, isNow ? "now" : ""]);
  }
  fillRows("way", rows);
}

function choosePoint(event) {
  const box = element("flow").getBoundingClientRect();
  const [x, y] = window_.toPlane(event.clientX - box.left, event.clientY - box.top, box.width);
  const images = draws.at(state.moment);
  let least = Infinity;
  images.x.forEach((value, i) => {
    const distance = Math.hypot(value - x, images.y[i] - y);
    if (distance < least) {
      least = distance;
      state.point = i;
    }
  });
  show();
}

// The clock and the controls.

function setMoment(moment) {
  if (Math.ceil(moment) !== Math.ceil(state.moment)) state.anchor = null;
  state.moment = Math.min(Math.max(moment, 0), length);
  element("moment").value = state.moment;
  show();
}

function play(isPlaying) {
  state.isPlaying = isPlaying;
  element("play").textContent = isPlaying ? "❚❚" : "▶";
  element("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  if (!isPlaying) return;
  if (state.moment === length) setMoment(0);
  let last = performance.now();
  const step = (time) => {
    if (!state.isPlaying) return;
    setMoment(state.moment + ((time - last) * length) / (1000 * SECONDS));
    last = time;
    if (state.moment === length) play(false);
    else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

/** Draw all that depends on the state, once for the next frame. */
function show() {
  if (state.dirty) return;
  state.dirty = true;
  requestAnimationFrame(draw);
}

function draw() {
  state.dirty = false;
  drawFlow();
  element("stage").textContent = stageText();
  showHandles();
  showMap();
  showScores();
  showWay();
}

function begin() {
  const slider = element("moment");
  slider.max = length;
  slider.value = state.moment;
  slider.addEventListener("input", () => {
    play(false);
    setMoment(Number(slider.value));
  });
  element("play").addEventListener("click", () => play(!state.isPlaying));
  element("overlay").addEventListener("change", show);
  element("flow").addEventListener("click", choosePoint);
  element("next-point").addEventListener("click", () => {
    state.point = (state.point + 1) % drawX.length;
    show();
  });
  for (const [id, change] of [
    ["undo", () => flow.undo()],
    ["reset", () => flow.reset()],
  ]) {
    element(id).addEventListener("click", () => {
      state.anchor = null;
      change();
      show();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button, input")) return;
    event.preventDefault();
    play(!state.isPlaying);
  });
  new ResizeObserver(() => {
    drawTarget();
    show();
  }).observe(element("target"));
  drawTarget();
  draw();
}

begin();
