/**
 * DNS over TCP (RFC 7766): connections to port 53 of the gateway's addresses, any number of queries on each. Cold.
 *
 *   opened -> queries in, answers out as they come -> idle: FIN | stalled, malformed, too many: RST
 *
 * What guests can cost is bounded: connections in all and for each client (one more takes the place of a client's own
 * oldest, or of the oldest of whoever has most), queries under way on each (then it is not read from), the length of a
 * query, bytes in buffers, and time: a connection on which no query was completed and no answer taken for a while ends.
 */
import type { DnsClient, DnsDoor, DnsOptions } from './dns-forwarder.js';
import { DnsFraming, frameMessage } from './dns-framing.js';
import { DNS_PORT } from './dns-udp.js';
import type { TcpListener, TcpSockets } from './local/tcp.js';
import type { TcpConnection } from './local/tcp-connection.js';
import type { Timed } from './timers.js';

/** A header without a question; what is shorter is no message. */
const LEAST_QUERY_BYTES = 12;
/** Longest query that is taken. Options and padding (RFC 8467) make some hundreds of bytes. */
const MOST_QUERY_BYTES = 4096;
/** Queries and answers of one connection that are under way; further ones wait in the client's window. */
const MOST_UNDER_WAY = 32;
/** Bytes that a connection holds for its client, and of what came from it. */
const SEND_BUFFER_BYTES = 16_384;
const RECEIVE_BUFFER_BYTES = 8192;
const TIME_WAIT_MS = 1000;
const DEFAULT_CONNECTIONS = 256;
const DEFAULT_PER_CLIENT = 16;
const DEFAULT_IDLE_MS = 10_000;

/** What DNS over TCP needs of its gateway. */
export interface DnsTcpOwner {
  readonly nowMs: number;
  /** Something happens that no packet brought: the time is read. */
  begin(): void;
  wake(atMs: number): void;
}

export class DnsTcp implements Timed {
  readonly idleMs: number;
  readonly owner: DnsTcpOwner;
  readonly door: DnsDoor;
  readonly #listeners: readonly TcpListener[];
  readonly #most: number;
  readonly #mostPerClient: number;
  /** In the order in which they began. */
  readonly #streams = new Set<DnsStream>();

  constructor(
    owner: DnsTcpOwner,
    door: DnsDoor,
    tcp: TcpSockets,
    interfaces: readonly string[],
    options: DnsOptions,
  ) {
    this.owner = owner;
    this.door = door;
    this.#most = options.maxConnections ?? DEFAULT_CONNECTIONS;
    this.#mostPerClient = options.maxConnectionsPerClient ?? DEFAULT_PER_CLIENT;
    this.idleMs = options.idleMs ?? DEFAULT_IDLE_MS;
    this.#listeners = interfaces.map((name) =>
      tcp.listen(
        {
          port: DNS_PORT,
          interface: name,
          owner: 'dns',
          // Half open and lingering ones have room of their own, and give way.
          maxFlows: 2 * this.#most,
          sendBufferBytes: SEND_BUFFER_BYTES,
          receiveBufferBytes: RECEIVE_BUFFER_BYTES,
          timeWaitMs: TIME_WAIT_MS,
          onConnection: (connection) => this.#accept(connection),
        },
        'shared',
      ),
    );
  }

  get connectionCount(): number {
    return this.#streams.size;
  }

  close(): void {
    for (const listener of this.#listeners) listener.close();
    this.#streams.clear();
  }

  #accept(connection: TcpConnection): void {
    const { address } = connection.source;
    const own = [...this.#streams].filter(({ client }) => client.address === address);
    if (own.length >= this.#mostPerClient) oldest(own)?.cut();
    else if (this.#streams.size >= this.#most) oldest(this.#ofLargest())?.cut();
    const stream = new DnsStream(this, connection);
    this.#streams.add(stream);
    this.door.counters.connections++;
    this.owner.wake(stream.dueMs);
    stream.run();
  }

  /** Connections of the client that has most of them. */
  #ofLargest(): DnsStream[] {
    const byClient = new Map<string, DnsStream[]>();
    for (const stream of this.#streams) {
      const own = byClient.get(stream.client.address);
      if (own === undefined) byClient.set(stream.client.address, [stream]);
      else own.push(stream);
    }
    return [...byClient.values()].reduce((most, one) => (one.length > most.length ? one : most), []);
  }

  forget(stream: DnsStream): void {
    this.#streams.delete(stream);
  }

  // ---- time ----

  nextMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#streams) next = Math.min(next, dueMs);
    return next;
  }

  advance(nowMs: number): void {
    for (const stream of [...this.#streams]) if (stream.dueMs <= nowMs) stream.expire(nowMs);
  }
}

/** The connection of which nothing was heard for longest. */
function oldest(streams: readonly DnsStream[]): DnsStream | undefined {
  let found = streams[0];
  for (const stream of streams) if (found !== undefined && stream.dueMs < found.dueMs) found = stream;
  return found;
}

/** One connection. */
class DnsStream {
  readonly client: DnsClient;
  /** When it is looked at, ms: nothing of use was heard for the idle time by then. */
  dueMs: number;
  readonly #service: DnsTcp;
  readonly #connection: TcpConnection;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #framing = new DnsFraming(LEAST_QUERY_BYTES, MOST_QUERY_BYTES);
  /** Queries whose answer is not there yet, and answers that the connection has not taken yet. */
  #asked = 0;
  #unsent = 0;
  /** No query follows: it ends when the last answer has left. */
  #isEnding = false;
  #wakeReader: (() => void) | undefined;

  constructor(service: DnsTcp, connection: TcpConnection) {
    const { source, destination } = connection;
    this.#service = service;
    this.#connection = connection;
    this.#writer = connection.writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.client = {
      address: source.address,
      port: source.port,
      interface: connection.interface,
      server: destination.address,
      transport: 'tcp',
    };
    this.dueMs = service.owner.nowMs + service.idleMs;
    connection.closed.then(() => {
      this.#isEnding = true;
      this.#wakeReader?.();
      service.forget(this);
    });
  }

  /** Reads queries until there are no more. */
  async run(): Promise<void> {
    try {
      for await (const chunk of this.#connection.readable) {
        for (const query of this.#framing.push(chunk)) {
          while (this.#underWay >= MOST_UNDER_WAY && !this.#isEnding) {
            await new Promise<void>((resolve) => {
              this.#wakeReader = resolve;
            });
          }
          if (this.#isEnding) return;
          this.#take(query);
        }
        if (this.#framing.isBroken) this.#refuse();
      }
    } catch {
      return; // It was cut off.
    }
    this.#isEnding = true;
    this.#endIfDone();
  }

  get #underWay(): number {
    return this.#asked + this.#unsent;
  }

  #take(query: Uint8Array): void {
    this.#service.owner.begin();
    this.#use();
    this.#asked++;
    const isQuery = this.#service.door.take(query, this.client, (answer, sent) => this.#send(answer, sent));
    if (!isQuery) this.#refuse();
  }

  #send(answer: Uint8Array, sent: () => void): void {
    this.#asked--;
    this.#unsent++;
    this.#use();
    const settle = (): void => {
      this.#service.owner.begin();
      this.#unsent--;
      this.#use();
      sent();
      this.#wakeReader?.();
      this.#endIfDone();
    };
    this.#writer.write(frameMessage(answer)).then(settle, settle);
  }

  /** What came is no query: the rest means nothing either. */
  #refuse(): void {
    this.#service.door.counters.malformed++;
    this.cut();
  }

  #endIfDone(): void {
    if (!this.#isEnding || this.#underWay > 0) return;
    this.#writer.close().catch(() => {});
  }

  #use(): void {
    this.dueMs = this.#service.owner.nowMs + this.#service.idleMs;
  }

  /** Nothing of use was heard for the idle time. */
  expire(nowMs: number): void {
    this.dueMs = nowMs + this.#service.idleMs;
    if (this.#asked > 0) return;
    if (this.#unsent > 0 || this.#framing.isPartial || this.#isEnding) {
      this.cut();
      return;
    }
    this.#isEnding = true;
    this.#connection.endpoint.ignoreInput(nowMs);
    this.#endIfDone();
  }

  /** Ends it with a reset. */
  cut(): void {
    this.#isEnding = true;
    this.#service.door.counters.cutOff++;
    this.#service.forget(this);
    this.#wakeReader?.();
    this.#connection.abort();
  }
}
