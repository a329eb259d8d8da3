/**
 * The door for Node: files, devices, sockets. Re-exports only.
 */
export {
  CaptureFile,
  type CaptureFileCounters,
  type CaptureFileOptions,
  captureToFile,
  type FileCapture,
  type Recordable,
} from './capture-file.js';
export type { DhcpLease } from './dhcp-client.js';
export { askDnsServers, type DnsServersOptions } from './dns-servers.js';
export { fileError, readBytes, readText, writeBytes } from './files.js';
export {
  type ConnectPasstOptions,
  connectToPasst,
  type LeasedUplink,
  type PasstOptions,
  type PasstUplink,
  type StartPasstOptions,
  startPasst,
} from './passt.js';
export {
  type ConnectOptions,
  connectToQemu,
  type FramedAttachment,
  type FramedPeerOptions,
  listenForQemu,
} from './qemu.js';
export {
  type Relay,
  type RelayGuest,
  type RelayOptions,
  type RelayPort,
  type RelayVisitor,
  serveRelay,
} from './relay.js';
export { findTraceFiles, readTraceFile, type TraceText } from './trace-files.js';
export { attachTun, type TunAttachment, type TunOptions } from './tun.js';
