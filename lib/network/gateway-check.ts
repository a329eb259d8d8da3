/** What the options of a gateway must be like before they are read: JavaScript has no compiler that would say so. Cold. */
import { ConfigurationError } from '../errors.js';
import type { AdvertiseOptions } from './advertisements.js';
import type { DhcpOptions } from './dhcp.js';
import type { GatewayInterfaceOptions, GatewayOptions } from './gateway-options.js';
import { type Names, refuseNoTexts, refuseOther, refuseUnknown } from './known.js';

const GATEWAY: Names<GatewayOptions> = {
  interfaces: true,
  routes: true,
  rules: true,
  forwards: true,
  forwarding: true,
  policy: true,
  dns: true,
  sysctls: true,
  tracking: true,
  invalid: true,
  inactivity: true,
  keepalive: true,
  inside: true,
  timeWaitReuse: true,
  localMark: true,
  flowCache: true,
  loopbackPrefixes: true,
  maxConnections: true,
  buckets: true,
  earlyDrop: true,
  reaper: true,
  observers: true,
  clock: true,
  ruleIndex: true,
  wallTimeMs: true,
  random: true,
  seed: true,
};

const INTERFACE: Names<GatewayInterfaceOptions> = {
  name: true,
  addresses: true,
  link: true,
  mtu: true,
  routeLocalnet: true,
  mac: true,
  stations: true,
  neighbours: true,
  dhcp: true,
  advertise: true,
};

const DHCP: Names<DhcpOptions> = {
  from: true,
  to: true,
  leaseSeconds: true,
  router: true,
  dns: true,
  domain: true,
  leases: true,
};

const ADVERTISE: Names<AdvertiseOptions> = {
  prefixes: true,
  lifetimeSeconds: true,
  preferredSeconds: true,
  validSeconds: true,
  dns: true,
  search: true,
  intervalSeconds: true,
  managed: true,
  other: true,
};

/** Throws a ConfigurationError for an option that does not exist, or is of another kind. */
export function checkGateway(options: GatewayOptions): void {
  refuseUnknown('gateway', options, GATEWAY);
  if (!Array.isArray(options.interfaces) || options.interfaces.length === 0) {
    throw new ConfigurationError('value', 'gateway: interfaces', {
      word: String(options.interfaces),
      expected: "a list as [{ name: 'lan', addresses: ['10.0.0.1/24'] }]",
    });
  }
  for (const one of options.interfaces) checkInterface(one);
  refuseNoTexts('routes', options.routes);
  refuseOther('tracking', options.tracking, ['auto', 'always']);
  refuseOther('invalid', options.invalid, ['pass', 'drop']);
  refuseOther('earlyDrop', options.earlyDrop, ['linux', 'never']);
  const { rules, maxConnections } = options;
  if (rules !== undefined) {
    refuseUnknown('rules', rules, { 4: true, 6: true });
    for (const family of [4, 6] as const) {
      if (rules[family] === undefined || typeof rules[family] === 'string') continue;
      throw new ConfigurationError('value', `rules ${family}: not text`, { word: String(rules[family]) });
    }
  }
  if (maxConnections !== undefined && !(Number.isInteger(maxConnections) && maxConnections >= 1)) {
    throw new ConfigurationError('value', 'maxConnections', {
      word: String(maxConnections),
      expected: 'a whole number from 1 on',
    });
  }
}

function checkInterface(options: GatewayInterfaceOptions): void {
  refuseUnknown('interface', options, INTERFACE);
  const where = `interface ${String(options.name)}`;
  if (!Array.isArray(options.addresses)) {
    throw new ConfigurationError('value', `${where}: addresses`, {
      word: String(options.addresses),
      expected: "a list as ['10.0.0.1/24']",
    });
  }
  refuseNoTexts(`${where}: addresses`, options.addresses);
  refuseOther(`${where}: link`, options.link, ['ip', 'ethernet']);
  if (options.dhcp !== undefined) refuseUnknown(`${where}: dhcp`, options.dhcp, DHCP);
  if (options.advertise !== undefined) refuseUnknown(`${where}: advertise`, options.advertise, ADVERTISE);
}
