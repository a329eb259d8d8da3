/**
 * What a gateway's interfaces are plugged into, as its configuration says: devices, sockets, guests, recordings. Cold.
 *
 * Uplinks come first, since they say which addresses there are; all else once there is a gateway. If one cannot be had,
 * those before it are let go.
 */
import { ConfigurationError } from '../errors.js';
import type { Attachment } from '../network/attachment.js';
import type { Gateway } from '../network/gateway.js';
import type { LinkPort } from '../network/port.js';
import { EthernetSwitch } from '../network/switch.js';
import { CaptureFile } from '../node/capture-file.js';
import { connectToPasst, type PasstUplink, startPasst } from '../node/passt.js';
import { connectToQemu, listenForQemu } from '../node/qemu.js';
import { serveRelay } from '../node/relay.js';
import { attachTun } from '../node/tun.js';
import {
  type AdapterConfig,
  adaptersOf,
  type InterfaceConfig,
  type LoadedConfig,
  type PasstAdapter,
  type RelayAdapter,
} from './gateway-config.js';
import type { GatewayLog } from './gateway-log.js';
import { type Lease, takesLease } from './gateway-setup.js';

interface Closable {
  close(): void | Promise<void>;
}

export class GatewayLinks {
  readonly leases = new Map<string, Lease>();
  readonly #loaded: LoadedConfig;
  readonly #log: GatewayLog;
  readonly #uplinks = new Map<string, PasstUplink>();
  readonly #open: Closable[] = [];
  readonly #captures = new Map<string, CaptureFile>();
  #isClosing = false;

  constructor(loaded: LoadedConfig, log: GatewayLog) {
    this.#loaded = loaded;
    this.#log = log;
  }

  /** Opens the uplinks. Throws a ConfigurationError. */
  async openUplinks(): Promise<void> {
    for (const [i, one] of this.#loaded.config.interfaces.entries()) {
      const [adapter] = adaptersOf(one);
      if (adapter?.type === 'passt') await this.#blaming(i, () => this.#openPasst(one, adapter));
    }
  }

  /** Plugs everything in. Throws a ConfigurationError. */
  async attach(gateway: Gateway): Promise<void> {
    for (const [i, one] of this.#loaded.config.interfaces.entries()) {
      await this.#blaming(i, () => this.#attachInterface(gateway, one));
    }
  }

  /** Lets everything go; what cannot be closed as it should be is told. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const open = [...this.#open.splice(0).reverse(), ...this.#captures.values()];
    for (const one of open) {
      try {
        await one.close();
      } catch (error) {
        this.#log.error('link-error', [(error as Error).message]);
      }
    }
  }

  async #attachInterface(gateway: Gateway, one: InterfaceConfig): Promise<void> {
    const adapters = adaptersOf(one);
    const port = gateway.interface(one.name);
    if (one.capture !== undefined) port.capture(this.#capture(one.capture));
    const [only] = adapters;
    if (adapters.length === 1 && only !== undefined && only.type !== 'relay') {
      await this.#plug(port, one, only);
    } else if (adapters.length > 0) {
      const segment = new EthernetSwitch({ mtu: port.mtu });
      segment.connect(port);
      for (const adapter of adapters) {
        if (adapter.type === 'relay') await this.#serveRelay(segment, one, adapter);
        else await this.#plug(segment.addPort(), one, adapter);
      }
    }
  }

  async #plug(port: LinkPort, one: InterfaceConfig, adapter: AdapterConfig): Promise<void> {
    const { name } = one;
    switch (adapter.type) {
      case 'tun': {
        const onGone = (error: Error) => this.#tell('gone', name, `the device is gone: ${error.message}`);
        const { device, offload } = adapter;
        const tun = await attachTun(port, {
          onGone,
          ...(device === undefined ? {} : { name: device }),
          ...(offload === undefined ? {} : { offload }),
        });
        this.#open.push(tun);
        this.#tell('attached', name, `device ${tun.name}`, { adapter: 'tun', device: tun.name });
        return;
      }
      case 'qemu': {
        const path = this.#loaded.path(adapter.socket);
        const onPeer = (state: string) => this.#tell('peer', name, `QEMU ${state}`, { state });
        const isClient = adapter.role === 'connect';
        const { reconnectMs } = adapter;
        const link: Attachment = isClient
          ? await connectToQemu(port, { path, onPeer, ...(reconnectMs === undefined ? {} : { reconnectMs }) })
          : await listenForQemu(port, { path, onPeer });
        this.#open.push(link);
        const text = `${isClient ? 'connects to' : 'waits for'} QEMU at ${path}`;
        this.#tell('attached', name, text, { adapter: 'qemu', socket: path });
        return;
      }
      case 'passt': {
        const uplink = this.#uplinks.get(name);
        uplink?.attach(port);
        const lease = this.leases.get(name);
        const text = `passt${lease === undefined ? '' : `, address ${lease.address}`}`;
        this.#tell('attached', name, text, { adapter: 'passt', address: lease?.address });
        return;
      }
      case 'relay':
        return;
    }
  }

  async #serveRelay(segment: EthernetSwitch, { name }: InterfaceConfig, relay: RelayAdapter): Promise<void> {
    const { type: _, guests, ...options } = relay;
    const role = guests === 'apart' ? 'isolated' : 'guest';
    const server = await serveRelay({
      ...options,
      admit: ({ remoteAddress, url }) => {
        const port = segment.addPort({ role });
        this.#tell('peer', name, `guest from ${remoteAddress}`, { state: 'connected', remoteAddress, url });
        return port;
      },
    });
    this.#open.push(server);
    this.#tell('attached', name, `relay at ${server.url}`, { adapter: 'relay', url: server.url });
  }

  async #openPasst(one: InterfaceConfig, adapter: PasstAdapter): Promise<void> {
    const { name, mac } = one;
    const common = {
      onGone: () => {
        if (this.#uplinks.has(name)) this.#tell('gone', name, 'passt is gone; a restart makes a new uplink');
      },
      ...(mac === undefined ? {} : { mac }),
    };
    const { program, socket } = adapter;
    const uplink =
      socket !== undefined
        ? await connectToPasst({ ...common, path: this.#loaded.path(socket) })
        : await startPasst({
            ...common,
            ...(program === undefined ? {} : { program }),
            ...(adapter.arguments === undefined ? {} : { arguments: adapter.arguments }),
          });
    this.#open.push(uplink);
    this.#uplinks.set(name, uplink);
    const { address, routers } = uplink.lease;
    // passt knows us by this address; ours to choose is only what the interface's are.
    const { hostAddresses } = uplink;
    const lease = { mac: uplink.mac, address, router: routers[0], hostAddresses };
    this.leases.set(name, takesLease(one) ? lease : { ...lease, router: undefined });
  }

  #capture(given: string): CaptureFile {
    const path = this.#loaded.path(given);
    const file = this.#captures.get(path) ?? new CaptureFile(path);
    this.#captures.set(path, file);
    return file;
  }

  #tell(event: string, name: string, text: string, fields: Record<string, unknown> = {}): void {
    // What goes because we let it go is no news.
    if (this.#isClosing) return;
    this.#log.event(event, `${name}: ${text}`, { interface: name, ...fields });
  }

  /** Errors are said of the interface's adapter; others (a program that is not there) too. */
  async #blaming(index: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const known =
        error instanceof ConfigurationError
          ? error
          : new ConfigurationError('io', (error as Error).message, {}, { cause: error });
      throw this.#loaded.document.blame(known, ['interfaces', index, 'adapter']);
    }
  }
}
