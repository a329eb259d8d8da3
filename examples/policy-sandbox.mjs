// @ts-check
/**
 * A policy sandbox: a guest may reach example.com over HTTPS and nothing else, and somebody is asked when it tries.
 *
 *   npm install conntide && node policy-sandbox.mjs        (in a clone: npm run build && node examples/policy-sandbox.mjs)
 *
 * The guest is played by a few packets; for a real one plug a QEMU, a TUN device or a browser VM into `lan`.
 */
import { createGateway, formatPacket, parsePacket } from 'conntide';

const gateway = createGateway({
  interfaces: [
    { name: 'lan', addresses: ['10.0.0.1/24'] },
    { name: 'wan', addresses: ['203.0.113.1/24'] },
  ],
  routes: ['default via 203.0.113.254 dev wan'],
  rules: { 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' },
  dns: { answer: (query) => answerWith(query, [198, 51, 100, 7]) },
});
const [lan, wan] = gateway.interfaces;
/** @param {string} where @returns {(packet: Uint8Array) => void} */
const printer = (where) => (packet) => console.log(`  to the ${where} ${formatPacket(packet)}`);
lan.onTransmit = printer('guest   ');
wan.onTransmit = printer('internet');

const allowOut = ['example.com:443'];
gateway.policy({ allowOut, denyOut: ['0.0.0.0/0'], limits: { newPerSecond: 50 } });
gateway.events.on('denied', ({ destination, port, rule }) => {
  console.log(`  denied: ${destination} port ${port}, because of '${rule}'`);
  if (port !== 22) return;
  console.log('  asked, and port 22 of it is allowed from now on');
  allowOut.push(`${destination}:22`);
  gateway.policy({ allowOut, denyOut: ['0.0.0.0/0'], limits: { newPerSecond: 50 } });
});

/** @param {string} what @param {string} packet */
async function guest(what, packet) {
  console.log(what);
  lan.receive(parsePacket(packet));
  await new Promise((resolve) => setTimeout(resolve, 5));
}

await guest('HTTPS, before anybody asked for the name', 'tcp 10.0.0.2:4001 > 198.51.100.7:443 SYN seq 1');
await guest('the name', `udp 10.0.0.2:4000 > 10.0.0.1:53 data ${question('example.com')}`);
await guest('HTTPS again', 'tcp 10.0.0.2:4002 > 198.51.100.7:443 SYN seq 1');
await guest("the cloud's credentials", 'tcp 10.0.0.2:4003 > 169.254.169.254:80 SYN seq 1');
await guest('SSH', 'tcp 10.0.0.2:4004 > 192.0.2.9:22 SYN seq 1');
await guest('SSH again', 'tcp 10.0.0.2:4005 > 192.0.2.9:22 SYN seq 1');
gateway.close();

/** A DNS question for an IPv4 address, in hexadecimal. @param {string} name */
function question(name) {
  const labels = name.split('.').flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  const bytes = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The answer with one address, good for 300 s. @param {Uint8Array} query @param {number[]} address */
function answerWith(query, address) {
  const answer = Uint8Array.of(...query, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, ...address);
  answer.set([0x81, 0x80, 0, 1, 0, 1], 2);
  return answer;
}
