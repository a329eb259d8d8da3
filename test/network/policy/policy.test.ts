import { describe, expect, it } from 'vitest';
import { DropReason } from '../../../lib/counters.js';
import { ConfigurationError } from '../../../lib/errors.js';
import type { PolicyOptions } from '../../../lib/network/policy/policy.js';
import { PolicyLab } from './lab.js';

const SYN = 'SYN seq 1';
const tcp = (to: string, port = 4000) => `tcp 10.0.0.2:${port} > ${to} ${SYN}`;
const udp = (to: string, port = 4000) => `udp 10.0.0.2:${port} > ${to} len 1`;

describe('what guests may reach', () => {
  it('without entries is everything but what is protected', () => {
    const lab = new PolicyLab({});
    expect(lab.passes(tcp('93.184.216.34:443'))).toBe(true);
    expect(lab.passes(tcp('169.254.169.254:80'))).toBe(false);
  });

  it('with allowOut alone is that, and nothing else', () => {
    const lab = new PolicyLab({ allowOut: ['93.184.216.0/24', 'tcp/443'] });
    expect(lab.passes(tcp('93.184.216.34:22'))).toBe(true);
    expect(lab.passes(udp('93.184.216.34:53'))).toBe(true);
    expect(lab.passes(tcp('1.1.1.1:443'))).toBe(true);
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(false);
    expect(lab.passes(udp('1.1.1.1:443'))).toBe(false);
  });

  it('with denyOut alone is everything else', () => {
    const lab = new PolicyLab({ denyOut: ['10.0.0.0/8', 'udp/53'] });
    expect(lab.passes(tcp('10.9.9.9:80'))).toBe(false);
    expect(lab.passes(udp('8.8.8.8:53'))).toBe(false);
    expect(lab.passes(tcp('8.8.8.8:53'))).toBe(true);
  });

  it('with both is what is allowed, even of what is denied, and what neither names', () => {
    const lab = new PolicyLab({ allowOut: ['10.9.9.9'], denyOut: ['10.0.0.0/8'] });
    expect(lab.passes(tcp('10.9.9.9:80'))).toBe(true);
    expect(lab.passes(tcp('10.9.9.8:80'))).toBe(false);
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(true);
  });

  it('is judged for IPv6 alike', () => {
    const lab = new PolicyLab({ allowOut: ['[2001:db8:9::/48]:443'] });
    const from = 'tcp [fd00:a::2]:4000 >';
    expect(lab.passes(`${from} [2001:db8:9::7]:443 ${SYN}`)).toBe(true);
    expect(lab.passes(`${from} [2001:db8:9::7]:80 ${SYN}`)).toBe(false);
    expect(lab.passes(`${from} [2001:db8:8::7]:443 ${SYN}`)).toBe(false);
  });

  it('is nothing of IPv6 either when 0.0.0.0/0 is denied', () => {
    const lab = new PolicyLab({ allowOut: ['2001:db8:9::7'], denyOut: ['0.0.0.0/0'] });
    expect(lab.passes(`tcp [fd00:a::2]:4000 > [2001:db8:9::7]:443 ${SYN}`)).toBe(true);
    expect(lab.passes(`tcp [fd00:a::2]:4000 > [2001:db8:9::8]:443 ${SYN}`)).toBe(false);
  });

  it('is one family when 0.0.0.0/0 is allowed', () => {
    const lab = new PolicyLab({ allowOut: ['0.0.0.0/0'] });
    expect(lab.passes(tcp('1.1.1.1:443'))).toBe(true);
    expect(lab.passes(`tcp [fd00:a::2]:4000 > [2001:db8:9::8]:443 ${SYN}`)).toBe(false);
  });

  it('may be ICMP alone', () => {
    const lab = new PolicyLab({ allowOut: ['icmp'] });
    expect(lab.passes('icmp 10.0.0.2 > 1.1.1.1 echo-request id 1 seq 1')).toBe(true);
    expect(lab.passes(udp('1.1.1.1:53'))).toBe(false);
  });

  it('leaves the router itself and its services alone', () => {
    const lab = new PolicyLab({ denyOut: ['0.0.0.0/0'] });
    expect(lab.send('lan', 'icmp 10.0.0.2 > 10.0.0.1 echo-request id 1 seq 1')[0]).toContain('echo-reply');
  });

  it('is answered with a reset or an error, or with nothing', () => {
    const reject = new PolicyLab({ denyOut: ['0.0.0.0/0'] });
    expect(reject.send('lan', tcp('1.1.1.1:80'))).toEqual([
      expect.stringMatching(/^lan: tcp 1\.1\.1\.1:80 .* RST/),
    ]);
    expect(reject.send('lan', udp('1.1.1.1:80'))).toEqual([expect.stringMatching(/^lan: icmp .*prohib/)]);
    const drop = new PolicyLab({ denyOut: ['0.0.0.0/0'], deny: 'drop' });
    expect(drop.send('lan', tcp('1.1.1.1:80'))).toEqual([]);
  });

  it('does not include INVALID packets, which would leave with the address of the guest', () => {
    const lab = new PolicyLab({});
    expect(lab.send('lan', 'tcp 10.0.0.2:4000 > 1.1.1.1:80 SYN,RST seq 1')).toEqual([]);
  });

  it('may still be refused by the rules of the user', () => {
    const lab = new PolicyLab({ allowOut: ['*'] }, '*filter\n-A FORWARD -p tcp --dport 25 -j DROP\nCOMMIT\n');
    expect(lab.passes(tcp('1.1.1.1:25'))).toBe(false);
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(true);
  });
});

describe('what is protected', () => {
  it.each([
    ['127.0.0.1:80', 'protect 127.0.0.0/8'],
    ['0.0.0.0:80', 'protect 0.0.0.0/8'],
    ['169.254.169.254:80', 'protect 169.254.169.254/32'],
    ['169.254.170.2:80', 'protect 169.254.170.2/32'],
    ['100.100.100.200:80', 'protect 100.100.100.200/32'],
    ['168.63.129.16:80', 'protect 168.63.129.16/32'],
  ])('%s is not reached though all is allowed, and reported', (to, rule) => {
    const lab = new PolicyLab({ allowOut: ['*', '0.0.0.0/0'] });
    expect(lab.send('lan', tcp(to))).toEqual([]);
    expect(lab.denied).toMatchObject([
      { direction: 'out', interface: 'lan', protocol: 'tcp', port: 80, rule },
    ]);
  });

  it.each(['fd00:ec2::254', '64:ff9b::169.254.169.254', '::ffff:169.254.169.254'])('nor is %s', (to) => {
    const lab = new PolicyLab({ allowOut: ['*'] });
    expect(lab.send('lan', `tcp [fd00:a::2]:4000 > [${to}]:80 ${SYN}`)).toEqual([]);
    expect(lab.router.engine.drops.get(DropReason.RULE_DROP)).toBe(1);
  });

  it('is reached when an entry names its very address, and no more of it than that', () => {
    const lab = new PolicyLab({ allowOut: ['169.254.169.254:80', '*'] });
    expect(lab.passes(tcp('169.254.169.254:80'))).toBe(true);
    expect(lab.passes(tcp('169.254.169.254:81'))).toBe(false);
    expect(lab.passes(tcp('169.254.170.2:80'))).toBe(false);
  });

  it('may be another list', () => {
    const lab = new PolicyLab({ protect: ['192.168.0.0/16'] });
    expect(lab.passes(tcp('169.254.169.254:80'))).toBe(true);
    expect(lab.passes(tcp('192.168.3.3:80'))).toBe(false);
  });

  it('has names that no entry may have', () => {
    expect(() => new PolicyLab({ allowOut: ['metadata.google.internal'] })).toThrow(/protected service/);
  });
});

describe('who may reach guests', () => {
  it('is nobody, by default', () => {
    const lab = new PolicyLab({});
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 10.0.0.2:22 ${SYN}`)[0]).toMatch(/^wan: tcp .* RST/);
    expect(lab.denied).toMatchObject([
      { direction: 'in', interface: 'wan', rule: 'not in allowIn', port: 22 },
    ]);
  });

  it('is whom a forward leads there, by default', () => {
    const lab = new PolicyLab({ forwards: ['tcp 8080:10.0.0.2/80'] });
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('> 10.0.0.2:80');
  });

  it('with allowIn is by the address of the other side and the port that it asked for', () => {
    const lab = new PolicyLab({
      allowIn: ['198.51.100.0/24:8080', 'tcp/22'],
      forwards: ['tcp 8080:10.0.0.2/80', 'tcp 9090:10.0.0.2/90'],
    });
    const from = (host: string, to: string) => lab.send('wan', `tcp ${host}:4000 > ${to} ${SYN}`)[0] ?? '';
    expect(from('198.51.100.7', '203.0.113.1:8080')).toContain('> 10.0.0.2:80');
    expect(from('192.0.2.7', '203.0.113.1:8080')).toContain('RST');
    expect(from('198.51.100.7', '203.0.113.1:9090')).toContain('RST');
    expect(from('192.0.2.7', '10.0.0.2:22')).toMatch(/^lan: /);
  });

  it('with denyIn is the others', () => {
    const lab = new PolicyLab({ denyIn: ['198.51.100.66'], forwards: ['tcp 8080:10.0.0.2/80'] });
    expect(lab.send('wan', `tcp 198.51.100.66:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('RST');
    expect(lab.denied).toMatchObject([{ rule: 'denyIn 198.51.100.66' }]);
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toMatch(/^lan: /);
  });

  it('is judged whether the forward was there before the policy or comes after it', () => {
    const lab = new PolicyLab({ denyIn: ['*'] });
    lab.forwardSet.add('tcp', '8080:10.0.0.2/80');
    expect(lab.send('wan', `tcp 198.51.100.7:4000 > 203.0.113.1:8080 ${SYN}`)[0]).toContain('RST');
  });

  it('from one network of guests to another takes both sides', () => {
    const lab = new PolicyLab({ allowOut: ['*'] });
    expect(lab.send('lan', tcp('10.0.1.7:80'))[0]).toMatch(/^lan: .* RST/);
    expect(lab.denied).toMatchObject([{ direction: 'in', interface: 'lan', rule: 'not in allowIn' }]);
    lab.policy.apply({ allowOut: ['*'], allowIn: ['10.0.0.0/24'] });
    expect(lab.send('lan', tcp('10.0.1.7:80'))[0]).toMatch(/^dmz: /);
  });

  it('takes no names', () => {
    expect(() => new PolicyLab({ allowIn: ['example.com'] })).toThrow(/no name/);
  });
});

describe('forwards of a policy', () => {
  it('come and go with it; others stay', () => {
    const lab = new PolicyLab();
    lab.forwardSet.add('tcp', '2222:10.0.0.2/22');
    const specs = () => lab.forwardSet.requests.map(({ spec }) => spec);
    lab.policy.apply({ forwards: ['tcp 8080:10.0.0.2/80'] });
    expect(specs()).toEqual(['2222:10.0.0.2/22', '8080:10.0.0.2/80']);
    lab.policy.apply({ forwards: ['tcp 8081:10.0.0.2/80'] });
    expect(specs()).toEqual(['2222:10.0.0.2/22', '8081:10.0.0.2/80']);
    lab.policy.remove();
    expect(specs()).toEqual(['2222:10.0.0.2/22']);
  });

  it('that are refused refuse the policy, and the one before stays', () => {
    const lab = new PolicyLab({ denyOut: ['1.1.1.1'], forwards: ['tcp 8080:10.0.0.2/80'] });
    const before = lab.save();
    const bad = { denyOut: ['2.2.2.2'], allowOut: ['a.example.com'], forwards: ['tcp 1', 'tcp 1'] };
    expect(() => lab.policy.apply(bad)).toThrow(ConfigurationError);
    expect(lab.save()).toBe(before);
    expect([...lab.router.engine.sets.names]).toEqual([]);
    expect(lab.policy.options?.denyOut).toEqual(['1.1.1.1']);
  });
});

describe('limits', () => {
  it('of connections are for each source', () => {
    const lab = new PolicyLab({ limits: { connectionsPerSource: 2 } });
    expect(lab.passes(tcp('1.1.1.1:80', 4000))).toBe(true);
    expect(lab.passes(tcp('1.1.1.1:80', 4001))).toBe(true);
    expect(lab.passes(tcp('1.1.1.1:80', 4002))).toBe(false);
    expect(lab.passes(`tcp 10.0.0.3:4002 > 1.1.1.1:80 ${SYN}`)).toBe(true);
    expect(lab.denied).toMatchObject([{ rule: 'limits connectionsPerSource 2', source: '10.0.0.2' }]);
  });

  it('of new connections are for each source and second', () => {
    const lab = new PolicyLab({ limits: { newPerSecond: 3 } });
    const tries = (from: number) =>
      [0, 1, 2, 3, 4].map((i) => lab.passes(tcp('1.1.1.1:80', from + i))).filter(Boolean).length;
    expect(tries(4000)).toBe(3);
    expect(lab.passes(`tcp 10.0.0.3:4002 > 1.1.1.1:80 ${SYN}`)).toBe(true);
    lab.nowMs += 2000;
    expect(tries(5000)).toBe(3);
    expect(lab.denied[0]).toMatchObject({ rule: 'limits newPerSecond 3' });
  });

  it('count connections, not packets: what is sent again, or without an answer, is of the same one', () => {
    const lab = new PolicyLab({ limits: { newPerSecond: 1, connectionsPerSource: 2 } });
    for (let i = 0; i < 5; i++) expect(lab.passes(tcp('1.1.1.1:80', 4000))).toBe(true);
    lab.nowMs += 2000;
    for (let i = 0; i < 5; i++) expect(lab.passes('udp 10.0.0.2:4000 > 1.1.1.1:514 len 9')).toBe(true);
    expect(lab.denied).toEqual([]);
  });

  it('that change hold from then on', () => {
    const lab = new PolicyLab({ limits: { newPerSecond: 1 } });
    expect(lab.passes(tcp('1.1.1.1:80', 4000))).toBe(true);
    expect(lab.passes(tcp('1.1.1.1:80', 4001))).toBe(false);
    lab.policy.apply({ limits: { newPerSecond: 100 } });
    expect([0, 1, 2].map((i) => lab.passes(tcp('1.1.1.1:80', 4100 + i)))).toEqual([true, true, true]);
  });

  it.each([{ newPerSecond: 0 }, { newPerSecond: 1.5 }, { connectionsPerSource: -1 }])(
    '%j are refused',
    (limits) => {
      expect(() => new PolicyLab({ limits })).toThrow(ConfigurationError);
    },
  );
});

it.each([
  [{ allowout: ['1.1.1.1'] }, /policy: no such option \('allowout'\); expected allowOut, /],
  [{ limits: { perSecond: 3 } }, /limits: no such option \('perSecond'\)/],
  [{ domains: { ttl: 3 } }, /domains: no such option/],
  [{ reports: { every: 3 } }, /reports: no such option/],
  [{ deny: 'rejct' }, /deny \('rejct'\); expected reject, drop/],
  [{ privateAnswers: 'no' }, /privateAnswers \('no'\)/],
  [{ allowOut: 'tcp/443' }, /allowOut: not a list of texts \('tcp\/443'\)/],
  [['tcp/443'], /policy: not an object/],
])('a policy that has no such options is refused: %j', (options, message) => {
  const lab = new PolicyLab({ denyOut: ['1.1.1.1'] });
  const apply = () => lab.policy.apply(options as PolicyOptions);
  expect(apply).toThrow(ConfigurationError);
  expect(apply).toThrow(message);
  expect(lab.policy.options?.denyOut).toEqual(['1.1.1.1']);
});

describe('a change of the policy', () => {
  const established = () => {
    const lab = new PolicyLab({ allowOut: ['1.1.1.1', '2.2.2.2'] });
    for (const to of ['1.1.1.1', '2.2.2.2']) {
      lab.send('lan', tcp(`${to}:80`));
      lab.send('wan', `tcp ${to}:80 > 203.0.113.1:4000 SYN,ACK seq 9 ack 2`);
      lab.send('lan', `tcp 10.0.0.2:4000 > ${to}:80 ACK seq 2 ack 10`);
    }
    return lab;
  };

  it('cuts the connections that it does not allow, at their next packet, and no others', () => {
    const lab = established();
    const ended: string[] = [];
    lab.router.engine.connections.events.on('destroy', ({ original }, reason) =>
      ended.push(`${original.destination} ${reason}`),
    );
    lab.policy.apply({ allowOut: ['1.1.1.1'] });
    expect(lab.flows()).toHaveLength(2);
    expect(lab.passes('tcp 10.0.0.2:4000 > 1.1.1.1:80 ACK seq 2 ack 10')).toBe(true);
    expect(lab.send('lan', 'tcp 10.0.0.2:4000 > 2.2.2.2:80 ACK seq 2 ack 10')).toEqual([
      expect.stringMatching(/^wan: tcp 203\.0\.113\.1:4000 > 2\.2\.2\.2:80 RST,ACK seq 2 ack 10 win 0/),
      expect.stringMatching(/^lan: tcp 2\.2\.2\.2:80 > 10\.0\.0\.2:4000 RST seq 10 /),
    ]);
    expect(ended).toEqual(['2.2.2.2 rule-changed']);
    expect(lab.denied).toMatchObject([{ destination: '2.2.2.2', port: 80, rule: 'not in allowOut' }]);
  });

  it('cuts them also when the other side speaks first', () => {
    const lab = established();
    lab.policy.apply({ allowOut: ['1.1.1.1'] });
    expect(lab.send('wan', 'tcp 2.2.2.2:80 > 203.0.113.1:4000 ACK seq 10 ack 2 len 5')).toEqual([
      expect.stringMatching(/^lan: tcp 2\.2\.2\.2:80 > 10\.0\.0\.2:4000 RST,ACK seq 10 ack 2 win 0/),
      expect.stringMatching(/^wan: tcp 203\.0\.113\.1:4000 > 2\.2\.2\.2:80 RST,ACK seq 2 ack 10 win 0/),
    ]);
    expect(lab.flows()).toHaveLength(1);
    expect(lab.denied).toMatchObject([
      { direction: 'out', interface: 'lan', source: '10.0.0.2', destination: '2.2.2.2', port: 80 },
    ]);
    expect(lab.send('wan', 'tcp 1.1.1.1:80 > 203.0.113.1:4000 ACK seq 10 ack 2 len 5')).toHaveLength(1);
  });

  it.each([
    ['deny: drop', { allowOut: ['1.1.1.1'], deny: 'drop' }],
    ['what is protected', { protect: ['2.2.2.2'] }],
  ] as const)('cuts without a word: %s', (_what, options) => {
    for (const isGuestFirst of [true, false]) {
      const lab = established();
      lab.policy.apply(options as PolicyOptions);
      const said = isGuestFirst
        ? lab.send('lan', 'tcp 10.0.0.2:4000 > 2.2.2.2:80 ACK seq 2 ack 10')
        : lab.send('wan', 'tcp 2.2.2.2:80 > 203.0.113.1:4000 ACK seq 10 ack 2 len 5');
      expect(said).toEqual([]);
      expect(lab.flows()).toHaveLength(1);
    }
  });

  it('tells both ends of a cut connection also where nothing is picked up in the middle', () => {
    const lab = established();
    lab.router.sysctl('net.netfilter.nf_conntrack_tcp_loose', 0);
    lab.policy.apply({ allowOut: ['1.1.1.1'] });
    const said = lab.send('lan', 'tcp 10.0.0.2:4000 > 2.2.2.2:80 ACK seq 2 ack 10');
    expect(said.map((one) => one.slice(0, 5))).toEqual(['lan: ', 'wan: ']);
    expect(said.every((one) => one.includes('RST,ACK'))).toBe(true);
  });

  it('that a listener makes of a denial holds for the next packet', () => {
    const lab = new PolicyLab({ allowOut: ['9.9.9.9'] });
    lab.policy.events.on('denied', ({ destination }) => {
      lab.policy.apply({ allowOut: ['9.9.9.9', destination] });
    });
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(false);
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(true);
  });

  it('by which a forward is allowed for fewer cuts the others', () => {
    const lab = new PolicyLab({ forwards: ['udp 53:10.0.0.2/53'] });
    const ask = (host: string) => lab.send('wan', `udp ${host}:4000 > 203.0.113.1:53 len 1`)[0] ?? '';
    expect(ask('198.51.100.7')).toMatch(/^lan: /);
    expect(ask('192.0.2.7')).toMatch(/^lan: /);
    lab.policy.apply({ allowIn: ['192.0.2.0/24'], forwards: ['udp 53:10.0.0.2/53'] });
    expect(ask('198.51.100.7')).toMatch(/^wan: icmp/);
    expect(ask('192.0.2.7')).toMatch(/^lan: /);
  });

  it('to none takes chains, sets and forwards away', () => {
    const lab = new PolicyLab({ allowOut: ['example.com'], forwards: ['tcp 8080:10.0.0.2/80'] });
    expect(lab.save()).toContain('CONNTIDE-POLICY');
    lab.policy.remove();
    lab.policy.remove();
    expect(lab.save()).not.toContain('CONNTIDE');
    expect(lab.save(6)).not.toContain('CONNTIDE');
    expect([...lab.router.engine.sets.names]).toEqual([]);
    expect(lab.passes(tcp('1.1.1.1:80'))).toBe(true);
  });

  it('with a wrong word changes nothing', () => {
    const lab = new PolicyLab({ allowOut: ['1.1.1.1'] });
    const before = lab.save();
    expect(() => lab.policy.apply({ allowOut: ['443'] })).toThrow(/allowOut: .*'443'/);
    expect(() => lab.policy.apply({ guests: ['lan9'] })).toThrow(/no such interface/);
    expect(lab.save()).toBe(before);
  });
});

describe('reports of denials', () => {
  it('name the protocol as an entry that allows it would', () => {
    const lab = new PolicyLab({ allowOut: ['9.9.9.9'] });
    const protocols = ['50', '253'].map((number) => {
      lab.denied.length = 0;
      expect(lab.passes(`ip 10.0.0.2 > 1.1.1.1 proto ${number} data "abc"`)).toBe(false);
      return lab.denied.map(({ protocol }) => protocol);
    });
    expect(protocols).toEqual([['esp'], ['253']]);
    lab.policy.apply({ allowOut: ['esp', '253/*'] });
    expect(lab.passes('ip 10.0.0.2 > 1.1.1.1 proto 50 data "abc"')).toBe(true);
    expect(lab.passes('ip 10.0.0.2 > 1.1.1.1 proto 253 data "abc"')).toBe(true);
  });

  it('of the same kind come once a second, with their count', () => {
    const lab = new PolicyLab({ denyOut: ['0.0.0.0/0'] });
    for (let i = 0; i < 5; i++) lab.send('lan', tcp('1.1.1.1:80', 4000 + i));
    expect(lab.denied).toHaveLength(1);
    lab.nowMs += 1000;
    lab.send('lan', tcp('1.1.1.1:80', 5000));
    expect(lab.denied.map(({ count }) => count)).toEqual([1, 5]);
    expect(lab.denied[0]).toEqual({
      direction: 'out',
      interface: 'lan',
      protocol: 'tcp',
      source: '10.0.0.2',
      destination: '1.1.1.1',
      port: 80,
      rule: 'denyOut 0.0.0.0/0',
      count: 1,
      nowMs: 1000,
    });
    expect(lab.policy.denials.total).toBe(6);
  });

  it('are bounded in all', () => {
    const lab = new PolicyLab({ denyOut: ['0.0.0.0/0'], reports: { perSecond: 10 } });
    for (let i = 0; i < 200; i++) lab.send('lan', tcp(`1.1.1.${i}:80`));
    // Two seconds: ten at once, and ten a second.
    expect(lab.denied.length).toBeGreaterThanOrEqual(28);
    expect(lab.denied.length).toBeLessThanOrEqual(30);
    expect(lab.policy.denials.suppressed).toBe(200 - lab.denied.length);
  });

  it('leave the logs of the user alone', () => {
    const lab = new PolicyLab(
      { denyOut: ['1.1.1.1'] },
      '*filter\n-A FORWARD -j NFLOG --nflog-prefix mine\nCOMMIT\n',
    );
    lab.send('lan', tcp('2.2.2.2:80'));
    expect(lab.denied).toEqual([]);
  });
});
