import { describe, expect, it } from 'vitest';
import { Direction, type EntryId, Status } from '../../lib/conntrack/entries.js';
import { DestroyReason } from '../../lib/conntrack/table.js';
import type { NatExhausted } from '../../lib/nat/nat.js';
import { Manip, NatRangeFlag } from '../../lib/nat/range.js';
import type { Packet } from '../../lib/wire/packet.js';
import { build, Gateway, range, Script } from './gateway.js';

const { SRC, DST } = Manip;
/** Room for every port of an address. */
const ALL = 65_536;
const SERVER = '198.51.100.7';

function udp(source: string, port: number, destination = SERVER, destinationPort = 53): Uint8Array {
  return build({ source, destination, protocol: 17, ports: [port, destinationPort] });
}

function tcp(source: string, port: number, destination = SERVER, destinationPort = 80): Uint8Array {
  return build({ source, destination, protocol: 6, ports: [port, destinationPort] });
}

function echo(source: string, id: number, destination = SERVER): Uint8Array {
  return build({ source, destination, protocol: 1, ports: [8, id] });
}

describe('a source port', () => {
  it('is kept when the reply tuple is free, and no number is drawn', () => {
    const random = new Script();
    const gateway = new Gateway(random);
    expect(gateway.bind(udp('10.0.0.2', 5000), SRC, range('203.0.113.1'))).toBe(
      '198.51.100.7:53 > 203.0.113.1:5000',
    );
    expect(gateway.bind(udp('10.0.0.3', 5000, '198.51.100.8'), SRC, range('203.0.113.1'))).toBe(
      '198.51.100.8:53 > 203.0.113.1:5000',
    );
    expect(random.asked).toEqual([]);
  });

  it.each([
    [1, 1, 511],
    [511, 1, 511],
    [512, 600, 424],
    [599, 600, 424],
    [1023, 600, 424],
    [1024, 1024, 64_512],
    [65_535, 1024, 64_512],
  ])('%i, taken, is looked for from %i on among %i', (port, first, size) => {
    const random = new Script(first + size - 1);
    const gateway = new Gateway(random);
    gateway.bind(udp('10.0.0.2', port), SRC, range('203.0.113.1'));
    expect(gateway.bind(udp('10.0.0.3', port), SRC, range('203.0.113.1'))).toBe(
      `198.51.100.7:53 > 203.0.113.1:${port === first + size - 1 ? first : first + size - 1}`,
    );
    expect(random.asked).toEqual([[first, size]]);
  });

  it('goes up from the number drawn and wraps inside the range', () => {
    const gateway = new Gateway(new Script(4002, 4002, 4002));
    const chosen = [9000, 9001, 9002].map((port) =>
      gateway.bind(udp('10.0.0.2', port), SRC, range('203.0.113.9:4001-4003')),
    );
    expect(chosen.map((text) => text.split(':')[2])).toEqual(['4002', '4003', '4001']);
  });

  it('is kept inside a given range, and drawn with --random even then', () => {
    const random = new Script(4005);
    const gateway = new Gateway(random);
    expect(gateway.bind(udp('10.0.0.2', 4001), SRC, range('203.0.113.9:4000-4009'))).toMatch(/:4001$/);
    expect(random.asked).toEqual([]);
    const randomised = range('203.0.113.9:4000-4009', NatRangeFlag.PROTO_RANDOM);
    expect(gateway.bind(udp('10.0.0.2', 4002), SRC, randomised)).toMatch(/:4005$/);
  });

  it('is drawn with --random-fully without a range, from its class', () => {
    const random = new Script(30_000);
    const gateway = new Gateway(random);
    const fully = range('203.0.113.9', NatRangeFlag.PROTO_RANDOM_FULLY);
    expect(gateway.bind(tcp('10.0.0.2', 5000), SRC, fully)).toMatch(/:30000$/);
    expect(random.asked).toEqual([[1024, 64_512]]);
  });

  it('of a source that has a mapping in the range is the mapping for other destinations too', () => {
    const random = new Script(40_000);
    const gateway = new Gateway(random);
    gateway.bind(udp('10.0.0.2', 5000), SRC, range('203.0.113.1'));
    expect(gateway.bind(udp('10.0.0.3', 5000), SRC, range('203.0.113.1'))).toMatch(/:40000$/);
    expect(gateway.bind(udp('10.0.0.3', 5000, '198.51.100.9'), SRC, range('203.0.113.1'))).toMatch(/:40000$/);
    expect(gateway.bind(udp('10.0.0.3', 5000, '198.51.100.9'), SRC, range('203.0.113.2'))).toMatch(
      /203\.0\.113\.1:40000$/,
    );
    expect(gateway.bind(udp('10.0.0.3', 5001, '198.51.100.9'), SRC, range('203.0.113.1'))).toMatch(/:5001$/);
  });

  it('does not reuse a mapping outside the range, nor that of another protocol', () => {
    const gateway = new Gateway(new Script(40_000));
    gateway.bind(udp('10.0.0.2', 5000), SRC, range('203.0.113.1'));
    gateway.bind(udp('10.0.0.3', 5000), SRC, range('203.0.113.1'));
    expect(gateway.bind(udp('10.0.0.3', 5000, '198.51.100.9'), SRC, range('203.0.113.2'))).toBe(
      '198.51.100.9:53 > 203.0.113.2:5000',
    );
    expect(gateway.bind(tcp('10.0.0.3', 5000), SRC, range('203.0.113.1'))).toMatch(/203\.0\.113\.1:5000$/);
  });

  it('forgets a mapping with the connection', () => {
    const gateway = new Gateway(new Script(40_000));
    gateway.bind(udp('10.0.0.2', 5000), SRC, range('203.0.113.1'));
    gateway.bind(udp('10.0.0.3', 5000), SRC, range('203.0.113.1'));
    const packet = gateway.track(udp('10.0.0.3', 5000));
    gateway.tables[4].destroy(packet.entry as EntryId, DestroyReason.DELETED);
    expect(gateway.bind(udp('10.0.0.3', 5000, '198.51.100.9'), SRC, range('203.0.113.1'))).toMatch(/:5000$/);
    expect([...gateway.nat.bindings(4).sources.nodes()]).toHaveLength(2);
  });
});

describe('a destination port', () => {
  it('is the first of the range unless it lies inside, without a draw', () => {
    const random = new Script();
    const gateway = new Gateway(random);
    expect(gateway.bind(tcp('10.0.0.2', 4000), DST, range('10.0.1.1:8000-8003'))).toBe(
      '10.0.1.1:8000 > 10.0.0.2:4000',
    );
    expect(gateway.bind(tcp('10.0.0.2', 4001, SERVER, 8002), DST, range('10.0.1.1:8000-8003'))).toMatch(
      /^10\.0\.1\.1:8002/,
    );
    expect(random.asked).toEqual([]);
  });

  it('goes to the next one when the same client port has that one already', () => {
    const gateway = new Gateway();
    const ports = [0, 1, 2, 3].map((i) =>
      gateway.bind(tcp('10.0.0.2', 4000, `198.51.100.${i}`), DST, range('10.0.1.1:8000-8003')),
    );
    expect(ports.map((text) => text.split(/[: ]/)[1])).toEqual(['8000', '8001', '8002', '8003']);
  });

  it.each([
    [1000, 2000],
    [1003, 2003],
    [1010, 2010],
  ])('%i is shifted by its distance from the base: %i', (port, shifted) => {
    const gateway = new Gateway();
    const to = range('10.0.0.2:2000-2010', NatRangeFlag.PROTO_OFFSET, 1000);
    expect(gateway.bind(tcp('198.51.100.7', 4000, '203.0.113.1', port), DST, to)).toBe(
      `10.0.0.2:${shifted} > 198.51.100.7:4000`,
    );
  });

  it('stays when only the address is given, and two connections may then have one tuple until the source moves', () => {
    const gateway = new Gateway(new Script(2107));
    gateway.rule = (packet: Packet, hook) =>
      hook === 0 ? gateway.nat.setup(packet, range('10.0.0.2'), DST) : 1;
    const first = gateway.forward(tcp('198.51.100.7', 4000, '203.0.113.1', 80), 2, 1)!;
    const second = gateway.forward(tcp('198.51.100.7', 4000, '203.0.113.2', 80), 2, 1)!;
    expect(gateway.replyText(first)).toBe('10.0.0.2:80 > 198.51.100.7:4000');
    expect(gateway.replyText(second)).toBe('10.0.0.2:80 > 198.51.100.7:2107');
    expect(gateway.tables[4].entries.status(second.entry as EntryId) & 0x3f0).toBe(0x1b0);
  });
});

describe('other protocols', () => {
  it('an ICMP identifier is kept, or drawn from all when taken', () => {
    const random = new Script(39_251);
    const gateway = new Gateway(random);
    expect(gateway.bind(echo('10.0.0.2', 7), SRC, range('203.0.113.1'))).toBe(
      '198.51.100.7:7 > 203.0.113.1:0',
    );
    expect(gateway.bind(echo('10.0.0.3', 7), SRC, range('203.0.113.1'))).toBe(
      '198.51.100.7:39251 > 203.0.113.1:0',
    );
    expect(random.asked).toEqual([[0, 65_536]]);
  });

  it('an ICMP identifier follows a range of ports', () => {
    const gateway = new Gateway(new Script(41));
    expect(gateway.bind(echo('10.0.0.2', 7), SRC, range('203.0.113.1:40-42'))).toMatch(
      /^198\.51\.100\.7:41 /,
    );
    expect(gateway.bind(echo('10.0.0.2', 42), SRC, range('203.0.113.1:40-42'))).toMatch(
      /^198\.51\.100\.7:42 /,
    );
  });

  it.each([50, 47])(
    'protocol %i has nothing to choose: the second client is refused at confirmation',
    (protocol) => {
      const random = new Script();
      const gateway = new Gateway(random);
      const packet = (source: string, destination = SERVER) =>
        build({ source, destination, protocol, payload: [0, 0, 0, 0, 0, 0, 0, 0] });
      expect(gateway.bind(packet('10.0.0.2'), SRC, range('203.0.113.1'))).not.toMatch(/^taken/);
      expect(gateway.bind(packet('10.0.0.3'), SRC, range('203.0.113.1'))).toMatch(/^taken/);
      expect(gateway.bind(packet('10.0.0.3', '198.51.100.8'), SRC, range('203.0.113.1'))).not.toMatch(
        /^taken/,
      );
      expect(random.asked).toEqual([]);
      expect(gateway.nat.exhaustedCount).toBe(1);
    },
  );
});

describe('exhaustion', () => {
  it('uses all 64,512 ports of an address, each once, then says so', () => {
    const gateway = new Gateway(undefined, ALL);
    const events: NatExhausted[] = [];
    gateway.nat.onExhausted = (event) => events.push({ ...event });
    const seen = new Set<string>();
    for (let i = 0; i < 64_512; i++) {
      // Every 64th client comes with a port that another one has: it must get one of those left over.
      seen.add(
        gateway.bind(
          udp(`10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}`, 1024 + (i % 64 === 0 ? i + 1 : i)),
          SRC,
          range('203.0.113.1'),
        ),
      );
    }
    expect(seen.size).toBe(64_512);
    expect([...seen].some((text) => text.startsWith('taken'))).toBe(false);
    expect(events).toEqual([]);
    expect(gateway.bind(udp('10.9.0.1', 5000), SRC, range('203.0.113.1'))).toMatch(/^taken/);
    expect(gateway.nat.exhaustedCount).toBe(1);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ type: 'exhausted', version: 4, protocol: 17 });
    // Another class and another server are not full.
    expect(gateway.bind(udp('10.9.0.1', 1000), SRC, range('203.0.113.1'))).toMatch(/^198.*:1000$/);
    expect(gateway.bind(udp('10.9.0.1', 5000, '198.51.100.8'), SRC, range('203.0.113.1'))).toMatch(/^198/);
  }, 60_000);

  it('finds the one port that is free again, wherever the draws begin', () => {
    const gateway = new Gateway(undefined, ALL);
    for (let port = 1024; port < 65_536; port++)
      gateway.bind(udp('10.0.0.2', port), SRC, range('203.0.113.1'));
    for (const port of [1024, 33_333, 65_535]) {
      const gone = gateway.track(udp('10.0.0.2', port));
      gateway.tables[4].destroy(gone.entry as EntryId, DestroyReason.DELETED);
      expect(gateway.bind(udp('10.9.0.1', 5000 + (port % 7)), SRC, range('203.0.113.1'))).toBe(
        `198.51.100.7:53 > 203.0.113.1:${port}`,
      );
    }
  }, 60_000);

  it('draws again after 128, 64, 32 and 16 ports, as Linux does, before it looks at every port', () => {
    const random = new Script(2000, 3000, 4000, 5000, 6000);
    const gateway = new Gateway(random);
    for (const from of [2000, 3000, 4000, 5000, 6000]) {
      for (let i = 0; i < 128; i++) gateway.bind(udp('10.0.0.2', from + i), SRC, range('203.0.113.1'));
    }
    expect(gateway.bind(udp('10.0.0.3', 2000), SRC, range('203.0.113.1'))).toMatch(/:6128$/);
    expect(random.asked).toHaveLength(5);
  });

  it('costs one search a second per server, and none is missed that ends meanwhile', () => {
    const gateway = new Gateway(undefined, ALL);
    for (let port = 1024; port < 65_536; port++)
      gateway.bind(udp('10.0.0.2', port), SRC, range('203.0.113.1'));
    const started = performance.now();
    for (let i = 0; i < 2000; i++) {
      expect(gateway.bind(udp('10.9.0.1', 2000 + i), SRC, range('203.0.113.1'))).toMatch(/^taken/);
    }
    // 2000 searches of 64,512 ports would take half a minute on the fastest machine.
    expect(performance.now() - started).toBeLessThan(8000);
    const gone = gateway.track(udp('10.0.0.2', 54_321));
    gateway.tables[4].destroy(gone.entry as EntryId, DestroyReason.DELETED);
    expect(gateway.bind(udp('10.9.0.1', 9000), SRC, range('203.0.113.1'))).toMatch(/^198.*:54321$/);
  }, 60_000);

  it('counts an entry whose time is over as free', () => {
    const gateway = new Gateway();
    gateway.bind(udp('10.0.0.2', 4000), SRC, range('203.0.113.9:4000'));
    expect(gateway.bind(udp('10.0.0.3', 4000), SRC, range('203.0.113.9:4000'))).toMatch(/^taken/);
    gateway.context.now += 30_000;
    expect(gateway.bind(udp('10.0.0.3', 4000), SRC, range('203.0.113.9:4000'))).toMatch(/:4000$/);
  });
});

describe('a finished TCP connection', () => {
  const TIME_WAIT = 7;
  const SYN_SENT = 1;

  function world(oldState: number, oldEnd: number, newEnd: number, status = 0): string {
    const gateway = new Gateway();
    const entries = gateway.tables[4].entries;
    const old = gateway.track(tcp('10.0.0.2', 40_000));
    gateway.nat.setup(old, range('203.0.113.1:9000'), SRC);
    gateway.confirm(old);
    entries.setState(old.entry as EntryId, oldState);
    entries.setTdEnd(old.entry as EntryId, Direction.ORIGINAL, oldEnd);
    entries.setStatus(old.entry as EntryId, status);
    const young = gateway.track(tcp('10.0.0.3', 40_000));
    entries.setState(young.entry as EntryId, SYN_SENT);
    entries.setTdEnd(young.entry as EntryId, Direction.ORIGINAL, newEnd);
    gateway.nat.setup(young, range('203.0.113.1:9000'), SRC);
    return gateway.confirm(young) ? 'given' : 'refused';
  }

  it.each([
    [TIME_WAIT, 1000, 2000, 'given'],
    [TIME_WAIT, 2000, 1000, 'refused'],
    [TIME_WAIT, 2000, 2000, 'refused'],
    [TIME_WAIT, -10, 10, 'given'],
    [8, 1000, 2000, 'given'],
    [6, 1000, 2000, 'refused'],
    [3, 1000, 2000, 'refused'],
  ])(
    'in state %i gives its tuple to a new one whose sequence went from %i to %i: %s',
    (state, before, after, said) => {
      expect(world(state, before, after)).toBe(said);
    },
  );

  it('with a fixed timeout keeps it', () => {
    expect(world(TIME_WAIT, 1000, 2000, Status.FIXED_TIMEOUT)).toBe('refused');
  });

  it('keeps its tuple while another port is free', () => {
    const gateway = new Gateway(undefined, ALL);
    const entries = gateway.tables[4].entries;
    for (let port = 1024; port < 65_536; port++) {
      if (port === 50_000) continue;
      const packet = gateway.track(tcp('10.0.0.2', port));
      gateway.nat.setup(packet, range('203.0.113.1'), SRC);
      gateway.confirm(packet);
      entries.setState(packet.entry as EntryId, port % 2 === 0 ? TIME_WAIT : 3);
      entries.setTdEnd(packet.entry as EntryId, Direction.ORIGINAL, 5);
    }
    const live = gateway.tables[4].live;
    const late = gateway.track(tcp('10.0.0.3', 40_000));
    entries.setState(late.entry as EntryId, SYN_SENT);
    entries.setTdEnd(late.entry as EntryId, Direction.ORIGINAL, 4);
    gateway.nat.setup(late, range('203.0.113.1'), SRC);
    expect(gateway.replyText(late)).toMatch(/:50000$/);
    expect(gateway.tables[4].live).toBe(live + 1);
    expect(gateway.confirm(late)).toBe(true);
  }, 60_000);
});
