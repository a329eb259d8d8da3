/**
 * The DNS service of a gateway: queries that come to port 53 of its addresses, over UDP (`dns-udp.ts`) and TCP
 * (`dns-tcp.ts`), go to the user's function, and what that answers goes back. Cold.
 *
 * Nothing is asked or cached here. Queries that are none are refused at once; those under way are bounded, in all and for
 * each asker, and time out. An answer is checked before it is passed on: it must be one, and to this question. Listeners
 * hear of its addresses before the asker does, so that a policy can let the connection pass that follows.
 */

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
import { DnsTcp } from './dns-tcp.js';
import { DnsUdp } from './dns-udp.js';
import type { TcpSockets } from './local/tcp.js';
import type { Router } from './router.js';
import type { Timed } from './timers.js';

/** Longest message over TCP, whose length is 16 bits. */
const MOST_TCP_BYTES = 0xffff;

/** Who asks. */
export interface DnsClient {
  readonly address: string;
  readonly port: number;
  /** Interface that the query came in by. */
  readonly interface: string;
  /** Address of the gateway that was asked. */
  readonly server: string;
  readonly transport: 'udp' | 'tcp';
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
  /**
   * Queries under way, in all and for one asker; further ones are dropped, over TCP refused with SERVFAIL. Default 256 and
   * 32.
   */
  readonly maxInFlight?: number;
  readonly maxPerClient?: number;
  /** After this time a query is given up, ms. Default 5000. */
  readonly timeoutMs?: number;
  /** TCP connections, in all and for one asker; one more takes the place of an old one. Default 256 and 16. */
  readonly maxConnections?: number;
  readonly maxConnectionsPerClient?: number;
  /** A TCP connection without a query for so long is ended, ms. Default 10,000. */
  readonly idleMs?: number;
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
  readonly tcp: TcpSockets;
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
  /** TCP connections that were opened, and those that were reset: stalled, malformed, or in the way of newer ones. */
  connections: number;
  cutOff: number;
}

/** The way back to an asker; `sent` is to be called when the answer has left, or cannot leave any more. */
export type DnsReply = (answer: Uint8Array, sent: () => void) => void;

/** Where the transports bring their queries. */
export interface DnsDoor {
  readonly counters: DnsCounters;
  /**
   * Takes a query, which is its own from then on. False if it is none: it gets no answer. Else `reply` is called once, or
   * never for one that is dropped.
   */
  take(query: Uint8Array, client: DnsClient, reply: DnsReply): boolean;
}

interface Pending {
  readonly client: DnsClient;
  readonly reply: DnsReply;
  readonly query: Uint8Array;
  readonly message: DnsMessage;
  readonly dueMs: number;
}

export class DnsForwarder implements Timed, DnsDoor {
  readonly counters: DnsCounters = {
    queries: 0,
    answers: 0,
    malformed: 0,
    refused: 0,
    failed: 0,
    timedOut: 0,
    connections: 0,
    cutOff: 0,
  };
  readonly #owner: DnsOwner;
  readonly #options: DnsOptions;
  readonly #udp: DnsUdp;
  readonly #tcp: DnsTcp;
  /** In the order in which they time out. */
  readonly #pending = new Set<Pending>();
  /** Queries under way, and answers that did not leave yet, by asker. */
  readonly #perClient = new Map<string, number>();
  #inFlight = 0;

  constructor(owner: DnsOwner, options: DnsOptions, interfaces: readonly number[]) {
    this.#owner = owner;
    this.#options = options;
    this.#udp = new DnsUdp(owner.router, this, interfaces);
    const names = interfaces.map((index) => owner.router.interfaces.name(index));
    this.#tcp = new DnsTcp(owner, this, owner.tcp, names, options);
  }

  /** Queries under way, and answers that did not leave yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** TCP connections that are open. */
  get connectionCount(): number {
    return this.#tcp.connectionCount;
  }

  close(): void {
    this.#pending.clear();
    this.#udp.close();
    this.#tcp.close();
  }

  nextMs(): number {
    const next = this.#tcp.nextMs();
    for (const { dueMs } of this.#pending) return Math.min(dueMs, next);
    return next;
  }

  advance(nowMs: number): void {
    for (const pending of this.#pending) {
      if (pending.dueMs > nowMs) break;
      this.#pending.delete(pending);
      this.counters.timedOut++;
      this.#send(pending, emptyAnswer(pending.query, pending.message, DnsCode.FAILURE));
    }
    this.#tcp.advance(nowMs);
  }

  take(query: Uint8Array, client: DnsClient, reply: DnsReply): boolean {
    const message = readDns(query);
    this.counters.queries++;
    // An answer is never answered: two services would talk to each other for ever.
    if (message === undefined || message.isAnswer) {
      if (client.transport === 'udp') this.counters.malformed++;
      return false;
    }
    const { timeoutMs = 5000, maxInFlight = 256, maxPerClient = 32 } = this.#options;
    const own = this.#perClient.get(client.address) ?? 0;
    const pending = { client, reply, query, message, dueMs: this.#owner.nowMs + timeoutMs };
    if (this.#inFlight >= maxInFlight || own >= maxPerClient) {
      this.counters.refused++;
      if (client.transport === 'tcp') reply(emptyAnswer(query, message, DnsCode.FAILURE), () => {});
      return true;
    }
    this.#inFlight++;
    this.#perClient.set(client.address, own + 1);
    if (message.operation !== 0) {
      this.#send(pending, emptyAnswer(query, message, DnsCode.NOT_IMPLEMENTED));
      return true;
    }
    this.#pending.add(pending);
    this.#owner.wake(pending.dueMs);
    this.#ask(pending);
    return true;
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
    this.#pending.delete(pending);
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
    this.#send(pending, this.#fitted(answer, message, pending));
  }

  /** The answer as the asker's transport can have it. */
  #fitted(answer: Uint8Array, message: DnsMessage, { client, query, message: asked }: Pending): Uint8Array {
    const limit = client.transport === 'tcp' ? MOST_TCP_BYTES : answerLimitBytes(query, asked);
    return answer.length <= limit ? answer : truncated(answer, message);
  }

  #send({ client, reply }: Pending, answer: Uint8Array): void {
    reply(answer, () => {
      this.#inFlight--;
      const left = (this.#perClient.get(client.address) ?? 1) - 1;
      if (left === 0) this.#perClient.delete(client.address);
      else this.#perClient.set(client.address, left);
    });
  }
}
