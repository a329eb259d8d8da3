/**
 * The DNS service of a gateway: queries that come to port 53 of its addresses go to the user's function, and what that
 * answers goes back. Cold.
 *
 * Nothing is asked or cached here. Queries that are none are refused at once; those under way are bounded, in all and for
 * each asker, and time out. An answer is checked before it is passed on: it must be one, and to this question. Listeners
 * hear of its addresses before the asker does, so that a policy can let the connection pass that follows.
 */

import { formatAddress } from '../wire/address.js';
import type { Packet } from '../wire/packet.js';
import {
  answerLimitBytes,
  type DnsAddress,
  DnsCode,
  type DnsMessage,
  type DnsQuestion,
  emptyAnswer,
  isSameQuestion,
  readAddresses,
  readDns,
  truncated,
} from './dns.js';
import { type DatagramEnds, makeDatagram, payloadOf } from './local/datagram.js';
import { PortProtocol, type Reservation } from './local/registry.js';
import type { Router } from './router.js';
import type { Timed } from './timers.js';

const PORT = 53;

/** Who asks. */
export interface DnsClient {
  readonly address: string;
  readonly port: number;
  /** Interface that the query came in by. */
  readonly interface: string;
  /** Address of the gateway that was asked. */
  readonly server: string;
}

/** Options of a gateway's DNS service. */
export interface DnsOptions {
  /**
   * Answers a query, both as DNS messages; undefined or a failure refuses it with SERVFAIL. The query is the function's
   * own. Reading and writing messages is the function's business; `fetch` to a DNS-over-HTTPS server will do.
   */
  readonly answer: (
    query: Uint8Array,
    from: DnsClient,
  ) => Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Names of the interfaces that queries may come in by. Default: all that no default route leaves by. */
  readonly on?: readonly string[];
  /** Queries under way, in all and for one asker; further ones are dropped. Default 256 and 32. */
  readonly maxInFlight?: number;
  readonly maxPerClient?: number;
  /** After this time a query is given up, ms. Default 5000. */
  readonly timeoutMs?: number;
}

/** An answer that is being passed on. */
export interface DnsAnswer {
  readonly client: DnsClient;
  readonly question: DnsQuestion;
  /** Response code; 0 is success. */
  readonly code: number;
  readonly addresses: readonly DnsAddress[];
}

/** What the service needs of its gateway. */
export interface DnsOwner {
  readonly router: Router;
  readonly nowMs: number;
  readonly isClosed: boolean;
  /** Something happens that no packet brought: the time is read. */
  begin(): void;
  reportAnswer(answer: DnsAnswer): void;
  wake(atMs: number): void;
}

/** Why queries got no answer, and how many got one. */
export interface DnsCounters {
  queries: number;
  answers: number;
  /** Not a query with one question. */
  malformed: number;
  /** Too many under way. */
  refused: number;
  /** The function failed, or what it gave is no answer to the question. */
  failed: number;
  timedOut: number;
}

interface Pending {
  readonly ends: DatagramEnds;
  readonly interface: number;
  readonly client: DnsClient;
  readonly query: Uint8Array;
  readonly message: DnsMessage;
  readonly dueMs: number;
}

export class DnsForwarder implements Timed {
  readonly counters: DnsCounters = {
    queries: 0,
    answers: 0,
    malformed: 0,
    refused: 0,
    failed: 0,
    timedOut: 0,
  };
  readonly #owner: DnsOwner;
  readonly #options: DnsOptions;
  readonly #reservations: readonly Reservation[];
  /** In the order in which they time out. */
  readonly #pending = new Set<Pending>();
  readonly #perClient = new Map<string, number>();

  constructor(owner: DnsOwner, options: DnsOptions, interfaces: readonly number[]) {
    this.#owner = owner;
    this.#options = options;
    const { ports } = owner.router;
    this.#reservations = interfaces.flatMap((index) =>
      ([4, 6] as const).map((version) =>
        ports.reserve({
          version,
          protocol: PortProtocol.UDP,
          interface: index,
          port: PORT,
          owner: 'dns',
          nat: 'shared',
          receive: (packet) => this.#receive(packet),
        }),
      ),
    );
  }

  get inFlight(): number {
    return this.#pending.size;
  }

  close(): void {
    for (const reservation of this.#reservations) reservation.release();
    this.#pending.clear();
    this.#perClient.clear();
  }

  nextMs(): number {
    for (const { dueMs } of this.#pending) return dueMs;
    return Number.POSITIVE_INFINITY;
  }

  advance(nowMs: number): void {
    for (const pending of this.#pending) {
      if (pending.dueMs > nowMs) break;
      this.#settle(pending);
      this.counters.timedOut++;
      this.#send(pending, emptyAnswer(pending.query, pending.message, DnsCode.FAILURE));
    }
  }

  #receive(packet: Packet): void {
    const query = payloadOf(packet).slice();
    const message = readDns(query);
    this.counters.queries++;
    // An answer is never answered: two services would talk to each other for ever.
    if (message === undefined || message.isAnswer) {
      this.counters.malformed++;
      return;
    }
    const { router, nowMs } = this.#owner;
    const ends = answerEnds(packet);
    const client = {
      address: formatAddress(packet.addresses, packet.version, 0),
      port: ends.destinationPort,
      interface: router.interfaces.name(packet.inInterface),
      server: formatAddress(packet.addresses, packet.version, 4),
    };
    const { timeoutMs = 5000, maxInFlight = 256, maxPerClient = 32 } = this.#options;
    const pending = { ends, interface: packet.inInterface, client, query, message, dueMs: nowMs + timeoutMs };
    if (message.operation !== 0) {
      this.#send(pending, emptyAnswer(query, message, DnsCode.NOT_IMPLEMENTED));
      return;
    }
    const own = this.#perClient.get(client.address) ?? 0;
    if (this.#pending.size >= maxInFlight || own >= maxPerClient) {
      this.counters.refused++;
      return;
    }
    this.#pending.add(pending);
    this.#perClient.set(client.address, own + 1);
    this.#owner.wake(pending.dueMs);
    this.#ask(pending);
  }

  #ask(pending: Pending): void {
    let answer: ReturnType<DnsOptions['answer']>;
    try {
      answer = this.#options.answer(pending.query.slice(), pending.client);
    } catch {
      answer = undefined;
    }
    if (answer === undefined || answer instanceof Uint8Array) this.#answered(pending, answer);
    else {
      answer.then(
        (bytes) => this.#answered(pending, bytes),
        () => this.#answered(pending, undefined),
      );
    }
  }

  #answered(pending: Pending, bytes: Uint8Array | undefined): void {
    if (!this.#pending.has(pending) || this.#owner.isClosed) return;
    this.#owner.begin();
    this.#settle(pending);
    const { query, message: asked, client } = pending;
    const answer = bytes instanceof Uint8Array ? bytes.slice() : undefined;
    const message = answer === undefined ? undefined : readDns(answer);
    const isGood = message?.isAnswer === true && isSameQuestion(message.question, asked.question);
    if (answer === undefined || message === undefined || !isGood) {
      this.counters.failed++;
      this.#send(pending, emptyAnswer(query, asked, DnsCode.FAILURE));
      return;
    }
    answer[0] = asked.id >>> 8;
    answer[1] = asked.id & 0xff;
    this.counters.answers++;
    this.#owner.reportAnswer({
      client,
      question: asked.question,
      code: message.code,
      addresses: message.code === DnsCode.NO_ERROR ? readAddresses(answer, message) : [],
    });
    const fits = answer.length <= answerLimitBytes(query, asked);
    this.#send(pending, fits ? answer : truncated(answer, message));
  }

  #settle(pending: Pending): void {
    this.#pending.delete(pending);
    const left = (this.#perClient.get(pending.client.address) ?? 1) - 1;
    if (left === 0) this.#perClient.delete(pending.client.address);
    else this.#perClient.set(pending.client.address, left);
  }

  #send({ ends, interface: index }: Pending, answer: Uint8Array): void {
    const { router } = this.#owner;
    const datagram = makeDatagram(ends, answer, router.settings.ttl, router.nextId());
    if (datagram === undefined) return;
    // Link-local askers are on the link that they asked on.
    const isLinkLocal = ends.version === 6 && (ends.addresses[4] as number) >>> 22 === 0x3fa;
    router.sendOwn(datagram, undefined, isLinkLocal ? index : 0);
  }
}

/** The ends of an answer to a datagram. */
function answerEnds({ version, addresses, bytes, transport }: Packet): DatagramEnds {
  const turned = new Int32Array(8);
  turned.set(addresses.subarray(4, 8), 0);
  turned.set(addresses.subarray(0, 4), 4);
  const port = (at: number) => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return {
    version: version === 6 ? 6 : 4,
    addresses: turned,
    sourcePort: port(transport + 2),
    destinationPort: port(transport),
  };
}
