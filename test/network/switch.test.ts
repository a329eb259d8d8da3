import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EthernetSwitch, joinPorts, type SwitchPort } from '../../lib/network/switch.js';
import { KeepingPort } from './adapter-ports.js';

const BROADCAST = [255, 255, 255, 255, 255, 255];

/** Station `n`'s address: locally administered. */
function mac(n: number): number[] {
  return [2, 0, 0, 0, n >> 8, n & 255];
}

function frame(to: readonly number[], from: readonly number[], mark = 0): Uint8Array {
  return Uint8Array.from([...to, ...from, 8, 0, mark, ...new Array(45).fill(0)]);
}

/** A switch of ports that keep what they are sent, as marks of frames. */
function segment(roles: ('guest' | 'isolated' | 'uplink')[], options = {}) {
  const whole = new EthernetSwitch(options);
  const heard: number[][] = roles.map(() => []);
  const ports = roles.map((role, i) => {
    const port = whole.addPort({ role });
    port.onTransmit = (f) => heard[i].push(f[14]);
    return port;
  });
  return { whole, ports, heard };
}

describe('a switch', () => {
  it('floods to all others until it knows where a station is, then sends there only', () => {
    const { ports, heard } = segment(['guest', 'guest', 'guest']);
    ports[0].receive(frame(mac(2), mac(1), 10));
    expect(heard).toEqual([[], [10], [10]]);
    ports[1].receive(frame(mac(1), mac(2), 11));
    expect(heard).toEqual([[11], [10], [10]]);
    ports[0].receive(frame(mac(2), mac(1), 12));
    expect(heard).toEqual([[11], [10, 12], [10]]);
  });

  it('sends broadcasts and groups to all, a copy to each, since receivers rewrite frames', () => {
    const { ports } = segment(['guest', 'guest', 'guest', 'guest']);
    const marks: number[] = [];
    for (const port of ports.slice(1)) {
      port.onTransmit = (f) => {
        marks.push(f[14]);
        f.fill(0);
      };
    }
    ports[0].receive(frame(BROADCAST, mac(1), 7));
    ports[0].receive(frame([0x33, 0x33, 0, 0, 0, 1], mac(1), 8));
    expect(marks).toEqual([7, 7, 7, 8, 8, 8]);
  });

  it('follows a station that moves, and forgets those of a port that closes', () => {
    const { ports, heard } = segment(['guest', 'guest', 'guest']);
    ports[0].receive(frame(BROADCAST, mac(1), 1));
    ports[1].receive(frame(BROADCAST, mac(1), 2));
    for (const marks of heard) marks.length = 0;
    ports[2].receive(frame(mac(1), mac(3), 3));
    expect(heard).toEqual([[], [3], []]);
    ports[1].close();
    ports[2].receive(frame(mac(1), mac(3), 4));
    expect(heard).toEqual([[4], [3], []]);
  });

  it('keeps isolated guests apart, each with the uplink', () => {
    const { ports, heard } = segment(['uplink', 'isolated', 'isolated', 'guest']);
    ports[1].receive(frame(BROADCAST, mac(1), 1));
    expect(heard).toEqual([[1], [], [], []]);
    ports[0].receive(frame(BROADCAST, mac(9), 2));
    expect(heard).toEqual([[1], [2], [2], [2]]);
    ports[2].receive(frame(mac(1), mac(2), 3));
    ports[3].receive(frame(mac(1), mac(4), 4));
    expect(heard).toEqual([[1], [2], [2], [2]]);
    ports[1].receive(frame(mac(9), mac(1), 5));
    expect(heard[0]).toEqual([1, 5]);
  });

  it("does not let a guest take an uplink's address", () => {
    const { ports, heard } = segment(['uplink', 'guest', 'guest']);
    ports[0].receive(frame(BROADCAST, mac(9), 1));
    ports[1].receive(frame(BROADCAST, mac(9), 2));
    ports[2].receive(frame(mac(9), mac(2), 3));
    expect(heard[0]).toEqual([2, 3]);
    expect(heard[1]).toEqual([1]);
  });

  it('gives a port that makes up addresses its share of the table and no more', () => {
    const { ports, heard } = segment(['guest', 'guest', 'guest'], { addresses: 64, addressesPerPort: 4 });
    for (let n = 0; n < 10_000; n++) ports[0].receive(frame(mac(500), mac(1000 + n)));
    ports[1].receive(frame(BROADCAST, mac(1)));
    for (const marks of heard) marks.length = 0;
    ports[2].receive(frame(mac(1), mac(2), 5));
    ports[2].receive(frame(mac(1000), mac(2), 6));
    ports[2].receive(frame(mac(1004), mac(2), 7));
    expect(heard).toEqual([[6, 7], [5, 7], []]);
  });

  it('learns no group as a sender, and drops runts', () => {
    const { ports, heard } = segment(['guest', 'guest', 'guest']);
    ports[0].receive(frame(BROADCAST, BROADCAST, 1));
    ports[1].receive(new Uint8Array(13));
    expect(heard).toEqual([[], [1], [1]]);
  });

  it('gives nothing back to the port it came from, also if the station is there', () => {
    const { ports, heard } = segment(['guest', 'guest']);
    ports[0].receive(frame(BROADCAST, mac(1)));
    heard[1].length = 0;
    ports[0].receive(frame(mac(1), mac(2), 5));
    expect(heard).toEqual([[], []]);
  });

  it('delivers as a switch with a Map would, whatever happens', () => {
    const event = fc.record({
      from: fc.nat(3),
      source: fc.nat(6),
      destination: fc.nat(7),
      closes: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const whole = new EthernetSwitch({ addressesPerPort: 100 });
        const heard: string[] = [];
        const expected: string[] = [];
        const where = new Map<number, number>();
        const open = (i: number): SwitchPort => {
          const port = whole.addPort();
          port.onTransmit = (f) => heard.push(`${i}:${f[14]}`);
          return port;
        };
        const ports = [0, 1, 2, 3].map(open);
        for (const [mark, { from, source, destination, closes }] of events.entries()) {
          if (closes) {
            ports[from].close();
            ports[from] = open(from);
            for (const [station, at] of where) if (at === from) where.delete(station);
            continue;
          }
          where.set(source, from);
          const to = destination === 7 ? undefined : where.get(destination);
          const targets = to === undefined ? [0, 1, 2, 3].filter((i) => i !== from) : to === from ? [] : [to];
          expected.push(...targets.map((i) => `${i}:${mark}`));
          ports[from].receive(frame(destination === 7 ? BROADCAST : mac(destination), mac(source), mark));
        }
        expect(heard).toEqual(expected);
      }),
    );
  });

  it('refuses sizes that are none', () => {
    expect(() => new EthernetSwitch({ addresses: 100 })).toThrow(/power of two from 8.*/);
  });
});

describe('a cable', () => {
  it('joins two ports', () => {
    const whole = new EthernetSwitch();
    const [near, far] = [new KeepingPort(), new KeepingPort()];
    whole.connect(near);
    whole.connect(far, { role: 'guest' });
    near.onTransmit?.(frame(BROADCAST, mac(1), 1));
    far.onTransmit?.(frame(mac(1), mac(2), 2));
    expect(far.frames.map((f) => f[14])).toEqual([1]);
    expect(near.frames.map((f) => f[14])).toEqual([2]);
    expect(whole.portCount).toBe(2);
  });

  it('does not join ports that are in use or of different links', () => {
    const [near, far] = [new KeepingPort('ip'), new KeepingPort('ethernet')];
    expect(() => joinPorts(near, far)).toThrow(/different links \('ethernet'\); expected ip/);
    far.onTransmit = () => {};
    expect(() => joinPorts(new KeepingPort(), far)).toThrow('plugged in already');
  });
});
