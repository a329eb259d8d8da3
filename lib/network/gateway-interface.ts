/**
 * An interface of a gateway, from outside: where a link plugs in, as direct calls or as web streams, and its counters.
 *
 * `receive` and `onTransmit` are hot: a forwarded packet costs no allocation here. Frames are borrowed both ways, and
 * the bytes given to `receive` are rewritten. An interface that is down, or of a closed gateway, counts and drops.
 */
import { DropCounters, DropReason } from '../counters.js';
import { formatMac, type Mac } from './mac.js';
import type { OffloadKind } from './offload/features.js';
import type { LinkPort, Offload } from './port.js';
import { type LinkStreams, linkStreams } from './streams.js';

/** What went through an interface since it was made. */
export interface InterfaceCounters {
  receivedPackets: number;
  receivedBytes: number;
  transmittedPackets: number;
  transmittedBytes: number;
}

/** What is behind an interface: frames in. */
export interface InterfaceLink {
  receive(frame: Uint8Array, nowMs: number, offload: Offload | undefined): void;
}

/** What an interface needs of its gateway. */
export interface InterfaceOwner {
  /** Time of what is received now, ms. */
  readonly nowMs: number;
  /** Notes what the link of an interface does to frames that leave unfinished. */
  acceptOffloads(index: number, kinds: readonly OffloadKind[]): void;
}

/** What keeps the frames that pass, such as a capture file. */
export interface FrameRecorder {
  /** Describes an interface; returns the number that its frames come with. */
  addInterface(name: string, link: LinkPort['link']): number;
  /** `in` is from the link to the gateway. The frame is borrowed. */
  record(interfaceId: number, direction: 'in' | 'out', frame: Uint8Array): void;
}

/** One recorder of an interface and the number that it gave. */
interface Recording {
  readonly recorder: FrameRecorder;
  readonly id: number;
}

export class GatewayInterface implements LinkPort {
  readonly name: string;
  /** Number by which rules, routes and conntrack know it. */
  readonly index: number;
  readonly link: 'ip' | 'ethernet';
  readonly mtu: number;
  onTransmit: ((frame: Uint8Array, offload?: Offload) => void) | undefined = undefined;
  readonly counters: InterfaceCounters = {
    receivedPackets: 0,
    receivedBytes: 0,
    transmittedPackets: 0,
    transmittedBytes: 0,
  };
  /** Frames that were dropped on the link's side, in or out, by reason; drops of packets are the gateway's. */
  readonly drops = new DropCounters();
  readonly #mac: Mac | undefined;
  readonly #owner: InterfaceOwner;
  #behind: InterfaceLink | undefined;
  #state: 'up' | 'down' | 'closed' = 'up';
  #isUp = 1;
  #streams: LinkStreams | undefined;
  /** What ends with the interface. */
  readonly #closers = new Set<() => void>();
  #recordings: readonly Recording[] | undefined;

  constructor(
    owner: InterfaceOwner,
    options: { name: string; index: number; link: 'ip' | 'ethernet'; mtu: number; mac?: Mac | undefined },
  ) {
    this.#owner = owner;
    this.name = options.name;
    this.index = options.index;
    this.link = options.link;
    this.mtu = options.mtu;
    this.#mac = options.mac;
  }

  /** The interface's Ethernet address; undefined for raw IP. */
  get mac(): string | undefined {
    return this.#mac === undefined ? undefined : formatMac(this.#mac.high, this.#mac.low);
  }

  get state(): 'up' | 'down' | 'closed' {
    return this.#state;
  }

  /** What the interface sends, a copy for each frame. Plugs the interface in, as setting `onTransmit` does. */
  get readable(): ReadableStream<Uint8Array> {
    return this.#pair().readable;
  }

  /** Takes frames, whose bytes are rewritten. */
  get writable(): WritableStream<Uint8Array> {
    return this.#pair().writable;
  }

  /** Takes a frame (Ethernet) or packet (raw IP) from the link. Its bytes are rewritten. */
  receive(frame: Uint8Array, offload?: Offload): void {
    if (this.#isUp === 0) {
      this.drops.count(this.#state === 'closed' ? DropReason.GATEWAY_CLOSED : DropReason.LINK_DOWN);
      return;
    }
    this.counters.receivedPackets++;
    this.counters.receivedBytes += frame.length;
    if (this.#recordings !== undefined) record(this.#recordings, 'in', frame);
    this.#behind?.receive(frame, this.#owner.nowMs, offload);
  }

  /** Gives a frame to the link. For the gateway's own parts. */
  transmit(frame: Uint8Array, offload?: Offload): void {
    const to = this.onTransmit;
    if (this.#isUp === 0 || to === undefined) {
      this.drops.count(this.#isUp === 0 ? DropReason.LINK_DOWN : DropReason.LINK_UNHEARD);
      return;
    }
    this.counters.transmittedPackets++;
    this.counters.transmittedBytes += frame.length;
    if (this.#recordings !== undefined) record(this.#recordings, 'out', frame);
    if (offload === undefined) to(frame);
    else to(frame, offload);
  }

  /** Has the frames that pass in either direction recorded, until the returned function is called. */
  capture(recorder: FrameRecorder): () => void {
    const recording = { recorder, id: recorder.addInterface(this.name, this.link) };
    this.#recordings = [...(this.#recordings ?? []), recording];
    return () => {
      const left = this.#recordings?.filter((other) => other !== recording) ?? [];
      this.#recordings = left.length === 0 ? undefined : left;
    };
  }

  /** For the gateway: what frames go to. */
  connect(behind: InterfaceLink): void {
    this.#behind = behind;
  }

  acceptOffloads(kinds: readonly OffloadKind[]): void {
    this.#owner.acceptOffloads(this.index, kinds);
  }

  /** For the gateway, which has more to do; use `gateway.setLink`. */
  setState(state: 'up' | 'down' | 'closed'): void {
    if (this.#state === 'closed') return;
    this.#state = state;
    this.#isUp = state === 'up' ? 1 : 0;
    if (state === 'closed') for (const close of [...this.#closers]) close();
  }

  onceClosed(close: () => void): () => void {
    this.#closers.add(close);
    return () => {
      this.#closers.delete(close);
    };
  }

  #pair(): LinkStreams {
    this.#streams ??= linkStreams(this);
    return this.#streams;
  }
}

function record(recordings: readonly Recording[], direction: 'in' | 'out', frame: Uint8Array): void {
  for (const { recorder, id } of recordings) recorder.record(id, direction, frame);
}
