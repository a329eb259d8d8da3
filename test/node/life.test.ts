/** Adapters and the life of a process: what is closed holds nothing, leaving does not wait, what is missing is named. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PackageCopy } from '../package-copy.js';

const copy = new PackageCopy('life');
const hasTun =
  process.getuid?.() === 0 &&
  existsSync('/dev/net/tun') &&
  spawnSync('unshare', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
if (!hasTun) console.warn('SKIPPED: processes with a TUN device: needs root and namespaces');

/** Outside the project, where packages that lead nowhere hide those that may lie in a folder above. */
let bare: string;

beforeAll(async () => {
  await copy.make();
  bare = mkdtempSync(join(tmpdir(), 'conntide-bare-'));
  cpSync(join(copy.folder, 'dist'), join(bare, 'dist'), { recursive: true });
  writeFileSync(join(bare, 'package.json'), '{ "type": "module" }');
  for (const name of ['koffi', 'ws']) {
    mkdirSync(join(bare, 'node_modules', name), { recursive: true });
    writeFileSync(join(bare, 'node_modules', name, 'package.json'), '{ "exports": {} }');
  }
}, 60_000);

afterAll(async () => {
  rmSync(bare, { recursive: true });
  await copy.remove();
});

const PORT = `const port = { link: 'ethernet', mtu: 1500, receive() {}, onTransmit: undefined };`;
const PACKETS = `const port = { link: 'ip', mtu: 1500, receive() {}, onTransmit: undefined };`;

/** Runs a program in a namespace of its own; kills it if it does not end. */
function run(folder: string, code: string, inNamespace: 'own network' | 'same' = 'same') {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, code);
  const [program, words] =
    inNamespace === 'same' ? [process.execPath, [file]] : ['unshare', ['-n', process.execPath, file]];
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8', timeout: 20_000 });
  return { status, stdout, stderr };
}

describe('a process with adapters', () => {
  it('ends by itself once sockets, relays and recordings are closed', () => {
    const code = `
      import { CaptureFile, connectToQemu, listenForQemu, serveRelay } from './dist/node/index.js';
      ${PORT}
      const other = { ...port };
      const path = ${JSON.stringify(join(copy.folder, 's'))};
      const links = [
        await listenForQemu(port, { path }),
        await connectToQemu(other, { path, reconnectMs: 1 }),
        await serveRelay({ admit: () => undefined }),
        new CaptureFile(path + '.pcapng'),
      ];
      await Promise.all(links.map((link) => link.close()));
      console.log('closed');`;
    expect(run(copy.folder, code)).toEqual({ status: 0, stdout: 'closed\n', stderr: '' });
  });

  it.skipIf(!hasTun)('ends by itself once a TUN device is closed, or when it was unreferenced', () => {
    for (const end of ['await tun.close()', 'tun.unref()']) {
      const code = `
        import { attachTun } from './dist/node/index.js';
        ${PACKETS}
        const tun = await attachTun(port, { name: 'life0' });
        ${end};
        console.log(tun.name);`;
      expect(run(copy.folder, code, 'own network')).toEqual({ status: 0, stdout: 'life0\n', stderr: '' });
    }
  });

  it('ends by itself once the gateway is closed that its links are plugged into', () => {
    const code = `
      import { createGateway } from './dist/index.js';
      import { captureToFile, connectToQemu, listenForQemu } from './dist/node/index.js';
      const names = ['a', 'b', 'c'];
      const gateway = createGateway({
        interfaces: names.map((name) => ({ name, link: 'ethernet', addresses: [], advertise: {} })),
      });
      const path = ${JSON.stringify(join(copy.folder, 'g'))};
      const [a, b, c] = gateway.interfaces;
      const links = [
        await listenForQemu(a, { path }),
        await connectToQemu(b, { path }),
        await connectToQemu(c, { path: path + '.none', reconnectMs: 1 }),
      ];
      captureToFile(gateway, path + '.pcapng');
      gateway.close();
      await Promise.all(links.map((link) => link.close()));
      console.log(links.map((link) => link.isConnected).join());`;
    expect(run(copy.folder, code)).toEqual({ status: 0, stdout: 'false,false,false\n', stderr: '' });
  });

  it.skipIf(!hasTun)('ends by itself once the gateway of a TUN device is closed', () => {
    const code = `
      import { createGateway } from './dist/index.js';
      import { attachTun } from './dist/node/index.js';
      const gateway = createGateway({ interfaces: [{ name: 'lan', addresses: ['10.0.0.1/24'] }] });
      await attachTun(gateway.interface('lan'), { offload: 'virtio' });
      gateway.close();`;
    expect(run(copy.folder, code, 'own network')).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it.skipIf(!hasTun)('leaves at once with a TUN device open', () => {
    const code = `
      import { attachTun } from './dist/node/index.js';
      ${PACKETS}
      await attachTun(port);
      setTimeout(() => process.exit(7), 10);`;
    expect(run(copy.folder, code, 'own network').status).toBe(7);
  });

  it.skipIf(!hasTun)('stays as long as a TUN device is open', () => {
    const code = `
      import { attachTun } from './dist/node/index.js';
      ${PACKETS}
      await attachTun(port);
      setTimeout(() => process.exit(7), 100).unref();`;
    expect(run(copy.folder, code, 'own network').status).toBe(7);
  });

  it.each([
    ['koffi', 'tun', `attachTun({ link: 'ip', mtu: 1500, receive() {} })`],
    ['ws', 'relay', 'serveRelay({ admit: () => undefined })'],
  ])('says what to install where %s is missing', (name, file, call) => {
    const code = `
      import * as adapter from './dist/node/${file}.js';
      await adapter.${call}.catch(({ name, code, message }) => console.log(name, code, message));`;
    const { stdout, stderr, status } = run(bare, code);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(stdout).toContain(`ConfigurationError unsupported`);
    expect(stdout).toMatch(new RegExp(`needs? the package ${name} `));
    expect(stdout).toContain(`expected npm install ${name}`);
  });
});
