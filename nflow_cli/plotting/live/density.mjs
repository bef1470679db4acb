// Densities: of the base, of the target on a grid, and scores between them, all in nats.

const HALF_LOG_2PI = Math.log(2 * Math.PI) / 2;

const BASES = {
  normal: () => (x) => (-x * x) / 2 - HALF_LOG_2PI,
  box:
    ({ half }) =>
    (x) =>
      Math.abs(x) <= half ? -Math.log(2 * half) : -Infinity,
  student:
    ({ df, level }) =>
    (x) =>
      level - ((df + 1) / 2) * Math.log1p((x * x) / df),
};

/** Log-density of the base at points, the sum over its independent coordinates. */
export function logBase({ kind, ...numbers }, x, y) {
  const ofCoordinate = BASES[kind](numbers);
  return x.map((value, i) => ofCoordinate(value) + ofCoordinate(y[i]));
}

/** log p on a grid with any axes, by cubic Hermite interpolation along each. */
export class LogTarget {
  constructor(xAxis, yAxis, values) {
    this.xAxis = xAxis;
    this.yAxis = yAxis;
    this.values = values;
  }

  /** log p at a point; NaN beyond the grid, or where it is not finite beside the point. */
  at(x, y) {
    const j = cellOf(this.xAxis, x);
    const i = cellOf(this.yAxis, y);
    if (j < 0 || i < 0) return Number.NaN;
    const rows = [];
    for (let row = i - 1; row <= i + 2; row++) {
      const isThere = row >= 0 && row < this.yAxis.length;
      const start = row * this.xAxis.length;
      rows.push(isThere ? hermite(this.xAxis, (k) => this.values[start + k], j, x) : 0);
    }
    return hermite(this.yAxis, (k) => rows[k - i + 1], i, y);
  }

  atAll({ x, y }) {
    return x.map((value, i) => this.at(value, y[i]));
  }
}

/** Mean of those values that are numbers, its standard error, and how many there are. */
export function meanOf(values) {
  let n = 0;
  let sum = 0;
  for (const value of values) {
    if (Number.isFinite(value)) {
      n += 1;
      sum += value;
    }
  }
  const mean = sum / n;
  let squares = 0;
  for (const value of values) {
    if (Number.isFinite(value)) squares += (value - mean) ** 2;
  }
  return { mean, error: Math.sqrt(squares / (n - 1) / n), n };
}

/** Number of the interval of an axis that holds a value, −1 beyond its ends. */
function cellOf(axis, value) {
  const last = axis.length - 1;
  if (!(value >= axis[0] && value <= axis[last])) return -1;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (axis[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** Cubic through values at knots i and i + 1, with slopes of parabolas through three knots. */
function hermite(axis, value, i, x) {
  const width = axis[i + 1] - axis[i];
  const t = (x - axis[i]) / width;
  const rise = (value(i + 1) - value(i)) / width;
  const start = i > 0 ? slopeAt(axis, value, i) : rise;
  const end = i + 2 < axis.length ? slopeAt(axis, value, i + 1) : rise;
  const bend = start + end - 2 * rise;
  return value(i) + t * width * (start + t * (rise - start + (t - 1) * bend));
}

function slopeAt(axis, value, i) {
  const before = axis[i] - axis[i - 1];
  const after = axis[i + 1] - axis[i];
  const left = (value(i) - value(i - 1)) / before;
  const right = (value(i + 1) - value(i)) / after;
  return (left * after + right * before) / (before + after);
}
