// A flow under the hand: its maps, the ways of points through them, and what undo takes back.

import { Cloud } from "./maps.mjs";

/** Maps in the order of application, each of which can be replaced. */
export class Flow {
  constructor(maps) {
    this.maps = maps;
    this.trained = [...maps];
    this.history = [];
    this.ways = [];
  }

  get length() {
    return this.maps.length;
  }

  get isTrained() {
    return this.maps.every((map, k) => map === this.trained[k]);
  }

  /** Remember the maps of now, which `undo` brings back. */
  begin() {
    this.history.push([...this.maps]);
  }

  /** Replace a map by its number from 0. */
  replace(k, map) {
    this.maps[k] = map;
    for (const way of this.ways) way.forget(k);
  }

  undo() {
    if (this.history.length) this.#restore(this.history.pop());
  }

  reset() {
    if (this.isTrained) return;
    this.begin();
    this.#restore([...this.trained]);
  }

  /** The way of points from the base. */
  way(x, y) {
    const way = new Way(this, new Cloud(x, y));
    this.ways.push(way);
    return way;
  }

  /** Base points of images at the moment k + t, with log-determinants of the inverse. */
  inverse(x, y, moment) {
    const k = Math.floor(moment);
    const maps = this.maps.slice(0, k);
    if (moment > k) maps.push(this.maps[k].part(moment - k));
    const points = new Cloud(x.slice(), y.slice());
    for (const map of maps.reverse()) map.inverse(points, points);
    return points;
  }

  #restore(maps) {
    this.maps = maps;
    for (const way of this.ways) way.forget(0);
  }
}

/** Images of base points after each map: kept, and computed anew after a map that has changed. */
export class Way {
  constructor(flow, start) {
    this.flow = flow;
    this.stages = [start];
    this.between = Cloud.empty(start.length);
    this.known = 0;
  }

  forget(k) {
    this.known = Math.min(this.known, k);
  }

  /** Images at the moment k + t: after k maps and the part t of the next. */
  at(moment) {
    const k = Math.floor(moment);
    while (this.known < k) {
      const number = this.known + 1;
      this.stages[number] ??= Cloud.empty(this.stages[0].length);
      this.flow.maps[number - 1].forward(this.stages[number - 1], this.stages[number]);
      this.known = number;
    }
    if (moment === k) return this.stages[k];
    this.flow.maps[k].part(moment - k).forward(this.stages[k], this.between);
    return this.between;
  }
}
