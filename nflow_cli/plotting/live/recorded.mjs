// A flow of other maps, as it was recorded at moments: shown, and not changed.

import { Cloud } from "./maps.mjs";

/** Images of points at recorded moments; on straight lines between them. */
export class RecordedWay {
  constructor(moments, stages) {
    this.moments = moments;
    this.stages = stages;
    this.between = Cloud.empty(stages[0].length);
  }

  at(moment) {
    const [before, after, t] = placeAmong(this.moments, moment);
    for (const name of ["x", "y", "logDet"]) {
      const start = this.stages[before][name];
      const end = this.stages[after][name];
      const values = this.between[name];
      for (let i = 0; i < values.length; i++) values[i] = start[i] + t * (end[i] - start[i]);
    }
    return this.between;
  }
}

/** Densities of pixels at recorded moments, as 8-bit parts of their peaks; mixed between them. */
export class RecordedDensity {
  constructor(moments, parts, peaks) {
    this.moments = moments;
    this.parts = parts;
    this.peaks = peaks;
  }

  /** Fill the logarithms of the densities at a moment. */
  fill(moment, values) {
    const [before, after, t] = placeAmong(this.moments, moment);
    const start = before * values.length;
    const end = after * values.length;
    const startScale = ((1 - t) * this.peaks[before]) / 255;
    const endScale = (t * this.peaks[after]) / 255;
    for (let i = 0; i < values.length; i++) {
      values[i] = Math.log(startScale * this.parts[start + i] + endScale * this.parts[end + i]);
    }
  }
}

/** Numbers of the recorded moments before and after a moment, and its part of the way. */
function placeAmong(moments, moment) {
  const after = moments.findIndex((recorded) => recorded >= moment);
  const before = Math.max(0, after - 1);
  const width = moments[after] - moments[before];
  return [before, after, width ? (moment - moments[before]) / width : 0];
}
