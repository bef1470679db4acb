// Maps of the plane: images, log-determinants in nats, inverses, and what a hand changes of them.

const LEAST = 0.01; // of 1 + w·û and of α + β̂ that a hand can reach
const NEWTON_STEPS = 40;

/** Points of the plane, with the sum of the log-determinants of the maps that moved them. */
export class Cloud {
  constructor(x, y, logDet = new Float64Array(x.length)) {
    this.x = x;
    this.y = y;
    this.logDet = logDet;
  }

  static empty(length) {
    return new Cloud(new Float64Array(length), new Float64Array(length));
  }

  get length() {
    return this.x.length;
  }
}

/** f(z) = z + û tanh(w·z + b), with w·û > −1: eq. 10 of arXiv 1505.05770. */
export class Planar {
  kind = "planar";

  constructor({ w, b, u }) {
    this.w = w;
    this.b = b;
    this.u = u;
  }

  /** 1 + w·û, the slope across the crease, positive for a bijection. */
  get margin() {
    return 1 + this.w[0] * this.u[0] + this.w[1] * this.u[1];
  }

  /** The part t of the map, z + t û tanh(w·z + b). */
  part(t) {
    return new Planar({ w: this.w, b: this.b, u: this.u.map((u) => t * u) });
  }

  forward(points, images) {
    const [w1, w2] = this.w;
    const [u1, u2] = this.u;
    const slope = this.margin;
    for (let i = 0; i < points.length; i++) {
      const h = Math.tanh(w1 * points.x[i] + w2 * points.y[i] + this.b);
      images.x[i] = points.x[i] + u1 * h;
      images.y[i] = points.y[i] + u2 * h;
      images.logDet[i] = points.logDet[i] + Math.log(h * h + (1 - h * h) * slope);
    }
  }

  /** Points of images, by the root v = w·z + b of v + (w·û) tanh(v) = w·x + b. */
  inverse(images, points) {
    const [w1, w2] = this.w;
    const slope = this.margin;
    for (let i = 0; i < images.length; i++) {
      const h = Math.tanh(root(w1 * images.x[i] + w2 * images.y[i] + this.b, slope));
      points.x[i] = images.x[i] - this.u[0] * h;
      points.y[i] = images.y[i] - this.u[1] * h;
      points.logDet[i] = images.logDet[i] - Math.log(h * h + (1 - h * h) * slope);
    }
  }

  /** The map with some numbers changed: û is moved along w to where w·û > −1 allows it. */
  changed(numbers) {
    const map = new Planar({ ...this, ...numbers });
    const lacking = Math.min(LEAST, this.margin) - map.margin;
    const squared = map.w[0] ** 2 + map.w[1] ** 2;
    if (lacking > 0 && squared > 0) {
      map.u = map.u.map((u, i) => u + (lacking * map.w[i]) / squared);
      map.isBound = true;
    }
    return map;
  }

  /** The point of the crease w·z + b = 0 that is nearest to a point. */
  nearestOfCrease([x, y]) {
    const [w1, w2] = this.w;
    const away = (w1 * x + w2 * y + this.b) / (w1 * w1 + w2 * w2 || 1);
    return [x - away * w1, y - away * w2];
  }

  get formula() {
    return "f(z) = z + û tanh(w·z + b)";
  }

  get numbers() {
    return { w: this.w, b: this.b, û: this.u, "1 + w·û": this.margin };
  }
}

/** f(z) = z + β̂ (z − c) / (α + r), r = |z − c|, with β̂ > −α: eq. 14 of arXiv 1505.05770. */
export class Radial {
  kind = "radial";

  constructor({ c, alpha, beta }) {
    this.c = c;
    this.alpha = alpha;
    this.beta = beta;
  }

  /** α + β̂, positive for a bijection. */
  get margin() {
    return this.alpha + this.beta;
  }

  /** The part t of the map, with t β̂. */
  part(t) {
    return new Radial({ c: this.c, alpha: this.alpha, beta: t * this.beta });
  }

  forward(points, images) {
    const { alpha, beta, margin } = this;
    for (let i = 0; i < points.length; i++) {
      const dx = points.x[i] - this.c[0];
      const dy = points.y[i] - this.c[1];
      const r = Math.hypot(dx, dy);
      const scale = beta / (alpha + r);
      images.x[i] = points.x[i] + scale * dx;
      images.y[i] = points.y[i] + scale * dy;
      images.logDet[i] = points.logDet[i] + radialLogDet(r, alpha, margin);
    }
  }

  /** r is the positive root of r² + (α + β̂ − g) r − α g = 0, g = |x − c|. */
  inverse(images, points) {
    const { alpha, margin } = this;
    for (let i = 0; i < images.length; i++) {
      const dx = images.x[i] - this.c[0];
      const dy = images.y[i] - this.c[1];
      const g = Math.hypot(dx, dy);
      const half = (margin - g) / 2;
      const far = Math.sqrt(half * half + alpha * g) + Math.abs(half);
      const r = half > 0 ? g * (alpha / far) : far;
      const scale = this.beta / (r + margin);
      points.x[i] = images.x[i] - scale * dx;
      points.y[i] = images.y[i] - scale * dy;
      points.logDet[i] = images.logDet[i] - radialLogDet(r, alpha, margin);
    }
  }

  /** The map with some numbers changed: α and α + β̂ are kept positive. */
  changed(numbers) {
    const { c, alpha, margin } = { c: this.c, alpha: this.alpha, margin: this.margin, ...numbers };
    const least = Math.min(LEAST, this.alpha, this.margin);
    const inner = Math.max(alpha, least);
    const outer = Math.max(margin, least);
    const map = new Radial({ c, alpha: inner, beta: outer - inner });
    map.isBound = inner > alpha || outer > margin;
    return map;
  }

  get formula() {
    return "f(z) = z + β̂ (z − c) / (α + |z − c|)";
  }

  get numbers() {
    return { c: this.c, α: this.alpha, β̂: this.beta, "α + β̂": this.margin };
  }
}

/** f(z) = m + L z, L a lower triangle with the diagonal exp(s). */
export class Affine {
  kind = "affine";

  constructor({ shift, logScale, lower }) {
    this.shift = shift;
    this.logScale = logScale;
    this.lower = lower;
  }

  /** The part t of the map, by t times its numbers. */
  part(t) {
    const [shift, logScale] = [this.shift, this.logScale].map((pair) => pair.map((x) => t * x));
    return new Affine({ shift, logScale, lower: t * this.lower });
  }

  forward(points, images) {
    const [m1, m2] = this.shift;
    const [l1, l2] = this.logScale.map(Math.exp);
    const logDet = this.logScale[0] + this.logScale[1];
    for (let i = 0; i < points.length; i++) {
      const x = points.x[i];
      images.x[i] = m1 + l1 * x;
      images.y[i] = m2 + this.lower * x + l2 * points.y[i];
      images.logDet[i] = points.logDet[i] + logDet;
    }
  }

  inverse(images, points) {
    const [l1, l2] = this.logScale.map(Math.exp);
    const logDet = this.logScale[0] + this.logScale[1];
    for (let i = 0; i < images.length; i++) {
      const x = (images.x[i] - this.shift[0]) / l1;
      points.y[i] = (images.y[i] - this.shift[1] - this.lower * x) / l2;
      points.x[i] = x;
      points.logDet[i] = images.logDet[i] - logDet;
    }
  }

  get formula() {
    return "f(z) = m + L z";
  }

  get numbers() {
    const [l1, l2] = this.logScale.map(Math.exp);
    return { m: this.shift, L: [l1, 0, this.lower, l2] };
  }
}

const KINDS = { planar: Planar, radial: Radial, affine: Affine };

/** The map that an object of the page's data describes. */
export function mapOf({ kind, ...numbers }) {
  return new KINDS[kind](numbers);
}

function radialLogDet(r, inner, outer) {
  const near = inner / (r + inner);
  const far = r / (r + inner);
  const stretch = outer / (r + inner);
  return Math.log(far + stretch) + Math.log(far * (far + 2 * near) + near * stretch);
}

/** Root v of v + (slope − 1) tanh(v) = c: Newton's steps, halved where they leave its bracket. */
function root(c, slope) {
  const target = Math.abs(c);
  let low = Math.max(0, target - Math.abs(slope - 1));
  let high = target + Math.abs(slope - 1);
  let v = slope > 1 ? low : high;
  for (let step = 0; step < NEWTON_STEPS; step++) {
    const h = Math.tanh(v);
    const excess = v + (slope - 1) * h - target;
    if (excess > 0) high = v;
    else low = v;
    const next = v - excess / (h * h + (1 - h * h) * slope);
    const moved = next >= low && next <= high ? next : (low + high) / 2;
    if (moved === v) break;
    v = moved;
  }
  return Math.sign(c) * v;
}
