/** Unfinished frames at the ports of a gateway: what comes from one link is offered to the other. */
import { expect, it } from 'vitest';
import { ManualClock } from '../../../lib/clock.js';
import { createGateway } from '../../../lib/network/gateway.js';
import type { Offload } from '../../../lib/network/port.js';
import { isRight, superPacket } from './packets.js';

const GUEST = '02:00:00:00:00:02';
const SERVER = '02:00:00:00:00:09';

function make() {
  const gateway = createGateway({
    clock: new ManualClock(0),
    maxConnections: 256,
    interfaces: [
      {
        name: 'lan',
        link: 'ethernet',
        mac: '02:00:00:00:00:01',
        addresses: ['10.0.0.1/24'],
        stations: [{ address: '10.0.0.2', mac: GUEST }],
      },
      {
        name: 'wan',
        link: 'ethernet',
        mac: '02:00:00:00:01:01',
        addresses: ['203.0.113.1/24'],
        stations: [{ address: '203.0.113.9', mac: SERVER }],
      },
      { name: 'tun', link: 'ip', addresses: ['192.0.2.1/24'] },
    ],
    rules: { 4: '*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n' },
  });
  const sent: { port: string; frame: Uint8Array; offload: Offload | undefined }[] = [];
  for (const port of gateway.interfaces) {
    port.onTransmit = (frame, offload) => {
      const copy = offload === undefined ? undefined : { ...offload };
      sent.push({ port: port.name, frame: frame.slice(), offload: copy });
    };
  }
  return { gateway, sent };
}

function framed(to: string) {
  const { bytes, offload } = superPacket({
    protocol: 'tcp',
    from: '10.0.0.2',
    to,
    payloadBytes: 3000,
    gsoSizeBytes: 1400,
    flags: 2,
  });
  const frame = new Uint8Array(14 + bytes.length);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  frame.set(bytes, 14);
  const inFrame = {
    ...offload,
    checksumStart: offload.checksumStart + 14,
    headerBytes: offload.headerBytes + 14,
  };
  return { frame, offload: inFrame };
}

it.each([
  ['wan', '203.0.113.9', 14],
  ['tun', '192.0.2.9', 0],
] as const)('a super-frame is cut for %s, unless its adapter said that it does', (name, to, headerBytes) => {
  const { gateway, sent } = make();
  const first = framed(to);
  gateway.interface('lan').receive(first.frame, first.offload);
  expect(sent.map(({ frame }) => frame.length - headerBytes)).toEqual([1440, 1440, 240]);
  expect(sent.every(({ frame }) => isRight(frame.slice(headerBytes)))).toBe(true);
  expect(sent.every(({ port, offload }) => port === name && offload === undefined)).toBe(true);
  sent.length = 0;
  gateway.interface(name).acceptOffloads(['tcp4']);
  const second = framed(to);
  gateway.interface('lan').receive(second.frame, second.offload);
  expect(sent).toHaveLength(1);
  expect(sent[0]!.frame.length).toBe(headerBytes + 3040);
  expect(sent[0]!.offload).toEqual({
    needsChecksum: 1,
    checksumStart: headerBytes + 20,
    checksumOffset: 16,
    gsoType: 'tcp4',
    gsoSizeBytes: 1400,
    headerBytes: headerBytes + 40,
  });
  gateway.close();
});

it('a super-packet that waited for its neighbour leaves with its offload', () => {
  const { gateway, sent } = make();
  gateway.interface('wan').acceptOffloads(['tcp4']);
  const { frame, offload } = framed('203.0.113.8');
  gateway.interface('lan').receive(frame, offload);
  expect(sent.map((one) => one.offload)).toEqual([undefined]);
  const arp = sent[0]!.frame;
  const answer = arp.slice();
  answer.set(arp.subarray(6, 12), 0);
  answer.set([2, 0, 0, 0, 0, 8], 6);
  answer.set([0, 2, 2, 0, 0, 0, 0, 8, 203, 0, 113, 8], 20);
  answer.set(arp.subarray(22, 32), 32);
  gateway.interface('wan').receive(answer);
  expect(sent[1]!.frame.length).toBe(3054);
  expect(sent[1]!.offload).toMatchObject({ checksumStart: 34, headerBytes: 54, gsoType: 'tcp4' });
  gateway.close();
});
