/**
 * Patches: fields of an injected packet that are set from packets that came out earlier. Cold.
 *
 * A trace records its packets already patched. Patches are applied again with the outputs of this run all the same:
 * where these are the recorded ones nothing changes (a field that already has the value is left alone, and the
 * checksums come out as they are), and where they are not, answers still go to the port that this run chose. A patch
 * whose source is not there is passed over.
 */
import { fieldSpan, fixChecksums, locate, quoteOffset, setU16, u16 } from './fields.js';
import { parseHex } from './hex.js';
import type { Patch, TracePacket } from './trace.js';

/** Length of a quote where the patch says none, bytes. */
const QUOTE_BYTES = 548;

/** The packet with `patches` applied; `outputs[step]` are the packets that came out in that step. */
export function patchPacket(
  packet: Uint8Array,
  patches: readonly Patch[],
  outputs: readonly (readonly TracePacket[])[],
): Uint8Array {
  let patched = packet.slice();
  let isTouched = false;
  for (const patch of patches) {
    const from = outputs[patch.step]?.[patch.out ?? 0];
    if (from === undefined) continue;
    const source = parseHex(from.packet);
    const next = patch.set === 'quote' ? quote(patched, source, patch) : copyField(patched, source, patch);
    if (next === undefined) continue;
    patched = next;
    isTouched = true;
  }
  if (!isTouched) return packet;
  fixChecksums(patched);
  return patched;
}

/** The ICMP error with the first bytes of `source` for its payload. */
function quote(packet: Uint8Array, source: Uint8Array, patch: Patch): Uint8Array<ArrayBuffer> | undefined {
  const at = locate(packet);
  if (at === undefined) return undefined;
  const quoted = source.subarray(0, patch.len ?? QUOTE_BYTES);
  const whole = new Uint8Array(at.transport + 8 + quoted.length);
  whole.set(packet.subarray(0, at.transport + 8));
  whole.set(quoted, at.transport + 8);
  if (at.version === 4) setU16(whole, 2, whole.length);
  else setU16(whole, 4, whole.length - 40);
  return whole;
}

function copyField(
  packet: Uint8Array<ArrayBuffer>,
  source: Uint8Array,
  patch: Patch,
): Uint8Array<ArrayBuffer> | undefined {
  const from = fieldSpan(source, patch.get);
  const to = fieldSpan(packet, patch.set);
  if (from === undefined || to === undefined || from[1] - from[0] !== to[1] - to[0]) return undefined;
  const before = packet.slice(to[0], to[1]);
  const after = source.slice(from[0], from[1]);
  packet.set(after, to[0]);
  if (patch.set.startsWith('inner.') && before.some((byte, i) => byte !== after[i])) {
    adjustQuote(packet, patch.set.slice('inner.'.length), before, after);
  }
  return packet;
}

/** Keeps the checksums of a quoted packet, which may be cut short, in step with a field that changed. */
function adjustQuote(packet: Uint8Array, field: string, before: Uint8Array, after: Uint8Array): void {
  const base = quoteOffset(packet) as number;
  const at = locate(packet.subarray(base));
  if (at === undefined) return;
  const isAddress = field === 'src' || field === 'dst';
  if (at.version === 4 && isAddress) adjust(packet, base + 10, before, after);
  if (at.isLater || (at.protocol === 1 && isAddress)) return;
  const offset = new Map([
    [6, 16],
    [17, 6],
    [1, 2],
    [58, 2],
  ]).get(at.protocol);
  if (offset === undefined) return;
  const where = base + at.transport + offset;
  if (where + 2 > packet.length || (at.protocol === 17 && u16(packet, where) === 0)) return;
  adjust(packet, where, before, after);
}

/** RFC 1624 equation 3. */
function adjust(packet: Uint8Array, where: number, before: Uint8Array, after: Uint8Array): void {
  let sum = ~u16(packet, where) & 0xffff;
  for (let i = 0; i < before.length; i += 2) sum += (~u16(before, i) & 0xffff) + u16(after, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  setU16(packet, where, ~sum & 0xffff);
}
