/**
 * One end of a TCP connection (RFC 9293) for programs behind a hand-over: segments in, segments out, bytes for the
 * program. It knows neither addresses nor a clock: every call says the time, `nextMs` when to be called again.
 *
 *   accept: SYN -> SYN_RECEIVED -> ESTABLISHED     connect: SYN_SENT -> ESTABLISHED
 *   end() first: FIN_WAIT_1 -> FIN_WAIT_2 | CLOSING -> TIME_WAIT -> CLOSED     peer first: CLOSE_WAIT -> LAST_ACK -> CLOSED
 *
 * Invariants: una <= next <= max, sequence numbers of what is acknowledged, to be sent next, and was ever sent; bytes
 * from `una` on stay in the ring until they are acknowledged. The window's right edge never moves back.
 * It may be called again from within `transmit`: state is settled before a segment leaves.
 * Here: MSS and window scale options, NewReno, delayed acknowledgements, zero-window probes, challenge acknowledgements
 * (RFC 5961). Not here: SACK, timestamps, urgent data (passed as ordinary), Nagle's delay, keepalive, path MTU discovery.
 */
import { TcpFlag } from '../../wire/tcp.js';
import { ByteRing } from './byte-ring.js';
import { MOST_WINDOW, ReceiveWindow } from './receive-window.js';
import { SendWindow } from './send-window.js';
import type { SocketErrorCode } from './socket-error.js';
import type { TcpEndpointOptions, TcpEndpointState } from './tcp-options.js';
import { Congestion, RetransmitTimeout } from './tcp-pace.js';
import type { TcpSegment } from './tcp-segment.js';

const { FIN, SYN, RST, PSH, ACK } = TcpFlag;

/** Segment size of a peer that names none (RFC 9293 section 3.7.1), and the least that is believed. */
const DEFAULT_MSS = 536;
const LEAST_MSS = 64;
const DELAYED_ACK_MS = 40;
const DEFAULT_BUFFER_BYTES = 256 * 1024;
/** Twice the maximum segment lifetime, as Linux has it, ms. */
const DEFAULT_TIME_WAIT_MS = 60_000;
/** Retransmissions without an answer before a connection is given up. */
const MOST_TRIES = 10;
const MOST_SYN_TRIES = 5;
/** Least time between two acknowledgements of segments that do not fit (as Linux's tcp_invalid_ratelimit), ms. */
const STRAY_ACK_MS = 500;
const NEVER = Number.POSITIVE_INFINITY;
const NO_BYTES = new Uint8Array(0);

export class TcpEndpoint {
  state: TcpEndpointState = 'CLOSED';
  /** Why it ended; undefined for an orderly end. */
  error: SocketErrorCode | undefined = undefined;
  readonly #options: TcpEndpointOptions;
  readonly #receiveBytes: number;
  readonly #scale: number;
  readonly #out: ByteRing;
  #in: ReceiveWindow;
  readonly #timeout = new RetransmitTimeout();
  readonly #congestion = new Congestion();
  // Sending.
  readonly #initial: number;
  #una: number;
  #next: number;
  #max: number;
  readonly #window = new SendWindow();
  #peerScale = 0;
  #ownScale = 0;
  #peerOffersScale = false;
  #mss: number;
  /** The program wrote its last byte: a FIN follows the ring. */
  #isEnding = false;
  #tries = 0;
  // Receiving.
  #segmentsUnacknowledged = 0;
  #isProgress = false;
  // Time.
  #retransmitMs = NEVER;
  #delayedAckMs = NEVER;
  #endMs = NEVER;
  #lastStrayMs = Number.NEGATIVE_INFINITY;

  constructor(options: TcpEndpointOptions) {
    this.#options = options;
    this.#receiveBytes = options.receiveBufferBytes ?? DEFAULT_BUFFER_BYTES;
    this.#out = new ByteRing(options.sendBufferBytes ?? DEFAULT_BUFFER_BYTES);
    this.#in = new ReceiveWindow(0, this.#receiveBytes);
    this.#mss = options.mss;
    let scale = 0;
    while (this.#receiveBytes >>> scale > MOST_WINDOW) scale++;
    this.#scale = scale;
    this.#initial = options.random.u32() | 0;
    this.#una = this.#initial;
    this.#next = this.#initial;
    this.#max = this.#initial;
  }

  // ---- the program's side ----

  /** Begins a connection. */
  connect(nowMs: number): void {
    this.state = 'SYN_SENT';
    this.#sendSyn(nowMs);
  }

  /** Answers a SYN. */
  accept(segment: TcpSegment, nowMs: number): void {
    this.state = 'SYN_RECEIVED';
    this.#synchronise(segment);
    this.#sendSyn(nowMs);
  }

  /** Bytes that `write` would take. */
  get roomBytes(): number {
    return this.#isEnding || this.isGone ? 0 : this.#out.roomBytes;
  }

  /** Whether nothing will be sent or received any more; TIME_WAIT counts as gone. */
  get isGone(): boolean {
    return this.state === 'CLOSED' || this.state === 'TIME_WAIT';
  }

  /** Whether the peer has ended its side and everything it sent was read. */
  get isAtEnd(): boolean {
    return (this.#in.isOver || this.state === 'CLOSED') && this.#in.readableBytes === 0;
  }

  /** Whether a SYN of the same tuple is of another connection: this one lingers, and the number is new. */
  mayReopen(sequence: number): boolean {
    return this.state === 'TIME_WAIT' && ((sequence - this.#in.next) | 0) > 0;
  }

  /** Takes bytes to be sent, as many as there is room for; returns how many. They are copied. */
  write(bytes: Uint8Array, nowMs: number): number {
    const count = this.roomBytes === 0 ? 0 : this.#out.push(bytes);
    if (count > 0) this.#send(nowMs);
    return count;
  }

  /** The next bytes in order, or undefined; reading opens the window. */
  read(): Uint8Array | undefined {
    const bytes = this.#in.read();
    if (bytes !== undefined && !this.isGone && this.#in.hasNews(this.#mss)) this.#sendAck();
    return bytes;
  }

  /** No more is written: a FIN follows what is. */
  end(nowMs: number): void {
    if (this.#isEnding || this.isGone) return;
    this.#isEnding = true;
    this.#send(nowMs);
  }

  /** No more is read: what arrives is acknowledged and thrown away. */
  ignoreInput(nowMs: number): void {
    this.#in.isDeaf = true;
    while (this.read() !== undefined);
    if (this.state === 'FIN_WAIT_2') this.#endMs = nowMs + this.#timeWaitMs;
  }

  /** Ends the connection at once with a reset. */
  abort(): void {
    if (this.isGone) {
      this.#close(this.error);
      return;
    }
    const { state } = this;
    this.#close('ECONNABORTED');
    if (state !== 'SYN_SENT') this.#transmit(RST | ACK, this.#max, NO_BYTES);
  }

  // ---- time ----

  /** When `advance` has something to do, ms. */
  nextMs(): number {
    return Math.min(this.#retransmitMs, this.#delayedAckMs, this.#endMs);
  }

  advance(nowMs: number): void {
    if (nowMs >= this.#endMs) {
      this.#close(this.error);
      return;
    }
    if (nowMs >= this.#delayedAckMs) this.#sendAck();
    if (nowMs >= this.#retransmitMs) this.#retransmit(nowMs);
  }

  #retransmit(nowMs: number): void {
    const isOpening = this.state === 'SYN_SENT' || this.state === 'SYN_RECEIVED';
    this.#tries++;
    if (this.#tries > (isOpening ? MOST_SYN_TRIES : MOST_TRIES)) {
      this.#close('ETIMEDOUT');
      return;
    }
    this.#timeout.forget();
    this.#timeout.backOff();
    this.#retransmitMs = nowMs + this.#timeout.timeoutMs;
    if (isOpening) {
      this.#sendSyn(nowMs);
      return;
    }
    const flight = (this.#max - this.#una) | 0;
    if (flight > 0 && this.#window.bytes === 0) this.#next = this.#una;
    else if (flight > 0) {
      // Everything behind what is missing is sent again too, as the window opens: without SACK nobody knows better.
      this.#congestion.collapse(this.#max, flight);
      this.#next = this.#una;
    }
    // A closed window is probed with the byte behind it (RFC 9293 section 3.8.6.1).
    this.#sendNext(Math.max(1, this.#window.bytes), nowMs);
    this.#armRetransmission(nowMs);
  }

  // ---- segments in ----

  /** Takes a segment of the connection. Its payload is copied. */
  receive(segment: TcpSegment, nowMs: number): void {
    if (this.state === 'CLOSED') return;
    if (this.state === 'SYN_SENT') this.#receiveAnswer(segment, nowMs);
    else this.#receiveInOrder(segment, nowMs);
    if (this.#isProgress) {
      this.#isProgress = false;
      this.#options.onChange?.();
    }
  }

  #receiveAnswer(segment: TcpSegment, nowMs: number): void {
    const { flags, acknowledgement } = segment;
    if ((flags & ACK) !== 0 && acknowledgement !== this.#max) {
      if ((flags & RST) === 0) this.#transmit(RST, acknowledgement, NO_BYTES);
      return;
    }
    if ((flags & RST) !== 0) {
      if ((flags & ACK) !== 0) this.#close('ECONNRESET');
      return;
    }
    if ((flags & SYN) === 0) return;
    this.#synchronise(segment);
    if ((flags & ACK) === 0) {
      // Both began at once (RFC 9293 section 3.5).
      this.state = 'SYN_RECEIVED';
      this.#sendSyn(nowMs);
      return;
    }
    this.#establish(segment, nowMs);
    this.#sendAck();
    this.#send(nowMs);
  }

  /** Takes what a peer's SYN says. */
  #synchronise({ sequence, mss, scale }: TcpSegment): void {
    this.#in = new ReceiveWindow(sequence, this.#receiveBytes);
    this.#mss = Math.min(this.#options.mss, Math.max(LEAST_MSS, mss < 0 ? DEFAULT_MSS : mss));
    this.#peerOffersScale = scale >= 0;
    this.#ownScale = scale < 0 ? 0 : this.#scale;
    this.#peerScale = Math.max(0, scale);
  }

  #establish(segment: TcpSegment, nowMs: number): void {
    this.state = 'ESTABLISHED';
    this.#una = segment.acknowledgement;
    this.#tries = 0;
    this.#retransmitMs = NEVER;
    this.#congestion.begin(this.#mss, this.#una);
    this.#timeout.acknowledge(this.#una, nowMs);
    // The window field of a SYN is not scaled.
    this.#window.set(segment, (segment.flags & SYN) === 0 ? this.#peerScale : 0);
    this.#isProgress = true;
  }

  #receiveInOrder(segment: TcpSegment, nowMs: number): void {
    const { sequence, flags, acknowledgement, payload } = segment;
    const length = payload.length + ((flags & SYN) === 0 ? 0 : 1) + ((flags & FIN) === 0 ? 0 : 1);
    if (!this.#in.fits(sequence, length)) {
      if ((flags & RST) !== 0) return;
      if (this.state === 'SYN_RECEIVED' && sequence === this.#in.initial && (flags & SYN) !== 0) {
        this.#receiveSynAgain(segment, nowMs);
      } else {
        if (this.state === 'TIME_WAIT' && length > 0) this.#endMs = nowMs + this.#timeWaitMs;
        this.#answerStray(length, nowMs);
      }
      return;
    }
    if ((flags & RST) !== 0) {
      if (sequence === this.#in.next) this.#close(this.state === 'TIME_WAIT' ? this.error : 'ECONNRESET');
      else this.#answerStray(0, nowMs);
      return;
    }
    if ((flags & SYN) !== 0) {
      this.#answerStray(0, nowMs);
      return;
    }
    if ((flags & ACK) === 0) return;
    if (this.state === 'SYN_RECEIVED') {
      if (((acknowledgement - this.#una) | 0) <= 0 || ((acknowledgement - this.#max) | 0) > 0) {
        this.#transmit(RST, acknowledgement, NO_BYTES);
        return;
      }
      this.#establish(segment, nowMs);
    } else if (!this.#acknowledge(segment, nowMs)) return;
    this.#take(segment, nowMs);
    if (this.state !== 'CLOSED') this.#send(nowMs);
  }

  /** A repeated SYN gets its answer again; one with the right acknowledgement ends an opening from both sides. */
  #receiveSynAgain(segment: TcpSegment, nowMs: number): void {
    if ((segment.flags & ACK) !== 0 && segment.acknowledgement === this.#max) {
      this.#establish(segment, nowMs);
      this.#sendAck();
      this.#send(nowMs);
      return;
    }
    this.#sendSyn(nowMs);
    this.#timeout.forget();
  }

  #answerStray(length: number, nowMs: number): void {
    if (length === 0 && nowMs - this.#lastStrayMs < STRAY_ACK_MS) return;
    if (length === 0) this.#lastStrayMs = nowMs;
    this.#sendAck();
  }

  /** Takes the acknowledgement; false if the segment is to be dropped. */
  #acknowledge(segment: TcpSegment, nowMs: number): boolean {
    const { acknowledgement: ack, payload, flags } = segment;
    const gained = (ack - this.#una) | 0;
    if (((ack - this.#max) | 0) > 0) {
      this.#answerStray(0, nowMs);
      return false;
    }
    const flight = (this.#max - this.#una) | 0;
    const before = this.#window.bytes;
    if (gained >= 0) {
      this.#window.update(segment, this.#peerScale);
      this.#tries = 0;
    }
    if (gained > 0) this.#advanceTo(ack, gained, nowMs);
    else if (
      gained === 0 &&
      payload.length === 0 &&
      (flags & FIN) === 0 &&
      flight > 0 &&
      this.#window.bytes === before
    ) {
      if (this.#congestion.duplicate(this.#una, this.#max, flight) === 'resend') this.#resendFirst(nowMs);
    }
    if (before === 0 && this.#window.bytes > 0) {
      // What probed the closed window was not taken.
      this.#next = this.#una;
      this.#retransmitMs = NEVER;
    }
    return true;
  }

  /** Everything before `ack` arrived. */
  #advanceTo(ack: number, gained: number, nowMs: number): void {
    const data = Math.min(gained, this.#out.length);
    this.#out.drop(data);
    this.#una = ack;
    this.#timeout.recover();
    if (((this.#next - ack) | 0) < 0) this.#next = ack;
    this.#timeout.acknowledge(this.#una, nowMs);
    this.#retransmitMs = this.#max === ack ? NEVER : nowMs + this.#timeout.timeoutMs;
    if (data > 0) this.#isProgress = true;
    if (this.#congestion.acknowledge(gained, ack) === 'resend') this.#resendFirst(nowMs);
    // More was acknowledged than bytes: the FIN.
    if (gained > data) this.#finAcknowledged(nowMs);
  }

  #finAcknowledged(nowMs: number): void {
    this.#isProgress = true;
    if (this.state === 'FIN_WAIT_1') {
      this.state = 'FIN_WAIT_2';
      if (this.#in.isDeaf) this.#endMs = nowMs + this.#timeWaitMs;
    } else if (this.state === 'CLOSING') this.#linger(nowMs);
    else if (this.state === 'LAST_ACK') this.#close(undefined);
  }

  /** Takes payload and FIN. */
  #take(segment: TcpSegment, nowMs: number): void {
    const isEmpty = segment.payload.length === 0 && (segment.flags & FIN) === 0;
    if (isEmpty || this.state === 'CLOSED' || this.#in.isOver) return;
    const isNearer = this.#in.take(segment);
    if (isNearer) this.#isProgress = true;
    this.#segmentsUnacknowledged++;
    if (this.#in.isOver) this.#peerEnded(nowMs);
    if (this.#in.isOver || !isNearer || this.#in.hasGap || this.#segmentsUnacknowledged >= 2) this.#sendAck();
    else this.#delayedAckMs = Math.min(this.#delayedAckMs, nowMs + DELAYED_ACK_MS);
  }

  #peerEnded(nowMs: number): void {
    if (this.state === 'ESTABLISHED') this.state = 'CLOSE_WAIT';
    else if (this.state === 'FIN_WAIT_1') this.state = 'CLOSING';
    else if (this.state === 'FIN_WAIT_2') this.#linger(nowMs);
  }

  // ---- segments out ----

  /** Sends what windows allow. */
  #send(nowMs: number): void {
    if (this.state === 'SYN_SENT' || this.state === 'SYN_RECEIVED') return;
    if (this.state === 'FIN_WAIT_2' || this.isGone) return;
    for (;;) {
      const flight = (this.#next - this.#una) | 0;
      const unsent = this.#out.length - flight;
      // Behind the FIN nothing comes.
      if (unsent < 0 || (unsent === 0 && !this.#isEnding)) break;
      const room = Math.min(this.#window.bytes, this.#congestion.windowBytes) - flight;
      const count = Math.min(unsent, this.#mss, room);
      // Nothing fits, or so little that it would be silly (RFC 9293 section 3.8.6.2.1).
      const isSilly = count < Math.min(unsent, this.#mss) && count < this.#window.largestBytes / 2;
      if (room <= 0 || isSilly) break;
      this.#sendNext(room, nowMs);
    }
    this.#armRetransmission(nowMs);
  }

  /** The retransmission timer runs while something is under way, or waits for the peer's window. */
  #armRetransmission(nowMs: number): void {
    if (this.isGone) return;
    const waits = this.#max !== this.#una || this.#out.length > 0 || (this.#isEnding && !this.#isFinSent());
    if (!waits) this.#retransmitMs = NEVER;
    else if (this.#retransmitMs === NEVER) this.#retransmitMs = nowMs + this.#timeout.timeoutMs;
  }

  #isFinSent(): boolean {
    return this.state !== 'ESTABLISHED' && this.state !== 'CLOSE_WAIT';
  }

  /** Sends one segment from `next` on, of up to `most` sequence numbers; the FIN goes with it when it is its turn. */
  #sendNext(most: number, nowMs: number): void {
    const offset = (this.#next - this.#una) | 0;
    const count = Math.max(0, Math.min(most, this.#mss, this.#out.length - offset));
    const isLast = offset + count === this.#out.length;
    const hasFin = this.#isEnding && isLast && count < most;
    if (count === 0 && !hasFin) return;
    const sequence = this.#next;
    this.#next = (sequence + count + (hasFin ? 1 : 0)) | 0;
    if (((this.#next - this.#max) | 0) > 0) {
      this.#timeout.time(this.#next, nowMs);
      this.#max = this.#next;
    }
    if (hasFin && this.state === 'ESTABLISHED') this.state = 'FIN_WAIT_1';
    else if (hasFin && this.state === 'CLOSE_WAIT') this.state = 'LAST_ACK';
    const flags = ACK | (isLast && count > 0 ? PSH : 0) | (hasFin ? FIN : 0);
    this.#transmit(flags, sequence, this.#out.copy(offset, count));
  }

  #resendFirst(nowMs: number): void {
    const next = this.#next;
    this.#timeout.forget();
    this.#next = this.#una;
    this.#sendNext(Math.max(1, this.#window.bytes), nowMs);
    if (((next - this.#next) | 0) > 0) this.#next = next;
  }

  #sendSyn(nowMs: number): void {
    this.#next = (this.#initial + 1) | 0;
    this.#max = this.#next;
    if (this.#tries === 0) this.#timeout.time(this.#next, nowMs);
    if (this.#retransmitMs === NEVER) this.#retransmitMs = nowMs + this.#timeout.timeoutMs;
    const flags = this.state === 'SYN_SENT' ? SYN : SYN | ACK;
    this.#transmit(flags, this.#initial, NO_BYTES);
  }

  /** From the last place that the peer can take, which probes of a closed window go beyond. */
  #sendAck(): void {
    const beyond = (this.#max - this.#una - this.#window.bytes) | 0;
    this.#transmit(ACK, beyond > 0 ? (this.#una + this.#window.bytes) | 0 : this.#max, NO_BYTES);
  }

  #transmit(flags: number, sequence: number, payload: Uint8Array): void {
    const isSyn = (flags & SYN) !== 0;
    this.#segmentsUnacknowledged = 0;
    this.#delayedAckMs = NEVER;
    // The window of a SYN is not scaled.
    const window = isSyn ? this.#receiveBytes : this.#in.open(this.#mss) >>> this.#ownScale;
    const isOffering = isSyn && (this.state === 'SYN_SENT' || this.#peerOffersScale);
    this.#options.transmit({
      sequence,
      acknowledgement: (flags & ACK) === 0 ? 0 : this.#in.next,
      flags,
      window: Math.min(MOST_WINDOW, window),
      mss: isSyn ? this.#options.mss : -1,
      scale: isOffering ? this.#scale : -1,
      payload,
    });
  }

  // ---- ends ----

  get #timeWaitMs(): number {
    return this.#options.timeWaitMs ?? DEFAULT_TIME_WAIT_MS;
  }

  #linger(nowMs: number): void {
    this.state = 'TIME_WAIT';
    this.#retransmitMs = NEVER;
    this.#endMs = nowMs + this.#timeWaitMs;
    this.#isProgress = true;
  }

  #close(error: SocketErrorCode | undefined): void {
    if (this.state === 'CLOSED') return;
    this.state = 'CLOSED';
    this.error = error;
    this.#retransmitMs = NEVER;
    this.#delayedAckMs = NEVER;
    this.#endMs = NEVER;
    this.#out.clear();
    if (error !== undefined) this.#in.clear();
    this.#isProgress = false;
    this.#options.onChange?.();
  }
}
