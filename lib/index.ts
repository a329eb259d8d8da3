/**
 * The door of the core: re-exports only. Free of Node: it runs in browsers alike.
 */
export {
  type Capture,
  type CapturedPacket,
  type CaptureInterface,
  readCapture,
  readPackets,
} from './capture/capture.js';
export { LinkFrame, LinkOutcome, LinkType, rewrapPacket, wrapInEthernet } from './capture/link.js';
export { PcapngWriter, writePcapng } from './capture/pcapng-writer.js';
export { type Clock, ManualClock, systemClock } from './clock.js';
export type { Connection, Counts, Tuple } from './conntrack/connection.js';
export type { ConnectionEvents, ConnectionFilter, Connections } from './conntrack/connections.js';
export { type DumpForm, formatConnection, formatExpectation } from './conntrack/dump.js';
export { Direction, Status } from './conntrack/entries.js';
export type { ExpectationEnd } from './conntrack/expectations.js';
export type { ExpectedConnection } from './conntrack/expected-connection.js';
export type { Expected, Helper, HelperCall } from './conntrack/helpers/helper.js';
export type { Helpers } from './conntrack/helpers/registry.js';
export { type Reaper, type ReaperOptions, type ReaperReport, runReaper } from './conntrack/reaper.js';
export type { TimeWaitOptions } from './conntrack/time-wait.js';
export type { Tracker, TrackerOptions, TrackerStatistics } from './conntrack/tracker.js';
export { DROP_REASON_NAMES, type DropCounters, DropReason } from './counters.js';
export { Engine, type EngineOptions } from './engine.js';
export { ConfigurationError, type ConfigurationErrorCode, type ErrorPlace } from './errors.js';
export { AddressType, type Host, StaticHost, type StaticInterface } from './host.js';
export type { AdvertiseOptions } from './network/advertisements.js';
export type { Attachment, LinkCounters } from './network/attachment.js';
export {
  attachBroadcastChannel,
  type BroadcastChannelOptions,
  type BroadcastEndpoint,
} from './network/broadcast-channel.js';
export type { DhcpLease, DhcpOptions, DhcpServer, FixedStation } from './network/dhcp.js';
export {
  type DnsAddress,
  type DnsMessage,
  type DnsQuestion,
  DnsType,
  readAddresses,
  readDns,
} from './network/dns.js';
export type { DnsAnswer, DnsClient, DnsCounters, DnsForwarder, DnsOptions } from './network/dns-forwarder.js';
export {
  type ForwardDescription,
  type ForwardFailure,
  type ForwardHandle,
  type ForwardInput,
  type ForwardProtocol,
  type ForwardRequest,
  type Forwards,
  ForwardsError,
  type ForwardsOptions,
  type PortScan,
} from './network/forwards/forwards.js';
export type { ForwardRule } from './network/forwards/rule.js';
export { parseForward, type SpecOptions } from './network/forwards/spec.js';
export { createGateway, type Gateway } from './network/gateway.js';
export type { GatewayEvents, LeaseReport, NeighbourReport } from './network/gateway-events.js';
export type { FrameRecorder, GatewayInterface, InterfaceCounters } from './network/gateway-interface.js';
export type {
  ChangeableOptions,
  GatewayInterfaceOptions,
  GatewayOptions,
} from './network/gateway-options.js';
export type { InterfaceOptions } from './network/interfaces.js';
export type { Liveness, LivenessCounters } from './network/liveness/liveness.js';
export type {
  ExpiryPolicy,
  InactivityOptions,
  KeepaliveOptions,
  LivenessOptions,
} from './network/liveness/options.js';
export type { Datagram } from './network/local/arrival.js';
export type { KeptPort } from './network/local/reserve.js';
export type { SocketAddress } from './network/local/socket-address.js';
export { SocketError, type SocketErrorCode } from './network/local/socket-error.js';
export type { TcpHandOver, TcpListener, TcpListenOptions, TcpPortOptions } from './network/local/tcp.js';
export type { TcpConnection } from './network/local/tcp-connection.js';
export type { TcpFlow } from './network/local/tcp-flows.js';
export type { UdpBindOptions, UdpEndpoint, UdpSendOptions } from './network/local/udp.js';
export { attachMessagePort, type MessageEndpoint, type MessagePortOptions } from './network/message-port.js';
export type { NeighbourOptions } from './network/neighbours.js';
export type { OffloadKind } from './network/offload/features.js';
export { PcapngRecorder, type RecorderOptions } from './network/pcapng-recorder.js';
export {
  type Asker,
  type Denial,
  type DenialLimits,
  type Observed,
  type Policy as GatewayPolicy,
  type PolicyLimits,
  type PolicyOptions,
  PROTECTED,
  PROTECTED_NAMES,
  type RefusedAnswer,
} from './network/policy/policy.js';
export type { LinkPort, Offload } from './network/port.js';
export { type Origin, Router, type RouterOptions, type SocketOptions } from './network/router.js';
export {
  attachStreams,
  type FrameStreams,
  type LinkStreams,
  linkStreams,
  type StreamsOptions,
} from './network/streams.js';
export {
  EthernetSwitch,
  joinPorts,
  type SwitchOptions,
  type SwitchPort,
  type SwitchPortOptions,
} from './network/switch.js';
export { attachV86, type V86Emulator, type V86LinkOptions } from './network/v86.js';
export { type Random, SeededRandom, unpredictableRandom } from './random.js';
export type {
  ChainSpec,
  Family,
  Policy,
  RuleSpec,
  Ruleset,
  TableName,
  TableSpec,
} from './rules/ast.js';
export { type RestoreOptions, restoreRuleset } from './rules/restore.js';
export type { LogRecord, RulePlace, Rules, RulesObservers } from './rules/rules.js';
export { type SaveOptions, saveRuleset } from './rules/save.js';
export type { Pacing } from './rules/slices.js';
export { checkTrace, type TraceResult } from './scenario/check.js';
export type { Difference, DifferenceKind } from './scenario/compare.js';
export { Explainer } from './scenario/explain.js';
export type { Explanation } from './scenario/explanation.js';
export { formatPacket, type NotationForm, parsePacket } from './scenario/notation.js';
export { formatRecording } from './scenario/record.js';
export { type Fate, type Passed, Replay, type ReplayOptions, type Sent } from './scenario/replay.js';
export { formatFailure } from './scenario/report.js';
export { type Run, runTrace } from './scenario/run.js';
export { readTrace, type Trace } from './scenario/trace.js';
export { ChecksumState, CtInfo, Packet, PacketType } from './wire/packet.js';
export { HOOK_NAMES, Hook, Verdict } from './wire/verdict.js';
