import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGateway, type Gateway } from '../../../lib/network/gateway.js';
import type { TcpConnection } from '../../../lib/network/local/tcp-connection.js';
import type { LinkPort } from '../../../lib/network/port.js';
import { attachTun, type TunAttachment } from '../../../lib/node/tun.js';
import { SeededRandom } from '../../../lib/random.js';
import { enterNamespace, missingForDevices, run } from '../../linux.js';

const missing = missingForDevices('local endpoints with Linux clients', 'curl', 'python3');

/** A port that loses some packets, both ways. */
class LossyPort implements LinkPort {
  readonly link = 'ip';
  readonly mtu: number;
  readonly #port: LinkPort;
  readonly #dice = new SeededRandom(5);
  lossPercent = 0;
  onTransmit: LinkPort['onTransmit'];

  constructor(port: LinkPort) {
    this.#port = port;
    this.mtu = port.mtu;
    port.onTransmit = (frame) => {
      if (!this.#isLost()) this.onTransmit?.(frame);
    };
  }

  receive(frame: Uint8Array): void {
    if (!this.#isLost()) this.#port.receive(frame);
  }

  #isLost(): boolean {
    return this.#dice.pick(0, 100) < this.lossPercent;
  }
}

/** Serves one HTTP request: answers with the body that came, and says in a header where the client wanted to go. */
async function serve(connection: TcpConnection): Promise<void> {
  const reader = connection.readable.getReader();
  const writer = connection.writable.getWriter();
  let head: Uint8Array = new Uint8Array(0);
  let end = -1;
  while (end < 0) {
    const { value, done } = await reader.read();
    if (done) return;
    head = Buffer.concat([head, value]);
    end = Buffer.from(head).indexOf('\r\n\r\n');
  }
  const text = Buffer.from(head.subarray(0, end)).toString();
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
  const { address, port } = connection.originalDst;
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\nX-Original: ${address}:${port}\r\n\r\n`;
  await writer.write(new TextEncoder().encode(answer));
  let left = length;
  for (let part = head.subarray(end + 4); ; ) {
    if (part.length > 0) await writer.write(part);
    left -= part.length;
    if (left <= 0) break;
    const { value, done } = await reader.read();
    if (done) return;
    part = value;
  }
  await writer.close();
}

describe.skipIf(missing.length > 0)('a Linux client', () => {
  let gateway: Gateway;
  let tun: TunAttachment;
  let lossy: LossyPort;
  const folder = mkdtempSync(join(tmpdir(), 'conntide-local-'));
  const errors: unknown[] = [];

  beforeAll(async () => {
    await enterNamespace();
    gateway = createGateway({
      interfaces: [{ name: 'lan', addresses: ['10.77.0.1/24', 'fd00:77::1/64'], mtu: 1500 }],
      rules: {
        4: '*mangle\n-A PREROUTING -p tcp --dport 8080 -j TPROXY --on-port 3129\n-A PREROUTING -p udp --dport 54 -j TPROXY --on-port 5354\nCOMMIT\n*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 3128\n-A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353\nCOMMIT\n',
        6: '*mangle\n-A PREROUTING -p tcp --dport 8080 -j TPROXY --on-port 3129\nCOMMIT\n*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 3128\nCOMMIT\n',
      },
    });
    for (const transparent of [false, true]) {
      gateway.tcp.listen({
        port: transparent ? 3129 : 3128,
        transparent,
        onConnection: (connection) => {
          serve(connection).catch((error) => errors.push(error));
        },
      });
      const udp = gateway.udp.bind({ port: transparent ? 5354 : 5353, transparent });
      udp.onMessage = (datagram) => udp.reply(datagram, datagram.bytes);
    }
    lossy = new LossyPort(gateway.interface('lan'));
    tun = await attachTun(lossy);
    for (const words of [
      ['addr', 'add', '10.77.0.2/24', 'dev', tun.name],
      ['-6', 'addr', 'add', 'fd00:77::2/64', 'dev', tun.name, 'nodad'],
      ['route', 'add', 'default', 'via', '10.77.0.1'],
      ['-6', 'route', 'add', 'default', 'via', 'fd00:77::1'],
    ]) {
      expect((await run('ip', ...words)).output).toBe('');
    }
  });

  afterAll(async () => {
    await tun?.close();
    gateway?.close();
    rmSync(folder, { recursive: true });
  });

  const post = async (url: string, bytes: number): Promise<{ headers: string; isSame: boolean }> => {
    const body = join(folder, 'body');
    const out = join(folder, 'out');
    const content = Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >>> 9)) & 255));
    writeFileSync(body, content);
    const words = ['-sS', '-g', '--noproxy', '*', '-D', '-', '-o', out, '-H', 'Expect:', '--max-time', '60'];
    const { output } = await run('curl', ...words, '--data-binary', `@${body}`, url);
    const hash = (await run('sha256sum', out)).output.split(' ')[0];
    return { headers: output, isSame: hash === createHash('sha256').update(content).digest('hex') };
  };

  it.each([
    ['http://93.184.216.34/', '93.184.216.34:80', 5_000_000, 0],
    ['http://[2001:db8::7]/', '2001:db8::7:80', 1_000_000, 0],
    ['http://93.184.216.35/', '93.184.216.35:80', 300_000, 3],
    // By TPROXY.
    ['http://93.184.216.34:8080/', '93.184.216.34:8080', 1_000_000, 0],
    ['http://[2001:db8::7]:8080/', '2001:db8::7:8080', 1_000_000, 0],
  ])(
    'sends to %s what a proxy at %s gives back: %i bytes, with %i of 100 packets lost',
    async (url, original, bytes, loss) => {
      lossy.lossPercent = loss;
      const { headers, isSame } = await post(url, bytes);
      lossy.lossPercent = 0;
      expect(headers).toContain('200 OK');
      expect(headers).toContain(`X-Original: ${original}`);
      expect(isSame).toBe(true);
      expect(errors).toEqual([]);
    },
    70_000,
  );

  it('runs many connections at once', async () => {
    const words = [
      '-sS',
      '--noproxy',
      '*',
      '-Z',
      '--parallel-max',
      '50',
      '-o',
      '/dev/null',
      '-w',
      'code=%{http_code} ',
    ];
    const { output } = await run('curl', ...words, '--max-time', '20', 'http://198.51.100.[1-100]/');
    expect(output.match(/code=\d+/g)).toEqual(Array(100).fill('code=200'));
  });

  it('hears from the address that it asked, by UDP', async () => {
    const program = [
      'import socket',
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
      's.settimeout(5)',
      'for to, port in (("1.1.1.1", 53), ("8.8.8.8", 53), ("8.8.4.4", 54), ("9.9.9.9", 54)):',
      '    s.sendto(b"ask" * 900, (to, port))',
      '    answer, who = s.recvfrom(9000)',
      '    print(who[0], who[1], len(answer))',
    ];
    const { output } = await run('python3', '-c', program.join('\n'));
    expect(output).toBe('1.1.1.1 53 2700\n8.8.8.8 53 2700\n8.8.4.4 54 2700\n9.9.9.9 54 2700\n');
  });
});
