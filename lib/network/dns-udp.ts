/**
 * DNS over UDP: queries that come to port 53 of the gateway's addresses, each a datagram, and the way back. Cold.
 */
import { formatAddress } from '../wire/address.js';
import type { Packet } from '../wire/packet.js';
import type { DnsDoor } from './dns-forwarder.js';
import { type DatagramEnds, makeDatagram, payloadOf } from './local/datagram.js';
import { PortProtocol, type Reservation } from './local/registry.js';
import type { Router } from './router.js';

/** Port of DNS, over UDP and TCP. */
export const DNS_PORT = 53;

export class DnsUdp {
  readonly #router: Router;
  readonly #door: DnsDoor;
  readonly #reservations: readonly Reservation[];

  constructor(router: Router, door: DnsDoor, interfaces: readonly number[]) {
    this.#router = router;
    this.#door = door;
    this.#reservations = interfaces.flatMap((index) =>
      ([4, 6] as const).map((version) =>
        router.ports.reserve({
          version,
          protocol: PortProtocol.UDP,
          interface: index,
          port: DNS_PORT,
          owner: 'dns',
          nat: 'shared',
          receive: (packet) => this.#receive(packet),
        }),
      ),
    );
  }

  close(): void {
    for (const reservation of this.#reservations) reservation.release();
  }

  #receive(packet: Packet): void {
    const ends = answerEnds(packet);
    const index = packet.inInterface;
    const client = {
      address: formatAddress(packet.addresses, packet.version, 0),
      port: ends.destinationPort,
      interface: this.#router.interfaces.name(index),
      server: formatAddress(packet.addresses, packet.version, 4),
      transport: 'udp' as const,
    };
    this.#door.take(payloadOf(packet).slice(), client, (answer, sent) => {
      this.#send(ends, index, answer);
      sent();
    });
  }

  #send(ends: DatagramEnds, index: number, answer: Uint8Array): void {
    const router = this.#router;
    const datagram = makeDatagram(ends, answer, router.settings.ttl, router.nextId());
    if (datagram === undefined) return;
    // Link-local askers are on the link that they asked on.
    const isLinkLocal = ends.version === 6 && (ends.addresses[4] as number) >>> 22 === 0x3fa;
    router.sendOwn(datagram, undefined, isLinkLocal ? index : 0);
  }
}

/** The ends of an answer to a datagram. */
function answerEnds({ version, addresses, bytes, transport }: Packet): DatagramEnds {
  const turned = new Int32Array(8);
  turned.set(addresses.subarray(4, 8), 0);
  turned.set(addresses.subarray(0, 4), 4);
  const port = (at: number) => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return {
    version: version === 6 ? 6 : 4,
    addresses: turned,
    sourcePort: port(transport + 2),
    destinationPort: port(transport),
  };
}
