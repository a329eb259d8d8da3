/**
 * TPROXY: gives a packet to a transparent socket of the router's own, as it is: addresses and ports stay. Hot.
 *
 * The socket is that of the flow if there is one, else the one that a packet to the rule's address and port would come
 * to. It stays with the packet (`Packet.socket`) until it is delivered. Without one, and if it is not transparent, the
 * packet is dropped.
 */
import { DropReason } from '../../counters.js';
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import { Verdict } from '../../wire/verdict.js';
import type { TproxyTarget as TproxySpec } from '../ast.js';
import type { RuleContext, Target } from '../context.js';

const ACCEPT = Verdict.ACCEPT;
const DROP = Verdict.DROP;
const MALFORMED = DropReason.RULE_MALFORMED;
const NO_TRANSPARENT_SOCKET = DropReason.NO_TRANSPARENT_SOCKET;
/** What is read of a transport header: that of UDP. */
const HEADER_BYTES = 8;

export class TransparentProxyTarget implements Target {
  readonly #host: Host;
  readonly #port: number;
  /** [4] words, or zeros. */
  readonly #fixed: Int32Array;
  readonly #isFixed: 0 | 1;
  readonly #address = new Int32Array(4);
  readonly #value: number;
  readonly #keep: number;

  constructor(spec: TproxySpec, host: Host) {
    this.#host = host;
    this.#port = spec.port;
    this.#fixed = Int32Array.from(spec.address);
    this.#isFixed = spec.address.some((word) => word !== 0) ? 1 : 0;
    this.#value = spec.value | 0;
    this.#keep = ~spec.mask | 0;
  }

  act(packet: Packet, context: RuleContext): number {
    const at = context.transport;
    if (at + HEADER_BYTES > packet.end) {
      packet.reason = MALFORMED;
      return DROP;
    }
    const socket = this.#find(packet, context.protocol, packet.u16(at), packet.u16(at + 2));
    if (socket === 0) {
      packet.reason = NO_TRANSPARENT_SOCKET;
      return DROP;
    }
    packet.mark = (packet.mark & this.#keep) ^ this.#value;
    packet.socket = socket;
    return ACCEPT;
  }

  /** Number of the socket, 0 if none takes the packet. */
  #find(packet: Packet, protocol: number, sourcePort: number, destinationPort: number): number {
    const host = this.#host;
    if (host.transparentSocket === undefined) return 0;
    const { version, addresses, inInterface } = packet;
    let to = this.#fixed;
    if (this.#isFixed === 0) {
      to = this.#address;
      if (host.redirectAddress(version, inInterface, to) === 0) {
        for (let i = 0; i < 4; i++) to[i] = addresses[4 + i] as number;
      }
    }
    const port = this.#port === 0 ? destinationPort : this.#port;
    return host.transparentSocket(
      version,
      protocol,
      addresses,
      sourcePort,
      destinationPort,
      inInterface,
      to,
      port,
    );
  }
}
