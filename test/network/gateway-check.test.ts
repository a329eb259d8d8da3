import { expect, it } from 'vitest';
import { ConfigurationError, createGateway, type GatewayOptions, parsePacket } from '../../lib/index.js';

const lan = { name: 'lan', addresses: ['10.0.0.1/24'] };

it.each([
  [undefined, /gateway: not an object/],
  [{}, /gateway: interfaces \('undefined'\); expected a list/],
  [{ interfaces: [] }, /gateway: interfaces/],
  [
    { interfaces: [lan], rule: { 4: '' } },
    /gateway: no such option \('rule'\); expected interfaces, routes, /,
  ],
  [{ interfaces: [{ ...lan, adresses: [] }] }, /interface: no such option \('adresses'\)/],
  [{ interfaces: [{ name: 'lan' }] }, /interface lan: addresses \('undefined'\)/],
  [{ interfaces: [{ ...lan, addresses: [4] }] }, /interface lan: addresses: not a list of texts/],
  [{ interfaces: [{ ...lan, link: 'ethernt' }] }, /interface lan: link \('ethernt'\); expected ip, ethernet/],
  [{ interfaces: [{ ...lan, dhcp: { form: '10.0.0.9' } }] }, /dhcp: no such option \('form'\)/],
  [{ interfaces: [{ ...lan, advertise: true }] }, /advertise: not an object/],
  [{ interfaces: [lan], routes: 'default dev lan' }, /routes: not a list of texts/],
  [{ interfaces: [lan], rules: '*nat' }, /rules: not an object/],
  [{ interfaces: [lan], rules: { 5: '' } }, /rules: no such option \('5'\)/],
  [{ interfaces: [lan], rules: { 4: 7 } }, /rules 4: not text/],
  [{ interfaces: [lan], tracking: 'yes' }, /tracking \('yes'\); expected auto, always/],
  [{ interfaces: [lan], invalid: 'reject' }, /invalid \('reject'\)/],
  [{ interfaces: [lan], earlyDrop: false }, /earlyDrop \('false'\)/],
  [{ interfaces: [lan], maxConnections: 0 }, /maxConnections \('0'\)/],
])('a gateway with %j is refused', (options, message) => {
  const make = () => createGateway(options as unknown as GatewayOptions);
  expect(make).toThrow(ConfigurationError);
  expect(make).toThrow(message);
});

it.each([
  [undefined, 3],
  [true, 3],
  [false, 0],
])('with flowCache %j packets of an established flow take the short way %i times', (flowCache, times) => {
  const gateway = createGateway({
    interfaces: [lan, { name: 'wan', addresses: ['203.0.113.1/24'] }],
    routes: ['default dev wan'],
    rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
    ...(flowCache === undefined ? {} : { flowCache }),
  });
  const [inner, outer] = gateway.interfaces;
  outer!.onTransmit = () => {};
  inner!.receive(parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4'));
  outer!.receive(parsePacket('udp 1.1.1.1:53 > 203.0.113.1:5000 len 4'));
  for (let i = 0; i < 4; i++) inner!.receive(parsePacket('udp 10.0.0.2:5000 > 1.1.1.1:53 len 4'));
  expect(outer!.counters.transmittedPackets).toBe(5);
  expect(gateway.router.flowCached).toBe(times);
  gateway.close();
});
