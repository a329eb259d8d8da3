/**
 * Conditions on the security headers that follow the IP header as a transport does: ah of IPv4, esp. Hot.
 */
import type { Packet } from '../../wire/packet.js';
import type { AhMatch, EspMatch, RangeCondition } from '../ast.js';
import type { Match, RuleContext } from '../context.js';

const AH_HEADER_BYTES = 12;
const ESP_HEADER_BYTES = 8;

const ANY_SPI: RangeCondition = { low: 0, high: 0xffffffff, negated: false };

export class SpiMatch implements Match {
  readonly #headerBytes: number;
  /** Offset of the SPI in the header. */
  readonly #offset: number;
  readonly #low: number;
  readonly #high: number;
  readonly #negated: 0 | 1;

  constructor(spec: AhMatch | EspMatch) {
    this.#headerBytes = spec.kind === 'ah' ? AH_HEADER_BYTES : ESP_HEADER_BYTES;
    this.#offset = spec.kind === 'ah' ? 4 : 0;
    const { low, high, negated } = spec.spi ?? ANY_SPI;
    this.#low = low;
    this.#high = high;
    this.#negated = negated ? 1 : 0;
  }

  matches(packet: Packet, context: RuleContext): 0 | 1 {
    if (context.fragmentOffset !== 0) return 0;
    const at = context.transport;
    if (at + this.#headerBytes > packet.end) {
      context.hotdrop = 1;
      return 0;
    }
    const spi = packet.i32(at + this.#offset) >>> 0;
    return ((spi >= this.#low && spi <= this.#high ? 1 : 0) ^ this.#negated) as 0 | 1;
  }
}
