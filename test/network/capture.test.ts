/** What passes over a gateway's interfaces, recorded as pcapng. */
import { describe, expect, it } from 'vitest';
import { readCapture } from '../../lib/capture/capture.js';
import { LinkType } from '../../lib/capture/link.js';
import { concatenate } from '../../lib/capture/pcapng-writer.js';
import { createGateway } from '../../lib/network/gateway.js';
import { PcapngRecorder } from '../../lib/network/pcapng-recorder.js';
import { formatPacket, parsePacket } from '../../lib/scenario/notation.js';

const EPOCH_MS = 1_700_000_000_000;

function gatewayWithUplink() {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', link: 'ethernet', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default via 203.0.113.254 dev wan'],
    rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
  });
  for (const port of gateway.interfaces) port.onTransmit = () => {};
  return gateway;
}

const query = () => parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');

describe('a recording of a gateway', () => {
  it('has all interfaces by name and link, and both directions of each', () => {
    const gateway = gatewayWithUplink();
    const blocks: Uint8Array[] = [];
    gateway.capture(new PcapngRecorder((block) => blocks.push(block), { epochMs: () => EPOCH_MS }));
    const [lan, wan] = gateway.interfaces;
    lan.receive(query());
    // An ARP frame from the link: recorded although it is dropped.
    wan.receive(new Uint8Array(60).fill(0xff, 0, 6));
    lan.receive(parsePacket('icmp 10.0.0.2 > 10.0.0.1 echo-request id 7 seq 1'));
    gateway.close();
    const { interfaces, packets, damage } = readCapture(concatenate(blocks));
    expect(damage).toBeUndefined();
    expect(interfaces.map(({ name, linkType }) => [name, linkType])).toEqual([
      ['lan', LinkType.RAW],
      ['wan', LinkType.ETHERNET],
    ]);
    expect(packets.map((p) => [p.interfaceName, p.direction, p.seconds])).toEqual([
      ['lan', 'in', EPOCH_MS / 1000],
      ['wan', 'out', EPOCH_MS / 1000],
      ['wan', 'in', EPOCH_MS / 1000],
      ['lan', 'in', EPOCH_MS / 1000],
      ['lan', 'out', EPOCH_MS / 1000],
    ]);
    // The question by ARP for the next hop, and the packet as it came, not as it was rewritten.
    expect(packets[1]?.bytes.subarray(12, 14)).toEqual(Uint8Array.of(8, 6));
    expect(formatPacket(packets[0]?.bytes as Uint8Array)).toBe('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4');
  });

  it('begins while the gateway runs, and ends when told', () => {
    const gateway = gatewayWithUplink();
    const blocks: Uint8Array[] = [];
    const [lan] = gateway.interfaces;
    lan.receive(query());
    const stop = gateway.capture(new PcapngRecorder((block) => blocks.push(block)));
    lan.receive(query());
    const recorded = blocks.length;
    stop();
    stop();
    lan.receive(query());
    expect(blocks.length).toBe(recorded);
    const { packets } = readCapture(concatenate(blocks));
    expect(packets.map((p) => [p.interfaceName, p.direction])).toEqual([['lan', 'in']]);
    gateway.close();
  });

  it('of one interface has that one; two recordings do not know of each other', () => {
    const gateway = gatewayWithUplink();
    const [ofAll, ofLan]: [Uint8Array[], Uint8Array[]] = [[], []];
    const stop = gateway.capture(new PcapngRecorder((block) => ofAll.push(block)));
    gateway
      .interface('lan')
      .capture(new PcapngRecorder((block) => ofLan.push(block), { snapLengthBytes: 20 }));
    gateway.interface('lan').receive(query());
    stop();
    gateway.interface('lan').receive(query());
    gateway.close();
    const lan = readCapture(concatenate(ofLan));
    expect(lan.interfaces.map(({ name }) => name)).toEqual(['lan']);
    expect(lan.packets.map((p) => [p.bytes.length, p.originalLengthBytes])).toEqual([
      [20, 32],
      [20, 32],
    ]);
    expect(readCapture(concatenate(ofAll)).packets.map((p) => p.interfaceName)).toEqual(['lan', 'wan']);
  });
});
