/**
 * TUN and TAP devices of Linux: the system calls that Node does not offer, through koffi, which is loaded when the
 * first device is opened. Little-endian 64-bit machines; the numbers are those of <linux/if_tun.h> and <linux/if.h>.
 */
import { closeSync } from 'node:fs';
import { ConfigurationError } from '../errors.js';
import type { OffloadKind } from '../network/offload/features.js';

/** C functions; pointers are typed arrays. Each returns -1 on failure. */
export interface SystemCalls {
  open(path: string, flags: number, mode: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  ioctlValue(fd: number, request: number, value: number): number;
  socket(domain: number, type: number, protocol: number): number;
  pipe2(fds: Int32Array, flags: number): number;
  dup3(from: number, to: number, flags: number): number;
  read(fd: number, buffer: Uint8Array, lengthBytes: number): number;
  write(fd: number, bytes: Uint8Array, lengthBytes: number): number;
  /** Of the newest call. */
  errno(): number;
  nameOf(errno: number): string;
}

export interface TunDeviceOptions {
  /** Up to 15 bytes, may have one `%d`; the kernel chooses `tunN` or `tapN` by default. */
  readonly name: string | undefined;
  readonly link: 'ip' | 'ethernet';
  readonly offload: 'none' | 'virtio';
  readonly mtu: number;
  readonly state: 'up' | 'down';
}

/** An open device: a file descriptor that does not block. */
export interface TunDevice {
  readonly fd: number;
  readonly name: string;
  /** What the kernel does to unfinished frames that are written. */
  readonly offloads: readonly OffloadKind[];
}

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

const TUNSETIFF = 0x4004_54ca;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNSETVNETHDRSZ = 0x4004_54d8;
const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Checksums; TCP segmentation for IPv4, for IPv6, and with congestion notification. */
const TUN_F_TCP = 0x01 | 0x02 | 0x04 | 0x08;
/** UDP segmentation for IPv4 and IPv6, since Linux 6.2. */
const TUN_F_USO = 0x20 | 0x40;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFMTU = 0x8922;
const IFF_UP = 1;
const AF_INET = 2;
const SOCK_DGRAM = 2;
/** struct ifreq: 16 bytes of name, then a union. */
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;

const EINVAL = 22;
const REASONS: Readonly<Record<string, string>> = {
  EPERM: 'not permitted: needs CAP_NET_ADMIN, or a device that root made for this user',
  EACCES: 'permission denied',
  ENOENT: 'there is no such file',
  ENODEV: 'the kernel has no TUN driver',
  EBUSY: 'the device is in use',
  EINVAL: 'there is such an interface, of another kind',
};

let calls: SystemCalls | undefined;

/** The C library. Throws a ConfigurationError where there is none to be had, or no koffi to have it with. */
export async function loadSystemCalls(): Promise<SystemCalls> {
  if (calls !== undefined) return calls;
  if (process.platform !== 'linux') {
    throw new ConfigurationError('unsupported', 'TUN devices are had on Linux only', {
      word: process.platform,
    });
  }
  const koffi = await importKoffi();
  // Of the running program itself, whichever C library it has.
  const libc = koffi.load(null);
  calls = {
    open: libc.func('int open(const char *path, int flags, int mode)'),
    ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
    ioctlValue: libc.func('ioctl', 'int', ['int', 'unsigned long', 'unsigned long']),
    socket: libc.func('int socket(int domain, int type, int protocol)'),
    pipe2: libc.func('int pipe2(void *fds, int flags)'),
    dup3: libc.func('int dup3(int from, int to, int flags)'),
    read: libc.func('long read(int fd, void *buffer, size_t size)'),
    write: libc.func('long write(int fd, void *buffer, size_t size)'),
    errno: () => koffi.errno(),
    nameOf: (errno) => {
      const found = Object.entries(koffi.os.errno).find(([, value]) => value === errno);
      return found?.[0] ?? `errno ${errno}`;
    },
  };
  return calls;
}

async function importKoffi() {
  try {
    return (await import('koffi')).default;
  } catch (error) {
    throw new ConfigurationError(
      'unsupported',
      'TUN devices need the package koffi',
      { word: 'koffi', expected: 'npm install koffi' },
      { cause: error },
    );
  }
}

/** Opens a device, makes it if there is none, sets its MTU and brings it up. Throws a ConfigurationError. */
export function openTunDevice(system: SystemCalls, options: TunDeviceOptions): TunDevice {
  const file = '/dev/net/tun';
  const request = nameRequest(options.name ?? '');
  const fd = system.open(file, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  if (fd < 0) throw failed(system, 'open', file);
  try {
    const kind = options.link === 'ip' ? IFF_TUN : IFF_TAP;
    const flags = kind | IFF_NO_PI | (options.offload === 'virtio' ? IFF_VNET_HDR : 0);
    request[NAME_BYTES] = flags;
    request[NAME_BYTES + 1] = flags >>> 8;
    if (system.ioctl(fd, TUNSETIFF, request) < 0) throw failed(system, 'TUNSETIFF', options.name ?? file);
    const name = nameOfRequest(request);
    const offloads = options.offload === 'virtio' ? switchOffloadOn(system, fd, name) : [];
    configure(system, name, options);
    return { fd, name, offloads };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function switchOffloadOn(system: SystemCalls, fd: number, name: string): readonly OffloadKind[] {
  const size = Uint8Array.of(12, 0, 0, 0);
  if (system.ioctl(fd, TUNSETVNETHDRSZ, size) < 0) throw failed(system, 'TUNSETVNETHDRSZ', name);
  if (system.ioctlValue(fd, TUNSETOFFLOAD, TUN_F_TCP | TUN_F_USO) === 0) {
    return ['checksum', 'tcp4', 'tcp6', 'udp'];
  }
  if (system.errno() !== EINVAL || system.ioctlValue(fd, TUNSETOFFLOAD, TUN_F_TCP) < 0) {
    throw failed(system, 'TUNSETOFFLOAD', name);
  }
  return ['checksum', 'tcp4', 'tcp6'];
}

function configure(system: SystemCalls, name: string, options: TunDeviceOptions): void {
  const socket = system.socket(AF_INET, SOCK_DGRAM | O_CLOEXEC, 0);
  if (socket < 0) throw failed(system, 'socket', name);
  try {
    const request = nameRequest(name);
    new DataView(request.buffer).setInt32(NAME_BYTES, options.mtu, true);
    if (system.ioctl(socket, SIOCSIFMTU, request) < 0)
      throw failed(system, `SIOCSIFMTU ${options.mtu}`, name);
    if (options.state === 'down') return;
    if (system.ioctl(socket, SIOCGIFFLAGS, request) < 0) throw failed(system, 'SIOCGIFFLAGS', name);
    request[NAME_BYTES] |= IFF_UP;
    if (system.ioctl(socket, SIOCSIFFLAGS, request) < 0) throw failed(system, 'SIOCSIFFLAGS', name);
  } finally {
    closeSync(socket);
  }
}

function nameRequest(name: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(name);
  // The forms that dev_valid_name refuses would come back as a bare EINVAL.
  if (bytes.length >= NAME_BYTES || /[/:\s\0]/.test(name) || name === '.' || name === '..') {
    throw new ConfigurationError('value', 'not a name for an interface', {
      word: name,
      expected: 'up to 15 bytes without slash, colon and space',
    });
  }
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(bytes);
  return request;
}

function nameOfRequest(request: Uint8Array): string {
  return new TextDecoder().decode(request.subarray(0, request.indexOf(0)));
}

function failed(system: SystemCalls, what: string, word: string): ConfigurationError {
  const code = system.nameOf(system.errno());
  return new ConfigurationError('io', `${what}: ${REASONS[code] ?? code}`, { word });
}
