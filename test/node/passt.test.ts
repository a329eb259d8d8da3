import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createGateway } from '../../lib/network/gateway.js';
import { PROTECTED } from '../../lib/network/policy/policy.js';
import { connectToPasst, hostAddressesOf, type PasstUplink, startPasst } from '../../lib/node/passt.js';
import { attachTun } from '../../lib/node/tun.js';
import { enterNamespace, ip, missingForDevices, run } from '../linux.js';
import { frameOf, KeepingPort } from '../network/adapter-ports.js';
import { checksum } from './checksum.js';

const MAC = '52:54:00:00:00:42';

/** What a test's server answers; fields as RFC 2131 names them. */
interface Answer {
  readonly type: number;
  readonly yiaddr?: readonly number[];
  readonly options?: readonly (readonly number[])[];
  readonly xid?: readonly number[];
  readonly chaddr?: readonly number[];
}

/** The answer to a client's frame, as a frame. */
function answerTo(asked: Uint8Array, { type, yiaddr = [], options = [], xid, chaddr }: Answer): Uint8Array {
  const message = new Uint8Array(236);
  message.set([2, 1, 6, 0]);
  message.set(xid ?? asked.subarray(46, 50), 4);
  message.set(yiaddr, 16);
  message.set(chaddr ?? asked.subarray(70, 76), 28);
  const bootp = Uint8Array.from([...message, 0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options.flat(), 255]);
  const length = 28 + bootp.length;
  const ip = [0x45, 0, length >> 8, length & 255, 0, 0, 0, 0, 255, 17, 0, 0, 10, 0, 2, 2, 255, 255, 255, 255];
  const udp = [0, 67, 0, 68, (length - 20) >> 8, (length - 20) & 255, 0, 0];
  const ethernet = [255, 255, 255, 255, 255, 255, 0x9a, 0, 0, 0, 0, 1, 8, 0];
  return Uint8Array.from([...ethernet, ...ip, ...udp, ...bootp]);
}

function framed(frame: Uint8Array): Uint8Array {
  return Uint8Array.from([0, 0, frame.length >> 8, frame.length & 255, ...frame]);
}

const OFFERED: readonly (readonly number[])[] = [
  [54, 4, 10, 0, 2, 2],
  [0, 0, 1, 4, 255, 255, 255, 0],
  [3, 4, 10, 0, 2, 2],
  [6, 8, 1, 1, 1, 1, 8, 8, 8, 8],
  [26, 2, 0xff, 0xf0],
  [51, 4, 0, 0, 0x0e, 0x10],
];

describe('an uplink through passt, played by a server of ours', () => {
  let folder: string;
  let server: Server;
  let sockets: Socket[];
  let asked: Uint8Array[];
  /** How the server answers the n-th frame. */
  let answers: (frame: Uint8Array) => Uint8Array[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'conntide-passt-'));
    sockets = [];
    asked = [];
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', (bytes: Buffer) => {
        for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
          const frame = new Uint8Array(bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at)));
          asked.push(frame);
          for (const answer of answers(frame)) socket.write(framed(answer));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(join(folder, 's'), resolve));
  });

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });

  const dhcpType = (frame: Uint8Array) => frame[42 + 240 + 2];
  const grants = (frame: Uint8Array): Uint8Array[] => {
    const type = dhcpType(frame) === 1 ? 2 : 5;
    return [answerTo(frame, { type, yiaddr: [10, 0, 2, 15], options: OFFERED })];
  };

  it('has a lease in the terms of an interface', async () => {
    answers = grants;
    const uplink = await connectToPasst({ path: join(folder, 's'), mac: MAC });
    expect(uplink.mac).toBe(MAC);
    expect(uplink.lease).toEqual({
      address: '10.0.2.15/24',
      routers: ['10.0.2.2'],
      nameServers: ['1.1.1.1', '8.8.8.8'],
      mtu: 65_520,
      server: '10.0.2.2',
      durationMs: 3_600_000,
    });
    await uplink.close();
  });

  it("knows by which addresses passt reaches its host's loopback", async () => {
    answers = grants;
    const uplink = await connectToPasst({ path: join(folder, 's'), mac: MAC });
    expect(uplink.hostAddresses).toEqual(['10.0.2.2']);
    const { lease } = uplink;
    const of = (...words: string[]) => hostAddressesOf(words, lease);
    expect(of('-t', '8080', '--mtu', '1500')).toEqual(['10.0.2.2']);
    expect(of('--no-map-gw')).toEqual([]);
    expect(of('--map-host-loopback', 'none')).toEqual([]);
    expect(of('-g', '10.0.2.2', '--gateway=2001:db8::1')).toEqual(['10.0.2.2', '2001:db8::1']);
    expect(of('--no-map-gw', '--map-host-loopback=169.254.1.1')).toEqual(['169.254.1.1']);
    expect(hostAddressesOf([], undefined)).toEqual([]);
    await uplink.close();
  });

  it('asks in messages that a server can believe', async () => {
    answers = grants;
    const uplink = await connectToPasst({ path: join(folder, 's'), mac: MAC });
    const [discover, request] = asked;
    for (const frame of asked) {
      expect([...frame.subarray(0, 14)]).toEqual([
        255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0, 0, 0x42, 8, 0,
      ]);
      expect(checksum(frame.subarray(14, 34))).toBe(0);
      expect((frame[16] << 8) | frame[17]).toBe(frame.length - 14);
      expect((frame[38] << 8) | frame[39]).toBe(frame.length - 34);
    }
    expect(asked.map(dhcpType)).toEqual([1, 3]);
    const options = [...request.subarray(42 + 240)];
    expect(options.join()).toContain('50,4,10,0,2,15,54,4,10,0,2,2');
    expect([...request.subarray(46, 50)]).toEqual([...discover.subarray(46, 50)]);
    await uplink.close();
  });

  it('passes over what is no answer to it', async () => {
    answers = (frame) => {
      const good = { type: dhcpType(frame) === 1 ? 2 : 5, yiaddr: [10, 0, 2, 15], options: OFFERED };
      const right = answerTo(frame, good);
      const isBad = (at: number, value: number) =>
        Uint8Array.from(right, (byte, i) => (i === at ? value : byte));
      return [
        frameOf(1),
        right.subarray(0, 100),
        right.subarray(0, 281),
        answerTo(frame, { ...good, xid: [1, 2, 3, 4], yiaddr: [6, 6, 6, 6] }),
        answerTo(frame, { ...good, chaddr: [1, 2, 3, 4, 5, 6], yiaddr: [6, 6, 6, 6] }),
        isBad(13, 6),
        isBad(23, 6),
        isBad(35, 68),
        isBad(278, 0),
        answerTo(frame, { type: 5, yiaddr: [6, 6, 6, 6], xid: [0, 0, 0, 0], options: [] }),
        right,
      ];
    };
    const { lease, close } = await connectToPasst({ path: join(folder, 's'), mac: MAC });
    expect(lease.address).toBe('10.0.2.15/24');
    await close();
  });

  it('fails when nobody answers, when the offer is taken back and when the peer goes', async () => {
    const path = join(folder, 's');
    answers = () => [];
    await expect(connectToPasst({ path, leaseTimeoutMs: 5 })).rejects.toThrow(
      'no DHCP lease from passt within 5 ms',
    );
    answers = (frame) =>
      dhcpType(frame) === 1 ? grants(frame) : [answerTo(frame, { type: 6, options: OFFERED })];
    await expect(connectToPasst({ path })).rejects.toThrow('refuses the address that it offered');
    answers = () => {
      for (const socket of sockets) socket.destroy();
      return [];
    };
    await expect(connectToPasst({ path })).rejects.toThrow('passt has gone');
    await expect(connectToPasst({ path: join(folder, 'none') })).rejects.toThrow('there is no such file');
  });

  it('carries frames for the port it is plugged into, and says when passt has gone', async () => {
    answers = () => [];
    let gone: () => void = () => {};
    const isGone = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const uplink = await connectToPasst({ path: join(folder, 's'), dhcp: 'none', onGone: () => gone() });
    expect(uplink.lease).toBeUndefined();
    const port = new KeepingPort();
    uplink.attach(port);
    answers = (frame) => [frame];
    port.onTransmit?.(frameOf(1));
    await port.until(1);
    expect(port.frames).toEqual([[...frameOf(1)]]);
    expect(() => uplink.attach(new KeepingPort('ip'))).toThrow('passt carries Ethernet frames');
    for (const socket of sockets) socket.destroy();
    await isGone;
    expect(uplink.link.isConnected).toBe(false);
    await uplink.close();
    expect(port.onTransmit).toBeUndefined();
  });
});

const missing = missingForDevices('tests with a real passt', 'passt', 'curl', 'nsenter');

describe('starting passt', () => {
  it('fails with what the program says', async () => {
    await expect(startPasst({ program: '/nowhere/passt' })).rejects.toThrow(
      '/nowhere/passt: there is no such file',
    );
    await expect(startPasst({ program: 'false' })).rejects.toThrow(/passt ended \(1\).*\('false'\)/);
    // Also when its end of the pair is closed before it has ended.
    const folder = mkdtempSync(join(tmpdir(), 'passt-'));
    const program = join(folder, 'passt');
    writeFileSync(program, '#!/bin/sh\nexec 3>&-\nsleep 0.1\necho no tap >&2\nexit 3\n', { mode: 0o755 });
    await expect(startPasst({ program })).rejects.toThrow(/passt ended \(3\): no tap/);
    rmSync(folder, { recursive: true });
  });
});

describe.skipIf(missing.length > 0)('a real passt', () => {
  const uplinks: PasstUplink[] = [];
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    await enterNamespace();
    // passt wants an interface with a default route to take its addresses from.
    ip('tuntap', 'add', 'dev', 'out0', 'mode', 'tap');
    ip('addr', 'add', '10.66.0.2/24', 'dev', 'out0');
    ip('link', 'set', 'out0', 'up');
    ip('route', 'add', 'default', 'via', '10.66.0.1');
  });

  afterEach(async () => {
    await Promise.all(uplinks.splice(0).map((uplink) => uplink.close()));
    for (const child of children.splice(0)) child.kill();
  });

  it('leases the host its address, and ends with the uplink', async () => {
    const uplink = await startPasst({ arguments: ['--mtu', '1500'] });
    expect(uplink.lease).toMatchObject({
      address: '10.66.0.2/24',
      routers: ['10.66.0.1'],
      mtu: 1500,
      durationMs: Number.POSITIVE_INFINITY,
    });
    expect(uplink.link.isConnected).toBe(true);
    await uplink.close();
    expect(uplink.link.isConnected).toBe(false);
  });

  it('lets a client behind the gateway fetch from the host over HTTP', async () => {
    const body = Buffer.alloc(300_000, 'through passt ');
    const server = createHttpServer((_, response) => response.end(body));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;

    const uplink = await startPasst({ arguments: ['--mtu', '1500'] });
    uplinks.push(uplink);
    const gateway = createGateway({
      interfaces: [
        { name: 'lan', addresses: ['10.99.0.1/24'] },
        { name: 'wan', link: 'ethernet', mac: uplink.mac, addresses: [uplink.lease.address] },
      ],
      routes: [`default via ${uplink.lease.routers[0]} dev wan`],
      rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
    });
    uplink.attach(gateway.interface('wan'));
    const tun = await attachTun(gateway.interface('lan'), { name: 'guest0' });

    const guest = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 60']);
    children.push(guest);
    await new Promise((resolve) => guest.stdout.once('data', resolve));
    ip('link', 'set', 'guest0', 'netns', String(guest.pid));
    const inside = ['-t', String(guest.pid), '-n'];
    const configure =
      'ip addr add 10.99.0.2/24 dev guest0 && ip link set guest0 up && ip route add default via 10.99.0.1';
    execFileSync('nsenter', [...inside, 'sh', '-c', configure]);

    const { output: fetched } = await run(
      'nsenter',
      ...inside,
      'curl',
      '-s',
      '-m',
      '10',
      `http://10.66.0.1:${port}/`,
    );
    expect(fetched.length).toBe(body.length);
    expect(fetched).toBe(body.toString());

    // A policy that protects what the uplink says keeps guests from the host, and from nothing else.
    expect(uplink.hostAddresses).toEqual(['10.66.0.1']);
    gateway.policy({ protect: [...PROTECTED, ...uplink.hostAddresses] });
    const { output: denied } = await run(
      'nsenter',
      ...inside,
      'curl',
      '-s',
      '-m',
      '10',
      `http://10.66.0.1:${port}/`,
    );
    expect(denied.length).toBeLessThan(body.length);
    gateway.policy(undefined);
    await tun.close();
    gateway.close();
    await new Promise((resolve) => server.close(resolve));
  }, 20_000);
});
