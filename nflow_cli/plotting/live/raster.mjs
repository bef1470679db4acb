// Densities as pixels: a lattice of base points pushed forward, triangle by triangle, or a function.

/** Rectangle of the plane on a square of pixels, the second coordinate upwards. */
export class Window {
  constructor([left, right, bottom, top], pixels) {
    this.left = left;
    this.right = right;
    this.bottom = bottom;
    this.top = top;
    this.pixels = pixels;
  }

  get centre() {
    return [(this.left + this.right) / 2, (this.bottom + this.top) / 2];
  }

  get side() {
    return Math.max(this.right - this.left, this.top - this.bottom);
  }

  toPixel(x, y, pixels = this.pixels) {
    const across = (x - this.left) / (this.right - this.left);
    const up = (y - this.bottom) / (this.top - this.bottom);
    return [across * pixels, (1 - up) * pixels];
  }

  toPlane(column, row, pixels = this.pixels) {
    const across = column / pixels;
    const up = 1 - row / pixels;
    return [
      this.left + across * (this.right - this.left),
      this.bottom + up * (this.top - this.bottom),
    ];
  }

  holds([x, y]) {
    return x >= this.left && x <= this.right && y >= this.bottom && y <= this.top;
  }
}

/** Log-density of each pixel by an image of a lattice: −Infinity where the lattice is not. */
export function pushed(lattice, logBase, window, values) {
  const side = Math.sqrt(lattice.length);
  const columns = new Float64Array(lattice.length);
  const rows = new Float64Array(lattice.length);
  const logQ = new Float64Array(lattice.length);
  for (let i = 0; i < lattice.length; i++) {
    [columns[i], rows[i]] = window.toPixel(lattice.x[i], lattice.y[i]);
    logQ[i] = logBase[i] - lattice.logDet[i];
  }
  values.fill(-Infinity);
  const fill = (a, b, c) => fillTriangle(columns, rows, logQ, a, b, c, values, window.pixels);
  for (let row = 0; row < side - 1; row++) {
    for (let column = 0; column < side - 1; column++) {
      const corner = row * side + column;
      fill(corner, corner + 1, corner + side);
      fill(corner + 1, corner + side, corner + side + 1);
    }
  }
}

/** Log-density of each pixel by a function of the plane. */
export function evaluated(logDensity, window, values) {
  const { pixels } = window;
  for (let row = 0; row < pixels; row++) {
    for (let column = 0; column < pixels; column++) {
      const [x, y] = window.toPlane(column + 0.5, row + 0.5);
      const value = logDensity(x, y);
      values[row * pixels + column] = Number.isNaN(value) ? -Infinity : value;
    }
  }
}

/** The largest of log-densities. */
export function peakOf(values) {
  let peak = -Infinity;
  for (const value of values) if (value > peak) peak = value;
  return peak;
}

/** Paint log-densities in 256 colours, up to the logarithm `top` of a density. */
export function paint(values, top, colours, image) {
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < values.length; i++) {
    const part = values[i] > -Infinity ? Math.min(1, Math.exp(values[i] - top)) : 0;
    words[i] = colours[Math.round(255 * part)];
  }
}

/** 256 colours as little-endian words of opaque pixels, from bytes of red, green and blue. */
export function coloursOf(bytes) {
  const colours = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const [red, green, blue] = bytes.subarray(3 * i, 3 * i + 3);
    colours[i] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  }
  return colours;
}

/** Interpolate values linearly within a triangle of the pixels' plane, by its corners. */
function fillTriangle(columns, rows, logQ, a, b, c, values, pixels) {
  const x = columns[a];
  const y = rows[a];
  const bx = columns[b] - x;
  const by = rows[b] - y;
  const cx = columns[c] - x;
  const cy = rows[c] - y;
  const left = Math.max(0, Math.ceil(x + Math.min(0, bx, cx) - 0.5));
  const right = Math.min(pixels - 1, Math.floor(x + Math.max(0, bx, cx) - 0.5));
  const top = Math.max(0, Math.ceil(y + Math.min(0, by, cy) - 0.5));
  const bottom = Math.min(pixels - 1, Math.floor(y + Math.max(0, by, cy) - 0.5));
  const area = bx * cy - cx * by;
  if (!(left <= right && top <= bottom && area !== 0)) return;
  const toB = logQ[b] - logQ[a];
  const toC = logQ[c] - logQ[a];
  for (let row = top; row <= bottom; row++) {
    const dy = row + 0.5 - y;
    for (let column = left; column <= right; column++) {
      const dx = column + 0.5 - x;
      const second = (dx * cy - cx * dy) / area;
      const third = (bx * dy - dx * by) / area;
      if (second < 0 || third < 0 || second + third > 1) continue;
      values[row * pixels + column] = logQ[a] + second * toB + third * toC;
    }
  }
}
