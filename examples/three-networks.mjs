// @ts-check
/**
 * A lab of three networks: an office, a server room and the internet, two routers between them, all in this process.
 *
 *   npm install conntide && node three-networks.mjs        (in a clone: npm run build && node examples/three-networks.mjs)
 *
 *   laptop 10.0.0.2 -- office -- edge -- backbone -- core -- servers -- web 10.2.0.2
 *
 * Frames are Ethernet; hosts are gateways with one interface, since a gateway answers ARP and ping as any host does.
 * What goes over the backbone is printed. Time stands still and is moved by hand, so each run is the same.
 */
import {
  createGateway,
  EthernetSwitch,
  formatPacket,
  ManualClock,
  parsePacket,
  SeededRandom,
} from 'conntide';

const clock = new ManualClock();
/** @type {import('conntide').Gateway[]} */
const machines = [];

/**
 * A machine on one or more segments.
 * @param {[EthernetSwitch, string, string][]} plugs segment, interface name, address
 * @param {string[]} routes @param {string} [rules]
 */
function machine(plugs, routes, rules) {
  const gateway = createGateway({
    interfaces: plugs.map(([, name, address]) => ({ name, link: 'ethernet', addresses: [address] })),
    routes,
    ...(rules === undefined ? {} : { rules: { 4: rules } }),
    clock,
    random: new SeededRandom(machines.length + 1),
  });
  for (const [segment, name] of plugs) segment.connect(gateway.interface(name), { role: 'guest' });
  machines.push(gateway);
  return gateway;
}

const [office, backbone, servers] = [new EthernetSwitch(), new EthernetSwitch(), new EthernetSwitch()];
const laptop = machine([[office, 'eth0', '10.0.0.2/24']], ['default via 10.0.0.1']);
const edge = machine(
  [
    [office, 'lan', '10.0.0.1/24'],
    [backbone, 'wan', '198.51.100.1/24'],
  ],
  ['default via 198.51.100.2'],
  '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n',
);
const core = machine(
  [
    [backbone, 'wan', '198.51.100.2/24'],
    [servers, 'dmz', '10.2.0.1/24'],
  ],
  [],
);
core.forward('udp', '198.51.100.2/5300:10.2.0.2/53');
const web = machine([[servers, 'eth0', '10.2.0.2/24']], ['default via 10.2.0.1']);

edge.interface('wan').capture({
  addInterface: () => 0,
  record(_id, direction, frame) {
    const isIpv4 = frame[12] === 8 && frame[13] === 0;
    if (isIpv4) console.log(`backbone ${direction === 'in' ? '<' : '>'} ${formatPacket(frame.slice(14))}`);
  },
});

console.log('the laptop pings the core router');
laptop.router.sendLocal(parsePacket('icmp 10.0.0.2 > 198.51.100.2 echo-request id 7 seq 1'), clock.nowMs());

console.log('and asks the server behind its forwarded port');
const service = web.udp.bind({
  port: 53,
  onMessage: (datagram) => {
    console.log(`server: '${new TextDecoder().decode(datagram.bytes)}' from ${datagram.from.address}`);
    service.reply(datagram, new TextEncoder().encode('hello, office'));
  },
});
const socket = laptop.udp.bind({
  onMessage: ({ bytes, from }) =>
    console.log(`laptop: '${new TextDecoder().decode(bytes)}' from ${from.address}:${from.port}`),
});
socket.send(new TextEncoder().encode('hello, server'), '198.51.100.2:5300');
for (let ms = 0; ms < 1000; ms += 100) {
  clock.advance(100);
  for (const one of machines) one.advance();
}
for (const one of machines) one.close();
