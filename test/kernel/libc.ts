/**
 * System calls that Node does not offer, through the C library: network namespaces, TUN devices, netlink and raw
 * sockets. Linux on little-endian 64-bit machines; the numbers are those of its headers. Everything blocks or returns
 * at once, on the calling thread, so that the thread's network namespace is the one that counts.
 */
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const call = {
  unshare: libc.func('int unshare(int flags)'),
  open: libc.func('int open(const char *path, int flags, int mode)'),
  close: libc.func('int close(int fd)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  ioctlValue: libc.func('ioctl', 'int', ['int', 'unsigned long', 'uint64_t']),
  read: libc.func('int64_t read(int fd, void *buffer, size_t size)'),
  write: libc.func('int64_t write(int fd, void *buffer, size_t size)'),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, void *address, uint32_t size)'),
  send: libc.func('int64_t send(int fd, void *buffer, size_t size, int flags)'),
  sendto: libc.func(
    'int64_t sendto(int fd, void *buffer, size_t size, int flags, void *address, uint32_t addressSize)',
  ),
  recv: libc.func('int64_t recv(int fd, void *buffer, size_t size, int flags)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t size)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, void *value, void *size)'),
};

const CLONE_NEWNET = 0x4000_0000;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const EAGAIN = 11;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
const MSG_DONTWAIT = 0x40;

/** A failed system call. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  readonly errno: number;

  constructor(what: string, errno: number) {
    super(`${what}: errno ${errno}`);
    this.errno = errno;
  }
}

function check(result: number | bigint, what: string): number {
  const value = Number(result);
  if (value < 0) throw new SystemError(what, koffi.errno());
  return value;
}

/** Puts this thread, and the programs it starts, into a new and empty network namespace. */
export function unshareNetwork(): void {
  check(call.unshare(CLONE_NEWNET), 'unshare');
}

export function close(fd: number): void {
  call.close(fd);
}

/**
 * A new TUN device without packet information; reads do not block. It stays until its namespace goes: to take it down
 * with its file would wait for the whole machine, tens of milliseconds.
 */
export function openTun(device: string): number {
  const fd = check(call.open('/dev/net/tun', O_RDWR | O_NONBLOCK, 0), 'open /dev/net/tun');
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode(device));
  new DataView(request.buffer).setUint16(16, IFF_TUN | IFF_NO_PI, true);
  check(call.ioctl(fd, TUNSETIFF, request), `TUNSETIFF ${device}`);
  check(call.ioctlValue(fd, TUNSETPERSIST, 1), `TUNSETPERSIST ${device}`);
  return fd;
}

/** Bytes read into `buffer`, or 0 if there is nothing to read. */
export function readNow(fd: number, buffer: Uint8Array): number {
  return nothingIsZero(call.read(fd, buffer, buffer.length), 'read');
}

/** Returns 0 or the errno. */
export function write(fd: number, bytes: Uint8Array): number {
  return Number(call.write(fd, bytes, bytes.length)) < 0 ? koffi.errno() : 0;
}

export function openSocket(domain: number, type: number, protocol: number): number {
  return check(call.socket(domain, type, protocol), 'socket');
}

/** `address` is a struct sockaddr. */
export function bindSocket(fd: number, address: Uint8Array): void {
  check(call.bind(fd, address, address.length), 'bind');
}

export function setOption(fd: number, level: number, name: number, value: number): void {
  check(call.setsockopt(fd, level, name, Int32Array.of(value), 4), 'setsockopt');
}

export function setReceiveBuffer(fd: number, sizeBytes: number): void {
  setOption(fd, SOL_SOCKET, SO_RCVBUF, sizeBytes);
}

/** Fills `value` with a socket option; what it holds before is the question. */
export function getOption(fd: number, level: number, name: number, value: Uint8Array): void {
  check(call.getsockopt(fd, level, name, value, Uint32Array.of(value.length)), `getsockopt ${name}`);
}

export function send(fd: number, bytes: Uint8Array): void {
  check(call.send(fd, bytes, bytes.length, 0), 'send');
}

/** Returns 0 or the errno. */
export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): number {
  const sent = call.sendto(fd, bytes, bytes.length, 0, address, address.length);
  return Number(sent) < 0 ? koffi.errno() : 0;
}

/** Bytes received into `buffer`; waits for them. */
export function receive(fd: number, buffer: Uint8Array): number {
  return check(call.recv(fd, buffer, buffer.length, 0), 'recv');
}

/** Bytes received into `buffer`, or 0 if nothing is there. */
export function receiveNow(fd: number, buffer: Uint8Array): number {
  return nothingIsZero(call.recv(fd, buffer, buffer.length, MSG_DONTWAIT), 'recv');
}

function nothingIsZero(result: number | bigint, what: string): number {
  const count = Number(result);
  if (count >= 0) return count;
  const errno = koffi.errno();
  if (errno === EAGAIN) return 0;
  throw new SystemError(what, errno);
}
