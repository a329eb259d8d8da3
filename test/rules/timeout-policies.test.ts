import { describe, expect, it } from 'vitest';
import { Engine } from '../../lib/engine.js';
import { Router } from '../../lib/network/router.js';
import { parsePacket } from '../../lib/scenario/notation.js';

const RULES = `*raw
-A PREROUTING -p udp -j CT --timeout short
-A PREROUTING -p tcp --dport 80 -j CT --timeout web
COMMIT
*filter
-A FORWARD -m conntrack --ctstate NEW
COMMIT
`;

function makeRouter(): Router {
  const router = new Router({
    interfaces: [
      { name: 'lan', addresses: ['10.0.0.1/24'] },
      { name: 'wan', addresses: ['203.0.113.1/24'] },
    ],
    routes: ['default dev wan'],
  });
  const { timeoutPolicies } = router.engine;
  timeoutPolicies.define('short', {
    family: 4,
    protocol: 17,
    seconds: { nf_conntrack_udp_timeout: 11, nf_conntrack_udp_timeout_stream: 22 },
  });
  timeoutPolicies.define('web', {
    family: 4,
    protocol: 6,
    seconds: { nf_conntrack_tcp_timeout_syn_sent: 7, nf_conntrack_tcp_timeout_established: 100 },
  });
  return router;
}

function remainingSeconds({ engine }: Router): number[] {
  return engine.connections.list().map(({ remainingMs }) => remainingMs / 1000);
}

// The numbers are those of Linux 6.18 with `nfct timeout add short inet udp unreplied 11 replied 22` and the like.
describe('CT --timeout', () => {
  it('gives the connections of the rule the timeouts of the policy', () => {
    const router = makeRouter();
    router.engine.restore(4, RULES);
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53'), 0);
    router.receive(1, parsePacket('tcp 10.0.0.2:5000 > 1.1.1.1:80 SYN'), 0);
    router.receive(1, parsePacket('tcp 10.0.0.2:5000 > 1.1.1.1:81 SYN'), 0);
    expect(remainingSeconds(router)).toEqual([11, 7, 120]);
    router.receive(2, parsePacket('udp 1.1.1.1:53 > 10.0.0.2:5000'), 10);
    router.receive(1, parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53'), 2_500);
    expect(remainingSeconds(router)[0]).toBe(22);
  });

  it('leaves what the policy does not name as it was when the policy was made', () => {
    const router = makeRouter();
    router.sysctl('net.netfilter.nf_conntrack_tcp_timeout_syn_recv', '5');
    router.engine.restore(4, RULES);
    router.receive(1, parsePacket('tcp 10.0.0.2:5000 > 1.1.1.1:80 SYN seq 1'), 0);
    router.receive(2, parsePacket('tcp 1.1.1.1:80 > 10.0.0.2:5000 SYN,ACK seq 9 ack 2'), 1);
    expect(remainingSeconds(router)).toEqual([60]);
  });

  it('is refused for a policy that does not exist, or is for another protocol or family', () => {
    const { engine } = makeRouter();
    const rules = (line: string) => `*raw\n-A PREROUTING ${line}\nCOMMIT\n`;
    expect(() => engine.restore(4, rules('-p udp -j CT --timeout long'))).toThrow(
      /^2:.*no such timeout policy \('long'\); expected short, web$/,
    );
    expect(() => engine.restore(4, rules('-p icmp -j CT --timeout short'))).toThrow(
      /rule of IPv4 with -p 17/,
    );
    expect(() => engine.restore(4, rules('-j CT --timeout short'))).toThrow(/rule of IPv4 with -p 17/);
    expect(() => engine.restore(6, rules('-p udp -j CT --timeout short'))).toThrow(/rule of IPv4/);
  });

  it('has policies with one name each and timeouts that exist', () => {
    const { timeoutPolicies } = new Engine({ host: makeRouter().engine.host });
    timeoutPolicies.define('one', { family: 4, protocol: 17, seconds: {} });
    const again = { family: 4, protocol: 17, seconds: {} } as const;
    expect(() => timeoutPolicies.define('one', again)).toThrow(/already \('one'\)/);
    expect(() => timeoutPolicies.define('', again)).toThrow(/1 to 31 characters/);
    expect(() => timeoutPolicies.define('two', { ...again, seconds: { replied: 1 } })).toThrow(
      /no such timeout/,
    );
    expect([...timeoutPolicies.names()]).toEqual(['one']);
    expect(timeoutPolicies.remove('one')).toBe(true);
    expect(timeoutPolicies.get('one')).toBeUndefined();
  });
});
