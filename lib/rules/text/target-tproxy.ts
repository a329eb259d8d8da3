/**
 * TPROXY, which gives packets to a transparent socket. Cold.
 */
import type { TproxyTarget } from '../ast.js';
import { formatAddress } from './address.js';
import { Hook, type Reader, say, takes, target } from './grammar.js';
import { portNumber } from './names.js';
import { address, markMask } from './values.js';

const TCP = 6;
const UDP = 17;

/** Decimal, with zeros in front or not; 0 is the packet's own. */
const port: Reader<number> = (text, { where }) => {
  const found = /^\d+$/.test(text) ? Number(text) : /^0x/i.test(text) ? undefined : portNumber(text);
  return found !== undefined && found <= 65535
    ? found
    : where.refuse('value', 'not a port', '0 to 65535, or the name of a service');
};

export const tproxy = target({
  name: 'TPROXY',
  protocols: [TCP, UDP],
  tables: ['mangle'],
  hooks: Hook.PREROUTING,
  options: {
    'on-port': takes(port, { presence: 'required' }),
    'on-ip': takes(address),
    'tproxy-mark': takes(markMask),
  },
  build: (given): TproxyTarget => ({
    kind: 'TPROXY',
    port: given['on-port']!.value,
    address: given['on-ip']?.value ?? [0, 0, 0, 0],
    ...(given['tproxy-mark']?.value ?? { value: 0, mask: 0 }),
  }),
  print: (spec, family) => [
    say('on-port', spec.port),
    say('on-ip', formatAddress(spec.address, family)),
    say('tproxy-mark', `0x${spec.value.toString(16)}/0x${spec.mask.toString(16)}`),
  ],
});
