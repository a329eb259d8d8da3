/** A gateway between a guest and servers, with a clock of its own, and TCP connections through it. */
import {
  createGateway,
  formatPacket,
  type Gateway,
  type GatewayOptions,
  ManualClock,
  parsePacket,
} from '../../../lib/index.js';

export const RULES = [
  '*nat',
  '-A PREROUTING -i wan -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80',
  '-A POSTROUTING -o wan -j MASQUERADE',
  'COMMIT',
  '',
].join('\n');

export class Sandbox {
  readonly clock = new ManualClock(0);
  readonly gateway: Gateway;
  /** Packets that left since `take`, with their interface. */
  #sent: string[] = [];
  readonly raw: Uint8Array[] = [];
  /** Ends of connections: reason and time. */
  readonly ended: [string, number][] = [];

  constructor(options: Partial<GatewayOptions> = {}) {
    this.gateway = createGateway({
      clock: this.clock,
      maxConnections: 512,
      seed: 1,
      interfaces: [
        { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
        { name: 'dmz', addresses: ['10.1.0.1/24'] },
        { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
      ],
      routes: ['default dev wan', '-6 default dev wan'],
      rules: { 4: RULES, 6: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
      ...options,
    });
    for (const port of this.gateway.interfaces) {
      port.onTransmit = (bytes) => {
        this.raw.push(bytes.slice());
        this.#sent.push(`${port.name} ${formatPacket(bytes)}`);
      };
    }
    this.gateway.engine.connections.events.on('destroy', (_connection, reason) => {
      this.ended.push([reason, this.gateway.router.nowMs]);
    });
  }

  /** Lets time pass up to `ms`. */
  until(ms: number): void {
    this.clock.advance(ms - this.clock.nowMs());
    this.gateway.advance();
  }

  receive(name: string, text: string): string[] {
    this.gateway.interface(name).receive(parsePacket(text));
    return this.take();
  }

  /** What left since it was asked last. */
  take(): string[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  get count(): number {
    return this.gateway.engine.tracker.count;
  }
}

/** A TCP connection from the guest to a server, by handshake and one exchange of data. */
export function connect(sandbox: Sandbox): void {
  const out = 'tcp 10.0.0.2:40000 > 198.51.100.7:80';
  const back = 'tcp 198.51.100.7:80 > 203.0.113.1:40000';
  sandbox.receive('lan', `${out} SYN seq 999`);
  sandbox.receive('wan', `${back} SYN,ACK seq 4999 ack 1000 win 500 <wscale 7>`);
  sandbox.receive('lan', `${out} ACK seq 1000 ack 5000`);
  sandbox.receive('lan', `${out} PSH,ACK seq 1000 ack 5000 len 10`);
  sandbox.receive('wan', `${back} PSH,ACK seq 5000 ack 1010 len 20`);
  sandbox.receive('lan', `${out} ACK seq 1010 ack 5020`);
}

/** A TCP connection from outside to the guest, by a port forward. */
export function accept(sandbox: Sandbox): void {
  const inward = 'tcp 198.51.100.9:6000 > 203.0.113.1:8080';
  const back = 'tcp 10.0.0.2:80 > 198.51.100.9:6000';
  sandbox.receive('wan', `${inward} SYN seq 99`);
  sandbox.receive('lan', `${back} SYN,ACK seq 299 ack 100`);
  sandbox.receive('wan', `${inward} ACK seq 100 ack 300`);
  sandbox.receive('wan', `${inward} PSH,ACK seq 100 ack 300 len 5`);
  sandbox.receive('lan', `${back} ACK seq 300 ack 105`);
}
