import { describe, expect, test } from 'vitest';
import { Router } from '../../lib/network/router.js';
import { compareRun } from '../../lib/scenario/compare.js';
import { Explainer } from '../../lib/scenario/explain.js';
import type { Explanation, HookStage, RuleStep, Step, TableStep } from '../../lib/scenario/explanation.js';
import { parsePacket } from '../../lib/scenario/notation.js';
import { runTrace } from '../../lib/scenario/run.js';
import { EXCEPTIONS, readGroup } from './traces.js';

const NAT =
  '*nat\n-A PREROUTING -i wan -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n';
const FILTER =
  '*filter\n:FORWARD DROP\n:WEB -\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n-A FORWARD -i lan -j ACCEPT\n' +
  '-A FORWARD -p tcp -g WEB\n-A WEB -p tcp --dport 80 -j ACCEPT\n-A WEB -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n';

function explainer(rules: string): Explainer {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24', 'fd00:a::1/64'] },
      { name: 'wan', addresses: ['203.0.113.1/24', '2001:db8:1::1/64'] },
    ],
    routes: ['default dev wan', '-6 default dev wan'],
    maxConnections: 64,
    buckets: 64,
  });
  router.sysctl('net.ipv4.ip_forward', 1);
  router.engine.restore(4, rules);
  return new Explainer(router);
}

const LAN = 1;
const WAN = 2;

function receive(one: Explainer, index: number, packet: string, nowMs = 0): Explanation {
  return one.receive(index, parsePacket(packet), nowMs);
}

function hooks({ stages }: Explanation): HookStage[] {
  return stages.filter((stage) => stage.stage === 'hook');
}

function steps(explanation: Explanation): Step[] {
  return hooks(explanation).flatMap((stage) => stage.steps);
}

function rules(explanation: Explanation, table: string): RuleStep[] {
  const tables = steps(explanation).filter((step): step is TableStep => step.step === 'table');
  return tables.filter((one) => one.table === table).flatMap((one) => one.rules);
}

/** The words of all steps of a kind. */
function words(explanation: Explanation, kind: Step['step']): string[] {
  return steps(explanation).flatMap((step) => (step.step === kind && 'text' in step ? [step.text] : []));
}

describe('an explained packet', () => {
  test('that begins a connection: every hook, rule, decision and what came out', () => {
    const told = receive(explainer(NAT + FILTER), LAN, 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 5');
    expect(told).toMatchObject({ in: 'lan', fate: 'forwarded', answers: [] });
    expect(hooks(told).map(({ hook, verdict }) => `${hook} ${verdict}`)).toEqual([
      'PREROUTING ACCEPT',
      'FORWARD ACCEPT',
      'POSTROUTING ACCEPT',
    ]);
    expect(told.stages.filter(({ stage }) => stage === 'route')).toEqual([
      { stage: 'route', text: 'forwarded, to leave by wan' },
    ]);
    expect(words(told, 'conntrack')).toEqual([
      'NEW: begins udp 10.0.0.2:5000 > 1.1.1.1:53; answers are expected as 1.1.1.1:53 > 10.0.0.2:5000',
    ]);
    expect(rules(told, 'filter')).toEqual([
      {
        chain: 'FORWARD',
        number: 1,
        text: '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        matched: false,
        trace: 'filter:FORWARD:rule:1',
        reason: 'ctstate is NEW, wanted RELATED,ESTABLISHED',
      },
      {
        chain: 'FORWARD',
        number: 2,
        text: '-i lan -j ACCEPT',
        matched: true,
        trace: 'filter:FORWARD:rule:2',
        outcome: 'accepted',
      },
    ]);
    expect(steps(told).filter(({ step }) => step === 'nat')).toMatchObject([
      { end: 'destination', before: '1.1.1.1:53', after: '1.1.1.1:53' },
      { end: 'source', before: '10.0.0.2:5000', after: '203.0.113.1:5000' },
    ]);
    expect(words(told, 'confirm')).toEqual(['udp 10.0.0.2:5000 > 1.1.1.1:53 is in the table now, for 30 s']);
    expect(told.out).toMatchObject([
      { interface: 'wan', packet: 'udp 203.0.113.1:5000 > 1.1.1.1:53 len 5 ttl 63' },
    ]);
    expect(told.connection).toMatchObject({ original: { source: '10.0.0.2' }, seenReply: false });
  });

  test('that follows a connection: the nat table is not asked, the state moves on', () => {
    const one = explainer(NAT + FILTER);
    receive(one, LAN, 'tcp 10.0.0.2:999 > 1.1.1.1:80 SYN seq 1 <mss 1460>');
    const told = receive(one, WAN, 'tcp 1.1.1.1:80 > 203.0.113.1:999 SYN,ACK seq 9 ack 2 <mss 1460>', 10);
    expect(rules(told, 'nat')).toEqual([]);
    expect(words(told, 'nat')[0]).toBe(
      'destination 203.0.113.1:999 -> 10.0.0.2:999, as the connection is bound; the nat table is not asked',
    );
    expect(words(told, 'conntrack')).toEqual([
      'ESTABLISHED: belongs to tcp 10.0.0.2:999 > 1.1.1.1:80, SYN_SENT -> SYN_RECV, reply direction',
    ]);
  });

  test('that a target changes: what it changed', () => {
    const told = receive(
      explainer('*mangle\n-A FORWARD -j MARK --set-mark 5\n-A FORWARD -j TTL --ttl-set 9\nCOMMIT\n'),
      LAN,
      'udp 10.0.0.2:1 > 1.1.1.1:2',
    );
    expect(rules(told, 'mangle').map(({ outcome, effects }) => [outcome, effects])).toContainEqual([
      'done, and on',
      ['mark is 0x5'],
    ]);
    expect(rules(told, 'mangle').flatMap(({ effects = [] }) => effects)).toContainEqual(
      'the packet is udp 10.0.0.2:1 > 1.1.1.1:2 ttl 9',
    );
    expect(words(told, 'tracking')).toEqual(['connections are not tracked: no rule of IPv4 needs it']);
  });

  test('that is bound by DNAT and led through chains', () => {
    const told = receive(explainer(NAT + FILTER), WAN, 'tcp 1.1.1.1:7 > 203.0.113.1:8080 SYN');
    expect(rules(told, 'nat')[0]).toMatchObject({
      matched: true,
      outcome: 'accepted',
      effects: ['answers are expected as 10.0.0.2:80 > 1.1.1.1:7'],
    });
    expect(
      rules(told, 'filter').map(({ chain, number, outcome }) => `${chain} ${number} ${outcome}`),
    ).toEqual([
      'FORWARD 1 undefined',
      'FORWARD 2 undefined',
      'FORWARD 3 on, for good, in chain WEB',
      'WEB 1 accepted',
    ]);
    expect(told.fate).toBe('forwarded');
  });

  test('that is rejected: where, and the answer with a way of its own', () => {
    const told = receive(explainer(FILTER), WAN, 'tcp 1.1.1.1:7 > 10.0.0.2:22 SYN seq 5');
    expect(told).toMatchObject({ fate: 'dropped', reason: 'rule-reject', place: 'filter/WEB 2', out: [] });
    expect(told.answers).toHaveLength(1);
    expect(told.answers[0]).toMatchObject({
      in: 'local',
      fate: 'sent',
      packet: expect.stringMatching(/^tcp 10\.0\.0\.2:22 > 1\.1\.1\.1:7 RST,ACK seq 0 ack 6/),
    });
    expect(hooks(told.answers[0] as Explanation).map(({ hook }) => hook)).toEqual(['OUTPUT', 'POSTROUTING']);
  });

  test('that the router drops between the hooks', () => {
    const told = receive(explainer(NAT), LAN, 'udp 10.0.0.2:1 > 1.1.1.1:2 ttl 1');
    expect(told).toMatchObject({ fate: 'dropped', reason: 'ttl-exceeded' });
    expect(told.stages.at(-1)).toEqual({ stage: 'route', text: 'dropped by the router: ttl-exceeded' });
    expect(told.answers.map(({ packet }) => packet)).toEqual([
      expect.stringContaining('ttl-zero-during-transit'),
    ]);
  });

  test('of the router that OUTPUT leads elsewhere: routed again, or dropped where no route is', () => {
    const dnat = (to: string) =>
      `*nat\n-A OUTPUT -j DNAT --to-destination ${to}\nCOMMIT\n*filter\n-A OUTPUT\nCOMMIT\n`;
    const packet = parsePacket('udp 203.0.113.1:1 > 203.0.113.9:2');
    const rerouted = (one: Explanation) => steps(one).filter(({ step }) => step === 'reroute');
    const onLan = explainer(dnat('10.0.0.9')).sendLocal(packet, 0);
    expect(rerouted(onLan)).toEqual([{ step: 'reroute', text: 'routed again, to leave by lan' }]);
    expect(onLan.fate).toBe('sent');
    const router = new Router({ interfaces: [{ name: 'wan', addresses: ['203.0.113.1/24'] }] });
    router.engine.restore(4, dnat('10.9.0.9'));
    const nowhere = new Explainer(router).sendLocal(packet, 0);
    expect(rerouted(nowhere)).toEqual([{ step: 'reroute', text: 'no way there: dropped' }]);
    expect(rules(nowhere, 'filter')).toEqual([]);
    expect(nowhere).toMatchObject({ fate: 'dropped', reason: 'no-route' });
  });

  test('that is INVALID, and why', () => {
    const one = explainer(NAT + FILTER);
    const alone = receive(one, LAN, 'tcp 10.0.0.2:9 > 1.1.1.1:80 SYN,FIN');
    expect(words(alone, 'conntrack')).toEqual(['INVALID: it belongs to no connection and cannot begin one']);
    receive(one, LAN, 'udp 10.0.0.2:5000 > 1.1.1.1:53');
    const broken = receive(one, LAN, 'udp 10.0.0.2:5000 > 1.1.1.1:53 len 4 sum 1');
    expect(words(broken, 'conntrack')[0]).toMatch(
      /^INVALID: udp 10\.0\.0\.2:5000 > 1\.1\.1\.1:53 does not take it/,
    );
  });

  test('that comes in fragments: held, then whole', () => {
    const one = explainer(NAT);
    const first = receive(one, LAN, 'udp 10.0.0.2:1 > 1.1.1.1:2 udplen 24 len 8 mf ipid 7 nosum');
    expect(first).toMatchObject({ fate: 'held', out: [] });
    expect(words(first, 'defragment')).toEqual(['a fragment: kept until the rest comes']);
    const last = receive(one, LAN, 'ip 10.0.0.2 > 1.1.1.1 proto udp frag 16 ipid 7 len 8');
    expect(words(last, 'defragment')).toEqual(['the last fragment: whole now, 44 bytes']);
    expect(last).toMatchObject({ fate: 'forwarded' });
    expect(last.out).toHaveLength(2);
  });

  test('for the router, from the router, and one that is no packet', () => {
    const one = explainer(FILTER);
    const ping = receive(one, LAN, 'icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1');
    expect(ping.fate).toBe('delivered');
    expect(ping.answers.map(({ fate }) => fate)).toEqual(['sent']);
    const local = one.sendLocal(parsePacket('udp 203.0.113.1:1 > 1.1.1.1:2'), 0);
    expect(local).toMatchObject({ in: 'local', fate: 'sent', out: [{ interface: 'wan' }] });
    expect(receive(one, LAN, 'udp 10.0.0.2:1 > 1.1.1.1:2 ipsum 1')).toMatchObject({
      fate: 'dropped',
      reason: 'bad-header-checksum',
      stages: [],
    });
    expect(one.sendLocal(parsePacket('udp 203.0.113.1:1 > 255.255.255.255:2'), 0)).toMatchObject({
      fate: 'refused',
      reason: 'error 13',
    });
  });
});

describe('explaining changes nothing', () => {
  test.each(['nat', 'icmp', 'rej', 'frag', 'local', 'zones', 'udp6', 'noct', 'route'])('%s', (group) => {
    for (const trace of readGroup(group)) {
      if (EXCEPTIONS[trace.name] !== undefined) continue;
      const run = runTrace(trace, (router) => {
        new Explainer(router);
      });
      expect(compareRun(trace, run), trace.name).toBeNull();
    }
  });
});
