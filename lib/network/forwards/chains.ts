/**
 * Forwards as chains. Cold.
 *
 *   nat     CONNTIDE-FORWARDS  asks the table of each source interface, CONNTIDE-FWD-name, and CONNTIDE-FWD: any
 *   nat     CONNTIDE-HAIRPIN   hides hosts beside a target behind the router, so that answers come back this way
 *   filter  CONNTIDE-FORWARDS  lets forwarded connections pass, both ways
 */
import type { RuleSpec } from '../../rules/ast.js';
import { formatAddress, maskPrefix } from '../../wire/address.js';
import { type InterfaceAddress, type Interfaces, networkOf } from '../interfaces.js';
import { type ChainJump, type ChainText, type Contribution, MANAGED_PREFIX } from '../managed-chains.js';
import { type ActiveForward, targetPort } from './active.js';
import type { Ports } from './rule.js';
import { passageSpec, translationSpec } from './specs.js';

const FORWARDS = `${MANAGED_PREFIX}FORWARDS`;
const HAIRPIN = `${MANAGED_PREFIX}HAIRPIN`;
/** A service of the router itself that a forward must leave alone. */
export interface Exception {
  readonly version: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  /** '' for any. */
  readonly address: string;
  readonly interface: string;
  readonly port: number;
}

export interface ForwardChains extends Contribution {
  /** By family and chain: which forward each rule is of, from rule 1 on; undefined for rules that are of none. */
  readonly places: ReadonlyMap<string, readonly (ActiveForward | undefined)[]>;
}

/** Key of a chain in {@link ForwardChains.places}. */
export function placeKey(version: number, chain: string): string {
  return `${version}${chain}`;
}

export function compileForwards(
  forwards: readonly ActiveForward[],
  exceptions: readonly Exception[],
  interfaces: Interfaces,
): ForwardChains {
  const chains: ChainText[] = [];
  const jumps: ChainJump[] = [];
  const places = new Map<string, (ActiveForward | undefined)[]>();
  for (const family of [4, 6] as const) {
    const here = forwards.filter(({ version }) => version === family);
    if (here.length === 0) continue;
    const names = [...new Set(here.map((forward) => forward.interface))].sort();
    const asked = names.map((name) => `${name === '' ? '' : `-i ${name} `}-j ${tableName(name)}`);
    const spared = exceptions.filter(({ version }) => version === family).map(exemption);
    chains.push({ family, table: 'nat', name: FORWARDS, rules: [...spared, ...asked] });
    for (const name of names) {
      const rules: string[] = [];
      const specs: RuleSpec[] = [];
      const of: ActiveForward[] = [];
      for (const forward of here.filter((one) => one.interface === name)) {
        for (const ports of forward.usable) {
          rules.push(translation(forward, ports));
          specs.push(translationSpec(forward, ports));
          of.push(forward);
        }
      }
      chains.push({ family, table: 'nat', name: tableName(name), rules, specs });
      places.set(placeKey(family, tableName(name)), of);
    }
    jumps.push({ family, table: 'nat', from: 'PREROUTING', to: FORWARDS });
    const bent = here.filter(({ hairpin }) => hairpin === 'on');
    if (bent.length > 0) {
      const rules = [...new Set(bent.flatMap((forward) => hiding(forward, interfaces)))];
      chains.push({ family, table: 'nat', name: HAIRPIN, rules });
      jumps.push({ family, table: 'nat', from: 'OUTPUT', to: FORWARDS });
      jumps.push({ family, table: 'nat', from: 'POSTROUTING', to: HAIRPIN });
    }
    const passes = here.flatMap((forward) => forward.usable.map((ports) => passage(forward, ports)));
    const passSpecs = here.flatMap((forward) => forward.usable.map((ports) => passageSpec(forward, ports)));
    chains.push({ family, table: 'filter', name: FORWARDS, rules: passes, specs: passSpecs });
    jumps.push({ family, table: 'filter', from: 'FORWARD', to: FORWARDS });
  }
  return { chains, jumps, places };
}

function exemption({ protocol, address, interface: name, port }: Exception): string {
  const place = `${address === '' ? '' : `-d ${address} `}${name === '' ? '' : `-i ${name} `}`;
  return `${place}-p ${protocol} -m ${protocol} --dport ${port} -j RETURN`;
}

/** The table of a source interface. */
function tableName(name: string): string {
  return `${MANAGED_PREFIX}FWD${name === '' ? '' : `-${name}`}`;
}

function translation(forward: ActiveForward, ports: Ports): string {
  const { version, protocol, address } = forward;
  const listen = address === undefined ? '' : `-d ${formatAddress(address, version)} `;
  const local = address === undefined ? '-m addrtype --dst-type LOCAL ' : '';
  const aside =
    forward.interface === '' && forward.hairpin === 'off' ? `! -i ${forward.targetInterface} ` : '';
  const first = targetPort(forward, ports.first);
  const last = targetPort(forward, ports.last);
  const host = formatAddress(forward.target, version);
  let to = '';
  if (ports.first === ports.last) to = `:${first}`;
  else if (first !== ports.first) to = `:${first}-${last}/${ports.first}`;
  const target = to !== '' && version === 6 ? `[${host}]` : host;
  return `${listen}${aside}-p ${protocol} -m ${protocol} --dport ${range(ports)} ${local}-j DNAT --to-destination ${target}${to}`;
}

/** Both directions of the connections that a translation makes: the original tuple says what was asked for. */
function passage(forward: ActiveForward, ports: Ports): string {
  const { version, protocol, address } = forward;
  const target = { first: targetPort(forward, ports.first), last: targetPort(forward, ports.last) };
  const asked = address === undefined ? '' : ` --ctorigdst ${formatAddress(address, version)}`;
  return [
    `-m conntrack --ctstate DNAT --ctproto ${protocol}${asked} --ctorigdstport ${range(ports)}`,
    `--ctreplsrc ${formatAddress(forward.target, version)} --ctreplsrcport ${range(target)} -j ACCEPT`,
  ].join(' ');
}

function hiding(
  { version, protocol, target, targetInterfaceIndex }: ActiveForward,
  interfaces: Interfaces,
): string[] {
  const host = formatAddress(target, version);
  return interfaces
    .addresses(targetInterfaceIndex)
    .filter((address) => address.version === version)
    .map(
      (address) =>
        `-s ${subnet(address)} -d ${host} -p ${protocol} -m conntrack --ctstate DNAT -j MASQUERADE`,
    );
}

function subnet(address: InterfaceAddress): string {
  return `${formatAddress(networkOf(address), address.version)}/${maskPrefix(address.mask, address.version)}`;
}

function range({ first, last }: Ports): string {
  return first === last ? String(first) : `${first}:${last}`;
}
