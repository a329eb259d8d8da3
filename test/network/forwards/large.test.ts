/** Large sets of forwards: the work grows with what is asked for, not with its square. Counts, not times. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ActiveForward } from '../../../lib/network/forwards/active.js';
import { PortIndex } from '../../../lib/network/forwards/port-index.js';
import { PortProtocol, PortRegistry, type PortRequest } from '../../../lib/network/local/registry.js';
import { Lab } from './lab.js';

const SINGLES = Array.from({ length: 2000 }, (_, i) => `tcp ${10_000 + 2 * i}:10.0.0.2/80`);

/** Takes `count` ports for somebody else, and counts how often these requests are looked at. */
function takeOthers(lab: Lab, count: number): { reads: number } {
  const seen = { reads: 0 };
  for (let i = 0; i < count; i++) {
    const port = 50_000 + i;
    lab.router.ports.reserve({
      version: 4,
      protocol: PortProtocol.TCP,
      owner: 'socket',
      get port() {
        seen.reads++;
        return port;
      },
    } as PortRequest);
  }
  seen.reads = 0;
  return seen;
}

describe('a large set', () => {
  it('of all ports is some reservations, not one a port', () => {
    const lab = new Lab();
    lab.router.ports.reserve({ version: 4, protocol: PortProtocol.UDP, port: 67, owner: 'dhcp' });
    const forwards = lab.forwards({ to: ['10.0.0.2', 'fd00:a::2'] });
    forwards.apply(['tcp all', 'udp all']);
    // Below and above the ephemeral ports, of two protocols and families, and one is cut in two; and DHCP's own.
    expect([...lab.router.ports.list()]).toHaveLength(10);
    for (const port of [1, 66, 68, 32_767, 61_000, 65_535]) {
      expect(lab.router.ports.find(4, 17, Int32Array.of(0, 0, 0, 0), 0, port, 1)?.request.owner).toContain(
        'forward',
      );
    }
    for (const port of [32_768, 60_999]) {
      expect(lab.router.ports.find(4, 17, Int32Array.of(0, 0, 0, 0), 0, port, 1)).toBeUndefined();
    }
    forwards.apply([]);
    expect([...lab.router.ports.list()].map(({ owner }) => owner)).toEqual(['dhcp']);
  });

  it('looks at the ports of others as often as there are some, not as often as there are forwards', () => {
    const lab = new Lab();
    const seen = takeOthers(lab, 1000);
    const forwards = lab.forwards();
    forwards.apply(SINGLES);
    // Sorting them, and a search for each forward.
    expect(seen.reads).toBeLessThan(100_000);
    seen.reads = 0;
    forwards.apply(['tcp 0.0.0.0/all:10.0.0.2']);
    expect(seen.reads).toBeLessThan(50_000);
  });

  it('leaves reservations alone that stay as they are', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    forwards.apply(SINGLES);
    const before = lab.router.ports.released;
    forwards.apply(SINGLES.slice(1));
    expect(lab.router.ports.released - before).toBe(1);
    expect(forwards.list()).toHaveLength(1999);
  });

  it('gives free places to new forwards, each its own, lowest first', () => {
    const lab = new Lab();
    const forwards = lab.forwards();
    forwards.apply(SINGLES);
    forwards.apply(SINGLES.filter((_, i) => i % 2 === 0));
    forwards.apply([...SINGLES.filter((_, i) => i % 2 === 0), ...SINGLES.filter((_, i) => i % 2 === 1)]);
    const indices = forwards.list().map(({ index }) => index);
    expect(indices).toEqual(Array.from({ length: 2000 }, (_, i) => i));
    expect(new Set(forwards.list().map(({ generation }) => generation))).toEqual(new Set([1, 3]));
  });
});

describe('the index of ports', () => {
  const forward = (id: number, version: 4 | 6, protocol: 'tcp' | 'udp', ranges: [number, number][]) =>
    ({
      rule: id,
      version,
      protocol,
      usable: ranges.map(([first, length]) => ({ first, last: Math.min(65_535, first + length) })),
    }) as unknown as ActiveForward;
  const ranges = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(20)), { maxLength: 3 });
  const forwards = fc.array(fc.tuple(fc.constantFrom(4, 6), fc.constantFrom('tcp', 'udp'), ranges), {
    maxLength: 12,
  });

  it('knows what a look at every forward finds', () => {
    fc.assert(
      fc.property(forwards, (described) => {
        // The ports of one forward do not overlap.
        const apart = (all: [number, number][]) =>
          all.filter(([first, length], i) =>
            all.slice(0, i).every(([other, more]) => first > other + more || other > first + length),
          );
        const all = described.map(([version, protocol, its], id) =>
          forward(id, version as 4 | 6, protocol as 'tcp' | 'udp', apart(its)),
        );
        const index = new PortIndex(all);
        for (const version of [4, 6]) {
          for (const protocol of ['tcp', 'udp']) {
            for (let port = 1; port < 90; port++) {
              const wanted = all.filter(
                (one) =>
                  one.version === version &&
                  one.protocol === protocol &&
                  one.usable.some(({ first, last }) => port >= first && port <= last),
              );
              expect(index.at(version, protocol === 'tcp' ? 6 : 17, port)).toEqual(wanted);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has as many lists as there are kinds of ports, whatever their number', () => {
    // A hundred forwards of one port and one range, on as many addresses: no copies of copies.
    const all = Array.from({ length: 100 }, (_, id) =>
      forward(id, 4, 'tcp', [
        [1, 0],
        [1000, 30_000],
      ]),
    );
    const index = new PortIndex(all);
    expect(index.at(4, 6, 1)).toHaveLength(100);
    expect(index.at(4, 6, 1000)).toBe(index.at(4, 6, 31_000));
  });
});

describe('a range in the register', () => {
  const words = Int32Array.of(0, 0, 0, 0);
  const request = { version: 4, protocol: PortProtocol.TCP, owner: 'range', port: 100, last: 200 } as const;

  it('is taken and given back whole, and NAT keeps away from each of its ports', () => {
    const ports = new PortRegistry();
    const held = ports.reserve(request);
    expect([ports.count, ports.isReserved(4, 6, words, 0, 150)]).toEqual([101, 1]);
    expect([ports.isReserved(4, 6, words, 0, 99), ports.isReserved(4, 6, words, 0, 201)]).toEqual([0, 0]);
    expect(() => ports.reserve({ ...request, port: 150, last: 150, owner: 'late' })).toThrow(
      "late: range has this port already ('tcp *:150 (IPv4)')",
    );
    held.release();
    held.release();
    expect([ports.count, ports.isReserved(4, 6, words, 0, 150), [...ports.list()]]).toEqual([0, 0, []]);
  });

  it('takes nothing if one of its ports is taken', () => {
    const ports = new PortRegistry();
    ports.reserve({ ...request, port: 200, last: 200, owner: 'first' });
    expect(() => ports.reserve(request)).toThrow('first has this port already');
    expect(ports.find(4, 6, words, 0, 100, 0)).toBeUndefined();
    expect(ports.count).toBe(1);
  });

  it('leaves more exact ports to those who have them', () => {
    const ports = new PortRegistry();
    const range = ports.reserve({ ...request, nat: 'shared' });
    const exact = ports.reserve({ ...request, port: 150, last: 150, address: [9, 0, 0, 0], owner: 'exact' });
    const owner = (port: number) => ports.find(4, 6, Int32Array.of(9, 0, 0, 0), 0, port, 0)?.request.owner;
    expect([owner(149), owner(150), owner(151)]).toEqual(['range', 'exact', 'range']);
    range.release();
    expect([owner(149), owner(150)]).toEqual([undefined, 'exact']);
    expect(ports.isReserved(4, 6, Int32Array.of(9, 0, 0, 0), 0, 150)).toBe(1);
    exact.release();
    expect(owner(150)).toBeUndefined();
  });

  it.each([
    [0, 5],
    [5, 65_536],
    [9, 8],
    [1.5, 3],
  ])('from %d to %d is refused', (port, last) => {
    expect(() => new PortRegistry().reserve({ ...request, port, last })).toThrow('not a port');
  });
});
