/** The configuration of `conntide gateway`: what its schema says is what is taken, and faults are found by their place. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type GatewayConfig, gatewaySchema, loadGatewayConfig } from '../../lib/cli/gateway-config.js';
import { makeGateway } from '../../lib/cli/gateway-setup.js';
import { JsonDocument } from '../../lib/cli/json-document.js';
import { type JsonSchema, SchemaCheck } from '../../lib/cli/json-schema.js';
import { run } from './console.js';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conntide-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** What is said of a configuration, without the folder. */
async function complaints(text: string): Promise<string[]> {
  const file = write('gateway.json', text);
  const { status, lines, errors } = await run('gateway', '--config', file, '--check');
  expect(lines).toEqual(status === 0 ? [expect.stringContaining('good')] : []);
  return errors.map((line) => line.replace(`conntide: ${file}:`, ''));
}

/** Every key that there is, with a good value. */
const EVERYTHING: GatewayConfig & { $schema: string } = {
  $schema: './gateway.schema.json',
  interfaces: [
    {
      name: 'lan',
      link: 'ethernet',
      addresses: ['10.0.0.1/24', 'fd00:a::1/64'],
      mtu: 1400,
      routeLocalnet: true,
      mac: '02:00:00:00:00:01',
      adapter: [
        { type: 'qemu', socket: 'a.sock', role: 'connect', reconnectMs: 500 },
        { type: 'tun', device: 'tap7', offload: 'virtio' },
        {
          type: 'relay',
          host: '127.0.0.1',
          port: 0,
          path: '/lan',
          origins: ['https://example.com'],
          maxGuests: 3,
          guests: 'apart',
        },
      ],
      capture: 'lan.pcapng',
      stations: [{ address: '10.0.0.9', mac: '02:00:00:00:00:09', name: 'printer' }],
      dhcp: {
        from: '10.0.0.10',
        to: '10.0.0.20',
        leaseSeconds: 600,
        router: '10.0.0.1',
        dns: ['10.0.0.1'],
        domain: 'lan.test',
      },
      advertise: {
        prefixes: ['fd00:a::/64'],
        lifetimeSeconds: 1800,
        preferredSeconds: 3600,
        validSeconds: 7200,
        dns: ['fd00:a::1'],
        search: ['lan.test'],
        intervalSeconds: 60,
        managed: false,
        other: false,
      },
    },
    { name: 'wan', adapter: { type: 'passt', program: 'passt', arguments: ['--no-map-gw'] } },
    { name: 'dmz', addresses: ['10.1.0.1/24'], adapter: { type: 'tun' } },
  ],
  routes: ['10.2.0.0/16 via 10.1.0.9'],
  rules: { 4: 'rules.v4', 6: 'rules.v6' },
  sets: 'sets',
  sysctls: { 'net.netfilter.nf_conntrack_udp_timeout': 40 },
  dns: {
    servers: ['1.1.1.1'],
    on: ['lan'],
    timeoutMs: 500,
    maxInFlight: 9,
    maxPerClient: 3,
    maxConnections: 9,
    maxConnectionsPerClient: 3,
    idleMs: 5000,
  },
  forwards: [
    'tcp 8080:10.0.0.9/80',
    { protocol: 'udp', spec: '5353:53', from: 'wan', to: ['10.0.0.9'], hairpin: 'on' },
  ],
  policy: {
    allowOut: ['tcp/443'],
    denyOut: ['0.0.0.0/0'],
    allowIn: ['192.0.2.0/24'],
    denyIn: ['192.0.2.9'],
    protect: ['127.0.0.0/8'],
    limits: { connectionsPerSource: 100, newPerSecond: 10 },
    guests: ['lan'],
    deny: 'drop',
    privateAnswers: 'allow',
    domains: { leastTtlSeconds: 30, mostTtlSeconds: 600, addressesPerName: 16 },
    reports: { repeatMs: 5000, perSecond: 10 },
  },
  inactivity: { intervalMs: 60_000, onExpiry: 'reset-inside', probeAnswers: 'counted' },
  keepalive: { intervalMs: 20_000 },
  inside: ['lan'],
  timeWaitReuse: { delayMs: 500 },
  loopbackPrefixes: ['fd00:1009:bacc::/48'],
  tracking: 'always',
  invalid: 'drop',
  maxConnections: 1000,
};

describe('the schema', () => {
  const schema = gatewaySchema();

  test('knows the keys that there are, and no others', () => {
    const resolve = (one: JsonSchema): JsonSchema =>
      one.$ref === undefined ? one : resolve(schema.$defs?.[one.$ref.slice('#/$defs/'.length)] as JsonSchema);
    const keysOf = (given: JsonSchema): string[] => {
      const one = resolve(given);
      const parts = [...(one.anyOf ?? []), ...(one.oneOf ?? []), ...(one.items ? [one.items] : [])];
      return [
        ...parts.flatMap(keysOf),
        ...Object.entries(one.properties ?? {}).flatMap(([key, value]) => [
          key,
          ...keysOf(value).map((inner) => `${key}.${inner}`),
        ]),
      ];
    };
    const present = (value: unknown): string[] => {
      if (Array.isArray(value)) return value.flatMap(present);
      if (typeof value !== 'object' || value === null) return [];
      return Object.entries(value).flatMap(([key, held]) =>
        key === 'sysctls' ? [key] : [key, ...present(held).map((inner) => `${key}.${inner}`)],
      );
    };
    const withSocket = [...present(EVERYTHING), 'interfaces.adapter.socket'];
    expect([...new Set(withSocket)].sort()).toEqual([...new Set(keysOf(schema))].sort());
  });

  test('has no keyword that the check does not understand', () => {
    expect(() => new SchemaCheck({ maxItems: 3 } as JsonSchema)).toThrow("'maxItems' is not understood");
    expect(() => new SchemaCheck({ properties: { a: { format: 'colour' } } })).toThrow("format 'colour'");
  });

  test('is what is checked: on whatever is made of a good configuration, both say the same', () => {
    const words = formatWords(schema);
    const check = new SchemaCheck(schema, Object.fromEntries(words.map((word) => [word, () => {}])));
    const change = fc.tuple(
      fc.nat(),
      fc.constantFrom('replace', 'remove', 'add'),
      fc.jsonValue({ maxDepth: 1 }),
    );
    const base = JSON.stringify(EVERYTHING);
    let refused = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 0, maxLength: 2 }), (changes) => {
        const config = JSON.parse(base);
        for (const [where, how, value] of changes) mutate(config, where, how, value);
        const faults = check.faults(new JsonDocument(JSON.stringify(config), 'x'));
        const isTaken = accepts(schema, schema, config);
        expect(faults.length === 0, JSON.stringify(config)).toBe(isTaken);
        if (!isTaken) refused++;
      }),
      { numRuns: 600, seed: 1 },
    );
    expect(refused).toBeGreaterThan(150);
    expect(refused).toBeLessThan(590);
  });
});

describe('with passt as uplink', () => {
  const leases = new Map([
    ['wan', { address: '10.0.2.15/24', router: '10.0.2.2', hostAddresses: ['10.0.2.2', '2001:db8::1'] }],
  ]);
  const guarded = (policy: object | undefined): boolean[] => {
    const file = write(
      'passt.json',
      JSON.stringify({
        interfaces: [
          { name: 'lan', addresses: ['10.0.0.1/24'] },
          { name: 'wan', adapter: { type: 'passt' } },
        ],
        ...(policy && { policy }),
      }),
    );
    const gateway = makeGateway(loadGatewayConfig(file), { leases, answer: () => undefined });
    const isIn = (family: 4 | 6, address: string) => gateway.rules.save(family).includes(`-d ${address} `);
    const found = [isIn(4, '10.0.2.2/32'), isIn(6, '2001:db8::1/128'), isIn(4, '169.254.169.254/32')];
    gateway.close();
    return found;
  };

  test('a policy protects the addresses by which it leads to this host, beside the usual ones', () => {
    expect(guarded({ denyOut: ['192.0.2.0/24'] })).toEqual([true, true, true]);
  });

  test('one that says itself what it protects has that only, and none protects nothing', () => {
    expect(guarded({ protect: ['169.254.169.254'] })).toEqual([false, false, true]);
    expect(guarded(undefined)).toEqual([false, false, false]);
  });
});

describe('faults', () => {
  test('a configuration with every key is taken', async () => {
    write('rules.v4', '*filter\n-A FORWARD -m set --match-set known src -j ACCEPT\nCOMMIT\n');
    write('rules.v6', '*filter\nCOMMIT\n');
    write('sets', 'create known hash:ip\n');
    expect(await complaints(JSON.stringify(EVERYTHING))).toEqual([]);
  });

  test('comments and trailing commas are allowed', async () => {
    const text = '{ // a\n "interfaces": [ /* b */ { "name": "lan", "addresses": ["10.0.0.1/24",], }, ], }\n';
    expect(await complaints(text)).toEqual([]);
  });

  test('all of them are told at once, by line, column, key and what was expected', async () => {
    expect(
      await complaints(`{
  "interfaces": [
    { "name": "lan", "adresses": [], "mtu": 20, "adapter": { "type": "qemo" } },
    { "name": "wan", "addresses": ["203.0.113.1/33", 5], "mac": "x", "adapter": 5 }
  ],
  "routes": "x",
  "rules": { "4": "" },
  "rules": {},
  "forwards": [{ "protocol": "tcp" }],
  "tracking": "never"
}`),
    ).toEqual(
      [
        "3:22: interfaces[0].adresses: no such key ('adresses'); expected name, link, addresses, mtu, routeLocalnet, mac, adapter, capture, stations, dhcp, advertise",
        "3:45: interfaces[0].mtu: out of range ('20'); expected 68 to 65535",
        "3:70: interfaces[0].adapter.type: no such type ('qemo'); expected tun, qemu, passt, relay",
        "4:36: interfaces[1].addresses[0]: not an interface address ('203.0.113.1/33'); expected address/prefix length",
        "4:54: interfaces[1].addresses[1]: of the wrong type ('5'); expected a string",
        expect.stringMatching(/^4:65: interfaces\[1\]\.mac: not a mac \('x'\); expected /),
        "4:81: interfaces[1].adapter: of the wrong type ('5'); expected an object or an array",
        "6:13: routes: of the wrong type ('x'); expected an array",
        "7:19: rules.4: empty (''); expected something in it",
        "8:3: rules: this key is there twice ('rules')",
        "9:16: forwards[0]: 'spec' is missing",
        "10:15: tracking: none of its values ('never'); expected auto, always",
      ].map((one) => (typeof one === 'string' ? one.replace(" ('')", '') : one)),
    );
  });

  test.each([
    ['not JSON', '{ "interfaces": [ {\n "name": "a" "b": 1 } ] }', "2:14: ',' is missing ('b')"],
    ['nothing', '', ' there is nothing in it'],
    [
      'a name twice',
      '{"interfaces":[{"name":"a","addresses":[]},{"name":"a","addresses":[]}]}',
      "1:52: interfaces[1].name: interfaces[0] has this name ('a'); expected a name of its own",
    ],
    [
      'no addresses and nobody who gives some',
      '{"interfaces":[{"name":"a","adapter":{"type":"tun"}}]}',
      "1:16: interfaces[0]: 'addresses' is missing; expected a list; only the lease of passt makes up for it",
    ],
    [
      'Ethernet over raw IP',
      '{"interfaces":[{"name":"a","addresses":[],"link":"ip","adapter":{"type":"relay"}}]}',
      "1:50: interfaces[0].link: relay carries Ethernet frames ('ip'); expected ethernet",
    ],
    [
      'dhcp over raw IP',
      '{"interfaces":[{"name":"a","addresses":["10.0.0.1/24"],"dhcp":{}}]}',
      "1:24: interfaces[0].name: dhcp on a needs Ethernet ('a'); expected link: 'ethernet'",
    ],
    [
      'a route over an interface that is not there',
      '{"interfaces":[{"name":"a","addresses":["10.0.0.1/24"]}],\n"routes":["default dev a","10.9.0.0/16 dev b"]}',
      /^2:27: routes\[1\]: .*\('10\.9\.0\.0\/16 dev b'\)/,
    ],
    [
      'a setting that is not there',
      '{"interfaces":[{"name":"a","addresses":[]}],"sysctls":{"net.ipv4.nonsense":1}}',
      "1:56: sysctls.net.ipv4.nonsense: no such setting ('net.ipv4.nonsense')",
    ],
    [
      'a forward that is none',
      '{"interfaces":[{"name":"a","addresses":[]}],"forwards":["tcp 80-70"]}',
      /^1:57: forwards\[0\]: .*\('tcp 80-70'\)/,
    ],
    [
      'a file that is not there',
      '{"interfaces":[{"name":"a","addresses":[]}],"rules":{"6":"nowhere"}}',
      "1:58: rules.6: there is no such file ('nowhere')",
    ],
  ])('%s', async (_what, text, expected) => {
    const [only, ...more] = await complaints(text);
    expect(more).toEqual([]);
    if (typeof expected === 'string')
      expect(only?.replace(/^.*conntide-\w+\/gateway\.json:/, '')).toBe(expected);
    else expect(only).toMatch(expected);
  });

  test('rules that are refused are named by their own file and line', async () => {
    write('bad.v4', '*filter\n-A FORWARD --nope\nCOMMIT\n');
    const [only] = await complaints('{"interfaces":[{"name":"a","addresses":[]}],"rules":{"4":"bad.v4"}}');
    expect(only).toMatch(/^conntide: bad\.v4:2:12: unknown option \('--nope'\)/);
  });

  test('--json tells them as one object', async () => {
    const file = write('json.json', '{"interfaces":[]}');
    const { status, lines } = await run('gateway', '--config', file, '--check', '--json');
    expect(status).toBe(2);
    expect(JSON.parse(lines.join(''))).toMatchObject({
      event: 'refused',
      errors: [`${file}:1:15: interfaces: too few; expected at least 1`],
    });
  });

  test('what is read is what JSON.parse would read', () => {
    const file = write('same.json', JSON.stringify({ ...EVERYTHING, rules: {}, sets: undefined }));
    expect(loadGatewayConfig(file).config).toEqual(JSON.parse(readFileSync(file, 'utf8')));
  });
});

/** Formats that a schema names. */
function formatWords(schema: JsonSchema): string[] {
  return [...JSON.stringify(schema).matchAll(/"format":"([\w-]+)"/g)].map(([, word]) => word as string);
}

/** Changes one of all the places in a value. */
function mutate(root: unknown, where: number, how: string, value: unknown): void {
  const places: [Record<string, unknown>, string][] = [];
  const visit = (one: unknown): void => {
    if (typeof one !== 'object' || one === null) return;
    for (const key of Object.keys(one)) {
      places.push([one as Record<string, unknown>, key]);
      visit((one as Record<string, unknown>)[key]);
    }
  };
  visit(root);
  const place = places[where % places.length];
  if (place === undefined) return;
  const [holder, key] = place;
  if (Array.isArray(holder)) {
    if (how === 'remove') holder.splice(Number(key), 1);
    else if (how === 'add') holder.push(value);
    else holder[Number(key)] = value;
  } else if (how === 'remove') delete holder[key];
  else holder[how === 'add' ? `${key}x` : key] = value;
}

/** The slow twin: whether a value is valid, as the JSON Schema specification says it, without a word about why. */
function accepts(root: JsonSchema, given: JsonSchema, value: unknown): boolean {
  if (given.$ref !== undefined) {
    return accepts(root, root.$defs?.[given.$ref.slice('#/$defs/'.length)] as JsonSchema, value);
  }
  const { type, const: constant, enum: values, anyOf, oneOf } = given;
  const is = (name: string): boolean =>
    name === 'array'
      ? Array.isArray(value)
      : name === 'integer'
        ? Number.isInteger(value)
        : name === 'object'
          ? typeof value === 'object' && value !== null && !Array.isArray(value)
          : typeof value === name;
  if (type !== undefined && ![type].flat().some((name) => is(name as string))) return false;
  if (constant !== undefined && value !== constant) return false;
  if (values !== undefined && !values.includes(value as string)) return false;
  if (anyOf !== undefined && !anyOf.some((one) => accepts(root, one, value))) return false;
  if (oneOf !== undefined && oneOf.filter((one) => accepts(root, one, value)).length !== 1) return false;
  if (typeof value === 'number') {
    return !(value < (given.minimum ?? -Infinity)) && !(value > (given.maximum ?? Infinity));
  }
  if (typeof value === 'string') {
    return [...value].length >= (given.minLength ?? 0) && new RegExp(given.pattern ?? '', 'u').test(value);
  }
  if (Array.isArray(value)) {
    const { items } = given;
    return (
      value.length >= (given.minItems ?? 0) &&
      (items === undefined || value.every((one) => accepts(root, items, one)))
    );
  }
  if (typeof value !== 'object' || value === null) return true;
  const { properties = {}, required = [], additionalProperties } = given;
  return (
    required.every((name) => Object.hasOwn(value, name)) &&
    Object.entries(value).every(([name, held]) => {
      const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
      return known === undefined || (known !== false && accepts(root, known, held));
    })
  );
}
