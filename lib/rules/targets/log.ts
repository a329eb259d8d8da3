/**
 * LOG and NFLOG: tell a listener of the packet. Without one nothing is made. Hot until then.
 */
import type { Host } from '../../host.js';
import type { Packet } from '../../wire/packet.js';
import type { Family, LogTarget as LogSpec, NflogTarget as NflogSpec } from '../ast.js';
import { CONTINUE, type RuleContext, type Target } from '../context.js';
import type { LogRecord, RulePlace, RulesObservers } from '../environment.js';
import type { RuleScope } from '../rows.js';

const ON = CONTINUE;

export class LogTarget implements Target {
  readonly #spec: LogSpec | NflogSpec;
  readonly #family: Family;
  readonly #place: RulePlace;
  readonly #host: Host;
  readonly #observers: RulesObservers;

  constructor(spec: LogSpec | NflogSpec, scope: RuleScope) {
    this.#spec = spec;
    this.#family = scope.family;
    this.#place = scope.place;
    this.#host = scope.environment.host;
    this.#observers = scope.environment.observers;
  }

  act(packet: Packet, context: RuleContext): number {
    if (this.#observers.onLog !== undefined) this.#observers.onLog(this.#record(packet, context.hook));
    return ON;
  }

  #record(packet: Packet, hook: number): LogRecord {
    const spec = this.#spec;
    const size = spec.kind === 'NFLOG' && spec.copyLength?.option === 'size' ? spec.copyLength.bytes : 65535;
    return {
      kind: spec.kind,
      family: this.#family,
      place: this.#place,
      hook,
      inInterface: this.#host.interfaceName(packet.inInterface),
      outInterface: this.#host.interfaceName(packet.outInterface),
      prefix: spec.prefix,
      ...(spec.kind === 'LOG' ? { level: spec.level, flags: spec.flags } : { group: spec.group }),
      mark: packet.mark >>> 0,
      bytes: packet.bytes.slice(packet.start, Math.min(packet.end, packet.start + size)),
    };
  }
}
