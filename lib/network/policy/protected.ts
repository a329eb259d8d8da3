/**
 * Addresses that guests do not reach unless somebody says so by their very address: the host's loopback, and the
 * services by which clouds hand credentials to whoever asks. And addresses that public names have no business with. Cold.
 */
import { formatAddress } from '../../wire/address.js';
import { contains, type Network, readNetwork } from './entry.js';

/** The default of the policy's option `protect`. */
export const PROTECTED: readonly string[] = [
  // "This host" and loopback (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3).
  '0.0.0.0/8',
  '127.0.0.0/8',
  '::/128',
  '::1/128',
  // Amazon, Google, Azure, Oracle, OpenStack, DigitalOcean, Hetzner: instance metadata.
  '169.254.169.254/32',
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
  // Amazon: DNS, time, credentials of containers and pods.
  '169.254.169.253/32',
  '169.254.169.123/32',
  '169.254.170.2/32',
  '169.254.170.23/32',
  'fd00:ec2::253/128',
  'fd00:ec2::123/128',
  'fd00:ec2::23/128',
  // Alibaba; Azure's host agent; Oracle Classic; Scaleway; Tencent.
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  '169.254.42.42/32',
  'fd00:42::42/128',
  '169.254.0.23/32',
];

/** Names of the same services: no answer of theirs ever opens anything. */
export const PROTECTED_NAMES: readonly string[] = [
  'localhost',
  '*.localhost',
  'metadata.google.internal',
  'metadata.goog',
  '*.metadata.google.internal',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
  'metadata.azure.internal',
  'metadata.platformequinix.com',
];

/** Networks that a public name's answer may not lead into (RFC 6890): DNS rebinding. */
const PRIVATE: readonly Network[] = networks([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
  '::/96',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
]);

/** IPv6 prefixes of 96 bits that stand for IPv4 addresses: mapped (RFC 4291), NAT64 (RFC 6052). */
const EMBEDDING: readonly Network[] = networks(['::ffff:0:0/96', '64:ff9b::/96']);

function networks(texts: readonly string[]): Network[] {
  return texts.map((text) => readNetwork(text, refuse) as Network);
}

function refuse(message: string): never {
  throw new TypeError(message);
}

/** Whether an address is not one of the public internet. */
export function isPrivate(version: 4 | 6, words: ArrayLike<number>): boolean {
  if (PRIVATE.some((network) => network.version === version && contains(network, words))) return true;
  if (version === 4 || !EMBEDDING.some((network) => contains(network, words))) return false;
  return isPrivate(4, [words[3] as number, 0, 0, 0]);
}

/** The networks, and the IPv6 forms of those of IPv4: a NAT64 on the way out must not be a way around. */
export function withEmbedded(given: readonly Network[]): Network[] {
  const forms = EMBEDDING.flatMap((base) =>
    given
      .filter(({ version }) => version === 4)
      .map(({ words, prefix }): Network => {
        const text = `${formatAddress([base.words[0], base.words[1], base.words[2], words[0]], 6)}/${96 + prefix}`;
        return readNetwork(text, refuse) as Network;
      }),
  );
  return [...given, ...forms];
}
