/**
 * Plots as SVG text: lines over a logarithmic axis or over named places, and bars. No dependency, no script inside, the
 * same text for the same numbers.
 */

const WIDTH = 760;
const HEIGHT = 400;
const LEFT = 70;
const RIGHT = 540;
const TOP = 44;
const BOTTOM = 340;
const COLOURS = ['#0b6e99', '#c4471d', '#3f8f3f', '#8a4fb5', '#b58900', '#5c6b73', '#c2185b', '#1a237e'];

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function text(x, y, words, more = '') {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escaped(words)}</text>`;
}

/** 1,234; 12.3; 0.05: short, for axes. */
export function short(value) {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return Number(value.toPrecision(3)).toLocaleString('en');
}

/** 1 Ki, 100 Ki, 1 Mi: sizes that are powers of two, or near. */
export function binary(value) {
  if (value >= 2 ** 20) return `${value / 2 ** 20} Mi`;
  return value >= 2 ** 10 ? `${value / 2 ** 10} Ki` : `${value}`;
}

/** A scale from values to pixels, logarithmic, with a tick at each power of ten and, if few, between them. */
function logScale(values, from, to) {
  const low = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9));
  const ticks = [];
  for (let power = low; power <= high; power++) {
    ticks.push(10 ** power);
    if (high - low < 3 && power < high) ticks.push(2 * 10 ** power, 5 * 10 ** power);
  }
  return { ticks, at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from) };
}

function frame(title, yLabel, body, legend) {
  const middle = (TOP + BOTTOM) / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escaped(title)}">`,
    '<style>text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-size:15px;font-weight:600}.g{stroke:#d8dee4}.m{text-anchor:middle}.e{text-anchor:end}</style>',
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="6" fill="#fff"/>`,
    text(LEFT, 24, title, 'class="t"'),
    text(18, middle, yLabel, `class="m" transform="rotate(-90 18 ${middle})"`),
    ...body,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

function yAxis(scale) {
  return scale.ticks.flatMap((tick) => {
    const y = scale.at(tick);
    return [
      `<path class="g" d="M${LEFT} ${y.toFixed(1)}H${RIGHT}"/>`,
      text(LEFT - 6, y + 4, short(tick), 'class="e"'),
    ];
  });
}

function legendOf(series) {
  return series.flatMap(({ name, dash }, i) => {
    const y = TOP + 8 + i * 20;
    const stroke = `stroke="${COLOURS[i % COLOURS.length]}" stroke-width="2.5"${dash ? ' stroke-dasharray="5 4"' : ''}`;
    return [`<path ${stroke} d="M${RIGHT + 16} ${y}h22"/>`, text(RIGHT + 44, y + 4, name)];
  });
}

/**
 * Lines. `series`: `{ name, points: [[x, y]], dash }`. `x`: `{ label, places, print }`, places being names for x = 0, 1,
 * 2..., or left out for a logarithmic axis, whose marks are the points' own, printed by `print`. y is logarithmic.
 */
export function lines({ title, x, yLabel, series }) {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  const y = logScale(
    all.map((point) => point[1]),
    BOTTOM,
    TOP,
  );
  const marks = [...new Set(all.map((point) => point[0]))].sort((a, b) => a - b);
  const logX = x.places === undefined ? logScale(marks, LEFT + 10, RIGHT - 10) : undefined;
  const step = (RIGHT - LEFT - 60) / Math.max(1, (x.places?.length ?? 1) - 1);
  const xAt = (value) => (logX === undefined ? LEFT + 30 + value * step : logX.at(value));
  const names = x.places ?? marks;
  const axis = names.map((name, i) => {
    const at = xAt(x.places === undefined ? name : i);
    return text(at, BOTTOM + 18, typeof name === 'number' ? (x.print ?? short)(name) : name, 'class="m"');
  });
  const paths = drawn.flatMap(({ points, dash }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const at = points.map(([px, py]) => [xAt(px).toFixed(1), y.at(py).toFixed(1)]);
    const path = at.map((pair, n) => `${n === 0 ? 'M' : 'L'}${pair.join(' ')}`).join('');
    return [
      `<path fill="none" stroke="${colour}" stroke-width="2"${dash ? ' stroke-dasharray="5 4"' : ''} d="${path}"/>`,
      ...at.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour}"/>`),
    ];
  });
  const label = text((LEFT + RIGHT) / 2, BOTTOM + 40, x.label, 'class="m"');
  return frame(title, yLabel, [...yAxis(y), ...axis, label, ...paths], legendOf(drawn));
}

/** Bars from zero. `bars`: `{ name, value, quoted }`; quoted ones are pale. */
export function bars({ title, yLabel, bars: all }) {
  const most = Math.max(...all.map(({ value }) => value));
  const unit = 10 ** Math.floor(Math.log10(most));
  const ticks = [];
  for (let tick = 0; tick <= most + unit / 2; tick += unit) ticks.push(tick);
  const top = Math.max(most, ticks.at(-1));
  const yAt = (value) => BOTTOM - (value / top) * (BOTTOM - TOP);
  const right = WIDTH - 20;
  const step = (right - LEFT) / all.length;
  const body = ticks.flatMap((tick) => [
    `<path class="g" d="M${LEFT} ${yAt(tick).toFixed(1)}H${right}"/>`,
    text(LEFT - 6, yAt(tick) + 4, short(tick), 'class="e"'),
  ]);
  for (const [i, { name, value, quoted }] of all.entries()) {
    const x = LEFT + i * step + step * 0.2;
    const y = yAt(value);
    const fill = quoted ? '#b8c4cc' : COLOURS[0];
    body.push(
      `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${(step * 0.6).toFixed(1)}" height="${(BOTTOM - y).toFixed(1)}" fill="${fill}"/>`,
      text(x + step * 0.3, y - 5, short(value), 'class="m"'),
      text(x + step * 0.3, BOTTOM + 18, name, 'class="m"'),
    );
  }
  return frame(title, yLabel, body, []);
}
