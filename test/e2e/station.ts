/**
 * A machine of the lab: a network namespace of its own, in which programs run. It ends with this process, whatever
 * happens: what holds the namespace reads from a pipe of ours.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The lab's own program for stations: servers and clients. See there. */
const PEER = fileURLToPath(new URL('./peer.js', import.meta.url));

/** What a program said. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that serves until the station is closed. */
export interface Server {
  readonly child: ChildProcess;
  /** All of its output. */
  output(): string;
}

/** Without the proxies of the machine that the tests run on. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.toLowerCase().endsWith('_proxy')),
);

export class Station {
  readonly name: string;
  readonly #holder: ChildProcess;
  readonly #children = new Set<ChildProcess>();

  private constructor(name: string, holder: ChildProcess) {
    this.name = name;
    this.#holder = holder;
  }

  static async make(name: string): Promise<Station> {
    const holder = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up && echo ready && exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout!, 'data');
    return new Station(name, holder);
  }

  get pid(): number {
    return this.#holder.pid!;
  }

  #inside(words: readonly string[]): string[] {
    return ['-t', String(this.pid), '-n', ...words];
  }

  /** `ip` in the station: quick, and needs no packet to be answered. */
  ip(command: string): string {
    return execFileSync('nsenter', this.#inside(['ip', ...command.split(' ')]), { encoding: 'utf8' });
  }

  /** Without waiting for others to say that they have an IPv6 address already. */
  addAddress(address: string, device: string): void {
    this.ip(`addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`);
  }

  /** Moves a device of this process's namespace into the station, with these addresses. */
  adopt(device: string, addresses: readonly string[]): void {
    execFileSync('ip', ['link', 'set', device, 'netns', String(this.pid)]);
    for (const address of addresses) this.addAddress(address, device);
    this.ip(`link set ${device} up`);
  }

  /** Sets a setting under /proc/sys: those of the network are the station's own. */
  sysctl(name: string, value: number): void {
    const path = `/proc/sys/${name.replaceAll('.', '/')}`;
    execFileSync('nsenter', this.#inside(['sh', '-c', `echo ${value} > ${path}`]));
  }

  /** Runs a program to its end. */
  run(program: string, ...words: string[]): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const child = this.#spawn([program, ...words]);
      let stdout = '';
      let stderr = '';
      child.stdout!.on('data', (text) => (stdout += text));
      child.stderr!.on('data', (text) => (stderr += text));
      child.on('error', reject);
      child.on('close', (status) => resolve({ status, stdout, stderr }));
    });
  }

  /** The output of a program that succeeds; throws with what it said otherwise. */
  async output(program: string, ...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(program, ...words);
    if (status === 0) return stdout;
    throw new Error(`${this.name}: ${program} ${words.join(' ')}: status ${status}\n${stdout}${stderr}`);
  }

  /** The lab's own program, as a client. */
  peer(...words: string[]): Promise<string> {
    return this.output(process.execPath, PEER, ...words);
  }

  /** The lab's own program, as a server; resolves once it listens. */
  servePeer(...words: string[]): Promise<Server> {
    return this.serve(/^ready$/, process.execPath, PEER, ...words);
  }

  /** Starts a program; resolves when a line of its output matches. */
  serve(ready: RegExp, program: string, ...words: string[]): Promise<Server> {
    const child = this.#spawn([program, ...words]);
    let output = '';
    const server: Server = { child, output: () => output };
    return new Promise((resolve, reject) => {
      for (const stream of [child.stdout!, child.stderr!]) {
        createInterface({ input: stream }).on('line', (line) => {
          output += `${line}\n`;
          if (ready.test(line)) resolve(server);
        });
      }
      child.on('error', reject);
      child.on('close', (status) => reject(new Error(`${this.name}: ${program}: ${status}\n${output}`)));
    });
  }

  #spawn(words: readonly string[]): ChildProcess {
    const child = spawn('nsenter', this.#inside(words), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
    });
    this.#children.add(child);
    child.on('close', () => this.#children.delete(child));
    return child;
  }

  async close(): Promise<void> {
    const ended = [...this.#children, this.#holder].map((child) => once(child, 'close'));
    for (const child of this.#children) child.kill('SIGKILL');
    this.#holder.kill('SIGKILL');
    await Promise.all(ended);
  }
}
