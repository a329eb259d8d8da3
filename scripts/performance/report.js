/**
 * What docs/performance.md and the README show of a run: tables and plots as text, by name. Pure: results in, text out.
 */
import { bars, binary, lines } from './plot.js';
import { figure, table } from './table.js';

const KI = 1024;
const MI = 1_048_576;
const MOST = 10_485_760;
const PORTS = 64_512;

/** Figures of other programs, from an earlier run on another machine of the same kind: ns, or bytes. */
export const QUOTED = {
  path: [
    ['a minimal C loop', '20', '180-205'],
    ['the same in batches of 32, with prefetch', '', '37-42'],
    ['VPP, nodes of nat44-ed', '40', '330-400'],
    ['Open vSwitch, userspace conntrack with NAT', '95', '480'],
    ['NPF', '150', '1,220'],
    ['Linux, marginal cost of conntrack and MASQUERADE', '555', '1,190-1,580'],
    ['gVisor netstack, TCP, its three hooks only', '1,500', '13,700 (2,370 with a table for 1 Mi)'],
  ],
  connections: [
    ['a minimal C loop', '38-145'],
    ['Open vSwitch, userspace conntrack with NAT', '525-730'],
    ['VPP, nat44-ed', 'about 1,000'],
    ['NPF', '785-2,660'],
    ['gVisor netstack', '2,600 at 1 Ki flows, 51,000 at 1 Mi'],
    ['Linux', '3,800'],
  ],
  memory: [
    ['VPP', 342],
    ['Open vSwitch', 370],
    ['Linux', 384],
    ['gVisor', 416],
    ['NPF', 555],
  ],
};

class Run {
  constructor(run) {
    this.run = run;
    this.results = run.results;
  }

  find(name, size) {
    return this.results.find((one) => one.name === name && one.size === size);
  }

  of(name) {
    return this.results.filter((one) => one.name === name);
  }

  /** Median (fastest), or nothing. */
  cell(name, size) {
    const one = this.find(name, size);
    return one === undefined ? '' : `${figure(one.median)} (${figure(one.min)})`;
  }

  points(name) {
    return this.of(name)
      .filter(({ median }) => median > 0)
      .map(({ size, median }) => [size, median]);
  }

  ratio(name, base, size) {
    const [a, b] = [this.find(name, size), this.find(base, size)];
    return a === undefined || b === undefined ? undefined : a.median / b.median;
  }
}

const count = (size) => size.toLocaleString('en');

function sizesOf(run, names) {
  return [...new Set(names.flatMap((name) => run.of(name).map(({ size }) => size)))].sort((a, b) => a - b);
}

/** Subjects down, sizes across; with the ratio to the floor where there is one. */
function grid(run, names, unit, base) {
  const sizes = sizesOf(run, names);
  const there = names.filter((name) => run.of(name).length > 0);
  const capital = (words) => words[0].toUpperCase() + words.slice(1);
  const rows = there.map((name) => {
    const cells = sizes.map((size) => {
      const ratio = base === undefined || name === base ? undefined : run.ratio(name, base, size);
      return run.cell(name, size) + (ratio === undefined ? '' : `, R ${figure(ratio)}`);
    });
    return [capital(run.of(name)[0].operation), ...cells];
  });
  return table(['', ...sizes.map((size) => `${count(size)} ${unit}`)], rows);
}

const PATH = [
  'path/udp',
  'path/tcp',
  'path/udp6',
  'path/tcp6',
  'path/udp-batch',
  'path/tcp-batch',
  'bundled/udp',
  'bundled/tcp',
  'floor/udp',
  'floor/tcp',
  'floor/lean',
  'floor/udp-batch',
  'kernel/established',
];
const NEW = ['new/picked', 'new/kept', 'floor/new', 'kernel/new'];
const RULES = [
  'rules/established-first',
  'rules/established-last',
  'rules/untracked',
  'rules/compile',
  'rules/replace',
];

function fillName(ports) {
  if (ports === PORTS - 1) return 'all but one';
  return `${Number(((ports / PORTS) * 100).toFixed(2))} %`;
}

function portsTable(run) {
  const rows = run
    .of('new/ports')
    .map(({ size, median, min }) => [
      `${count(size)} (${fillName(size)})`,
      figure(median / 1000),
      figure(min / 1000),
    ]);
  return table(['Ports in use, of 64,512', 'median, µs', 'fastest, µs'], rows);
}

function reaperTable(run) {
  const rows = [];
  for (const { size, median, figures } of run.of('reaper/live')) {
    rows.push([`${count(size)} connections swept, none expired: CPU time in all, ms`, figure(median)]);
    rows.push(['longest slice of it, ms', figure(figures.longestMs)]);
  }
  for (const [name, what] of [
    ['reaper/rush', 'all expired at once'],
    ['reaper/calm', 'none expired'],
  ]) {
    for (const { size, median, figures } of run.of(name)) {
      rows.push([
        `${count(size)} connections, ${what}, packets meanwhile: longest slice, ms`,
        figure(median),
      ]);
      rows.push(['the same in processor time, ms', figure(figures.longestCpuMs)]);
      rows.push([`a packet's wait and work: median, µs`, figure(figures.waitP50Ms * 1000)]);
      rows.push(['99 %, µs', figure(figures.waitP99Ms * 1000)]);
      rows.push(['99.99 %, µs', figure(figures.waitP9999Ms * 1000)]);
      rows.push([`longest of ${count(figures.packets)}, µs`, figure(figures.waitMostMs * 1000)]);
    }
  }
  return table(['', ''], rows);
}

function memoryTable(run) {
  const bytes = (name) => run.of(name)[0];
  const rows = ['memory/udp', 'memory/udp6'].flatMap((name) => {
    const one = bytes(name);
    return one === undefined
      ? []
      : [[`${one.operation} (${count(one.size)})`, `${figure(one.median)} bytes`]];
  });
  const idle = bytes('memory/idle');
  if (idle !== undefined) {
    const mebibytes = idle.median / 2 ** 20;
    const resident = mebibytes < 1 ? 'less than 1 MiB' : `${figure(mebibytes)} MiB`;
    rows.push([`a table with room for ${count(idle.size)}, a few there`, resident]);
  }
  return table(['', 'Resident'], rows);
}

function machineLine({ machine, node, v8, compiler, date, effort, minutes, skipped }) {
  const text = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${node} (V8 ${v8}); ${compiler}. ${date},`,
    `${minutes} minutes, load average ${machine.load[0]} before and ${machine.load[1]} after.`,
  ];
  if (effort === 'quick') text.push('**A quick run: few samples, fewer sizes; the figures are rough.**');
  for (const why of skipped) text.push(`Not measured: ${why}.`);
  return text.join('\n');
}

/** One row per goal: what it asks, what was measured, whether that is enough. */
function goals(run) {
  const rows = [];
  const add = (what, value, limit, unit = '') => {
    if (value === undefined || Number.isNaN(value)) return;
    rows.push([
      what,
      `${figure(value)}${unit}`,
      `at most ${figure(limit)}${unit}`,
      value <= limit ? 'yes' : 'no',
    ]);
  };
  const to = (name, size, base, baseSize = size) => {
    const [a, b] = [run.find(name, size), run.find(base, baseSize)];
    return a && b ? a.median / b.median : undefined;
  };
  add('UDP, 1 Ki flows, to the C floor', to('path/udp', KI, 'floor/udp'), 3);
  add('TCP, 1 Ki flows, to the C floor', to('path/tcp', KI, 'floor/udp'), 4);
  add('UDP, 1 Mi flows, to the C floor', to('path/udp', MI, 'floor/udp'), 1.6);
  add('TCP, 1 Mi flows, to the C floor', to('path/tcp', MI, 'floor/udp'), 1.6);
  add('UDP over IPv6 to IPv4, 1 Ki flows', to('path/udp6', KI, 'path/udp'), 1.3);
  add('UDP over IPv6 to IPv4, 1 Mi flows', to('path/udp6', MI, 'path/udp'), 1.3);
  add('UDP in batches, 1 Mi flows, to the C floor one by one', to('path/udp-batch', MI, 'floor/udp'), 0.7);
  add('TCP in batches, 1 Mi flows, to the C floor one by one', to('path/tcp-batch', MI, 'floor/udp'), 0.9);
  add('UDP in batches to one by one, 1 Ki flows', to('path/udp-batch', KI, 'path/udp'), 1);
  add('UDP, 10 Mi flows to 1 Mi', to('path/udp', MOST, 'path/udp', MI), 1.5);
  add('New connection with expiry, 1 Mi flows', run.find('new/picked', MI)?.median, 600, ' ns');
  add('the same to the C floor', to('new/picked', MI, 'floor/new'), 5);
  add('A port while 90 % are used, to none used', to('new/ports', 58_061, 'new/ports', 0), 1.5);
  add('The last free port', (run.find('new/ports', PORTS - 1)?.median ?? Number.NaN) / 1000, 20, ' µs');
  add('Sweep of 1 Mi live connections', run.find('reaper/live', MI)?.median, 10, ' ms');
  add('Longest slice while 1 Mi expire', run.find('reaper/rush', MI)?.median, 2, ' ms');
  const rush = run.find('reaper/rush', MI)?.figures;
  add('the same in processor time', rush?.longestCpuMs, 2, ' ms');
  add('Bytes per IPv4 connection', run.find('memory/udp', MI)?.median, 208);
  add('Bytes per IPv6 connection', run.find('memory/udp6', MI)?.median, 272);
  const idle = run.find('memory/idle', MI)?.median;
  add('Idle table for 1 Mi', idle === undefined ? undefined : Math.max(0.1, idle / 2 ** 20), 30, ' MiB');
  for (const name of ['rules/established-first', 'rules/established-last', 'rules/untracked']) {
    const what = name.replace('rules/', '').replace('-', ', state rule ');
    add(`10,000 rules to 10, ${what}`, to(name, 10_000, name, 10), 2);
  }
  add('10,000 rules compiled', run.find('rules/compile', 10_000)?.median, 200, ' ms');
  add('Longest pause while 10,000 rules are replaced', run.find('rules/replace', 10_000)?.median, 2, ' ms');
  return table(['', 'Measured', 'Goal', 'Met'], rows);
}

/** The page's tables by their marks. */
export function tables(results) {
  const run = new Run(results);
  return {
    machine: machineLine(results),
    goals: goals(run),
    packets: grid(run, PATH, 'flows', 'floor/udp'),
    'quoted packets': table(['Quoted, ns per packet', '1 Ki flows', '1 Mi flows'], QUOTED.path),
    connections: grid(run, NEW, 'flows', 'floor/new'),
    'quoted connections': table(['Quoted', 'ns per connection'], QUOTED.connections),
    ports: portsTable(run),
    rules: grid(run, RULES, 'rules'),
    sets: grid(run, ['rules/set-ip', 'rules/set-net'], 'elements'),
    reaper: reaperTable(run),
    memory: memoryTable(run),
    parts: grid(
      run,
      ['lookup/hit', 'lookup/miss', 'connection/table', 'hash/words', 'hash/words-ipv6', 'hash/xxhash-wasm'],
      'flows',
    ),
  };
}

/** The README's table: few rows, the sizes that most have. */
export function readmeTable(results) {
  const run = new Run(results);
  const names = [
    ...['path/udp', 'path/tcp', 'path/udp6', 'path/udp-batch', 'floor/udp', 'floor/udp-batch'],
    ...['new/picked', 'floor/new'],
  ];
  return grid(run, names, 'flows');
}

/** SVG files of docs/plots by name. */
export function plots(results) {
  const run = new Run(results);
  const series = (names) => names.map(([name, id, dash]) => ({ name, dash, points: run.points(id) }));
  const fills = run.of('new/ports');
  const waits = ['waitP50Ms', 'waitP99Ms', 'waitP9999Ms', 'waitMostMs'];
  const waitSeries = [
    ['all others expire', 'reaper/rush'],
    ['none expires', 'reaper/calm'],
  ].map(([name, id]) => {
    const figures = run.of(id)[0]?.figures ?? {};
    const points = waits.flatMap((wait, i) =>
      figures[wait] === undefined ? [] : [[i, figures[wait] * 1000]],
    );
    return { name, points };
  });
  const ours = [
    ['ours, IPv4', run.of('memory/udp')[0]?.median],
    ['ours, IPv6', run.of('memory/udp6')[0]?.median],
  ].flatMap(([name, value]) => (value === undefined ? [] : [{ name, value }]));
  return {
    'packets-by-flows': lines({
      title: 'An established packet, whole path',
      yLabel: 'ns per packet',
      x: { label: 'flows', print: binary },
      series: series([
        ['ours, UDP', 'path/udp'],
        ['ours, TCP', 'path/tcp'],
        ['ours, UDP over IPv6', 'path/udp6'],
        ['ours, UDP, batches', 'path/udp-batch'],
        ['ours, TCP, batches', 'path/tcp-batch'],
        ['C floor, one by one', 'floor/udp', true],
        ['C floor, batches of 32', 'floor/udp-batch', true],
        ['Linux, marginal', 'kernel/established', true],
      ]),
    }),
    'packets-by-rules': lines({
      title: 'A packet by rules in its chain, 1,024 flows',
      yLabel: 'ns per packet',
      x: { label: 'rules' },
      series: series([
        ['state rule first', 'rules/established-first'],
        ['state rule last', 'rules/established-last'],
        ['untracked, passes all', 'rules/untracked'],
      ]),
    }),
    compile: lines({
      title: 'Reading, compiling and replacing a ruleset',
      yLabel: 'ms',
      x: { label: 'rules' },
      series: series([
        ['restore, in all', 'rules/compile'],
        ['restoreGradually, longest pause', 'rules/replace'],
      ]),
    }),
    connections: lines({
      title: 'A connection begins, and expires later',
      yLabel: 'ns per connection',
      x: { label: 'flows', print: binary },
      series: series([
        ['ours, port picked', 'new/picked'],
        ['ours, port kept', 'new/kept'],
        ['C floor, port picked', 'floor/new', true],
        ['Linux, marginal', 'kernel/new', true],
      ]),
    }),
    ports: lines({
      title: 'Picking a port while others are in use',
      yLabel: 'ns per connection',
      x: { label: 'ports in use, of 64,512', places: fills.map(({ size }) => fillName(size)) },
      series: [{ name: 'ours', points: fills.map(({ median }, i) => [i, median]) }],
    }),
    waits: lines({
      title: 'What packets wait while the reaper runs',
      yLabel: 'µs',
      x: { label: 'share of packets', places: ['50 %', '99 %', '99.99 %', 'longest'] },
      series: waitSeries,
    }),
    sweep: lines({
      title: 'A whole sweep, none expired',
      yLabel: 'ms of CPU time',
      x: { label: 'connections', print: binary },
      series: series([['ours', 'reaper/live']]),
    }),
    memory: bars({
      title: 'Memory of a connection (pale: quoted, see below)',
      yLabel: 'bytes',
      bars: [...ours, ...QUOTED.memory.map(([name, value]) => ({ name, value, quoted: true }))],
    }),
  };
}
