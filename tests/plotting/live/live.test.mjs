// The page's mathematics, against cases computed by the layers and by closed forms.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LogTarget, logBase, meanOf } from "../../../nflow_cli/plotting/live/density.mjs";
import { Flow, Way } from "../../../nflow_cli/plotting/live/flow.mjs";
import { Cloud, mapOf } from "../../../nflow_cli/plotting/live/maps.mjs";
import { evaluated, peakOf, pushed, Window } from "../../../nflow_cli/plotting/live/raster.mjs";
import { RecordedDensity, RecordedWay } from "../../../nflow_cli/plotting/live/recorded.mjs";

const cases = JSON.parse(readFileSync(process.env.NFLOW_LIVE_CASES));

function near(actual, expected, tolerance) {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, i) => {
    const off = Math.abs(value - expected[i]) / Math.max(1, Math.abs(expected[i]));
    assert.ok(value === expected[i] || off <= tolerance, `${i}: ${value}, expected ${expected[i]}`);
  });
}

for (const { name, map, x, y, images, logDet, part } of cases.maps) {
  test(`${name}: images and log-determinants are those of the layer, and are undone`, () => {
    const points = new Cloud(Float64Array.from(x), Float64Array.from(y));
    const moved = Cloud.empty(x.length);
    mapOf(map).forward(points, moved);
    near(moved.x, images[0], 1e-5);
    near(moved.y, images[1], 1e-5);
    near(moved.logDet, logDet, 1e-5);
    const back = Cloud.empty(x.length);
    mapOf(map).inverse(moved, back);
    near(back.x, x, 1e-5);
    near(back.y, y, 1e-5);
    near(back.logDet, new Float64Array(x.length), 1e-5);
  });

  test(`${name}: its part is that of the layer`, () => {
    const points = new Cloud(Float64Array.from(x), Float64Array.from(y));
    const moved = Cloud.empty(x.length);
    mapOf(map).part(part.t).forward(points, moved);
    near(moved.x, part.images[0], 1e-5);
    near(moved.y, part.images[1], 1e-5);
    near(moved.logDet, part.logDet, 1e-5);
  });
}

for (const { name, base, x, y, logQ } of cases.bases) {
  test(`${name}: log-density of the base`, () => {
    const values = logBase(base, Float64Array.from(x), Float64Array.from(y));
    const known = logQ.map((value) => value ?? -Infinity);
    near(values, known, 1e-5);
  });
}

test("a planar map stays a bijection in the hand", () => {
  const map = mapOf({ kind: "planar", w: [2, -1], b: 0.3, u: [0.5, 0.1] });
  const pulled = map.changed({ u: [-3, 2] });
  assert.ok(pulled.isBound && pulled.margin > 0 && pulled.margin <= 0.0101);
  assert.ok(!map.changed({ u: [-0.2, 0.1] }).isBound);
  const [x, y] = map.nearestOfCrease([1, 4]);
  near([2 * x - y + 0.3], [0], 1e-12);
});

test("a radial map stays a bijection in the hand", () => {
  const map = mapOf({ kind: "radial", c: [0, 1], alpha: 0.7, beta: -0.2 });
  const pulled = map.changed({ margin: -1 });
  assert.ok(pulled.isBound && pulled.margin > 0);
  near([pulled.alpha, map.changed({ alpha: 2 }).margin], [0.7, 0.5], 1e-12);
});

function twoMaps() {
  return new Flow([
    mapOf({ kind: "planar", w: [2, -1], b: 0.3, u: [0.5, 0.1] }),
    mapOf({ kind: "radial", c: [0.5, 1], alpha: 0.7, beta: 1.2 }),
  ]);
}

test("a change moves what follows it, and undo and reset bring back every digit", () => {
  const flow = twoMaps();
  const way = flow.way(Float64Array.of(0.4), Float64Array.of(-1.1));
  const digits = ({ x, y, logDet }) => [x[0], y[0], logDet[0]];
  const state = () => [0.5, 1, 1.25, 2].map((moment) => digits(way.at(moment)));
  const trained = state();
  flow.begin();
  flow.replace(1, flow.maps[1].changed({ c: [3, 3] }));
  const changed = state();
  assert.deepEqual(changed.slice(0, 2), trained.slice(0, 2));
  assert.notDeepEqual(changed.slice(2), trained.slice(2));
  flow.begin();
  flow.replace(0, flow.maps[0].changed({ b: -2 }));
  flow.undo();
  assert.deepEqual(state(), changed);
  flow.reset();
  assert.ok(flow.isTrained);
  assert.deepEqual(state(), trained);
  flow.undo();
  assert.deepEqual(state(), changed);
});

test("the inverse of a part of the way leads back to the base", () => {
  const flow = twoMaps();
  const start = new Cloud(Float64Array.of(0.4, -2), Float64Array.of(-1.1, 0.7));
  const images = new Way(flow, start).at(1.3);
  const back = flow.inverse(images.x, images.y, 1.3);
  near(back.x, [0.4, -2], 1e-9);
  near(
    back.logDet,
    Array.from(images.logDet, (value) => -value),
    1e-9,
  );
});

test("log p of an even grid is interpolated to 1e-3 nats, and not known beyond it", () => {
  const axis = Float64Array.from({ length: 128 }, (_, i) => -4 + (8 * i) / 127);
  const logP = (x, y) => -((y - Math.sin((Math.PI * x) / 2)) ** 2) / 0.32; // U2 of the paper
  const values = Float64Array.from({ length: 128 ** 2 }, (_, i) =>
    logP(axis[i % 128], axis[Math.floor(i / 128)]),
  );
  const target = new LogTarget(axis, axis, values);
  for (let i = 0; i < 400; i++) {
    const [x, y] = [3.9 * Math.sin(i), 1.5 * Math.cos(3 * i)];
    near([target.at(x, y)], [logP(x, y)], 1e-3);
  }
  assert.ok(Number.isNaN(target.at(-4.1, 0)) && Number.isNaN(target.at(0, 4.1)));
});

test("log p of a Gaussian is exact on axes of any steps", () => {
  const axis = Float64Array.from({ length: 20 }, (_, i) => Math.log(0.1 + i));
  const logP = (x, y) => -x * x - 0.3 * x * y - 2 * y * y + y;
  const values = Float64Array.from({ length: 400 }, (_, i) =>
    logP(axis[i % 20], axis[Math.floor(i / 20)]),
  );
  const target = new LogTarget(axis, axis, values);
  for (const [x, y] of [
    [0.5, 2.1],
    [2.7, 1.3],
    [0.2, 2.2],
  ]) {
    near([target.at(x, y)], [logP(x, y)], 1e-9);
  }
});

test("a mean has its standard error, of what is known", () => {
  const { mean, error, n } = meanOf([1, 2, Number.NaN, 3, -Infinity]);
  near([mean, error, n], [2, 1 / Math.sqrt(3), 3], 1e-12);
});

test("the image of a lattice shows the density that the inverse gives, to 3 % of the peak", () => {
  const flow = twoMaps();
  const axis = Float64Array.from({ length: 121 }, (_, i) => -4.5 + 0.075 * i);
  const x = Float64Array.from({ length: 121 ** 2 }, (_, i) => axis[i % 121]);
  const y = Float64Array.from({ length: 121 ** 2 }, (_, i) => axis[Math.floor(i / 121)]);
  const window = new Window([-3, 3, -3, 3], 60);
  const values = new Float64Array(3600);
  pushed(flow.way(x, y).at(2), logBase({ kind: "normal" }, x, y), window, values);
  const exact = new Float64Array(3600);
  const logQ = (px, py) => {
    const base = flow.inverse(Float64Array.of(px), Float64Array.of(py), 2);
    return logBase({ kind: "normal" }, base.x, base.y)[0] + base.logDet[0];
  };
  evaluated(logQ, window, exact);
  const peak = Math.exp(peakOf(exact));
  values.forEach((value, i) => {
    assert.ok(Math.abs(Math.exp(value) - Math.exp(exact[i])) < 0.03 * peak);
  });
});

test("a recorded flow is on straight lines between its moments", () => {
  const stage = (shift) =>
    new Cloud(Float64Array.of(shift, 1), Float64Array.of(0, 3), Float64Array.of(shift / 2, 0));
  const way = new RecordedWay([0, 2, 4], [stage(0), stage(4), stage(-4)]);
  const { x, y, logDet } = way.at(0.5);
  near([...x, ...y, ...logDet], [1, 1, 0, 3, 0.5, 0], 1e-12);
  near(way.at(2).x, [4, 1], 1e-12);
  near(way.at(4).x, [-4, 1], 1e-12);
});

test("a recorded density is mixed between its moments", () => {
  const density = new RecordedDensity([0, 1], Uint8Array.of(255, 0, 51, 255), [2, 10]);
  const values = new Float64Array(2);
  density.fill(0, values);
  near(values.map(Math.exp), [2, 0], 1e-12);
  density.fill(0.25, values);
  near(values.map(Math.exp), [2, 2.5], 1e-12);
});
