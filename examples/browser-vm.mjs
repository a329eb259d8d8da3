// @ts-check
/**
 * A browser VM with a network: v86 runs a guest in the page, and the gateway beside it gives it an address, a router and
 * rules. Nothing leaves the page but what `wan` is plugged into.
 *
 *   npm install conntide v86, and in the page:
 *
 *     import { V86 } from 'v86';
 *     import { startNetwork } from './browser-vm.mjs';
 *     const emulator = new V86({ wasm_path, bios, cdrom, net_device: { type: 'virtio' } });
 *     const gateway = startNetwork(emulator, new WebSocket('wss://relay.example/'));
 *
 * Any relay that speaks raw Ethernet will do, `serveRelay` of conntide/node too. Without a socket the guest reaches the
 * gateway alone. Plain browser code: no Node, no eval.
 */
import { attachV86, createGateway } from 'conntide';

const RULES = `*nat
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -j ACCEPT
COMMIT
`;

/**
 * @param {import('conntide').V86Emulator} emulator
 * @param {WebSocket} [relay]
 */
export function startNetwork(emulator, relay) {
  const gateway = createGateway({
    interfaces: [
      { name: 'lan', link: 'ethernet', addresses: ['10.0.0.1/24'], dhcp: {} },
      { name: 'wan', link: 'ethernet', addresses: ['10.5.0.2/24'] },
    ],
    routes: ['default via 10.5.0.1'],
    rules: { 4: RULES },
    dns: { answer: askOverHttps },
  });
  gateway.policy({ denyOut: ['192.168.0.0/16', '172.16.0.0/12'] });
  gateway.events.on('lease', ({ kind, address }) => console.log(`guest ${kind} ${address}`));
  gateway.events.on('denied', ({ destination, rule }) => console.log(`denied ${destination}: ${rule}`));
  attachV86(gateway.interface('lan'), emulator);

  const wan = gateway.interface('wan');
  if (relay !== undefined) {
    relay.binaryType = 'arraybuffer';
    relay.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) wan.receive(new Uint8Array(data));
    };
    wan.onTransmit = (frame) => {
      // Frames are borrowed; send() copies.
      if (relay.readyState === relay.OPEN) relay.send(new Uint8Array(frame));
    };
  }
  return gateway;
}

/** Asks a DNS-over-HTTPS server (RFC 8484). @param {Uint8Array} query */
async function askOverHttps(query) {
  const response = await fetch('https://cloudflare-dns.com/dns-query', {
    method: 'POST',
    headers: { 'content-type': 'application/dns-message' },
    body: new Uint8Array(query),
  });
  return new Uint8Array(await response.arrayBuffer());
}
